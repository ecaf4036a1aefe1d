//! Compares the int8 model with the float model: what the card wants measured, and noise layer by layer.

pub mod boxes;
mod detection;
mod metric;
pub mod statistics;

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};

use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;
use rayon::prelude::*;

use cygnet_sense::card::Anomaly;

use crate::Quantized;
use crate::data::Sample;
use crate::engine::{Engine, Session};
use crate::error::QuantizeError;
use crate::facts::Dims;
use crate::graph::makers;
use crate::operators::{Role, role};
use crate::taps::{Sessions, Taps, Values};
use metric::{Answer, Outcome};
pub use metric::{Evaluation, Measure, Metric};

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
    fn of(outcomes: &[Outcome]) -> Accuracy {
        let count = |holds: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| holds(outcome)).count();
        Accuracy {
            samples: outcomes.len(),
            float_right: count(&|outcome| outcome.label == Some(outcome.float.first)),
            int8_right: count(&|outcome| outcome.label == Some(outcome.int8.first)),
            agree: count(&|outcome| outcome.float.first == outcome.int8.first),
        }
    }

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

/// Compares the float model, run by tract, and the int8 plan, run by the engine, on all samples, as `metric` says; on
/// `threads` threads. `step` is called after each sample. The figures do not depend on the number of threads.
///
/// # Errors
/// [`QuantizeError::Data`] for a sample that does not suit the model or the metric.
pub fn evaluate(
    float: &Model,
    int8: &Engine,
    dims: &Dims,
    metric: &Metric,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>> + Send,
    threads: usize,
    step: impl FnMut(),
) -> Result<Evaluation, QuantizeError> {
    let float = Reference::with_dims(float, &[], dims)?;
    Ok(Evaluation::of(metric, &outcomes(&float, int8, metric, samples, threads, step)?))
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
    step: impl FnMut(),
) -> Result<Accuracy, QuantizeError> {
    let float = Reference::with_dims(float, &[], dims)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let labelled = samples.map(|sample| match sample {
        Ok(Sample { label: None, name, .. }) => Err(QuantizeError::data(name, "has no label")),
        sample => sample,
    });
    Ok(Accuracy::of(&outcomes(&float, int8, &Metric::Top1, labelled, threads, step)?))
}

