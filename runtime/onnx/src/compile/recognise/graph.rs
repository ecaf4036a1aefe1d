//! Who makes a tensor, and who reads it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Attribute, Dim, Model, Node, Tensor};

/// What a pattern is made of, before its nodes are in order.
pub struct Found {
    pub nodes: Vec<usize>,
    pub operator: Node,
}

/// A model to look for patterns in.
pub struct Graph<'m> {
    model: &'m Model,
    makers: BTreeMap<&'m str, usize>,
    readers: BTreeMap<&'m str, Vec<usize>>,
    outputs: BTreeSet<&'m str>,
}

impl<'m> Graph<'m> {
    pub fn of(model: &'m Model) -> Self {
        let mut graph = Self {
            model,
            makers: BTreeMap::new(),
            readers: BTreeMap::new(),
            outputs: model.outputs.iter().map(|output| output.name.as_str()).collect(),
        };
        for (index, node) in model.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|name| !name.is_empty()) {
                graph.makers.insert(output, index);
            }
            for input in node.inputs.iter().filter(|name| !name.is_empty()) {
                graph.readers.entry(input).or_default().push(index);
            }
            if !node.captures().is_empty() {
                // What subgraphs read is left alone.
                let captured = node.captures();
                let names = graph.makers.keys().copied().filter(|name| captured.iter().any(|c| c == name));
                let names: Vec<&str> = names.collect();
                graph.outputs.extend(names);
            }
        }
        graph
    }

    pub fn node(&self, index: usize) -> &'m Node {
        &self.model.nodes[index]
    }

    /// The node that makes a tensor, when it is a standard one of this kind.
    pub fn made_by(&self, name: &str, op_type: &str) -> Option<usize> {
        self.makers.get(name).copied().filter(|&index| self.node(index).is(op_type))
    }

    /// The node that makes a tensor, when it is one of the compiler's own of this kind.
    pub fn made_by_own(&self, name: &str, op_type: &str) -> Option<usize> {
        let is_own = |index: &usize| self.node(*index).domain == super::DOMAIN && self.node(*index).op_type == op_type;
        self.makers.get(name).copied().filter(is_own)
    }

    /// A constant.
    pub fn constant(&self, name: &str) -> Option<&'m Tensor> {
        self.model.initializers.get(name)
    }

    /// The only node that reads a tensor, however often.
    pub fn reader(&self, name: &str) -> Option<usize> {
        if self.outputs.contains(name) {
            return None;
        }
        let readers = self.readers.get(name)?;
        let first = *readers.first()?;
        readers.iter().all(|&reader| reader == first).then_some(first)
    }

    /// The same, when it is a standard node of this kind.
    pub fn read_by(&self, name: &str, op_type: &str) -> Option<usize> {
        self.reader(name).filter(|&index| self.node(index).is(op_type))
    }

    /// Whether all that reads a tensor is among these nodes.
    pub fn read_inside(&self, name: &str, nodes: &[usize]) -> bool {
        !self.outputs.contains(name)
            && self.readers.get(name).is_none_or(|readers| readers.iter().all(|reader| nodes.contains(reader)))
    }

    /// Whether what all these nodes make, but for the last one, is read among them only.
    pub fn is_closed(&self, nodes: &[usize]) -> bool {
        nodes.split_last().is_some_and(|(_, inner)| {
            inner.iter().all(|&node| self.node(node).outputs.iter().all(|output| self.read_inside(output, nodes)))
        })
    }

    /// The other input of a node of two.
    pub fn other<'n>(&self, index: usize, name: &'n str) -> Option<&'m str> {
        match &self.node(index).inputs[..] {
            [a, b] if a == name => Some(b),
            [a, b] if b == name => Some(a),
            _ => None,
        }
    }

    /// The only element of a constant.
    pub fn number(&self, name: &str) -> Option<f32> {
        let tensor = self.model.initializers.get(name)?;
        if tensor.dtype.is_float() { tensor.as_scalar_f32() } else { None }
    }

    /// A node that combines a tensor with a constant number: the tensor and the number. Where `op_type` does not commute,
    /// the number stands on the right.
    pub fn with_number(&self, index: usize, op_type: &str) -> Option<(&'m str, f32)> {
        let node = self.node(index);
        let [a, b] = &node.inputs[..] else { return None };
        if !node.is(op_type) {
            return None;
        }
        match (self.number(b), self.number(a)) {
            (Some(number), _) => Some((a, number)),
            (None, Some(number)) if matches!(op_type, "Add" | "Mul") => Some((b, number)),
            _ => None,
        }
    }

    /// A constant of real numbers with at most one axis that is not 1, the last.
    pub fn row(&self, name: &str) -> bool {
        self.model.initializers.get(name).is_some_and(|tensor| {
            tensor.dtype.is_float()
                && tensor.shape.iter().rev().skip(1).all(|&dim| dim == 1)
                && !tensor.shape.is_empty()
        })
    }

    /// Whether a node reduces its last axis alone and keeps it.
    pub fn reduces_last(&self, index: usize) -> bool {
        let node = self.node(index);
        let axes = match (node.attributes.get("axes"), node.input(1)) {
            (Some(Attribute::Ints(axes)), _) => Some(axes.clone()),
            (None, Some(name)) => self.model.initializers.get(name).and_then(|axes| axes.to_i64s().ok()),
            _ => None,
        };
        let rank = node.input(0).and_then(|name| self.shape(name)).map(|shape| shape.len() as i64);
        let last = |axis: i64| axis == -1 || rank.is_some_and(|rank| axis == rank - 1);
        node.int("keepdims").unwrap_or(1) == 1 && axes.is_some_and(|axes| matches!(axes[..], [axis] if last(axis)))
    }

    /// Extents of a tensor, where the file tells them.
    fn shape(&self, name: &str) -> Option<Vec<Dim>> {
        self.model.value(name)?.shape
    }

    /// Whether a tensor is no constant.
    pub fn is_activation(&self, name: &str) -> bool {
        !name.is_empty() && !self.model.initializers.contains_key(name)
    }

    /// The version of the standard operator set.
    pub fn opset(&self) -> i64 {
        self.model.opset()
    }
}

/// Whether a number is another one as exporters write it.
pub fn is_near(number: f32, expected: f64) -> bool {
    (f64::from(number) - expected).abs() <= 1e-6 * expected.abs()
}
