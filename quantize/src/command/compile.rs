//! `quantize compile MODEL.onnx`: from ONNX to a plan.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use cygnet::boards::{Board, Need};
use cygnet::core::Plan;
use cygnet_onnx::compile::Compression;
use cygnet_onnx::model::Model;
use quantize::engine::{self, Memory};
use quantize::facts::Dims;
use quantize::files::NewFiles;
use serde::Serialize;

use super::table::{self, grouped};

/// What `compile` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The int8 or float model
    pub model: PathBuf,
    /// Where to write the plan [default: MODEL.cyg beside the model]
    #[arg(short, long, value_name = "OUT.cyg")]
    pub output: Option<PathBuf>,
    /// The model's card [default: MODEL.toml beside the model, else the one inside the model]
    #[arg(long, value_name = "FILE.toml")]
    pub card: Option<PathBuf>,
    /// Make the plan fit this board, say what it takes of it, and refuse what cannot fit
    #[arg(long, value_name = "NAME")]
    pub board: Option<&'static Board>,
    /// Store weights in fewer bits wherever that is much smaller, though slower [default: where the model was quantized so]
    #[arg(long)]
    pub compress: bool,
    /// Print one JSON object and nothing else on stdout
    #[arg(long)]
    pub json: bool,
}

/// What became of a model.
#[derive(Serialize)]
struct Report {
    model: String,
    plan: String,
    #[serde(flatten)]
    memory: Memory,
    /// Bytes of weights that `--compress` would save.
    #[serde(skip_serializing_if = "is_zero")]
    compressible_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<Need>,
}

fn is_zero(bytes: &usize) -> bool {
    *bytes == 0
}

/// Compiles and prints the memory table.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let output = arguments.output.clone().unwrap_or_else(|| arguments.model.with_extension("cyg"));
    super::check_output(&output, &arguments.model)?;
    let mut model = super::read(&arguments.model)?;
    super::card::take(&arguments.model, arguments.card.as_deref(), &mut model)?;
    let compress = if arguments.compress { Compression::Smallest } else { Compression::AsAsked };
    let compiled = engine::compiled(&model, &Dims::new(), arguments.board, compress)
        .with_context(|| arguments.model.display().to_string())?;
    let plan = Plan::parse(&compiled.plan)?;
    let need = arguments.board.map(|board| Need::of(&plan, board));
    if let Some(refusal) = need.as_ref().and_then(|need| need.refusal(&plan)) {
        bail!("{}: {refusal}", arguments.model.display());
    }
    let mut files = NewFiles::default();
    files.add(&output, &compiled.plan)?;
    files.publish()?;
    let report = Report {
        model: arguments.model.display().to_string(),
        plan: output.display().to_string(),
        memory: Memory::of(&plan),
        compressible_bytes: compiled.compressible_bytes,
        need,
    };
    if arguments.json { super::tell_json(&report) } else { super::tell(&report.to_string()) }
}

/// Compiles; open axes have the extents `dims`.
pub fn plan(model: &Model, dims: &Dims) -> anyhow::Result<Vec<u8>> {
    Ok(engine::plan(model, dims, None)?)
}

/// The lines of the memory table.
pub fn memory_rows(memory: &Memory) -> Vec<Vec<String>> {
    let over = memory.arena_bytes as f64 / memory.live_bytes.max(1) as f64;
    let row = |what: &str, bytes: usize| vec![what.to_string(), grouped(bytes)];
    vec![
        vec!["".into(), "bytes".into()],
        row("RAM: arena", memory.arena_bytes),
        row(&format!("  largest set alive at once (arena is {over:.3} of it)"), memory.live_bytes),
        row("  scratch in it, at most", memory.scratch_bytes),
        row("flash: plan", memory.plan_bytes),
        row("  weights and other constants", memory.constant_bytes),
        row("  steps, tensors, names, card", memory.plan_bytes.saturating_sub(memory.constant_bytes)),
    ]
}

/// The table for a board.
fn board_rows(need: &Need) -> Vec<Vec<String>> {
    let head = vec![need.board.to_string(), "bytes".into()];
    let rows = need.rows().into_iter().map(|(what, bytes)| vec![what.to_string(), grouped(bytes)]);
    std::iter::once(head).chain(rows).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} → {}", self.model, self.plan)?;
        match &self.need {
            None => f.write_str(&table::text(&memory_rows(&self.memory)))?,
            Some(need) => {
                f.write_str(&table::text(&board_rows(need)))?;
                if let Some((step, node)) = &need.peak {
                    writeln!(f, "RAM peaks at step {step}, {node}")?;
                }
            }
        }
        fallbacks(f, &self.memory)?;
        narrow(f, &self.memory, self.compressible_bytes)
    }
}

/// How many steps there are and which have no native kernel.
pub fn fallbacks(f: &mut fmt::Formatter<'_>, memory: &Memory) -> fmt::Result {
    let Memory { steps, fallbacks, .. } = memory;
    if fallbacks.is_empty() {
        return writeln!(f, "{steps} steps, all native");
    }
    writeln!(f, "{steps} steps, {} of them through tract, which small boards do not have:", fallbacks.len())?;
    for fallback in fallbacks {
        writeln!(f, "  {} {}: {}", fallback.step, fallback.node, fallback.reason)?;
    }
    Ok(())
}

/// Which steps keep their weights in fewer bits, and whether more could.
fn narrow(f: &mut fmt::Formatter<'_>, memory: &Memory, compressible_bytes: usize) -> fmt::Result {
    let Memory { indexed_steps, sparse_steps, .. } = memory;
    if indexed_steps + sparse_steps > 0 {
        writeln!(f, "weights: {indexed_steps} steps in 4 bits, {sparse_steps} without their zeros")?;
    }
    if compressible_bytes > 0 {
        let bytes = grouped(compressible_bytes);
        writeln!(f, "{bytes} bytes less with --compress, which stores weights in fewer bits and is slower")?;
    }
    Ok(())
}
