//! Pooling, reductions and products of two activations.

use crate::kernels::ReduceI8Args;
use crate::kernels::portable::SMALL;
use crate::kernels::view::{chunk, copy, part, part_mut};
use crate::math::{maximum, minimum, sqrt};
use crate::plan::step::{ArgMax, MatMul, Pool, PoolKind, Reduce, ReduceKind, Window};
use crate::quantization::{Multiplier, Target};

/// What a pooling window covers: ranges of input rows and columns, and its area with padding.
pub(crate) struct Cover {
    pub rows: (usize, usize),
    pub columns: (usize, usize),
    padded_area: usize,
}

/// First input index at or behind `start`, stepping by `dilation`, and one behind the last, of `taps`.
#[inline(always)]
pub(crate) fn inside(start: isize, taps: usize, dilation: usize, length: usize) -> (usize, usize) {
    // Most windows are not dilated, and divisions slow.
    let steps = |distance: usize| if dilation == 1 { distance } else { distance.div_ceil(dilation.max(1)) };
    let skipped = steps(start.min(0).unsigned_abs()).min(taps);
    let available = steps((length as isize - start).max(0).unsigned_abs());
    (skipped, taps.min(available).max(skipped))
}

#[inline(always)]
pub(crate) fn cover(step: &Pool, row: usize, column: usize) -> Cover {
    let w = &step.window;
    let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
    let left = (column * w.stride_w as usize) as isize - w.pad_left as isize;
    let span = |start: isize, taps: u32, dilation: u32, length: u32, pad: u32| {
        if step.kind != PoolKind::AverageIncludingPad {
            return 0;
        }
        let end = (length + pad) as isize;
        (0..taps as isize).filter(|tap| start + tap * (dilation as isize) < end).count()
    };
    Cover {
        rows: inside(top, w.kernel_h as usize, w.dilation_h as usize, w.in_h as usize),
        columns: inside(left, w.kernel_w as usize, w.dilation_w as usize, w.in_w as usize),
        padded_area: span(top, w.kernel_h, w.dilation_h, w.in_h, step.pad_end[0])
            * span(left, w.kernel_w, w.dilation_w, w.in_w, step.pad_end[1]),
    }
}

#[inline(always)]
pub(crate) fn count(step: &Pool, cover: &Cover) -> usize {
    let area = (cover.rows.1 - cover.rows.0) * (cover.columns.1 - cover.columns.0);
    if step.kind == PoolKind::AverageIncludingPad { cover.padded_area.max(1) } else { area.max(1) }
}

/// Calls `visit(start of a pixel)` for every input pixel that the window covers.
#[inline(always)]
fn pixels(w: &Window, cover: &Cover, image: usize, row: usize, column: usize, mut visit: impl FnMut(usize)) {
    let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
    let left = (column * w.stride_w as usize) as isize - w.pad_left as isize;
    for tap_row in cover.rows.0..cover.rows.1 {
        let y = (top + (tap_row * w.dilation_h as usize) as isize).unsigned_abs();
        for tap_column in cover.columns.0..cover.columns.1 {
            let x = (left + (tap_column * w.dilation_w as usize) as isize).unsigned_abs();
            visit(((image * w.in_h as usize + y) * w.in_w as usize + x) * w.in_c as usize);
        }
    }
}

#[inline(always)]
pub(crate) fn place(w: &Window, position: usize) -> (usize, usize, usize) {
    let (out_h, out_w) = (w.out_h.max(1) as usize, w.out_w.max(1) as usize);
    let line = position / out_w;
    (line / out_h, line % out_h, position % out_w)
}

/// Calls `$body` with a constant `$lanes` and the first channel of the chunk, until all channels are covered.
macro_rules! for_each_chunk {
    ($channels:expr, |$lanes:ident, $start:ident| $body:expr) => {{
        let mut $start = 0;
        while $start < $channels {
            match $channels - $start {
                64.. if !SMALL => {
                    const $lanes: usize = 64;
                    $body;
                    $start += $lanes;
                }
                16.. => {
                    const $lanes: usize = 16;
                    $body;
                    $start += $lanes;
                }
                _ => {
                    const $lanes: usize = 1;
                    $body;
                    $start += $lanes;
                }
            }
        }
    }};
}

