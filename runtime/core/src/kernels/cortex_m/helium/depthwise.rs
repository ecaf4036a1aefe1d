//! Int8 depthwise convolution: windows of 3 × 3 in patches, 16 channels at a time; others tap by tap, four channels at
//! a time.

use core::mem::MaybeUninit;

use super::copy::copy;
use super::patch::{self, CELL, Spread, Sweep};
use super::taps::{self, Taps};
use crate::kernels::cortex_m::plain;
use crate::kernels::rows::{Source, for_each_strip};
use crate::kernels::view::{i8s, part, part_mut};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::BLOCK;

/// Room for spread pixels: four lines of 26 columns at least.
const ROOM: usize = 36 * CELL;
/// Cells that are read behind the lines of a patch, though never used.
const SLACK: usize = 2;
/// Columns of results at once, a multiple of four, at most, at each stride.
const COLUMNS: [usize; 2] = [24, 12];
/// Channels that are worked on tap by tap.
const LANES: usize = 4;

/// See [`crate::plan::step::DepthwiseI8`].
pub(super) fn depthwise(mut args: ConvI8Args<'_>) {
    let w = *args.window;
    let (in_c, out_c) = (w.in_c as usize, w.out_c as usize);
    let whole = args.bias.len() >= out_c && args.multipliers.len() >= out_c && args.weights.len() >= w.taps() * out_c;
    let ConvOutput::I8(y, target) = &mut args.y else { return plain::conv(args, true) };
    let (y, target) = (core::mem::take(y), *target);
    if !whole {
        return;
    }
    let strides = w.stride_h == w.stride_w && (1..=2).contains(&w.stride_h);
    let dense = w.out_c == w.in_c && w.dilation_h == 1 && w.dilation_w == 1 && (w.kernel_h, w.kernel_w) == (3, 3);
    if !dense || !strides || !args.weight_zero_points.is_empty() {
        return tap_by_tap(args, y, target);
    }
    let (in_image, out_image) = (w.in_h as usize * w.in_w as usize * in_c, w.out_h as usize * w.out_w as usize * in_c);
    for (x, y) in args.x.chunks_exact(in_image.max(1)).zip(y.chunks_exact_mut(out_image.max(1))) {
        for channel in (0..in_c).step_by(BLOCK) {
            block(&args, x, channel, y, target.parts().2);
        }
    }
    let (low, high, _) = target.limits();
    if (low, high) != (i8::MIN, i8::MAX) {
        y.iter_mut().for_each(|y| *y = (*y).max(low).min(high));
    }
}

/// Windows of any shape, many channels from one, weights with zero points.
#[inline(never)]
fn tap_by_tap(mut args: ConvI8Args<'_>, y: &mut [i8], target: Target) {
    let w = *args.window;
    let (in_c, out_c, out_w) = (w.in_c as usize, w.out_c as usize, w.out_w as usize);
    let many = u32::max(w.out_c / w.in_c.max(1), 1);
    let scratch = core::mem::take(&mut args.scratch);
    let (low, high, zero_point) = target.parts();
    for_each_strip(&w, Source::of_depthwise(&w), args.x, args.x_zero_point, scratch, copy, |strip| {
        let (row_step, column_step) = (w.dilation_h as usize * strip.pitch, w.dilation_w as usize * in_c);
        let (kernel_h, kernel_w) = (w.kernel_h as usize, w.kernel_w as usize);
        let step = w.stride_w as usize * in_c;
        let seen = (out_w - 1) * step + (kernel_w - 1) * column_step + (kernel_h - 1) * row_step + in_c;
        for line in 0..strip.lines {
            let x = part(strip.bytes, line * w.stride_h as usize * strip.pitch, seen);
            let y = part_mut(y, (strip.first + line * out_w) * out_c, out_w * out_c);
            if x.len() != seen || y.len() != out_w * out_c {
                return;
            }
            for channel in (0..out_c).step_by(LANES) {
                let input = channel as u32 / many;
                let mut taps = Taps {
                    x: x.as_ptr().wrapping_add(input as usize),
                    weights: i8s(args.weights).as_ptr().wrapping_add(channel),
                    step,
                    columns: out_w,
                    kernel_h,
                    kernel_w,
                    column_step,
                    turn: row_step.wrapping_sub(kernel_w * column_step),
                    y: y.as_mut_ptr().wrapping_add(channel),
                    channels: out_c,
                    lanes: LANES.min(out_c - channel),
                    zero_point,
                    inputs: core::array::from_fn(|lane| (channel + lane) as u32 / many - input),
                    weight_zero_points: core::array::from_fn(|lane| args.weight_zero_points.get(channel + lane)),
                    bias: core::array::from_fn(|lane| args.bias.get(channel + lane)),
                    multipliers: core::array::from_fn(|lane| args.multipliers.get(channel + lane)),
                    low: [low; LANES],
                    high: [high; LANES],
                };
                // SAFETY: what the windows of the line see is there, as are all weights and results of the line.
                unsafe { taps::taps(&mut taps) };
            }
        }
    });
}

