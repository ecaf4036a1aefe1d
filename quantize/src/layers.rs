//! Layers with int8 weights as matrices: each output channel is a row of weights times the columns of a patch.

use cygnet_onnx::model::{Model, Node};

use crate::error::QuantizeError;
use crate::facts::Facts;
use crate::graph::constant;
use crate::operators::Role;
use crate::placement::Placement;

/// One layer: convolution, Gemm or MatMul with constant weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Position in [`Model::nodes`].
    pub node: usize,
    /// [`Node::label`].
    pub label: String,
    /// The activation that it reads.
    pub input: String,
    /// Groups of channels that do not see each other; 1 where the layer is no grouped convolution.
    pub groups: usize,
    /// Output channels of all groups.
    pub outputs: usize,
    /// Weights of one output channel.
    pub depth: usize,
    /// Whether the stored weights have the output channels last.
    outputs_last: bool,
    window: Window,
}

/// Which elements of the input one position of the output sees.
#[derive(Clone, Debug, PartialEq)]
enum Window {
    /// The last axis, at each index of the others.
    Last { positions: usize },
    /// A patch of all channels of a group.
    Patch { batch: usize, channels: usize, axes: Vec<Axis> },
}

/// One spatial axis of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
}

impl Layer {
    /// All layers that become integers, in the order of the nodes.
    pub fn all(model: &Model, facts: &Facts, placement: &Placement) -> Vec<Layer> {
        let layer = |(index, node): (usize, &Node)| match placement.roles.get(index)? {
            Role::Weighted { channel_axis } => Layer::of(model, facts, index, node, *channel_axis),
            _ => None,
        };
        model.nodes.iter().enumerate().filter_map(layer).collect()
    }

    /// The node at `index`, whose weights have output channels along `channel_axis`; `None` where it is no such layer.
    pub fn of(model: &Model, facts: &Facts, index: usize, node: &Node, channel_axis: usize) -> Option<Layer> {
        let weights = &constant(model, node, 1)?.shape;
        let input = node.input(0)?.to_string();
        let (_, shape) = facts.get(&input)?;
        let outputs = *weights.get(channel_axis)?;
        let depth = weights.iter().product::<usize>().checked_div(outputs)?;
        let is_conv = node.is("Conv");
        let window = if is_conv {
            let (_, made) = facts.get(node.output(0)?)?;
            patch(node, shape, &weights[2..], made)?
        } else {
            Window::Last { positions: shape.iter().product::<usize>().checked_div(*shape.last()?)? }
        };
        let groups = if is_conv { usize::try_from(node.int("group").unwrap_or(1)).ok()? } else { 1 };
        let outputs_last = !is_conv && channel_axis == 1;
        (groups > 0 && depth > 0).then(|| Layer {
            node: index,
            label: node.label(),
            input,
            groups,
            outputs,
            depth,
            outputs_last,
            window,
        })
    }

    /// A matrix product at one position, for tests.
    #[cfg(test)]
    pub(crate) fn dense(outputs: usize, depth: usize) -> Layer {
        let (label, input, window) = ("dense".to_string(), "x".to_string(), Window::Last { positions: 1 });
        Layer { node: 0, label, input, groups: 1, outputs, depth, outputs_last: false, window }
    }

    /// The axis of the stored weights that counts output channels.
    pub fn channel_axis(&self) -> usize {
        usize::from(self.outputs_last)
    }

    /// Positions of the output that share the weights: pixels of a convolution, rows of a matrix.
    pub fn positions(&self) -> usize {
        match &self.window {
            Window::Last { positions } => *positions,
            Window::Patch { batch, axes, .. } => batch * axes.iter().map(|a| a.output).product::<usize>(),
        }
    }

    /// Multiplications of one inference.
    pub fn multiply_accumulates(&self) -> usize {
        self.positions() * self.outputs * self.depth
    }

    /// The weights as `[outputs][depth]`.
    ///
    /// # Errors
    /// [`QuantizeError::Model`] where they hold no numbers.
    pub fn weights(&self, model: &Model) -> Result<Vec<f32>, QuantizeError> {
        let Some(tensor) = constant(model, &model.nodes[self.node], 1) else { return Ok(Vec::new()) };
        let stored = tensor.to_f32s()?;
        Ok(self.unstored(&stored))
    }

