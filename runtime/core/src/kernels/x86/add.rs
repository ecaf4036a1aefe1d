//! Int8 addition: 64 elements at a time with AVX-512, 32 with AVX2.
//!
//! Bytes become floats by unpacking alone: below 0x4B00 as the upper half of a word, they are the last digits of 2²³.

use core::arch::x86_64::*;

use super::finish::{Limits256, Limits512, rounded_256, rounded_512};
use crate::kernels::portable::elementwise as portable;
use crate::kernels::{Operand, RowI8};

/// One row of [`crate::plan::step::BinaryOp::Add`] with AVX-512.
pub(super) fn add_512(row: &RowI8<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-512 is there.
    unsafe { sixty_fours(row) }
}

/// One row of [`crate::plan::step::BinaryOp::Add`] with AVX2.
pub(super) fn add_256(row: &RowI8<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    unsafe { thirty_twos(row) }
}

/// Multipliers below this make sums that fit 32 bits.
const MOST: f32 = 1e6;

/// The elements of both sides, when they are as many as the results, and all sums fit 32 bits.
fn whole(row: &RowI8<'_>) -> Option<[*const i8; 2]> {
    if !row.multipliers.iter().all(|multiplier| multiplier.abs() < MOST) {
        return None;
    }
    let pointer = |side: &Operand<'_, i8>| match side {
        Operand::Shared(cells) if cells.len() == row.y.len() => Some(cells.as_ptr().cast::<i8>()),
        Operand::Constant(values) if values.len() == row.y.len() => Some(values.as_ptr()),
        _ => None,
    };
    Some([pointer(&row.a)?, pointer(&row.b)?])
}

/// 2²³, and what makes unsigned bytes of signed ones.
const DIGITS: f32 = (1_u32 << 23) as f32 + 128.0;

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sixty_fours(row: &RowI8<'_>) {
    const LANES: usize = 64;
    let Some([a, b]) = whole(row) else { return portable::add_i8(row) };
    let y = row.y.as_ptr().cast_mut().cast::<i8>();
    let limits = Limits512::new(row.target);
    let [za, zb] = row.zero_points.map(|zero_point| _mm512_set1_ps(DIGITS + zero_point as f32));
    let [ma, mb] = row.multipliers.map(|multiplier| _mm512_set1_ps(multiplier));
    let block = |a: __m512i, b: __m512i| {
        let (a, b) = (floats_512(a), floats_512(b));
        let mut sums = [_mm512_setzero_si512(); 4];
        for part in 0..4 {
            let a = _mm512_mul_ps(_mm512_sub_ps(a[part], za), ma);
            let b = _mm512_mul_ps(_mm512_sub_ps(b[part], zb), mb);
            sums[part] = rounded_512(_mm512_add_ps(a, b));
        }
        limits.packed(sums)
    };
    let done = row.y.len() / LANES * LANES;
    for at in (0..done).step_by(LANES) {
        // SAFETY: `whole` has seen that both sides are as long as the result; nobody else writes to it meanwhile, and what
        // lies in the same place as a side is read before it is written.
        unsafe {
            let (a, b) = (_mm512_loadu_si512(a.add(at).cast()), _mm512_loadu_si512(b.add(at).cast()));
            _mm512_storeu_si512(y.add(at).cast(), block(a, b));
        }
    }
    let mask = (1_u64 << (row.y.len() - done)) - 1;
    // SAFETY: as above; the mask leaves out what is behind.
    unsafe {
        let (a, b) = (_mm512_maskz_loadu_epi8(mask, a.add(done)), _mm512_maskz_loadu_epi8(mask, b.add(done)));
        _mm512_mask_storeu_epi8(y.add(done), mask, block(a, b));
    }
}

/// 2²³ + 128 + `bytes`, in the order that packing undoes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn floats_512(bytes: __m512i) -> [__m512; 4] {
    let bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
    let (zero, digits) = (_mm512_setzero_si512(), _mm512_set1_epi16(0x4b00));
    let (low, high) = (_mm512_unpacklo_epi8(bytes, zero), _mm512_unpackhi_epi8(bytes, zero));
    [
        _mm512_castsi512_ps(_mm512_unpacklo_epi16(low, digits)),
        _mm512_castsi512_ps(_mm512_unpackhi_epi16(low, digits)),
        _mm512_castsi512_ps(_mm512_unpacklo_epi16(high, digits)),
        _mm512_castsi512_ps(_mm512_unpackhi_epi16(high, digits)),
    ]
}

#[target_feature(enable = "avx2")]
fn thirty_twos(row: &RowI8<'_>) {
    const LANES: usize = 32;
    let Some([a, b]) = whole(row) else { return portable::add_i8(row) };
    let y = row.y.as_ptr().cast_mut().cast::<i8>();
    let limits = Limits256::new(row.target);
    let [za, zb] = row.zero_points.map(|zero_point| _mm256_set1_ps(DIGITS + zero_point as f32));
    let [ma, mb] = row.multipliers.map(|multiplier| _mm256_set1_ps(multiplier));
    let block = |a: __m256i, b: __m256i| {
        let (a, b) = (floats_256(a), floats_256(b));
        let mut sums = [_mm256_setzero_si256(); 4];
        for part in 0..4 {
            let a = _mm256_mul_ps(_mm256_sub_ps(a[part], za), ma);
            let b = _mm256_mul_ps(_mm256_sub_ps(b[part], zb), mb);
            sums[part] = rounded_256(_mm256_add_ps(a, b));
        }
        limits.packed(sums)
    };
    let done = row.y.len() / LANES * LANES;
    for at in (0..done).step_by(LANES) {
        // SAFETY: as in `sixty_fours`.
        unsafe {
            let (a, b) = (_mm256_loadu_si256(a.add(at).cast()), _mm256_loadu_si256(b.add(at).cast()));
            _mm256_storeu_si256(y.add(at).cast(), block(a, b));
        }
    }
    let rest = row.y.len() - done;
    let mut bytes = [[0_i8; LANES]; 3];
    // SAFETY: as above, `rest` of them are there; the arrays have 32 elements.
    unsafe {
        a.add(done).copy_to_nonoverlapping(bytes[0].as_mut_ptr(), rest);
        b.add(done).copy_to_nonoverlapping(bytes[1].as_mut_ptr(), rest);
        let (a, b) = (_mm256_loadu_si256(bytes[0].as_ptr().cast()), _mm256_loadu_si256(bytes[1].as_ptr().cast()));
        _mm256_storeu_si256(bytes[2].as_mut_ptr().cast(), block(a, b));
        bytes[2].as_ptr().copy_to_nonoverlapping(y.add(done), rest);
    }
}

/// 2²³ + 128 + `bytes`, in the order that packing undoes.
#[target_feature(enable = "avx2")]
#[inline]
fn floats_256(bytes: __m256i) -> [__m256; 4] {
    let bytes = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
    let (zero, digits) = (_mm256_setzero_si256(), _mm256_set1_epi16(0x4b00));
    let (low, high) = (_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero));
    [
        _mm256_castsi256_ps(_mm256_unpacklo_epi16(low, digits)),
        _mm256_castsi256_ps(_mm256_unpackhi_epi16(low, digits)),
        _mm256_castsi256_ps(_mm256_unpacklo_epi16(high, digits)),
        _mm256_castsi256_ps(_mm256_unpackhi_epi16(high, digits)),
    ]
}
