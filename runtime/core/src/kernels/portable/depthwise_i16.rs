//! Depthwise convolution of int16 with int8 weights: a few neighbouring channels at a time.

use crate::kernels::portable::SMALL;
use crate::kernels::portable::conv_i16::{store, store_wide};
use crate::kernels::portable::pool::{inside, place};
use crate::kernels::view::{chunk, i8s};
use crate::kernels::{Bias, ConvI16Args};

/// See [`crate::plan::step::DepthwiseI16`].
#[inline(always)]
pub(crate) fn depthwise(args: ConvI16Args<'_>) {
    depthwise_by(args, add_inside);
}

/// [`depthwise`] with a way to add the products of four channels: see [`add_inside`].
#[inline(always)]
pub(crate) fn depthwise_by(mut args: ConvI16Args<'_>, four: impl Fn(&ConvI16Args<'_>, &Spot, usize, &mut [i32; 4])) {
    let window = args.window;
    let channels = window.out_c as usize;
    let single = window.out_c == window.in_c;
    for position in 0..window.positions() {
        let spot = Spot::of(&args, position);
        let mut start = 0;
        while start < channels {
            // The same sums either way, of as many channels as the compiler knows.
            start += match channels - start {
                32.. if single && !SMALL => some(&mut args, &spot, position, start, add_inside::<32>),
                16.. if single && !SMALL => some(&mut args, &spot, position, start, add_inside::<16>),
                4.. if single => some(&mut args, &spot, position, start, &four),
                _ => some(&mut args, &spot, position, start, add_inside::<1>),
            };
        }
    }
}

/// `N` channels from `start` on, whose products `add` adds; gives `N`.
#[inline(always)]
fn some<const N: usize>(
    args: &mut ConvI16Args<'_>,
    spot: &Spot,
    position: usize,
    start: usize,
    add: impl Fn(&ConvI16Args<'_>, &Spot, usize, &mut [i32; N]),
) -> usize {
    let mut sums = [0; N];
    add(args, spot, start, &mut sums);
    if args.x_zero_point != 0 && !spot.is_inside {
        add_padding(args, spot, start, &mut sums);
    }
    finish(args, position, start, &sums);
    N
}

/// Where a window lies.
pub(crate) struct Spot {
    /// Taps inside the image, by rows and columns: the first, and behind the last.
    pub rows: (usize, usize),
    pub columns: (usize, usize),
    /// The first channel of the first pixel that they see.
    pub first: usize,
    /// Whether no tap is outside.
    is_inside: bool,
}

impl Spot {
    #[inline(always)]
    fn of(args: &ConvI16Args<'_>, position: usize) -> Self {
        let w = args.window;
        let (in_h, in_w) = (w.in_h as usize, w.in_w as usize);
        let (kernel_h, kernel_w) = (w.kernel_h as usize, w.kernel_w as usize);
        let (dilation_h, dilation_w) = (w.dilation_h as usize, w.dilation_w as usize);
        let (image, row, column) = place(w, position);
        let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
        let left = (column * w.stride_w as usize) as isize - w.pad_left as isize;
        let rows = inside(top, kernel_h, dilation_h, in_h);
        let columns = inside(left, kernel_w, dilation_w, in_w);
        let y = top.wrapping_add_unsigned(rows.0 * dilation_h).max(0).unsigned_abs();
        let x = left.wrapping_add_unsigned(columns.0 * dilation_w).max(0).unsigned_abs();
        Self {
            rows,
            columns,
            first: ((image * in_h + y) * in_w + x) * w.in_c as usize,
            is_inside: rows == (0, kernel_h) && columns == (0, kernel_w),
        }
    }
}

/// Adds `x·w` of the taps inside the image for `N` channels from `start` on; of one only where a channel has several
/// results. At most [`crate::weights::WIDE_RUN`] taps: the sums fit 32 bits.
#[inline(always)]
fn add_inside<const N: usize>(args: &ConvI16Args<'_>, spot: &Spot, start: usize, sums: &mut [i32; N]) {
    let w = args.window;
    let (in_c, out_c, kernel_w) = (w.in_c as usize, w.out_c as usize, w.kernel_w as usize);
    let channel = if out_c == in_c { start } else { start / (out_c / in_c.max(1)).max(1) };
    let taps = spot.columns.1 - spot.columns.0;
    let (line_step, pixel_step) = (w.dilation_h as usize * w.in_w as usize * in_c, w.dilation_w as usize * in_c);
    let weights = i8s(args.weights);
    let mut line = spot.first + channel;
    let mut row_of_weights = (spot.rows.0 * kernel_w + spot.columns.0) * out_c + start;
    for _ in spot.rows.0..spot.rows.1 {
        let (mut pixel, mut weight) = (line, row_of_weights);
        for _ in 0..taps {
            if let (Some(x), Some(w)) = (chunk::<N, _>(args.x, pixel), chunk::<N, _>(weights, weight)) {
                for ((sum, &x), &w) in sums.iter_mut().zip(x).zip(w) {
                    *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                }
            }
            (pixel, weight) = (pixel + pixel_step, weight + out_c);
        }
        line += line_step;
        row_of_weights += kernel_w * out_c;
    }
}

/// Adds the zero point times the weights of the taps outside the image.
#[inline(never)]
fn add_padding(args: &ConvI16Args<'_>, spot: &Spot, start: usize, sums: &mut [i32]) {
    let w = args.window;
    let (zero_point, kernel_w) = (i32::from(args.x_zero_point), w.kernel_w as usize);
    let taps = i8s(args.weights).chunks(w.out_c.max(1) as usize).enumerate();
    for (tap, weights) in taps.take(w.taps()) {
        let (row, column) = (tap / kernel_w.max(1), tap % kernel_w.max(1));
        let seen = (spot.rows.0..spot.rows.1).contains(&row) && (spot.columns.0..spot.columns.1).contains(&column);
        if !seen {
            let weights = weights.get(start..).unwrap_or_default();
            sums.iter_mut().zip(weights).for_each(|(sum, &w)| *sum = sum.wrapping_add(zero_point * i32::from(w)));
        }
    }
}

/// Adds the bias and stores the results of channels from `start` on.
#[inline(always)]
fn finish<const N: usize>(args: &mut ConvI16Args<'_>, position: usize, start: usize, sums: &[i32; N]) {
    let at = position * args.window.out_c as usize + start;
    let multipliers = args.multipliers.slice(start, N);
    match args.bias {
        Bias::I32(bias) => store(&mut args.y, at, sums, bias.slice(start, N), multipliers),
        Bias::I64(bias) => {
            store_wide(&mut args.y, at, &sums.map(i64::from), bias.slice(start, N), multipliers);
        }
    }
}
