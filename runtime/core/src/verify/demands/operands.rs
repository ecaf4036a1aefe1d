//! What the rules of all kinds of steps are made of: tensors, their types and sizes, constants, windows.

use core::ops::RangeInclusive;

use super::Rule;
use crate::bytes::{F32s, Span};
use crate::plan::step::Window;
use crate::plan::{DType, MAX_RANK, Plan, TensorId};
use crate::verify::product;

pub(super) fn require(condition: bool, rule: &'static str) -> Rule {
    if condition { Ok(()) } else { Err(rule) }
}

/// What steps ask of a tensor.
#[derive(Clone, Copy)]
pub(super) struct Elements {
    pub dtype: DType,
    count: usize,
}

impl Elements {
    pub fn len(self) -> usize {
        self.count
    }
}

#[inline(never)]
pub(super) fn tensor(plan: &Plan<'_>, id: TensorId) -> Result<Elements, &'static str> {
    let tensor = plan.tensor(id).ok_or("it names a tensor that is not there")?;
    Ok(Elements { dtype: tensor.dtype, count: tensor.len() })
}

/// The tensors of a step that has two.
#[inline(never)]
pub(super) fn pair(plan: &Plan<'_>, x: TensorId, y: TensorId) -> Result<(Elements, Elements), &'static str> {
    Ok((tensor(plan, x)?, tensor(plan, y)?))
}

#[inline(never)]
pub(super) fn sized(tensor: &Elements, dims: &[u32]) -> Rule {
    require(product(dims) == Some(tensor.len()), "a tensor has another number of elements than the step needs")
}

#[inline(never)]
pub(super) fn typed(tensor: &Elements, dtype: DType) -> Rule {
    require(tensor.dtype == dtype, "a tensor has another type than the step needs")
}

#[inline(never)]
pub(super) fn same_type(x: &Elements, y: &Elements, allowed: &[DType]) -> Rule {
    require(x.dtype == y.dtype && allowed.contains(&x.dtype), "the tensors have types that the step does not work on")
}

#[inline(never)]
pub(super) fn constant<'p>(plan: &Plan<'p>, span: Span, bytes: Option<usize>) -> Result<&'p [u8], &'static str> {
    let data = span.of(plan.bytes()).ok_or("a constant lies outside the file")?;
    require(bytes == Some(data.len()), "a constant has another size than the step needs")?;
    Ok(data)
}

#[inline(never)]
pub(super) fn factors(values: &[u8]) -> Rule {
    require(F32s::new(values).iter().all(|m| m.is_finite() && m >= 0.0), "a multiplier is not usable")
}

/// Types of which most kinds of steps have a form.
pub(super) const REAL: &[DType] = &[DType::I8, DType::I16, DType::F32];

pub(super) const FLOAT_OR_INT8: &[DType] = &[DType::I8, DType::F32];

/// Greatest distance of two stored elements.
pub(super) fn widest(dtype: DType) -> u32 {
    if dtype == DType::I16 { u16::MAX.into() } else { u8::MAX.into() }
}

/// The stored values of a type.
pub(super) fn stored(dtype: DType) -> RangeInclusive<i32> {
    if dtype == DType::I16 { -32768..=32767 } else { -128..=127 }
}

pub(super) fn window(
    plan: &Plan<'_>,
    w: &Window,
    x: TensorId,
    y: TensorId,
) -> Result<(Elements, Elements), &'static str> {
    window_into(plan, w, x, y, w.out_c)
}

/// [`window`] of a step whose output has so many channels.
#[inline(never)]
fn window_into(
    plan: &Plan<'_>,
    w: &Window,
    x: TensorId,
    y: TensorId,
    channels: u32,
) -> Result<(Elements, Elements), &'static str> {
    let (x, y) = pair(plan, x, y)?;
    sized(&x, &[w.batch, w.in_h, w.in_w, w.in_c])?;
    sized(&y, &[w.batch, w.out_h, w.out_w, channels])?;
    let fields = [w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, w.groups];
    require(fields.iter().all(|&field| (1..1 << 16).contains(&field)), "its window is not usable")?;
    require(w.pad_top < 1 << 16 && w.pad_left < 1 << 16, "its padding is too great")?;
    require(w.in_c.is_multiple_of(w.groups) && w.out_c.is_multiple_of(w.groups), "its channels are no whole groups")?;
    for (out, stride, kernel, dilation) in
        [(w.out_h, w.stride_h, w.kernel_h, w.dilation_h), (w.out_w, w.stride_w, w.kernel_w, w.dilation_w)]
    {
        let reach = u64::from(out) * u64::from(stride) + u64::from(kernel) * u64::from(dilation);
        require(reach < 1 << 31, "its window reaches too far")?;
    }
    Ok((x, y))
}

/// [`window`] of a step with weights.
pub(super) fn weighted(
    plan: &Plan<'_>,
    w: &Window,
    x: TensorId,
    y: TensorId,
) -> Result<(Elements, Elements), &'static str> {
    weighted_into(plan, w, x, y, w.out_c)
}

/// [`weighted`] where the output has so many channels.
#[inline(never)]
pub(super) fn weighted_into(
    plan: &Plan<'_>,
    w: &Window,
    x: TensorId,
    y: TensorId,
    channels: u32,
) -> Result<(Elements, Elements), &'static str> {
    let tensors = window_into(plan, w, x, y, channels)?;
    // Generously rounded up, as the packed layouts do, and four bytes each.
    let reduction = w.taps() as u64 * (w.group_in() as u64 + 4);
    let rounded = u64::from(w.out_c) + 16 * u64::from(w.groups);
    let bytes = reduction.checked_mul(rounded).and_then(|count| count.checked_mul(4));
    require(bytes.is_some_and(|bytes| bytes < 1 << 31), "its weights are too many")?;
    Ok(tensors)
}

/// Checks least and greatest result.
pub(super) fn limits(y: &Elements, low: i32, high: i32) -> Rule {
    let range = stored(y.dtype);
    require(low <= high && range.contains(&low) && range.contains(&high), "its limits are no range of its results")
}

#[inline(never)]
pub(super) fn broadcast(dims: &[u32; MAX_RANK], strides: &[u32; MAX_RANK], len: usize) -> Rule {
    let mut last = 0_u64;
    for (&dim, &stride) in dims.iter().zip(strides) {
        require(dim > 1 || stride == 0, "its strides leave a tensor")?;
        last = last.saturating_add(u64::from(dim.max(1) - 1).saturating_mul(u64::from(stride)));
    }
    require(last < len as u64, "its strides leave a tensor")
}

#[inline(never)]
pub(super) fn converts(plan: &Plan<'_>, x: TensorId, y: TensorId, from: &[DType], to: &[DType]) -> Rule {
    let (x, y) = pair(plan, x, y)?;
    let known = from.contains(&x.dtype) && to.contains(&y.dtype);
    require(known, "a tensor has another type than the step needs")?;
    require(x.len() == y.len(), "input and output differ in size")
}
