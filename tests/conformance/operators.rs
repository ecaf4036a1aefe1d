//! The table of operators for the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::case::{Case, Given, Verdict};

/// Where the kernel sets stand, and what they are called.
const SETS: [(&str, &str); 4] = [
    ("x86-64", include_str!("../../runtime/core/src/kernels/x86/mod.rs")),
    ("AArch64", include_str!("../../runtime/core/src/kernels/aarch64/mod.rs")),
    ("Cortex-M DSP", include_str!("../../runtime/core/src/kernels/cortex_m/dsp/mod.rs")),
    ("Helium", include_str!("../../runtime/core/src/kernels/cortex_m/helium/mod.rs")),
];

/// Kinds of steps and the kernel that each of them calls.
const KERNELS: [(&str, &str); 15] = [
    ("ConvI8", "conv_i8"),
    ("DepthwiseI8", "depthwise_i8"),
    ("ConvF32", "conv_f32"),
    ("DepthwiseF32", "depthwise_f32"),
    ("MatMul float32", "matmul_f32"),
    ("Binary int8 Add", "add_i8"),
    ("Binary int8 Mul", "mul_i8"),
    ("Table int8", "table"),
    ("Unary", "unary"),
    ("Pool int8", "pool_i8"),
    ("Pool float32", "pool_f32"),
    ("Reduce int8", "reduce_i8"),
    ("Softmax int8", "softmax_i8"),
    ("Quantize int8", "quantize"),
    ("Dequantize int8", "dequantize"),
];

/// What is known of an operator.
#[derive(Default)]
struct Operator {
    int8: bool,
    native: usize,
    /// Computed by the compiler.
    constant: usize,
    fallback: usize,
    cases: usize,
    kinds: BTreeSet<String>,
}

/// The page.
pub fn page(verdicts: &[(Case, Verdict)], int8: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut operators: BTreeMap<String, Operator> = BTreeMap::new();
    for (case, verdict) in verdicts.iter().filter(|(case, _)| !case.expanded) {
        let operator = operators.entry(case.full_name()).or_default();
        match verdict {
            Verdict::OtherType(_) => continue,
            Verdict::Native(Given::All, _) => operator.constant += 1,
            Verdict::Native(_, kinds) => {
                operator.native += 1;
                operator.kinds.extend(kinds.iter().cloned());
            }
            Verdict::Fallback(..) => operator.fallback += 1,
            Verdict::Refused(_) | Verdict::Wrong(_) => {}
        }
        operator.cases += 1;
    }
    for (name, kinds) in int8 {
        if let Some(operator) = operators.get_mut(name) {
            operator.int8 = true;
            operator.kinds.extend(kinds.iter().cloned());
        }
    }
    let mut text = String::from(HEAD);
    let supported = |operator: &Operator| operator.native + operator.constant + operator.fallback > 0;
    for (name, operator) in operators.iter().filter(|(_, operator)| supported(operator)) {
        let mark = |holds: bool| if holds { "yes" } else { "" };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} of {} | {} |",
            mark(operator.int8),
            if operator.native > 0 { "yes" } else { ["", "of constants"][usize::from(operator.constant > 0)] },
            mark(operator.fallback > 0),
            operator.native + operator.constant + operator.fallback,
            operator.cases,
            fast(&operator.kinds),
        );
    }
    let none = operators.iter().filter(|(_, operator)| !supported(operator)).map(|(name, _)| name.as_str());
    let _ = writeln!(text, "\nNot supported: {}.", none.collect::<Vec<_>>().join(", "));
    text
}

const HEAD: &str = "\
# Operators

Printed by `tests/conformance/run` from ONNX's own node tests; do not edit. *int8* and *float*: steps of the engine,
on any machine (*int8*: a form between QuantizeLinear and DequantizeLinear of which every value stays int8; *of
constants*: only what the compiler can compute beforehand). *fallback*: some form runs through tract, on machines with
an operating system. *Tests*: how many node tests give the right answer, of those whose types the engine holds; the
others are refused by name. *Fast kernels*: instruction sets on which a step of the operator has a kernel of its own
beside the portable one. What only moves elements needs none.

| operator | int8 | float | fallback | tests | fast kernels |
|---|---|---|---|---|---|
";

/// The instruction sets with a kernel for one of these kinds of steps.
fn fast(kinds: &BTreeSet<String>) -> String {
    let called: Vec<&str> =
        KERNELS.iter().filter(|(kind, _)| kinds.contains(*kind)).map(|(_, kernel)| *kernel).collect();
    let has = |source: &str| called.iter().any(|kernel| source.contains(&format!("{kernel}: ")));
    let sets = SETS.iter().filter(|(_, source)| has(source)).map(|(name, _)| *name);
    sets.collect::<Vec<_>>().join(", ")
}
