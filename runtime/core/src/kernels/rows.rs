//! What the kernels of int8 and int16 convolutions multiply: rows of input, and tiles of them.
//!
//! What one output position sees of the input is its *row*, cut into *segments* that lie next to each other (see
//! [`crate::weights`]).

use super::source::Source;
use super::strips::for_each_strip;
use crate::kernels::portable::pool::place;
use crate::kernels::view::{copy, fill, part, part_mut};
use crate::kernels::{ConvI8Args, ConvI16Args};
use crate::plan::step::Window;
use crate::weights::{GROUP, LANES, Segments, WIDE_RUN};

/// Operands of a convolution with packed weights.
pub(crate) trait Operands<'a> {
    /// The type of the input's elements.
    type Element: Copy + Default + 'a;

    fn window(&self) -> &'a Window;
    /// The input, and what stands for padding.
    fn input(&self) -> (&'a [Self::Element], Self::Element);
    fn weights(&self) -> &'a [u8];
    /// The scratch, which is gone afterwards.
    fn take_scratch(&mut self) -> &'a mut [Self::Element];
}

macro_rules! operands {
    ($args:ident, $element:ty) => {
        impl<'a> Operands<'a> for $args<'a> {
            type Element = $element;

            #[inline(always)]
            fn window(&self) -> &'a Window {
                self.window
            }
            #[inline(always)]
            fn input(&self) -> (&'a [$element], $element) {
                (self.x, self.x_zero_point)
            }
            #[inline(always)]
            fn weights(&self) -> &'a [u8] {
                self.weights
            }
            #[inline(always)]
            fn take_scratch(&mut self) -> &'a mut [$element] {
                core::mem::take(&mut self.scratch)
            }
        }
    };
}

operands!(ConvI8Args, i8);
operands!(ConvI16Args, i16);

/// The segments of a row, as distances from the row's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Kernel rows.
    pub rows: usize,
    /// Elements from one kernel row to the next.
    pub row_step: usize,
    /// Segments of a kernel row.
    pub columns: usize,
    /// Elements from one of them to the next.
    pub column_step: usize,
    /// Groups of four elements in a segment.
    pub quads: usize,
}

impl Reach {
    /// Bytes of the weights of one channel.
    #[allow(dead_code, reason = "not for the portable kernels")]
    #[inline(always)]
    pub fn packed_len(&self) -> usize {
        self.rows * self.columns * self.quads * 4
    }

    /// Calls `visit` with the distance of each segment.
    #[inline(always)]
    pub fn for_each_segment(&self, mut visit: impl FnMut(usize)) {
        let mut row = 0;
        for _ in 0..self.rows {
            for column in 0..self.columns {
                visit(row + column * self.column_step);
            }
            row += self.row_step;
        }
    }

    /// Calls `visit(elements from a row's start, their reach, groups in front of them)` for parts of the reach whose sums of
    /// int16 fit 32 bits.
    #[allow(dead_code, reason = "not for the portable kernels")]
    #[inline(always)]
    pub fn for_each_run(&self, mut visit: impl FnMut(usize, &Reach, usize)) {
        const RUN: usize = WIDE_RUN / GROUP;
        let line = self.columns * self.quads;
        if line <= RUN {
            let most = RUN / line.max(1);
            for first in (0..self.rows).step_by(most) {
                let run = Reach { rows: most.min(self.rows - first), ..*self };
                visit(first * self.row_step, &run, first * line);
            }
            return;
        }
        let mut before = 0;
        self.for_each_segment(|offset| {
            for first in (0..self.quads).step_by(RUN) {
                let quads = RUN.min(self.quads - first);
                let run = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads };
                visit(offset + first * GROUP, &run, before + first);
            }
            before += self.quads;
        });
    }

    /// Elements from the start of a row to behind its last segment.
    #[inline(always)]
    pub fn len(&self) -> usize {
        (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step + 4 * self.quads
    }
}

/// The rows of a few output lines, all of which can be read.
pub(crate) struct Rows<'a, E = i8> {
    /// Where all segments lie.
    pub elements: &'a [E],
    /// Where the first row starts.
    pub start: usize,
    /// Rows of a line.
    pub columns: usize,
    /// Elements from one row to the next.
    pub step: usize,
    /// Lines.
    pub lines: usize,
    /// Elements from the first row of a line to that of the next.
    pub line_step: usize,
    /// The segments: inside `elements` for every row.
    pub reach: Reach,
    /// The output position of the first row; the others follow.
    pub first: usize,
    /// The channel group.
    pub group: usize,
}

