//! Depthwise convolution: neighbouring columns × channels.

use core::ops::Range;

use super::{Shape, Vector};
use crate::kernels::ConvF32Args;
use crate::kernels::portable::pool::inside;

/// Weights of a depthwise convolution that stay in the first-level cache over all positions.
const CACHED_WEIGHTS: usize = 1 << 12;

/// Neighbouring output columns of one row: what they read.
struct Taps<'a> {
    shape: &'a Shape<'a>,
    /// Elements in front of the corner of the first position.
    pixel: isize,
    /// Rows of the window inside the image.
    rows: Range<usize>,
    /// Columns of the window inside the image; in tiles of joint windows, of all windows together.
    columns: Range<usize>,
    /// Output position of the first column.
    position: usize,
}

/// Output columns of a depthwise tile.
const COLUMNS: usize = 4;

/// Most input columns that the windows of a depthwise tile see together.
const JOINT_COLUMNS: usize = (COLUMNS - 1) * 2 + 5;

/// See [`crate::plan::step::DepthwiseF32`]; there are as many output as input channels, and at least
/// [`Vector::LANES`].
///
/// # Safety
/// The CPU has the instruction set of `V`.
#[inline(always)]
pub unsafe fn depthwise<V: Vector>(mut args: ConvF32Args<'_>) {
    let w = args.window;
    let shape = Shape::checked(&args, w.taps() * w.out_c as usize);
    let channels = w.in_c as usize;
    assert!(w.out_c == w.in_c && channels >= V::LANES);
    let (out_w, inner) = (w.out_w as usize, &shape.columns);
    let [kernel_w, stride_w, dilation_w] = [w.kernel_w, w.stride_w, w.dilation_w].map(|field| field as usize);
    let joint = dilation_w == 1 && matches!((kernel_w, stride_w), (3 | 5, 1 | 2)) && out_w >= COLUMNS;
    let cached = (CACHED_WEIGHTS / w.taps()).max(1).next_multiple_of(2 * V::LANES);
    for start in (0..channels).step_by(cached) {
        let range = start..channels.min(start + cached);
        for line in 0..w.batch as usize * w.out_h as usize {
            let (image, row) = (line / w.out_h as usize, line % w.out_h as usize);
            let mut column = 0;
            while column < out_w {
                // A last column on its own is cheaper than three others once more.
                let joint = joint && column + 1 < out_w;
                let wide = joint || inner.contains(&column) && inner.len() >= COLUMNS;
                let (count, end) = if wide { (COLUMNS, if joint { out_w } else { inner.end }) } else { (1, out_w) };
                let first = column.min(end - count);
                let padded = !inner.contains(&first) || !inner.contains(&(first + count - 1));
                let seen = if joint { (COLUMNS - 1) * stride_w + kernel_w } else { kernel_w };
                let corner = shape.corner(row, first);
                let (top, bottom) = inside(corner[0], w.kernel_h as usize, w.dilation_h as usize, w.in_h as usize);
                let (left, right) = inside(corner[1], seen, dilation_w, w.in_w as usize);
                let (pixel, position) = (shape.pixel(image, corner), line * out_w + first);
                let taps = Taps { shape: &shape, pixel, rows: top..bottom, columns: left..right, position };
                macro_rules! joint {
                    ($(($kernel_w:literal, $stride_w:literal)),*) => {
                        match (wide, joint, padded, kernel_w, stride_w) {
                            $(
                                (_, true, false, $kernel_w, $stride_w) => {
                                    depthwise_channels::<V, COLUMNS, $kernel_w, $stride_w, false>(
                                        &mut args, &taps, &range,
                                    )
                                }
                                (_, true, true, $kernel_w, $stride_w) => {
                                    depthwise_channels::<V, COLUMNS, $kernel_w, $stride_w, true>(
                                        &mut args, &taps, &range,
                                    )
                                }
                            )*
                            (true, ..) => depthwise_channels::<V, COLUMNS, 0, 0, false>(&mut args, &taps, &range),
                            (false, ..) => depthwise_channels::<V, 1, 0, 0, false>(&mut args, &taps, &range),
                        }
                    };
                }
                // SAFETY: the caller's promise; `Shape::checked` has compared lengths. The taps lie inside the image
                // for all columns: they are inner ones, or looked at one by one, or there is just one.
                unsafe { joint!((3, 1), (3, 2), (5, 1), (5, 2)) };
                column = first + count;
            }
        }
    }
}

