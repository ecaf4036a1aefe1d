//! The end of a kernel of int16: sums of 16 channels to stored results.

use core::arch::x86_64::*;

use crate::kernels::ConvI16Args;
use crate::kernels::channels_i16::{Channels, Results, Room, Start};
use crate::weights::BLOCK;

/// Bias, multipliers and results of up to 16 channels, with AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Finish512 {
    bias: __m512i,
    wide_bias: [__m512i; 2],
    is_wide: bool,
    multipliers: __m512,
    low: __m512,
    high: __m512,
    zero_point: __m512i,
    results: Results,
    mask: u16,
}

impl Finish512 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub fn new(args: &mut ConvI16Args<'_>, channel: usize, lanes: usize) -> Self {
        let mut room = Room::new();
        let of = Channels::of(args, channel, lanes, &mut room);
        let (low, high, zero_point) = of.limits;
        let (mut bias, mut wide_bias) = (_mm512_setzero_si512(), [_mm512_setzero_si512(); 2]);
        // SAFETY: bytes of 16 elements.
        unsafe {
            match of.bias {
                Start::I32(bytes) => bias = bytes.as_ptr().cast::<__m512i>().read_unaligned(),
                Start::I64(bytes) => wide_bias = bytes.as_ptr().cast::<[__m512i; 2]>().read_unaligned(),
            }
            Self {
                bias,
                wide_bias,
                is_wide: matches!(of.bias, Start::I64(_)),
                multipliers: _mm512_loadu_ps(of.multipliers.as_ptr().cast()),
                low: _mm512_set1_ps(low),
                high: _mm512_set1_ps(high),
                zero_point: _mm512_set1_epi32(zero_point),
                results: of.results,
                mask: u16::MAX >> (BLOCK - lanes),
            }
        }
    }

    /// Stores the results of one position from element `place` of the output on; `sums` are without bias.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub unsafe fn store_sums(&self, place: usize, sums: &[i32; BLOCK]) {
        // SAFETY: 16 words; and the caller's promise.
        unsafe {
            self.store(place, _mm512_loadu_si512(sums.as_ptr().cast()));
        }
    }

    /// [`Self::store_sums`] from a register.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub unsafe fn store(&self, place: usize, sums: __m512i) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.is_wide {
                let left = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(sums));
                return self.finish_totals(place, [left, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(sums))]);
            }
            self.put(place, self.scaled(sums));
        }
    }

    /// [`Self::store_sums`] of block `block` of several rows, whose results lie `step` elements apart.
    ///
    /// # Safety
    /// As for [`Self::store_sums`], for all rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub unsafe fn store_rows(&self, place: usize, step: usize, rows: &[[[i32; BLOCK]; 2]], block: usize) {
        // A copy stays in registers.
        let finish = *self;
        // SAFETY: the caller's promise.
        unsafe {
            match finish.results {
                Results::I16(y) if finish.mask == u16::MAX && !finish.is_wide => {
                    for (row, sums) in rows.iter().enumerate() {
                        let scaled = finish.scaled(_mm512_loadu_si512(sums[block].as_ptr().cast()));
                        let words = _mm512_cvtepi32_epi16(finish.stored(scaled));
                        _mm256_storeu_si256(y.add(place + row * step).cast(), words);
                    }
                }
                _ => {
                    for (row, sums) in rows.iter().enumerate() {
                        finish.store_sums(place + row * step, &sums[block]);
                    }
                }
            }
        }
    }

    /// [`Self::store_sums`] of sums of 64 bits.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    pub unsafe fn store_totals(&self, place: usize, totals: &[i64; BLOCK]) {
        // SAFETY: 16 elements; and the caller's promise.
        unsafe {
            let totals = totals.as_ptr().cast::<__m512i>();
            self.finish_totals(place, [totals.read_unaligned(), totals.add(1).read_unaligned()]);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    unsafe fn finish_totals(&self, place: usize, [left, right]: [__m512i; 2]) {
        let left = _mm512_cvtepi64_ps(_mm512_add_epi64(left, self.wide_bias[0]));
        let right = _mm512_cvtepi64_ps(_mm512_add_epi64(right, self.wide_bias[1]));
        // SAFETY: the caller's promise.
        unsafe {
            let sums = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(left), right);
            self.put(place, _mm512_mul_ps(sums, self.multipliers));
        }
    }

    /// Sums with the bias, in units of the result.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    fn scaled(&self, sums: __m512i) -> __m512 {
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sums, self.bias)), self.multipliers)
    }

    /// `clamp(round_half_even(value)) + zero_point`, as [`crate::quantization::TargetOf::store`] has it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    fn stored(&self, values: __m512) -> __m512i {
        let clamped = _mm512_min_ps(_mm512_max_ps(values, self.low), self.high);
        let rounded = _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(clamped);
        _mm512_add_epi32(rounded, self.zero_point)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    unsafe fn put(&self, place: usize, scaled: __m512) {
        let stored = self.stored(scaled);
        // SAFETY: the mask lets only those channels be written that are there, as the caller promises.
        unsafe {
            match self.results {
                Results::I16(y) if self.mask == u16::MAX => {
                    _mm256_storeu_si256(y.add(place).cast(), _mm512_cvtepi32_epi16(stored));
                }
                Results::I16(y) => _mm256_mask_storeu_epi16(y.add(place), self.mask, _mm512_cvtepi32_epi16(stored)),
                Results::I8(y) if self.mask == u16::MAX => {
                    _mm_storeu_si128(y.add(place).cast(), _mm512_cvtepi32_epi8(stored));
                }
                Results::I8(y) => _mm_mask_storeu_epi8(y.add(place), self.mask, _mm512_cvtepi32_epi8(stored)),
                Results::F32(y) => _mm512_mask_storeu_ps(y.add(place), self.mask, scaled),
            }
        }
    }
}

