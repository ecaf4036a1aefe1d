//! Weights in fewer bits: a plan that stores them so gives the bits of one that does not, in whatever parts they are
//! expanded, on every instruction set and any number of threads; and the verifier refuses what cannot be right.

use std::collections::BTreeMap;
use std::path::Path;

use cygnet::Threads;
use cygnet_core::Error;
use cygnet_core::bytes::{Span, checksum};
use cygnet_core::kernels::{Kernels, available};
use cygnet_core::plan::CHECKSUM_FROM;
use cygnet_core::plan::step::{IndexedConvI8, SparseConvI8, Step};
use cygnet_core::{Plan, Session, Team};
use cygnet_onnx::compile::{Compression, Options, compile};
use cygnet_onnx::model::{Model, Node, Tensor};
use cygnet_tests::run::{arena, arena_bytes};

/// Models with narrow weights: the golden ones, and one with few weights that are not 0.
fn models() -> BTreeMap<String, Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/narrow");
    let mut models = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("golden models") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let model = Model::read(&path).expect("readable");
            if name == "table_k3x3_stride2" {
                models.insert("zeros".to_string(), with_zeros(&model));
            }
            models.insert(name, model);
        }
    }
    models
}

/// The model with int8 weights, three of four 0, in the place of its table.
fn with_zeros(model: &Model) -> Model {
    let mut model = model.clone();
    let gather = model.nodes.iter().position(|node| node.is("Gather")).expect("a table");
    let stored = model.nodes.iter().find(|node| node.is("Cast")).expect("indices").inputs[0].clone();
    let shape = model.initializers[&stored].shape.clone();
    let count: usize = shape.iter().product();
    let weight = |place: usize| if place.is_multiple_of(4) { (place % 255) as i8 | 1 } else { 0 };
    let levels: Vec<i8> = (0..count).map(weight).collect();
    model.initializers.insert("sparse".into(), Tensor::from_i8(shape, &levels));
    let output = model.nodes[gather].outputs[0].clone();
    model.nodes[gather] = Node::new("Identity", "", &["sparse"], &[&output]);
    model
}

/// Outputs for one input whose bytes look random.
fn run(plan: Plan<'_>, kernels: &'static Kernels, team: Option<&dyn Team>) -> Vec<u8> {
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::with_kernels(plan, arena_bytes(&mut memory), kernels).expect("a session");
    if let Some(team) = team {
        session.set_team(team);
    }
    let mut state = 5_u64;
    for byte in session.input_bytes(0).expect("an input") {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    session.run().expect("runs");
    session.output_bytes(0).expect("an output").to_vec()
}

/// Works on the parts of a step from the last to the first, however small they are.
#[derive(Debug)]
struct Backwards(usize);

// SAFETY: one call for each part, one after the other.
unsafe impl Team for Backwards {
    fn size(&self) -> usize {
        3
    }

    fn least_work(&self) -> u64 {
        0
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize, &mut [u8]) + Sync)) {
        let mut room = vec![0x55; self.0];
        (0..parts).rev().for_each(|part| work(part, &mut room));
    }
}

#[test]
fn compressed_weights_give_the_bits_of_expanded_ones() {
    let (mut indexed, mut with_factors, mut sparse, mut cut) = (0, 0, 0, 0);
    for (name, model) in models() {
        let mut options = Options::default();
        options.compress = Compression::Never;
        let expanded = compile(&model, &options).expect("compiles").plan;
        let expanded = Plan::parse(&expanded).expect("verified");
        let expected = run(expanded, Kernels::portable(), None);
        options.compress = Compression::Smallest;
        for scratch in [0, 3 << 10, 64 << 10] {
            options.scratch_bytes = scratch;
            let bytes = compile(&model, &options).expect("compiles").plan;
            let plan = Plan::parse(&bytes).expect("verified");
            for record in plan.steps() {
                let channels = match record.step {
                    Step::IndexedConvI8(s) => {
                        (indexed, with_factors) = (indexed + 1, with_factors + usize::from(!s.factors.is_none()));
                        s.channels
                    }
                    Step::SparseConvI8(s) => {
                        sparse += 1;
                        s.channels
                    }
                    _ => continue,
                };
                cut += usize::from(channels < record.step.conv_i8().expect("a convolution").window.out_c);
                assert!(bytes.len() < expanded.bytes().len(), "{name}: {} bytes", bytes.len());
            }
            let threads = Threads::new(2, plan.scratch_bytes()).expect("threads");
            let backwards = Backwards(plan.scratch_bytes());
            for kernels in available() {
                let teams: [Option<&dyn Team>; 3] = [None, Some(&threads), Some(&backwards)];
                for team in teams {
                    assert_eq!(run(plan, kernels, team), expected, "{name}, {scratch}, {}, {team:?}", kernels.name);
                }
            }
        }
    }
    println!(
        "{indexed} steps with indices, {with_factors} of them with factors, {sparse} sparse, {cut} cut into parts"
    );
    assert!(indexed > 20 && with_factors > 10 && sparse == 3 && cut > 10);
}

