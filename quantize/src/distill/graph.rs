//! A float ONNX model in the library's tensors, so that gradients can be had of it.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use cygnet_onnx::model::{DType, Model};

use super::operators::{Call, apply, is_known};
use super::steps::round_to_levels;
use crate::error::QuantizeError;
use crate::params::Params;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A model whose every node has a gradient.
#[derive(Debug)]
pub struct Graph {
    model: Model,
    /// Float constants.
    constants: Tensors,
    /// For every node the tensors that nobody reads after it.
    last_read: Vec<Vec<String>>,
}

impl Graph {
    /// Prepares `model`: folded, opset 13 or later.
    ///
    /// # Errors
    /// [`QuantizeError::Node`] naming a node whose operator has no gradient.
    pub fn new(model: &Model) -> Result<Graph, QuantizeError> {
        let mut constants = Tensors::new();
        for (name, tensor) in model.initializers.iter().filter(|(_, t)| t.dtype == DType::F32) {
            constants.insert(name.clone(), tensor_of(tensor).map_err(|e| unsuitable(name, &e))?);
        }
        let mut graph = Graph { model: model.clone(), constants, last_read: Vec::new() };
        for node in &graph.model.nodes {
            let reads_floats = node.inputs.iter().any(|i| !graph.model.initializers.contains_key(i));
            if !is_known(node) || !reads_floats {
                let problem = format!("{} has no gradient here; a model with it cannot be distilled", node.op_type);
                return Err(QuantizeError::node(node, problem));
            }
        }
        graph.last_read = last_reads(&graph.model);
        Ok(graph)
    }

    /// The model that the graph computes.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the model and gives the values of `wanted`.
    ///
    /// `inputs` in the model's order; `parameters` take the place of constants of their name; tensors in `levels`
    /// are rounded to levels as soon as they are made.
    ///
    /// # Errors
    /// [`QuantizeError::Node`] naming the node that does not suit its operands.
    pub fn run(
        &self,
        inputs: &[Tensor],
        parameters: &Tensors,
        levels: &BTreeMap<String, Params>,
        wanted: &[String],
    ) -> Result<Vec<Tensor>, QuantizeError> {
        let leveled = |name: &str, x: Tensor| match levels.get(name) {
            Some(&params) => round_to_levels(&x, params),
            None => Ok(x),
        };
        let mut values = Tensors::new();
        for (input, value) in self.model.inputs.iter().zip(inputs) {
            let value = leveled(&input.name, value.clone()).map_err(|e| unsuitable(&input.name, &e))?;
            values.insert(input.name.clone(), value);
        }
        for (node, done) in self.model.nodes.iter().zip(&self.last_read) {
            let value_of = |name: &String| {
                let constant = || parameters.get(name).or_else(|| self.constants.get(name)).cloned();
                match values.get(name) {
                    Some(value) => Ok(Some(value.clone())),
                    None => constant().map(|c| leveled(name, c)).transpose(),
                }
            };
            let fail = |e: candle_core::Error| QuantizeError::node(node, e.to_string());
            let operands = node.inputs.iter().map(value_of).collect::<candle_core::Result<_>>().map_err(fail)?;
            let made = apply(&Call { model: &self.model, node, operands }).map_err(fail)?;
            for (name, value) in node.outputs.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
                values.insert(name.clone(), leveled(name, value).map_err(fail)?);
            }
            for name in done.iter().filter(|name| !wanted.contains(name)) {
                values.remove(name);
            }
        }
        let missing = |name: &String| QuantizeError::Unsuitable(format!("the model does not make \"{name}\""));
        wanted.iter().map(|name| values.get(name).cloned().ok_or_else(|| missing(name))).collect()
    }
}

/// For every node the tensors that no node after it reads.
fn last_reads(model: &Model) -> Vec<Vec<String>> {
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    let mut last: Vec<Vec<String>> = Vec::new();
    for node in model.nodes.iter().rev() {
        let read = node.inputs.iter().filter(|i| !model.initializers.contains_key(*i));
        last.push(read.filter(|name| seen.insert(name)).cloned().collect());
    }
    last.reverse();
    last
}

/// A float tensor in the library's form.
///
/// # Errors
/// The library's, where bytes and shape do not fit.
pub fn tensor_of(tensor: &cygnet_onnx::model::Tensor) -> candle_core::Result<Tensor> {
    let values = tensor.to_f32s().map_err(|e| candle_core::Error::Msg(e.to_string()))?;
    Tensor::from_vec(values, tensor.shape.clone(), &Device::Cpu)
}

fn unsuitable(name: &str, error: &candle_core::Error) -> QuantizeError {
    QuantizeError::Unsuitable(format!("tensor \"{name}\": {error}"))
}
