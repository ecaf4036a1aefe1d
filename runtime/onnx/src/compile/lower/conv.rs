//! [Conv](https://onnx.ai/onnx/operators/onnx__Conv.html) and the windows that pooling shares.

use cygnet_core::bytes::Span;
use cygnet_core::plan::step::{ConvF32, ConvI8, DepthwiseF32, Step, Window};
use cygnet_core::plan::{DType, TensorId};
use cygnet_core::weights;

use super::quantize::Target;
use super::{Constant, Held, Kind, Lowered, Lowering, Val, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

/// A window sliding over rows and columns; sequences have one row.
pub(super) struct Sliding {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Padding in front, by rows and columns.
    pub before: [usize; 2],
    /// Padding behind.
    pub after: [usize; 2],
    pub input: [usize; 2],
    pub output: [usize; 2],
}

/// Two numbers, rows and columns, from one for each spatial axis.
fn pair(values: Option<&[i64]>, spatial: usize, default: usize) -> Lowered<[usize; 2]> {
    let Some(values) = values else { return Ok([default; 2].map(|value| if spatial == 0 { 1 } else { value })) };
    if values.len() != spatial || values.iter().any(|&value| !(0..1 << 16).contains(&value)) {
        return wrong(format!("the attribute {values:?} does not fit {spatial} spatial axes"));
    }
    Ok(match values {
        [columns] => [default, *columns as usize],
        [rows, columns] => [*rows as usize, *columns as usize],
        _ => return no_step("windows over more than two axes have no step"),
    })
}

impl Sliding {
    /// Reads the attributes of a Conv or pooling node over a tensor of `shape` (batch, channels, spatial).
    pub fn of(node: &Node, shape: &[usize], kernel: Option<[usize; 2]>) -> Lowered<Self> {
        let spatial = shape.len().saturating_sub(2);
        if !(1..=2).contains(&spatial) {
            return no_step(format!("windows over {spatial} axes have no step"));
        }
        let kernel = match kernel {
            Some(kernel) => {
                let of_weights = &kernel[2 - spatial..];
                let same = |given: &[i64]| {
                    given.iter().map(|&extent| usize::try_from(extent)).eq(of_weights.iter().map(|&extent| Ok(extent)))
                };
                if let Some(given) = node.ints("kernel_shape").filter(|given| !same(given)) {
                    return wrong(format!("its kernel_shape = {given:?} is not that of its weights, {of_weights:?}"));
                }
                kernel
            }
            None => {
                let mut kernel = pair(node.ints("kernel_shape"), spatial, 1)?;
                if spatial == 1 {
                    kernel[0] = 1;
                }
                kernel
            }
        };
        let stride = pair(node.ints("strides"), spatial, 1)?;
        let dilation = pair(node.ints("dilations"), spatial, 1)?;
        let input = if spatial == 1 { [1, shape[2]] } else { [shape[2], shape[3]] };
        if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
            return wrong("kernel, strides and dilations must be at least 1");
        }
        let reach: [usize; 2] = std::array::from_fn(|axis| (kernel[axis] - 1) * dilation[axis] + 1);
        let (mut before, mut after) = ([0; 2], [0; 2]);
        match node.string("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => {
                if let Some(pads) = node.ints("pads") {
                    if pads.len() != spatial * 2 || pads.iter().any(|pad| !(0..1 << 16).contains(pad)) {
                        return wrong(format!("the pads {pads:?} do not fit {spatial} spatial axes"));
                    }
                    for axis in 0..spatial {
                        before[axis + 2 - spatial] = pads[axis] as usize;
                        after[axis + 2 - spatial] = pads[axis + spatial] as usize;
                    }
                }
            }
            "VALID" => {}
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                for axis in 2 - spatial..2 {
                    let wanted = input[axis].div_ceil(stride[axis]);
                    let total = ((wanted - 1) * stride[axis] + reach[axis]).saturating_sub(input[axis]);
                    let less = total / 2;
                    before[axis] = if same == "SAME_UPPER" { less } else { total - less };
                    after[axis] = total - before[axis];
                }
            }
            other => return wrong(format!("auto_pad \"{other}\" is not known")),
        }
        let ceil = node.int("ceil_mode").unwrap_or(0) != 0;
        let mut output = [1; 2];
        for axis in 2 - spatial..2 {
            let Some(room) = (input[axis] + before[axis] + after[axis]).checked_sub(reach[axis]) else {
                return wrong("its window is larger than its padded input");
            };
            output[axis] = if ceil { room.div_ceil(stride[axis]) } else { room / stride[axis] } + 1;
            // A window that starts in the padding behind is left out.
            if ceil && (output[axis] - 1) * stride[axis] >= input[axis] + before[axis] {
                output[axis] -= 1;
            }
        }
        Ok(Self { kernel, stride, dilation, before, after, input, output })
    }

    /// Whether the window is the whole input, without padding.
    pub fn is_global(&self) -> bool {
        self.kernel == self.input && self.output == [1; 2] && (self.before, self.after) == ([0; 2], [0; 2])
    }

    /// The window of a step.
    pub fn window(&self, batch: usize, in_c: usize, out_c: usize, groups: usize) -> Window {
        Window {
            batch: batch as u32,
            in_h: self.input[0] as u32,
            in_w: self.input[1] as u32,
            in_c: in_c as u32,
            out_h: self.output[0] as u32,
            out_w: self.output[1] as u32,
            out_c: out_c as u32,
            kernel_h: self.kernel[0] as u32,
            kernel_w: self.kernel[1] as u32,
            stride_h: self.stride[0] as u32,
            stride_w: self.stride[1] as u32,
            dilation_h: self.dilation[0] as u32,
            dilation_w: self.dilation[1] as u32,
            pad_top: self.before[0] as u32,
            pad_left: self.before[1] as u32,
            groups: groups as u32,
        }
    }

    /// The ONNX shape of the result.
    pub fn output_shape(&self, input: &[usize], channels: usize) -> Vec<usize> {
        let mut shape = vec![input[0], channels];
        shape.extend_from_slice(&self.output[4 - input.len()..]);
        shape
    }
}

