//! Elementwise functions whose gradient is chosen: cutting off, and rounding to levels.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::window::dense;
use crate::params::Params;

/// `x` between two bounds; the gradient is 1 between them and 0 beyond and on them, so that of a unit that rests on
/// its bound nothing is learned.
pub(super) fn clamp(x: &Tensor, low: f32, high: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Clamp { low, high })
}

/// `x` rounded to the levels of `params` and back to real numbers, as QuantizeLinear and DequantizeLinear do.
///
/// The gradient is passed through within the range (the straight-through estimator, Bengio et al.,
/// <https://arxiv.org/abs/1308.3432>) and 0 beyond it.
pub(super) fn round_to_levels(x: &Tensor, params: Params) -> Result<Tensor> {
    x.contiguous()?.apply_op1(RoundToLevels(params))
}

struct Clamp {
    low: f32,
    high: f32,
}

impl CustomOp1 for Clamp {
    fn name(&self) -> &'static str {
        "clamp"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = dense(storage, layout)?.iter().map(|v| v.max(self.low).min(self.high)).collect();
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        // The next number inside: on the bound itself there is no gradient.
        let inside = Inside { low: self.low.next_up(), high: self.high.next_down() };
        Ok(Some(gradient.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &inside)?))
    }
}

struct RoundToLevels(Params);

impl CustomOp1 for RoundToLevels {
    fn name(&self) -> &'static str {
        "round to levels"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Params { scale, zero_point, activations } = self.0;
        let (lowest, highest) = activations.levels();
        let (lowest, highest) = ((lowest - zero_point) as f32, (highest - zero_point) as f32);
        let nearest = |v: &f32| (v / scale).round_ties_even().max(lowest).min(highest) * scale;
        let y = dense(storage, layout)?.iter().map(nearest).collect();
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (low, high) = self.0.range();
        Ok(Some(gradient.contiguous()?.apply_op2_no_bwd(&x.contiguous()?, &Inside { low, high })?))
    }
}

/// The first operand where the second lies between the bounds, else 0.
struct Inside {
    low: f32,
    high: f32,
}

impl CustomOp2 for Inside {
    fn name(&self) -> &'static str {
        "inside"
    }

    fn cpu_fwd(
        &self,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let pairs = dense(gradient, gradient_layout)?.iter().zip(dense(x, x_layout)?);
        let passed = |(g, x): (&f32, &f32)| if (self.low..=self.high).contains(x) { *g } else { 0.0 };
        Ok((CpuStorage::F32(pairs.map(passed).collect()), gradient_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Activations;
    use candle_core::{Device, Var};

    #[test]
    fn rounding_is_the_contract_and_its_gradient_passes_inside() {
        let params = Params { scale: 2.0, zero_point: 10, activations: Activations::Uint8 };
        let x = [1.0, 3.0, 5.0, 7.0, -1.0, -3.0, 1e9, -1e9];
        let var = Var::new(&x, &Device::Cpu).unwrap();
        let y = round_to_levels(&var, params).unwrap();
        let expected: Vec<f32> = x.iter().map(|&v| (params.level(v) - 10) as f32 * 2.0).collect();
        assert_eq!(y.to_vec1::<f32>().unwrap(), expected);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&var).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(gradient, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn no_gradient_on_a_bound() {
        let var = Var::new(&[-1f32, 0.0, 0.5, 6.0, 7.0], &Device::Cpu).unwrap();
        let y = clamp(&var, 0.0, 6.0).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), [0.0, 0.0, 0.5, 6.0, 6.0]);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(gradients.get(&var).unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
