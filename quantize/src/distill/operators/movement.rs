//! Operators that move values and compute nothing.

use candle_core::{Result, Tensor};

use super::{Call, axis_of, wrong};

/// Moves the values of one output.
pub(super) fn apply(call: &Call) -> Result<Tensor> {
    let node = call.node;
    let x = call.operand(0)?;
    match node.op_type.as_str() {
        "Reshape" => x.reshape(reshaped(call, x)?),
        "Flatten" => {
            let axis = node.int("axis").unwrap_or(1);
            let axis = if axis == x.rank() as i64 { x.rank() } else { axis_of(axis, x.rank())? };
            let (rows, columns) = x.dims().split_at(axis);
            x.reshape((rows.iter().product::<usize>(), columns.iter().product::<usize>()))
        }
        "Squeeze" => {
            let axes = call.axes(1, x.rank())?;
            let gone = |axis: usize| axes.as_ref().map_or(x.dims()[axis] == 1, |axes| axes.contains(&axis));
            let kept: Vec<usize> = (0..x.rank()).filter(|&axis| !gone(axis)).map(|axis| x.dims()[axis]).collect();
            x.reshape(kept)
        }
        "Unsqueeze" => {
            let count = match node.ints("axes") {
                Some(axes) => axes.len(),
                None => call.integers(1)?.map_or(0, |axes| axes.len()),
            };
            let axes = call.axes(1, x.rank() + count)?.ok_or_else(|| wrong("it has no axes"))?;
            let mut left = x.dims().iter();
            let extent = |axis: usize| if axes.contains(&axis) { Some(1) } else { left.next().copied() };
            let shape = (0..x.rank() + count).map(extent).collect::<Option<Vec<usize>>>();
            x.reshape(shape.ok_or_else(|| wrong("it names an axis twice"))?)
        }
        "Transpose" => {
            let order = match node.ints("perm") {
                Some(order) => order.iter().map(|&a| axis_of(a, x.rank())).collect::<Result<Vec<_>>>()?,
                None => (0..x.rank()).rev().collect(),
            };
            x.permute(order)?.contiguous()
        }
        "Concat" => {
            let parts = (0..call.operands.len()).map(|i| call.operand(i)).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&parts, axis_of(node.int("axis").unwrap_or(0), x.rank())?)
        }
        "Slice" => slice(call, x),
        "Gather" => {
            let axis = axis_of(node.int("axis").unwrap_or(0), x.rank())?;
            let indices = call.integers(1)?.ok_or_else(|| wrong("it has no indices"))?;
            let rank = crate::graph::constant(call.model, node, 1).map_or(1, |c| c.shape.len());
            let indices = indices.iter().map(|&i| axis_of(i, x.dims()[axis])).collect::<Result<Vec<_>>>()?;
            let taken = select(x, axis, &indices)?;
            match rank {
                0 => taken.squeeze(axis),
                1 => Ok(taken),
                _ => Err(wrong("indices of more than one axis have no gradient here")),
            }
        }
        "Pad" => pad(call, x),
        other => Err(wrong(format!("{other} has no gradient here"))),
    }
}

/// The shape that a `Reshape` asks for, with 0 and -1 resolved.
fn reshaped(call: &Call, x: &Tensor) -> Result<Vec<usize>> {
    let wanted = call.integers(1)?.ok_or_else(|| wrong("it has no shape"))?;
    let extent = |(axis, &extent): (usize, &i64)| match extent {
        0 if call.node.int("allowzero").unwrap_or(0) == 0 => x.dims().get(axis).copied().unwrap_or(0),
        -1 => 1,
        extent => usize::try_from(extent).unwrap_or(0),
    };
    let mut shape: Vec<usize> = wanted.iter().enumerate().map(extent).collect();
    if let Some(open) = wanted.iter().position(|&extent| extent == -1) {
        shape[open] = x.elem_count() / shape.iter().product::<usize>().max(1);
    }
    Ok(shape)
}

