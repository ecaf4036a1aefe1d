//! What convolutions demand.

use super::operands::{
    FLOAT_OR_INT8, REAL, constant, factors, limits, require, same_type, tensor, typed, weighted, weighted_into,
};
use super::sums::{Bound, DENIES, each_channel_sum, each_magnitude};
use super::{Rule, rules};
use crate::bytes::{I32s, I64s};
use crate::kernels::source::Source;
use crate::plan::step::{ConvI8, ConvI8Dynamic, ConvI16};
use crate::plan::{DType, Plan};
use crate::weights;
use crate::weights::compressed::{Factors, LEVELS, Stored, expanded_bytes, factor_count, indexed_bytes};

rules! {
    conv_i8(plan, s: ConvI8) {
        check_packed(plan, s, s.window.out_c)
    }
    partial_conv_i8(plan, s: PartialConvI8) {
        let behind = s.first.checked_add(s.conv.window.out_c);
        require(behind.is_some_and(|behind| behind <= s.channels), "its channels are not among those of its output")?;
        check_packed(plan, &s.conv, s.channels)
    }
    depthwise_i8(plan, s: DepthwiseI8) {
        let w = &s.window;
        let bound = check_operands(plan, s, w.out_c, 0, true)?;
        let stored = constant(plan, s.weights, w.taps().checked_mul(w.out_c as usize))?;
        require(w.groups == w.in_c, "a depthwise step has one group for each channel")?;
        require(s.narrow == 0 || !stored.contains(&128), DENIES)?;
        each_magnitude(w, true, stored, &mut |channel, sum| bound.check(channel, sum))
    }
    indexed_conv_i8(plan, s: IndexedConvI8) {
        let w = &s.conv.window;
        // Sizes of constants follow from the window, which must be one.
        weighted(plan, w, s.conv.x, s.conv.y)?;
        let indices = constant(plan, s.conv.weights, Some(indexed_bytes(weights::packed_bytes(w))))?;
        let levels = constant(plan, s.levels, Some(LEVELS))?.first_chunk().ok_or("it has no levels")?;
        let factors = if s.factors.is_none() {
            None
        } else {
            let values = constant(plan, s.factors, factor_count(w, s.factor_quads))?;
            Some(Factors { values, quads: s.factor_quads as usize })
        };
        check_compressed(plan, &s.conv, s.channels, Stored::Indexed { indices, levels, factors })
    }
    sparse_conv_i8(plan, s: SparseConvI8) {
        let stored = s.conv.weights.of(plan.bytes()).ok_or("a constant lies outside the file")?;
        check_compressed(plan, &s.conv, s.channels, Stored::Sparse(stored))
    }
    conv_i16(plan, s: ConvI16) {
        check_conv_i16(plan, s, false)
    }
    depthwise_i16(plan, s: DepthwiseI16) {
        check_conv_i16(plan, s, true)
    }
    conv_f32(plan, s: ConvF32) {
        let (x, y) = weighted(plan, &s.window, s.x, s.y)?;
        same_type(&x, &y, &[DType::F32])?;
        constant(plan, s.weights, weights::packed_f32_len(&s.window).checked_mul(4))?;
        constant(plan, s.bias, (s.window.out_c as usize).checked_mul(4))?;
        require(s.low <= s.high, "its limits are no range")
    }
    depthwise_f32(plan, s: DepthwiseF32) {
        let (x, y) = weighted(plan, &s.window, s.x, s.y)?;
        same_type(&x, &y, &[DType::F32])?;
        require(s.window.groups == s.window.in_c, "a depthwise step has one group for each channel")?;
        let bytes = (s.window.out_c as usize).checked_mul(4);
        constant(plan, s.weights, bytes.and_then(|bytes| bytes.checked_mul(s.window.taps())))?;
        constant(plan, s.bias, bytes)?;
        require(s.low <= s.high, "its limits are no range")
    }
    conv_i8_dynamic(plan, s: ConvI8Dynamic) {
        check_dynamic(plan, s)
    }
}

/// A dense convolution whose output has so many channels.
fn check_packed(plan: &Plan<'_>, s: &ConvI8, channels: u32) -> Rule {
    let bound = check_operands(plan, s, channels, 0, false)?;
    let stored = constant(plan, s.weights, Some(weights::packed_bytes(&s.window)))?;
    let narrow = s.narrow != 0;
    each_channel_sum(&s.window, narrow, Stored::Packed(stored), &mut |channel, sum| bound.check(channel, sum))
}

/// A convolution whose weights are expanded, `channels` output channels at a time.
#[inline(never)]
fn check_compressed<'p>(plan: &Plan<'p>, s: &ConvI8, channels: u32, stored: Stored<'p>) -> Rule {
    let parts = channels < s.window.out_c;
    require(channels > 0 && (!parts || s.window.groups == 1), "its channels cannot be cut into parts")?;
    require(!parts || (channels as usize).is_multiple_of(weights::BLOCK), "its parts are no whole blocks of channels")?;
    let bound = check_operands(plan, s, s.window.out_c, channels, false)?;
    each_channel_sum(&s.window, s.narrow != 0, stored, &mut |channel, sum| bound.check(channel, sum))
}

