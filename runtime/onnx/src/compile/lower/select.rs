//! [Where](https://onnx.ai/onnx/operators/onnx__Where.html).

use cygnet_core::bytes::Span;
use cygnet_core::plan::step::{Select, Step};
use cygnet_core::plan::{DType, MAX_RANK, TensorId};

use super::binary::broadcast;
use super::{Held, Kind, Lowered, Lowering, Val, Value, dense, no_step, plan_type, wrong};
use crate::compile::layout::Layout;
use crate::model::{Node, Tensor};

/// One of the sides of a selection or comparison: where its elements lie, and how.
pub(super) struct Side {
    pub tensor: Option<TensorId>,
    pub constant: Span,
    pub strides: [u32; MAX_RANK],
    pub dtype: DType,
    pub kind: Kind,
}

impl Lowering<'_> {
    pub(super) fn select(&mut self, node: &Node) -> Lowered {
        let values = [self.value(node, 0)?, self.value(node, 1)?, self.value(node, 2)?];
        let shape_of = |value: &Value| match value {
            Value::Val(val) => val.layout.shape.clone(),
            Value::Constant(constant) => constant.tensor.shape.clone(),
        };
        let mut shape = Vec::new();
        for value in &values {
            shape = broadcast(&shape, &shape_of(value))?;
        }
        Self::check_size(&shape)?;
        if shape.len() > MAX_RANK || shape.contains(&0) {
            return no_step(format!("a selection of shape {shape:?} has no step"));
        }
        let [condition, a, b] = values;
        let condition = match condition {
            Value::Val(val) => val,
            Value::Constant(constant) => self.materialize(&constant, node.input(0).unwrap_or(""))?,
        };
        let condition = self.side(Value::Val(condition))?;
        let (a, b) = (self.side(a)?, self.side(b)?);
        if condition.dtype != DType::Bool || a.dtype != b.dtype {
            return wrong("its condition must be bool, and its other inputs of one type");
        }
        let Some(condition_id) = condition.tensor else { return wrong("its condition is missing") };
        let name = node.output(0).unwrap_or("").to_string();
        let layout = Layout::row_major(&shape);
        let y = self.new_tensor(a.dtype, &layout, None, &name);
        let mut dims = [1; MAX_RANK];
        dims[MAX_RANK - shape.len()..].iter_mut().zip(&shape).for_each(|(slot, &dim)| *slot = dim as u32);
        let step = Select {
            condition: condition_id,
            a: a.tensor,
            b: b.tensor,
            a_constant: a.constant,
            b_constant: b.constant,
            y,
            dims,
            condition_strides: condition.strides,
            a_strides: a.strides,
            b_strides: b.strides,
        };
        self.builder.step(Step::Select(step), &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind: a.kind });
        Ok(())
    }

    /// A side, its axes those behind of the result; real numbers in float32.
    pub(super) fn side(&mut self, value: Value) -> Lowered<Side> {
        let (tensor, constant, dtype, kind, own, own_strides) = match value {
            Value::Val(val) => {
                let val = if matches!(val.kind, Kind::Quantized { .. } | Kind::Wide) { self.float(val)? } else { val };
                let val = self.plain(&val)?;
                if matches!(val.kind, Kind::Stored(_)) {
                    return no_step("8- and 16-bit numbers have no step there");
                }
                let strides: Vec<usize> = (0..val.layout.shape.len())
                    .map(|axis| val.layout.axis_strides(axis).first().map_or(0, |&(_, stride)| stride))
                    .collect();
                let dtype = self.builder.draft(val.tensor).dtype;
                (Some(val.tensor), Span::NONE, dtype, val.kind, val.layout.shape, strides)
            }
            Value::Constant(constant) => {
                let plain: Tensor = constant.to_plain()?;
                let Some(dtype) = plan_type(plain.dtype) else {
                    return no_step(format!("elements of type {} have no step there", plain.dtype));
                };
                let kind = match dtype {
                    DType::F32 => Kind::Float,
                    DType::I8 => Kind::Stored(Held::I8),
                    DType::I16 => Kind::Stored(Held::I16),
                    _ => Kind::Plain,
                };
                let strides = dense(&plain.shape);
                let shape = plain.shape.clone();
                (None, self.builder.constant(plain.data), dtype, kind, shape, strides)
            }
        };
        let mut strides = [0; MAX_RANK];
        let front = MAX_RANK - own.len();
        for (axis, (&dim, &stride)) in own.iter().zip(&own_strides).enumerate() {
            strides[front + axis] = if dim == 1 { 0 } else { stride as u32 };
        }
        Ok(Side { tensor, constant, strides, dtype, kind })
    }
}
