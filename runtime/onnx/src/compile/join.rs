//! Convolutions whose results are copied into a concatenation write there themselves.

use std::collections::BTreeSet;

use cygnet_core::plan::step::{Access, Copy, PartialConvI8, Step, row_major};
use cygnet_core::plan::{MetadataKind, TensorId};

use super::builder::Builder;
use super::memory;

/// A convolution, by its number among the steps, and the copy of its results.
struct Part {
    conv: usize,
    copy: usize,
    channels: u32,
}

/// Of the memory that lives at one time, the share that may come on top for it where nobody has set a limit.
const SHARE: usize = 16;

/// Lets convolutions write into the concatenations that they are for, wherever not much more memory lives at one time
/// then, or no more if it is `scarce`.
pub(super) fn in_place(builder: &mut Builder, scarce: bool) {
    let joined: BTreeSet<u32> = builder.steps.iter().filter_map(|(step, _)| destination(step)).collect();
    let bytes = memory::live(&builder.buffers()).bytes;
    let limit = if scarce { bytes } else { bytes + bytes / SHARE };
    for y in joined {
        let parts = parts(builder, TensorId(y));
        if parts.is_empty() {
            continue;
        }
        let before = builder.steps.clone();
        parts.iter().for_each(|part| write_into(builder, part));
        let copies: BTreeSet<usize> = parts.iter().map(|part| part.copy).collect();
        let mut index = 0..;
        builder.steps.retain(|_| index.next().is_some_and(|index| !copies.contains(&index)));
        if memory::live(&builder.buffers()).bytes > limit {
            builder.steps = before;
            continue;
        }
        for (kind, step, _) in &mut builder.metadata {
            if *kind == MetadataKind::FallbackReason {
                *step -= copies.range(..*step as usize).count() as u32;
            }
        }
    }
    builder.sweep();
}

/// Where a step copies a whole tensor to.
fn destination(step: &Step) -> Option<u32> {
    match step {
        Step::Copy(s) if s.x.is_some() => Some(s.y.0),
        _ => None,
    }
}

/// The convolutions that can write into `y` themselves; none where something else than copies of results does.
fn parts(builder: &Builder, y: TensorId) -> Vec<Part> {
    let mut parts = Vec::new();
    for (index, (step, _)) in builder.steps.iter().enumerate() {
        let mut writes = false;
        step.visit_tensors(&mut |id, access| writes |= id == y && access == Access::Write);
        match step {
            _ if !writes => {}
            Step::Copy(copy) => parts.extend(part(builder, index, copy)),
            Step::PartialConvI8(_) => {}
            _ => return Vec::new(),
        }
    }
    parts
}

/// The convolution in front of a copy, if nobody else sees its results and the copy spreads its channels.
fn part(builder: &Builder, copy: usize, s: &Copy) -> Option<Part> {
    let x = s.x?;
    let (from, to) = (builder.draft(x), builder.draft(s.y));
    let ports = builder.inputs.iter().chain(&builder.outputs).any(|port| port.tensor == x);
    let same = from.dtype == to.dtype && from.quantization == to.quantization;
    if ports || !same || !s.table.is_none() || s.x_offset != 0 {
        return None;
    }
    let mut users = Vec::new();
    for (index, (step, _)) in builder.steps.iter().enumerate() {
        step.visit_tensors(&mut |id, _| users.extend((id == x).then_some(index)));
    }
    let [conv, reader] = users[..] else { return None };
    let Step::ConvI8(of) = builder.steps[conv].0 else { return None };
    if reader != copy || of.y != x || of.x == s.y {
        return None;
    }
    let elements: u64 = s.dims.iter().map(|&dim| u64::from(dim)).product();
    let (all, own) = (*to.shape.last()? as u32, of.window.out_c);
    let dense = row_major(&s.dims);
    let spread = s.dims.iter().zip(&dense).zip(s.x_strides.iter().zip(&s.y_strides)).all(
        |((&dim, &dense), (&x_stride, &y_stride))| {
            let wanted = if dense < own { dense } else { dense / own * all };
            dim == 1 || (i64::from(x_stride) == i64::from(dense) && y_stride == wanted)
        },
    );
    let whole = elements == of.window.positions() as u64 * u64::from(own);
    // No axis has channels of several positions.
    let cut =
        dense.iter().zip(&s.dims).any(|(&dense, &dim)| dim > 1 && dense.checked_mul(dim) == Some(own)) || own == 1;
    let inside = s.y_offset.checked_add(own).is_some_and(|end| end <= all);
    let size = to.shape.iter().product::<usize>() == of.window.positions() * all as usize;
    (spread && whole && cut && inside && size).then_some(Part { conv, copy, channels: all })
}

/// Puts the part in the place of its convolution; the copy is still there.
fn write_into(builder: &mut Builder, part: &Part) {
    let (Step::ConvI8(mut conv), Step::Copy(copy)) = (builder.steps[part.conv].0, builder.steps[part.copy].0) else {
        return;
    };
    conv.y = copy.y;
    builder.steps[part.conv].0 =
        Step::PartialConvI8(PartialConvI8 { conv, first: copy.y_offset, channels: part.channels });
}
