//! QuantizeLinear in plain arithmetic, and what of DequantizeLinear tract has no form for: int16.
//!
//! tract 0.23.9 multiplies by the reciprocal of the scale where ONNX divides, and folds a whole chain between
//! DequantizeLinear and QuantizeLinear into one table of 256 values even where a softmax is part of the chain.

use std::borrow::Cow;

use crate::model::{Attribute, DType, Model, Node, Tensor};

/// The model with every QuantizeLinear of one constant scale written as division, rounding, addition and clamping, and
/// every DequantizeLinear of int16 with one as a subtraction and a multiplication.
pub(super) fn spelled_out(model: &Model) -> Cow<'_, Model> {
    if !model.nodes.iter().any(|n| parameters(model, n).is_some()) {
        return Cow::Borrowed(model);
    }
    let mut spelled = Model { nodes: Vec::new(), ..model.clone() };
    for node in &model.nodes {
        match parameters(model, node) {
            Some((zero_point, dtype)) => spell_out(&mut spelled, node, zero_point, dtype),
            None => spelled.nodes.push(node.clone()),
        }
    }
    Cow::Owned(spelled)
}

/// Zero point and element type, where the node quantizes with one constant scale.
fn parameters(model: &Model, node: &Node) -> Option<(f32, DType)> {
    let value = |index: usize| model.initializers.get(node.input(index)?);
    let quantizes = node.is("QuantizeLinear");
    if !quantizes && !node.is("DequantizeLinear") || node.output(0).is_none() || node.input(0).is_none() {
        return None;
    }
    value(1)?.as_scalar_f32()?;
    let (zero_point, dtype) = match node.input(2) {
        None => (0.0, DType::U8),
        Some(_) => (value(2)?.as_scalar_f32()?, value(2)?.dtype),
    };
    (dtype == DType::I16 || quantizes && matches!(dtype, DType::I8 | DType::U8)).then_some((zero_point, dtype))
}

fn spell_out(model: &mut Model, node: &Node, zero_point: f32, dtype: DType) {
    let output = &node.outputs[0];
    // Limits, and TensorProto.DataType.
    let (low, high, number) = match dtype {
        DType::U8 => (0.0, 255.0, 2),
        DType::I16 => (-32768.0, 32767.0, 5),
        _ => (-128.0, 127.0, 3),
    };
    // No name of ONNX exporters has a tilde and a word behind it.
    let name = |part: &str| format!("{output}~{part}");
    for (part, value) in [("zero_point", zero_point), ("low", low), ("high", high)] {
        model.initializers.insert(name(part), Tensor::scalar_f32(value));
    }
    // One element in a tensor of rank 1 would add an axis to a scalar.
    let scale = model.initializers.get(&node.inputs[1]).and_then(Tensor::as_scalar_f32).unwrap_or(1.0);
    model.initializers.insert(name("scale"), Tensor::scalar_f32(scale));
    let mut step = |op_type: &str, inputs: &[&str], made: &str| {
        model.nodes.push(Node::new(op_type, made, inputs, &[made]));
    };
    if node.is("DequantizeLinear") {
        step("Sub", &[&name("real"), &name("zero_point")], &name("shifted"));
        step("Mul", &[&name("shifted"), &name("scale")], output);
        let cast = Node::new("Cast", &name("real"), &[&node.inputs[0]], &[&name("real")]);
        // In front of the subtraction.
        let place = model.nodes.len() - 2;
        model.nodes.insert(place, cast.with("to", Attribute::Int(1)));
        return;
    }
    step("Div", &[&node.inputs[0], &name("scale")], &name("divided"));
    step("Round", &[&name("divided")], &name("rounded"));
    step("Add", &[&name("rounded"), &name("zero_point")], &name("shifted"));
    step("Clip", &[&name("shifted"), &name("low"), &name("high")], &name("clamped"));
    let cast = Node::new("Cast", output, &[&name("clamped")], &[output]);
    model.nodes.push(cast.with("to", Attribute::Int(number)));
}
