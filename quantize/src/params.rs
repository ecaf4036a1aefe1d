//! Scale and zero point: how a range of real numbers becomes 256 levels, or 65,536.

use cygnet_onnx::model::{DType, Tensor};

/// The integer type of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// 0 … 255, what other runtimes run fastest on x86-64
    #[default]
    Uint8,
    /// -128 … 127
    Int8,
    /// -32768 … 32767 with 0 at 0, for the accuracy of float
    Int16,
}

impl Activations {
    /// Lowest and highest level.
    pub fn levels(self) -> (i32, i32) {
        match self {
            Activations::Uint8 => (0, 255),
            Activations::Int8 => (-128, 127),
            Activations::Int16 => (-32768, 32767),
        }
    }

    /// A tensor of levels of this type; each level is clamped to the type's range.
    pub fn tensor(self, shape: Vec<usize>, levels: &[i32]) -> Tensor {
        let (lowest, highest) = self.levels();
        let clamped = levels.iter().map(|l| *l.clamp(&lowest, &highest));
        match self {
            Activations::Uint8 => Tensor::from_u8(shape, &clamped.map(|l| l as u8).collect::<Vec<_>>()),
            Activations::Int8 => Tensor::from_i8(shape, &clamped.map(|l| l as i8).collect::<Vec<_>>()),
            Activations::Int16 => {
                let data = clamped.flat_map(|l| (l as i16).to_le_bytes()).collect();
                Tensor { dtype: DType::I16, shape, data }
            }
        }
    }
}

/// `real = scale * (level - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// The real width of one level.
    pub scale: f32,
    /// The level of 0.
    pub zero_point: i32,
    /// The integer type.
    pub activations: Activations,
}

impl Params {
    /// The parameters that spread all levels over `low … high`, widened to hold 0, on which a level falls exactly; those of
    /// int16 reach as far to both sides.
    pub fn of_range(low: f32, high: f32, activations: Activations) -> Params {
        let (low, high) = (f64::from(low).min(0.0), f64::from(high).max(0.0));
        let (lowest, highest) = activations.levels();
        if activations == Activations::Int16 {
            let scale = (high.max(-low) / f64::from(highest)) as f32;
            return Params { scale: if scale.is_normal() { scale } else { 1.0 }, zero_point: 0, activations };
        }
        let scale = ((high - low) / 255.0) as f32;
        if !scale.is_normal() {
            return Params { scale: 1.0, zero_point: lowest, activations };
        }
        let zero_point = f64::from(lowest) - low / f64::from(scale);
        let zero_point = (zero_point.round_ties_even() as i32).clamp(lowest, highest);
        Params { scale, zero_point, activations }
    }

    /// The fixed parameters of values between 0 and 1: scale 1/256, 0 at the lowest level; of int16 1/32768, 0 at 0.
    pub fn unit(activations: Activations) -> Params {
        if activations == Activations::Int16 {
            return Params { scale: 1.0 / 32768.0, zero_point: 0, activations };
        }
        Params { scale: 1.0 / 256.0, zero_point: activations.levels().0, activations }
    }

    /// The level of `value`: divided, rounded half to even, clamped, as QuantizeLinear says.
    pub fn level(&self, value: f32) -> i32 {
        let (lowest, highest) = self.activations.levels();
        let level = f64::from((value / self.scale).round_ties_even()) + f64::from(self.zero_point);
        (level as i32).clamp(lowest, highest)
    }

    /// The lowest and highest real number that a level stands for.
    pub fn range(&self) -> (f32, f32) {
        let (lowest, highest) = self.activations.levels();
        let real = |level: i32| (level - self.zero_point) as f32 * self.scale;
        (real(lowest), real(highest))
    }
}

/// Weights as int8 levels, one scale per output channel, zero at 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Levels between -127 and 127 in the order of the weights.
    pub levels: Vec<i8>,
    /// One scale per channel.
    pub scales: Vec<f32>,
}

impl Weights {
    /// Quantizes `values` of `shape` with one scale per index of `axis`.
    ///
    /// `least` gives the smallest allowed scale per channel; see [`least_scale`].
    pub fn of(values: &[f32], shape: &[usize], axis: usize, least: &[f32]) -> Weights {
        let channels = shape.get(axis).copied().unwrap_or(1);
        let inner: usize = shape.iter().skip(axis + 1).product();
        let mut largest = vec![0f32; channels];
        for (run, values) in values.chunks(inner.max(1)).enumerate() {
            let largest = &mut largest[run % channels.max(1)];
            *largest = values.iter().fold(*largest, |largest, value| largest.max(value.abs()));
        }
        let least = least.iter().copied().chain(std::iter::repeat(0.0));
        let scales: Vec<f32> = largest
            .iter()
            .zip(least)
            .map(|(largest, least)| Some((largest / 127.0).max(least)).filter(|s| s.is_normal()).unwrap_or(1.0))
            .collect();
        let mut levels = Vec::with_capacity(values.len());
        for (run, values) in values.chunks(inner.max(1)).enumerate() {
            let scale = scales[run % channels.max(1)];
            levels.extend(values.iter().map(|value| weight_level(value / scale)));
        }
        Weights { levels, scales }
    }
}

