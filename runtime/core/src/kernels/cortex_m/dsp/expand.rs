//! Rows of the input as pairs of 16-bit numbers, those of a tile interleaved.

use core::arch::naked_asm;

use crate::plan::step::Window;
use crate::weights::{GROUP, Segments};

/// Bytes of a group of four when expanded.
pub(super) const EXPANDED: usize = 2 * GROUP;

/// Expands groups of four bytes; from one result to the next lie `step` bytes.
///
/// # Safety
/// The CPU has the DSP extension; `count` groups can be read from `from`, and written to `to`, which is aligned to
/// 4 bytes.
#[unsafe(naked)]
unsafe extern "C" fn expand(from: *const i8, to: *mut u32, count: usize, step: usize) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r8, lr}}",
        "lsls r12, r0, #30",
        "bne 3f",
        "subs r2, #4",
        "blo 4f",
        "2:",
        "ldm.w r0!, {{r4-r7}}",
        "sxtb16 r8, r4",
        "sxtb16 r12, r4, ror #8",
        "strd r8, r12, [r1]",
        "add r1, r3",
        "sxtb16 r8, r5",
        "sxtb16 r12, r5, ror #8",
        "strd r8, r12, [r1]",
        "add r1, r3",
        "sxtb16 r8, r6",
        "sxtb16 r12, r6, ror #8",
        "strd r8, r12, [r1]",
        "add r1, r3",
        "sxtb16 r8, r7",
        "sxtb16 r12, r7, ror #8",
        "strd r8, r12, [r1]",
        "add r1, r3",
        "subs r2, #4",
        "bhs 2b",
        "4:",
        "adds r2, #4",
        "beq 5f",
        "3:",
        "ldr r4, [r0], #4",
        "sxtb16 r8, r4",
        "sxtb16 r12, r4, ror #8",
        "strd r8, r12, [r1]",
        "add r1, r3",
        "subs r2, #1",
        "bne 3b",
        "5:",
        "pop {{r4-r8, pc}}",
    )
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

/// Where a row's groups of four are written.
struct Writer {
    to: *mut u32,
    step: usize,
}

impl Writer {
    fn skip(&mut self, quads: usize) {
        self.to = self.to.wrapping_byte_add(quads * self.step);
    }

    /// Groups of four from `from` on.
    ///
    /// # Safety
    /// They can be read, and written.
    unsafe fn copy(&mut self, from: *const i8, quads: usize) {
        // SAFETY: as the caller says.
        unsafe { expand(from, self.to, quads, self.step) };
        self.skip(quads);
    }

    /// Groups of four all of which are `value`.
    ///
    /// # Safety
    /// They can be written.
    unsafe fn fill(&mut self, value: i8, quads: usize) {
        let half = u32::from(i16::from(value).cast_unsigned());
        let pair = half | half << 16;
        for _ in 0..quads {
            // SAFETY: as the caller says.
            unsafe { self.to.cast::<[u32; 2]>().write([pair; 2]) };
            self.skip(1);
        }
    }

    /// One group of four.
    ///
    /// # Safety
    /// It can be written.
    unsafe fn group(&mut self, values: [i8; GROUP]) {
        let [a, b, c, d] = values.map(|value| u32::from(i16::from(value).cast_unsigned()));
        // SAFETY: as the caller says.
        unsafe { self.to.cast::<[u32; 2]>().write([a | c << 16, b | d << 16]) };
        self.skip(1);
    }
}

impl Input<'_> {
    /// Expands the row of `position`, as `group` of channels sees it, to `to`; from one group of four to the next lie
    /// `step` bytes.
    ///
    /// # Safety
    /// The CPU has the DSP extension. `to` is aligned to 4 bytes and has room for the groups of four of all segments.
    pub unsafe fn expand(&self, position: Position, group: usize, to: *mut u32, step: usize) {
        let w = self.window;
        let (in_h, in_w, in_c) = (w.in_h as usize, w.in_w as usize, w.in_c as usize);
        let group_in = w.group_in();
        let quads = self.segments.padded / GROUP;
        let kernel_w = w.kernel_w as usize;
        // Taps of a segment, and segments of a kernel row.
        let (taps, columns) = if self.segments.rows { (kernel_w, 1) } else { (1, kernel_w) };
        let top = (position.row * w.stride_h as usize) as isize - w.pad_top as isize;
        let left = (position.column * w.stride_w as usize) as isize - w.pad_left as isize;
        let mut writer = Writer { to, step };
        for kernel_row in 0..w.kernel_h as usize {
            let y = top + (kernel_row * w.dilation_h as usize) as isize;
            if y < 0 || y as usize >= in_h {
                // SAFETY: there is room for all segments.
                unsafe { writer.fill(self.zero_point, quads * columns) };
                continue;
            }
            let line = (position.image * in_h + y as usize) * in_w * in_c + group * group_in;
            for column in 0..columns {
                let x = left + (column * w.dilation_w as usize) as isize;
                let start = line.wrapping_add_signed(x * in_c as isize);
                if x >= 0 && x as usize + taps <= in_w && start + self.segments.padded <= self.x.len() {
                    // SAFETY: the segment lies inside the input; there is room for all segments.
                    unsafe { writer.copy(self.x.as_ptr().add(start), quads) };
                } else {
                    // SAFETY: there is room for all segments.
                    unsafe { self.expand_partly(&mut writer, line, x, taps) };
                }
            }
        }
    }

    /// A segment whose taps begin at column `x` of the line at `line`, some of them outside, or which ends with the
    /// input.
    ///
    /// # Safety
    /// There is room for the segment.
    unsafe fn expand_partly(&self, writer: &mut Writer, line: usize, x: isize, taps: usize) {
        let w = self.window;
        let (in_w, in_c, group_in) = (w.in_w as usize, w.in_c as usize, w.group_in());
        if group_in.is_multiple_of(GROUP) {
            for tap in 0..taps {
                let column = x + tap as isize;
                let start = line.wrapping_add_signed(column * in_c as isize);
                let inside = column >= 0 && (column as usize) < in_w && start + group_in <= self.x.len();
                // SAFETY: the pixel lies inside the input; there is room for the segment.
                unsafe {
                    match inside {
                        true => writer.copy(self.x.as_ptr().add(start), group_in / GROUP),
                        false => writer.fill(self.zero_point, group_in / GROUP),
                    }
                }
            }
            return;
        }
        let (mut column, mut channel) = (x, 0);
        for _ in 0..self.segments.padded / GROUP {
            let mut values = [0; GROUP];
            for value in &mut values {
                let place = line.wrapping_add_signed(column * in_c as isize) + channel;
                let inside = column >= 0 && (column as usize) < in_w;
                *value = self.x.get(place).copied().filter(|_| inside).unwrap_or(self.zero_point);
                channel += 1;
                if channel == group_in {
                    (column, channel) = (column + 1, 0);
                }
            }
            // SAFETY: there is room for the segment.
            unsafe { writer.group(values) };
        }
    }
}