    /// `[outputs][depth]` in the order of the stored weights.
    pub fn stored<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        let mut stored = vec![T::default(); values.len()];
        for (place, value) in values.iter().enumerate() {
            stored[self.place(place)] = *value;
        }
        stored
    }

    /// What is in the order of the stored weights as `[outputs][depth]`.
    pub fn unstored<T: Copy>(&self, values: &[T]) -> Vec<T> {
        (0..values.len()).map(|place| values[self.place(place)]).collect()
    }

    /// Where the weight at `place` of `[outputs][depth]` is stored.
    pub fn place(&self, place: usize) -> usize {
        if self.outputs_last { place % self.depth * self.outputs + place / self.depth } else { place }
    }

    /// The value of output channel `channel` at `position`, of `values`, the whole output.
    pub fn made(&self, values: &[f32], channel: usize, position: usize) -> Option<f32> {
        let place = match &self.window {
            Window::Last { .. } => position * self.outputs + channel,
            Window::Patch { axes, .. } => {
                let pixels = axes.iter().map(|a| a.output).product::<usize>().max(1);
                (position / pixels * self.outputs + channel) * pixels + position % pixels
            }
        };
        values.get(place).copied()
    }

    /// Appends what the output sees at each of `positions`: for each group and position `depth` elements of `values`,
    /// the whole input; 0 outside of it.
    pub fn rows(&self, values: &[f32], positions: &[usize], rows: &mut Vec<f32>) {
        match &self.window {
            Window::Last { .. } => {
                for &position in positions {
                    rows.extend(&values[position * self.depth..][..self.depth]);
                }
            }
            Window::Patch { channels, axes, .. } => {
                let plane: usize = axes.iter().map(|a| a.input).product();
                let taps: usize = axes.iter().map(|a| a.kernel).product();
                let places = patch_places(*channels, axes, positions);
                rows.reserve(positions.len() * channels * taps);
                for group in 0..self.groups {
                    let first = group * channels / self.groups;
                    let end = (group + 1) * channels / self.groups;
                    for places in places.chunks(taps.max(1)) {
                        for channel in first..end {
                            let of = |place: &Option<usize>| place.map_or(0.0, |place| values[channel * plane + place]);
                            rows.extend(places.iter().map(of));
                        }
                    }
                }
            }
        }
    }
}

fn patch(node: &Node, shape: &[usize], kernel: &[usize], made: &[usize]) -> Option<Window> {
    let [batch, channels, input @ ..] = shape else { return None };
    let output = made.get(2..)?;
    let rank = kernel.len();
    if input.len() != rank || output.len() != rank {
        return None;
    }
    let extents = |name: &str| -> Option<Vec<usize>> {
        let given = node.ints(name).map(|v| v.iter().map(|&e| usize::try_from(e).ok()).collect());
        given.unwrap_or_else(|| Some(vec![1; rank])).filter(|v| v.len() == rank)
    };
    let (strides, dilations) = (extents("strides")?, extents("dilations")?);
    let axis = |index: usize| {
        let (input, output, kernel) = (input[index], output[index], kernel[index]);
        let (stride, dilation) = (strides[index], dilations[index]);
        let covered = (output.checked_sub(1)? * stride + (kernel.checked_sub(1)?) * dilation + 1).saturating_sub(input);
        let pad = match node.string("auto_pad").unwrap_or("NOTSET") {
            "SAME_UPPER" => covered / 2,
            "SAME_LOWER" => covered.div_ceil(2),
            "VALID" => 0,
            _ => node.ints("pads").map_or(Some(0), |pads| usize::try_from(*pads.get(index)?).ok())?,
        };
        Some(Axis { input, output, kernel, stride, dilation, pad })
    };
    let axes = (0..rank).map(axis).collect::<Option<_>>()?;
    Some(Window::Patch { batch: *batch, channels: *channels, axes })
}

