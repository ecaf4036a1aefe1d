//! Compares the int8 model with the float model: right answers, and noise layer by layer.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;

use crate::data::Sample;
use crate::engine::{Engine, Session};
use crate::error::QuantizeError;
use crate::facts::Dims;
use crate::graph::makers;
use crate::operators::{Role, role};

/// Right answers of both models on the same samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Samples with a label.
    pub samples: usize,
    /// Right first answers of the float model.
    pub float_right: usize,
    /// Right first answers of the int8 model.
    pub int8_right: usize,
    /// Samples on which both give the same first answer.
    pub agree: usize,
}

impl Accuracy {
    /// Share of right answers of the float model, 0 … 1.
    pub fn float_top1(&self) -> f64 {
        self.float_right as f64 / self.samples.max(1) as f64
    }

    /// Share of right answers of the int8 model, 0 … 1.
    pub fn int8_top1(&self) -> f64 {
        self.int8_right as f64 / self.samples.max(1) as f64
    }

    /// Share of samples on which both give the same first answer, 0 … 1.
    pub fn agreement(&self) -> f64 {
        self.agree as f64 / self.samples.max(1) as f64
    }
}

/// Counts right first answers (the largest element of the first output) of the float model, run by tract, and of the
/// int8 plan, run by the engine; on all cores.
///
/// # Errors
/// [`QuantizeError::Data`] for a sample without label.
pub fn accuracy(
    float: &Model,
    int8: &Engine,
    dims: &Dims,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>> + Send,
    mut step: impl FnMut(),
) -> Result<Accuracy, QuantizeError> {
    let float = Reference::with_dims(float, &[], dims)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sessions = (0..threads).map(|_| int8.session()).collect::<Result<Vec<_>, _>>()?;
    let samples = Mutex::new(samples);
    let next = || samples.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut accuracy = Accuracy::default();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for mut session in sessions {
            let (sender, float, next) = (sender.clone(), &float, &next);
            scope.spawn(move || {
                while let Some(sample) = next() {
                    let answers = sample.and_then(|sample| answers(float, &mut session, &sample));
                    // A send fails when an error has ended the counting.
                    if sender.send(answers).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for answers in receiver {
            let Answers { label, float, int8 } = answers?;
            accuracy.samples += 1;
            accuracy.float_right += usize::from(float == label);
            accuracy.int8_right += usize::from(int8 == label);
            accuracy.agree += usize::from(float == int8);
            step();
        }
        Ok(accuracy)
    })
}

/// The right answer to a sample and what both models say.
struct Answers {
    label: i64,
    float: i64,
    int8: i64,
}

fn answers(float: &Reference, int8: &mut Session, sample: &Sample) -> Result<Answers, QuantizeError> {
    let label = sample.label.ok_or_else(|| QuantizeError::data(&sample.name, "has no label"))?;
    let outputs = float.run(&sample.inputs).map_err(|e| QuantizeError::data(&sample.name, e.to_string()))?;
    let float = first_answer(&outputs.first().map(Tensor::to_f32s).transpose()?.unwrap_or_default());
    Ok(Answers { label, float, int8: first_answer(&int8.run(sample)?) })
}

/// Where the output is largest; the first of equals, and -1 where there is nothing.
pub(crate) fn first_answer(values: &[f32]) -> i64 {
    let largest = values.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    largest.map_or(-1, |(index, _)| index as i64)
}

/// How far one layer's int8 output lies from its float output.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Noise {
    /// The node that makes the tensor.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// The tensor.
    pub tensor: String,
    /// 10 · log10(Σ float² / Σ (float − int8)²); the errors of all layers before it included.
    pub decibels: f64,
}

/// Signal to noise of every tensor that became an integer and is computed, not moved; the worst first.
///
/// # Errors
/// [`QuantizeError`] where either model cannot be run.
pub fn noise(
    float: &Model,
    int8: &Model,
    dequantized: &BTreeMap<String, String>,
    dims: &Dims,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
) -> Result<Vec<Noise>, QuantizeError> {
    let makers = makers(float);
    let int8_makers = crate::graph::makers(int8);
    // What only moves values has the noise of what it moves.
    let computes = |index: &usize| role(float, &float.nodes[*index]) != Role::Move;
    let shown = |(t, d): &(&String, &String)| makers.get(*t).is_some_and(computes) && int8_makers.contains_key(*d);
    let pairs: Vec<(&String, &String)> = dequantized.iter().filter(shown).collect();
    let float_taps: Vec<String> = pairs.iter().map(|(t, _)| t.to_string()).collect();
    let int8_taps: Vec<String> = pairs.iter().map(|(_, d)| d.to_string()).collect();
    let (float_run, int8_run) =
        (Reference::with_dims(float, &float_taps, dims)?, Reference::with_dims(int8, &int8_taps, dims)?);
    let mut sums = vec![(0f64, 0f64); pairs.len()];
    for sample in samples {
        let sample = sample?;
        let (real, near) = (float_run.run(&sample.inputs)?, int8_run.run(&sample.inputs)?);
        let taps = real.iter().skip(float.outputs.len()).zip(near.iter().skip(int8.outputs.len()));
        for ((signal, error), (real, near)) in sums.iter_mut().zip(taps) {
            for (real, near) in real.to_f32s()?.iter().zip(near.to_f32s()?) {
                *signal += f64::from(*real).powi(2);
                *error += f64::from(real - near).powi(2);
            }
        }
    }
    let to_noise = |((tensor, _), (signal, error)): (&(&String, &String), &(f64, f64))| {
        let node = &float.nodes[*makers.get(*tensor)?];
        // Nothing lost, or nothing there: no noise to speak of.
        let decibels = if *error == 0.0 { 200.0 } else { 10.0 * (signal.max(1e-30) / error).log10() };
        Some(Noise { node: node.label(), operator: node.op_type.clone(), tensor: tensor.to_string(), decibels })
    };
    let mut noise: Vec<Noise> = pairs.iter().zip(&sums).filter_map(to_noise).collect();
    noise.sort_by(|a, b| a.decibels.total_cmp(&b.decibels));
    Ok(noise)
}
