//! Products of int16 in pairs.

use core::arch::asm;
use core::arch::x86_64::*;

/// Instructions that multiply pairs of words and add both products, and what each of them adds to. In assembly, because
/// compilers see through the shuffles in front of the multiplication and make several slow ones of it, and an addition of
/// its own where the instruction has one.
macro_rules! pairs {
    ($($(#[$doc:meta])* $name:ident, $features:literal, $register:ty, $class:ident, $instruction:literal;)*) => {$(
        $(#[$doc])*
        #[target_feature(enable = $features)]
        #[inline]
        pub(super) fn $name(mut sums: $register, x: $register, w: $register) -> $register {
            // SAFETY: the instruction reads and writes registers.
            unsafe {
                asm!(
                    concat!($instruction, " {sums}, {x}, {w}"),
                    sums = inout($class) sums,
                    x = in($class) x,
                    w = in($class) w,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
    )*};
}

pairs! {
    /// `sums + x·w` with AVX-VNNI.
    add_pairs_vnni, "avx2,avxvnni", __m256i, ymm_reg, "{{vex}} vpdpwssd";
    /// `sums + x·w` with AVX-512-VNNI, of 32 bytes.
    add_pairs_256, "avx512f,avx512vl,avx512vnni", __m256i, ymm_reg, "vpdpwssd";
    /// `sums + x·w` with AVX-512-VNNI.
    add_pairs_512, "avx512f,avx512vnni", __m512i, zmm_reg, "vpdpwssd";
}

/// `sums + x·w` with AVX2.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn add_pairs(sums: __m256i, x: __m256i, w: __m256i) -> __m256i {
    let products;
    // SAFETY: the instruction reads and writes registers.
    unsafe {
        asm!(
            "vpmaddwd {products}, {x}, {w}",
            products = lateout(ymm_reg) products,
            x = in(ymm_reg) x,
            w = in(ymm_reg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    _mm256_add_epi32(sums, products)
}

/// The first (0) or the second (1) two of each group of four bytes, as words.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn pair_of<const PAIR: i16>(bytes: __m256i) -> __m256i {
    let first = _mm256_setr_epi8(
        -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1,
        13,
    );
    // To the upper halves of words; what is below does not matter.
    let order = _mm256_add_epi8(first, _mm256_set1_epi16(PAIR * 0x200));
    _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(bytes, order))
}
