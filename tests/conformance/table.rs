//! The table by operator, and the record of each case.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::case::{Case, Given, Verdict};

#[derive(Default)]
struct Counts {
    native: usize,
    fallback: usize,
    refused: usize,
    wrong: usize,
    other_types: usize,
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Native(..) => &mut self.native,
            Verdict::Fallback(..) => &mut self.fallback,
            Verdict::Refused(_) => &mut self.refused,
            Verdict::Wrong(_) => &mut self.wrong,
            Verdict::OtherType(_) => &mut self.other_types,
        } += 1;
    }

    fn line(&self, name: &str) -> String {
        let Self { native, fallback, refused, wrong, other_types } = self;
        let cases = native + fallback + refused + wrong;
        let passed = 100.0 * (native + fallback) as f64 / cases.max(1) as f64;
        format!(
            "{name:<26} {cases:>5} {native:>7} {fallback:>9} {refused:>8} {wrong:>6} {passed:>7.1} % \
             {other_types:>12}\n"
        )
    }
}

/// One line for each operator, then the sums. Definitions written out count in a line of their own: they are graphs of
/// other operators.
pub fn by_operator(verdicts: &[(Case, Verdict)]) -> String {
    let mut operators: BTreeMap<String, Counts> = BTreeMap::new();
    for (case, verdict) in verdicts.iter().filter(|(case, _)| !case.expanded) {
        operators.entry(case.full_name()).or_default().add(verdict);
    }
    let passes = |counts: &Counts| counts.native + counts.fallback > 0;
    let mut text = format!(
        "{:<26} {:>5} {:>7} {:>9} {:>8} {:>6} {:>9} {:>12}\n",
        "operator", "cases", "native", "fallback", "refused", "wrong", "passed", "other types"
    );
    operators.iter().filter(|(_, counts)| passes(counts)).for_each(|(name, counts)| text += &counts.line(name));
    let sum = |keep: &dyn Fn(&Case) -> bool| {
        let mut sum = Counts::default();
        verdicts.iter().filter(|(case, _)| keep(case)).for_each(|(_, verdict)| sum.add(verdict));
        sum
    };
    let is_supported = |case: &Case| operators.get(&case.full_name()).is_some_and(passes);
    text += &sum(&|case| !case.expanded && is_supported(case)).line("these operators");
    text += &sum(&|case| !case.expanded).line("all operators of ONNX");
    text += &sum(&|case| case.expanded).line("definitions written out");
    let none = operators.iter().filter(|(_, counts)| !passes(counts)).map(|(name, _)| name.as_str());
    let _ = writeln!(text, "not supported: {}", none.collect::<Vec<_>>().join(", "));
    text
}

/// The record of one case for `results.json`.
pub fn result(case: &Case, verdict: &Verdict) -> Value {
    let given = |given: &Given| match given {
        Given::Fed => "fed",
        Given::Parameters => "parameters constant",
        Given::All => "all constant",
    };
    let (class, how, reason) = match verdict {
        Verdict::Native(inputs, _) => ("native", given(inputs), ""),
        Verdict::Fallback(inputs, reason) => ("fallback", given(inputs), reason.as_str()),
        Verdict::Refused(reason) => ("refused", "", reason.as_str()),
        Verdict::Wrong(reason) => ("wrong", "", reason.as_str()),
        Verdict::OtherType(reason) => ("other type", "", reason.as_str()),
    };
    json!({
        "name": case.name, "operator": case.full_name(), "expanded": case.expanded,
        "class": class, "inputs": how, "reason": reason,
    })
}
