//! The square root, by the instruction where each machine of an architecture has one.
//!
//! The instructions round correctly. So does [`crate::math::sqrt`], whose f64 has more than twice the digits (Figueroa
//! 1995, «When is double rounding innocuous?»): all give the same bits.

/// The square root of a number that is not below zero.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn sqrt(x: f32) -> f32 {
    use core::arch::x86_64::{_mm_cvtss_f32, _mm_set_ss, _mm_sqrt_ss};
    // SAFETY: every x86-64 CPU has SSE.
    unsafe { _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))) }
}

/// The square root of a number that is not below zero.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn sqrt(x: f32) -> f32 {
    use core::arch::aarch64::{vdup_n_f32, vget_lane_f32, vsqrt_f32};
    // SAFETY: every AArch64 CPU that programs with std run on has NEON, as the target says.
    unsafe { vget_lane_f32::<0>(vsqrt_f32(vdup_n_f32(x))) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use crate::math::sqrt;

#[cfg(test)]
mod tests {
    use super::sqrt;

    #[test]
    fn instruction_and_function_give_the_same_bits() {
        let all = (0..=f32::INFINITY.to_bits()).step_by(1009).map(f32::from_bits);
        for x in all.chain([0.0, -0.0, 1e-45, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY]) {
            assert_eq!(sqrt(x).to_bits(), crate::math::sqrt(x).to_bits(), "{x}");
        }
        assert_eq!(sqrt(2.25), 1.5);
    }
}
