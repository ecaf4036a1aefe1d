//! Float convolution.

use crate::kernels::ConvF32Args;
use crate::weights::F32_BLOCK;

/// Output positions computed at once: each weight loaded serves all of them.
const POSITIONS: usize = 4;

/// See [`crate::plan::step::ConvF32`].
#[inline(always)]
pub(crate) fn conv(args: ConvF32Args<'_>) {
    let w = args.window;
    let (out_h, out_w, out_c) = (w.out_h as usize, w.out_w as usize, w.out_c as usize);
    let (in_h, in_w, in_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize);
    let (group_in, group_out) = (w.group_in(), w.group_out());
    let blocks = group_out.div_ceil(F32_BLOCK);
    let block_len = w.taps() * group_in * F32_BLOCK;
    for first in (0..w.positions()).step_by(POSITIONS) {
        let count = POSITIONS.min(w.positions() - first);
        for group in 0..w.groups as usize {
            for block in 0..blocks {
                let channel = group * group_out + block * F32_BLOCK;
                let lanes = F32_BLOCK.min(group_out - block * F32_BLOCK);
                let mut sums = [[0.0_f32; F32_BLOCK]; POSITIONS];
                for sums in &mut sums {
                    sums.iter_mut().zip(args.bias.slice(channel, lanes).iter()).for_each(|(sum, bias)| *sum = bias);
                }
                let weights = args.weights.slice((group * blocks + block) * block_len, block_len);
                for tap in 0..w.taps() {
                    let mut starts = [None; POSITIONS];
                    for (index, start) in starts[..count].iter_mut().enumerate() {
                        let position = first + index;
                        let y = (position / out_w % out_h * w.stride_h as usize) as isize - w.pad_top as isize
                            + (tap / w.kernel_w as usize * w.dilation_h as usize) as isize;
                        let x = (position % out_w * w.stride_w as usize) as isize - w.pad_left as isize
                            + (tap % w.kernel_w as usize * w.dilation_w as usize) as isize;
                        if y >= 0 && (y as usize) < in_h && x >= 0 && (x as usize) < in_w {
                            let image = position / (out_w * out_h);
                            *start = Some(((image * in_h + y as usize) * in_w + x as usize) * in_c + group * group_in);
                        }
                    }
                    if starts == [None; POSITIONS] {
                        continue;
                    }
                    for channel in 0..group_in {
                        let row = weights.slice((tap * group_in + channel) * F32_BLOCK, F32_BLOCK);
                        let mut values = [0.0_f32; F32_BLOCK];
                        values.iter_mut().zip(row.iter()).for_each(|(value, weight)| *value = weight);
                        for (sums, start) in sums.iter_mut().zip(starts) {
                            let x = start.map_or(0.0, |start: usize| args.x[start + channel]);
                            sums.iter_mut().zip(values).for_each(|(sum, weight)| *sum += x * weight);
                        }
                    }
                }
                for (index, sums) in sums[..count].iter().enumerate() {
                    let out = &mut args.y[(first + index) * out_c + channel..][..lanes];
                    for (y, &sum) in out.iter_mut().zip(sums) {
                        *y = clamp(sum, args.low, args.high);
                    }
                }
            }
        }
    }
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
    let (out_h, out_w, out_c) = (w.out_h as usize, w.out_w as usize, w.out_c as usize);
    let (in_h, in_w, in_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize);
    let multiplicity = out_c / in_c;
    for (position, out) in args.y.chunks_exact_mut(out_c).enumerate() {
        out.iter_mut().zip(args.bias.iter()).for_each(|(y, bias)| *y = bias);
        let image = position / (out_w * out_h);
        let top = (position / out_w % out_h * w.stride_h as usize) as isize - w.pad_top as isize;
        let left = (position % out_w * w.stride_w as usize) as isize - w.pad_left as isize;
        for tap in 0..w.taps() {
            let y = top + (tap / w.kernel_w as usize * w.dilation_h as usize) as isize;
            let x = left + (tap % w.kernel_w as usize * w.dilation_w as usize) as isize;
            if y < 0 || y as usize >= in_h || x < 0 || x as usize >= in_w {
                continue;
            }
            let pixel = &args.x[((image * in_h + y as usize) * in_w + x as usize) * in_c..][..in_c];
            let weights = args.weights.slice(tap * out_c, out_c);
            if multiplicity == 1 {
                out.iter_mut().zip(pixel).zip(weights.iter()).for_each(|((y, x), weight)| *y += x * weight);
            } else {
                for (channel, (y, weight)) in out.iter_mut().zip(weights.iter()).enumerate() {
                    *y += pixel[channel / multiplicity] * weight;
                }
            }
        }
        for y in out {
            *y = clamp(*y, args.low, args.high);
        }
    }
}
