//! Softmax.

use crate::bytes::U32s;
use crate::kernels::ReduceI8Args;
use crate::math::maximum;
use crate::plan::step::Softmax;

/// See [`Softmax`]; `table` holds 256 u32, `inverse_scale` is `1/sy`.
#[inline(always)]
pub(crate) fn softmax_i8(args: ReduceI8Args<'_, Softmax>, table: &[u8], inverse_scale: f32) {
    let s = args.step;
    let table = U32s::new(table);
    for_each_line(s, |start, inner| {
        let x = line(args.x, start, inner, s.n);
        let greatest = x.clone().max().copied().unwrap_or(i8::MIN);
        let weight = |x: i8| table.get((i32::from(greatest) - i32::from(x)) as usize);
        let total: u64 = x.clone().map(|&x| u64::from(weight(x))).sum();
        let multiplier = inverse_scale / total as f32;
        for (&x, y) in x.zip(line_mut(args.y, start, inner, s.n)) {
            *y = args.target.store(weight(x) as f32 * multiplier);
        }
    });
}

/// [`Softmax`] of float32, or its logarithm: the same bits on every machine, as all is f32 and summed in order.
pub fn softmax_f32(s: &Softmax, x: &[f32], y: &mut [f32]) {
    for_each_line(s, |start, inner| {
        let x = line(x, start, inner, s.n);
        let greatest = x.clone().copied().fold(f32::NEG_INFINITY, maximum);
        // What an addition rounds off is taken along to the next (Kahan 1965, «Further remarks on reducing truncation
        // errors»): the sum of any number of terms is as good as one of two.
        let (mut total, mut excess) = (0.0_f32, 0.0);
        for (x, y) in x.clone().zip(line_mut(y, start, inner, s.n)) {
            *y = exp_of_negative(x - greatest);
            let term = *y - excess;
            let sum = total + term;
            excess = (sum - total) - term;
            total = sum;
        }
        if s.log == 1 {
            let log = ln_of_sum(total);
            x.zip(line_mut(y, start, inner, s.n)).for_each(|(x, y)| *y = x - greatest - log);
        } else {
            line_mut(y, start, inner, s.n).for_each(|y| *y /= total);
        }
    });
}

// ln 2 in two parts, the first with zeros at its end: small multiples of it are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x` for `x` of at most 0, 0 where it is below the least normal number; within 2 units in the last place.
///
/// Of f32 alone, unlike [`crate::math::exp`]: small cores would need functions for f64.
#[inline(always)]
pub(crate) fn exp_of_negative(x: f32) -> f32 {
    /// Below it the result is 0.
    const LEAST: f32 = -87.0;
    /// Adding it rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Without a branch, so that loops over it are vectorised.
    let inside = if x < LEAST { LEAST } else { x };
    let shifted = inside * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (inside - n * LN_2_HIGH) - n * LN_2_LOW;
    // 1/k!; |r| ≤ 0.35, so the first term left out is below 6e-9.
    let terms = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let sum = terms.into_iter().fold(0.0, |sum, term| sum * r + term);
    let value = sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LEAST { 0.0 } else { value }
}

/// The natural logarithm of a number of at least 1.
fn ln_of_sum(x: f32) -> f32 {
    let bits = x.to_bits();
    let (mut exponent, mut mantissa) = ((bits >> 23) as i32 - 127, f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000));
    if mantissa > core::f32::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    // 2·artanh(s), whose first term left out is below 1e-9.
    let terms = [1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
    let sum = terms.into_iter().fold(0.0, |sum, term| sum * (s * s) + term);
    let exponent = exponent as f32;
    exponent * LN_2_HIGH + (2.0 * s * sum + exponent * LN_2_LOW)
}

/// Calls `visit` with the first element of each line, and the distance from one of its elements to the next.
#[inline(always)]
fn for_each_line(s: &Softmax, mut visit: impl FnMut(usize, usize)) {
    let inner = s.inner.max(1) as usize;
    for outer in 0..s.outer as usize {
        for place in 0..inner {
            visit(outer * s.n as usize * inner + place, inner);
        }
    }
}

/// The `n` elements of a line.
#[inline(always)]
fn line<T>(x: &[T], start: usize, inner: usize, n: u32) -> impl Iterator<Item = &T> + Clone {
    x.get(start..).unwrap_or_default().iter().step_by(inner.max(1)).take(n as usize)
}

/// [`line`], to write.
#[inline(always)]
fn line_mut<T>(y: &mut [T], start: usize, inner: usize, n: u32) -> impl Iterator<Item = &mut T> {
    y.get_mut(start..).unwrap_or_default().iter_mut().step_by(inner.max(1)).take(n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_those_of_f64() {
        for step in 0..=8700 {
            let x = -(step as f32) / 100.0;
            let (found, exact) = (f64::from(exp_of_negative(x)), f64::from(x).exp());
            assert!((found - exact).abs() <= 2.4e-7 * exact, "e^{x}: {found} instead of {exact}");
        }
        for step in 0..2000 {
            let x = 1.0 + step as f32 * step as f32 / 37.0;
            let (found, exact) = (f64::from(ln_of_sum(x)), f64::from(x).ln());
            assert!((found - exact).abs() <= 1.5e-7 * exact.max(1.0), "ln {x}: {found} instead of {exact}");
        }
        assert_eq!((exp_of_negative(0.0), exp_of_negative(-88.0), exp_of_negative(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp_of_negative(f32::NAN).is_nan());
    }
}
