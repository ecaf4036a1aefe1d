//! The whole way on a small network, against what onnxruntime says of it (`golden/make.py`).

use std::path::{Path, PathBuf};

use cygnet::input::read_arrays;
use cygnet_onnx::model::{Model, Tensor};
use cygnet_onnx::reference::Reference;
use quantize::data::Data;
use quantize::params::Activations;
use quantize::ranges::Ranges;
use quantize::tail::Outputs;
use quantize::{Options, Quantized};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn quantized(options: Options) -> Quantized {
    let model = Model::read(&golden("network.onnx")).unwrap();
    let data = Data::open(&golden("samples.npz"), &model, None).unwrap();
    quantize::quantize(model, &data, &options, || ()).unwrap()
}

fn answer(name: &str) -> Vec<f32> {
    let arrays = read_arrays(&golden("answers.npz")).unwrap();
    let array = arrays.iter().find(|array| array.name == name).unwrap_or_else(|| panic!("no {name}"));
    array.to_f32s(0, array.len())
}

/// Scale and zero point of a tensor or constant.
fn parameters<'m>(model: &'m Model, tensor: &str) -> Option<(&'m Tensor, Option<&'m Tensor>)> {
    let levels = format!("{tensor}_q");
    let reads = |name: &str| model.nodes.iter().find(|node| node.is("DequantizeLinear") && node.inputs[0] == name);
    let node = reads(&levels)?;
    let constant = |index: usize| node.input(index).and_then(|name| model.initializers.get(name));
    Some((constant(1)?, constant(2)))
}

/// First outputs over all samples.
fn outputs(model: &Model, data: &Data) -> Vec<f32> {
    let reference = Reference::new(model, &[]).unwrap();
    data.samples().flat_map(|s| reference.run(&s.unwrap().inputs).unwrap()[0].to_f32s().unwrap()).collect()
}

#[test]
fn folding_keeps_the_answers() {
    let Quantized { float, folded, .. } = quantized(Options::default());
    assert_eq!((folded.affine, folded.dense), (1, 1));
    let data = Data::open(&golden("samples.npz"), &float, None).unwrap();
    let far = outputs(&float, &data).iter().zip(answer("y")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 1e-5, "{far}");
}

/// Scales and zero points where onnxruntime's quantizer, which rounds the answers too, has the same tensors. (It does
/// not let the inputs of a concatenation share theirs, as we do: r2 and the bias behind it are left out.)
#[test]
fn parameters_are_those_of_onnxruntime() {
    let Quantized { model, .. } = quantized(Options { outputs: Outputs::Int8, ..Options::default() });
    let same = [
        ("x", "x"),
        ("r1", "r1"),
        ("c3", "c3"),
        ("a3", "a3"),
        ("k3", "k3"),
        ("g4", "g4"),
        ("d5", "d5"),
        ("w1_folded", "ConvBnFusion_W_w1"),
        ("w2", "w2"),
        ("w3", "w3"),
        ("w5", "w5"),
        ("b5", "b5_quantized"),
    ];
    let mut wrong = Vec::new();
    for (ours, theirs) in same {
        let Some((scale, zero_point)) = parameters(&model, ours) else {
            wrong.push(format!("{ours}: no scale"));
            continue;
        };
        let expected = answer(&format!("{theirs}_scale"));
        let scales = scale.to_f32s().unwrap();
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-5 * b;
        if scales.len() != expected.len() || !scales.iter().zip(&expected).all(is_near) {
            wrong.push(format!("{ours}: scale {scales:?}, onnxruntime {expected:?}"));
        }
        if let Some(zero_point) = zero_point
            && zero_point.to_f32s().unwrap() != answer(&format!("{theirs}_zero_point"))
        {
            wrong.push(format!("{ours}: zero point {zero_point:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_layer_stands_between_integers() {
    let Quantized { model, inserted, .. } = quantized(Options::default());
    assert_eq!((inserted.weighted, inserted.dropped_activations), (4, 1));
    // The clip stays: its output shares its scale with the concatenation, whose range is wider.
    assert_eq!(model.nodes.iter().filter(|n| n.is("Clip")).count(), 1);
    for node in model.nodes.iter().filter(|n| n.is("Conv") || n.is("Gemm")) {
        for input in &node.inputs {
            assert!(input.ends_with("_dq"), "{}: {input}", node.label());
        }
    }
    assert_eq!((model.inputs[0].name.as_str(), model.outputs[0].name.as_str()), ("x", "y"));
    assert_eq!(Model::from_bytes(&model.to_bytes()).unwrap(), model);
}

#[test]
fn int8_answers_are_near_whatever_the_options() {
    for activations in [Activations::Uint8, Activations::Int8] {
        for ranges in [Ranges::MinMax, Ranges::Percentile(99.99), Ranges::LeastError] {
            let Quantized { model, .. } = quantized(Options { ranges, activations, ..Options::default() });
            let data = Data::open(&golden("samples.npz"), &model, None).unwrap();
            let expected = answer("y");
            let error: f32 = outputs(&model, &data).iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum();
            let signal: f32 = expected.iter().map(|v| v * v).sum();
            let decibels = 10.0 * (signal / error).log10();
            assert!(decibels > 30.0, "{activations:?} {ranges:?}: {decibels} dB");
        }
    }
}

#[test]
fn unsuitable_models_and_data_are_refused() {
    let model = Model::read(&golden("network.onnx")).unwrap();
    let wrong = Data::open(&golden("answers.npz"), &model, None).unwrap_err().to_string();
    assert!(wrong.contains("there is no array \"x\""), "{wrong}");
    let again = quantized(Options::default()).model;
    let data = Data::open(&golden("samples.npz"), &again, None).unwrap();
    let refused = quantize::quantize(again, &data, &Options::default(), || ()).unwrap_err().to_string();
    assert!(refused.contains("quantized already"), "{refused}");
}
