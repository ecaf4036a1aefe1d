//! A layer fed piece by piece, its state or its cache kept by the session, answers as the same layer fed with the whole.

use std::collections::BTreeMap;

use cygnet_core::{Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};
use cygnet_tests::run::{arena, arena_bytes};

const INPUTS: usize = 8;
const HIDDEN: usize = 12;
/// Ten minutes of pieces of 32 ms.
const PIECES: usize = 18_750;
/// Elements of the sequence that the whole has.
const WHOLE: usize = 250;

/// Numbers between -1 and 1, the same in each run.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A layer over `steps` elements, with int8 weights or float ones; an LSTM has two states.
fn layer(op: &str, gates: usize, steps: usize, int8: bool) -> Vec<u8> {
    let port = |name: &str, shape: &[usize]| {
        let shape = Some(shape.iter().map(|&extent| Dim::Known(extent)).collect());
        ValueInfo { name: name.into(), dtype: DType::F32, shape }
    };
    let mut model = Model { ir_version: 8, opsets: [(String::new(), 17)].into(), ..Model::default() };
    for (name, columns, seed) in [("W", INPUTS, 1), ("R", HIDDEN, 2)] {
        let (rows, values) = (gates * HIDDEN, numbers(gates * HIDDEN * columns, seed));
        let shape = vec![1, rows, columns];
        if !int8 {
            model.initializers.insert(name.into(), Tensor::from_f32(shape, &values));
            continue;
        }
        let [levels, scales, zeros] = ["levels", "scales", "zeros"].map(|what| format!("{name}/{what}"));
        let stored: Vec<i8> = values.iter().map(|value| (value * 127.0) as i8).collect();
        model.initializers.insert(levels.clone(), Tensor::from_i8(shape, &stored));
        model.initializers.insert(scales.clone(), Tensor::from_f32(vec![rows], &vec![1.0 / 127.0; rows]));
        model.initializers.insert(zeros.clone(), Tensor::from_i8(vec![rows], &vec![0; rows]));
        let node = Node::new("DequantizeLinear", "", &[&levels, &scales, &zeros], &[name]);
        model.nodes.push(node.with("axis", Attribute::Int(1)));
    }
    let is_lstm = op == "LSTM";
    let inputs: &[&str] = if is_lstm { &["x", "W", "R", "", "", "h", "c"] } else { &["x", "W", "R", "", "", "h"] };
    let outputs: &[&str] = if is_lstm { &["y", "hn", "cn"] } else { &["y", "hn"] };
    let node = Node::new(op, "", inputs, outputs);
    model.nodes.push(node.with("hidden_size", Attribute::Int(HIDDEN as i64)));
    model.inputs = vec![port("x", &[steps, 1, INPUTS]), port("h", &[1, 1, HIDDEN])];
    model.outputs = vec![port("y", &[steps, 1, 1, HIDDEN]), port("hn", &[1, 1, HIDDEN])];
    if is_lstm {
        model.inputs.push(port("c", &[1, 1, HIDDEN]));
        model.outputs.push(port("cn", &[1, 1, HIDDEN]));
    }
    compile(&model, &Options::default()).expect("compiles").plan
}

/// All states that a plan answers with, piece by piece.
fn streamed(plan: &[u8], x: &[f32]) -> Vec<f32> {
    let plan = Plan::parse(plan).expect("a plan");
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::new(plan, arena_bytes(&mut memory)).expect("a session");
    let len = plan.input(0).expect("an input").len();
    let mut all = Vec::new();
    let mut y = vec![0.0; plan.output(0).expect("an output").len()];
    for piece in x.chunks_exact(len) {
        session.write_f32(0, piece).expect("written");
        session.run().expect("runs");
        session.read_f32(0, &mut y).expect("read");
        all.extend_from_slice(&y);
    }
    all
}

#[test]
fn pieces_answer_as_the_whole() {
    let x = numbers(PIECES * INPUTS, 3);
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        for int8 in [false, true] {
            let pieces = streamed(&layer(op, gates, 1, int8), &x);
            let whole = streamed(&layer(op, gates, WHOLE, int8), &x);
            assert_eq!(pieces.len(), PIECES * HIDDEN);
            let differs = pieces.iter().zip(&whole).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differs, None, "{op}, int8 weights: {int8}");
        }
    }
}

