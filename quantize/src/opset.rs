//! Raises a model to operator set 13, the first whose QuantizeLinear knows one scale per channel.
//!
//! Only forms that changed between 7 and 13 are touched: <https://onnx.ai/onnx/operators/>.

use cygnet_onnx::model::{Attribute, Model, Node, Tensor};

use crate::error::QuantizeError;
use crate::facts::Facts;
use crate::graph::Names;

/// The operator set written where the model's own is older.
pub const LOWEST: i64 = 13;

/// Rewrites the nodes of a model older than [`LOWEST`]; newer models stay as they are.
///
/// # Errors
/// [`QuantizeError::Node`] for a node whose old meaning has no new form, [`QuantizeError::Unsuitable`] before 7.
pub fn raise(model: &mut Model, facts: &Facts) -> Result<(), QuantizeError> {
    // Format version 7 came with operator set 12 and 13; checkers want them to agree.
    model.ir_version = model.ir_version.max(7);
    let from = model.opset();
    if from >= LOWEST {
        return Ok(());
    }
    if from < 7 {
        let problem = format!(
            "operator set {from} is too old; convert the model first (onnx.version_converter.convert_version to 13)"
        );
        return Err(QuantizeError::Unsuitable(problem));
    }
    let mut names = Names::of(model);
    let mut nodes = std::mem::take(&mut model.nodes);
    for node in &mut nodes {
        raise_node(model, &mut names, node, from, facts)?;
    }
    model.nodes = nodes;
    model.opsets.insert(String::new(), LOWEST);
    Ok(())
}

/// The first operator set with int4, and with scales per block.
const INT4: i64 = 21;

/// Raises a model of operator set 13 or later to the first that has int4. Only forms that changed in between are touched.
///
/// # Errors
/// [`QuantizeError::Node`] for a node with a subgraph: what is inside would have to be raised too.
pub fn raise_for_int4(model: &mut Model) -> Result<(), QuantizeError> {
    // Format version 10 came with operator set 21.
    model.ir_version = model.ir_version.max(10);
    let from = model.opset();
    if from >= INT4 {
        return Ok(());
    }
    let mut names = Names::of(model);
    let Model { nodes, initializers, .. } = model;
    for node in nodes.iter_mut().filter(|node| node.domain.is_empty()) {
        if node.attributes.values().any(|a| matches!(a, Attribute::Graph(_))) {
            let problem = "holds a subgraph of an older operator set than 4-bit weights need; export the model with \
                           operator set 21, or keep its weights int8";
            return Err(QuantizeError::node(node, problem));
        }
        // Since 18 the axes of all reductions are an input, and Split says into how many parts.
        let reduces = node.op_type.starts_with("Reduce");
        if reduces && let Some(Attribute::Ints(axes)) = node.attributes.remove("axes") {
            let name = names.fresh(&format!("{}_axes", node.label()));
            initializers.insert(name.clone(), Tensor::from_i64(vec![axes.len()], &axes));
            node.inputs.truncate(1);
            node.inputs.push(name);
        }
        if node.is("Split") && node.input(1).is_none() && node.int("num_outputs").is_none() {
            node.attributes.insert("num_outputs".into(), Attribute::Int(node.outputs.len() as i64));
        }
    }
    model.opsets.insert(String::new(), INT4);
    Ok(())
}

