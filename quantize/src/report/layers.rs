//! What became of each layer: its noise, its ranges, its values and its weights.

use std::collections::{BTreeMap, BTreeSet};

use cygnet::core::Plan;
use cygnet_onnx::model::{DType, Model, Node, Tensor};
use serde::Serialize;

use super::histogram::Histogram;
use crate::Quantized;
use crate::calibrate::{Distribution, Distributions};
use crate::error::QuantizeError;
use crate::evaluate::Noise;
use crate::facts::infer;
use crate::graph::{constant, makers};
use crate::operators::{Role, bounds, fuses_activation, role};

/// One tensor, and the layer that makes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// The node; of a layer with an activation the layer's, not the activation's.
    pub node: String,
    /// Its operator, with that of the activation: `Conv, Relu`; `input` for what the model is given.
    pub operator: String,
    /// The tensor.
    pub tensor: String,
    /// Signal to noise, in decibels, with the errors of all layers before it; see [`Noise`].
    pub decibels: Option<f64>,
    /// The type of its levels: `uint8`, …; `float32` where it stays in float.
    pub levels: String,
    /// How its range was drawn.
    pub method: String,
    /// Least and largest value in calibration; `None` where the range is fixed by the operator.
    pub seen: Option<(f32, f32)>,
    /// The least and largest value that a level stands for; `None` in float.
    pub range: Option<(f32, f32)>,
    /// Share of the values in calibration that lie outside the range, by the middles of fine bins.
    pub clipped: Option<f64>,
    /// The values in calibration.
    pub values: Option<Histogram>,
    /// The layer's weights, where it has some.
    pub weights: Option<Weights>,
    /// Multiply-accumulates of the layer's steps in the plan.
    pub multiply_accumulates: Option<u64>,
}

/// The weights of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weights {
    /// Their type in the int8 model.
    pub levels: String,
    /// Their shape.
    pub shape: Vec<usize>,
    /// The float weights.
    pub values: Option<Histogram>,
    /// Output channels with a scale of their own, the least scale and the largest.
    pub scales: Option<(usize, f32, f32)>,
    /// 10 · log10(Σ float² / Σ (float − int8)²) of the weights alone.
    pub decibels: Option<f64>,
    /// Share of levels that are 0.
    pub zeros: Option<f64>,
}

/// All tensors that are computed, not moved, in the order of the graph; the model's inputs first. `seen` is what
/// calibration saw, `method` how ranges were drawn where no tensor of `methods` says otherwise.
///
/// # Errors
/// [`QuantizeError`] where tract cannot follow the float model.
pub fn layers(
    quantized: &Quantized,
    seen: &Distributions,
    noise: &[Noise],
    plan: Option<&Plan<'_>>,
    method: &str,
    methods: &BTreeMap<String, String>,
) -> Result<Vec<Layer>, QuantizeError> {
    let float = &quantized.float;
    let view = View {
        float,
        int8: &quantized.model,
        float_makers: makers(float),
        int8_makers: makers(&quantized.model),
        work: plan.map(work).unwrap_or_default(),
    };
    let facts = infer(float, &quantized.dims)?;
    let is_real = |tensor: &&str| facts.get(*tensor).is_some_and(|(dtype, _)| *dtype == DType::F32);
    let inputs = float.inputs.iter().map(|input| input.name.as_str());
    let computed = float.nodes.iter().filter(|node| role(float, node) != Role::Move);
    let made = computed.flat_map(|node| &node.outputs).map(String::as_str);
    let tensors: Vec<&str> = inputs.chain(made).filter(is_real).collect();
    // What goes into an activation that is computed with it is no tensor of its own.
    let inside = |tensor: &&str| {
        let (layer, _) = view.layer(tensor);
        layer.filter(|layer| layer.output(0) != Some(tensor))?.output(0)
    };
    let inside: BTreeSet<&str> = tensors.iter().filter_map(inside).collect();
    let shown = tensors.iter().filter(|tensor| !inside.contains(*tensor));
    let layer = |tensor: &&str| {
        let levels = quantized.inserted.dequantized.get(*tensor).and_then(|dequantized| view.levels(dequantized));
        let seen = seen.get(*tensor).filter(|seen| seen.count() > 0);
        let (layer, operator) = view.layer(tensor);
        let method = match (&levels, seen) {
            (None, _) => String::new(),
            (_, None) => "fixed by the operator".into(),
            _ => methods.get(*tensor).map_or(method, String::as_str).to_string(),
        };
        Layer {
            node: layer.map_or(tensor.to_string(), Node::label),
            operator,
            tensor: tensor.to_string(),
            decibels: noise.iter().find(|noise| noise.tensor == **tensor).map(|noise| noise.decibels),
            levels: levels.as_ref().map_or_else(|| DType::F32.to_string(), |levels| levels.kind.clone()),
            method,
            seen: seen.map(|seen| (seen.low, seen.high)),
            range: levels.as_ref().map(|levels| levels.range),
            clipped: levels.as_ref().zip(seen).map(|(levels, seen)| clipped(seen, levels)),
            values: seen.and_then(Histogram::of_distribution),
            weights: layer.and_then(|layer| view.weights(layer)),
            multiply_accumulates: layer.and_then(|layer| view.work.get(&layer.label()).copied()),
        }
    };
    Ok(shown.map(layer).collect())
}

