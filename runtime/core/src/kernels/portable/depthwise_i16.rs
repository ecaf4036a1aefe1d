//! Depthwise convolution of int16 with int8 weights: a few neighbouring channels at a time.

use crate::kernels::portable::conv_i16::{store, store_wide};
use crate::kernels::portable::pool::place;
use crate::kernels::view::{chunk, i8s, part};
use crate::kernels::{Bias, ConvI16Args};

/// Channels at a time.
const LANES: usize = 16;

/// See [`crate::plan::step::DepthwiseI16`].
#[inline(always)]
pub(crate) fn depthwise(mut args: ConvI16Args<'_>) {
    let window = args.window;
    let channels = window.out_c as usize;
    let single = window.out_c == window.in_c;
    for position in 0..window.positions() {
        let mut start = 0;
        while start < channels {
            let left = channels - start;
            // The same sums either way; the first has a width that the compiler knows.
            start += match left {
                LANES.. if single => {
                    let sums = sums_of::<LANES>(&args, position, start);
                    finish(&mut args, position, start, &sums);
                    LANES
                }
                4.. if single => {
                    let sums = sums_of::<4>(&args, position, start);
                    finish(&mut args, position, start, &sums);
                    4
                }
                _ => {
                    let sums = sums_of::<1>(&args, position, start);
                    finish(&mut args, position, start, &sums);
                    1
                }
            };
        }
    }
}

/// `Σ x·w` of `N` channels from `start` on; of one only where a channel has several results. At most
/// [`crate::weights::WIDE_RUN`] taps: the sums fit 32 bits.
#[inline(always)]
fn sums_of<const N: usize>(args: &ConvI16Args<'_>, position: usize, start: usize) -> [i32; N] {
    let w = args.window;
    let (in_h, in_w, in_c, out_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize, w.out_c as usize);
    let multiplicity = (out_c / in_c.max(1)).max(1);
    let first = if multiplicity == 1 { start } else { start / multiplicity };
    let (image, row, column) = place(w, position);
    let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
    let left = (column * w.stride_w as usize) as isize - w.pad_left as isize;
    let x = part(args.x, image * in_h * in_w * in_c, in_h * in_w * in_c);
    let padding = [args.x_zero_point; N];
    let weights = i8s(args.weights);
    let mut sums = [0_i32; N];
    let mut tap = start;
    for kernel_row in 0..w.kernel_h as usize {
        let y = top + (kernel_row * w.dilation_h as usize) as isize;
        let line = if y < 0 || y as usize >= in_h { &[] } else { part(x, y as usize * in_w * in_c, in_w * in_c) };
        for kernel_column in 0..w.kernel_w as usize {
            let pixel = left + (kernel_column * w.dilation_w as usize) as isize;
            let inside = pixel >= 0 && (pixel as usize) < in_w;
            let values = if inside { chunk::<N, _>(line, pixel as usize * in_c + first) } else { None };
            let values = values.unwrap_or(&padding);
            if let Some(weights) = chunk::<N, _>(weights, tap) {
                for ((sum, &x), &w) in sums.iter_mut().zip(values).zip(weights) {
                    *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
                }
            }
            tap += out_c;
        }
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
