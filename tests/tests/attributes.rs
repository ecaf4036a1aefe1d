//! Attributes that the rest of a model contradicts, and numbers of inputs that an operator does not take, are errors that
//! name them.

use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};

/// The error of a model of one node over an input `x`; what is not an input of it is a constant of ones.
fn problem(node: Node, x: &[usize], constants: &[(&str, &[usize])]) -> String {
    let shape = Some(x.iter().map(|&extent| Dim::Known(extent)).collect());
    let mut model = Model {
        ir_version: 8,
        opsets: [(String::new(), 14)].into(),
        inputs: vec![ValueInfo { name: "x".into(), dtype: DType::F32, shape }],
        outputs: vec![ValueInfo { name: "y".into(), dtype: DType::F32, shape: None }],
        nodes: vec![node],
        ..Model::default()
    };
    for (name, shape) in constants {
        let tensor = Tensor::from_f32(shape.to_vec(), &vec![1.0; shape.iter().product()]);
        model.initializers.insert(name.to_string(), tensor);
    }
    compile(&model, &Options::default()).map(|_| ()).expect_err("an error").to_string()
}

#[test]
fn kernels_have_the_shape_of_their_weights() {
    for op in ["Conv", "ConvTranspose"] {
        for given in [vec![0, 0], vec![-1, -1], vec![3], vec![3, 3, 3], vec![3, 2], vec![1 << 40, 3]] {
            let node = Node::new(op, "", &["x", "w"], &["y"]).with("kernel_shape", Attribute::Ints(given.clone()));
            let problem = problem(node, &[1, 4, 8, 8], &[("w", &[4, 4, 3, 3])]);
            assert!(problem.contains("kernel_shape"), "{op} {given:?}: {problem}");
        }
    }
}

#[test]
fn operators_of_two_tensors_take_two() {
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "PRelu"] {
        for inputs in [&["x"][..], &["x"; 3]] {
            let problem = problem(Node::new(op, "", inputs, &["y"]), &[1, 4], &[]);
            assert!(problem.contains("takes two"), "{op}: {problem}");
        }
    }
}

#[test]
fn recurrent_layers_leave_no_attribute_out() {
    let attributes = [
        ("clip", Attribute::Float(-1.0)),
        ("clip", Attribute::Float(f32::NAN)),
        ("layout", Attribute::Int(7)),
        ("input_forget", Attribute::Int(1)),
        ("activations", Attribute::Strings(["Sigmoid", "Affine", "Tanh"].map(String::from).to_vec())),
    ];
    for (name, value) in attributes {
        let node = Node::new("LSTM", "", &["x", "w", "r"], &["y"])
            .with("hidden_size", Attribute::Int(3))
            .with(name, value.clone());
        let problem = problem(node, &[5, 1, 4], &[("w", &[1, 12, 4]), ("r", &[1, 12, 3])]);
        assert!(problem.contains(name), "{name} = {value:?}: {problem}");
    }
}

#[test]
fn sizes_are_as_asked_or_an_error() {
    let mut node = Node::new("Resize", "", &["x", "", "", "sizes"], &["y"]);
    node = node.with("mode", Attribute::String("nearest".into()));
    let mut model = Model {
        ir_version: 8,
        opsets: [(String::new(), 13)].into(),
        inputs: vec![ValueInfo { name: "x".into(), dtype: DType::F32, shape: Some(vec![Dim::Known(1); 4]) }],
        outputs: vec![ValueInfo { name: "y".into(), dtype: DType::F32, shape: None }],
        nodes: vec![node],
        ..Model::default()
    };
    model.initializers.insert("sizes".into(), Tensor::from_i64(vec![4], &[1, 1, 1 << 40, 1]));
    let problem = compile(&model, &Options::default()).map(|_| ()).expect_err("an error").to_string();
    assert!(problem.contains("too large"), "{problem}");
}
