//! One file, one answer: every set of kernels that this CPU can run gives the same bytes.

use std::path::{Path, PathBuf};

use cygnet_core::kernels::available;
use cygnet_core::{Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::fallback::Fallback;
use cygnet_onnx::model::Model;
use cygnet_tests::run::{arena, arena_bytes};

const INPUTS: u64 = 20;

fn int8_models() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut models = Vec::new();
    for folder in ["own", "whole", "qdq_conv", "qdq_other"] {
        for entry in std::fs::read_dir(golden.join(folder)).expect("golden models") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "onnx") {
                models.push(path);
            }
        }
    }
    models.sort();
    models
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    bytes.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[test]
fn every_instruction_set_gives_the_same_bytes() {
    let names: Vec<&str> = available().map(|kernels| kernels.name).collect();
    println!("instruction sets: {}", names.join(", "));
    let mut failures = Vec::new();
    for path in int8_models() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let model = Model::read(&path).expect("readable");
        let bytes = compile(&model, &Options::default()).expect("compiles").plan;
        let plan = Plan::parse(&bytes).expect("verified");
        let mut host = Fallback::new(&plan).expect("prepared");
        let mut hashes = Vec::new();
        for kernels in available() {
            let mut memory = arena(plan.arena_bytes());
            let mut session = Session::with_kernels(plan, arena_bytes(&mut memory), kernels).expect("a session");
            let mut sum = 0xcbf2_9ce4_8422_2325;
            let mut state = 99_u64;
            for _ in 0..INPUTS {
                for index in 0..plan.input_count() {
                    for byte in session.input_bytes(index).expect("an input") {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        *byte = (state >> 56) as u8;
                    }
                }
                session.run_with(&mut host).expect("runs");
                for index in 0..plan.output_count() {
                    sum = hash(session.output_bytes(index).expect("an output"), sum);
                }
            }
            hashes.push(sum);
        }
        if path.parent().is_some_and(|folder| folder.ends_with("own") || folder.ends_with("whole")) {
            println!("{:016x}  {name}", hashes[0]);
        }
        if hashes.iter().any(|other| *other != hashes[0]) {
            failures.push(format!("{name}: {hashes:x?} for {names:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
