//! Fits the layers of a pruned model, one after the other, to what the whole model computes.
//!
//! Each layer's weights and bias are those with the least squared distance to the whole model's output of that layer
//! before its activation, given the input that the pruned layers before it make (He et al.,
//! <https://arxiv.org/abs/1707.06168>).

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{DType, Model, Tensor, ValueInfo};
use cygnet_onnx::reference::Reference;

use super::Whole;
use super::least_squares::LeastSquares;
use crate::data::Data;
use crate::error::QuantizeError;
use crate::facts::Facts;
use crate::graph::{Names, drop_unused, makers};
use crate::layers::Layer;
use crate::operators::{Role, role};

/// Samples to fit on.
pub(super) const SAMPLES: usize = 96;
/// Rows for each weight of an output channel, and rows at least.
const ROWS_PER_INPUT: usize = 8;
const LEAST_ROWS: usize = 4096;
/// How strongly weights are held to what they were, as a share of the mean square of a row's values.
const RIDGE: f64 = 1e-2;

/// Fits all layers of `pruned` whose input changed; returns how many.
pub(super) fn refit(
    whole: &Whole<'_>,
    gone: &BTreeSet<usize>,
    pruned: &mut Model,
    facts: &Facts,
    data: &Data,
) -> Result<usize, QuantizeError> {
    let mut changed: BTreeSet<String> = BTreeSet::new();
    let mut fitted = 0;
    let mut index = 0;
    while index < pruned.nodes.len() {
        let node = &pruned.nodes[index];
        let is_layer = ["Conv", "Gemm", "MatMul"].iter().any(|op| node.is(op));
        let input = node.inputs.first().cloned().unwrap_or_default();
        let loses = node.inputs.iter().any(|name| changed.contains(name)) || is_cut(whole, gone, &node.outputs[0]);
        if loses {
            changed.extend(node.outputs.iter().cloned());
        }
        if is_layer && changed.contains(&input) && fit(whole, gone, pruned, facts, data, index)? {
            fitted += 1;
        }
        index += 1;
    }
    Ok(fitted)
}

/// Whether channels of the tensor are gone.
fn is_cut(whole: &Whole<'_>, gone: &BTreeSet<usize>, tensor: &str) -> bool {
    whole.channels.of.get(tensor).is_some_and(|labels| labels.marks().iter().any(|class| gone.contains(class)))
}

/// Fits the layer at `index`; false where it has no form that this knows.
fn fit(
    whole: &Whole<'_>,
    gone: &BTreeSet<usize>,
    pruned: &mut Model,
    facts: &Facts,
    data: &Data,
    index: usize,
) -> Result<bool, QuantizeError> {
    let node = pruned.nodes[index].clone();
    let (input, output) = (&node.inputs[0], &node.outputs[0]);
    let Role::Weighted { channel_axis } = role(pruned, &node) else { return Ok(false) };
    let Some(layer) = Layer::of(pruned, facts, index, &node, channel_axis) else { return Ok(false) };
    let start = layer.weights(pruned)?;
    let Some(kept) = kept_elements(whole, gone, output) else { return Ok(false) };
    let make = |model: &Model, tensor: &str| Reference::with_dims(&upto(model, tensor), &[], whole.dims);
    let (now, before) = (make(pruned, input)?, make(&whole.model, output)?);
    let per_group = layer.outputs / layer.groups;
    let mut sums: Vec<LeastSquares> = vec![LeastSquares::new(layer.depth, per_group); layer.groups];
    let samples = data.len().min(SAMPLES);
    let wanted = (layer.depth * ROWS_PER_INPUT).max(LEAST_ROWS).div_ceil(samples.max(1));
    for (number, sample) in data.samples().take(SAMPLES).enumerate() {
        let sample = sample?;
        let (x, y) = (now.run(&sample.inputs)?, before.run(&sample.inputs)?);
        let (x, y) = (x[0].to_f32s()?, y[0].to_f32s()?);
        let y: Vec<f32> = kept.iter().map(|&element| y[element]).collect();
        add_rows(&layer, &mut sums, &x, &y, &positions(layer.positions(), wanted, number as u64));
    }
    // A product has no bias; what follows it may add one.
    let has_bias = !node.is("MatMul");
    let (mut fitted, mut biases) = (Vec::with_capacity(start.len()), Vec::new());
    for (group, sums) in sums.into_iter().enumerate() {
        let size = per_group * layer.depth;
        let Some((weights, bias)) = sums.solve(&start[group * size..][..size], RIDGE, has_bias) else {
            return Ok(false);
        };
        fitted.extend(weights);
        biases.extend(bias);
    }
    let shape = pruned.initializers[&node.inputs[1]].shape.clone();
    let weights = Tensor::from_f32(shape, &layer.stored(&fitted));
    store(pruned, index, weights, has_bias.then_some(biases));
    Ok(true)
}

