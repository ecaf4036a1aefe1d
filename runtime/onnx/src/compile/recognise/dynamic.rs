//! Products of activations quantized while the model runs, as onnxruntime's quantizer writes them.

use super::DOMAIN;
use super::graph::{Found, Graph};
use crate::model::Node;

/// `f32((xq - zx)·(w - zw)) · (sx · sw) + bias`, `xq`, `sx` and `zx` being what DynamicQuantizeLinear makes of `x`.
pub fn product(graph: &Graph<'_>, index: usize) -> Option<Found> {
    let node = graph.node(index);
    let dynamic = graph.made_by(node.input(0)?, "DynamicQuantizeLinear")?;
    let quantizer = graph.node(dynamic);
    let [_, x_scale, x_zero] = &quantizer.outputs[..] else { return None };
    if node.input(0) != quantizer.output(0) || node.input(2) != Some(x_zero) {
        return None;
    }
    let (w, w_zero) = (node.input(1)?, node.input(3).unwrap_or(""));
    let cast = graph.read_by(node.output(0)?, "Cast").filter(|&cast| graph.node(cast).int("to") == Some(1))?;
    let real = graph.node(cast).output(0)?;
    let scaled = graph.read_by(real, "Mul")?;
    let factor = graph.other(scaled, real)?;
    let scales = graph.made_by(factor, "Mul")?;
    let w_scale = graph.other(scales, x_scale)?;
    let mut nodes = vec![scales, index, cast, scaled];
    let mut last = scaled;
    let mut bias = "";
    let made = graph.node(scaled).output(0)?;
    if let Some(sum) = graph.read_by(made, "Add")
        && let Some(row) = graph.other(sum, made).filter(|row| graph.row(row))
    {
        (last, bias) = (sum, row);
        nodes.push(sum);
    }
    let constant = |name: &str| name.is_empty() || !graph.is_activation(name);
    if !graph.is_closed(&nodes) || ![w, w_scale, w_zero].into_iter().all(constant) {
        return None;
    }
    let inputs = [quantizer.input(0)?, w, w_scale, w_zero, bias];
    let mut operator = Node::new("MatMulDynamic", &node.label(), &inputs, &[graph.node(last).output(0)?]);
    operator.domain = DOMAIN.into();
    Some(Found { nodes, operator })
}
