//! Topological order, and the checks that go with it: every tensor is made once, and before it is read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::{Model, ModelError};

/// Sorts the nodes, the earliest in the old order first among those that are ready.
pub(super) fn sort(model: &mut Model) -> Result<(), ModelError> {
    let makers = makers(model)?;
    let is_given = |name: &str| model.initializers.contains_key(name) || model.inputs.iter().any(|i| i.name == name);
    let mut waiting = vec![0usize; model.nodes.len()];
    let mut readers = vec![Vec::new(); model.nodes.len()];
    for (index, node) in model.nodes.iter().enumerate() {
        for name in node.inputs.iter().chain(&node.captures()).filter(|n| !n.is_empty()) {
            match makers.get(name.as_str()) {
                Some(&maker) => {
                    waiting[index] += 1;
                    readers[maker].push(index);
                }
                None if is_given(name) => {}
                None => {
                    let problem = format!("its input \"{name}\" is made by no node and is no input of the model");
                    return Err(ModelError::node(node, problem));
                }
            }
        }
    }
    for output in &model.outputs {
        if !makers.contains_key(output.name.as_str()) && !is_given(&output.name) {
            return Err(ModelError::tensor(&output.name, "is an output of the model, and no node makes it"));
        }
    }
    let mut ready: BinaryHeap<_> = (0..waiting.len()).filter(|&n| waiting[n] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if let Some(stuck) = waiting.iter().position(|&n| n > 0) {
        let problem = "it waits for its own output: the graph has a cycle, or hangs behind one";
        return Err(ModelError::node(&model.nodes[stuck], problem));
    }
    let mut nodes: Vec<_> = std::mem::take(&mut model.nodes).into_iter().map(Some).collect();
    model.nodes = order.into_iter().filter_map(|index| nodes[index].take()).collect();
    Ok(())
}

/// Which node makes which tensor.
fn makers(model: &Model) -> Result<BTreeMap<&str, usize>, ModelError> {
    let mut makers = BTreeMap::new();
    for (index, node) in model.nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|n| !n.is_empty()) {
            let is_given = model.initializers.contains_key(name) || model.inputs.iter().any(|i| i.name == *name);
            if is_given || makers.insert(name.as_str(), index).is_some() {
                return Err(ModelError::node(node, format!("its output \"{name}\" is made twice; names must differ")));
            }
        }
    }
    Ok(makers)
}
