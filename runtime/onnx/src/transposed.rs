//! Transposed convolutions as convolutions.
//!
//! Along an axis of stride `s`, every `s`-th element of a
//! [ConvTranspose](https://onnx.ai/onnx/operators/onnx__ConvTranspose.html)'s result is a plain convolution of the
//! input by every `s`-th tap: a *phase*. One convolution with `s` times as many output channels computes all phases,
//! and its result is only seen in another order (Shi et al., «Is the deconvolution layer the same as a convolutional
//! layer?», 2016).

use crate::model::Node;

/// Why a node is no transposed convolution that can be written so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransposedError {
    /// The node breaks a rule of ONNX.
    #[error("{0}")]
    Wrong(String),
    /// This form is not covered.
    #[error("{0}")]
    NotCovered(String),
}

fn wrong<T>(problem: String) -> Result<T, TransposedError> {
    Err(TransposedError::Wrong(problem))
}

fn not_covered<T>(problem: &str) -> Result<T, TransposedError> {
    Err(TransposedError::NotCovered(problem.into()))
}

/// One spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the result.
    pub output: usize,
    /// Taps of the transposed convolution.
    pub kernel: usize,
    /// Results from one input element to the next: the number of phases.
    pub stride: usize,
    /// Results from one tap to the next.
    pub dilation: usize,
    /// Results cut off in front.
    pub pad: usize,
}

impl Axis {
    const NONE: Self = Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0 };

    /// Result `q · stride + phase` has input `q - shift` times tap `tap` in it: phase and shift.
    fn reads(self, tap: usize) -> (usize, i64) {
        let place = (tap * self.dilation) as i64 - self.pad as i64;
        (place.rem_euclid(self.stride as i64) as usize, place.div_euclid(self.stride as i64))
    }

    /// Taps of the convolution.
    #[must_use]
    pub fn span(self) -> usize {
        (self.reads(self.kernel - 1).1 - self.reads(0).1) as usize + 1
    }

    /// Padding of the convolution in front.
    #[must_use]
    pub fn before(self) -> usize {
        self.reads(self.kernel - 1).1.max(0) as usize
    }

    /// Results of the convolution.
    #[must_use]
    pub fn positions(self) -> usize {
        self.output.div_ceil(self.stride)
    }

    /// The tap that stands at `place` of the convolution for a phase.
    fn tap(self, phase: usize, place: usize) -> Option<usize> {
        let shift = self.before() as i64 - place as i64;
        (0..self.kernel).find(|&tap| self.reads(tap) == (phase, shift))
    }
}

/// A ConvTranspose node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transposed {
    /// Rows and columns; sequences have one row.
    pub axes: [Axis; 2],
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Input channels of a group.
    pub inner: usize,
    /// Output channels of a group.
    pub outer: usize,
}

impl Transposed {
    /// Reads a node over an input of shape `[batch, channels, spatial…]` with weights
    /// `[channels, output channels of a group, taps…]`.
    ///
    /// # Errors
    /// [`TransposedError`].
    pub fn of(node: &Node, shape: &[usize], weights: &[usize]) -> Result<Self, TransposedError> {
        if weights.len() != shape.len() || shape.len() < 3 {
            return wrong(format!("weights {weights:?} do not fit the input {shape:?}"));
        }
        if shape.len() > 4 {
            return not_covered("transposed convolutions over more than two axes have no step");
        }
        let spatial = shape.len() - 2;
        let mut axes = [Axis::NONE; 2];
        for (index, axis) in axes[2 - spatial..].iter_mut().enumerate() {
            *axis = axis_of(node, index, shape, weights)?;
        }
        let groups = node.int("group").unwrap_or(1).max(0) as usize;
        if groups == 0 || weights[0] != shape[1] || !shape[1].is_multiple_of(groups) || weights[1] == 0 {
            return wrong(format!("weights {weights:?} in {groups} groups do not fit {} input channels", shape[1]));
        }
        Ok(Self { axes, groups, inner: shape[1] / groups, outer: weights[1] })
    }

    /// Phases of both axes.
    #[must_use]
    pub fn phases(&self) -> usize {
        self.axes[0].stride * self.axes[1].stride
    }

    /// Taps of the convolution.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.axes[0].span() * self.axes[1].span()
    }

    /// Output channels of the convolution, in the order group, row phase, column phase, output channel of the group.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.groups * self.phases() * self.outer
    }

    /// For each weight of the convolution, `[channels, input channels of a group, tap rows, tap columns]`, the
    /// element of the node's weights; `None` where a phase has no tap.
    #[must_use]
    pub fn elements(&self) -> Vec<Option<usize>> {
        let [rows, columns] = self.axes;
        let kernel = rows.kernel * columns.kernel;
        let mut elements = Vec::with_capacity(self.channels() * self.inner * self.taps());
        for (group, phase, output) in self.each_channel() {
            for input in 0..self.inner {
                let base = ((group * self.inner + input) * self.outer + output) * kernel;
                elements.extend((0..self.taps()).map(|place| {
                    let row = rows.tap(phase / columns.stride, place / columns.span())?;
                    let column = columns.tap(phase % columns.stride, place % columns.span())?;
                    Some(base + row * columns.kernel + column)
                }));
            }
        }
        elements
    }

    /// For each output channel of the convolution, that of the node.
    #[must_use]
    pub fn channel_of(&self) -> Vec<usize> {
        self.each_channel().map(|(group, _, output)| group * self.outer + output).collect()
    }

    fn each_channel(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (phases, outer) = (self.phases(), self.outer);
        let places = (0..self.groups).flat_map(move |group| (0..phases).map(move |phase| (group, phase)));
        places.flat_map(move |(group, phase)| (0..outer).map(move |output| (group, phase, output)))
    }
}