/// Weights of a convolution or matrix product, by output channel, tap row, tap column, input channel of the group.
pub(super) struct Weights<'w> {
    pub constant: &'w Constant,
    /// Index of an element in the constant.
    pub index: &'w dyn Fn(usize, usize, usize, usize) -> usize,
    /// The axis of the constant that counts output channels.
    pub channel_axis: usize,
    pub bias: Option<&'w Constant>,
    /// The factor inside each element of the constant, where weights were stored in blocks with a factor each; or none.
    pub factors: &'w [u8],
    /// Factors of Gemm.
    pub alpha: f32,
    pub beta: f32,
}

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &Node) -> Lowered {
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
            _ => return no_step("convolutions over more than two axes have no step"),
        };
        let sliding = Sliding::of(node, &shape, Some(kernel))?;
        let groups = match node.int("group").unwrap_or(1) {
            groups @ 1.. => groups as usize,
            other => return wrong(format!("its group is {other}; it must be at least 1")),
        };
        let (in_c, out_c) = (shape[1], w_shape[0]);
        if w_shape[1] * groups != in_c || !out_c.is_multiple_of(groups) || out_c == 0 {
            return wrong(format!("weights {w_shape:?} in {groups} groups do not fit {in_c} input channels"));
        }
        let window = sliding.window(shape[0], in_c, out_c, groups);
        let out_shape = sliding.output_shape(&shape, out_c);
        let layout = Layout::ordered(&out_shape, &Layout::channels_last_order(out_shape.len()));
        let x = self.ordered(&x, &Layout::channels_last_order(shape.len()))?;
        let (taps, columns, inner) = (kernel[0] * kernel[1], kernel[1], w_shape[1]);
        let weights = Weights {
            constant: &w,
            index: &|channel, row, column, input| (channel * inner + input) * taps + row * columns + column,
            channel_axis: 0,
            bias: bias.as_deref(),
            factors: &[],
            alpha: 1.0,
            beta: 1.0,
        };
        self.convolution(node, x, window, &weights, layout)
    }

    /// A convolution or matrix product of `x`, whose elements lie as the window says.
    pub(super) fn convolution(
        &mut self,
        node: &Node,
        x: Val,
        window: Window,
        w: &Weights<'_>,
        layout: Layout,
    ) -> Lowered {
        let channels = window.out_c as usize;
        Self::check_size(&layout.shape)?;
        if let Some(bias) = w.bias
            && ![1, channels].contains(&bias.tensor.len())
        {
            return no_step("a bias other than one for each output channel has no step");
        }
        if x.is_integer() && w.alpha == 1.0 && w.beta == 1.0 {
            let per_channel =
                |c: &Constant| c.quantization.as_ref().is_some_and(|q| q.scales.len() == 1 || q.axis == w.channel_axis);
            let joined = w.constant.joined(w.channel_axis);
            let w = &match &joined {
                Some(joined) => Weights { constant: &joined.constant, factors: &joined.factors, ..*w },
                None => Weights { ..*w },
            };
            if let Some((values, _, shift)) = w.constant.to_i8s()?
                && per_channel(w.constant)
            {
                let target = self.target(node.output(0).unwrap_or(""));
                if !x.is_quantized() || target.is_some_and(|target| target.held == Held::I16) {
                    return self.convolution_i16(node, x, window, w, &values, shift, layout);
                }
                return self.convolution_i8(node, &x, window, w, &values, shift, layout);
            }
        }
        self.convolution_f32(node, x, window, w, layout)
    }

    #[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
    fn convolution_i8(
        &mut self,
        node: &Node,
        x: &Val,
        window: Window,
        w: &Weights<'_>,
        values: &[i8],
        shift: i32,
        layout: Layout,
    ) -> Lowered {
        let (x_scale, x_zero) = self.quantization(x);
        let channels = window.out_c as usize;
        let Some(quantization) = &w.constant.quantization else { return wrong("its weights are not quantized") };
        let of_channel = |values: &[f32], channel: usize| values[if values.len() == 1 { 0 } else { channel }];
        let w_scales: Vec<f32> = (0..channels).map(|c| of_channel(&quantization.scales, c)).collect();
        let points = &quantization.zero_points;
        let w_zeros: Vec<i32> = (0..channels).map(|c| points[if points.len() == 1 { 0 } else { c }] - shift).collect();
        let name = node.output(0).unwrap_or("").to_string();
        let target = self.target(&name);
        let multipliers: Vec<f32> = w_scales
            .iter()
            .map(|w_scale| match &target {
                Some(target) => (x_scale * w_scale) / target.scale,
                None => x_scale * w_scale,
            })
            .collect();
        if multipliers.iter().any(|m| !m.is_finite()) {
            return wrong("a quotient of its scales is not a finite number");
        }
        let weight = |c: usize, row: usize, column: usize, input: usize| values[(w.index)(c, row, column, input)];
        let biases = quantized_bias(w.bias, x_scale, &w_scales)?;
        let taps = window.taps() * window.group_in();
        let mut adjusted = Vec::with_capacity(channels);
        for channel in 0..channels {
            let (mut sum, mut magnitude) = (0_i64, 0_i64);
            for row in 0..window.kernel_h as usize {
                for column in 0..window.kernel_w as usize {
                    for input in 0..window.group_in() {
                        let value = i64::from(weight(channel, row, column, input));
                        sum += value;
                        magnitude += value.abs();
                    }
                }
            }
            let (x_zero, w_zero) = (i64::from(x_zero), i64::from(w_zeros[channel]));
            let bias = biases[channel] - x_zero * sum + taps as i64 * x_zero * w_zero;
            if magnitude * 128 + bias.abs() + 128 * taps as i64 * w_zero.abs() >= 1 << 31 {
                return wrong(format!(
                    "the 32-bit sum of output channel {channel} could overflow; quantize the model with a larger \
                     weight scale, or keep this layer in float"
                ));
            }
            adjusted.push(bias as i32);
        }
        let multipliers = self.builder.constant_f32(&multipliers);
        let bias = self.builder.constant_i32(&adjusted);
        let weight_zero_points =
            if w_zeros.iter().all(|&zero| zero == 0) { Span::NONE } else { self.builder.constant_i32(&w_zeros) };
        let (dtype, quantization, low, high) = match &target {
            Some(t) => (DType::I8, Some((t.scale, t.zero_point)), t.low, t.high),
            None => (DType::F32, None, -128, 127),
        };
        let result = target.as_ref().and_then(|target| target.names.first()).unwrap_or(&name).clone();
        let y = self.new_tensor(dtype, &layout, quantization, &result);
        let conv = ConvI8 {
            x: x.tensor,
            y,
            scratch: None,
            window,
            weights: Span::NONE,
            multipliers,
            bias,
            weight_zero_points,
            narrow: 0,
            low,
            high,
        };
        let step = if window.groups == window.in_c && window.in_c > 1 {
            self.depthwise_i8(conv, &weight, &node.label())
        } else {
            let factor = |c, row, column, input| match w.factors {
                [] => 0,
                factors => factors[(w.index)(c, row, column, input)].cast_signed(),
            };
            self.dense_i8(conv, &weight, &factor, &node.label())
        };
        self.builder.step(step, &node.label());
        self.bind_result(node, target.as_ref(), y, layout);
        Ok(())
    }

    /// Binds an int8 result to its target, or a float one to the node's output.
    pub(super) fn bind_result(&mut self, node: &Node, target: Option<&Target>, tensor: TensorId, layout: Layout) {
        match target {
            Some(target) => {
                let val = Val { tensor, layout, kind: Kind::Stored(target.held) };
                self.bind_target(target, &val);
            }
            None => self.bind(node, 0, Val { tensor, layout, kind: Kind::Float }),
        }
    }

    pub(super) fn convolution_f32(
        &mut self,
        node: &Node,
        x: Val,
        window: Window,
        w: &Weights<'_>,
        layout: Layout,
    ) -> Lowered {
        let x = self.float(x)?;
        let values = w.constant.to_f32s()?;
        let channels = window.out_c as usize;
        let bias = match w.bias {
            Some(bias) => bias.to_f32s()?.iter().map(|value| value * w.beta).collect(),
            None => vec![0.0],
        };
        let bias: Vec<f32> = (0..channels).map(|c| bias[if bias.len() == 1 { 0 } else { c }]).collect();
        let bias = self.builder.constant_f32(&bias);
        let weight =
            |c: usize, row: usize, column: usize, input: usize| values[(w.index)(c, row, column, input)] * w.alpha;
        let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
        let mut name = node.output(0).unwrap_or("").to_string();
        while let Some((clamp, next)) = self.take_clamp(&name) {
            (low, high) = (low.max(clamp.low).min(clamp.high), high.min(clamp.high).max(clamp.low));
            name = next;
        }
        let y = self.new_tensor(DType::F32, &layout, None, &name);
        let columns = window.kernel_w as usize;
        let step = if window.groups == window.in_c && window.in_c > 1 {
            let taps = (0..window.taps()).flat_map(|tap| (0..channels).map(move |channel| (tap, channel)));
            let data: Vec<f32> = taps.map(|(tap, c)| weight(c, tap / columns, tap % columns, 0)).collect();
            let weights = self.builder.constant_f32(&data);
            Step::DepthwiseF32(DepthwiseF32 { x: x.tensor, y, window, weights, bias, low, high })
        } else {
            let block = weights::F32_BLOCK;
            let mut packed = Vec::with_capacity(weights::packed_f32_len(&window));
            for group in 0..window.groups as usize {
                for start in (0..window.group_out()).step_by(block) {
                    for tap in 0..window.taps() {
                        for input in 0..window.group_in() {
                            packed.extend((start..start + block).map(|lane| {
                                let inside = lane < window.group_out();
                                let channel = group * window.group_out() + lane;
                                if inside { weight(channel, tap / columns, tap % columns, input) } else { 0.0 }
                            }));
                        }
                    }
                }
            }
            let weights = self.builder.constant_f32(&packed);
            Step::ConvF32(ConvF32 { x: x.tensor, y, window, weights, bias, low, high })
        };
        self.builder.step(step, &node.label());
        self.values.insert(name, super::Value::Val(Val { tensor: y, layout, kind: Kind::Float }));
        Ok(())
    }
}

