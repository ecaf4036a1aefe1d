//! Int8 addition, four elements at a time.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::kernels::{Operand, RowI8};

/// Elements added to one that is repeated, at once.
const REPEATED: usize = 64;

/// What the loop reads.
#[repr(C)]
struct Sums {
    a: *const i8,
    /// Stands behind `a`.
    b: *const i8,
    y: *mut i8,
    count: usize,
    zero_points: [i32; 2],
    multipliers: [f32; 2],
    y_zero_point: i32,
    low: [f32; 4],
    high: [f32; 4],
}

/// One row of [`crate::plan::step::BinaryOp::Add`].
pub(super) fn add(row: &RowI8<'_>) {
    let length = row.y.len();
    let (repeated_a, repeated_b) = (side(&row.a), side(&row.b));
    let step = match (repeated_a.is_ok(), repeated_b.is_ok()) {
        (true, true) => length.max(1),
        _ => REPEATED,
    };
    let (low, high, y_zero_point) = row.target.parts();
    for start in (0..length).step_by(step) {
        let place = |side: &Result<*const i8, [i8; REPEATED]>| match side {
            Ok(elements) => elements.wrapping_add(start),
            Err(repeated) => repeated.as_ptr(),
        };
        let sums = Sums {
            a: place(&repeated_a),
            b: place(&repeated_b),
            y: row.y.as_ptr().cast_mut().cast::<i8>().wrapping_add(start),
            count: step.min(length - start),
            zero_points: row.zero_points,
            multipliers: row.multipliers,
            y_zero_point,
            low: [low; 4],
            high: [high; 4],
        };
        let there = |side: &Operand<'_, i8>| side.len() == length || side.len() == 1;
        if there(&row.a) && there(&row.b) {
            // SAFETY: both sides are as long as the result, or repeated often enough.
            unsafe { add_all(&sums) };
        }
    }
}

/// The elements of a side, or its only one repeated.
fn side(side: &Operand<'_, i8>) -> Result<*const i8, [i8; REPEATED]> {
    match side {
        Operand::Shared([element]) => Err([element.get(); REPEATED]),
        Operand::Constant([element]) => Err([*element; REPEATED]),
        Operand::Shared(elements) => Ok(elements.as_ptr().cast()),
        Operand::Constant(elements) => Ok(elements.as_ptr()),
    }
}

/// All sums. The result may be the place of a side: what lies in the same place is read before it is written.
///
/// # Safety
/// The CPU has Helium; sides and result have so many elements.
#[unsafe(naked)]
unsafe extern "C" fn add_all(sums: *const Sums) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4-r9, lr}}",
        "vldrw.u32 q2, [r0, {LOW}]",
        "vldrw.u32 q3, [r0, {HIGH}]",
        "ldr r9, [r0, {COUNT}]",
        "ldrd r4, r5, [r0, {ZERO_POINTS}]",
        "ldrd r6, r7, [r0, {MULTIPLIERS}]",
        "ldr r8, [r0, {Y_ZERO_POINT}]",
        "ldr r3, [r0, {Y}]",
        "ldrd r1, r2, [r0, {A}]",
        "wlstp.32 lr, r9, 3f",
        "2:",
        "vldrb.s32 q0, [r1], #4",
        "vldrb.s32 q1, [r2], #4",
        "vsub.i32 q0, q0, r4",
        "vsub.i32 q1, q1, r5",
        "vcvt.f32.s32 q0, q0",
        "vcvt.f32.s32 q1, q1",
        "vmul.f32 q0, q0, r6",
        "vmul.f32 q1, q1, r7",
        "vadd.f32 q0, q0, q1",
        "vmaxnm.f32 q0, q0, q2",
        "vminnm.f32 q0, q0, q3",
        "vcvtn.s32.f32 q0, q0",
        "vadd.i32 q0, q0, r8",
        "vstrb.32 q0, [r3], #4",
        "letp lr, 2b",
        "3:",
        "pop {{r4-r9, pc}}",
        A = const offset_of!(Sums, a),
        Y = const offset_of!(Sums, y),
        COUNT = const offset_of!(Sums, count),
        ZERO_POINTS = const offset_of!(Sums, zero_points),
        MULTIPLIERS = const offset_of!(Sums, multipliers),
        Y_ZERO_POINT = const offset_of!(Sums, y_zero_point),
        LOW = const offset_of!(Sums, low),
        HIGH = const offset_of!(Sums, high),
    )
}
