//! The end of an int8 kernel with AVX-512: accumulators to stored results.

use core::arch::x86_64::*;

use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::BLOCK;

/// Bias and multipliers of up to 16 channels, and the limits of the results.
#[derive(Clone, Copy)]
pub(super) struct Finish512 {
    /// What the accumulators start with.
    pub bias: __m512i,
    multipliers: __m512,
    mask: u16,
    lanes: usize,
    limits: Limits512,
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
    pub fn new(args: &ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        let mask = u16::MAX >> (BLOCK - lanes);
        let bias = args.bias.bytes(channel, lanes);
        let multipliers = args.multipliers.bytes(channel, lanes);
        assert!(bias.len() >= lanes * 4 && multipliers.len() >= lanes * 4);
        // SAFETY: the mask lets only `lanes` words be read, which are there as asserted.
        let (bias, multipliers) = unsafe {
            let bias = _mm512_maskz_loadu_epi32(mask, bias.as_ptr().cast());
            (bias, _mm512_maskz_loadu_ps(mask, multipliers.as_ptr().cast()))
        };
        let target = match &args.y {
            ConvOutput::I8(_, target) => *target,
            ConvOutput::F32(_) => Target::new(0, 0, 0),
        };
        Self { bias, multipliers, mask, lanes, limits: Limits512::new(target) }
    }

    /// Requantizes and stores the sums (bias and all) of one position from element `place` of the output on.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    pub fn store(&self, y: &mut ConvOutput<'_>, place: usize, sums: __m512i) {
        let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), self.multipliers);
        match y {
            ConvOutput::I8(y, _) => {
                let out = &mut y[place..][..self.lanes];
                let stored = self.limits.quantize(scaled);
                if self.lanes == BLOCK {
                    // SAFETY: `out` has 16 bytes.
                    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), stored) };
                } else {
                    // SAFETY: the mask lets only `lanes` bytes be written, which `out` has.
                    unsafe { _mm_mask_storeu_epi8(out.as_mut_ptr(), self.mask, stored) };
                }
            }
            ConvOutput::F32(y) => {
                let out = &mut y[place..][..self.lanes];
                // SAFETY: the mask lets only `lanes` words be written, which `out` has.
                unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), self.mask, scaled) };
            }
        }
    }
}
