//! Gathers what the report shows, and writes it.

use anyhow::Context;
use cygnet::Card;
use cygnet::core::Plan;
use quantize::Quantized;
use quantize::coverage::Uncovered;
use quantize::data::{Data, Findings};
use quantize::engine::Engine;
use quantize::equalize::EqualizedSet;
use quantize::insert::Guarded;
use quantize::prune::Pruned;
use quantize::report::flips::{Flips, flips};
use quantize::report::latency::Latency;
use quantize::report::layers::layers;
use quantize::report::numbers::{percent, short};
use quantize::report::origin::{Calibration, File, Origin, sha256, shell_command};
use quantize::report::{Guard, Report, Size, Tried};

use super::progress::Progress;
use super::summary::Summary;

/// How many tensors that calibration does not cover are shown.
const UNCOVERED: usize = 10;

/// What the run has at hand when the model is made.
pub struct Run<'r> {
    /// The int8 model as it is written.
    pub onnx: &'r [u8],
    /// The models.
    pub quantized: &'r Quantized,
    /// The plan, ready to run.
    pub engine: Option<&'r Engine>,
    /// The card in force.
    pub card: Option<&'r Card>,
    /// The calibration samples.
    pub calibration: &'r Data,
    /// The evaluation samples.
    pub evaluation: Option<&'r Data>,
    /// How ranges were drawn.
    pub ranges: String,
    /// Threads to work on.
    pub threads: usize,
}

/// Everything that the page shows.
pub fn gather(run: &Run<'_>, summary: &Summary) -> anyhow::Result<Report> {
    let Run { quantized, engine, calibration, .. } = run;
    let sample = calibration.samples().next().transpose()?;
    let methods = quantized.ranges.iter().map(|(tensor, ranges)| (tensor.clone(), ranges.to_string())).collect();
    let of = |plan: Option<&Plan<'_>>| layers(quantized, &quantized.seen, &summary.noise, plan, &run.ranges, &methods);
    let layers = engine.map_or_else(|| of(None), |engine| engine.with_plan(|plan| of(Some(plan))))?;
    Ok(Report {
        origin: origin(run, summary)?,
        size: Size { float_bytes: summary.float_bytes, int8_bytes: summary.int8_bytes },
        memory: summary.memory.clone(),
        latency: Latency::of(&quantized.model, &quantized.dims, engine.zip(sample.as_ref()))?,
        tried: tried(summary),
        quality: summary.evaluation.clone(),
        layers,
        guards: guards(quantized, summary),
        flips: find_flips(run, summary)?,
    })
}

/// The float model and the int8 model, or all that a search tried.
fn tried(summary: &Summary) -> Vec<Tried> {
    let evaluation = summary.evaluation.as_ref();
    let agreement = evaluation.and_then(|evaluation| evaluation.measure("same answer"));
    let shares = summary.accuracy.as_ref();
    let float = Tried {
        what: "float".into(),
        bytes: summary.float_bytes,
        agreement: agreement.map(|_| 1.0),
        accuracy: shares.map(|shares| shares.float_top1),
        is_chosen: false,
    };
    let int8 = Tried {
        what: "int8".into(),
        bytes: summary.int8_bytes,
        agreement: agreement.map(|measure| measure.int8.value),
        accuracy: shares.map(|shares| shares.int8_top1),
        is_chosen: true,
    };
    if summary.tried.is_empty() { vec![float, int8] } else { [vec![float], summary.tried.clone()].concat() }
}

/// What folding, pruning, equalization and insertion did, and what was wrong with the data.
fn guards(quantized: &Quantized, summary: &Summary) -> Vec<Guard> {
    let folded = &quantized.folded;
    let whole = |count: usize, what: &str, why: &str| {
        (count > 0).then(|| Guard { layer: String::new(), what: format!("{count} {what}"), why: why.into() })
    };
    let activations = "activations dropped behind integer layers";
    let cuts = "the range of the levels cuts values off by itself";
    [
        whole(folded.identities, "nodes removed", "they do nothing in inference"),
        whole(folded.constants, "nodes replaced by their value", "what they compute is the same for every sample"),
        whole(folded.dense, "products and sums made one layer", "the bias joins the sums in 32 bits"),
        whole(folded.affine, "normalizations folded into weights", "a step less, and no rounding between the two"),
        whole(
            folded.transposed,
            "transposed convolutions made convolutions",
            "DepthToSpace puts their results in order",
        ),
        whole(folded.lone_norms, "normalizations made layers", "they stand alone: as layers they have an integer form"),
        whole(quantized.inserted.dropped_activations, activations, cuts),
    ]
    .into_iter()
    .flatten()
    .chain(quantized.pruned.as_ref().map(pruned))
    .chain(summary.bad_samples.iter().filter(|findings| !findings.counts.is_empty()).map(bad_samples))
    .chain(summary.uncovered.iter().take(UNCOVERED).map(uncovered))
    .chain(quantized.equalized.sets.iter().map(equalized))
    .chain(quantized.inserted.wide.iter().map(|layer| wide(layer)))
    .chain(quantized.inserted.guarded.iter().flat_map(scales))
    .collect()
}

