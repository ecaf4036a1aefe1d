//! Several tiles of six rows times some channels: a channel's weights are expanded once, and serve all tiles.

use core::arch::naked_asm;

use super::tile::{requantize, skip};

/// What [`many_tiles`] multiplies; it loads all of it into FPU registers, from `s6` on.
#[repr(C)]
pub(super) struct Many {
    /// Room for the expanded weights of a channel.
    pub buffer: *mut u32,
    /// See [`multiply_skip`].
    pub multiply_skip: usize,
    /// Behind the room.
    pub buffer_end: *mut u32,
    /// Result of the first row and channel; becomes that of each tile and channel.
    pub y_of_tile: *mut i8,
    /// Bytes from a row's result to that of the next.
    pub y_step: usize,
    /// Added to the rounded results.
    pub zero_point: i32,
    /// Behind the last tile.
    pub rows_end: *const u32,
    /// Result of the first row and channel.
    pub y: *mut i8,
    /// Behind the last channel's result of the first row.
    pub y_end: *mut i8,
    /// Becomes the bias and the multiplier of each channel.
    pub factors: [u32; 2],
    /// The expanded rows, tile after tile.
    pub rows: *const u32,
    /// Bias of the first channel.
    pub bias: *const u8,
    /// Multiplier of the first channel.
    pub multipliers: *const u8,
    /// Weights of the first channel.
    pub weights: *const u8,
    /// Bytes of weights from one group of four along the reduction axis to the next.
    pub quad_step: usize,
    /// See [`expand_skip`].
    pub expand_skip: usize,
}

/// Bytes of code to skip on entering the loop over expanded weights; there is at least one group of four.
pub(super) const fn multiply_skip(quads: usize) -> usize {
    skip((64, 8), quads)
}

/// Bytes of code to skip on entering the loop that expands weights.
pub(super) const fn expand_skip(quads: usize) -> usize {
    skip((20, 4), quads)
}

/// Four bytes of a channel's weights, expanded.
macro_rules! expand {
    () => {
        concat!(
            "ldr.w r6, [r7]\n",
            "add.w r7, r7, r8\n",
            "sxtb16 r9, r6\n",
            "sxtb16 r10, r6, ror #8\n",
            "strd r9, r10, [lr], #8\n",
        )
    };
}

/// Four expanded weights of a channel times six rows: 24 multiply-accumulates in 16 instructions.
macro_rules! six {
    () => {
        concat!(
            "ldrd r6, r7, [lr], #8\n",
            "ldm.w r12!, {{r8-r11}}\n",
            "smlad r0, r8, r6, r0\n",
            "smlad r1, r10, r6, r1\n",
            "smlad r0, r9, r7, r0\n",
            "smlad r1, r11, r7, r1\n",
            "ldm.w r12!, {{r8-r11}}\n",
            "smlad r2, r8, r6, r2\n",
            "smlad r3, r10, r6, r3\n",
            "smlad r2, r9, r7, r2\n",
            "smlad r3, r11, r7, r3\n",
            "ldm.w r12!, {{r8-r11}}\n",
            "smlad r4, r8, r6, r4\n",
            "smlad r5, r10, r6, r5\n",
            "smlad r4, r9, r7, r4\n",
            "smlad r5, r11, r7, r5\n",
        )
    };
}

/// Some tiles of six rows times the channels of a block. Sums are in `r0` to `r5`, rows at `r12`, weights at `lr`.
///
/// # Safety
/// The CPU has the DSP extension and an FPU. There are the rows, room, weights, bias, multipliers and places for the
/// results of as many channels as lie from `y` to `y_end`; all but results are aligned to 4 bytes.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn many_tiles(job: &Many) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d11}}",
        "vldmia r0, {{s6-s22}}",
        "adr.w r2, 16f",
        "vmov r3, s7",
        "add r2, r3",
        "orr r2, r2, #1",
        "vmov s7, r2",
        "adr.w r2, 4f",
        "vmov r3, s22",
        "add r2, r3",
        "orr r2, r2, #1",
        "vmov s22, r2",
        // A channel.
        "2:",
        "vmov r0, r1, s18, s19",
        "ldr r2, [r0], #4",
        "vldmia r1!, {{s16}}",
        "vmov s18, s19, r0, r1",
        "vmov s15, r2",
        "vmov r7, r8, s20, s21",
        "add.w r2, r7, #4",
        "vmov s20, r2",
        "vmov lr, s6",
        "vmov r11, s8",
        "vmov r6, s22",
        "bx r6",
        ".p2align 2",
        "4:",
        expand!(),
        expand!(),
        expand!(),
        expand!(),
        "cmp lr, r11",
        "bne 4b",
        "vmov r12, s17",
        "vmov r0, s13",
        "vmov s9, r0",
        // A tile.
        "3:",
        "vmov r0, s15",
        "mov r1, r0",
        "mov r2, r0",
        "mov r3, r0",
        "mov r4, r0",
        "mov r5, r0",
        "vmov lr, r6, s6, s7",
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
        "vmov r6, s8",
        "cmp lr, r6",
        "bne 16b",
        requantize!(
            "vmov r7, s11\n"
            ["r0, r1" "s0, s1"] ["r2, r3" "s2, s3"] ["r4, r5" "s4, s5"];
            "0" "1" "2" "3" "4" "5";
            "0" "1" "2" "3" "4" "5"
        ),
        "vmov r8, r9, s9, s10",
        "add.w r10, r9, r9, lsl #1",
        "strb r0, [r8]",
        "strb.w r1, [r8, r9]",
        "strb.w r2, [r8, r9, lsl #1]",
        "add r8, r10",
        "strb.w r3, [r8]",
        "strb.w r4, [r8, r9]",
        "strb.w r5, [r8, r9, lsl #1]",
        "add r8, r10",
        "vmov s9, r8",
        "vmov r6, s12",
        "cmp r12, r6",
        "bne 3b",
        "vmov r8, r9, s13, s14",
        "add.w r8, r8, #1",
        "vmov s13, r8",
        "cmp r8, r9",
        "bne 2b",
        "vpop {{d8-d11}}",
        "pop {{r4-r11, pc}}",
    )
}
