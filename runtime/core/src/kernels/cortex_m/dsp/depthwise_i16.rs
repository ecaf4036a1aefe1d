//! Depthwise convolution of int16 with int8 weights: four neighbouring channels at a time.

use core::arch::naked_asm;

use crate::kernels::ConvI16Args;
use crate::kernels::portable::depthwise_i16::{Spot, depthwise_by};

/// See [`crate::plan::step::DepthwiseI16`].
pub(super) fn depthwise(args: ConvI16Args<'_>) {
    depthwise_by(args, add_inside);
}

/// Adds `x·w` of the taps inside the image for the four channels from `start` on.
fn add_inside(args: &ConvI16Args<'_>, spot: &Spot, start: usize, sums: &mut [i32; 4]) {
    let w = args.window;
    let (channels, kernel_w) = (w.in_c as usize, w.kernel_w as usize);
    let (rows, taps) = (spot.rows.1 - spot.rows.0, spot.columns.1 - spot.columns.0);
    if rows == 0 || taps == 0 {
        return;
    }
    let (line_step, pixel_step) =
        (w.dilation_h as usize * w.in_w as usize * channels, w.dilation_w as usize * channels);
    let first = spot.first + start;
    let first_weight = (spot.rows.0 * kernel_w + spot.columns.0) * channels + start;
    let last = first + (rows - 1) * line_step + (taps - 1) * pixel_step;
    let last_weight = first_weight + ((rows - 1) * kernel_w + taps - 1) * channels;
    if w.out_c != w.in_c || last + sums.len() > args.x.len() || last_weight + sums.len() > args.weights.len() {
        return;
    }
    let job = Job {
        x: args.x.as_ptr().wrapping_add(first),
        weights: args.weights.as_ptr().wrapping_add(first_weight),
        pixel_step: 2 * pixel_step,
        weight_step: channels,
        taps,
        rows,
        line_skip: (2 * line_step).wrapping_sub(2 * taps * pixel_step),
        weight_skip: (kernel_w - taps) * channels,
    };
    // SAFETY: the first and the last tap lie inside, as just seen, and so do those between them.
    unsafe { four_channels(&job, sums) };
}

/// The taps of four channels; assembly reads the fields in this order. Steps are in bytes.
#[repr(C)]
struct Job {
    x: *const i16,
    weights: *const u8,
    pixel_step: usize,
    weight_step: usize,
    taps: usize,
    rows: usize,
    /// From behind the last tap of a row to the first of the next.
    line_skip: usize,
    weight_skip: usize,
}

/// 13 instructions for four products.
///
/// # Safety
/// Four elements and four weights can be read at each tap; there are taps.
#[unsafe(naked)]
unsafe extern "C" fn four_channels(job: &Job, sums: &mut [i32; 4]) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "push {{r0, r1}}",
        "ldm r1, {{r4-r7}}",
        "mov r8, r0",
        "ldr lr, [r8, #20]",
        "ldm r8, {{r0-r3}}",
        "2:",
        "ldr r12, [sp]",
        "ldr r12, [r12, #16]",
        "3:",
        "ldr r10, [r0]",
        "ldr r11, [r0, #4]",
        "add r0, r0, r2",
        "ldr r8, [r1]",
        "add r1, r1, r3",
        // Weights 0 and 2, and 1 and 3.
        "sxtb16 r9, r8",
        "sxtb16 r8, r8, ror #8",
        "smlabb r4, r10, r9, r4",
        "smlatb r5, r10, r8, r5",
        "smlabt r6, r11, r9, r6",
        "smlatt r7, r11, r8, r7",
        "subs r12, r12, #1",
        "bne 3b",
        "ldr r12, [sp]",
        "ldrd r8, r9, [r12, #24]",
        "add r0, r0, r8",
        "add r1, r1, r9",
        "subs lr, lr, #1",
        "bne 2b",
        "ldr r1, [sp, #4]",
        "stm r1, {{r4-r7}}",
        "add sp, sp, #8",
        "pop {{r4-r11, pc}}",
    )
}
