//! The end of a kernel of int16: sums of 16 channels to stored results.

use core::arch::aarch64::*;

use crate::kernels::ConvI16Args;
use crate::kernels::channels_i16::{Channels, Results, Room, Start};
use crate::weights::BLOCK;

/// Bias, multipliers and results of up to 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    bias: [int32x4_t; 4],
    wide_bias: [int64x2_t; 8],
    is_wide: bool,
    /// All sums of 64 bits, bias and all, are below 2⁵¹ in magnitude.
    is_exact: bool,
    multipliers: [float32x4_t; 4],
    zero_point: int32x4_t,
    low: int16x8_t,
    high: int16x8_t,
    results: Results,
    lanes: usize,
}

impl Finish {
    /// The `lanes` channels from `channel` on.
    pub fn new(args: &mut ConvI16Args<'_>, channel: usize, lanes: usize) -> Self {
        let mut room = Room::new();
        let of = Channels::of(args, channel, lanes, &mut room);
        let (low, high, zero_point) = of.limits;
        // SAFETY: NEON is there on every AArch64; bytes of 16 elements.
        unsafe {
            let (mut bias, mut wide_bias) = ([vdupq_n_s32(0); 4], [vdupq_n_s64(0); 8]);
            match of.bias {
                Start::I32(bytes) => bias = bytes.as_ptr().cast::<[int32x4_t; 4]>().read_unaligned(),
                Start::I64(bytes) => wide_bias = bytes.as_ptr().cast::<[int64x2_t; 8]>().read_unaligned(),
            }
            Self {
                bias,
                wide_bias,
                is_wide: matches!(of.bias, Start::I64(_)),
                is_exact: of.is_exact,
                multipliers: of.multipliers.as_ptr().cast::<[float32x4_t; 4]>().read_unaligned(),
                zero_point: vdupq_n_s32(zero_point),
                // Limits are values of the type that is stored.
                low: vdupq_n_s16((low as i32 + zero_point) as i16),
                high: vdupq_n_s16((high as i32 + zero_point) as i16),
                results: of.results,
                lanes,
            }
        }
    }

    /// Adds a number to the bias of each channel.
    pub fn add_to_bias(&mut self, numbers: &[i64; BLOCK]) {
        // SAFETY: NEON; pairs of 16 elements.
        unsafe {
            let pairs = numbers.as_ptr().cast::<[int64x2_t; 8]>().read_unaligned();
            for (bias, pairs) in self.bias.iter_mut().zip(pairs.as_chunks::<2>().0) {
                // Sums of 32 bits come out right whatever lies above.
                *bias = vaddq_s32(*bias, vmovn_high_s64(vmovn_s64(pairs[0]), pairs[1]));
            }
            for (bias, pair) in self.wide_bias.iter_mut().zip(pairs) {
                *bias = vaddq_s64(*bias, pair);
            }
        }
    }

