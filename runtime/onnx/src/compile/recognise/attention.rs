//! Attention.

use super::DOMAIN;
use super::graph::{Found, Graph};
use crate::model::{Attribute, DType, Node};

/// `softmax(q·kᵀ · scale + mask) · v`; the scale stands behind the product, or in front of either side.
///
/// Where keys and values are those that a decoder keeps, masks go that hide later tokens only.
pub fn attention(graph: &Graph<'_>, softmax: usize) -> Option<Found> {
    found(graph, softmax, true).or_else(|| found(graph, softmax, false))
}

fn found(graph: &Graph<'_>, softmax: usize, is_kept: bool) -> Option<Found> {
    let node = graph.node(softmax);
    // Before opset 13 an axis of -1 means the same.
    if node.int("axis").unwrap_or(if graph.opset() < 13 { 1 } else { -1 }) != -1 {
        return None;
    }
    let mut nodes = vec![softmax];
    let seen = |scores, nodes: &mut Vec<usize>| if is_kept { selected(graph, scores, nodes) } else { scores };
    let scores = seen(node.input(0)?, &mut nodes);
    let (scores, outer) = hidden(graph, scores, &mut nodes);
    let (scores, mask) = masked(graph, scores, &mut nodes)?;
    let scores = seen(scores, &mut nodes);
    let (scores, inner) = if outer.is_none() { hidden(graph, scores, &mut nodes) } else { (scores, None) };
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
    let (k, v, positions) = if is_kept {
        let ((k, positions), (v, _)) = cached(graph, k, true).zip(cached(graph, v, false))?;
        (k, v, positions)
    } else {
        (k, v.as_str(), "")
    };
    let mask = if is_kept && hides_nothing(graph, mask) { "" } else { mask };
    let mut operator = Node::new("Attention", &graph.node(means).label(), &[q, k, v, mask, positions], &[output]);
    operator.domain = DOMAIN.into();
    operator = operator.with("scale", Attribute::Float(scale));
    if let Some(hidden) = outer.or(inner) {
        operator.inputs.push(hidden.condition.to_string());
        operator =
            operator.with("hides", Attribute::Int(hidden.when.into())).with("least", Attribute::Float(hidden.least));
    }
    Some(Found { nodes, operator })
}

/// Scores in whose place a condition puts the least.
struct Hidden<'m> {
    condition: &'m str,
    /// Whether it does so where it holds.
    when: bool,
    least: f32,
}

/// Above it, sums of a mask and scores differ from the mask.
const NEARLY_LEAST: f32 = -1e30;

/// What the scores are before a condition hides some, and the condition. It may be added as a mask then: beside what it
/// puts there, scores vanish.
fn hidden<'m>(graph: &Graph<'m>, scores: &'m str, nodes: &mut Vec<usize>) -> (&'m str, Option<Hidden<'m>>) {
    let Some(select) = graph.made_by(scores, "Where") else { return (scores, None) };
    let [condition, a, b] = &graph.node(select).inputs[..] else { return (scores, None) };
    let least = |name: &str| graph.number(name).filter(|&number| number < NEARLY_LEAST);
    let (inner, when, least) = match (least(a), least(b)) {
        (Some(least), None) => (b, true, least),
        (None, Some(least)) => (a, false, least),
        _ => return (scores, None),
    };
    nodes.push(select);
    (inner, Some(Hidden { condition, when, least }))
}

/// What is kept of all tokens where `name` is it, for keys with its last two axes swapped, or that repeated for heads that
/// share it; and the positions.
fn cached<'m>(graph: &Graph<'m>, name: &'m str, swapped: bool) -> Option<(&'m str, &'m str)> {
    let mut name = name;
    if swapped {
        let turned = graph.node(graph.made_by(name, "Transpose")?);
        if turned.ints("perm") != Some(&[0, 1, 3, 2]) {
            return None;
        }
        name = turned.input(0)?;
    }
    if let Some(joined) = graph.made_by(name, "Reshape") {
        let wide = graph.node(graph.made_by(graph.node(joined).input(0)?, "Expand")?);
        let apart = graph.node(graph.made_by(wide.input(0)?, "Unsqueeze")?);
        let axes = apart.ints("axes").map(<[i64]>::to_vec);
        let axes = axes.or_else(|| graph.constant(apart.input(1)?)?.to_i64s().ok())?;
        if axes != [2] {
            return None;
        }
        name = apart.input(0)?;
    }
    let cache = graph.node(graph.made_by_own(name, super::CACHE)?);
    Some((name, cache.input(2)?))
}

/// Whether a constant mask hides at most what lies behind each query, as far as a run's last tokens are queries.
fn hides_nothing(graph: &Graph<'_>, mask: &str) -> bool {
    let Some(constant) = graph.constant(mask) else { return mask.is_empty() };
    let is_bool = constant.dtype == DType::Bool;
    let values = if is_bool {
        Ok(constant.data.iter().map(|&byte| if byte == 0 { -1.0 } else { 0.0 }).collect())
    } else {
        constant.to_f32s()
    };
    let slots = constant.shape.last().copied().unwrap_or(1).max(1);
    let rows = constant.shape.iter().rev().nth(1).copied().unwrap_or(1).max(1);
    values.is_ok_and(|values: Vec<f32>| {
        let mut lines = values.chunks_exact(slots).enumerate();
        lines.all(|(line, row)| {
            row.iter().take((slots + 1 + line % rows).saturating_sub(rows)).all(|&value| value == 0.0)
        })
    })
}

/// What the scores are where a constant condition takes something else for later tokens only.
fn selected<'m>(graph: &Graph<'m>, scores: &'m str, nodes: &mut Vec<usize>) -> &'m str {
    if let Some(select) = graph.made_by(scores, "Where")
        && let [condition, scores, _] = &graph.node(select).inputs[..]
        && graph.constant(condition).is_some()
        && hides_nothing(graph, condition)
    {
        nodes.push(select);
        return scores;
    }
    scores
}

/// What the scores are before a mask is added to them, and the mask.
fn masked<'m>(graph: &Graph<'m>, scores: &'m str, nodes: &mut Vec<usize>) -> Option<(&'m str, &'m str)> {
    let Some(sum) = graph.made_by(scores, "Add") else { return Some((scores, "")) };
    let [a, b] = &graph.node(sum).inputs[..] else { return None };
    nodes.push(sum);
    let is_product = |name: &'m str| {
        let scores = selected(graph, name, &mut Vec::new());
        let (scores, _) = hidden(graph, scores, &mut Vec::new());
        graph.made_by(scaled(graph, scores, &mut Vec::new()).0, "MatMul").is_some()
    };
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
