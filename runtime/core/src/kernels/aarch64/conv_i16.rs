//! Convolution of int16 with int8 weights: two rows times 16 output channels at a time.
//!
//! - NEON widens weights to 16 bits, and SMLAL multiplies them; a register holds four partial sums of one channel.
//! - With the dot product, `x - 128` is split into `256·high + low`, both of 8 bits, each of which SDOT multiplies; the
//!   bias takes in `128·Σw`.

#![allow(clippy::needless_range_loop, reason = "rows meet parts of the channels: both index the sums")]

use core::arch::aarch64::*;
use core::arch::asm;

use super::finish_i16::Finish;
use crate::kernels::rows::{Reach, Rows, for_each_rows};
use crate::kernels::{Bias, ConvI16Args};
use crate::weights::{BLOCK, GROUP, LANES, WIDE_RUN, block_width};

/// Rows multiplied at once.
const ROWS: usize = 2;

/// Sums of some rows with 16 channels.
type Sums = [[i32; BLOCK]; ROWS];

/// Puts `Σ x·w` of one row, or of two, with `width` channels into the sums.
type Products = unsafe fn(&[*const i16; ROWS], bool, &Reach, *const i8, usize, &mut Sums);

/// [`crate::plan::step::ConvI16`].
pub(super) fn conv(mut args: ConvI16Args<'_>) {
    for_each_rows(&mut args, |args, rows, weights| all(args, rows, weights, products, false));
}

/// [`crate::plan::step::ConvI16`] with the dot product.
pub(super) fn conv_dot(mut args: ConvI16Args<'_>) {
    // Stands only in kernels that `available` gives out where there is SDOT.
    for_each_rows(&mut args, |args, rows, weights| all(args, rows, weights, products_dot, true));
}

/// Multiplies all rows with all blocks of a group and stores the results; `is_less` where 128 is taken off the input.
fn all(args: &mut ConvI16Args<'_>, rows: &Rows<'_, i16>, weights: &[u8], multiply: Products, is_less: bool) {
    let (group_out, out_c) = (args.window.group_out(), args.window.out_c as usize);
    let reach = &rows.reach;
    let mut rest = weights;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let (block, behind) = rest.split_at(width * reach.packed_len());
        rest = behind;
        let (channel, lanes) = (rows.group * group_out + start, width.min(group_out - start));
        let mut finish = Finish::new(args, channel, lanes);
        if is_less {
            finish.add_to_bias(&times_128(block, width));
        }
        let block = block.as_ptr().cast::<i8>();
        // Sums of so few products fit 32 bits without the bias, whatever they are.
        let at_once = matches!(args.bias, Bias::I32(_)) || reach.packed_len() <= WIDE_RUN;
        let mut sums = [[0; BLOCK]; ROWS];
        rows.for_each_tile::<ROWS>(|tile| {
            let place = |row: usize| (tile.first + row) * out_c + channel;
            let two = tile.count == ROWS;
            let from = [tile.pointer(0), tile.pointer(tile.count - 1)];
            if at_once {
                // SAFETY: the rows can be read as far as the reach, the block has weights for it, and the output the
                // positions of the rows.
                unsafe {
                    multiply(&from, two, reach, block, width, &mut sums);
                    for (row, sums) in sums.iter().enumerate().take(tile.count) {
                        finish.store(place(row), sums.as_ptr().cast::<[int32x4_t; 4]>().read_unaligned());
                    }
                }
                return;
            }
            let mut totals = [[0_i64; BLOCK]; ROWS];
            reach.for_each_run(|offset, run, first| {
                let from = from.map(|row| row.wrapping_add(offset));
                // SAFETY: the run is a part of the reach.
                unsafe { multiply(&from, two, run, block.wrapping_add(first * width * GROUP), width, &mut sums) };
                for (total, sum) in totals.iter_mut().flatten().zip(sums.iter().flatten()) {
                    *total += i64::from(*sum);
                }
            });
            for (row, totals) in totals.iter().enumerate().take(tile.count) {
                // SAFETY: the output has the positions of the rows.
                unsafe { finish.store_totals(place(row), totals) };
            }
        });
    }
}

/// `128·Σw` of each channel of a block.
fn times_128(block: &[u8], width: usize) -> [i64; BLOCK] {
    // So many weights of a channel fit 32 bits, whatever they are.
    const MOST: usize = 1 << 20;
    let mut totals = [0; BLOCK];
    for part in block.chunks(width * MOST) {
        let mut sums = [0; BLOCK];
        for group in part.chunks_exact(width * GROUP) {
            for (sum, weights) in sums.iter_mut().zip(group.as_chunks::<GROUP>().0) {
                *sum += weights.iter().map(|&w| i32::from(w.cast_signed())).sum::<i32>();
            }
        }
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += 128 * i64::from(sum));
    }
    totals
}

