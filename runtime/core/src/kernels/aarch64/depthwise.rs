//! Int8 depthwise convolution, 16 channels at a time: SMULL and SMLAL add the products of two taps in 16
//! bits, SADDW adds them to 32 bits.

use core::arch::aarch64::*;

use super::blocks::for_each_run;
use crate::kernels::ConvI8Args;
use crate::kernels::portable::depthwise as portable;
use crate::kernels::rows::{Block, Source, for_each_block};

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    let window = args.window;
    let kernel = (window.kernel_h, window.kernel_w);
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    if window.out_c != window.in_c || !args.weight_zero_points.is_empty() || !args.narrow || !readable {
        return portable::depthwise(args);
    }
    match kernel {
        (3, 3) => for_each_block(args, |args, block| taps::<3, 3>(args, block)),
        (5, 5) => for_each_block(args, |args, block| taps::<5, 5>(args, block)),
        (1, 3) => for_each_block(args, |args, block| taps::<1, 3>(args, block)),
        (3, 1) => for_each_block(args, |args, block| taps::<3, 1>(args, block)),
        _ => portable::depthwise(args),
    }
}

/// All positions of a block of channels.
fn taps<const H: usize, const W: usize>(args: &mut ConvI8Args<'_>, block: &Block<'_>) {
    if block.lanes == 8 { taps_of::<H, W, 8>(args, block) } else { taps_of::<H, W, 16>(args, block) }
}

fn taps_of<const H: usize, const W: usize, const LANES: usize>(args: &mut ConvI8Args<'_>, block: &Block<'_>) {
    // SAFETY: NEON is there on every AArch64.
    let mut weights = [[unsafe { vdupq_n_s8(0) }; W]; H];
    for row in 0..H {
        for column in 0..W {
            // SAFETY: an array of 16 bytes.
            weights[row][column] = unsafe { vld1q_s8(block.weights(args, row * W + column).as_ptr()) };
        }
    }
    for_each_run::<LANES>(args, block, |finish, run| {
        let mut rows = [core::ptr::null(); H];
        for (row, pointer) in rows.iter_mut().enumerate() {
            *pointer = block.pointer(run.line, row);
        }
        // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen, and `finish` has
        // the channels and the positions.
        unsafe {
            let channels = finish.channels::<LANES>(0);
            for index in 0..run.count {
                let at = (run.column + index) * block.position_step;
                let product = |tap: usize| {
                    let (row, column) = (tap / W, tap % W);
                    (vld1q_s8(rows[row].add(at + column * block.column_step)), weights[row][column])
                };
                let mut sums = channels.bias;
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
                finish.store::<LANES>(&channels, run.position + index, 0, sums);
            }
        }
    });
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
