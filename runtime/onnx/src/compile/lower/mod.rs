//! From nodes to steps.

mod binary;
mod conv;
mod function;
mod host;
mod matmul;
mod movement;
mod pool;
mod quantize;
mod reduce;
mod resize;
mod value;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use cygnet_core::bytes::Span;
use cygnet_core::plan::step::{Copy, Step};
use cygnet_core::plan::{DType, MAX_RANK, TensorId};

use super::builder::{Builder, PortDraft};
use super::layout::Layout;
use super::{CompileError, Options};
use crate::model::{self, Dim, Model, Node, Tensor};
use crate::reference;
pub(super) use value::{Constant, Kind, Val, Value};

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
    builder: Builder,
    values: HashMap<String, Value>,
    /// Which nodes read a tensor.
    consumers: HashMap<&'m str, Vec<usize>>,
    outputs: HashSet<&'m str>,
    /// Nodes that became part of an earlier step.
    done: Vec<bool>,
}

/// Lowers all nodes of a model.
pub(super) fn lower(model: &Model, options: &Options) -> Result<Builder, CompileError> {
    let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, node) in model.nodes.iter().enumerate() {
        for input in node.inputs.iter().filter(|name| !name.is_empty()) {
            consumers.entry(input).or_default().push(index);
        }
    }
    let mut state = Lowering {
        model,
        options,
        builder: Builder::default(),
        values: HashMap::new(),
        consumers,
        outputs: model.outputs.iter().map(|output| output.name.as_str()).collect(),
        done: vec![false; model.nodes.len()],
    };
    for (name, tensor) in &model.initializers {
        state.values.insert(name.clone(), Value::Constant(Rc::new(Constant::plain(tensor.clone()))));
    }
    for input in &model.inputs {
        state.input(input).map_err(|stop| {
            let problem = match stop {
                Stop::NoStep(text) | Stop::Wrong(text) => text,
                Stop::Error(error) => error.to_string(),
            };
            CompileError::Input { input: input.name.clone(), problem }
        })?;
    }
    for (index, node) in model.nodes.iter().enumerate() {
        if !state.done[index] {
            state.node(node)?;
        }
    }
    for output in &model.outputs {
        state.output(&output.name)?;
    }
    Ok(state.builder)
}

/// The type of plan tensors that hold an ONNX type as it is.
pub(super) fn plan_type(dtype: model::DType) -> Option<DType> {
    Some(match dtype {
        model::DType::F32 => DType::F32,
        model::DType::I8 => DType::I8,
        model::DType::U8 => DType::U8,
        model::DType::I32 => DType::I32,
        model::DType::I64 => DType::I64,
        model::DType::Bool => DType::Bool,
        _ => return None,
    })
}

impl<'m> Lowering<'m> {
    /// Makes a model input.
    fn input(&mut self, input: &model::ValueInfo) -> Lowered {
        let Some(dims) = &input.shape else {
            return wrong("the model does not tell its shape; export it with one");
        };
        let mut shape = Vec::new();
        for (axis, dim) in dims.iter().enumerate() {
            shape.push(match dim {
                Dim::Known(extent) => *extent,
                Dim::Symbol(_) if axis == 0 => 1,
                Dim::Symbol(name) if self.is_batch(name) => 1,
                Dim::Symbol(name) => {
                    let name = if name.is_empty() { "without a name" } else { name };
                    return wrong(format!(
                        "axis {axis} ({name}) is open; export the model with a fixed size (only the batch may be open)"
                    ));
                }
            });
        }
        if shape.len() > MAX_RANK || shape.contains(&0) {
            return wrong(format!("the shape {shape:?} is not supported; at most {MAX_RANK} axes, none of them empty"));
        }
        Self::check_size(&shape)?;
        let Some(dtype) = plan_type(input.dtype) else {
            return wrong(format!("elements of type {} are not supported; export the model with float32", input.dtype));
        };
        let order = if self.wants_channels_last(&input.name) {
            Layout::channels_last_order(shape.len())
        } else {
            identity(shape.len())
        };
        let layout = Layout::ordered(&shape, &order);
        let extents: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let (stored, kind, quantization) = match dtype {
            DType::F32 => match self.common_quantization(&input.name)? {
                // Quantized by the caller's write: the QuantizeLinear nodes find it done.
                Some(quantization) => (DType::I8, Kind::Quantized { table: None }, Some(quantization)),
                None => (DType::F32, Kind::Float, None),
            },
            DType::I8 => (DType::I8, Kind::Stored { unsigned: false }, None),
            DType::U8 if self.is_quantized_use(&input.name) => (DType::I8, Kind::Stored { unsigned: true }, None),
            other => (other, Kind::Plain, None),
        };
        let tensor = self.builder.tensor(stored, extents, quantization, &input.name);
        self.values.insert(input.name.clone(), Value::Val(Val { tensor, layout, kind }));
        let port = PortDraft { tensor, dtype, shape, order, name: input.name.clone() };
        self.builder.inputs.push(port);
        Ok(())
    }