fn raise_node(
    model: &mut Model,
    names: &mut Names,
    node: &mut Node,
    from: i64,
    facts: &Facts,
) -> Result<(), QuantizeError> {
    if node.attributes.values().any(|a| matches!(a, Attribute::Graph(_))) {
        let problem = "holds a subgraph of an old operator set; export the model with operator set 13 or later";
        return Err(QuantizeError::node(node, problem));
    }
    if !node.domain.is_empty() {
        return Ok(());
    }
    let mut input = |node: &mut Node, attribute: &str, position: usize| {
        let value = match node.attributes.remove(attribute) {
            Some(Attribute::Ints(v)) => Tensor::from_i64(vec![v.len()], &v),
            Some(Attribute::Int(v)) => Tensor::from_i64(vec![1], &[v]),
            Some(Attribute::Float(v)) => Tensor::scalar_f32(v),
            Some(Attribute::Floats(v)) => Tensor::from_f32(vec![v.len()], &v),
            _ => return,
        };
        let name = names.fresh(&format!("{}_{attribute}", node.label()));
        model.initializers.insert(name.clone(), value);
        if node.inputs.len() <= position {
            node.inputs.resize(position + 1, String::new());
        }
        node.inputs[position] = name;
    };
    match node.op_type.as_str() {
        "Squeeze" | "Unsqueeze" | "ReduceSum" => input(node, "axes", 1),
        "Split" => input(node, "split", 1),
        "TopK" if from < 10 => input(node, "k", 1),
        "Clip" if from < 11 => {
            input(node, "min", 1);
            input(node, "max", 2);
        }
        "Pad" if from < 11 => {
            input(node, "pads", 1);
            input(node, "value", 2);
        }
        "Slice" if from < 10 => {
            input(node, "starts", 1);
            input(node, "ends", 2);
            input(node, "axes", 3);
        }
        "Upsample" | "Resize" if from < 11 => {
            input(node, "scales", 1);
            node.op_type = "Resize".into();
            node.inputs.insert(1, String::new());
            let asymmetric = Attribute::String("asymmetric".into());
            node.attributes.insert("coordinate_transformation_mode".into(), asymmetric);
            node.attributes.insert("nearest_mode".into(), Attribute::String("floor".into()));
        }
        "Dropout" if from < 12 => {
            node.attributes.remove("ratio");
        }
        "BatchNormalization" if from < 9 => {
            let spatial = node.attributes.remove("spatial");
            if spatial.is_some_and(|s| s != Attribute::Int(1)) {
                return Err(QuantizeError::node(node, "normalises each pixel apart (spatial = 0), not supported"));
            }
        }
        "Softmax" | "LogSoftmax" | "Hardmax" => raise_softmax(node, facts)?,
        _ => {}
    }
    Ok(())
}

/// Before 13 these worked on all axes from `axis` on at once, since then on `axis` alone.
fn raise_softmax(node: &mut Node, facts: &Facts) -> Result<(), QuantizeError> {
    let shape = node.input(0).and_then(|x| facts.get(x)).map(|(_, shape)| shape.clone()).unwrap_or_default();
    let rank = shape.len() as i64;
    let axis = node.int("axis").unwrap_or(1);
    let axis = if axis < 0 { axis + rank } else { axis };
    let joined = shape.get(usize::try_from(axis).unwrap_or(usize::MAX)..).unwrap_or(&[]);
    let long: Vec<i64> = (axis..rank).zip(joined).filter(|(_, d)| **d != 1).map(|(axis, _)| axis).collect();
    let axis = match long[..] {
        [] => rank - 1,
        [axis] => axis,
        _ => {
            let problem = format!("works on several axes of {shape:?} at once, which operator set 13 cannot say");
            return Err(QuantizeError::node(node, problem));
        }
    };
    node.attributes.insert("axis".into(), Attribute::Int(axis));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cygnet_onnx::model::DType;

    fn raised(from: i64, node: Node, shape: &[usize]) -> Result<(Node, Model), QuantizeError> {
        let mut model = Model { opsets: [(String::new(), from)].into(), nodes: vec![node], ..Model::default() };
        let facts = [("x".to_string(), (DType::F32, shape.to_vec()))].into();
        raise(&mut model, &facts)?;
        Ok((model.nodes[0].clone(), model))
    }

    #[test]
    fn attributes_become_inputs() {
        let node = Node::new("Clip", "c", &["x"], &["y"]).with("max", Attribute::Float(6.0));
        let (node, model) = raised(9, node, &[1]).unwrap();
        assert_eq!(node.inputs, ["x", "", "c_max"]);
        assert_eq!(model.initializers["c_max"].as_scalar_f32(), Some(6.0));
        assert_eq!(model.opset(), 13);

        let node = Node::new("Unsqueeze", "u", &["x"], &["y"]).with("axes", Attribute::Ints(vec![0, 2]));
        let (node, model) = raised(11, node, &[1]).unwrap();
        assert_eq!(
            (node.inputs, model.initializers["u_axes"].to_i64s().unwrap()),
            (vec!["x".into(), "u_axes".into()], vec![0, 2])
        );
    }

    #[test]
    fn softmax_keeps_its_meaning_or_is_refused() {
        let softmax = Node::new("Softmax", "s", &["x"], &["y"]);
        let (node, _) = raised(11, softmax.clone(), &[1, 1000, 1, 1]).unwrap();
        assert_eq!(node.int("axis"), Some(1));
        assert!(raised(11, softmax, &[1, 10, 4]).unwrap_err().to_string().contains("\"s\""));
    }
}
