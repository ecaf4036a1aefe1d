//! Weights as int8 with one scale per channel, biases as int32.

use cygnet_onnx::model::{Attribute, Model, Node, Tensor};

use super::Guarded;
use super::store::Store;
use crate::error::QuantizeError;
use crate::graph::constant;
use crate::narrow::{Grid, Layout, Narrow};
use crate::params::{Params, bias_level, least_scale};
use crate::recipe::WeightForm;
use crate::rounding::LayerWeights;

/// Number of int32 in `TensorProto.DataType`.
const INT32: i64 = 6;

/// How the weights of a layer become integers.
pub(super) struct Wanted<'a> {
    /// The axis of output channels.
    pub channel_axis: usize,
    /// The levels that they are multiplied with.
    pub input: Params,
    /// How they are stored.
    pub form: WeightForm,
    /// The integers; without them each weight takes its nearest level.
    pub rounded: Option<&'a LayerWeights>,
}

/// Replaces weights and bias of the node at `index` by integers and DequantizeLinear nodes, which go to `ahead`; tells how
/// many channels took another scale than their weights ask for.
pub(super) fn quantize(
    model: &mut Model,
    store: &mut Store,
    ahead: &mut Vec<Node>,
    index: usize,
    Wanted { channel_axis, input, form, rounded }: Wanted<'_>,
) -> Result<Option<Guarded>, QuantizeError> {
    let node = model.nodes[index].clone();
    let Some(weights) = constant(model, &node, 1).cloned() else { return Ok(None) };
    let values = weights.to_f32s()?;
    let bias = constant(model, &node, 2).map(Tensor::to_f32s).transpose()?;
    if !values.iter().chain(bias.iter().flatten()).all(|v| v.is_finite()) {
        return Err(QuantizeError::node(&node, "its weights or bias hold NaN or infinity; the training went astray"));
    }
    let layout = Layout::of(&weights.shape, channel_axis);
    let least: Vec<f32> = bias.iter().flatten().map(|&b| least_scale(b, input)).collect();
    let guarded = guarded(&node, &values, layout, &least);
    let LayerWeights { weights: narrow, bias } = match rounded {
        Some(rounded) => rounded.clone(),
        None => LayerWeights { weights: Narrow::of(form, &values, layout, &least, &[]), bias },
    };
    let mut writer = Writer { model, store, ahead, name: &node.inputs[1] };
    let stored = writer.weights(&narrow, layout);
    model.nodes[index].inputs[1] = stored;
    if let Some(bias) = bias {
        // One f32 multiplication, as the engine does it.
        let scales: Vec<f32> = narrow.scales.iter().map(|s| input.scale * s).collect();
        let levels: Vec<i32> = bias.iter().zip(&scales).map(|(&b, &s)| bias_level(b, s)).collect();
        let levels = Tensor::from_i32(vec![levels.len()], &levels);
        let name = match node.input(2) {
            Some(name) => name.to_string(),
            None => store.name(&node.inputs[1], "b"),
        };
        let mut writer = Writer { model, store, ahead, name: &name };
        let levels = writer.store.levels(writer.model, &name, levels);
        let dequantized = writer.dequantize(levels, Tensor::from_f32(vec![scales.len()], &scales), None, 0, 0);
        model.nodes[index].inputs.truncate(2);
        model.nodes[index].inputs.push(dequantized);
    }
    Ok(Some(guarded))
}

/// The channels of `node` whose weights are nothing, or ask for a smaller scale than `least` allows.
fn guarded(node: &Node, weights: &[f32], layout: Layout<'_>, least: &[f32]) -> Guarded {
    let channels = layout.channels();
    let inner: usize = layout.shape.iter().skip(layout.channel_axis + 1).product();
    let mut largest = vec![0f32; channels];
    for (run, weights) in weights.chunks(inner.max(1)).enumerate() {
        let largest = &mut largest[run % channels.max(1)];
        *largest = weights.iter().fold(*largest, |largest, weight| largest.max(weight.abs()));
    }
    let held_up = |(largest, least): &(&f32, &f32)| **largest > 0.0 && *largest / 127.0 < **least;
    Guarded {
        layer: node.label(),
        dead: largest.iter().filter(|largest| **largest == 0.0).count(),
        held_up: largest.iter().zip(least).filter(held_up).count(),
        channels,
    }
}

