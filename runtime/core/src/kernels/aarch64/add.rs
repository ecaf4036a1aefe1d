//! Int8 addition, 16 elements at a time.

use core::arch::aarch64::*;
use core::arch::asm;
use core::cell::Cell;

use super::fallback;
use super::finish::{Limits, Short};
use crate::kernels::{Operand, RowI8};
use crate::weights::BLOCK;

/// One row of [`crate::plan::step::BinaryOp::Add`].
pub(super) fn add(row: &RowI8<'_>) {
    let (Some(a), Some(b)) = (whole(&row.a, row.y), whole(&row.b, row.y)) else {
        return fallback::add(row);
    };
    let y = row.y.as_ptr().cast_mut().cast::<i8>();
    let greatest = 255.0 * (row.multipliers[0].abs() + row.multipliers[1].abs());
    // SAFETY: `whole` has seen that both sides are as long as the result.
    unsafe {
        if Short::suits(row.target, greatest) { blocks::<true>(a, b, y, row) } else { blocks::<false>(a, b, y, row) }
    }
    let blocks = row.y.len() / BLOCK * BLOCK;
    let rest = row.y.len() - blocks;
    if let (Some(a), Some(b), true) = (row.a.row(blocks, rest), row.b.row(blocks, rest), rest > 0) {
        fallback::add(&RowI8 { a, b, y: &row.y[blocks..], ..*row });
    }
}

/// All whole blocks; sums that suit [`Short`] have a shorter end.
///
/// # Safety
/// Both sides and the result have the elements of the row; nobody else writes to them.
unsafe fn blocks<const SHORT: bool>(a: *const i8, b: *const i8, y: *mut i8, row: &RowI8<'_>) {
    let limits = Limits::new(row.target);
    let short = Short::new(row.target);
    for at in (0..row.y.len() / BLOCK * BLOCK).step_by(BLOCK) {
        // SAFETY: as the caller says; what lies in the same place as a side is read before it is written.
        unsafe {
            let a = real(vld1q_s8(a.add(at)), row.zero_points[0], row.multipliers[0]);
            let b = real(vld1q_s8(b.add(at)), row.zero_points[1], row.multipliers[1]);
            let sums = core::array::from_fn(|part| vaddq_f32(a[part], b[part]));
            vst1q_s8(y.add(at), if SHORT { short.quantize(sums) } else { limits.quantize(sums) });
        }
    }
}

/// The elements of a side that is as long as the result.
fn whole(side: &Operand<'_, i8>, y: &[Cell<i8>]) -> Option<*const i8> {
    match side {
        Operand::Shared(cells) if cells.len() == y.len() => Some(cells.as_ptr().cast()),
        Operand::Constant(values) if values.len() == y.len() => Some(values.as_ptr()),
        _ => None,
    }
}

/// `f32(x - zero_point) × multiplier` of 16 elements.
#[inline(always)]
fn real(x: int8x16_t, zero_point: i32, multiplier: f32) -> [float32x4_t; 4] {
    // SAFETY: NEON is there on every AArch64.
    unsafe {
        let mut shift = vdupq_n_s8(zero_point as i8);
        // Without knowing that both halves are the same, the compiler takes SSUBL2 for the upper one.
        asm!("/* {:v} */", inout(vreg) shift, options(pure, nomem, nostack, preserves_flags));
        let (low, high) = (vsubl_s8(vget_low_s8(x), vget_low_s8(shift)), vsubl_high_s8(x, shift));
        [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
            .map(|words| vmulq_n_f32(vcvtq_f32_s32(words), multiplier))
    }
}
