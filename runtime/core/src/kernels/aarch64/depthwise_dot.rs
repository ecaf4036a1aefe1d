//! Int8 depthwise convolution with SDOT, for windows of 3 × 3: the three rows of a column are interleaved
//! to one group of four bytes for each channel, once for all positions that see the column.

use core::arch::aarch64::*;

use super::blocks::for_each_run;
use super::depthwise as long;
use super::dot::sdot_all;
use crate::kernels::ConvI8Args;
use crate::kernels::rows::{Block, Source, for_each_block};

/// Rows and columns of the window.
const SIDE: usize = 3;

/// Three bytes and a zero for each of 16 channels.
type Column = [int8x16_t; 4];

/// [`crate::plan::step::ConvI8`], depthwise.
pub(super) fn depthwise(args: ConvI8Args<'_>) {
    let window = args.window;
    let readable = window.in_c >= 16 || Source::of_depthwise(window) == Source::Lines;
    let fits = (window.kernel_h, window.kernel_w) == (3, 3)
        && (window.dilation_h, window.dilation_w) == (1, 1)
        && window.out_c == window.in_c
        && args.weight_zero_points.is_empty()
        && readable;
    match window.stride_w {
        // SAFETY: this function stands only in kernels that `available` gives out where SDOT is there.
        1 if fits => for_each_block(args, |args, block| unsafe { slide::<1>(args, block) }),
        // SAFETY: as above.
        2 if fits => for_each_block(args, |args, block| unsafe { slide::<2>(args, block) }),
        _ => long::depthwise(args),
    }
}

/// Interleaves three rows of 16 channels.
#[target_feature(enable = "neon,dotprod")]
fn interleave(rows: [int8x16_t; SIDE]) -> Column {
    let zero = vdupq_n_s8(0);
    let [a, b, c] = rows;
    let zip = |low: int8x16_t, high: int8x16_t| {
        let (low, high) = (vreinterpretq_s16_s8(low), vreinterpretq_s16_s8(high));
        [vreinterpretq_s8_s16(vzip1q_s16(low, high)), vreinterpretq_s8_s16(vzip2q_s16(low, high))]
    };
    let [first, second] = zip(vzip1q_s8(a, b), vzip1q_s8(c, zero));
    let [third, fourth] = zip(vzip2q_s8(a, b), vzip2q_s8(c, zero));
    [first, second, third, fourth]
}

/// All positions of a block of channels, `STRIDE` columns apart.
#[target_feature(enable = "neon,dotprod")]
fn slide<const STRIDE: usize>(args: &mut ConvI8Args<'_>, block: &Block<'_>) {
    if block.lanes == 8 { slide_of::<STRIDE, 8>(args, block) } else { slide_of::<STRIDE, 16>(args, block) }
}

#[target_feature(enable = "neon,dotprod")]
fn slide_of<const STRIDE: usize, const LANES: usize>(args: &mut ConvI8Args<'_>, block: &Block<'_>) {
    // SAFETY: arrays of 16 bytes.
    let column = |column: usize| unsafe {
        interleave([
            vld1q_s8(block.weights(args, column).as_ptr()),
            vld1q_s8(block.weights(args, SIDE + column).as_ptr()),
            vld1q_s8(block.weights(args, 2 * SIDE + column).as_ptr()),
        ])
    };
    let weights = [column(0), column(1), column(2)];
    for_each_run::<LANES>(args, block, |finish, run| {
        let row = |row: usize| block.pointer(run.line, row).wrapping_add(run.column * block.position_step);
        let [top, middle, bottom] = [row(0), row(1), row(2)];
        let count = run.count;
        // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen, and `finish` has
        // the channels and the positions.
        unsafe {
            let channels = finish.channels::<LANES>(0);
            let mut at = 0;
            let mut next = || {
                let column = interleave([vld1q_s8(top.add(at)), vld1q_s8(middle.add(at)), vld1q_s8(bottom.add(at))]);
                at += block.column_step;
                column
            };
            let emit = |position: usize, a: &Column, b: &Column, c: &Column| {
                let mut sums = channels.bias;
                sdot_all(&mut sums, a, &weights[0]);
                sdot_all(&mut sums, b, &weights[1]);
                sdot_all(&mut sums, c, &weights[2]);
                finish.store::<LANES>(&channels, run.position + position, 0, sums);
            };
            // Columns stay where they are; what moves is which of them is the first.
            let mut position = 0;
            if STRIDE == 1 {
                let (mut a, mut b) = (next(), next());
                loop {
                    let c = next();
                    emit(position, &a, &b, &c);
                    if position + 1 == count {
                        break;
                    }
                    a = next();
                    emit(position + 1, &b, &c, &a);
                    if position + 2 == count {
                        break;
                    }
                    b = next();
                    emit(position + 2, &c, &a, &b);
                    position += 3;
                    if position == count {
                        break;
                    }
                }
            } else {
                let mut a = next();
                loop {
                    let (b, c) = (next(), next());
                    emit(position, &a, &b, &c);
                    if position + 1 == count {
                        break;
                    }
                    let b = next();
                    a = next();
                    emit(position + 1, &c, &b, &a);
                    position += 2;
                    if position == count {
                        break;
                    }
                }
            }
        }
    });
}
