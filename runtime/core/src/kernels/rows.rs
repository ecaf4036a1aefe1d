//! Where an int8 convolution finds its input.
//!
//! What one output position sees of the input is its *row*, cut into *segments* that lie next to each
//! other (see [`crate::weights`]). [`Source`] says where the rows are; the strips below bring padded
//! lines of the input into scratch; rows and tiles of them are what kernels multiply.

use core::ops::Range;

use crate::kernels::ConvI8Args;
use crate::kernels::portable::pool::place;
use crate::kernels::view::{copy, fill, part, part_mut};
use crate::plan::step::Window;
use crate::weights::{BLOCK, LANES, Segments};

/// Bytes behind the last line of scratch that kernels may read, though never use.
const SLACK: usize = 16;

/// Where the rows of a convolution are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the input itself: no position sees padding.
    InPlace,
    /// In padded copies of the input lines that an output line sees; neighbouring rows overlap.
    Lines,
    /// In copies, one behind the other: for windows with gaps, whose lines would take too much room.
    Packed,
}

impl Source {
    /// The source for a convolution.
    #[must_use]
    pub fn of(window: &Window) -> Self {
        if window.is_inside() && window.group_in().is_multiple_of(4) {
            Self::InPlace
        } else if window.dilation_h == 1 && window.dilation_w == 1 {
            Self::Lines
        } else {
            Self::Packed
        }
    }

    /// The source for a depthwise convolution: packed rows are of no use to it.
    #[must_use]
    pub fn of_depthwise(window: &Window) -> Self {
        if window.is_inside() { Self::InPlace } else { Self::Lines }
    }

    /// Bytes of scratch for `count` output lines ([`Source::Lines`]) or rows ([`Source::Packed`]) at once.
    #[must_use]
    pub fn scratch_bytes(self, window: &Window, count: usize) -> usize {
        match self {
            Self::InPlace => 0,
            Self::Lines => lines_seen(window, count).saturating_mul(line_bytes(window)).saturating_add(SLACK),
            Self::Packed => count.saturating_mul(Segments::of(window).packed_len()),
        }
    }
}

/// Tiles of six expanded rows for which a channel's weights are expanded, at most: more save little.
const MOST_TILES: usize = 8;

/// Whether Cortex-M makes use of room for exactly so many rows expanded to 16 bits. It multiplies six, three or one at
/// a time; three tiles of six and more, and blocks of fewer than 16 channels, have one for the weights of a channel,
/// too.
fn expanded_rows(window: &Window, rows: usize) -> bool {
    let narrow = !window.group_out().is_multiple_of(BLOCK);
    let used = match rows {
        1 | 3 => true,
        6 => !narrow,
        7 => narrow,
        _ => rows % 6 == 1 && rows > 3 * 6,
    };
    used && if rows < 6 { rows } else { rows / 6 * 6 } <= window.positions()
}

/// Bytes of scratch that a convolution should have: what it must have, for as many output lines or rows at once as
/// `limit` allows, but no more than the step reads and writes; or room for expanded rows within `limit`, if that is more.
/// `None` where it needs none and there is no room.
#[must_use]
pub fn useful_scratch(window: &Window, depthwise: bool, limit: usize) -> Option<usize> {
    let source = if depthwise { Source::of_depthwise(window) } else { Source::of(window) };
    let most = match source {
        Source::InPlace => 0,
        Source::Lines => window.out_h as usize,
        Source::Packed => window.positions(),
    };
    let elements = |h: u32, w: u32, c: u32| window.batch as usize * h as usize * w as usize * c as usize;
    let moved = elements(window.in_h, window.in_w, window.in_c) + elements(window.out_h, window.out_w, window.out_c);
    let fits = |&count: &usize| source.scratch_bytes(window, count) <= limit.min(moved);
    let count = (1..=most).take_while(fits).last().unwrap_or(1);
    let row = 2 * Segments::of(window).packed_len();
    let rows = (0..=6 * MOST_TILES + 1).rev().filter(|&rows| !depthwise && expanded_rows(window, rows));
    let expanded = rows.map(|rows| rows * row).find(|bytes| *bytes <= limit).unwrap_or(0);
    Some(source.scratch_bytes(window, count).max(expanded)).filter(|bytes| *bytes > 0)
}

