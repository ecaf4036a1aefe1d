//! Requantization for cores that compute floats by calling functions: the bits of the float formula, from integers.
//!
//! The formula rounds three times: the accumulator to 24 bits, its product with the multiplier to 24 bits, and that to a
//! whole number. One product of integers with 16 bits behind the point decides all but what lies next to a half.

/// A multiplier as `mantissa × 2^-shift`, of what matters for an int8 result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scale {
    mantissa: u32,
    /// 16 to 63.
    shift: u32,
    negative: bool,
}

/// Bits behind the point of the first answer.
const POINT: u32 = 16;
/// Distance from a half, in units of the last of these bits, within which the three roundings may end on another side
/// than one: below 512 they move the value by less than three units, and cutting by less than one.
const DOUBT: u32 = 4;
/// No limit of an int8 result, counted from the zero point, is so far away.
const BEYOND: i32 = 512;

impl Scale {
    /// Of a finite number.
    pub(super) fn of(multiplier: f32) -> Self {
        const FRACTION_BITS: u32 = f32::MANTISSA_DIGITS - 1;
        let bits = multiplier.to_bits();
        let (exponent, fraction) = (bits >> FRACTION_BITS & 0xff, bits & ((1 << FRACTION_BITS) - 1));
        // 127 of the exponent, and the bits of the fraction. Subnormal numbers are among those that vanish.
        let shift = 127_u32.wrapping_add(FRACTION_BITS).wrapping_sub(exponent).cast_signed();
        let (mantissa, shift) = match shift {
            // 256 and more: every accumulator but 0 reaches beyond the limits.
            ..16 => (1 << f32::MANTISSA_DIGITS, 16),
            16..64 => (1 << FRACTION_BITS | fraction, shift.unsigned_abs()),
            // Below 2⁻⁴⁰: every product is below a half.
            _ => (0, 16),
        };
        Self { mantissa, shift, negative: multiplier.is_sign_negative() }
    }

    /// `round_half_even(f32(accumulator) × multiplier)`, or [`BEYOND`] with its sign for all that is as great.
    #[inline(always)]
    pub(super) fn apply(self, accumulator: i32) -> i32 {
        let magnitude = accumulator.unsigned_abs();
        let product = (u64::from(magnitude) * u64::from(self.mantissa)) >> (self.shift - POINT);
        let whole = if product >= (BEYOND as u64) << POINT {
            BEYOND
        } else {
            let product = product as u32;
            let behind = product & ((1 << POINT) - 1);
            let half = 1 << (POINT - 1);
            if behind.abs_diff(half) <= DOUBT {
                self.exact(magnitude)
            } else {
                ((product + half) >> POINT).cast_signed()
            }
        };
        if (accumulator < 0) == self.negative { whole } else { -whole }
    }

    /// All three roundings, for products below [`BEYOND`].
    #[inline(never)]
    fn exact(self, magnitude: u32) -> i32 {
        let (accumulator, first) = significant(u64::from(magnitude));
        let (product, second) = significant(accumulator * u64::from(self.mantissa));
        shifted(product, self.shift.saturating_sub(first + second)) as i32
    }
}

/// What is greater than the distance of any two int16.
const FAR: u64 = 1 << 17;

/// `round_half_even(f32(accumulator) × multiplier)` of a finite multiplier, or [`FAR`] with its sign for all that is as
/// great: the three roundings one by one, for results of 16 bits and accumulators of 64.
pub(super) fn product(accumulator: i64, multiplier: f32) -> i32 {
    const FRACTION_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    let bits = multiplier.to_bits();
    let (exponent, fraction) = ((bits >> FRACTION_BITS & 0xff).cast_signed(), bits & ((1 << FRACTION_BITS) - 1));
    let (accumulator_bits, first) = significant(accumulator.unsigned_abs());
    // Subnormal multipliers leave no product of 2⁻⁶³ and more, so the leading bit that they have not changes nothing.
    let (product, second) = significant(accumulator_bits * u64::from(1 << FRACTION_BITS | fraction));
    // 127 of the exponent, and the bits of the fraction.
    let shift = 127 + FRACTION_BITS.cast_signed() - exponent - (first + second).cast_signed();
    let whole = match shift {
        64.. => 0,
        0..64 => shifted(product, shift.unsigned_abs()).min(FAR),
        _ if product == 0 => 0,
        // The product has 24 bits, or the accumulator is small and the multiplier great.
        -17..0 => (product << shift.unsigned_abs()).min(FAR),
        _ => FAR,
    } as i32;
    if (accumulator < 0) == multiplier.is_sign_negative() { whole } else { -whole }
}

/// `value` rounded to 24 bits, and how many were dropped.
fn significant(value: u64) -> (u64, u32) {
    let dropped = (u64::BITS - value.leading_zeros()).saturating_sub(f32::MANTISSA_DIGITS);
    (shifted(value, dropped), dropped)
}