impl<'a, E> Rows<'a, E> {
    /// The rows, when there are some and all of them can be read. Lines that follow each other as rows do become one.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn checked(mut self) -> Option<Self> {
        let last_line = self.lines.checked_sub(1)? * self.line_step;
        let last = self.start + last_line + self.columns.checked_sub(1)? * self.step;
        if last + self.reach.len() > self.elements.len() {
            return None;
        }
        if self.line_step == self.columns * self.step {
            (self.columns, self.lines) = (self.columns * self.lines, 1);
        }
        Some(self)
    }

    /// Where row `column` of line `line` starts; it may be read as far as the reach.
    #[allow(dead_code, reason = "not for the portable kernels")]
    #[inline(always)]
    pub fn pointer(&self, line: usize, column: usize) -> *const E {
        debug_assert!(line < self.lines && column < self.columns);
        // SAFETY: `checked` has seen that the rows lie inside the elements.
        unsafe { self.elements.as_ptr().add(self.start + line * self.line_step + column * self.step) }
    }

    /// Calls `visit(pointer to the first, number of rows, output position)` with runs of up to `MOST` rows of a line,
    /// of about the same length.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn for_each_run<const MOST: usize>(&self, mut visit: impl FnMut(*const E, usize, usize)) {
        let size = self.columns.div_ceil(self.columns.div_ceil(MOST));
        for line in 0..self.lines {
            for column in (0..self.columns).step_by(size) {
                let count = size.min(self.columns - column);
                visit(self.pointer(line, column), count, self.first + line * self.columns + column);
            }
        }
    }

    /// Calls `visit` with tiles of up to `MOST` rows, of about the same size.
    #[inline(always)]
    pub fn for_each_tile<const MOST: usize>(&self, mut visit: impl FnMut(&Tile<'a, MOST, E>)) {
        let positions = self.lines * self.columns;
        let size = positions.div_ceil(positions.div_ceil(MOST).max(1)).max(1);
        let (mut line, mut column, mut start) = (self.start, 0, self.start);
        for at in (0..positions).step_by(size) {
            let count = size.min(positions - at);
            let mut starts = [start; MOST];
            for place in starts.iter_mut().take(count) {
                *place = start;
                column += 1;
                start += self.step;
                if column == self.columns {
                    column = 0;
                    line += self.line_step;
                    start = line;
                }
            }
            visit(&Tile { elements: self.elements, starts, count, reach: self.reach, first: self.first + at });
        }
    }
}

/// A few rows that are multiplied at once.
pub(crate) struct Tile<'a, const MOST: usize, E = i8> {
    elements: &'a [E],
    starts: [usize; MOST],
    /// Number of rows.
    pub count: usize,
    /// Their segments.
    pub reach: Reach,
    /// The output position of the first row; the others follow.
    pub first: usize,
}

impl<'a, const MOST: usize, E> Tile<'a, MOST, E> {
    /// Pointer to row `row`, behind the last one to any of them; it may be read as far as the reach.
    #[allow(dead_code, reason = "not for the portable kernels")]
    #[inline(always)]
    pub fn pointer(&self, row: usize) -> *const E {
        // SAFETY: `Rows` has seen that the reach of every row lies inside the elements.
        unsafe { self.elements.as_ptr().add(self.starts[row]) }
    }

    /// The segment `offset` elements from the start of every row; behind the last one they repeat a row.
    #[inline(always)]
    pub fn segment(&self, offset: usize) -> [&'a [E]; MOST] {
        self.starts.map(|start| part(self.elements, start + offset, 4 * self.reach.quads))
    }
}

/// Calls `multiply(args, rows, weights of the group)` for all rows of a convolution.
#[inline(always)]
pub(crate) fn for_each_rows<'a, A: Operands<'a>>(
    args: &mut A,
    multiply: impl FnMut(&mut A, &Rows<'_, A::Element>, &'a [u8]),
) {
    for_each_rows_by(args, copy, multiply);
}

