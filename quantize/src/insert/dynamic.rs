//! Products that make levels of what they read while the model runs: no samples are needed, and the range is that of each
//! run. The nodes are those that onnxruntime's dynamic quantization writes
//! ([DynamicQuantizeLinear](https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html),
//! [MatMulInteger](https://onnx.ai/onnx/operators/onnx__MatMulInteger.html)).

use std::collections::BTreeMap;

use cygnet_onnx::model::{Attribute, DType, Model, Node, Tensor};

use super::store::Store;
use super::{is_table, weights};
use crate::error::QuantizeError;
use crate::fold;
use crate::graph::{constant, drop_unused};
use crate::opset::LOWEST;
use crate::refuse_quantized;

/// Number of float32 in `TensorProto.DataType`.
const FLOAT: i64 = 1;

/// What became of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Dynamic {
    /// Products with int8 weights.
    pub products: usize,
    /// Tables whose rows are int8.
    pub tables: usize,
}

/// A product with constant weights.
struct Product {
    /// `[k, n]`.
    weights: Tensor,
    /// Name of what is added to each row, if anything.
    bias: Option<String>,
}

/// Gives every MatMul and Gemm with constant weights int8 weights, one scale for each column, and levels of its input that
/// are made in each run; and the rows of large tables int8.
///
/// # Errors
/// [`QuantizeError::Unsuitable`] for a model of operator set 12 or older, or without such a layer; [`QuantizeError::Node`]
/// where weights are no numbers, or the model is quantized already.
pub fn quantize(model: &mut Model) -> Result<Dynamic, QuantizeError> {
    refuse_quantized(model)?;
    if model.opset() < LOWEST {
        let problem = format!(
            "operator set {} is too old for levels made while a model runs; convert the model first \
             (onnx.version_converter.convert_version to {LOWEST})",
            model.opset()
        );
        return Err(QuantizeError::Unsuitable(problem));
    }
    fold::constants(model);
    let mut writer = Writer { store: Store::of(model), levels: BTreeMap::new() };
    let mut done = Dynamic::default();
    for node in std::mem::take(&mut model.nodes) {
        match product(model, &node)? {
            Some(product) => {
                writer.write(model, &node, &product)?;
                done.products += 1;
            }
            None => model.nodes.push(node),
        }
    }
    let mut ahead = Vec::new();
    for index in (0..model.nodes.len()).filter(|&index| is_table(model, &model.nodes[index])).collect::<Vec<_>>() {
        weights::quantize_rows(model, &mut writer.store, &mut ahead, index)?;
        done.tables += 1;
    }
    ahead.append(&mut model.nodes);
    model.nodes = ahead;
    if done == Dynamic::default() {
        return Err(QuantizeError::Unsuitable(
            "no MatMul or Gemm with constant float32 weights is in the model; quantize it with --calib".into(),
        ));
    }
    drop_unused(model);
    model.producer = "cygnet quantize".into();
    Ok(done)
}

/// The product that `node` computes; `None` where it is another one, or none.
fn product(model: &Model, node: &Node) -> Result<Option<Product>, QuantizeError> {
    let weights = constant(model, node, 1).filter(|weights| weights.dtype == DType::F32 && weights.shape.len() == 2);
    let Some(weights) = weights else { return Ok(None) };
    if node.is("MatMul") {
        return Ok(Some(Product { weights: weights.clone(), bias: None }));
    }
    let is_plain = |name: &str| node.attributes.get(name).is_none_or(|value| *value == Attribute::Float(1.0));
    let (turned, x_turned) = (node.int("transB").unwrap_or(0) != 0, node.int("transA").unwrap_or(0) != 0);
    if !node.is("Gemm") || x_turned || !is_plain("alpha") || !is_plain("beta") {
        return Ok(None);
    }
    let bias = node.input(2).map(str::to_string);
    let weights = if turned { transposed(weights)? } else { weights.clone() };
    Ok(Some(Product { weights, bias }))
}

fn transposed(weights: &Tensor) -> Result<Tensor, QuantizeError> {
    let (rows, columns) = (weights.shape[0], weights.shape[1]);
    let values = weights.to_f32s()?;
    let turned: Vec<f32> = (0..values.len()).map(|place| values[place % rows * columns + place / rows]).collect();
    Ok(Tensor::from_f32(vec![columns, rows], &turned))
}

/// Writes the nodes.
struct Writer {
    store: Store,
    /// Levels, scale and zero point of each tensor that was made levels of.
    levels: BTreeMap<String, [String; 3]>,
}

impl Writer {
    fn write(&mut self, model: &mut Model, node: &Node, product: &Product) -> Result<(), QuantizeError> {
        let (Some(x), Some(w), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return Ok(()) };
        let (levels, scales) = columns(node, &product.weights)?;
        let [x_levels, x_scale, x_zero] = self.levels_of(model, x);
        let weights = self.store.levels(model, w, levels);
        let w_scales = self.store.scale(model, w, scales);
        let [sums, real, factors] = ["sums", "real", "factors"].map(|what| self.store.name(y, what));
        let scaled = if product.bias.is_some() { self.store.name(y, "scaled") } else { y.to_string() };
        let label = node.label();
        model.nodes.push(Node::new("MatMulInteger", &label, &[&x_levels, &weights, &x_zero], &[&sums]));
        model.nodes.push(Node::new("Cast", "", &[&sums], &[&real]).with("to", Attribute::Int(FLOAT)));
        model.nodes.push(Node::new("Mul", "", &[&x_scale, &w_scales], &[&factors]));
        model.nodes.push(Node::new("Mul", "", &[&real, &factors], &[&scaled]));
        if let Some(bias) = &product.bias {
            model.nodes.push(Node::new("Add", "", &[&scaled, bias], &[y]));
        }
        Ok(())
    }

