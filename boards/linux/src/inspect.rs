//! `cygnet inspect`: what is in a model and what it needs.

use clap::Args;
use cygnet::boards::{Board, Need};
use cygnet::core::DType;
use cygnet::core::plan::step::Access;
use cygnet::core::plan::{MetadataKind, Plan, Port, StepRecord};
use cygnet::{Model, Preparation};
use serde::Serialize;

use crate::table::{Align, Table, grouped, shape};
use crate::{ModelArguments, print, print_json};

/// Show inputs, outputs, steps and memory of a model, and what falls back to tract.
#[derive(Args)]
pub struct Inspect {
    #[command(flatten)]
    model: ModelArguments,
    /// Say what the plan takes of this board
    #[arg(long, value_name = "NAME")]
    board: Option<&'static Board>,
}

#[derive(Serialize)]
struct PortInfo {
    name: String,
    dtype: String,
    shape: Vec<u32>,
    /// The type in the arena, where it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_point: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fed_with: Option<&'static str>,
}

#[derive(Serialize)]
struct StepInfo {
    index: u32,
    kind: &'static str,
    name: String,
    output_shape: Vec<u32>,
    output_dtype: String,
    /// Bytes of outputs and scratch in the arena.
    arena_bytes: usize,
    multiply_accumulates: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
}

#[derive(Serialize)]
struct Memory {
    arena_bytes: u32,
    live_bytes: u32,
    arena_over_live: f64,
    constant_bytes: u32,
    plan_bytes: usize,
}

#[derive(Serialize)]
struct Report {
    model: String,
    name: String,
    labels: usize,
    inputs: Vec<PortInfo>,
    outputs: Vec<PortInfo>,
    memory: Memory,
    multiply_accumulates: u64,
    steps: Vec<StepInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    need: Option<Need>,
}

impl Inspect {
    /// Does the work.
    pub fn run(&self) -> anyhow::Result<()> {
        let model = self.model.file.load()?;
        let mut report = Report::new(&model, crate::file_name(&self.model.file.model));
        report.need = self.board.map(|board| Need::of(&model.plan(), board));
        if self.model.json {
            return print_json(&report);
        }
        print(&report.text())?;
        let Some(need) = &report.need else { return Ok(()) };
        print(&format!("\n{}", board_table(need)))?;
        match need.refusal(&model.plan()) {
            Some(refusal) => print(&format!("\nIt does not fit: {refusal}.\n")),
            None => Ok(()),
        }
    }
}

fn port_info(plan: &Plan<'_>, port: &Port, fed_with: Option<&'static str>) -> PortInfo {
    let tensor = plan.tensor(port.tensor);
    let held = tensor.filter(|tensor| tensor.dtype != port.dtype);
    let quantized = tensor.filter(|tensor| tensor.dtype == DType::I8);
    PortInfo {
        name: plan.text(port.name).to_string(),
        dtype: port.dtype.to_string(),
        shape: port.dims().to_vec(),
        held_as: held.map(|tensor| tensor.dtype.to_string()),
        scale: quantized.map(|tensor| tensor.scale),
        zero_point: quantized.map(|tensor| tensor.zero_point),
        fed_with,
    }
}

fn step_info(plan: &Plan<'_>, record: &StepRecord) -> StepInfo {
    let (mut output, mut arena_bytes) = (None, 0);
    record.step.visit_tensors(&mut |id, access| {
        let Some(tensor) = plan.tensor(id).filter(|_| access != Access::Read) else { return };
        arena_bytes += tensor.bytes();
        if access == Access::Write && output.is_none() {
            output = Some(tensor);
        }
    });
    let is_host = matches!(record.step, cygnet::core::plan::Step::HostStep(_));
    let reason = plan.metadata_of(MetadataKind::FallbackReason, record.index);
    let reason = reason.map(|reason| String::from_utf8_lossy(reason).into_owned());
    StepInfo {
        index: record.index,
        kind: record.step.kind(),
        name: plan.text(record.name).to_string(),
        output_shape: output.map(|tensor| tensor.dims().to_vec()).unwrap_or_default(),
        output_dtype: output.map(|tensor| tensor.dtype.to_string()).unwrap_or_default(),
        arena_bytes,
        multiply_accumulates: record.step.multiply_accumulates(),
        fallback: is_host.then(|| reason.unwrap_or_else(|| "no reason is told".into())),
    }
}

