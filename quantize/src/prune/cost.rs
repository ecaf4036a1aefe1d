//! What channels cost: multiply-accumulates and weights.

use std::collections::BTreeSet;

use cygnet_onnx::model::Model;

use crate::channels::{Channels, Labels};
use crate::facts::Facts;

/// A layer's rows and columns by class.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The class of each output channel.
    pub(super) rows: Vec<usize>,
    /// The class of each channel that an output channel reads; nothing where it reads its own class (depthwise).
    pub(super) columns: Vec<usize>,
    /// Weights for each row and column.
    inner: f64,
    /// Positions at which the layer is computed.
    positions: f64,
}

/// Multiply-accumulates and weights of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Multiply-accumulates.
    pub macs: f64,
    /// Weights.
    pub weights: f64,
}

impl Cost {
    /// The mean of both as shares of `whole`.
    pub fn share(self, whole: Cost) -> f64 {
        (self.macs / whole.macs.max(1.0) + self.weights / whole.weights.max(1.0)) / 2.0
    }
}

impl Layer {
    /// The cost of the rows and columns whose class is not in `gone`.
    pub(super) fn cost(&self, gone: &BTreeSet<usize>) -> Cost {
        let kept = |classes: &[usize]| classes.iter().filter(|class| !gone.contains(class)).count() as f64;
        let columns = if self.columns.is_empty() { 1.0 } else { kept(&self.columns) };
        let weights = kept(&self.rows) * columns * self.inner;
        Cost { macs: weights * self.positions, weights }
    }

    /// Whether a class takes part.
    pub(super) fn touches(&self, classes: &BTreeSet<usize>) -> bool {
        self.rows.iter().chain(&self.columns).any(|class| classes.contains(class))
    }
}

/// The layers of a model; those whose weights lie in another way than convolutions and dense layers are left out.
pub(super) fn layers(model: &Model, facts: &Facts, channels: &Channels) -> Vec<Layer> {
    let of_use = |part: &crate::channels::Use| {
        let node = model.nodes.get(part.node)?;
        let shape = &model.initializers.get(node.input(part.input)?)?.shape;
        let (makes, reads) = (part.makes.as_ref()?, part.reads.as_ref()?);
        let elements: usize = shape.iter().product();
        let rows = one_axis(makes, shape)?;
        let is_depthwise = reads == makes;
        let columns = if is_depthwise { Vec::new() } else { one_axis(reads, shape)? };
        let inner = elements / (rows.len() * columns.len().max(1)).max(1);
        let (_, output) = facts.get(node.output(0)?)?;
        let positions = output.iter().product::<usize>() / rows.len().max(1);
        Some(Layer { rows, columns, inner: inner as f64, positions: positions as f64 })
    };
    channels.uses.iter().filter_map(of_use).collect()
}

/// The class of each index of the axis along which classes change.
pub(super) fn one_axis(labels: &Labels, shape: &[usize]) -> Option<Vec<usize>> {
    match labels.varying()[..] {
        [] => Some(vec![*labels.marks().first()?]),
        [axis] => labels.along_axis(axis, *shape.get(axis)?),
        _ => None,
    }
}