/// A bias in units of `x_scale · w_scale`: stored so already, or rounded to it.
pub(super) fn quantized_bias(bias: Option<&Constant>, x_scale: f32, w_scales: &[f32]) -> Lowered<Vec<i64>> {
    let Some(bias) = bias else { return Ok(vec![0; w_scales.len()]) };
    let stored = match &bias.quantization {
        Some(quantization) => {
            let scales = &quantization.scales;
            let fits = [1, w_scales.len()].contains(&scales.len())
                && (0..w_scales.len()).all(|channel| {
                    let given = scales[if scales.len() == 1 { 0 } else { channel }];
                    (given / (x_scale * w_scales[channel]) - 1.0).abs() < 1e-5
                });
            (fits && quantization.zero_points.iter().all(|&zero| zero == 0)).then(|| bias.tensor.to_i64s())
        }
        None => None,
    };
    if let Some(stored) = stored {
        let stored = stored?;
        return Ok((0..w_scales.len()).map(|c| stored[if stored.len() == 1 { 0 } else { c }]).collect());
    }
    let real = bias.to_f32s()?;
    let quantized = w_scales.iter().enumerate().map(|(channel, w_scale)| {
        let value = real[if real.len() == 1 { 0 } else { channel }] / (x_scale * w_scale);
        // Far beyond 32 bits, and far below where sums of 64 bits could overflow.
        value.round_ties_even().clamp(-1e15, 1e15) as i64
    });
    Ok(quantized.collect())
}
