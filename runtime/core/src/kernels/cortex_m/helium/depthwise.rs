//! Int8 depthwise convolution: windows of 3 × 3 in patches, 16 channels at a time; others tap by tap, four channels at
//! a time.

use core::mem::MaybeUninit;

use super::patch::{self, CELL, Spread, Sweep};
use super::taps::tap_by_tap;
use crate::kernels::cortex_m::plain;
use crate::kernels::view::{i8s, part, part_mut};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::plan::step::Window;
use crate::weights::BLOCK;

/// Cells that there is room for: four lines of 26 columns at least.
const CELLS: usize = 36;
/// Cells that are read behind the lines of a patch, though never used.
const SLACK: usize = 2;
/// Columns of results at once, a multiple of four, at most, at each stride.
const COLUMNS: [usize; 2] = [24, 12];

/// Room for what is spread.
struct Room {
    /// A row of zeros before and behind the kernel.
    kernel: [[u32; CELL / 4]; 5],
    pixels: [u8; CELLS * CELL],
}

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
    let mut room = MaybeUninit::<Room>::uninit();
    // SAFETY: all zeros are a kernel, and the pixels are never read as numbers.
    unsafe { (&raw mut (*room.as_mut_ptr()).kernel).write_bytes(0, 1) };
    let most = if w.stride_w == 1 { COLUMNS[0] } else { COLUMNS[1] };
    for column in (0..w.out_w as usize).step_by(most) {
        let these = Columns::new(&w, column, most.min(w.out_w as usize - column), target.parts().2);
        for (x, y) in args.x.chunks_exact(in_image.max(1)).zip(y.chunks_exact_mut(out_image.max(1))) {
            for channel in (0..in_c).step_by(BLOCK) {
                these.block(&args, x, channel, y, room.as_mut_ptr());
            }
        }
    }
    let (low, high, _) = target.limits();
    if (low, high) != (i8::MIN, i8::MAX) {
        y.iter_mut().for_each(|y| *y = (*y).max(low).min(high));
    }
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

/// Some columns of the results.
struct Columns {
    /// The first one.
    first: usize,
    /// How many.
    count: usize,
    /// What they see of the input.
    across: Span,
    /// Cells that spread columns take.
    cells: usize,
    /// Rows of results whose pixels there is room for.
    rows: usize,
    /// What all channels and rows have in common.
    sweep: Sweep,
}

impl Columns {
    fn new(w: &Window, column: usize, columns: usize, zero_point: i32) -> Self {
        let (stride, channels) = (w.stride_w as usize, w.in_c as usize);
        let line = w.out_w as usize * channels;
        let seen = (columns - 1) * stride + 3;
        let cells = seen.div_ceil(4).max(1);
        let pitch = cells * CELL;
        // The last patch has four lines, even if its windows have but three.
        let lines = (CELLS - SLACK) / cells;
        let halves = |columns: [usize; 2]| {
            // Two in each of four lines.
            core::array::from_fn(|half| (half / 2 * pitch + columns[half % 2]) as u16)
        };
        let (fours, rest) = (columns / 4, columns % 4);
        let common = Sweep {
            lower: CELL,
            fours,
            rest,
            zero_point,
            even: halves([0, 2]),
            odd: halves([2, CELL]),
            kernel: [0, 1, 2, 3].map(|row| (row * CELL) as u32),
            ..Sweep::EMPTY
        };
        let (rows, sweep) = if stride == 1 {
            let sweep = Sweep {
                y_step: 2 * channels,
                y_turn: (2 * line).wrapping_sub((fours * 4 + if rest == 3 { 2 } else { 0 }) * channels),
                x_turn: (2 * pitch).wrapping_sub(fours * CELL),
                // The first and the third.
                mask: 0x0f0f,
                results: [0, channels, line, line + channels].map(|distance| distance as u32),
                ..common
            };
            ((lines - 2) & !1, sweep)
        } else {
            let sweep = Sweep {
                y_step: 4 * channels,
                y_turn: line.wrapping_sub(fours * 4 * channels),
                x_turn: (2 * pitch).wrapping_sub(fours * 2 * CELL),
                mask: (1 << (4 * rest)) - 1,
                results: [0, 1, 2, 3].map(|place| (place * channels) as u32),
                ..common
            };
            ((lines - 2) / 2, sweep)
        };
        let across = Span::of(column * stride, seen, w.pad_left, w.in_w);
        Self { first: column, count: columns, across, cells, rows: rows.max(1), sweep }
    }

