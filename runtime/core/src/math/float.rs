//! Sigmoid and tanh in f32 alone: for cells of recurrent layers, on machines without f64 too.
//!
//! Each is a fixed sequence of correctly rounded operations without a branch, so that loops over it are vectorised and all
//! machines get the same bits. The results are within 3 units of 2⁻²⁴ of the exact ones, relative to them.

/// ln 2 in two parts; the first has so few digits that its product with a whole number below 2⁸ is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Adding it rounds to a whole number, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Beyond it `e^-x` is as good as nothing beside 1, and still a normal number.
const FAR: f32 = 87.0;

/// `e^-x` for `x ≥ 0`, at least `e^-87`.
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    let x = -(if x > FAR { FAR } else { x });
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // (e^r - 1 - r)/r² through Chebyshev points of |r| ≤ ln 2/2.
    let sum = 0.001_393_365_2_f32;
    let sum = sum * r + 0.008_363_182;
    let sum = sum * r + 0.041_666_467;
    let sum = sum * r + 0.166_665_76;
    let sum = sum * r + 0.5;
    let value = (sum * (r * r) + r) + 1.0;
    value * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// Logistic sigmoid, `1/(1 + e^-x)`.
#[must_use]
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp_of_negative(x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// Hyperbolic tangent.
#[must_use]
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let e = exp_of_negative(magnitude + magnitude);
    let far = (1.0 - e) / (1.0 + e);
    // (tanh(x)/x - 1)/x² through Chebyshev points of |x| ≤ 0.65.
    let square = x * x;
    let sum = -0.005_927_162_7_f32;
    let sum = sum * square + 0.020_875_784;
    let sum = sum * square - 0.053_824_093;
    let sum = sum * square + 0.133_325_82;
    let sum = sum * square - 0.333_333_25;
    let near = magnitude + magnitude * (square * sum);
    (if magnitude < 0.625 { near } else { far }).copysign(x)
}

#[cfg(test)]
mod tests {
    extern crate std;

    #[test]
    fn close_to_double_precision() {
        // C's double-precision libm through std.
        let (mut worst_sigmoid, mut worst_tanh) = (0.0_f64, 0.0_f64);
        for step in -400_000..=400_000 {
            let x = step as f32 * 5e-5 + 1e-7;
            let wide = f64::from(x);
            let (sigmoid, tanh) = (1.0 / (1.0 + (-wide).exp()), wide.tanh());
            worst_sigmoid = worst_sigmoid.max((f64::from(super::sigmoid(x)) / sigmoid - 1.0).abs());
            worst_tanh = worst_tanh.max((f64::from(super::tanh(x)) / tanh - 1.0).abs());
        }
        let limit = 3.0 / f64::from(1 << 24);
        assert!(worst_sigmoid < limit && worst_tanh < limit, "{worst_sigmoid} {worst_tanh}");
    }

    #[test]
    fn ends() {
        for (x, sigmoid, tanh) in [(0.0_f32, 0.5, 0.0_f32), (200.0, 1.0, 1.0), (f32::INFINITY, 1.0, 1.0)] {
            assert_eq!((super::sigmoid(x), super::tanh(x), super::tanh(-x)), (sigmoid, tanh, -tanh), "{x}");
        }
        assert!(super::sigmoid(-200.0) < 1e-37);
        assert!(super::sigmoid(f32::NAN).is_nan() && super::tanh(f32::NAN).is_nan());
    }
}
