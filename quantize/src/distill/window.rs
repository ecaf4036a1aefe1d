//! Windows that slide over space: what convolutions and pooling share.
//!
//! [`Window::unfold`] lays every window out as a column, so that a convolution is a matrix product and a pooling a
//! reduction. Strides, dilations, uneven padding and groups cost nothing extra that way, and the gradient of all of
//! them is the library's gradient of a product behind one adjoint, [`Fold`].

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};
use cygnet_onnx::model::Node;

/// How windows lie over an input `[channels, height, width]`; one spatial axis is height 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Padding above and left of the input.
    before: [usize; 2],
    /// What stands in the padding.
    fill: f32,
}

impl Window {
    /// The windows of a convolution or pooling `node` with a `kernel`; both spatial extents in ONNX's order.
    ///
    /// `None` where there are not one or two spatial axes, or the window does not fit.
    pub(super) fn of(node: &Node, input: &[usize], kernel: &[usize], fill: f32) -> Option<Window> {
        let axes = input.len();
        if kernel.len() != axes || !(1..=2).contains(&axes) {
            return None;
        }
        let numbers = |name: &str, usual: usize, count: usize| match node.ints(name) {
            None => Some(vec![usual; count]),
            Some(given) => {
                let given: Option<Vec<usize>> = given.iter().map(|&n| usize::try_from(n).ok()).collect();
                given.filter(|g| g.len() == count)
            }
        };
        let (strides, dilations) = (numbers("strides", 1, axes)?, numbers("dilations", 1, axes)?);
        let pads = numbers("pads", 0, 2 * axes)?;
        let is_ceil = node.int("ceil_mode").unwrap_or(0) != 0;
        let mut window = Window {
            input: [1; 2],
            kernel: [1; 2],
            output: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            before: [0; 2],
            fill,
        };
        for axis in 0..axes {
            let (extent, stride) = (input[axis], strides[axis]);
            let reach = (kernel[axis].checked_sub(1)?) * dilations[axis] + 1;
            let same = || extent.div_ceil(stride.max(1));
            let missing = || (same().saturating_sub(1) * stride + reach).saturating_sub(extent);
            let (before, output) = match node.string("auto_pad").unwrap_or("NOTSET") {
                "SAME_UPPER" => (missing() / 2, same()),
                "SAME_LOWER" => (missing().div_ceil(2), same()),
                kind => {
                    let pads = if kind == "VALID" { [0; 2] } else { [pads[axis], pads[axis + axes]] };
                    let room = (extent + pads[0] + pads[1]).checked_sub(reach)?;
                    let steps = if is_ceil { room.div_ceil(stride.max(1)) } else { room / stride.max(1) };
                    // A window that would start in the padding behind the input is none.
                    let is_beyond = is_ceil && steps * stride >= extent + pads[0];
                    (pads[0], steps + 1 - usize::from(is_beyond))
                }
            };
            let place = axis + 2 - axes;
            window.input[place] = extent;
            window.kernel[place] = kernel[axis];
            window.output[place] = output;
            window.stride[place] = stride;
            window.dilation[place] = dilations[axis];
            window.before[place] = before;
        }
        (strides.iter().all(|&s| s > 0)).then_some(window)
    }

    /// The output's spatial extents as ONNX has them for `axes` spatial axes.
    pub(super) fn output_extents(&self, axes: usize) -> &[usize] {
        &self.output[2 - axes.min(2)..]
    }

