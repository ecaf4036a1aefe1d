//! Depthwise convolution of int16 with int8 weights: a few neighbouring channels at a time.

use crate::kernels::portable::SMALL;
use crate::kernels::portable::conv_i16::{store, store_wide};
use crate::kernels::portable::pool::place;
use crate::kernels::view::{chunk, i8s, part};
use crate::kernels::{Bias, ConvI16Args};

/// See [`crate::plan::step::DepthwiseI16`].
#[inline(always)]
pub(crate) fn depthwise(mut args: ConvI16Args<'_>) {
    let window = args.window;
    let channels = window.out_c as usize;
    let single = window.out_c == window.in_c;
    for position in 0..window.positions() {
        let spot = Spot::of(&args, position);
        let mut start = 0;
        while start < channels {
            // The same sums either way, of as many channels as the compiler knows.
            start += match channels - start {
                32.. if single && !SMALL => some::<32>(&mut args, &spot, position, start),
                16.. if single && !SMALL => some::<16>(&mut args, &spot, position, start),
                4.. if single => some::<4>(&mut args, &spot, position, start),
                _ => some::<1>(&mut args, &spot, position, start),
            };
        }
    }
}

/// `N` channels from `start` on; gives `N`.
#[inline(always)]
fn some<const N: usize>(args: &mut ConvI16Args<'_>, spot: &Spot<'_>, position: usize, start: usize) -> usize {
    let sums = sums_of::<N>(args, spot, start);
    finish(args, position, start, &sums);
    N
}

/// Where a window lies.
struct Spot<'a> {
    /// Its image.
    x: &'a [i16],
    top: isize,
    left: isize,
}

impl<'a> Spot<'a> {
    #[inline(always)]
    fn of(args: &ConvI16Args<'a>, position: usize) -> Self {
        let w = args.window;
        let len = w.in_h as usize * w.in_w as usize * w.in_c as usize;
        let (image, row, column) = place(w, position);
        Self {
            x: part(args.x, image * len, len),
            top: (row * w.stride_h as usize) as isize - w.pad_top as isize,
            left: (column * w.stride_w as usize) as isize - w.pad_left as isize,
        }
    }
}

/// `Σ x·w` of `N` channels from `start` on; of one only where a channel has several results. At most
/// [`crate::weights::WIDE_RUN`] taps: the sums fit 32 bits.
#[inline(always)]
fn sums_of<const N: usize>(args: &ConvI16Args<'_>, spot: &Spot<'_>, start: usize) -> [i32; N] {
    let w = args.window;
    let (in_h, in_w, in_c, out_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize, w.out_c as usize);
    let first = if out_c == in_c { start } else { start / (out_c / in_c.max(1)).max(1) };
    let padding = [args.x_zero_point; N];
    let weights = i8s(args.weights);
    let mut sums = [0_i32; N];
    let mut tap = start;
    let mut y = spot.top;
    for _ in 0..w.kernel_h {
        let inside = y >= 0 && (y as usize) < in_h;
        let line = if inside { part(spot.x, y as usize * in_w * in_c, in_w * in_c) } else { &[] };
        let mut pixel = spot.left;
        for _ in 0..w.kernel_w {
            let inside = pixel >= 0 && (pixel as usize) < in_w;
            let values = if inside { chunk::<N, _>(line, pixel as usize * in_c + first) } else { None };
            let values = values.unwrap_or(&padding);
            if let Some(weights) = chunk::<N, _>(weights, tap) {
                for ((sum, &x), &w) in sums.iter_mut().zip(values).zip(weights) {
                    *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                }
            }
            tap += out_c;
            pixel += w.dilation_w as isize;
        }
        y += w.dilation_h as isize;
    }
    sums
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
