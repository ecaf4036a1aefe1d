//! `If` nodes whose condition is known before the model runs, as exporters leave behind where the rank or an extent of a
//! tensor decides: the branch that is taken becomes part of the graph.

use std::collections::BTreeSet;

use super::{CompileError, Options, lower};
use crate::model::{Model, Node, Subgraph};

/// Puts the taken branches into the graph. A branch with a name that the graph has too stays where it is.
pub(super) fn inlined(mut model: Model, options: &Options) -> Result<Model, CompileError> {
    let (mut stays, mut changed) = (BTreeSet::new(), false);
    while let Some((index, taken)) = lower::first_branch(&model, options, &stays)? {
        let branch = if taken { "then_branch" } else { "else_branch" };
        let node = model.nodes[index].clone();
        let graph = node.subgraph(branch)?;
        match graph.filter(|graph| is_apart(&model, graph)) {
            Some(graph) => {
                put(&mut model, index, &node, graph);
                changed = true;
            }
            None => drop(stays.insert(node.label())),
        }
    }
    if changed {
        drop_unread(&mut model);
    }
    Ok(model)
}

/// Drops nodes that nobody reads: what computed the conditions.
fn drop_unread(model: &mut Model) {
    let mut read: BTreeSet<String> = model.outputs.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::new();
    for node in std::mem::take(&mut model.nodes).into_iter().rev() {
        if node.outputs.iter().any(|output| read.contains(output)) {
            read.extend(node.inputs.iter().cloned().chain(node.captures()).filter(|name| !name.is_empty()));
            kept.push(node);
        }
    }
    kept.reverse();
    model.nodes = kept;
}

/// Whether no tensor that the branch makes has the name of a tensor of the model.
fn is_apart(model: &Model, graph: &Subgraph) -> bool {
    let known: BTreeSet<&String> = model.nodes.iter().flat_map(|node| &node.outputs).collect();
    let mut made = graph.nodes.iter().flat_map(|node| &node.outputs).chain(graph.initializers.keys());
    let of_input = |name: &String| model.inputs.iter().any(|input| input.name == *name);
    made.all(|name| {
        name.is_empty() || !known.contains(name) && !model.initializers.contains_key(name) && !of_input(name)
    })
}

fn put(model: &mut Model, index: usize, node: &Node, graph: Subgraph) {
    let results = graph.outputs.iter().zip(&node.outputs).filter(|(_, to)| !to.is_empty());
    let results = results.map(|(from, to)| Node::new("Identity", &node.name, &[from.as_str()], &[to.as_str()]));
    let nodes: Vec<Node> = graph.nodes.into_iter().chain(results).collect();
    model.nodes.splice(index..=index, nodes);
    model.initializers.extend(graph.initializers);
}
