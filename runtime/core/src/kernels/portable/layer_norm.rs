//! Layer normalisation.

use crate::bytes::F32s;
use crate::kernels::lanes::sum;
use crate::kernels::square_root::sqrt;
use crate::plan::step::LayerNorm;

/// See [`LayerNorm`]; `y` holds the sums of input and residual.
#[inline(always)]
pub(crate) fn layer_norm(s: &LayerNorm, y: &mut [f32], scale: F32s<'_>, bias: F32s<'_>) {
    let n = s.n as f32;
    for y in y.chunks_exact_mut((s.n as usize).max(1)) {
        let mean = if s.about_zero == 1 { 0.0 } else { sum(y, |x| x) / n };
        let variance = sum(y, |x| (x - mean) * (x - mean)) / n;
        let inverse = 1.0 / sqrt(variance + s.epsilon);
        let unit = |x: f32| (x - mean) * inverse;
        match (scale.is_empty(), bias.is_empty()) {
            (true, true) => y.iter_mut().for_each(|y| *y = unit(*y)),
            (false, true) => y.iter_mut().zip(scale.iter()).for_each(|(y, scale)| *y = unit(*y) * scale),
            (true, false) => y.iter_mut().zip(bias.iter()).for_each(|(y, bias)| *y = unit(*y) + bias),
            (false, false) => {
                let factors = scale.iter().zip(bias.iter());
                y.iter_mut().zip(factors).for_each(|(y, (scale, bias))| *y = unit(*y) * scale + bias);
            }
        }
    }
}