/// How an integer tensor stands for real numbers.
struct Levels {
    kind: String,
    range: (f32, f32),
    /// The real width of one level.
    scale: f32,
}

/// The float model, the int8 model, and who makes what in them.
struct View<'m> {
    float: &'m Model,
    int8: &'m Model,
    float_makers: BTreeMap<String, usize>,
    int8_makers: BTreeMap<String, usize>,
    /// Multiply-accumulates by node.
    work: BTreeMap<String, u64>,
}

impl<'m> View<'m> {
    /// The node that a reader would call the maker of `tensor`, and its operator with that of its activation.
    fn layer(&self, tensor: &str) -> (Option<&'m Node>, String) {
        let Some(node) = self.float_makers.get(tensor).map(|&index| &self.float.nodes[index]) else {
            return (None, "input".into());
        };
        let before =
            node.input(0).and_then(|input| self.float_makers.get(input)).map(|&index| &self.float.nodes[index]);
        let fuses = |before: &&Node| fuses_activation(before) && role(self.float, before) != Role::Float;
        let is_activation = bounds(self.float, node).is_some();
        match before.filter(fuses).filter(|before| is_activation && self.is_inside(before)) {
            Some(before) => (Some(before), format!("{}, {}", before.op_type, node.op_type)),
            None => (Some(node), node.op_type.clone()),
        }
    }

    /// Whether the output of `node` is no integer of its own: it goes into an activation that is computed with it.
    fn is_inside(&self, node: &Node) -> bool {
        let reads = |reader: &&Node| reader.inputs.iter().any(|input| node.output(0) == Some(input));
        let mut readers = self.int8.nodes.iter().filter(reads);
        // Without a reader the activation was dropped: the integers cut off by themselves.
        readers.next().is_none_or(|reader| !reader.is("QuantizeLinear"))
    }

    /// The levels of the tensor that a DequantizeLinear makes.
    fn levels(&self, dequantized: &str) -> Option<Levels> {
        let node = &self.int8.nodes[*self.int8_makers.get(dequantized)?];
        let scale = constant(self.int8, node, 1)?.as_scalar_f32()?;
        let zero_point = constant(self.int8, node, 2)?;
        let zero = zero_point.as_scalar_i64()?;
        let (lowest, highest) = ends(zero_point.dtype)?;
        let real = |end: i64| (end - zero) as f32 * scale;
        Some(Levels { kind: zero_point.dtype.to_string(), range: (real(lowest), real(highest)), scale })
    }

