//! Rows of the input as pairs of 16-bit numbers, those of a tile interleaved.

use core::arch::naked_asm;

use crate::plan::step::Window;
use crate::weights::{GROUP, Segments};

/// Bytes of a group of four when expanded.
pub(super) const EXPANDED: usize = 2 * GROUP;

/// Segments to be expanded; assembly reads the fields in this order.
#[repr(C)]
struct Copy {
    from: *const i8,
    /// The first row's first group of four; those of the next row follow 8 bytes behind.
    to: *mut u32,
    rows: usize,
    /// Bytes from behind a row's last segment to the next row's first.
    row_gap: usize,
    segments: usize,
    /// Bytes from behind a segment to the next.
    gap: usize,
    /// Groups of four of a segment.
    quads: usize,
}

/// Defines a function that expands segments; groups of four of a row lie `$step` bytes apart.
macro_rules! copy {
    ($(#[$doc:meta])* $name:ident $step:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The CPU has the DSP extension and an FPU. There is at least one row, segment, and group of four; all of
        /// them can be read, and written to a place that is aligned to 4 bytes.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(copy: *const Copy) {
            naked_asm!(
                ".cpu cortex-m33",
                "push {{r4-r10, lr}}",
                "ldm r0, {{r0-r6}}",
                // From `r0`, to `r1`; rows `r2`, their gap `r3`; segments `r4`, their gap `r5`; groups `r6`.
                "vmov s0, s1, r2, r3",
                "vmov s2, s3, r4, r5",
                "2:",
                "vmov s4, r1",
                "vmov r12, s2",
                "3:",
                "mov r2, r6",
                "lsls r3, r0, #30",
                "bne 5f",
                "subs r2, #4",
                "blo 6f",
                "4:",
                "ldm.w r0!, {{r7-r10}}",
                "sxtb16 r4, r7",
                "sxtb16 r5, r7, ror #8",
                concat!("strd r4, r5, [r1], #", $step),
                "sxtb16 r4, r8",
                "sxtb16 r5, r8, ror #8",
                concat!("strd r4, r5, [r1], #", $step),
                "sxtb16 r4, r9",
                "sxtb16 r5, r9, ror #8",
                concat!("strd r4, r5, [r1], #", $step),
                "sxtb16 r4, r10",
                "sxtb16 r5, r10, ror #8",
                concat!("strd r4, r5, [r1], #", $step),
                "subs r2, #4",
                "bhs 4b",
                "6:",
                "adds r2, #4",
                "beq 7f",
                "5:",
                "ldr r7, [r0], #4",
                "sxtb16 r4, r7",
                "sxtb16 r5, r7, ror #8",
                concat!("strd r4, r5, [r1], #", $step),
                "subs r2, #1",
                "bne 5b",
                "7:",
                "vmov r5, s3",
                "add r0, r5",
                "subs.w r12, r12, #1",
                "bne 3b",
                "vmov r1, s4",
                "add r1, #8",
                "vmov r2, r3, s0, s1",
                "add r0, r3",
                "subs r2, #1",
                "vmov s0, r2",
                "bne 2b",
                "pop {{r4-r10, pc}}",
            )
        }
    };
}

copy!(
    /// Expands rows of a tile of six.
    copy_to_six "48"
);
copy!(
    /// Expands rows of a tile of three.
    copy_to_three "24"
);
copy!(
    /// Expands a row.
    copy_to_one "8"
);

/// The function for tiles of `size` rows: six, three or one.
fn copy_to(size: usize) -> unsafe extern "C" fn(*const Copy) {
    match size {
        6 => copy_to_six,
        3 => copy_to_three,
        _ => copy_to_one,
    }
}

/// The input of a convolution, and how its rows are cut.
pub(super) struct Input<'a> {
    pub window: &'a Window,
    pub segments: Segments,
    pub x: &'a [i8],
    pub zero_point: i8,
}

/// An output position as coordinates.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    image: usize,
    row: usize,
    column: usize,
}