/// Input lines that `count` output lines see.
fn lines_seen(window: &Window, count: usize) -> usize {
    count.saturating_sub(1) * window.stride_h as usize
        + (window.kernel_h as usize).saturating_sub(1) * window.dilation_h as usize
        + 1
}

/// Bytes of a padded line: from the first column that an output sees to the last one.
fn line_bytes(window: &Window) -> usize {
    let last = (window.out_w as usize - 1) * window.stride_w as usize;
    let columns = last + (window.kernel_w as usize - 1) * window.dilation_w as usize + 1;
    columns.saturating_mul(window.in_c as usize)
}

/// The segments of a row, as distances from the row's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Kernel rows.
    pub rows: usize,
    /// Bytes from one kernel row to the next.
    pub row_step: usize,
    /// Segments of a kernel row.
    pub columns: usize,
    /// Bytes from one of them to the next.
    pub column_step: usize,
    /// Groups of four bytes in a segment.
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

    /// Bytes from the start of a row to behind its last segment.
    #[inline(always)]
    pub fn bytes(&self) -> usize {
        (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step + 4 * self.quads
    }
}

/// The rows of a few output lines, all of which can be read.
pub(crate) struct Rows<'a> {
    /// Where all segments lie.
    pub bytes: &'a [i8],
    /// Where the first row starts.
    pub start: usize,
    /// Rows of a line.
    pub columns: usize,
    /// Bytes from one row to the next.
    pub step: usize,
    /// Lines.
    pub lines: usize,
    /// Bytes from the first row of a line to that of the next.
    pub line_step: usize,
    /// The segments: inside `bytes` for every row.
    pub reach: Reach,
    /// The output position of the first row; the others follow.
    pub first: usize,
    /// The channel group.
    pub group: usize,
}

impl<'a> Rows<'a> {
    /// The rows, when there are some and all of them can be read. Lines that follow each other as rows do become one.
    fn checked(mut self) -> Option<Self> {
        let last_line = self.lines.checked_sub(1)? * self.line_step;
        let last = self.start + last_line + self.columns.checked_sub(1)? * self.step;
        if last + self.reach.bytes() > self.bytes.len() {
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
    pub fn pointer(&self, line: usize, column: usize) -> *const i8 {
        debug_assert!(line < self.lines && column < self.columns);
        // SAFETY: `checked` has seen that the rows lie inside the bytes.
        unsafe { self.bytes.as_ptr().add(self.start + line * self.line_step + column * self.step) }
    }

    /// Calls `visit(pointer to the first, number of rows, output position)` with runs of up to `MOST` rows of a line,
    /// of about the same length.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn for_each_run<const MOST: usize>(&self, mut visit: impl FnMut(*const i8, usize, usize)) {
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
    pub fn for_each_tile<const MOST: usize>(&self, mut visit: impl FnMut(&Tile<'a, MOST>)) {
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
            visit(&Tile { bytes: self.bytes, starts, count, reach: self.reach, first: self.first + at });
        }
    }
}

/// A few rows that are multiplied at once.
pub(crate) struct Tile<'a, const MOST: usize> {
    bytes: &'a [i8],
    starts: [usize; MOST],
    /// Number of rows.
    pub count: usize,
    /// Their segments.
    pub reach: Reach,
    /// The output position of the first row; the others follow.
    pub first: usize,
}

impl<'a, const MOST: usize> Tile<'a, MOST> {
    /// Pointer to row `row`, behind the last one to any of them; it may be read as far as the reach.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn pointer(&self, row: usize) -> *const i8 {
        // SAFETY: `Rows` has seen that the reach of every row lies inside the bytes.
        unsafe { self.bytes.as_ptr().add(self.starts[row]) }
    }

