//! Operators that move elements without changing them.

use cygnet_core::bytes::Span;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{Gather, Lookup, Step};
use cygnet_core::quantization;

use super::quantize::{Parameters, Target};
use super::{Held, Kind, Lowered, Lowering, Val, Value, dense, identity, no_step, plan_type, wrong};
use crate::compile::layout::Layout;
use crate::model::{self, Node};

/// The part of an axis that a Slice takes.
pub(super) struct Part {
    pub start: usize,
    pub step: i64,
    pub count: usize,
}

impl Lowering<'_> {
    /// Takes a part of every axis: a copy of the elements.
    pub(super) fn part(&mut self, val: &Val, parts: &[Part], name: &str) -> Lowered<Val> {
        let val = self.plain(val)?;
        let shape: Vec<usize> = parts.iter().map(|part| part.count).collect();
        if shape.contains(&0) {
            return no_step("the result is empty");
        }
        if parts
            .iter()
            .zip(&val.layout.shape)
            .all(|(part, &dim)| part.start == 0 && part.step == 1 && part.count == dim)
        {
            return Ok(val);
        }
        let order = val.layout.memory_order().unwrap_or_else(|| identity(shape.len()));
        let layout = Layout::ordered(&shape, &order);
        let draft = self.builder.draft(val.tensor).clone();
        let y = self.new_tensor(draft.dtype, &layout, draft.quantization, name);
        let stride = |axis: usize| val.layout.axis_strides(axis).first().map_or(0, |&(_, stride)| stride);
        let offset = (0..shape.len()).map(|axis| parts[axis].start * stride(axis)).sum();
        let dims: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let strides: Vec<i64> = order.iter().map(|&axis| parts[axis].step * stride(axis) as i64).collect();
        self.copy(Some(val.tensor), Span::NONE, y, &dims, offset, &strides, 0, &dense(&dims), Span::NONE, name)?;
        Ok(Val { tensor: y, layout, kind: val.kind })
    }

    pub(super) fn slice(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let rank = shape.len();
        let (Some(starts), Some(ends)) = (self.ints(node, "starts", 1)?, self.ints(node, "ends", 2)?) else {
            return wrong("its starts or ends are missing");
        };
        let axes = self.ints(node, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints(node, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return wrong("its starts, ends, axes and steps differ in number");
        }
        let mut parts: Vec<Part> = shape.iter().map(|&count| Part { start: 0, step: 1, count }).collect();
        for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = Self::axis(axis, rank)?;
            let dim = shape[axis] as i64;
            let wrap = |value: i64| if value < 0 { value.saturating_add(dim) } else { value };
            let (start, end) = match step {
                0 => return wrong("a step is 0"),
                1.. => (wrap(start).clamp(0, dim), wrap(end).clamp(0, dim)),
                _ => (wrap(start).clamp(0, dim - 1), wrap(end).clamp(-1, dim - 1)),
            };
            let count = if step > 0 { (end - start).max(0) } else { (start - end).max(0) };
            let count = count.unsigned_abs().div_ceil(step.unsigned_abs()) as usize;
            parts[axis] = Part { start: start as usize, step, count };
        }
        let val = self.part(&val, &parts, node.output(0).unwrap_or(""))?;
        self.bind(node, 0, val);
        Ok(())
    }

    pub(super) fn split(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let axis = Self::axis(node.int("axis").unwrap_or(0), shape.len())?;
        let count = node.outputs.len().max(1);
        let sizes: Vec<usize> = match self.ints(node, "split", 1)? {
            Some(sizes) => sizes.iter().map(|&size| size.max(0) as usize).collect(),
            None => {
                let size = shape[axis].div_ceil(count);
                (0..count).map(|index| size.min(shape[axis].saturating_sub(index * size))).collect()
            }
        };
        if sizes.len() != count || sizes.iter().sum::<usize>() != shape[axis] {
            return wrong(format!("parts of {sizes:?} do not make {}", shape[axis]));
        }
        let mut start = 0;
        for (index, &size) in sizes.iter().enumerate() {
            let mut parts: Vec<Part> = shape.iter().map(|&count| Part { start: 0, step: 1, count }).collect();
            parts[axis] = Part { start, step: 1, count: size };
            start += size;
            if let Some(name) = node.output(index) {
                let part = self.part(&val, &parts, name)?;
                self.values.insert(name.to_string(), Value::Val(part));
            }
        }
        Ok(())
    }

    pub(super) fn concat(&mut self, node: &Node) -> Lowered {
        let mut vals = Vec::new();
        for index in 0..node.inputs.len() {
            vals.push(self.tensor(node, index)?);
        }
        let Some(first) = vals.first() else { return wrong("it has no input") };
        let rank = first.layout.shape.len();
        let axis = Self::axis(node.int("axis").unwrap_or(0), rank)?;
        let mut shape = first.layout.shape.clone();
        shape[axis] = 0;
        for val in &vals {
            let same = val.layout.shape.len() == rank
                && (0..rank).all(|other| other == axis || val.layout.shape[other] == shape[other]);
            if !same {
                return wrong(format!("shape {:?} does not fit along axis {axis}", val.layout.shape));
            }
            shape[axis] += val.layout.shape[axis];
        }
        let name = node.output(0).unwrap_or("").to_string();
        let integers = vals.iter().all(Val::is_integer);
        let held_as = |val: &Val| (self.builder.draft(val.tensor).dtype, self.quantization(val));
        let same_quantization = vals.iter().all(|val| held_as(val) == held_as(&vals[0]));
        let same_stored = |held: Held| vals.iter().all(|val| matches!(val.kind, Kind::Stored(other) if other == held));
        let target = if integers && !same_quantization { self.target(&name) } else { None };
        let mut target = target.filter(Target::is_whole);
        let moves = integers && (same_quantization || target.is_some())
            || [Held::I8, Held::U8, Held::I16].into_iter().any(same_stored)
            || vals.iter().all(|val| {
                matches!(val.kind, Kind::Plain)
                    && self.builder.draft(val.tensor).dtype == self.builder.draft(vals[0].tensor).dtype
            });
        if !moves {
            for val in &mut vals {
                *val = self.float(val.clone())?;
            }
        }
        if let Some(wide) = target.take_if(|target| target.held == Held::I16 || !vals.iter().all(Val::is_quantized)) {
            // A table on the way makes only int8 of int8.
            let to = Parameters { scale: wide.scale, zero_point: wide.zero_point, held: wide.held };
            for val in &mut vals {
                *val = self.quantized(val.clone(), to, &name, &node.label())?;
            }
        }
        let known = vals.iter().map(|val| self.builder.draft(val.tensor).quantization).find(Option::is_some).flatten();
        let quantization = target.as_ref().map_or(known, |target| Some((target.scale, target.zero_point)));
        let lead = self.plain(&vals[0])?;
        let order = lead.layout.memory_order().unwrap_or_else(|| identity(rank));
        let layout = Layout::ordered(&shape, &order);
        let dtype = self.builder.draft(lead.tensor).dtype;
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let out_dims: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let y_strides = dense(&out_dims);
        let place = order.iter().position(|&other| other == axis).unwrap_or(0);
        let mut start = 0;
        for val in &vals {
            let val = self.ordered(val, &order)?;
            let table = match &target {
                Some(target) if self.quantization(&val) != (target.scale, target.zero_point) => {
                    let Some(values) = self.real_table(&val) else { return wrong("an input has no values") };
                    let bytes = values
                        .iter()
                        .map(|&value| quantization::quantize::<i8>(value, target.scale, target.zero_point));
                    let bytes: Vec<u8> = bytes.map(i8::cast_unsigned).collect();
                    self.builder.constant(bytes)
                }
                _ => Span::NONE,
            };
            let dims: Vec<usize> = order.iter().map(|&axis| val.layout.shape[axis]).collect();
            let x_strides: Vec<i64> = dense(&dims).iter().map(|&stride| stride as i64).collect();
            let offset = start * y_strides[place];
            let label = node.label();
            self.copy(Some(val.tensor), Span::NONE, y, &dims, 0, &x_strides, offset, &y_strides, table, &label)?;
            start += val.layout.shape[axis];
        }
        match &target {
            Some(target) => self.bind_result(node, Some(target), y, layout),
            None => self.bind(node, 0, Val { tensor: y, layout, kind: lead.kind }),
        }
        Ok(())
    }

    /// Picks indices along an axis.
    pub(super) fn gathered(&mut self, val: &Val, axis: usize, indices: &[u32], name: &str) -> Lowered<Val> {
        let val = self.plain(val)?;
        let rank = val.layout.shape.len();
        let order = val.layout.memory_order().unwrap_or_else(|| identity(rank));
        let mut shape = val.layout.shape.clone();
        let n = shape[axis];
        if indices.len() == n && indices.iter().enumerate().all(|(place, &index)| place == index as usize) {
            return Ok(val);
        }
        let place = order.iter().position(|&other| other == axis).unwrap_or(0);
        let outer: usize = order[..place].iter().map(|&axis| shape[axis]).product();
        let inner: usize = order[place + 1..].iter().map(|&axis| shape[axis]).product();
        shape[axis] = indices.len();
        Self::check_size(&shape)?;
        let layout = Layout::ordered(&shape, &order);
        let draft = self.builder.draft(val.tensor).clone();
        let y = self.new_tensor(draft.dtype, &layout, draft.quantization, name);
        let indices = self.builder.constant_u32(indices);
        let (outer, n, inner) = (outer as u32, n as u32, inner as u32);
        self.builder.step(Step::Gather(Gather { x: val.tensor, y, outer, n, inner, indices }), name);
        Ok(Val { tensor: y, layout, kind: val.kind })
    }

    pub(super) fn gather(&mut self, node: &Node) -> Lowered {
        if let Value::Val(indices) = self.value(node, 1)? {
            return self.lookup(node, &indices);
        }
        let val = self.tensor(node, 0)?;
        let Some(indices) = self.constant(node, 1)? else { return wrong("its indices are missing") };
        let shape = val.layout.shape.clone();
        let axis = Self::axis(node.int("axis").unwrap_or(0), shape.len())?;
        let indices_shape = indices.tensor.shape.clone();
        let indices = indices
            .tensor
            .to_i64s()?
            .iter()
            .map(|&index| Self::axis(index, shape[axis]).map(|index| index as u32))
            .collect::<Lowered<Vec<u32>>>()?;
        if indices.is_empty() {
            return no_step("the result is empty");
        }
        let val = self.gathered(&val, axis, &indices, node.output(0).unwrap_or(""))?;
        let mut new = shape[..axis].to_vec();
        new.extend_from_slice(&indices_shape);
        new.extend_from_slice(&shape[axis + 1..]);
        let val = self.reshaped(&val, &new)?;
        self.bind(node, 0, val);
        Ok(())
    }

    /// Picks computed indices along an axis.
    fn lookup(&mut self, node: &Node, indices: &Val) -> Lowered {
        let indices = self.ordered(indices, &identity(indices.layout.shape.len()))?;
        if !matches!(self.builder.draft(indices.tensor).dtype, DType::I32 | DType::I64) {
            return no_step("indices other than int32 and int64 have no step");
        }
        let name = node.output(0).unwrap_or("").to_string();
        let source = self.value(node, 0)?;
        let shape = match &source {
            Value::Val(val) => val.layout.shape.clone(),
            Value::Constant(constant) => constant.tensor.shape.clone(),
        };
        let axis = Self::axis(node.int("axis").unwrap_or(0), shape.len())?;
        let mut new = shape[..axis].to_vec();
        new.extend_from_slice(&indices.layout.shape);
        new.extend_from_slice(&shape[axis + 1..]);
        Self::check_size(&new)?;
        let extent = |dims: &[usize]| dims.iter().product::<usize>();
        let (outer, n, inner) = (extent(&shape[..axis]), shape[axis], extent(&shape[axis + 1..]));
        if outer * n * inner == 0 || extent(&new) == 0 {
            return no_step("the source or the result is empty");
        }
        let (x, constant, scales, dtype, quantization, kind) = match source {
            Value::Val(val) => {
                let val = self.ordered(&val, &identity(shape.len()))?;
                let draft = self.builder.draft(val.tensor);
                let (dtype, quantization) = (draft.dtype, draft.quantization);
                (Some(val.tensor), Span::NONE, Span::NONE, dtype, quantization, val.kind)
            }
            Value::Constant(constant) => match constant.to_i8s()? {
                // Rows of int8 with a scale each, or one for all, stay so: a quarter of the bytes.
                Some((levels, q, shift))
                    if axis == 0
                        && (q.scales.len() == 1 || q.axis == 0)
                        && q.zero_points.iter().all(|&zero| zero == shift) =>
                {
                    let scales: Vec<f32> =
                        (0..n).map(|row| q.scales[if q.scales.len() == 1 { 0 } else { row }]).collect();
                    let levels = self.builder.constant(levels.iter().map(|level| level.cast_unsigned()).collect());
                    let scales = self.builder.constant_f32(&scales);
                    (None, levels, scales, DType::F32, None, Kind::Float)
                }
                _ => {
                    let mut plain = constant.to_plain()?;
                    let stored = plain.dtype == model::DType::U8 && self.is_quantized_use(&name);
                    if stored {
                        // uint8 numbers that stand for real ones are held shifted by 128.
                        plain.data.iter_mut().for_each(|byte| *byte ^= 0x80);
                        plain.dtype = model::DType::I8;
                    }
                    let Some(dtype) = plan_type(plain.dtype) else {
                        return no_step(format!("a table of type {} has no step", plain.dtype));
                    };
                    let kind = match dtype {
                        DType::F32 => Kind::Float,
                        DType::I8 if stored => Kind::Stored(Held::U8),
                        DType::I8 => Kind::Stored(Held::I8),
                        DType::I16 => Kind::Stored(Held::I16),
                        _ => Kind::Plain,
                    };
                    (None, self.builder.constant(plain.data), Span::NONE, dtype, None, kind)
                }
            },
        };
        let layout = Layout::row_major(&new);
        let y = self.new_tensor(dtype, &layout, quantization, &name);
        let (outer, n, inner) = (outer as u32, n as u32, inner as u32);
        let step = Lookup { x, constant, scales, indices: indices.tensor, y, outer, n, inner };
        self.builder.step(Step::Lookup(step), &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind });
        Ok(())
    }

    pub(super) fn expand(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let Some(wanted) = self.ints(node, "shape", 1)? else { return wrong("its shape is missing") };
        let rank = wanted.len().max(val.layout.shape.len());
        let mut shape = val.layout.with_rank(rank).shape;
        for (axis, &extent) in (rank - wanted.len()..).zip(&wanted) {
            if extent < 1 || extent != 1 && shape[axis] != 1 && shape[axis] != extent as usize {
                return wrong(format!("{:?} cannot be expanded to {wanted:?}", val.layout.shape));
            }
            shape[axis] = shape[axis].max(extent as usize);
        }
        let repeats: Vec<usize> =
            shape.iter().zip(&val.layout.with_rank(rank).shape).map(|(new, old)| new / old).collect();
        let val = Val { layout: val.layout.with_rank(rank), ..val };
        let val = self.repeated(&val, &repeats, node)?;
        self.bind(node, 0, val);
        Ok(())
    }

    pub(super) fn tile(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let Some(repeats) = self.ints(node, "repeats", 1)? else { return wrong("its repeats are missing") };
        if repeats.len() != val.layout.shape.len() || repeats.iter().any(|&count| count < 1) {
            return no_step(format!("repeats {repeats:?} have no step"));
        }
        let repeats: Vec<usize> = repeats.iter().map(|&count| count as usize).collect();
        let val = self.repeated(&val, &repeats, node)?;
        self.bind(node, 0, val);
        Ok(())
    }

    /// Repeats every axis as a whole.
    pub(super) fn repeated(&mut self, val: &Val, repeats: &[usize], node: &Node) -> Lowered<Val> {
        let val = self.plain(val)?;
        if repeats.iter().all(|&count| count == 1) {
            return Ok(val);
        }
        let rank = repeats.len();
        let order = val.layout.memory_order().unwrap_or_else(|| identity(rank));
        let shape: Vec<usize> =
            val.layout.shape.iter().zip(repeats).map(|(dim, count)| dim.saturating_mul(*count)).collect();
        Self::check_size(&shape)?;
        let layout = Layout::ordered(&shape, &order);
        let draft = self.builder.draft(val.tensor).clone();
        let y = self.new_tensor(draft.dtype, &layout, draft.quantization, node.output(0).unwrap_or(""));
        let mut dims = Vec::new();
        let mut strides = Vec::new();
        for &axis in &order {
            let stride = val.layout.axis_strides(axis).first().map_or(0, |&(_, stride)| stride as i64);
            dims.extend([repeats[axis], val.layout.shape[axis]]);
            strides.extend([0, stride]);
        }
        let label = node.label();
        self.copy(Some(val.tensor), Span::NONE, y, &dims, 0, &strides, 0, &dense(&dims), Span::NONE, &label)?;
        Ok(Val { tensor: y, layout, kind: val.kind })
    }
}
