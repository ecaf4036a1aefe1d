//! How far the answers of an int8 model lie from the float model's: what every choice is judged by.
//!
//! The int8 model is run by the engine on some samples of the calibration data; labels are not needed.

use std::collections::{BTreeMap, BTreeSet};

use cygnet::core::math::exp;
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
    /// For each answer that is compared as probabilities the logarithm of each class's mean over all samples.
    usual: Vec<Vec<f32>>,
    /// Which samples nothing is fitted on.
    held_out: Vec<bool>,
}

/// The squared error of a model's answers as a share of the squares of the float model's: 0 where nothing is lost. Of answers
/// that give probabilities at many places, the information that is lost as a share of what the float model tells: the
/// Kullback-Leibler divergence from its probabilities, over theirs from the mean over all places.
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
    form: Form,
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// As they are.
    Values,
    /// Without their mean over the axis that a softmax is taken over: only differences pass it.
    Differences(Over),
    /// As logarithms of the probabilities that a softmax makes of them at each of many places. Most places say what most
    /// others say, for example nothing or background: errors there must not hide those at the few others.
    Probabilities(Over),
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
        let usual = answers.iter().enumerate().map(|(place, answer)| answer.usual(&real, place)).collect();
        Ok(Judge { answers, samples, real, usual, held_out })
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
            let answers = self.answers.iter().zip(near).zip(real.iter().zip(&self.usual));
            Ok(answers.map(|((answer, near), (real, usual))| answer.lost(real, near, usual)).collect::<Vec<_>>())
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
        let (Form::Differences(over) | Form::Probabilities(over)) = self.form else { return values };
        for block in values.chunks_exact_mut(over.extent * over.stride) {
            for first in 0..over.stride {
                let row = || (first..over.extent * over.stride).step_by(over.stride);
                let all = row().map(|place| block[place]);
                let common = if matches!(self.form, Form::Probabilities(_)) {
                    let most = all.clone().fold(f32::NEG_INFINITY, f32::max);
                    most + all.map(|value| f64::from(exp(value - most))).sum::<f64>().ln() as f32
                } else {
                    all.sum::<f32>() / over.extent as f32
                };
                row().for_each(|place| block[place] -= common);
            }
        }
        values
    }

    /// For probabilities the logarithm of each class's mean, from the values of the answer of this number.
    fn usual(&self, real: &[Vec<Vec<f32>>], number: usize) -> Vec<f32> {
        let Form::Probabilities(over) = self.form else { return Vec::new() };
        let (mut sums, mut count) = (vec![0f64; over.extent], 0);
        for values in real.iter().filter_map(|answers| answers.get(number)) {
            values.iter().enumerate().for_each(|(place, value)| sums[over.index(place)] += f64::from(exp(*value)));
            count += values.len() / over.extent;
        }
        sums.into_iter().map(|sum| (sum / count.max(1) as f64).max(f64::from(f32::MIN_POSITIVE)).ln() as f32).collect()
    }

    /// What the float model tells by `real`, as [`Answer::compared`] has it, and what of it is lost in `near`.
    fn lost(&self, real: &[f32], near: Vec<f32>, usual: &[f32]) -> (f64, f64) {
        let near = self.compared(near);
        let pairs = real.iter().zip(&near);
        let Form::Probabilities(over) = self.form else {
            let signal = real.iter().map(|r| f64::from(*r).powi(2)).sum::<f64>();
            return (signal, pairs.map(|(r, n)| f64::from(n - r).powi(2)).sum::<f64>());
        };
        pairs.enumerate().fold((0.0, 0.0), |(told, lost), (place, (real, near))| {
            let probability = f64::from(exp(*real));
            let beside = |other: f32| probability * f64::from(real - other);
            (told + beside(usual[over.index(place)]), lost + beside(*near))
        })
    }
}

impl Over {
    /// The index on the axis of the element at a place.
    fn index(self, place: usize) -> usize {
        place / self.stride % self.extent
    }
}

/// The float outputs of the model, each part of one that is several one after the other for itself: sureness between 0 and 1
/// counts as much as places of some hundred pixels.
fn answers(model: &Model, facts: &Facts) -> Vec<Answer> {
    let makers = makers(model);
    let is_float = |tensor: &str| facts.get(tensor).is_some_and(|(dtype, _)| *dtype == DType::F32);
    let mut answers = Vec::new();
    for output in model.outputs.iter().filter(|output| is_float(&output.name)) {
        let parts = parts_of(&output.name, model, &makers);
        let parts = if (2..=MOST_PARTS).contains(&parts.len()) { parts } else { BTreeSet::from([&*output.name]) };
        answers.extend(parts.into_iter().map(|part| answer(part, model, facts, &makers)));
    }
    answers
}