#[test]
fn a_reset_begins_anew_and_a_written_state_counts() {
    let bytes = layer("LSTM", 4, 1, true);
    let plan = Plan::parse(&bytes).expect("a plan");
    assert_eq!(plan.states().collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    let mut memory = arena(plan.arena_bytes());
    // What lies in the arena before does not matter.
    arena_bytes(&mut memory).fill(0x5a);
    let mut session = Session::new(plan, arena_bytes(&mut memory)).expect("a session");
    let x = numbers(INPUTS, 4);
    let run = |session: &mut Session<'_, '_>| {
        session.write_f32(0, &x).expect("written");
        session.run().expect("runs");
        let mut states = BTreeMap::new();
        for output in 0..3 {
            let mut values = vec![0.0; HIDDEN];
            session.read_f32(output, &mut values).expect("read");
            states.insert(output, values);
        }
        states
    };
    let first = run(&mut session);
    let second = run(&mut session);
    assert_ne!(first, second);
    session.reset();
    assert_eq!(run(&mut session), first);
    session.reset();
    session.write_f32(1, &first[&1]).expect("written");
    session.write_f32(2, &first[&2]).expect("written");
    assert_eq!(run(&mut session), second);
}

/// A causal convolution of 3 moments with levels of 8 bits over `steps` moments. What lies before the first one comes in,
/// and what lies before the next piece goes out.
fn causal(steps: usize) -> Vec<u8> {
    const CHANNELS: usize = 4;
    let port = |name: &str, moments: usize| {
        let shape = Some([1, CHANNELS, moments].map(Dim::Known).to_vec());
        ValueInfo { name: name.into(), dtype: DType::F32, shape }
    };
    let mut model = Model { ir_version: 8, opsets: [(String::new(), 17)].into(), ..Model::default() };
    let stored: Vec<i8> = numbers(CHANNELS * CHANNELS * 3, 5).iter().map(|value| (value * 127.0) as i8).collect();
    let ints = |values: &[i64]| {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { dtype: DType::I64, shape: vec![values.len()], data }
    };
    let constants = [
        ("s", Tensor::scalar_f32(0.02)),
        ("z", Tensor::from_u8(vec![], &[120])),
        ("ws", Tensor::scalar_f32(0.01)),
        ("wz", Tensor::from_i8(vec![], &[0])),
        ("ys", Tensor::scalar_f32(0.05)),
        ("w", Tensor::from_i8(vec![CHANNELS, CHANNELS, 3], &stored)),
        ("from", ints(&[steps as i64])),
        ("to", ints(&[steps as i64 + 2])),
        ("time", ints(&[2])),
    ];
    model.initializers = constants.map(|(name, tensor)| (name.to_string(), tensor)).into();
    let pair = |model: &mut Model, value: &str, scale: &str, real: &str| {
        let levels = format!("{value}/q");
        model.nodes.push(Node::new("QuantizeLinear", "", &[value, scale, "z"], &[&levels]));
        model.nodes.push(Node::new("DequantizeLinear", "", &[&levels, scale, "z"], &[real]));
    };
    pair(&mut model, "x", "s", "x/dq");
    pair(&mut model, "cache_in", "s", "cache_in/dq");
    let node = Node::new("Concat", "", &["cache_in/dq", "x/dq"], &["whole"]);
    model.nodes.push(node.with("axis", Attribute::Int(2)));
    pair(&mut model, "whole", "s", "whole/dq");
    model.nodes.push(Node::new("DequantizeLinear", "", &["w", "ws", "wz"], &["w/dq"]));
    model.nodes.push(Node::new("Conv", "", &["whole/dq", "w/dq"], &["sums"]));
    pair(&mut model, "sums", "ys", "y");
    model.nodes.push(Node::new("Slice", "", &["whole/dq", "from", "to", "time"], &["rest"]));
    pair(&mut model, "rest", "s", "cache_out");
    model.inputs = vec![port("x", steps), port("cache_in", 2)];
    model.outputs = vec![port("y", steps), port("cache_out", 2)];
    compile(&model, &Options::default()).expect("compiles").plan
}

#[test]
fn caches_of_convolutions_are_kept_as_levels_and_lose_nothing() {
    const MOMENTS: usize = 1200;
    const CHANNELS: usize = 4;
    // All channels of a moment, moment after moment.
    let x = numbers(MOMENTS * CHANNELS, 6);
    let answers = |steps: usize| {
        let bytes = causal(steps);
        let plan = Plan::parse(&bytes).expect("a plan");
        assert_eq!(plan.states().collect::<Vec<_>>(), [(1, 1)]);
        for port in [plan.input(1), plan.output(1)] {
            let port = port.expect("a state");
            assert_eq!(plan.tensor(port.tensor).expect("its tensor").dtype, cygnet_core::DType::I8);
        }
        let mut memory = arena(plan.arena_bytes());
        let mut session = Session::new(plan, arena_bytes(&mut memory)).expect("a session");
        let (mut all, mut y) = (Vec::new(), vec![0.0; CHANNELS * steps]);
        for piece in x.chunks_exact(CHANNELS * steps) {
            let turned: Vec<f32> = (0..CHANNELS * steps).map(|n| piece[n % steps * CHANNELS + n / steps]).collect();
            session.write_f32(0, &turned).expect("written");
            session.run().expect("runs");
            session.read_f32(0, &mut y).expect("read");
            all.extend((0..CHANNELS * steps).map(|n| y[n % CHANNELS * steps + n / CHANNELS]));
        }
        all
    };
    let whole = answers(MOMENTS);
    assert!(whole.iter().any(|value| *value > 1.0) && whole.iter().any(|value| *value < -1.0));
    for steps in [1, 2, 5, 100] {
        assert!(answers(steps) == whole, "pieces of {steps}");
    }
}
