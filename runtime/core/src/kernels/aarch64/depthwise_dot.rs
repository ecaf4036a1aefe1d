//! Int8 depthwise convolution with SDOT, for windows of 3 × 3: the three rows of a column are interleaved
//! to one group of four bytes for each channel, once for all positions that see the column.

use core::arch::aarch64::*;

use super::depthwise as long;
use super::dot::sdot_all;
use super::requantize::Channels;
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
    let out_c = args.window.out_c as usize;
    let channels = Channels::<4>::new(args, block.channel, block.lanes);
    let weights: [Column; SIDE] = core::array::from_fn(|column| {
        interleave(core::array::from_fn(|row| {
            // SAFETY: an array of bytes.
            unsafe { vld1q_s8(block.weights(args, row * SIDE + column).as_ptr()) }
        }))
    });
    let step = block.column_step;
    for line in 0..block.lines {
        let rows: [*const i8; SIDE] = core::array::from_fn(|row| block.pointer(line, row));
        let mut at = 0;
        let mut next = || {
            // SAFETY: 16 bytes of every tap of every position can be read, as `for_each_block` has seen.
            let column = interleave(rows.map(|row| unsafe { vld1q_s8(row.add(at)) }));
            at += step;
            column
        };
        let mut place = block.place(line, out_c);
        let mut emit = |columns: [&Column; SIDE]| {
            let mut sums = channels.bias;
            for (column, weights) in columns.into_iter().zip(&weights) {
                sdot_all(&mut sums, column, weights);
            }
            channels.store(&mut args.y, place, block.lanes, sums);
            place += out_c;
        };
        // Columns stay where they are; what moves is which of them is the first.
        let mut left = block.columns;
        if STRIDE == 1 {
            let (mut a, mut b) = (next(), next());
            loop {
                let c = next();
                emit([&a, &b, &c]);
                if left == 1 {
                    break;
                }
                a = next();
                emit([&b, &c, &a]);
                if left == 2 {
                    break;
                }
                b = next();
                emit([&c, &a, &b]);
                left -= 3;
                if left == 0 {
                    break;
                }
            }
        } else {
            let mut a = next();
            loop {
                let (b, c) = (next(), next());
                emit([&a, &b, &c]);
                if left == 1 {
                    break;
                }
                let b = next();
                a = next();
                emit([&c, &b, &a]);
                left -= 2;
                if left == 0 {
                    break;
                }
            }
        }
    }
}
