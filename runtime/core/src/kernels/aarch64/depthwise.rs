//! Int8 depthwise convolution, 16 channels at a time: SMULL and SMLAL add the products of two taps in 16
//! bits, SADDW adds them to 32 bits.

use core::arch::aarch64::*;

use super::fallback;
use super::finish::Finish;
use crate::kernels::channel_blocks::{Block, for_each_block};
use crate::kernels::source::Source;
use crate::kernels::view::i8s;
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::weights::BLOCK;

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    if !suits(&args) || !args.narrow {
        return fallback::depthwise(args);
    }
    let finish = Finish::of(&args);
    match (args.window.kernel_h, args.window.kernel_w) {
        (3, 3) => for_each_block(args, |args, block| taps::<3, 3>(args, block, finish)),
        (5, 5) => for_each_block(args, |args, block| taps::<5, 5>(args, block, finish)),
        (1, 3) => for_each_block(args, |args, block| taps::<1, 3>(args, block, finish)),
        (3, 1) => for_each_block(args, |args, block| taps::<3, 1>(args, block, finish)),
        _ => fallback::depthwise(args),
    }
}

/// Whether all blocks have 16 channels, or the only one 8, all can be read and stored as they are.
pub(super) fn suits(args: &ConvI8Args<'_>) -> bool {
    let window = args.window;
    let readable = window.in_c >= 16 || window.in_c == 8 && Source::of_depthwise(window) == Source::Lines;
    window.out_c == window.in_c
        && args.weight_zero_points.is_empty()
        && readable
        && matches!(args.y, ConvOutput::I8(..))
}

/// Weights of tap `tap`; of 8 channels they stand there twice.
#[inline(always)]
pub(super) fn weights(args: &ConvI8Args<'_>, block: &Block<'_>, tap: usize) -> int8x16_t {
    let stored = &i8s(args.weights)[tap * args.window.out_c as usize + block.channel..][..block.lanes];
    // SAFETY: NEON is there on every AArch64; a block has 16 channels or 8.
    unsafe {
        if stored.len() == BLOCK {
            return vld1q_s8(stored.as_ptr());
        }
        let half = vld1_s8(stored.as_ptr());
        vcombine_s8(half, half)
    }
}

/// Bias and multipliers of 16 channels; those of 8 stand there twice.
pub(super) struct Twice {
    bias: [i32; BLOCK],
    multipliers: [f32; BLOCK],
}

/// Places `finish` at the results of a block.
#[inline(always)]
pub(super) fn place(args: &mut ConvI8Args<'_>, block: &Block<'_>, finish: &mut Finish, room: &mut Option<Twice>) {
    finish.place(args, block.first, block.lines * block.columns, block.channel, block.lanes);
    finish.step = args.window.out_c as usize;
    if block.lanes < BLOCK {
        let twice = room.insert(Twice {
            bias: core::array::from_fn(|lane| args.bias.get(block.channel + lane % block.lanes)),
            multipliers: core::array::from_fn(|lane| args.multipliers.get(block.channel + lane % block.lanes)),
        });
        finish.bias = twice.bias.as_ptr();
        finish.multipliers = twice.multipliers.as_ptr();
    }
}

/// All positions of a block of channels.
fn taps<const H: usize, const W: usize>(args: &mut ConvI8Args<'_>, block: &Block<'_>, mut finish: Finish) {
    // SAFETY: NEON.
    let mut kernel = [[unsafe { vdupq_n_s8(0) }; W]; H];
    for (row, taps) in kernel.iter_mut().enumerate() {
        for (column, tap) in taps.iter_mut().enumerate() {
            *tap = weights(args, block, row * W + column);
        }
    }
    let position_step = args.window.stride_w as usize * args.window.in_c as usize;
    let mut room = None;
    place(args, block, &mut finish, &mut room);
    // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen, and `place` has
    // seen the channels and the positions.
    unsafe {
        let bias: [_; 4] = core::array::from_fn(|part| vld1q_s32(finish.bias.add(4 * part)));
        let multipliers = core::array::from_fn(|part| vld1q_f32(finish.multipliers.add(4 * part)));
        let mut y = finish.y;
        for line in 0..block.lines {
            let mut x = block.pointer(0, 0).add(line * block.line_step);
            for _ in 0..block.columns {
                let product = |tap: usize| {
                    let (row, column) = (tap / W, tap % W);
                    (vld1q_s8(x.add(row * block.row_step + column * block.column_step)), kernel[row][column])
                };
                let mut sums = bias;
                for tap in (0..H * W - 1).step_by(2) {
                    let ((x0, w0), (x1, w1)) = (product(tap), product(tap + 1));
                    let low = vmull_s8(vget_low_s8(x0), vget_low_s8(w0));
                    let low = vmlal_s8(low, vget_low_s8(x1), vget_low_s8(w1));
                    add(&mut sums, low, vmlal_high_s8(vmull_high_s8(x0, w0), x1, w1));
                }
                if H * W % 2 == 1 {
                    let (x, w) = product(H * W - 1);
                    add(&mut sums, vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w));
                }
                let results = finish.store(sums, &multipliers);
                if block.lanes == BLOCK {
                    vst1q_s8(y, results);
                } else {
                    vst1_s8(y, vget_low_s8(results));
                }
                x = x.wrapping_add(position_step);
                y = y.wrapping_add(finish.step);
            }
        }
    }
}

/// Adds 16 words to the sums of 16 channels.
#[inline(always)]
fn add(sums: &mut [int32x4_t; 4], low: int16x8_t, high: int16x8_t) {
    // SAFETY: NEON.
    unsafe {
        *sums = [
            vaddw_s16(sums[0], vget_low_s16(low)),
            vaddw_high_s16(sums[1], low),
            vaddw_s16(sums[2], vget_low_s16(high)),
            vaddw_high_s16(sums[3], high),
        ];
    }
}
