//! Rounds weights so that their layer's output, not each weight, is nearest to the float model's.
//!
//! For one output channel with float weights `w` and the rows `x` that the layer reads on the device, the squared error
//! of the weights `v` is `Σ (w·x − v·x + bias)²`, a quadratic function of `v` that the layer's [`Moments`] tell. It is
//! minimised over levels by coordinate descent, one weight after the other to the level that is best while the others
//! stay, until nothing moves (Behdin et al., QuantEase, arXiv 2309.01885; the objective is AdaRound's, Nagel et al.,
//! arXiv 2004.10568). What the layer reads in the float model is no part of it: fitted to that, weights shrink by the
//! noise of their inputs. The bias takes what is left of the mean error, which is bias correction (Nagel et al., arXiv
//! 1906.04721).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::layers::Layer;
use crate::moments::{Group, Moments};
use crate::narrow::Narrow;

/// Added to the diagonal of the moments, as a part of its mean: holds weights that hardly matter where they were.
const DAMPING: f64 = 0.01;

/// Rows for each weight of an output at which the sums off the diagonal count half.
const SHRINKAGE: f64 = 2.0;

/// Integer weights of one layer, and its bias.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// Levels in the order in which the model stores the weights, scales, and what levels there may be.
    pub weights: Narrow,
    /// One real number per output channel; `None` where the layer has no bias and needs none.
    pub bias: Option<Vec<f32>>,
}

/// What a layer has in float.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatLayer {
    /// Weights, `[outputs][depth]`.
    pub weights: Vec<f32>,
    /// Bias, one per output.
    pub bias: Option<Vec<f32>>,
    /// Whether the layer can take a bias.
    pub takes_bias: bool,
    /// Whether the bias makes up for the mean error of what the layer reads too, and not of its weights alone. Right
    /// where the layers before have their final weights.
    pub corrects_input: bool,
}

/// Rounds the weights of `layer` to the levels that `narrow` allows, in at most `sweeps` rounds over all weights.
pub fn round(layer: &Layer, float: &FloatLayer, mut narrow: Narrow, moments: &Moments, sweeps: usize) -> LayerWeights {
    let nearest =
        |output: usize, index: usize, value: f32| narrow.nearest(layer.place(output * layer.depth + index), value);
    let per_group = layer.outputs / layer.groups;
    let size = per_group * layer.depth;
    let groups: Vec<usize> = (0..layer.groups).collect();
    let of = |&group: &usize| {
        let normal = Normal::of(&moments.groups[group], moments.rows, float);
        let first = group * per_group;
        let weights = &float.weights[group * size..][..size];
        normal.round(weights, layer.depth, &narrow.scales[first..][..per_group], sweeps, &|output, index, value| {
            nearest(first + output, index, value)
        })
    };
    let parts: Vec<(Vec<i8>, Vec<f64>)> = groups.par_iter().map(of).collect();
    let levels: Vec<i8> = parts.iter().flat_map(|(levels, _)| levels.iter().copied()).collect();
    let shifts = parts.iter().flat_map(|(_, shifts)| shifts.iter());
    let bias = float.takes_bias.then(|| {
        let old = |output: usize| float.bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
        shifts.enumerate().map(|(output, shift)| (old(output) + shift) as f32).collect()
    });
    narrow.levels = layer.stored(&levels);
    LayerWeights { weights: narrow, bias }
}

/// The quadratic form of one group: `error(v) = (v − w) near (v − w)ᵀ`, about the means where a bias takes those.
struct Normal {
    near: Array2<f32>,
    near_mean: Vec<f64>,
    real_mean: Vec<f64>,
}

impl Normal {
    fn of(group: &Group, rows: usize, float: &FloatLayer) -> Normal {
        let rows = rows.max(1) as f64;
        let mean = |sums: &[f64]| -> Vec<f64> { sums.iter().map(|sum| sum / rows).collect() };
        let near_mean = mean(&group.near_sum);
        let real_mean = if float.corrects_input { mean(&group.real_sum) } else { near_mean.clone() };
        let mut near = group.near.clone();
        for ((row, column), value) in near.indexed_iter_mut() {
            let mean = if float.takes_bias { near_mean[row] * near_mean[column] } else { 0.0 };
            *value = (f64::from(*value) / rows - mean) as f32;
        }
        // With few rows the sums off the diagonal are more chance than fact: they shrink towards none (Ledoit and Wolf, 2004).
        let depth = near.nrows() as f64;
        let keep = (rows / (rows + SHRINKAGE * depth)) as f32;
        near.indexed_iter_mut().filter(|((row, column), _)| row != column).for_each(|(_, value)| *value *= keep);
        let diagonal = near.diag().iter().map(|v| f64::from(*v)).sum::<f64>() / near.nrows().max(1) as f64;
        let damping = (DAMPING * diagonal).max(f64::from(f32::MIN_POSITIVE)) as f32;
        near.diag_mut().iter_mut().for_each(|v| *v += damping);
        Normal { near, near_mean, real_mean }
    }

