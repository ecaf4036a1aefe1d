//! Runs ONNX's own node tests, as `make.py` writes them, through compiler and engine: `conformance FOLDER [PAGE.md]`
//!
//! Prints a table by operator and writes `results.json` into the folder, and the page of the documentation. Exit
//! status 1 where an answer was wrong.

mod case;
mod compare;
mod integer;
mod operators;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use case::{Case, Given, Loaded, Verdict, judge};
use integer::int8_kinds;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: conformance FOLDER, where make.py wrote the cases");
        return ExitCode::from(2);
    };
    let page = std::env::args_os().nth(2);
    match run(Path::new(&folder), page.as_deref().map(Path::new)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("conformance: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Judges all cases; gives the number of wrong answers.
fn run(folder: &Path, page: Option<&Path>) -> Result<usize, String> {
    let list = folder.join("cases.json");
    let text = std::fs::read_to_string(&list).map_err(|error| format!("{}: {error}; run make.py", list.display()))?;
    let cases: Vec<Case> = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", list.display()))?;
    // What a case panics with is told in its verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let verdicts: Vec<(Case, Verdict)> = cases.into_iter().map(|case| judge(folder, case)).collect();
    let int8 = int8_operators(folder, &verdicts);
    let _ = std::panic::take_hook();
    if let Some(page) = page {
        let text = operators::page(&verdicts, &int8);
        std::fs::write(page, text).map_err(|error| format!("{}: {error}", page.display()))?;
    }
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

/// The operators of which some case runs in int8 alone, and the kinds of steps that they take.
fn int8_operators(folder: &Path, verdicts: &[(Case, Verdict)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (case, verdict) in verdicts.iter().filter(|(case, _)| !case.expanded) {
        if !matches!(verdict, Verdict::Native(Given::Fed | Given::Parameters, _)) {
            continue;
        }
        // Weights must be constants; two activations must not.
        for given in [Given::Fed, Given::Parameters] {
            let Ok(Loaded { model, inputs, expected }) = case.load(folder, given) else { continue };
            let kinds = catch_unwind(AssertUnwindSafe(|| int8_kinds(&model, &inputs, &expected)));
            if let Ok(Some(kinds)) = kinds {
                found.entry(case.full_name()).or_default().extend(kinds);
            }
        }
    }
    found
}
