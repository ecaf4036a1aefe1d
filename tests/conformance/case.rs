//! One node test and what the engine makes of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cygnet_core::Plan;
use cygnet_core::plan::StepRecord;
use cygnet_core::plan::step::{MatMul, Pool, Quantize, Reduce, Softmax, Step, Table};
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
    /// The answer is right, by native steps alone, of these kinds.
    Native(Given, Vec<String>),
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

impl Case {
    /// The operator with its set, where that is not the standard one.
    pub fn full_name(&self) -> String {
        if self.domain.is_empty() { self.operator.clone() } else { format!("{}.{}", self.domain, self.operator) }
    }
}

/// The kinds of a plan's steps, with the type where it decides on the kernel.
pub fn kinds_of(plan: &Plan<'_>) -> Vec<String> {
    let kind = |record: StepRecord| {
        let dtype = |id| plan.tensor(id).map_or(String::new(), |tensor| tensor.dtype.to_string());
        let name = record.step.kind();
        match record.step {
            Step::Binary(s) => format!("{name} {} {:?}", dtype(s.y), s.op),
            Step::Dequantize(s) => format!("{name} {}", dtype(s.x)),
            Step::MatMul(MatMul { y, .. })
            | Step::Table(Table { y, .. })
            | Step::Pool(Pool { y, .. })
            | Step::Reduce(Reduce { y, .. })
            | Step::Softmax(Softmax { y, .. })
            | Step::Quantize(Quantize { y, .. }) => format!("{name} {}", dtype(y)),
            _ => name.to_string(),
        }
    };
    let mut kinds: Vec<String> = plan.steps().map(kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// A case as it is run: its model, what it is fed with, what it should answer.
pub struct Loaded {
    /// The model; what is given as constant has become initializers.
    pub model: Model,
    /// By input.
    pub inputs: BTreeMap<String, Tensor>,
    /// By output.
    pub expected: BTreeMap<String, Tensor>,
}

impl Case {
    /// Reads model and data.
    ///
    /// # Errors
    /// What cannot be read, as text.
    pub fn load(&self, folder: &Path, given: Given) -> Result<Loaded, String> {
        let model = Model::read(&folder.join(format!("{}.onnx", self.name)));
        let mut model = model.map_err(|error| error.to_string())?;
        let arrays = try_read_npz(&folder.join(format!("{}.npz", self.name)))?;
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
        Ok(Loaded { model, inputs, expected })
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
            (Verdict::Native(..) | Verdict::Wrong(_), _) if given != Given::All => return (case, verdict),
            (Verdict::Wrong(_), _) => return (case, verdict),
            (_, None) => best = Some(verdict),
            (Verdict::Native(..) | Verdict::Fallback(..), Some(Verdict::Refused(_))) => best = Some(verdict),
            _ => {}
        }
    }
    let verdict = best.unwrap_or(Verdict::Refused("nothing was tried".into()));
    (case, verdict)
}

fn attempt(folder: &Path, case: &Case, given: Given) -> Verdict {
    let refused = |problem: String| Verdict::Refused(problem);
    let Loaded { model, inputs, expected } = match case.load(folder, given) {
        Ok(loaded) => loaded,
        Err(problem) => return refused(problem),
    };
    let outcome = match compile_and_run_with(&model, &inputs, &Options::default()) {
        Ok(outcome) => outcome,
        Err(problem) => return refused(problem),
    };
    let tolerance = Tolerance { relative: case.rtol, absolute: case.atol };
    if let Err(difference) = compare(&outcome.outputs, &expected, tolerance) {
        return Verdict::Wrong(format!("{difference} ({given:?})"));
    }
    match outcome.fallbacks.first() {
        None => Verdict::Native(given, Plan::parse(&outcome.plan).map(|plan| kinds_of(&plan)).unwrap_or_default()),
        Some(_) => Verdict::Fallback(given, outcome.reasons.join("; ")),
    }
}