    /// Up to 16 channels from `channel` on of an image.
    fn block(&self, args: &ConvI8Args<'_>, x: &[i8], channel: usize, y: &mut [i8], room: *mut Room) {
        let w = args.window;
        let (channels, stride) = (w.in_c as usize, w.stride_h as usize);
        let (out_h, out_w) = (w.out_h as usize, w.out_w as usize);
        let lanes = BLOCK.min(channels - channel);
        let weights = i8s(args.weights).as_ptr().wrapping_add(channel);
        // SAFETY: the room is there.
        let (kernel, pixels) = unsafe { ((&raw mut (*room).kernel[1]).cast::<u8>(), (&raw mut (*room).pixels).cast()) };
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
            y: kernel,
            lanes,
            padding: [0; 16],
        };
        // SAFETY: nine taps of all channels are there, as `depthwise` has seen, and room for three rows.
        unsafe { patch::spread(&taps) };
        for line in (0..out_h).step_by(self.rows) {
            let rows = self.rows.min(out_h - line);
            let lines = (rows - 1) * stride + 3;
            let results = ((rows - 1) * out_w + self.count - 1) * channels + lanes;
            let y = part_mut(y, (line * out_w + self.first) * channels + channel, results);
            if y.len() != results || !self.spread(args, x, channel, line * stride, lines, pixels) {
                return;
            }
            let sweep = Sweep {
                x: pixels,
                weights: kernel,
                bias: args.bias.bytes(channel, lanes).as_ptr(),
                multipliers: args.multipliers.bytes(channel, lanes).as_ptr(),
                y: y.as_mut_ptr(),
                channels: lanes,
                rows,
                ..self.sweep
            };
            // SAFETY: pixels, weights and results are there, as just seen, and bias and multipliers, as `depthwise` has
            // seen; what is read behind the lines lies in the room.
            unsafe { self.sweep(sweep, stride, out_w * channels) };
        }
    }

    /// All results of a sweep of so many `rows`.
    ///
    /// # Safety
    /// The CPU has Helium; pixels, weights, bias, multipliers and results of the sweep are there.
    unsafe fn sweep(&self, mut sweep: Sweep, stride: usize, line: usize) {
        let rows = sweep.rows;
        // SAFETY: as the caller says.
        unsafe {
            if stride == 2 {
                return patch::sweep_by_2(&mut sweep);
            }
            if rows == 1 {
                // Both rows of the patches are the same.
                let [first, second, ..] = sweep.results;
                (sweep.lower, sweep.results) = (0, [first, second, first, second]);
                return patch::sweep(&mut sweep);
            }
            patch::sweep(&mut Sweep { rows: rows / 2, ..sweep });
            if rows % 2 == 1 {
                // The row before the last is computed once more.
                sweep.x = sweep.x.wrapping_add((rows - 2) * self.cells * CELL);
                sweep.y = sweep.y.wrapping_add((rows - 2) * line);
                patch::sweep(&mut Sweep { rows: 1, ..sweep });
            }
        }
    }

    /// Spreads `count` lines of padded input from `line` on; whether they are there.
    fn spread(&self, args: &ConvI8Args<'_>, x: &[i8], channel: usize, line: usize, count: usize, to: *mut u8) -> bool {
        let w = args.window;
        let channels = w.in_c as usize;
        let lanes = BLOCK.min(channels - channel);
        let (across, pitch, line_step) = (&self.across, self.cells * CELL, w.in_w as usize * channels);
        let down = Span::of(line, count, w.pad_top, w.in_h);
        let inside = if across.count == 0 { 0 } else { down.count };
        let pad = |from: usize, count: usize| {
            if count > 0 {
                // SAFETY: there is room for all lines.
                unsafe { to.add(from * pitch).write_bytes(args.x_zero_point.cast_unsigned(), count * pitch) };
            }
        };
        pad(0, down.before);
        pad(down.before + inside, count - down.before - inside);
        if inside == 0 {
            return true;
        }
        let seen = (inside - 1) * line_step + (across.count - 1) * channels + lanes;
        let x = part(x, down.first * line_step + across.first * channels + channel, seen);
        let first = across.before.div_ceil(4);
        let middle = ((across.before + across.count) / 4).saturating_sub(first);
        let pixels = Spread {
            x: x.as_ptr().wrapping_sub(across.before * channels),
            begin: x.as_ptr(),
            span: across.count * channels,
            step: channels,
            line_step,
            lines: inside,
            first,
            middle,
            last: self.cells - first - middle,
            y: to.wrapping_add(down.before * pitch),
            lanes,
            padding: [args.x_zero_point; 16],
        };
        if x.len() == seen {
            // SAFETY: the pixels are there, as just seen, and there is room for all lines.
            unsafe { patch::spread(&pixels) };
        }
        x.len() == seen
    }
}