    /// Sums with the bias of 64 bits.
    #[inline(always)]
    fn with_sums(&self, sums: [int32x4_t; 4]) -> [int64x2_t; 8] {
        let mut totals = self.wide_bias;
        for (totals, sums) in totals.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
            // SAFETY: NEON.
            *totals = unsafe { [vaddw_s32(totals[0], vget_low_s32(sums)), vaddw_high_s32(totals[1], sums)] };
        }
        totals
    }

    /// Stores the results of one position from element `place` of the output on; `sums` are without bias.
    ///
    /// # Safety
    /// The output of the arguments is still there, and `place` is that of the first channel at a position of it.
    #[inline(always)]
    pub unsafe fn store(&self, place: usize, sums: [int32x4_t; 4]) {
        // SAFETY: NEON; and the caller's promise.
        unsafe {
            if self.is_wide {
                return self.store_wide(place, sums);
            }
            let real = |part: usize| vcvtq_f32_s32(vaddq_s32(sums[part], self.bias[part]));
            self.put(place, [real(0), real(1), real(2), real(3)]);
        }
    }

    /// [`Self::store`] where the bias has 64 bits.
    #[inline(never)]
    unsafe fn store_wide(&self, place: usize, sums: [int32x4_t; 4]) {
        // SAFETY: NEON; and the caller's promise.
        unsafe { self.finish_totals(place, self.with_sums(sums)) };
    }

    /// [`Self::store`] of sums of 64 bits.
    ///
    /// # Safety
    /// As for [`Self::store`].
    pub unsafe fn store_totals(&self, place: usize, totals: &[i64; BLOCK]) {
        // SAFETY: NEON; and the caller's promise.
        unsafe {
            let mut with_bias = self.wide_bias;
            for (to, totals) in with_bias.iter_mut().zip(totals.as_chunks::<2>().0) {
                *to = vaddq_s64(*to, vld1q_s64(totals.as_ptr()));
            }
            self.finish_totals(place, with_bias);
        }
    }

    #[inline(always)]
    unsafe fn finish_totals(&self, place: usize, totals: [int64x2_t; 8]) {
        // SAFETY: NEON; and the caller's promise.
        unsafe {
            let mut real = [vdupq_n_f32(0.0); 4];
            if self.is_exact {
                // f64 holds them exactly, so they are rounded once.
                for (real, totals) in real.iter_mut().zip(totals.as_chunks::<2>().0) {
                    let low = vcvt_f32_f64(vcvtq_f64_s64(totals[0]));
                    *real = vcvt_high_f32_f64(low, vcvtq_f64_s64(totals[1]));
                }
            } else {
                let (mut whole, mut nearest) = ([0_i64; BLOCK], [0.0_f32; BLOCK]);
                for (to, totals) in whole.as_chunks_mut::<2>().0.iter_mut().zip(totals) {
                    vst1q_s64(to.as_mut_ptr(), totals);
                }
                nearest.iter_mut().zip(whole).for_each(|(to, total)| *to = total as f32);
                for (real, nearest) in real.iter_mut().zip(nearest.as_chunks::<4>().0) {
                    *real = vld1q_f32(nearest.as_ptr());
                }
            }
            self.put(place, real);
        }
    }

    #[inline(always)]
    unsafe fn put(&self, place: usize, real: [float32x4_t; 4]) {
        // SAFETY: NEON; as many elements are written as there are channels, which are there as the caller promises.
        unsafe {
            let scaled = |part: usize| vmulq_f32(real[part], self.multipliers[part]);
            let scaled = [scaled(0), scaled(1), scaled(2), scaled(3)];
            let words = [self.words(scaled[0], scaled[1]), self.words(scaled[2], scaled[3])];
            match self.results {
                Results::I16(y) if self.lanes == BLOCK => {
                    vst1q_s16(y.add(place), words[0]);
                    vst1q_s16(y.add(place + 8), words[1]);
                }
                Results::I16(y) => {
                    let mut all = [0_i16; BLOCK];
                    vst1q_s16(all.as_mut_ptr(), words[0]);
                    vst1q_s16(all.as_mut_ptr().add(8), words[1]);
                    all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
                Results::I8(y) => {
                    let bytes = vmovn_high_s16(vmovn_s16(words[0]), words[1]);
                    if self.lanes == BLOCK {
                        return vst1q_s8(y.add(place), bytes);
                    }
                    let mut all = [0_i8; BLOCK];
                    vst1q_s8(all.as_mut_ptr(), bytes);
                    all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
                Results::F32(y) => {
                    let mut all = [0.0_f32; BLOCK];
                    for (to, scaled) in all.as_chunks_mut::<4>().0.iter_mut().zip(scaled) {
                        vst1q_f32(to.as_mut_ptr(), scaled);
                    }
                    all.as_ptr().copy_to_nonoverlapping(y.add(place), self.lanes);
                }
            }
        }
    }

    /// `clamp(round_half_even(value) + zero_point)` of eight values. FCVTNS rounds half to even and saturates, and so do
    /// addition and narrowing: past the limits the clamp gives the same as before rounding.
    #[inline(always)]
    fn words(&self, left: float32x4_t, right: float32x4_t) -> int16x8_t {
        // SAFETY: NEON.
        unsafe {
            let left = vqmovn_s32(vqaddq_s32(vcvtnq_s32_f32(left), self.zero_point));
            let words = vqmovn_high_s32(left, vqaddq_s32(vcvtnq_s32_f32(right), self.zero_point));
            vminq_s16(vmaxq_s16(words, self.low), self.high)
        }
    }
}