/// A part of what a window sees along one axis: what is there between what is padding.
struct Span {
    /// Places of padding before it.
    before: usize,
    /// The first place of the input.
    first: usize,
    /// Places of the input.
    count: usize,
}

impl Span {
    /// What there is of `count` places from `start` on, where `pad` places of padding stand before `length` others.
    fn of(start: usize, count: usize, pad: u32, length: u32) -> Self {
        let (pad, length) = (pad as usize, length as usize);
        let before = pad.saturating_sub(start).min(count);
        let first = (start + before).saturating_sub(pad);
        Self { before, first, count: length.saturating_sub(first).min(count - before) }
    }
}

/// Up to 16 channels from `channel` on of an image.
fn block(args: &ConvI8Args<'_>, x: &[i8], channel: usize, y: &mut [i8], zero_point: i32) {
    let w = args.window;
    let (channels, stride) = (w.in_c as usize, w.stride_h as usize);
    let lanes = BLOCK.min(channels - channel);
    let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
    // A row of zeros before and behind the kernel.
    let mut kernel = [[0_u32; CELL / 4]; 5];
    let weights = i8s(args.weights).as_ptr().wrapping_add(channel);
    let taps = Spread {
        x: weights,
        begin: weights,
        span: 3 * channels,
        step: channels,
        line_step: 3 * channels,
        lines: 3,
        first: 0,
        middle: 0,
        last: 1,
        y: kernel[1].as_mut_ptr().cast(),
        lanes,
        padding: [0; 16],
    };
    // SAFETY: nine taps of all channels are there, as `depthwise` has seen, and room for three rows.
    unsafe { patch::spread(&taps) };
    let mut room = MaybeUninit::<[u8; ROOM]>::uninit();
    let room = room.as_mut_ptr().cast::<u8>();
    let most = if stride == 1 { COLUMNS[0] } else { COLUMNS[1] };
    for column in (0..out_w).step_by(most) {
        let columns = most.min(out_w - column);
        let seen = (columns - 1) * stride + 3;
        let cells = seen.div_ceil(4);
        let pitch = cells.max(1) * CELL;
        let across = Span::of(column * stride, seen, w.pad_left, w.in_w);
        // The last patch has four lines, even if its windows have but three.
        let fit = (ROOM - SLACK * CELL) / pitch;
        let most_rows = if stride == 1 { (fit - 2) & !1 } else { (fit - 2) / 2 }.max(1);
        for line in (0..out_h).step_by(most_rows) {
            let rows = most_rows.min(out_h - line);
            let lines = (rows - 1) * stride + 3;
            let down = Span::of(line * stride, lines, w.pad_top, w.in_h);
            let line_step = w.in_w as usize * channels;
            let spread = |from: usize, count: usize| {
                // SAFETY: the room has all lines.
                unsafe { room.add(from * pitch).write_bytes(args.x_zero_point.cast_unsigned(), count * pitch) };
            };
            let inside = if across.count == 0 { 0 } else { down.count };
            spread(0, down.before);
            spread(down.before + inside, lines - down.before - inside);
            if inside > 0 {
                let begin = down.first * line_step + across.first * channels + channel;
                let seen = (inside - 1) * line_step + (across.count - 1) * channels + lanes;
                let x = part(x, begin, seen);
                if x.len() != seen {
                    return;
                }
                let first = across.before.div_ceil(4);
                let middle = ((across.before + across.count) / 4).saturating_sub(first);
                let begin = x.as_ptr();
                let pixels = Spread {
                    x: begin.wrapping_sub(across.before * channels),
                    begin,
                    span: across.count * channels,
                    step: channels,
                    line_step,
                    lines: inside,
                    first,
                    middle,
                    last: cells - first - middle,
                    y: room.wrapping_add(down.before * pitch),
                    lanes,
                    padding: [args.x_zero_point; 16],
                };
                // SAFETY: the pixels are there as asserted, and the room has all lines.
                unsafe { patch::spread(&pixels) };
            }
            let results = ((rows - 1) * out_w + columns - 1) * channels + lanes;
            let y = part_mut(y, (line * out_w + column) * channels + channel, results);
            if y.len() != results {
                return;
            }
            let shape = Shape { channels, line: out_w * channels, pitch, columns };
            let y = y.as_mut_ptr();
            let sweep = |from: usize, rows: usize, lower: usize| Sweep {
                x: room.wrapping_add(from * pitch),
                weights: kernel[1].as_ptr().cast(),
                lower,
                bias: args.bias.bytes(channel, lanes).as_ptr(),
                multipliers: args.multipliers.bytes(channel, lanes).as_ptr(),
                y: y.wrapping_add(from * shape.line),
                channels: lanes,
                rows,
                zero_point,
                ..if stride == 1 { shape.by_1(lower > 0) } else { shape.by_2() }
            };
            // SAFETY: pixels, weights and results are there, as asserted; what is read behind the lines lies in the
            // room.
            unsafe {
                match (stride, rows) {
                    (2, _) => patch::sweep_by_2(&mut sweep(0, rows, CELL)),
                    // Both rows of the patches are the same.
                    (_, 1) => patch::sweep(&mut sweep(0, 1, 0)),
                    _ => {
                        patch::sweep(&mut sweep(0, rows / 2, CELL));
                        if rows % 2 == 1 {
                            // The row before the last is computed once more.
                            patch::sweep(&mut sweep(rows - 2, 1, CELL));
                        }
                    }
                }
            }
        }
    }
}

