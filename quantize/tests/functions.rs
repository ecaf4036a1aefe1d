//! Activations that exporters write as several nodes, between layers of 8-bit levels.

use cygnet::core::Plan;
use cygnet::input::{Array, ElementType};
use cygnet::output::write_npz;
use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};
use quantize::data::Data;
use quantize::engine::{self, Engine};
use quantize::tail::Outputs;
use quantize::{Effort, Options, Quantized};

const SIDE: usize = 8;
const CHANNELS: usize = 2;
const SAMPLES: usize = 8;

/// Three layers that hand each channel on as it is, with `x · clip(x + 3, 0, 6) / 6` and `x · sigmoid(x)` between them.
fn model() -> Model {
    let value = |name: &str| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        shape: Some([1, CHANNELS, SIDE, SIDE].map(Dim::Known).to_vec()),
    };
    let layer = |name: &str, input: &str, output: &str| {
        Node::new("Conv", name, &[input, "one"], &[output]).with("group", Attribute::Int(CHANNELS as i64))
    };
    let number = |name: &str, number: f32| (name.to_string(), Tensor::from_f32(vec![], &[number]));
    Model {
        ir_version: 8,
        opsets: [(String::new(), 13)].into(),
        nodes: vec![
            layer("first", "x", "a"),
            Node::new("Add", "add", &["a", "three"], &["b"]),
            Node::new("Clip", "clip", &["b", "zero", "six"], &["c"]),
            Node::new("Mul", "mul", &["a", "c"], &["d"]),
            Node::new("Div", "div", &["d", "six"], &["e"]),
            layer("second", "e", "f"),
            Node::new("Sigmoid", "sigmoid", &["f"], &["g"]),
            Node::new("Mul", "swish", &["g", "f"], &["h"]),
            layer("third", "h", "y"),
        ],
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        initializers: [
            number("zero", 0.0),
            number("three", 3.0),
            number("six", 6.0),
            ("one".to_string(), Tensor::from_f32(vec![CHANNELS, 1, 1, 1], &[1.0; CHANNELS])),
        ]
        .into(),
        ..Model::default()
    }
}

/// Samples of which each holds all of -4 … 4.
fn data(model: &Model) -> Data {
    let count = CHANNELS * SIDE * SIDE;
    let values = (0..SAMPLES * count).map(|place| 8.0 * (place % count) as f32 / (count - 1) as f32 - 4.0);
    let shape = vec![SAMPLES, CHANNELS, SIDE, SIDE];
    let array =
        Array { name: "x".into(), dtype: ElementType::F32, shape, data: values.flat_map(f32::to_le_bytes).collect() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    write_npz(&path, &[array]).unwrap();
    Data::open(&path, model, None).unwrap()
}

#[test]
fn each_is_one_table_and_rounds_once() {
    let model = model();
    let data = data(&model);
    let options = Options { effort: Effort::Fast, outputs: Outputs::Int8, mixed: false, ..Options::default() };
    let Quantized { model, dims, .. } = quantize::quantize(model, &data, &options, || ()).unwrap();
    let plan = engine::plan(&model, &dims, None).unwrap();
    let kinds: Vec<&str> = Plan::parse(&plan).unwrap().steps().map(|record| record.step.kind()).collect();
    assert_eq!(kinds, ["DepthwiseI8", "Table", "DepthwiseI8", "Table", "DepthwiseI8"]);

    let mut session = Engine::new(plan).unwrap().session().unwrap();
    let sample = data.sample(0).unwrap();
    let answers = session.run(&sample).unwrap();
    for (x, y) in sample.inputs[0].to_f32s().unwrap().into_iter().zip(answers) {
        let hard = f64::from(x) * (f64::from(x) + 3.0).clamp(0.0, 6.0) / 6.0;
        let expected = hard / (1.0 + (-hard).exp());
        // Levels of 8/255, 4.4/255 and 4.3/255; the slopes are 1.5 and 1.1 at most.
        let near = 0.5 * (2.0 * 8.0 * 1.65 + 2.0 * 4.4 * 1.1 + 2.0 * 4.3) / 255.0;
        assert!((f64::from(y) - expected).abs() < near, "{x}: {y} and not {expected}");
    }
}
