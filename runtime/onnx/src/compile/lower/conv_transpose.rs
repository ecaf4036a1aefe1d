//! [ConvTranspose](https://onnx.ai/onnx/operators/onnx__ConvTranspose.html) as a convolution.
//!
//! Along an axis of stride `s`, every `s`-th element of the result is a plain convolution of the input by every `s`-th
//! tap. One convolution with `s` times as many output channels computes all of them, and its result is only seen in
//! another order (Shi et al., «Is the deconvolution layer the same as a convolutional layer?», 2016).

use cygnet_core::plan::step::Window;

use super::conv::{Weights, pair};
use super::movement::Part;
use super::value::ConstantQuantization;
use super::{Constant, Lowered, Lowering, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{Node, Tensor};

/// One spatial axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Elements cut off in front.
    pad: i64,
}

impl Axis {
    const NONE: Self = Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad: 0 };

    /// Element `q · stride + phase` of the result reads element `q - shift` of the input by tap `tap`: phase and shift.
    fn reads(self, tap: usize) -> (usize, i64) {
        let place = (tap * self.dilation) as i64 - self.pad;
        (place.rem_euclid(self.stride as i64) as usize, place.div_euclid(self.stride as i64))
    }

    /// The least and the greatest shift of all taps.
    fn shifts(self) -> (i64, i64) {
        (self.reads(0).1, self.reads(self.kernel - 1).1)
    }

    /// Taps of the convolution.
    fn span(self) -> usize {
        let (least, most) = self.shifts();
        (most - least) as usize + 1
    }

    /// The tap that stands at `place` of the convolution for a phase.
    fn tap(self, phase: usize, place: usize) -> Option<usize> {
        let (_, most) = self.shifts();
        (0..self.kernel).find(|&tap| self.reads(tap) == (phase, most - place as i64))
    }

    /// Results of the convolution along the axis.
    fn positions(self) -> usize {
        self.output.div_ceil(self.stride)
    }
}

/// The two spatial axes of a node; sequences have one row.
fn axes(node: &Node, shape: &[usize], kernel: [usize; 2]) -> Lowered<[Axis; 2]> {
    let spatial = shape.len() - 2;
    let stride = pair(node.ints("strides"), spatial, 1)?;
    let dilation = pair(node.ints("dilations"), spatial, 1)?;
    let padding = pair(node.ints("output_padding"), spatial, 0)?;
    let asked = node.ints("output_shape");
    let pads = node.ints("pads").map_or(vec![0; 2 * spatial], <[i64]>::to_vec);
    let fits = pads.len() == 2 * spatial && pads.iter().all(|pad| (0..1 << 16).contains(pad));
    if !fits || asked.is_some_and(|asked| asked.len() != spatial || asked.iter().any(|&size| size < 1)) {
        return wrong(format!("its pads or output_shape do not fit {spatial} spatial axes"));
    }
    if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
        return wrong("kernel, strides and dilations must be at least 1");
    }
    let auto = node.string("auto_pad").unwrap_or("NOTSET");
    let mut axes = [Axis::NONE; 2];
    for (place, axis) in axes.iter_mut().enumerate().skip(2 - spatial) {
        let index = place + spatial - 2;
        let (input, kernel, stride, dilation) = (shape[2 + index], kernel[place], stride[place], dilation[place]);
        let full = (stride * (input - 1) + padding[place] + (kernel - 1) * dilation + 1) as i64;
        let wanted = match (asked, auto) {
            (Some(asked), _) => Some(asked[index]),
            (None, "SAME_UPPER" | "SAME_LOWER") => Some((input * stride) as i64),
            (None, "NOTSET" | "VALID") => None,
            (None, other) => return wrong(format!("auto_pad \"{other}\" is not known")),
        };
        let (pad, output) = match wanted {
            Some(wanted) => {
                let total = full - wanted;
                (if auto == "SAME_UPPER" { total / 2 } else { total - total / 2 }, wanted)
            }
            None if auto == "VALID" => (0, full),
            None => (pads[index], full - pads[index] - pads[index + spatial]),
        };
        if output < 1 || pad < 0 {
            return no_step("padding of more elements than there are has no step");
        }
        *axis = Axis { input, output: output as usize, kernel, stride, dilation, pad };
    }
    Ok(axes)
}