    /// Levels of `x`, their scale and their zero point, made once.
    fn levels_of(&mut self, model: &mut Model, x: &str) -> [String; 3] {
        if let Some(known) = self.levels.get(x) {
            return known.clone();
        }
        let made = ["q", "qs", "qz"].map(|what| self.store.name(x, what));
        let [levels, scale, zero] = &made;
        model.nodes.push(Node::new("DynamicQuantizeLinear", "", &[x], &[levels, scale, zero]));
        self.levels.insert(x.to_string(), made.clone());
        made
    }
}

/// Int8 levels of weights `[k, n]`, and the scale of each column.
fn columns(node: &Node, weights: &Tensor) -> Result<(Tensor, Tensor), QuantizeError> {
    let values = weights.to_f32s()?;
    if !values.iter().all(|value| value.is_finite()) {
        return Err(QuantizeError::node(node, "its weights hold NaN or infinity; the training went astray"));
    }
    let columns = weights.shape[1];
    let mut scales = vec![0.0_f32; columns];
    for row in values.chunks_exact(columns.max(1)) {
        scales.iter_mut().zip(row).for_each(|(scale, value)| *scale = scale.max(value.abs() / 127.0));
    }
    // A column of zeros has any scale.
    scales.iter_mut().for_each(|scale| *scale = if *scale < f32::MIN_POSITIVE { 1.0 } else { *scale });
    let levels = values.chunks_exact(columns.max(1)).flat_map(|row| row.iter().zip(&scales));
    let levels: Vec<i8> =
        levels.map(|(value, scale)| (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8).collect();
    Ok((Tensor::from_i8(weights.shape.clone(), &levels), Tensor::from_f32(vec![columns], &scales)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Sample;
    use crate::engine::{Engine, plan};
    use cygnet_onnx::model::{Dim, ValueInfo};

    fn value(name: &str, shape: [usize; 2]) -> ValueInfo {
        let shape = Some(shape.iter().map(|&extent| Dim::Known(extent)).collect());
        ValueInfo { name: name.into(), dtype: DType::F32, shape }
    }

    /// `x·w`, and `x·vᵀ + b` of the same input.
    fn model() -> Model {
        let mut model = Model {
            ir_version: 8,
            opsets: [(String::new(), 13)].into(),
            nodes: vec![
                Node::new("MatMul", "first", &["x", "w"], &["y"]),
                Node::new("Gemm", "second", &["x", "v", "b"], &["z"]).with("transB", Attribute::Int(1)),
            ],
            inputs: vec![value("x", [2, 2])],
            outputs: vec![value("y", [2, 3]), value("z", [2, 2])],
            ..Model::default()
        };
        // Columns whose greatest is 127, 254 and 0: scales of 1, 2 and any.
        model.initializers.insert("w".into(), Tensor::from_f32(vec![2, 3], &[127.0, -254.0, 0.0, 5.0, 4.0, 0.0]));
        model.initializers.insert("v".into(), Tensor::from_f32(vec![2, 2], &[127.0, 1.0, -2.0, -127.0]));
        model.initializers.insert("b".into(), Tensor::from_f32(vec![2], &[0.5, -0.5]));
        model
    }

    #[test]
    fn whole_numbers_stay_exact() {
        let mut model = model();
        assert_eq!(quantize(&mut model).unwrap(), Dynamic { products: 2, tables: 0 });
        let kinds: Vec<&str> = model.nodes.iter().map(|node| &*node.op_type).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "DynamicQuantizeLinear").count(), 1);
        assert_eq!(kinds.iter().filter(|kind| **kind == "MatMulInteger").count(), 2);
        let engine = Engine::new(plan(&model, &Default::default(), None).unwrap()).unwrap();
        assert!(engine.memory().fallbacks.is_empty());
        // From 0 to 255: a scale of 1.
        let x = Tensor::from_f32(vec![2, 2], &[0.0, 255.0, 3.0, 10.0]);
        let sample = Sample { name: "x".into(), inputs: vec![x], label: None };
        let outputs = engine.session().unwrap().outputs(&sample).unwrap();
        assert_eq!(outputs[0], [1275.0, 1020.0, 0.0, 431.0, -722.0, 0.0]);
        assert_eq!(outputs[1], [255.5, -32_385.5, 391.5, -1276.5]);
    }

    #[test]
    fn what_cannot_be_made_is_told() {
        let mut old = model();
        old.opsets.insert(String::new(), 12);
        assert!(quantize(&mut old).unwrap_err().to_string().contains("operator set 12"));
        let mut none = model();
        none.nodes = vec![Node::new("Relu", "", &["x"], &["y"])];
        assert!(quantize(&mut none).unwrap_err().to_string().contains("no MatMul or Gemm"));
        let mut done = model();
        quantize(&mut done).unwrap();
        assert!(quantize(&mut done).unwrap_err().to_string().contains("quantized already"));
        let mut pairs = model();
        pairs.nodes.insert(0, Node::new("QuantizeLinear", "pair", &["x", "b"], &["levels"]));
        assert!(quantize(&mut pairs).unwrap_err().to_string().contains("quantized already"));
    }
}
