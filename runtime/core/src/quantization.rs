//! The number contract: how a real number becomes an int8 or int16 and back.
//!
//! A tensor has one scale and one zero point: `real = (stored - zero_point) × scale`. Rounding is
//! half to even, as in ONNX [QuantizeLinear](https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html).
//! Every function is a fixed sequence of correctly rounded f32 operations, none of them fused, so
//! that each machine computes the same bits.
//!
//! int16 tensors follow the same formulas. Sums of their products with int8 weights are exact: in 32 bits where
//! `32768·Σ|w| + |bias|` proves that they fit, else in 64; an accumulator of 64 bits becomes the nearest f32, of two the
//! even one.

mod integer;

use core::marker::PhantomData;

/// Whether float operations are calls of functions here: on Arm cores whose float ABI has no FPU, such as Cortex-M0, M3
/// and what is built for `thumbv7em-none-eabi`. There [`Multiplier`] computes the same bits from integers.
const FLOAT_BY_CALLS: bool = cfg!(all(target_arch = "arm", target_abi = "eabi"));

/// Added to a float of magnitude below 2²², this leaves the float rounded half to even in the low
/// bits of the significand.
const ROUNDING: f32 = 12_582_912.0;

/// Rounds half to even, for values of magnitude below 2²².
#[must_use]
#[inline(always)]
pub fn round_half_even(value: f32) -> i32 {
    (value + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits()).cast_signed()
}

/// Scale and stored zero point of int8 for values between `least`, at most 0, and `greatest`, at least 0, as
/// [`QuantizeDynamic`](crate::plan::step::QuantizeDynamic) has them; where no scale can be, 1.
#[must_use]
pub fn dynamic_parameters([least, greatest]: [f32; 2]) -> (f32, i32) {
    let scale = (greatest - least) / 255.0;
    let scale = if scale > 0.0 && scale < f32::INFINITY { scale } else { 1.0 };
    let levels = 0.0 - least / scale;
    let levels = if levels < 255.0 { levels } else { 255.0 };
    (scale, round_half_even(if levels > 0.0 { levels } else { 0.0 }) - 128)
}

/// An integer type that tensors hold real numbers in.
pub trait Stored: Copy + Default + Ord + Into<i32> + core::fmt::Debug {
    /// The least value.
    const LEAST: i32;
    /// The greatest value.
    const GREATEST: i32;

    /// The low bits of `value`, which is a value of the type.
    fn of(value: i32) -> Self;

    /// `round_half_even(f32(accumulator) × multiplier)` from integers; where that is beyond all limits around any zero
    /// point, anything that is too.
    fn rounded(accumulator: i32, multiplier: Multiplier) -> i32;
}

impl Stored for i8 {
    const LEAST: i32 = i8::MIN as i32;
    const GREATEST: i32 = i8::MAX as i32;

    #[inline(always)]
    fn of(value: i32) -> Self {
        value as i8
    }
    #[inline(always)]
    fn rounded(accumulator: i32, multiplier: Multiplier) -> i32 {
        multiplier.scale.apply(accumulator)
    }
}

impl Stored for i16 {
    const LEAST: i32 = i16::MIN as i32;
    const GREATEST: i32 = i16::MAX as i32;

    #[inline(always)]
    fn of(value: i32) -> Self {
        value as i16
    }
    #[inline(always)]
    fn rounded(accumulator: i32, multiplier: Multiplier) -> i32 {
        integer::product(i64::from(accumulator), multiplier.value)
    }
}

/// Limits and shift of a result, prepared once per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetOf<E> {
    least: i32,
    greatest: i32,
    zero_point: i32,
    elements: PhantomData<E>,
}

/// Of int8 results.
pub type Target = TargetOf<i8>;

/// Of int16 results.
pub type TargetI16 = TargetOf<i16>;

/// What accumulators are multiplied with, prepared once for many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Multiplier {
    value: f32,
    scale: integer::Scale,
}

impl Multiplier {
    /// A finite multiplier.
    #[must_use]
    #[inline(always)]
    pub fn new(value: f32) -> Self {
        let scale = if FLOAT_BY_CALLS { integer::Scale::of(value) } else { integer::Scale::default() };
        Self { value, scale }
    }
}

impl<E: Stored> TargetOf<E> {
    /// Results are clamped to `low..=high` (stored values) around `zero_point`.
    #[must_use]
    pub fn new(zero_point: i32, low: i32, high: i32) -> Self {
        let zero_point = zero_point.clamp(E::LEAST, E::GREATEST);
        let low = low.clamp(E::LEAST, E::GREATEST);
        let high = high.clamp(low, E::GREATEST);
        Self { least: low - zero_point, greatest: high - zero_point, zero_point, elements: PhantomData }
    }

