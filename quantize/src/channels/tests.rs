//! Small graphs whose ties are plain to see.

use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};

use super::{Channels, Labels, Purpose};
use crate::facts::{Dims, infer};

/// A model of input `x` and output `y` in these shapes, with weights of these shapes.
fn model(nodes: Vec<Node>, x: &[usize], y: &[usize], weights: &[(&str, &[usize])]) -> Model {
    let value = |name: &str, shape: &[usize]| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        shape: Some(shape.iter().map(|&extent| Dim::Known(extent)).collect()),
    };
    let constant = |&(name, shape): &(&str, &[usize])| {
        let values = vec![0.5; shape.iter().product()];
        (name.to_string(), Tensor::from_f32(shape.to_vec(), &values))
    };
    Model {
        ir_version: 8,
        opsets: [(String::new(), 13)].into(),
        nodes,
        inputs: vec![value("x", x)],
        outputs: vec![value("y", y)],
        initializers: weights.iter().map(constant).collect(),
        ..Model::default()
    }
}

fn channels(model: &Model, purpose: Purpose) -> Channels {
    Channels::of(model, &infer(model, &Dims::new()).unwrap(), purpose)
}

/// The classes along an axis of a tensor.
fn along(channels: &Channels, tensor: &str, axis: usize, extent: usize) -> Vec<usize> {
    channels.of[tensor].along_axis(axis, extent).unwrap()
}

/// The shape of the classes alone, whatever their numbers: equal ones get the number of the first.
fn pattern(classes: &[usize]) -> Vec<usize> {
    classes.iter().map(|class| classes.iter().position(|other| other == class).unwrap()).collect()
}

fn conv(input: &str, weights: &str, output: &str) -> Node {
    Node::new("Conv", output, &[input, weights], &[output])
}

#[test]
fn a_residual_ties_both_operands() {
    let nodes = vec![
        conv("x", "w1", "a"),
        Node::new("Relu", "", &["a"], &["b"]),
        conv("b", "w2", "c"),
        Node::new("Add", "", &["c", "b"], &["d"]),
        conv("d", "w3", "y"),
    ];
    let weights: &[(&str, &[usize])] = &[("w1", &[2, 1, 1, 1]), ("w2", &[2, 2, 1, 1]), ("w3", &[3, 2, 1, 1])];
    let model = model(nodes, &[1, 1, 2, 2], &[1, 3, 2, 2], weights);
    for purpose in [Purpose::Scale, Purpose::Remove] {
        let channels = channels(&model, purpose);
        let made = along(&channels, "b", 1, 2);
        assert_eq!(pattern(&made), [0, 1]);
        for tensor in ["a", "c", "d"] {
            assert_eq!(along(&channels, tensor, 1, 2), made, "{tensor}");
        }
        assert!(made.iter().all(|&class| channels.is_free(class)));
        assert!(!channels.is_free(along(&channels, "y", 1, 3)[0]) && !channels.is_free(along(&channels, "x", 1, 1)[0]));
        // w2 makes the classes along its rows and reads the same along its columns.
        let part = channels.uses.iter().find(|part| part.node == 2).unwrap();
        assert_eq!(part.makes, Some(Labels::along(4, 0, made.clone())));
        assert_eq!(part.reads, Some(Labels::along(4, 1, made.clone())));
        assert_eq!(channels.free_sets().len(), 1);
    }
}

#[test]
fn a_depthwise_layer_ends_a_scale_and_hands_removal_on() {
    let nodes = vec![
        conv("x", "w1", "a"),
        conv("a", "w2", "b").with("group", Attribute::Int(2)),
        Node::new("Relu", "", &["b"], &["c"]),
        conv("c", "w3", "y"),
    ];
    let weights: &[(&str, &[usize])] = &[("w1", &[2, 1, 1, 1]), ("w2", &[4, 1, 1, 1]), ("w3", &[1, 4, 1, 1])];
    let model = model(nodes, &[1, 1, 2, 2], &[1, 1, 2, 2], weights);
    let scale = channels(&model, Purpose::Scale);
    let (read, made) = (along(&scale, "a", 1, 2), along(&scale, "c", 1, 4));
    assert_eq!(pattern(&made), [0, 1, 2, 3]);
    assert!(!read.iter().any(|class| made.contains(class)));
    // Two channels are made of each: rows 0 and 1 read channel 0.
    let part = scale.uses.iter().find(|part| part.node == 1).unwrap();
    assert_eq!(part.reads, Some(Labels::along(4, 0, vec![read[0], read[0], read[1], read[1]])));
    let remove = channels(&model, Purpose::Remove);
    let (read, made) = (along(&remove, "a", 1, 2), along(&remove, "c", 1, 4));
    assert_eq!(made, [read[0], read[0], read[1], read[1]]);
}

#[test]
fn groups_lose_the_same_places() {
    let nodes = vec![conv("x", "w1", "a"), conv("a", "w2", "b").with("group", Attribute::Int(2)), conv("b", "w3", "y")];
    let weights: &[(&str, &[usize])] = &[("w1", &[4, 1, 1, 1]), ("w2", &[6, 2, 1, 1]), ("w3", &[1, 6, 1, 1])];
    let model = model(nodes, &[1, 1, 2, 2], &[1, 1, 2, 2], weights);
    let remove = channels(&model, Purpose::Remove);
    assert_eq!(pattern(&along(&remove, "a", 1, 4)), [0, 1, 0, 1]);
    assert_eq!(pattern(&along(&remove, "b", 1, 6)), [0, 1, 2, 0, 1, 2]);
    assert_eq!(pattern(&along(&channels(&model, Purpose::Scale), "a", 1, 4)), [0, 1, 2, 3]);
}

