//! Nodes without a step: kept as small ONNX models that a host with `std` runs.

use cygnet_core::bytes::Span;
use cygnet_core::plan::step::{HostStep, MAX_HOST_TENSORS, Step, Table};
use cygnet_core::plan::{DType, TensorId};

use super::distrust::distrusted;
use super::{Held, Kind, Lowered, Lowering, Val, Value, identity, plan_type, wrong};
use crate::compile::layout::Layout;
use crate::model::{self, Attribute, Dim, Model, Node, ValueInfo};
use crate::reference::Reference;

impl Lowering<'_> {
    /// Turns a node into a step for the fallback.
    pub(super) fn host(&mut self, node: &Node, reason: &str) -> Lowered {
        let mut sub = Model {
            ir_version: 8,
            opsets: self.model.opsets.clone(),
            nodes: vec![node.clone()],
            graph_name: node.label(),
            ..Model::default()
        };
        let mut names: Vec<String> = node.inputs.iter().filter(|name| !name.is_empty()).cloned().collect();
        if Self::has_subgraph(node) {
            names.extend(node.captures());
        }
        names.sort();
        names.dedup();
        let rank = match node.input(0).and_then(|name| self.values.get(name)) {
            Some(Value::Val(val)) => val.layout.shape.len(),
            Some(Value::Constant(constant)) => constant.tensor.shape.len(),
            None => 0,
        };
        Self::check_axis(node, rank)?;
        let mut inputs = Vec::new();
        for name in names {
            match self.values.get(&name).cloned() {
                Some(Value::Constant(constant)) => {
                    sub.initializers.insert(name, constant.to_plain()?);
                }
                Some(Value::Val(val)) => {
                    let mut val = self.for_host(val)?;
                    if inputs.contains(&val.tensor) {
                        // Two names for one tensor: the step takes each tensor once.
                        let draft = self.builder.draft(val.tensor).clone();
                        let len = val.layout.len();
                        let copy = self.builder.tensor(draft.dtype, draft.shape, draft.quantization, &name);
                        self.copy(Some(val.tensor), Span::NONE, copy, &[len], 0, &[1], 0, &[1], Span::NONE, &name)?;
                        val.tensor = copy;
                    }
                    let shape = val.layout.shape.iter().map(|&dim| Dim::Known(dim)).collect();
                    let dtype = model_type(self.graph_type(&val));
                    sub.inputs.push(ValueInfo { name, dtype, shape: Some(shape) });
                    inputs.push(val.tensor);
                }
                // A name from an enclosing graph that the subgraph makes itself.
                None if Self::has_subgraph(node) => {}
                None => return wrong(format!("its input \"{name}\" is not there")),
            }
        }
        if let Some(form) = distrusted(node, &sub) {
            return wrong(format!(
                "{reason}, and the fallback computes {} {form} wrongly; write it with other operators",
                node.op_type
            ));
        }
        let outputs: Vec<&String> = node.outputs.iter().filter(|name| !name.is_empty()).collect();
        sub.outputs = outputs
            .iter()
            .map(|&name| ValueInfo { name: name.clone(), dtype: model::DType::F32, shape: None })
            .collect();
        let prepared = Reference::new(&sub, &[]);
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                return wrong(format!(
                    "{reason}, and the fallback cannot run it ({error}); export the model with operators of the \
                     standard operator set"
                ));
            }
        };
        let facts = prepared.output_facts().to_vec();
        if inputs.len() > MAX_HOST_TENSORS || facts.len() > MAX_HOST_TENSORS || facts.len() != outputs.len() {
            return wrong(format!("{reason}, and the fallback takes at most {MAX_HOST_TENSORS} inputs and outputs"));
        }
        let none = TensorId::NONE;
        let mut step =
            HostStep { inputs: [none; MAX_HOST_TENSORS], outputs: [none; MAX_HOST_TENSORS], model: Span::NONE };
        step.inputs.iter_mut().zip(&inputs).for_each(|(slot, &id)| *slot = id);
        for (index, (name, (dtype, shape))) in outputs.into_iter().zip(facts).enumerate() {
            let Some(dtype) = plan_type(dtype) else {
                return wrong(format!("{reason}, and its result \"{name}\" has elements of type {dtype}"));
            };
            let layout = Layout::row_major(&shape);
            if layout.len() == 0 {
                return wrong(format!("{reason}, and its result \"{name}\" is empty"));
            }
            let tensor = self.new_tensor(dtype, &layout, None, name);
            step.outputs[index] = tensor;
            let kind = match dtype {
                DType::F32 => Kind::Float,
                DType::I8 => Kind::Stored(Held::I8),
                DType::I16 => Kind::Stored(Held::I16),
                _ => Kind::Plain,
            };
            self.values.insert(name.clone(), Value::Val(Val { tensor, layout, kind }));
            sub.outputs[index].shape = Some(shape.iter().map(|&dim| Dim::Known(dim)).collect());
            sub.outputs[index].dtype = model_type(dtype);
        }
        let level = if self.rehearses { log::Level::Trace } else { log::Level::Info };
        log::log!(level, "node \"{}\" ({}) runs through the fallback: {reason}", node.label(), node.op_type);
        step.model = self.builder.constant(sub.to_bytes());
        self.builder.reasons.push((self.builder.steps.len(), reason.to_string()));
        self.builder.step(Step::HostStep(step), &node.label());
        Ok(())
    }

    /// Whether a node carries subgraphs.
    fn has_subgraph(node: &Node) -> bool {
        node.attributes.values().any(|attribute| matches!(attribute, Attribute::Graph(_)))
    }

    /// The type that elements of a value have in the ONNX graph, where the plan can hold them.
    fn graph_type(&self, val: &Val) -> DType {
        match val.kind {
            Kind::Float | Kind::Quantized { .. } | Kind::Wide => DType::F32,
            Kind::Stored(Held::U8) => DType::U8,
            Kind::Stored(Held::I8) => DType::I8,
            Kind::Stored(Held::I16) => DType::I16,
            Kind::Plain => self.builder.draft(val.tensor).dtype,
        }
    }

    /// Refuses an axis far outside: tract counts up to it.
    pub(super) fn check_axis(node: &Node, rank: usize) -> Lowered {
        match node.int("axis") {
            // Some operators make an axis, so one more than there are may be meant.
            Some(axis) if axis.unsigned_abs() > rank as u64 + 1 => {
                wrong(format!("axis {axis} does not exist in a tensor of {rank} axes"))
            }
            _ => Ok(()),
        }
    }

    /// A value as the fallback takes it: real numbers in float32, row-major.
    fn for_host(&mut self, val: Val) -> Lowered<Val> {
        let val = match val.kind {
            Kind::Quantized { .. } | Kind::Wide => self.float(val)?,
            Kind::Stored(Held::U8) => {
                // uint8 numbers are held shifted by 128.
                let shape = self.builder.draft(val.tensor).shape.clone();
                let shifted = self.builder.tensor(DType::U8, shape, None, "uint8");
                let table = self.builder.constant((0..=255_u8).collect());
                self.builder.step(Step::Table(Table { x: val.tensor, y: shifted, table }), "uint8");
                Val { tensor: shifted, ..val }
            }
            _ => val,
        };
        let rank = val.layout.shape.len();
        self.ordered(&val, &identity(rank))
    }
}

fn model_type(dtype: DType) -> model::DType {
    match dtype {
        DType::I8 => model::DType::I8,
        DType::U8 => model::DType::U8,
        DType::I16 => model::DType::I16,
        DType::I32 => model::DType::I32,
        DType::I64 => model::DType::I64,
        DType::Bool => model::DType::Bool,
        DType::U16 => model::DType::U16,
        DType::U32 => model::DType::U32,
        DType::U64 => model::DType::U64,
        DType::F16 => model::DType::F16,
        DType::F64 => model::DType::F64,
        _ => model::DType::F32,
    }
}
