//! Gathers what the report shows, and writes it.

use std::collections::BTreeMap;

use anyhow::Context;
use cygnet::Card;
use cygnet::core::Plan;
use quantize::Quantized;
use quantize::data::Data;
use quantize::engine::Engine;
use quantize::equalize::EqualizedSet;
use quantize::report::flips::{Flips, flips};
use quantize::report::latency::Latency;
use quantize::report::layers::layers;
use quantize::report::numbers::short;
use quantize::report::origin::{Calibration, File, Origin, sha256, shell_command};
use quantize::report::share::Share;
use quantize::report::{Guard, Report, Score, Size, Tried};

use super::progress::Progress;
use super::summary::Summary;

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
    let of = |plan: Option<&Plan<'_>>| {
        layers(quantized, &quantized.seen, &summary.noise, plan, &run.ranges, &BTreeMap::new())
    };
    let layers = engine.map_or_else(|| of(None), |engine| engine.with_plan(|plan| of(Some(plan))))?;
    let (scores, agreement) = quality(summary);
    Ok(Report {
        origin: origin(run, summary)?,
        size: Size { float_bytes: summary.float_bytes, int8_bytes: summary.int8_bytes },
        memory: summary.memory.clone(),
        latency: Latency::of(&quantized.model, &quantized.dims, engine.zip(sample.as_ref()))?,
        tried: tried(summary, &scores, agreement),
        scores,
        agreement,
        layers,
        guards: guards(quantized),
        flips: find_flips(run)?,
    })
}

fn quality(summary: &Summary) -> (Vec<Score>, Option<Share>) {
    let Some(shares) = &summary.accuracy else { return (Vec::new(), None) };
    let counts = shares.counts;
    let share = |hits| Share::of(hits, counts.samples);
    let (float, int8) = (share(counts.float_right), share(counts.int8_right));
    (vec![Score { metric: "top-1".into(), float, int8, chance: None }], Some(share(counts.agree)))
}

/// The float model and the int8 model: what there is without a search.
fn tried(summary: &Summary, scores: &[Score], agreement: Option<Share>) -> Vec<Tried> {
    let score = scores.first();
    let float = Tried {
        what: "float".into(),
        bytes: summary.float_bytes,
        agreement: agreement.map(|_| 1.0),
        accuracy: score.map(|score| score.float.value),
        is_chosen: false,
    };
    let int8 = Tried {
        what: "int8".into(),
        bytes: summary.int8_bytes,
        agreement: agreement.map(|share| share.value),
        accuracy: score.map(|score| score.int8.value),
        is_chosen: true,
    };
    vec![float, int8]
}

/// What folding and insertion did, as far as they count it.
fn guards(quantized: &Quantized) -> Vec<Guard> {
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
        whole(folded.lone_norms, "normalizations made layers", "they stand alone: as layers they have an integer form"),
        whole(quantized.inserted.dropped_activations, activations, cuts),
    ]
    .into_iter()
    .flatten()
    .chain(quantized.equalized.sets.iter().map(equalized))
    .collect()
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

fn find_flips(run: &Run<'_>) -> anyhow::Result<Option<Flips>> {
    let Some((data, engine)) = run.evaluation.zip(run.engine) else { return Ok(None) };
    let progress = std::sync::Mutex::new(Progress::new("comparing", data.len()));
    let step = || progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).step();
    Ok(Some(flips(run.quantized, engine, data, run.card, run.threads, &step)?))
}