/// What a convolution demands beside its weights: its tensors, the output having `all` channels, and room to expand the
/// weights of so many channels in front of its scratch.
#[inline(never)]
fn check_operands<'p>(
    plan: &Plan<'p>,
    s: &ConvI8,
    all: u32,
    expanded: u32,
    depthwise: bool,
) -> Result<Bound<'p>, &'static str> {
    let w = &s.window;
    let (x, y) = weighted_into(plan, w, s.x, s.y, all)?;
    typed(&x, DType::I8)?;
    require(FLOAT_OR_INT8.contains(&y.dtype), "its output is neither int8 nor float32")?;
    limits(&y, s.low, s.high)?;
    let channels = w.out_c as usize;
    factors(constant(plan, s.multipliers, channels.checked_mul(4))?)?;
    let bias = I32s::new(constant(plan, s.bias, channels.checked_mul(4))?);
    let points = if s.weight_zero_points.is_none() { Some(0) } else { channels.checked_mul(4) };
    let zero_points = I32s::new(constant(plan, s.weight_zero_points, points)?);
    let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
    let room = match s.scratch {
        Some(id) => {
            let scratch = tensor(plan, id)?;
            typed(&scratch, DType::I8)?;
            scratch.len()
        }
        None => 0,
    };
    let needed = source.scratch_len(w, 1).checked_add(expanded_bytes(w, expanded));
    require(needed.is_some_and(|needed| room >= needed), "its scratch is too small")?;
    Ok(Bound { bias, zero_points, taps: w.taps() * w.group_in() })
}

#[inline(never)]
fn check_conv_i16(plan: &Plan<'_>, s: &ConvI16, depthwise: bool) -> Rule {
    let w = &s.window;
    let (x, y) = weighted(plan, w, s.x, s.y)?;
    typed(&x, DType::I16)?;
    require(REAL.contains(&y.dtype), "its output is neither int16 nor int8 nor float32")?;
    limits(&y, s.low, s.high)?;
    require(!depthwise || w.groups == w.in_c, "a depthwise step has one group for each channel")?;
    require(!depthwise || w.taps() <= weights::WIDE_RUN, "an accumulator could overflow")?;
    let channels = w.out_c as usize;
    let bytes = if depthwise { w.taps().checked_mul(channels) } else { Some(weights::packed_bytes(w)) };
    let stored = constant(plan, s.weights, bytes)?;
    factors(constant(plan, s.multipliers, channels.checked_mul(4))?)?;
    let bias = constant(plan, s.bias, channels.checked_mul(if s.wide == 0 { 4 } else { 8 }))?;
    let source = if depthwise { Source::of_depthwise(w) } else { Source::of(w) };
    let room = match s.scratch {
        Some(id) => {
            let scratch = tensor(plan, id)?;
            typed(&scratch, DType::I16)?;
            scratch.len()
        }
        None => 0,
    };
    require(room >= source.scratch_len(w, 1), "its scratch is too small")?;
    let (narrow, wide) = (I32s::new(bias), I64s::new(bias));
    each_magnitude(w, depthwise, stored, &mut |channel, sum| {
        let (bias, limit) = match s.wide {
            0 => (u64::from(narrow.get(channel).unsigned_abs()), 1 << 31),
            _ => (wide.get(channel).unsigned_abs(), 1 << 62),
        };
        require(sum.saturating_mul(1 << 15).saturating_add(bias) < limit, "an accumulator could overflow")
    })
}

#[inline(never)]
fn check_dynamic(plan: &Plan<'_>, s: &ConvI8Dynamic) -> Rule {
    let w = &s.conv.window;
    let bound = check_operands(plan, &s.conv, s.conv.window.out_c, 0, false)?;
    require(w.is_inside(), "its input is padded with what no plan knows")?;
    typed(&tensor(plan, s.conv.y)?, DType::F32)?;
    let (parameters, room) = (tensor(plan, s.parameters)?, tensor(plan, s.room)?);
    typed(&parameters, DType::F32)?;
    require(parameters.len() == 2, "its parameters are not two")?;
    typed(&room, DType::I8)?;
    require((w.out_c as usize).checked_mul(8) == Some(room.len()), "its room is too small")?;
    constant(plan, s.offsets, if s.offsets.is_none() { Some(0) } else { (w.out_c as usize).checked_mul(4) })?;
    let stored = constant(plan, s.conv.weights, Some(weights::packed_bytes(w)))?;
    each_channel_sum(w, s.conv.narrow != 0, Stored::Packed(stored), &mut |channel, sum| {
        // The zero point, at most 128, times the bias joins the sum.
        let zeros = u64::from(bound.zero_points.get(channel).unsigned_abs()) * bound.taps as u64;
        let bias = u64::from(bound.bias.get(channel).unsigned_abs());
        require(bound.zero_points.get(channel).unsigned_abs() <= 255, "a zero point is not usable")?;
        let greatest = sum.saturating_add(zeros).saturating_add(bias).saturating_mul(128);
        require(greatest < 1 << 31, "an accumulator could overflow")
    })
}
