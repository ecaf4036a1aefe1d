//! The tail of a model: its outputs and what leads to them from the sums of the last layers.
//!
//! Rounded to 8 bits, two scores closer than one level are a tie, and the answer is the first of them. The sums of the
//! last layer hold more: where the tail is small, it stays in float.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{DType, Model, Node};

use crate::facts::Facts;
use crate::graph::{Readers, makers};
use crate::operators::{Role, activation_inputs};

/// The form in which answers leave the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outputs {
    /// Real numbers from the sums of the last layers, where they are few; others as with int8
    #[default]
    Float,
    /// Rounded to 8 bits
    Int8,
}

/// Elements of a tensor that may stay in float.
const ELEMENTS: usize = 4096;

/// Bytes that a step of the tail may always take; more where a layer before it takes more anyway.
const BYTES: usize = 8 << 10;

/// What stays in float at the end of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tail {
    /// Tensors that do not become integers.
    pub tensors: BTreeSet<String>,
    /// Nodes that compute in float, by position: those behind the last layers. The layers themselves read integers.
    pub nodes: BTreeSet<usize>,
}

impl Tail {
    /// The tail of `model`, whose nodes do what `roles` tell.
    ///
    /// From each output back through operators that take little, to a layer, an addition or a mean. Each tensor on
    /// the way must have at most 4,096 elements, be no map of several places, and have no reader outside of the tail;
    /// and the step that makes it must not take more memory than the greatest layer in int8, or than 8 KiB. Else the
    /// output is rounded.
    ///
    /// What puts several tensors together at an output ends the way too, whatever its size, within that memory: levels of
    /// its own for each part tell sureness between 0 and 1 as finely as places of some hundred pixels.
    pub fn of(model: &Model, facts: &Facts, roles: &[Role]) -> Tail {
        let search = Search { model, facts, roles, makers: makers(model), readers: Readers::of(model) };
        let room = (0..model.nodes.len()).map(|node| search.bytes(node, 1, 1)).max().unwrap_or(0).max(BYTES);
        let mut tail = Tail::default();
        // An output that another one is made of becomes part of the tail once that one is.
        for _ in &model.outputs {
            for output in &model.outputs {
                search.extend(&mut tail, &output.name, room);
            }
        }
        tail
    }
}

struct Search<'m> {
    model: &'m Model,
    facts: &'m Facts,
    roles: &'m [Role],
    makers: BTreeMap<String, usize>,
    readers: Readers,
}

