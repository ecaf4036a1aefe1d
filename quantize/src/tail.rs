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
    /// the way must have at most 4,096 elements and no reader outside of the tail, and the step that makes it must
    /// not take more memory than the greatest layer in int8, or than 8 KiB; else the output is rounded.
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
            if !is_read_in_tail || self.elements(tensor).is_none_or(|count| count > ELEMENTS) {
                return;
            }
            longer.tensors.insert(tensor.into());
            let node = &self.model.nodes[index];
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
            Role::Weighted { .. } => Some(1),
            Role::Compute if node.is("GlobalAveragePool") || node.is("ReduceMean") => Some(1),
            Role::Compute if node.is("AveragePool") => self.is_global(node).then_some(1),
            // Its inputs become real numbers first.
            Role::Compute if node.is("Add") => Some(4),
            _ => None,
        }
    }

    /// Whether a pool is one window over the whole image.
    fn is_global(&self, pool: &Node) -> bool {
        let image = pool.input(0).and_then(|x| self.facts.get(x)).and_then(|(_, shape)| shape.get(2..));
        let kernel = pool.ints("kernel_shape").unwrap_or_default().iter();
        image.is_some_and(|image| kernel.eq(image.iter().map(|&extent| extent as i64).collect::<Vec<_>>().iter()))
            && pool.ints("pads").is_none_or(|pads| pads.iter().all(|&pad| pad == 0))
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