    /// Whether a symbol names the first axis of some input: the batch.
    fn is_batch(&self, symbol: &str) -> bool {
        !symbol.is_empty()
            && self
                .model
                .inputs
                .iter()
                .any(|input| matches!(input.shape.as_deref(), Some([Dim::Symbol(first), ..]) if first == symbol))
    }

    /// Whether the first operator that cares about the order of axes works on channels-last images.
    fn wants_channels_last(&self, name: &str) -> bool {
        let mut name = name;
        for _ in 0..16 {
            let Some(node) = self.consumers.get(name).and_then(|nodes| nodes.first()) else { return false };
            let node = &self.model.nodes[*node];
            match node.op_type.as_str() {
                "Conv" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "Resize" | "Upsample"
                | "BatchNormalization" => return true,
                "QuantizeLinear" | "DequantizeLinear" | "Relu" | "Clip" | "Add" | "Sub" | "Mul" | "Div" | "Pad"
                | "Cast" | "Identity" | "Sigmoid" => {}
                _ => return false,
            }
            let Some(output) = node.output(0) else { return false };
            name = output;
        }
        false
    }

    /// Whether all that reads an uint8 tensor treats it as quantized.
    fn is_quantized_use(&self, name: &str) -> bool {
        self.consumers.get(name).is_some_and(|nodes| {
            nodes.iter().all(|&node| {
                let op = self.model.nodes[node].op_type.as_str();
                matches!(
                    op,
                    "DequantizeLinear" | "Reshape" | "Transpose" | "MaxPool" | "Concat" | "Flatten" | "Squeeze"
                )
            })
        })
    }