/// The elements of the whole model's tensor that the pruned one has.
fn kept_elements(whole: &Whole<'_>, gone: &BTreeSet<usize>, tensor: &str) -> Option<Vec<usize>> {
    let (_, shape) = whole.facts.get(tensor)?;
    let classes = whole.channels.of.get(tensor)?.elements(shape);
    Some((0..classes.len()).filter(|&element| !gone.contains(&classes[element])).collect())
}

/// `wanted` positions spread over `all`, each somewhere else in its part of them for each seed.
pub(super) fn positions(all: usize, wanted: usize, seed: u64) -> Vec<usize> {
    let (taken, mut state) = (wanted.min(all), seed);
    let place = |part: usize| {
        let (from, to) = (part * all / taken, (part + 1) * all / taken);
        // Constants of Knuth's MMIX generator.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        from + (state >> 33) as usize % (to - from).max(1)
    };
    (0..taken).map(place).collect()
}

/// Adds the rows at `positions` and what the whole model makes of them.
fn add_rows(layer: &Layer, sums: &mut [LeastSquares], x: &[f32], y: &[f32], positions: &[usize]) {
    let taken = positions.len();
    let mut rows = Vec::with_capacity(taken * layer.depth * layer.groups);
    layer.rows(x, positions, &mut rows);
    let per_group = layer.outputs / layer.groups;
    for (group, (sums, rows)) in sums.iter_mut().zip(rows.chunks(taken * layer.depth)).enumerate() {
        for (row, &position) in rows.chunks(layer.depth).zip(positions) {
            let channels = group * per_group..(group + 1) * per_group;
            let targets: Vec<f32> = channels.filter_map(|channel| layer.made(y, channel, position)).collect();
            sums.add(row, &targets);
        }
    }
}

/// Gives a layer new weights and a bias under new names: others may read the old ones.
fn store(model: &mut Model, index: usize, weights: Tensor, bias: Option<Vec<f32>>) {
    let mut names = Names::of(model);
    let stem = model.nodes[index].inputs[1].clone();
    let weights_name = names.fresh(&format!("{stem}_fitted"));
    model.initializers.insert(weights_name.clone(), weights);
    model.nodes[index].inputs[1] = weights_name;
    if let Some(bias) = bias {
        let name = names.fresh(&format!("{stem}_bias_fitted"));
        model.initializers.insert(name.clone(), Tensor::from_f32(vec![bias.len()], &bias));
        model.nodes[index].inputs.truncate(2);
        model.nodes[index].inputs.push(name);
    }
}

/// The part of a model that makes `tensor`, which becomes its only output.
fn upto(model: &Model, tensor: &str) -> Model {
    let makers = makers(model);
    let mut needed: BTreeMap<usize, ()> = BTreeMap::new();
    let mut open = vec![tensor.to_string()];
    while let Some(name) = open.pop() {
        let Some(&index) = makers.get(&name) else { continue };
        if needed.insert(index, ()).is_none() {
            let node = &model.nodes[index];
            open.extend(node.inputs.iter().cloned());
            open.extend(node.captures());
        }
    }
    let mut part = Model {
        ir_version: model.ir_version,
        opsets: model.opsets.clone(),
        nodes: needed.keys().map(|&index| model.nodes[index].clone()).collect(),
        initializers: model.initializers.clone(),
        inputs: model.inputs.clone(),
        ..Model::default()
    };
    part.outputs = vec![ValueInfo { name: tensor.into(), dtype: DType::F32, shape: None }];
    drop_unused(&mut part);
    part
}
