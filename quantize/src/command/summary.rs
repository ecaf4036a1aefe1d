//! What was won and what was lost, as a table and as JSON.

use std::fmt;

use quantize::engine::Memory;
use quantize::equalize::Equalized;
use quantize::evaluate::{Accuracy, Noise};
use quantize::fold::Folded;
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
    /// Layers with int8 weights.
    pub layers: usize,
    /// What folding did.
    pub folded: Folded,
    /// What equalization did.
    pub equalized: Equalized,
    /// Right answers, with --eval.
    pub accuracy: Option<Shares>,
    /// Signal to noise of every integer tensor, the worst first.
    pub noise: Vec<Noise>,
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
    #[serde(flatten)]
    counts: Accuracy,
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
            writeln!(f, "{}", format!("{what:<14}{float:>14}{int8:>14}   {note}").trim_end())
        };
        let bytes = |bytes: u64| grouped(bytes as usize);
        row("", "float".into(), "int8".into(), String::new())?;
        let smaller = format!("{:.3} of it: {}", self.ratio(), self.output);
        row("file, bytes", bytes(self.float_bytes), bytes(self.int8_bytes), smaller)?;
        if let Some(shares) = &self.accuracy {
            let change = 100.0 * (shares.int8_top1 - shares.float_top1);
            let note = format!("{change:+.2} points, same answer on {}", percent(shares.agreement));
            let what = format!("top-1 of {}", shares.counts.samples);
            row(&what, percent(shares.float_top1), percent(shares.int8_top1), note)?;
        }
        if let Some(memory) = &self.memory {
            let over = memory.arena_bytes as f64 / memory.live_bytes.max(1) as f64;
            let plan = self.plan.clone().unwrap_or_else(|| "write it with --plan or `quantize compile`".into());
            row("flash: plan", String::new(), grouped(memory.plan_bytes), plan)?;
            let arena = format!("{over:.3} of the largest set alive at once");
            row("RAM: arena", String::new(), grouped(memory.arena_bytes), arena)?;
            fallbacks(f, memory)?;
        }
        writeln!(f, "{} int8 layers, calibrated on {} samples; the noisiest:", self.layers, self.calibration_samples)?;
        for noise in self.noise.iter().take(WORST) {
            writeln!(f, "{:>8.1} dB  {} ({})", noise.decibels, noise.node, noise.operator)?;
        }
        Ok(())
    }
}
