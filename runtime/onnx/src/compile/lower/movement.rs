//! Operators that move elements without changing them.

use cygnet_core::bytes::Span;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{Fill, Gather, Step};
use cygnet_core::quantization;

use super::{Kind, Lowered, Lowering, Val, Value, dense, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{Attribute, Node};

/// The part of an axis that a Slice takes.
struct Part {
    start: usize,
    step: i64,
    count: usize,
}

impl Lowering<'_> {
    pub(super) fn transpose(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let rank = val.layout.shape.len();
        let permutation: Vec<usize> = match node.ints("perm") {
            Some(perm) => perm.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = permutation.clone();
        sorted.sort_unstable();
        if sorted != identity(rank) {
            return wrong(format!("perm {permutation:?} does not name each of {rank} axes once"));
        }
        let layout = val.layout.transposed(&permutation);
        self.bind(node, 0, Val { layout, ..val });
        Ok(())
    }

    pub(super) fn reshape(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let len = val.layout.len();
        let new: Vec<usize> = match node.op_type.as_str() {
            "Reshape" => {
                let Some(wanted) = self.ints(node, "shape", 1)? else { return wrong("its shape is missing") };
                reshape(&shape, &wanted, node.int("allowzero").unwrap_or(0) != 0)?
            }
            "Flatten" => {
                let axis = node.int("axis").unwrap_or(1);
                let axis = if axis == shape.len() as i64 { shape.len() } else { Self::axis(axis, shape.len())? };
                vec![shape[..axis].iter().product(), shape[axis..].iter().product()]
            }
            "Squeeze" => match self.ints(node, "axes", 1)? {
                Some(axes) => {
                    let axes: Vec<usize> =
                        axes.iter().map(|&axis| Self::axis(axis, shape.len())).collect::<Lowered<_>>()?;
                    if axes.iter().any(|&axis| shape[axis] != 1) {
                        return wrong(format!("axes {axes:?} of {shape:?} are not all 1"));
                    }
                    (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect()
                }
                None => shape.iter().copied().filter(|&dim| dim != 1).collect(),
            },
            _ => {
                let Some(axes) = self.ints(node, "axes", 1)? else { return wrong("its axes are missing") };
                let rank = shape.len() + axes.len();
                if rank > 64 {
                    return wrong("it adds too many axes");
                }
                let axes: Vec<usize> = axes.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?;
                let mut rest = shape.iter().copied();
                (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) }).collect()
            }
        };
        if new.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)) != Some(len) {
            return wrong(format!("{shape:?} cannot be seen as {new:?}"));
        }
        let val = self.reshaped(&val, &new)?;
        self.bind(node, 0, val);
        Ok(())
    }

    /// The same elements under another shape: free where the layout allows, else copied first.
    pub(super) fn reshaped(&mut self, val: &Val, shape: &[usize]) -> Lowered<Val> {
        if let Some(layout) = val.layout.reshaped(shape) {
            return Ok(Val { layout, ..val.clone() });
        }
        let val = self.ordered(val, &identity(val.layout.shape.len()))?;
        match val.layout.reshaped(shape) {
            Some(layout) => Ok(Val { layout, ..val }),
            None => wrong(format!("{:?} cannot be seen as {shape:?}", val.layout.shape)),
        }
    }

    /// [DepthToSpace](https://onnx.ai/onnx/operators/onnx__DepthToSpace.html) and its inverse are
    /// reshapes and transposes.
    pub(super) fn depth_space(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let block = node.int("blocksize").unwrap_or(0).max(0) as usize;
        let [n, c, h, w] = val.layout.shape[..] else { return wrong("its input must have four axes") };
        let (cut, permutation, joined): (Vec<usize>, [usize; 6], Vec<usize>) = if node.op_type == "DepthToSpace" {
            if block == 0 || block > 1 << 12 || !c.is_multiple_of(block * block) {
                return wrong(format!("blocks of {block} do not fit {c} channels"));
            }
            let depth = c / (block * block);
            let out = vec![n, depth, h * block, w * block];
            match node.string("mode").unwrap_or("DCR") {
                "DCR" => (vec![n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2], out),
                "CRD" => (vec![n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3], out),
                other => return wrong(format!("mode \"{other}\" is not known")),
            }
        } else {
            if block == 0 || !h.is_multiple_of(block) || !w.is_multiple_of(block) {
                return wrong(format!("blocks of {block} do not fit {h} × {w}"));
            }
            let out = vec![n, c * block * block, h / block, w / block];
            (vec![n, c, h / block, block, w / block, block], [0, 3, 5, 1, 2, 4], out)
        };
        let val = self.reshaped(&val, &cut)?;
        let val = Val { layout: val.layout.transposed(&permutation), ..val };
        let val = match val.layout.reshaped(&joined) {
            Some(layout) => Val { layout, ..val },
            None => self.reshaped(&val, &joined)?,
        };
        self.bind(node, 0, val);
        Ok(())
    }

    /// Takes a part of every axis: a copy of the elements.
    fn part(&mut self, val: &Val, parts: &[Part], name: &str) -> Lowered<Val> {
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
        let all_quantized = vals.iter().all(Val::is_quantized);
        let same_quantization = vals.iter().all(|val| self.quantization(val) == self.quantization(&vals[0]));
        let same_stored = |unsigned: bool| {
            vals.iter().all(|val| matches!(val.kind, Kind::Stored { unsigned: other } if other == unsigned))
        };
        let target = if all_quantized && !same_quantization { self.target(&name) } else { None };
        let target = target.filter(|target| (target.low, target.high) == (-128, 127));
        let moves = all_quantized && (same_quantization || target.is_some())
            || same_stored(true)
            || same_stored(false)
            || vals.iter().all(|val| {
                matches!(val.kind, Kind::Plain)
                    && self.builder.draft(val.tensor).dtype == self.builder.draft(vals[0].tensor).dtype
            });
        if !moves {
            for val in &mut vals {
                *val = self.float(val.clone())?;
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
                    let bytes =
                        values.iter().map(|&value| quantization::quantize(value, target.scale, target.zero_point));
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

    pub(super) fn pad(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let rank = shape.len();
        let Some(pads) = self.ints(node, "pads", 1)? else { return wrong("its pads are missing") };
        if pads.iter().any(|pad| pad.unsigned_abs() > 1 << 29) {
            return wrong(format!("pads {pads:?} are too large"));
        }
        let axes: Vec<usize> = match self.constant(node, 3)? {
            Some(axes) => axes.tensor.to_i64s()?.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?,
            None => identity(rank),
        };
        if pads.len() != axes.len() * 2 {
            return wrong(format!("{} pads do not fit {} axes", pads.len(), axes.len()));
        }
        let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
        for (index, &axis) in axes.iter().enumerate() {
            (before[axis], after[axis]) = (pads[index], pads[index + axes.len()]);
        }
        let new: Vec<i64> = (0..rank).map(|axis| shape[axis] as i64 + before[axis] + after[axis]).collect();
        if new.iter().any(|&dim| !(1..1 << 29).contains(&dim)) {
            return wrong(format!("pads {pads:?} do not fit {shape:?}"));
        }
        Self::check_size(&new.iter().map(|&dim| dim as usize).collect::<Vec<_>>())?;
        let name = node.output(0).unwrap_or("").to_string();
        let mode = node.string("mode").unwrap_or("constant");
        if mode != "constant" {
            let mut val = self.plain(&val)?;
            for axis in 0..rank {
                if (before[axis], after[axis]) == (0, 0) {
                    continue;
                }
                let dim = shape[axis] as i64;
                let source = |place: i64| match mode {
                    "edge" => Ok(place.clamp(0, dim - 1)),
                    "wrap" => Ok(place.rem_euclid(dim)),
                    "reflect" if dim == 1 => Ok(0),
                    "reflect" => {
                        let folded = place.rem_euclid(2 * (dim - 1));
                        Ok(if folded < dim { folded } else { 2 * (dim - 1) - folded })
                    }
                    other => wrong(format!("mode \"{other}\" is not known")),
                };
                let indices = (-before[axis]..dim + after[axis])
                    .map(|place| source(place).map(|place| place as u32))
                    .collect::<Lowered<Vec<u32>>>()?;
                val = self.gathered(&val, axis, &indices, &name)?;
            }
            self.bind(node, 0, val);
            return Ok(());
        }
        let value = match self.constant(node, 2)? {
            Some(constant) => constant.scalar()?,
            None => node.float("value").unwrap_or(0.0),
        };
        // The stored element that stands for the value, or float where there is none.
        let val = match &val.kind {
            Kind::Quantized { table: None } => {
                let (scale, zero_point) = self.quantization(&val);
                let stored = quantization::quantize(value, scale, zero_point);
                let exact = quantization::dequantize(stored, scale, zero_point) == value;
                if exact { val } else { self.float(val)? }
            }
            Kind::Quantized { .. } => self.float(val)?,
            _ => val,
        };
        let draft_quantization = self.builder.draft(val.tensor).quantization;
        let fill = match (&val.kind, draft_quantization) {
            (Kind::Quantized { .. }, Some((scale, zero_point))) => {
                [u32::from(quantization::quantize(value, scale, zero_point).cast_unsigned()), 0]
            }
            (Kind::Float, _) => [value.to_bits(), 0],
            (Kind::Stored { unsigned: true }, _) => [u32::from(value as u8 ^ 0x80), 0],
            (Kind::Stored { unsigned: false }, _) => [u32::from((value as i8).cast_unsigned()), 0],
            _ => {
                let bits = (value as i64).cast_unsigned();
                [bits as u32, (bits >> 32) as u32]
            }
        };
        // Negative pads cut.
        let parts: Vec<Part> = (0..rank)
            .map(|axis| {
                let start = (-before[axis]).max(0) as usize;
                let end = (-after[axis]).max(0) as usize;
                Part { start, step: 1, count: shape[axis].saturating_sub(start + end) }
            })
            .collect();
        let val = self.part(&val, &parts, &name)?;
        let shape: Vec<usize> = new.iter().map(|&dim| dim as usize).collect();
        if shape == val.layout.shape {
            self.bind(node, 0, val);
            return Ok(());
        }
        let order = val.layout.memory_order().unwrap_or_else(|| identity(rank));
        let layout = Layout::ordered(&shape, &order);
        let draft = self.builder.draft(val.tensor).clone();
        let y = self.new_tensor(draft.dtype, &layout, draft.quantization, &name);
        self.builder.step(Step::Fill(Fill { y, value: fill }), &node.label());
        let out_dims: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let y_strides = dense(&out_dims);
        let dims: Vec<usize> = order.iter().map(|&axis| val.layout.shape[axis]).collect();
        let offset = order.iter().zip(&y_strides).map(|(&axis, stride)| before[axis].max(0) as usize * stride).sum();
        let x_strides: Vec<i64> = dense(&dims).iter().map(|&stride| stride as i64).collect();
        let label = node.label();
        self.copy(Some(val.tensor), Span::NONE, y, &dims, 0, &x_strides, offset, &y_strides, Span::NONE, &label)?;
        self.bind(node, 0, Val { tensor: y, layout, kind: val.kind });
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

    /// Whether a node carries subgraphs.
    pub(super) fn has_subgraph(node: &Node) -> bool {
        node.attributes.values().any(|attribute| matches!(attribute, Attribute::Graph(_)))
    }

    /// The type that elements of a value have in the ONNX graph, where the plan can hold them.
    pub(super) fn graph_type(&self, val: &Val) -> DType {
        match val.kind {
            Kind::Float | Kind::Quantized { .. } => DType::F32,
            Kind::Stored { unsigned: true } => DType::U8,
            Kind::Stored { unsigned: false } => DType::I8,
            Kind::Plain => self.builder.draft(val.tensor).dtype,
        }
    }
}

/// The shape that Reshape asks for: 0 keeps an extent, -1 is what is left.
fn reshape(shape: &[usize], wanted: &[i64], allow_zero: bool) -> Lowered<Vec<usize>> {
    let len: usize = shape.iter().product();
    let mut new = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, &extent) in wanted.iter().enumerate() {
        match extent {
            -1 if open.is_none() => {
                open = Some(axis);
                new.push(1);
            }
            0 if !allow_zero => match shape.get(axis) {
                Some(&dim) => new.push(dim),
                None => return wrong(format!("{wanted:?} keeps axis {axis}, which {shape:?} lacks")),
            },
            1.. => new.push(extent as usize),
            _ => return wrong(format!("{wanted:?} is not a shape")),
        }
    }
    let product = new.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)).unwrap_or(0);
    if let Some(axis) = open {
        if product == 0 || !len.is_multiple_of(product) {
            return wrong(format!("{shape:?} cannot be seen as {wanted:?}"));
        }
        new[axis] = len / product;
    }
    Ok(new)
}
