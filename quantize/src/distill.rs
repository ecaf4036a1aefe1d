//! Distillation: the float model teaches its quantized self, or a smaller model, on data without labels.
//!
//! [`graph`] computes the model in the library's tensors, so that gradients can be had of it; the student's weights
//! and activations are rounded as the integer model rounds them ([`parameter`], [`steps`]), the [`loss`] is the
//! distance from the teacher's answers, [`train`] makes the steps. The trained weights go back into the float model,
//! rounded, and the usual passes make the integer model of it and find the same levels again.
//!
//! The result depends on the seed and not on the number of threads.

mod adam;
mod graph;
mod lanes;
mod loss;
mod operators;
mod parameter;
mod steps;
mod train;
mod window;

use std::collections::BTreeMap;

use cygnet_onnx::model::Tensor;

use crate::data::Data;
use crate::error::QuantizeError;
use crate::graph::constant;
use crate::operators::{Role, role};
use crate::params::Params;
use crate::placement::Placement;
use crate::recipe::{LayerForm, Precision, Recipe, WeightForm};
use crate::{Options, Prepared, calibrate, placement, ranges};
pub use graph::{Graph, Tensors, tensor_of};
pub use loss::{Loss, Target, targets};
pub use parameter::{Levels, Parameter};
use train::Trainer;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Settings {
    /// How often every sample is seen with rounding.
    pub epochs: usize,
    /// How often before that, all in float: for a student that knows nothing yet.
    pub float_epochs: usize,
    /// The rate of the optimizer, in shares of a channel's largest weight.
    pub rate: f32,
    /// How much the scores of classes are softened.
    pub temperature: f64,
    /// How outputs that no softmax makes are compared.
    pub loss: Loss,
    /// Where random numbers start.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { epochs: 10, float_epochs: 0, rate: 1e-3, temperature: 2.0, loss: Loss::Classes, seed: 0 }
    }
}

/// How the student did on the samples held out.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Epoch {
    /// 0 is before training.
    pub number: usize,
    /// Mean loss.
    pub loss: f64,
    /// Share of samples on which its first answer is the teacher's.
    pub agreement: f64,
}

/// Trains `student` to answer as `teacher` does, on all samples of `data`, with the rounding that the recipe of
/// `options` asks for. The student comes back with the trained weights, rounded.
///
/// `step` is called after each sample with what is being done: `calibrating`, `distilling`.
///
/// # Errors
/// [`QuantizeError`] naming the node without gradient, the sample, or the mend where training goes astray.
pub fn distill(
    teacher: &Prepared,
    student: &Prepared,
    data: &Data,
    options: &Options,
    settings: &Settings,
    mut step: impl FnMut(&'static str),
) -> Result<(Prepared, Vec<Epoch>), QuantizeError> {
    // The library's own threads stay out of it: samples are spread over ours.
    gemm::set_threading_threshold(usize::MAX);
    let (teacher_graph, student_graph) = (Graph::new(&teacher.model)?, Graph::new(&student.model)?);
    let targets = [&teacher.model, &student.model].map(|model| targets(model, settings.loss));
    let trainer = |levels, epochs| Trainer {
        teacher: &teacher_graph,
        student: &student_graph,
        targets: &targets,
        levels,
        data,
        settings: Settings { epochs, ..*settings },
        threads: options.threads,
    };
    let mut student = student.clone();
    let mut told = Vec::new();
    if settings.float_epochs > 0 {
        let mut parameters = parameters(&student, None)?;
        told = trainer(BTreeMap::new(), settings.float_epochs).train(&mut parameters, &mut step)?;
        write_back(&mut student, &parameters);
    }
    let placement = placement::place(&student.model, &student.facts, &options.recipe)?;
    let observed = placement.observed(&student.model);
    let seen = calibrate::calibrate(&student.model, &observed, &student.dims, data.samples(), || step("calibrating"))?;
    let params = ranges::parameters(&student.model, &placement, &seen, options.ranges, options.activations)?;
    let mut parameters = parameters(&student, Some(&options.recipe))?;
    told.extend(trainer(levels(&placement, &params), settings.epochs).train(&mut parameters, &mut step)?);
    write_back(&mut student, &parameters);
    Ok((student, told))
}

/// Puts the rounded values into the model.
fn write_back(student: &mut Prepared, parameters: &[Parameter]) {
    for parameter in parameters {
        let tensor = Tensor::from_f32(parameter.shape.clone(), &parameter.rounded());
        student.model.initializers.insert(parameter.name.clone(), tensor);
    }
}

/// The levels of every tensor where values come in; what only moves them leaves them on their levels.
fn levels(placement: &Placement, params: &[Params]) -> BTreeMap<String, Params> {
    let groups = placement.groups.iter().zip(params);
    let sources = groups.flat_map(|(group, params)| group.sources.iter().map(|source| (source.clone(), *params)));
    sources.collect()
}

/// The weights and biases of all layers that compute on weights; without a recipe nothing is rounded.
fn parameters(student: &Prepared, recipe: Option<&Recipe>) -> Result<Vec<Parameter>, QuantizeError> {
    let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
    for node in &student.model.nodes {
        let Role::Weighted { channel_axis } = role(&student.model, node) else { continue };
        let highest = match recipe.map(|recipe| recipe.form(node)) {
            None | Some(LayerForm { precision: Precision::Float, .. }) => f32::INFINITY,
            Some(LayerForm { weights: WeightForm::Int4, .. }) => 7.0,
            Some(_) => 127.0,
        };
        if let (Some(name), Some(weights)) = (node.input(1), constant(&student.model, node, 1)) {
            let parameter = Parameter::weights(name, &weights.shape, weights.to_f32s()?, channel_axis, highest);
            parameters.entry(name.into()).or_insert(parameter);
        }
        if let (Some(name), Some(bias)) = (node.input(2), constant(&student.model, node, 2)) {
            parameters.entry(name.into()).or_insert(Parameter::bias(name, bias.to_f32s()?));
        }
    }
    Ok(parameters.into_values().collect())
}
