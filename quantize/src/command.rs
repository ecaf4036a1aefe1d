//! The commands of the program.

pub mod card;
pub mod compile;
pub mod demo;
#[cfg(feature = "distill")]
pub mod distill;
pub mod dynamic;
pub mod goal;
pub mod progress;
pub mod quantize;
pub mod report;
pub mod signals;
pub mod summary;
pub mod table;

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail};
use cygnet_onnx::model::{Model, ModelError};

/// Writes results to stdout; a reader that has gone away is no failure.
pub fn tell(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes one JSON object to stdout.
pub fn tell_json(report: &impl serde::Serialize) -> anyhow::Result<()> {
    tell(&format!("{}\n", serde_json::to_string_pretty(report)?))
}

/// Reads a model; every message names the file.
pub fn read(path: &Path) -> anyhow::Result<Model> {
    Model::read(path).map_err(|error| match error {
        // It names the file itself.
        error @ ModelError::File { .. } => error.into(),
        error => anyhow::Error::from(error).context(path.display().to_string()),
    })
}

/// Refuses an output that cannot be written before the work is done.
pub fn check_output(output: &Path, input: &Path) -> anyhow::Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let metadata = std::fs::metadata(folder).with_context(|| format!("the folder {}", folder.display()))?;
    if !metadata.is_dir() || output.is_dir() {
        bail!("{}: give the name of a file in a folder", output.display());
    }
    if let (Ok(output), Ok(same)) = (output.canonicalize(), input.canonicalize())
        && output == same
    {
        bail!("{}: is the input; give another name for the output", output.display());
    }
    Ok(())
}

/// The bytes of a model's file.
pub fn onnx_bytes(model: &Model) -> anyhow::Result<Vec<u8>> {
    let bytes = model.to_bytes();
    if bytes.len() > i32::MAX as usize {
        bail!("the new model is over 2 GiB, more than one ONNX file can hold; quantize it in parts");
    }
    Ok(bytes)
}
