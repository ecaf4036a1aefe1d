//! Distillation: the float model teaches its quantized self, or a smaller model, on data without labels.
//!
//! `graph` computes the model in the library's tensors, so that gradients can be had of it; the student's weights
//! and activations are rounded as the integer model rounds them (`parameter`, `steps`), the `loss` is the
//! distance from the teacher's answers, `train` makes the steps. The trained integers become standard ONNX as those
//! of any other quantization do.
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

use cygnet_onnx::model::{Model, Node, Tensor};

use crate::data::Data;
use crate::error::QuantizeError;
use crate::facts::infer;
use crate::graph::constant;
use crate::judge::Judge;
use crate::narrow::{Layout, Narrow};
use crate::operators::{Role, role};
use crate::params::{Params, least_scale};
use crate::placement::Placement;
use crate::ranges::Ranges;
use crate::recipe::WeightForm;
use crate::repair::Rounded;
use crate::rounding::LayerWeights;
use crate::{Options, Prepared, Quantized, assemble, calibrate, choose, equalize, placement, prune};
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

/// A trained integer model.
#[derive(Clone, Debug)]
pub struct Distilled {
    /// The model; its float form is the student's, with the weights that its integers stand for.
    pub quantized: Quantized,
    /// How training went.
    pub epochs: Vec<Epoch>,
}

/// Trains `student` to answer as `teacher` does, on all samples of `data`, with the rounding that the recipe of
/// `options` asks for.
///
/// `step` is called after each sample with what is being done: `reading`, `calibrating`, `distilling`.
///
/// # Errors
/// [`QuantizeError`] naming the node without gradient, the sample, or the mend where training goes astray.
pub fn distill(
    teacher: &Prepared,
    mut student: Prepared,
    data: &Data,
    options: &Options,
    settings: &Settings,
    mut step: impl FnMut(&'static str),
) -> Result<Distilled, QuantizeError> {
    // The library's own threads stay out of it: samples are spread over ours.
    gemm::set_threading_threshold(usize::MAX);
    let mut epochs = Vec::new();
    if settings.float_epochs > 0 {
        // How many samples are good is known once all were looked at.
        data.samples().try_for_each(|sample| sample.map(|_| step("reading")))?;
        let mut parameters = parameters(&student, None)?;
        let trainer = Trainer::new(teacher, &student, data, settings, options.threads)?;
        epochs = trainer.train(&mut parameters, settings.float_epochs, &mut step)?;
        write_back(&mut student, &parameters);
    }
    if options.prune > 0.0 {
        let Prepared { model, facts, dims, pruned, .. } = &mut student;
        *pruned = Some(prune::prune(model, facts, dims, options.prune, data)?);
        *facts = infer(model, dims)?;
    }
    // Equalization weighs the noise of 8 bits; weights of fewer lose by it.
    let is_int8 = options.recipe.usual.weights == WeightForm::Int8;
    if options.equalize && is_int8 && !data.is_synthetic() {
        let Prepared { model, facts, dims, .. } = &mut student;
        student.equalized = equalize::equalize(model, facts, dims, data)?;
    }
    let placement = placement::place(&student.model, &student.facts, &options.recipe, options.outputs)?;
    let observed = placement.observed(&student.model);
    let seen =
        calibrate::calibrate(&student.model, &observed, &student.dims, data.samples(), None, || step("calibrating"))?;
    let params = choose::ranges(
        &Judge::of(&student, data)?,
        &student,
        &placement,
        &seen,
        Ranges::candidates(options.effort),
        options,
    )?
    .params;
    let rounding = Rounding { placement: &placement, params: &params };
    let mut parameters = parameters(&student, Some(&rounding))?;
    let mut trainer = Trainer::new(teacher, &student, data, settings, options.threads)?;
    trainer.levels = rounding.activations();
    epochs.extend(trainer.train(&mut parameters, settings.epochs, &mut step)?);
    write_back(&mut student, &parameters);
    let quantized = assemble(&student, &placement, &params, &rounding.integers(&student, &parameters))?;
    Ok(Distilled { quantized: Quantized { original: teacher.model.clone(), seen, ..quantized }, epochs })
}

/// Puts the values of the parameters, rounded where they are, into the float model.
fn write_back(student: &mut Prepared, parameters: &BTreeMap<String, Parameter>) {
    for (name, parameter) in parameters {
        let tensor = Tensor::from_f32(parameter.shape.clone(), &parameter.rounded());
        student.model.initializers.insert(name.clone(), tensor);
    }
}

/// What becomes an integer and how.
struct Rounding<'a> {
    placement: &'a Placement,
    /// One for each group of the placement.
    params: &'a [Params],
}

