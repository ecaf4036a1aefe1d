//! `quantize MODEL.onnx --calib DATA`: the whole way from float to int8.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use quantize::data::Data;
use quantize::engine::Engine;
use quantize::evaluate::{self, Accuracy, Noise};
use quantize::params::Activations;
use quantize::ranges::Ranges;
use quantize::tail::Outputs;
use quantize::{Effort, Options, Quantized};

use super::compile;
use super::progress::Progress;
use super::summary::Summary;

/// Samples from which signal to noise is taken.
const NOISE_SAMPLES: usize = 16;

/// What `quantize` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The float model
    pub model: PathBuf,
    /// Samples to calibrate on, about 100: a folder of images or WAVs, or an .npz of tensors
    #[arg(long, value_name = "DATA")]
    pub calib: PathBuf,
    /// Labelled samples to evaluate on: a folder with labels.csv or one sub-folder per label, or an .npz with "y"
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Where to write the int8 model [default: MODEL.int8.onnx beside the model]
    #[arg(short, long, value_name = "OUT.onnx")]
    pub output: Option<PathBuf>,
    /// Where to write the compiled plan too
    #[arg(long, value_name = "OUT.cyg")]
    pub plan: Option<PathBuf>,
    /// The model's card [default: MODEL.toml beside the model, else the one inside the model]
    #[arg(long, value_name = "FILE.toml")]
    pub card: Option<PathBuf>,
    /// How activation ranges are drawn from the samples
    #[arg(long, value_enum, default_value = "minmax")]
    pub ranges: RangeKind,
    /// Share of values inside the range, with --ranges percentile
    #[arg(long, default_value_t = 99.99, value_parser = percentile)]
    pub percentile: f64,
    /// How much work goes into accuracy
    #[arg(long, value_enum, default_value = "normal")]
    pub effort: Effort,
    /// Threads to work on; the result does not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Integer type of activations
    #[arg(long, value_enum, default_value = "uint8")]
    pub activations: Activations,
    /// Form of the answers
    #[arg(long, value_enum, default_value = "float")]
    pub outputs: Outputs,
    /// Leave the channels of the float model as wide as they are (no cross-layer equalization)
    #[arg(long)]
    pub no_equalize: bool,
    /// Print one JSON object and nothing else on stdout
    #[arg(long)]
    pub json: bool,
}

/// The names of [`Ranges`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RangeKind {
    /// From the least to the largest value
    Minmax,
    /// The share of values that --percentile tells
    Percentile,
    /// The range with the least squared error
    Error,
}

fn percentile(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "is no number".to_string())?;
    if percent > 50.0 && percent <= 100.0 { Ok(percent) } else { Err("must be above 50 and at most 100".into()) }
}

/// Quantizes, evaluates, writes and tells.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let summary = work(arguments)?;
    if arguments.json { super::tell_json(&summary) } else { super::tell(&summary.to_string()) }
}

/// Quantizes, evaluates and writes.
pub fn work(arguments: &Arguments) -> anyhow::Result<Summary> {
    let output = arguments.output.clone().unwrap_or_else(|| arguments.model.with_extension("int8.onnx"));
    let mut model = super::read(&arguments.model)?;
    for path in [Some(&output), arguments.plan.as_ref()].into_iter().flatten() {
        super::check_output(path, &arguments.model)?;
    }
    if arguments.plan.as_ref() == Some(&output) {
        bail!("{}: is the name of two outputs; give the plan another", output.display());
    }
    let card = super::card::take(&arguments.model, arguments.card.as_deref(), &mut model)?;
    let calibration = Data::open(&arguments.calib, &model, card.as_ref())?;
    let evaluation = arguments.eval.as_deref().map(|path| Data::open(path, &model, card.as_ref())).transpose()?;
    if let Some(data) = evaluation.as_ref().filter(|d| !d.has_labels()) {
        let mend = "add labels.csv (file,label) or sub-folders named like the labels; in an .npz an array \"y\"";
        bail!("{}: has samples without label; {mend}", data.path().display());
    }
    let ranges = match arguments.ranges {
        RangeKind::Minmax => Ranges::MinMax,
        RangeKind::Percentile => Ranges::Percentile(arguments.percentile),
        RangeKind::Error => Ranges::LeastError,
    };
    let mut options = Options {
        ranges,
        activations: arguments.activations,
        outputs: arguments.outputs,
        effort: arguments.effort,
        equalize: !arguments.no_equalize,
        ..Options::default()
    };
    options.threads = arguments.threads.map_or(options.threads, NonZeroUsize::get);
    let mut progress = Progress::new("calibrating", calibration.len());
    let quantized = quantize::quantize(model, &calibration, &options, || progress.step())?;
    drop(progress);

    let plan = match compile::plan(&quantized.model, &quantized.dims) {
        Ok(plan) => Some(plan),
        Err(error) if arguments.plan.is_none() && evaluation.is_none() => {
            log::warn!("the int8 model cannot become a plan, its memory stays unknown: {error:#}");
            None
        }
        Err(error) => return Err(error.context("the int8 model cannot become a plan")),
    };
    let engine = plan.clone().map(Engine::new).transpose()?;
    let noise = noise(&quantized, &calibration)?;
    let accuracy = match (&evaluation, &engine) {
        (Some(data), Some(engine)) => Some(accuracy(&quantized, engine, data)?),
        _ => None,
    };
    quantized.model.write(&output)?;
    if let Some((path, plan)) = arguments.plan.as_ref().zip(plan) {
        compile::write(&plan, path)?;
    }
    Ok(Summary {
        model: arguments.model.display().to_string(),
        output: output.display().to_string(),
        plan: arguments.plan.as_ref().map(|p| p.display().to_string()),
        float_bytes: size(&arguments.model)?,
        int8_bytes: size(&output)?,
        memory: engine.map(|engine| engine.memory()),
        calibration_samples: calibration.len(),
        layers: quantized.inserted.weighted,
        folded: quantized.folded,
        equalized: quantized.equalized,
        accuracy: accuracy.map(Into::into),
        noise,
    })
}

fn noise(quantized: &Quantized, data: &Data) -> anyhow::Result<Vec<Noise>> {
    let Quantized { float, model, inserted, dims, .. } = quantized;
    let samples = data.samples().take(NOISE_SAMPLES);
    Ok(evaluate::noise(float, model, &inserted.dequantized, dims, samples)?)
}

fn accuracy(quantized: &Quantized, engine: &Engine, data: &Data) -> anyhow::Result<Accuracy> {
    let mut progress = Progress::new("evaluating", data.len());
    let step = || progress.step();
    Ok(evaluate::accuracy(&quantized.float, engine, &quantized.dims, data.samples(), step)?)
}

fn size(path: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len())
}
