//! Bytes of the input as pairs of 16-bit numbers: of each four, bytes 0 and 2 in one word, 1 and 3 in the next.

use core::arch::naked_asm;

/// Segments to be expanded; assembly reads the fields in this order.
#[repr(C)]
pub(super) struct Copy {
    pub from: *const i8,
    /// The first row's first group of four; those of the next row follow 8 bytes behind.
    pub to: *mut u32,
    pub rows: usize,
    /// Bytes from behind a row's last segment to the next row's first.
    pub row_gap: usize,
    pub segments: usize,
    /// Bytes from behind a segment to the next.
    pub gap: usize,
    /// Groups of four of a segment.
    pub quads: usize,
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
pub(super) fn copy_to(size: usize) -> unsafe extern "C" fn(*const Copy) {
    match size {
        6 => copy_to_six,
        3 => copy_to_three,
        _ => copy_to_one,
    }
}

/// Byte `r9` of a segment, or padding, to a half of a group of four.
macro_rules! padded_byte {
    ($to:literal) => {
        concat!(
            "sub.w r11, r9, r6\n",
            "cmp r11, lr\n",
            "ite lo\n",
            "ldrsblo.w r11, [r1, r9]\n",
            "movhs r11, r4\n",
            "strh.w r11, [r2, #",
            $to,
            "]\n",
            "add.w r9, r9, #1\n",
        )
    };
}

/// A row that sees padding; assembly reads the fields in this order.
#[repr(C)]
pub(super) struct Padded {
    /// Byte 0 of the first segment that sees a line of the input, perhaps in front of the line.
    pub from: *const i8,
    pub to: *mut u32,
    /// Bytes from one group of four to the next.
    pub step: usize,
    /// The padding, twice.
    pub pair: u32,
    /// Segments that see lines of the input.
    pub segments: usize,
    /// Bytes of a segment in front of the line.
    pub before: usize,
    /// Bytes of a segment in front of the line and inside.
    pub behind: usize,
    /// Bytes of a segment.
    pub padded: usize,
    /// Bytes from one segment to the next.
    pub line: usize,
    /// Groups of four of segments above the input.
    pub above: usize,
    /// Groups of four of segments below the input.
    pub below: usize,
}

/// Expands a row that sees padding.
///
/// # Safety
/// The CPU has the DSP extension. Bytes `before..behind` of the segments can be read, and all groups of four written to
/// a place that is aligned to 4 bytes.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn copy_padded(row: *const Padded) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "ldm r0!, {{r1-r8}}",
        "sub.w lr, r7, r6",
        "ldr.w r9, [r0, #4]",
        "cmp.w r9, #0",
        "beq 3f",
        "2:",
        "strd r4, r4, [r2]",
        "add r2, r3",
        "subs.w r9, r9, #1",
        "bne 2b",
        "3:",
        "cbz r5, 8f",
        "4:",
        "mov.w r9, #0",
        "5:",
        "add.w r10, r9, #4",
        "cmp r9, r7",
        "bhs 7f",
        "cmp r10, r6",
        "bls 7f",
        "cmp r9, r6",
        "blo 10f",
        "cmp r10, r7",
        "bhi 10f",
        "ldr.w r11, [r1, r9]",
        "sxtb16 r12, r11",
        "sxtb16 r11, r11, ror #8",
        "6:",
        "strd r12, r11, [r2]",
        "11:",
        "add r2, r3",
        "mov r9, r10",
        "cmp r9, r8",
        "blo 5b",
        "ldr.w r12, [r0]",
        "add r1, r12",
        "subs r5, #1",
        "bne 4b",
        "8:",
        "ldr r5, [r0, #8]",
        "cbz r5, 12f",
        "9:",
        "strd r4, r4, [r2]",
        "add r2, r3",
        "subs r5, #1",
        "bne 9b",
        "12:",
        "pop {{r4-r11, pc}}",
        "7:",
        "mov r12, r4",
        "mov r11, r4",
        "b 6b",
        // A group of which some bytes are inside.
        "10:",
        padded_byte!("0"),
        padded_byte!("4"),
        padded_byte!("2"),
        padded_byte!("6"),
        "b 11b",
    )
}
