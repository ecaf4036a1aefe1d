//! Tiles of rows times one block of output channels, channel after channel.
//!
//! Rows are expanded: of each four bytes of every row of the tile there stand bytes 0 and 2 in one word, bytes 1 and 3
//! in the next, so that one LDM brings what a word of weights meets.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::expand::EXPANDED;
use super::single::{one_row, one_row_in_place};
use crate::weights::GROUP;

/// What a kernel multiplies. Kernels load it into FPU registers in this order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Job {
    /// Behind the expanded rows.
    pub end: *const u32,
    /// The expanded rows.
    pub rows: *const u32,
    /// Bytes of code to skip on entering the loop: see [`Tile::skip`].
    pub skip: usize,
    /// Bias of the first channel.
    pub bias: *const u8,
    /// Weights of the first channel.
    pub weights: *const u8,
    /// Multiplier of the first channel.
    pub multipliers: *const u8,
    /// Added to the rounded results.
    pub zero_point: i32,
    /// Result of the first row and channel: int8, or for one row float32.
    pub y: *mut i8,
    /// Bytes from a row's result to that of the next; 0 for float32.
    pub y_step: usize,
    /// Behind the last channel's result of the first row.
    pub y_end: *mut i8,
    /// Bytes of weights from one group of four along the reduction axis to the next.
    pub quad_step: usize,
}

/// Bytes of code for one group of four, and such groups in the loop: six rows, full blocks.
const SIX: (usize, usize) = (72, 8);
/// The same for three rows.
const THREE: (usize, usize) = (44, 4);
/// The same for one row times four channels.
const ONE: (usize, usize) = (76, 4);
/// The same where the row is not expanded.
const ONE_IN_PLACE: (usize, usize) = (84, 4);

/// Bytes of code to skip so that a loop of `groups` ends with the last of `quads`.
pub(super) const fn skip((bytes, groups): (usize, usize), quads: usize) -> usize {
    (groups - 1 - (quads - 1) % groups) * bytes
}

/// A kernel, and how it sees rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tile {
    /// Six expanded rows, and blocks of 16 channels.
    Six,
    /// Three expanded rows.
    Three,
    /// One expanded row.
    One,
    /// One row as it lies in the input.
    InPlace,
}

impl Tile {
    /// Rows of the tile.
    pub const fn rows(self) -> usize {
        match self {
            Self::Six => 6,
            Self::Three => 3,
            Self::One | Self::InPlace => 1,
        }
    }

    /// Bytes of a group of four of all rows.
    pub const fn quad_bytes(self) -> usize {
        match self {
            Self::InPlace => GROUP,
            _ => self.rows() * EXPANDED,
        }
    }

    /// See [`Job::skip`]; there is at least one group of four.
    pub const fn skip(self, quads: usize) -> usize {
        let code = match self {
            Self::Six => SIX,
            Self::Three => THREE,
            Self::One => ONE,
            Self::InPlace => ONE_IN_PLACE,
        };
        skip(code, quads)
    }

    /// Multiplies the rows with the channels of a block.
    ///
    /// # Safety
    /// The CPU has the DSP extension and an FPU. The job has the rows of the tile; its pointers but `y`, and `rows` in
    /// place, are aligned to 4 bytes; there are weights, bias, multipliers and places for the results of as many
    /// channels as lie from `y` to `y_end`; for one row it is a multiple of four.
    pub unsafe fn multiply(self, job: &Job) {
        // SAFETY: as the caller says.
        unsafe {
            match self {
                Self::Six => six_rows(job),
                Self::Three => three_rows(job),
                Self::One => one_row(job),
                Self::InPlace => one_row_in_place(job),
            }
        }
    }
}

/// Four bytes of a channel's weights times six rows: 24 multiply-accumulates in 18 instructions.
macro_rules! six {
    () => {
        concat!(
            "ldr.w r6, [lr], #64\n",
            "ldm.w r12!, {{r8-r11}}\n",
            "sxtb16 r7, r6\n",
            "sxtb16 r6, r6, ror #8\n",
            "smlad r0, r8, r7, r0\n",
            "smlad r1, r10, r7, r1\n",
            "smlad r0, r9, r6, r0\n",
            "smlad r1, r11, r6, r1\n",
            "ldm.w r12!, {{r8-r11}}\n",
            "smlad r2, r8, r7, r2\n",
            "smlad r3, r10, r7, r3\n",
            "smlad r2, r9, r6, r2\n",
            "smlad r3, r11, r6, r3\n",
            "ldm.w r12!, {{r8-r11}}\n",
            "smlad r4, r8, r7, r4\n",
            "smlad r5, r10, r7, r5\n",
            "smlad r4, r9, r6, r4\n",
            "smlad r5, r11, r6, r5\n",
        )
    };
}

/// Four bytes of a channel's weights times three rows: 12 multiply-accumulates in 11 instructions.
macro_rules! three {
    () => {
        concat!(
            "ldr.w r3, [lr]\n",
            "add.w lr, lr, r11\n",
            "ldm.w r12!, {{r5-r10}}\n",
            "sxtb16 r4, r3\n",
            "sxtb16 r3, r3, ror #8\n",
            "smlad r0, r5, r4, r0\n",
            "smlad r1, r7, r4, r1\n",
            "smlad r2, r9, r4, r2\n",
            "smlad r0, r6, r3, r0\n",
            "smlad r1, r8, r3, r1\n",
            "smlad r2, r10, r3, r2\n",
        )
    };
}

