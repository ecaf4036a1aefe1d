//! `quantize distill MODEL.onnx --calib DATA`: training with the float model as the teacher.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use cygnet::Card;
use cygnet_onnx::model::Model;
use quantize::data::{Data, Purpose};
use quantize::distill::{Distilled, Epoch, Loss, Settings, distill};
use quantize::engine::Engine;
use quantize::evaluate;
use quantize::files::NewFiles;
use quantize::params::Activations;
use quantize::recipe::{LayerForm, Recipe, WeightForm};
use quantize::{Options, Prepared, Quantized};
use serde::Serialize;

use super::compile;
use super::progress::Progress;
use super::summary::Shares;
use super::table::{grouped, percent};

/// What `distill` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The float model: the teacher
    pub model: PathBuf,
    /// Samples to learn from, some hundreds or thousands; labels are not looked at
    #[arg(long, value_name = "DATA")]
    pub calib: PathBuf,
    /// Labelled samples to evaluate on
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Where to write the int8 model [default: MODEL.distilled.onnx beside the model]
    #[arg(short, long, value_name = "OUT.onnx")]
    pub output: Option<PathBuf>,
    /// Where to write the compiled plan too
    #[arg(long, value_name = "OUT.cyg")]
    pub plan: Option<PathBuf>,
    /// The model's card [default: MODEL.toml beside the model, else the one inside the model]
    #[arg(long, value_name = "FILE.toml")]
    pub card: Option<PathBuf>,
    /// Another float model with the same inputs and outputs, to be trained in the place of the model itself
    #[arg(long, value_name = "STUDENT.onnx")]
    pub student: Option<PathBuf>,
    /// How weights are stored; the first layer, depthwise and small ones stay int8
    #[arg(long, value_enum, default_value = "int8")]
    pub weights: WeightForm,
    /// The same by the bits of a weight: 8 or 4
    #[arg(long, conflicts_with = "weights", value_parser = weight_bits)]
    pub weight_bits: Option<WeightForm>,
    /// Take whole channels out of the student that make up this share of the cost
    #[arg(long, value_name = "SHARE", value_parser = super::quantize::share)]
    pub prune: Option<f64>,
    /// How often every sample is seen
    #[arg(long, value_name = "N", default_value_t = Settings::default().epochs)]
    pub epochs: usize,
    /// Rate of the optimizer, in shares of a channel's largest weight
    #[arg(long, default_value_t = Settings::default().rate, value_parser = rate)]
    pub rate: f32,
    /// How much the scores of classes are softened
    #[arg(long, default_value_t = Settings::default().temperature, value_parser = temperature)]
    pub temperature: f64,
    /// How outputs are compared [default: classes, where the card has labels or the model ends in a softmax]
    #[arg(long, value_enum)]
    pub loss: Option<Loss>,
    /// Where random numbers start
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads to work on; the result does not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Integer type of activations
    #[arg(long, value_enum, default_value = "uint8")]
    pub activations: Activations,
    /// Print one JSON object and nothing else on stdout
    #[arg(long)]
    pub json: bool,
}

fn weight_bits(text: &str) -> Result<WeightForm, String> {
    match text {
        "8" => Ok(WeightForm::Int8),
        "4" => Ok(WeightForm::Int4),
        _ => Err("must be 8 or 4".into()),
    }
}

fn rate(text: &str) -> Result<f32, String> {
    let rate: f32 = text.parse().map_err(|_| "is no number".to_string())?;
    if rate > 0.0 && rate <= 1.0 { Ok(rate) } else { Err("must be above 0 and at most 1".into()) }
}

fn temperature(text: &str) -> Result<f64, String> {
    let temperature: f64 = text.parse().map_err(|_| "is no number".to_string())?;
    if (0.1..=100.0).contains(&temperature) { Ok(temperature) } else { Err("must lie between 0.1 and 100".into()) }
}

/// What became of a model.
#[derive(Serialize)]
struct Report {
    model: String,
    output: String,
    plan: Option<String>,
    float_bytes: u64,
    output_bytes: u64,
    samples: usize,
    weights: WeightForm,
    settings: Settings,
    /// On the samples held out, before training and after each epoch.
    epochs: Vec<Epoch>,
    /// Accuracy of the student without training, with --eval.
    before: Option<Shares>,
    /// The same after it.
    after: Option<Shares>,
    seconds: f64,
}

