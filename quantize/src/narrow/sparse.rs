//! Weights of which the least important are 0.

use super::{Grid, Layout, Narrow, weight_of};
use crate::params::Weights;

/// The share of weights that become 0.
const ZEROS: f64 = 0.5;

/// See [`Narrow::of`].
pub(super) fn narrow(weights: &[f32], layout: Layout<'_>, least: &[f32], importance: &[f32]) -> Narrow {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    let loss = |index: usize| weight_of(importance, index) * f64::from(weights[index]).powi(2);
    order.sort_by(|&a, &b| loss(a).total_cmp(&loss(b)).then(a.cmp(&b)));
    let mut kept = vec![true; weights.len()];
    let mut rest = weights.to_vec();
    for index in order.into_iter().take((weights.len() as f64 * ZEROS) as usize) {
        (kept[index], rest[index]) = (false, 0.0);
    }
    let Weights { levels, scales } = Weights::of(&rest, layout.shape, layout.channel_axis, least);
    Narrow { levels, scales, grid: Grid::Kept(kept), factor_of: Vec::new() }
}
