//! Distillation: the graph computes what tract computes, its gradients are slopes, and training is deterministic.
#![cfg(feature = "distill")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor as Values, Var};
use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};
use cygnet_onnx::reference::Reference;
use quantize::distill::{Graph, Tensors, tensor_of};
use quantize::facts::{Dims, dims_of, infer};
use quantize::{fold, opset};

/// Numbers between -1 and 1 that look like none in particular.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn inputs_of(model: &Model) -> Vec<Tensor> {
    let input = |(index, info): (usize, &ValueInfo)| {
        let extents = info.shape.iter().flatten().map(|d| if let Dim::Known(extent) = d { *extent } else { 1 });
        let shape: Vec<usize> = extents.collect();
        Tensor::from_f32(shape.clone(), &numbers(shape.iter().product(), index as u64))
    };
    model.inputs.iter().enumerate().map(input).collect()
}

fn folded(path: &Path) -> (Model, Dims) {
    let mut model = Model::read(path).unwrap();
    let dims = dims_of(&model, &inputs_of(&model));
    let facts = infer(&model, &dims).unwrap();
    opset::raise(&mut model, &facts).unwrap();
    fold::fold(&mut model, &dims).unwrap();
    (model, dims)
}

fn check_forward(path: &Path) -> Option<String> {
    let (model, dims) = folded(path);
    let inputs = inputs_of(&model);
    let expected = Reference::with_dims(&model, &[], &dims).unwrap().run(&inputs).unwrap();
    let names: Vec<String> = model.outputs.iter().map(|o| o.name.clone()).collect();
    let inputs: Vec<Values> = inputs.iter().map(|t| tensor_of(t).unwrap()).collect();
    let made = Graph::new(&model).and_then(|graph| graph.run(&inputs, &Tensors::new(), &BTreeMap::new(), &names));
    let made = match made {
        Ok(made) => made,
        Err(error) => return Some(format!("{}: {error}", path.display())),
    };
    for ((made, expected), name) in made.iter().zip(&expected).zip(&names) {
        let (made, expected) = (made.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected.to_f32s().unwrap());
        let largest = expected.iter().fold(1f32, |most, v| most.max(v.abs()));
        let apart = made.iter().zip(&expected).fold(0f32, |most, (m, e)| most.max((m - e).abs()));
        if made.len() != expected.len() || apart.is_nan() || apart > 1e-4 * largest {
            return Some(format!("{}: \"{name}\" is {apart} apart of {largest}", path.display()));
        }
    }
    None
}

