//! Weights in fewer bits on a model of this repository: how small the plan becomes, and how right it stays.

use std::path::{Path, PathBuf};

use cygnet::Card;
use cygnet_onnx::model::Model;
use quantize::data::Data;
use quantize::engine::{self, Engine};
use quantize::recipe::{LayerForm, WeightForm};
use quantize::{Options, evaluate};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/objects")
}

#[test]
fn plans_shrink_and_answers_stay() {
    let path = folder().join("objects.onnx");
    let model = Model::read(&path).unwrap();
    let card = Card::load(path.with_extension("toml")).unwrap();
    let open = |end: &str| Data::open(&folder().join(end), &model, Some(&card)).unwrap();
    let (calibration, evaluation) = (open("calib.npz"), open("eval.npz"));
    let mut failures = Vec::new();
    let mut int8_bytes = 0;
    // The greatest plan as a part of the int8 one, and the least share of answers that stay.
    for (form, greatest, agreement) in [
        (WeightForm::Int8, 1.0, 0.98),
        (WeightForm::Int4, 0.65, 0.96),
        (WeightForm::Clustered, 0.60, 0.96),
        (WeightForm::Sparse, 0.70, 0.90),
    ] {
        let mut options = Options::default();
        options.recipe.usual.weights = form;
        let quantized = quantize::quantize(model.clone(), &calibration, &options, || ()).unwrap();
        let plan = engine::plan(&quantized.model, &quantized.dims, None).unwrap();
        let engine = Engine::new(plan).unwrap();
        let accuracy =
            evaluate::accuracy(&quantized.float, &engine, &quantized.dims, evaluation.samples(), || ()).unwrap();
        let bytes = engine.memory().plan_bytes;
        int8_bytes = if form == WeightForm::Int8 { bytes } else { int8_bytes };
        let ratio = bytes as f64 / int8_bytes as f64;
        println!("{form:?}: {bytes} bytes, {ratio:.3} of int8; {accuracy:?}");
        if ratio > greatest || accuracy.agreement() < agreement {
            failures.push(format!("{form:?}: {ratio:.3} of the int8 plan, {accuracy:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_recipe_names_single_layers() {
    let path = folder().join("objects.onnx");
    let model = Model::read(&path).unwrap();
    let data = Data::open(&folder().join("calib.npz"), &model, None).unwrap();
    let mut options = Options { effort: quantize::Effort::Fast, ..Options::default() };
    let first = model.nodes.iter().find(|node| node.is("Conv")).unwrap().label();
    let form = LayerForm { weights: WeightForm::Int4, ..LayerForm::default() };
    options.recipe.layers.insert(first, form);
    let quantized = quantize::quantize(model, &data, &options, || ()).unwrap();
    let narrow = quantized.model.initializers.values().filter(|tensor| tensor.dtype.is_packed());
    assert_eq!(narrow.map(|tensor| tensor.shape.clone()).collect::<Vec<_>>(), [[16, 3, 3, 3]]);
    assert_eq!(quantized.model.opset(), 21);
}
