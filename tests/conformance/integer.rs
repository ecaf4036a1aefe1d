//! Whether an operator runs in int8: its node between QuantizeLinear and DequantizeLinear.

use std::collections::BTreeMap;

use cygnet_core::Plan;
use cygnet_core::plan::DType as PlanType;
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::{Attribute, DType, Model, Node, Tensor};

use crate::case::kinds_of;

/// Operators whose second input is weights.
const WEIGHTED: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// The kinds of steps that a model of one node takes with int8 values, where all of them are int8; `None` else.
/// `expected` are its float answers.
pub fn int8_kinds(
    model: &Model,
    inputs: &BTreeMap<String, Tensor>,
    expected: &BTreeMap<String, Tensor>,
) -> Option<Vec<String>> {
    let quantized = quantized(model, inputs, expected)?;
    let mut options = Options::default();
    options.fallback = false;
    let compiled = compile(&quantized, &options).ok()?;
    let plan = Plan::parse(&compiled.plan).ok()?;
    plan.tensors().all(|tensor| tensor.dtype != PlanType::F32).then(|| kinds_of(&plan))
}

/// The model with all float values that it is fed with and makes on 256 levels; `None` where there is none.
fn quantized(model: &Model, inputs: &BTreeMap<String, Tensor>, expected: &BTreeMap<String, Tensor>) -> Option<Model> {
    let [node] = &model.nodes[..] else { return None };
    let mut out = model.clone();
    out.opsets.insert(String::new(), model.opset().max(13));
    let mut node = node.clone();
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    for input in model.inputs.iter().filter(|input| input.dtype == DType::F32) {
        let name = input.name.clone();
        let (pair, real) = levels(&mut out, &name, &format!("{name}.real"), inputs.get(&name)?)?;
        before.extend(pair);
        node.inputs.iter_mut().filter(|input| **input == name).for_each(|input| input.clone_from(&real));
    }
    if WEIGHTED.contains(&node.op_type.as_str())
        && let Some(weights) = node.inputs.get(1).and_then(|name| out.initializers.get(name)).cloned()
    {
        let values = weights.to_f32s().ok()?;
        let greatest = values.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs())).max(1e-6);
        let stored: Vec<i8> = values.iter().map(|value| (value / greatest * 127.0).round() as i8).collect();
        out.initializers.insert("weights.stored".into(), Tensor::from_i8(weights.shape, &stored));
        out.initializers.insert("weights.scale".into(), Tensor::scalar_f32(greatest / 127.0));
        before.push(Node::new("DequantizeLinear", "", &["weights.stored", "weights.scale"], &["weights.real"]));
        node.inputs[1] = "weights.real".into();
    }
    for output in &model.outputs {
        let values = expected.get(&output.name)?;
        if values.dtype != DType::F32 {
            continue;
        }
        let made = format!("{}.made", output.name);
        let (mut pair, _) = levels(&mut out, &made, &output.name, values)?;
        node.outputs.iter_mut().filter(|name| **name == output.name).for_each(|name| name.clone_from(&made));
        behind.append(&mut pair);
    }
    if before.is_empty() || behind.is_empty() && model.outputs.iter().any(|output| output.dtype == DType::F32) {
        return None;
    }
    out.nodes = before;
    out.nodes.push(node);
    out.nodes.extend(behind);
    Some(out)
}

/// QuantizeLinear of `from` and DequantizeLinear to `to`, over the range of `values`; and `to`.
fn levels(model: &mut Model, from: &str, to: &str, values: &Tensor) -> Option<(Vec<Node>, String)> {
    let numbers = values.to_f32s().ok()?;
    let finite = || numbers.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(0.0, f32::min), finite().fold(0.0, f32::max));
    let scale = ((high - low) / 255.0).max(1e-6);
    let zero = (-low / scale).round().clamp(0.0, 255.0) as u8;
    let [scale_name, zero_name, stored] = ["scale", "zero", "stored"].map(|what| format!("{from}.{what}"));
    model.initializers.insert(scale_name.clone(), Tensor::scalar_f32(scale));
    model.initializers.insert(zero_name.clone(), Tensor::from_u8(Vec::new(), &[zero]));
    let quantize = Node::new("QuantizeLinear", "", &[from, &scale_name, &zero_name], &[&stored]);
    let dequantize = Node::new("DequantizeLinear", "", &[&stored, &scale_name, &zero_name], &[to]);
    let axis = |node: Node| node.with("axis", Attribute::Int(0));
    Some((vec![axis(quantize), axis(dequantize)], to.to_string()))
}
