//! `quantize MODEL.onnx --calib DATA`: the whole way from float to int8.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use cygnet_sense::card::Card;
use quantize::coverage::{self, Uncovered};
use quantize::data::{BadSamples, Data, Purpose, SYNTHETIC};
use quantize::engine::Engine;
use quantize::evaluate::{self, Evaluation, Metric};
use quantize::files::NewFiles;
use quantize::params::Activations;
use quantize::ranges::Ranges;
use quantize::recipe::{LayerForm, Precision, WeightForm};
use quantize::report::page::page;
use quantize::search::{self, Goal};
use quantize::tail::Outputs;
use quantize::{Effort, Options, Quantized, Quantizer};

use super::compile;
use super::goal;
use super::progress::Progress;
use super::report;
use super::summary::Summary;

/// Samples from which signal to noise is taken.
const NOISE_SAMPLES: usize = 16;

/// Samples of the evaluation set that are held against the calibrated ranges.
const COVERAGE_SAMPLES: usize = 64;

/// What the help calls the flags that promise something.
const GOALS: &str = "Goals";

/// What `quantize` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The float model
    pub model: PathBuf,
    /// Samples to calibrate on, about 100: a folder of images or WAVs, or an .npz of tensors; or `synthetic`, where
    /// there are none
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
    /// Where to write what was won and lost, and why: one HTML file with everything in it
    #[arg(long, value_name = "OUT.html")]
    pub report: Option<PathBuf>,
    /// The model's card [default: MODEL.toml beside the model, else the one inside the model]
    #[arg(long, value_name = "FILE.toml")]
    pub card: Option<PathBuf>,
    /// How activation ranges are drawn from the samples
    #[arg(long, value_enum, default_value = "auto")]
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
    /// What becomes of samples that are broken, constant or twice there [default: skip, but refuse where more than one
    /// in five is broken]
    #[arg(long, value_enum)]
    pub bad_samples: Option<BadSamples>,
    /// How weights are stored; the first layer, depthwise and small ones stay int8
    #[arg(long, value_enum, default_value = "int8", value_name = "FORM")]
    pub weights: WeightForm,
    /// A layer, by its node's name, that stays in float; may be given several times
    #[arg(long, value_name = "NODE")]
    pub float: Vec<String>,
    /// A layer, by its node's name, that computes on levels of 16 bits; may be given several times
    #[arg(long, value_name = "NODE")]
    pub int16: Vec<String>,
    /// Take whole channels out that make up this share of the cost, and fit the rest to the float model
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub prune: Option<f64>,
    /// Lose no more points than so many of the first figure on --eval (without --eval: of the answers on --calib): as few
    /// layers as that takes compute on 16 bits or in float
    #[arg(long, value_name = "POINTS", value_parser = goal::points, help_heading = GOALS)]
    pub max_drop: Option<f64>,
    /// Make a plan of no more bytes (100000, 100k, 1.5M): as few layers as that takes have weights of 4 bits
    #[arg(long, value_name = "BYTES", value_parser = goal::bytes, help_heading = GOALS)]
    pub max_size: Option<usize>,
    /// Take no more bytes of RAM for the arena
    #[arg(long, value_name = "BYTES", value_parser = goal::bytes, help_heading = GOALS)]
    pub max_ram: Option<usize>,
    /// Make the plan as small as --max-drop allows, or one point where that is not given, with weights of 4 bits
    #[arg(long, help_heading = GOALS)]
    pub min_size: bool,
    /// Form of the answers
    #[arg(long, value_enum, default_value = "float")]
    pub outputs: Outputs,
    /// Folder that keeps what calibration saw: the next run on the same model and data skips it, and one that was
    /// stopped goes on
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Compute every layer on 8 bits, the first too (else it takes 16 where that saves much of what is lost; and all
    /// layers of a detector do where on 8 its boxes agree by less than 0.95 with the float model's)
    #[arg(long)]
    pub no_mixed: bool,
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
    /// For each tensor the one of the others after which the answers are nearest to the float model's
    Auto,
    /// From the least to the largest value
    Minmax,
    /// The share of values that --percentile tells
    Percentile,
    /// The range with the least squared error
    Error,
    /// The range whose levels tell most of the distribution (least Kullback-Leibler divergence)
    Entropy,
    /// The moving average of each sample's least and largest value
    Moving,
}

