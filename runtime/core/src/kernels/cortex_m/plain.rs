//! Convolutions that are rare: one result at a time, in little code.
//!
//! Float32 results, weights with zero points, many channels from one, wide depthwise windows, operands at odd
//! addresses, scratch too small for one row.

use crate::kernels::view::i8s;
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;
use crate::weights::{BLOCK, GROUP, LANES, Segments, block_width};

/// See [`crate::plan::step::ConvI8`].
#[inline(never)]
pub(super) fn conv(args: ConvI8Args<'_>, depthwise: bool) {
    let ConvI8Args { window, x, x_zero_point, y, y_step, weights, multipliers, bias, weight_zero_points, .. } = args;
    let channels = window.out_c as usize;
    let weights = i8s(weights);
    let mut results = y;
    let mut first = 0;
    for image in 0..window.batch as usize {
        for line in 0..window.out_h as usize {
            for column in 0..window.out_w as usize {
                for channel in 0..channels {
                    let index = first + channel;
                    let place = Place { image, line, column, channel };
                    let weight_zero_point = weight_zero_points.get(channel);
                    let mut sum = bias.get(channel);
                    place.visit(window, depthwise, |from, weight| {
                        let x = from.and_then(|from| x.get(from)).copied().unwrap_or(x_zero_point);
                        let weight = i32::from(weights.get(weight).copied().unwrap_or(0));
                        let product = i32::from(x).wrapping_mul(weight.wrapping_sub(weight_zero_point));
                        sum = sum.wrapping_add(product);
                    });
                    let scaled = sum as f32 * multipliers.get(channel);
                    match &mut results {
                        ConvOutput::I8(y, target) => {
                            y.get_mut(index).into_iter().for_each(|y| *y = target.store(scaled))
                        }
                        ConvOutput::F32(y) => y.get_mut(index).into_iter().for_each(|y| *y = scaled),
                    }
                }
                first += y_step;
            }
        }
    }
}

/// A result.
struct Place {
    image: usize,
    line: usize,
    column: usize,
    channel: usize,
}

impl Place {
    /// Calls `visit` with the places of each input element, none in the padding, and of its weight.
    #[inline(always)]
    fn visit(&self, w: &Window, depthwise: bool, mut visit: impl FnMut(Option<usize>, usize)) {
        let (in_h, in_w, in_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize);
        let (group_in, group_out) = (w.group_in(), w.group_out().max(1));
        let (group, lane) = (self.channel / group_out, self.channel % group_out);
        let segments = Segments::of(w);
        let width = block_width(lane / BLOCK * BLOCK, group_out);
        // The channel's weights in its block: behind the blocks in front of it.
        let block = group * group_out.next_multiple_of(LANES) + lane / BLOCK * BLOCK;
        let block = block * segments.packed_len() + lane % BLOCK * GROUP;
        let mut at = 0;
        for tap_row in 0..w.kernel_h as usize {
            let y = self.line * w.stride_h as usize + tap_row * w.dilation_h as usize;
            let y = y.checked_sub(w.pad_top as usize).filter(|y| *y < in_h);
            for tap_column in 0..w.kernel_w as usize {
                let x = self.column * w.stride_w as usize + tap_column * w.dilation_w as usize;
                let x = x.checked_sub(w.pad_left as usize).filter(|x| *x < in_w);
                let pixel = y.zip(x).map(|(y, x)| ((self.image * in_h + y) * in_w + x) * in_c + group * group_in);
                for channel in 0..group_in {
                    let weight = match depthwise {
                        true => (tap_row * w.kernel_w as usize + tap_column) * w.out_c as usize + self.channel,
                        false => block + at / GROUP * width * GROUP + at % GROUP,
                    };
                    visit(pixel.map(|pixel| pixel + channel), weight);
                    at += 1;
                }
                if !segments.rows {
                    at = at.next_multiple_of(GROUP);
                }
            }
            at = at.next_multiple_of(GROUP);
        }
    }
}
