//! Float convolution.

use crate::kernels::ConvF32Args;
use crate::kernels::portable::pool::place;
use crate::kernels::view::{part, part_mut};
use crate::weights::F32_BLOCK;

/// See [`crate::plan::step::ConvF32`].
#[inline(always)]
pub(crate) fn conv(args: ConvF32Args<'_>) {
    let w = args.window;
    let (in_h, in_w, in_c, kernel_w) = (w.in_h as usize, w.in_w as usize, w.in_c as usize, w.kernel_w.max(1) as usize);
    let (group_in, group_out) = (w.group_in(), w.group_out());
    let blocks = group_out.div_ceil(F32_BLOCK);
    let tap_len = group_in * F32_BLOCK;
    for group in 0..w.groups as usize {
        for block in 0..blocks {
            let channel = group * group_out + block * F32_BLOCK;
            let lanes = F32_BLOCK.min(group_out - block * F32_BLOCK);
            let first_tap = (group * blocks + block) * w.taps();
            for (position, out) in args.y.chunks_exact_mut(w.out_c.max(1) as usize).enumerate() {
                let (image, row, column) = place(w, position);
                let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
                let left = (column * w.stride_w as usize) as isize - w.pad_left as isize;
                let mut sums = [0.0_f32; F32_BLOCK];
                sums.iter_mut().zip(args.bias.slice(channel, lanes).iter()).for_each(|(sum, bias)| *sum = bias);
                for tap in 0..w.taps() {
                    let y = top + (tap / kernel_w * w.dilation_h as usize) as isize;
                    let x = left + (tap % kernel_w * w.dilation_w as usize) as isize;
                    if y < 0 || y as usize >= in_h || x < 0 || x as usize >= in_w {
                        continue;
                    }
                    let start = ((image * in_h + y as usize) * in_w + x as usize) * in_c + group * group_in;
                    let weights = args.weights.bytes((first_tap + tap) * tap_len, tap_len);
                    sums = added(sums, part(args.x, start, group_in), weights);
                }
                for (y, sum) in part_mut(out, channel, lanes).iter_mut().zip(sums) {
                    *y = clamp(sum, args.low, args.high);
                }
            }
        }
    }
}

/// Adds input channels times their rows of the weights.
#[inline(always)]
fn added(mut sums: [f32; F32_BLOCK], x: &[f32], weights: &[u8]) -> [f32; F32_BLOCK] {
    for (x, row) in x.iter().zip(weights.as_chunks::<{ 4 * F32_BLOCK }>().0) {
        for (sum, weight) in sums.iter_mut().zip(row.as_chunks::<4>().0) {
            *sum += x * f32::from_le_bytes(*weight);
        }
    }
    sums
}

#[inline(always)]
fn clamp(value: f32, low: f32, high: f32) -> f32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// See [`crate::plan::step::DepthwiseF32`].
#[inline(always)]
pub(crate) fn depthwise(args: ConvF32Args<'_>) {
    let w = args.window;
    let (in_h, in_w, in_c, kernel_w) = (w.in_h as usize, w.in_w as usize, w.in_c as usize, w.kernel_w.max(1) as usize);
    let out_c = w.out_c.max(1) as usize;
    let multiplicity = (out_c / in_c.max(1)).max(1);
    for (position, out) in args.y.chunks_exact_mut(out_c).enumerate() {
        out.iter_mut().zip(args.bias.iter()).for_each(|(y, bias)| *y = bias);
        let (image, row, column) = place(w, position);
        let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
        let left = (column * w.stride_w as usize) as isize - w.pad_left as isize;
        for tap in 0..w.taps() {
            let y = top + (tap / kernel_w * w.dilation_h as usize) as isize;
            let x = left + (tap % kernel_w * w.dilation_w as usize) as isize;
            if y < 0 || y as usize >= in_h || x < 0 || x as usize >= in_w {
                continue;
            }
            let pixel = part(args.x, ((image * in_h + y as usize) * in_w + x as usize) * in_c, in_c);
            let weights = args.weights.slice(tap * out_c, out_c);
            if multiplicity == 1 {
                out.iter_mut().zip(pixel).zip(weights.iter()).for_each(|((y, x), weight)| *y += x * weight);
            } else {
                let pixel = pixel.iter().flat_map(|x| core::iter::repeat_n(x, multiplicity));
                out.iter_mut().zip(pixel).zip(weights.iter()).for_each(|((y, x), weight)| *y += x * weight);
            }
        }
        for y in out {
            *y = clamp(*y, args.low, args.high);
        }
    }
}
