//! Int8 depthwise convolution: blocks of neighbouring channels, the weights of a block widened once.

use crate::kernels::portable::SMALL;
use crate::kernels::portable::pool::place;
use crate::kernels::view::{chunk, i8s, part, part_mut};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;
use crate::quantization::Multiplier;
use crate::weights::BLOCK;

/// Windows of up to this many taps have their weights widened beforehand: 5 × 5.
const TAPS: usize = 25;

/// A weight as it is kept for all positions: where the stack is small, as it is stored.
#[cfg(target_os = "none")]
type Weight = i8;
#[cfg(not(target_os = "none"))]
type Weight = i32;

/// See [`crate::plan::step::DepthwiseI8`].
#[inline(always)]
pub(crate) fn depthwise(mut args: ConvI8Args<'_>) {
    let window = args.window;
    let channels = window.out_c as usize;
    let simple = window.out_c == window.in_c && window.taps() <= TAPS && args.weight_zero_points.is_empty();
    let mut whole = 0;
    while simple && channels - whole >= 4 {
        match channels - whole {
            BLOCK.. if !SMALL => block::<BLOCK>(window, &mut args, &mut whole),
            8.. if !SMALL => block::<8>(window, &mut args, &mut whole),
            _ => block::<4>(window, &mut args, &mut whole),
        }
    }
    let lanes = if window.out_c == window.in_c { BLOCK } else { 1 };
    for start in (whole..channels).step_by(lanes) {
        let lanes = lanes.min(channels - start);
        for position in 0..window.positions() {
            let mut sums = [0_i32; BLOCK];
            gather_sums(window, &args, position, start, lanes, &mut sums);
            store(&mut args, position * channels + start, start, part(&sums, 0, lanes));
        }
    }
}

#[inline(always)]
fn wide(weight: impl Into<i32>) -> i32 {
    weight.into()
}

/// All positions of the `L` channels from `from`, which moves on behind them.
#[inline(always)]
fn block<const L: usize>(window: &Window, args: &mut ConvI8Args<'_>, from: &mut usize) {
    let start = *from;
    *from += L;
    let (in_h, in_w, channels) = (window.in_h as usize, window.in_w as usize, window.in_c as usize);
    let (kernel_h, kernel_w) = (window.kernel_h as usize, window.kernel_w as usize);
    let (dilation_h, dilation_w) = (window.dilation_h as usize, window.dilation_w as usize);
    let mut weights = [[Weight::default(); L]; TAPS];
    for (tap, widened) in weights.iter_mut().enumerate().take(window.taps()) {
        let row = part(i8s(args.weights), tap * channels + start, L);
        widened.iter_mut().zip(row).for_each(|(wide, &weight)| *wide = Weight::from(weight));
    }
    let mut bias = [0_i32; L];
    bias.iter_mut().zip(args.bias.slice(start, L).iter()).for_each(|(to, from)| *to = from);
    let mut multipliers = [0.0_f32; L];
    multipliers.iter_mut().zip(args.multipliers.slice(start, L).iter()).for_each(|(to, from)| *to = from);
    let x_zero_point = i32::from(args.x_zero_point);
    let mut place = start;
    for image in 0..window.batch as usize {
        let x = part(args.x, image * in_h * in_w * channels, in_h * in_w * channels);
        for row in 0..window.out_h as usize {
            let top = (row * window.stride_h as usize) as isize - window.pad_top as isize;
            for column in 0..window.out_w as usize {
                let left = (column * window.stride_w as usize) as isize - window.pad_left as isize;
                let mut sums = bias;
                for kernel_row in 0..kernel_h {
                    let y = top + (kernel_row * dilation_h) as isize;
                    let weights = part(&weights, kernel_row * kernel_w, kernel_w);
                    if y < 0 || y as usize >= in_h {
                        for weights in weights {
                            sums.iter_mut()
                                .zip(weights)
                                .for_each(|(sum, w)| *sum = sum.wrapping_add(x_zero_point * wide(*w)));
                        }
                        continue;
                    }
                    let line = part(x, y as usize * in_w * channels, in_w * channels);
                    for (kernel_column, weights) in weights.iter().enumerate() {
                        let pixel = left + (kernel_column * dilation_w) as isize;
                        if pixel < 0 || pixel as usize >= in_w {
                            sums.iter_mut()
                                .zip(weights)
                                .for_each(|(sum, w)| *sum = sum.wrapping_add(x_zero_point * wide(*w)));
                            continue;
                        }
                        if let Some(values) = chunk::<L, _>(line, pixel as usize * channels + start) {
                            for ((sum, &x), w) in sums.iter_mut().zip(values).zip(weights) {
                                *sum = sum.wrapping_add(i32::from(x) * wide(*w));
                            }
                        }
                    }
                }
                let scaled = sums.iter().zip(&multipliers);
                match &mut args.y {
                    ConvOutput::I8(y, target) => {
                        let out = part_mut(y, place, L);
                        out.iter_mut()
                            .zip(scaled)
                            .for_each(|(y, (&sum, &m))| *y = target.requantize(sum, Multiplier::new(m)));
                    }
                    ConvOutput::F32(y) => {
                        part_mut(y, place, L).iter_mut().zip(scaled).for_each(|(y, (&sum, m))| *y = sum as f32 * m);
                    }
                }
                place += channels;
            }
        }
    }
}

