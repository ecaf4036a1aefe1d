//! Operators on truths, as selections: [Not](https://onnx.ai/onnx/operators/onnx__Not.html), And and Or.

use super::{Constant, Lowered, Lowering, Value};
use crate::model::{DType, Node, Tensor};

impl Lowering<'_> {
    pub(super) fn logic(&mut self, node: &Node) -> Lowered {
        let (first, second) = (node.input(0).unwrap_or(""), node.input(1).unwrap_or(""));
        match node.op_type.as_str() {
            "Not" => self.selected(node, [first, "", " "]),
            "And" => self.selected(node, [first, second, ""]),
            _ => self.selected(node, [first, " ", second]),
        }
    }

    /// `Where` of the three; an empty name is false, a blank one true.
    fn selected(&mut self, node: &Node, names: [&str; 3]) -> Lowered {
        let output = node.output(0).unwrap_or("");
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
}
