//! QuantizeLinear, DequantizeLinear, and the ways between int8, int16 and float.

use std::rc::Rc;

use cygnet_core::bytes::Span;
use cygnet_core::math::Function;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{Dequantize, Quantize, Requantize, Step, Table};
use cygnet_core::quantization::{self, Stored};

use super::value::ConstantQuantization;
use super::{Constant, Held, Kind, Lowered, Lowering, Val, Value, no_step, wrong};
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
    pub held: Held,
    /// Nodes that become part of the step.
    nodes: Vec<usize>,
}

impl Target {
    /// Whether no Relu or Clip cuts off more than the type does.
    pub fn is_whole(&self) -> bool {
        (self.low, self.high) == self.held.range()
    }
}

/// Scale and zero point (as the plan holds it) of a QuantizeLinear, and what it makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parameters {
    pub scale: f32,
    pub zero_point: i32,
    pub held: Held,
}

/// Whether the sum of `count` elements, zero points taken off, fits 32 bits.
pub(super) fn sums_fit(held: Held, count: usize) -> bool {
    let (low, high) = held.range();
    count.saturating_mul((high - low).unsigned_abs() as usize) < 1 << 31
}

/// A Relu or Clip that follows an operator.
pub(super) struct Clamp {
    pub low: f32,
    pub high: f32,
}