/// Trains, quantizes, evaluates, writes and tells.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = arguments.output.clone().unwrap_or_else(|| arguments.model.with_extension("distilled.onnx"));
    let mut model = super::read(&arguments.model)?;
    let inputs = [Some(&arguments.model), arguments.student.as_ref()];
    for path in [Some(&output), arguments.plan.as_ref()].into_iter().flatten() {
        inputs.into_iter().flatten().try_for_each(|input| super::check_output(path, input))?;
    }
    if arguments.plan.as_ref() == Some(&output) {
        bail!("{}: is the name of two outputs; give the plan another", output.display());
    }
    let card = super::card::take(&arguments.model, arguments.card.as_deref(), &mut model)?;
    let open = |path: &Path, purpose| Data::open(path, &model, card.as_ref()).map(|data| data.screened(purpose, None));
    let data = open(&arguments.calib, Purpose::Calibration)?;
    let evaluation = arguments.eval.as_deref().map(|path| open(path, Purpose::Evaluation)).transpose()?;
    if let Some(data) = evaluation.as_ref().filter(|d| !d.has_labels()) {
        bail!("{}: has samples without label; see `quantize --help`", data.path().display());
    }
    let (options, settings) = (options(arguments), settings(arguments, card.as_ref()));
    let teacher = quantize::prepare(model.clone(), &data)?;
    let student = match &arguments.student {
        Some(path) => quantize::prepare(student(path, &model)?, &data)?,
        None => teacher.clone(),
    };
    let untrained = |evaluation| {
        let untrained = quantize::quantize(student.model.clone(), &data, &options, || ())?;
        shares(&teacher, &engine(&untrained)?.0, evaluation)
    };
    let before = evaluation.as_ref().map(untrained).transpose()?;
    let mut progress: Option<(&'static str, Progress)> = None;
    let step = |what: &'static str| {
        if progress.as_ref().is_none_or(|(before, _)| *before != what) {
            let rounds = if what == "distilling" { settings.epochs.max(settings.float_epochs) } else { 1 };
            progress = Some((what, Progress::new(what, data.len() * rounds)));
        }
        if let Some((_, progress)) = &mut progress {
            progress.step();
        }
    };
    let Distilled { quantized, epochs } = distill(&teacher, student, &data, &options, &settings, step)?;
    drop(progress);
    let (engine, plan) = engine(&quantized)?;
    let after = evaluation.as_ref().map(|evaluation| shares(&teacher, &engine, evaluation)).transpose()?;
    let mut files = NewFiles::default();
    files.add(&output, &super::onnx_bytes(&quantized.model)?)?;
    if let Some(path) = &arguments.plan {
        files.add(path, &plan)?;
    }
    files.publish()?;
    let report = Report {
        model: arguments.model.display().to_string(),
        output: output.display().to_string(),
        plan: arguments.plan.as_ref().map(|p| p.display().to_string()),
        float_bytes: size(&arguments.model)?,
        output_bytes: size(&output)?,
        samples: data.len(),
        weights: options.recipe.usual.weights,
        settings,
        epochs,
        before,
        after,
        seconds: start.elapsed().as_secs_f64(),
    };
    if arguments.json { super::tell_json(&report) } else { super::tell(&report.to_string()) }
}

fn options(arguments: &Arguments) -> Options {
    let weights = arguments.weight_bits.unwrap_or(arguments.weights);
    let recipe = Recipe { usual: LayerForm { weights, ..LayerForm::default() }, ..Recipe::default() };
    let prune = arguments.prune.unwrap_or(0.0);
    let mut options = Options { activations: arguments.activations, recipe, prune, ..Options::default() };
    options.threads = arguments.threads.map_or(options.threads, NonZeroUsize::get);
    options
}

fn settings(arguments: &Arguments, card: Option<&Card>) -> Settings {
    let has_classes = card.is_none_or(|card| !card.labels.is_empty());
    let usual = if has_classes { Loss::Classes } else { Loss::Values };
    Settings {
        epochs: arguments.epochs,
        // A student of its own knows nothing yet.
        float_epochs: if arguments.student.is_some() { arguments.epochs } else { 0 },
        rate: arguments.rate,
        temperature: arguments.temperature,
        loss: arguments.loss.unwrap_or(usual),
        seed: arguments.seed,
    }
}

/// Reads the student and gives it the metadata of the teacher.
fn student(path: &Path, teacher: &Model) -> anyhow::Result<Model> {
    let mut student = super::read(path)?;
    let names = |model: &Model| model.inputs.iter().map(|i| i.name.clone()).collect::<Vec<_>>();
    if names(&student) != names(teacher) || student.outputs.len() != teacher.outputs.len() {
        bail!("{}: inputs and outputs must be those of the teacher: {}", path.display(), names(teacher).join(", "));
    }
    student.metadata.extend(teacher.metadata.clone());
    Ok(student)
}

fn engine(quantized: &Quantized) -> anyhow::Result<(Engine, Vec<u8>)> {
    let plan = compile::plan(&quantized.model, &quantized.dims).context("the int8 model cannot become a plan")?;
    Ok((Engine::new(plan.clone())?, plan))
}

/// Right answers of the teacher and of the student on the engine.
fn shares(teacher: &Prepared, engine: &Engine, data: &Data) -> anyhow::Result<Shares> {
    let mut progress = Progress::new("evaluating", data.len());
    let step = || progress.step();
    Ok(evaluate::accuracy(&teacher.model, engine, &teacher.dims, data.samples(), step)?.into())
}

fn size(path: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |bytes: u64| grouped(bytes as usize);
        let output = bytes(self.output_bytes);
        writeln!(f, "{}: {output} bytes, float {}", self.output, bytes(self.float_bytes))?;
        let form = format!("{:?}", self.weights).to_lowercase();
        writeln!(f, "{form} weights, trained on {} samples in {:.0} s; held out:", self.samples, self.seconds)?;
        for epoch in &self.epochs {
            let agreement = percent(epoch.agreement);
            writeln!(f, "  epoch {:>3}: loss {:.5}, the teacher's answer on {agreement}", epoch.number, epoch.loss)?;
        }
        for (what, shares) in [("before", &self.before), ("after", &self.after)] {
            let Some(shares) = shares else { continue };
            let (float, int8) = (percent(shares.float_top1), percent(shares.int8_top1));
            let agreement = percent(shares.agreement);
            writeln!(f, "{what:<8}top-1 {int8}, the teacher's {float}; the same answer on {agreement}")?;
        }
        Ok(())
    }
}
