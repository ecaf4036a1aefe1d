//! Int8 addition, four elements at a time.

use core::arch::naked_asm;
use core::cell::Cell;

use crate::kernels::{Operand, RowI8};

/// Elements added at once.
const LANES: usize = 4;

/// One row of [`crate::plan::step::BinaryOp::Add`].
pub(super) fn add(row: &RowI8<'_>) {
    let ([za, zb], [ma, mb]) = (row.zero_points, row.multipliers);
    let (low, high, zero_point) = row.target.limits();
    // Sums of this size and the zero point fit 16 bits.
    let short = 255.0 * (ma.abs() + mb.abs()) < 32_000.0;
    let byte = |zero_point: i32| i32::from(zero_point as i8) == zero_point;
    let groups = if short && byte(za) && byte(zb) { row.y.len() / LANES } else { 0 };
    let sides = (Side::of(&row.a, row.y), Side::of(&row.b, row.y));
    let (Some(a), Some(b)) = sides else { return };
    if groups > 0 {
        let half = |value: i32| u32::from(value as u16) * 0x1_0001;
        let job = Job {
            a: a.pointer(),
            b: b.pointer(),
            y: row.y.as_ptr().cast_mut().cast(),
            groups,
            a_zero_points: half(za),
            b_zero_points: half(zb),
            shift: half(i32::from(zero_point) + 128),
            a_step: a.step(),
            b_step: b.step(),
            multipliers: [ma, mb],
        };
        // SAFETY: both sides are as long as the result, or one group that is repeated; elements are read before the
        // results of their places are written.
        unsafe { add_groups(&job) };
        if (low, high) != (i8::MIN, i8::MAX) {
            row.y.iter().take(groups * LANES).for_each(|y| y.set(y.get().max(low).min(high)));
        }
    }
    for (index, y) in row.y.iter().enumerate().skip(groups * LANES) {
        let (a, b) = (i32::from(a.get(index)) - za, i32::from(b.get(index)) - zb);
        y.set(row.target.store(a as f32 * ma + b as f32 * mb));
    }
}

/// A side of an addition.
enum Side<'a> {
    /// As long as the result.
    Shared(&'a [Cell<i8>]),
    /// As long as the result.
    Constant(&'a [i8]),
    /// The same everywhere.
    Repeated([i8; LANES]),
}

impl<'a> Side<'a> {
    fn of(operand: &Operand<'a, i8>, y: &[Cell<i8>]) -> Option<Self> {
        Some(match operand {
            Operand::Shared(cells) if cells.len() == y.len() => Self::Shared(cells),
            Operand::Constant(values) if values.len() == y.len() => Self::Constant(values),
            Operand::Shared(cells) => Self::Repeated([cells.first()?.get(); LANES]),
            Operand::Constant(values) => Self::Repeated([*values.first()?; LANES]),
        })
    }

    fn get(&self, index: usize) -> i8 {
        match self {
            Self::Shared(cells) => cells.get(index).map_or(0, Cell::get),
            Self::Constant(values) => values.get(index).copied().unwrap_or(0),
            Self::Repeated([value, ..]) => *value,
        }
    }

    fn pointer(&self) -> *const i8 {
        match self {
            Self::Shared(cells) => cells.as_ptr().cast(),
            Self::Constant(values) => values.as_ptr(),
            Self::Repeated(values) => values.as_ptr(),
        }
    }

    /// Bytes from one group to the next.
    fn step(&self) -> usize {
        if matches!(self, Self::Repeated(_)) { 0 } else { LANES }
    }
}

/// Groups to be added; assembly reads the fields in this order.
#[repr(C)]
struct Job {
    a: *const i8,
    b: *const i8,
    y: *mut i8,
    groups: usize,
    /// Zero point of `a`, twice.
    a_zero_points: u32,
    b_zero_points: u32,
    /// Zero point of the result and 128, twice.
    shift: u32,
    a_step: usize,
    b_step: usize,
    multipliers: [f32; 2],
}

/// Adds groups of four elements in 61 instructions each. Sums saturate to 0 to 255 with 128 added, then it is taken
/// off.
///
/// # Safety
/// The CPU has the DSP extension and an FPU. The groups can be read and written; rounded sums fit 16 bits.
#[unsafe(naked)]
unsafe extern "C" fn add_groups(job: *const Job) {
    naked_asm!(
        ".cpu cortex-m33",
        "push {{r4-r11, lr}}",
        "vldr s8, [r0, #36]",
        "vldr s9, [r0, #40]",
        "ldm r0, {{r0-r8}}",
        "2:",
        "ldr.w r9, [r0]",
        "add r0, r7",
        "ldr.w r11, [r1]",
        "add r1, r8",
        "sxtb16 r10, r9, ror #8",
        "sxtb16 r9, r9",
        "sxtb16 r12, r11, ror #8",
        "sxtb16 r11, r11",
        "ssub16 r9, r9, r4",
        "ssub16 r10, r10, r4",
        "ssub16 r11, r11, r5",
        "ssub16 r12, r12, r5",
        "asr.w lr, r9, #16",
        "sxth.w r9, r9",
        "vmov s0, s1, r9, lr",
        "asr.w lr, r10, #16",
        "sxth.w r10, r10",
        "vmov s2, s3, r10, lr",
        "asr.w lr, r11, #16",
        "sxth.w r11, r11",
        "vmov s4, s5, r11, lr",
        "asr.w lr, r12, #16",
        "sxth.w r12, r12",
        "vmov s6, s7, r12, lr",
        "vcvt.f32.s32 s0, s0",
        "vcvt.f32.s32 s1, s1",
        "vcvt.f32.s32 s2, s2",
        "vcvt.f32.s32 s3, s3",
        "vcvt.f32.s32 s4, s4",
        "vcvt.f32.s32 s5, s5",
        "vcvt.f32.s32 s6, s6",
        "vcvt.f32.s32 s7, s7",
        "vmul.f32 s0, s0, s8",
        "vmul.f32 s1, s1, s8",
        "vmul.f32 s2, s2, s8",
        "vmul.f32 s3, s3, s8",
        "vmul.f32 s4, s4, s9",
        "vmul.f32 s5, s5, s9",
        "vmul.f32 s6, s6, s9",
        "vmul.f32 s7, s7, s9",
        "vadd.f32 s0, s0, s4",
        "vadd.f32 s1, s1, s5",
        "vadd.f32 s2, s2, s6",
        "vadd.f32 s3, s3, s7",
        "vcvtr.s32.f32 s0, s0",
        "vcvtr.s32.f32 s1, s1",
        "vcvtr.s32.f32 s2, s2",
        "vcvtr.s32.f32 s3, s3",
        "vmov r9, r10, s0, s1",
        "vmov r11, r12, s2, s3",
        // Elements 0 and 2, then 1 and 3.
        "pkhbt r9, r9, r10, lsl #16",
        "pkhbt r11, r11, r12, lsl #16",
        "qadd16 r9, r9, r6",
        "qadd16 r11, r11, r6",
        "usat16 r9, #8, r9",
        "usat16 r11, #8, r11",
        "orr.w r9, r9, r11, lsl #8",
        "eor r9, r9, #0x80808080",
        "str r9, [r2], #4",
        "subs r3, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}
