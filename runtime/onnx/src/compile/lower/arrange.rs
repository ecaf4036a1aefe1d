//! Tensors made and brought into order.

use cygnet_core::bytes::Span;
use cygnet_core::plan::step::{Copy, Step};
use cygnet_core::plan::{DType, MAX_RANK, TensorId};

use super::{Constant, Held, Kind, Lowered, Lowering, Val, dense, identity, no_step, plan_type, wrong};
use crate::compile::layout::Layout;

impl Lowering<'_> {
    /// A constant in the arena.
    pub(super) fn materialize(&mut self, constant: &Constant, name: &str) -> Lowered<Val> {
        let plain = constant.to_plain()?;
        let Some(dtype) = plan_type(plain.dtype) else {
            return wrong(format!("constant \"{name}\" has elements of type {}", plain.dtype));
        };
        if plain.is_empty() {
            return no_step(format!("constant \"{name}\" is empty"));
        }
        let layout = Layout::row_major(&plain.shape);
        let tensor = self.builder.tensor(dtype, vec![plain.len()], None, name);
        let data = self.builder.constant(plain.data.clone());
        self.copy(None, data, tensor, &[plain.len()], 0, &[1], 0, &[1], Span::NONE, name)?;
        let kind = match dtype {
            DType::F32 => Kind::Float,
            DType::I8 => Kind::Stored(Held::I8),
            DType::I16 => Kind::Stored(Held::I16),
            _ => Kind::Plain,
        };
        Ok(Val { tensor, layout, kind })
    }

    /// Refuses shapes whose tensors no plan could hold, before anything is computed for them.
    pub(super) fn check_size(shape: &[usize]) -> Lowered {
        let len = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        match len {
            Some(len) if len < 1 << 29 => Ok(()),
            _ => wrong(format!("a tensor of shape {shape:?} is too large")),
        }
    }

    /// A new tensor for an output of a node, in the given order of axes.
    pub(super) fn new_tensor(
        &mut self,
        dtype: DType,
        layout: &Layout,
        quantization: Option<(f32, i32)>,
        name: &str,
    ) -> TensorId {
        let extents = match layout.memory_order().filter(|order| order.len() <= MAX_RANK) {
            Some(order) => order.iter().map(|&axis| layout.shape[axis]).collect(),
            None => {
                let extents = layout.memory_extents();
                if extents.len() <= MAX_RANK { extents } else { vec![layout.len()] }
            }
        };
        self.builder.tensor(dtype, extents, quantization, name)
    }

    /// The same elements with axes in another memory order: a copy where they are not.
    pub(super) fn ordered(&mut self, val: &Val, order: &[usize]) -> Lowered<Val> {
        if val.layout.is_ordered(order) {
            return Ok(Val { layout: Layout::ordered(&val.layout.shape, order), ..val.clone() });
        }
        let layout = Layout::ordered(&val.layout.shape, order);
        let draft = self.builder.draft(val.tensor).clone();
        let tensor = self.new_tensor(draft.dtype, &layout, draft.quantization, &draft.name);
        // Extents and strides of the source in the order of the destination.
        let parts: Vec<(usize, usize)> = order.iter().flat_map(|&axis| val.layout.axis_strides(axis)).collect();
        let dims: Vec<usize> = parts.iter().map(|&(extent, _)| extent).collect();
        let x_strides: Vec<i64> = parts.iter().map(|&(_, stride)| stride as i64).collect();
        self.copy(
            Some(val.tensor),
            Span::NONE,
            tensor,
            &dims,
            0,
            &x_strides,
            0,
            &dense(&dims),
            Span::NONE,
            &draft.name,
        )?;
        Ok(Val { tensor, layout, kind: val.kind.clone() })
    }

    /// The same elements with every axis in one run.
    pub(super) fn plain(&mut self, val: &Val) -> Lowered<Val> {
        if val.layout.memory_order().is_some() {
            Ok(val.clone())
        } else {
            self.ordered(val, &identity(val.layout.shape.len()))
        }
    }

    /// Appends a strided copy, neighbouring dimensions joined.
    #[allow(clippy::too_many_arguments, reason = "the fields of a copy")]
    pub(super) fn copy(
        &mut self,
        x: Option<TensorId>,
        constant: Span,
        y: TensorId,
        dims: &[usize],
        x_offset: usize,
        x_strides: &[i64],
        y_offset: usize,
        y_strides: &[usize],
        table: Span,
        name: &str,
    ) -> Lowered {
        let mut joined: Vec<(usize, i64, usize)> = Vec::new();
        for ((&dim, &x_stride), &y_stride) in dims.iter().zip(x_strides).zip(y_strides) {
            if dim == 1 {
                continue;
            }
            match joined.last_mut() {
                Some(last) if last.1 == x_stride * dim as i64 && last.2 == y_stride * dim => {
                    *last = (last.0 * dim, x_stride, y_stride);
                }
                _ => joined.push((dim, x_stride, y_stride)),
            }
        }
        if joined.len() > MAX_RANK {
            return no_step("it moves elements along more than 6 axes");
        }
        let mut step = Copy {
            x,
            constant,
            y,
            dims: [1; MAX_RANK],
            x_offset: x_offset as u32,
            x_strides: [0; MAX_RANK],
            y_offset: y_offset as u32,
            y_strides: [0; MAX_RANK],
            table,
        };
        let front = MAX_RANK - joined.len();
        for (slot, (dim, x_stride, y_stride)) in (front..).zip(joined) {
            step.dims[slot] = dim as u32;
            step.x_strides[slot] = x_stride as i32;
            step.y_strides[slot] = y_stride as u32;
        }
        self.builder.step(Step::Copy(step), name);
        Ok(())
    }
}