/// As [`for_each_rows`], with a way to copy lines.
#[inline(always)]
pub(crate) fn for_each_rows_by<'a, A: Operands<'a>>(
    args: &mut A,
    copy_line: impl Fn(&mut [A::Element], &[A::Element]),
    mut multiply: impl FnMut(&mut A, &Rows<'_, A::Element>, &'a [u8]),
) {
    let (window, weights) = (args.window(), args.weights());
    let (x, x_zero_point) = args.input();
    if window.is_pointwise() && window.groups == 1 && window.in_c.is_multiple_of(4) {
        // All positions are one long line of the input.
        let step = window.in_c as usize;
        let reach = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads: step / 4 };
        let columns = window.positions();
        let rows = Rows { elements: x, start: 0, columns, step, lines: 1, line_step: 0, reach, first: 0, group: 0 };
        if let Some(rows) = rows.checked() {
            multiply(args, &rows, weights);
        }
        return;
    }
    let segments = Segments::of(window);
    let group_bytes = segments.packed_len() * window.group_out().next_multiple_of(LANES);
    let scratch = args.take_scratch();
    let quads = segments.padded / 4;
    let source = Source::of(window);
    if source == Source::Packed {
        let length = segments.packed_len().max(1);
        let reach = Reach { rows: segments.count, row_step: segments.padded, columns: 1, column_step: 0, quads };
        let size = (scratch.len() / length).max(1);
        for (group, weights) in weights.chunks_exact(group_bytes.max(1)).enumerate() {
            for first in (0..window.positions()).step_by(size) {
                let columns = size.min(window.positions() - first);
                for (row, packed) in scratch.chunks_exact_mut(length).take(columns).enumerate() {
                    pack_row(window, &segments, x, x_zero_point, first + row, group, packed);
                }
                let (start, step, lines, line_step) = (0, length, 1, 0);
                let rows = Rows { elements: scratch, start, columns, step, lines, line_step, reach, first, group };
                if let Some(rows) = rows.checked() {
                    multiply(args, &rows, weights);
                }
            }
        }
        return;
    }
    // Positions of a pointwise convolution are one long line.
    let one_line = window.is_pointwise() && source == Source::InPlace;
    let strips = if one_line { window.as_one_line() } else { *window };
    for_each_strip(&strips, source, x, x_zero_point, scratch, copy_line, |strip| {
        let reach = Reach {
            rows: window.kernel_h as usize,
            row_step: strip.pitch * window.dilation_h as usize,
            columns: if segments.rows { 1 } else { window.kernel_w as usize },
            column_step: window.dilation_w as usize * window.in_c as usize,
            quads,
        };
        for (group, weights) in weights.chunks_exact(group_bytes.max(1)).enumerate() {
            let rows = Rows {
                elements: strip.elements,
                start: group * window.group_in(),
                columns: strips.out_w as usize,
                step: window.stride_w as usize * window.in_c as usize,
                lines: strip.lines,
                line_step: strip.pitch * window.stride_h as usize,
                reach,
                first: strip.first,
                group,
            };
            if let Some(rows) = rows.checked() {
                multiply(args, &rows, weights);
            }
        }
    });
}

/// Copies what output position `position` sees of the input, in the order of the weights; padding
/// gets `zero_point`, the end of a segment zeros.
#[inline(always)]
fn pack_row<E: Copy + Default>(
    window: &Window,
    segments: &Segments,
    x: &[E],
    zero_point: E,
    position: usize,
    group: usize,
    packed: &mut [E],
) {
    let (in_h, in_w, in_c) = (window.in_h as usize, window.in_w as usize, window.in_c as usize);
    let (image, row, column) = place(window, position);
    let image = part(x, image * in_h * in_w * in_c, in_h * in_w * in_c);
    let top = (row * window.stride_h as usize) as isize - window.pad_top as isize;
    let left = (column * window.stride_w as usize) as isize - window.pad_left as isize;
    let (group_in, kernel_w) = (window.group_in().max(1), window.kernel_w.max(1) as usize);
    let taps = segments.len / group_in;
    for (index, segment) in packed.chunks_exact_mut(segments.padded.max(1)).enumerate() {
        fill(segment, segments.len..segments.padded, E::default());
        let segment = part_mut(segment, 0, segments.len);
        for (column, pixel) in segment.chunks_exact_mut(group_in).enumerate() {
            let tap = index * taps + column;
            let y = top + (tap / kernel_w * window.dilation_h as usize) as isize;
            let x = left + (tap % kernel_w * window.dilation_w as usize) as isize;
            if y < 0 || y as usize >= in_h || x < 0 || x as usize >= in_w {
                pixel.fill(zero_point);
            } else {
                let from = (y as usize * in_w + x as usize) * in_c + group * group_in;
                copy(pixel, part(image, from, group_in));
            }
        }
    }
}