fn slice(call: &Call, x: &Tensor) -> Result<Tensor> {
    let given = |index: usize| call.integers(index)?.ok_or_else(|| wrong("its starts and ends must be given"));
    let (starts, ends) = (given(1)?, given(2)?);
    let axes = call.integers(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let mut y = x.clone();
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_of(*axis, x.rank())?;
        let extent = y.dims()[axis] as i64;
        let place =
            |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(extent) } else { at }).clamp(low, high);
        let indices: Vec<usize> = if *step > 0 {
            let (start, end) = (place(*start, 0, extent), place(*end, 0, extent));
            (start..end).step_by(*step as usize).map(|i| i as usize).collect()
        } else if *step < 0 {
            let (start, end) = (place(*start, -1, extent - 1), place(*end, -1, extent - 1));
            let count = (start - end).max(0) as u64;
            (0..count).step_by(step.unsigned_abs() as usize).map(|i| (start - i as i64) as usize).collect()
        } else {
            return Err(wrong("a step of 0 never arrives"));
        };
        y = select(&y, axis, &indices)?;
    }
    Ok(y)
}

/// The elements at `indices` of `axis`; a plain run is cut out in one piece.
fn select(x: &Tensor, axis: usize, indices: &[usize]) -> Result<Tensor> {
    let (Some(&first), count) = (indices.first(), indices.len()) else {
        return Err(wrong("nothing is left of its input"));
    };
    if indices.iter().enumerate().all(|(i, &index)| index == first + i) {
        return x.narrow(axis, first, count)?.contiguous();
    }
    let indices: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
    x.contiguous()?.index_select(&Tensor::from_vec(indices, count, x.device())?, axis)
}

fn pad(call: &Call, x: &Tensor) -> Result<Tensor> {
    let pads = match call.node.ints("pads") {
        Some(pads) => pads.to_vec(),
        None => call.integers(1)?.ok_or_else(|| wrong("it has no pads"))?,
    };
    let axes = call.axes(3, x.rank())?.unwrap_or_else(|| (0..x.rank()).collect());
    let is_zero = call.node.string("mode").unwrap_or("constant") == "constant"
        && call.node.input(2).is_none_or(|_| {
            crate::graph::constant(call.model, call.node, 2).and_then(|c| c.as_scalar_f32()) == Some(0.0)
        });
    if !is_zero || pads.len() != 2 * axes.len() || pads.iter().any(|&p| p < 0) {
        return Err(wrong("only padding with zeros has a gradient here"));
    }
    let mut y = x.clone();
    for (index, &axis) in axes.iter().enumerate() {
        y = y.pad_with_zeros(axis, pads[index] as usize, pads[index + axes.len()] as usize)?;
    }
    Ok(y)
}

/// Cuts the input along one axis.
pub(super) fn split(call: &Call) -> Result<Vec<Tensor>> {
    let x = call.operand(0)?;
    let axis = axis_of(call.node.int("axis").unwrap_or(0), x.rank())?;
    let (extent, parts) = (x.dims()[axis], call.node.outputs.len().max(1));
    let lengths = match call.node.ints("split") {
        Some(lengths) => Some(lengths.to_vec()),
        None => call.integers(1)?,
    };
    // Without lengths all parts are equal, and the last may be shorter.
    let lengths: Vec<usize> = match lengths {
        Some(lengths) => lengths.iter().map(|&l| usize::try_from(l).unwrap_or(0)).collect(),
        None => {
            (0..parts).map(|p| extent.div_ceil(parts).min(extent.saturating_sub(p * extent.div_ceil(parts)))).collect()
        }
    };
    let mut start = 0;
    let cut = |length: usize| {
        let part = x.narrow(axis, start, length)?.contiguous();
        start += length;
        part
    };
    lengths.into_iter().map(cut).collect()
}
