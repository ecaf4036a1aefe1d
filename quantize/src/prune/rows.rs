//! A layer as a matrix product: the rows that its weights are multiplied with.

use cygnet_onnx::model::{Model, Node, Tensor};

use crate::graph::constant;

/// How a layer reads its input. Rows hold, for one group, what one output value is made of, in the order of the
/// weights of an output channel.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Groups of channels that are computed apart.
    pub(super) groups: usize,
    /// Output channels of one group.
    pub(super) outputs: usize,
    /// Values of a row.
    pub(super) inputs: usize,
    /// Whether the weights have a row for each input, not for each output.
    pub(super) is_transposed: bool,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// The last axis is the row.
    Dense,
    /// Input and output extents (channels, height, width) and how the kernel moves.
    Window {
        input: [usize; 3],
        output: [usize; 3],
        kernel: [usize; 2],
        stride: [usize; 2],
        gap: [usize; 2],
        pad: [usize; 2],
    },
}

impl Rows {
    /// The rows of `node`, which reads `input` and makes `output` values in these shapes; `None` for layers of
    /// another kind, three-dimensional ones and batches.
    pub(super) fn of(model: &Model, node: &Node, input: &[usize], output: &[usize]) -> Option<Rows> {
        let weights = &constant(model, node, 1)?.shape;
        match (node.op_type.as_str(), &weights[..]) {
            ("Gemm" | "MatMul", &[first, second]) => {
                let is_transposed = node.int("transB").unwrap_or(0) == 0;
                let (inputs, outputs) = if is_transposed { (first, second) } else { (second, first) };
                Some(Rows { groups: 1, outputs, inputs, is_transposed, form: Form::Dense })
            }
            ("Conv", &[made, per_group, ..]) if (3..=4).contains(&weights.len()) && input.first() == Some(&1) => {
                let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|groups| *groups > 0)?;
                let kernel = pair(weights.get(2..)?, 1)?;
                let of =
                    |name: &str, usual: i64| node.ints(name).map_or(Some([usual as usize; 2]), |v| pair_of(v, usual));
                let (stride, gap) = (of("strides", 1)?, of("dilations", 1)?);
                let (input, output) = (extents(input)?, extents(output)?);
                let pad = pads(node, input, output, kernel, stride, gap)?;
                let form = Form::Window { input, output, kernel, stride, gap, pad };
                let inputs = per_group * kernel[0] * kernel[1];
                Some(Rows { groups, outputs: made / groups, inputs, is_transposed: false, form })
            }
            _ => None,
        }
    }

    /// The number of positions at which the layer is computed on an input of `values` numbers.
    pub(super) fn positions(&self, values: usize) -> usize {
        match &self.form {
            Form::Dense => values / self.inputs.max(1),
            Form::Window { output, .. } => output[1] * output[2],
        }
    }

    /// Appends the row of `group` at `position`.
    pub(super) fn read(&self, input: &[f32], position: usize, group: usize, row: &mut Vec<f32>) {
        match &self.form {
            Form::Dense => row.extend_from_slice(&input[position * self.inputs..][..self.inputs]),
            Form::Window { input: [_, height, width], output, kernel, stride, gap, pad } => {
                let (top, left) = (position / output[2] * stride[0], position % output[2] * stride[1]);
                let channels = self.inputs / (kernel[0] * kernel[1]);
                for channel in group * channels..(group + 1) * channels {
                    let plane = &input[channel * height * width..][..height * width];
                    for y in (0..kernel[0]).map(|k| (top + k * gap[0]).wrapping_sub(pad[0])) {
                        for x in (0..kernel[1]).map(|k| (left + k * gap[1]).wrapping_sub(pad[1])) {
                            row.push(if y < *height && x < *width { plane[y * width + x] } else { 0.0 });
                        }
                    }
                }
            }
        }
    }

    /// The value that output channel `channel` of `group` has at `position`.
    pub(super) fn made(&self, output: &[f32], position: usize, group: usize, channel: usize) -> f32 {
        let channel = group * self.outputs + channel;
        match &self.form {
            Form::Dense => output[position * self.outputs + channel],
            Form::Window { output: extents, .. } => output[channel * extents[1] * extents[2] + position],
        }
    }

    /// Weights with a row of [`Rows::inputs`] for each output channel.
    pub(super) fn weights(&self, tensor: &Tensor) -> Option<Vec<f32>> {
        let values = tensor.to_f32s().ok()?;
        Some(if self.is_transposed { transposed(&values, self.inputs, self.outputs) } else { values })
    }

    /// Such weights in the order of the model.
    pub(super) fn tensor(&self, shape: &[usize], weights: Vec<f32>) -> Tensor {
        let values = if self.is_transposed { transposed(&weights, self.outputs, self.inputs) } else { weights };
        Tensor::from_f32(shape.to_vec(), &values)
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// One or two spatial extents as height and width.
fn pair(extents: &[usize], missing: usize) -> Option<[usize; 2]> {
    match *extents {
        [width] => Some([missing, width]),
        [height, width] => Some([height, width]),
        _ => None,
    }
}

fn pair_of(extents: &[i64], missing: i64) -> Option<[usize; 2]> {
    let extents = extents.iter().map(|&v| usize::try_from(v).ok()).collect::<Option<Vec<_>>>()?;
    pair(&extents, missing as usize)
}

/// Channels, height and width.
fn extents(shape: &[usize]) -> Option<[usize; 3]> {
    let [height, width] = pair(shape.get(2..)?, 1)?;
    Some([shape[1], height, width])
}

/// Rows and columns of zeros before the first.
fn pads(
    node: &Node,
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    gap: [usize; 2],
) -> Option<[usize; 2]> {
    let same = |axis: usize| {
        let reach = (output[axis + 1] - 1) * stride[axis] + (kernel[axis] - 1) * gap[axis] + 1;
        reach.saturating_sub(input[axis + 1])
    };
    match node.string("auto_pad").unwrap_or("NOTSET") {
        "SAME_UPPER" => Some([same(0) / 2, same(1) / 2]),
        "SAME_LOWER" => Some([same(0).div_ceil(2), same(1).div_ceil(2)]),
        "VALID" => Some([0, 0]),
        _ => match node.ints("pads") {
            None => Some([0, 0]),
            Some(pads) => pair_of(&pads[..pads.len() / 2], 0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::Attribute;

    /// A 3×3 window on a 2×2 picture of two channels, padded by one, step 2: at (0, 0) it sees all of the picture.
    #[test]
    fn windows_are_read_as_the_weights_lie() {
        let mut model = Model::default();
        model.initializers.insert("w".into(), Tensor::from_f32(vec![1, 2, 3, 3], &[0.0; 18]));
        let node = Node::new("Conv", "", &["x", "w"], &["y"])
            .with("pads", Attribute::Ints(vec![1, 1, 1, 1]))
            .with("strides", Attribute::Ints(vec![2, 2]));
        let rows = Rows::of(&model, &node, &[1, 2, 2, 2], &[1, 1, 1, 1]).unwrap();
        let mut row = Vec::new();
        rows.read(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 0, 0, &mut row);
        let first = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0];
        let second = [0.0, 0.0, 0.0, 0.0, 5.0, 6.0, 0.0, 7.0, 8.0];
        assert_eq!(row, [first, second].concat());
        assert_eq!(rows.positions(8), 1);
    }

    #[test]
    fn matrices_are_read_along_their_last_axis() {
        let mut model = Model::default();
        model.initializers.insert("w".into(), Tensor::from_f32(vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let rows = Rows::of(&model, &Node::new("MatMul", "", &["x", "w"], &["y"]), &[1, 2], &[1, 3]).unwrap();
        let weights = rows.weights(&model.initializers["w"]).unwrap();
        assert_eq!(weights, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(rows.tensor(&[2, 3], weights), model.initializers["w"]);
    }
}
