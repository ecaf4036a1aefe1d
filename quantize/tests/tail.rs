//! The tail of a small network in float, against onnxruntime's float answers (`golden/make.py`).

use std::path::{Path, PathBuf};

use cygnet::core::Plan;
use cygnet::core::plan::DType;
use cygnet::core::plan::step::{Access, Step};
use cygnet::input::read_arrays;
use cygnet_onnx::model::Model;
use quantize::data::Data;
use quantize::engine::{self, Engine};
use quantize::tail::Outputs;
use quantize::{Options, Quantized};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The int8 model, its plan, and Σ (answer - float answer)² over all samples, as the engine answers.
fn quantized(outputs: Outputs) -> (Model, Vec<u8>, f64) {
    let model = Model::read(&golden("network.onnx")).unwrap();
    let data = Data::open(&golden("samples.npz"), &model, None).unwrap();
    let options = Options { outputs, ..Options::default() };
    let Quantized { model, dims, .. } = quantize::quantize(model, &data, &options, || ()).unwrap();
    let plan = engine::plan(&model, &dims, None).unwrap();
    let engine = Engine::new(plan.clone()).unwrap();
    let mut session = engine.session().unwrap();
    let found: Vec<f32> = data.samples().flat_map(|sample| session.run(&sample.unwrap()).unwrap()).collect();
    let arrays = read_arrays(&golden("answers.npz")).unwrap();
    let expected = arrays.iter().find(|array| array.name == "y").unwrap();
    let expected = expected.to_f32s(0, expected.len());
    assert_eq!(found.len(), expected.len());
    let error = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (model, plan, error)
}

#[test]
fn answers_come_from_the_sums_of_the_last_layer() {
    let (model, plan, error) = quantized(Outputs::Float);
    let gemm = model.nodes.iter().find(|node| node.is("Gemm")).unwrap();
    assert!(gemm.inputs.iter().all(|input| input.ends_with("_dq")), "{gemm:?}");
    let softmax = model.nodes.iter().find(|node| node.is("Softmax")).unwrap();
    assert_eq!((softmax.input(0), softmax.output(0)), (gemm.output(0), Some("y")));

    let plan = Plan::parse(&plan).unwrap();
    let mut real = Vec::new();
    for record in plan.steps() {
        record.step.visit_tensors(&mut |id, access| {
            if access == Access::Write && plan.tensor(id).unwrap().dtype == DType::F32 {
                real.push(record.step.kind());
            }
        });
        // No layer computes on real numbers.
        assert!(!matches!(record.step, Step::ConvF32(_) | Step::Dequantize(_)), "{:?}", record.step);
    }
    assert_eq!(real, ["ConvI8", "Softmax"]);

    let (_, _, rounded) = quantized(Outputs::Int8);
    assert!(error < rounded, "{error} is not below {rounded}");
}

#[test]
fn answers_are_rounded_where_that_is_wanted() {
    let (model, plan, _) = quantized(Outputs::Int8);
    let last = model.nodes.iter().find(|node| node.output(0) == Some("y")).unwrap();
    assert!(last.is("DequantizeLinear"), "{last:?}");
    let plan = Plan::parse(&plan).unwrap();
    let port = plan.output(0).unwrap();
    assert_eq!((port.dtype, plan.tensor(port.tensor).unwrap().dtype), (DType::F32, DType::I8));
}
