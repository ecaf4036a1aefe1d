//! Rows of the input as pairs of 16-bit numbers, those of a tile interleaved.

use core::ops::Range;

use super::copy::{Copy, Padded, copy_padded, copy_to};
use crate::plan::step::Window;
use crate::weights::{GROUP, Segments};

/// Bytes of a group of four when expanded.
pub(super) const EXPANDED: usize = 2 * GROUP;

/// Positions along one axis that see no padding.
fn inside(out: u32, stride: u32, pad: u32, reach: u32, length: u32) -> Range<usize> {
    let stride = stride.max(1);
    let end = (length + pad).checked_sub(reach).map_or(0, |last| last / stride + 1);
    pad.div_ceil(stride) as usize..end.min(out) as usize
}

/// The input of a convolution, and how its rows are cut.
pub(super) struct Input<'a> {
    pub window: &'a Window,
    segments: Segments,
    x: &'a [i8],
    zero_point: i8,
    /// Output lines and columns that see no padding.
    lines: Range<usize>,
    columns: Range<usize>,
}

/// An output position as coordinates.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    image: usize,
    line: usize,
    column: usize,
}

impl<'a> Input<'a> {
    /// The input `x` of a window, padded by `zero_point`.
    pub fn new(window: &'a Window, x: &'a [i8], zero_point: i8) -> Self {
        let w = window;
        let reach_h = (w.kernel_h - 1) * w.dilation_h + 1;
        let reach_w = (w.kernel_w - 1) * w.dilation_w + 1;
        let lines = inside(w.out_h, w.stride_h, w.pad_top, reach_h, w.in_h);
        let columns = inside(w.out_w, w.stride_w, w.pad_left, reach_w, w.in_w);
        Self { window, segments: Segments::of(window), x, zero_point, lines, columns }
    }

    /// Groups of four of a row.
    pub fn quads(&self) -> usize {
        self.segments.packed_len() / GROUP
    }

    /// The position of this number.
    pub fn position(&self, index: usize) -> Position {
        let (out_h, out_w) = ((self.window.out_h as usize).max(1), (self.window.out_w as usize).max(1));
        let line = index / out_w;
        Position { image: line / out_h, line: line % out_h, column: index % out_w }
    }

    /// The position `count` further on, at most the first one of the next line.
    fn step(&self, position: &mut Position, count: usize) {
        position.column += count;
        if position.column >= self.window.out_w as usize {
            (position.line, position.column) = (position.line + 1, 0);
        }
        if position.line >= self.window.out_h as usize {
            (position.image, position.line) = (position.image + 1, 0);
        }
    }

    /// Whether all rows lie in the input in one piece.
    pub fn lies_in_place(&self) -> bool {
        self.window.is_inside() && self.segments.count == 1 && self.segments.len == self.segments.padded
    }

    /// The row of `position`, which moves on, where it [`Self::lies_in_place`].
    pub fn in_place(&self, position: &mut Position, group: usize) -> Option<*const u32> {
        let from = self.start(*position, group);
        self.step(position, 1);
        self.x.get(from..)?.get(..self.segments.padded).map(|row| row.as_ptr().cast())
    }

    /// Where the row of a position starts that sees no padding.
    fn start(&self, position: Position, group: usize) -> usize {
        let w = self.window;
        let line = (position.line * w.stride_h as usize).wrapping_sub(w.pad_top as usize);
        let column = (position.column * w.stride_w as usize).wrapping_sub(w.pad_left as usize);
        let line = (position.image * w.in_h as usize).wrapping_add(line);
        let pixel = (line.wrapping_mul(w.in_w as usize)).wrapping_add(column);
        pixel.wrapping_mul(w.in_c as usize).wrapping_add(group * w.group_in())
    }

    /// Expands `size` rows, six, three or one, as `group` of channels sees them, from `position` on, which moves on.
    ///
    /// # Safety
    /// The CPU has the DSP extension and an FPU. `to` is aligned to 4 bytes and has room for the rows.
    pub unsafe fn expand(&self, position: &mut Position, group: usize, to: *mut u32, size: usize) {
        let regular = self.segments.rows || self.window.kernel_w == 1;
        let mut row = 0;
        while row < size {
            let to = to.wrapping_byte_add(row * EXPANDED);
            let mut count = 1;
            let sees_none = self.lines.contains(&position.line) && self.columns.contains(&position.column);
            // SAFETY: there is room for the rows, as the caller says.
            unsafe {
                if regular && sees_none {
                    count = (size - row).min(self.columns.end - position.column);
                    if !self.expand_rows(self.start(*position, group), count, to, size) {
                        count = 1;
                        self.expand_padded(*position, group, to, size);
                    }
                } else {
                    self.expand_padded(*position, group, to, size);
                }
            }
            self.step(position, count);
            row += count;
        }
    }