fn wide(layer: &str) -> Guard {
    let why = "on 8 bits the first layers take a quarter of the loss or more, or boxes agree too little with the float \
               model's (--no-mixed), or it was asked for";
    Guard { layer: layer.into(), what: "reads 16 bits".into(), why: why.into() }
}

fn scales(of: &Guarded) -> impl Iterator<Item = Guard> + use<> {
    let Guarded { layer, dead, held_up, channels } = of.clone();
    let guard = move |(count, what, why): (usize, &str, &str)| {
        let what = format!("{count} of {channels} channels {what}");
        (count > 0).then(|| Guard { layer: layer.clone(), what, why: why.into() })
    };
    let dead =
        (dead, "are dead", "all of their weights are 0: they answer with their bias alone, --prune takes them out");
    let held_up = (held_up, "took a larger scale", "with that of their tiny weights the bias would leave 32 bits");
    [dead, held_up].into_iter().filter_map(guard)
}

fn pruned(pruned: &Pruned) -> Guard {
    Guard {
        layer: String::new(),
        what: format!(
            "{} of {} channels removed, {} layers fitted again",
            pruned.removed, pruned.channels, pruned.refitted
        ),
        why: format!("asked for: {} of {} weights are left", pruned.weights_after, pruned.weights_before),
    }
}

fn bad_samples(findings: &Findings) -> Guard {
    Guard { layer: String::new(), what: format!("bad samples: {}", findings.line()), why: "they say nothing".into() }
}

fn uncovered(uncovered: &Uncovered) -> Guard {
    let ((low, high), (least, largest)) = (uncovered.calibrated, uncovered.evaluated);
    Guard {
        layer: uncovered.node.clone().unwrap_or_else(|| uncovered.tensor.clone()),
        what: format!("{} of the values saturate in evaluation", percent(uncovered.share)),
        why: format!("calibration saw {low:.3} … {high:.3}, evaluation {least:.3} … {largest:.3}"),
    }
}

fn equalized(set: &EqualizedSet) -> Guard {
    Guard {
        layer: set.tensors.join(", "),
        what: format!("{} of {} channels scaled to equal width", set.scaled, set.channels),
        why: format!(
            "expected noise of the layers that read them falls from {} to {} of their output",
            short(set.noise_before),
            short(set.noise_after)
        ),
    }
}

fn origin(run: &Run<'_>, summary: &Summary) -> anyhow::Result<Origin> {
    let file = |path: &str| -> anyhow::Result<File> {
        let bytes = std::fs::read(path).with_context(|| path.to_string())?;
        Ok(File { path: path.to_string(), sha256: sha256(&bytes) })
    };
    let Quantized { float, dims, seen, .. } = run.quantized;
    let facts = quantize::facts::infer(float, dims)?;
    let shape = |name: &String| facts.get(name).map(|(_, shape)| shape.clone()).unwrap_or_default();
    let range = |name: &String| seen.get(name).map(|seen| (name.clone(), seen.low, seen.high));
    let inputs = || float.inputs.iter().map(|input| &input.name);
    Ok(Origin {
        tool: format!("quantize {}", env!("CARGO_PKG_VERSION")),
        command: shell_command(std::env::args_os().map(|word| word.to_string_lossy().into_owned())),
        model: file(&summary.model)?,
        output: File { path: summary.output.clone(), sha256: sha256(run.onnx) },
        calibration: Calibration {
            path: run.calibration.path().display().to_string(),
            samples: run.calibration.len(),
            ranges: inputs().filter_map(range).collect(),
        },
        evaluation: run.evaluation.map(|data| (data.path().display().to_string(), data.len())),
        ranges: run.ranges.clone(),
        inputs: inputs().map(|name| (name.clone(), shape(name))).collect(),
    })
}

fn find_flips(run: &Run<'_>, summary: &Summary) -> anyhow::Result<Option<Flips>> {
    // Answers are classes only where they are compared as such.
    let gives_classes =
        summary.evaluation.as_ref().is_some_and(|evaluation| evaluation.measure("same answer").is_some());
    if !gives_classes {
        return Ok(None);
    }
    let Some((data, engine)) = run.evaluation.zip(run.engine) else { return Ok(None) };
    let progress = std::sync::Mutex::new(Progress::new("comparing", data.len()));
    let step = || progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).step();
    Ok(Some(flips(run.quantized, engine, data, run.card, run.threads, &step)?))
}
