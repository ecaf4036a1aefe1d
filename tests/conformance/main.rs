//! Runs ONNX's own node tests, as `make.py` writes them, through compiler and engine: `conformance FOLDER`
//!
//! Prints a table by operator and writes `results.json` into the folder. Exit status 1 where an answer was wrong.

mod case;
mod compare;
mod table;

use std::path::Path;
use std::process::ExitCode;

use case::{Case, Verdict, judge};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: conformance FOLDER, where make.py wrote the cases");
        return ExitCode::from(2);
    };
    match run(Path::new(&folder)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("conformance: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Judges all cases; gives the number of wrong answers.
fn run(folder: &Path) -> Result<usize, String> {
    let list = folder.join("cases.json");
    let text = std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}; run make.py", list.display()))?;
    let cases: Vec<Case> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", list.display()))?;
    // What a case panics with is told in its verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let verdicts: Vec<(Case, Verdict)> = cases.into_iter().map(|case| judge(folder, case)).collect();
    let _ = std::panic::take_hook();
    let results: Vec<_> = verdicts.iter().map(|(case, verdict)| table::result(case, verdict)).collect();
    let file = folder.join("results.json");
    let json = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
    std::fs::write(&file, json + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    print!("{}", table::by_operator(&verdicts));
    let wrong: Vec<_> = verdicts.iter().filter_map(|(case, verdict)| Some((case, verdict.wrong()?))).collect();
    for (case, problem) in &wrong {
        println!("WRONG {}: {problem}", case.name);
    }
    Ok(wrong.len())
}