/// The first step of a plan that keeps its weights in fewer bits.
enum Found {
    Indexed(IndexedConvI8),
    Sparse(SparseConvI8),
}

/// A compiled golden model, its step, and the words of the step's record behind its head.
fn compressed(name: &str) -> (Vec<u8>, Found, usize) {
    let mut options = Options::default();
    options.compress = Compression::Smallest;
    let plan = compile(&models()[name], &options).expect("compiles").plan;
    let parsed = Plan::parse(&plan).expect("verified");
    let mut at = parsed.header().step_table.offset as usize;
    for record in parsed.steps() {
        let found = match record.step {
            Step::IndexedConvI8(s) => Found::Indexed(s),
            Step::SparseConvI8(s) => Found::Sparse(s),
            _ => {
                at += (u32::from_le_bytes(plan[at..at + 4].try_into().expect("a word")) >> 16) as usize * 4;
                continue;
            }
        };
        return (plan, found, at + 12);
    }
    panic!("{name} has no compressed weights");
}

/// What the verifier says of a plan with some bytes replaced and the checksum made right again.
fn refusal(plan: &[u8], at: usize, bytes: &[u8]) -> &'static str {
    let mut plan = plan.to_vec();
    plan[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = checksum(&plan[CHECKSUM_FROM..]);
    plan[12..16].copy_from_slice(&sum.to_le_bytes());
    match Plan::parse(&plan) {
        Err(Error::Step { rule, .. }) => rule,
        Err(other) => panic!("{other}"),
        Ok(_) => "accepted",
    }
}

#[test]
fn what_cannot_be_expanded_is_refused() {
    let start = |span: Span| span.offset as usize;
    let not_so = "its weights are not what they say";
    // Words of the record: those of ConvI8, then the step's own.
    let own = |record: usize| record + 4 * (3 + 16 + 2 * 4 + 3);

    let (plan, Found::Indexed(s), record) = compressed("blocks32_k1x1") else { panic!("no indices") };
    assert_eq!(refusal(&plan, own(record), &s.channels.to_le_bytes()), "accepted");
    // 7 · 19 is no int8, nor is 127 times the factors of the second block; -128 is, but the step denies it.
    assert_eq!(refusal(&plan, start(s.factors), &[19; 8]), not_so);
    assert_eq!(refusal(&plan, start(s.levels), &[127; 16]), not_so);
    assert_eq!(refusal(&plan, start(s.levels), &[128; 16]), "it has weights of -128 and denies it");
    assert_eq!(
        refusal(&plan, own(record) + 20, &3_u32.to_le_bytes()),
        "a constant has another size than the step needs"
    );
    assert_eq!(
        refusal(&plan, own(record) + 20, &0_u32.to_le_bytes()),
        "a constant has another size than the step needs"
    );
    assert_eq!(refusal(&plan, own(record), &0_u32.to_le_bytes()), "its channels cannot be cut into parts");
    assert_eq!(refusal(&plan, own(record), &20_u32.to_le_bytes()), "its parts are no whole blocks of channels");
    // A longer span of indices, and one that leaves the file.
    let weights = record + 4 * (3 + 16);
    let longer = (s.conv.weights.len + 16).to_le_bytes();
    assert_eq!(refusal(&plan, weights + 4, &longer), "a constant has another size than the step needs");
    assert_eq!(refusal(&plan, weights, &0x7fff_0000_u32.to_le_bytes()), "a constant lies outside the file");

    let (plan, Found::Indexed(s), _) = compressed("table_k3x3_stride2") else { panic!("no indices") };
    assert!(s.factors.is_none() && s.conv.narrow == 1);
    assert_eq!(refusal(&plan, start(s.levels), &[128]), "it has weights of -128 and denies it");

    let (plan, Found::Indexed(s), _) = compressed("table_odd") else { panic!("no indices") };
    // 21 of 24 bytes of a kernel row are input: no weight behind them, whatever level stood for 0.
    let zero = (0..16).find(|&index| plan[start(s.levels) + index] == 0).expect("a level of 0");
    assert_eq!(refusal(&plan, start(s.levels) + zero, &[1]), "its weights go on behind the end of a kernel row");

    let (plan, Found::Sparse(s), _) = compressed("zeros") else { panic!("no masks") };
    // A weight more than there are bytes, and one fewer.
    let mask = u16::from_le_bytes([plan[start(s.conv.weights)], plan[start(s.conv.weights) + 1]]);
    assert!(mask != 0 && mask != u16::MAX);
    let (more, fewer) = (mask | (mask + 1), mask & (mask - 1));
    assert_ne!(refusal(&plan, start(s.conv.weights), &more.to_le_bytes()), "accepted");
    assert_ne!(refusal(&plan, start(s.conv.weights), &fewer.to_le_bytes()), "accepted");
}
