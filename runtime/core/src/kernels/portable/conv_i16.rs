//! Convolution of int16 with int8 weights: tiles of rows are multiplied with blocks of weights, in 32 bits as long as the
//! sums fit.

use crate::bytes::{F32s, I32s, I64s};
use crate::kernels::portable::SMALL;
use crate::kernels::rows::{Tile, for_each_rows};
use crate::kernels::view::{copy, i8s, part, part_mut};
use crate::kernels::{Bias, ConvI16Args, ConvI16Output};
use crate::quantization::Multiplier;
use crate::weights::{BLOCK, GROUP, LANES, WIDE_RUN, block_width};

/// Rows multiplied at once where there are registers for them.
const FULL: usize = 4;

/// Rows of a tile.
const ROWS: usize = if SMALL { 1 } else { FULL };

/// Groups of four along the reduction axis whose products may be added up in 32 bits.
const RUN: usize = WIDE_RUN / GROUP;

/// See [`crate::plan::step::ConvI16`].
#[inline(always)]
pub(crate) fn conv(mut args: ConvI16Args<'_>) {
    for_each_rows(&mut args, |args, rows, weights| {
        rows.for_each_tile(|tile| multiply(args, tile, rows.group, weights));
    });
}

/// Multiplies the rows of a tile with all blocks of a group and stores the results.
#[inline(always)]
fn multiply(args: &mut ConvI16Args<'_>, tile: &Tile<'_, ROWS, i16>, group: usize, weights: &[u8]) {
    let group_out = args.window.group_out();
    let out_c = args.window.out_c as usize;
    let length = weights.len() / group_out.next_multiple_of(LANES).max(1);
    let mut base = 0;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let block = i8s(part(weights, base, width * length));
        base += width * length;
        let (channel, lanes) = (group * group_out + start, width.min(group_out - start));
        let multipliers = args.multipliers.slice(channel, lanes);
        let place = |row: usize| (tile.first + row) * out_c + channel;
        match args.bias {
            Bias::I32(bias) => {
                let mut sums = [[0_i32; BLOCK]; ROWS];
                products(tile, block, width, usize::MAX, &mut sums, |_| {});
                for (row, sums) in sums.iter().enumerate().take(tile.count) {
                    store(&mut args.y, place(row), sums, bias.slice(channel, lanes), multipliers);
                }
            }
            Bias::I64(bias) => {
                let (mut sums, mut totals) = ([[0_i32; BLOCK]; ROWS], [[0_i64; BLOCK]; ROWS]);
                products(tile, block, width, RUN, &mut sums, |sums| add_up(sums, &mut totals));
                for (row, totals) in totals.iter().enumerate().take(tile.count) {
                    store_wide(&mut args.y, place(row), totals, bias.slice(channel, lanes), multipliers);
                }
            }
        }
    }
}

/// Adds the products of a tile's rows with a block to `sums`; calls `flush` behind every `run` groups of four, and at
/// the end of each segment.
#[inline(always)]
fn products(
    tile: &Tile<'_, ROWS, i16>,
    block: &[i8],
    width: usize,
    run: usize,
    sums: &mut [[i32; BLOCK]; ROWS],
    mut flush: impl FnMut(&mut [[i32; BLOCK]; ROWS]),
) {
    let quads = tile.reach.quads;
    let mut segments_of_block = block.chunks_exact((width * GROUP * quads).max(1));
    tile.reach.for_each_segment(|offset| {
        let segment = segments_of_block.next().unwrap_or_default();
        let rows = tile.segment(offset);
        for first in (0..quads).step_by(run.min(quads).max(1)) {
            let count = run.min(quads - first);
            let block = part(segment, first * width * GROUP, count * width * GROUP);
            let rows = rows.map(|row| part(row, first * GROUP, count * GROUP));
            match (rows.first_chunk(), sums.first_chunk_mut()) {
                (Some(rows), Some(sums)) if width == BLOCK && tile.count == ROWS => multiply_full(rows, block, sums),
                _ => multiply_some(rows.get(..tile.count).unwrap_or_default(), block, width, sums),
            }
            flush(sums);
        }
    });
}

/// Adds sums to totals, and starts them again.
#[inline(always)]
fn add_up(sums: &mut [[i32; BLOCK]; ROWS], totals: &mut [[i64; BLOCK]; ROWS]) {
    for (total, sum) in totals.iter_mut().flatten().zip(sums.iter_mut().flatten()) {
        *total += i64::from(*sum);
        *sum = 0;
    }
}

