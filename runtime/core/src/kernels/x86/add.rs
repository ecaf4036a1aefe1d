//! Int8 addition: 16 elements at a time with AVX-512, 8 with AVX2.

use core::arch::x86_64::*;

use super::finish::Limits512;
use crate::kernels::portable::elementwise as portable;
use crate::kernels::{Operand, RowI8};

/// One row of [`crate::plan::step::BinaryOp::Add`] with AVX-512.
pub(super) fn add_512(row: &RowI8<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX-512 is there.
    unsafe { sixteens(row) }
}

/// One row of [`crate::plan::step::BinaryOp::Add`] with AVX2.
pub(super) fn add_256(row: &RowI8<'_>) {
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    unsafe { eights(row) }
}

/// The elements of both sides, when they are as many as the results.
fn whole(row: &RowI8<'_>) -> Option<[*const i8; 2]> {
    let pointer = |side: &Operand<'_, i8>| match side {
        Operand::Shared(cells) if cells.len() == row.y.len() => Some(cells.as_ptr().cast::<i8>()),
        Operand::Constant(values) if values.len() == row.y.len() => Some(values.as_ptr()),
        _ => None,
    };
    Some([pointer(&row.a)?, pointer(&row.b)?])
}

/// The elements behind the first `done`.
fn rest(row: &RowI8<'_>, done: usize) {
    let len = row.y.len() - done;
    if let (Some(a), Some(b), 1..) = (row.a.row(done, len), row.b.row(done, len), len) {
        portable::add_i8(&RowI8 { a, b, y: &row.y[done..], ..*row });
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn sixteens(row: &RowI8<'_>) {
    const LANES: usize = 16;
    let Some([a, b]) = whole(row) else { return portable::add_i8(row) };
    let y = row.y.as_ptr().cast_mut().cast::<i8>();
    let limits = Limits512::new(row.target);
    let [za, zb] = row.zero_points.map(|zero_point| _mm512_set1_epi32(zero_point));
    let [ma, mb] = row.multipliers.map(|multiplier| _mm512_set1_ps(multiplier));
    let done = row.y.len() / LANES * LANES;
    for at in (0..done).step_by(LANES) {
        // SAFETY: `whole` has seen that both sides are as long as the result; nobody else writes to it meanwhile,
        // and what lies in the same place as a side is read before it is written.
        unsafe {
            let a = _mm512_sub_epi32(_mm512_cvtepi8_epi32(_mm_loadu_si128(a.add(at).cast())), za);
            let b = _mm512_sub_epi32(_mm512_cvtepi8_epi32(_mm_loadu_si128(b.add(at).cast())), zb);
            let (a, b) = (_mm512_mul_ps(_mm512_cvtepi32_ps(a), ma), _mm512_mul_ps(_mm512_cvtepi32_ps(b), mb));
            _mm_storeu_si128(y.add(at).cast(), limits.quantize(_mm512_add_ps(a, b)));
        }
    }
    rest(row, done);
}

#[target_feature(enable = "avx2")]
fn eights(row: &RowI8<'_>) {
    const LANES: usize = 8;
    let Some([a, b]) = whole(row) else { return portable::add_i8(row) };
    let y = row.y.as_ptr().cast_mut().cast::<i8>();
    let (low, high, zero_point) = row.target.parts();
    let (low, high, zero_point) = (_mm256_set1_ps(low), _mm256_set1_ps(high), _mm256_set1_epi32(zero_point));
    let [za, zb] = row.zero_points.map(|zero_point| _mm256_set1_epi32(zero_point));
    let [ma, mb] = row.multipliers.map(|multiplier| _mm256_set1_ps(multiplier));
    let done = row.y.len() / LANES * LANES;
    for at in (0..done).step_by(LANES) {
        // SAFETY: as in `sixteens`.
        unsafe {
            let a = _mm256_sub_epi32(_mm256_cvtepi8_epi32(_mm_loadl_epi64(a.add(at).cast())), za);
            let b = _mm256_sub_epi32(_mm256_cvtepi8_epi32(_mm_loadl_epi64(b.add(at).cast())), zb);
            let (a, b) = (_mm256_mul_ps(_mm256_cvtepi32_ps(a), ma), _mm256_mul_ps(_mm256_cvtepi32_ps(b), mb));
            let clamped = _mm256_min_ps(_mm256_max_ps(_mm256_add_ps(a, b), low), high);
            let rounded = _mm256_add_epi32(round(clamped), zero_point);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256::<1>(rounded));
            _mm_storel_epi64(y.add(at).cast(), _mm_packs_epi16(words, words));
        }
    }
    rest(row, done);
}

/// Rounds half to even whatever the rounding mode.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn round(values: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(values))
}
