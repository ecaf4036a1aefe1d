//! Int8 convolution: tiles of rows are multiplied with blocks of weights.

use crate::kernels::portable::SMALL;
use crate::kernels::rows::{Tile, for_each_rows};
use crate::kernels::view::{i8s, part, part_mut};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Multiplier;
use crate::weights::{BLOCK, GROUP, LANES, Segments, block_width};

/// Rows multiplied at once where there are registers for them: each weight loaded serves all.
const FULL: usize = 4;

/// Rows of a tile.
const ROWS: usize = if SMALL { 1 } else { FULL };

/// See [`crate::plan::step::ConvI8`].
#[inline(always)]
pub(crate) fn conv(mut args: ConvI8Args<'_>) {
    for_each_rows(&mut args, |args, rows, weights| {
        rows.for_each_tile(|tile| multiply(args, tile, rows.group, weights));
    });
}

/// Multiplies the rows of a tile with all blocks of a group and stores the results.
#[inline(always)]
fn multiply(args: &mut ConvI8Args<'_>, tile: &Tile<'_, ROWS>, group: usize, weights: &[u8]) {
    let window = args.window;
    let group_out = window.group_out();
    let y_step = args.y_step;
    let length = weights.len() / group_out.next_multiple_of(LANES).max(1);
    let mut base = 0;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let block = i8s(part(weights, base, width * length));
        base += width * length;
        let mut sums = [[0_i32; BLOCK]; ROWS];
        let mut totals = [0_i32; ROWS];
        let mut segments_of_block = block.chunks_exact((width * GROUP * tile.reach.quads).max(1));
        tile.reach.for_each_segment(|offset| {
            let rows = tile.segment(offset);
            let block = segments_of_block.next().unwrap_or_default();
            match (rows.first_chunk(), sums.first_chunk_mut()) {
                (Some(rows), Some(sums)) if width == BLOCK && tile.count == ROWS => multiply_full(rows, block, sums),
                _ => multiply_some(rows.get(..tile.count).unwrap_or_default(), block, width, &mut sums),
            }
            if !args.weight_zero_points.is_empty() {
                let len = Segments::of(window).len;
                for (total, row) in totals.iter_mut().zip(rows) {
                    *total = row.iter().take(len).fold(*total, |total, &x| total.wrapping_add(i32::from(x)));
                }
            }
        });
        let channel = group * group_out + start;
        let lanes = width.min(group_out - start);
        for (index, (sums, total)) in sums.iter_mut().zip(totals).enumerate().take(tile.count) {
            let place = (tile.first + index) * y_step + channel;
            for (sum, zero_point) in sums.iter_mut().zip(args.weight_zero_points.slice(channel, lanes).iter()) {
                *sum = sum.wrapping_sub(zero_point.wrapping_mul(total));
            }
            let bias = args.bias.slice(channel, lanes).iter();
            let sums = sums.iter().zip(bias).map(|(sum, bias)| sum.wrapping_add(bias));
            let scaled = sums.zip(args.multipliers.slice(channel, lanes).iter());
            match &mut args.y {
                ConvOutput::I8(y, target) => {
                    let y = part_mut(y, place, lanes);
                    y.iter_mut().zip(scaled).for_each(|(y, (sum, m))| *y = target.requantize(sum, Multiplier::new(m)));
                }
                ConvOutput::F32(y) => {
                    let y = part_mut(y, place, lanes);
                    y.iter_mut().zip(scaled).for_each(|(y, (sum, m))| *y = sum as f32 * m);
                }
            }
        }
    }
}

#[inline(always)]
fn dot(sum: i32, x: &[i8; GROUP], w: &[i8; GROUP]) -> i32 {
    let product = |i: usize| i32::from(x[i]) * i32::from(w[i]);
    sum.wrapping_add(product(0) + product(1) + product(2) + product(3))
}

#[inline(always)]
fn quads(row: &[i8]) -> core::slice::Iter<'_, [i8; GROUP]> {
    row.as_chunks::<GROUP>().0.iter()
}

#[inline(always)]
fn multiply_full([r0, r1, r2, r3]: &[&[i8]; FULL], block: &[i8], sums: &mut [[i32; BLOCK]; FULL]) {
    let rows = quads(r0).zip(quads(r1)).zip(quads(r2).zip(quads(r3)));
    for (((q0, q1), (q2, q3)), weights) in rows.zip(block.as_chunks::<{ BLOCK * GROUP }>().0) {
        for (lane, w) in weights.as_chunks::<GROUP>().0.iter().enumerate() {
            sums[0][lane] = dot(sums[0][lane], q0, w);
            sums[1][lane] = dot(sums[1][lane], q1, w);
            sums[2][lane] = dot(sums[2][lane], q2, w);
            sums[3][lane] = dot(sums[3][lane], q3, w);
        }
    }
}

#[inline(always)]
fn multiply_some(rows: &[&[i8]], block: &[i8], width: usize, sums: &mut [[i32; BLOCK]; ROWS]) {
    for (row, sums) in rows.iter().zip(sums) {
        for (quad, weights) in quads(row).zip(block.chunks_exact((width * GROUP).max(1))) {
            for (sum, w) in sums.iter_mut().zip(weights.as_chunks::<GROUP>().0) {
                *sum = dot(*sum, quad, w);
            }
        }
    }
}
