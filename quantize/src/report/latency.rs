//! How long one inference takes.

use std::time::{Duration, Instant};

use cygnet::core::Plan;
use serde::Serialize;

use crate::data::Sample;
use crate::engine::Engine;
use crate::error::QuantizeError;

/// How long this machine is measured.
const MEASURED: Duration = Duration::from_millis(500);

/// Measured here, and predicted for boards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Multiply-accumulates of one inference.
    pub multiply_accumulates: u64,
    /// This machine, by running the engine.
    pub host: Option<HostTime>,
}

/// What was measured on this machine, one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostTime {
    /// The middle one of all runs.
    pub median_ms: f64,
    /// The fastest.
    pub fastest_ms: f64,
    /// How many runs.
    pub runs: usize,
    /// The kernels in use, by the name of their instruction set.
    pub kernels: String,
    /// The processor's architecture.
    pub architecture: String,
}

impl Latency {
    /// Measures `engine` on `sample`; without an engine nothing is known.
    ///
    /// # Errors
    /// [`QuantizeError`] where the sample cannot be run.
    pub fn of(engine: Option<(&Engine, &Sample)>) -> Result<Latency, QuantizeError> {
        let Some((engine, sample)) = engine else { return Ok(Latency::default()) };
        Ok(Latency { multiply_accumulates: engine.with_plan(work), host: Some(measure(engine, sample)?) })
    }
}

fn work(plan: &Plan<'_>) -> u64 {
    plan.steps().map(|record| record.step.multiply_accumulates()).sum()
}

fn measure(engine: &Engine, sample: &Sample) -> Result<HostTime, QuantizeError> {
    let mut session = engine.session()?;
    session.time(sample)?;
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || (begin.elapsed() < MEASURED && times.len() < 2000) {
        times.push(session.time(sample)?);
    }
    times.sort_unstable();
    let milliseconds = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok(HostTime {
        median_ms: milliseconds(times.len() / 2),
        fastest_ms: milliseconds(0),
        runs: times.len(),
        kernels: session.kernels().to_string(),
        architecture: std::env::consts::ARCH.to_string(),
    })
}
