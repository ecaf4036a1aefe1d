//! The end of an int8 kernel with AVX-512: accumulators to stored results.

use core::arch::x86_64::*;

use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::BLOCK;

/// Bias, multipliers and results of up to 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Finish512 {
    /// What the accumulators start with.
    pub bias: __m512i,
    multipliers: __m512,
    limits: Limits512,
    y: *mut i8,
    lanes: usize,
    mask: u16,
    real: bool,
}

/// Limits and zero point of int8 results.
#[derive(Clone, Copy)]
pub(super) struct Limits512 {
    low: __m512,
    high: __m512,
    zero_point: __m512i,
}

impl Limits512 {
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn new(target: Target) -> Self {
        let (low, high, zero_point) = target.parts();
        Self { low: _mm512_set1_ps(low), high: _mm512_set1_ps(high), zero_point: _mm512_set1_epi32(zero_point) }
    }

    /// `clamp(round_half_even(value) + zero_point)`, as [`Target::store`] has it.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub fn quantize(&self, values: __m512) -> __m128i {
        let clamped = _mm512_min_ps(_mm512_max_ps(values, self.low), self.high);
        let rounded = _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(clamped);
        _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, self.zero_point))
    }
}

impl Finish512 {
    /// The `lanes` channels from `channel` on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub fn new(args: &mut ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        let mask = u16::MAX >> (BLOCK - lanes);
        let bias = args.bias.bytes(channel, lanes);
        let multipliers = args.multipliers.bytes(channel, lanes);
        assert!(bias.len() >= lanes * 4 && multipliers.len() >= lanes * 4);
        // SAFETY: the mask lets only `lanes` words be read, which are there as asserted.
        let (bias, multipliers) = unsafe {
            let bias = _mm512_maskz_loadu_epi32(mask, bias.as_ptr().cast());
            (bias, _mm512_maskz_loadu_ps(mask, multipliers.as_ptr().cast()))
        };
        let all = args.window.positions() * args.window.out_c as usize;
        let (y, target, real) = match &mut args.y {
            ConvOutput::I8(y, target) => (y[..all].as_mut_ptr(), *target, false),
            ConvOutput::F32(y) => (y[..all].as_mut_ptr().cast(), Target::new(0, 0, 0), true),
        };
        Self { bias, multipliers, limits: Limits512::new(target), y, lanes, mask, real }
    }

    /// Requantizes and stores the sums (bias and all) of one position from element `place` of the output on.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub unsafe fn store(&self, place: usize, sums: __m512i) {
        let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), self.multipliers);
        // SAFETY: `lanes` elements from `place` on are there, as the caller promises.
        unsafe {
            if self.real {
                return _mm512_mask_storeu_ps(self.y.cast::<f32>().add(place), self.mask, scaled);
            }
            let y = self.y.add(place);
            let stored = self.limits.quantize(scaled);
            match self.lanes {
                BLOCK => _mm_storeu_si128(y.cast(), stored),
                8 => _mm_storel_epi64(y.cast(), stored),
                _ => _mm_mask_storeu_epi8(y, self.mask, stored),
            }
        }
    }
}