impl Lowering<'_> {
    /// Of a QuantizeLinear with one scale and zero point.
    fn parameters(&self, node: &Node) -> Lowered<Parameters> {
        let Some(scale) = self.constant(node, 1)? else { return wrong("its scale is missing") };
        let scales = scale.tensor.to_f32s()?;
        let [scale] = scales[..] else { return no_step("activations with a scale per channel have no step") };
        if !(scale.is_finite() && scale > 0.0) {
            return wrong(format!("its scale {scale} is not a positive number"));
        }
        let (zero_point, dtype) = match self.constant(node, 2)? {
            Some(zero) => (zero.tensor.as_scalar_i64().unwrap_or(0) as i32, zero.tensor.dtype),
            None => (0, output_type(node)?),
        };
        let held = match dtype {
            model::DType::U8 => Held::U8,
            model::DType::I8 => Held::I8,
            model::DType::I16 => Held::I16,
            other => return no_step(format!("quantization to {other} has no step")),
        };
        Ok(Parameters { scale, zero_point: zero_point - held.shift(), held })
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
            let Ok(Parameters { scale, zero_point, held }) = self.parameters(node) else { return Ok(None) };
            if held == Held::I16 {
                // Whoever feeds the input knows int8 and float32.
                return Ok(None);
            }
            if common.is_some_and(|known| known != (scale, zero_point)) {
                return Ok(None);
            }
            common = Some((scale, zero_point));
        }
        Ok(common)
    }

    /// Whether a DequantizeLinear reads 8-bit levels of this scale and zero point.
    pub(super) fn is_of_levels(&self, node: &Node, levels: (f32, i32)) -> bool {
        let found = self.parameters(node);
        found.is_ok_and(|found| found.held != Held::I16 && (found.scale, found.zero_point) == levels)
    }

    /// A real value as int8 of this scale and zero point.
    pub(super) fn as_levels(&mut self, val: Val, levels: Option<(f32, i32)>, name: &str) -> Lowered<Val> {
        let Some((scale, zero_point)) = levels else { return wrong("its levels have no scale") };
        if val.is_quantized() && self.builder.draft(val.tensor).quantization == levels {
            return Ok(val);
        }
        let val = self.quantized(val, Parameters { scale, zero_point, held: Held::I8 }, name, name)?;
        Ok(Val { kind: Kind::Quantized { table: None }, ..val })
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
                let parameters = self.parameters(first).ok()?;
                let Parameters { scale, zero_point, held } = parameters;
                let mut names = Vec::new();
                for &index in consumers {
                    let node = &self.model.nodes[index];
                    if !node.is("QuantizeLinear") || self.parameters(node).ok()? != parameters {
                        return None;
                    }
                    names.push(node.output(0)?.to_string());
                    passed.push(index);
                }
                let store = |value: f32| stored(value, parameters);
                let (mut low, mut high) = held.range();
                for (least, greatest) in clamps.into_iter().map(|(low, high)| (store(low), store(high))) {
                    (low, high) = (low.clamp(least, greatest), high.clamp(least, greatest));
                }
                return Some(Target { names, scale, zero_point, low, high, held, nodes: passed });
            }
            let [only] = consumers[..] else { return None };
            let clamp = self.clamp_of(first)?;
            clamps.push((clamp.low, clamp.high));
            passed.push(only);
            name = first.output(0)?;
        }
    }

    /// [`Self::target`] of an operator on `x`, where both are plain int8, or both int16.
    pub(super) fn target_like(&self, x: &Val, name: &str) -> Option<Target> {
        let dtype = self.builder.draft(x.tensor).dtype;
        self.target(name).filter(|target| x.is_integer() && target.held.dtype() == dtype)
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
            let kind = Kind::Stored(target.held);
            self.values.insert(name.clone(), Value::Val(Val { kind, ..val.clone() }));
        }
    }

    /// QuantizeLinear that no operator took along.
    pub(super) fn quantize(&mut self, node: &Node) -> Lowered {
        let parameters = self.parameters(node)?;
        if node.int("axis").is_some() && node.int("block_size").unwrap_or(0) != 0 {
            return no_step("blocked quantization has no step");
        }
        let val = self.tensor(node, 0)?;
        let name = node.output(0).unwrap_or("");
        let val = self.quantized(val, parameters, name, &node.label())?;
        self.bind(node, 0, Val { kind: Kind::Stored(parameters.held), ..val });
        Ok(())
    }

    /// A real value as int8 or int16, dequantized again.
    pub(super) fn quantized(&mut self, val: Val, to: Parameters, name: &str, label: &str) -> Lowered<Val> {
        let draft = self.builder.draft(val.tensor).clone();
        let kind = if to.held == Held::I16 { Kind::Wide } else { Kind::Quantized { table: None } };
        let quantization = Some((to.scale, to.zero_point));
        if val.is_integer() && draft.quantization == quantization && draft.dtype == to.held.dtype() {
            return Ok(val);
        }
        let x = val.tensor;
        let y = self.builder.tensor(to.held.dtype(), draft.shape, quantization, name);
        let step = match &val.kind {
            Kind::Quantized { table } => {
                let values = table.clone().unwrap_or_else(|| Rc::new(dequantized(draft.quantization)));
                let stored = values.iter().map(|&value| stored(value, to));
                let bytes = match to.held {
                    Held::I16 => stored.flat_map(|value| (value as i16).to_le_bytes()).collect(),
                    _ => stored.map(|value| (value as i8).cast_unsigned()).collect(),
                };
                Step::Table(Table { x, y, table: self.builder.constant(bytes) })
            }
            Kind::Wide => {
                let multiplier = draft.quantization.map_or(1.0, |(scale, _)| scale) / to.scale;
                if !multiplier.is_finite() {
                    return wrong("a quotient of its scales is not a finite number");
                }
                Step::Requantize(Requantize { x, y, multiplier })
            }
            Kind::Float => Step::Quantize(Quantize { x, y }),
            Kind::Stored(_) | Kind::Plain => return no_step("it quantizes whole numbers"),
        };
        self.builder.step(step, label);
        Ok(Val { tensor: y, layout: val.layout, kind })
    }

    /// A plain int8 value as int16 of the same scale, exactly; int16 as it is.
    pub(super) fn widened(&mut self, val: &Val, label: &str) -> Lowered<Val> {
        let draft = self.builder.draft(val.tensor);
        let (scale, _) = draft.quantization.unwrap_or((1.0, 0));
        let to = Parameters { scale, zero_point: 0, held: Held::I16 };
        match val.kind {
            Kind::Wide => Ok(val.clone()),
            _ => {
                let name = draft.name.clone();
                self.quantized(val.clone(), to, &name, label)
            }
        }
    }

    /// DequantizeLinear: the elements stay as they are until somebody needs them in float.
    pub(super) fn dequantize(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let Kind::Stored(held) = val.kind else { return no_step("it dequantizes other than 8- and 16-bit numbers") };
        let Some(scale) = self.constant(node, 1)? else { return wrong("its scale is missing") };
        let Ok([scale]) = <[f32; 1]>::try_from(scale.tensor.to_f32s()?) else {
            return no_step("activations with a scale per channel have no step");
        };
        let zero_point = match self.constant(node, 2)? {
            Some(zero) => zero.tensor.as_scalar_i64().unwrap_or(0) as i32,
            None => 0,
        };
        let zero_point = zero_point - held.shift();
        let (low, high) = held.range();
        if !(scale.is_finite() && scale > 0.0 && (low..=high).contains(&zero_point)) {
            return wrong(format!("its scale {scale} or zero point is not usable"));
        }
        let wanted = Some((scale, zero_point));
        let known = self.builder.draft(val.tensor).quantization;
        let kind = if held == Held::I16 { Kind::Wide } else { Kind::Quantized { table: None } };
        if known.is_none() {
            self.builder.tensors[val.tensor.0 as usize].quantization = wanted;
        } else if known != wanted {
            // The same stored numbers read with another scale: another tensor.
            let draft = self.builder.draft(val.tensor).clone();
            let len = draft.shape.iter().product();
            let y = self.builder.tensor(draft.dtype, draft.shape, wanted, &draft.name);
            let label = node.label();
            self.copy(Some(val.tensor), Span::NONE, y, &[len], 0, &[1], 0, &[1], Span::NONE, &label)?;
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
            model::DType::I16 => (-32768, 32767),
            other => return no_step(format!("quantization to {other} has no step")),
        };
        let inner: usize = x.tensor.shape[(axis + 1).min(rank)..].iter().product();
        let real = x.to_f32s()?;
        let levels = real.iter().enumerate().map(|(index, &value)| {
            let channel = if count == 1 { 0 } else { index / inner % count };
            let stored = cygnet_core::math::round((value / scales[channel]).clamp(-65536.0, 65536.0)) as i32;
            (stored + zero_points[channel]).clamp(low, high)
        });
        let data = match dtype {
            model::DType::I16 => levels.flat_map(|level| (level as i16).to_le_bytes()).collect(),
            _ => levels.map(|level| level as u8).collect(),
        };
        let tensor = Tensor { dtype, shape: x.tensor.shape.clone(), data };
        self.bind_constant(node, 0, tensor);
        Ok(())
    }

    /// A real value in float32.
    pub(super) fn float(&mut self, val: Val) -> Lowered<Val> {
        let draft = self.builder.draft(val.tensor).clone();
        match &val.kind {
            Kind::Float => Ok(val),
            Kind::Wide => {
                let y = self.builder.tensor(DType::F32, draft.shape, None, &draft.name);
                self.builder.step(Step::Dequantize(Dequantize { x: val.tensor, y }), &draft.name);
                Ok(Val { tensor: y, layout: val.layout, kind: Kind::Float })
            }
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
            Kind::Stored(_) | Kind::Plain => no_step("float operators of whole numbers have no step"),
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
        5 => Ok(model::DType::I16),
        other => no_step(format!("quantization to ONNX element type {other} has no step")),
    }
}

/// The stored number of a real one.
fn stored(value: f32, Parameters { scale, zero_point, held }: Parameters) -> i32 {
    fn of<E: Stored>(value: f32, scale: f32, zero_point: i32) -> i32 {
        quantization::quantize::<E>(value, scale, zero_point).into()
    }
    let of = if held == Held::I16 { of::<i16> } else { of::<i8> };
    of(value, scale, zero_point)
}

/// The real value of each stored one, -128 first.
fn dequantized(quantization: Option<(f32, i32)>) -> [f32; 256] {
    let (scale, zero_point) = quantization.unwrap_or((1.0, 0));
    std::array::from_fn(|index| quantization::dequantize((index as i32 - 128) as i8, scale, zero_point))
}