/// `value / 2^bits`, rounded half to even; fewer than 64 bits.
fn shifted(value: u64, bits: u32) -> u64 {
    let (whole, rest) = (value >> bits, value & ((1 << bits) - 1));
    let half = 1_u64 << bits >> 1;
    whole + u64::from(bits > 0 && (rest > half || rest == half && whole & 1 == 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Target, TargetI16};
    use super::*;

    /// The limits of every target, and the formula of the contract.
    fn agree(accumulator: i32, multiplier: f32) -> Result<(), TestCaseError> {
        for (zero_point, low, high) in [(0, -128, 127), (-128, -128, 127), (127, -128, 127), (-5, 3, 90)] {
            let target = Target::new(zero_point, low, high);
            let expected = target.store(accumulator as f32 * multiplier);
            let found = target.stored(Scale::of(multiplier).apply(accumulator));
            prop_assert_eq!(found, expected, "{} × {:e} around {}", accumulator, multiplier, zero_point);
        }
        Ok(())
    }

    #[test]
    fn edges_of_every_range() -> Result<(), TestCaseError> {
        let accumulators = (0..32).flat_map(|bit| (-2..=2_i64).map(move |near| (1_i64 << bit) + near));
        for accumulator in accumulators.flat_map(|value| [value, -value]).filter_map(|value| i32::try_from(value).ok())
        {
            for exponent in 0..255_u32 {
                for fraction in [0, 1, 2, 0x3f_ffff, 0x40_0000, 0x40_0001, 0x7f_fffe, 0x7f_ffff] {
                    agree(accumulator, f32::from_bits(exponent << 23 | fraction))?;
                    agree(accumulator, -f32::from_bits(exponent << 23 | fraction))?;
                }
            }
        }
        Ok(())
    }

    /// The formula of the contract for int16 results and accumulators of 64 bits.
    fn agree_wide(accumulator: i64, multiplier: f32) -> Result<(), TestCaseError> {
        for (zero_point, low, high) in
            [(0, -32768, 32767), (-32768, -32768, 32767), (32767, -32768, 32767), (-5, 3, 90)]
        {
            let target = TargetI16::new(zero_point, low, high);
            let expected = target.store(accumulator as f32 * multiplier);
            let found = target.stored(product(accumulator, multiplier));
            prop_assert_eq!(found, expected, "{} × {:e} around {}", accumulator, multiplier, zero_point);
        }
        Ok(())
    }

    #[test]
    fn wide_edges_of_every_range() -> Result<(), TestCaseError> {
        let accumulators = (0..63).flat_map(|bit| (-2..=2_i64).map(move |near| (1_i64 << bit) + near));
        for accumulator in accumulators.flat_map(|value| [value, -value]).chain([i64::MIN, i64::MAX]) {
            for exponent in 0..255_u32 {
                for fraction in [0, 1, 0x3f_ffff, 0x40_0000, 0x40_0001, 0x7f_ffff] {
                    agree_wide(accumulator, f32::from_bits(exponent << 23 | fraction))?;
                    agree_wide(accumulator, -f32::from_bits(exponent << 23 | fraction))?;
                }
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn any_wide_number(accumulator: i64, less in 0..63_u32, exponent in 0..255_u32, fraction in 0..1_u32 << 23) {
            agree_wide(accumulator >> less, f32::from_bits(exponent << 23 | fraction))?;
        }

        #[test]
        fn wide_products_next_to_a_half(accumulator: i64, less in 0..63_u32, whole in 0..66_000_u32, off in -3..=3_i32) {
            let accumulator = (accumulator >> less).max(1);
            let multiplier = ((f64::from(whole) + 0.5) / accumulator as f64) as f32;
            agree_wide(accumulator, f32::from_bits(multiplier.to_bits().wrapping_add_signed(off)))?;
        }

        #[test]
        fn any_number(accumulator: i32, less in 0..31_u32, exponent in 0..255_u32, fraction in 0..1_u32 << 23) {
            agree(accumulator >> less, f32::from_bits(exponent << 23 | fraction))?;
        }

        #[test]
        fn usual_multipliers(accumulator: i32, less in 0..31_u32, exponent in 100..140_u32, fraction in 0..1_u32 << 23) {
            agree(accumulator >> less, f32::from_bits(exponent << 23 | fraction))?;
        }

        #[test]
        fn products_next_to_a_half(accumulator: i32, less in 0..31_u32, whole in 0..300_u32, off in -3..=3_i32) {
            let accumulator = (accumulator >> less).max(1);
            let multiplier = ((f64::from(whole) + 0.5) / f64::from(accumulator)) as f32;
            agree(accumulator, f32::from_bits(multiplier.to_bits().wrapping_add_signed(off)))?;
        }
    }
}
