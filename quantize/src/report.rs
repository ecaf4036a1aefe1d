//! The report of one run: what was won, what was lost, where and why. [`Report`] is data, for JSON; [`page::page`]
//! makes one HTML file of it, which needs nothing else: no network, no script, no font.
//!
//! The same run gives the same report, but for the time that was measured on this machine.

pub mod flips;
pub mod histogram;
pub mod latency;
pub mod layers;
pub mod numbers;
pub mod occlusion;
pub mod origin;
pub mod page;
pub mod preview;

use serde::Serialize;

use crate::engine::Memory;
use crate::evaluate::Evaluation;
use flips::Flips;
use latency::Latency;
use layers::Layer;
use origin::Origin;

/// Everything that the page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was made of what, and how to do it again.
    pub origin: Origin,
    /// Bytes of the files.
    pub size: Size,
    /// What the plan needs; nothing where the model cannot become one.
    pub memory: Option<Memory>,
    /// How long one inference takes, or will.
    pub latency: Latency,
    /// Quality on the evaluation samples.
    pub quality: Option<Evaluation>,
    /// The tensors that are computed, in the order of the graph.
    pub layers: Vec<Layer>,
    /// What was repaired or prevented.
    pub guards: Vec<Guard>,
    /// What was tried, the chosen one among it.
    pub tried: Vec<Tried>,
    /// Samples whose answer is another in int8.
    pub flips: Option<Flips>,
}

/// Bytes of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The float model.
    pub float_bytes: u64,
    /// The int8 model.
    pub int8_bytes: u64,
}

impl Size {
    /// The int8 model as a part of the float model.
    pub fn ratio(&self) -> f64 {
        self.int8_bytes as f64 / self.float_bytes.max(1) as f64
    }
}

/// Something that was repaired or prevented on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// The layer; empty where it concerns the whole model.
    pub layer: String,
    /// What was done.
    pub what: String,
    /// Why.
    pub why: String,
}

/// One way to quantize the model that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// What it is.
    pub what: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Share of samples on which it answers as the float model, 0 … 1.
    pub agreement: Option<f64>,
    /// Share of right answers, 0 … 1.
    pub accuracy: Option<f64>,
    /// Whether it is the one that was written.
    pub is_chosen: bool,
}