impl Rounding<'_> {
    /// The levels of every tensor where values come in; what only moves them leaves them on their levels.
    fn activations(&self) -> BTreeMap<String, Params> {
        // Groups without tensors are other levels of the same values.
        let groups = self.placement.groups.iter().zip(self.params).filter(|(group, _)| !group.tensors.is_empty());
        groups.flat_map(|(group, params)| group.sources.iter().map(|source| (source.clone(), *params))).collect()
    }

    /// The levels for the `weights` of `node`; `None` where it stays float.
    fn weights(&self, model: &Model, node: &Node, weights: &Tensor) -> Result<Option<Levels>, QuantizeError> {
        let input = node.input(0).and_then(|x| self.params.get(*self.placement.group_of.get(x)?));
        let position = model.nodes.iter().position(|other| other.outputs == node.outputs);
        let role = position.and_then(|index| self.placement.roles.get(index));
        let (Some(input), Some(&Role::Weighted { channel_axis })) = (input, role) else { return Ok(None) };
        let form = self.placement.forms.get(&node.label()).copied().unwrap_or_default();
        let bias = constant(model, node, 2).map(Tensor::to_f32s).transpose()?;
        let least: Vec<f32> = bias.iter().flatten().map(|&b| least_scale(b, *input)).collect();
        let layout = Layout::of(&weights.shape, channel_axis);
        let narrow = Narrow::of(form, &weights.to_f32s()?, layout, &least, &[]);
        Ok(Some(Levels { channel_axis, narrow, least }))
    }

    /// The trained integers by the label of their layer.
    fn integers(&self, student: &Prepared, trained: &BTreeMap<String, Parameter>) -> Rounded {
        let mut rounded = Rounded::new();
        for node in &student.model.nodes {
            let parameter = |index: usize| node.input(index).and_then(|name| trained.get(name));
            if let Some(weights) = parameter(1).and_then(Parameter::integers) {
                let bias = parameter(2).map(|bias| bias.values.clone());
                rounded.insert(node.label(), LayerWeights { weights, bias });
            }
        }
        rounded
    }
}