fn percentile(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "is no number".to_string())?;
    if percent > 50.0 && percent <= 100.0 { Ok(percent) } else { Err("must be above 50 and at most 100".into()) }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "is no number".to_string())?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("must be above 0 and below 1, such as 0.3".into()) }
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
    let outputs = [Some(&output), arguments.plan.as_ref(), arguments.report.as_ref()];
    for (index, path) in outputs.into_iter().enumerate() {
        let Some(path) = path else { continue };
        super::check_output(path, &arguments.model)?;
        if outputs[..index].contains(&Some(path)) {
            bail!("{}: is the name of two outputs; give one of them another", path.display());
        }
    }
    let card = super::card::take(&arguments.model, arguments.card.as_deref(), &mut model)?;
    let open = |path: &Path, purpose| {
        Data::open(path, &model, card.as_ref()).map(|data| data.screened(purpose, arguments.bad_samples))
    };
    let calibration = if arguments.calib == Path::new(SYNTHETIC) {
        Data::synthetic(&model, card.as_ref())?
    } else {
        open(&arguments.calib, Purpose::Calibration)?
    };
    let evaluation = arguments.eval.as_deref().map(|path| open(path, Purpose::Evaluation)).transpose()?;
    let metric = match &evaluation {
        Some(data) => Metric::of(card.as_ref(), data)?,
        None => Metric::Top1,
    };
    if let Some(data) = evaluation.as_ref().filter(|data| metric.needs_labels() && !data.has_labels()) {
        let mend =
            "for accuracy add labels.csv (file,label) or sub-folders named like the labels; in an .npz an array \"y\"";
        let left = "int8 is compared with float only";
        log::warn!("{}: has samples without label: {left}; {mend}", data.path().display());
    }
    let ranges = match arguments.ranges {
        RangeKind::Auto => Ranges::Auto,
        RangeKind::Minmax => Ranges::MinMax,
        RangeKind::Entropy => Ranges::Entropy,
        RangeKind::Moving => Ranges::Moving,
        RangeKind::Percentile => Ranges::Percentile(arguments.percentile),
        RangeKind::Error => Ranges::LeastError,
    };
    let mut options = Options {
        ranges,
        activations: arguments.activations,
        outputs: arguments.outputs,
        effort: arguments.effort,
        prune: arguments.prune.unwrap_or(0.0),
        mixed: !arguments.no_mixed,
        equalize: !arguments.no_equalize,
        // With a goal the search decides what computes on more bits.
        boxes: card.as_ref().and_then(Card::box_decoder).filter(|_| !arguments.goal().is_any()),
        cache: arguments.cache.clone(),
        ..Options::default()
    };
    options.recipe.usual.weights = arguments.weights;
    for (nodes, precision) in [(&arguments.float, Precision::Float), (&arguments.int16, Precision::Int16)] {
        for node in nodes {
            let form = LayerForm { precision, weights: arguments.weights };
            options.recipe.layers.insert(node.clone(), form);
        }
    }
    options.threads = arguments.threads.map_or(options.threads, NonZeroUsize::get);
    // The pool is the program's; it has one already where several models are worked on.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global();
    let mut progress = Progress::new("calibrating", calibration.len());
    let (quantizer, built) = Quantizer::of(model, &calibration, &options, || progress.step())?;
    drop(progress);
    let goal = arguments.goal();
    let (quantized, tried) = if goal.is_any() {
        let data = evaluation.as_ref().unwrap_or(&calibration);
        let measure =
            |quantized: &Quantized, engine: &Engine| goal::quality(quantized, engine, &metric, data, options.threads);
        search::search(&quantizer, built, goal, measure)?
    } else {
        (built.quantized, Vec::new())
    };
    for node in options.recipe.layers.keys() {
        if !quantized.original.nodes.iter().any(|there| there.label() == *node) {
            bail!("{node}: the model has no node of this name, or folding took it out");
        }
    }

    let plan = match compile::plan(&quantized.model, &quantized.dims) {
        Ok(plan) => Some(plan),
        Err(error) if arguments.plan.is_none() && evaluation.is_none() => {
            log::warn!("the int8 model cannot become a plan, its memory stays unknown: {error:#}");
            None
        }
        Err(error) => return Err(error.context("the int8 model cannot become a plan")),
    };
    let engine = plan.clone().map(Engine::new).transpose()?;
    let noise = evaluate::noise(&quantized, calibration.samples().take(NOISE_SAMPLES))?;
    let evaluated = match (&evaluation, &engine) {
        (Some(data), Some(engine)) => Some(evaluate(&quantized, engine, &metric, data, options.threads)?),
        _ => None,
    };
    if let Some(shared) = evaluation.as_ref().map(|data| data.shared_with(&calibration)).filter(|shared| *shared > 0) {
        log::warn!("{shared} samples of --eval are in --calib too: the accuracy looks better than it is");
    }
    let uncovered = match &evaluation {
        Some(data) => uncovered(&quantized, data)?,
        None => Vec::new(),
    };
    let onnx = super::onnx_bytes(&quantized.model)?;
    let mut summary = Summary {
        model: arguments.model.display().to_string(),
        output: output.display().to_string(),
        plan: arguments.plan.as_ref().map(|p| p.display().to_string()),
        float_bytes: size(&arguments.model)?,
        int8_bytes: onnx.len() as u64,
        memory: engine.as_ref().map(Engine::memory),
        calibration_samples: calibration.len(),
        is_synthetic: calibration.is_synthetic(),
        bad_samples: std::iter::once(&calibration).chain(&evaluation).map(Data::findings).collect(),
        layers: quantized.inserted.weighted,
        wide_layers: quantized.inserted.wide.clone(),
        boxes: quantized.boxes,
        folded: quantized.folded,
        pruned: quantized.pruned.clone(),
        equalized: quantized.equalized.clone(),
        accuracy: evaluated.as_ref().and_then(|evaluated| evaluated.accuracy).map(Into::into),
        evaluation: evaluated,
        uncovered,
        noise,
        tried,
        report: None,
    };
    let mut files = NewFiles::default();
    files.add(&output, &onnx)?;
    if let Some((path, plan)) = arguments.plan.as_ref().zip(plan) {
        files.add(path, &plan)?;
    }
    if let Some(path) = &arguments.report {
        let run = report::Run {
            onnx: &onnx,
            quantized: &quantized,
            engine: engine.as_ref(),
            card: card.as_ref(),
            calibration: &calibration,
            evaluation: evaluation.as_ref(),
            ranges: arguments.ranges_in_words(),
            threads: options.threads,
        };
        let report = report::gather(&run, &summary)?;
        files.add(path, page(&report).as_bytes())?;
        summary.report = Some(report);
    }
    files.publish()?;
    Ok(summary)
}

