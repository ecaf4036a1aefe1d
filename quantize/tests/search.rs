//! Goals are kept, by measuring what comes out anew; what cannot be reached is told with what comes nearest.

use std::path::{Path, PathBuf};

use cygnet_onnx::model::Model;
use quantize::data::Data;
use quantize::engine::{self, Engine, Memory};
use quantize::error::QuantizeError;
use quantize::report::Tried;
use quantize::search::{Goal, Quality, search};
use quantize::{Effort, Options, Quantized, Quantizer, evaluate};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fashion")
}

/// The share of answers that are others than the float model's, on 500 samples that calibration does not see.
fn drop(quantized: &Quantized, engine: &Engine) -> Result<f64, QuantizeError> {
    let data = Data::open(&folder().join("eval.npz"), &quantized.original, None)?;
    let samples = data.samples().take(500);
    let accuracy = evaluate::accuracy(&quantized.original, engine, &quantized.dims, samples, || ())?;
    Ok(1.0 - accuracy.agreement())
}

fn engine(quantized: &Quantized) -> Engine {
    Engine::new(engine::plan(&quantized.model, &quantized.dims, None).unwrap()).unwrap()
}

fn reach(goal: Goal) -> Result<(Quantized, Vec<Tried>), QuantizeError> {
    let model = Model::read(&folder().join("fashion.onnx")).unwrap();
    let data = Data::open(&folder().join("calib.npz"), &model, None).unwrap();
    let options = Options { effort: Effort::Fast, ..Options::default() };
    let (quantizer, built) = Quantizer::of(model, &data, &options, || ()).unwrap();
    let measure = |quantized: &Quantized, engine: &Engine| {
        let drop = drop(quantized, engine)?;
        Ok(Quality { drop, agreement: Some(1.0 - drop), accuracy: None })
    };
    search(&quantizer, built, goal, measure)
}

fn memory(found: &(Quantized, Vec<Tried>)) -> Memory {
    assert_eq!(found.1.iter().filter(|tried| tried.is_chosen).count(), 1, "{:?}", found.1);
    engine(&found.0).memory()
}

#[test]
fn a_size_is_kept_with_few_narrow_layers() {
    let usual = memory(&reach(Goal { max_size: Some(1 << 20), max_drop: Some(0.5), ..Goal::default() }).unwrap());
    let most = usual.plan_bytes * 4 / 5;
    let fitting = reach(Goal { max_size: Some(most), max_drop: Some(0.5), ..Goal::default() }).unwrap();
    let smallest = reach(Goal { min_size: true, max_drop: Some(0.5), ..Goal::default() }).unwrap();
    let (fitting, smallest) = (memory(&fitting).plan_bytes, memory(&smallest).plan_bytes);
    assert!(fitting <= most && smallest < fitting, "{smallest}, {fitting} of {most}");
}

#[test]
fn a_drop_is_kept_with_more_bits() {
    let int8 = reach(Goal { max_drop: Some(1.0), ..Goal::default() }).unwrap();
    let lost = drop(&int8.0, &engine(&int8.0)).unwrap();
    assert!(lost > 0.0, "nothing to win");
    let allowed = lost / 2.0;
    let wider = reach(Goal { max_drop: Some(allowed), ..Goal::default() }).unwrap();
    assert!(drop(&wider.0, &engine(&wider.0)).unwrap() <= allowed);
    assert!(wider.1.len() > 1 && wider.1[0].what == "int8" && !wider.1[0].is_chosen, "{:?}", wider.1);
}

#[test]
fn what_cannot_be_reached_is_told() {
    for (goal, says) in [
        (Goal { max_size: Some(1000), ..Goal::default() }, ["the smallest plan found has", "--max-size"]),
        (Goal { max_ram: Some(1000), ..Goal::default() }, ["the arena takes", "--max-ram"]),
    ] {
        let message = reach(goal).unwrap_err().to_string();
        assert!(says.iter().all(|part| message.contains(part)), "{message}");
    }
}
