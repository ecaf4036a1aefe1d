//! The models of this repository: the int8 plan, run by the engine, against the float model, run by tract.

use std::path::{Path, PathBuf};

use cygnet::Card;
use cygnet_onnx::model::Model;
use quantize::data::Data;
use quantize::engine::{self, Engine};
use quantize::{Options, Quantized, evaluate};

/// The model, the folder of its data, and the greatest size of the int8 file as a part of the float file. The weights of
/// the speech models, 28 and 8 thousand, do not outweigh scales, biases and names.
const MODELS: [(&str, &str, f64); 4] = [
    ("fashion", "fashion", 0.30),
    ("objects", "objects", 0.30),
    ("digits-speech", "digits-speech", 0.42),
    ("digits-tiny", "digits-speech", 0.54),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

#[test]
fn small_and_as_accurate_as_float() {
    let mut failures = Vec::new();
    for (name, data, greatest) in MODELS {
        let file = |end: &str| folder(data).join(end);
        let path = folder(name).join(format!("{name}.onnx"));
        let model = Model::read(&path).unwrap();
        let card = Card::load(path.with_extension("toml")).unwrap();
        let open = |end: &str| Data::open(&file(end), &model, Some(&card)).unwrap();
        let (calibration, evaluation) = (open("calib.npz"), open("eval.npz"));
        let quantized = quantize::quantize(model, &calibration, &Options::default(), || ()).unwrap();
        let Quantized { model, float, dims, .. } = &quantized;
        let engine = Engine::new(engine::plan(model, dims, None).unwrap()).unwrap();
        let accuracy = evaluate::accuracy(float, &engine, dims, evaluation.samples(), || ()).unwrap();
        let ratio = model.to_bytes().len() as f64 / std::fs::metadata(&path).unwrap().len() as f64;
        let (before, after) = (accuracy.float_top1(), accuracy.int8_top1());
        let memory = engine.memory();
        println!("{name}: size {ratio:.3}, top-1 {before:.4} → {after:.4} of {}, {memory:?}", accuracy.samples);
        let is_right = accuracy.samples >= 500
            && (before - after) <= 0.005
            && ratio <= greatest
            && memory.fallbacks.is_empty()
            && memory.arena_bytes as f64 <= 1.1 * memory.live_bytes as f64;
        if !is_right {
            failures.push(format!("{name}: size {ratio:.3}, {accuracy:?}, {memory:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn sounds_in_a_folder_calibrate_too() {
    let name = "digits-speech";
    let path = folder(name).join(format!("{name}.onnx"));
    let model = Model::read(&path).unwrap();
    let card = Card::load(path.with_extension("toml")).unwrap();
    let data = Data::open(&folder(name).join("samples"), &model, Some(&card)).unwrap();
    let inputs = data.samples().next().unwrap().unwrap().inputs;
    // 8000 samples, windows of 256 every 128: 61 frames of 40 bands.
    assert_eq!(inputs[0].len(), 61 * 40);
    assert!(quantize::quantize(model, &data, &Options::default(), || ()).is_ok());
}
