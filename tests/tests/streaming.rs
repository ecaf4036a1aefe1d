//! A recurrent layer fed piece by piece, its state kept by the session, answers as the same layer fed with the whole.

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
