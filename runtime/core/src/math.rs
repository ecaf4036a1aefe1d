//! Functions of one number, by plain arithmetic: the same bits on every machine, without `std`.
//!
//! They are evaluated in f64 and rounded once to f32, which leaves an error of at most one unit in
//! the last place of the f32 result. The compiler fills the tables of int8 steps with them, and the
//! float steps call them.

pub mod float;

const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Adding it rounds to a whole number, which is then in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// A polynomial by Horner's scheme, the highest factor first, without a loop.
macro_rules! polynomial {
    ($x:expr; $first:expr $(, $factor:expr)* $(,)?) => {{
        let (x, sum) = ($x, $first);
        $(let sum = sum * x + $factor;)*
        sum
    }};
}

/// Without a branch, so that loops over it are vectorised.
#[inline(always)]
fn exp64(x: f64) -> f64 {
    let inside = if x > 700.0 { 700.0 } else { x };
    let inside = if inside < -700.0 { -700.0 } else { inside };
    let shifted = inside * core::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (inside - n * LN_2_HIGH) - n * LN_2_LOW;
    // 1/k!; |r| ≤ 0.35, so the first term left out is below 1e-14.
    let sum = polynomial!(
        r;
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    );
    let value = sum * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    let value = if x > 700.0 { f64::INFINITY } else { value };
    if x < -700.0 { 0.0 } else { value }
}

fn ln64(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x == f64::INFINITY {
        return x;
    }
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i32) - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > core::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    let mut k = 23.0;
    while k > 0.5 {
        sum = 1.0 / k + sum * square;
        k -= 2.0;
    }
    f64::from(exponent) * LN_2_HIGH + (2.0 * s * sum + f64::from(exponent) * LN_2_LOW)
}

/// Within 3e-14, without a branch.
#[inline(always)]
fn erf64(x: f64) -> f64 {
    let magnitude = x.abs();
    let inside = if magnitude > 6.0 { 6.0 } else { magnitude };
    let power = 1.0 / (1.0 + 0.35 * inside);
    // e^(x²)·(1 - erf(x)), through 15 Chebyshev points of 0 to 6.
    let sum = polynomial!(
        power;
        -0.007_358_293_973_898_665,
        0.085_746_368_996_597_74,
        -0.436_918_519_748_521_25,
        1.273_297_755_720_015_8,
        -2.335_538_172_381_372_4,
        2.850_354_358_234_971,
        -2.507_858_634_223_632_4,
        1.704_912_211_399_574,
        -0.729_171_976_003_599_4,
        0.429_815_494_928_981_13,
        0.077_997_124_115_558_47,
        0.201_833_155_782_744,
        0.195_247_197_604_989_63,
        0.197_648_836_221_429_1,
        -6.906_673_810_258_086e-6,
    );
    let value = 1.0 - exp64(-inside * inside) * sum;
    (if magnitude < 1e-4 { core::f64::consts::FRAC_2_SQRT_PI * magnitude } else { value }).copysign(x)
}

#[inline(always)]
fn tanh64(x: f64) -> f64 {
    let magnitude = x.abs();
    let e = exp64(2.0 * magnitude);
    let value = (e - 1.0) / (e + 1.0);
    let value = if magnitude > 20.0 { 1.0 } else { value };
    (if magnitude < 1e-4 { magnitude } else { value }).copysign(x)
}