/// The tensors that an output is put together of. Constants are no answers.
fn parts_of<'m>(output: &'m str, model: &'m Model, makers: &BTreeMap<String, usize>) -> BTreeSet<&'m str> {
    let (mut parts, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![output]);
    while let Some(tensor) = open.pop() {
        let Some(node) = makers.get(tensor).map(|&index| &model.nodes[index]).filter(|_| seen.insert(tensor)) else {
            continue;
        };
        // What only moves all of its values leaves the errors as they are.
        let moves = ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"];
        if node.is("Concat") {
            open.extend(node.inputs.iter().map(String::as_str));
        } else if let Some(input) = node.input(0).filter(|_| moves.iter().any(|op| node.is(op))) {
            open.push(input);
        } else {
            parts.insert(tensor);
        }
    }
    parts
}

/// How a tensor is compared: what goes into a softmax instead of what comes out of it.
fn answer(tensor: &str, model: &Model, facts: &Facts, makers: &BTreeMap<String, usize>) -> Answer {
    let maker = makers.get(tensor).map(|&index| &model.nodes[index]);
    let before = maker.filter(|node| node.is("Softmax")).and_then(|node| node.input(0));
    let Some(before) = before.filter(|tensor| makers.contains_key(*tensor)) else {
        return Answer { tensor: tensor.into(), form: Form::Values };
    };
    let axis = maker.and_then(|node| node.int("axis")).unwrap_or(-1);
    let shape = facts.get(before).map_or(&[][..], |(_, shape)| shape);
    let form = match over(shape, axis) {
        Some(over) if shape.iter().product::<usize>() > over.extent => Form::Probabilities(over),
        Some(over) => Form::Differences(over),
        None => Form::Values,
    };
    Answer { tensor: before.into(), form }
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
        let answer = Answer { tensor: "x".into(), form: Form::Differences(softmax.unwrap()) };
        let values = vec![1.0, 0.0, 2.0, 5.0, 3.0, 1.0, 7.0, 0.0, 7.0, 0.0, 7.0, 3.0];
        let expected = [-1.0, -2.0, 0.0, 3.0, 1.0, -1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 2.0];
        assert_eq!(answer.compared(values), expected);
    }

    #[test]
    fn places_that_say_what_all_say_do_not_hide_others() {
        // Four places of two classes: three of them (3/4, 1/4), the last (1/4, 3/4).
        let over = over(&[1, 4, 2], 2).unwrap();
        let answer = Answer { tensor: "x".into(), form: Form::Probabilities(over) };
        let third = 3f32.ln();
        let logits = vec![third, 0.0, third, 0.0, third, 0.0, 0.0, third];
        let real = answer.compared(logits.clone());
        assert!((real[0] - 0.75f32.ln()).abs() < 1e-6 && (real[7] - 0.75f32.ln()).abs() < 1e-6, "{real:?}");
        // Their mean is (5/8, 3/8).
        let usual = answer.usual(&[vec![real.clone()]], 0);
        assert!((usual[0] - 0.625f32.ln()).abs() < 1e-6 && (usual[1] - 0.375f32.ln()).abs() < 1e-6, "{usual:?}");
        // Told: 3·(3/4·ln 6/5 + 1/4·ln 2/3) + (1/4·ln 2/5 + 3/4·ln 2). Lost where the last says what all say: ln 3 / 2.
        let near = vec![third, 0.0, third, 0.0, third, 0.0, third, 0.0];
        let (told, lost) = answer.lost(&real, near, &usual);
        let expected = 3.0 * (0.75 * 1.2f64.ln() + 0.25 * (2.0 / 3.0f64).ln()) + 0.25 * 0.4f64.ln() + 0.75 * 2f64.ln();
        assert!((told - expected).abs() < 1e-6 && (lost - 3f64.ln() / 2.0).abs() < 1e-6, "{told} {lost}");
        assert!(answer.lost(&real, logits, &usual).1.abs() < 1e-9);
    }

    #[test]
    fn parts_of_an_answer_are_judged_each_for_itself() {
        let mut model = Model::default();
        for (op, inputs, output) in [
            ("Conv", &["x", "w"][..], "sure"),
            ("Sigmoid", &["sure"], "object"),
            ("Conv", &["x", "w"], "box"),
            ("Conv", &["x", "w"], "logits"),
            ("Softmax", &["logits"], "classes"),
            ("Transpose", &["classes"], "turned"),
            ("Concat", &["object", "box", "constant", "turned"], "all"),
            ("Reshape", &["all", "shape"], "y"),
            ("Reshape", &["box", "shape"], "z"),
        ] {
            model.nodes.push(cygnet_onnx::model::Node::new(op, output, inputs, &[output]));
        }
        let info = |name: &str| ValueInfo { name: name.into(), dtype: DType::F32, shape: None };
        model.outputs = vec![info("y"), info("z")];
        let shapes = [("y", vec![1, 20]), ("z", vec![1, 16]), ("logits", vec![1, 4, 3])];
        let facts = shapes.map(|(name, shape)| (name.to_string(), (DType::F32, shape))).into_iter().collect();
        let values = |tensor: &str| Answer { tensor: tensor.into(), form: Form::Values };
        let over = Over { extent: 3, stride: 1 };
        let classes = Answer { tensor: "logits".into(), form: Form::Probabilities(over) };
        assert_eq!(answers(&model, &facts), [values("box"), classes, values("object"), values("z")]);
    }
}
