//! Layer normalisation, as [`recognise`](crate::compile::recognise) finds it.

use cygnet_core::bytes::Span;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{BinaryOp, LayerNorm, Step};

use super::{Kind, Lowered, Lowering, Val, Value, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

impl Lowering<'_> {
    pub(super) fn layer_norm(&mut self, node: &Node) -> Lowered {
        let mut x = self.float_tensor(node, 0)?;
        let mut residual = match node.input(3) {
            Some(_) => Some(self.float_tensor(node, 3)?),
            None => None,
        };
        if let Some(other) = residual.take_if(|other| other.layout.shape != x.layout.shape) {
            let name = self.fresh(&format!("{}/sum", node.output(0).unwrap_or("")));
            self.pair(node, BinaryOp::Add, Value::Val(x), Value::Val(other), &name)?;
            let sum = self.any(&name)?;
            x = self.float(sum)?;
        }
        let shape = x.layout.shape.clone();
        if shape.is_empty() {
            return wrong("it needs at least one axis");
        }
        let axis = Self::axis(node.int("axis").unwrap_or(-1), shape.len())?;
        let x = self.ordered(&x, &identity(shape.len()))?;
        let residual = match residual {
            Some(residual) => Some(self.ordered(&residual, &identity(shape.len()))?.tensor),
            None => None,
        };
        let n: usize = shape[axis..].iter().product();
        let rows: usize = shape[..axis].iter().product();
        if n >= 1 << 24 {
            return no_step("normalisation of rows of 2²⁴ elements and more has no step");
        }
        let (scale, bias) = (self.row(node, 1, n, 1.0)?, self.row(node, 2, n, 0.0)?);
        let layout = Layout::row_major(&shape);
        let y = self.new_tensor(DType::F32, &layout, None, node.output(0).unwrap_or(""));
        let step = LayerNorm {
            x: x.tensor,
            residual,
            y,
            rows: rows as u32,
            n: n as u32,
            scale,
            bias,
            epsilon: node.float("epsilon").unwrap_or(1e-5),
            about_zero: u32::from(node.int("about_zero") == Some(1)),
        };
        self.builder.step(Step::LayerNorm(step), &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float });
        Ok(())
    }

    /// A constant row of `n`, absent where all of it is `neutral`.
    fn row(&mut self, node: &Node, index: usize, n: usize, neutral: f32) -> Lowered<Span> {
        let Some(constant) = self.constant(node, index)? else { return Ok(Span::NONE) };
        let mut values = constant.to_f32s()?;
        if values.len() == 1 {
            values = vec![values[0]; n];
        }
        if values.len() != n {
            return no_step(format!(
                "a scale or bias of shape {:?} for {n} elements has no step",
                constant.tensor.shape
            ));
        }
        let absent = values.iter().all(|&value| value == neutral);
        Ok(if absent { Span::NONE } else { self.builder.constant_f32(&values) })
    }
}
