//! [ConvTranspose](https://onnx.ai/onnx/operators/onnx__ConvTranspose.html) as a convolution, see [`transposed`].
//!
//! [`transposed`]: crate::transposed

use cygnet_core::plan::step::Window;

use super::conv::Weights;
use super::movement::Part;
use super::value::ConstantQuantization;
use super::{Constant, Lowered, Lowering, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{Node, Tensor};
use crate::transposed::{Transposed, TransposedError};

impl Lowering<'_> {
    pub(super) fn conv_transpose(&mut self, node: &Node) -> Lowered {
        let x = self.tensor(node, 0)?;
        let Some(w) = self.constant(node, 1)? else { return wrong("its weights are missing") };
        let bias = self.constant(node, 2)?;
        let shape = x.layout.shape.clone();
        let transposed = match Transposed::of(node, &shape, &w.tensor.shape) {
            Ok(transposed) => transposed,
            Err(TransposedError::Wrong(problem)) => return wrong(problem),
            Err(TransposedError::NotCovered(reason)) => return no_step(reason),
        };
        let window = window(&transposed, &shape);
        Self::check_size(&[transposed.channels(), transposed.inner, transposed.taps()])?;
        let spread = spread_weights(&w, &transposed)?;
        let spread_bias = bias.as_deref().map(|bias| spread_bias(bias, &transposed)).transpose()?;
        let (inner, taps, row) = (transposed.inner, transposed.taps(), transposed.axes[1].span());
        let weights = Weights {
            constant: &spread,
            index: &|channel, y, x, input| (channel * inner + input) * taps + y * row + x,
            channel_axis: 0,
            bias: spread_bias.as_ref(),
            factors: &[],
            alpha: 1.0,
            beta: 1.0,
        };
        let Some(layout) = interleaved(&shape, &transposed) else {
            return no_step("its result cannot be seen as one tensor");
        };
        let x = self.ordered(&x, &Layout::channels_last_order(shape.len()))?;
        let extents = transposed.axes[4 - shape.len()..].iter().map(|axis| axis.output);
        let extents = layout.shape[..2].iter().copied().chain(extents);
        let cut: Vec<Part> = extents.map(|count| Part { start: 0, step: 1, count }).collect();
        if cut.iter().zip(&layout.shape).all(|(part, &extent)| part.count == extent) {
            return self.convolution(node, x, window, &weights, layout);
        }
        // The last results of some phases lie beyond the end: cut off under a name that nobody else reads.
        let whole = self.fresh(&format!("{}/whole", node.output(0).unwrap_or("")));
        let uncut = Node { outputs: vec![whole.clone()], ..node.clone() };
        self.convolution(&uncut, x, window, &weights, layout)?;
        let val = self.any(&whole)?;
        let val = self.part(&val, &cut, node.output(0).unwrap_or(""))?;
        self.bind(node, 0, val);
        Ok(())
    }
}

/// The window of the convolution over an input of shape `[batch, channels, spatial…]`.
fn window(transposed: &Transposed, shape: &[usize]) -> Window {
    let [rows, columns] = transposed.axes;
    Window {
        batch: shape[0] as u32,
        in_h: rows.input as u32,
        in_w: columns.input as u32,
        in_c: shape[1] as u32,
        out_h: rows.positions() as u32,
        out_w: columns.positions() as u32,
        out_c: transposed.channels() as u32,
        kernel_h: rows.span() as u32,
        kernel_w: columns.span() as u32,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: rows.before() as u32,
        pad_left: columns.before() as u32,
        groups: transposed.groups as u32,
    }
}

/// The weights of the convolution; where a phase has no tap stands what means zero.
fn spread_weights(w: &Constant, transposed: &Transposed) -> Lowered<Constant> {
    let w = w.clone().in_8_bits()?;
    let size = w.tensor.dtype.size_bytes();
    let quantization = match &w.quantization {
        Some(quantization) if quantization.block > 0 || quantization.scales.len() > 1 && quantization.axis != 1 => {
            return no_step("weights with scales along another axis than output channels have no step");
        }
        // Scales go by the output channel of a group.
        Some(quantization) => {
            let of = |channel: usize| if quantization.scales.len() == 1 { 0 } else { channel % transposed.outer };
            let channels = transposed.channel_of();
            Some(ConstantQuantization {
                scales: channels.iter().map(|&channel| quantization.scales[of(channel)]).collect(),
                zero_points: channels.iter().map(|&channel| quantization.zero_points[of(channel)]).collect(),
                axis: 0,
                block: 0,
            })
        }
        None => None,
    };
    let of_channel = transposed.inner * transposed.taps();
    let mut data = Vec::with_capacity(transposed.channels() * of_channel * size);
    for (index, element) in transposed.elements().into_iter().enumerate() {
        match element {
            Some(from) => data.extend_from_slice(&w.tensor.data[from * size..][..size]),
            None => {
                let zero = quantization.as_ref().map_or(0, |q| i64::from(q.zero_points[index / of_channel]));
                data.extend_from_slice(&zero.to_le_bytes()[..size]);
            }
        }
    }
    let [rows, columns] = transposed.axes;
    let shape = vec![transposed.channels(), transposed.inner, rows.span(), columns.span()];
    Ok(Constant { tensor: Tensor { dtype: w.tensor.dtype, shape, data }, quantization })
}

/// The bias of the convolution.
fn spread_bias(bias: &Constant, transposed: &Transposed) -> Lowered<Constant> {
    if bias.tensor.len() != transposed.groups * transposed.outer {
        return wrong("its bias has another number of elements than output channels");
    }
    let channels = transposed.channel_of();
    let size = bias.tensor.dtype.size_bytes();
    let data = channels.iter().flat_map(|&from| bias.tensor.data[from * size..][..size].iter().copied()).collect();
    let tensor = Tensor { dtype: bias.tensor.dtype, shape: vec![channels.len()], data };
    let quantization = bias.quantization.as_ref().map(|quantization| {
        let of = |from: usize| if quantization.scales.len() == 1 { 0 } else { from };
        ConstantQuantization {
            scales: channels.iter().map(|&from| quantization.scales[of(from)]).collect(),
            zero_points: channels.iter().map(|&from| quantization.zero_points[of(from)]).collect(),
            axis: 0,
            block: 0,
        }
    });
    Ok(Constant { tensor, quantization })
}

/// Where the elements of the transposed convolution lie in the result of the convolution.
fn interleaved(shape: &[usize], transposed: &Transposed) -> Option<Layout> {
    let Transposed { axes: [rows, columns], groups, outer, .. } = *transposed;
    let memory = [shape[0], rows.positions(), columns.positions(), groups, rows.stride, columns.stride, outer];
    let layout = Layout::row_major(&memory).transposed(&[0, 3, 6, 1, 4, 2, 5]);
    let mut joined = vec![shape[0], groups * outer];
    joined.extend(transposed.axes[4 - shape.len()..].iter().map(|axis| axis.positions() * axis.stride));
    layout.reshaped(&joined)
}
