//! Operators that exporters take apart, put together again: layer normalisation, GELU, attention, products on int8 whose
//! scale is found while the model runs.
//!
//! Where all of a pattern's inner tensors are read inside the pattern only, its last node becomes the whole operator, and the
//! others, which nobody reads any more, go. The new nodes are those of the standard operator set where there is one, and
//! of the domain `DOMAIN` else.

mod attention;
mod dynamic;
mod function;
mod graph;
mod normalization;

use std::collections::BTreeSet;

use crate::model::{Model, Node};
use graph::Graph;

/// The domain of operators that only the compiler makes: `LayerNorm` (x, scale, bias, residual; `epsilon`, `axis`,
/// `about_zero`), `Attention` (q, k with its last two axes swapped, v, mask; `scale`; with positions as a fifth, k is as the cache has it;
/// with a condition as a sixth, `least` is put where it is `hides`) and `MatMulDynamic` (x, w, scale of w,
/// zero point of w, bias).
pub(crate) const DOMAIN: &str = "cygnet";

/// The operator of that domain that puts new keys or values behind those of the tokens before (past, new, positions).
pub(crate) const CACHE: &str = "Cache";

/// A pattern in a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// Positions of its nodes in [`Model::nodes`], in ascending order; the last one makes the result.
    pub nodes: Vec<usize>,
    /// The operator that it is.
    pub operator: Node,
}

/// Patterns of a model that do not share nodes.
#[must_use]
pub fn patterns(model: &Model) -> Vec<Pattern> {
    let graph = Graph::of(model);
    let find = |index: usize, node: &Node| {
        let found = match node.op_type.as_str() {
            _ if !node.domain.is_empty() => None,
            "Sqrt" => normalization::taken_apart(&graph, index),
            "LayerNormalization" | "RMSNormalization" => normalization::whole(&graph, index),
            "Erf" => function::gelu(&graph, index),
            "Tanh" => function::gelu_tanh(&graph, index),
            "Sigmoid" => function::swish(&graph, index),
            "Softmax" => attention::attention(&graph, index),
            "MatMulInteger" => dynamic::product(&graph, index),
            _ => None,
        }?;
        let mut nodes = found.nodes;
        nodes.sort_unstable();
        nodes.dedup();
        Some(Pattern { nodes, operator: found.operator })
    };
    let mut taken = BTreeSet::new();
    let mut patterns = Vec::new();
    for (index, node) in model.nodes.iter().enumerate() {
        let Some(pattern) = find(index, node) else { continue };
        if pattern.nodes.iter().all(|node| !taken.contains(node)) {
            taken.extend(pattern.nodes.iter().copied());
            patterns.push(pattern);
        }
    }
    patterns
}

/// Whether a softmax stands between products and is no attention yet, perhaps for what follows from shapes is not computed:
/// exporters take the scale from them.
pub(super) fn hides_attention(model: &Model) -> bool {
    let softmaxes = model.nodes.iter().filter(|node| node.is("Softmax")).count();
    let shapes = model.nodes.iter().any(|node| node.is("Shape"));
    let known = |pattern: &Pattern| pattern.operator.domain == DOMAIN && pattern.operator.op_type == "Attention";
    softmaxes > 0 && shapes && patterns(model).iter().filter(|pattern| known(pattern)).count() < softmaxes
}

/// The model with its patterns as operators.
pub(super) fn recognise(mut model: Model) -> Model {
    for pattern in patterns(&model) {
        if let Some(&last) = pattern.nodes.last() {
            model.nodes[last] = pattern.operator;
        }
    }
    drop_unread(&mut model);
    model
}

/// Drops nodes whose results nobody reads.
fn drop_unread(model: &mut Model) {
    let mut read: BTreeSet<String> = model.outputs.iter().map(|output| output.name.clone()).collect();
    let mut keep = vec![false; model.nodes.len()];
    for (keep, node) in keep.iter_mut().zip(&model.nodes).rev() {
        *keep = node.outputs.iter().any(|name| read.contains(name));
        if *keep {
            read.extend(node.inputs.iter().cloned().chain(node.captures()));
        }
    }
    let mut keep = keep.into_iter();
    model.nodes.retain(|_| keep.next().unwrap_or(true));
}