/// Adds the bias and stores the results of channels from `start` at `place`.
#[inline(always)]
fn store(args: &mut ConvI8Args<'_>, place: usize, start: usize, sums: &[i32]) {
    let len = sums.len();
    let bias = args.bias.slice(start, len).iter();
    let sums = sums.iter().zip(bias).map(|(sum, bias)| sum.wrapping_add(bias));
    let scaled = sums.zip(args.multipliers.slice(start, len).iter());
    match &mut args.y {
        ConvOutput::I8(y, target) => {
            let y = part_mut(y, place, len);
            y.iter_mut().zip(scaled).for_each(|(y, (sum, m))| *y = target.requantize(sum, Multiplier::new(m)));
        }
        ConvOutput::F32(y) => {
            part_mut(y, place, len).iter_mut().zip(scaled).for_each(|(y, (sum, m))| *y = sum as f32 * m)
        }
    }
}

/// Sums of `lanes` channels from `start`: neighbours in memory when each input channel has one
/// output channel.
#[inline(always)]
fn gather_sums(
    window: &Window,
    args: &ConvI8Args<'_>,
    position: usize,
    start: usize,
    lanes: usize,
    sums: &mut [i32; BLOCK],
) {
    let (in_h, in_w, in_c) = (window.in_h as usize, window.in_w as usize, window.in_c as usize);
    let (out_c, kernel_w) = (window.out_c as usize, window.kernel_w.max(1) as usize);
    let multiplicity = (out_c / in_c.max(1)).max(1);
    let (image, row, column) = place(window, position);
    let image = image * in_h * in_w * in_c;
    let top = (row * window.stride_h as usize) as isize - window.pad_top as isize;
    let left = (column * window.stride_w as usize) as isize - window.pad_left as isize;
    let padding = [args.x_zero_point; BLOCK];
    let weights = i8s(args.weights);
    for tap in 0..window.taps() {
        let y = top + (tap / kernel_w * window.dilation_h as usize) as isize;
        let x = left + (tap % kernel_w * window.dilation_w as usize) as isize;
        let inside = y >= 0 && (y as usize) < in_h && x >= 0 && (x as usize) < in_w;
        let values = if inside {
            let pixel = image + (y as usize * in_w + x as usize) * in_c;
            part(args.x, pixel + start / multiplicity, lanes)
        } else {
            part(&padding, 0, lanes)
        };
        let row = part(weights, tap * out_c + start, lanes);
        for ((sum, &x), &w) in sums.iter_mut().zip(values).zip(row) {
            *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
        }
        if !args.weight_zero_points.is_empty() {
            for (lane, (sum, &x)) in sums.iter_mut().zip(values).enumerate() {
                *sum = sum.wrapping_sub(i32::from(x).wrapping_mul(args.weight_zero_points.get(start + lane)));
            }
        }
    }
}
