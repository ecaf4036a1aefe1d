//! Int8 additions and products, four elements at a time, and look-ups in tables, 16 at a time.

use core::arch::naked_asm;
use core::cell::Cell;
use core::mem::offset_of;

use crate::kernels::{Operand, RowI8};

/// Elements that meet one that is repeated, at once.
const REPEATED: usize = 64;

/// What the kernels read, neighbours at once: the order counts.
#[repr(C)]
struct Pairs {
    a: *const i8,
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
    in_pairs(row, add_all);
}

/// One row of [`crate::plan::step::BinaryOp::Mul`].
pub(super) fn mul(row: &RowI8<'_>) {
    in_pairs(row, multiply_all);
}

/// Hands the elements of both sides to a kernel.
fn in_pairs(row: &RowI8<'_>, kernel: unsafe extern "C" fn(*const Pairs)) {
    let length = row.y.len();
    let (a, b) = (Side::of(&row.a), Side::of(&row.b));
    let step = match (&a, &b) {
        (Side::Whole(_), Side::Whole(_)) => length.max(1),
        _ => REPEATED,
    };
    let (low, high, y_zero_point) = row.target.parts();
    for start in (0..length).step_by(step) {
        let pairs = Pairs {
            a: a.from(start),
            b: b.from(start),
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
            unsafe { kernel(&pairs) };
        }
    }
}

/// The elements of a side.
enum Side {
    /// As many as there are results.
    Whole(*const i8),
    /// The only one.
    Repeated([i8; REPEATED]),
}

impl Side {
    fn of(operand: &Operand<'_, i8>) -> Self {
        match operand {
            Operand::Shared([element]) => Self::Repeated([element.get(); REPEATED]),
            Operand::Constant([element]) => Self::Repeated([*element; REPEATED]),
            Operand::Shared(elements) => Self::Whole(elements.as_ptr().cast()),
            Operand::Constant(elements) => Self::Whole(elements.as_ptr()),
        }
    }

    /// Where the elements are that meet result `start` and those behind it.
    fn from(&self, start: usize) -> *const i8 {
        match self {
            Self::Whole(elements) => elements.wrapping_add(start),
            Self::Repeated(elements) => elements.as_ptr(),
        }
    }
}

/// A kernel for pairs of elements; `$combine` makes one float in q0 of two whole numbers in q0 and q1.
macro_rules! pairs {
    ($(#[$doc:meta])* $name:ident, $combine:literal) => {
$(#[$doc])*
///
/// The result may be the place of a side: what lies in the same place is read before it is written.
///
/// # Safety
/// The CPU has Helium; sides and result have so many elements.
#[unsafe(naked)]
unsafe extern "C" fn $name(pairs: *const Pairs) {
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
        $combine,
        "vmaxnm.f32 q0, q0, q2",
        "vminnm.f32 q0, q0, q3",
        "vcvtn.s32.f32 q0, q0",
        "vadd.i32 q0, q0, r8",
        "vstrb.32 q0, [r3], #4",
        "letp lr, 2b",
        "3:",
        "pop {{r4-r9, pc}}",
        A = const offset_of!(Pairs, a),
        Y = const offset_of!(Pairs, y),
        COUNT = const offset_of!(Pairs, count),
        ZERO_POINTS = const offset_of!(Pairs, zero_points),
        MULTIPLIERS = const offset_of!(Pairs, multipliers),
        Y_ZERO_POINT = const offset_of!(Pairs, y_zero_point),
        LOW = const offset_of!(Pairs, low),
        HIGH = const offset_of!(Pairs, high),
    )
}
    };
}

pairs!(
    /// All sums.
    add_all,
    "vcvt.f32.s32 q0, q0
     vcvt.f32.s32 q1, q1
     vmul.f32 q0, q0, r6
     vmul.f32 q1, q1, r7
     vadd.f32 q0, q0, q1"
);
pairs!(
    /// All products.
    multiply_all,
    "vmul.i32 q0, q0, q1
     vcvt.f32.s32 q0, q0
     vmul.f32 q0, q0, r6"
);

/// See [`crate::plan::step::Table`].
pub(super) fn table(x: &[Cell<i8>], y: &[Cell<i8>], table: &[u8; 256]) {
    let count = x.len().min(y.len());
    // SAFETY: both places have so many elements, and nobody else writes to them.
    unsafe { look_up(x.as_ptr().cast(), y.as_ptr().cast_mut().cast(), table, count) };
}

/// `y[i] = table[x[i] + 128]`; both may be the same place.
///
/// # Safety
/// The CPU has Helium; both places have so many elements.
#[unsafe(naked)]
unsafe extern "C" fn look_up(x: *const i8, y: *mut i8, table: *const [u8; 256], count: usize) {
    naked_asm!(
        ".arch armv8.1-m.main",
        ".arch_extension mve.fp",
        "push {{r4, lr}}",
        "mov r4, #128",
        "wlstp.8 lr, r3, 3f",
        "2:",
        "vldrb.u8 q0, [r0], #16",
        "vadd.i8 q0, q0, r4",
        "vldrb.u8 q1, [r2, q0]",
        "vstrb.8 q1, [r1], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r4, pc}}",
    )
}
