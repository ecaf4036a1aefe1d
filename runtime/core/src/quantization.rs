//! The number contract: how a real number becomes an int8 and back.
//!
//! A tensor has one scale and one zero point: `real = (stored - zero_point) × scale`. Rounding is
//! half to even, as in ONNX [QuantizeLinear](https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html).
//! Every function is a fixed sequence of correctly rounded f32 operations, none of them fused, so
//! that each machine computes the same bits.

mod integer;

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

/// Limits and shift of an int8 result, prepared once per step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    low: f32,
    high: f32,
    least: i16,
    greatest: i16,
    zero_point: i32,
}

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

impl Target {
    /// Results are clamped to `low..=high` (stored values, within -128..=127) around `zero_point`.
    #[must_use]
    pub fn new(zero_point: i32, low: i32, high: i32) -> Self {
        let zero_point = zero_point.clamp(-128, 127);
        let low = low.clamp(-128, 127);
        let high = high.clamp(low, 127);
        let (least, greatest) = ((low - zero_point) as i16, (high - zero_point) as i16);
        Self { low: f32::from(least), high: f32::from(greatest), least, greatest, zero_point }
    }

    /// Limits before the zero point is added, and the zero point, for kernels that work on many at once.
    #[must_use]
    #[inline(always)]
    pub fn parts(self) -> (f32, f32, i32) {
        (self.low, self.high, self.zero_point)
    }

    /// Least and greatest result, and the zero point.
    #[must_use]
    #[inline(always)]
    pub fn limits(self) -> (i8, i8, i16) {
        let stored = |limit: i16| (i32::from(limit) + self.zero_point) as i8;
        (stored(self.least), stored(self.greatest), self.zero_point as i16)
    }

    /// `clamp(round_half_even(value) + zero_point)`, `value` in units of the output scale.
    ///
    /// Clamping before rounding gives the same result, because the limits are whole numbers, and
    /// keeps the value where [`round_half_even`] is exact. NaN becomes the lower limit.
    #[must_use]
    #[inline(always)]
    pub fn store(self, value: f32) -> i8 {
        let clamped = if value > self.low { value } else { self.low };
        let clamped = if clamped < self.high { clamped } else { self.high };
        (round_half_even(clamped) + self.zero_point) as i8
    }

    /// `clamp(round_half_even(f32(accumulator) × multiplier) + zero_point)`: the requantization of the contract.
    #[must_use]
    #[inline(always)]
    pub fn requantize(self, accumulator: i32, multiplier: Multiplier) -> i8 {
        if FLOAT_BY_CALLS {
            self.stored(multiplier.scale.apply(accumulator))
        } else {
            self.store(accumulator as f32 * multiplier.value)
        }
    }

    /// A rounded value, between the limits.
    #[inline(always)]
    fn stored(self, rounded: i32) -> i8 {
        (rounded.min(i32::from(self.greatest)).max(i32::from(self.least)) + self.zero_point) as i8
    }
}

/// `clamp(round_half_even(value / scale) + zero_point, -128, 127)`; NaN becomes the zero point.
#[must_use]
#[inline(always)]
pub fn quantize(value: f32, scale: f32, zero_point: i32) -> i8 {
    let value = if value.is_nan() { 0.0 } else { value };
    Target::new(zero_point, -128, 127).store(value / scale)
}

/// `(stored - zero_point) × scale`.
#[must_use]
#[inline(always)]
pub fn dequantize(stored: i8, scale: f32, zero_point: i32) -> f32 {
    (i32::from(stored) - zero_point) as f32 * scale
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
            assert_eq!(i32::from(quantize(value, 2.0, 0)) + 128, expected, "{value}");
        }
        assert_eq!(quantize(f32::NAN, 0.5, 7), 7);
    }
}