impl Search<'_> {
    /// Adds `output` and the way to it, if all of it may stay in float.
    fn extend(&self, tail: &mut Tail, output: &str, room: usize) {
        let mut longer = tail.clone();
        let mut tensor = output;
        loop {
            let Some(&index) = self.makers.get(tensor) else { return };
            let is_read_in_tail = self.readers.nodes(tensor).iter().all(|reader| longer.nodes.contains(reader));
            let node = &self.model.nodes[index];
            let joins = self.joins(index);
            if !is_read_in_tail || !(joins || self.is_small(tensor)) {
                return;
            }
            longer.tensors.insert(tensor.into());
            if joins {
                // Its inputs become real numbers first.
                if self.bytes(index, 4, 4) <= room {
                    longer.nodes.insert(index);
                    *tail = longer;
                }
                return;
            }
            if let Some(read) = self.begins(index) {
                if self.bytes(index, read, 4) <= room {
                    *tail = longer;
                }
                return;
            }
            let Some(input) = node.input(0).filter(|_| continues(node)) else { return };
            if self.bytes(index, 4, 4) > room {
                return;
            }
            longer.nodes.insert(index);
            tensor = input;
        }
    }

    /// For a node that has integers in and real numbers out: the bytes that it takes for each element of its inputs.
    fn begins(&self, index: usize) -> Option<usize> {
        let node = &self.model.nodes[index];
        match self.roles[index] {
            Role::Weighted { .. } | Role::Recurrent => Some(1),
            Role::Compute if node.is("GlobalAveragePool") || node.is("ReduceMean") => Some(1),
            Role::Compute if node.is("AveragePool") => self.is_global(node).then_some(1),
            // Its inputs become real numbers first.
            Role::Compute if node.is("Add") => Some(4),
            _ => None,
        }
    }

    /// Whether a node puts tensors together that layers or functions made, each with a range of its own.
    fn joins(&self, index: usize) -> bool {
        let node = &self.model.nodes[index];
        let made = node.inputs.iter().filter(|input| self.makers.contains_key(*input));
        node.is("Concat") && self.roles[index] == Role::Move && made.collect::<BTreeSet<_>>().len() > 1
    }

    /// Whether a pool is one window over the whole image.
    fn is_global(&self, pool: &Node) -> bool {
        let image = pool.input(0).and_then(|x| self.facts.get(x)).and_then(|(_, shape)| shape.get(2..));
        let kernel = pool.ints("kernel_shape").unwrap_or_default().iter();
        image.is_some_and(|image| kernel.eq(image.iter().map(|&extent| extent as i64).collect::<Vec<_>>().iter()))
            && pool.ints("pads").is_none_or(|pads| pads.iter().all(|&pad| pad == 0))
    }

    /// Whether the tensor may be in a tail. What convolutions say of each place of a picture or a sequence is not: there
    /// are many of them, and other runtimes would compute the whole layer in float.
    fn is_small(&self, tensor: &str) -> bool {
        let Some((_, shape)) = self.facts.get(tensor) else { return false };
        let is_of_convolution = self.makers.get(tensor).is_some_and(|&index| self.model.nodes[index].is("Conv"));
        let is_map = (is_of_convolution || shape.len() > 3) && shape.iter().skip(2).any(|&extent| extent > 1);
        !is_map && self.elements(tensor).is_some_and(|count| count <= ELEMENTS)
    }

    /// Number of elements of a float tensor.
    fn elements(&self, tensor: &str) -> Option<usize> {
        let (dtype, shape) = self.facts.get(tensor)?;
        (*dtype == DType::F32).then(|| shape.iter().product())
    }

    /// What a step takes for its activations, with as many bytes for each element that it reads and makes.
    fn bytes(&self, index: usize, read: usize, made: usize) -> usize {
        let node = &self.model.nodes[index];
        let is_variable = |tensor: &&str| !self.model.initializers.contains_key(*tensor);
        let inputs = activation_inputs(node).filter_map(|i| node.input(i)).filter(is_variable);
        read * inputs.filter_map(|t| self.elements(t)).sum::<usize>()
            + made * node.outputs.iter().filter_map(|t| self.elements(t)).sum::<usize>()
    }
}

/// Whether the operator is one that a tail may go through: one activation in, as many elements out.
fn continues(node: &Node) -> bool {
    let functions = ["Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid", "Tanh", "Relu", "LeakyRelu", "Clip"];
    let moves = ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"];
    functions.iter().chain(&moves).any(|op| node.is(op))
}

#[cfg(test)]
mod tests {
    use cygnet_onnx::model::{Tensor, ValueInfo};

    use super::*;
    use crate::operators::role;

    #[test]
    fn parts_of_an_answer_keep_their_own_levels() {
        let heads: [(&str, &[&str], &str, &[usize]); 4] = [
            ("Conv", &["x", "w"], "sure", &[1, 1, 8, 8]),
            ("Sigmoid", &["sure"], "object", &[1, 1, 8, 8]),
            ("Conv", &["x", "w"], "box", &[1, 4, 8, 8]),
            ("Concat", &["object", "box"], "y", &[1, 5, 8, 8]),
        ];
        let joined = tail(&[1, 16, 8, 8], &heads, &["y"]);
        assert_eq!((names(&joined), &joined.nodes), (vec!["y"], &BTreeSet::from([3])));
        // Moved behind it; but not what a layer reads as well.
        let moved = [&heads[..], &[("Reshape", &["y", "shape"], "z", &[1, 5, 64])]].concat();
        assert_eq!(names(&tail(&[1, 16, 8, 8], &moved, &["z"])), ["y", "z"]);
        let read = [&heads[..], &[("Conv", &["y", "w"], "z", &[1, 2, 8, 8])]].concat();
        assert_eq!(tail(&[1, 16, 8, 8], &read, &["y", "z"]), Tail::default());
        // More than the greatest layer takes in int8, and than 8 KiB: 2 · 4 · 5 · 1024 bytes.
        let large = heads.map(|(op, inputs, output, shape)| (op, inputs, output, [1, shape[1], 32, 32]));
        let large: Vec<_> = large.iter().map(|(op, i, o, shape)| (*op, *i, *o, &shape[..])).collect();
        assert_eq!(tail(&[1, 16, 32, 32], &large, &["y"]), Tail::default());
    }

