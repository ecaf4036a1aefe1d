//! Int8 depthwise convolution by windows of 3 × 3, 16 channels at a time.

use core::mem::MaybeUninit;

use super::patch::{self, CELL, Spread, Sweep};
use crate::kernels::portable::depthwise as portable;
use crate::kernels::rows::{Source, Strip, for_each_strip};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;
use crate::quantization::Target;
use crate::weights::BLOCK;

/// Room for spread pixels: four lines of 26 columns at least.
const ROOM: usize = 36 * CELL;
/// Cells that are read behind the lines of a patch, though never used.
const SLACK: usize = 2;
/// Columns of results at once, a multiple of four, at most.
const COLUMNS: [usize; 2] = [24, 12];

/// See [`crate::plan::step::DepthwiseI8`].
pub(super) fn depthwise(mut args: ConvI8Args<'_>) {
    let w = *args.window;
    let strides = w.stride_h == w.stride_w && w.stride_h <= 2 && w.dilation_h == 1 && w.dilation_w == 1;
    let channels = w.in_c as usize;
    let whole = args.bias.len() >= channels && args.multipliers.len() >= channels && args.weights.len() >= 9 * channels;
    if w.out_c != w.in_c || (w.kernel_h, w.kernel_w) != (3, 3) || !strides || !whole {
        return portable::depthwise(args);
    }
    let ConvOutput::I8(y, target) = &mut args.y else { return portable::depthwise(args) };
    if !args.weight_zero_points.is_empty() {
        return portable::depthwise(args);
    }
    let target = *target;
    let (y, scratch) = (core::mem::take(y), core::mem::take(&mut args.scratch));
    for_each_strip(&w, Source::of_depthwise(&w), args.x, args.x_zero_point, scratch, |strip| {
        for channel in (0..channels).step_by(BLOCK) {
            block(&args, &strip, channel, y, target);
        }
    });
    let (low, high, _) = target.limits();
    if (low, high) != (i8::MIN, i8::MAX) {
        y.iter_mut().for_each(|y| *y = (*y).clamp(low, high));
    }
}

/// Up to 16 channels from `channel` on of all lines of a strip.
fn block(args: &ConvI8Args<'_>, strip: &Strip<'_>, channel: usize, y: &mut [i8], target: Target) {
    let w = args.window;
    let (channels, stride) = (w.in_c as usize, w.stride_h as usize);
    let lanes = BLOCK.min(channels - channel);
    let out_w = w.out_w as usize;
    // A row of zeros before and behind the kernel.
    let mut kernel = [[0_u32; CELL / 4]; 5];
    let weights = Spread {
        x: args.weights[channel..].as_ptr().cast(),
        step: channels,
        columns: 3,
        line_step: 3 * channels,
        lines: 3,
        y: kernel[1].as_mut_ptr().cast(),
        lanes,
    };
    // SAFETY: nine taps of all channels are there, as `depthwise` has seen, and room for three rows.
    unsafe { patch::spread(&weights) };
    let mut room = MaybeUninit::<[u8; ROOM]>::uninit();
    let most = COLUMNS[stride - 1];
    for column in (0..out_w).step_by(most) {
        let columns = most.min(out_w - column);
        let seen = (columns - 1) * stride + 3;
        let pitch = seen.div_ceil(4) * CELL;
        // The last patch has four lines, even if its windows have but three.
        let fit = (ROOM - SLACK * CELL) / pitch;
        let rows = if stride == 1 { (fit - 2) & !1 } else { (fit - 2) / 2 };
        for line in (0..strip.lines).step_by(rows) {
            let rows = rows.min(strip.lines - line);
            let lines = (rows - 1) * stride + 3;
            let x = &strip.bytes[line * stride * strip.pitch + column * stride * channels + channel..];
            assert!((lines - 1) * strip.pitch + (seen - 1) * channels + lanes <= x.len());
            let first = (strip.first + line * out_w + column) * channels + channel;
            let y = &mut y[first..];
            assert!(((rows - 1) * out_w + columns - 1) * channels + lanes <= y.len());
            let pixels = Spread {
                x: x.as_ptr(),
                step: channels,
                columns: seen,
                line_step: strip.pitch,
                lines,
                y: room.as_mut_ptr().cast(),
                lanes,
            };
            // SAFETY: the pixels are there as asserted, and the room holds so many lines.
            unsafe { patch::spread(&pixels) };
            let sweep = |row: usize, count: usize, lower: usize| {
                let (rows, x_step) = if stride == 1 { (count.div_ceil(2), CELL) } else { (count, 2 * CELL) };
                let (fours, rest) = (columns / 4, columns % 4);
                let line = out_w * channels;
                let down = if lower == 0 { 0 } else { line };
                let (step, y_row) = if stride == 1 { (2 * channels, 2 * line) } else { (4 * channels, line) };
                let behind = if stride == 1 { 4 } else { 4 };
                Sweep {
                    x: room.as_ptr().cast::<u8>().wrapping_add(row * stride * pitch),
                    weights: kernel[1].as_ptr().cast(),
                    lower,
                    bias: args.bias.bytes(channel, lanes).as_ptr(),
                    multipliers: args.multipliers.bytes(channel, lanes).as_ptr(),
                    y: y.as_ptr().cast_mut().wrapping_add(row * line),
                    channels: lanes,
                    rows,
                    fours,
                    rest,
                    y_step: step,
                    y_turn: y_row.wrapping_sub(behind * fours * channels),
                    x_turn: (2 * pitch).wrapping_sub(x_step * fours),
                    zero_point: target.parts().2,
                    mask: if stride == 1 { 0x0f0f } else { (1 << (4 * rest)) - 1 },
                    results: if stride == 1 {
                        [0, channels as u32, down as u32, (down + channels) as u32]
                    } else {
                        core::array::from_fn(|result| (result * channels) as u32)
                    },
                    even: halfwords(pitch, [0, 2]),
                    odd: halfwords(pitch, [2, CELL]),
                    kernel: core::array::from_fn(|row| (row * CELL) as u32),
                }
            };
            if stride == 2 {
                // SAFETY: as asserted; what is read behind the lines lies in the room.
                unsafe { patch::sweep_by_2(&mut sweep(0, rows, 0)) };
                continue;
            }
            if rows >= 2 {
                // SAFETY: as above.
                unsafe { patch::sweep(&mut sweep(0, rows & !1, CELL)) };
            }
            if rows == 1 {
                // SAFETY: as above; both rows of a patch are the same.
                unsafe { patch::sweep(&mut sweep(0, 1, 0)) };
            } else if rows % 2 == 1 {
                // SAFETY: as above; the row before the last is computed once more.
                unsafe { patch::sweep(&mut sweep(rows - 2, 2, CELL)) };
            }
        }
    }
}

/// Distances of the halfwords of a patch: two in each of four lines.
fn halfwords(pitch: usize, columns: [usize; 2]) -> [u16; 8] {
    core::array::from_fn(|half| (half / 2 * pitch + columns[half % 2]) as u16)
}
