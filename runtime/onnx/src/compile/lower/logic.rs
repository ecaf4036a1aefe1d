//! Operators on truths, as selections: [Not](https://onnx.ai/onnx/operators/onnx__Not.html), And, Or, and
//! [Equal](https://onnx.ai/onnx/operators/onnx__Equal.html) with 0, by which masks are turned.

use super::{Constant, Lowered, Lowering, Value, no_step};
use crate::model::{Attribute, DType, Node, Tensor};

/// Number of bool in `TensorProto.DataType`.
const BOOL: i64 = 9;

impl Lowering<'_> {
    pub(super) fn logic(&mut self, node: &Node) -> Lowered {
        let (first, second) = (node.input(0).unwrap_or(""), node.input(1).unwrap_or(""));
        let output = node.output(0).unwrap_or("");
        match node.op_type.as_str() {
            "Not" => self.selected(node, [first, "", " "], output),
            "And" => self.selected(node, [first, second, ""], output),
            "Or" => self.selected(node, [first, " ", second], output),
            _ => {
                let (x, zero) = if self.is_zero(first) { (second, first) } else { (first, second) };
                let is_whole = matches!(self.values.get(x), Some(Value::Val(val)) if {
                    let dtype = self.builder.draft(val.tensor).dtype;
                    matches!(dtype, cygnet_core::DType::I32 | cygnet_core::DType::I64)
                });
                if !self.is_zero(zero) || !is_whole {
                    return no_step("a comparison other than of whole numbers with 0 has no step");
                }
                let there = self.fresh(&format!("{output}/there"));
                self.cast(&Node::new("Cast", &node.label(), &[x], &[&there]).with("to", Attribute::Int(BOOL)))?;
                self.selected(node, [&there, "", " "], output)
            }
        }
    }

    /// `Where` of the three; an empty name is false, a blank one true.
    fn selected(&mut self, node: &Node, names: [&str; 3], output: &str) -> Lowered {
        let mut inputs = Vec::new();
        for name in names {
            inputs.push(match name {
                "" | " " => {
                    let made = self.fresh(&format!("{output}/{}", name == " "));
                    let truth = Tensor { dtype: DType::Bool, shape: Vec::new(), data: vec![u8::from(name == " ")] };
                    self.values.insert(made.clone(), Value::Constant(Constant::plain(truth).into()));
                    made
                }
                name => name.to_string(),
            });
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.select(&Node::new("Where", &node.label(), &inputs, &[output]))
    }

    /// Whether a name is that of one constant zero.
    fn is_zero(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some(Value::Constant(constant)) if constant.tensor.as_scalar_i64() == Some(0))
    }
}
