//! Functions of one tensor that exporters write as several nodes: `x · sigmoid(x)`, `x · min(max(x + 3, 0), 6) / 6`, GELU
//! by its error function. Of levels, such a function is one table, whatever it is made of: rounding what lies between its
//! nodes would only add noise.

use std::collections::BTreeSet;

use cygnet_onnx::model::{Model, Node};

use crate::graph::{Readers, constant, makers};

/// Nodes of one function at most.
const MOST: usize = 24;

/// A function of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Positions of its nodes, two at least.
    pub nodes: BTreeSet<usize>,
    /// The tensor that it is a function of.
    pub source: String,
    /// Whether more than one of its nodes read the source, as those of functions that gate themselves do.
    pub joins: bool,
}

/// The functions of one tensor in `model`, made of the nodes that `may_belong` tells: the longest of those that end in the
/// same node, and nothing inside of them is read elsewhere.
pub fn functions(model: &Model, may_belong: impl Fn(usize) -> bool) -> Vec<Function> {
    let (makers, readers) = (makers(model), Readers::of(model));
    let mut taken = BTreeSet::new();
    let mut functions = Vec::new();
    for (index, node) in model.nodes.iter().enumerate().rev() {
        let free = |index: usize| may_belong(index) && !taken.contains(&index) && is_elementwise(model, index);
        if !free(index) {
            continue;
        }
        let (mut nodes, mut read, mut longest) = (BTreeSet::from([index]), variables(model, node), None);
        while nodes.len() < MOST {
            // What stands last first: so a tensor is met after all that is made of it.
            let inner = |tensor: &&String| {
                let maker = *makers.get(*tensor).filter(|maker| free(**maker))?;
                let closed = !readers.is_pinned(tensor) && readers.nodes(tensor).iter().all(|r| nodes.contains(r));
                closed.then_some(maker)
            };
            let Some((maker, tensor)) = read.iter().filter_map(|t| Some((inner(&t)?, t.clone()))).max() else { break };
            nodes.insert(maker);
            read.remove(&tensor);
            read.extend(variables(model, &model.nodes[maker]));
            if read.len() == 1 {
                longest = read.first().map(|source| (nodes.clone(), source.clone()));
            }
        }
        if let Some((nodes, source)) = longest {
            let joins = readers.nodes(&source).iter().filter(|reader| nodes.contains(reader)).count() > 1;
            taken.extend(nodes.iter().copied());
            functions.push(Function { nodes, source, joins });
        }
    }
    functions
}

/// The tensors that a node reads and that are no constants.
fn variables(model: &Model, node: &Node) -> BTreeSet<String> {
    node.inputs.iter().filter(|name| !name.is_empty() && !model.initializers.contains_key(*name)).cloned().collect()
}

/// Whether each element of what a node makes is told by the elements at the same place: its constants are single numbers.
fn is_elementwise(model: &Model, index: usize) -> bool {
    const FUNCTIONS: &str = "Abs Add Celu Clip Div Elu Erf Exp Gelu HardSigmoid HardSwish LeakyRelu Max Min Mish Mul Neg \
                             Pow Relu Selu Sigmoid Softplus Softsign Sqrt Sub Swish Tanh";
    let node = &model.nodes[index];
    let is_number = |place: usize| constant(model, node, place).is_none_or(|tensor| tensor.as_scalar_f32().is_some());
    node.domain.is_empty()
        && FUNCTIONS.split(' ').any(|function| node.is(function))
        && (0..node.inputs.len()).all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::{DType, Tensor, ValueInfo};

    fn model(nodes: Vec<Node>, numbers: &[(&str, f32)], output: &str) -> Model {
        let mut model = Model { nodes, ..Model::default() };
        model.outputs.push(ValueInfo { name: output.into(), dtype: DType::F32, shape: None });
        for (name, number) in numbers {
            model.initializers.insert((*name).into(), Tensor::from_f32(vec![], &[*number]));
        }
        model
    }

    #[test]
    fn a_hard_swish_of_four_nodes_is_one_function() {
        let nodes = vec![
            Node::new("Conv", "", &["x", "w"], &["a"]),
            Node::new("Add", "", &["a", "three"], &["b"]),
            Node::new("Clip", "", &["b", "zero", "six"], &["c"]),
            Node::new("Mul", "", &["a", "c"], &["d"]),
            Node::new("Div", "", &["d", "six"], &["e"]),
            Node::new("Conv", "", &["e", "w"], &["y"]),
        ];
        let mut model = model(nodes, &[("zero", 0.0), ("three", 3.0), ("six", 6.0)], "y");
        let found = Function { nodes: BTreeSet::from([1, 2, 3, 4]), source: "a".into(), joins: true };
        assert_eq!(functions(&model, |_| true), [found]);
        // Where the gate is read elsewhere, what is before it is another function.
        model.nodes.push(Node::new("Conv", "", &["c", "w"], &["z"]));
        let found = functions(&model, |_| true);
        assert_eq!(found.iter().map(|f| f.nodes.clone()).collect::<Vec<_>>(), [[1, 2].into()]);
    }

    #[test]
    fn what_joins_two_tensors_is_no_function_of_one() {
        let nodes = vec![
            Node::new("Sigmoid", "", &["a"], &["b"]),
            Node::new("Mul", "", &["b", "other"], &["c"]),
            Node::new("Relu", "", &["c"], &["y"]),
        ];
        assert_eq!(functions(&model(nodes, &[], "y"), |_| true), []);
    }
}
