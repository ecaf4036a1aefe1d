//! `quantize dynamic MODEL.onnx`: int8 weights, and levels of activations made in each run.

use std::fmt;
use std::path::PathBuf;

use quantize::engine::{self, Memory};
use quantize::facts::Dims;
use quantize::files::NewFiles;
use quantize::insert::dynamic::{Dynamic, quantize};
use serde::Serialize;

use super::compile;
use super::table::grouped;

/// What `dynamic` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// The float model
    pub model: PathBuf,
    /// Where to write the int8 model [default: MODEL.int8.onnx beside the model]
    #[arg(short, long, value_name = "OUT.onnx")]
    pub output: Option<PathBuf>,
    /// The model's card [default: MODEL.toml beside the model, else the one inside the model]
    #[arg(long, value_name = "FILE.toml")]
    pub card: Option<PathBuf>,
    /// Print one JSON object and nothing else on stdout
    #[arg(long)]
    pub json: bool,
}

/// What became of a model.
#[derive(Serialize)]
struct Report {
    model: String,
    output: String,
    float_bytes: usize,
    bytes: usize,
    #[serde(flatten)]
    made: Dynamic,
    memory: Memory,
}

/// Writes the model, once the engine has a plan of it.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let output = arguments.output.clone().unwrap_or_else(|| arguments.model.with_extension("int8.onnx"));
    super::check_output(&output, &arguments.model)?;
    let mut model = super::read(&arguments.model)?;
    super::card::take(&arguments.model, arguments.card.as_deref(), &mut model)?;
    let float_bytes = super::onnx_bytes(&model)?.len();
    let made = quantize(&mut model)?;
    let bytes = super::onnx_bytes(&model)?;
    let memory = engine::Engine::new(engine::plan(&model, &Dims::new(), None)?)?.memory();
    let mut files = NewFiles::default();
    files.add(&output, &bytes)?;
    files.publish()?;
    let (model, output) = (arguments.model.display().to_string(), output.display().to_string());
    let report = Report { model, output, float_bytes, bytes: bytes.len(), made, memory };
    if arguments.json { super::tell_json(&report) } else { super::tell(&report.to_string()) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dynamic { products, tables } = self.made;
        writeln!(
            f,
            "{}, {} bytes → {}, {} bytes",
            self.model,
            grouped(self.float_bytes),
            self.output,
            grouped(self.bytes)
        )?;
        writeln!(f, "{products} products whose levels are made in each run, {tables} tables of int8 rows")?;
        compile::fallbacks(f, &self.memory)
    }
}
