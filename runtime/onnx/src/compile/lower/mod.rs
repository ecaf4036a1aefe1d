//! From nodes to steps.

mod arrange;
mod attention;
mod binary;
mod cache;
mod compare;
mod compressed;
mod conv;
mod conv_i16;
mod conv_transpose;
mod distrust;
mod dynamic;
mod factors;
mod function;
mod host;
mod layer_norm;
mod logic;
mod matmul;
mod movement;
mod pad;
mod pool;
mod ports;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod roi_align;
mod select;
mod shape;
mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use cygnet_core::plan::{DType, TensorId};

use super::builder::Builder;
use super::compress::Allowed;
use super::recognise::{CACHE, DOMAIN};
use super::{CompileError, Options};
use crate::model::{self, Model, Node, Tensor};
use crate::reference;
pub(super) use value::{Constant, Held, Kind, Val, Value};

/// Why a node did not become native steps.
pub(super) enum Stop {
    /// There is no step for this form of the operator: the fallback may run it.
    NoStep(String),
    /// The model is wrong.
    Wrong(String),
    /// Anything else.
    Error(CompileError),
}

impl From<CompileError> for Stop {
    fn from(error: CompileError) -> Self {
        Self::Error(error)
    }
}

impl From<model::ModelError> for Stop {
    fn from(error: model::ModelError) -> Self {
        Self::Wrong(error.to_string())
    }
}

pub(super) type Lowered<T = ()> = Result<T, Stop>;

/// «There is no step for that.»
pub(super) fn no_step<T>(reason: impl Into<String>) -> Lowered<T> {
    Err(Stop::NoStep(reason.into()))
}

/// «The model is wrong.»
pub(super) fn wrong<T>(problem: impl Into<String>) -> Lowered<T> {
    Err(Stop::Wrong(problem.into()))
}

/// Everything known on the way.
pub(super) struct Lowering<'m> {
    model: &'m Model,
    options: &'m Options,
    /// Forms that weights may be stored in.
    allowed: Allowed,
    builder: Builder,
    values: HashMap<String, Value>,
    /// Which nodes read a tensor.
    consumers: HashMap<String, Vec<usize>>,
    outputs: HashSet<&'m str>,
    /// Nodes that became part of an earlier step.
    done: Vec<bool>,
    /// What QuantizeDynamic steps have made of tensors: levels, and their parameters.
    dynamic: HashMap<TensorId, (TensorId, TensorId)>,
    /// Whether only constants are wanted: what falls back here need not do so in the end.
    rehearses: bool,
}

/// Lowers all nodes of a model.
pub(super) fn lower(model: &Model, options: &Options) -> Result<Builder, CompileError> {
    let mut state = Lowering::new(model, options)?;
    for (index, node) in model.nodes.iter().enumerate() {
        if !state.done[index] {
            state.node(node)?;
        }
    }
    for (index, output) in model.outputs.iter().enumerate() {
        state.output(index, &output.name)?;
    }
    Ok(state.builder)
}

/// What nodes make that follows from constants and shapes alone.
pub(super) fn constants(model: &Model, options: &Options) -> Result<BTreeMap<String, Tensor>, CompileError> {
    let options = Options { fallback: true, ..options.clone() };
    let mut state = Lowering::new(model, &options)?;
    state.rehearses = true;
    for (index, node) in model.nodes.iter().enumerate() {
        if !state.done[index] {
            state.node(node)?;
        }
    }
    let plain = |name: &String| match state.values.get(name) {
        Some(Value::Constant(constant)) if constant.quantization.is_none() => {
            Some((name.clone(), constant.tensor.clone()))
        }
        _ => None,
    };
    Ok(model.nodes.iter().flat_map(|node| &node.outputs).filter_map(plain).collect())
}

/// The first `If`, by its position, whose condition follows from shapes and constants, and what it is; not one of those
/// in `but`, by label.
pub(super) fn first_branch(
    model: &Model,
    options: &Options,
    but: &BTreeSet<String>,
) -> Result<Option<(usize, bool)>, CompileError> {
    let open = |node: &Node| node.is("If") && !but.contains(&node.label());
    let Some(last) = model.nodes.iter().rposition(open) else { return Ok(None) };
    let mut state = Lowering::new(model, options)?;
    for (index, node) in model.nodes[..=last].iter().enumerate() {
        if open(node)
            && let Some(Value::Constant(condition)) = node.input(0).and_then(|name| state.values.get(name))
        {
            return Ok(Some((index, condition.tensor.data.iter().any(|&byte| byte != 0))));
        }
        if !state.done[index] {
            state.node(node)?;
        }
    }
    Ok(None)
}

