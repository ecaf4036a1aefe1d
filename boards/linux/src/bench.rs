//! `cygnet bench`: how long a model takes.

use std::time::{Duration, Instant};

use clap::Args;
use cygnet::core::DType;
use cygnet::core::plan::StepRecord;
use cygnet::{Error, Session};
use serde::Serialize;

use crate::table::{Align, Table, grouped};
use crate::{ModelArguments, print, print_json};

/// Measure how long a model takes on random input.
#[derive(Args)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArguments,
    /// Number of threads [default: physical cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Number of measured runs [default: as many as fit in two seconds, 20 to 20000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: Option<u32>,
    /// Show every step: kind, name, time, share, multiply-accumulates.
    #[arg(long)]
    steps: bool,
}

const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_secs(2);
const SEED: u64 = 7;

#[derive(Serialize)]
struct StepTime {
    index: u32,
    kind: &'static str,
    name: String,
    ms: f64,
    share: f64,
    multiply_accumulates: u64,
}

#[derive(Serialize)]
struct Report {
    model: String,
    kernels: &'static str,
    threads: usize,
    runs: usize,
    load_ms: f64,
    median_ms: f64,
    p95_ms: f64,
    min_ms: f64,
    multiply_accumulates: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepTime>,
}

impl Bench {
    /// Does the work.
    pub fn run(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        let model = self.model.file.load()?;
        let mut session = match self.threads {
            Some(threads) => model.session_on(threads.into())?,
            None => model.session()?,
        };
        let load_ms = milliseconds(begin.elapsed());
        let mut times = measure(&mut session, self.runs)?;
        times.sort_unstable();
        let plan = model.plan();
        let report = Report {
            model: crate::file_name(&self.model.file.model),
            kernels: session.kernels().name,
            threads: session.threads(),
            runs: times.len(),
            load_ms,
            median_ms: milliseconds(quantile(&times, 50)),
            p95_ms: milliseconds(quantile(&times, 95)),
            min_ms: milliseconds(quantile(&times, 0)),
            multiply_accumulates: plan.steps().map(|record| record.step.multiply_accumulates()).sum(),
            steps: if self.steps { step_times(&mut session, times.len())? } else { Vec::new() },
        };
        if self.model.json { print_json(&report) } else { print(&report.text()) }
    }
}

impl Report {
    fn text(&self) -> String {
        let rate = self.multiply_accumulates as f64 / (self.median_ms * 1e6);
        let mut text = format!(
            "{}: {} kernels, {} thread{}, {} runs, loaded in {:.1} ms\n\
             median {:.4} ms, 95 % within {:.4} ms, fastest {:.4} ms\n\
             {} multiply-accumulates a run, {rate:.2} thousand million a second\n",
            self.model,
            self.kernels,
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.runs,
            self.load_ms,
            self.median_ms,
            self.p95_ms,
            self.min_ms,
            grouped(self.multiply_accumulates),
        );
        if self.steps.is_empty() {
            return text;
        }
        let mut table = Table::new(&[
            ("step", Align::Right),
            ("kind", Align::Left),
            ("ms", Align::Right),
            ("share", Align::Right),
            ("MACs", Align::Right),
            ("node", Align::Left),
        ]);
        for step in &self.steps {
            table.row([
                step.index.to_string(),
                step.kind.to_string(),
                format!("{:.4}", step.ms),
                format!("{:.1} %", 100.0 * step.share),
                grouped(step.multiply_accumulates),
                step.name.clone(),
            ]);
        }
        text += &format!("\n{}", table.text());
        text
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The smallest time that `percent` of the sorted times do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Random input, the same in every run: quantized inputs over their whole range, others within -1..1 or small
/// whole numbers.
struct RandomInput {
    inputs: Vec<Vec<u8>>,
}

impl RandomInput {
    fn new(session: &Session) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let plan = session.model().plan();
        let mut inputs = Vec::new();
        for port in plan.inputs() {
            let mut bytes = Vec::new();
            let tensor = plan.tensor(port.tensor);
            for _ in 0..port.len() {
                match (port.dtype, tensor) {
                    (DType::F32, Some(tensor)) if matches!(tensor.dtype, DType::I8 | DType::I16) => {
                        let (low, high) = if tensor.dtype == DType::I8 { (-128, 127) } else { (-32_768, 32_767) };
                        let stored = random.i32(low..=high);
                        bytes.extend(((stored - tensor.zero_point) as f32 * tensor.scale).to_le_bytes());
                    }
                    (DType::F32, _) => bytes.extend((random.f32() * 2.0 - 1.0).to_le_bytes()),
                    (DType::U8 | DType::I8, _) => bytes.push(random.u8(..)),
                    (dtype, _) => {
                        bytes.push(random.u8(0..=1));
                        bytes.extend(std::iter::repeat_n(0, dtype.bytes() - 1));
                    }
                }
            }
            inputs.push(bytes);
        }
        Self { inputs }
    }

    fn set(&self, session: &mut Session) -> Result<(), Error> {
        self.inputs.iter().enumerate().try_for_each(|(index, bytes)| session.set_bytes(index, bytes))
    }
}

/// The times of single runs, each with setting the input: real numbers become what the model computes with.
fn measure(session: &mut Session, runs: Option<u32>) -> Result<Vec<Duration>, Error> {
    let input = RandomInput::new(session);
    let mut once = || {
        let begin = Instant::now();
        input.set(session)?;
        session.run()?;
        Ok::<_, Error>(begin.elapsed())
    };
    let begin = Instant::now();
    let mut warm = 0;
    while warm < 3 || begin.elapsed() < WARM_UP {
        once()?;
        warm += 1;
    }
    if let Some(runs) = runs {
        return (0..runs).map(|_| once()).collect();
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 20 || (begin.elapsed() < MEASURED && times.len() < 20_000) {
        times.push(once()?);
    }
    Ok(times)
}

/// The median time of every step, measured in runs of their own: the clock is read behind each step.
fn step_times(session: &mut Session, runs: usize) -> Result<Vec<StepTime>, Error> {
    let input = RandomInput::new(session);
    let model = session.model().clone();
    let plan = model.plan();
    let mut times: Vec<Vec<Duration>> = plan.steps().map(|_| Vec::with_capacity(runs)).collect();
    for _ in 0..runs.min(2000) {
        input.set(session)?;
        let mut last = Instant::now();
        session.run_watched(&mut |record: &StepRecord, _| {
            let now = Instant::now();
            if let Some(times) = times.get_mut(record.index as usize) {
                times.push(now - last);
            }
            last = now;
        })?;
    }
    let medians: Vec<_> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            milliseconds(quantile(times, 50))
        })
        .collect();
    let sum = medians.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let steps = plan.steps().zip(medians).map(|(record, ms)| StepTime {
        index: record.index,
        kind: record.step.kind(),
        name: plan.text(record.name).to_string(),
        ms,
        share: ms / sum,
        multiply_accumulates: record.step.multiply_accumulates(),
    });
    Ok(steps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times: Vec<_> = (1..=20).map(Duration::from_millis).collect();
        let of = |percent| quantile(&times, percent).as_millis();
        // Nearest rank: the 10th, the 19th, the 1st.
        assert_eq!([of(50), of(95), of(0), of(100)], [10, 19, 1, 20]);
        assert_eq!(quantile(&[], 50), Duration::ZERO);
    }
}