/// Spatial axis `index` of a node.
fn axis_of(node: &Node, index: usize, shape: &[usize], weights: &[usize]) -> Result<Axis, TransposedError> {
    let spatial = shape.len() - 2;
    let number = |name: &str, place: usize, count: usize, default: usize| {
        let Some(values) = node.ints(name) else { return Ok(default) };
        match values.get(place).filter(|value| values.len() == count && (0..1 << 16).contains(*value)) {
            Some(&value) => Ok(value as usize),
            None => wrong(format!("the attribute {name} = {values:?} does not fit {spatial} spatial axes")),
        }
    };
    let (input, kernel) = (shape[2 + index], weights[2 + index]);
    if number("kernel_shape", index, spatial, kernel)? != kernel {
        return wrong(format!("its kernel_shape is not that of its weights, {:?}", &weights[2..]));
    }
    let stride = number("strides", index, spatial, 1)?;
    let dilation = number("dilations", index, spatial, 1)?;
    let extra = number("output_padding", index, spatial, 0)?;
    let pads = [number("pads", index, 2 * spatial, 0)?, number("pads", index + spatial, 2 * spatial, 0)?];
    if kernel == 0 || stride == 0 || dilation == 0 || input == 0 || kernel >= 1 << 16 {
        return wrong("kernel, strides and dilations must be at least 1".into());
    }
    let full = stride * (input - 1) + extra + (kernel - 1) * dilation + 1;
    let auto = node.string("auto_pad").unwrap_or("NOTSET");
    let asked = match (node.ints("output_shape"), auto) {
        (Some(_), _) => Some(number("output_shape", index, spatial, 0)?),
        (None, "SAME_UPPER" | "SAME_LOWER") => Some(input * stride),
        (None, "NOTSET" | "VALID") => None,
        (None, other) => return wrong(format!("auto_pad \"{other}\" is not known")),
    };
    let (pad, output) = match asked {
        Some(asked) => {
            let Some(total) = full.checked_sub(asked) else {
                return not_covered("an output_shape larger than what the taps reach has no step");
            };
            (if auto == "SAME_UPPER" { total / 2 } else { total.div_ceil(2) }, asked)
        }
        None if auto == "VALID" => (0, full),
        None => (pads[0], full.saturating_sub(pads[0] + pads[1])),
    };
    if output == 0 {
        return wrong("its pads cut off the whole result".into());
    }
    let axis = Axis { input, output, kernel, stride, dilation, pad };
    if axis.reads(kernel - 1).1 < 0 {
        return not_covered("padding that cuts off whole elements of the input has no step");
    }
    Ok(axis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attribute;

    /// `x = [1, 10, 100]`, taps `[1, 2, 3]`, stride 2, pad 1, by hand: the whole result is
    /// `[1, 2, 3 + 10, 20, 30 + 100, 200, 300]`, without its ends `[2, 13, 20, 130, 200]`.
    #[test]
    fn phases_are_every_other_result() {
        let node = Node::new("ConvTranspose", "", &["x", "w"], &["y"])
            .with("strides", Attribute::Ints(vec![2]))
            .with("pads", Attribute::Ints(vec![1, 1]));
        let transposed = Transposed::of(&node, &[1, 1, 3], &[1, 1, 3]).expect("a transposed convolution");
        let [_, axis] = transposed.axes;
        assert_eq!((axis.output, axis.positions(), axis.span(), axis.before()), (5, 3, 2, 0));
        // Phase 0 is tap 1 of the element itself; phase 1 tap 2 of it and tap 0 of the next.
        assert_eq!(transposed.elements(), [Some(1), None, Some(2), Some(0)]);
        let (x, w) = ([1, 10, 100, 0], [1, 2, 3]);
        let tap = |place: usize, x: i32| transposed.elements()[place].map_or(0, |tap| w[tap] * x);
        let y: Vec<i32> = (0..3)
            .flat_map(|q| [0, 2].map(|phase| tap(phase, x[q]) + tap(phase + 1, x[q + 1])))
            .take(axis.output)
            .collect();
        assert_eq!(y, [2, 13, 20, 130, 200]);
    }

    #[test]
    fn attributes_that_do_not_fit_are_named() {
        let node = Node::new("ConvTranspose", "", &["x", "w"], &["y"]).with("strides", Attribute::Ints(vec![2, 2]));
        let error = Transposed::of(&node, &[1, 1, 3], &[1, 1, 3]).expect_err("two strides for one axis");
        assert!(error.to_string().contains("strides"), "{error}");
    }
}