/// Instructions for each of some registers.
macro_rules! each {
    ($before:literal $($register:literal)* : $behind:literal) => {
        concat!($($before, $register, $behind, "\n",)*)
    };
}

pub(super) use each;

/// `round(f32(sum) × multiplier) + zero point`, saturated, of the sums in `r0` and on; what is loaded is the multiplier
/// to `s16`, the zero point to `r7`. The rounding mode is that of the reset state and of every ABI: half to even.
/// Conversions to integers saturate, so the addition must, too.
macro_rules! requantize {
    ($load:literal $([$pair:literal $values:literal])* ; $($s:literal)* ; $($r:literal)*) => {
        concat!(
            $("vmov ", $values, ", ", $pair, "\n",)*
            $load,
            $("vcvt.f32.s32 s", $s, ", s", $s, "\n",)*
            $("vmul.f32 s", $s, ", s", $s, ", s16\n",)*
            $("vcvtr.s32.f32 s", $s, ", s", $s, "\n",)*
            $("vmov ", $pair, ", ", $values, "\n",)*
            $("qadd r", $r, ", r", $r, ", r7\n",)*
            $("ssat r", $r, ", #8, r", $r, "\n",)*
        )
    };
}

pub(super) use requantize;

/// Begins with the next channel: its bias in `r0`, its weights at `lr`, the rows at `r12`, the loop's entry in `r6`.
macro_rules! begin {
    () => {
        concat!(
            "vmov r6, lr, s9, s10\n",
            "ldr r0, [r6], #4\n",
            "add.w r7, lr, #4\n",
            "vmov s9, s10, r6, r7\n",
            "vmov r12, r6, s7, s8\n",
        )
    };
}

/// Six rows times the channels of a block.
///
/// # Safety
/// See [`Tile::multiply`].
#[unsafe(naked)]
unsafe extern "C" fn six_rows(job: *const Job) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "vpush {{d8}}",
        "vldmia r0, {{s6-s15}}",
        "adr.w r2, 16f",
        "vmov r3, s8",
        "add r2, r2, r3",
        "orr r2, r2, #1",
        "vmov s8, r2",
        "3:",
        begin!(),
        "mov r1, r0",
        "mov r2, r0",
        "mov r3, r0",
        "mov r4, r0",
        "mov r5, r0",
        "bx r6",
        ".p2align 2",
        "16:",
        six!(),
        six!(),
        six!(),
        six!(),
        six!(),
        six!(),
        six!(),
        six!(),
        "vmov r6, s6",
        "cmp r12, r6",
        "bne 16b",
        requantize!(
            "vmov r6, r7, s11, s12\nvldmia r6!, {{s16}}\nvmov s11, r6\n"
            ["r0, r1" "s0, s1"] ["r2, r3" "s2, s3"] ["r4, r5" "s4, s5"];
            "0" "1" "2" "3" "4" "5";
            "0" "1" "2" "3" "4" "5"
        ),
        "vmov r8, r9, s13, s14",
        "strb r0, [r8]",
        "strb.w r1, [r8, r9]",
        "strb.w r2, [r8, r9, lsl #1]",
        "add.w r10, r9, r9, lsl #1",
        "add.w r10, r10, r8",
        "strb.w r3, [r10]",
        "strb.w r4, [r10, r9]",
        "strb.w r5, [r10, r9, lsl #1]",
        "add.w r8, r8, #1",
        "vmov s13, r8",
        "vmov r6, s15",
        "cmp r8, r6",
        "bne 3b",
        "vpop {{d8}}",
        "pop {{r4-r11, pc}}",
    )
}

/// Three rows times the channels of a block.
///
/// # Safety
/// See [`Tile::multiply`].
#[unsafe(naked)]
unsafe extern "C" fn three_rows(job: *const Job) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "vpush {{d8}}",
        "vldmia r0, {{s6-s15}}",
        "ldr.w r11, [r0, {QUAD_STEP}]",
        "adr.w r2, 13f",
        "vmov r3, s8",
        "add r2, r2, r3",
        "orr r2, r2, #1",
        "vmov s8, r2",
        "3:",
        begin!(),
        "mov r1, r0",
        "mov r2, r0",
        "bx r6",
        ".p2align 2",
        "13:",
        three!(), three!(), three!(), three!(),
        "vmov r5, s6",
        "cmp r12, r5",
        "bne 13b",
        requantize!(
            "vmov r6, r7, s11, s12\nvldmia r6!, {{s16}}\nvmov s11, r6\n"
            ["r0, r1" "s0, s1"] ["r2, r3" "s2, s3"];
            "0" "1" "2";
            "0" "1" "2"
        ),
        "vmov r8, r9, s13, s14",
        "strb r0, [r8]",
        "strb.w r1, [r8, r9]",
        "strb.w r2, [r8, r9, lsl #1]",
        "add.w r8, r8, #1",
        "vmov s13, r8",
        "vmov r6, s15",
        "cmp r8, r6",
        "bne 3b",
        "vpop {{d8}}",
        "pop {{r4-r11, pc}}",
        QUAD_STEP = const offset_of!(Job, quad_step),
    )
}
