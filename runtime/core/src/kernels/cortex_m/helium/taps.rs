//! Depthwise products of any window, in assembly: four channels at a time, tap by tap.

use core::arch::naked_asm;
use core::mem::offset_of;

/// A line of results of four channels.
#[repr(C)]
pub(super) struct Taps {
    /// The first tap of the first window.
    pub x: *const i8,
    /// Weights of the first tap; stands behind `x`.
    pub weights: *const i8,
    /// Bytes from one window to the next.
    pub step: usize,
    /// Windows; stands behind `step`.
    pub columns: usize,
    /// Rows of a window.
    pub kernel_h: usize,
    /// Taps of a row; stands behind `kernel_h`.
    pub kernel_w: usize,
    /// Bytes from one tap to the next.
    pub column_step: usize,
    /// Bytes from behind the last tap of a row to the next row; stands behind `column_step`.
    pub turn: usize,
    /// Result.
    pub y: *mut i8,
    /// Bytes from one tap's weights to those of the next, and from one position to the next; stands behind `y`.
    pub channels: usize,
    /// Channels, four at most.
    pub lanes: usize,
    /// Zero point of the results; stands behind `lanes`.
    pub zero_point: i32,
    /// Where the input channel of each channel is.
    pub inputs: [u32; 4],
    pub weight_zero_points: [i32; 4],
    pub bias: [i32; 4],
    pub multipliers: [f32; 4],
    /// Least result before the zero point is added, four times.
    pub low: [f32; 4],
    /// Greatest result, likewise.
    pub high: [f32; 4],
}

/// All windows of the line.
///
/// # Safety
/// The CPU has Helium; all taps, weights and results are there.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn taps(taps: *mut Taps) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "vldrw.u32 q3, [r0, {INPUTS}]",
        "vldrw.u32 q4, [r0, {WEIGHT_ZERO_POINTS}]",
        "vldrw.u32 q5, [r0, {MULTIPLIERS}]",
        "vldrw.u32 q6, [r0, {LOW}]",
        "vldrw.u32 q7, [r0, {HIGH}]",
        "ldrd r4, r9, [r0, {LANES}]",
        "vctp.32 r4",
        "ldrd r4, r10, [r0, {COLUMNS}]",
        "ldr r11, [r0, {KERNEL_W}]",
        "ldrd r6, r7, [r0, {COLUMN_STEP}]",
        "ldrd r5, r12, [r0, {Y}]",
        "2:",
        "ldrd r1, r2, [r0, {X}]",
        "vldrw.u32 q0, [r0, {BIAS}]",
        "mov r3, r10",
        "3:",
        "dls lr, r11",
        "4:",
        "vpstt",
        "vldrbt.s32 q1, [r1, q3]",
        "vldrbt.s32 q2, [r2]",
        "vsub.i32 q2, q2, q4",
        "vmul.i32 q1, q1, q2",
        "vadd.i32 q0, q0, q1",
        "add r1, r1, r6",
        "add r2, r2, r12",
        "le lr, 4b",
        "add r1, r1, r7",
        "subs r3, r3, #1",
        "bne 3b",
        "vcvt.f32.s32 q0, q0",
        "vmul.f32 q0, q0, q5",
        "vmaxnm.f32 q0, q0, q6",
        "vminnm.f32 q0, q0, q7",
        "vcvtn.s32.f32 q0, q0",
        "vadd.i32 q0, q0, r9",
        "vpst",
        "vstrbt.32 q0, [r5]",
        "add r5, r5, r12",
        "ldr r1, [r0, {X}]",
        "ldr r2, [r0, {STEP}]",
        "add r1, r1, r2",
        "str r1, [r0, {X}]",
        "subs r4, r4, #1",
        "bne 2b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
        X = const offset_of!(Taps, x),
        STEP = const offset_of!(Taps, step),
        COLUMNS = const offset_of!(Taps, columns),
        KERNEL_W = const offset_of!(Taps, kernel_w),
        COLUMN_STEP = const offset_of!(Taps, column_step),
        Y = const offset_of!(Taps, y),
        LANES = const offset_of!(Taps, lanes),
        INPUTS = const offset_of!(Taps, inputs),
        WEIGHT_ZERO_POINTS = const offset_of!(Taps, weight_zero_points),
        BIAS = const offset_of!(Taps, bias),
        MULTIPLIERS = const offset_of!(Taps, multipliers),
        LOW = const offset_of!(Taps, low),
        HIGH = const offset_of!(Taps, high),
    )
}
