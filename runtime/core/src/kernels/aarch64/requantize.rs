//! The end of an int8 kernel: accumulators to stored results.

use core::arch::aarch64::*;

use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::{BLOCK, LANES};

/// Words in all channels of a block; what is not there is 0.
///
/// `P` registers of four channels.
pub(super) struct Channels<const P: usize> {
    /// What the accumulators start with.
    pub bias: [int32x4_t; P],
    multipliers: [float32x4_t; P],
}

impl<const P: usize> Channels<P> {
    /// Bias and multipliers of `lanes` channels from `channel` on.
    #[inline(always)]
    pub fn new(args: &ConvI8Args<'_>, channel: usize, lanes: usize) -> Self {
        let bias = words::<P>(args.bias.bytes(channel, lanes));
        let multipliers = words::<P>(args.multipliers.bytes(channel, lanes));
        // SAFETY: NEON is there on every AArch64.
        Self { bias, multipliers: multipliers.map(|words| unsafe { vreinterpretq_f32_s32(words) }) }
    }

    /// Requantizes the sums (bias and all) of one position, and stores `lanes` of them from element `place` of
    /// the output on.
    #[inline(always)]
    pub fn store(&self, y: &mut ConvOutput<'_>, place: usize, lanes: usize, sums: [int32x4_t; P]) {
        let mut scaled = self.multipliers;
        for (part, scaled) in scaled.iter_mut().enumerate() {
            // SAFETY: NEON.
            *scaled = unsafe { vmulq_f32(vcvtq_f32_s32(sums[part]), self.multipliers[part]) };
        }
        match y {
            ConvOutput::I8(y, target) => {
                let y = &mut y[place..][..lanes];
                let stored = quantize(scaled, *target);
                if lanes == BLOCK {
                    // SAFETY: `y` has 16 bytes.
                    unsafe { vst1q_s8(y.as_mut_ptr(), stored) };
                } else if lanes == BLOCK / 2 {
                    // SAFETY: `y` has 8 bytes.
                    unsafe { vst1_s8(y.as_mut_ptr(), vget_low_s8(stored)) };
                } else {
                    let mut all = [0_i8; BLOCK];
                    // SAFETY: `all` has 16 bytes.
                    unsafe { vst1q_s8(all.as_mut_ptr(), stored) };
                    y.copy_from_slice(&all[..lanes]);
                }
            }
            ConvOutput::F32(y) => {
                let mut all = [0_f32; BLOCK];
                for (scaled, out) in scaled.into_iter().zip(all.chunks_exact_mut(LANES)) {
                    // SAFETY: `out` has 4 words.
                    unsafe { vst1q_f32(out.as_mut_ptr(), scaled) };
                }
                y[place..][..lanes].copy_from_slice(&all[..lanes]);
            }
        }
    }
}

/// Little-endian words, at least `4·P - 3` of them, the rest 0.
#[inline(always)]
fn words<const P: usize>(bytes: &[u8]) -> [int32x4_t; P] {
    if bytes.len() == 16 * P {
        // SAFETY: `P` times 16 bytes are there.
        return core::array::from_fn(|part| unsafe { vld1q_s32(bytes.as_ptr().add(16 * part).cast()) });
    }
    let mut all = [0_u8; 4 * BLOCK];
    all[..bytes.len()].copy_from_slice(bytes);
    // SAFETY: `all` has 64 bytes, and P is 4 at most.
    core::array::from_fn(|part| unsafe { vld1q_s32(all.as_ptr().add(16 * part).cast()) })
}

/// `clamp(round_half_even(value) + zero_point)` of up to 16 values.
///
/// FCVTNS rounds half to even and saturates, and so do the narrowings: past the limits of int8 the clamp
/// gives the same as before rounding. NaN, which no multiplier of a verified plan makes, becomes zero.
#[inline(always)]
pub(super) fn quantize<const P: usize>(values: [float32x4_t; P], target: Target) -> int8x16_t {
    let (low, high, zero_point) = target.limits();
    // SAFETY: NEON.
    unsafe {
        let rounded = |part: usize| match values.get(part) {
            Some(&value) => vqmovn_s32(vcvtnq_s32_f32(value)),
            None => vdup_n_s16(0),
        };
        let shift = vdupq_n_s16(zero_point);
        let left = vqaddq_s16(vcombine_s16(rounded(0), rounded(1)), shift);
        let right = vqaddq_s16(vcombine_s16(rounded(2), rounded(3)), shift);
        let stored = vcombine_s8(vqmovn_s16(left), vqmovn_s16(right));
        vminq_s8(vmaxq_s8(stored, vdupq_n_s8(low)), vdupq_n_s8(high))
    }
}
