//! Pointwise convolutions that pad their input, as the last one of SqueezeNet does: all that lies in the padding has the
//! same result, which is computed once.

use super::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;

/// Whether [`conv`] may run a convolution.
#[inline]
pub(super) fn pays(args: &ConvI8Args<'_>) -> bool {
    let w = args.window;
    let pads = w.out_h > w.in_h || w.out_w > w.in_w;
    pads && w.taps() == 1
        && (w.batch, w.groups, w.stride_h, w.stride_w) == (1, 1, 1, 1)
        && w.in_c.is_multiple_of(4)
        && w.out_w >= w.pad_left + w.in_w
        && matches!(args.y, ConvOutput::I8(..))
        && args.y_step == w.out_c as usize
        && args.scratch.len() >= w.in_c as usize
}

/// Runs `kernel` on what is inside the image, and on one position of the padding.
#[inline(never)]
pub(super) fn conv(mut args: ConvI8Args<'_>, kernel: fn(ConvI8Args<'_>)) {
    let w = *args.window;
    let ConvOutput::I8(y, target) = &mut args.y else { return };
    let (depth, channels, width) = (w.in_c as usize, w.out_c as usize, w.in_w as usize);
    let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
    let (top, left) = (w.pad_top as usize, w.pad_left as usize);
    // A part of an image may end before it does.
    let lines = (w.in_h as usize).min(out_h.saturating_sub(top));
    let of = |height: usize, width: usize| {
        let (height, width) = (height as u32, width as u32);
        Window { in_h: height, in_w: width, out_h: height, out_w: width, pad_top: 0, pad_left: 0, ..w }
    };
    let run = |window: &Window, x: &[i8], y: &mut [i8]| {
        kernel(ConvI8Args {
            window,
            x,
            x_zero_point: args.x_zero_point,
            y: ConvOutput::I8(y, *target),
            y_step: channels,
            scratch: &mut [],
            weights: args.weights,
            multipliers: args.multipliers,
            bias: args.bias,
            weight_zero_points: args.weight_zero_points,
            narrow: args.narrow,
        });
    };
    if lines > 0 {
        run(&of(lines, width), &args.x[..lines * width * depth], &mut y[..lines * width * channels]);
    }
    // The lines move to their places from the last one on: none is written over before it has moved.
    for line in (0..lines).rev() {
        let from = line * width * channels;
        y.copy_within(from..from + width * channels, ((top + line) * out_w + left) * channels);
    }
    let is_inside = |position: usize| {
        let (row, column) = (position / out_w, position % out_w);
        (top..top + lines).contains(&row) && (left..left + width).contains(&column)
    };
    let mut border = (0..out_h * out_w).filter(|&position| !is_inside(position));
    let Some(first) = border.next() else { return };
    let padding = &mut args.scratch[..depth];
    padding.fill(args.x_zero_point);
    run(&of(1, 1), padding, &mut y[first * channels..][..channels]);
    for position in border {
        y.copy_within(first * channels..(first + 1) * channels, position * channels);
    }
}
