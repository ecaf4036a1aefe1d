//! Int8 convolution with SDOT: up to 6 rows times 16 output channels in registers. Each SDOT multiplies
//! four bytes of one row with the weights of four channels.

use core::arch::aarch64::*;
use core::arch::asm;

use super::requantize::Channels;
use crate::kernels::ConvI8Args;
use crate::kernels::portable::conv as portable;
use crate::kernels::rows::{Tile, for_each_tile};
use crate::weights::{BLOCK, GROUP, LANES, block_width};

/// Rows multiplied at once.
const ROWS: usize = 6;

/// Adds to `$sum` the products of group `$quad` of `$x` with the weights `$w`; the intrinsic is not stable.
macro_rules! sdot {
    ($sum:expr, $w:expr, $x:expr, $quad:literal) => {
        asm!(
            concat!("sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[", $quad, "]"),
            sum = inout(vreg) $sum,
            w = in(vreg) $w,
            x = in(vreg) $x,
            options(pure, nomem, nostack, preserves_flags),
        )
    };
}

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return portable::conv(args);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where SDOT is there.
    unsafe { rows(args) }
}

#[target_feature(enable = "neon,dotprod")]
fn rows(args: ConvI8Args<'_>) {
    for_each_tile::<ROWS>(args, |args, tile, weights| match tile.count {
        1 => multiply::<1>(args, tile, weights),
        2 => multiply::<2>(args, tile, weights),
        3 => multiply::<3>(args, tile, weights),
        4 => multiply::<4>(args, tile, weights),
        5 => multiply::<5>(args, tile, weights),
        _ => multiply::<6>(args, tile, weights),
    });
}

#[target_feature(enable = "neon,dotprod")]
fn multiply<const R: usize>(args: &mut ConvI8Args<'_>, tile: &Tile<'_, ROWS>, weights: &[u8]) {
    let group_out = args.window.group_out();
    let length = tile.segments() * tile.reach.quads * GROUP;
    let mut base = 0;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let block = &weights[base..][..width * length];
        base += width * length;
        let lanes = width.min(group_out - start);
        match width / LANES {
            1 => products::<R, 1>(args, tile, block, start, lanes),
            2 => products::<R, 2>(args, tile, block, start, lanes),
            3 => products::<R, 3>(args, tile, block, start, lanes),
            _ => products::<R, 4>(args, tile, block, start, lanes),
        }
    }
}

/// `R` rows with one block of `4·P` channels.
#[target_feature(enable = "neon,dotprod")]
fn products<const R: usize, const P: usize>(
    args: &mut ConvI8Args<'_>,
    tile: &Tile<'_, ROWS>,
    block: &[u8],
    start: usize,
    lanes: usize,
) {
    let channel = tile.group * args.window.group_out() + start;
    let channels = Channels::<P>::new(args, channel, lanes);
    let mut sums = [channels.bias; R];
    let quads = tile.reach.quads;
    assert!(block.len() >= tile.segments() * quads * P * LANES * GROUP);
    let mut w = block.as_ptr().cast::<i8>();
    for segment in 0..tile.segments() {
        let rows = tile.pointers::<R>(segment);
        let mut at = 0;
        // SAFETY: the block has 16·P bytes of weights for each quad of each segment, as asserted, and every
        // row of the segment has `quads` groups of 4 bytes.
        unsafe {
            while at + 4 * GROUP <= quads * GROUP {
                let x = rows.map(|row| vld1q_s8(row.add(at)));
                for part in 0..P {
                    let w = vld1q_s8(w.add(16 * part));
                    (0..R).for_each(|row| sdot!(sums[row][part], w, x[row], 0));
                }
                for part in 0..P {
                    let w = vld1q_s8(w.add(16 * (P + part)));
                    (0..R).for_each(|row| sdot!(sums[row][part], w, x[row], 1));
                }
                for part in 0..P {
                    let w = vld1q_s8(w.add(16 * (2 * P + part)));
                    (0..R).for_each(|row| sdot!(sums[row][part], w, x[row], 2));
                }
                for part in 0..P {
                    let w = vld1q_s8(w.add(16 * (3 * P + part)));
                    (0..R).for_each(|row| sdot!(sums[row][part], w, x[row], 3));
                }
                w = w.add(16 * 4 * P);
                at += 4 * GROUP;
            }
            while at < quads * GROUP {
                let x = rows.map(|row| vreinterpretq_s8_s32(vld1q_dup_s32(row.add(at).cast())));
                for part in 0..P {
                    let w = vld1q_s8(w.add(16 * part));
                    (0..R).for_each(|row| sdot!(sums[row][part], w, x[row], 0));
                }
                w = w.add(16 * P);
                at += GROUP;
            }
        }
    }
    let out_c = args.window.out_c as usize;
    for (row, sums) in sums.into_iter().enumerate() {
        channels.store(&mut args.y, (tile.first + row) * out_c + channel, lanes, sums);
    }
}

/// Adds the products of four groups of four bytes, lane by lane.
#[target_feature(enable = "neon,dotprod")]
#[inline]
pub(super) fn sdot_all(sums: &mut [int32x4_t; 4], x: &[int8x16_t; 4], w: &[int8x16_t; 4]) {
    for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
        // SAFETY: the instruction touches registers only.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {x:v}.16b, {w:v}.16b",
                sum = inout(vreg) *sum,
                x = in(vreg) *x,
                w = in(vreg) *w,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
}