    /// The weights of a layer: those of the float model, and what the int8 model has in their place.
    fn weights(&self, layer: &Node) -> Option<Weights> {
        let Role::Weighted { channel_axis } = role(self.float, layer) else { return None };
        let weights = constant(self.float, layer, 1)?;
        let values = weights.to_f32s().ok()?;
        let mut found = Weights {
            levels: weights.dtype.to_string(),
            shape: weights.shape.clone(),
            values: Histogram::of_values(&values),
            scales: None,
            decibels: None,
            zeros: None,
        };
        let Some((levels, scales)) = self.stored(layer) else { return Some(found) };
        found.levels = levels.dtype.to_string();
        let scales = scales.to_f32s().ok()?;
        let least = scales.iter().copied().reduce(f32::min)?;
        let largest = scales.iter().copied().reduce(f32::max)?;
        found.scales = Some((scales.len(), least, largest));
        let Ok(stored) = levels.to_f32s() else { return Some(found) };
        if stored.len() == values.len() && scales.len() == weights.shape.get(channel_axis).copied().unwrap_or(1) {
            let zeros = stored.iter().filter(|level| **level == 0.0).count();
            found.zeros = Some(zeros as f64 / stored.len().max(1) as f64);
            let inner: usize = weights.shape.iter().skip(channel_axis + 1).product();
            let real = |(index, level): (usize, &f32)| level * scales[index / inner.max(1) % scales.len()];
            found.decibels = Some(decibels(&values, stored.iter().enumerate().map(real)));
        }
        Some(found)
    }

    /// Levels and scales of the layer's weights in the int8 model.
    fn stored(&self, layer: &Node) -> Option<(&'m Tensor, &'m Tensor)> {
        let label = layer.label();
        let is_it =
            |node: &&Node| node.op_type == layer.op_type && (node.label() == label || node.outputs == layer.outputs);
        let node = self.int8.nodes.iter().find(is_it)?;
        let maker = &self.int8.nodes[*self.int8_makers.get(node.input(1)?)?];
        if !maker.is("DequantizeLinear") {
            return None;
        }
        Some((constant(self.int8, maker, 0)?, constant(self.int8, maker, 1)?))
    }
}

/// Signal to noise of `near` against `real`.
fn decibels(real: &[f32], near: impl Iterator<Item = f32>) -> f64 {
    let (mut signal, mut error) = (0f64, 0f64);
    for (real, near) in real.iter().zip(near) {
        signal += f64::from(*real).powi(2);
        error += f64::from(real - near).powi(2);
    }
    if error == 0.0 { 200.0 } else { 10.0 * (signal.max(1e-30) / error).log10() }
}

/// The least and the largest level of a type.
fn ends(dtype: DType) -> Option<(i64, i64)> {
    match dtype {
        DType::U8 => Some((0, 255)),
        DType::I8 => Some((-128, 127)),
        DType::U16 => Some((0, 65_535)),
        DType::I16 => Some((-32_768, 32_767)),
        _ => None,
    }
}

/// Share of values that are cut off: those within half a level of the ends are rounded, as all others are.
fn clipped(seen: &Distribution, levels: &Levels) -> f64 {
    let Levels { range: (low, high), scale, .. } = *levels;
    let is_outside = |value: f32| value < low - scale / 2.0 || value > high + scale / 2.0;
    let outside: u64 = seen.bins().filter(|(value, _)| is_outside(*value)).map(|(_, count)| count).sum();
    outside as f64 / seen.count().max(1) as f64
}

/// Multiply-accumulates by node.
fn work(plan: &Plan<'_>) -> BTreeMap<String, u64> {
    let mut work = BTreeMap::new();
    for record in plan.steps() {
        *work.entry(plan.text(record.name).to_string()).or_default() += record.step.multiply_accumulates();
    }
    work
}
