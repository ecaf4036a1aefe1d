//! Models that others made: each compiles without the fallback, in an arena close to its lower bound,
//! and its float plan agrees with tract. Needs the folder of data beside the repository; says so and
//! passes where it is absent.

use std::path::{Path, PathBuf};

use cygnet_core::Plan;
use cygnet_core::plan::step::Step;
use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;
use cygnet_tests::int8::{MODELS_OF_OTHERS, int8_plan, random_input};
use cygnet_tests::run::compile_and_run;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/models");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: the models of others are not beside this repository (../shared/data/models)");
    None
}

#[test]
fn float_models_of_others_run_without_fallback_and_agree_with_tract() {
    let Some(folder) = folder() else { return };
    let mut failures = Vec::new();
    for name in MODELS_OF_OTHERS {
        let model = Model::read(&folder.join(format!("{name}.onnx"))).expect("readable");
        let reference = Reference::new(&model, &[]).expect("tract knows it");
        let inputs: Vec<Tensor> = reference.input_facts().iter().map(|(_, _, shape)| random_input(shape, 7)).collect();
        let named = model.inputs.iter().map(|input| input.name.clone()).zip(inputs.iter().cloned()).collect();
        let outcome = match compile_and_run(&model, &named) {
            Ok(outcome) => outcome,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let plan = Plan::parse(&outcome.plan).expect("verified");
        let fallbacks = plan.steps().filter(|record| matches!(record.step, Step::HostStep(_))).count();
        let ratio = plan.arena_bytes() as f64 / f64::from(plan.header().live_bytes);
        let mut worst = 0.0_f32;
        let expected = reference.run(&inputs).expect("runs");
        for (output, expected) in model.outputs.iter().zip(&expected) {
            let (found, expected) = (outcome.outputs[&output.name].to_f32s(), expected.to_f32s());
            let (found, expected) = (found.expect("numbers"), expected.expect("numbers"));
            // Relative to 1 at least: tract's sigmoid of far negative numbers is an approximation.
            let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
            let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
            worst = worst.max(difference / largest);
        }
        println!(
            "{name}: {} steps, arena {} = {ratio:.3} × largest live set, greatest difference to tract {worst:.1e}",
            plan.header().steps,
            plan.arena_bytes()
        );
        if fallbacks > 0 || ratio > 1.10 || worst.is_nan() || worst > 1e-4 {
            failures.push(format!("{name}: {fallbacks} fallbacks, arena ratio {ratio:.3}, difference {worst:e}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn int8_models_of_others_run_without_fallback() {
    let Some(folder) = folder() else { return };
    let mut failures = Vec::new();
    for name in MODELS_OF_OTHERS {
        let plan = int8_plan(&folder.join(format!("{name}.onnx")));
        let plan = Plan::parse(&plan).expect("verified");
        let fallbacks: Vec<&str> = plan
            .steps()
            .filter(|record| matches!(record.step, Step::HostStep(_)))
            .map(|record| plan.text(record.name))
            .collect();
        let floats = plan.steps().filter(|record| record.step.kind().ends_with("F32") || record.step.kind() == "Unary");
        let floats = floats.count();
        let ratio = plan.arena_bytes() as f64 / f64::from(plan.header().live_bytes);
        println!(
            "{name}: {} steps ({floats} float), arena {} = {ratio:.3} × largest live set",
            plan.header().steps,
            plan.arena_bytes()
        );
        if !fallbacks.is_empty() || ratio > 1.10 || floats > 0 {
            failures
                .push(format!("{name}: falls back for {fallbacks:?}, {floats} float steps, arena ratio {ratio:.3}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