    /// Expands rows of neighbouring positions that see no padding; `false` where the input ends before what the last
    /// segment is padded to.
    ///
    /// # Safety
    /// As for [`Self::expand`]; segments lie equally far from each other.
    unsafe fn expand_rows(&self, from: usize, rows: usize, to: *mut u32, size: usize) -> bool {
        let w = self.window;
        let line = w.in_w as usize * w.in_c as usize * w.dilation_h as usize;
        let (segments, padded) = (self.segments.count, self.segments.padded);
        let step = w.stride_w as usize * w.in_c as usize;
        let end = from + (rows - 1) * step + (segments - 1) * line + padded;
        if end > self.x.len() {
            return false;
        }
        let row_gap = step.wrapping_sub(segments * line);
        let gap = line.wrapping_sub(padded);
        let from = self.x.as_ptr().wrapping_add(from);
        let copy = Copy { from, to, rows, row_gap, segments, gap, quads: padded / GROUP };
        // SAFETY: as the caller says; the segments lie in the input.
        unsafe { copy_to(size)(&copy) };
        true
    }

    /// Expands a row that may see padding or the end of the input, for a tile of `size` rows.
    ///
    /// # Safety
    /// As for [`Self::expand`].
    unsafe fn expand_padded(&self, position: Position, group: usize, to: *mut u32, size: usize) {
        let w = self.window;
        let (in_h, in_w, in_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize);
        let (kernel_h, kernel_w) = (w.kernel_h as usize, w.kernel_w as usize);
        let dilation_h = w.dilation_h.max(1) as usize;
        let padded = self.segments.padded;
        let quads = padded / GROUP;
        let line_bytes = in_w * in_c;
        let top = (position.line * w.stride_h as usize) as isize - w.pad_top as isize;
        let left = (position.column * w.stride_w as usize) as isize - w.pad_left as isize;
        // Kernel rows above the input, and those above and inside.
        let rows = |distance: isize| distance.max(0).unsigned_abs().div_ceil(dilation_h).min(kernel_h);
        let (above, inside) = (rows(-top), rows(in_h as isize - top));
        let half = u32::from(i16::from(self.zero_point).cast_unsigned());
        let segment = |row: usize, column: usize, to: *mut u32| {
            let column = left + (column * w.dilation_w as usize) as isize;
            // Far outside the line there may be no such number.
            let start = column.saturating_mul(in_c as isize).saturating_add((group * w.group_in()) as isize);
            // A segment of several pixels sees what is there of the line; one of channels the whole pixel or none.
            let seen = self.segments.rows || column >= 0 && column < in_w as isize;
            let end = if seen { line_bytes as isize } else { start };
            let before = start.min(0).unsigned_abs().min(padded);
            let line = ((position.image * in_h) as isize + top + (row * w.dilation_h as usize) as isize).unsigned_abs();
            Padded {
                from: self.x.as_ptr().wrapping_add(line * line_bytes).wrapping_offset(start),
                to,
                step: size * EXPANDED,
                pair: half | half << 16,
                segments: 1,
                before,
                behind: end.saturating_sub(start).max(0).unsigned_abs().min(padded).max(before),
                padded,
                line: line_bytes * w.dilation_h as usize,
                above: 0,
                below: 0,
            }
        };
        // SAFETY: there is room for all segments; what is said to be inside the lines is.
        unsafe {
            if self.segments.rows {
                let inside = inside.max(above);
                let job = segment(above, 0, to);
                copy_padded(&Padded {
                    segments: inside - above,
                    above: above * quads,
                    below: (kernel_h - inside) * quads,
                    ..job
                });
                return;
            }
            let mut to = to;
            for row in 0..kernel_h {
                for column in 0..kernel_w {
                    let mut job = segment(row.clamp(above, inside.max(above)), column, to);
                    if row < above || row >= inside {
                        (job.segments, job.above) = (0, quads);
                    }
                    copy_padded(&job);
                    to = to.wrapping_byte_add(quads * size * EXPANDED);
                }
            }
        }
    }
}
