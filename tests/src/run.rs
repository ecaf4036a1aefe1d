//! A model compiled and run in one call.

use std::collections::BTreeMap;

use cygnet_core::plan::{DType, MetadataKind, Port, step::Step};
use cygnet_core::{Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::fallback::Fallback;
use cygnet_onnx::model::{self, Model, Tensor};

/// An arena of at least `bytes` bytes, aligned.
#[must_use]
pub fn arena(bytes: usize) -> Vec<u128> {
    vec![0; bytes.div_ceil(16)]
}

/// The bytes of an arena.
pub fn arena_bytes(arena: &mut [u128]) -> &mut [u8] {
    // u128 is 16-byte aligned on every target that the tests run on.
    let (_, bytes, _) = {
        // SAFETY: every bit pattern is a valid u8.
        unsafe { arena.align_to_mut::<u8>() }
    };
    bytes
}

/// What a run gave.
pub struct Outcome {
    /// Outputs by name, in the type that the ONNX model declares.
    pub outputs: BTreeMap<String, Tensor>,
    /// Names of the nodes that ran through the fallback.
    pub fallbacks: Vec<String>,
    /// Why each of them did.
    pub reasons: Vec<String>,
    /// The plan.
    pub plan: Vec<u8>,
}

fn declared(port: &Port) -> model::DType {
    match port.dtype {
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

/// Compiles a model and runs it once on inputs by name.
///
/// # Errors
/// What went wrong, as text.
pub fn compile_and_run(model: &Model, inputs: &BTreeMap<String, Tensor>) -> Result<Outcome, String> {
    compile_and_run_with(model, inputs, &Options::default())
}

/// [`compile_and_run`] with options of the caller's choice.
///
/// # Errors
/// What went wrong, as text.
pub fn compile_and_run_with(
    model: &Model,
    inputs: &BTreeMap<String, Tensor>,
    options: &Options,
) -> Result<Outcome, String> {
    let compiled = compile(model, options).map_err(|error| error.to_string())?;
    let plan = Plan::parse(&compiled.plan).map_err(|error| error.to_string())?;
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::new(plan, arena_bytes(&mut memory)).map_err(|error| error.to_string())?;
    let mut host = Fallback::new(&plan).map_err(|error| error.to_string())?;
    let mut outputs: BTreeMap<String, Tensor> = BTreeMap::new();
    // An open batch is compiled as 1: several samples run one after the other.
    let batch = plan.inputs().next().and_then(|port| Some(inputs.get(plan.text(port.name))?.len() / port.len()));
    for sample in 0..batch.unwrap_or(1).max(1) {
        for (index, port) in plan.inputs().enumerate() {
            let name = plan.text(port.name);
            let tensor = inputs.get(name).ok_or_else(|| format!("there is no array for input \"{name}\""))?;
            let bytes = port.len() * declared(&port).size_bytes();
            let part = tensor.data.get(sample * bytes..(sample + 1) * bytes).unwrap_or(&tensor.data);
            session.write_bytes(index, part).map_err(|error| error.to_string())?;
        }
        session.run_with(&mut host).map_err(|error| error.to_string())?;
        for (index, port) in plan.outputs().enumerate() {
            let mut shape: Vec<usize> = port.dims().iter().map(|&dim| dim as usize).collect();
            let dtype = declared(&port);
            let mut data = vec![0; port.len() * dtype.size_bytes()];
            session.read_bytes(index, &mut data).map_err(|error| error.to_string())?;
            let known = outputs.entry(plan.text(port.name).to_string());
            let tensor = known.or_insert_with(|| {
                if let Some(first) = shape.first_mut() {
                    *first = 0;
                }
                Tensor { dtype, shape: shape.clone(), data: Vec::new() }
            });
            if let (Some(total), Some(&first)) = (tensor.shape.first_mut(), port.dims().first()) {
                *total += first as usize;
            }
            tensor.data.extend_from_slice(&data);
        }
    }
    let is_host = |record: &cygnet_core::plan::StepRecord| matches!(record.step, Step::HostStep(_));
    let fallbacks = plan.steps().filter(is_host).map(|record| plan.text(record.name).to_string()).collect();
    let told = plan.metadata().filter(|entry| entry.kind == MetadataKind::FallbackReason);
    let reasons = told.map(|entry| plan.text(entry.data).to_string()).collect();
    Ok(Outcome { outputs, fallbacks, reasons, plan: compiled.plan })
}
