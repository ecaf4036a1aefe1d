//! Removes nodes that do nothing to what they are given: conversions to the type that it has, means over single elements.

use cygnet_onnx::model::{DType, Model, Node, Tensor};

use crate::facts::Facts;
use crate::graph::{Names, constant};

/// Number of float32 in `TensorProto.DataType`.
const FLOAT: i64 = 1;

/// Replaces such nodes by `Identity` or `Squeeze`; returns how many.
pub(super) fn replace(model: &mut Model, facts: &Facts) -> usize {
    let mut names = Names::of(model);
    let mut replaced = 0;
    for index in 0..model.nodes.len() {
        let node = &model.nodes[index];
        let Some(axes) = what_goes(model, node, facts) else { continue };
        let (input, output) = (node.inputs[0].clone(), node.outputs[0].clone());
        let mut new = Node::new("Identity", &node.name, &[&input], &[&output]);
        if !axes.is_empty() {
            let name = names.fresh(&format!("{output}_axes"));
            model.initializers.insert(name.clone(), Tensor::from_i64(vec![axes.len()], &axes));
            new.op_type = "Squeeze".into();
            new.inputs.push(name);
        }
        model.nodes[index] = new;
        replaced += 1;
    }
    replaced
}

/// The axes that a node takes away; `None` where it does more than that.
fn what_goes(model: &Model, node: &Node, facts: &Facts) -> Option<Vec<i64>> {
    let (dtype, shape) = facts.get(node.input(0)?)?;
    if *dtype != DType::F32 || !node.domain.is_empty() {
        return None;
    }
    match node.op_type.as_str() {
        "Cast" => (node.int("to") == Some(FLOAT)).then(Vec::new),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" => {
            let rank = shape.len() as i64;
            let axes = match (node.ints("axes"), node.input(1)) {
                (Some(axes), _) => axes.to_vec(),
                (None, Some(_)) => constant(model, node, 1)?.to_i64s().ok()?,
                (None, None) => return None,
            };
            let axes: Vec<i64> = axes.into_iter().map(|axis| if axis < 0 { axis + rank } else { axis }).collect();
            let single = !axes.is_empty() && axes.iter().all(|&axis| shape.get(axis as usize) == Some(&1));
            // The batch is 1 in samples only.
            if !single || axes.contains(&0) {
                return None;
            }
            Some(if node.int("keepdims").unwrap_or(1) != 0 { Vec::new() } else { axes })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::Attribute;

    #[test]
    fn means_of_one_element_are_taken_out() {
        let mean = |axes: Vec<i64>, keep| {
            let node = Node::new("ReduceMean", "", &["x"], &["y"]).with("axes", Attribute::Ints(axes));
            node.with("keepdims", Attribute::Int(keep))
        };
        let facts: Facts = [("x".to_string(), (DType::F32, vec![1, 1, 4, 1]))].into();
        let of = |node: Node| {
            let mut model = Model { nodes: vec![node], ..Model::default() };
            replace(&mut model, &facts);
            model.nodes.remove(0).op_type
        };
        assert_eq!(of(mean(vec![-1], 0)), "Squeeze");
        assert_eq!(of(mean(vec![1, 3], 1)), "Identity");
        assert_eq!(of(mean(vec![2], 0)), "ReduceMean");
        assert_eq!(of(mean(vec![0], 0)), "ReduceMean");
        assert_eq!(of(Node::new("Cast", "", &["x"], &["y"]).with("to", Attribute::Int(1))), "Identity");
        assert_eq!(of(Node::new("Cast", "", &["x"], &["y"]).with("to", Attribute::Int(7))), "Cast");
    }
}
