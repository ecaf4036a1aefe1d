//! Float convolution with NEON: up to 5 positions × 16 output channels in registers. Four input channels of a
//! position are loaded at once and multiplied lane by lane.

use core::arch::aarch64::*;
use core::ops::Range;

use crate::kernels::float::{self, Strip, Vector, next_tile, place, tile};
use crate::kernels::portable::attention::attention_by;
use crate::kernels::portable::{conv_f32, pool};
use crate::kernels::{AttentionArgs, ConvF32Args};
use crate::plan::step::MatMul;
use crate::weights::F32_BLOCK;

// The safety of the calls inside is that of the trait: every AArch64 CPU with an operating system has NEON, and
// the elements are there.
impl Vector for float32x4_t {
    const LANES: usize = 4;
    const ATTENTION_REGISTERS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: see above.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: see above.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: see above.
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0; Self::LANES];
        // SAFETY: see above; `lanes` takes them all.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), self);
            lanes.iter().take(count).enumerate().for_each(|(index, lane)| *to.add(index) = *lane);
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, x: Self, w: Self) -> Self {
        // SAFETY: see above.
        unsafe { vfmaq_f32(self, x, w) }
    }

    #[inline(always)]
    unsafe fn multiply(self, x: Self) -> Self {
        // SAFETY: see above.
        unsafe { vmulq_f32(self, x) }
    }

    #[inline(always)]
    unsafe fn add_product(self, x: Self, w: Self) -> Self {
        // SAFETY: see above.
        unsafe { vaddq_f32(self, vmulq_f32(x, w)) }
    }

    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        // SAFETY: see above.
        unsafe { vminq_f32(vmaxq_f32(self, low), high) }
    }

    #[inline(always)]
    fn strip_blocks(blocks: usize, positions: usize) -> usize {
        if blocks >= 2 && positions < 4 { 2 } else { 1 }
    }

    unsafe fn strip(strip: &Strip<'_>, mut range: Range<usize>) {
        macro_rules! tiles {
            ($($registers:literal: [$($size:literal),*]),*) => {
                match strip.registers::<Self>() {
                    $($registers => {
                        while let Some((size, first)) = next_tile(&mut range, &[$($size),*]) {
                            match size {
                                // SAFETY: the caller's promise.
                                $($size => unsafe { tile::<Self, $size, $registers>(strip, first) },)*
                                _ => {}
                            }
                        }
                    })*
                    _ => {}
                }
            };
        }
        tiles!(1: [8, 4, 1], 2: [8, 4, 1], 4: [5, 4, 1], 8: [1]);
    }

    #[inline(always)]
    unsafe fn accumulate<const R: usize, const N: usize>(
        sums: &mut [[Self; N]; R],
        x: [*const f32; R],
        weights: *const f32,
        block_len: usize,
        count: usize,
    ) {
        macro_rules! channel {
            ($sums:ident, $values:ident, $channel:expr, $lane:literal) => {
                for register in 0..N {
                    let row =
                        Self::load(weights.add(($channel + $lane) * F32_BLOCK + place::<Self>(register, block_len)));
                    for (sums, values) in $sums.iter_mut().zip($values) {
                        sums[register] = vfmaq_laneq_f32::<$lane>(sums[register], row, values);
                    }
                }
            };
        }
        // SAFETY: the caller's promise: `count` channels of each position, as many rows of each block.
        unsafe {
            let quads = count / Self::LANES * Self::LANES;
            for channel in (0..quads).step_by(Self::LANES) {
                let values = x.map(|x| Self::load(x.add(channel)));
                channel!(sums, values, channel, 0);
                channel!(sums, values, channel, 1);
                channel!(sums, values, channel, 2);
                channel!(sums, values, channel, 3);
            }
            for channel in quads..count {
                let values = x.map(|x| Self::splat(*x.add(channel)));
                channel!(sums, values, channel, 0);
            }
        }
    }
}

/// [`crate::plan::step::ConvF32`].
pub(super) fn conv(args: ConvF32Args<'_>) {
    // SAFETY: see the implementation of `Vector`.
    unsafe { float::conv::<float32x4_t>(args) }
}

/// [`crate::plan::step::DepthwiseF32`].
pub(super) fn depthwise(args: ConvF32Args<'_>) {
    if args.window.out_c != args.window.in_c || (args.window.in_c as usize) < float32x4_t::LANES {
        return conv_f32::depthwise(args);
    }
    // SAFETY: see the implementation of `Vector`.
    unsafe { float::depthwise::<float32x4_t>(args) }
}

/// [`crate::plan::step::Attention`].
pub(super) fn attention(args: AttentionArgs<'_>) {
    // SAFETY: see the implementation of `Vector`.
    unsafe { attention_by::<float::InVectors<float32x4_t>>(args) }
}

/// [`MatMul`] of float32.
pub(super) fn matmul(s: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]) {
    if !float::packs(s) {
        return pool::matmul_f32(s, a, b, y);
    }
    // SAFETY: see the implementation of `Vector`.
    unsafe { float::matmul::<float32x4_t>(s, a, b, y) }
}
