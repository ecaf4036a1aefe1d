//! Layer normalisation, taken apart or whole, and the addition in front of it.

use super::DOMAIN;
use super::graph::{Found, Graph};
use crate::model::{Attribute, Node};

/// What a normalisation is made of.
struct Parts<'m> {
    x: &'m str,
    scale: &'m str,
    bias: &'m str,
    epsilon: f32,
    axis: i64,
    about_zero: bool,
}

impl Parts<'_> {
    /// The operator, with the addition that alone makes its input where there is one.
    fn found(self, graph: &Graph<'_>, mut nodes: Vec<usize>, last: usize) -> Option<Found> {
        let constant = |name: &str| name.is_empty() || !graph.is_activation(name);
        if !graph.is_closed(&nodes) || !constant(self.scale) || !constant(self.bias) {
            return None;
        }
        let sum = graph.made_by(self.x, "Add").filter(|_| graph.read_inside(self.x, &nodes));
        let sides = sum.and_then(|sum| match &graph.node(sum).inputs[..] {
            [a, b] if graph.is_activation(a) && graph.is_activation(b) => Some((sum, a.as_str(), b.as_str())),
            _ => None,
        });
        let (x, residual) = match sides {
            Some((sum, a, b)) => {
                nodes.push(sum);
                (a, b)
            }
            None => (self.x, ""),
        };
        let inputs = [x, self.scale, self.bias, residual];
        let mut operator = Node::new("LayerNorm", &graph.node(last).label(), &inputs, &[graph.node(last).output(0)?]);
        operator.domain = DOMAIN.into();
        let operator = operator
            .with("epsilon", Attribute::Float(self.epsilon))
            .with("axis", Attribute::Int(self.axis))
            .with("about_zero", Attribute::Int(self.about_zero.into()));
        Some(Found { nodes, operator })
    }
}

/// LayerNormalization or RMSNormalization whose mean and deviation nobody reads.
pub fn whole<'m>(graph: &Graph<'m>, index: usize) -> Option<Found> {
    let node = graph.node(index);
    if node.output(1).is_some() || node.output(2).is_some() {
        return None;
    }
    let parts = Parts {
        x: node.input(0)?,
        scale: node.input(1).unwrap_or(""),
        bias: node.input(2).unwrap_or(""),
        epsilon: node.float("epsilon").unwrap_or(1e-5),
        axis: node.int("axis").unwrap_or(-1),
        about_zero: node.is("RMSNormalization"),
    };
    parts.found(graph, vec![index], index)
}

/// `(x - mean) / √(mean((x - mean)²) + epsilon) · scale + bias`, or without the first mean, or without scale and bias.
pub fn taken_apart(graph: &Graph<'_>, sqrt: usize) -> Option<Found> {
    let shifted = graph.made_by(graph.node(sqrt).input(0)?, "Add")?;
    let (variance, epsilon) = graph.with_number(shifted, "Add")?;
    let mean_square = graph.made_by(variance, "ReduceMean").filter(|&mean| graph.reduces_last(mean))?;
    let square = graph.node(mean_square).input(0)?;
    let power = graph.made_by(square, "Pow").and_then(|at| Some((at, graph.with_number(at, "Pow")?)));
    let product = graph.made_by(square, "Mul").map(|at| (at, &graph.node(at).inputs[..]));
    let (squaring, centred) = match (power, product) {
        (Some((at, (x, 2.0))), _) => (at, x),
        (_, Some((at, [a, b]))) if a == b => (at, a.as_str()),
        _ => return None,
    };
    let mut nodes = vec![squaring, mean_square, shifted, sqrt];
    let (unit, divided) = quotient(graph, sqrt, &mut nodes)?;
    // What is divided has its mean taken off, by the same node or by another one like it.
    let of_centred = centring(graph, centred);
    let same = divided == centred || of_centred.is_some_and(|(x, ..)| Some(x) == centring(graph, divided).map(|c| c.0));
    if !same {
        return None;
    }
    let (x, about_zero) = match of_centred {
        Some((x, subtraction, mean)) => {
            nodes.extend([subtraction, mean]);
            if let Some((_, subtraction, mean)) = centring(graph, divided) {
                nodes.extend([subtraction, mean]);
            }
            (x, false)
        }
        None => (centred, true),
    };
    let (mut last, mut scale, mut bias) = (unit, "", "");
    let made = |at: usize| graph.node(at).output(0).unwrap_or_default();
    if let Some(product) = graph.read_by(made(last), "Mul")
        && let Some(factor) = graph.other(product, made(last)).filter(|factor| graph.row(factor))
    {
        (last, scale) = (product, factor);
        nodes.push(last);
    }
    if let Some(sum) = graph.read_by(made(last), "Add")
        && let Some(term) = graph.other(sum, made(last)).filter(|term| graph.row(term))
        && !about_zero
    {
        (last, bias) = (sum, term);
        nodes.push(last);
    }
    // The one that makes the result stands last.
    nodes.retain(|&node| node != last);
    nodes.push(last);
    Parts { x, scale, bias, epsilon, axis: -1, about_zero }.found(graph, nodes, last)
}

/// What is divided by the root, and the node that makes the quotient.
fn quotient<'m>(graph: &Graph<'m>, sqrt: usize, nodes: &mut Vec<usize>) -> Option<(usize, &'m str)> {
    let root = graph.node(sqrt).output(0)?;
    if let Some(division) = graph.read_by(root, "Div") {
        nodes.push(division);
        let [x, by] = &graph.node(division).inputs[..] else { return None };
        if by == root && graph.number(x) != Some(1.0) {
            return Some((division, x));
        }
        // One by the root, then a product.
        let product = graph.read_by(graph.node(division).output(0)?, "Mul").filter(|_| by == root)?;
        nodes.push(product);
        return Some((product, graph.other(product, graph.node(division).output(0)?)?));
    }
    let reciprocal = graph.read_by(root, "Reciprocal")?;
    let inverse = graph.node(reciprocal).output(0)?;
    let product = graph.read_by(inverse, "Mul")?;
    nodes.extend([reciprocal, product]);
    Some((product, graph.other(product, inverse)?))
}

/// For `x - mean(x)`: `x`, the subtraction, the mean.
fn centring<'m>(graph: &Graph<'m>, centred: &str) -> Option<(&'m str, usize, usize)> {
    let subtraction = graph.made_by(centred, "Sub")?;
    let [x, mean] = &graph.node(subtraction).inputs[..] else { return None };
    let mean = graph.made_by(mean, "ReduceMean").filter(|&mean| graph.reduces_last(mean))?;
    (graph.node(mean).input(0) == Some(x)).then_some((x, subtraction, mean))
}
