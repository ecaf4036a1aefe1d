//! The loop: batches, gradients, steps, and the best so far.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::adam::{Adam, share_of_rate};
use super::graph::{Graph, Tensors, tensor_of};
use super::lanes::in_lanes;
use super::loss::{Target, agree, loss, targets};
use super::parameter::Parameter;
use super::{Epoch, Settings};
use crate::Prepared;
use crate::data::Data;
use crate::error::QuantizeError;
use crate::params::Params;

/// Samples of one step.
const BATCH: usize = 32;
/// One sample of so many is held out.
const HELD_OUT: usize = 10;

/// A teacher, a student, and what they are compared on.
pub(super) struct Trainer<'a> {
    teacher: Graph,
    pub(super) student: Graph,
    /// The tensors to compare, the teacher's and the student's.
    targets: [Vec<Target>; 2],
    /// The levels of the student's activations; empty where they stay float.
    pub(super) levels: BTreeMap<String, Params>,
    data: &'a Data,
    settings: &'a Settings,
    threads: usize,
}

/// Loss and gradients, summed over a run of samples.
struct Sum {
    loss: f64,
    gradients: Vec<Vec<f32>>,
}

/// Loss and agreement, summed over a run of samples.
#[derive(Default)]
struct Score {
    loss: f64,
    agree: usize,
}

