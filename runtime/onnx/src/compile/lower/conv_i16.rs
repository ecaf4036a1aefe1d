//! Convolutions and matrix products of int16 with int8 weights.

use cygnet_core::kernels::source::useful_scratch_i16;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{ConvI16, Step, Window};
use cygnet_core::weights::{self, WIDE_RUN};

use super::conv::{Weights, quantized_bias};
use super::{Lowered, Lowering, Val, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

/// What the sums start from, in the least type that holds all sums.
enum Bias {
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl Lowering<'_> {
    /// A convolution where input or result are int16: an int8 input is widened, exactly. In float where the weights have
    /// zero points or a channel has too many of them.
    #[allow(clippy::too_many_arguments, reason = "the operands of a convolution")]
    pub(super) fn convolution_i16(
        &mut self,
        node: &Node,
        x: Val,
        window: Window,
        w: &Weights<'_>,
        values: &[i8],
        shift: i32,
        layout: Layout,
    ) -> Lowered {
        let Some(quantization) = &w.constant.quantization else { return wrong("its weights are not quantized") };
        let depthwise = window.groups == window.in_c && window.in_c > 1;
        let has_zero_points = quantization.zero_points.iter().any(|&zero| zero != shift);
        if has_zero_points || depthwise && window.taps() > WIDE_RUN {
            return self.convolution_f32(node, x, window, w, layout);
        }
        let label = node.label();
        let x = self.widened(&x, &label)?;
        let (x_scale, x_zero) = self.quantization(&x);
        let channels = window.out_c as usize;
        let w_scale = |c: usize| quantization.scales[if quantization.scales.len() == 1 { 0 } else { c }];
        let w_scales: Vec<f32> = (0..channels).map(w_scale).collect();
        let name = node.output(0).unwrap_or("").to_string();
        let target = self.target(&name);
        let divided = |scale: f32| target.as_ref().map_or(scale, |target| scale / target.scale);
        let multipliers: Vec<f32> = w_scales.iter().map(|w_scale| divided(x_scale * w_scale)).collect();
        if multipliers.iter().any(|m| !m.is_finite()) {
            return wrong("a quotient of its scales is not a finite number");
        }
        let weight = |c: usize, row: usize, column: usize, input: usize| values[(w.index)(c, row, column, input)];
        let bias = sums_start(&window, &weight, x_zero, &quantized_bias(w.bias, x_scale, &w_scales)?);
        let (dtype, quantization, (low, high)) = match &target {
            Some(t) => (t.held.dtype(), Some((t.scale, t.zero_point)), (t.low, t.high)),
            None => (DType::F32, None, (-128, 127)),
        };
        let result = target.as_ref().and_then(|target| target.names.first()).unwrap_or(&name).clone();
        let y = self.new_tensor(dtype, &layout, quantization, &result);
        let mut stored = Vec::new();
        if depthwise {
            let columns = window.kernel_w as usize;
            let taps = (0..window.taps()).flat_map(|tap| (0..channels).map(move |channel| (tap, channel)));
            stored.extend(taps.map(|(tap, c)| weight(c, tap / columns, tap % columns, 0).cast_unsigned()));
        } else {
            stored.resize(weights::packed_bytes(&window), 0);
            weights::pack(&window, &mut |c, row, column, input| weight(c, row, column, input), &mut stored);
        }
        let scratch = useful_scratch_i16(&window, depthwise, self.options.scratch_bytes);
        let step = ConvI16 {
            x: x.tensor,
            y,
            scratch: scratch.map(|len| self.builder.scratch_i16(len, &label)),
            window,
            weights: self.builder.constant(stored),
            multipliers: self.builder.constant_f32(&multipliers),
            wide: u32::from(matches!(bias, Bias::I64(_))),
            bias: match bias {
                Bias::I32(bias) => self.builder.constant_i32(&bias),
                Bias::I64(bias) => self.builder.constant(bias.iter().flat_map(|bias| bias.to_le_bytes()).collect()),
            },
            low,
            high,
        };
        let step = if depthwise { Step::DepthwiseI16(step) } else { Step::ConvI16(step) };
        self.builder.step(step, &label);
        self.bind_result(node, target.as_ref(), y, layout);
        Ok(())
    }
}

/// `bias - x_zero·Σw` of each output channel, in 32 bits where all sums of its products fit them.
fn sums_start(window: &Window, weight: &dyn Fn(usize, usize, usize, usize) -> i8, x_zero: i32, biases: &[i64]) -> Bias {
    let (rows, columns) = (window.kernel_h as usize, window.kernel_w as usize);
    let mut fits = true;
    let adjusted = biases.iter().enumerate().map(|(channel, bias)| {
        let taps = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let taps = taps.flat_map(|(row, column)| (0..window.group_in()).map(move |input| (row, column, input)));
        let (mut sum, mut magnitude) = (0_i64, 0_i64);
        for (row, column, input) in taps {
            let value = i64::from(weight(channel, row, column, input));
            (sum, magnitude) = (sum + value, magnitude + value.abs());
        }
        let bias = bias - i64::from(x_zero) * sum;
        fits &= magnitude * 32768 + bias.abs() < 1 << 31;
        bias
    });
    let adjusted: Vec<i64> = adjusted.collect();
    if fits { Bias::I32(adjusted.iter().map(|&bias| bias as i32).collect()) } else { Bias::I64(adjusted) }
}