/// The level next to `level`, of two the even one, between -127 and 127.
#[inline]
pub fn weight_level(level: f32) -> i8 {
    /// Adding it leaves no digits behind the point.
    const ROUND: f32 = 12_582_912.0;
    ((level.clamp(-127.0, 127.0) + ROUND) - ROUND) as i8
}

/// The least weight scale with which `bias` stays below 2^28 levels of `input.scale * weight_scale`; 2^30 where the input
/// is int16, whose sums may be of 64 bits while the bias is stored in 32.
///
/// Channels whose weights are (nearly) nothing would otherwise have a bias beyond int32.
pub fn least_scale(bias: f32, input: Params) -> f32 {
    let most = if input.activations == Activations::Int16 { 1u32 << 30 } else { 1 << 28 };
    bias.abs() / (input.scale * most as f32)
}

/// A bias in levels of `scale`, rounded half to even.
pub fn bias_level(bias: f32, scale: f32) -> i32 {
    (f64::from(bias) / f64::from(scale)).round_ties_even() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_levels() {
        // (low, high) → scale, zero point for uint8 and int8, by hand: scale = (high - low) / 255.
        let cases = [
            (0.0, 255.0, 1.0, 0, -128),
            (-127.5, 127.5, 1.0, 128, 0), // zero point 127.5, half to even
            (-1.0, 254.0, 1.0, 1, -127),
            (0.0, 6.0, 6.0 / 255.0, 0, -128),
            (-6.0, -3.0, 6.0 / 255.0, 255, 127), // widened to hold 0
            (2.0, 5.1, 0.02, 0, -128),
        ];
        for (low, high, scale, unsigned, signed) in cases {
            let params = Params::of_range(low, high, Activations::Uint8);
            assert!((params.scale - scale as f32).abs() <= 1e-9, "{low} … {high}: {params:?}");
            assert_eq!(params.zero_point, unsigned, "{low} … {high}");
            assert_eq!(Params::of_range(low, high, Activations::Int8).zero_point, signed, "{low} … {high}");
        }
        assert_eq!(Params::of_range(0.0, 0.0, Activations::Uint8).scale, 1.0);
        // The farther side decides: 65.534 / 32767.
        for (low, high) in [(-1.0, 65.534), (-65.534, 3.0)] {
            let params = Params::of_range(low, high, Activations::Int16);
            assert!((params.scale - 0.002).abs() < 1e-9 && params.zero_point == 0, "{low} … {high}: {params:?}");
        }
        assert_eq!(Params::of_range(0.0, 0.0, Activations::Int16).scale, 1.0);
    }

    #[test]
    fn levels_round_half_to_even_and_saturate() {
        let params = Params { scale: 2.0, zero_point: 10, activations: Activations::Uint8 };
        for (value, level) in [(1.0, 10), (3.0, 12), (5.0, 12), (7.0, 14), (-1.0, 10), (-3.0, 8), (1e9, 255), (-1e9, 0)]
        {
            assert_eq!(params.level(value), level, "{value}");
        }
    }

    #[test]
    fn weights_have_one_scale_per_channel() {
        // Channel 0: largest 1.27 → 0.01; channel 1: nothing → 1; channel 2: held up to 0.5 by its bias.
        let weights = Weights::of(&[1.27, -0.015, 0.0, 0.0, 0.25, 1.25], &[3, 2], 0, &[0.0, 0.0, 0.5]);
        assert_eq!(weights.scales, [1.27 / 127.0, 1.0, 0.5]);
        assert_eq!(weights.levels[2..], [0, 0, 0, 2]); // 0.5 and 2.5, half to even
        assert_eq!(weights.levels[0], 127);
        let last_axis = Weights::of(&[1.0, 10.0, -2.0, 5.0], &[2, 2], 1, &[]);
        assert_eq!(last_axis.levels, [64, 127, -127, 64]); // 63.5 → 64, 63.5 → 64
    }

    #[test]
    fn no_bias_leaves_the_accumulator() {
        for (activations, most) in [(Activations::Uint8, 1 << 28), (Activations::Int16, 1 << 30)] {
            let scale = least_scale(-3.0, Params { scale: 0.5, zero_point: 0, activations });
            assert!(bias_level(-3.0, 0.5 * scale).abs() <= most && bias_level(-3.0, 0.375 * scale).abs() > most);
        }
        assert_eq!(bias_level(0.75, 0.5), 2); // 1.5 → 2
        assert_eq!(bias_level(1.25, 0.5), 2); // 2.5 → 2
    }
}
