//! One node test and what the engine makes of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cygnet_onnx::compile::Options;
use cygnet_onnx::model::{Model, Tensor};
use cygnet_tests::arrays::try_read_npz;
use cygnet_tests::run::compile_and_run_with;
use serde::Deserialize;

use crate::compare::{Tolerance, compare};

/// An entry of `cases.json`.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// The test's name.
    pub name: String,
    /// The operator under test.
    pub operator: String,
    /// Its operator set; empty for the standard one.
    pub domain: String,
    /// Whether the operator's definition as a function of others stands in its place.
    pub expanded: bool,
    /// Why the data of the case are no arrays of numbers.
    #[serde(default)]
    pub unfit: Option<String>,
    rtol: f64,
    atol: f64,
}

/// Which inputs of the graph became constants of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// None.
    Fed,
    /// All but the first: shapes, axes and weights, as exporters write them.
    Parameters,
    /// All: the compiler computes the answer.
    All,
}

/// What became of a case.
#[derive(Debug)]
pub enum Verdict {
    /// The answer is right, by native steps alone.
    Native(Given),
    /// The answer is right; nodes ran through the fallback, for this reason.
    Fallback(Given, String),
    /// Nothing ran: an error says why.
    Refused(String),
    /// The case needs elements of a type that no tensor of a plan has.
    OtherType(String),
    /// The answer is wrong.
    Wrong(String),
}

impl Verdict {
    /// What is wrong with the answer.
    pub fn wrong(&self) -> Option<&str> {
        match self {
            Self::Wrong(problem) => Some(problem),
            _ => None,
        }
    }
}

/// Runs a case: as it is, then with more of its inputs as constants until it runs natively.
pub fn judge(folder: &Path, case: Case) -> (Case, Verdict) {
    if let Some(problem) = &case.unfit {
        let verdict = Verdict::OtherType(problem.clone());
        return (case, verdict);
    }
    let mut best: Option<Verdict> = None;
    for given in [Given::Fed, Given::Parameters, Given::All] {
        // A panic is a defect whatever it says: no answer is worse than an error.
        let attempt = catch_unwind(AssertUnwindSafe(|| attempt(folder, &case, given)));
        let verdict = attempt.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Verdict::Wrong(format!("panicked: {}", text.unwrap_or("no reason told")))
        });
        match (&verdict, &best) {
            (Verdict::Native(_) | Verdict::Wrong(_), _) if given != Given::All => return (case, verdict),
            (Verdict::Wrong(_), _) => return (case, verdict),
            (_, None) => best = Some(verdict),
            (Verdict::Native(_) | Verdict::Fallback(..), Some(Verdict::Refused(_))) => best = Some(verdict),
            _ => {}
        }
    }
    let verdict = best.unwrap_or(Verdict::Refused("nothing was tried".into()));
    (case, verdict)
}

fn attempt(folder: &Path, case: &Case, given: Given) -> Verdict {
    let refused = |problem: String| Verdict::Refused(problem);
    let mut model = match Model::read(&folder.join(format!("{}.onnx", case.name))) {
        Ok(model) => model,
        Err(error) => return refused(error.to_string()),
    };
    let arrays = match try_read_npz(&folder.join(format!("{}.npz", case.name))) {
        Ok(arrays) => arrays,
        Err(problem) => return refused(problem),
    };
    let part = |prefix: &str| -> BTreeMap<String, Tensor> {
        let named = arrays.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
        named.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect()
    };
    let (mut inputs, expected) = (part("in."), part("out."));
    let fed = match given {
        Given::Fed => model.inputs.len(),
        Given::Parameters => 1,
        Given::All => 0,
    };
    for input in model.inputs.split_off(fed.min(model.inputs.len())) {
        if let Some(tensor) = inputs.remove(&input.name) {
            model.initializers.insert(input.name, tensor);
        }
    }
    let outcome = match compile_and_run_with(&model, &inputs, &Options::default()) {
        Ok(outcome) => outcome,
        Err(problem) => return refused(problem),
    };
    let tolerance = Tolerance { relative: case.rtol, absolute: case.atol };
    if let Err(difference) = compare(&outcome.outputs, &expected, tolerance) {
        return Verdict::Wrong(format!("{difference} ({given:?})"));
    }
    match outcome.fallbacks.first() {
        None => Verdict::Native(given),
        Some(_) => Verdict::Fallback(given, outcome.reasons.join("; ")),
    }
}