/// Stores the results of one row from `place` on: those of the first channels of `sums`, as many as there are of `bias`.
#[inline(always)]
pub(crate) fn store<const N: usize>(
    y: &mut ConvI16Output<'_>,
    place: usize,
    sums: &[i32; N],
    bias: I32s<'_>,
    multipliers: F32s<'_>,
) {
    let sums = sums_with(sums, bias.iter(), i32::wrapping_add);
    let (factors, lanes) = (array_of(multipliers), bias.len());
    match y {
        ConvI16Output::I16(y, target) => {
            put(part_mut(y, place, lanes), &sums, &factors, |sum, m| target.requantize(sum, Multiplier::new(m)));
        }
        ConvI16Output::I8(y, target) => {
            put(part_mut(y, place, lanes), &sums, &factors, |sum, m| target.requantize(sum, Multiplier::new(m)));
        }
        ConvI16Output::F32(y) => put(part_mut(y, place, lanes), &sums, &factors, |sum, m| sum as f32 * m),
    }
}

/// [`store`] of sums of 64 bits.
#[inline(always)]
pub(crate) fn store_wide<const N: usize>(
    y: &mut ConvI16Output<'_>,
    place: usize,
    sums: &[i64; N],
    bias: I64s<'_>,
    multipliers: F32s<'_>,
) {
    let sums = sums_with(sums, bias.iter(), i64::wrapping_add);
    let (factors, lanes) = (array_of(multipliers), bias.len());
    match y {
        ConvI16Output::I16(y, target) => {
            put(part_mut(y, place, lanes), &sums, &factors, |sum, m| target.requantize_wide(sum, Multiplier::new(m)));
        }
        ConvI16Output::I8(y, target) => {
            put(part_mut(y, place, lanes), &sums, &factors, |sum, m| target.requantize_wide(sum, Multiplier::new(m)));
        }
        ConvI16Output::F32(y) => put(part_mut(y, place, lanes), &sums, &factors, |sum, m| sum as f32 * m),
    }
}

#[inline(always)]
fn sums_with<T: Copy, const N: usize>(sums: &[T; N], bias: impl Iterator<Item = T>, add: fn(T, T) -> T) -> [T; N] {
    let mut with = *sums;
    with.iter_mut().zip(bias).for_each(|(sum, bias)| *sum = add(*sum, bias));
    with
}

#[inline(always)]
fn array_of<const N: usize>(values: F32s<'_>) -> [f32; N] {
    let mut array = [0.0; N];
    array.iter_mut().zip(values.iter()).for_each(|(to, from)| *to = from);
    array
}

/// Puts results into `y`, as many as there is room for.
#[inline(always)]
fn put<S: Copy, T: Copy + Default, const N: usize>(
    y: &mut [T],
    sums: &[S; N],
    factors: &[f32; N],
    finish: impl Fn(S, f32) -> T,
) {
    if SMALL {
        y.iter_mut().zip(sums).zip(factors).for_each(|((y, &sum), &m)| *y = finish(sum, m));
        return;
    }
    // A width that the compiler knows.
    let mut results = [T::default(); N];
    results.iter_mut().zip(sums).zip(factors).for_each(|((y, &sum), &m)| *y = finish(sum, m));
    copy(y, &results);
}

#[inline(always)]
fn dot(sum: i32, x: &[i16; GROUP], w: &[i8; GROUP]) -> i32 {
    let product = |i: usize| i32::from(x[i]) * i32::from(w[i]);
    sum.wrapping_add(product(0) + product(1) + product(2) + product(3))
}

#[inline(always)]
fn quads(row: &[i16]) -> core::slice::Iter<'_, [i16; GROUP]> {
    row.as_chunks::<GROUP>().0.iter()
}

#[inline(always)]
fn multiply_full([r0, r1, r2, r3]: &[&[i16]; FULL], block: &[i8], sums: &mut [[i32; BLOCK]; FULL]) {
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
fn multiply_some(rows: &[&[i16]], block: &[i8], width: usize, sums: &mut [[i32; BLOCK]; ROWS]) {
    for (row, sums) in rows.iter().zip(sums) {
        for (quad, weights) in quads(row).zip(block.chunks_exact((width * GROUP).max(1))) {
            for (sum, w) in sums.iter_mut().zip(weights.as_chunks::<GROUP>().0) {
                *sum = dot(*sum, quad, w);
            }
        }
    }
}