/// # Safety
/// The rows can be read as far as the reach, and there are weights for it.
unsafe fn products(
    rows: &[*const i16; ROWS],
    two: bool,
    reach: &Reach,
    weights: *const i8,
    width: usize,
    sums: &mut Sums,
) {
    for first in (0..width).step_by(2 * LANES) {
        let weights = weights.wrapping_add(first * GROUP);
        // SAFETY: the caller's promise.
        unsafe {
            match (two, width - first > LANES) {
                (true, true) => channels::<2, 2>(rows, reach, weights, width, first, sums),
                (true, false) => channels::<2, 1>(rows, reach, weights, width, first, sums),
                (false, true) => channels::<1, 2>(rows, reach, weights, width, first, sums),
                (false, false) => channels::<1, 1>(rows, reach, weights, width, first, sums),
            }
        }
    }
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
#[inline(never)]
unsafe fn channels<const R: usize, const P: usize>(
    rows: &[*const i16; ROWS],
    reach: &Reach,
    weights: *const i8,
    width: usize,
    first: usize,
    out: &mut Sums,
) {
    // SAFETY: every AArch64 CPU that runs the standard library, or that this file is built for, has NEON.
    let mut sums = [[[unsafe { vdupq_n_s32(0) }; 4]; P]; R];
    let mut w = weights;
    reach.for_each_segment(|offset| {
        for quad in 0..reach.quads {
            // SAFETY: the segment has `quads` groups of four elements, each of which has four weights for each channel.
            unsafe {
                let mut x = [vdupq_n_s16(0); R];
                for row in 0..R {
                    let quad = rows[row].add(offset + quad * GROUP);
                    x[row] = vreinterpretq_s16_s64(vld1q_dup_s64(quad.cast()));
                }
                for part in 0..P {
                    let bytes = vld1q_s8(w.add(part * 16));
                    let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
                    for row in 0..R {
                        let [a, b, c, d] = &mut sums[row][part];
                        *a = vmlal_s16(*a, vget_low_s16(low), vget_low_s16(x[row]));
                        *b = multiply_high(*b, low, x[row]);
                        *c = vmlal_s16(*c, vget_low_s16(high), vget_low_s16(x[row]));
                        *d = multiply_high(*d, high, x[row]);
                    }
                }
            }
            w = w.wrapping_add(width * GROUP);
        }
    });
    for (row, sums) in sums.into_iter().enumerate() {
        for (part, [a, b, c, d]) in sums.into_iter().enumerate() {
            let out = &mut out[row][first + part * LANES..][..LANES];
            // SAFETY: `out` has the four words that are written.
            unsafe { vst1q_s32(out.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) };
        }
    }
}

/// As [`products`], of the input less 128.
///
/// # Safety
/// As for [`products`], and there is SDOT.
unsafe fn products_dot(
    rows: &[*const i16; ROWS],
    two: bool,
    reach: &Reach,
    weights: *const i8,
    width: usize,
    sums: &mut Sums,
) {
    let multiply = match (two, width) {
        (true, 4) => dot::<2, 1>,
        (true, 8) => dot::<2, 2>,
        (true, 12) => dot::<2, 3>,
        (true, _) => dot::<2, 4>,
        (false, 4) => dot::<1, 1>,
        (false, 8) => dot::<1, 2>,
        (false, 12) => dot::<1, 3>,
        (false, _) => dot::<1, 4>,
    };
    // SAFETY: the caller's promise.
    unsafe { multiply(rows, reach, weights, sums) };
}

/// SDOT: adds to each word the products of its four weights with the first four bytes of `x`.
macro_rules! sdot {
    ($sum:expr, $w:expr, $x:expr) => {
        asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[0]",
            sum = inout(vreg) $sum,
            w = in(vreg) $w,
            x = in(vreg) $x,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
}

/// Elements less 128: their high bytes, and the low ones.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn bytes_of(x: int16x8_t) -> (int8x8_t, int8x8_t) {
    (vshrn_n_s16::<8>(x), veor_s8(vmovn_s16(x), vdup_n_s8(-128)))
}

/// `Σ (x - 128)·w` of `R` rows with a block of `P` times four channels.
///
/// # Safety
/// The rows can be read as far as the reach, and there are weights for it.
#[target_feature(enable = "neon,dotprod")]
unsafe fn dot<const R: usize, const P: usize>(
    rows: &[*const i16; ROWS],
    reach: &Reach,
    weights: *const i8,
    out: &mut Sums,
) {
    let (mut high, mut low) = ([[vdupq_n_s32(0); P]; R], [[vdupq_n_s32(0); P]; R]);
    let mut w = weights;
    reach.for_each_segment(|offset| {
        for quad in 0..reach.quads {
            let mut x = [(vdup_n_s8(0), vdup_n_s8(0)); R];
            for row in 0..R {
                // SAFETY: the segment has `quads` groups of four elements.
                let quad = unsafe { vld1q_dup_s64(rows[row].add(offset + quad * GROUP).cast()) };
                x[row] = bytes_of(vreinterpretq_s16_s64(quad));
            }
            for part in 0..P {
                // SAFETY: each group has four weights for each channel; SDOT is there.
                unsafe {
                    let weights = vld1q_s8(w.add(part * 16));
                    for row in 0..R {
                        sdot!(high[row][part], weights, x[row].0);
                        sdot!(low[row][part], weights, x[row].1);
                    }
                }
            }
            w = w.wrapping_add(P * 16);
        }
    });
    for row in 0..R {
        for part in 0..P {
            let sum = vaddq_s32(vshlq_n_s32::<8>(high[row][part]), low[row][part]);
            let out = &mut out[row][part * LANES..][..LANES];
            // SAFETY: `out` has the four words that are written.
            unsafe { vst1q_s32(out.as_mut_ptr(), sum) };
        }
    }
}