    /// The segment `offset` bytes from the start of every row; behind the last one they repeat a row.
    #[inline(always)]
    pub fn segment(&self, offset: usize) -> [&'a [i8]; MOST] {
        self.starts.map(|start| part(self.bytes, start + offset, 4 * self.reach.quads))
    }
}

/// Output lines of one image whose rows can be read, in place or from scratch.
pub(crate) struct Strip<'a> {
    /// The input lines.
    pub bytes: &'a [i8],
    /// Bytes from one input line to the next.
    pub pitch: usize,
    /// The output position of the first row.
    pub first: usize,
    /// Output lines.
    pub lines: usize,
}

/// Calls `visit` with strips that cover all output lines; `copy_line` copies what both places have room for.
#[inline(always)]
pub(crate) fn for_each_strip(
    window: &Window,
    source: Source,
    x: &[i8],
    x_zero_point: i8,
    scratch: &mut [i8],
    copy_line: impl Fn(&mut [i8], &[i8]),
    mut visit: impl FnMut(Strip<'_>),
) {
    if cfg!(target_os = "none") {
        strips_once(window, source, x, x_zero_point, scratch, &copy_line, &mut visit);
    } else {
        strips(window, source, x, x_zero_point, scratch, copy_line, visit);
    }
}

/// [`strips`] for all kernels in one place: where code is dear.
#[inline(never)]
fn strips_once(
    window: &Window,
    source: Source,
    x: &[i8],
    x_zero_point: i8,
    scratch: &mut [i8],
    copy_line: &dyn Fn(&mut [i8], &[i8]),
    visit: &mut dyn FnMut(Strip<'_>),
) {
    strips(window, source, x, x_zero_point, scratch, copy_line, visit);
}

/// See [`for_each_strip`].
#[inline(always)]
fn strips(
    window: &Window,
    source: Source,
    x: &[i8],
    x_zero_point: i8,
    scratch: &mut [i8],
    copy_line: impl Fn(&mut [i8], &[i8]),
    mut visit: impl FnMut(Strip<'_>),
) {
    let (out_h, out_w) = (window.out_h as usize, window.out_w as usize);
    let image_bytes = window.in_h as usize * window.in_w as usize * window.in_c as usize;
    for (image, x) in x.chunks_exact(image_bytes.max(1)).enumerate().take(window.batch as usize) {
        let first = image * out_h * out_w;
        if source == Source::InPlace {
            let pitch = window.in_w as usize * window.in_c as usize;
            visit(Strip { bytes: x, pitch, first, lines: out_h });
            continue;
        }
        let (pitch, step) = (line_bytes(window).max(1), window.stride_h.max(1) as usize);
        let room = scratch.len().saturating_sub(SLACK) / pitch;
        let Some(further) = room.checked_sub(lines_seen(window, 1)) else { return };
        let most = (further / step + 1).clamp(1, out_h.max(1));
        let mut kept = 0..0_usize;
        for line in (0..out_h).step_by(most) {
            let lines = most.min(out_h - line);
            let wanted = line * step..line * step + lines_seen(window, lines);
            // Lines that the strip before has brought move to the front.
            let have = kept.end.saturating_sub(wanted.start).min(wanted.len());
            if have > 0 {
                let from = (wanted.start - kept.start) * pitch;
                move_to_front(scratch, from, have * pitch);
            }
            let new = scratch.get_mut(have * pitch..).unwrap_or_default();
            copy_lines(window, x, x_zero_point, wanted.start + have..wanted.end, pitch, new, &copy_line);
            visit(Strip { bytes: scratch, pitch, first: first + line * out_w, lines });
            kept = wanted;
        }
    }
}

/// Moves `len` bytes from `from` on to the front, in pieces that do not overlap.
#[inline(always)]
fn move_to_front(bytes: &mut [i8], from: usize, len: usize) {
    for start in (0..len).step_by(from.max(1)) {
        if let Some((to, behind)) = bytes.get_mut(start..).and_then(|bytes| bytes.split_at_mut_checked(from)) {
            copy(part_mut(to, 0, (len - start).min(from)), behind);
        }
    }
}

/// Copies input lines, counted from the first one of the padding, padded to the left and right.
#[inline(always)]
fn copy_lines(
    window: &Window,
    x: &[i8],
    zero_point: i8,
    lines: Range<usize>,
    pitch: usize,
    out: &mut [i8],
    copy_line: impl Fn(&mut [i8], &[i8]),
) {
    let channels = window.in_c as usize;
    let in_line = window.in_w as usize * channels;
    let before = (window.pad_left as usize).saturating_mul(channels).min(pitch);
    let inside = (pitch - before).min(in_line);
    // What is filled from one line of data to the next lies in one piece.
    let (mut filled, mut start) = (0, 0);
    for line in lines {
        if let Some(line) = line.checked_sub(window.pad_top as usize)
            && line < window.in_h as usize
        {
            let data = start + before;
            fill(out, filled..data, zero_point);
            copy_line(part_mut(out, data, inside), part(x, line * in_line, inside));
            filled = data + inside;
        }
        start += pitch;
    }
    fill(out, filled..start, zero_point);
}

/// Calls `multiply(args, rows, weights of the group)` for all rows of a convolution.
#[inline(always)]
pub(crate) fn for_each_rows<'a>(args: ConvI8Args<'a>, multiply: impl FnMut(&mut ConvI8Args<'a>, &Rows<'_>, &'a [u8])) {
    for_each_rows_by(args, copy, multiply);
}

/// As [`for_each_rows`], with a way to copy lines.
#[inline(always)]
pub(crate) fn for_each_rows_by<'a>(
    mut args: ConvI8Args<'a>,
    copy_line: impl Fn(&mut [i8], &[i8]),
    mut multiply: impl FnMut(&mut ConvI8Args<'a>, &Rows<'_>, &'a [u8]),
) {
    let window = args.window;
    if window.is_pointwise() && window.groups == 1 && window.in_c.is_multiple_of(4) {
        // All positions are one long line of the input.
        let step = window.in_c as usize;
        let reach = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads: step / 4 };
        let (columns, bytes, weights) = (window.positions(), args.x, args.weights);
        let rows = Rows { bytes, start: 0, columns, step, lines: 1, line_step: 0, reach, first: 0, group: 0 };
        if let Some(rows) = rows.checked() {
            multiply(&mut args, &rows, weights);
        }
        return;
    }
    let segments = Segments::of(window);
    let group_bytes = segments.packed_len() * window.group_out().next_multiple_of(LANES);
    let weights = args.weights;
    let scratch = core::mem::take(&mut args.scratch);
    let quads = segments.padded / 4;
    let x = args.x;
    let source = Source::of(window);
    if source == Source::Packed {
        let length = segments.packed_len().max(1);
        let reach = Reach { rows: segments.count, row_step: segments.padded, columns: 1, column_step: 0, quads };
        let size = (scratch.len() / length).max(1);
        for (group, weights) in weights.chunks_exact(group_bytes.max(1)).enumerate() {
            for first in (0..window.positions()).step_by(size) {
                let columns = size.min(window.positions() - first);
                for (row, packed) in scratch.chunks_exact_mut(length).take(columns).enumerate() {
                    pack_row(window, &segments, x, args.x_zero_point, first + row, group, packed);
                }
                let (start, step, lines, line_step) = (0, length, 1, 0);
                let rows = Rows { bytes: scratch, start, columns, step, lines, line_step, reach, first, group };
                if let Some(rows) = rows.checked() {
                    multiply(&mut args, &rows, weights);
                }
            }
        }
        return;
    }
    // Positions of a pointwise convolution are one long line.
    let one_line = window.is_pointwise() && source == Source::InPlace;
    let strips = if one_line { window.as_one_line() } else { *window };
    for_each_strip(&strips, source, x, args.x_zero_point, scratch, copy_line, |strip| {
        let reach = Reach {
            rows: window.kernel_h as usize,
            row_step: strip.pitch * window.dilation_h as usize,
            columns: if segments.rows { 1 } else { window.kernel_w as usize },
            column_step: window.dilation_w as usize * window.in_c as usize,
            quads,
        };
        for (group, weights) in weights.chunks_exact(group_bytes.max(1)).enumerate() {
            let rows = Rows {
                bytes: strip.bytes,
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
                multiply(&mut args, &rows, weights);
            }
        }
    });
}

/// Copies what output position `position` sees of the input, in the order of the weights; padding
/// gets `zero_point`, the end of a segment zeros.
#[inline(always)]
fn pack_row(
    window: &Window,
    segments: &Segments,
    x: &[i8],
    zero_point: i8,
    position: usize,
    group: usize,
    packed: &mut [i8],
) {
    let (in_h, in_w, in_c) = (window.in_h as usize, window.in_w as usize, window.in_c as usize);
    let (image, row, column) = place(window, position);
    let image = part(x, image * in_h * in_w * in_c, in_h * in_w * in_c);
    let top = (row * window.stride_h as usize) as isize - window.pad_top as isize;
    let left = (column * window.stride_w as usize) as isize - window.pad_left as isize;
    let (group_in, kernel_w) = (window.group_in().max(1), window.kernel_w.max(1) as usize);
    let taps = segments.len / group_in;
    for (index, segment) in packed.chunks_exact_mut(segments.padded.max(1)).enumerate() {
        fill(segment, segments.len..segments.padded, 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A pointwise window of 25 × 5 positions, 64 channels both ways: 8,000 bytes read, as many written.
    const POINTWISE: Window = Window {
        batch: 1,
        in_h: 25,
        in_w: 5,
        in_c: 64,
        out_h: 25,
        out_w: 5,
        out_c: 64,
        kernel_h: 1,
        kernel_w: 1,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    };

    #[test]
    fn useful_scratch_is_what_a_step_can_use_within_the_limit() {
        let single = Window { in_h: 1, in_w: 1, out_h: 1, out_w: 1, in_c: 640, out_c: 128, ..POINTWISE };
        let kernel = Window { kernel_h: 3, kernel_w: 3, pad_top: 1, pad_left: 1, ..POINTWISE };
        let depthwise = Window { groups: 64, ..kernel };
        let narrow = Window { out_c: 24, ..POINTWISE };
        let few = Window { in_h: 5, out_h: 5, ..POINTWISE };
        // A row of 64 channels takes 128 bytes at 16 bits, one of 3 × 3 × 64 takes 1,152. A padded line of 7 × 64 takes
        // 448, and an output line sees 3.
        let cases = [
            (POINTWISE, false, 65_536, Some(49 * 128)),
            (POINTWISE, false, 49 * 128 - 1, Some(43 * 128)),
            (POINTWISE, false, 19 * 128 - 1, Some(6 * 128)),
            (narrow, false, 19 * 128 - 1, Some(7 * 128)),
            (narrow, false, 7 * 128 - 1, Some(3 * 128)),
            // 25 positions are four tiles of six.
            (few, false, 65_536, Some(3_200)),
            (few, false, 3_199, Some(19 * 128)),
            (POINTWISE, false, 767, Some(3 * 128)),
            (POINTWISE, false, 383, Some(128)),
            (POINTWISE, false, 127, None),
            (single, false, 65_536, Some(1_280)),
            (single, false, 1_279, None),
            (kernel, false, 6_912, Some(6_912)),
            (kernel, false, 6_911, Some(15 * 448 + 16)),
            (kernel, false, 0, Some(3 * 448 + 16)),
            (depthwise, true, 4_096, Some(9 * 448 + 16)),
            (depthwise, true, 65_536, Some(27 * 448 + 16)),
        ];
        for (window, depthwise, limit, expected) in cases {
            assert_eq!(useful_scratch(&window, depthwise, limit), expected, "{window:?} within {limit}");
        }
    }
}
