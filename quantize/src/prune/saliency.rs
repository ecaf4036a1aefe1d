//! How much the layers that read a channel would miss it.

use std::collections::BTreeMap;

use cygnet_onnx::model::Model;
use cygnet_onnx::reference::Reference;

use super::least_squares::LeastSquares;
use super::refit::{SAMPLES, positions};
use crate::channels::{Channels, Labels, Use};
use crate::data::Data;
use crate::error::QuantizeError;
use crate::facts::{Dims, Facts};
use crate::graph::constant;
use crate::layers::Layer;
use crate::operators::{Role, role};

/// Rows for each weight of an output channel, and rows at least.
const ROWS_PER_WEIGHT: usize = 4;
const LEAST_ROWS: usize = 2048;
/// Layers with more weights per output channel than this are judged channel by channel.
const DEEPEST: usize = 4096;
/// What is added to the mean squares of all inputs so that the smallest of them can be divided by, as a share of
/// their mean.
const RIDGE: f64 = 1e-2;

/// A layer that mixes classes.
struct Mixer<'c> {
    layer: Layer,
    reads: &'c Labels,
    sums: LeastSquares,
}

/// For each class the sum, over all layers that mix it with others, of the share of their output's variance that
/// would be lost without it, after the other channels have taken over what they can: `Σ w_cᵀ (A⁻¹_cc)⁻¹ w_c`, with
/// the inputs' covariance `A` and the weights `w_c` that read the class (Hassibi and Stork 1993, for groups).
pub(super) fn saliency(
    model: &Model,
    facts: &Facts,
    dims: &Dims,
    channels: &Channels,
    data: &Data,
) -> Result<Vec<f64>, QuantizeError> {
    let mut mixers: Vec<Mixer<'_>> = channels.uses.iter().filter_map(|part| mixer(model, facts, part)).collect();
    let mut taps: Vec<String> = mixers.iter().map(|mixer| mixer.layer.input.clone()).collect();
    taps.retain(|tap| model.inputs.iter().all(|input| input.name != *tap));
    taps.sort_unstable();
    taps.dedup();
    let place: BTreeMap<&String, usize> = taps.iter().enumerate().map(|(index, tap)| (tap, index)).collect();
    let reference = Reference::with_dims(model, &taps, dims)?;
    let samples = data.len().clamp(1, SAMPLES);
    for (number, sample) in data.samples().take(SAMPLES).enumerate() {
        let sample = sample?;
        let outputs = reference.run(&sample.inputs).map_err(|e| QuantizeError::data(&sample.name, e.to_string()))?;
        for Mixer { layer, sums, .. } in &mut mixers {
            let Some(tensor) = place.get(&layer.input).and_then(|p| outputs.get(model.outputs.len() + p)) else {
                continue;
            };
            let wanted = (layer.depth * ROWS_PER_WEIGHT).max(LEAST_ROWS).div_ceil(samples);
            let mut rows = Vec::new();
            layer.rows(&tensor.to_f32s()?, &positions(layer.positions(), wanted, number as u64), &mut rows);
            rows.chunks(layer.depth).for_each(|row| sums.add(row, &[]));
        }
    }
    let mut saliency = vec![0.0; channels.classes.len()];
    for Mixer { layer, reads, sums } in mixers {
        let weights = layer.weights(model)?;
        let shape = constant(model, &model.nodes[layer.node], 1).map(|w| w.shape.clone()).unwrap_or_default();
        let stored = reads.elements(&shape);
        let classes: Vec<usize> = layer.unstored(&stored).into_iter().take(layer.depth).collect();
        for (class, share) in lost(&classes, &weights, sums).into_iter().flatten() {
            saliency[class] += share;
        }
    }
    Ok(saliency)
}

fn mixer<'c>(model: &Model, facts: &Facts, part: &'c Use) -> Option<Mixer<'c>> {
    let node = &model.nodes[part.node];
    let reads = part.reads.as_ref()?;
    let Role::Weighted { channel_axis } = role(model, node) else { return None };
    let layer = Layer::of(model, facts, part.node, node, channel_axis)?;
    let mixes = layer.groups == 1 && layer.depth <= DEEPEST && reads.varying().len() == 1;
    mixes.then(|| Mixer { sums: LeastSquares::new(layer.depth, 0), layer, reads })
}

/// The share of the layer's variance that is lost with each class of columns.
fn lost(classes: &[usize], weights: &[f32], sums: LeastSquares) -> Option<Vec<(usize, f64)>> {
    let depth = classes.len();
    let covariance = sums.covariance();
    let whole: f64 = weights.chunks(depth).map(|row| quadratic(&covariance, row)).sum();
    let inverse = super::least_squares::inverse(covariance, depth, RIDGE)?;
    let mut columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    classes.iter().enumerate().for_each(|(column, &class)| columns.entry(class).or_default().push(column));
    let share = |(class, columns): (usize, Vec<usize>)| {
        let size = columns.len();
        let block: Vec<f64> = columns
            .iter()
            .flat_map(|&row| columns.iter().map(move |&column| (row, column)))
            .map(|(r, c)| inverse[r * depth + c])
            .collect();
        let block = super::least_squares::inverse(block, size, 0.0)?;
        let of_row = |row: &[f32]| quadratic(&block, &columns.iter().map(|&c| row[c]).collect::<Vec<_>>());
        Some((class, weights.chunks(depth).map(of_row).sum::<f64>() / whole))
    };
    (whole > 0.0).then(|| columns.into_iter().filter_map(share).collect())
}

/// `row · matrix · rowᵀ`.
fn quadratic(matrix: &[f64], row: &[f32]) -> f64 {
    let line = |(line, &factor): (&[f64], &f32)| {
        f64::from(factor) * line.iter().zip(row).map(|(a, &b)| a * f64::from(b)).sum::<f64>()
    };
    matrix.chunks(row.len()).zip(row).map(line).sum()
}