    /// Makes a model output.
    fn output(&mut self, name: &str) -> Result<(), CompileError> {
        let wrap = |stop: Stop| match stop {
            Stop::NoStep(text) | Stop::Wrong(text) => CompileError::Model(format!("output \"{name}\": {text}")),
            Stop::Error(error) => error,
        };
        let mut val = self.any(name).map_err(wrap)?;
        if matches!(val.kind, Kind::Quantized { table: Some(_) }) {
            val = self.float(val).map_err(wrap)?;
        }
        let order = match val.layout.memory_order().filter(|order| order.len() <= MAX_RANK) {
            Some(order) => order,
            None => {
                val = self.ordered(&val, &identity(val.layout.shape.len())).map_err(wrap)?;
                identity(val.layout.shape.len())
            }
        };
        let dtype = match val.kind {
            Kind::Float | Kind::Quantized { .. } => DType::F32,
            Kind::Stored { unsigned: true } => DType::U8,
            Kind::Stored { unsigned: false } => DType::I8,
            Kind::Plain => self.builder.draft(val.tensor).dtype,
        };
        if val.layout.shape.len() > MAX_RANK {
            return Err(CompileError::Model(format!("output \"{name}\" has more than {MAX_RANK} axes")));
        }
        let port = PortDraft { tensor: val.tensor, dtype, shape: val.layout.shape.clone(), order, name: name.into() };
        self.builder.outputs.push(port);
        Ok(())
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
        if node.op_type.starts_with("Random") || !node.captures().is_empty() {
            return Ok(false);
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

    /// One native operator.
    fn operator(&mut self, node: &'m Node) -> Lowered {
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
            "Identity" | "Dropout" => {
                let value = self.value(node, 0)?;
                self.bind_value(node, 0, value);
                Ok(())
            }
            "Cast" => self.cast(node),
            _ => self.function(node),
        }
    }

    // ---- values ----

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

    /// A constant in the arena.
    fn materialize(&mut self, constant: &Constant, name: &str) -> Lowered<Val> {
        let plain = constant.to_plain()?;
        let Some(dtype) = plan_type(plain.dtype) else {
            return wrong(format!("constant \"{name}\" has elements of type {}", plain.dtype));
        };
        if plain.is_empty() {
            return no_step(format!("constant \"{name}\" is empty"));
        }
        let layout = Layout::row_major(&plain.shape);
        let tensor = self.builder.tensor(dtype, vec![plain.len()], None, name);
        let data = self.builder.constant(plain.data.clone());
        let mut dims = [1; MAX_RANK];
        dims[MAX_RANK - 1] = plain.len() as u32;
        let mut strides = [0; MAX_RANK];
        strides[MAX_RANK - 1] = 1;
        let step = Copy {
            x: None,
            constant: data,
            y: tensor,
            dims,
            x_offset: 0,
            x_strides: strides.map(|stride: u32| stride as i32),
            y_offset: 0,
            y_strides: strides,
            table: Span::NONE,
        };
        self.builder.step(Step::Copy(step), name);
        let kind = match dtype {
            DType::F32 => Kind::Float,
            DType::I8 => Kind::Stored { unsigned: false },
            _ => Kind::Plain,
        };
        Ok(Val { tensor, layout, kind })
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

    /// Refuses shapes whose tensors no plan could hold, before anything is computed for them.
    pub(super) fn check_size(shape: &[usize]) -> Lowered {
        let len = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        match len {
            Some(len) if len < 1 << 29 => Ok(()),
            _ => wrong(format!("a tensor of shape {shape:?} is too large")),
        }
    }

    /// A new tensor for an output of a node, in the given order of axes.
    fn new_tensor(&mut self, dtype: DType, layout: &Layout, quantization: Option<(f32, i32)>, name: &str) -> TensorId {
        let extents = match layout.memory_order().filter(|order| order.len() <= MAX_RANK) {
            Some(order) => order.iter().map(|&axis| layout.shape[axis]).collect(),
            None => {
                let extents = layout.memory_extents();
                if extents.len() <= MAX_RANK { extents } else { vec![layout.len()] }
            }
        };
        self.builder.tensor(dtype, extents, quantization, name)
    }

    /// The same elements with axes in another memory order: a copy where they are not.
    fn ordered(&mut self, val: &Val, order: &[usize]) -> Lowered<Val> {
        if val.layout.is_ordered(order) {
            return Ok(Val { layout: Layout::ordered(&val.layout.shape, order), ..val.clone() });
        }
        let layout = Layout::ordered(&val.layout.shape, order);
        let draft = self.builder.draft(val.tensor).clone();
        let tensor = self.new_tensor(draft.dtype, &layout, draft.quantization, &draft.name);
        // Extents and strides of the source in the order of the destination.
        let parts: Vec<(usize, usize)> = order.iter().flat_map(|&axis| val.layout.axis_strides(axis)).collect();
        let dims: Vec<usize> = parts.iter().map(|&(extent, _)| extent).collect();
        let x_strides: Vec<i64> = parts.iter().map(|&(_, stride)| stride as i64).collect();
        self.copy(
            Some(val.tensor),
            Span::NONE,
            tensor,
            &dims,
            0,
            &x_strides,
            0,
            &dense(&dims),
            Span::NONE,
            &draft.name,
        )?;
        Ok(Val { tensor, layout, kind: val.kind.clone() })
    }

    /// The same elements with every axis in one run.
    fn plain(&mut self, val: &Val) -> Lowered<Val> {
        if val.layout.memory_order().is_some() {
            Ok(val.clone())
        } else {
            self.ordered(val, &identity(val.layout.shape.len()))
        }
    }

    /// Appends a strided copy, neighbouring dimensions joined.
    #[allow(clippy::too_many_arguments, reason = "the fields of a copy")]
    fn copy(
        &mut self,
        x: Option<TensorId>,
        constant: Span,
        y: TensorId,
        dims: &[usize],
        x_offset: usize,
        x_strides: &[i64],
        y_offset: usize,
        y_strides: &[usize],
        table: Span,
        name: &str,
    ) -> Lowered {
        let mut joined: Vec<(usize, i64, usize)> = Vec::new();
        for ((&dim, &x_stride), &y_stride) in dims.iter().zip(x_strides).zip(y_strides) {
            if dim == 1 {
                continue;
            }
            match joined.last_mut() {
                Some(last) if last.1 == x_stride * dim as i64 && last.2 == y_stride * dim => {
                    *last = (last.0 * dim, x_stride, y_stride);
                }
                _ => joined.push((dim, x_stride, y_stride)),
            }
        }
        if joined.len() > MAX_RANK {
            return no_step("it moves elements along more than 6 axes");
        }
        let mut step = Copy {
            x,
            constant,
            y,
            dims: [1; MAX_RANK],
            x_offset: x_offset as u32,
            x_strides: [0; MAX_RANK],
            y_offset: y_offset as u32,
            y_strides: [0; MAX_RANK],
            table,
        };
        let front = MAX_RANK - joined.len();
        for (slot, (dim, x_stride, y_stride)) in (front..).zip(joined) {
            step.dims[slot] = dim as u32;
            step.x_strides[slot] = x_stride as i32;
            step.y_strides[slot] = y_stride as u32;
        }
        self.builder.step(Step::Copy(step), name);
        Ok(())
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