impl Arguments {
    fn goal(&self) -> Goal {
        let Arguments { max_drop, max_size, max_ram, min_size, .. } = *self;
        Goal { max_drop: max_drop.map(|points| points / 100.0), max_size, max_ram, min_size }
    }

    /// How ranges are drawn, as the report says it.
    fn ranges_in_words(&self) -> String {
        match self.ranges {
            RangeKind::Auto => "chosen by the model's answers".into(),
            RangeKind::Minmax => "min-max".into(),
            RangeKind::Entropy => "entropy".into(),
            RangeKind::Moving => "moving average".into(),
            RangeKind::Percentile => format!("percentile {}", self.percentile),
            RangeKind::Error => "least error".into(),
        }
    }
}

fn evaluate(
    quantized: &Quantized,
    engine: &Engine,
    metric: &Metric,
    data: &Data,
    threads: usize,
) -> anyhow::Result<Evaluation> {
    let Quantized { original, dims, .. } = quantized;
    let mut progress = Progress::new("evaluating", data.len());
    Ok(evaluate::evaluate(original, engine, dims, metric, data.samples(), threads, || progress.step())?)
}

/// Tells what the calibration set does not cover, by samples spread over the evaluation set.
fn uncovered(quantized: &Quantized, data: &Data) -> anyhow::Result<Vec<Uncovered>> {
    let Quantized { float, dims, seen, .. } = quantized;
    let step = data.len().div_ceil(COVERAGE_SAMPLES).max(1);
    let spread = (0..data.len()).step_by(step).map(|index| data.sample(index));
    let uncovered = coverage::uncovered(float, dims, seen, spread)?;
    for Uncovered { tensor, share, calibrated, evaluated, .. } in uncovered.iter().take(3) {
        let (low, high) = calibrated;
        let (least, largest) = evaluated;
        log::warn!(
            "--calib does not cover --eval: {:.2} % of \"{tensor}\" lies beyond {low:.3} … {high:.3} and saturates (it \
             reaches from {least:.3} to {largest:.3}); calibrate on samples of all kinds",
            100.0 * share
        );
    }
    Ok(uncovered)
}

fn size(path: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len())
}
