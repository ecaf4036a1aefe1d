//! Convolution and pooling over one or two spatial axes.

use candle_core::{Result, Tensor};

use super::{Call, wrong};
use crate::distill::window::Window;

/// A convolution with groups: windows as columns, then one product for each group.
pub(super) fn conv(call: &Call) -> Result<Tensor> {
    let (x, weights) = (call.operand(0)?, call.operand(1)?);
    let (shape, kernel) = (x.dims(), weights.dims());
    let groups = usize::try_from(call.node.int("group").unwrap_or(1)).unwrap_or(0);
    let fits = shape.len() == kernel.len() && shape.len() > 2 && groups > 0 && kernel[0] % groups == 0;
    if !fits || shape[1] != kernel[1] * groups {
        return Err(wrong(format!("weights {kernel:?} in {groups} groups do not suit the input {shape:?}")));
    }
    let window = window(call, &shape[2..], &kernel[2..], 0.0)?;
    let (batch, inner) = (shape[0], kernel[1] * window.kernel_len());
    let weights = weights.reshape((groups, kernel[0] / groups, inner))?;
    let columns = window.unfold(x)?;
    let y = if batch == 1 {
        weights.matmul(&columns.reshape((groups, inner, window.output_len()))?)?
    } else {
        weights.unsqueeze(0)?.broadcast_matmul(&columns.reshape((batch, groups, inner, window.output_len()))?)?
    };
    let y = y.reshape(output_shape(shape, kernel[0], &window))?;
    match call.node.input(2) {
        None => Ok(y),
        Some(_) => {
            let mut per_channel = vec![1; shape.len()];
            per_channel[1] = kernel[0];
            y.broadcast_add(&call.operand(2)?.reshape(per_channel)?)
        }
    }
}

/// Largest or mean of every window.
pub(super) fn pool(call: &Call) -> Result<Tensor> {
    let x = call.operand(0)?;
    let shape = x.dims();
    let is_max = call.node.is("MaxPool");
    let kernel = call.node.ints("kernel_shape").unwrap_or_default();
    let kernel: Vec<usize> = kernel.iter().map(|&k| usize::try_from(k).unwrap_or(0)).collect();
    let window =
        window(call, shape.get(2..).unwrap_or_default(), &kernel, if is_max { f32::NEG_INFINITY } else { 0.0 })?;
    let columns = window.unfold(x)?;
    let y = if is_max {
        columns.max(1)?
    } else if call.node.int("count_include_pad").unwrap_or(0) != 0 {
        (columns.sum(1)? / window.kernel_len() as f64)?
    } else {
        columns.sum(1)?.broadcast_div(&Tensor::from_vec(window.inside(), (1, window.output_len()), x.device())?)?
    };
    y.reshape(output_shape(shape, shape[1], &window))
}

/// Largest or mean of all space.
pub(super) fn global_pool(call: &Call) -> Result<Tensor> {
    let x = call.operand(0)?;
    let Some((outer @ [_, _], space)) = x.dims().split_at_checked(2) else {
        return Err(wrong("the input has no channels"));
    };
    let rows = x.reshape((outer.iter().product::<usize>(), space.iter().product::<usize>()))?;
    let y = if call.node.is("GlobalMaxPool") { rows.max(1)? } else { rows.mean(1)? };
    y.reshape([outer, &vec![1; space.len()]].concat())
}

fn window(call: &Call, input: &[usize], kernel: &[usize], fill: f32) -> Result<Window> {
    let window = Window::of(call.node, input, kernel, fill);
    window
        .ok_or_else(|| wrong(format!("a window of {kernel:?} does not fit an input of {input:?} with its attributes")))
}

fn output_shape(input: &[usize], channels: usize, window: &Window) -> Vec<usize> {
    [&[input[0], channels], window.output_extents(input.len() - 2)].concat()
}
