//! Plans for little memory: chains of steps in strips give the same bytes as whole steps, in less RAM.

use std::path::Path;

use cygnet_core::plan::step::Step;
use cygnet_core::{Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use cygnet_tests::int8::{MODELS_OF_OTHERS, int8_model};
use cygnet_tests::run::{arena, arena_bytes};

/// Runs of each plan, each on another input.
const INPUTS: usize = 3;

fn models() -> Vec<(String, Model)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut models = Vec::new();
    for folder in ["own", "whole"] {
        for entry in std::fs::read_dir(root.join("tests/golden").join(folder)).expect("golden models") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "onnx") {
                models.push((path.display().to_string(), Model::read(&path).expect("readable")));
            }
        }
    }
    let others = root.join("../shared/data/models");
    if others.is_dir() {
        for name in &MODELS_OF_OTHERS[..5] {
            models.push(((*name).to_string(), int8_model(&others.join(format!("{name}.onnx")))));
        }
    } else {
        println!("SKIPPED: the models of others are not beside this repository (../shared/data/models)");
    }
    models
}

fn outputs(plan: Plan<'_>) -> Vec<u8> {
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::new(plan, arena_bytes(&mut memory)).expect("a session");
    let (mut outputs, mut state) = (Vec::new(), 7_u64);
    for _ in 0..INPUTS {
        for index in 0..plan.input_count() {
            for byte in session.input_bytes(index).expect("an input") {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
        }
        session.run().expect("runs");
        for index in 0..plan.output_count() {
            outputs.extend_from_slice(session.output_bytes(index).expect("an output"));
        }
    }
    outputs
}

#[test]
fn less_memory_gives_the_same_bytes() {
    let mut stripped = 0;
    for (name, model) in models() {
        let whole = compile(&model, &Options::default()).expect("compiles").plan;
        let whole = Plan::parse(&whole).expect("verified");
        if whole.steps().any(|record| matches!(record.step, Step::HostStep(_))) {
            continue;
        }
        let wanted = outputs(whole);
        let mut last = whole.arena_bytes();
        for share in [3, 2, 0] {
            let mut options = Options::default();
            options.arena_bytes = Some(whole.arena_bytes() * share / 4);
            let small = compile(&model, &options).expect("compiles").plan;
            let small = Plan::parse(&small).expect("verified");
            assert!(small.arena_bytes() <= last, "{name}: {} bytes for a limit of {share}/4", small.arena_bytes());
            assert!(outputs(small) == wanted, "{name}: other bytes for a limit of {share}/4");
            let (before, steps) = (whole.steps().count(), small.steps().count());
            println!(
                "{name}, limit {share}/4: {} → {} bytes, {before} → {steps} steps",
                whole.arena_bytes(),
                small.arena_bytes()
            );
            stripped += usize::from(steps > before);
            last = small.arena_bytes();
        }
    }
    assert!(stripped >= 3, "strips in {stripped} plans only");
}
