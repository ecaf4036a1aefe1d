//! Look-ups of bytes with AVX-512: the table lies in four registers as pairs of bytes, from which 64 indices take one at a
//! time.

use core::arch::x86_64::*;
use core::cell::Cell;

use crate::kernels::portable::elementwise;

/// Elements that are looked up at once.
const LANES: usize = 64;

/// See [`crate::plan::step::Table`]; compiled for AVX2.
pub(super) fn table_avx2(x: &[Cell<i8>], y: &[Cell<i8>], table: &[u8; 256]) {
    #[target_feature(enable = "avx2")]
    fn inner(x: &[Cell<i8>], y: &[Cell<i8>], table: &[u8; 256]) {
        elementwise::table(x, y, table)
    }
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    unsafe { inner(x, y, table) }
}

/// See [`crate::plan::step::Table`].
pub(super) fn table_avx512(x: &[Cell<i8>], y: &[Cell<i8>], table: &[u8; 256]) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-512 is there.
    let done = unsafe { sixty_fours(x, y, table) };
    if let (Some(x), Some(y)) = (x.get(done..), y.get(done..)) {
        elementwise::table(x, y, table);
    }
}

/// Gives how many elements are done.
#[target_feature(enable = "avx512f,avx512bw")]
fn sixty_fours(x: &[Cell<i8>], y: &[Cell<i8>], table: &[u8; 256]) -> usize {
    let done = x.len().min(y.len()) / LANES * LANES;
    let (x, y) = (x.as_ptr().cast::<u8>(), y.as_ptr().cast_mut().cast::<u8>());
    // SAFETY: the table has four times 64 bytes.
    let pairs: [__m512i; 4] =
        core::array::from_fn(|part| unsafe { _mm512_loadu_si512(table.as_ptr().add(part * LANES).cast()) });
    let low = _mm512_set1_epi16(0xff);
    // Words of even bytes: the pair of each, then the byte of the pair.
    let look_up = |index: __m512i| {
        let pair = _mm512_srli_epi16::<1>(index);
        let below = _mm512_permutex2var_epi16(pairs[0], pair, pairs[1]);
        let above = _mm512_permutex2var_epi16(pairs[2], pair, pairs[3]);
        let is_above = _mm512_test_epi16_mask(index, _mm512_set1_epi16(0x80));
        let found = _mm512_mask_blend_epi16(is_above, below, above);
        let is_odd = _mm512_test_epi16_mask(index, _mm512_set1_epi16(1));
        _mm512_mask_srli_epi16::<8>(found, is_odd, found)
    };
    for at in (0..done).step_by(LANES) {
        // SAFETY: `done` elements are there on both sides; nobody else writes to them meanwhile, and all are read before
        // one is written.
        unsafe {
            let index = _mm512_xor_si512(_mm512_loadu_si512(x.add(at).cast()), _mm512_set1_epi8(-128));
            let even = _mm512_and_si512(look_up(_mm512_and_si512(index, low)), low);
            let odd = _mm512_slli_epi16::<8>(look_up(_mm512_srli_epi16::<8>(index)));
            _mm512_storeu_si512(y.add(at).cast(), _mm512_or_si512(even, odd));
        }
    }
    done
}
