//! The fallback: steps that the engine has no kernel for, run by tract.
//!
//! The compiler keeps such nodes as a small ONNX model inside the plan
//! ([`HostStep`](cygnet_core::plan::step::HostStep)). A [`Fallback`] prepares those models once and is the
//! [`Host`] of every session of the plan. It needs `std` and allocates in every such step.

use cygnet_core::plan::Step;
use cygnet_core::{DType as PlanType, Error, Host, HostTensor, Plan};

use crate::model::{DType, Model, ModelError, Tensor};
use crate::reference::{Reference, ReferenceError};

/// Why the fallback steps of a plan cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FallbackError {
    /// The model inside a step cannot be read.
    #[error("step {index} \"{name}\": {source}: compile the model again")]
    Model {
        /// Index in the list of steps.
        index: u32,
        /// The ONNX node.
        name: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// tract cannot run the model inside a step.
    #[error("step {index} \"{name}\" has no native kernel, and tract refuses it: {source}")]
    Prepare {
        /// Index in the list of steps.
        index: u32,
        /// The ONNX node.
        name: String,
        /// What tract says.
        source: ReferenceError,
    },
}

/// One step, ready to run.
#[derive(Debug)]
struct Prepared {
    index: u32,
    name: String,
    reference: Reference,
}

/// All fallback steps of one plan. Running them needs no exclusive access: many sessions share one by
/// `&Fallback`, which is a [`Host`] too.
#[derive(Debug)]
pub struct Fallback {
    /// In ascending order of `index`.
    steps: Vec<Prepared>,
}

impl Fallback {
    /// Prepares every fallback step of `plan`; a plan without any gives a host that is never called.
    ///
    /// # Errors
    /// [`FallbackError`] naming the step.
    pub fn new(plan: &Plan<'_>) -> Result<Fallback, FallbackError> {
        let mut steps = Vec::new();
        for record in plan.steps() {
            let Step::HostStep(step) = &record.step else { continue };
            let (index, name) = (record.index, plan.text(record.name).to_string());
            let model = match Model::from_own_bytes(plan.constant(step.model)) {
                Ok(model) => model,
                Err(source) => return Err(FallbackError::Model { index, name, source }),
            };
            match Reference::new(&model, &[]) {
                Ok(reference) => steps.push(Prepared { index, name, reference }),
                Err(source) => return Err(FallbackError::Prepare { index, name, source }),
            }
        }
        Ok(Fallback { steps })
    }

    /// Number of steps that run here.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether no step runs here.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn execute(&self, index: u32, inputs: &[HostTensor<'_>], outputs: &mut [HostTensor<'_>]) -> Result<(), Error> {
        let Ok(place) = self.steps.binary_search_by_key(&index, |step| step.index) else {
            log::error!("step {index}: the fallback was made for another plan");
            return Err(Error::HostFailed { step: index });
        };
        let step = &self.steps[place];
        step.run(inputs, outputs).map_err(|problem| {
            log::error!("step {index} \"{}\": {problem}", step.name);
            Error::HostFailed { step: index }
        })
    }
}

impl Prepared {
    fn run(&self, inputs: &[HostTensor<'_>], outputs: &mut [HostTensor<'_>]) -> Result<(), String> {
        let mut tensors = Vec::with_capacity(inputs.len());
        for (number, given) in inputs.iter().enumerate() {
            let shape = given.tensor.dims().iter().map(|&dim| dim as usize).collect();
            let mut tensor = Tensor { dtype: onnx_type(given.tensor.dtype)?, shape, data: given.bytes.to_vec() };
            // A plan may keep a scalar as a tensor of one element.
            if let Some((_, _, wanted)) = self.reference.input_facts().get(number)
                && wanted.iter().product::<usize>() == tensor.len()
            {
                tensor.shape.clone_from(wanted);
            }
            tensors.push(tensor);
        }
        let results = self.reference.run(&tensors).map_err(|error| error.to_string())?;
        if results.len() != outputs.len() {
            return Err(format!("gave {} outputs, the plan has {}", results.len(), outputs.len()));
        }
        for (number, (result, to)) in results.iter().zip(outputs).enumerate() {
            let wanted = onnx_type(to.tensor.dtype)?;
            if result.dtype != wanted || result.data.len() != to.bytes.len() {
                let (dtype, shape, dims) = (result.dtype, &result.shape, to.tensor.dims());
                return Err(format!("output {number} is {dtype} {shape:?}, the plan has {wanted} {dims:?}"));
            }
            to.bytes.copy_from_slice(&result.data);
        }
        Ok(())
    }
}

impl Host for &Fallback {
    fn run(
        &mut self,
        index: u32,
        _: &[u8],
        inputs: &mut [HostTensor<'_>],
        outputs: &mut [HostTensor<'_>],
    ) -> Result<(), Error> {
        self.execute(index, inputs, outputs)
    }
}

impl Host for Fallback {
    fn run(
        &mut self,
        index: u32,
        _: &[u8],
        inputs: &mut [HostTensor<'_>],
        outputs: &mut [HostTensor<'_>],
    ) -> Result<(), Error> {
        self.execute(index, inputs, outputs)
    }
}

/// Elements of both have the same bytes.
fn onnx_type(dtype: PlanType) -> Result<DType, String> {
    Ok(match dtype {
        PlanType::I8 => DType::I8,
        PlanType::F32 => DType::F32,
        PlanType::U8 => DType::U8,
        PlanType::I16 => DType::I16,
        PlanType::I32 => DType::I32,
        PlanType::I64 => DType::I64,
        PlanType::Bool => DType::Bool,
        PlanType::U16 => DType::U16,
        PlanType::U32 => DType::U32,
        PlanType::U64 => DType::U64,
        PlanType::F16 => DType::F16,
        PlanType::F64 => DType::F64,
        other => return Err(format!("tensors of {other} cannot be handed to tract")),
    })
}
