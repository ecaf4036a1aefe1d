//! How long one inference takes.

use std::time::{Duration, Instant};

use cygnet::boards::{BOARDS, Board, Need, Work};
use cygnet::core::Plan;
use cygnet_onnx::model::Model;
use serde::Serialize;

use crate::data::Sample;
use crate::engine::{self, Engine};
use crate::error::QuantizeError;
use crate::facts::Dims;

/// How long this machine is measured.
const MEASURED: Duration = Duration::from_millis(500);

/// Measured here, and predicted for boards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Multiply-accumulates of one inference.
    pub multiply_accumulates: u64,
    /// This machine, by running the engine.
    pub host: Option<HostTime>,
    /// Boards that the plan fits, predicted from its steps.
    pub boards: Vec<BoardTime>,
}

/// One board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoardTime {
    /// Instructions and time, and how sure they are.
    #[serde(flatten)]
    pub work: Work,
    /// RAM that the plan takes of the board, stack and statics of the firmware included.
    pub ram: usize,
    /// The board's RAM.
    pub board_ram: usize,
    /// Flash, or the file where there is an operating system.
    pub flash: usize,
    /// Why it does not fit, where it does not.
    pub refusal: Option<String>,
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
    /// Measures `engine`, made of `model`, on `sample`; without an engine nothing is known.
    ///
    /// # Errors
    /// [`QuantizeError`] where the sample cannot be run.
    pub fn of(model: &Model, dims: &Dims, engine: Option<(&Engine, &Sample)>) -> Result<Latency, QuantizeError> {
        let Some((engine, sample)) = engine else { return Ok(Latency::default()) };
        let (multiply_accumulates, boards) = engine.with_plan(|plan| (work(plan), boards(model, dims, plan)));
        Ok(Latency { multiply_accumulates, host: Some(measure(engine, sample)?), boards })
    }
}

/// All boards whose instructions can be told. Where RAM is short the plan is made again for the board, as
/// `quantize compile --board` does it.
fn boards(model: &Model, dims: &Dims, plan: &Plan<'_>) -> Vec<BoardTime> {
    let time = |board: &'static Board| {
        let usual = BoardTime::of(plan, board)?;
        if usual.refusal.is_none() || board.flash.is_none() {
            return Some(usual);
        }
        // What cannot be made smaller is refused as it is.
        let smaller = engine::plan(model, dims, Some(board)).ok();
        let smaller = smaller.as_deref().and_then(|bytes| BoardTime::of(&Plan::parse(bytes).ok()?, board));
        Some(smaller.unwrap_or(usual))
    };
    BOARDS.iter().filter_map(time).collect()
}

impl BoardTime {
    fn of(plan: &Plan<'_>, board: &'static Board) -> Option<BoardTime> {
        let (work, need) = (Work::of(plan, board)?, Need::of(plan, board));
        let refusal = need.refusal(plan);
        Some(BoardTime { work, ram: need.ram, board_ram: need.board_ram, flash: need.flash, refusal })
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