/// What a plan takes of a board.
fn board_table(need: &Need) -> String {
    let mut table = Table::new(&[(need.board, Align::Left), ("bytes", Align::Right)]);
    for (what, bytes) in need.rows() {
        table.row([what.to_string(), grouped(bytes as u64)]);
    }
    let peak = need.peak.as_ref().map(|(step, node)| format!("RAM peaks at step {step}, {node}\n"));
    table.text() + &peak.unwrap_or_default()
}

impl Report {
    fn new(model: &Model, file: String) -> Self {
        let plan = model.plan();
        let header = plan.header();
        let fed_with = |index| match model.preparation(index) {
            Preparation::Image(_) => Some("pictures"),
            Preparation::Audio(_) => Some("sound"),
            Preparation::Bytes(_) => Some("bytes of files"),
            _ => None,
        };
        let steps: Vec<_> = plan.steps().map(|record| step_info(&plan, &record)).collect();
        Self {
            model: file,
            name: model.name().to_string(),
            labels: model.labels().len(),
            inputs: plan.inputs().enumerate().map(|(index, port)| port_info(&plan, &port, fed_with(index))).collect(),
            outputs: plan.outputs().map(|port| port_info(&plan, &port, None)).collect(),
            memory: Memory {
                arena_bytes: header.arena_bytes,
                live_bytes: header.live_bytes,
                arena_over_live: f64::from(header.arena_bytes) / f64::from(header.live_bytes.max(1)),
                constant_bytes: header.constant_bytes,
                plan_bytes: plan.bytes().len(),
            },
            multiply_accumulates: steps.iter().map(|step| step.multiply_accumulates).sum(),
            steps,
            need: None,
        }
    }

    fn text(&self) -> String {
        let mut text = match &*self.name {
            "" => format!("{}\n", self.model),
            name => format!("{} ({name})\n", self.model),
        };
        text += &format!("\n{}\n{}\n", self.ports().text(), self.memory_table().text());
        text += &format!("{} labels, {} multiply-accumulates a run\n", self.labels, grouped(self.multiply_accumulates));
        text += &format!("\n{}\n", self.step_table().text());
        let fallbacks: Vec<_> = self.steps.iter().filter_map(|step| Some((step, step.fallback.as_ref()?))).collect();
        if fallbacks.is_empty() {
            text += "Every step has a native kernel.\n";
        } else {
            text += &format!("{} steps run through tract:\n", fallbacks.len());
        }
        for (step, reason) in fallbacks {
            text += &format!("  {} {}: {reason}\n", step.index, step.name);
        }
        text
    }

    fn ports(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("", Left),
            ("name", Left),
            ("type", Left),
            ("shape", Left),
            ("held as", Left),
            ("scale", Right),
            ("zero point", Right),
            ("fed with", Left),
        ]);
        let inputs = self.inputs.iter().map(|port| ("input", port));
        for (what, port) in inputs.chain(self.outputs.iter().map(|port| ("output", port))) {
            table.row([
                what.to_string(),
                port.name.clone(),
                port.dtype.clone(),
                shape(&port.shape),
                port.held_as.clone().unwrap_or_default(),
                port.scale.map(|scale| scale.to_string()).unwrap_or_default(),
                port.zero_point.map(|zero_point| zero_point.to_string()).unwrap_or_default(),
                port.fed_with.unwrap_or_default().to_string(),
            ]);
        }
        table
    }

    fn memory_table(&self) -> Table {
        let mut table = Table::new(&[("memory", Align::Left), ("bytes", Align::Right)]);
        let Memory { arena_bytes, live_bytes, arena_over_live, constant_bytes, plan_bytes } = &self.memory;
        let mut row = |what: String, bytes: u64| table.row([what, grouped(bytes)]);
        row(format!("arena (RAM), {arena_over_live:.3} of the least"), u64::from(*arena_bytes));
        row("largest set alive at once, the least".into(), u64::from(*live_bytes));
        row("plan file (flash)".into(), *plan_bytes as u64);
        row("weights and tables in it".into(), u64::from(*constant_bytes));
        table
    }

    fn step_table(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("step", Right),
            ("kind", Left),
            ("output", Left),
            ("type", Left),
            ("arena bytes", Right),
            ("MACs", Right),
            ("node", Left),
        ]);
        for step in &self.steps {
            table.row([
                step.index.to_string(),
                step.kind.to_string(),
                shape(&step.output_shape),
                step.output_dtype.clone(),
                grouped(step.arena_bytes as u64),
                grouped(step.multiply_accumulates),
                step.name.clone(),
            ]);
        }
        table
    }
}
