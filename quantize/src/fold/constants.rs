//! Replaces nodes that read constants only by their value.

use cygnet_onnx::model::{Attribute, Model, Node};
use cygnet_onnx::reference::evaluate;

/// A node may grow its data (`Expand`, `ConstantOfShape`) up to this many bytes; beyond, it stays a node.
const LARGEST: usize = 16 << 20;

/// Folds in topological order; returns how many nodes went.
pub(super) fn fold(model: &mut Model) -> usize {
    let before = model.nodes.len();
    let nodes = std::mem::take(&mut model.nodes);
    for node in nodes {
        if !fold_one(model, &node) {
            model.nodes.push(node);
        }
    }
    before - model.nodes.len()
}

fn fold_one(model: &mut Model, node: &Node) -> bool {
    let is_random = matches!(
        node.op_type.as_str(),
        "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Multinomial" | "Bernoulli"
    );
    let has_graph = node.attributes.values().any(|a| matches!(a, Attribute::Graph(_)));
    if is_random || has_graph || !node.domain.is_empty() {
        return false;
    }
    let names = node.inputs.iter().filter(|n| !n.is_empty());
    let inputs = names.map(|n| model.initializers.get(n).map(|t| (n.as_str(), t))).collect::<Option<Vec<_>>>();
    let Some(inputs) = inputs else { return false };
    let values = match evaluate(node, &model.opsets, &inputs) {
        Ok(values) => values,
        Err(error) => {
            log::debug!("not folded: {error}");
            return false;
        }
    };
    let outputs: Vec<_> = node.outputs.iter().filter(|o| !o.is_empty()).cloned().collect();
    let read: usize = inputs.iter().map(|(_, t)| t.data.len()).sum();
    let made: usize = values.iter().map(|t| t.data.len()).sum();
    if values.len() != outputs.len() || made > read.max(LARGEST) {
        return false;
    }
    model.initializers.extend(outputs.into_iter().zip(values));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::Tensor;

    #[test]
    fn a_chain_of_constants_becomes_one() {
        let mut model = Model { opsets: [(String::new(), 13)].into(), ..Model::default() };
        model.initializers.insert("a".into(), Tensor::from_f32(vec![2], &[1.0, 2.0]));
        model.initializers.insert("b".into(), Tensor::from_f32(vec![2], &[0.5, 0.25]));
        model.nodes = vec![
            Node::new("Add", "", &["a", "b"], &["c"]),
            Node::new("Mul", "", &["c", "c"], &["d"]),
            Node::new("Add", "", &["d", "x"], &["y"]),
        ];
        assert_eq!(fold(&mut model), 2);
        assert_eq!(model.initializers["d"].to_f32s().unwrap(), [2.25, 5.0625]);
        assert_eq!(model.nodes.len(), 1);
    }
}
