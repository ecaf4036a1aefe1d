//! Model inputs and outputs.

use cygnet_core::bytes::Span;
use cygnet_core::plan::{DType, MAX_RANK};

use super::{Held, Kind, Lowered, Lowering, Stop, Val, Value, cache, identity, plan_type, wrong};
use crate::compile::CompileError;
use crate::compile::builder::PortDraft;
use crate::compile::layout::Layout;
use crate::model::{self, Dim};

impl Lowering<'_> {
    /// Makes model input `index`.
    pub(super) fn input(&mut self, index: usize, input: &model::ValueInfo) -> Lowered {
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
                        "axis {axis} ({name}) is open; give its extent in the card's table [dims], or export the model with a fixed size (only the \
                         batch may be open)"
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
            DType::F32 => match self.quantization_of_input(index, &input.name)? {
                // Quantized by the caller's write, or by the run before: the QuantizeLinear nodes find it done.
                Some(quantization) => (DType::I8, Kind::Quantized { table: None }, Some(quantization)),
                None => (DType::F32, Kind::Float, None),
            },
            DType::I8 => (DType::I8, Kind::Stored(Held::I8), None),
            DType::I16 => (DType::I16, Kind::Stored(Held::I16), None),
            DType::U8 if self.is_quantized_use(&input.name) => (DType::I8, Kind::Stored(Held::U8), None),
            other => (other, Kind::Plain, None),
        };
        let tensor = self.builder.tensor(stored, extents, quantization, &input.name);
        self.values.insert(input.name.clone(), Value::Val(Val { tensor, layout, kind }));
        let port = PortDraft { tensor, dtype, shape, order, name: input.name.clone() };
        self.builder.inputs.push(port);
        Ok(())
    }

    /// Scale and zero point of a float input that is held as int8. What a session keeps is, where the output that becomes it
    /// only leaves out levels of the same scale: then it loses nothing.
    fn quantization_of_input(&self, index: usize, name: &str) -> Lowered<Option<(f32, i32)>> {
        let common = self.common_quantization(name)?;
        let Some(&(_, output)) = self.builder.states.iter().find(|&&(state, _)| state == index) else {
            return Ok(common);
        };
        let output = self.model.outputs.get(output).map(|output| output.name.as_str());
        Ok(common.filter(|&levels| output.is_some_and(|output| self.holds_levels(output, levels))))
    }

    /// Whether a tensor holds levels of this scale and zero point only, made real and moved.
    fn holds_levels(&self, name: &str, levels: (f32, i32)) -> bool {
        let maker = self.model.nodes.iter().find(|node| node.outputs.iter().any(|output| output == name));
        let Some(node) = maker.filter(|node| node.domain.is_empty()) else { return false };
        let holds = |input: &String| self.holds_levels(input, levels);
        match node.op_type.as_str() {
            "DequantizeLinear" => self.is_of_levels(node, levels),
            "Identity" | "Slice" | "Transpose" | "Reshape" | "Squeeze" | "Unsqueeze" | "Split" | "Gather" => {
                node.inputs.first().is_some_and(holds)
            }
            "Concat" => node.inputs.iter().all(holds),
            _ => false,
        }
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
    pub(super) fn is_quantized_use(&self, name: &str) -> bool {
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

    /// Makes model output `index`.
    pub(super) fn output(&mut self, index: usize, name: &str) -> Result<(), CompileError> {
        let wrap = |stop: Stop| match stop {
            Stop::NoStep(text) | Stop::Wrong(text) => CompileError::Model(format!("output \"{name}\": {text}")),
            Stop::Error(error) => error,
        };
        let mut val = self.any(name).map_err(wrap)?;
        if matches!(val.kind, Kind::Quantized { table: Some(_) } | Kind::Wide) {
            val = self.float(val).map_err(wrap)?;
        }
        let state = self.builder.states.iter().find(|&&(_, output)| output == index).map(|&(input, _)| input);
        if let Some(state) = state {
            val = self.next_state(val, state, name)?;
        }
        let order = match val.layout.memory_order().filter(|order| order.len() <= MAX_RANK) {
            Some(order) => order,
            None => {
                val = self.ordered(&val, &identity(val.layout.shape.len())).map_err(wrap)?;
                identity(val.layout.shape.len())
            }
        };
        let dtype = match val.kind {
            Kind::Float | Kind::Quantized { .. } | Kind::Wide => DType::F32,
            Kind::Stored(Held::U8) => DType::U8,
            Kind::Stored(Held::I8) => DType::I8,
            Kind::Stored(Held::I16) => DType::I16,
            Kind::Plain => self.builder.draft(val.tensor).dtype,
        };
        if val.layout.shape.len() > MAX_RANK {
            return Err(CompileError::Model(format!("output \"{name}\" has more than {MAX_RANK} axes")));
        }
        let port = PortDraft { tensor: val.tensor, dtype, shape: val.layout.shape.clone(), order, name: name.into() };
        self.builder.outputs.push(port);
        Ok(())
    }

    /// An output in the form of the input that it becomes, in a place of its own.
    fn next_state(&mut self, val: Val, state: usize, name: &str) -> Result<Val, CompileError> {
        let input = self.builder.inputs[state].clone();
        let fail = |problem: String| {
            CompileError::Card(format!(
                "output \"{name}\" cannot become input \"{}\" of the next run: {problem}; say in the card's table [states] \
                 which outputs do",
                input.name
            ))
        };
        let known = |stop: Stop| match stop {
            Stop::NoStep(text) | Stop::Wrong(text) => fail(text),
            Stop::Error(error) => error,
        };
        if val.layout.shape != input.shape {
            return Err(fail(format!("its shape is {:?}, not {:?}", val.layout.shape, input.shape)));
        }
        let val = match self.builder.draft(input.tensor).clone() {
            held if held.dtype == DType::I8 && input.dtype == DType::F32 => {
                self.as_levels(val, held.quantization, name).map_err(known)?
            }
            _ if input.dtype == DType::F32 => self.float(val).map_err(known)?,
            _ => val,
        };
        let dtype = self.builder.draft(val.tensor).dtype;
        if dtype != self.builder.draft(input.tensor).dtype {
            return Err(fail(format!("its elements are {dtype}")));
        }
        let val = self.ordered(&val, &input.order).map_err(known)?;
        // Written where it stays, or in a place of its own.
        let stays = val.tensor == input.tensor && cache::pairs(self.model).iter().any(|&(kept, _)| kept == state);
        if stays || !self.builder.inputs.iter().any(|port| port.tensor == val.tensor) {
            return Ok(val);
        }
        let draft = self.builder.draft(val.tensor).clone();
        let len = val.layout.len();
        let tensor = self.builder.tensor(draft.dtype, draft.shape, draft.quantization, name);
        self.copy(Some(val.tensor), Span::NONE, tensor, &[len], 0, &[1], 0, &[1], Span::NONE, name).map_err(known)?;
        Ok(Val { tensor, ..val })
    }
}
