//! `quantize`: compresses an ONNX model to int8, compiles plans, and shows the whole way (`demo`).

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quantize::error::QuantizeError;

/// What shells say of a program that Ctrl-C ended: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Compresses ONNX models to int8.
#[derive(Parser)]
#[command(name = "quantize", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    quantize: Option<command::quantize::Arguments>,
}

#[derive(Subcommand)]
enum Command {
    /// Turns an int8 or float ONNX model into a plan.
    Compile(command::compile::Arguments),
    /// Gives products int8 weights and levels made while the model runs: no samples are needed.
    Dynamic(command::dynamic::Arguments),
    /// Goes the whole way on the bundled models.
    Demo(command::demo::Arguments),
    /// Trains the quantized model, or a smaller one, to answer as the float model does.
    #[cfg(feature = "distill")]
    Distill(command::distill::Arguments),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("quantize=info,cygnet=info,error"))
        .format_target(false)
        .init();
    let cli = Cli::parse();
    if let Err(error) = command::signals::watch() {
        log::warn!("Ctrl-C will end the program at once: {error}");
    }
    let result = match (cli.command, cli.quantize) {
        (Some(Command::Compile(arguments)), _) => command::compile::run(&arguments),
        (Some(Command::Dynamic(arguments)), _) => command::dynamic::run(&arguments),
        (Some(Command::Demo(arguments)), _) => command::demo::run(&arguments),
        #[cfg(feature = "distill")]
        (Some(Command::Distill(arguments)), _) => command::distill::run(&arguments),
        (None, Some(arguments)) => command::quantize::run(&arguments),
        (None, None) => {
            eprintln!("quantize: give a model and --calib, or `compile`, `dynamic` or `demo`; see --help");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quantize: {}", message(&error));
            let is_interrupted = matches!(error.downcast_ref(), Some(QuantizeError::Interrupted));
            ExitCode::from(if is_interrupted { INTERRUPTED } else { 1 })
        }
    }
}

/// The error with its causes; a cause that the error's own text tells already is not told twice.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