/// Bias, multipliers and results of up to 16 channels, with AVX2.
#[derive(Clone, Copy)]
pub(super) struct Finish256 {
    bias: [__m256i; 2],
    wide_bias: [__m256i; 4],
    is_wide: bool,
    /// All sums of 64 bits, bias and all, are below 2⁵¹ in magnitude.
    is_exact: bool,
    multipliers: [__m256; 2],
    low: __m256,
    high: __m256,
    zero_point: __m256i,
    results: Results,
    lanes: usize,
}

impl Finish256 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub fn new(args: &mut ConvI16Args<'_>, channel: usize, lanes: usize) -> Self {
        let mut room = Room::new();
        let of = Channels::of(args, channel, lanes, &mut room);
        let (low, high, zero_point) = of.limits;
        let (mut bias, mut wide_bias) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 4]);
        // SAFETY: bytes of 16 elements.
        unsafe {
            match of.bias {
                Start::I32(bytes) => bias = bytes.as_ptr().cast::<[__m256i; 2]>().read_unaligned(),
                Start::I64(bytes) => wide_bias = bytes.as_ptr().cast::<[__m256i; 4]>().read_unaligned(),
            }
            Self {
                bias,
                wide_bias,
                is_wide: matches!(of.bias, Start::I64(_)),
                is_exact: of.is_exact,
                multipliers: of.multipliers.as_ptr().cast::<[__m256; 2]>().read_unaligned(),
                low: _mm256_set1_ps(low),
                high: _mm256_set1_ps(high),
                zero_point: _mm256_set1_epi32(zero_point),
                results: of.results,
                lanes,
            }
        }
    }

    /// Stores the results of one position from element `place` of the output on; `sums` are without bias.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store_sums(&self, place: usize, sums: &[i32; BLOCK]) {
        // SAFETY: 16 words; and the caller's promise.
        unsafe {
            let sums = sums.as_ptr().cast::<__m256i>();
            self.store(place, [sums.read_unaligned(), sums.add(1).read_unaligned()]);
        }
    }

    /// [`Self::store_sums`] of block `block` of several rows, whose results lie `step` elements apart.
    ///
    /// # Safety
    /// As for [`Self::store_sums`], for all rows.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store_rows(&self, place: usize, step: usize, rows: &[[[i32; BLOCK]; 2]], block: usize) {
        for (row, sums) in rows.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.store_sums(place + row * step, &sums[block]) };
        }
    }

    /// [`Self::store_sums`] from registers.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store(&self, place: usize, sums: [__m256i; 2]) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.is_wide {
                let mut totals = [_mm256_setzero_si256(); 4];
                for (half, totals) in sums.into_iter().zip(totals.as_chunks_mut::<2>().0) {
                    totals[0] = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(half));
                    totals[1] = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(half));
                }
                return self.finish_totals(place, totals);
            }
            let left = _mm256_cvtepi32_ps(_mm256_add_epi32(sums[0], self.bias[0]));
            let right = _mm256_cvtepi32_ps(_mm256_add_epi32(sums[1], self.bias[1]));
            self.put(place, [left, right]);
        }
    }

    /// [`Self::store_sums`] of sums of 64 bits.
    ///
    /// # Safety
    /// As for [`Self::store_sums`].
    #[target_feature(enable = "avx2")]
    #[inline]
    pub unsafe fn store_totals(&self, place: usize, totals: &[i64; BLOCK]) {
        // SAFETY: 16 elements; and the caller's promise.
        unsafe {
            self.finish_totals(place, totals.as_ptr().cast::<[__m256i; 4]>().read_unaligned());
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn finish_totals(&self, place: usize, mut totals: [__m256i; 4]) {
        for (total, bias) in totals.iter_mut().zip(self.wide_bias) {
            *total = _mm256_add_epi64(*total, bias);
        }
        let sums = if self.is_exact { nearest(totals) } else { nearest_of_any(totals) };
        // SAFETY: the caller's promise.
        unsafe { self.put(place, sums) };
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn put(&self, place: usize, [left, right]: [__m256; 2]) {
        let scaled = [_mm256_mul_ps(left, self.multipliers[0]), _mm256_mul_ps(right, self.multipliers[1])];
        // SAFETY: as many elements are written as there are channels, which are there as the caller promises.
        unsafe {
            let y = match self.results {
                Results::F32(y) => {
                    let mut all = [0.0_f32; BLOCK];
                    _mm256_storeu_ps(all.as_mut_ptr(), scaled[0]);
                    _mm256_storeu_ps(all.as_mut_ptr().add(8), scaled[1]);
                    return all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
                Results::I16(y) => y,
                Results::I8(y) => {
                    let words = self.words(scaled);
                    let (low, high) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                    let mut all = [0_i8; BLOCK];
                    let bytes = _mm_packs_epi16(low, high);
                    if self.lanes == BLOCK {
                        return _mm_storeu_si128(y.add(place).cast(), bytes);
                    }
                    _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                    return all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
            };
            let words = self.words(scaled);
            if self.lanes == BLOCK {
                return _mm256_storeu_si256(y.add(place).cast(), words);
            }
            let mut all = [0_i16; BLOCK];
            _mm256_storeu_si256(all.as_mut_ptr().cast(), words);
            all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
        }
    }

    /// `clamp(round_half_even(value)) + zero_point`, as [`crate::quantization::TargetOf::store`] has it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn stored(&self, values: __m256) -> __m256i {
        let clamped = _mm256_min_ps(_mm256_max_ps(values, self.low), self.high);
        _mm256_add_epi32(_mm256_cvtps_epi32(clamped), self.zero_point)
    }

    /// [`Self::stored`] of 16 values as words.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn words(&self, scaled: [__m256; 2]) -> __m256i {
        let [left, right] = [self.stored(scaled[0]), self.stored(scaled[1])];
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(left, right))
    }
}

/// Whole numbers below 2⁵¹ in magnitude as the nearest f32, by way of f64, which holds them exactly.
#[target_feature(enable = "avx2")]
#[inline]
fn nearest([a, b, c, d]: [__m256i; 4]) -> [__m256; 2] {
    [_mm256_set_m128(nearest_of_four(b), nearest_of_four(a)), _mm256_set_m128(nearest_of_four(d), nearest_of_four(c))]
}

#[target_feature(enable = "avx2")]
#[inline]
fn nearest_of_four(whole: __m256i) -> __m128 {
    // 2⁵² + 2⁵¹: a whole number added to its bits is added to it.
    let base = _mm256_set1_pd(6_755_399_441_055_744.0);
    let moved = _mm256_add_epi64(whole, _mm256_castpd_si256(base));
    _mm256_cvtpd_ps(_mm256_sub_pd(_mm256_castsi256_pd(moved), base))
}

/// Any whole numbers as the nearest f32.
#[target_feature(enable = "avx2")]
#[cold]
fn nearest_of_any(totals: [__m256i; 4]) -> [__m256; 2] {
    let (mut whole, mut real) = ([0_i64; BLOCK], [0.0_f32; BLOCK]);
    // SAFETY: both arrays have 16 elements.
    unsafe {
        for (part, total) in totals.into_iter().enumerate() {
            _mm256_storeu_si256(whole.as_mut_ptr().add(4 * part).cast(), total);
        }
        real.iter_mut().zip(whole).for_each(|(real, whole)| *real = whole as f32);
        [_mm256_loadu_ps(real.as_ptr()), _mm256_loadu_ps(real.as_ptr().add(8))]
    }
}