/// Replaces the weights of the recurrent layer at `index`, of its inputs and of its state, `[directions, rows, columns]`, by
/// int8 and DequantizeLinear nodes, which go to `ahead`: one scale for each row, the same in both directions. Biases,
/// which are few, stay as they are.
pub(super) fn quantize_recurrent(
    model: &mut Model,
    store: &mut Store,
    ahead: &mut Vec<Node>,
    index: usize,
) -> Result<(), QuantizeError> {
    for input in [1, 2] {
        let node = model.nodes[index].clone();
        let Some(weights) = constant(model, &node, input).cloned() else { continue };
        let values = weights.to_f32s()?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(QuantizeError::node(&node, "its weights hold NaN or infinity; the training went astray"));
        }
        let &[_, rows, columns] = &weights.shape[..] else { continue };
        let mut scales = vec![0.0_f32; rows];
        for (row, values) in values.chunks_exact(columns).enumerate() {
            let scale = &mut scales[row % rows];
            *scale = values.iter().fold(*scale, |most, value| most.max(value.abs() / 127.0));
        }
        // A row of zeros has any scale.
        scales.iter_mut().for_each(|scale| *scale = if *scale < f32::MIN_POSITIVE { 1.0 } else { *scale });
        let level = |(place, value): (usize, &f32)| {
            (value / scales[place / columns % rows]).round_ties_even().clamp(-127.0, 127.0) as i8
        };
        let levels: Vec<i8> = values.iter().enumerate().map(level).collect();
        let name = &node.inputs[input];
        let mut writer = Writer { model, store, ahead, name };
        let levels = writer.store.levels(writer.model, name, Tensor::from_i8(weights.shape.clone(), &levels));
        let zeros =
            writer.store.shared(writer.model, &format!("z0x{rows}"), Tensor::from_i8(vec![rows], &vec![0; rows]));
        let stored = writer.dequantize(levels, Tensor::from_f32(vec![rows], &scales), Some(zeros), 1, 0);
        model.nodes[index].inputs[input] = stored;
    }
    Ok(())
}

/// Replaces the table that the Gather at `index` picks rows from by int8 and one scale for each row; a table that others read
/// too stays for them.
pub(super) fn quantize_rows(
    model: &mut Model,
    store: &mut Store,
    ahead: &mut Vec<Node>,
    index: usize,
) -> Result<(), QuantizeError> {
    let node = model.nodes[index].clone();
    let Some(table) = constant(model, &node, 0).cloned() else { return Ok(()) };
    let values = table.to_f32s()?;
    if !values.iter().all(|value| value.is_finite()) {
        return Err(QuantizeError::node(&node, "its table holds NaN or infinity; the training went astray"));
    }
    let width = values.len() / table.shape.first().copied().unwrap_or(1).max(1);
    let scale_of = |row: &[f32]| {
        let greatest = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        if greatest > 0.0 { (greatest / 127.0).max(f32::MIN_POSITIVE) } else { 1.0 }
    };
    let scales: Vec<f32> = values.chunks(width.max(1)).map(scale_of).collect();
    let rows = values.chunks(width.max(1)).zip(&scales);
    let level = |value: f32, scale: f32| (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
    let levels: Vec<i8> = rows.flat_map(|(row, &scale)| row.iter().map(move |&value| level(value, scale))).collect();
    let mut writer = Writer { model, store, ahead, name: &node.inputs[0] };
    let levels = writer.store.levels(writer.model, &node.inputs[0], Tensor::from_i8(table.shape.clone(), &levels));
    let dequantized = writer.dequantize(levels, Tensor::from_f32(vec![scales.len()], &scales), None, 0, 0);
    model.nodes[index].inputs[0] = dequantized;
    Ok(())
}

/// Writes one constant and the nodes that make it float again.
struct Writer<'a> {
    model: &'a mut Model,
    store: &'a mut Store,
    ahead: &'a mut Vec<Node>,
    /// The constant's name.
    name: &'a str,
}