/// See [`Pool`].
#[inline(always)]
pub(crate) fn pool_i8(args: ReduceI8Args<'_, Pool>) {
    let w = &args.step.window;
    let channels = w.out_c.max(1) as usize;
    let (mut image, mut row, mut column) = (0, 0, 0);
    for out in args.y.chunks_exact_mut(channels) {
        let cover = cover(args.step, row, column);
        let here = (image, row, column);
        column += 1;
        if column == w.out_w as usize {
            (row, column) = (row + 1, 0);
        }
        if row == w.out_h as usize {
            (image, row) = (image + 1, 0);
        }
        let (image, row, column) = here;
        if args.step.kind == PoolKind::Max {
            for_each_chunk!(channels, |LANES, start| {
                let mut greatest = [i8::MIN; LANES];
                pixels(w, &cover, image, row, column, |pixel| {
                    if let Some(values) = chunk::<LANES, _>(args.x, pixel + start) {
                        greatest.iter_mut().zip(values).for_each(|(y, x)| *y = (*y).max(*x));
                    }
                });
                copy(part_mut(out, start, LANES), &greatest);
            });
            continue;
        }
        let multiplier = Multiplier::new(args.step.multiplier / count(args.step, &cover) as f32);
        for_each_chunk!(channels, |LANES, start| {
            let mut sums = [0_i32; LANES];
            pixels(w, &cover, image, row, column, |pixel| {
                if let Some(values) = chunk::<LANES, _>(args.x, pixel + start) {
                    sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += i32::from(*x) - args.x_zero_point);
                }
            });
            let out = part_mut(out, start, LANES);
            out.iter_mut().zip(sums).for_each(|(y, sum)| *y = args.target.requantize(sum, multiplier));
        });
    }
}

/// [`Pool`] of float32, summed row by row.
#[inline(always)]
pub(crate) fn pool_f32(step: &Pool, x: &[f32], y: &mut [f32]) {
    if step.kind == PoolKind::Max {
        pool_f32_by(step, x, y, f32::NEG_INFINITY, maximum, |greatest, _| greatest);
    } else {
        pool_f32_by(step, x, y, 0.0, |sum, x| sum + x, |sum, count| sum / count);
    }
}

/// Folds what each window covers, from `start` on, and hands the result to `finish` with the number of positions.
#[inline(always)]
fn pool_f32_by(
    step: &Pool,
    x: &[f32],
    y: &mut [f32],
    start: f32,
    fold: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32, f32) -> f32,
) {
    const LANES: usize = 32;
    let w = &step.window;
    let channels = w.out_c.max(1) as usize;
    for (position, out) in y.chunks_exact_mut(channels).enumerate() {
        let (image, row, column) = place(w, position);
        let cover = cover(step, row, column);
        let count = count(step, &cover) as f32;
        let (blocks, rest) = out.as_chunks_mut::<LANES>();
        let behind = blocks.len() * LANES;
        for (block, out) in blocks.iter_mut().enumerate() {
            let mut folded = [start; LANES];
            pixels(w, &cover, image, row, column, |pixel| {
                if let Some(x) = chunk::<LANES, _>(x, pixel + block * LANES) {
                    folded.iter_mut().zip(x).for_each(|(y, x)| *y = fold(*y, *x));
                }
            });
            out.iter_mut().zip(folded).for_each(|(y, folded)| *y = finish(folded, count));
        }
        rest.fill(start);
        pixels(w, &cover, image, row, column, |pixel| {
            let x = x.get(pixel + behind..).unwrap_or_default();
            rest.iter_mut().zip(x).for_each(|(y, x)| *y = fold(*y, *x));
        });
        rest.iter_mut().for_each(|y| *y = finish(*y, count));
    }
}

/// See [`Reduce`].
#[inline(always)]
pub(crate) fn reduce_i8(args: ReduceI8Args<'_, Reduce>) {
    let (s, target) = (args.step, args.target);
    let multiplier = Multiplier::new(s.multiplier);
    reduce_by(s, args.x, args.x_zero_point, args.y, |sum| target.requantize(sum, multiplier));
}

/// See [`Reduce`], from int8 to float32.
#[inline(always)]
pub(crate) fn reduce_to_float(s: &Reduce, x: &[i8], zero_point: i32, y: &mut [f32]) {
    reduce_by(s, x, zero_point, y, |sum| sum as f32 * s.multiplier);
}

/// Hands sums, or what is greatest or least, each without the zero point, to `finish`.
#[inline(always)]
fn reduce_by<T: Copy>(s: &Reduce, x: &[i8], zero_point: i32, y: &mut [T], finish: impl Fn(i32) -> T) {
    let inner = s.inner.max(1) as usize;
    let len = s.n as usize * inner;
    for (outer, out) in y.chunks_exact_mut(inner).enumerate() {
        let x = part(x, outer * len, len);
        for_each_chunk!(inner, |LANES, start| {
            let sums = match s.kind {
                ReduceKind::Max => fold::<LANES>(x, inner, start, i32::MIN, |sum, x| x.max(sum)),
                ReduceKind::Min => fold::<LANES>(x, inner, start, i32::MAX, |sum, x| x.min(sum)),
                _ => fold::<LANES>(x, inner, start, 0, |sum, x| sum + x - zero_point),
            };
            let shift = if matches!(s.kind, ReduceKind::Max | ReduceKind::Min) { zero_point } else { 0 };
            let out = part_mut(out, start, LANES);
            out.iter_mut().zip(sums).for_each(|(y, sum)| *y = finish(sum - shift));
        });
    }
}

