//! Functions of one number that are written as several.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, SQRT_2};

use super::graph::{Found, Graph, is_near};
use crate::model::{Attribute, Node};

/// `x/2 · (1 + erf(x/√2))`, the factors in any order.
pub fn gelu(graph: &Graph<'_>, erf: usize) -> Option<Found> {
    let inner = graph.node(erf).input(0)?;
    let divided = graph.made_by(inner, "Div").and_then(|at| Some((at, graph.with_number(at, "Div")?)));
    let multiplied = graph.made_by(inner, "Mul").and_then(|at| Some((at, graph.with_number(at, "Mul")?)));
    let (scaling, x) = match (divided, multiplied) {
        (Some((at, (x, number))), _) if is_near(number, SQRT_2) => (at, x),
        (_, Some((at, (x, number)))) if is_near(number, FRAC_1_SQRT_2) => (at, x),
        _ => return None,
    };
    around(graph, x, vec![scaling, erf], "none")
}

/// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`, the factors in any order.
pub fn gelu_tanh(graph: &Graph<'_>, tanh: usize) -> Option<Found> {
    let scaled = graph.made_by(graph.node(tanh).input(0)?, "Mul")?;
    let (sum, factor) = graph.with_number(scaled, "Mul")?;
    let add = graph.made_by(sum, "Add")?;
    let [a, b] = &graph.node(add).inputs[..] else { return None };
    let cubed = |side: &str| {
        let at = graph.made_by(side, "Mul")?;
        let (power, factor) = graph.with_number(at, "Mul")?;
        let cube = graph.made_by(power, "Pow")?;
        let (x, exponent) = graph.with_number(cube, "Pow")?;
        (is_near(factor, 0.044_715) && exponent == 3.0).then_some((x, [cube, at]))
    };
    let (x, [cube, cubic]) = match (cubed(a), cubed(b)) {
        (Some(found), _) if found.0 == b => found,
        (_, Some(found)) if found.0 == a => found,
        _ => return None,
    };
    if !is_near(factor, FRAC_2_PI.sqrt()) {
        return None;
    }
    around(graph, x, vec![cube, cubic, add, scaled, tanh], "tanh")
}

/// Half of `x` times one more than what the last of `nodes` makes.
fn around(graph: &Graph<'_>, x: &str, mut nodes: Vec<usize>, approximate: &str) -> Option<Found> {
    let plus = graph.read_by(graph.node(*nodes.last()?).output(0)?, "Add")?;
    if graph.with_number(plus, "Add")?.1 != 1.0 {
        return None;
    }
    nodes.push(plus);
    // Two factors are left, x and ½.
    let (mut at, mut has_x, mut has_half) = (plus, false, false);
    while !(has_x && has_half) {
        let made = graph.node(at).output(0)?;
        at = graph.read_by(made, "Mul")?;
        nodes.push(at);
        let other = graph.other(at, made)?;
        let halved = graph.made_by(other, "Mul").filter(|&half| graph.with_number(half, "Mul") == Some((x, 0.5)));
        if other == x && !has_x {
            has_x = true;
        } else if graph.number(other) == Some(0.5) && !has_half {
            has_half = true;
        } else if let Some(half) = halved.filter(|_| !has_x && !has_half) {
            nodes.insert(0, half);
            (has_x, has_half) = (true, true);
        } else {
            return None;
        }
    }
    let last = graph.node(at);
    let gelu = Node::new("Gelu", &last.label(), &[x], &[last.output(0)?]);
    let operator = gelu.with("approximate", Attribute::String(approximate.into()));
    graph.is_closed(&nodes).then_some(Found { nodes, operator })
}

/// `x · sigmoid(x)`.
pub fn swish(graph: &Graph<'_>, sigmoid: usize) -> Option<Found> {
    let (x, made) = (graph.node(sigmoid).input(0)?, graph.node(sigmoid).output(0)?);
    let product = graph.read_by(made, "Mul").filter(|&product| graph.other(product, made) == Some(x))?;
    let last = graph.node(product);
    let operator = Node::new("Swish", &last.label(), &[x], &[last.output(0)?]);
    Some(Found { nodes: vec![sigmoid, product], operator })
}
