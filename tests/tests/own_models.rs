//! The project's own models as int8: our bits beside onnxruntime's and tract's, on whole models.
//!
//! `golden/own/` holds the int8 files that `quantize demo` wrote and what onnxruntime answers
//! (`golden/own.py`).

use std::collections::BTreeMap;
use std::path::Path;

use cygnet_core::Plan;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::Step;
use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;
use cygnet_tests::arrays::read_npz;
use cygnet_tests::run::compile_and_run;

const MODELS: [&str; 3] = ["fashion", "objects", "digits-speech"];

fn first_answer(scores: &[f32]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0)
}

#[test]
fn whole_int8_models_equal_onnxruntime_within_one_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/own");
    for name in MODELS {
        let model = Model::read(&folder.join(format!("{name}.int8.onnx"))).expect("readable");
        let arrays = read_npz(&folder.join(format!("{name}.npz")));
        let inputs = BTreeMap::from([(model.inputs[0].name.clone(), arrays["x"].clone())]);
        let outcome = compile_and_run(&model, &inputs).expect("runs");
        let plan = Plan::parse(&outcome.plan).expect("verified");
        assert!(!plan.steps().any(|record| matches!(record.step, Step::HostStep(_))), "{name} falls back");
        let port = plan.output(0).expect("an output");
        let tensor = plan.tensor(port.tensor).expect("there");
        let found = outcome.outputs[plan.text(port.name)].to_f32s().expect("numbers");
        let expected = arrays["y"].to_f32s().expect("numbers");
        assert_eq!(found.len(), expected.len());
        // Float answers are not rounded: a step is what int8 would round to.
        let scale = match tensor.dtype {
            DType::F32 => expected.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 255.0,
            _ => tensor.scale,
        };
        let steps = |value: f32| (value / scale).round() as i64;
        let differences: Vec<i64> = found.iter().zip(&expected).map(|(a, b)| (steps(*a) - steps(*b)).abs()).collect();
        let equal = differences.iter().filter(|&&steps| steps == 0).count();
        let near = differences.iter().filter(|&&steps| steps <= 1).count();
        println!("{name}: {equal} of {} elements equal, {near} within one step of {scale}", differences.len());
        assert!(near as f64 >= 0.999 * differences.len() as f64, "{name}: only {near} of {}", differences.len());
    }
}

#[test]
fn plans_answer_as_the_int8_onnx_does_in_tract() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/own");
    for name in MODELS {
        let model = Model::read(&folder.join(format!("{name}.int8.onnx"))).expect("readable");
        let reference = Reference::new(&model, &[]).expect("tract knows it");
        let x = &read_npz(&folder.join(format!("{name}.npz")))["x"];
        let shape = reference.input_facts()[0].2.clone();
        let bytes = shape.iter().product::<usize>() * 4;
        for (index, sample) in x.data.chunks_exact(bytes).enumerate() {
            let sample = Tensor { dtype: x.dtype, shape: shape.clone(), data: sample.to_vec() };
            let expected = reference.run(std::slice::from_ref(&sample)).expect("runs")[0].to_f32s().expect("numbers");
            let inputs = BTreeMap::from([(model.inputs[0].name.clone(), sample)]);
            let outcome = compile_and_run(&model, &inputs).expect("runs");
            let found = outcome.outputs[&model.outputs[0].name].to_f32s().expect("numbers");
            assert_eq!(first_answer(&found), first_answer(&expected), "{name}, sample {index}");
        }
    }
}
