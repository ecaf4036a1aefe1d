//! What a package holds beside the program: man pages, shell completions, the systemd unit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate_to};
use cygnet::Model;

/// Write man pages, shell completions and the systemd unit into a folder.
#[derive(Args)]
pub struct Packaging {
    /// The folder.
    folder: PathBuf,
    /// The models of the package: the service's memory is bounded by what the largest of them needs.
    #[arg(required = true)]
    plans: Vec<PathBuf>,
}

const MEBIBYTE: u64 = 1 << 20;
/// The program, its libraries, its stacks and what the system counts as its own; measured as 14 MiB and more than
/// doubled.
const PROGRAM_BYTES: u64 = 32 * MEBIBYTE;
/// The largest picture that `cygnet watch` takes when nothing else is asked for.
const PICTURE_PIXELS: u64 = 16_000_000;
/// Four bytes as it is decoded, three as it is looked at.
const PICTURE_BYTES_A_PIXEL: u64 = 4 + 3;

const UNIT: &str = include_str!("../debian/cygnet.service");

impl Packaging {
    /// Does the work.
    pub fn run(&self) -> anyhow::Result<()> {
        let command = crate::Arguments::command;
        let folder = |name: &str| {
            let path = self.folder.join(name);
            fs::create_dir_all(&path).with_context(|| path.display().to_string()).map(|()| path)
        };
        clap_mangen::generate_to(command(), folder("man")?)?;
        let completions = folder("completions")?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut command(), "cygnet", &completions)?;
        }
        fs::write(self.folder.join("cygnet.service"), unit(&self.plans)?)?;
        Ok(())
    }
}

/// The unit, with what is computed put in.
fn unit(plans: &[PathBuf]) -> anyhow::Result<String> {
    let needs: Vec<_> = plans.iter().map(|path| model_bytes(path)).collect::<Result<_, _>>()?;
    let model = needs.into_iter().max().unwrap_or(0);
    let picture = PICTURE_PIXELS * PICTURE_BYTES_A_PIXEL;
    let whole = (PROGRAM_BYTES + picture + model).div_ceil(MEBIBYTE);
    let sum = format!(
        "program and stacks {PROGRAM_BYTES}, a picture of {PICTURE_PIXELS} pixels {picture}, the largest model \
         (arena and plan) {model}"
    );
    Ok(UNIT.replace("@MEMORY_SUM@", &sum).replace("@MEMORY_MAX@", &format!("{whole}M")))
}

/// What a model takes in memory: the arena and the mapped plan.
fn model_bytes(path: &Path) -> anyhow::Result<u64> {
    let model = Model::load(path)?;
    let plan = model.plan();
    Ok(u64::from(plan.header().arena_bytes) + plan.bytes().len() as u64)
}
