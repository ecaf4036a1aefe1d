//! Depthwise convolution of int16 with int8 weights, 16 channels at a time: weights are widened once, and SMLAL adds the
//! products.

use core::arch::aarch64::*;

use super::fallback;
use super::finish_i16::Finish;
use crate::kernels::ConvI16Args;
use crate::kernels::channel_blocks::{Block, for_each_block};
use crate::kernels::source::Source;
use crate::weights::BLOCK;

/// Taps that there is room for.
const MOST_TAPS: usize = 64;

/// [`crate::plan::step::DepthwiseI16`].
pub(super) fn depthwise(args: ConvI16Args<'_>) {
    let window = args.window;
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    match window.taps() {
        _ if !readable || window.out_c != window.in_c => fallback::depthwise_i16(args),
        9 => for_each_block(args, |args, block| taps::<9>(args, block)),
        0..=MOST_TAPS => for_each_block(args, |args, block| taps::<MOST_TAPS>(args, block)),
        _ => fallback::depthwise_i16(args),
    }
}

/// All positions of a block of channels with up to `TAPS` taps; exactly so many where that is not the most.
fn taps<const TAPS: usize>(args: &mut ConvI16Args<'_>, block: &Block<'_, i16>) {
    let window = args.window;
    let taps = if TAPS == MOST_TAPS { window.taps() } else { TAPS };
    let columns = window.kernel_w as usize;
    // SAFETY: NEON is there on every AArch64.
    let mut weights = [[unsafe { vdupq_n_s16(0) }; 2]; TAPS];
    let mut offsets = [0; TAPS];
    for (tap, (weights, offset)) in weights.iter_mut().zip(&mut offsets).enumerate().take(taps) {
        // SAFETY: NEON; an array of 16 bytes.
        unsafe {
            let bytes = vld1q_s8(block.weights::<BLOCK>(args, tap).as_ptr());
            *weights = [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)];
        }
        *offset = tap / columns * block.row_step + tap % columns * block.column_step;
    }
    let finish = Finish::new(args, block.channel, block.lanes);
    let (out_c, step) = (window.out_c as usize, window.stride_w as usize * window.in_c as usize);
    let mut place = block.first * out_c + block.channel;
    for line in 0..block.lines {
        let mut x = block.pointer(line, 0);
        for _ in 0..block.columns {
            // SAFETY: NEON; 16 elements of every tap of every position can be read, as `for_each_block` has seen, and
            // `block` has this position.
            unsafe {
                let mut sums = [vdupq_n_s32(0); 4];
                for (weights, offset) in weights.iter().zip(offsets).take(taps) {
                    let x = x.add(offset);
                    let (left, right) = (vld1q_s16(x), vld1q_s16(x.add(8)));
                    sums[0] = vmlal_s16(sums[0], vget_low_s16(left), vget_low_s16(weights[0]));
                    sums[1] = vmlal_high_s16(sums[1], left, weights[0]);
                    sums[2] = vmlal_s16(sums[2], vget_low_s16(right), vget_low_s16(weights[1]));
                    sums[3] = vmlal_high_s16(sums[3], right, weights[1]);
                }
                finish.store(place, sums);
            }
            x = x.wrapping_add(step);
            place += out_c;
        }
    }
}