/// The channels of the node.
#[derive(Clone, Copy)]
struct Channels {
    groups: usize,
    /// Input channels of a group.
    inner: usize,
    /// Output channels of a group.
    outer: usize,
}

impl Lowering<'_> {
    pub(super) fn conv_transpose(&mut self, node: &Node) -> Lowered {
        let x = self.tensor(node, 0)?;
        let Some(w) = self.constant(node, 1)? else { return wrong("its weights are missing") };
        let bias = self.constant(node, 2)?;
        let shape = x.layout.shape.clone();
        let w_shape = w.tensor.shape.clone();
        if w_shape.len() != shape.len() || shape.len() < 3 {
            return wrong(format!("weights {w_shape:?} do not fit the input {shape:?}"));
        }
        let kernel = match w_shape[2..] {
            [columns] => [1, columns],
            [rows, columns] => [rows, columns],
            _ => return no_step("transposed convolutions over more than two axes have no step"),
        };
        let axes @ [rows, columns] = axes(node, &shape, kernel)?;
        let groups = node.int("group").unwrap_or(1).max(0) as usize;
        if groups == 0 || w_shape[0] != shape[1] || !shape[1].is_multiple_of(groups) || w_shape[1] == 0 {
            return wrong(format!("weights {w_shape:?} in {groups} groups do not fit {} input channels", shape[1]));
        }
        let channels = Channels { groups, inner: shape[1] / groups, outer: w_shape[1] };
        if axes.iter().any(|axis| axis.shifts().1 < 0) {
            return no_step("padding that cuts off whole elements of the input has no step");
        }
        let phases = rows.stride * columns.stride;
        let window = Window {
            batch: shape[0] as u32,
            in_h: rows.input as u32,
            in_w: columns.input as u32,
            in_c: shape[1] as u32,
            out_h: rows.positions() as u32,
            out_w: columns.positions() as u32,
            out_c: (groups * channels.outer * phases) as u32,
            kernel_h: rows.span() as u32,
            kernel_w: columns.span() as u32,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: rows.shifts().1 as u32,
            pad_left: columns.shifts().1 as u32,
            groups: groups as u32,
        };
        let count = window.out_c as usize * channels.inner * window.taps();
        Self::check_size(&[count])?;
        let spread = spread_weights(&w, &axes, channels)?;
        let spread_bias = bias.as_deref().map(|bias| spread_bias(bias, channels, phases)).transpose()?;
        let (inner, taps, row) = (channels.inner, window.taps(), columns.span());
        let weights = Weights {
            constant: &spread,
            index: &|channel, y, x, input| (channel * inner + input) * taps + y * row + x,
            channel_axis: 0,
            bias: spread_bias.as_ref(),
            factors: &[],
            alpha: 1.0,
            beta: 1.0,
        };
        let Some(layout) = interleaved(&shape, &axes, channels) else {
            return no_step("its result cannot be seen as one tensor");
        };
        let x = self.ordered(&x, &Layout::channels_last_order(shape.len()))?;
        let cut: Vec<Part> = (0..shape.len())
            .map(|axis| {
                let spatial = (axis + 4 - shape.len()).checked_sub(2).filter(|_| axis > 1);
                let count = spatial.map_or(layout.shape[axis], |spatial| axes[spatial].output);
                Part { start: 0, step: 1, count }
            })
            .collect();
        if cut.iter().zip(&layout.shape).all(|(part, &extent)| part.count == extent) {
            return self.convolution(node, x, window, &weights, layout);
        }
        // The last elements of some phases lie beyond the end: cut off under a name that nobody else reads.
        let whole = self.fresh(&format!("{}/whole", node.output(0).unwrap_or("")));
        let inner_node = Node { outputs: vec![whole.clone()], ..node.clone() };
        self.convolution(&inner_node, x, window, &weights, layout)?;
        let val = self.any(&whole)?;
        let val = self.part(&val, &cut, node.output(0).unwrap_or(""))?;
        self.bind(node, 0, val);
        Ok(())
    }
}