/// The type of plan tensors that hold an ONNX type as it is.
pub(super) fn plan_type(dtype: model::DType) -> Option<DType> {
    Some(match dtype {
        model::DType::F32 => DType::F32,
        model::DType::I8 => DType::I8,
        model::DType::U8 => DType::U8,
        model::DType::I16 => DType::I16,
        model::DType::I32 => DType::I32,
        model::DType::I64 => DType::I64,
        model::DType::Bool => DType::Bool,
        model::DType::U16 => DType::U16,
        model::DType::U32 => DType::U32,
        model::DType::U64 => DType::U64,
        model::DType::F16 => DType::F16,
        model::DType::F64 => DType::F64,
        _ => return None,
    })
}

impl<'m> Lowering<'m> {
    /// With the model's constants and inputs.
    fn new(model: &'m Model, options: &'m Options) -> Result<Self, CompileError> {
        let mut consumers: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, node) in model.nodes.iter().enumerate() {
            // Subgraphs read tensors of the graph around them too.
            for input in node.inputs.iter().cloned().chain(node.captures()).filter(|name| !name.is_empty()) {
                consumers.entry(input).or_default().push(index);
            }
        }
        let mut state = Lowering {
            model,
            options,
            allowed: Allowed::of(options.compress, model),
            builder: Builder::default(),
            values: HashMap::new(),
            consumers,
            outputs: model.outputs.iter().map(|output| output.name.as_str()).collect(),
            done: vec![false; model.nodes.len()],
            dynamic: HashMap::new(),
            rehearses: false,
        };
        let card = super::card(model, options)?;
        state.builder.states = super::states(model, card.as_ref().and_then(|card| card.states.as_ref()))?;
        state.builder.states.extend(cache::pairs(model));
        for (name, tensor) in &model.initializers {
            state.values.insert(name.clone(), Value::Constant(Rc::new(Constant::plain(tensor.clone()))));
        }
        for (index, input) in model.inputs.iter().enumerate() {
            state.input(index, input).map_err(|stop| {
                let problem = match stop {
                    Stop::NoStep(text) | Stop::Wrong(text) => text,
                    Stop::Error(error) => error.to_string(),
                };
                CompileError::Input { input: input.name.clone(), problem }
            })?;
        }
        Ok(state)
    }

    /// Lowers one node: folded, native, or by the fallback.
    fn node(&mut self, node: &'m Node) -> Result<(), CompileError> {
        let at_node =
            |problem: String| CompileError::Node { node: node.label(), op_type: node.op_type.clone(), problem };
        let result = self.fold(node).and_then(|folded| if folded { Ok(()) } else { self.operator(node) });
        match result {
            Ok(()) => Ok(()),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Wrong(problem)) => Err(at_node(problem)),
            Err(Stop::NoStep(reason)) if self.options.fallback => self.host(node, &reason).map_err(|stop| match stop {
                Stop::Error(error) => error,
                Stop::NoStep(problem) | Stop::Wrong(problem) => at_node(problem),
            }),
            Err(Stop::NoStep(reason)) => Err(at_node(format!("{reason}, and the fallback is not allowed here"))),
        }
    }

    /// Computes a node whose inputs are all constants.
    fn fold(&mut self, node: &Node) -> Lowered<bool> {
        if node.op_type == "Shape" && node.is("Shape") {
            let name = node.input(0).unwrap_or("");
            let shape: Vec<i64> = match self.values.get(name) {
                Some(Value::Constant(constant)) => constant.tensor.shape.iter().map(|&d| d as i64).collect(),
                Some(Value::Val(val)) => val.layout.shape.iter().map(|&d| d as i64).collect(),
                None => return wrong(format!("its input \"{name}\" is not there")),
            };
            let rank = shape.len() as i64;
            let bound = |value: i64| (if value < 0 { value + rank } else { value }).clamp(0, rank) as usize;
            let (start, end) = (bound(node.int("start").unwrap_or(0)), bound(node.int("end").unwrap_or(rank)));
            let part = &shape[start..end.max(start)];
            self.bind_constant(node, 0, Tensor::from_i64(vec![part.len()], part));
            return Ok(true);
        }
        let mut inputs = Vec::new();
        for name in node.inputs.iter().filter(|name| !name.is_empty()) {
            match self.values.get(name) {
                Some(Value::Constant(constant)) => inputs.push((name.as_str(), constant.clone())),
                _ => return Ok(false),
            }
        }
        if matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear") && node.domain.is_empty() {
            return self.fold_quantization(node).map(|()| true);
        }
        // The reference has none of the third.
        if node.op_type.starts_with("Random") || !node.captures().is_empty() || node.is("RoiAlign") {
            return Ok(false);
        }
        if let ([(_, x)], Some((function, alpha, beta))) = (&inputs[..], self.unary_function(node)?)
            && x.tensor.dtype == model::DType::F32
        {
            // The same function as in a step.
            let values: Vec<f32> = x.to_f32s()?.iter().map(|&x| function.apply(x, alpha, beta)).collect();
            self.bind_constant(node, 0, Tensor::from_f32(x.tensor.shape.clone(), &values));
            return Ok(true);
        }
        let is_infinite = |x: &Constant| x.to_f32s().is_ok_and(|values| values.iter().any(|value| value.is_infinite()));
        if ["ReduceMax", "ReduceMin"].iter().any(|op| node.is(op)) && inputs.iter().any(|(_, x)| is_infinite(x)) {
            // tract takes the greatest finite number for infinity there.
            return Ok(false);
        }
        if let Some(form) = distrust::distrusted(node, &self.constants_of(&inputs)) {
            return wrong(format!(
                "{} {form} cannot be computed beforehand; write it with other operators",
                node.op_type
            ));
        }
        Self::check_axis(node, inputs.first().map_or(0, |(_, constant)| constant.tensor.shape.len()))?;
        let plain: Vec<(&str, Tensor)> =
            inputs.iter().map(|(name, constant)| Ok((*name, constant.to_plain()?))).collect::<Lowered<_>>()?;
        let borrowed: Vec<(&str, &Tensor)> = plain.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let results = reference::evaluate(node, &self.model.opsets, &borrowed)
            .map_err(|error| Stop::Wrong(format!("it cannot be computed beforehand: {error}")))?;
        let names = node.outputs.iter().filter(|name| !name.is_empty());
        for (name, tensor) in names.zip(results) {
            self.values.insert(name.clone(), Value::Constant(Rc::new(Constant::plain(tensor))));
        }
        Ok(true)
    }

    /// A model that knows these constants.
    fn constants_of(&self, inputs: &[(&str, Rc<Constant>)]) -> Model {
        let named = inputs.iter().map(|(name, constant)| (name.to_string(), constant.tensor.clone()));
        Model { initializers: named.collect(), ..Model::default() }
    }

    /// One native operator.
    fn operator(&mut self, node: &'m Node) -> Lowered {
        if node.domain == DOMAIN {
            return match node.op_type.as_str() {
                "LayerNorm" => self.layer_norm(node),
                "Attention" => self.attention(node),
                CACHE => self.cache(node),
                _ => self.matmul_dynamic(node),
            };
        }
        if node.domain == "com.microsoft" && node.op_type == "DynamicQuantizeMatMul" {
            return self.matmul_dynamic(node);
        }
        if !node.domain.is_empty() && node.domain != "ai.onnx" {
            // The few operators of other domains that are plain functions.
            if !(node.domain == "com.microsoft" && matches!(node.op_type.as_str(), "Gelu" | "FastGelu" | "QuickGelu")) {
                return no_step(format!("operators of the domain \"{}\" have no step", node.domain));
            }
        }
        match node.op_type.as_str() {
            "QuantizeLinear" => self.quantize(node),
            "DequantizeLinear" => self.dequantize(node),
            "Conv" => self.conv(node),
            "ConvTranspose" => self.conv_transpose(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" | "Max" | "Min" | "Sum" | "Mean" => self.binary(node),
            "BatchNormalization" => self.batch_normalization(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin"
            | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare" => self.reduce(node),
            "ArgMax" | "ArgMin" => self.arg_max(node),
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "Concat" => self.concat(node),
            "Split" => self.split(node),
            "Slice" => self.slice(node),
            "Pad" => self.pad(node),
            "Gather" => self.gather(node),
            "Expand" => self.expand(node),
            "Tile" => self.tile(node),
            "Transpose" => self.transpose(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "DepthToSpace" | "SpaceToDepth" => self.depth_space(node),
            "Resize" | "Upsample" => self.resize(node),
            "RoiAlign" => self.roi_align(node),
            "Dropout" if self.dropout_trains(node)? => no_step("training mode and the mask of Dropout have no step"),
            "Identity" | "Dropout" => {
                let value = self.value(node, 0)?;
                self.bind_value(node, 0, value);
                Ok(())
            }
            "Cast" => self.cast(node),
            "LSTM" | "GRU" | "RNN" => self.recurrent(node),
            "Where" => self.select(node),
            "Not" | "And" | "Or" => self.logic(node),
            "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Xor" => self.compare(node),
            _ => self.function(node),
        }
    }

    // ---- values ----

    /// Whether a Dropout does more than pass its input on.
    fn dropout_trains(&self, node: &Node) -> Lowered<bool> {
        let mask = node.output(1).is_some_and(|name| self.consumers.contains_key(name) || self.outputs.contains(name));
        let training = match self.constant(node, 2)? {
            Some(mode) => mode.tensor.as_scalar_i64().unwrap_or(0) != 0,
            None => false,
        };
        let ratio = match self.constant(node, 1)? {
            Some(ratio) => ratio.scalar()?,
            None => node.float("ratio").unwrap_or(0.5),
        };
        if training && ratio != 0.0 {
            return wrong("its training_mode is true, and nothing is trained here; export the model for inference");
        }
        Ok(mask || training)
    }

    /// A name like `base` that no tensor of the model has.
    fn fresh(&self, base: &str) -> String {
        let taken = |name: &str| {
            self.values.contains_key(name) || self.consumers.contains_key(name) || self.outputs.contains(name)
        };
        let mut name = base.to_string();
        while taken(&name) {
            name.push('\'');
        }
        name
    }

    /// The value of an input of a node.
    fn value(&self, node: &Node, index: usize) -> Lowered<Value> {
        let Some(name) = node.input(index) else { return wrong(format!("its input {index} is missing")) };
        match self.values.get(name) {
            Some(value) => Ok(value.clone()),
            None => wrong(format!("its input \"{name}\" is not there")),
        }
    }

    /// The constant that an input of a node is; `None` where the input is absent.
    fn constant(&self, node: &Node, index: usize) -> Lowered<Option<Rc<Constant>>> {
        match node.input(index) {
            None => Ok(None),
            Some(name) => match self.values.get(name) {
                Some(Value::Constant(constant)) => Ok(Some(constant.clone())),
                Some(Value::Val(_)) => no_step(format!("\"{name}\" must be a constant")),
                None => wrong(format!("its input \"{name}\" is not there")),
            },
        }
    }

    /// The whole numbers that an attribute or a constant input gives.
    fn ints(&self, node: &Node, attribute: &str, index: usize) -> Lowered<Option<Vec<i64>>> {
        if let Some(values) = node.ints(attribute) {
            return Ok(Some(values.to_vec()));
        }
        match self.constant(node, index)? {
            Some(constant) => Ok(Some(constant.tensor.to_i64s()?)),
            None => Ok(None),
        }
    }

    /// An axis counted from the front.
    fn axis(axis: i64, rank: usize) -> Lowered<usize> {
        let counted = if axis < 0 { axis + rank as i64 } else { axis };
        if (0..rank as i64).contains(&counted) {
            Ok(counted as usize)
        } else {
            wrong(format!("axis {axis} does not exist in a tensor of {rank} axes"))
        }
    }

    /// The tensor of a name, constants copied into the arena.
    fn any(&mut self, name: &str) -> Lowered<Val> {
        match self.values.get(name).cloned() {
            Some(Value::Val(val)) => Ok(val),
            Some(Value::Constant(constant)) => self.materialize(&constant, name),
            None => wrong(format!("tensor \"{name}\" is not there")),
        }
    }

    /// An input of a node as a tensor.
    fn tensor(&mut self, node: &Node, index: usize) -> Lowered<Val> {
        match node.input(index) {
            Some(name) => self.any(name),
            None => wrong(format!("its input {index} is missing")),
        }
    }

    /// An input of a node as a float32 tensor.
    fn float_tensor(&mut self, node: &Node, index: usize) -> Lowered<Val> {
        let val = self.tensor(node, index)?;
        self.float(val)
    }

    /// Binds an output of a node.
    fn bind_value(&mut self, node: &Node, index: usize, value: Value) {
        if let Some(name) = node.output(index) {
            self.values.insert(name.to_string(), value);
        }
    }

    fn bind(&mut self, node: &Node, index: usize, val: Val) {
        self.bind_value(node, index, Value::Val(val));
    }

    fn bind_constant(&mut self, node: &Node, index: usize, tensor: Tensor) {
        self.bind_value(node, index, Value::Constant(Rc::new(Constant::plain(tensor))));
    }
}

/// `0..rank`.
pub(super) fn identity(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

/// Strides of a dense row-major array.
pub(super) fn dense(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}
