//! Brings fully connected layers into one form: `Gemm` with alpha and beta 1 and a bias of one value per output.

use std::collections::BTreeSet;

use cygnet_onnx::model::{Attribute, Model, Node, Tensor};

use crate::facts::Facts;
use crate::graph::{Names, Readers, constant, remove_nodes};

/// Makes `MatMul` + `Add` on matrices a `Gemm` and plain the `Gemm`s that are not; returns how many pairs went.
pub(super) fn fold(model: &mut Model, facts: &Facts) -> usize {
    let mut names = Names::of(model);
    let mut gone = BTreeSet::new();
    let readers = Readers::of(model);
    for index in 0..model.nodes.len() {
        if let Some((add, gemm, bias)) = gemm_for(model, &readers, facts, index) {
            let name = gemm.inputs[2].clone();
            // The bias keeps its name unless another shape of it is needed.
            let name = if model.initializers.get(&name) == Some(&bias) { name } else { names.fresh(&name) };
            model.initializers.insert(name.clone(), bias);
            model.nodes[index] = Node { inputs: [&gemm.inputs[..2], &[name]].concat(), ..gemm };
            gone.insert(add);
        }
    }
    remove_nodes(model, &gone);
    (0..model.nodes.len()).for_each(|index| make_plain(model, &mut names, index));
    gone.len()
}

/// The `Add` behind the `MatMul` at `index`, and the `Gemm` and bias that replace both.
fn gemm_for(model: &Model, readers: &Readers, facts: &Facts, index: usize) -> Option<(usize, Node, Tensor)> {
    let product = &model.nodes[index];
    let weights = constant(model, product, 1)?;
    let [_, columns] = weights.shape[..] else { return None };
    if !product.is("MatMul") || super::rank(facts, product.input(0)?)? != 2 {
        return None;
    }
    let made = product.output(0)?;
    let add = readers.only(made)?;
    let sum = &model.nodes[add];
    if !sum.is("Add") {
        return None;
    }
    let bias_name = sum.inputs.iter().find(|i| *i != made)?;
    let bias = bias_vector(model.initializers.get(bias_name)?, columns)?;
    let inputs = [product.input(0)?, product.input(1)?, bias_name];
    let gemm = Node::new("Gemm", &product.name, &inputs, &[sum.output(0)?]);
    Some((add, gemm, bias))
}

/// The bias as one value per column, if it broadcasts to that.
fn bias_vector(bias: &Tensor, columns: usize) -> Option<Tensor> {
    let values = bias.to_f32s().ok()?;
    let is_row = bias.shape.iter().rev().skip(1).all(|&d| d == 1);
    match values[..] {
        [value] if bias.shape.len() <= 2 => Some(Tensor::from_f32(vec![columns], &vec![value; columns])),
        _ if is_row && bias.shape.len() <= 2 && values.len() == columns => {
            Some(Tensor::from_f32(vec![columns], &values))
        }
        _ => None,
    }
}

/// Folds alpha into the weights and beta into the bias, and gives the bias one value per column.
fn make_plain(model: &mut Model, names: &mut Names, index: usize) {
    let node = &model.nodes[index];
    let weights = constant(model, node, 1).and_then(|w| Some((w.clone(), w.to_f32s().ok()?)));
    let Some((weights, values)) = weights.filter(|(w, _)| node.is("Gemm") && w.shape.len() == 2) else { return };
    let columns = weights.shape[usize::from(node.int("transB").unwrap_or(0) == 0)];
    let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
    let bias = match node.input(2) {
        None => None,
        Some(name) => {
            let given = model.initializers.get(name).and_then(|b| bias_vector(b, columns));
            let Some(given) = given else { return };
            Some((name.to_string(), scaled(&given, beta)))
        }
    };
    let weights_name = node.inputs[1].clone();
    let mut inputs = vec![node.inputs[0].clone(), weights_name.clone()];
    if alpha != 1.0 {
        inputs[1] = names.fresh(&format!("{weights_name}_scaled"));
        let scaled = scaled(&Tensor::from_f32(weights.shape, &values), alpha);
        model.initializers.insert(inputs[1].clone(), scaled);
    }
    if let Some((name, bias)) = bias {
        let is_same = model.initializers.get(&name) == Some(&bias);
        let name = if is_same { name } else { names.fresh(&format!("{name}_per_column")) };
        model.initializers.insert(name.clone(), bias);
        inputs.push(name);
    }
    let node = &mut model.nodes[index];
    node.inputs = inputs;
    node.attributes.insert("alpha".into(), Attribute::Float(1.0));
    node.attributes.insert("beta".into(), Attribute::Float(1.0));
}

fn scaled(tensor: &Tensor, factor: f32) -> Tensor {
    let values: Vec<f32> = tensor.to_f32s().unwrap_or_default().iter().map(|v| v * factor).collect();
    Tensor::from_f32(tensor.shape.clone(), &values)
}
