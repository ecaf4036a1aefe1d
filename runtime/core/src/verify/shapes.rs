//! What each kind of step demands of its tensors and constants.

mod recurrent;

use core::ops::RangeInclusive;

use super::product;
use crate::bytes::{F32s, I32s, I64s, Span, U32s};
use crate::kernels::source::Source;
use crate::plan::step::{
    Attention, ConvI8, ConvI8Dynamic, ConvI16, Copy, Lookup, MAX_HOST_TENSORS, Reduce, ReduceKind, Step, Window,
};
use crate::plan::{DType, MAX_RANK, Plan, TensorId};
use crate::weights;
use crate::weights::compressed::{Factors, LEVELS, Pieces, Stored, expanded_bytes, factor_count, indexed_bytes};

type Rule = Result<(), &'static str>;

const DENIES: &str = "it has weights of -128 and denies it";

fn require(condition: bool, rule: &'static str) -> Rule {
    if condition { Ok(()) } else { Err(rule) }
}

/// What steps ask of a tensor.
#[derive(Clone, Copy)]
struct Elements {
    dtype: DType,
    count: usize,
}

impl Elements {
    fn len(self) -> usize {
        self.count
    }
}

#[inline(never)]
fn tensor(plan: &Plan<'_>, id: TensorId) -> Result<Elements, &'static str> {
    let tensor = plan.tensor(id).ok_or("it names a tensor that is not there")?;
    Ok(Elements { dtype: tensor.dtype, count: tensor.len() })
}

/// The tensors of a step that has two.
#[inline(never)]
fn pair(plan: &Plan<'_>, x: TensorId, y: TensorId) -> Result<(Elements, Elements), &'static str> {
    Ok((tensor(plan, x)?, tensor(plan, y)?))
}

#[inline(never)]
fn sized(tensor: &Elements, dims: &[u32]) -> Rule {
    require(product(dims) == Some(tensor.len()), "a tensor has another number of elements than the step needs")
}

#[inline(never)]
fn typed(tensor: &Elements, dtype: DType) -> Rule {
    require(tensor.dtype == dtype, "a tensor has another type than the step needs")
}

#[inline(never)]
fn same_type(x: &Elements, y: &Elements, allowed: &[DType]) -> Rule {
    require(x.dtype == y.dtype && allowed.contains(&x.dtype), "the tensors have types that the step does not work on")
}

#[inline(never)]
fn constant<'p>(plan: &Plan<'p>, span: Span, bytes: Option<usize>) -> Result<&'p [u8], &'static str> {
    let data = span.of(plan.bytes()).ok_or("a constant lies outside the file")?;
    require(bytes == Some(data.len()), "a constant has another size than the step needs")?;
    Ok(data)
}

#[inline(never)]
fn factors(values: &[u8]) -> Rule {
    require(F32s::new(values).iter().all(|m| m.is_finite() && m >= 0.0), "a multiplier is not usable")
}

const FLOAT_OR_INT8: &[DType] = &[DType::I8, DType::F32];
const REAL: &[DType] = &[DType::I8, DType::I16, DType::F32];

/// Greatest distance of two stored elements.
fn widest(dtype: DType) -> u32 {
    if dtype == DType::I16 { u16::MAX.into() } else { u8::MAX.into() }
}

/// The stored values of a type.
fn stored(dtype: DType) -> RangeInclusive<i32> {
    if dtype == DType::I16 { -32768..=32767 } else { -128..=127 }
}

#[inline(never)]
fn window(plan: &Plan<'_>, w: &Window, x: TensorId, y: TensorId) -> Result<(Elements, Elements), &'static str> {
    let (x, y) = pair(plan, x, y)?;
    sized(&x, &[w.batch, w.in_h, w.in_w, w.in_c])?;
    sized(&y, &[w.batch, w.out_h, w.out_w, w.out_c])?;
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
#[inline(never)]
fn weighted(plan: &Plan<'_>, w: &Window, x: TensorId, y: TensorId) -> Result<(Elements, Elements), &'static str> {
    let tensors = window(plan, w, x, y)?;
    // Generously rounded up, as the packed layouts do, and four bytes each.
    let reduction = w.taps() as u64 * (w.group_in() as u64 + 4);
    let rounded = u64::from(w.out_c) + 16 * u64::from(w.groups);
    let bytes = reduction.checked_mul(rounded).and_then(|count| count.checked_mul(4));
    require(bytes.is_some_and(|bytes| bytes < 1 << 31), "its weights are too many")?;
    Ok(tensors)
}

/// Sums of one output channel's weights, enough to bound its accumulator.
struct Bound<'p> {
    bias: I32s<'p>,
    zero_points: I32s<'p>,
    taps: usize,
}

impl Bound<'_> {
    /// `128·Σ|w| + |bias| + 128·n·|zw|` bounds the accumulator: it must stay below 2³¹.
    fn check(&self, channel: usize, sum: u64) -> Rule {
        let bias = u64::from(self.bias.get(channel).unsigned_abs());
        let zero_point = self.zero_points.get(channel).unsigned_abs();
        require(zero_point <= 255, "a zero point is not usable")?;
        let zero = u64::from(zero_point) * self.taps as u64;
        let greatest = sum.saturating_add(zero).saturating_mul(128).saturating_add(bias);
        require(greatest < 1 << 31, "an accumulator could overflow")
    }
}

/// Checks least and greatest result.
fn limits(y: &Elements, low: i32, high: i32) -> Rule {
    let range = stored(y.dtype);
    require(low <= high && range.contains(&low) && range.contains(&high), "its limits are no range of its results")
}

#[inline(never)]
fn broadcast(dims: &[u32; MAX_RANK], strides: &[u32; MAX_RANK], len: usize) -> Rule {
    let mut last = 0_u64;
    for (&dim, &stride) in dims.iter().zip(strides) {
        require(dim > 1 || stride == 0, "its strides leave a tensor")?;
        last = last.saturating_add(u64::from(dim.max(1) - 1).saturating_mul(u64::from(stride)));
    }
    require(last < len as u64, "its strides leave a tensor")
}

/// Checks one step whose tensors exist and are alive.
///
/// # Errors
/// The broken rule.
#[inline(never)]
pub(super) fn check(plan: &Plan<'_>, step: &Step) -> Rule {
    match step {
        Step::ConvI8(s) => check_conv(plan, s, false),
        Step::DepthwiseI8(s) => check_conv(plan, s, true),
        Step::IndexedConvI8(s) => {
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
        Step::SparseConvI8(s) => {
            let stored = s.conv.weights.of(plan.bytes()).ok_or("a constant lies outside the file")?;
            check_compressed(plan, &s.conv, s.channels, Stored::Sparse(stored))
        }
        Step::ConvI16(s) => check_conv_i16(plan, s, false),
        Step::DepthwiseI16(s) => check_conv_i16(plan, s, true),
        Step::ConvF32(s) => {
            let (x, y) = weighted(plan, &s.window, s.x, s.y)?;
            same_type(&x, &y, &[DType::F32])?;
            constant(plan, s.weights, weights::packed_f32_len(&s.window).checked_mul(4))?;
            constant(plan, s.bias, (s.window.out_c as usize).checked_mul(4))?;
            require(s.low <= s.high, "its limits are no range")
        }
        Step::DepthwiseF32(s) => {
            let (x, y) = weighted(plan, &s.window, s.x, s.y)?;
            same_type(&x, &y, &[DType::F32])?;
            require(s.window.groups == s.window.in_c, "a depthwise step has one group for each channel")?;
            let bytes = (s.window.out_c as usize).checked_mul(4);
            constant(plan, s.weights, bytes.and_then(|bytes| bytes.checked_mul(s.window.taps())))?;
            constant(plan, s.bias, bytes)?;
            require(s.low <= s.high, "its limits are no range")
        }
        Step::MatMul(s) => {
            let (a, b, y) = (tensor(plan, s.a)?, tensor(plan, s.b)?, tensor(plan, s.y)?);
            same_type(&a, &y, REAL)?;
            same_type(&a, &b, REAL)?;
            sized(&y, &[s.batch, s.m, s.n])?;
            require(s.k > 0, "its matrices are empty")?;
            for (side, rows, columns, stride) in [(&a, s.m, s.k, s.a_stride), (&b, s.k, s.n, s.b_stride)] {
                let matrix = product(&[rows, columns]).ok_or("a matrix is too large")? as u64;
                let last = u64::from(s.batch.max(1) - 1) * u64::from(stride);
                require(last + matrix <= side.len() as u64, "its strides leave a tensor")?;
            }
            // Sums of int16 have 64 bits.
            let fits = y.dtype != DType::I8 || u64::from(s.k) * 255 * 255 < 1 << 31;
            require(fits, "an accumulator could overflow")?;
            require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
        }
        Step::Binary(s) => {
            let (a, y) = pair(plan, s.a, s.y)?;
            same_type(&a, &y, REAL)?;
            sized(&y, &s.dims)?;
            broadcast(&s.dims, &s.a_strides, a.len())?;
            let b_len = match s.b {
                Some(id) => {
                    let b = tensor(plan, id)?;
                    same_type(&a, &b, REAL)?;
                    b.len()
                }
                None => {
                    let bytes = s.constant.of(plan.bytes()).ok_or("a constant lies outside the file")?.len();
                    bytes / a.dtype.bytes()
                }
            };
            broadcast(&s.dims, &s.b_strides, b_len)?;
            require(s.a_strides[MAX_RANK - 1] <= 1 && s.b_strides[MAX_RANK - 1] <= 1, "its rows are not contiguous")?;
            limits(&y, s.low, s.high)?;
            require(stored(a.dtype).contains(&s.b_zero_point), "a zero point is not usable")?;
            // Far below the greatest float, so that no sum of products is infinite.
            require(s.a_multiplier.abs() <= 1e30 && s.b_multiplier.abs() <= 1e30, "a multiplier is not usable")
        }
        Step::Table(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            typed(&x, DType::I8)?;
            let known = matches!(y.dtype, DType::I8 | DType::U8 | DType::I16 | DType::F32);
            require(known, "its output is neither of bytes nor int16 nor float32")?;
            require(x.len() == y.len(), "input and output differ in size")?;
            constant(plan, s.table, Some(256 * y.dtype.bytes())).map(|_| ())
        }
        Step::Unary(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            same_type(&x, &y, &[DType::F32])?;
            require(x.len() == y.len(), "input and output differ in size")
        }
        Step::Pool(s) => {
            let (x, y) = window(plan, &s.window, s.x, s.y)?;
            same_type(&x, &y, REAL)?;
            require(s.window.in_c == s.window.out_c, "pooling keeps the channels")?;
            let area = product(&[s.window.kernel_h, s.window.kernel_w, widest(x.dtype)]);
            require(area.is_some(), "an accumulator could overflow")?;
            require(s.pad_end.iter().all(|&pad| pad < 1 << 16), "its padding is too great")?;
            require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
        }
        Step::Reduce(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            same_type(&x, &y, REAL)?;
            check_reduce(s, &x, &y)
        }
        Step::ReduceToFloat(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            typed(&x, DType::I8)?;
            typed(&y, DType::F32)?;
            check_reduce(s, &x, &y)
        }
        Step::Softmax(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            same_type(&x, &y, FLOAT_OR_INT8)?;
            sized(&x, &[s.outer, s.n, s.inner])?;
            require(x.len() == y.len(), "input and output differ in size")?;
            if x.dtype == DType::I8 {
                require(s.log == 0, "the logarithm of a softmax is float32 only")?;
                let table = U32s::new(constant(plan, s.table, Some(1024))?);
                require(table.get(0) > 0, "its table is not usable")?;
                require(table.iter().all(|entry| entry <= 1 << 23), "its table is not usable")?;
            }
            Ok(())
        }
        Step::Copy(s) => check_copy(plan, s),
        Step::Fill(s) => tensor(plan, s.y).map(|_| ()),
        Step::Gather(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            require(x.dtype == y.dtype, "input and output differ in type")?;
            sized(&x, &[s.outer, s.n, s.inner])?;
            let bytes = s.indices.of(plan.bytes()).ok_or("a constant lies outside the file")?;
            let indices = U32s::new(bytes);
            sized(&y, &[s.outer, indices.len() as u32, s.inner])?;
            require(indices.iter().all(|index| index < s.n), "an index lies outside the axis")
        }
        Step::ResizeLinear(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            same_type(&x, &y, REAL)?;
            sized(&x, &[s.batch, s.in_h, s.in_w, s.channels])?;
            sized(&y, &[s.batch, s.out_h, s.out_w, s.channels])?;
            for (span, count, limit) in [(s.rows, s.out_h, s.in_h), (s.columns, s.out_w, s.in_w)] {
                let words = U32s::new(constant(plan, span, (count as usize).checked_mul(12))?);
                for entry in 0..count as usize {
                    let inside = words.get(entry * 3) < limit && words.get(entry * 3 + 1) < limit;
                    let weight = f32::from_bits(words.get(entry * 3 + 2));
                    require(inside && weight.is_finite(), "an interpolation table is not usable")?;
                }
            }
            require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
        }
        Step::ArgMax(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            require(REAL.contains(&x.dtype), "its input is neither int8 nor int16 nor float32")?;
            typed(&y, DType::I64)?;
            sized(&x, &[s.outer, s.n, s.inner])?;
            sized(&y, &[s.outer, s.inner])
        }
        Step::Quantize(s) => converts(plan, s.x, s.y, &[DType::F32], &[DType::I8, DType::I16]),
        Step::Dequantize(s) => converts(plan, s.x, s.y, &[DType::I8, DType::I16], &[DType::F32]),
        Step::Requantize(s) => {
            require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")?;
            converts(plan, s.x, s.y, &[DType::I16], &[DType::I8, DType::I16])
        }
        Step::Cast(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            require(
                x.dtype.is_computed() && y.dtype.is_computed(),
                "it converts a type that steps do not compute with",
            )?;
            require(x.len() == y.len(), "input and output differ in size")
        }
        Step::Lstm(s) => recurrent::check(plan, s, 4),
        Step::Gru(s) => recurrent::check(plan, s, 3),
        Step::Rnn(s) => recurrent::check(plan, s, 1),
        Step::Lookup(s) => check_lookup(plan, s),
        Step::Select(s) => {
            let (condition, y) = pair(plan, s.condition, s.y)?;
            typed(&condition, DType::Bool)?;
            sized(&y, &s.dims)?;
            broadcast(&s.dims, &s.condition_strides, condition.len())?;
            for (side, span, strides) in [(s.a, s.a_constant, &s.a_strides), (s.b, s.b_constant, &s.b_strides)] {
                let len = match side {
                    Some(id) => {
                        let side = tensor(plan, id)?;
                        typed(&side, y.dtype)?;
                        side.len()
                    }
                    None => span.of(plan.bytes()).ok_or("a constant lies outside the file")?.len() / y.dtype.bytes(),
                };
                broadcast(&s.dims, strides, len)?;
            }
            Ok(())
        }
        Step::LayerNorm(s) => {
            let (x, y) = pair(plan, s.x, s.y)?;
            same_type(&x, &y, &[DType::F32])?;
            sized(&x, &[s.rows, s.n])?;
            sized(&y, &[s.rows, s.n])?;
            if let Some(residual) = s.residual {
                let residual = tensor(plan, residual)?;
                typed(&residual, DType::F32)?;
                require(residual.len() == x.len(), "input and residual differ in size")?;
            }
            for span in [s.scale, s.bias] {
                constant(plan, span, if span.is_none() { Some(0) } else { (s.n as usize).checked_mul(4) })?;
            }
            require(s.epsilon.is_finite() && s.epsilon >= 0.0, "its epsilon is not usable")
        }
        Step::Attention(s) => check_attention(plan, s),
        Step::QuantizeDynamic(s) => {
            let parameters = tensor(plan, s.parameters)?;
            typed(&parameters, DType::F32)?;
            require(parameters.len() == 2, "its parameters are not two")?;
            converts(plan, s.x, s.y, &[DType::F32], &[DType::I8])
        }
        Step::ConvI8Dynamic(s) => check_dynamic(plan, s),
        Step::HostStep(s) => {
            let named = |ids: &[TensorId; MAX_HOST_TENSORS]| ids.iter().filter(|&&id| id != TensorId::NONE).count();
            require(s.input_ids().count() == named(&s.inputs), "its list of inputs has a gap")?;
            require(s.output_ids().count() == named(&s.outputs), "its list of outputs has a gap")?;
            require(s.model.of(plan.bytes()).is_some(), "its model lies outside the file")
        }
    }
}

#[inline(never)]
fn check_dynamic(plan: &Plan<'_>, s: &ConvI8Dynamic) -> Rule {
    let w = &s.conv.window;
    let bound = check_operands(plan, &s.conv, 0, false)?;
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

#[inline(never)]
fn check_lookup(plan: &Plan<'_>, s: &Lookup) -> Rule {
    let (indices, y) = pair(plan, s.indices, s.y)?;
    require(matches!(indices.dtype, DType::I32 | DType::I64), "its indices are neither int32 nor int64")?;
    let source = [s.outer, s.n, s.inner];
    sized(&y, &[s.outer, indices.len() as u32, s.inner])?;
    require(s.n > 0 && s.inner > 0, "its source is empty")?;
    match s.x {
        Some(x) => {
            let x = tensor(plan, x)?;
            typed(&x, y.dtype)?;
            sized(&x, &source)?;
            require(s.scales.is_none(), "an activation has no scale for each row")
        }
        None if s.scales.is_none() => {
            let bytes = product(&source).and_then(|len| len.checked_mul(y.dtype.bytes()));
            constant(plan, s.constant, bytes).map(|_| ())
        }
        None => {
            typed(&y, DType::F32)?;
            require(s.outer == 1, "rows with scales have no dimensions in front")?;
            constant(plan, s.constant, product(&source))?;
            let scales = F32s::new(constant(plan, s.scales, (s.n as usize).checked_mul(4))?);
            require(scales.iter().all(f32::is_finite), "a scale is not usable")
        }
    }
}

/// Whether the elements `[batch][heads][rows]` of `width` each, so far apart, are all among `len`.
fn reaches(extents: [u32; 3], strides: [u32; 3], width: u32, len: usize) -> bool {
    let mut last = u64::from(width);
    for (extent, stride) in extents.into_iter().zip(strides) {
        last = last.saturating_add(u64::from(extent.saturating_sub(1)).saturating_mul(u64::from(stride)));
    }
    last <= len as u64
}

#[inline(never)]
fn check_attention(plan: &Plan<'_>, s: &Attention) -> Rule {
    let sizes = [s.batch, s.heads, s.sharing, s.queries, s.keys, s.width, s.value_width];
    require(sizes.iter().all(|&size| (1..1 << 24).contains(&size)), "its sizes are not usable")?;
    require(s.heads.is_multiple_of(s.sharing), "its heads do not share keys evenly")?;
    let (queries, keys) = ([s.batch, s.heads, s.queries], [s.batch, s.heads / s.sharing.max(1), s.keys]);
    let operands = [
        (s.q, queries, s.q_strides, s.width),
        (s.k, keys, s.k_strides, s.width),
        (s.v, keys, s.v_strides, s.value_width),
        (s.y, queries, s.y_strides, s.value_width),
    ];
    for (id, extents, strides, width) in operands {
        let operand = tensor(plan, id)?;
        typed(&operand, DType::F32)?;
        require(reaches(extents, strides, width, operand.len()), "its strides leave a tensor")?;
    }
    if let Some(mask) = s.mask {
        let mask = tensor(plan, mask)?;
        typed(&mask, DType::F32)?;
        let [batch, head, query, key] = s.mask_strides;
        require(key <= 1, "its rows are not contiguous")?;
        let width = if key == 1 { s.keys } else { 1 };
        require(reaches(queries, [batch, head, query], width, mask.len()), "its strides leave a tensor")?;
    }
    let scratch = tensor(plan, s.scratch)?;
    typed(&scratch, DType::F32)?;
    require(s.scratch_len().is_some_and(|needed| scratch.len() >= needed), "its scratch is too small")?;
    require(s.scale.is_finite(), "its scale is not usable")
}

#[inline(never)]
fn check_reduce(s: &Reduce, x: &Elements, y: &Elements) -> Rule {
    sized(x, &[s.outer, s.n, s.inner])?;
    sized(y, &[s.outer, s.inner])?;
    use ReduceKind::{Max, Mean, Min, Sum};
    let known = x.dtype == DType::F32 || matches!(s.kind, Mean | Sum | Max | Min);
    require(known, "this reduction works on float32 only")?;
    require(product(&[s.n, widest(x.dtype)]).is_some(), "an accumulator could overflow")?;
    require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
}

#[inline(never)]
fn check_conv(plan: &Plan<'_>, s: &ConvI8, depthwise: bool) -> Rule {
    let w = &s.window;
    let bound = check_operands(plan, s, 0, depthwise)?;
    let bytes = if depthwise { w.taps().checked_mul(w.out_c as usize) } else { Some(weights::packed_bytes(w)) };
    let stored = constant(plan, s.weights, bytes)?;
    if !depthwise {
        return each_channel_sum(w, s.narrow != 0, Stored::Packed(stored), &mut |channel, sum| {
            bound.check(channel, sum)
        });
    }
    require(w.groups == w.in_c, "a depthwise step has one group for each channel")?;
    require(s.narrow == 0 || !stored.contains(&128), DENIES)?;
    let channels = w.out_c as usize;
    for channel in 0..channels {
        let column = stored.chunks_exact(channels.max(1)).filter_map(|tap| tap.get(channel));
        bound.check(channel, column.map(|&b| u64::from(b.cast_signed().unsigned_abs())).sum())?;
    }
    Ok(())
}

/// A convolution whose weights are expanded, `channels` output channels at a time.
#[inline(never)]
fn check_compressed<'p>(plan: &Plan<'p>, s: &ConvI8, channels: u32, stored: Stored<'p>) -> Rule {
    let parts = channels < s.window.out_c;
    require(channels > 0 && (!parts || s.window.groups == 1), "its channels cannot be cut into parts")?;
    require(!parts || (channels as usize).is_multiple_of(weights::BLOCK), "its parts are no whole blocks of channels")?;
    let bound = check_operands(plan, s, channels, false)?;
    each_channel_sum(&s.window, s.narrow != 0, stored, &mut |channel, sum| bound.check(channel, sum))
}

/// What a convolution demands beside its weights: its tensors, and room to expand the weights of so many channels in front
/// of its scratch.
#[inline(never)]
fn check_operands<'p>(plan: &Plan<'p>, s: &ConvI8, expanded: u32, depthwise: bool) -> Result<Bound<'p>, &'static str> {
    let w = &s.window;
    let (x, y) = weighted(plan, w, s.x, s.y)?;
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

/// Calls `check(output channel, Σ|w|)` as long as all is well.
fn each_magnitude(w: &Window, depthwise: bool, stored: &[u8], check: &mut dyn FnMut(usize, u64) -> Rule) -> Rule {
    if depthwise {
        let channels = w.out_c as usize;
        for channel in 0..channels {
            let column = stored.chunks_exact(channels.max(1)).filter_map(|tap| tap.get(channel));
            check(channel, column.map(|&b| u64::from(b.cast_signed().unsigned_abs())).sum())?;
        }
        return Ok(());
    }
    each_channel_sum(w, false, Stored::Packed(stored), check)
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
fn converts(plan: &Plan<'_>, x: TensorId, y: TensorId, from: &[DType], to: &[DType]) -> Rule {
    let (x, y) = pair(plan, x, y)?;
    let known = from.contains(&x.dtype) && to.contains(&y.dtype);
    require(known, "a tensor has another type than the step needs")?;
    require(x.len() == y.len(), "input and output differ in size")
}

#[inline(never)]
fn check_copy(plan: &Plan<'_>, s: &Copy) -> Rule {
    let y = tensor(plan, s.y)?;
    let x_len = match s.x {
        Some(id) => {
            let x = tensor(plan, id)?;
            require(x.dtype.bytes() == y.dtype.bytes(), "input and output differ in type")?;
            x.len()
        }
        None => s.constant.of(plan.bytes()).ok_or("a constant lies outside the file")?.len() / y.dtype.bytes(),
    };
    product(&s.dims).filter(|&count| count > 0).ok_or("its dimensions are not usable")?;
    let (mut least, mut greatest, mut written) = (i64::from(s.x_offset), i64::from(s.x_offset), u64::from(s.y_offset));
    for axis in 0..MAX_RANK {
        let steps = i64::from(s.dims[axis]) - 1;
        require(steps > 0 || s.x_strides[axis] == 0 && s.y_strides[axis] == 0, "its strides leave the source")?;
        let reach = steps * i64::from(s.x_strides[axis]);
        least += reach.min(0);
        greatest += reach.max(0);
        written = written.saturating_add(steps.unsigned_abs().saturating_mul(u64::from(s.y_strides[axis])));
    }
    require(least >= 0 && greatest < x_len as i64, "its strides leave the source")?;
    require(written < y.len() as u64, "its strides leave the destination")?;
    if !s.table.is_none() {
        typed(&y, DType::I8)?;
        constant(plan, s.table, Some(256))?;
    }
    Ok(())
}

/// Calls `check(output channel, Σ|w|)` as long as all is well, and checks that the weights behind the end of each segment are 0 (they
/// meet whatever lies behind the input), that they are as many as there must be, and that none is -128 where they are
/// said to be `narrow`.
fn each_channel_sum(
    window: &Window,
    narrow: bool,
    stored: Stored<'_>,
    check: &mut dyn FnMut(usize, u64) -> Rule,
) -> Rule {
    use weights::{BLOCK, GROUP, LANES, Segments, block_width};
    let segments = Segments::of(window);
    let (group_out, quads) = (window.group_out(), segments.padded / GROUP);
    let behind_end = segments.padded - segments.len;
    let mut pieces = Pieces::new(window, stored);
    for group in 0..window.groups as usize {
        for start in (0..group_out).step_by(BLOCK) {
            let width = block_width(start, group_out);
            let mut sums = [0_u32; BLOCK];
            let lasts = (0..segments.count).flat_map(|_| (1..=quads).map(|quad| quad == quads));
            for last in lasts {
                for sums in sums.as_chunks_mut::<LANES>().0.iter_mut().take(width / LANES) {
                    let piece = pieces.next().ok_or("its weights are not what they say")?;
                    require(!narrow || !piece.contains(&128), DENIES)?;
                    for (sum, quad) in sums.iter_mut().zip(piece.as_chunks::<GROUP>().0) {
                        *sum += quad.iter().map(|&byte| u32::from(byte.cast_signed().unsigned_abs())).sum::<u32>();
                        let clean = !last || quad.iter().rev().take(behind_end).all(|&byte| byte == 0);
                        require(clean, "its weights go on behind the end of a kernel row")?;
                    }
                }
            }
            for (lane, &sum) in sums.iter().take(width.min(group_out - start)).enumerate() {
                check(group * group_out + start + lane, u64::from(sum))?;
            }
        }
    }
    require(pieces.is_end(), "its weights are not what they say")
}
