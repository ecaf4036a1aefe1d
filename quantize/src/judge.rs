//! How far the answers of an int8 model lie from the float model's: what every choice is judged by.
//!
//! The int8 model is run by the engine on some samples of the calibration data; labels are not needed.

use std::collections::{BTreeMap, BTreeSet};

use cygnet_onnx::model::{DType, Model, ValueInfo};
use rayon::prelude::*;

use crate::data::{Data, Sample};
use crate::engine::{self, Engine};
use crate::error::QuantizeError;
use crate::facts::{Dims, Facts};
use crate::float::Float;
use crate::graph::makers;
use crate::moments::spread;
use crate::{Prepared, Quantized};

/// Samples at most.
const SAMPLES: usize = 128;
/// Numbers that the inputs and answers of all samples may take together.
const NUMBERS: usize = 16 << 20;

/// Parts of an output at most that are compared each for itself.
const MOST_PARTS: usize = 16;

/// Samples and the float model's answers to them.
#[derive(Debug)]
pub struct Judge {
    answers: Vec<Answer>,
    samples: Vec<Sample>,
    /// For each sample the values of all answers.
    real: Vec<Vec<Vec<f32>>>,
    /// Which samples nothing is fitted on.
    held_out: Vec<bool>,
}

/// The squared error of a model's answers as a share of the squares of the float model's: 0 where nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Loss {
    /// On all samples.
    pub all: f64,
    /// On those that nothing is fitted on.
    pub held_out: f64,
    /// On every other sample, and on those between.
    pub halves: [f64; 2],
}

impl Loss {
    /// Whether it is below this share of `other` on all samples, and no half of them speaks against it.
    pub fn is_below(&self, share: f64, other: &Loss) -> bool {
        self.all < share * other.all && self.halves.iter().zip(other.halves).all(|(this, other)| *this <= other)
    }
}

/// Whether the sample of this number is left out of everything that is fitted, so that what was fitted can be judged.
pub fn is_held_out(index: usize, samples: usize) -> bool {
    samples >= 16 && index % 4 == 3
}

/// A tensor that is compared.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    tensor: String,
    /// What the softmax behind is taken over is compared without its mean: only differences pass it.
    softmax: Option<Over>,
}

/// An axis of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Over {
    /// Its extent.
    extent: usize,
    /// The elements from one index to the next.
    stride: usize,
}

impl Judge {
    /// Runs the float model on samples of `data`, evenly spread over it.
    ///
    /// # Errors
    /// [`QuantizeError`] where the model cannot be run or a sample cannot be read.
    pub fn of(prepared: &Prepared, data: &Data) -> Result<Judge, QuantizeError> {
        let Prepared { model, facts, dims, .. } = prepared;
        let answers = answers(model, facts);
        let tensors: Vec<String> = answers.iter().map(|answer| answer.tensor.clone()).collect();
        let float = Float::of(model, dims, &tensors)?;
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        let size = |tensor: &String| facts.get(tensor).map_or(0, |(_, shape)| count(shape));
        let inputs: usize = model.inputs.iter().map(|input| size(&input.name)).sum();
        let outputs: usize = tensors.iter().map(size).sum();
        let most = (NUMBERS / (inputs + outputs).max(1)).clamp(1, SAMPLES);
        let chosen = spread(data.len(), most);
        let held_out = chosen.iter().map(|&index| is_held_out(index, data.len())).collect();
        let samples = chosen.into_iter().map(|index| data.sample(index));
        let samples = samples.collect::<Result<Vec<_>, _>>()?;
        let mut sessions = float.sessions()?;
        let mut real = Vec::new();
        for batch in samples.chunks(sessions.len()) {
            for values in float.run_all(&mut sessions, batch)? {
                real.push(values.into_iter().zip(&answers).map(|(values, answer)| answer.compared(values)).collect());
            }
        }
        Ok(Judge { answers, samples, real, held_out })
    }

    /// Runs `quantized`; where it has several answers, the loss is their mean.
    ///
    /// # Errors
    /// [`QuantizeError`] where the int8 model cannot be compiled or run.
    pub fn loss(&self, quantized: &Quantized) -> Result<Loss, QuantizeError> {
        let engine = self.engine(&quantized.model, &quantized.inserted.dequantized, &quantized.dims)?;
        let session = || engine.session();
        let run = |session: &mut Result<engine::Session, QuantizeError>, (sample, real): (&Sample, &Vec<Vec<f32>>)| {
            let session = session.as_mut().map_err(|error| QuantizeError::Unsuitable(error.to_string()))?;
            let near = session.outputs(sample)?;
            let pair = |((answer, near), real): ((&Answer, Vec<f32>), &Vec<f32>)| {
                let near = answer.compared(near);
                let signal = real.iter().map(|r| f64::from(*r).powi(2)).sum::<f64>();
                (signal, near.iter().zip(real).map(|(n, r)| f64::from(n - r).powi(2)).sum::<f64>())
            };
            Ok(self.answers.iter().zip(near).zip(real).map(pair).collect::<Vec<_>>())
        };
        let samples = self.samples.par_iter().zip(&self.real);
        let errors = samples.map_init(session, run).collect::<Result<Vec<_>, QuantizeError>>()?;
        // Summed in the order of the samples: the sum does not depend on the number of threads.
        let on = |counts: &dyn Fn(usize) -> bool| {
            let counted: Vec<&Vec<(f64, f64)>> =
                errors.iter().enumerate().filter(|(sample, _)| counts(*sample)).map(|(_, of)| of).collect();
            let share = |answer: usize| {
                let add = |(signal, error), of: &&Vec<(f64, f64)>| (signal + of[answer].0, error + of[answer].1);
                let (signal, error) = counted.iter().fold((0f64, 0f64), add);
                error / signal.max(f64::MIN_POSITIVE)
            };
            (0..self.answers.len()).map(share).sum::<f64>() / self.answers.len().max(1) as f64
        };
        Ok(Loss {
            all: on(&|_| true),
            held_out: on(&|sample| self.held_out[sample]),
            halves: [on(&|sample| sample % 2 == 0), on(&|sample| sample % 2 == 1)],
        })
    }

