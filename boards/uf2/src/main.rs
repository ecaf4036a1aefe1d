//! `uf2 FIRMWARE OUT.uf2`: the file to copy onto a Raspberry Pi Pico 2.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [firmware, out] = &arguments[..] else {
        eprintln!("usage: uf2 FIRMWARE OUT.uf2");
        return ExitCode::from(2);
    };
    match convert(firmware, out) {
        Ok(bytes) => {
            println!("{}: {bytes} bytes", out.display());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn convert(firmware: &Path, out: &Path) -> Result<usize, String> {
    let said = |path: &Path, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let bytes = fs::read(firmware).map_err(|problem| said(firmware, &problem))?;
    let file = cygnet_uf2::pico2(&bytes).map_err(|problem| said(firmware, &problem))?;
    // Whole or not at all.
    let mut unfinished = out.as_os_str().to_owned();
    unfinished.push(".unfinished");
    fs::write(&unfinished, &file).and_then(|()| fs::rename(&unfinished, out)).map_err(|problem| said(out, &problem))?;
    Ok(file.len())
}
