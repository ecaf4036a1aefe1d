//! The int8 model as a plan, run by the engine: what a device will compute, bit for bit.

use std::time::{Duration, Instant};

use cygnet::boards::Board;
use cygnet::core::Plan;
use cygnet::core::plan::step::Access;
use cygnet::core::plan::{MetadataKind, Step};
use cygnet_onnx::compile::{self, Compiled, Compression, compile};
use cygnet_onnx::model::{Dim, Model};
use serde::Serialize;

use crate::data::Sample;
use crate::error::QuantizeError;
use crate::facts::Dims;

/// Compiles `model` with open axes fixed by `dims`; gives the bytes of a plan (`.cyg`). For a board
/// the arena is made small, if need be at the price of speed, until it fits.
///
/// # Errors
/// [`QuantizeError::Compile`] naming the node.
pub fn plan(model: &Model, dims: &Dims, board: Option<&Board>) -> Result<Vec<u8>, QuantizeError> {
    Ok(compiled(model, dims, board, Compression::default())?.plan)
}

/// As [`plan`], with weights in fewer bits as `compress` says.
///
/// # Errors
/// As [`plan`].
pub fn compiled(
    model: &Model,
    dims: &Dims,
    board: Option<&Board>,
    compress: Compression,
) -> Result<Compiled, QuantizeError> {
    let mut fixed = model.clone();
    for input in &mut fixed.inputs {
        for (axis, dim) in input.shape.iter_mut().flatten().enumerate() {
            let Dim::Symbol(symbol) = dim else { continue };
            let key = if symbol.is_empty() { format!("{}:{axis}", input.name) } else { symbol.clone() };
            if let Some(&extent) = dims.get(&key) {
                *dim = Dim::Known(extent);
            }
        }
    }
    let mut options = compile::Options::default();
    options.compress = compress;
    if let Some(board) = board {
        options.arena_bytes = Some(board.arena_limit());
        options.scratch_bytes = board.scratch_limit().min(options.scratch_bytes);
    }
    Ok(compile(&fixed, &options)?)
}

/// What a plan needs, to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// RAM: the arena, in which all tensors and scratch lie.
    pub arena_bytes: usize,
    /// The largest set of tensors alive at one step: no arena can be smaller.
    pub live_bytes: usize,
    /// The part of the arena that the step with the most scratch takes for it.
    pub scratch_bytes: usize,
    /// Flash: the plan.
    pub plan_bytes: usize,
    /// Weights, tables and other constants in it.
    pub constant_bytes: usize,
    /// Number of steps.
    pub steps: usize,
    /// Steps with weights of 4 bits.
    pub indexed_steps: usize,
    /// Steps that keep no weights that are 0.
    pub sparse_steps: usize,
    /// Steps without a native kernel; a device without `std` cannot run them.
    pub fallbacks: Vec<FallbackStep>,
}

/// A step that runs through tract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FallbackStep {
    /// Index in the list of steps.
    pub step: u32,
    /// The ONNX node.
    pub node: String,
    /// Why it has no native kernel.
    pub reason: String,
}

impl Memory {
    /// What `plan` needs.
    pub fn of(plan: &Plan<'_>) -> Memory {
        let header = plan.header();
        let (mut scratch_bytes, mut steps, mut fallbacks) = (0, 0, Vec::new());
        let (mut indexed_steps, mut sparse_steps) = (0, 0);
        for record in plan.steps() {
            let mut scratch = 0;
            record.step.visit_tensors(&mut |id, access| {
                let bytes = plan.tensor(id).filter(|_| access == Access::Scratch).map(|tensor| tensor.bytes());
                scratch += bytes.unwrap_or(0);
            });
            scratch_bytes = scratch_bytes.max(scratch);
            steps += 1;
            indexed_steps += usize::from(matches!(record.step, Step::IndexedConvI8(_)));
            sparse_steps += usize::from(matches!(record.step, Step::SparseConvI8(_)));
            if matches!(record.step, Step::HostStep(_)) {
                let reason = plan.metadata_of(MetadataKind::FallbackReason, record.index).unwrap_or_default();
                fallbacks.push(FallbackStep {
                    step: record.index,
                    node: plan.text(record.name).to_string(),
                    reason: String::from_utf8_lossy(reason).into_owned(),
                });
            }
        }
        Memory {
            arena_bytes: plan.arena_bytes(),
            live_bytes: header.live_bytes as usize,
            scratch_bytes,
            plan_bytes: plan.bytes().len(),
            constant_bytes: header.constant_bytes as usize,
            steps,
            indexed_steps,
            sparse_steps,
            fallbacks,
        }
    }
}

/// A plan that is ready to run; clones share it.
#[derive(Clone, Debug)]
pub struct Engine {
    model: cygnet::Model,
}

impl Engine {
    /// Makes the plan ready to run.
    ///
    /// # Errors
    /// [`QuantizeError::Engine`] where the plan is refused.
    pub fn new(plan: Vec<u8>) -> Result<Engine, QuantizeError> {
        Ok(Engine { model: cygnet::Model::from_plan_bytes(plan)? })
    }

    /// What the plan needs.
    pub fn memory(&self) -> Memory {
        Memory::of(&self.model.plan())
    }

    /// The plan itself.
    pub fn with_plan<T>(&self, ask: impl FnOnce(&Plan<'_>) -> T) -> T {
        ask(&self.model.plan())
    }

    /// Memory to run it in on one thread.
    ///
    /// # Errors
    /// [`QuantizeError::Engine`] where a fallback step cannot be prepared.
    pub fn session(&self) -> Result<Session, QuantizeError> {
        Ok(Session(self.model.session_on(1)?))
    }
}

/// A plan and the memory that it runs in.
#[derive(Debug)]
pub struct Session(cygnet::Session);

impl Session {
    /// The first output for one sample.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample where it does not fit or a step fails.
    pub fn run(&mut self, sample: &Sample) -> Result<Vec<f32>, QuantizeError> {
        self.time(sample)?;
        self.0.scores().map_err(|error| QuantizeError::data(&sample.name, error.to_string()))
    }

    /// All outputs for one sample.
    ///
    /// # Errors
    /// [`QuantizeError::Data`] naming the sample where it does not fit or a step fails.
    pub fn outputs(&mut self, sample: &Sample) -> Result<Vec<Vec<f32>>, QuantizeError> {
        self.time(sample)?;
        let count = self.0.model().plan().outputs().count();
        let mut outputs = vec![Vec::new(); count];
        for (index, output) in outputs.iter_mut().enumerate() {
            self.0.output_f32(index, output).map_err(|error| QuantizeError::data(&sample.name, error.to_string()))?;
        }
        Ok(outputs)
    }

    /// Runs one sample: how long the steps took, without setting the input and reading the output.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn time(&mut self, sample: &Sample) -> Result<Duration, QuantizeError> {
        let fail = |error: cygnet::Error| QuantizeError::data(&sample.name, error.to_string());
        for (index, tensor) in sample.inputs.iter().enumerate() {
            self.0.set_bytes(index, &tensor.data).map_err(fail)?;
        }
        let begin = Instant::now();
        self.0.run().map_err(fail)?;
        Ok(begin.elapsed())
    }

    /// The instruction set whose kernels run.
    pub fn kernels(&self) -> &'static str {
        self.0.kernels().name
    }
}
