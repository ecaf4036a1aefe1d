//! QuantizeLinear, DequantizeLinear, and the way between int8 and float.

use std::rc::Rc;

use cygnet_core::math::Function;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{Dequantize, Quantize, Step, Table};
use cygnet_core::quantization;

use super::value::ConstantQuantization;
use super::{Constant, Kind, Lowered, Lowering, Val, Value, no_step, wrong};
use crate::model::{self, Node, Tensor};

/// Where the result of an operator goes when it is quantized at once.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The tensors that QuantizeLinear nodes make of it.
    pub names: Vec<String>,
    pub scale: f32,
    pub zero_point: i32,
    /// Limits of stored values, from Relu and Clip on the way.
    pub low: i32,
    pub high: i32,
    pub unsigned: bool,
    /// Nodes that become part of the step.
    nodes: Vec<usize>,
}

/// A Relu or Clip that follows an operator.
pub(super) struct Clamp {
    pub low: f32,
    pub high: f32,
}

impl Lowering<'_> {
    /// Scale and zero point (as int8) of a QuantizeLinear or DequantizeLinear with one of each.
    fn parameters(&self, node: &Node) -> Lowered<(f32, i32, bool)> {
        let Some(scale) = self.constant(node, 1)? else { return wrong("its scale is missing") };
        let scales = scale.tensor.to_f32s()?;
        let [scale] = scales[..] else { return no_step("activations with a scale per channel have no step") };
        if !(scale.is_finite() && scale > 0.0) {
            return wrong(format!("its scale {scale} is not a positive number"));
        }
        let (zero_point, unsigned) = match self.constant(node, 2)? {
            Some(zero) => {
                let unsigned = match zero.tensor.dtype {
                    model::DType::U8 => true,
                    model::DType::I8 => false,
                    other => return no_step(format!("quantization to {other} has no step")),
                };
                (zero.tensor.as_scalar_i64().unwrap_or(0) as i32, unsigned)
            }
            None => (0, output_type(node)? == model::DType::U8),
        };
        Ok((scale, if unsigned { zero_point - 128 } else { zero_point }, unsigned))
    }

    /// The one quantization of a float model input: all that reads it is QuantizeLinear with the same parameters.
    pub(super) fn common_quantization(&self, name: &str) -> Lowered<Option<(f32, i32)>> {
        let nodes = self.consumers.get(name).map_or(&[][..], Vec::as_slice);
        if nodes.is_empty() || self.outputs.contains(name) {
            return Ok(None);
        }
        let mut common = None;
        for &index in nodes {
            let node = &self.model.nodes[index];
            if !node.is("QuantizeLinear") || node.input(0) != Some(name) {
                return Ok(None);
            }
            let Ok((scale, zero_point, _)) = self.parameters(node) else { return Ok(None) };
            if common.is_some_and(|known| known != (scale, zero_point)) {
                return Ok(None);
            }
            common = Some((scale, zero_point));
        }
        Ok(common)
    }

    /// Follows the result `name` of an operator through Relu and Clip to QuantizeLinear, when nothing
    /// else reads anything on the way.
    pub(super) fn target(&self, name: &str) -> Option<Target> {
        let mut name = name;
        let mut clamps: Vec<(f32, f32)> = Vec::new();
        let mut passed = Vec::new();
        loop {
            if self.outputs.contains(name) {
                return None;
            }
            let consumers = self.consumers.get(name)?;
            let first = &self.model.nodes[*consumers.first()?];
            if first.is("QuantizeLinear") {
                let (scale, zero_point, unsigned) = self.parameters(first).ok()?;
                let mut names = Vec::new();
                for &index in consumers {
                    let node = &self.model.nodes[index];
                    if !node.is("QuantizeLinear") || self.parameters(node).ok()? != (scale, zero_point, unsigned) {
                        return None;
                    }
                    names.push(node.output(0)?.to_string());
                    passed.push(index);
                }
                let store = |value: f32| i32::from(quantization::quantize(value, scale, zero_point));
                let (mut low, mut high) = (-128, 127);
                for (least, greatest) in clamps.into_iter().map(|(low, high)| (store(low), store(high))) {
                    (low, high) = (low.clamp(least, greatest), high.clamp(least, greatest));
                }
                return Some(Target { names, scale, zero_point, low, high, unsigned, nodes: passed });
            }
            let [only] = consumers[..] else { return None };
            let clamp = self.clamp_of(first)?;
            clamps.push((clamp.low, clamp.high));
            passed.push(only);
            name = first.output(0)?;
        }
    }

    /// The limits that a Relu or Clip node sets.
    pub(super) fn clamp_of(&self, node: &Node) -> Option<Clamp> {
        let (function, low, high) = self.unary_function(node).ok()??;
        (function == Function::Clip && !low.is_nan() && !high.is_nan() && low <= high).then_some(Clamp { low, high })
    }

    /// A Relu or Clip that alone reads a float result: its limits and its output, the node being done with.
    pub(super) fn take_clamp(&mut self, name: &str) -> Option<(Clamp, String)> {
        if self.outputs.contains(name) {
            return None;
        }
        let [index] = self.consumers.get(name)?[..] else { return None };
        let node = &self.model.nodes[index];
        let clamp = self.clamp_of(node)?;
        self.done[index] = true;
        Some((clamp, node.output(0)?.to_string()))
    }

    /// Binds an int8 result to the names that wait for it.
    pub(super) fn bind_target(&mut self, target: &Target, val: &Val) {
        for &node in &target.nodes {
            self.done[node] = true;
        }
        for name in &target.names {
            let kind = Kind::Stored { unsigned: target.unsigned };
            self.values.insert(name.clone(), Value::Val(Val { kind, ..val.clone() }));
        }
    }

    /// QuantizeLinear that no operator took along.
    pub(super) fn quantize(&mut self, node: &Node) -> Lowered {
        let (scale, zero_point, unsigned) = self.parameters(node)?;
        if node.int("axis").is_some() && node.int("block_size").unwrap_or(0) != 0 {
            return no_step("blocked quantization has no step");
        }
        let val = self.tensor(node, 0)?;
        let name = node.output(0).unwrap_or("");
        let kind = Kind::Stored { unsigned };
        let draft = self.builder.draft(val.tensor).clone();
        match &val.kind {
            Kind::Quantized { table: None } if draft.quantization == Some((scale, zero_point)) => {
                self.bind(node, 0, Val { kind, ..val });
                Ok(())
            }
            Kind::Quantized { table } => {
                let values = table.clone().unwrap_or_else(|| Rc::new(dequantized(draft.quantization)));
                let bytes =
                    values.iter().map(|&value| quantization::quantize(value, scale, zero_point).cast_unsigned());
                let table = self.builder.constant(bytes.collect());
                let y = self.builder.tensor(DType::I8, draft.shape, Some((scale, zero_point)), name);
                self.builder.step(Step::Table(Table { x: val.tensor, y, table }), &node.label());
                self.bind(node, 0, Val { tensor: y, kind, ..val });
                Ok(())
            }
            Kind::Float => {
                let y = self.builder.tensor(DType::I8, draft.shape, Some((scale, zero_point)), name);
                self.builder.step(Step::Quantize(Quantize { x: val.tensor, y }), &node.label());
                self.bind(node, 0, Val { tensor: y, kind, ..val });
                Ok(())
            }
            Kind::Stored { .. } | Kind::Plain => no_step("it quantizes whole numbers"),
        }
    }

    /// DequantizeLinear: the elements stay as they are until somebody needs them in float.
    pub(super) fn dequantize(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let Kind::Stored { unsigned } = val.kind else { return no_step("it dequantizes other than 8-bit numbers") };
        let Some(scale) = self.constant(node, 1)? else { return wrong("its scale is missing") };
        let Ok([scale]) = <[f32; 1]>::try_from(scale.tensor.to_f32s()?) else {
            return no_step("activations with a scale per channel have no step");
        };
        let zero_point = match self.constant(node, 2)? {
            Some(zero) => zero.tensor.as_scalar_i64().unwrap_or(0) as i32,
            None => 0,
        };
        let zero_point = if unsigned { zero_point - 128 } else { zero_point };
        if !(scale.is_finite() && scale > 0.0 && (-128..=127).contains(&zero_point)) {
            return wrong(format!("its scale {scale} or zero point is not usable"));
        }
        let wanted = Some((scale, zero_point));
        let known = self.builder.draft(val.tensor).quantization;
        let kind = Kind::Quantized { table: None };
        if known.is_none() {
            self.builder.tensors[val.tensor.0 as usize].quantization = wanted;
        } else if known != wanted {
            // The same stored numbers read with another scale: another tensor.
            let draft = self.builder.draft(val.tensor).clone();
            let y = self.builder.tensor(DType::I8, draft.shape, wanted, &draft.name);
            let table = self.builder.constant((0..=255_u8).map(|index| index ^ 0x80).collect());
            self.builder.step(Step::Table(Table { x: val.tensor, y, table }), &node.label());
            self.bind(node, 0, Val { tensor: y, layout: val.layout, kind });
            return Ok(());
        }
        self.bind(node, 0, Val { kind, ..val });
        Ok(())
    }

    /// QuantizeLinear and DequantizeLinear of constants.
    pub(super) fn fold_quantization(&mut self, node: &Node) -> Lowered {
        let Value::Constant(x) = self.value(node, 0)? else { return wrong("its input is not constant") };
        let Some(scale) = self.constant(node, 1)? else { return wrong("its scale is missing") };
        let scales = scale.tensor.to_f32s()?;
        let zero = self.constant(node, 2)?;
        let count = scales.len();
        let zero_points: Vec<i32> = match &zero {
            Some(zero) => zero.tensor.to_i64s()?.iter().map(|&value| value as i32).collect(),
            None => vec![0; count],
        };
        let rank = x.tensor.shape.len();
        let block = node.int("block_size").unwrap_or(0).max(0) as usize;
        let axis = if count == 1 && block == 0 { 0 } else { Self::axis(node.int("axis").unwrap_or(1), rank)? };
        let fits = if block > 0 {
            let mut blocks = x.tensor.shape.clone();
            blocks[axis] = blocks[axis].div_ceil(block);
            scale.tensor.shape == blocks
        } else {
            count == 1 || x.tensor.shape[axis] == count
        };
        if zero_points.len() != count || !fits {
            return wrong("its scales and zero points do not fit the tensor");
        }
        if x.tensor.is_empty() {
            return no_step("quantization of nothing has no step");
        }
        if node.op_type == "DequantizeLinear" {
            let quantization = Some(ConstantQuantization { scales, zero_points, axis, block });
            let constant = Constant { tensor: x.tensor.clone(), quantization }.in_8_bits()?;
            self.bind_value(node, 0, Value::Constant(Rc::new(constant)));
            return Ok(());
        }
        if block > 0 {
            return no_step("blocked quantization of a constant has no step");
        }
        let dtype = match zero {
            Some(zero) => zero.tensor.dtype,
            None => output_type(node)?,
        };
        let (low, high) = match dtype {
            model::DType::U8 => (0, 255),
            model::DType::I8 => (-128, 127),
            other => return no_step(format!("quantization to {other} has no step")),
        };
        let inner: usize = x.tensor.shape[(axis + 1).min(rank)..].iter().product();
        let real = x.to_f32s()?;
        let bytes = real.iter().enumerate().map(|(index, &value)| {
            let channel = if count == 1 { 0 } else { index / inner % count };
            let stored = cygnet_core::math::round((value / scales[channel]).clamp(-65536.0, 65536.0)) as i32;
            (stored + zero_points[channel]).clamp(low, high) as u8
        });
        let tensor = Tensor { dtype, shape: x.tensor.shape.clone(), data: bytes.collect() };
        self.bind_constant(node, 0, tensor);
        Ok(())
    }

    /// A real value in float32.
    pub(super) fn float(&mut self, val: Val) -> Lowered<Val> {
        let draft = self.builder.draft(val.tensor).clone();
        match &val.kind {
            Kind::Float => Ok(val),
            Kind::Quantized { table } => {
                let y = self.builder.tensor(DType::F32, draft.shape, None, &draft.name);
                let step = match table {
                    None => Step::Dequantize(Dequantize { x: val.tensor, y }),
                    Some(values) => {
                        let table = self.builder.constant_f32(&values[..]);
                        Step::Table(Table { x: val.tensor, y, table })
                    }
                };
                self.builder.step(step, &draft.name);
                Ok(Val { tensor: y, layout: val.layout, kind: Kind::Float })
            }
            Kind::Stored { .. } | Kind::Plain => no_step("float operators of whole numbers have no step"),
        }
    }

    /// The 256 real values of a quantized tensor.
    pub(super) fn real_table(&self, val: &Val) -> Option<[f32; 256]> {
        match &val.kind {
            Kind::Quantized { table: Some(values) } => Some(**values),
            Kind::Quantized { table: None } => Some(dequantized(self.builder.draft(val.tensor).quantization)),
            _ => None,
        }
    }

    /// Scale and zero point of a quantized tensor.
    pub(super) fn quantization(&self, val: &Val) -> (f32, i32) {
        self.builder.draft(val.tensor).quantization.unwrap_or((1.0, 0))
    }
}

/// The type that a QuantizeLinear without zero point makes.
fn output_type(node: &Node) -> Lowered<model::DType> {
    // TensorProto.DataType; 0 stands for «not told».
    match node.int("output_dtype").unwrap_or(0) {
        0 | 2 => Ok(model::DType::U8),
        3 => Ok(model::DType::I8),
        other => no_step(format!("quantization to ONNX element type {other} has no step")),
    }
}

/// The real value of each stored one, -128 first.
fn dequantized(quantization: Option<(f32, i32)>) -> [f32; 256] {
    let (scale, zero_point) = quantization.unwrap_or((1.0, 0));
    std::array::from_fn(|index| quantization::dequantize((index as i32 - 128) as i8, scale, zero_point))
}
