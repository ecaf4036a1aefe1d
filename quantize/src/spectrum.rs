//! Spectra inside of models: a layer whose sums are squared, added and rooted. Squares reach twice as far, in decibels, as
//! what they are made of, and sound has more range than 8 bits hold: this part of a model stays in float, and the layers
//! that read the roots read levels of 16 bits.

use std::collections::BTreeSet;

use cygnet_onnx::model::{Model, Node};

use crate::graph::{Readers, constant, makers};
use crate::operators::{Role, activation_inputs};

/// What stays in float.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spectra {
    /// Nodes by position: layers that transform an input of the model, and all from the squares to the roots.
    pub nodes: BTreeSet<usize>,
    /// Sums of other layers, which are not rounded before they are squared.
    pub tensors: BTreeSet<String>,
    /// Layers by position that read the roots of a spectrum.
    pub readers: BTreeSet<usize>,
}

impl Spectra {
    /// The spectra of `model`, whose nodes do what `roles` tell.
    pub fn of(model: &Model, roles: &[Role]) -> Spectra {
        let (makers, readers) = (makers(model), Readers::of(model));
        let mut spectra = Spectra::default();
        // Back from a tensor through operators that only move; the nodes passed, and what makes the first tensor.
        let source = |tensor: &str| {
            let (mut passed, mut tensor) = (Vec::new(), tensor.to_string());
            while let Some(&maker) = makers.get(&tensor) {
                let moves = roles[maker] == Role::Move || model.nodes[maker].is("Pad");
                let Some(input) = model.nodes[maker].input(0).filter(|_| moves) else { return (passed, Some(maker)) };
                passed.push(maker);
                tensor = input.into();
            }
            (passed, None)
        };
        for (index, node) in model.nodes.iter().enumerate().filter(|(_, node)| is_square(model, node)) {
            let (moves, maker) = source(node.input(0).unwrap_or(""));
            let Some(layer) = maker.filter(|&maker| matches!(roles[maker], Role::Weighted { .. })) else { continue };
            let (before, first) = source(model.nodes[layer].input(0).unwrap_or(""));
            if first.is_none() {
                spectra.nodes.insert(layer);
                spectra.nodes.extend(before);
            }
            spectra.tensors.extend(model.nodes[layer].outputs.iter().cloned());
            spectra.nodes.extend(moves);
            let mut next = vec![index];
            while let Some(index) = next.pop() {
                let node = &model.nodes[index];
                let goes_on = is_square(model, node)
                    || roles[index] == Role::Move
                    || ["Add", "ReduceSum", "Sqrt", "Log"].iter().any(|name| node.is(name));
                if !goes_on || !spectra.nodes.insert(index) {
                    continue;
                }
                let read = node.outputs.iter().flat_map(|output| readers.nodes(output)).copied();
                if node.is("Sqrt") {
                    spectra.readers.extend(layers_behind(model, roles, &readers, read.collect()));
                } else if !node.is("Log") {
                    next.extend(read);
                }
            }
        }
        spectra
    }
}

/// The layers among these nodes, and those behind them that are reached through operators which only move.
fn layers_behind(model: &Model, roles: &[Role], readers: &Readers, mut next: Vec<usize>) -> BTreeSet<usize> {
    let (mut layers, mut passed) = (BTreeSet::new(), BTreeSet::new());
    while let Some(index) = next.pop() {
        match roles[index] {
            Role::Weighted { .. } => drop(layers.insert(index)),
            Role::Move if passed.insert(index) => {
                next.extend(model.nodes[index].outputs.iter().flat_map(|output| readers.nodes(output)));
            }
            _ => {}
        }
    }
    layers
}

/// Whether a node squares what it reads.
fn is_square(model: &Model, node: &Node) -> bool {
    match node.op_type.as_str() {
        "Pow" => constant(model, node, 1).and_then(|power| power.as_scalar_f32()) == Some(2.0),
        "Mul" => node.input(0) == node.input(1) && activation_inputs(node).len() == 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::{DType, Tensor, ValueInfo};

    #[test]
    fn from_the_layer_to_the_root() {
        let value = |name: &str| ValueInfo { name: name.into(), dtype: DType::F32, shape: None };
        let weights = || Tensor::from_f32(vec![2, 1, 1], &[1.0, 2.0]);
        let model = Model {
            nodes: vec![
                Node::new("Conv", "", &["x", "w"], &["a"]),
                Node::new("Slice", "", &["a", "s"], &["b"]),
                Node::new("Pow", "", &["b", "two"], &["c"]),
                Node::new("Add", "", &["c", "c"], &["d"]),
                Node::new("Sqrt", "", &["d"], &["e"]),
                Node::new("Conv", "", &["e", "v"], &["f"]),
                Node::new("Mul", "", &["f", "f"], &["g"]),
            ],
            initializers: [
                ("w".to_string(), weights()),
                ("v".to_string(), weights()),
                ("two".to_string(), Tensor::scalar_f32(2.0)),
            ]
            .into(),
            inputs: vec![value("x")],
            outputs: vec![value("g")],
            ..Model::default()
        };
        let roles: Vec<Role> = model.nodes.iter().map(|node| crate::operators::role(&model, node)).collect();
        let spectra = Spectra::of(&model, &roles);
        assert_eq!(spectra.nodes, [0, 1, 2, 3, 4, 6].into());
        assert_eq!(spectra.tensors, ["a".to_string(), "f".to_string()].into());
        assert_eq!(spectra.readers, [5].into());
    }
}