/// Distances between pixels and between results.
struct Shape {
    channels: usize,
    line: usize,
    pitch: usize,
    columns: usize,
}

impl Shape {
    /// Pairs of rows, or single ones that are computed twice, at stride 1.
    fn by_1(&self, pairs: bool) -> Sweep {
        let (column, line) = (self.channels, if pairs { self.line } else { 0 });
        Sweep {
            y_step: 2 * column,
            y_turn: (2 * self.line).wrapping_sub(self.columns / 4 * 4 * column),
            x_turn: (2 * self.pitch).wrapping_sub(self.columns / 4 * CELL),
            // The first and the third.
            mask: 0x0f0f,
            results: [0, column, line, line + column].map(|distance| distance as u32),
            ..self.any()
        }
    }

    /// Rows at stride 2.
    fn by_2(&self) -> Sweep {
        let column = self.channels;
        Sweep {
            y_step: 4 * column,
            y_turn: self.line.wrapping_sub(self.columns / 4 * 4 * column),
            x_turn: (2 * self.pitch).wrapping_sub(self.columns / 4 * 2 * CELL),
            mask: (1 << (4 * (self.columns % 4))) - 1,
            results: [0, 1, 2, 3].map(|place| (place * column) as u32),
            ..self.any()
        }
    }

    /// What is common to both.
    fn any(&self) -> Sweep {
        let halves = |columns: [usize; 2]| {
            // Two in each of four lines.
            core::array::from_fn(|half| (half / 2 * self.pitch + columns[half % 2]) as u16)
        };
        Sweep {
            x: core::ptr::null(),
            weights: core::ptr::null(),
            lower: 0,
            bias: core::ptr::null(),
            multipliers: core::ptr::null(),
            y: core::ptr::null_mut(),
            channels: 0,
            rows: 0,
            fours: self.columns / 4,
            rest: self.columns % 4,
            y_step: 0,
            y_turn: 0,
            x_turn: 0,
            zero_point: 0,
            mask: 0,
            results: [0; 4],
            even: halves([0, 2]),
            odd: halves([2, CELL]),
            kernel: [0, 1, 2, 3].map(|row| (row * CELL) as u32),
        }
    }
}