#[inline(always)]
fn sigmoid64(x: f64) -> f64 {
    let e = exp64(-x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

fn softplus64(x: f64) -> f64 {
    if x > 30.0 { x } else { ln64(1.0 + exp64(x)) }
}

fn sqrt64(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY {
        return x;
    }
    let mut root = f64::from_bits((x.to_bits() >> 1) + 0x1ff7_a3be_a91d_9b1b);
    for _ in 0..5 {
        root = 0.5 * (root + x / root);
    }
    root
}

/// `e^x`.
#[must_use]
pub fn exp(x: f32) -> f32 {
    exp64(f64::from(x)) as f32
}

/// The natural logarithm.
#[must_use]
pub fn ln(x: f32) -> f32 {
    ln64(f64::from(x)) as f32
}

/// The square root.
#[must_use]
pub fn sqrt(x: f32) -> f32 {
    sqrt64(f64::from(x)) as f32
}

/// `x^y`, as C's `powf` for finite arguments.
#[must_use]
pub fn pow(x: f32, y: f32) -> f32 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if y == 2.0 {
        return x * x;
    }
    if y == 0.5 {
        return sqrt(x);
    }
    let whole = floor(y) == y;
    let odd = whole && y.abs() < 16_777_216.0 && (y as i32) % 2 != 0;
    if x == 0.0 {
        let zero = if y > 0.0 { 0.0 } else { f32::INFINITY };
        return if odd { zero.copysign(x) } else { zero };
    }
    if x < 0.0 && !whole {
        return f32::NAN;
    }
    let magnitude = exp64(f64::from(y) * ln64(f64::from(x.abs()))) as f32;
    if x < 0.0 && odd { -magnitude } else { magnitude }
}

/// The greatest whole number not above `x`.
#[must_use]
pub fn floor(x: f32) -> f32 {
    if x.abs() >= 8_388_608.0 || x.is_nan() {
        return x;
    }
    let truncated = x as i32 as f32;
    if truncated > x { truncated - 1.0 } else { truncated.copysign(x) }
}

/// The smallest whole number not below `x`.
#[must_use]
pub fn ceil(x: f32) -> f32 {
    -floor(-x)
}

/// Half to even, for any magnitude.
#[must_use]
pub fn round(x: f32) -> f32 {
    if x.abs() >= 4_194_304.0 || x.is_nan() {
        return if x.abs() >= 8_388_608.0 || x.is_nan() { x } else { round_large(x) };
    }
    (crate::quantization::round_half_even(x) as f32).copysign(x)
}

fn round_large(x: f32) -> f32 {
    // Between 2²² and 2²³ the spacing is a half: only exact halves are left to decide.
    let below = floor(x);
    if x == below {
        x
    } else if (below as i32) % 2 == 0 {
        below
    } else {
        below + 1.0
    }
}

crate::word_enum! {
    /// A function of one number; `alpha` and `beta` are the ONNX attributes of that name.
    Function {
        /// `x`.
        Identity = 0,
        /// [Clip](https://onnx.ai/onnx/operators/onnx__Clip.html) to `alpha..=beta`; Relu is `0..=∞`.
        Clip = 1,
        /// Logistic sigmoid.
        Sigmoid = 2,
        /// Hyperbolic tangent.
        Tanh = 3,
        /// `clamp(alpha·x + beta, 0, 1)`.
        HardSigmoid = 4,
        /// `x · clamp(x/6 + 1/2, 0, 1)`.
        HardSwish = 5,
        /// `alpha·x` below zero.
        LeakyRelu = 6,
        /// `alpha·(eˣ - 1)` below zero.
        Elu = 7,
        /// `beta·(x > 0 ? x : alpha·(eˣ - 1))`.
        Selu = 8,
        /// `x/2 · (1 + erf(x/√2))`.
        Gelu = 9,
        /// The tanh approximation of Gelu.
        GeluTanh = 10,
        /// `eˣ`.
        Exp = 11,
        /// Natural logarithm.
        Log = 12,
        /// Square root.
        Sqrt = 13,
        /// Error function.
        Erf = 14,
        /// Absolute value.
        Abs = 15,
        /// `-x`.
        Neg = 16,
        /// Round down.
        Floor = 17,
        /// Round up.
        Ceil = 18,
        /// Round half to even.
        Round = 19,
        /// `1/x`.
        Reciprocal = 20,
        /// -1, 0 or 1.
        Sign = 21,
        /// `ln(1 + eˣ)`.
        Softplus = 22,
        /// `x / (1 + |x|)`.
        Softsign = 23,
        /// `x · tanh(ln(1 + eˣ))`.
        Mish = 24,
        /// `x · sigmoid(alpha·x)`.
        Swish = 25,
        /// `x > alpha ? x : 0`.
        ThresholdedRelu = 26,
        /// `max(0, x) + min(0, alpha·(e^(x/alpha) - 1))`.
        Celu = 27,
        /// `x + alpha`.
        AddConstant = 28,
        /// `x - alpha`.
        SubConstant = 29,
        /// `alpha - x`.
        ConstantSub = 30,
        /// `x · alpha`.
        MulConstant = 31,
        /// `x / alpha`.
        DivConstant = 32,
        /// `alpha / x`.
        ConstantDiv = 33,
        /// `x ^ alpha`.
        PowConstant = 34,
        /// `max(x, alpha)`.
        MaxConstant = 35,
        /// `min(x, alpha)`.
        MinConstant = 36,
    }
}

impl Function {
    /// [`Self::apply`] in a function of its own.
    pub(crate) fn apply_any(self, x: f32, alpha: f32, beta: f32) -> f32 {
        self.apply(x, alpha, beta)
    }

    /// The value of the function at `x`.
    #[must_use]
    #[inline(always)]
    pub fn apply(self, x: f32, alpha: f32, beta: f32) -> f32 {
        let wide = f64::from(x);
        match self {
            Self::Identity => x,
            Self::Clip => {
                let x = if x < alpha { alpha } else { x };
                if x > beta { beta } else { x }
            }
            Self::Sigmoid => sigmoid64(wide) as f32,
            Self::Tanh => tanh64(wide) as f32,
            Self::HardSigmoid => clamp(alpha * x + beta, 0.0, 1.0),
            Self::HardSwish => x * clamp(x * (1.0 / 6.0) + 0.5, 0.0, 1.0),
            Self::LeakyRelu => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Elu => {
                if x < 0.0 {
                    (f64::from(alpha) * (exp64(wide) - 1.0)) as f32
                } else {
                    x
                }
            }
            Self::Selu => {
                let inner = if x > 0.0 { wide } else { f64::from(alpha) * (exp64(wide) - 1.0) };
                (f64::from(beta) * inner) as f32
            }
            Self::Gelu => (0.5 * wide * (1.0 + erf64(wide * core::f64::consts::FRAC_1_SQRT_2))) as f32,
            Self::GeluTanh => {
                let inner = 0.797_884_560_802_865_4 * (wide + 0.044_715 * wide * wide * wide);
                (0.5 * wide * (1.0 + tanh64(inner))) as f32
            }
            Self::Exp => exp64(wide) as f32,
            Self::Log => ln64(wide) as f32,
            Self::Sqrt => sqrt64(wide) as f32,
            Self::Erf => erf64(wide) as f32,
            Self::Abs => x.abs(),
            Self::Neg => -x,
            Self::Floor => floor(x),
            Self::Ceil => ceil(x),
            Self::Round => round(x),
            Self::Reciprocal => 1.0 / x,
            Self::Sign => {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            }
            Self::Softplus => softplus64(wide) as f32,
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Mish => (wide * tanh64(softplus64(wide))) as f32,
            Self::Swish => (wide * sigmoid64(f64::from(alpha) * wide)) as f32,
            Self::ThresholdedRelu => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
            Self::Celu => {
                let below = f64::from(alpha) * (exp64(wide / f64::from(alpha)) - 1.0);
                (if x > 0.0 { wide } else { below }) as f32
            }
            Self::AddConstant => x + alpha,
            Self::SubConstant => x - alpha,
            Self::ConstantSub => alpha - x,
            Self::MulConstant => x * alpha,
            Self::DivConstant => x / alpha,
            Self::ConstantDiv => alpha / x,
            Self::PowConstant => pow(x, alpha),
            Self::MaxConstant => maximum(x, alpha),
            Self::MinConstant => minimum(x, alpha),
        }
    }
}

fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The larger one; NaN when either is, as ONNX's Max.
#[must_use]
#[inline]
pub fn maximum(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller one; NaN when either is, as ONNX's Min.
#[must_use]
#[inline]
pub fn minimum(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f32, expected: f64) -> bool {
        (f64::from(found) - expected).abs() <= 1.2e-7 * expected.abs().max(1e-30)
    }

    #[test]
    fn known_values() {
        // Printed by Python's math module (C's double-precision libm).
        let cases = [
            ("exp", exp(1.0), core::f64::consts::E),
            ("exp", exp(-10.5), 2.753_644_934_974_716e-5),
            ("exp", exp(80.0), 5.540_622_384_393_51e34),
            ("ln", ln(10.0), core::f64::consts::LN_10),
            ("ln", ln(1e-6), -13.815_510_580_264_17),
            ("sqrt", sqrt(2.0), core::f64::consts::SQRT_2),
            ("erf", Function::Erf.apply(0.5, 0.0, 0.0), 0.520_499_877_813_046_5),
            ("erf", Function::Erf.apply(-2.0, 0.0, 0.0), -0.995_322_265_018_952_7),
            ("erf", Function::Erf.apply(1e-5, 0.0, 0.0), 1.128_379_167_057_9e-5),
            ("erf", Function::Erf.apply(1e-3, 0.0, 0.0), 1.128_378_790_969_236_5e-3),
            ("erf", Function::Erf.apply(1.0, 0.0, 0.0), 0.842_700_792_949_714_9),
            ("erf", Function::Erf.apply(3.5, 0.0, 0.0), 0.999_999_256_901_627_6),
            ("erf", Function::Erf.apply(-6.5, 0.0, 0.0), -1.0),
            ("tanh", Function::Tanh.apply(0.25, 0.0, 0.0), 0.244_918_662_403_709_13),
            ("sigmoid", Function::Sigmoid.apply(-3.0, 0.0, 0.0), 0.047_425_873_177_566_78),
            ("softplus", Function::Softplus.apply(0.0, 0.0, 0.0), core::f64::consts::LN_2),
            ("pow", pow(2.0, 10.0), 1024.0),
            ("pow", pow(-2.0, 3.0), -8.0),
            ("pow", pow(3.0, -1.5), 0.192_450_089_729_875_26),
        ];
        for (name, found, expected) in cases {
            assert!(near(found, expected), "{name}: {found} instead of {expected}");
        }
    }

    #[test]
    fn rounding_functions() {
        for (x, down, up, nearest) in [
            (2.5, 2.0, 3.0, 2.0),
            (-2.5, -3.0, -2.0, -2.0),
            (3.5, 3.0, 4.0, 4.0),
            (1e9, 1e9, 1e9, 1e9),
            (0.0, 0.0, 0.0, 0.0),
        ] {
            assert_eq!((floor(x), ceil(x), round(x)), (down, up, nearest), "{x}");
        }
        assert_eq!(round(4_194_305.5), 4_194_306.0);
    }

    #[test]
    fn not_a_number_stays_so() {
        for function in [Function::Exp, Function::Tanh, Function::Sigmoid, Function::Erf, Function::Clip] {
            assert!(function.apply(f32::NAN, 0.0, 6.0).is_nan(), "{function:?}");
        }
    }
}