    fn engine(
        &self,
        model: &Model,
        dequantized: &BTreeMap<String, String>,
        dims: &Dims,
    ) -> Result<Engine, QuantizeError> {
        let output = |answer: &Answer| {
            let name = dequantized.get(&answer.tensor).unwrap_or(&answer.tensor).clone();
            ValueInfo { name, dtype: DType::F32, shape: None }
        };
        let tapped = Model { outputs: self.answers.iter().map(output).collect(), ..model.clone() };
        Engine::new(engine::plan(&tapped, dims, None)?)
    }
}

impl Answer {
    fn compared(&self, mut values: Vec<f32>) -> Vec<f32> {
        if let Some(Over { extent, stride }) = self.softmax {
            for block in values.chunks_exact_mut(extent * stride) {
                for first in 0..stride {
                    let row = || (first..extent * stride).step_by(stride);
                    let mean = row().map(|place| block[place]).sum::<f32>() / extent as f32;
                    row().for_each(|place| block[place] -= mean);
                }
            }
        }
        values
    }
}

/// The float outputs of the model; what goes into a softmax instead of what comes out of it, and each part of an output
/// that is several one after the other: sureness between 0 and 1 counts as much as places of some hundred pixels.
fn answers(model: &Model, facts: &Facts) -> Vec<Answer> {
    let makers = makers(model);
    let mut answers = Vec::new();
    for output in &model.outputs {
        let mut parts = BTreeSet::new();
        parts_of(&output.name, model, &makers, &mut parts);
        let alone = BTreeSet::from([output.name.as_str()]);
        let parts = if parts.len() > MOST_PARTS { alone } else { parts };
        answers.extend(parts.into_iter().map(|part| answer(part, model, facts, &makers)));
    }
    let is_float = |tensor: &str| facts.get(tensor).is_some_and(|(dtype, _)| *dtype == DType::F32);
    answers.retain(|answer| is_float(&answer.tensor));
    answers
}

/// Adds the tensors that an output is put together of, itself where it is no row of others. Constants are no answers.
fn parts_of<'m>(tensor: &'m str, model: &'m Model, makers: &BTreeMap<String, usize>, parts: &mut BTreeSet<&'m str>) {
    // What only moves all of its values leaves the errors as they are.
    let mut source = tensor;
    while let Some(node) = makers.get(source).map(|&index| &model.nodes[index]) {
        if node.is("Concat") {
            for part in node.inputs.iter().filter(|part| makers.contains_key(*part)) {
                parts_of(part, model, makers, parts);
            }
            return;
        }
        let moves = ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"];
        let Some(input) = node.input(0).filter(|_| moves.iter().any(|op| node.is(op))) else { break };
        source = input;
    }
    parts.insert(tensor);
}

/// How a tensor is compared: what goes into a softmax instead of what comes out of it.
fn answer(tensor: &str, model: &Model, facts: &Facts, makers: &BTreeMap<String, usize>) -> Answer {
    let maker = makers.get(tensor).map(|&index| &model.nodes[index]);
    let before = maker.filter(|node| node.is("Softmax")).and_then(|node| node.input(0));
    let Some(before) = before.filter(|tensor| makers.contains_key(*tensor)) else {
        return Answer { tensor: tensor.into(), softmax: None };
    };
    let axis = maker.and_then(|node| node.int("axis")).unwrap_or(-1);
    let softmax = facts.get(before).and_then(|(_, shape)| over(shape, axis));
    Answer { tensor: before.into(), softmax }
}

/// The axis of this number, counted from the end where it is below 0.
fn over(shape: &[usize], axis: i64) -> Option<Over> {
    let axis = if axis < 0 { axis + i64::try_from(shape.len()).ok()? } else { axis };
    let [extent, inner @ ..] = shape.get(usize::try_from(axis).ok()?..)? else { return None };
    let stride: usize = inner.iter().product();
    (extent * stride > 0).then_some(Over { extent: *extent, stride })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_pass_a_softmax() {
        // Two pictures of two pixels, three classes before the pixels.
        let softmax = over(&[2, 3, 2, 1], 1);
        assert_eq!(softmax, Some(Over { extent: 3, stride: 2 }));
        assert_eq!(over(&[1, 1000, 1, 1], -3), Some(Over { extent: 1000, stride: 1 }));
        let answer = Answer { tensor: "x".into(), softmax };
        let values = vec![1.0, 0.0, 2.0, 5.0, 3.0, 1.0, 7.0, 0.0, 7.0, 0.0, 7.0, 3.0];
        let expected = [-1.0, -2.0, 0.0, 3.0, 1.0, -1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 2.0];
        assert_eq!(answer.compared(values), expected);
    }
}
