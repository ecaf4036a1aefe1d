//! Weights on int8 levels in a form that takes fewer bits: 4 bits with a factor for each block, a table of 16, many zeros.
//!
//! Every form stands for int8 levels with one scale per output channel, so what computes with them stays what it is; it
//! only allows fewer levels. [`Narrow::of`] draws scales and levels by least squared error; whoever chooses levels
//! better (rounding by the layer's output) picks among [`Narrow::allowed`] and keeps scales and grid:
//!
//! ```
//! use quantize::narrow::{Layout, Narrow};
//! use quantize::recipe::WeightForm;
//!
//! let layout = Layout { shape: &[2, 32], channel_axis: 0, input_axis: 1 };
//! let weights: Vec<f32> = (0..64).map(|index| (index as f32 * 0.7).sin()).collect();
//! let mut narrow = Narrow::of(WeightForm::Int4, &weights, layout, &[], &[]);
//! let index = 5;
//! let better = narrow.allowed(index)[0];
//! narrow.levels[index] = better; // real value: better × narrow.scales[channel of 5]
//! ```

mod clustered;
mod int4;
mod sparse;

use std::collections::BTreeMap;

use cygnet_onnx::model::{Model, Node, Tensor};

use crate::graph::constant;
use crate::operators::Role;
use crate::params::{Weights, weight_level};
use crate::recipe::{Recipe, WeightForm};

/// Weights below which a layer of a model that is narrow as a whole stays int8: it would save next to nothing.
const LEAST_WEIGHTS: usize = 1024;

/// The form of the weights of every layer by [`Node::label`]. What the recipe names is obeyed; its usual form spares the
/// first layer, depthwise layers and small ones: they have few weights, on each of which much depends.
pub fn forms(model: &Model, roles: &[Role], recipe: &Recipe) -> BTreeMap<String, WeightForm> {
    let layers = model.nodes.iter().zip(roles).filter(|(_, role)| matches!(role, Role::Weighted { .. }));
    let form = |(number, (node, _)): (usize, (&Node, &Role))| {
        let spared = number == 0 || is_spared(model, node);
        let named = recipe.layers.contains_key(&node.label());
        let form = if spared && !named { WeightForm::Int8 } else { recipe.form(node).weights };
        (node.label(), form)
    };
    layers.enumerate().map(form).collect()
}

/// Whether a layer's weights stay int8 unless it is named: they are few.
pub(crate) fn is_spared(model: &Model, node: &Node) -> bool {
    is_depthwise(model, node) || constant(model, node, 1).is_none_or(is_small)
}

fn is_depthwise(model: &Model, node: &Node) -> bool {
    let one_input = constant(model, node, 1).is_some_and(|weights| weights.shape.get(1) == Some(&1));
    node.is("Conv") && one_input && node.int("group") > Some(1)
}

fn is_small(weights: &Tensor) -> bool {
    weights.len() < LEAST_WEIGHTS
}

/// How weights lie in their tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout<'a> {
    /// Extents of the tensor, row-major.
    pub shape: &'a [usize],
    /// The axis of output channels: one scale for each index.
    pub channel_axis: usize,
    /// The axis along which neighbours may share a factor: input channels.
    pub input_axis: usize,
}

impl<'a> Layout<'a> {
    /// The layout of a layer's weights whose output channels are axis 0 or 1; the input channels are the other.
    pub fn of(shape: &'a [usize], channel_axis: usize) -> Layout<'a> {
        Layout { shape, channel_axis, input_axis: 1 - channel_axis.min(1) }
    }

    /// Number of output channels.
    pub fn channels(&self) -> usize {
        self.shape.get(self.channel_axis).copied().unwrap_or(1)
    }

    /// Elements from one index of `axis` to the next.
    fn inner(&self, axis: usize) -> usize {
        self.shape.iter().skip(axis + 1).product::<usize>().max(1)
    }

    /// The output channel of weight `index`.
    pub fn channel(&self, index: usize) -> usize {
        index / self.inner(self.channel_axis) % self.channels().max(1)
    }
}

/// Which levels the weights may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Grid {
    /// All from -127 to 127.
    Full,
    /// -7 to 7 times the factor of the weight's block.
    Blocks {
        /// Weights of a block along [`Layout::input_axis`]; the last one of an axis may be smaller.
        block: usize,
        /// 1 to 18, row-major in the shape of the weights with as many indices along the input axis as there are blocks;
        /// those of a channel have no common divisor. Empty where all are 1.
        factors: Vec<u8>,
    },
    /// One of a table, ascending, 0 among them; fewer than 16 where the weights have fewer.
    Table(Vec<i8>),
    /// All from -127 to 127 where true, else 0.
    Kept(Vec<bool>),
}