/// Weights `[in, out of a group, kernel]` as those of the convolution: `[groups, phases, out of a group]` output channels,
/// input channels of a group, taps. Where a phase has no tap stands what means zero.
fn spread_weights(w: &Constant, axes: &[Axis; 2], channels: Channels) -> Lowered<Constant> {
    let w = w.clone().in_8_bits()?;
    let [rows, columns] = *axes;
    let Channels { groups, inner, outer } = channels;
    let (size, kernel) = (w.tensor.dtype.size_bytes(), rows.kernel * columns.kernel);
    let places: Vec<Option<usize>> = (0..rows.stride * columns.stride)
        .flat_map(|phase| (0..rows.span() * columns.span()).map(move |place| (phase, place)))
        .map(|(phase, place)| {
            let row = rows.tap(phase / columns.stride, place / columns.span())?;
            let column = columns.tap(phase % columns.stride, place % columns.span())?;
            Some(row * columns.kernel + column)
        })
        .collect();
    let (mut data, mut scales, mut zero_points) = (Vec::new(), Vec::new(), Vec::new());
    for group in 0..groups {
        for taps in places.chunks(rows.span() * columns.span()) {
            for output in 0..outer {
                let element = |input: usize, tap: usize| ((group * inner + input) * outer + output) * kernel + tap;
                let mut zero = vec![0; size];
                if let Some(quantization) = &w.quantization {
                    let of_channel = if quantization.scales.len() == 1 { 0 } else { output };
                    if quantization.block > 0 || quantization.scales.len() > 1 && quantization.axis != 1 {
                        return no_step("weights with scales along another axis than output channels have no step");
                    }
                    scales.push(quantization.scales[of_channel]);
                    zero_points.push(quantization.zero_points[of_channel]);
                    zero.copy_from_slice(&i64::from(quantization.zero_points[of_channel]).to_le_bytes()[..size]);
                }
                for input in 0..inner {
                    for tap in taps {
                        match tap.map(|tap| element(input, tap) * size) {
                            Some(at) => data.extend_from_slice(&w.tensor.data[at..at + size]),
                            None => data.extend_from_slice(&zero),
                        }
                    }
                }
            }
        }
    }
    let shape =
        vec![groups * places.len() / (rows.span() * columns.span()) * outer, inner, rows.span(), columns.span()];
    let quantization =
        w.quantization.is_some().then_some(ConstantQuantization { scales, zero_points, axis: 0, block: 0 });
    Ok(Constant { tensor: Tensor { dtype: w.tensor.dtype, shape, data }, quantization })
}

/// A bias by the output channels of the convolution.
fn spread_bias(bias: &Constant, channels: Channels, phases: usize) -> Lowered<Constant> {
    let Channels { groups, outer, .. } = channels;
    if bias.tensor.len() != groups * outer {
        return wrong("its bias has another number of elements than output channels");
    }
    let order: Vec<usize> =
        (0..groups).flat_map(|group| (0..phases * outer).map(move |place| group * outer + place % outer)).collect();
    let size = bias.tensor.dtype.size_bytes();
    let data =
        order.iter().flat_map(|&from| bias.tensor.data[from * size..(from + 1) * size].iter().copied()).collect();
    let tensor = Tensor { dtype: bias.tensor.dtype, shape: vec![order.len()], data };
    let quantization = bias.quantization.as_ref().map(|quantization| {
        let of = |from: usize| if quantization.scales.len() == 1 { 0 } else { from };
        ConstantQuantization {
            scales: order.iter().map(|&from| quantization.scales[of(from)]).collect(),
            zero_points: order.iter().map(|&from| quantization.zero_points[of(from)]).collect(),
            axis: 0,
            block: 0,
        }
    });
    Ok(Constant { tensor, quantization })
}

/// Where the elements of the transposed convolution lie in the result of the convolution.
fn interleaved(shape: &[usize], axes: &[Axis; 2], channels: Channels) -> Option<Layout> {
    let [rows, columns] = *axes;
    let Channels { groups, outer, .. } = channels;
    let memory = [shape[0], rows.positions(), columns.positions(), groups, rows.stride, columns.stride, outer];
    let layout = Layout::row_major(&memory).transposed(&[0, 3, 6, 1, 4, 2, 5]);
    let mut joined = vec![shape[0], groups * outer];
    joined.extend(axes[4 - shape.len()..].iter().map(|axis| axis.positions() * axis.stride));
    layout.reshaped(&joined)
}
