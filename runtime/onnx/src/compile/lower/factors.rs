//! Scales per block of weights as one scale per output channel times small integers.

use super::Constant;
use super::value::ConstantQuantization;
use crate::model::{DType, Tensor};

/// Weights with one scale per output channel, made of weights with one scale per block.
#[derive(Debug)]
pub(super) struct Joined {
    /// int8 levels, factors inside.
    pub constant: Constant,
    /// The factor inside each level.
    pub factors: Vec<u8>,
}

/// The greatest number of which all `scales` are exact multiples by 1 to 127, and those factors.
fn unit(scales: &[f32]) -> Option<(f32, Vec<u8>)> {
    let least = scales.iter().copied().fold(f32::INFINITY, f32::min);
    if !(least.is_normal() && least > 0.0) {
        return None;
    }
    (1..=127).find_map(|divisor| {
        let unit = least / divisor as f32;
        let factor = |&scale: &f32| {
            let factor = (scale / unit).round();
            // In f64 the product is exact.
            let exact = f64::from(factor) * f64::from(unit) == f64::from(scale);
            ((1.0..=127.0).contains(&factor) && exact).then_some(factor as u8)
        };
        Some((unit, scales.iter().map(factor).collect::<Option<Vec<u8>>>()?))
    })
}

impl Constant {
    /// Weights stored in blocks as int8 levels with one scale per index of `axis`; `None` where the scales of the blocks
    /// are no small multiples of one, the levels no int8, or zero points not 0.
    pub(super) fn joined(&self, axis: usize) -> Option<Joined> {
        let blocks = self.quantization.as_ref().filter(|q| q.block > 0 && q.axis != axis)?;
        if self.tensor.dtype != DType::I8 || blocks.zero_points.iter().any(|&point| point != 0) {
            return None;
        }
        let channels = self.tensor.shape[axis];
        let inner: usize = self.tensor.shape[axis + 1..].iter().product();
        let elements = self.tensor.len();
        let mut shape = self.tensor.shape.clone();
        shape[blocks.axis] = shape[blocks.axis].div_ceil(blocks.block);
        let scale_inner: usize = shape[axis + 1..].iter().product();
        let mut of_channel = vec![Vec::new(); channels];
        for (index, &scale) in blocks.scales.iter().enumerate() {
            of_channel[index / scale_inner % channels].push(scale);
        }
        let units = of_channel.iter().map(|scales| unit(scales).map(|(unit, _)| unit)).collect::<Option<Vec<f32>>>()?;
        let (mut levels, mut factors) = (Vec::with_capacity(elements), Vec::with_capacity(elements));
        for (index, &stored) in self.tensor.data.iter().enumerate() {
            let factor = (blocks.scales[self.channel(blocks, index)] / units[index / inner % channels]).round() as i32;
            levels.push(i8::try_from(i32::from(stored.cast_signed()) * factor).ok()?);
            factors.push(factor as u8);
        }
        let quantization = ConstantQuantization { zero_points: vec![0; channels], scales: units, axis, block: 0 };
        let tensor = Tensor::from_i8(self.tensor.shape.clone(), &levels);
        Some(Joined { constant: Constant { tensor, quantization: Some(quantization) }, factors })
    }
}