/// Weights of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrow {
    /// int8 levels in the order of the weights, factors inside: a weight is its level times its channel's scale.
    pub levels: Vec<i8>,
    /// One per output channel.
    pub scales: Vec<f32>,
    /// Which levels there may be.
    pub grid: Grid,
    /// Factor of each weight's block; empty where all are 1.
    factor_of: Vec<u8>,
}

/// -127 to 127.
const FULL: [i8; 255] = multiples(1);

/// The multiples of `factor` around 0, ascending.
const fn multiples<const N: usize>(factor: i8) -> [i8; N] {
    let mut levels = [0; N];
    let mut index = 0;
    while index < N {
        levels[index] = (index as i16 - (N as i16 / 2)) as i8 * factor;
        index += 1;
    }
    levels
}

/// The multiples of every factor from 0 on.
const MULTIPLES: [[i8; 15]; int4::FACTORS + 1] = {
    let mut all = [[0; 15]; int4::FACTORS + 1];
    let mut factor = 0;
    while factor <= int4::FACTORS {
        all[factor] = multiples(factor as i8);
        factor += 1;
    }
    all
};

impl Narrow {
    /// Draws scales and levels for `weights`, the squared errors weighted by `importance`: one number per weight, for
    /// instance the mean square of the input that it meets; or none at all. `least` has the smallest allowed scale of
    /// each channel, or nothing; see [`crate::params::least_scale`].
    pub fn of(form: WeightForm, weights: &[f32], layout: Layout<'_>, least: &[f32], importance: &[f32]) -> Narrow {
        match form {
            WeightForm::Int8 => {
                let Weights { levels, scales } = Weights::of(weights, layout.shape, layout.channel_axis, least);
                Narrow { levels, scales, grid: Grid::Full, factor_of: Vec::new() }
            }
            WeightForm::Int4 => int4::narrow(weights, layout, least, importance),
            WeightForm::Clustered => clustered::narrow(weights, layout, least, importance),
            WeightForm::Sparse => sparse::narrow(weights, layout, least, importance),
        }
    }

    /// The levels that weight `index` may have, ascending; 0 is one of them.
    pub fn allowed(&self, index: usize) -> &[i8] {
        match &self.grid {
            Grid::Full => &FULL,
            Grid::Blocks { .. } => &MULTIPLES[usize::from(self.factor_of.get(index).copied().unwrap_or(1))],
            Grid::Table(table) => table,
            Grid::Kept(kept) => match kept.get(index) {
                Some(false) => &[0],
                _ => &FULL,
            },
        }
    }

    /// The levels without their blocks' factors.
    pub(crate) fn steps(&self) -> Vec<i8> {
        let factor = |index: usize| self.factor_of.get(index).map_or(1, |&factor: &u8| factor.cast_signed());
        self.levels.iter().enumerate().map(|(index, &level)| level / factor(index)).collect()
    }

    /// The scale of every block, each exactly its channel's times its factor, and their shape.
    pub(crate) fn block_scales(&self, layout: Layout<'_>, block: usize, factors: &[u8]) -> (Vec<usize>, Vec<f32>) {
        let mut shape = layout.shape.to_vec();
        shape[layout.input_axis] = shape[layout.input_axis].div_ceil(block.max(1));
        let blocks = Layout { shape: &shape, ..layout };
        let scale = |(index, &factor): (usize, &u8)| self.scales[blocks.channel(index)] * f32::from(factor);
        let scales = factors.iter().enumerate().map(scale).collect();
        (shape, scales)
    }

    /// The allowed level of weight `index` that is next to `level`, the smaller of two.
    pub fn nearest(&self, index: usize, level: f32) -> i8 {
        if matches!(self.grid, Grid::Full) {
            return weight_level(level);
        }
        nearest(self.allowed(index), level)
    }
}

/// The one of `levels`, ascending, next to `level`; the first of two.
fn nearest(levels: &[i8], level: f32) -> i8 {
    let behind = levels.partition_point(|&known| f32::from(known) < level);
    let candidates = levels[behind.saturating_sub(1)..levels.len().min(behind + 1)].iter().copied();
    candidates
        .reduce(|a, b| if (level - f32::from(b)).abs() < (level - f32::from(a)).abs() { b } else { a })
        .unwrap_or(0)
}

/// The weight of the error of weight `index`.
fn weight_of(importance: &[f32], index: usize) -> f64 {
    importance.get(index).map_or(1.0, |&weight| f64::from(weight))
}

#[cfg(test)]
mod tests;
