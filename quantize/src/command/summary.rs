//! What was won and what was lost, as a table and as JSON.

use std::fmt;

use quantize::coverage::Uncovered;
use quantize::data::Findings;
use quantize::engine::Memory;
use quantize::equalize::Equalized;
use quantize::evaluate::statistics::Estimate;
use quantize::evaluate::{Accuracy, Evaluation, Measure, Noise};
use quantize::fold::Folded;
use quantize::prune::Pruned;
use quantize::quantizer::boxes::{Boxes, Kept};
use quantize::report::{Report, Tried};
use serde::Serialize;

use super::compile::fallbacks;
use super::table::{grouped, percent};

/// How many of the noisiest tensors the table shows.
const WORST: usize = 5;

/// The outcome of one run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The float model's file.
    pub model: String,
    /// The int8 model's file.
    pub output: String,
    /// The plan's file, where one was asked for.
    pub plan: Option<String>,
    /// Size of the float model.
    pub float_bytes: u64,
    /// Size of the int8 model.
    pub int8_bytes: u64,
    /// What the plan needs; nothing where the model cannot become one.
    pub memory: Option<Memory>,
    /// Samples calibrated on.
    pub calibration_samples: usize,
    /// Whether these were made up.
    pub is_synthetic: bool,
    /// Bad samples of --calib, then of --eval.
    pub bad_samples: Vec<Findings>,
    /// Layers with int8 weights.
    pub layers: usize,
    /// Those of them that read levels of 16 bits.
    pub wide_layers: Vec<String>,
    /// How the boxes of a detector fare on --calib, on 8 bits and, where they fare badly, on 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<Boxes>,
    /// What folding did.
    pub folded: Folded,
    /// What pruning did, with --prune.
    pub pruned: Option<Pruned>,
    /// What equalization did.
    pub equalized: Equalized,
    /// Right answers, with --eval.
    pub accuracy: Option<Shares>,
    /// What the card wants measured, with --eval.
    pub evaluation: Option<Evaluation>,
    /// Tensors that --eval drives beyond what --calib showed, the worst first.
    pub uncovered: Vec<Uncovered>,
    /// Signal to noise of every integer tensor, the worst first.
    pub noise: Vec<Noise>,
    /// What a search tried, with a goal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// What the page of --report shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

impl Summary {
    /// Size of the int8 model as a part of the float model's.
    pub fn ratio(&self) -> f64 {
        self.int8_bytes as f64 / self.float_bytes.max(1) as f64
    }
}

/// [`Accuracy`] with its shares, 0 … 1.
#[derive(Debug, Serialize)]
pub struct Shares {
    /// What was counted.
    #[serde(flatten)]
    pub counts: Accuracy,
    /// Right first answers of the float model.
    pub float_top1: f64,
    /// Right first answers of the int8 model.
    pub int8_top1: f64,
    /// The same first answer of both.
    pub agreement: f64,
}

impl From<Accuracy> for Shares {
    fn from(counts: Accuracy) -> Shares {
        Shares { counts, float_top1: counts.float_top1(), int8_top1: counts.int8_top1(), agreement: counts.agreement() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |what: &str, float: String, int8: String, note: String| {
            writeln!(f, "{}", format!("{what:<20}{float:>14}{int8:>14}   {note}").trim_end())
        };
        let bytes = |bytes: u64| grouped(bytes as usize);
        row("", "float".into(), "int8".into(), String::new())?;
        let smaller = format!("{:.3} of it: {}", self.ratio(), self.output);
        row("file, bytes", bytes(self.float_bytes), bytes(self.int8_bytes), smaller)?;
        if let Some(evaluation) = &self.evaluation {
            for measure in &evaluation.measures {
                let what = format!("{} of {}", measure.name, evaluation.samples);
                let float = measure.float.map(|float| shown(measure, float.value)).unwrap_or_default();
                row(&what, float, shown(measure, measure.int8.value), certainty(measure))?;
            }
        }
        if let Some(memory) = &self.memory {
            let over = memory.arena_bytes as f64 / memory.live_bytes.max(1) as f64;
            let plan = self.plan.clone().unwrap_or_else(|| "write it with --plan or `quantize compile`".into());
            row("flash: plan", String::new(), grouped(memory.plan_bytes), plan)?;
            let arena = format!("{over:.3} of the largest set alive at once");
            row("RAM: arena", String::new(), grouped(memory.arena_bytes), arena)?;
            fallbacks(f, memory)?;
        }
        for tried in &self.tried {
            let agreement = tried.agreement.map(percent).unwrap_or_default();
            let note = if tried.is_chosen { "this one" } else { "" };
            let line =
                format!("{:<34}{:>14}{agreement:>14}   {note}", format!("tried: {}", tried.what), bytes(tried.bytes));
            writeln!(f, "{}", line.trim_end())?;
        }
        for (what, findings) in ["--calib", "--eval"].iter().zip(&self.bad_samples) {
            if !findings.counts.is_empty() {
                writeln!(f, "bad samples in {what}: {}", findings.line())?;
            }
        }
        let kind = if self.is_synthetic { "synthetic " } else { "" };
        let samples = self.calibration_samples;
        if let Some(boxes) = &self.boxes {
            writeln!(f, "{}", of_boxes(boxes))?;
        }
        if self.wide_layers.len() == self.layers && self.layers > 0 {
            writeln!(f, "all layers read 16 bits")?;
        } else if !self.wide_layers.is_empty() {
            writeln!(f, "layers that read 16 bits: {}", self.wide_layers.join(", "))?;
        }
        writeln!(f, "{} int8 layers, calibrated on {samples} {kind}samples; the noisiest:", self.layers)?;
        for noise in self.noise.iter().take(WORST) {
            writeln!(f, "{:>8.1} dB  {} ({})", noise.decibels, noise.node, noise.operator)?;
        }
        Ok(())
    }
}

/// What is won and what is lost by 16 bits for a detector.
fn of_boxes(Boxes { count, narrow, wide, is_wide }: &Boxes) -> String {
    let on = |bits: u32, kept: &Kept| {
        format!("{:.3} on {bits} bits (arena {} bytes)", kept.agreement, grouped(kept.arena_bytes))
    };
    let mut line = format!("{count} boxes in --calib agree with the float model's by {}", on(8, narrow));
    if let Some(wide) = wide {
        let taken = if *is_wide { "taken; --no-mixed keeps 8" } else { "too little to be worth it" };
        line += &format!(", {}: {taken}", on(16, wide));
    }
    line
}

fn shown(measure: &Measure, value: f64) -> String {
    if measure.is_share { percent(value) } else { format!("{value:.4}") }
}

/// How sure a figure is: the change with McNemar's test or its interval, and the interval of the int8 figure.
fn certainty(measure: &Measure) -> String {
    let range = |Estimate { low, high, .. }: Estimate| format!("{} … {}", shown(measure, low), shown(measure, high));
    let change = match (measure.float, measure.p_value, measure.change) {
        (Some(float), Some(p), _) => {
            format!("{:+.2} points (p = {p:.2}), ", 100.0 * (measure.int8.value - float.value))
        }
        (_, _, Some(change)) => format!("{:+.4} ({}), ", change.value, range(change)),
        _ => String::new(),
    };
    format!("{change}95 % sure: {}", range(measure.int8))
}