/// What both models say to each sample, in the order of the samples.
fn outcomes(
    float: &Reference,
    int8: &Engine,
    metric: &Metric,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>> + Send,
    threads: usize,
    mut step: impl FnMut(),
) -> Result<Vec<Outcome>, QuantizeError> {
    let sessions = (0..threads.max(1)).map(|_| int8.session()).collect::<Result<Vec<_>, _>>()?;
    let samples = Mutex::new(samples.enumerate());
    let next = || samples.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut outcomes = BTreeMap::new();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for mut session in sessions {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((index, sample)) = next() {
                    let outcome = sample.and_then(|sample| outcome(float, &mut session, metric, &sample));
                    // A send fails when an error has ended the counting.
                    if sender.send((index, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (index, outcome) in receiver {
            outcomes.insert(index, outcome?);
            step();
        }
        Ok(outcomes.into_values().collect())
    })
}

fn outcome(float: &Reference, int8: &mut Session, metric: &Metric, sample: &Sample) -> Result<Outcome, QuantizeError> {
    let outputs = float.run(&sample.inputs).map_err(|e| QuantizeError::data(&sample.name, e.to_string()))?;
    let outputs = outputs.iter().map(Tensor::to_f32s).collect::<Result<Vec<_>, _>>()?;
    let levels = int8.outputs(sample)?;
    let (cosine, squared_error) = distance(&outputs, &levels);
    Ok(Outcome {
        label: sample.label,
        classes: outputs.first().map_or(0, Vec::len),
        float: answer(&outputs, metric, sample)?,
        int8: answer(&levels, metric, sample)?,
        truth: metric.true_boxes(&sample.name),
        cosine,
        squared_error,
    })
}

fn answer(outputs: &[Vec<f32>], metric: &Metric, sample: &Sample) -> Result<Answer, QuantizeError> {
    let scores = outputs.first().map_or(&[][..], Vec::as_slice);
    let anomaly = match metric {
        Metric::AreaUnderCurve(anomaly) => anomaly_score(*anomaly, scores, sample)?,
        _ => 0.0,
    };
    let label = sample.label.and_then(|label| usize::try_from(label).ok());
    let own = label.and_then(|label| Some((label, *scores.get(label)?))).filter(|(_, own)| !own.is_nan());
    let above = |(label, own): (usize, f32)| {
        let beats = |(index, score): &(usize, &f32)| **score > own || (**score == own && *index < label);
        scores.iter().enumerate().filter(beats).count()
    };
    let boxes = match metric {
        Metric::AveragePrecision { decoder, .. } => {
            boxes::boxes(decoder, outputs).map_err(|problem| QuantizeError::data(&sample.name, problem.to_string()))?
        }
        _ => Vec::new(),
    };
    Ok(Answer { first: first_answer(scores), rank: own.map_or(usize::MAX, above), anomaly, boxes })
}

fn anomaly_score(anomaly: Anomaly, output: &[f32], sample: &Sample) -> Result<f64, QuantizeError> {
    if anomaly == Anomaly::Output {
        return Ok(output.first().map_or(f64::NAN, |score| f64::from(*score)));
    }
    let input = sample.inputs.first().map(Tensor::to_f32s).transpose()?.unwrap_or_default();
    if input.len() != output.len() {
        let (input, output) = (input.len(), output.len());
        let problem =
            format!("the input has {input} values, the output {output}: the model does not rebuild its input");
        let mend = "let the card say evaluation.anomaly = \"output\" where the output is the score";
        return Err(QuantizeError::data(&sample.name, format!("{problem}; {mend}")));
    }
    let squares = input.iter().zip(output).map(|(x, y)| f64::from(x - y).powi(2));
    Ok(squares.sum::<f64>() / input.len().max(1) as f64)
}

/// Cosine of the angle between all outputs as one vector, and their mean squared difference.
fn distance(float: &[Vec<f32>], int8: &[Vec<f32>]) -> (f64, f64) {
    let (mut product, mut float_square, mut int8_square, mut error, mut count) = (0.0, 0.0, 0.0, 0.0, 0);
    for (x, y) in float.iter().flatten().zip(int8.iter().flatten()) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        product += x * y;
        float_square += x * x;
        int8_square += y * y;
        error += (x - y) * (x - y);
        count += 1;
    }
    let lengths = (float_square * int8_square).sqrt();
    let are_same = float_square == 0.0 && int8_square == 0.0;
    (if lengths > 0.0 { product / lengths } else { f64::from(u8::from(are_same)) }, error / f64::from(count.max(1)))
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
    quantized: &Quantized,
    samples: impl Iterator<Item = Result<Sample, QuantizeError>>,
) -> Result<Vec<Noise>, QuantizeError> {
    let Quantized { float, model, inserted, .. } = quantized;
    let makers = makers(float);
    let int8_makers = crate::graph::makers(model);
    // What only moves values has the noise of what it moves.
    let computes = |index: &usize| role(float, &float.nodes[*index]) != Role::Move;
    let shown = |(t, d): &(&String, &String)| makers.get(*t).is_some_and(computes) && int8_makers.contains_key(*d);
    let tensors: Vec<String> = inserted.dequantized.iter().filter(shown).map(|(tensor, _)| tensor.clone()).collect();
    let taps = Taps::of(quantized, &tensors, true)?;
    let samples = samples.collect::<Result<Vec<_>, _>>()?;
    let of_sample = |sessions: &mut Result<Sessions, QuantizeError>, sample: &Sample| {
        let sessions = sessions.as_mut().map_err(|error| QuantizeError::Unsuitable(error.to_string()))?;
        let Values { real, near } = taps.run(sessions, sample)?;
        let sums = |(real, near): (&Vec<f32>, &Vec<f32>)| {
            let error = real.iter().zip(near).map(|(real, near)| f64::from(real - near).powi(2)).sum::<f64>();
            (real.iter().map(|real| f64::from(*real).powi(2)).sum::<f64>(), error)
        };
        Ok(real.iter().zip(&near).map(sums).collect::<Vec<_>>())
    };
    let each = samples.par_iter().map_init(|| taps.sessions(), of_sample).collect::<Result<Vec<_>, QuantizeError>>()?;
    let to_noise = |(place, tensor): (usize, &String)| {
        let node = &float.nodes[*makers.get(tensor)?];
        let add = |(signal, error), of: &Vec<(f64, f64)>| (signal + of[place].0, error + of[place].1);
        let (signal, error) = each.iter().fold((0f64, 0f64), add);
        // Nothing lost, or nothing there: no noise to speak of.
        let decibels = if error == 0.0 { 200.0 } else { 10.0 * (signal.max(1e-30) / error).log10() };
        Some(Noise { node: node.label(), operator: node.op_type.clone(), tensor: tensor.clone(), decibels })
    };
    let mut noise: Vec<Noise> = tensors.iter().enumerate().filter_map(to_noise).collect();
    noise.sort_by(|a, b| a.decibels.total_cmp(&b.decibels));
    Ok(noise)
}
