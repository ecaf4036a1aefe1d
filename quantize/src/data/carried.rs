//! What a model keeps from sample to sample, where the data leave it out: made by running the float model over them in
//! their order.

use cygnet::Card;
use cygnet::input::InputSpec;
use cygnet_onnx::compile::states;
use cygnet_onnx::model::{DType, Model, Tensor};

use super::{Sample, Source, as_type};
use crate::engine::{self, Engine};
use crate::error::QuantizeError;
use crate::facts::dims_of;

/// Pairs of an input and the output that becomes it.
///
/// # Errors
/// [`QuantizeError::Compile`] where the card names others than the model has.
pub(super) fn pairs(model: &Model, card: Option<&Card>) -> Result<Vec<(usize, usize)>, QuantizeError> {
    Ok(states(model, card.and_then(|card| card.states.as_ref()))?)
}

/// For each sample the values of those inputs that the samples leave out; no sample where they leave out none.
///
/// # Errors
/// [`QuantizeError`] naming the sample that the float model cannot be run on.
pub(super) fn carried(
    source: &Source,
    inputs: &[(DType, InputSpec)],
    model: &Model,
    card: Option<&Card>,
) -> Result<Vec<Vec<Option<Tensor>>>, QuantizeError> {
    let pairs = pairs(model, card)?;
    if source.len() == 0 || source.sample(0)?.inputs.iter().all(|values| !values.is_empty()) {
        return Ok(Vec::new());
    }
    let zeros = |(dtype, spec): &(DType, InputSpec)| {
        let values = vec![0.0; spec.shape.iter().product()];
        as_type(&values, *dtype, &spec.shape)
    };
    let no_zeros = || QuantizeError::Unsuitable("an input holds other elements than numbers".into());
    let first = inputs.iter().map(zeros).collect::<Option<Vec<Tensor>>>().ok_or_else(no_zeros)?;
    let mut session = Engine::new(engine::plan(model, &dims_of(model, &first), None)?)?.session()?;
    let mut kept = first.clone();
    let mut samples = Vec::new();
    for index in 0..source.len() {
        let sample = source.sample(index)?;
        if sample.starts {
            kept.clone_from(&first);
        }
        let given = |(place, values): (usize, &Vec<f32>)| {
            let (dtype, spec) = &inputs[place];
            let left_out = values.is_empty();
            if left_out { kept.get(place).cloned() } else { as_type(values, *dtype, &spec.shape) }
        };
        let fed: Option<Vec<Tensor>> = sample.inputs.iter().enumerate().map(given).collect();
        let problem = || QuantizeError::data(&sample.name, "it holds other numbers than the model's inputs take");
        let fed = fed.ok_or_else(problem)?;
        let missing = sample.inputs.iter().zip(&fed).map(|(values, tensor)| values.is_empty().then(|| tensor.clone()));
        samples.push(missing.collect());
        let outputs = session.outputs(&Sample { name: sample.name, inputs: fed, label: None })?;
        for &(input, output) in &pairs {
            let next = outputs.get(output).zip(inputs.get(input));
            let next = next.and_then(|(values, (dtype, spec))| as_type(values, *dtype, &spec.shape));
            if let (Some(slot), Some(next)) = (kept.get_mut(input), next) {
                *slot = next;
            }
        }
    }
    Ok(samples)
}
