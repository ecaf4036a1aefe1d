//! Comparisons: [Equal](https://onnx.ai/onnx/operators/onnx__Equal.html), Less, LessOrEqual, Greater, GreaterOrEqual, and Xor of
//! truths.

use cygnet_core::plan::step::{Compare, Comparison, Step};
use cygnet_core::plan::{DType, MAX_RANK};

use super::binary::broadcast;
use super::{Kind, Lowered, Lowering, Val, Value, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

impl Lowering<'_> {
    pub(super) fn compare(&mut self, node: &Node) -> Lowered {
        // The comparison, and what it is with the sides exchanged.
        let (comparison, mirrored) = match node.op_type.as_str() {
            "Less" => (Comparison::Less, Comparison::Greater),
            "LessOrEqual" => (Comparison::LessOrEqual, Comparison::GreaterOrEqual),
            "Greater" => (Comparison::Greater, Comparison::Less),
            "GreaterOrEqual" => (Comparison::GreaterOrEqual, Comparison::LessOrEqual),
            "Xor" => (Comparison::NotEqual, Comparison::NotEqual),
            _ => (Comparison::Equal, Comparison::Equal),
        };
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        let (a, b, comparison) = match a {
            Value::Constant(_) => (b, a, mirrored),
            Value::Val(_) => (a, b, comparison),
        };
        let shape_of = |value: &Value| match value {
            Value::Val(val) => val.layout.shape.clone(),
            Value::Constant(constant) => constant.tensor.shape.clone(),
        };
        let shape = broadcast(&shape_of(&a), &shape_of(&b))?;
        Self::check_size(&shape)?;
        if shape.len() > MAX_RANK || shape.contains(&0) {
            return no_step(format!("a comparison of shape {shape:?} has no step"));
        }
        let (a, b) = (self.side(a)?, self.side(b)?);
        if a.dtype != b.dtype {
            return wrong("its inputs are of different types");
        }
        if !matches!(a.dtype, DType::F32 | DType::I32 | DType::I64 | DType::Bool) {
            return no_step(format!("a comparison of elements of type {} has no step", a.dtype));
        }
        let Some(first) = a.tensor else { return no_step("a comparison of constants has no step") };
        let layout = Layout::row_major(&shape);
        let y = self.new_tensor(DType::Bool, &layout, None, node.output(0).unwrap_or(""));
        let mut dims = [1; MAX_RANK];
        dims[MAX_RANK - shape.len()..].iter_mut().zip(&shape).for_each(|(slot, &dim)| *slot = dim as u32);
        let (a_strides, b_strides) = (a.strides, b.strides);
        let step = Compare { comparison, a: first, b: b.tensor, constant: b.constant, y, dims, a_strides, b_strides };
        self.builder.step(Step::Compare(step), &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Plain });
        Ok(())
    }
}