    /// Results take all values of the type.
    #[must_use]
    pub fn whole(zero_point: i32) -> Self {
        Self::new(zero_point, E::LEAST, E::GREATEST)
    }

    /// Limits before the zero point is added, and the zero point, for kernels that work on many at once.
    #[must_use]
    #[inline(always)]
    pub fn parts(self) -> (f32, f32, i32) {
        (self.least as f32, self.greatest as f32, self.zero_point)
    }

    /// Least and greatest result, and the zero point.
    #[must_use]
    #[inline(always)]
    pub fn stored_limits(self) -> (i32, i32, i32) {
        (self.least + self.zero_point, self.greatest + self.zero_point, self.zero_point)
    }

    /// `clamp(round_half_even(value) + zero_point)`, `value` in units of the output scale.
    ///
    /// Clamping before rounding gives the same result, because the limits are whole numbers, and
    /// keeps the value where [`round_half_even`] is exact. NaN becomes the lower limit.
    #[must_use]
    #[inline(always)]
    pub fn store(self, value: f32) -> E {
        let (low, high, _) = self.parts();
        let clamped = if value > low { value } else { low };
        let clamped = if clamped < high { clamped } else { high };
        E::of(round_half_even(clamped) + self.zero_point)
    }

    /// `clamp(round_half_even(f32(accumulator) × multiplier) + zero_point)`: the requantization of the contract.
    #[must_use]
    #[inline(always)]
    pub fn requantize(self, accumulator: i32, multiplier: Multiplier) -> E {
        if FLOAT_BY_CALLS {
            self.stored(E::rounded(accumulator, multiplier))
        } else {
            self.store(accumulator as f32 * multiplier.value)
        }
    }

    /// [`Self::requantize`] of an accumulator of 64 bits; f32 of it is the nearest float, of two the even one.
    #[must_use]
    #[inline(always)]
    pub fn requantize_wide(self, accumulator: i64, multiplier: Multiplier) -> E {
        if FLOAT_BY_CALLS {
            self.stored(integer::product(accumulator, multiplier.value))
        } else {
            self.store(accumulator as f32 * multiplier.value)
        }
    }

    /// A rounded value, between the limits.
    #[inline(always)]
    fn stored(self, rounded: i32) -> E {
        E::of(rounded.min(self.greatest).max(self.least) + self.zero_point)
    }
}

impl Target {
    /// Least and greatest result, and the zero point.
    #[must_use]
    #[inline(always)]
    pub fn limits(self) -> (i8, i8, i16) {
        let stored = |limit: i32| (limit + self.zero_point) as i8;
        (stored(self.least), stored(self.greatest), self.zero_point as i16)
    }
}

/// `clamp(round_half_even(value / scale) + zero_point)`; NaN becomes the zero point.
#[must_use]
#[inline(always)]
pub fn quantize<E: Stored>(value: f32, scale: f32, zero_point: i32) -> E {
    let value = if value.is_nan() { 0.0 } else { value };
    TargetOf::whole(zero_point).store(value / scale)
}

/// `(stored - zero_point) × scale`.
#[must_use]
#[inline(always)]
pub fn dequantize<E: Stored>(stored: E, scale: f32, zero_point: i32) -> f32 {
    let stored: i32 = stored.into();
    (stored - zero_point) as f32 * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even() {
        let cases = [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (126.5, 126), (0.499_999_97, 0)];
        for (value, expected) in cases {
            assert_eq!(round_half_even(value), expected, "{value}");
        }
    }

    #[test]
    fn stores_saturate_at_the_limits() {
        let target = Target::new(-128, -128, 100);
        assert_eq!(target.store(1e30), 100);
        assert_eq!(target.store(-1e30), -128);
        assert_eq!(target.store(f32::INFINITY), 100);
        assert_eq!(target.store(127.5), 0);
        assert_eq!(target.store(126.5), -2);
    }

    #[test]
    fn quantize_follows_the_onnx_specification() {
        // onnx QuantizeLinear reference: x = [0, 2, 3, 1000, -254, -1000], scale 2, zero point 128 (uint8).
        let expected_uint8 = [128, 129, 130, 255, 1, 0];
        for (value, expected) in [0.0, 2.0, 3.0, 1000.0, -254.0, -1000.0].into_iter().zip(expected_uint8) {
            assert_eq!(i32::from(quantize::<i8>(value, 2.0, 0)) + 128, expected, "{value}");
        }
        assert_eq!(quantize::<i8>(f32::NAN, 0.5, 7), 7);
    }
}
