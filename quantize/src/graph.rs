//! Questions about a graph that every pass asks: who makes a tensor, who reads it, which names are free.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{Model, Node, Tensor};

/// Who reads each tensor.
#[derive(Debug, Default)]
pub struct Readers {
    nodes: BTreeMap<String, Vec<usize>>,
    pinned: BTreeSet<String>,
}

impl Readers {
    /// The readers in `model` as it is now; node numbers are positions in [`Model::nodes`].
    pub fn of(model: &Model) -> Readers {
        let mut readers = Readers::default();
        for (index, node) in model.nodes.iter().enumerate() {
            for input in node.inputs.iter().filter(|i| !i.is_empty()) {
                readers.nodes.entry(input.clone()).or_default().push(index);
            }
            readers.pinned.extend(node.captures());
        }
        readers.pinned.extend(model.outputs.iter().map(|o| o.name.clone()));
        readers
    }

    /// The nodes that read `tensor`; a node that reads it twice is listed twice.
    pub fn nodes(&self, tensor: &str) -> &[usize] {
        self.nodes.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// Whether the tensor's name must stay: an output of the model, or read inside a subgraph.
    pub fn is_pinned(&self, tensor: &str) -> bool {
        self.pinned.contains(tensor)
    }

    /// The one node that reads `tensor`, where nobody else sees it.
    pub fn only(&self, tensor: &str) -> Option<usize> {
        match self.nodes(tensor) {
            [reader] if !self.is_pinned(tensor) => Some(*reader),
            _ => None,
        }
    }
}

/// Which node makes which tensor.
pub fn makers(model: &Model) -> BTreeMap<String, usize> {
    let pairs = |(index, node): (usize, &Node)| {
        let outputs: Vec<_> = node.outputs.iter().filter(|o| !o.is_empty()).cloned().collect();
        outputs.into_iter().map(move |o| (o, index))
    };
    model.nodes.iter().enumerate().flat_map(pairs).collect()
}

/// The constant that `node` reads at `index`.
pub fn constant<'m>(model: &'m Model, node: &Node, index: usize) -> Option<&'m Tensor> {
    model.initializers.get(node.input(index)?)
}

/// Makes every reader of `old` read `new` instead.
pub fn redirect(model: &mut Model, old: &str, new: &str) {
    redirect_others(model, old, new, &BTreeSet::new());
}

/// Makes every reader of `old` read `new` instead, but for nodes whose first output is among `stay`.
pub fn redirect_others(model: &mut Model, old: &str, new: &str, stay: &BTreeSet<String>) {
    let others = model.nodes.iter_mut().filter(|node| node.outputs.first().is_none_or(|output| !stay.contains(output)));
    for input in others.flat_map(|node| &mut node.inputs).filter(|input| *input == old) {
        *input = new.into();
    }
}

/// Takes the nodes at `indices` out.
pub fn remove_nodes(model: &mut Model, indices: &BTreeSet<usize>) {
    let mut index = 0;
    model.nodes.retain(|_| {
        index += 1;
        !indices.contains(&(index - 1))
    });
}

/// Drops initializers and type notes that no node, subgraph or output refers to.
pub fn drop_unused(model: &mut Model) {
    let readers = Readers::of(model);
    let makers = makers(model);
    model.initializers.retain(|name, _| !readers.nodes(name).is_empty() || readers.is_pinned(name));
    model.value_info.retain(|v| makers.contains_key(&v.name));
}

/// Gives every node that is labelled like one before it a name of its own.
pub fn name_apart(model: &mut Model) {
    let mut names = Names::of(model);
    let mut labels = BTreeSet::new();
    for node in &mut model.nodes {
        if !labels.insert(node.label()) {
            node.name = names.fresh(&node.label());
            labels.insert(node.label());
        }
    }
}

/// The names in use, to find free ones.
#[derive(Debug)]
pub struct Names(BTreeSet<String>);

impl Names {
    /// All tensor and node names of `model`.
    pub fn of(model: &Model) -> Names {
        let mut names: BTreeSet<String> = model.initializers.keys().cloned().collect();
        names.extend(model.inputs.iter().chain(&model.outputs).map(|v| v.name.clone()));
        for node in &model.nodes {
            names.insert(node.name.clone());
            names.extend(node.inputs.iter().chain(&node.outputs).cloned());
            names.extend(node.captures());
        }
        Names(names)
    }

    /// `wanted`, or `wanted_2`, `wanted_3`, … where it is taken; taken from now on.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        for number in 2.. {
            if self.0.insert(name.clone()) {
                break;
            }
            name = format!("{wanted}_{number}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_made_unique() {
        let node = |name: &str, output: &str| Node { name: name.into(), ..Node::new("Relu", "", &["x"], &[output]) };
        let nodes = vec![node("same", "a"), node("same", "b"), node("", "c"), node("same_2", "d"), node("same", "e")];
        let mut model = Model { nodes, ..Model::default() };
        name_apart(&mut model);
        let labels: BTreeSet<String> = model.nodes.iter().map(Node::label).collect();
        assert_eq!(labels.len(), 5);
        assert!(labels.contains("same") && labels.contains("Relu → c") && labels.contains("same_2"));
    }
}