#[test]
fn own_models_compute_as_with_tract() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let names = ["digits-tiny", "digits-speech", "fashion", "objects"];
    let paths = names.iter().map(|name| models.join(name).join(format!("{name}.onnx")));
    let failures: Vec<String> = paths.filter_map(|path| check_forward(&path)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn models_of_others_compute_as_with_tract() {
    let models: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/models");
    if !models.is_dir() {
        eprintln!("SKIPPED: the models of others are not beside this repository (../shared/data)");
        return;
    }
    let names = [
        "arm_ds_cnn_s",
        "efficientnet_lite0_224",
        "mlperf_ad01_autoencoder",
        "mlperf_ic_resnet8",
        "mlperf_kws_dscnn",
        "mlperf_sww_streaming_wakeword",
        "mlperf_vww_mobilenetv1_025",
        "squeezenet_v1.1",
    ];
    let paths = names.iter().map(|name| models.join(format!("{name}.onnx")));
    let failures: Vec<String> = paths.filter_map(|path| check_forward(&path)).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// One operator on an input `x` of a shape and a weight `w` that takes part in the gradient.
struct Case {
    node: Node,
    input: &'static [usize],
    weights: Option<&'static [usize]>,
    constants: Vec<(&'static str, Tensor)>,
}

fn case(op: &str, input: &'static [usize]) -> Case {
    Case { node: Node::new(op, "", &["x"], &["y"]), input, weights: None, constants: Vec::new() }
}

impl Case {
    fn weights(mut self, shape: &'static [usize]) -> Case {
        self.weights = Some(shape);
        self.node.inputs.push("w".into());
        self
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Case {
        self.node = self.node.with(name, Attribute::Ints(values.to_vec()));
        self
    }

    fn int(mut self, name: &str, value: i64) -> Case {
        self.node = self.node.with(name, Attribute::Int(value));
        self
    }

    fn constant(mut self, name: &'static str, value: Tensor) -> Case {
        self.node.inputs.push(name.into());
        self.constants.push((name, value));
        self
    }

    fn model(&self) -> Model {
        let info = |name: &str, shape: Option<&[usize]>| ValueInfo {
            name: name.into(),
            dtype: DType::F32,
            shape: shape.map(|s| s.iter().map(|&d| Dim::Known(d)).collect()),
        };
        let mut model = Model {
            ir_version: 8,
            opsets: [(String::new(), 17)].into(),
            nodes: vec![self.node.clone()],
            inputs: vec![info("x", Some(self.input))],
            outputs: vec![info("y", None)],
            ..Model::default()
        };
        if let Some(shape) = self.weights {
            let values = numbers(shape.iter().product(), 7);
            model.initializers.insert("w".into(), Tensor::from_f32(shape.to_vec(), &values));
        }
        model.initializers.extend(self.constants.iter().map(|(name, value)| (name.to_string(), value.clone())));
        model
    }
}

fn cases() -> Vec<Case> {
    let axes = |values: &[i64]| Tensor::from_i64(vec![values.len()], values);
    vec![
        case("Conv", &[1, 4, 7, 5]).weights(&[6, 4, 3, 2]).ints("strides", &[2, 1]).ints("pads", &[1, 0, 2, 1]),
        case("Conv", &[1, 4, 7, 5]).weights(&[6, 2, 3, 3]).int("group", 2).ints("dilations", &[2, 1]),
        case("Conv", &[1, 4, 6, 6]).weights(&[4, 1, 3, 3]).int("group", 4).ints("pads", &[1, 1, 1, 1]),
        case("Conv", &[1, 3, 4, 4]).weights(&[5, 3, 1, 1]),
        case("Conv", &[1, 3, 5, 5]).weights(&[2, 3, 1, 1]).ints("strides", &[2, 2]),
        case("Conv", &[1, 3, 9]).weights(&[4, 3, 3]).ints("pads", &[2, 0]).ints("dilations", &[2]),
        case("Conv", &[2, 4, 5, 5]).weights(&[4, 2, 3, 3]).int("group", 2).ints("strides", &[2, 2]),
        case("Gemm", &[2, 6]).weights(&[6, 3]),
        case("Gemm", &[2, 6]).weights(&[3, 6]).int("transB", 1),
        case("MatMul", &[2, 3, 6]).weights(&[6, 4]),
        case("Add", &[1, 3, 4, 4]).weights(&[3, 1, 1]),
        case("Sub", &[2, 3]).weights(&[2, 1]),
        case("Mul", &[1, 3, 4]).weights(&[1, 3, 1]),
        case("MaxPool", &[1, 3, 6, 6])
            .ints("kernel_shape", &[3, 2])
            .ints("strides", &[2, 2])
            .ints("pads", &[1, 0, 0, 0]),
        case("AveragePool", &[1, 3, 5, 6]).ints("kernel_shape", &[3, 2]).ints("pads", &[1, 1, 1, 0]),
        case("AveragePool", &[1, 2, 8]).ints("kernel_shape", &[3]).int("ceil_mode", 1).ints("strides", &[2]),
        case("GlobalAveragePool", &[1, 3, 5, 4]),
        case("GlobalMaxPool", &[1, 3, 5, 4]),
        case("ReduceMean", &[2, 3, 4]).ints("axes", &[-1, 1]).int("keepdims", 0),
        case("Relu", &[3, 7]),
        case("LeakyRelu", &[3, 7]),
        case("Elu", &[3, 7]),
        case("Sigmoid", &[3, 7]),
        case("Tanh", &[3, 7]),
        case("HardSigmoid", &[3, 7]),
        case("HardSwish", &[3, 7]),
        case("Softmax", &[3, 7]).int("axis", -1),
        case("LogSoftmax", &[3, 4]).int("axis", 0),
        case("Reshape", &[2, 6]).constant("shape", axes(&[0, -1, 3])),
        case("Flatten", &[2, 3, 4]),
        case("Transpose", &[2, 3, 4]).ints("perm", &[0, 2, 1]),
        case("Squeeze", &[2, 1, 4]).constant("axes", axes(&[1])),
        case("Unsqueeze", &[2, 4]).constant("axes", axes(&[0, -1])),
        case("Concat", &[2, 3]).weights(&[2, 2]).int("axis", 1),
        case("Slice", &[4, 6])
            .constant("starts", axes(&[1, -1]))
            .constant("ends", axes(&[3, -100]))
            .constant("axes", axes(&[0, 1]))
            .constant("steps", axes(&[1, -2])),
        case("Gather", &[3, 5]).constant("indices", axes(&[2, 0, 2])).int("axis", 0),
        case("Pad", &[2, 3]).constant("pads", axes(&[1, 0, 0, 2])),
    ]
}

/// Σ y · r for fixed numbers r: its slope by x and w is the gradient behind `y`.
fn weighed(graph: &Graph, x: &Values, parameters: &Tensors) -> Values {
    let y = graph.run(std::slice::from_ref(x), parameters, &BTreeMap::new(), &["y".into()]).unwrap().remove(0);
    let r = Values::from_vec(numbers(y.elem_count(), 11), y.shape(), &Device::Cpu).unwrap();
    (y * r).unwrap().sum_all().unwrap()
}

#[test]
fn operators_compute_as_with_tract_and_gradients_are_slopes() {
    let mut failures = Vec::new();
    for case in cases() {
        let model = case.model();
        let label = format!("{} {:?} {:?}", case.node.op_type, case.input, case.node.attributes);
        let graph = Graph::new(&model).unwrap();
        let x = Tensor::from_f32(case.input.to_vec(), &numbers(case.input.iter().product(), 3));
        let expected = Reference::new(&model, &[]).unwrap().run(std::slice::from_ref(&x)).unwrap()[0].clone();
        let x = Var::from_tensor(&tensor_of(&x).unwrap()).unwrap();
        let y = graph.run(&[x.as_detached_tensor()], &Tensors::new(), &BTreeMap::new(), &["y".into()]).unwrap();
        let values = y[0].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let apart = values.iter().zip(expected.to_f32s().unwrap()).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        if y[0].dims() != expected.shape || apart.is_nan() || apart > 1e-5 {
            failures.push(format!("{label}: {:?} and not {:?}, {apart} apart", y[0].dims(), expected.shape));
            continue;
        }
        let mut variables = vec![("x", x)];
        if let Some(w) = model.initializers.get("w") {
            variables.push(("w", Var::from_tensor(&tensor_of(w).unwrap()).unwrap()));
        }
        let value = |variables: &[(&str, Var)], moved: usize, by: Option<&Values>| {
            let values = |(index, (name, var)): (usize, &(&str, Var))| {
                let base = var.as_tensor().clone();
                let value = by.filter(|_| index == moved).map_or(Ok(base.clone()), |by| base + by).unwrap();
                (name.to_string(), value)
            };
            let mut parameters: Tensors = variables.iter().enumerate().map(values).collect();
            let x = parameters.remove("x").unwrap();
            weighed(&graph, &x, &parameters)
        };
        let gradients = value(&variables, 0, None).backward().unwrap();
        for (moved, (name, var)) in variables.iter().enumerate() {
            let gradient = gradients.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (index, gradient) in gradient.iter().enumerate() {
                let mut step = vec![0f32; var.elem_count()];
                step[index] = 1e-3;
                let by = Values::from_vec(step, var.shape(), &Device::Cpu).unwrap();
                let [up, down] = [by.clone(), by.neg().unwrap()]
                    .map(|by| value(&variables, moved, Some(&by)).to_scalar::<f32>().unwrap());
                let slope = (up - down) / 2e-3;
                if (slope - gradient).abs() > 4e-3 * gradient.abs().max(1.0) {
                    failures.push(format!("{label}: slope {slope}, gradient {gradient} at {name}[{index}]"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn operators_without_gradient_are_named() {
    let mut model = case("Relu", &[2]).model();
    model.nodes = vec![Node::new("TopK", "odd", &["x", "k"], &["y", "i"])];
    let error = Graph::new(&model).unwrap_err().to_string();
    assert!(error.contains("odd") && error.contains("TopK"), "{error}");
}
