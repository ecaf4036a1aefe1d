//! Replaces a normalisation that no layer absorbed by operators that have an integer form.

use cygnet_onnx::model::{Attribute, Model, Node, Tensor};

use super::{batch_norm, rank};
use crate::error::QuantizeError;
use crate::facts::Facts;
use crate::graph::Names;

/// A depthwise 1×1 convolution where there is space, else a scale and a shift; returns how many were replaced.
pub(super) fn replace(model: &mut Model, facts: &Facts) -> Result<usize, QuantizeError> {
    let mut names = Names::of(model);
    let mut nodes = Vec::with_capacity(model.nodes.len());
    let mut replaced = 0;
    for node in std::mem::take(&mut model.nodes) {
        let known = batch_norm(model, &node).zip(node.input(0).and_then(|x| rank(facts, x)));
        let Some(((scale, shift), rank)) = known else {
            nodes.push(node);
            continue;
        };
        replaced += 1;
        let stem = node.label();
        let channels = scale.len();
        let to_f32 = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
        let (scale_name, shift_name) = (names.fresh(&format!("{stem}_scale")), names.fresh(&format!("{stem}_shift")));
        let mut scale_shape = vec![channels];
        if rank > 2 {
            scale_shape.resize(rank, 1);
            let inputs = [&node.inputs[0], &scale_name, &shift_name].map(String::as_str);
            let conv = Node::new("Conv", &node.name, &inputs, &[&node.outputs[0]])
                .with("group", Attribute::Int(channels as i64))
                .with("kernel_shape", Attribute::Ints(vec![1; rank - 2]));
            nodes.push(conv);
        } else {
            let scaled = names.fresh(&format!("{stem}_scaled"));
            nodes.push(Node::new(
                "Mul",
                &names.fresh(&format!("{stem}_mul")),
                &[&node.inputs[0], &scale_name],
                &[&scaled],
            ));
            nodes.push(Node::new("Add", &node.name, &[&scaled, &shift_name], &[&node.outputs[0]]));
        }
        model.initializers.insert(scale_name, Tensor::from_f32(scale_shape, &to_f32(&scale)));
        model.initializers.insert(shift_name, Tensor::from_f32(vec![channels], &to_f32(&shift)));
    }
    model.nodes = nodes;
    Ok(replaced)
}
