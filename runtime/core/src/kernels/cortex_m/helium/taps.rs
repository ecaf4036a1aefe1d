//! Depthwise convolution by windows of any shape: four channels at a time, tap by tap.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::num::NonZeroU32;

use super::copy::copy;
use crate::kernels::ConvI8Args;
use crate::kernels::source::Source;
use crate::kernels::strips::for_each_strip;
use crate::kernels::view::{i8s, part, part_mut};
use crate::quantization::Target;

/// Channels that are worked on at once.
const LANES: usize = 4;

/// Windows of any shape, many channels from one, weights with zero points.
#[inline(never)]
pub(super) fn tap_by_tap(mut args: ConvI8Args<'_>, y: &mut [i8], target: Target) {
    let w = *args.window;
    let (in_c, out_c, out_w) = (w.in_c as usize, w.out_c as usize, w.out_w as usize);
    let many = NonZeroU32::new(w.out_c / w.in_c.max(1)).unwrap_or(NonZeroU32::MIN);
    let (kernel_h, kernel_w) = (w.kernel_h as usize, w.kernel_w as usize);
    let (step, column_step) = (w.stride_w as usize * in_c, w.dilation_w as usize * in_c);
    let scratch = core::mem::take(&mut args.scratch);
    let (low, high, zero_point) = target.parts();
    let mut taps = Taps {
        step,
        columns: out_w,
        kernel_h,
        kernel_w,
        column_step,
        channels: out_c,
        zero_point,
        low: [low; LANES],
        high: [high; LANES],
        ..Taps::EMPTY
    };
    for_each_strip(&w, Source::of_depthwise(&w), args.x, args.x_zero_point, scratch, copy, |strip| {
        let row_step = w.dilation_h as usize * strip.pitch;
        taps.turn = row_step.wrapping_sub(kernel_w * column_step);
        let seen = (out_w - 1) * step + (kernel_w - 1) * column_step + (kernel_h - 1) * row_step + in_c;
        for channel in (0..out_c).step_by(LANES) {
            let input = channel as u32 / many;
            taps.lanes = LANES.min(out_c - channel);
            for lane in 0..LANES {
                let channel = channel + lane;
                taps.inputs[lane] = channel as u32 / many - input;
                taps.weight_zero_points[lane] = args.weight_zero_points.get(channel);
                taps.bias[lane] = args.bias.get(channel);
                taps.multipliers[lane] = args.multipliers.get(channel);
            }
            taps.weights = i8s(args.weights).as_ptr().wrapping_add(channel);
            for line in 0..strip.lines {
                let x = part(strip.elements, line * w.stride_h as usize * strip.pitch, seen);
                let y = part_mut(y, (strip.first + line * out_w) * out_c, out_w * out_c);
                if x.len() != seen || y.len() != out_w * out_c {
                    return;
                }
                taps.x = x.as_ptr().wrapping_add(input as usize);
                taps.y = y.as_mut_ptr().wrapping_add(channel);
                // SAFETY: what the windows of the line see is there, as are all weights and results of the line.
                unsafe { windows(&mut taps) };
            }
        }
    });
}

/// A line of results of four channels. Assembly reads neighbours at once: the order counts.
#[repr(C)]
struct Taps {
    /// The first tap of the first window.
    x: *const i8,
    /// Weights of the first tap.
    weights: *const i8,
    /// Bytes from one window to the next.
    step: usize,
    /// Windows.
    columns: usize,
    /// Rows of a window.
    kernel_h: usize,
    /// Taps of a row.
    kernel_w: usize,
    /// Bytes from one tap to the next.
    column_step: usize,
    /// Bytes from behind the last tap of a row to the next row.
    turn: usize,
    /// Result.
    y: *mut i8,
    /// Bytes from one tap's weights to those of the next, and from one position to the next.
    channels: usize,
    /// Channels, four at most.
    lanes: usize,
    /// Zero point of the results.
    zero_point: i32,
    /// Where the input channel of each channel is.
    inputs: [u32; 4],
    weight_zero_points: [i32; 4],
    bias: [i32; 4],
    multipliers: [f32; 4],
    /// Least result before the zero point is added, four times.
    low: [f32; 4],
    /// Greatest result, likewise.
    high: [f32; 4],
}

impl Taps {
    /// Nothing to do.
    const EMPTY: Self = Self {
        x: core::ptr::null(),
        weights: core::ptr::null(),
        step: 0,
        columns: 0,
        kernel_h: 0,
        kernel_w: 0,
        column_step: 0,
        turn: 0,
        y: core::ptr::null_mut(),
        channels: 0,
        lanes: 0,
        zero_point: 0,
        inputs: [0; LANES],
        weight_zero_points: [0; LANES],
        bias: [0; LANES],
        multipliers: [0.0; LANES],
        low: [0.0; LANES],
        high: [0.0; LANES],
    };
}

/// All windows of the line.
///
/// # Safety
/// The CPU has Helium; all taps, weights and results are there.
#[unsafe(naked)]
unsafe extern "C" fn windows(taps: *mut Taps) {
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