impl Position {
    /// The position of this number.
    pub fn of(window: &Window, position: usize) -> Self {
        let (out_h, out_w) = (window.out_h as usize, window.out_w as usize);
        let (line, column) = (position / out_w.max(1), position % out_w.max(1));
        Self { image: line / out_h.max(1), row: line % out_h.max(1), column }
    }

    /// The one behind it.
    pub fn next(mut self, window: &Window) -> Self {
        self.column += 1;
        if self.column == window.out_w as usize {
            (self.row, self.column) = (self.row + 1, 0);
        }
        if self.row == window.out_h as usize {
            (self.image, self.row) = (self.image + 1, 0);
        }
        self
    }
}

impl Input<'_> {
    /// Expands `size` rows, six, three or one, as `group` of channels sees them, from `position` on, which moves on.
    ///
    /// # Safety
    /// The CPU has the DSP extension. `to` is aligned to 4 bytes and has room for the rows.
    pub unsafe fn expand(&self, position: &mut Position, group: usize, to: *mut u32, size: usize) {
        let copy = copy_to(size);
        let w = self.window;
        if w.is_pointwise() {
            let positions = (position.image * w.out_h as usize + position.row) * w.out_w as usize + position.column;
            let from = positions * w.in_c as usize + group * w.group_in();
            if let Some(job) = self.rows(from, size, to) {
                // SAFETY: the rows lie in the input, as `rows` has seen.
                unsafe { copy(&job) };
                (0..size).for_each(|_| *position = position.next(w));
                return;
            }
        }
        if position.column + size <= w.out_w as usize
            && let Some(from) = self.start(*position, size - 1, group)
            && let Some(job) = self.rows(from, size, to)
        {
            // SAFETY: as above.
            unsafe { copy(&job) };
            (0..size).for_each(|_| *position = position.next(w));
            return;
        }
        for row in 0..size {
            let to = to.wrapping_byte_add(row * EXPANDED);
            let job = self.start(*position, 0, group).and_then(|from| self.rows(from, 1, to));
            // SAFETY: as above, and there is room for the row.
            unsafe {
                match job {
                    Some(job) => copy(&job),
                    None => self.expand_carefully(*position, group, to, size),
                }
            }
            *position = position.next(w);
        }
    }

    /// Whether all rows lie in the input in one piece.
    pub fn lies_in_place(&self) -> bool {
        let w = self.window;
        w.is_inside() && self.segments.count == 1 && self.segments.len == self.segments.padded
    }

    /// The row of `position`, which moves on; `None` unless it [`Self::lies_in_place`].
    pub fn in_place(&self, position: &mut Position, group: usize) -> Option<*const u32> {
        let from = self.start(*position, 0, group)?;
        *position = position.next(self.window);
        self.x.get(from..)?.get(..self.segments.padded).map(|row| row.as_ptr().cast())
    }

    /// Where the row of a position starts; `None` when it or that of the position `more` columns to the right sees
    /// padding, or its segments are not all equally far from each other.
    fn start(&self, position: Position, more: usize, group: usize) -> Option<usize> {
        let w = self.window;
        let row = (position.row * w.stride_h as usize).checked_sub(w.pad_top as usize)?;
        let column = (position.column * w.stride_w as usize).checked_sub(w.pad_left as usize)?;
        let last_row = row + (w.kernel_h as usize - 1) * w.dilation_h as usize;
        let last_column = column + more * w.stride_w as usize + (w.kernel_w as usize - 1) * w.dilation_w as usize;
        let inside = last_row < w.in_h as usize && last_column < w.in_w as usize;
        let regular = self.segments.rows || w.kernel_w == 1;
        let pixel = (position.image * w.in_h as usize + row) * w.in_w as usize + column;
        (inside && regular).then_some(pixel * w.in_c as usize + group * w.group_in())
    }

    /// The job to expand rows of neighbouring positions that see no padding; `None` where the input ends before what
    /// the last segment is padded to.
    fn rows(&self, from: usize, rows: usize, to: *mut u32) -> Option<Copy> {
        let w = self.window;
        let line = w.in_w as usize * w.in_c as usize * w.dilation_h as usize;
        let (count, padded) = (self.segments.count, self.segments.padded);
        let step = w.stride_w as usize * w.in_c as usize;
        let end = from + (rows - 1) * step + (count - 1) * line + padded;
        (end <= self.x.len()).then(|| Copy {
            from: self.x.as_ptr().wrapping_add(from),
            to,
            rows,
            row_gap: step.wrapping_sub(count * line),
            segments: count,
            gap: line.wrapping_sub(padded),
            quads: padded / GROUP,
        })
    }

    /// Expands a row that may see padding or the end of the input, for a tile of `size` rows.
    ///
    /// # Safety
    /// As for [`Self::expand`].
    unsafe fn expand_carefully(&self, position: Position, group: usize, mut to: *mut u32, size: usize) {
        let w = self.window;
        let (in_h, in_w, in_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize);
        let kernel_w = w.kernel_w as usize;
        // Segments of a kernel row, and columns from one to the next.
        let (segments, dilation) = if self.segments.rows { (1, 0) } else { (kernel_w, w.dilation_w as isize) };
        let top = (position.row * w.stride_h as usize) as isize - w.pad_top as isize;
        let left = (position.column * w.stride_w as usize) as isize - w.pad_left as isize;
        for kernel_row in 0..w.kernel_h as usize {
            let row = top + (kernel_row * w.dilation_h as usize) as isize;
            let line = if row < 0 { None } else { Some(row as usize).filter(|row| *row < in_h) };
            let line =
                line.and_then(|row| self.x.get((position.image * in_h + row) * in_w * in_c..)?.get(..in_w * in_c));
            for segment in 0..segments {
                let column = left + segment as isize * dilation;
                // A segment of several pixels sees what is there of the line; one of channels the whole pixel or none.
                let seen = self.segments.rows || column >= 0 && column < in_w as isize;
                let line = line.filter(|_| seen).unwrap_or_default();
                let start = column * in_c as isize + (group * w.group_in()) as isize;
                // SAFETY: as the caller says.
                unsafe { to = self.expand_segment(line, start, to, size) };
            }
        }
    }

    /// Expands what the segment that begins at byte `start` of a line, perhaps in front of it, sees of the line, and
    /// says where the next one belongs.
    ///
    /// # Safety
    /// As for [`Self::expand`].
    unsafe fn expand_segment(&self, line: &[i8], start: isize, to: *mut u32, size: usize) -> *mut u32 {
        let copy = copy_to(size);
        let padded = self.segments.padded;
        let before = start.min(0).unsigned_abs().min(padded);
        let behind = (line.len() as isize - start).clamp(0, padded as isize).unsigned_abs();
        let (mut at, mut to) = (0, to);
        while at < padded {
            let inside = if at < before || behind < at { 0 } else { (behind - at) / GROUP };
            if inside > 0 {
                let from = line.as_ptr().wrapping_offset(start + at as isize);
                let job = Copy { from, to, rows: 1, row_gap: 0, segments: 1, gap: 0, quads: inside };
                // SAFETY: so many groups of four lie in the line; there is room for them, as the caller says.
                unsafe { copy(&job) };
                at += inside * GROUP;
                to = to.wrapping_byte_add(inside * size * EXPANDED);
                continue;
            }
            let mut values = [self.zero_point; GROUP];
            if at + GROUP > before && at < behind {
                for (value, place) in values.iter_mut().zip(start + at as isize..) {
                    if let Some(x) = usize::try_from(place).ok().and_then(|place| line.get(place)) {
                        *value = *x;
                    }
                }
            }
            let [a, b, c, d] = values.map(|value| u32::from(i16::from(value).cast_unsigned()));
            // SAFETY: as the caller says.
            unsafe { to.cast::<[u32; 2]>().write([a | c << 16, b | d << 16]) };
            at += GROUP;
            to = to.wrapping_byte_add(size * EXPANDED);
        }
        to
    }
}
