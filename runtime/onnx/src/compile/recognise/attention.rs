//! Attention.

use super::DOMAIN;
use super::graph::{Found, Graph};
use crate::model::{Attribute, Node};

/// `softmax(q·kᵀ · scale + mask) · v`; the scale stands behind the product, or in front of either side.
pub fn attention(graph: &Graph<'_>, softmax: usize) -> Option<Found> {
    let node = graph.node(softmax);
    // Before opset 13 an axis of -1 means the same.
    if node.int("axis").unwrap_or(if graph.opset() < 13 { 1 } else { -1 }) != -1 {
        return None;
    }
    let mut nodes = vec![softmax];
    let (scores, mask) = masked(graph, node.input(0)?, &mut nodes)?;
    let (scores, mut scale) = scaled(graph, scores, &mut nodes);
    let product = graph.made_by(scores, "MatMul")?;
    nodes.push(product);
    let [q, k] = &graph.node(product).inputs[..] else { return None };
    let (q, q_scale) = scaled(graph, q, &mut nodes);
    let (k, k_scale) = scaled(graph, k, &mut nodes);
    scale *= q_scale * k_scale;
    let weights = node.output(0)?;
    let means = graph.read_by(weights, "MatMul")?;
    let [left, v] = &graph.node(means).inputs[..] else { return None };
    nodes.push(means);
    if left != weights || ![q, k, v].into_iter().all(|name| graph.is_activation(name)) || !graph.is_closed(&nodes) {
        return None;
    }
    let output = graph.node(means).output(0)?;
    let mut operator = Node::new("Attention", &graph.node(means).label(), &[q, k, v, mask], &[output]);
    operator.domain = DOMAIN.into();
    Some(Found { nodes, operator: operator.with("scale", Attribute::Float(scale)) })
}

/// What the scores are before a mask is added to them, and the mask.
fn masked<'m>(graph: &Graph<'m>, scores: &'m str, nodes: &mut Vec<usize>) -> Option<(&'m str, &'m str)> {
    let Some(sum) = graph.made_by(scores, "Add") else { return Some((scores, "")) };
    let [a, b] = &graph.node(sum).inputs[..] else { return None };
    nodes.push(sum);
    let is_product = |name: &'m str| graph.made_by(scaled(graph, name, &mut Vec::new()).0, "MatMul").is_some();
    match (is_product(a), is_product(b)) {
        (true, false) => Some((a, b)),
        (false, true) => Some((b, a)),
        _ => None,
    }
}

/// A tensor before it is multiplied or divided by a number, and the factor.
fn scaled<'m>(graph: &Graph<'m>, name: &'m str, nodes: &mut Vec<usize>) -> (&'m str, f32) {
    for op_type in ["Mul", "Div"] {
        if let Some(at) = graph.made_by(name, op_type)
            && let Some((x, number)) = graph.with_number(at, op_type)
            && graph.reader(name).is_some()
        {
            nodes.push(at);
            return (x, if op_type == "Mul" { number } else { 1.0 / number });
        }
    }
    (name, 1.0)
}