    /// Levels `[outputs][depth]` and what to add to each bias.
    fn round(
        &self,
        weights: &[f32],
        depth: usize,
        scales: &[f32],
        sweeps: usize,
        nearest: &(dyn Fn(usize, usize, f32) -> i8 + Sync),
    ) -> (Vec<i8>, Vec<f64>) {
        let start = |(place, value): (usize, &f32)| {
            let (output, index) = (place / depth, place % depth);
            nearest(output, index, value / scales[output])
        };
        let mut levels: Vec<i8> = weights.iter().enumerate().map(start).collect();
        let real = levels.iter().enumerate().map(|(place, level)| f32::from(*level) * scales[place / depth]);
        let error: Vec<f32> = real.zip(weights).map(|(real, weight)| real - weight).collect();
        let Ok(error) = ArrayView2::from_shape((scales.len(), depth), &error) else { return Default::default() };
        let mut slopes = error.dot(&self.near);
        let rows = levels.par_chunks_mut(depth).zip(slopes.as_slice_mut().unwrap_or_default().par_chunks_mut(depth));
        let descend = |(output, (levels, slopes)): (usize, (&mut [i8], &mut [f32]))| {
            self.descend(levels, slopes, scales[output], sweeps, &|index, value| nearest(output, index, value));
            let float = weights[output * depth..].iter().zip(&self.real_mean);
            let int8 = levels.iter().zip(&self.near_mean);
            float.map(|(w, mean)| f64::from(*w) * mean).sum::<f64>()
                - int8.map(|(l, mean)| f64::from(f32::from(*l) * scales[output]) * mean).sum::<f64>()
        };
        let shifts = rows.enumerate().map(descend).collect();
        (levels, shifts)
    }

    /// Coordinate descent on the levels of one output; `slopes` is half of the error's gradient.
    fn descend(
        &self,
        levels: &mut [i8],
        slopes: &mut [f32],
        scale: f32,
        sweeps: usize,
        nearest: &dyn Fn(usize, f32) -> i8,
    ) {
        for _ in 0..sweeps {
            let mut moved = false;
            for (index, row) in self.near.rows().into_iter().enumerate() {
                let level = levels[index];
                let best = nearest(index, f32::from(level) - slopes[index] / (row[index] * scale));

                if best != level {
                    let step = scale * (f32::from(best) - f32::from(level));
                    slopes.iter_mut().zip(row).for_each(|(slope, curve)| *slope += step * curve);
                    levels[index] = best;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::narrow::Layout;
    use crate::recipe::WeightForm;

    /// A layer of one output whose weights have the scale 1 (the largest is 127), and moments of 10,000 rows.
    fn rounded(weights: [f32; 3], near: [[f32; 3]; 3], mean: [f64; 3], takes_bias: bool) -> LayerWeights {
        let layer = Layer::dense(1, 3);
        let near = Array2::from_shape_fn((3, 3), |(row, column)| 10_000.0 * near[row][column]);
        let sum: Vec<f64> = mean.iter().map(|mean| 10_000.0 * mean).collect();
        let group = Group { near, near_sum: sum.clone(), real_sum: sum };
        let moments = Moments { rows: 10_000, groups: vec![group] };
        let narrow = Narrow::of(WeightForm::Int8, &weights, Layout::of(&[1, 3], 0), &[], &[]);
        let float = FloatLayer { weights: weights.to_vec(), bias: None, takes_bias, corrects_input: false };
        round(&layer, &float, narrow, &moments, 8)
    }

    #[test]
    fn inputs_that_go_together_share_their_error() {
        // The last two inputs are the same number: 0.4 + 0.4 is nearer to 1 than to 0 + 0.
        let together = [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]];
        let LayerWeights { weights, bias } = rounded([127.0, 0.4, 0.4], together, [0.0; 3], false);
        assert_eq!((weights.levels[0], weights.levels[1] + weights.levels[2]), (127, 1));
        assert_eq!(bias, None);
        // Inputs that have nothing to do with each other: each to its nearest level.
        let apart = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(rounded([127.0, 0.4, 0.4], apart, [0.0; 3], false).weights.levels, [127, 0, 0]);
    }

    #[test]
    fn the_bias_takes_the_mean_error() {
        // Means 2 and 3, variances 1: what is lost is 0.4 · 2 + (-0.3) · 3 = -0.1.
        let near = [[1.0, 0.0, 0.0], [0.0, 5.0, 6.0], [0.0, 6.0, 10.0]];
        let LayerWeights { weights, bias } = rounded([127.0, 0.4, -0.3], near, [0.0, 2.0, 3.0], true);
        assert_eq!(weights.levels, [127, 0, 0]);
        assert!((bias.unwrap()[0] + 0.1).abs() < 1e-5);
    }
}
