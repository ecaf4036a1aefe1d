//! Operators without a native step run through tract and give onnxruntime's results.
#![cfg(feature = "onnx")]

use std::path::Path;

use cygnet::Model;
use cygnet::core::plan::Step;
use cygnet::input::read_arrays;

#[test]
fn golden_cases_that_fall_back_agree_with_onnxruntime() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/float");
    let (mut fallen_back, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let model = Model::load(&path).unwrap();
        if !model.plan().steps().any(|record| matches!(record.step, Step::HostStep(_))) {
            continue;
        }
        fallen_back += 1;
        if let Some(failure) = difference(&model, &path.with_extension("npz")) {
            failures.push(format!("{}: {failure}", path.display()));
        }
    }
    // sin, cos and the cubic resize will hardly ever get a step of their own.
    assert!(fallen_back >= 3, "only {fallen_back} cases fall back");
    assert!(failures.is_empty(), "{failures:#?}");
}

/// How a model's outputs differ from those that lie beside it.
fn difference(model: &Model, npz: &Path) -> Option<String> {
    let arrays = read_arrays(npz).unwrap();
    let array = |name: String| arrays.iter().find(|array| array.name == name).unwrap();
    let mut session = model.session().unwrap();
    let plan = model.plan();
    for port in plan.inputs() {
        let name = plan.text(port.name);
        session.set_bytes(name, &array(format!("in.{name}")).data).unwrap();
    }
    session.run().unwrap();
    for port in plan.outputs() {
        let name = plan.text(port.name);
        let expected = array(format!("out.{name}"));
        let expected = expected.to_f32s(0, expected.len());
        let mut found = Vec::new();
        session.output_f32(name, &mut found).unwrap();
        if found.len() != expected.len() {
            return Some(format!("{name} has {} elements, not {}", found.len(), expected.len()));
        }
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // The tolerance of the golden cases.
            if (found - expected).abs() > 1e-4 + 1e-4 * expected.abs() {
                return Some(format!("{name}[{place}] is {found}, not {expected}"));
            }
        }
    }
    None
}

/// `y = x + x` in a type that the engine only moves: numbers go in and come out all the same.
#[test]
fn other_types_go_through_the_fallback() {
    use cygnet_onnx::model::{DType, Dim, Model as Onnx, Node, ValueInfo};
    for (dtype, given) in [
        (DType::F64, [0.5, -3.25, 1e10]),
        (DType::F16, [0.5, -3.25, 1024.0]),
        (DType::U16, [0.0, 7.0, 32000.0]),
        (DType::U64, [0.0, 7.0, 65536.0]),
    ] {
        let value = |name: &str| ValueInfo { name: name.into(), dtype, shape: Some(vec![Dim::Known(3)]) };
        let model = Onnx {
            ir_version: 8,
            opsets: [(String::new(), 17)].into(),
            nodes: vec![Node::new("Add", "twice", &["x", "x"], &["y"])],
            inputs: vec![value("x")],
            outputs: vec![value("y")],
            ..Onnx::default()
        };
        let mut session = Model::from_onnx(&model, None).unwrap().session().unwrap();
        session.set_f32("x", &given).unwrap();
        session.run().unwrap();
        let mut found = Vec::new();
        session.output_f32("y", &mut found).unwrap();
        assert_eq!(found, given.map(|value| 2.0 * value), "{dtype}");
    }
}