    /// A model of nodes `(operator, inputs, output, shape of the output)` on `x`; `w` is a weight of each of them.
    fn tail(x: &[usize], nodes: &[(&str, &[&str], &str, &[usize])], outputs: &[&str]) -> Tail {
        let mut model = Model::default();
        let mut facts = Facts::from([("x".into(), (DType::F32, x.to_vec()))]);
        for &(op, inputs, output, shape) in nodes {
            model.nodes.push(Node::new(op, output, inputs, &[output]));
            facts.insert(output.into(), (DType::F32, shape.to_vec()));
        }
        let rank = if nodes.iter().any(|node| node.0 == "Conv") { 4 } else { 2 };
        model.initializers.insert("w".into(), Tensor::from_f32(vec![1; rank], &[1.0]));
        facts.insert("w".into(), (DType::F32, vec![1; rank]));
        let info = |name: &&str| ValueInfo { name: name.to_string(), dtype: DType::F32, shape: None };
        model.outputs = outputs.iter().map(info).collect();
        let roles: Vec<Role> = model.nodes.iter().map(|node| role(&model, node)).collect();
        Tail::of(&model, &facts, &roles)
    }

    fn names(tail: &Tail) -> Vec<&str> {
        tail.tensors.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_classifier_ends_in_float() {
        let head: [(&str, &[&str], &str, &[usize]); 4] = [
            ("GlobalAveragePool", &["x"], "mean", &[1, 64, 1, 1]),
            ("Flatten", &["mean"], "flat", &[1, 64]),
            ("Gemm", &["flat", "w"], "scores", &[1, 10]),
            ("Softmax", &["scores"], "y", &[1, 10]),
        ];
        let one = tail(&[1, 64, 7, 7], &head, &["y"]);
        assert_eq!((names(&one), &one.nodes), (vec!["scores", "y"], &BTreeSet::from([3])));
        // Scores and probabilities both are answers, in either order.
        for outputs in [["scores", "y"], ["y", "scores"]] {
            assert_eq!(names(&tail(&[1, 64, 7, 7], &head, &outputs)), ["scores", "y"]);
        }
        // A mean is the last layer itself.
        let mean = tail(&[1, 10, 13, 13], &[head[0], ("Softmax", &["mean"], "y", &[1, 10, 1, 1])], &["y"]);
        assert_eq!(names(&mean), ["mean", "y"]);
    }

    #[test]
    fn what_is_large_or_read_by_layers_is_rounded() {
        // More than 4,096 elements.
        let wide = tail(&[1, 64], &[("Gemm", &["x", "w"], "y", &[1, 4097])], &["y"]);
        assert_eq!(wide, Tail::default());
        // A layer of 64 + 4 · 2100 bytes, where none takes more than 64 + 2100 as int8, and 8 KiB are free.
        let heavy = tail(&[1, 64], &[("Gemm", &["x", "w"], "y", &[1, 2100])], &["y"]);
        assert_eq!(heavy, Tail::default());
        let light = tail(&[1, 64], &[("Gemm", &["x", "w"], "y", &[1, 2000])], &["y"]);
        assert_eq!(names(&light), ["y"]);
        // A map of scores, and its sequence.
        let map: [(&str, &[&str], &str, &[usize]); 2] =
            [("Conv", &["x", "w"], "map", &[1, 2, 8, 8]), ("Reshape", &["map", "shape"], "y", &[1, 128])];
        assert_eq!(tail(&[1, 3, 8, 8], &map, &["y"]), Tail::default());
        // An embedding that another layer reads too.
        let shared: [(&str, &[&str], &str, &[usize]); 2] =
            [("Gemm", &["x", "w"], "embedding", &[1, 8]), ("Gemm", &["embedding", "w"], "y", &[1, 4])];
        assert_eq!(names(&tail(&[1, 64], &shared, &["embedding", "y"])), ["y"]);
    }
}
