//! What stays in float among integer layers in transformers: attention and layer normalisation, and what only they read.
//!
//! Their sums and quotients spread over many magnitudes, and take little time beside the layers. They read real values even
//! where layers read the same tensor as integers: so errors do not add up along the residuals.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::compile::recognise::{Pattern, patterns};
use cygnet_onnx::model::Model;

use crate::graph::{Readers, constant};
use crate::operators::Role;

/// The float parts of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Islands {
    /// Positions of the nodes that read real values and make some.
    pub nodes: BTreeSet<usize>,
    /// Additions of a row of biases behind a product with weights, by the product's position: both are one layer.
    pub biases: BTreeMap<usize, usize>,
}

impl Islands {
    /// The islands of `model`, whose nodes do what `roles` tell; none where it has neither attention nor layer normalisation.
    /// `functions` are the nodes of functions of one tensor, which become tables.
    pub fn of(model: &Model, roles: &[Role], functions: &BTreeSet<usize>) -> Islands {
        let mut islands = Islands::default();
        let whole = |pattern: &Pattern| ["LayerNorm", "Attention"].contains(&pattern.operator.op_type.as_str());
        islands.nodes = patterns(model).into_iter().filter(whole).flat_map(|pattern| pattern.nodes).collect();
        if islands.nodes.is_empty() {
            return Islands::default();
        }
        let is_float =
            |(index, role): (usize, &Role)| (*role == Role::Float && !functions.contains(&index)).then_some(index);
        let float: Vec<usize> = roles.iter().enumerate().filter_map(is_float).collect();
        islands.nodes.extend(float);
        let readers = Readers::of(model);
        islands.biases = biases(model, roles, &readers);
        let sums: BTreeSet<usize> = islands.biases.values().copied().collect();
        for (index, node) in model.nodes.iter().enumerate().rev() {
            let plain = matches!(roles[index], Role::Compute | Role::ComputeUnit | Role::Move);
            let read = |output: &String| {
                let nodes = readers.nodes(output);
                !readers.is_pinned(output) && !nodes.is_empty() && nodes.iter().all(|node| islands.nodes.contains(node))
            };
            if plain && !functions.contains(&index) && !sums.contains(&index) && node.outputs.iter().all(read) {
                islands.nodes.insert(index);
            }
        }
        islands
    }

    /// Whether nothing but islands read a tensor.
    pub fn alone_read(&self, readers: &Readers, tensor: &str) -> bool {
        let nodes = readers.nodes(tensor);
        !readers.is_pinned(tensor) && !nodes.is_empty() && nodes.iter().all(|node| self.nodes.contains(node))
    }

    /// The first output of each node, by which insertion knows it.
    pub fn outputs(&self, model: &Model) -> BTreeSet<String> {
        self.nodes.iter().filter_map(|&node| model.nodes.get(node)?.output(0)).map(str::to_string).collect()
    }
}

/// Additions of constant rows that alone read the product of a MatMul with weights.
fn biases(model: &Model, roles: &[Role], readers: &Readers) -> BTreeMap<usize, usize> {
    let pair = |(index, role): (usize, &Role)| {
        let product = &model.nodes[index];
        let channels = constant(model, product, 1)?.shape.last().copied();
        let sum = readers.only(product.output(0)?)?;
        let add = &model.nodes[sum];
        let other = usize::from(add.input(0) == product.output(0));
        let row = constant(model, add, other)?;
        let weighted = matches!(role, Role::Weighted { .. }) && product.is("MatMul") && add.is("Add");
        (weighted && row.shape.len() == 1 && row.shape.first().copied() == channels).then_some((index, sum))
    };
    roles.iter().enumerate().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use cygnet_onnx::model::{DType, Dim, Node, Tensor, ValueInfo};

    use super::*;
    use crate::facts::{Dims, infer};
    use crate::operators::role;
    use crate::placement::place;
    use crate::recipe::Recipe;
    use crate::tail::Outputs;

    /// `y = norm(x + (x·w + b)) · v`.
    fn encoder() -> Model {
        let value = |name: &str| {
            let shape = Some(vec![Dim::Known(1), Dim::Known(3), Dim::Known(4)]);
            ValueInfo { name: name.into(), dtype: DType::F32, shape }
        };
        let constant = |name: &str, shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|index: usize| index as f32 * 0.1 - 0.5).collect();
            (name.to_string(), Tensor::from_f32(shape.to_vec(), &values))
        };
        Model {
            ir_version: 8,
            opsets: [(String::new(), 17)].into(),
            nodes: vec![
                Node::new("MatMul", "product", &["x", "w"], &["p"]),
                Node::new("Add", "bias", &["p", "b"], &["s"]),
                Node::new("Add", "residual", &["s", "x"], &["r"]),
                Node::new("LayerNormalization", "norm", &["r", "scale", "b"], &["n"]),
                Node::new("MatMul", "last", &["n", "v"], &["y"]),
            ],
            initializers: [
                constant("w", &[4, 4]),
                constant("b", &[4]),
                constant("scale", &[4]),
                constant("v", &[4, 4]),
            ]
            .into(),
            inputs: vec![value("x")],
            outputs: vec![value("y")],
            ..Model::default()
        }
    }

    #[test]
    fn normalisation_and_its_residual_stay_in_float() {
        let model = encoder();
        let roles: Vec<Role> = model.nodes.iter().map(|node| role(&model, node)).collect();
        let islands = Islands::of(&model, &roles, &BTreeSet::new());
        assert_eq!(islands.nodes, [2, 3].into());
        assert_eq!(islands.biases, [(0, 1)].into());
    }

    #[test]
    fn layers_read_levels_and_islands_real_values() {
        let model = encoder();
        let facts = infer(&model, &Dims::new()).unwrap();
        let placement = place(&model, &facts, &Recipe::default(), Outputs::Int8).unwrap();
        // What layers read, and the answer; not the sum behind the first layer, which only the island reads.
        let tensors: Vec<&str> = placement.group_of.keys().map(String::as_str).collect();
        assert_eq!(tensors, ["n", "x", "y"]);
        assert_eq!(placement.islands, ["n".to_string(), "r".to_string()].into());
        assert_eq!(placement.roles[1], Role::Bias);
    }

    #[test]
    fn without_normalisation_or_attention_there_is_none() {
        let mut model = encoder();
        model.nodes[3] = Node::new("Relu", "norm", &["r"], &["n"]);
        let roles: Vec<Role> = model.nodes.iter().map(|node| role(&model, node)).collect();
        assert_eq!(Islands::of(&model, &roles, &BTreeSet::new()), Islands::default());
    }
}