impl Writer<'_> {
    /// Stores weights in the form of their grid and returns the name of the float tensor that they make:
    ///
    /// - int8 levels and DequantizeLinear with one scale per channel;
    /// - int4 levels and DequantizeLinear with one scale per channel, or per block: the channel's times the block's factor;
    /// - a table of int8 levels, from which Gather takes those that uint4 indices name, and DequantizeLinear.
    fn weights(&mut self, narrow: &Narrow, layout: Layout<'_>) -> String {
        let (shape, axis) = (layout.shape.to_vec(), layout.channel_axis);
        let channels = narrow.scales.len();
        let scales = Tensor::from_f32(vec![channels], &narrow.scales);
        let zeros = |writer: &mut Self| {
            let zeros = Tensor::from_i8(vec![channels], &vec![0; channels]);
            Some(writer.store.shared(writer.model, &format!("z0x{channels}"), zeros))
        };
        match &narrow.grid {
            Grid::Full | Grid::Kept(_) => {
                let levels = self.store.levels(self.model, self.name, Tensor::from_i8(shape, &narrow.levels));
                let zeros = zeros(self);
                self.dequantize(levels, scales, zeros, axis, 0)
            }
            Grid::Blocks { block, factors } => {
                let levels = self.store.levels(self.model, self.name, Tensor::from_i4(shape, &narrow.steps()));
                if factors.is_empty() {
                    return self.dequantize(levels, scales, None, axis, 0);
                }
                let (shape, scales) = narrow.block_scales(layout, *block, factors);
                self.dequantize(levels, Tensor::from_f32(shape, &scales), None, layout.input_axis, *block)
            }
            Grid::Table(table) => {
                let place = |level| table.binary_search(level).unwrap_or(0) as u8;
                let places = Tensor::from_u4(shape, &narrow.levels.iter().map(place).collect::<Vec<_>>());
                let stored = self.store.levels(self.model, self.name, places);
                let table = Tensor::from_i8(vec![table.len()], table);
                let name = self.store.name(self.name, "t");
                let table = self.store.shared(self.model, &name, table);
                let (places, levels) = (self.store.name(self.name, "i"), self.store.name(self.name, "l"));
                let cast = Node::new("Cast", "", &[&stored], &[&places]);
                self.ahead.push(cast.with("to", Attribute::Int(INT32)));
                self.ahead.push(Node::new("Gather", "", &[&table, &places], &[&levels]));
                let zeros = zeros(self);
                self.dequantize(levels, scales, zeros, axis, 0)
            }
        }
    }

    /// Makes the tensor `levels` float by `scales` along `axis`, in blocks where `block` is not 0.
    fn dequantize(
        &mut self,
        levels: String,
        scales: Tensor,
        zero_points: Option<String>,
        axis: usize,
        block: usize,
    ) -> String {
        let mut inputs = vec![levels, self.store.scale(self.model, self.name, scales)];
        inputs.extend(zero_points);
        let output = self.store.name(self.name, "dq");
        let node =
            Node { op_type: "DequantizeLinear".into(), inputs, outputs: vec![output.clone()], ..Node::default() };
        let mut node = node.with("axis", Attribute::Int(axis as i64));
        if block > 0 {
            node = node.with("block_size", Attribute::Int(block as i64));
        }
        self.ahead.push(node);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_with_a_scale_of_another_making_are_counted() {
        // Three channels of two weights: one as usual, one dead, one whose bias asks for a scale of 0.5 and not of 0.1.
        let weights = [1.27, -0.5, 0.0, 0.0, 12.7, 3.0];
        let node = Node::new("Conv", "layer", &["x", "w"], &["y"]);
        let found = guarded(&node, &weights, Layout::of(&[3, 2], 0), &[0.0, 0.5, 0.5]);
        assert_eq!(found, Guarded { layer: "layer".into(), dead: 1, held_up: 1, channels: 3 });
    }
}
