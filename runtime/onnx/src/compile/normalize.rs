//! One form for quantized operators: operators that carry scales and zero points become the plain
//! operator between DequantizeLinear and QuantizeLinear.
//!
//! Operators: [QLinearConv](https://onnx.ai/onnx/operators/onnx__QLinearConv.html),
//! [QLinearMatMul](https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html), and onnxruntime's
//! `com.microsoft` ones ([contrib operators](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md)).

mod attention;

use std::collections::HashSet;

use crate::model::{Attribute, Model, ModelError, Node, Tensor};

const MICROSOFT: &str = "com.microsoft";

/// Rewrites all such nodes.
pub(super) fn normalize(model: &Model) -> Result<Model, ModelError> {
    let mut out = model.clone();
    let tensors = model.nodes.iter().flat_map(|node| node.outputs.iter().chain(&node.inputs)).cloned();
    let taken: HashSet<String> = tensors.chain(model.initializers.keys().cloned()).collect();
    out.nodes = Vec::with_capacity(model.nodes.len());
    for node in &model.nodes {
        let mut rewrite = Rewrite { model: &mut out, node, taken: &taken, fresh: 0 };
        rewrite.node()?;
    }
    Ok(out)
}

struct Rewrite<'m> {
    model: &'m mut Model,
    node: &'m Node,
    /// Names of the model's tensors.
    taken: &'m HashSet<String>,
    fresh: usize,
}

