//! `cygnet`: runs, measures and shows models on Linux devices, on files and on what cameras and microphones give.

mod bench;
mod events;
mod gpio;
mod inspect;
mod listen;
#[cfg(feature = "packaging")]
mod packaging;
mod pipe;
mod retry;
mod run;
mod table;
mod watch;
#[cfg(feature = "text")]
mod write;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use cygnet::{Card, Model, Session};

/// Runs int8 and float models on this machine.
#[derive(Parser)]
#[command(name = "cygnet", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Bench(bench::Bench),
    Inspect(inspect::Inspect),
    Listen(listen::Listen),
    Watch(watch::Watch),
    #[cfg(feature = "packaging")]
    #[command(hide = true)]
    Packaging(packaging::Packaging),
}

/// Which model, and how it is fed.
#[derive(Args)]
struct ModelFile {
    /// The model: an ONNX file or a compiled plan (.cyg).
    model: PathBuf,
    /// The card that says how files become input; otherwise MODEL.toml beside the model, or the card inside it.
    #[arg(long, value_name = "FILE.toml")]
    card: Option<PathBuf>,
}

/// What every command takes that ends with a result.
#[derive(Args)]
struct ModelArguments {
    #[command(flatten)]
    file: ModelFile,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// What every command takes that goes on until its source ends.
#[derive(Args)]
struct StreamArguments {
    #[command(flatten)]
    file: ModelFile,
    /// Print JSON lines, also on a terminal.
    #[arg(long)]
    json: bool,
    /// Number of threads [default: physical cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    #[command(flatten)]
    line: gpio::LineArguments,
}

impl StreamArguments {
    /// Whether people read what is printed.
    fn is_for_people(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    fn session(&self) -> Result<Session, cygnet::Error> {
        let model = self.file.load()?;
        match self.threads {
            Some(threads) => model.session_on(threads.into()),
            None => model.session(),
        }
    }
}

impl ModelFile {
    fn load(&self) -> Result<Model, cygnet::Error> {
        match &self.card {
            Some(card) => Model::load_with_card(&self.model, Card::load(card)?),
            None => Model::load(&self.model),
        }
    }
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).format_timestamp(None).init();
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(run) => run.run(),
        Command::Bench(bench) => bench.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Listen(listen) => listen.run(),
        Command::Watch(watch) => watch.run(),
        #[cfg(feature = "packaging")]
        Command::Packaging(packaging) => packaging.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "cygnet: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, each said once: many errors already tell their cause.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints a result.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a result as JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("the result cannot be written as JSON")?;
    print(&format!("{text}\n"))
}

/// A file by its last name, for people.
fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