impl<'a> Trainer<'a> {
    /// A student whose activations are not rounded yet.
    pub(super) fn new(
        teacher: &Prepared,
        student: &Prepared,
        data: &'a Data,
        settings: &'a Settings,
        threads: usize,
    ) -> Result<Trainer<'a>, QuantizeError> {
        Ok(Trainer {
            teacher: Graph::new(&teacher.model)?,
            student: Graph::new(&student.model)?,
            targets: [teacher, student].map(|side| targets(&side.model, settings.loss)),
            levels: BTreeMap::new(),
            data,
            settings,
            threads,
        })
    }

    /// Trains `parameters` and leaves the best of all epochs in them; `step` is called after each sample.
    pub(super) fn train(
        &self,
        parameters: &mut BTreeMap<String, Parameter>,
        epochs: usize,
        mut step: impl FnMut(&'static str),
    ) -> Result<Vec<Epoch>, QuantizeError> {
        // Shuffled once, so that the samples held out are of all kinds in data that are sorted.
        let mut order: Vec<usize> = (0..self.data.len()).collect();
        let mut random = Random(self.settings.seed);
        random.shuffle(&mut order);
        let (held_out, mut order) = match order.len() / HELD_OUT {
            0 => (order.clone(), order),
            count => (order[..count].to_vec(), order[count..].to_vec()),
        };
        let steps = epochs * order.len().div_ceil(BATCH);
        let mut adam = Adam::default();
        let mut done = 0;
        let mut best = parameters.clone();
        let mut told = vec![self.score(parameters, &held_out, 0)?];
        for epoch in 1..=epochs {
            random.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                self.step(parameters, batch, &mut adam, share_of_rate(done, steps))?;
                done += 1;
                batch.iter().for_each(|_| step("distilling"));
            }
            let score = self.score(parameters, &held_out, epoch)?;
            // On few samples the loss tells more than the number of same answers.
            if told.iter().all(|before| score.loss < before.loss) {
                best.clone_from(parameters);
            }
            told.push(score);
        }
        *parameters = best;
        Ok(told)
    }

    /// One step of the optimizer on `batch`.
    fn step(
        &self,
        parameters: &mut BTreeMap<String, Parameter>,
        batch: &[usize],
        adam: &mut Adam,
        share: f32,
    ) -> Result<(), QuantizeError> {
        let tensors = variables(parameters)?;
        let sums = in_lanes(batch, self.threads, |lane| self.gradients(parameters, &tensors, lane))?;
        let mut trained = Vec::new();
        for (index, parameter) in parameters.values().enumerate() {
            let mut gradient = vec![0f32; parameter.values.len()];
            for sum in &sums {
                gradient.iter_mut().zip(&sum.gradients[index]).for_each(|(g, part)| *g += part);
            }
            gradient.iter_mut().for_each(|g| *g /= batch.len() as f32);
            trained.extend(parameter.gradient(&gradient));
        }
        let loss: f64 = sums.iter().map(|sum| sum.loss).sum();
        if !loss.is_finite() || !trained.iter().all(|g| g.is_finite()) {
            let problem = "training went astray: the loss is no number; give a smaller --rate";
            return Err(QuantizeError::Unsuitable(problem.into()));
        }
        adam.step(&mut trained, self.settings.rate * share);
        let mut rest = &trained[..];
        for parameter in parameters.values_mut() {
            let (own, others) = rest.split_at(parameter.trained_len());
            parameter.step(own);
            rest = others;
        }
        Ok(())
    }

    /// Loss and gradients by the rounded values, summed over `samples` in order.
    fn gradients(
        &self,
        parameters: &BTreeMap<String, Parameter>,
        tensors: &Tensors,
        samples: &[usize],
    ) -> Result<Sum, QuantizeError> {
        let zeros = |p: &Parameter| vec![0f32; p.values.len()];
        let mut sum = Sum { loss: 0.0, gradients: parameters.values().map(zeros).collect() };
        for &index in samples {
            let (name, teacher, student) = self.answers(tensors, index)?;
            let fail = |e: candle_core::Error| QuantizeError::data(&name, e.to_string());
            let loss = loss(&self.targets[1], &teacher, &student, self.settings.temperature).map_err(fail)?;
            sum.loss += f64::from(loss.to_scalar::<f32>().map_err(fail)?);
            let gradients = loss.backward().map_err(fail)?;
            for (name, sum) in parameters.keys().zip(&mut sum.gradients) {
                let Some(gradient) = tensors.get(name).and_then(|tensor| gradients.get(tensor)) else {
                    continue;
                };
                let values = gradient.flatten_all().and_then(|g| g.to_vec1::<f32>()).map_err(fail)?;
                sum.iter_mut().zip(values).for_each(|(sum, g)| *sum += g);
            }
        }
        Ok(sum)
    }

    /// Loss and agreement on `samples`.
    fn score(
        &self,
        parameters: &BTreeMap<String, Parameter>,
        samples: &[usize],
        number: usize,
    ) -> Result<Epoch, QuantizeError> {
        let tensors: Tensors = variables(parameters)?.into_iter().map(|(n, v)| (n, v.detach())).collect();
        let scores = in_lanes(samples, self.threads, |lane| {
            let mut score = Score::default();
            for &index in lane {
                let (name, teacher, student) = self.answers(&tensors, index)?;
                let fail = |e: candle_core::Error| QuantizeError::data(&name, e.to_string());
                let loss = loss(&self.targets[1], &teacher, &student, self.settings.temperature).map_err(fail)?;
                score.loss += f64::from(loss.to_scalar::<f32>().map_err(fail)?);
                score.agree += usize::from(agree(&teacher, &student).map_err(fail)?);
            }
            Ok(score)
        })?;
        let count = samples.len().max(1) as f64;
        Ok(Epoch {
            number,
            loss: scores.iter().map(|s| s.loss).sum::<f64>() / count,
            agreement: scores.iter().map(|s| s.agree).sum::<usize>() as f64 / count,
        })
    }

    /// The name of the sample at `index` and what teacher and student say to it.
    pub(super) fn answers(
        &self,
        tensors: &Tensors,
        index: usize,
    ) -> Result<(String, Vec<Tensor>, Vec<Tensor>), QuantizeError> {
        let sample = self.data.sample(index)?;
        let fail = |e: candle_core::Error| QuantizeError::data(&sample.name, e.to_string());
        let inputs = sample.inputs.iter().map(tensor_of).collect::<candle_core::Result<Vec<_>>>().map_err(fail)?;
        let [taught, learned] =
            self.targets.each_ref().map(|targets| targets.iter().map(|t| t.tensor.clone()).collect::<Vec<_>>());
        let teacher = self.teacher.run(&inputs, &Tensors::new(), &BTreeMap::new(), &taught)?;
        let student = self.student.run(&inputs, tensors, &self.levels, &learned)?;
        Ok((sample.name, teacher, student))
    }
}

/// The rounded values of the parameters as the library's variables: what gradients are taken by.
pub(super) fn variables(parameters: &BTreeMap<String, Parameter>) -> Result<Tensors, QuantizeError> {
    let variable = |(name, parameter): (&String, &Parameter)| {
        let tensor = Tensor::from_vec(parameter.rounded(), parameter.shape.clone(), &Device::Cpu);
        let variable = tensor.and_then(|t| Var::from_tensor(&t));
        let variable = variable.map_err(|e| QuantizeError::Unsuitable(format!("tensor \"{name}\": {e}")));
        Ok((name.clone(), variable?.into_inner()))
    };
    parameters.iter().map(variable).collect()
}

/// Numbers in a fixed order from a seed: SplitMix64, Steele et al., <https://doi.org/10.1145/2714064.2660195>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fisher and Yates' shuffle.
    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            let chosen = (self.next() % (last as u64 + 1)) as usize;
            order.swap(last, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_the_paper() {
        // The first outputs of SplitMix64 from seed 1234567, as its reference implementation prints them.
        let mut random = Random(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        let mut order: Vec<usize> = (0..50).collect();
        Random(1).shuffle(&mut order);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..50) && order != sorted);
    }
}