impl Rewrite<'_> {
    fn node(&mut self) -> Result<(), ModelError> {
        let node = self.node;
        let standard = node.domain.is_empty() || node.domain == "ai.onnx";
        match (standard, node.domain == MICROSOFT, node.op_type.as_str()) {
            (true, _, "QLinearConv") => {
                let x = self.dequantized(0, 1, 2, None)?;
                let w = self.dequantized(3, 4, 5, Some(0))?;
                let mut inputs = vec![x, w];
                if node.input(8).is_some() {
                    inputs.push(self.bias(8, 1, 4, 1.0)?);
                }
                self.operator("Conv", inputs, 6, 7)
            }
            (true, _, "QLinearMatMul") => {
                let a = self.dequantized(0, 1, 2, None)?;
                let b = self.dequantized(3, 4, 5, Some(-1))?;
                self.operator("MatMul", vec![a, b], 6, 7)
            }
            (_, true, "QLinearAdd" | "QLinearMul") => {
                let a = self.dequantized(0, 1, 2, None)?;
                let b = self.dequantized(3, 4, 5, None)?;
                self.operator(&node.op_type["QLinear".len()..], vec![a, b], 6, 7)
            }
            (_, true, "QGemm") => {
                let a = self.dequantized(0, 1, 2, None)?;
                let transposed = node.int("transB").unwrap_or(0) != 0;
                let b = self.dequantized(3, 4, 5, Some(if transposed { 0 } else { 1 }))?;
                let mut inputs = vec![a, b];
                if node.input(6).is_some() {
                    inputs.push(self.bias(6, 1, 4, node.float("alpha").unwrap_or(1.0))?);
                }
                self.operator("Gemm", inputs, 7, 8)
            }
            (_, true, "QLinearSoftmax") if (node.int("opset").unwrap_or(13) < 13) != (self.model.opset() < 13) => {
                // An axis of another meaning than this model's Softmax has.
                self.model.nodes.push(node.clone());
                Ok(())
            }
            (_, true, "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax") => {
                let x = self.dequantized(0, 1, 2, None)?;
                self.operator(&node.op_type["QLinear".len()..], vec![x], 3, 4)
            }
            (_, true, "QLinearGlobalAveragePool" | "QLinearAveragePool")
                if node.int("channels_last").unwrap_or(0) == 0 =>
            {
                let x = self.dequantized(0, 1, 2, None)?;
                self.operator(&node.op_type["QLinear".len()..], vec![x], 3, 4)
            }
            (_, true, "QLinearGlobalAveragePool") => {
                // Channels last: the mean over the axes between the first and the last.
                let x = self.dequantized(0, 1, 2, None)?;
                let rank = self.model.value(node.input(0).unwrap_or("")).and_then(|value| value.shape).map(|s| s.len());
                let axes: Vec<i64> = (1..rank.unwrap_or(4) as i64 - 1).collect();
                let output = self.quantize_output(3, 4)?;
                let mut reduce = Node::new("ReduceMean", &node.name, &[&x], &[&output]);
                let axes_name = self.name("axes");
                if self.model.opset() >= 18 {
                    self.model.initializers.insert(axes_name.clone(), Tensor::from_i64(vec![axes.len()], &axes));
                    reduce.inputs.push(axes_name);
                } else {
                    reduce.attributes.insert("axes".into(), Attribute::Ints(axes));
                }
                self.insert_before_last(reduce);
                Ok(())
            }
            (_, true, "QLinearConcat") => {
                let count = node.inputs.len().saturating_sub(2) / 3;
                let inputs = (0..count)
                    .map(|index| self.dequantized(2 + index * 3, 3 + index * 3, 4 + index * 3, None))
                    .collect::<Result<Vec<_>, _>>()?;
                self.operator("Concat", inputs, 0, 1)
            }
            (_, true, "QuantizeLinear" | "DequantizeLinear") => {
                let mut plain = node.clone();
                plain.domain = String::new();
                self.model.nodes.push(plain);
                Ok(())
            }
            (true, _, "Attention") if self.is_attention() => self.attention(),
            _ => {
                self.model.nodes.push(node.clone());
                Ok(())
            }
        }
    }

    fn problem(&self, index: usize) -> ModelError {
        ModelError::Node { node: self.node.label(), problem: format!("input {index} is missing") }
    }

    fn name(&mut self, what: &str) -> String {
        let base = self.node.outputs.first().map_or("", String::as_str);
        loop {
            self.fresh += 1;
            let name = format!("{base}/{what}{}", self.fresh);
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }

    /// A DequantizeLinear of three of the node's inputs; `axis` for weights with a scale per channel.
    fn dequantized(
        &mut self,
        x: usize,
        scale: usize,
        zero_point: usize,
        axis: Option<i64>,
    ) -> Result<String, ModelError> {
        let x = self.node.input(x).ok_or(self.problem(x))?;
        let scale = self.node.input(scale).ok_or(self.problem(scale))?;
        let output = self.name("dequantized");
        let mut node = Node::new("DequantizeLinear", &self.node.name, &[x, scale], &[&output]);
        if let Some(zero_point) = self.node.input(zero_point) {
            node.inputs.push(zero_point.to_string());
        }
        if let Some(axis) = axis {
            node.attributes.insert("axis".into(), Attribute::Int(axis));
        }
        self.model.nodes.push(node);
        Ok(output)
    }

    /// An int32 bias, whose scale is the product of `factor`, the input's and the weights'.
    fn bias(&mut self, bias: usize, x_scale: usize, w_scale: usize, factor: f32) -> Result<String, ModelError> {
        let bias = self.node.input(bias).ok_or(self.problem(bias))?;
        let constant = |model: &Model, index: usize, node: &Node| {
            node.input(index).and_then(|name| model.initializers.get(name)).map(Tensor::to_f32s)
        };
        let (Some(x_scale), Some(w_scale)) =
            (constant(self.model, x_scale, self.node), constant(self.model, w_scale, self.node))
        else {
            let problem = "its scales must be constants".to_string();
            return Err(ModelError::Node { node: self.node.label(), problem });
        };
        let (x_scale, w_scale) = (x_scale?, w_scale?);
        let scales: Vec<f32> = w_scale.iter().map(|w| x_scale.first().copied().unwrap_or(1.0) * w * factor).collect();
        let name = self.name("bias_scale");
        let shape = if scales.len() == 1 { Vec::new() } else { vec![scales.len()] };
        self.model.initializers.insert(name.clone(), Tensor::from_f32(shape, &scales));
        let output = self.name("bias");
        let node = Node::new("DequantizeLinear", &self.node.name, &[bias, &name], &[&output]);
        self.model.nodes.push(node.with("axis", Attribute::Int(0)));
        Ok(output)
    }

    /// A QuantizeLinear to the node's output; returns the name of the float tensor it reads.
    fn quantize_output(&mut self, scale: usize, zero_point: usize) -> Result<String, ModelError> {
        let Some(scale) = self.node.input(scale) else {
            return Ok(self.node.outputs[0].clone());
        };
        let real = self.name("real");
        let mut quantize = Node::new("QuantizeLinear", &self.node.name, &[&real, scale], &[]);
        if let Some(zero_point) = self.node.input(zero_point) {
            quantize.inputs.push(zero_point.to_string());
        }
        quantize.outputs.clone_from(&self.node.outputs);
        self.model.nodes.push(quantize);
        Ok(real)
    }

    fn insert_before_last(&mut self, node: Node) {
        let quantized = self.model.nodes.last().is_some_and(|last| last.input(0) == node.output(0));
        let place = self.model.nodes.len() - usize::from(quantized);
        self.model.nodes.insert(place, node);
    }

    fn operator(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        scale: usize,
        zero_point: usize,
    ) -> Result<(), ModelError> {
        if self.node.outputs.is_empty() {
            return Err(ModelError::Node { node: self.node.label(), problem: "it has no output".into() });
        }
        let output = self.quantize_output(scale, zero_point)?;
        let mut node = Node::new(op_type, &self.node.name, &[], &[&output]);
        node.inputs = inputs;
        node.attributes.clone_from(&self.node.attributes);
        self.insert_before_last(node);
        Ok(())
    }
}