    /// Number of places in a window.
    pub(super) fn kernel_len(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Number of windows.
    pub(super) fn output_len(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Every window as a column: `[channels, height, width]` to `[channels, kernel_len, output_len]`.
    pub(super) fn unfold(self, x: &Tensor) -> Result<Tensor> {
        let is_plain = self.kernel == [1; 2] && self.input == self.output && self.before == [0; 2];
        let channels = x.elem_count() / (self.input[0] * self.input[1]).max(1);
        if is_plain {
            return x.reshape((channels, 1, self.output_len()));
        }
        x.contiguous()?.apply_op1(Unfold(self))?.reshape((channels, self.kernel_len(), self.output_len()))
    }

    /// How many places of each window lie inside the input, in the order of the outputs.
    pub(super) fn inside(&self) -> Vec<f32> {
        let mut counts = vec![0.0; self.output_len()];
        let ones = vec![1.0; self.input[0] * self.input[1]];
        let mut column = vec![0.0; self.output_len()];
        for place in 0..self.kernel_len() {
            Window { fill: 0.0, ..*self }.gather(&ones, place, &mut column);
            counts.iter_mut().zip(&column).for_each(|(count, one)| *count += one);
        }
        counts
    }

    /// The run of outputs along one axis whose place `offset` lies inside the input, and where the first one reads.
    fn run(&self, axis: usize, offset: usize) -> (usize, usize, usize) {
        let (stride, before) = (self.stride[axis], self.before[axis]);
        let offset = offset * self.dilation[axis];
        let first = before.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + before).saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        (first, end.max(first), (first * stride + offset).saturating_sub(before))
    }

    /// What the windows have at `place`, for one channel.
    fn gather(&self, channel: &[f32], place: usize, column: &mut [f32]) {
        let (rows, columns) = (place / self.kernel[1], place % self.kernel[1]);
        let (first_row, end_row, from_row) = self.run(0, rows);
        let (first, end, from) = self.run(1, columns);
        column.fill(self.fill);
        for row in first_row..end_row {
            let line = &channel[(from_row + (row - first_row) * self.stride[0]) * self.input[1]..];
            let to = &mut column[row * self.output[1]..][first..end];
            to.iter_mut().zip(line[from.min(line.len())..].iter().step_by(self.stride[1])).for_each(|(t, f)| *t = *f);
        }
    }

    /// Adds `column` to where [`Window::gather`] takes it from.
    fn scatter(&self, column: &[f32], place: usize, channel: &mut [f32]) {
        let (rows, columns) = (place / self.kernel[1], place % self.kernel[1]);
        let (first_row, end_row, from_row) = self.run(0, rows);
        let (first, end, from) = self.run(1, columns);
        for row in first_row..end_row {
            let line = &mut channel[(from_row + (row - first_row) * self.stride[0]) * self.input[1]..];
            let from = from.min(line.len());
            let source = &column[row * self.output[1]..][first..end];
            line[from..].iter_mut().step_by(self.stride[1]).zip(source).for_each(|(t, f)| *t += *f);
        }
    }
}

/// Lays windows out as columns.
struct Unfold(Window);

impl CustomOp1 for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let window = &self.0;
        let x = dense(storage, layout)?;
        let plane = window.input[0] * window.input[1];
        let columns = window.output_len();
        let channels = x.len() / plane.max(1);
        let mut y = vec![0f32; channels * window.kernel_len() * columns];
        if columns > 0 {
            for (index, column) in y.chunks_exact_mut(columns).enumerate() {
                let (channel, place) = (index / window.kernel_len(), index % window.kernel_len());
                window.gather(&x[channel * plane..][..plane], place, column);
            }
        }
        Ok((CpuStorage::F32(y), (channels * window.kernel_len(), columns).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let folded = gradient.contiguous()?.apply_op1_no_bwd(&Fold(self.0))?;
        Ok(Some(folded.reshape(x.shape())?))
    }
}

/// The adjoint of [`Unfold`]: adds every place of every window to where it came from.
struct Fold(Window);

impl CustomOp1 for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let window = &self.0;
        let y = dense(storage, layout)?;
        let plane = window.input[0] * window.input[1];
        let (columns, places) = (window.output_len().max(1), window.kernel_len());
        let mut x = vec![0f32; y.len() / (columns * places).max(1) * plane];
        for (index, column) in y.chunks_exact(columns).enumerate() {
            window.scatter(column, index % places, &mut x[index / places * plane..][..plane]);
        }
        let shape = x.len().into();
        Ok((CpuStorage::F32(x), shape))
    }
}