/// The weights and biases of all layers by name; without `rounding` none is rounded.
fn parameters(student: &Prepared, rounding: Option<&Rounding>) -> Result<BTreeMap<String, Parameter>, QuantizeError> {
    let model = &student.model;
    let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
    for node in model.nodes.iter().filter(|node| matches!(role(model, node), Role::Weighted { .. })) {
        if let (Some(name), Some(weights)) = (node.input(1), constant(model, node, 1)) {
            let (shape, values) = (&weights.shape, weights.to_f32s()?);
            let levels = rounding.map(|rounding| rounding.weights(model, node, weights)).transpose()?.flatten();
            let parameter = match levels {
                Some(levels) => Parameter::weights(shape, values, levels),
                None => Parameter::float(shape, values),
            };
            parameters.entry(name.into()).or_insert(parameter);
        }
        if let (Some(name), Some(bias)) = (node.input(2), constant(model, node, 2)) {
            parameters.entry(name.into()).or_insert(Parameter::float(&bias.shape, bias.to_f32s()?));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cygnet_onnx::reference::Reference;

    use super::*;
    use crate::ranges::{Ranges, parameters as parameters_of};
    use crate::recipe::{LayerForm, Recipe};

    fn bundled(name: &str) -> (Prepared, Data) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name);
        let model = Model::read(&folder.join(format!("{name}.onnx"))).unwrap();
        let data = Data::open(&folder.join("calib.npz"), &model, None).unwrap();
        (crate::prepare(model, &data).unwrap(), data)
    }

    /// In training the student has the levels that the integer model has by tract, layer by layer. Sums in another
    /// order move a few values over the edge between two levels, and those move others in the layers behind: so the
    /// first layers must be the same but for a few in a thousand, the others by no more than a few levels.
    #[test]
    fn the_student_computes_what_the_integer_model_computes() {
        let (student, data) = bundled("digits-speech");
        let (options, settings) = (Options::default(), Settings::default());
        let placement = placement::place(&student.model, &student.facts, &options.recipe, options.outputs).unwrap();
        let observed = placement.observed(&student.model);
        let samples = data.samples().take(20);
        let seen = calibrate::calibrate(&student.model, &observed, &student.dims, samples, None, || ()).unwrap();
        let ranges = Ranges::MinMax;
        let params = parameters_of(&student.model, &placement, &seen, ranges, options.activations).unwrap();
        let rounding = Rounding { placement: &placement, params: &params };
        let parameters = parameters(&student, Some(&rounding)).unwrap();
        let trainer = Trainer::new(&student, &student, &data, &settings, 1).unwrap();
        let levels = rounding.activations();
        let quantized = assemble(&student, &placement, &params, &rounding.integers(&student, &parameters)).unwrap();
        let makes = |node: &Node| node.output(0).filter(|made| levels.contains_key(*made)).map(str::to_string);
        let tensors: Vec<String> = student.model.nodes.iter().filter_map(makes).collect();
        let taps: Vec<String> = tensors.iter().map(|t| quantized.inserted.dequantized[t].clone()).collect();
        let reference = Reference::with_dims(&quantized.model, &taps, &quantized.dims).unwrap();
        let inputs = data.sample(0).unwrap().inputs;
        let integers = reference.run(&inputs).unwrap().split_off(quantized.model.outputs.len());
        let inputs: Vec<_> = inputs.iter().map(|t| tensor_of(t).unwrap()).collect();
        let trained = train::variables(&parameters).unwrap();
        let students = trainer.student.run(&inputs, &trained, &levels, &tensors).unwrap();
        assert!(tensors.len() > 10);
        for (place, ((tensor, student), integer)) in tensors.iter().zip(students).zip(integers).enumerate() {
            let scale = levels[tensor].scale;
            let (student, integer) =
                (student.flatten_all().unwrap().to_vec1::<f32>().unwrap(), integer.to_f32s().unwrap());
            let apart: Vec<f32> = student.iter().zip(&integer).map(|(s, i)| ((s - i) / scale).abs()).collect();
            let others = apart.iter().filter(|&&a| a > 0.5).count() as f64 / apart.len() as f64;
            let most = apart.iter().fold(0f32, |most, a| most.max(*a));
            eprintln!("{tensor}: {:.4} % on other levels, {most:.1} apart at most", 100.0 * others);
            assert!(place > 1 || others < 0.005, "{tensor}: {others} of its values are on other levels");
            assert!(most < 6.5, "{tensor}: a value is {most} levels apart");
        }
    }

    /// Every layer in 4 bits loses much, and training wins back some of it; the file has the same bytes with any
    /// number of threads.
    #[test]
    fn training_helps_and_does_not_depend_on_threads() {
        let (teacher, data) = bundled("fashion");
        let settings = Settings { epochs: 2, rate: 3e-4, ..Settings::default() };
        let four_bits = LayerForm { weights: WeightForm::Int4, ..LayerForm::default() };
        let layers = teacher.model.nodes.iter().map(|node| (node.label(), four_bits)).collect();
        let recipe = Recipe { usual: four_bits, layers };
        let run = |threads| {
            let options = Options { threads, recipe: recipe.clone(), ..Options::default() };
            distill(&teacher, teacher.clone(), &data, &options, &settings, |_| ()).unwrap()
        };
        let one = run(1);
        let least = one.epochs[1..].iter().map(|epoch| epoch.loss).fold(f64::INFINITY, f64::min);
        assert!(least < one.epochs[0].loss, "{:?}", one.epochs);
        assert_eq!(one.quantized.model.to_bytes(), run(3).quantized.model.to_bytes());
    }
}
