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
}

impl Counts {
    fn add(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Native(_) => &mut self.native,
            Verdict::Fallback(..) => &mut self.fallback,
            Verdict::Refused(_) => &mut self.refused,
            Verdict::Wrong(_) => &mut self.wrong,
        } += 1;
    }

    fn line(&self, name: &str) -> String {
        let all = self.native + self.fallback + self.refused + self.wrong;
        let passed = 100.0 * (self.native + self.fallback) as f64 / all.max(1) as f64;
        let Self { native, fallback, refused, wrong } = self;
        format!("{name:<32} {all:>6} {native:>8} {fallback:>8} {refused:>8} {wrong:>6} {passed:>8.1} %\n")
    }
}

/// One line for each operator, then the sums.
pub fn by_operator(verdicts: &[(Case, Verdict)]) -> String {
    let mut operators: BTreeMap<String, Counts> = BTreeMap::new();
    for (case, verdict) in verdicts {
        operators.entry(full_name(case)).or_default().add(verdict);
    }
    let passes = |counts: &Counts| counts.native + counts.fallback > 0;
    let mut text = format!(
        "{:<32} {:>6} {:>8} {:>8} {:>8} {:>6} {:>10}\n",
        "operator", "cases", "native", "fallback", "refused", "wrong", "passed"
    );
    operators.iter().filter(|(_, counts)| passes(counts)).for_each(|(name, counts)| text += &counts.line(name));
    let sum = |keep: &dyn Fn(&str) -> bool| {
        let mut sum = Counts::default();
        let kept = verdicts.iter().filter(|(case, _)| keep(&full_name(case)));
        kept.for_each(|(_, verdict)| sum.add(verdict));
        sum
    };
    text += &sum(&|name| operators.get(name).is_some_and(passes)).line("these operators");
    text += &sum(&|_| true).line("all operators of ONNX");
    let none: Vec<&str> =
        operators.iter().filter(|(_, counts)| !passes(counts)).map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(text, "not supported: {}", none.join(", "));
    text
}

fn full_name(case: &Case) -> String {
    if case.domain.is_empty() { case.operator.clone() } else { format!("{}.{}", case.domain, case.operator) }
}

/// The record of one case for `results.json`.
pub fn result(case: &Case, verdict: &Verdict) -> Value {
    let given = |given: &Given| match given {
        Given::Fed => "fed",
        Given::Parameters => "parameters constant",
        Given::All => "all constant",
    };
    let (class, how, reason) = match verdict {
        Verdict::Native(inputs) => ("native", given(inputs), ""),
        Verdict::Fallback(inputs, reason) => ("fallback", given(inputs), reason.as_str()),
        Verdict::Refused(reason) => ("refused", "", reason.as_str()),
        Verdict::Wrong(reason) => ("wrong", "", reason.as_str()),
    };
    json!({
        "name": case.name, "operator": full_name(case), "expanded": case.expanded,
        "class": class, "inputs": how, "reason": reason,
    })
}