/// The elements of a tensor that lies in one piece.
pub(super) fn dense<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op: "window" })?;
    let values = storage.as_slice::<f32>()?;
    values.get(start..end).ok_or_else(|| Error::Msg("a tensor's layout lies beyond its storage".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use cygnet_onnx::model::Attribute;

    fn window(attributes: &[(&str, &[i64])], input: &[usize], kernel: &[usize]) -> Window {
        let mut node = Node::new("Conv", "", &["x", "w"], &["y"]);
        for (name, values) in attributes {
            node = node.with(name, Attribute::Ints(values.to_vec()));
        }
        Window::of(&node, input, kernel, 0.0).unwrap()
    }

    #[test]
    fn columns_are_windows() {
        // 1 2 3 / 4 5 6, windows of 1×2, one column of padding on the right: by hand.
        let x = Tensor::new(&[[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]], &Device::Cpu).unwrap();
        let window = window(&[("pads", &[0, 0, 0, 1])], &[2, 3], &[1, 2]);
        let columns = window.unfold(&x).unwrap().squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(columns, [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 3.0, 0.0, 5.0, 6.0, 0.0]]);
        assert_eq!(window.inside(), [2.0, 2.0, 1.0, 2.0, 2.0, 1.0]);
    }

    type Attributes<'a> = &'a [(&'a str, &'a [i64])];

    #[test]
    fn extents_are_as_onnx_says() {
        // floor((extent + pads - ((kernel - 1) · dilation + 1)) / stride) + 1
        let cases: [(Attributes<'_>, usize, usize, usize); 4] = [
            (&[("strides", &[2]), ("pads", &[1, 0])], 10, 3, 5),
            (&[("dilations", &[3])], 10, 3, 4),
            (&[("strides", &[3])], 10, 1, 4),
            (&[("pads", &[4, 4])], 2, 3, 8),
        ];
        for (attributes, extent, kernel, output) in cases {
            assert_eq!(window(attributes, &[extent], &[kernel]).output, [1, output], "{attributes:?}");
        }
        let same = Node::new("Conv", "", &[], &[]).with("auto_pad", Attribute::String("SAME_UPPER".into()));
        let same = same.with("strides", Attribute::Ints(vec![2, 2]));
        let window = Window::of(&same, &[49, 10], &[10, 4], 0.0).unwrap();
        // TensorFlow: 25 and 5 out; 24 · 2 + 10 - 49 = 9 and 4 · 2 + 4 - 10 = 2 of padding, the less before.
        assert_eq!((window.output, window.before), ([25, 5], [4, 1]));
    }

    /// ⟨unfold(x), y⟩ = ⟨x, fold(y)⟩ for the gradient: what defines an adjoint.
    #[test]
    fn the_gradient_is_the_adjoint() {
        let shapes: [(Attributes<'_>, [usize; 2], [usize; 2]); 4] = [
            (&[("strides", &[2, 1]), ("pads", &[1, 0, 2, 1])], [7, 5], [3, 2]),
            (&[("dilations", &[2, 3])], [9, 8], [3, 2]),
            (&[("strides", &[3, 3])], [8, 8], [1, 1]),
            (&[("pads", &[3, 3, 3, 3])], [2, 2], [3, 3]),
        ];
        for (attributes, input, kernel) in shapes {
            let window = window(attributes, &input, &kernel);
            let numbers = |count: usize, step: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * step) % 17) as f32 - 8.0).collect()
            };
            let x = Tensor::from_vec(numbers(2 * input[0] * input[1], 5), (2, input[0], input[1]), &Device::Cpu);
            let x = Var::from_tensor(&x.unwrap()).unwrap();
            let columns = window.unfold(&x).unwrap();
            let y = Tensor::from_vec(numbers(columns.elem_count(), 7), columns.shape(), &Device::Cpu).unwrap();
            let product = (&columns * &y).unwrap().sum_all().unwrap();
            let gradient = product.backward().unwrap().remove(x.as_tensor()).unwrap();
            let other = (x.as_tensor() * gradient).unwrap().sum_all().unwrap();
            // Whole numbers: exact.
            assert_eq!(product.to_scalar::<f32>().unwrap(), other.to_scalar::<f32>().unwrap(), "{attributes:?}");
        }
    }
}
