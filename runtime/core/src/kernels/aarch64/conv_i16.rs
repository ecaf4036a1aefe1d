//! Convolution of int16 with int8 weights: weights widened to 16 bits and multiplied by SMLAL.
//!
//! Up to three rows times 8 output channels in registers. A register holds four partial sums of one channel; they meet
//! when a block is finished, or where sums must go on in 64 bits.

use core::arch::aarch64::*;
use core::arch::asm;

use super::finish_i16::Finish;
use crate::kernels::rows::{Reach, Rows, Tile, for_each_rows};
use crate::kernels::{Bias, ConvI16Args};
use crate::weights::{BLOCK, GROUP, WIDE_RUN, block_width};

/// Rows multiplied at once.
const ROWS: usize = 3;

/// [`crate::plan::step::ConvI16`].
pub(super) fn conv(args: ConvI16Args<'_>) {
    for_each_rows(args, |args, rows, weights| all(args, rows, weights));
}

fn all(args: &mut ConvI16Args<'_>, rows: &Rows<'_, i16>, weights: &[u8]) {
    rows.for_each_tile::<ROWS>(|tile| match tile.count {
        1 => blocks::<1>(args, tile, rows.group, weights),
        2 => blocks::<2>(args, tile, rows.group, weights),
        _ => blocks::<ROWS>(args, tile, rows.group, weights),
    });
}

/// Multiplies the rows of a tile with all blocks of a group and stores the results.
fn blocks<const R: usize>(args: &mut ConvI16Args<'_>, tile: &Tile<'_, ROWS, i16>, group: usize, weights: &[u8]) {
    let (group_out, out_c) = (args.window.group_out(), args.window.out_c as usize);
    let reach = tile.reach;
    let rows: [*const i16; R] = core::array::from_fn(|row| tile.pointer(row.min(tile.count - 1)));
    let mut rest = weights;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let (block, behind) = rest.split_at(width * reach.packed_len());
        rest = behind;
        let (channel, lanes) = (group * group_out + start, width.min(group_out - start));
        let finish = Finish::new(args, channel, lanes);
        let place = |row: usize| (tile.first + row) * out_c + channel;
        // Sums of so few products fit 32 bits without the bias, whatever they are.
        if matches!(args.bias, Bias::I32(_)) || reach.packed_len() <= WIDE_RUN {
            // SAFETY: the rows can be read as far as the reach, and the block has weights for it.
            let sums = unsafe { products::<R>(rows, &reach, block.as_ptr(), width) };
            for (row, sums) in sums.iter().enumerate().take(tile.count) {
                // SAFETY: NEON; 16 words, and the output has the positions of the rows.
                unsafe {
                    let part = |part: usize| vld1q_s32(sums.as_ptr().add(4 * part));
                    finish.store(place(row), [part(0), part(1), part(2), part(3)]);
                }
            }
            continue;
        }
        let mut totals = [[0_i64; BLOCK]; R];
        reach.for_each_run(|offset, run, first| {
            let rows = rows.map(|row| row.wrapping_add(offset));
            let weights = block.as_ptr().wrapping_add(first * width * GROUP);
            // SAFETY: the run is a part of the reach.
            let sums = unsafe { products::<R>(rows, run, weights, width) };
            for (total, sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                *total += i64::from(*sum);
            }
        });
        for (row, totals) in totals.iter().enumerate().take(tile.count) {
            // SAFETY: the output has the positions of the rows.
            unsafe { finish.store_totals(place(row), totals) };
        }
    }
}

/// `Σ x·w` of `R` rows with `width` channels; 0 for the others.
///
/// # Safety
/// As for [`channels`].
#[inline(always)]
unsafe fn products<const R: usize>(
    rows: [*const i16; R],
    reach: &Reach,
    weights: *const u8,
    width: usize,
) -> [[i32; BLOCK]; R] {
    let mut sums = [[0; BLOCK]; R];
    for first in (0..width).step_by(8) {
        let weights = weights.wrapping_add(first * GROUP);
        // SAFETY: the caller's promise.
        unsafe {
            if width - first >= 8 {
                channels::<R, 2>(rows, reach, weights, width, first, &mut sums);
            } else {
                channels::<R, 1>(rows, reach, weights, width, first, &mut sums);
            }
        }
    }
    sums
}

/// `vmlal_high_s16(sum, w, x)`, which compilers would make of two instructions where they know that the halves of `x` are
/// the same.
#[inline(always)]
fn multiply_high(mut sum: int32x4_t, w: int16x8_t, x: int16x8_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes registers, and is part of NEON.
    unsafe {
        asm!(
            "smlal2 {sum:v}.4s, {w:v}.8h, {x:v}.8h",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// `Σ x·w` of `R` rows with `P` times four channels, from channel `first` of a block of `width` on, whose weights
/// `weights` points to.
///
/// # Safety
/// The rows can be read as far as the reach, and there are weights for it.
#[inline(always)]
unsafe fn channels<const R: usize, const P: usize>(
    rows: [*const i16; R],
    reach: &Reach,
    weights: *const u8,
    width: usize,
    first: usize,
    out: &mut [[i32; BLOCK]; R],
) {
    // SAFETY: every AArch64 CPU that runs the standard library, or that this file is built for, has NEON.
    let mut sums = [[[unsafe { vdupq_n_s32(0) }; 4]; P]; R];
    let mut w = weights.cast::<i8>();
    reach.for_each_segment(|offset| {
        for quad in 0..reach.quads {
            // SAFETY: the segment has `quads` groups of four elements, each of which has four weights for each channel.
            unsafe {
                let x = rows.map(|row| vld1_s16(row.add(offset + quad * GROUP)));
                for part in 0..P {
                    let bytes = vld1q_s8(w.add(part * 16));
                    let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
                    for (sums, x) in sums.iter_mut().zip(x) {
                        let [a, b, c, d] = &mut sums[part];
                        let twice = vcombine_s16(x, x);
                        *a = vmlal_s16(*a, vget_low_s16(low), x);
                        *b = multiply_high(*b, low, twice);
                        *c = vmlal_s16(*c, vget_low_s16(high), x);
                        *d = multiply_high(*d, high, twice);
                    }
                }
            }
            w = w.wrapping_add(width * GROUP);
        }
    });
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, [a, b, c, d]) in out[first..].as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            // SAFETY: `out` has the four words that are written.
            unsafe { vst1q_s32(out.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) };
        }
    }
}
