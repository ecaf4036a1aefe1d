//! Int8 convolution for cores without dot product: SMULL and SMLAL add two products in 16 bits, SADALP
//! adds pairs of them to 32 bits. Two rows times 16 output channels in registers.

use core::arch::aarch64::*;

use super::requantize::Channels;
use crate::kernels::ConvI8Args;
use crate::kernels::portable::conv as portable;
use crate::kernels::rows::{Tile, for_each_tile};
use crate::weights::{BLOCK, GROUP, LANES, block_width};

/// Rows multiplied at once.
const ROWS: usize = 2;

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() || !args.narrow {
        // Rare: the sums of the rows are needed too, or two products may pass 16 bits.
        return portable::conv(args);
    }
    for_each_tile::<ROWS>(args, |args, tile, weights| match tile.count {
        1 => multiply::<1>(args, tile, weights),
        _ => multiply::<2>(args, tile, weights),
    });
}

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
///
/// A register of partial sums holds two for each of two channels; they meet when the block is finished.
fn products<const R: usize, const P: usize>(
    args: &mut ConvI8Args<'_>,
    tile: &Tile<'_, ROWS>,
    block: &[u8],
    start: usize,
    lanes: usize,
) {
    let quads = tile.reach.quads;
    assert!(block.len() >= tile.segments() * quads * P * LANES * GROUP);
    let mut w = block.as_ptr().cast::<i8>();
    // SAFETY: NEON is there on every AArch64.
    let mut sums = [[unsafe { [vdupq_n_s32(0); 2] }; P]; R];
    for segment in 0..tile.segments() {
        let rows = tile.pointers::<R>(segment);
        let mut at = 0;
        // SAFETY: the block has 16·P bytes of weights for each quad of each segment, as asserted, and every
        // row of the segment has `quads` groups of 4 bytes.
        unsafe {
            while at + 4 * GROUP <= quads * GROUP {
                let x = rows.map(|row| vld1q_s32(row.add(at).cast()));
                pair::<R, P>(&mut sums, w, x.map(|x| [vdupq_laneq_s32::<0>(x), vdupq_laneq_s32::<1>(x)]));
                w = w.add(2 * 16 * P);
                pair::<R, P>(&mut sums, w, x.map(|x| [vdupq_laneq_s32::<2>(x), vdupq_laneq_s32::<3>(x)]));
                w = w.add(2 * 16 * P);
                at += 4 * GROUP;
            }
            if at + 2 * GROUP <= quads * GROUP {
                let x = rows.map(|row| [0, GROUP].map(|quad| vld1q_dup_s32(row.add(at + quad).cast())));
                pair::<R, P>(&mut sums, w, x);
                w = w.add(2 * 16 * P);
                at += 2 * GROUP;
            }
            if at < quads * GROUP {
                let x = rows.map(|row| vreinterpretq_s8_s32(vld1q_dup_s32(row.add(at).cast())));
                for part in 0..P {
                    let w = vld1q_s8(w.add(16 * part));
                    for (sums, x) in sums.iter_mut().zip(x) {
                        let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
                        sums[part] = [vpadalq_s16(sums[part][0], low), vpadalq_s16(sums[part][1], vmull_high_s8(w, x))];
                    }
                }
                w = w.add(16 * P);
            }
        }
    }
    let channel = tile.group * args.window.group_out() + start;
    let channels = Channels::<P>::new(args, channel, lanes);
    let out_c = args.window.out_c as usize;
    for (row, sums) in sums.into_iter().enumerate() {
        let mut whole = channels.bias;
        for (whole, [low, high]) in whole.iter_mut().zip(sums) {
            // SAFETY: NEON.
            *whole = unsafe { vaddq_s32(*whole, vpaddq_s32(low, high)) };
        }
        channels.store(&mut args.y, (tile.first + row) * out_c + channel, lanes, whole);
    }
}

/// Adds the products of two quads, each spread over its register.
///
/// # Safety
/// `w` can be read for twice `16·P` bytes; no weight is -128.
#[inline(always)]
unsafe fn pair<const R: usize, const P: usize>(
    sums: &mut [[[int32x4_t; 2]; P]; R],
    w: *const i8,
    x: [[int32x4_t; 2]; R],
) {
    // SAFETY: the caller's promise.
    unsafe {
        for part in 0..P {
            let (w0, w1) = (vld1q_s8(w.add(16 * part)), vld1q_s8(w.add(16 * (P + part))));
            for (sums, x) in sums.iter_mut().zip(x) {
                let [x0, x1] = x.map(|x| vreinterpretq_s8_s32(x));
                let low = vmlal_s8(vmull_s8(vget_low_s8(w0), vget_low_s8(x0)), vget_low_s8(w1), vget_low_s8(x1));
                let high = vmlal_high_s8(vmull_high_s8(w0, x0), w1, x1);
                sums[part] = [vpadalq_s16(sums[part][0], low), vpadalq_s16(sums[part][1], high)];
            }
        }
    }
}
