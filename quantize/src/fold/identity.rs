//! Removes nodes that hand their input on.

use cygnet_onnx::model::{Model, Node};

use crate::graph::{Readers, makers, redirect};

/// Removes `Identity` and `Dropout`; returns how many.
pub(super) fn remove(model: &mut Model) -> usize {
    let mut removed = 0;
    let mut index = 0;
    while index < model.nodes.len() {
        if passes_on(&model.nodes[index]) && bypass(model, index) {
            model.nodes.remove(index);
            removed += 1;
        } else {
            index += 1;
        }
    }
    removed
}

fn passes_on(node: &Node) -> bool {
    let mask_unused = node.outputs.iter().skip(1).all(String::is_empty);
    node.is("Identity") || (node.is("Dropout") && mask_unused && node.input(2).is_none())
}

/// Connects the node's readers to its input, or its maker to its output; false where names forbid both.
fn bypass(model: &mut Model, index: usize) -> bool {
    let node = &model.nodes[index];
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { return false };
    let (input, output) = (input.to_string(), output.to_string());
    let readers = Readers::of(model);
    if !readers.is_pinned(&output) {
        redirect(model, &output, &input);
        return true;
    }
    let Some(&maker) = makers(model).get(&input) else { return false };
    if readers.is_pinned(&input) {
        return false;
    }
    redirect(model, &input, &output);
    for made in model.nodes[maker].outputs.iter_mut().filter(|o| **o == input) {
        *made = output.clone();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::{DType, ValueInfo};

    fn value(name: &str) -> ValueInfo {
        ValueInfo { name: name.into(), dtype: DType::F32, shape: None }
    }

    #[test]
    fn names_of_inputs_and_outputs_survive() {
        let mut model = Model {
            nodes: vec![
                Node::new("Identity", "", &["x"], &["a"]),
                Node::new("Relu", "", &["a"], &["b"]),
                Node::new("Dropout", "", &["b"], &["y"]),
            ],
            inputs: vec![value("x")],
            outputs: vec![value("y")],
            ..Model::default()
        };
        assert_eq!(remove(&mut model), 2);
        assert_eq!(model.nodes, [Node::new("Relu", "", &["x"], &["y"])]);
    }

    #[test]
    fn an_identity_from_input_to_output_stays() {
        let mut model = Model {
            nodes: vec![Node::new("Identity", "", &["x"], &["y"])],
            inputs: vec![value("x")],
            outputs: vec![value("y")],
            ..Model::default()
        };
        assert_eq!(remove(&mut model), 0);
    }
}