/// Folds the `N` elements from `start` on of every row.
#[inline(always)]
fn fold<const N: usize>(x: &[i8], row: usize, start: usize, first: i32, f: impl Fn(i32, i32) -> i32) -> [i32; N] {
    let mut sums = [first; N];
    for row in x.chunks_exact(row) {
        if let Some(values) = chunk::<N, _>(row, start) {
            sums.iter_mut().zip(values).for_each(|(sum, &x)| *sum = f(*sum, i32::from(x)));
        }
    }
    sums
}

/// [`Reduce`] of float32, in order.
pub fn reduce_f32(s: &Reduce, x: &[f32], y: &mut [f32]) {
    let (n, inner) = (s.n as usize, s.inner.max(1) as usize);
    for (outer, out) in y.chunks_exact_mut(inner).enumerate() {
        out.fill(match s.kind {
            ReduceKind::Max => f32::NEG_INFINITY,
            ReduceKind::Min => f32::INFINITY,
            ReduceKind::Product => 1.0,
            _ => 0.0,
        });
        for row in part(x, outer * n * inner, n * inner).chunks_exact(inner) {
            for (y, &x) in out.iter_mut().zip(row) {
                *y = match s.kind {
                    ReduceKind::Mean | ReduceKind::Sum => *y + x,
                    ReduceKind::Max => maximum(*y, x),
                    ReduceKind::Min => minimum(*y, x),
                    ReduceKind::Product => *y * x,
                    ReduceKind::L1 => *y + x.abs(),
                    ReduceKind::L2 | ReduceKind::SumSquare => *y + x * x,
                };
            }
        }
        match s.kind {
            ReduceKind::Mean => out.iter_mut().for_each(|y| *y /= n as f32),
            ReduceKind::L2 => out.iter_mut().for_each(|y| *y = sqrt(*y)),
            _ => {}
        }
    }
}

/// See [`ArgMax`]; `value` reads element `index` of the input.
pub fn arg_max(s: &ArgMax, value: impl Fn(usize) -> f32, y: &mut [u8]) {
    let (n, inner) = (s.n as usize, s.inner.max(1) as usize);
    for (place, out) in y.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let start = place / inner * n * inner + place % inner;
        let mut best = 0;
        for index in 1..n {
            let (new, old) = (value(start + index * inner), value(start + best * inner));
            let better = if s.least == 1 { new < old } else { new > old };
            if better || s.last == 1 && new == old {
                best = index;
            }
        }
        *out = (best as i64).to_le_bytes();
    }
}

/// The row of the left side and the right side that meet in row `row` of the results.
#[inline(always)]
fn sides<'t, T>(s: &MatMul, row: usize, a: &'t [T], b: &'t [T]) -> (&'t [T], &'t [T]) {
    let (m, k, n) = (s.m.max(1) as usize, s.k as usize, s.n as usize);
    let a = part(a, row / m * s.a_stride as usize + row % m * k, k);
    (a, part(b, row / m * s.b_stride as usize, k * n))
}

/// [`MatMul`] of int8 matrices with the zero points of both sides.
pub fn matmul_i8(s: &MatMul, a: &[i8], b: &[i8], zero_points: [i32; 2], y: &mut [i8], target: Target) {
    let (n, multiplier) = (s.n as usize, Multiplier::new(s.multiplier));
    for (row, out) in y.chunks_exact_mut(n.max(1)).enumerate() {
        let (a, b) = sides(s, row, a, b);
        for (column, y) in out.iter_mut().enumerate() {
            let b = b.chunks_exact(n.max(1)).filter_map(|row| row.get(column));
            let products = a.iter().zip(b);
            let sum: i32 =
                products.map(|(&a, &b)| (i32::from(a) - zero_points[0]) * (i32::from(b) - zero_points[1])).sum();
            *y = target.requantize(sum, multiplier);
        }
    }
}

/// [`MatMul`] of float32 matrices, summed along `k` in order.
#[inline(always)]
pub(crate) fn matmul_f32(s: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]) {
    let n = s.n.max(1) as usize;
    for (row, out) in y.chunks_exact_mut(n).enumerate() {
        let (a, b) = sides(s, row, a, b);
        out.fill(0.0);
        for (&a, b) in a.iter().zip(b.chunks_exact(n)) {
            out.iter_mut().zip(b).for_each(|(y, &b)| *y += a * b);
        }
    }
}