/// For each position and each element of the kernel, its last axis fastest: where it lies in the first channel of the
/// input; `None` in the padding.
fn patch_places(channels: usize, axes: &[Axis], positions: &[usize]) -> Vec<Option<usize>> {
    let pixels: usize = axes.iter().map(|a| a.output).product();
    let plane: usize = axes.iter().map(|a| a.input).product();
    let taps: usize = axes.iter().map(|a| a.kernel).product();
    let of = |&position: &usize| {
        let image = position / pixels * channels * plane;
        (0..taps).map(move |tap| Some(image + element(axes, position % pixels, tap)?))
    };
    positions.iter().flat_map(of).collect()
}

/// Where in a plane the kernel's element `tap` lies at the output's `pixel`; `None` in the padding.
fn element(axes: &[Axis], mut pixel: usize, mut tap: usize) -> Option<usize> {
    let (mut place, mut step) = (0, 1);
    for axis in axes.iter().rev() {
        let (at, under) = (pixel % axis.output, tap % axis.kernel);
        (pixel, tap) = (pixel / axis.output, tap / axis.kernel);
        let index = (at * axis.stride + under * axis.dilation).checked_sub(axis.pad).filter(|i| *i < axis.input)?;
        place += index * step;
        step *= axis.input;
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use cygnet_onnx::model::{Attribute, DType, Tensor};

    use super::*;

    fn conv(weights: &[usize], input: &[usize], output: &[usize], attributes: &[(&str, Attribute)]) -> Layer {
        let mut node = Node::new("Conv", "", &["x", "w"], &["y"]);
        for (name, value) in attributes {
            node = node.with(name, value.clone());
        }
        let values = vec![0.0; weights.iter().product()];
        let initializers = [("w".to_string(), Tensor::from_f32(weights.to_vec(), &values))].into();
        let model = Model { nodes: vec![node.clone()], initializers, ..Model::default() };
        let fact = |name: &str, shape: &[usize]| (name.to_string(), (DType::F32, shape.to_vec()));
        let facts = [fact("x", input), fact("y", output)].into();
        Layer::of(&model, &facts, 0, &node, 0).unwrap()
    }

    #[test]
    fn patches_are_what_the_kernel_sees() {
        // 1 2 3 / 4 5 6 / 7 8 9 under a 2×2 kernel, stride 2, padded above and to the left.
        let pads = ("pads", Attribute::Ints(vec![1, 1, 0, 0]));
        let strides = ("strides", Attribute::Ints(vec![2, 2]));
        let layer = conv(&[1, 1, 2, 2], &[1, 1, 3, 3], &[1, 1, 2, 2], &[pads, strides]);
        let values: Vec<f32> = (1..10).map(|v| v as f32).collect();
        let mut rows = Vec::new();
        layer.rows(&values, &[0, 1, 3], &mut rows);
        assert_eq!(rows, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 5.0, 6.0, 8.0, 9.0]);
    }

    #[test]
    fn groups_see_their_channels() {
        let layer = conv(&[2, 1, 1, 1], &[1, 2, 1, 2], &[1, 2, 1, 2], &[("group", Attribute::Int(2))]);
        let mut rows = Vec::new();
        layer.rows(&[1.0, 2.0, 3.0, 4.0], &[0, 1], &mut rows);
        assert_eq!((layer.groups, layer.depth, layer.positions()), (2, 1, 2));
        assert_eq!(rows, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn padding_may_be_chosen_by_the_output() {
        // Extent 4, kernel 3, stride 2: one zero, at the end with SAME_UPPER, at the start with SAME_LOWER.
        for (name, expected) in
            [("SAME_UPPER", [1.0, 2.0, 3.0, 3.0, 4.0, 0.0]), ("SAME_LOWER", [0.0, 1.0, 2.0, 2.0, 3.0, 4.0])]
        {
            let pad = ("auto_pad", Attribute::String(name.into()));
            let layer = conv(&[1, 1, 3], &[1, 1, 4], &[1, 1, 2], &[pad, ("strides", Attribute::Ints(vec![2]))]);
            let mut rows = Vec::new();
            layer.rows(&[1.0, 2.0, 3.0, 4.0], &[0, 1], &mut rows);
            assert_eq!(rows, expected, "{name}");
        }
    }
}