#[test]
fn a_concatenation_keeps_both_apart() {
    let nodes = vec![
        conv("x", "w1", "a"),
        conv("x", "w2", "b"),
        Node::new("Concat", "", &["a", "b"], &["c"]).with("axis", Attribute::Int(1)),
        Node::new("MaxPool", "", &["c"], &["d"]).with("kernel_shape", Attribute::Ints(vec![2, 2])),
        conv("d", "w3", "y"),
    ];
    let weights: &[(&str, &[usize])] = &[("w1", &[2, 1, 1, 1]), ("w2", &[1, 1, 1, 1]), ("w3", &[1, 3, 1, 1])];
    let model = model(nodes, &[1, 1, 2, 2], &[1, 1, 1, 1], weights);
    let channels = channels(&model, Purpose::Scale);
    let joined = [along(&channels, "a", 1, 2), along(&channels, "b", 1, 1)].concat();
    assert_eq!(along(&channels, "d", 1, 3), joined);
    assert_eq!(channels.free_sets().len(), 2);
}

/// Channels first and channels last: what a channel becomes when a picture is flattened.
#[test]
fn flattening_spreads_channels_over_columns() {
    let flatten = vec![
        conv("x", "w1", "a"),
        Node::new("Flatten", "", &["a"], &["b"]),
        Node::new("Gemm", "", &["b", "w2"], &["y"]),
    ];
    let weights: &[(&str, &[usize])] = &[("w1", &[2, 1, 1, 1]), ("w2", &[4, 3])];
    let first = model(flatten.clone(), &[1, 1, 1, 2], &[1, 3], weights);
    let mut last = first.clone();
    last.nodes[1].inputs[0] = "t".into();
    let order = Attribute::Ints(vec![0, 2, 3, 1]);
    last.nodes.insert(1, Node::new("Transpose", "", &["a"], &["t"]).with("perm", order));
    for (model, expected) in [(first, [0, 0, 1, 1]), (last, [0, 1, 0, 1])] {
        let channels = channels(&model, Purpose::Remove);
        let made = along(&channels, "a", 1, 2);
        assert_eq!(along(&channels, "b", 1, 4), expected.map(|place| made[place]));
        let part = channels.uses.iter().find(|part| model.nodes[part.node].is("Gemm")).unwrap();
        assert_eq!(part.reads, Some(Labels::along(2, 0, expected.map(|place| made[place]).to_vec())));
    }
}

#[test]
fn what_is_not_of_degree_one_stops_scales_alone() {
    let nodes = |op: &str| {
        let activation = Node::new(op, "op", &["a"], &["b"]);
        vec![conv("x", "w1", "a"), activation, conv("b", "w2", "y")]
    };
    let weights: &[(&str, &[usize])] = &[("w1", &[2, 1, 1, 1]), ("w2", &[1, 2, 1, 1])];
    for (op, scales, removes) in [
        ("Relu", true, true),
        ("LeakyRelu", true, true),
        ("Sigmoid", false, true),
        ("Tanh", false, true),
        ("Softmax", false, false),
    ] {
        let model = model(nodes(op), &[1, 1, 2, 2], &[1, 1, 2, 2], weights);
        let is_free = |purpose| {
            let channels = channels(&model, purpose);
            channels.is_free(along(&channels, "a", 1, 2)[0])
        };
        assert_eq!((is_free(Purpose::Scale), is_free(Purpose::Remove)), (scales, removes), "{op}");
    }
}

/// Squeeze and excitation: the gate stays as it is, what it gates may be scaled; both lose channels together.
#[test]
fn a_gated_channel_is_scaled_and_its_gate_is_not() {
    let nodes = vec![
        conv("x", "w1", "a"),
        Node::new("GlobalAveragePool", "", &["a"], &["p"]),
        conv("p", "w2", "q"),
        Node::new("Sigmoid", "", &["q"], &["g"]),
        Node::new("Mul", "", &["a", "g"], &["m"]),
        conv("m", "w3", "y"),
    ];
    let weights: &[(&str, &[usize])] = &[("w1", &[2, 1, 1, 1]), ("w2", &[2, 2, 1, 1]), ("w3", &[1, 2, 1, 1])];
    let model = model(nodes, &[1, 1, 2, 2], &[1, 1, 2, 2], weights);
    let scale = channels(&model, Purpose::Scale);
    let made = along(&scale, "a", 1, 2);
    assert_eq!((along(&scale, "m", 1, 2), along(&scale, "p", 1, 2)), (made.clone(), made.clone()));
    assert!(scale.is_free(made[0]) && !scale.is_free(along(&scale, "q", 1, 2)[0]));
    let remove = channels(&model, Purpose::Remove);
    assert_eq!(along(&remove, "q", 1, 2), along(&remove, "m", 1, 2));
    assert!(remove.is_free(along(&remove, "q", 1, 2)[0]));
}