/// Channels `range` of `R` positions, for windows of `K` columns and stride `S` with padding (`P`) or without, or
/// any windows without where `K` is 0.
///
/// # Safety
/// As for [`depthwise`]; the taps can be read for all positions.
#[inline(always)]
unsafe fn depthwise_channels<V: Vector, const R: usize, const K: usize, const S: usize, const P: bool>(
    args: &mut ConvF32Args<'_>,
    taps: &Taps<'_>,
    range: &Range<usize>,
) {
    let mut channel = range.start;
    // SAFETY: the caller's promise; channels end where the last ones do.
    unsafe {
        while channel + 2 * V::LANES <= range.end {
            depthwise_tile::<V, R, 2, K, S, P>(args, taps, channel);
            channel += 2 * V::LANES;
        }
        while channel < range.end {
            // The last register takes channels in front of it once more.
            depthwise_tile::<V, R, 1, K, S, P>(args, taps, channel.min(args.window.in_c as usize - V::LANES));
            channel += V::LANES;
        }
    }
}

/// `N` registers of channels from `channel` on of `R` positions.
///
/// # Safety
/// As for [`depthwise_channels`]; the channels are there.
#[inline(always)]
unsafe fn depthwise_tile<V: Vector, const R: usize, const N: usize, const K: usize, const S: usize, const P: bool>(
    args: &mut ConvF32Args<'_>,
    taps: &Taps<'_>,
    channel: usize,
) {
    let w = taps.shape.window;
    let channels = w.in_c as usize;
    let corner = args.x.as_ptr().wrapping_offset(taps.pixel + channel as isize);
    let bias = args.bias.bytes(channel, N * V::LANES).as_ptr().cast::<f32>();
    let weights = args.weights.bytes(channel, args.weights.len()).as_ptr().cast::<f32>();
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for register in 0..N {
            let bias = V::load(bias.add(register * V::LANES));
            sums.iter_mut().for_each(|sums| sums[register] = bias);
        }
        for tap_row in taps.rows.clone() {
            let line = corner.wrapping_add(tap_row * w.dilation_h as usize * w.in_w as usize * channels);
            let weights = weights.wrapping_add(tap_row * w.kernel_w as usize * channels);
            if K > 0 {
                joint_row::<V, R, N, K, S, P>(&mut sums, line, &taps.columns, weights, channels);
                continue;
            }
            for tap_column in taps.columns.clone() {
                let x = line.wrapping_add(tap_column * w.dilation_w as usize * channels);
                for register in 0..N {
                    let weight = V::load(weights.wrapping_add(tap_column * channels + register * V::LANES));
                    for (index, sums) in sums.iter_mut().enumerate() {
                        let x = x.wrapping_add(index * w.stride_w as usize * channels + register * V::LANES);
                        sums[register] = sums[register].multiply_add(V::load(x), weight);
                    }
                }
            }
        }
        let (low, high) = (V::splat(args.low), V::splat(args.high));
        for (index, sums) in sums.into_iter().enumerate() {
            for (register, sum) in sums.into_iter().enumerate() {
                let place = (taps.position + index) * channels + channel + register * V::LANES;
                sum.clamp(low, high).store(args.y.as_mut_ptr().add(place));
            }
        }
    }
}

/// Adds one row of `K` taps of `R` positions `S` columns apart. Each input column is loaded once; those outside of
/// `inside` are zeros.
///
/// # Safety
/// As for [`depthwise_tile`]; `x` and `weights` are those of the first tap of the row.
#[inline(always)]
unsafe fn joint_row<V: Vector, const R: usize, const N: usize, const K: usize, const S: usize, const P: bool>(
    sums: &mut [[V; N]; R],
    x: *const f32,
    inside: &Range<usize>,
    weights: *const f32,
    channels: usize,
) {
    const { assert!((R - 1) * S + K <= JOINT_COLUMNS) };
    for register in 0..N {
        // SAFETY: the caller's promise.
        unsafe {
            let mut columns = [V::splat(0.0); JOINT_COLUMNS];
            for (index, column) in columns[..(R - 1) * S + K].iter_mut().enumerate() {
                if !P || inside.contains(&index) {
                    *column = V::load(x.wrapping_add(index * channels + register * V::LANES));
                }
            }
            for tap in 0..K {
                let weight = V::load(weights.wrapping_add(tap * channels + register * V::LANES));
                for (index, sums) in sums.iter_mut().enumerate() {
                    sums[register] = sums[register].multiply_add(columns[index * S + tap], weight);
                }
            }
        }
    }
}
