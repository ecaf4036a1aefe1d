//! One file, one answer: every set of kernels that this CPU can run, any number of threads, and AArch64 in an emulator
//! give the same bytes. Prints a table of hashes.
//!
//! `CYGNET_AARCH64` holds commands, one a line, that run the example `probe` of `cygnet-core` on another CPU; see
//! `tests/arm/run`. Where it is not set, that part is skipped and says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cygnet::Threads;
use cygnet_core::kernels::{Kernels, available};
use cygnet_core::plan::step::Step;
use cygnet_core::{Plan, Session, Team};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::fallback::Fallback;
use cygnet_onnx::model::Model;
use cygnet_tests::int8::{MODELS_OF_OTHERS, int8_plan};
use cygnet_tests::run::{arena, arena_bytes};

/// Runs of each model, each on another input.
const INPUTS: u64 = 20;

/// Int8 plans by name: the golden models, ours, and those of others where they are beside the repository.
fn plans() -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut plans = BTreeMap::new();
    for folder in ["own", "whole", "qdq_conv", "qdq_other", "narrow", "int16", "recurrent"] {
        for entry in std::fs::read_dir(root.join("tests/golden").join(folder)).expect("golden models") {
            let path = entry.expect("an entry").path();
            // Of recurrent layers those whose weights are int8: sums of float32 may differ.
            let is_int8 = folder != "recurrent" || name(&path).starts_with("int8_");
            if is_int8 && path.extension().is_some_and(|extension| extension == "onnx") {
                let model = Model::read(&path).expect("readable");
                let plan = compile(&model, &Options::default()).expect("compiles").plan;
                plans.insert(format!("{folder}/{}", name(&path)), plan);
            }
        }
    }
    let models = root.join("../shared/data/models");
    if models.is_dir() {
        for name in MODELS_OF_OTHERS {
            plans.insert(format!("others/{name}"), int8_plan(&models.join(format!("{name}.onnx"))));
        }
    } else {
        println!("SKIPPED: the models of others are not beside this repository (../shared/data/models)");
    }
    plans
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    bytes.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A hash of all outputs for [`INPUTS`] inputs; the example `probe` computes the same.
fn outputs(plan: Plan<'_>, kernels: &'static Kernels, team: Option<&dyn Team>) -> u64 {
    let mut host = Fallback::new(&plan).expect("prepared");
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::with_kernels(plan, arena_bytes(&mut memory), kernels).expect("a session");
    if let Some(team) = team {
        session.set_team(team);
    }
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
    sum
}

/// Cuts every step, however small, and works on the parts from the last to the first.
#[derive(Debug)]
struct Backwards {
    parts: usize,
    room: usize,
}

// SAFETY: one call for each part, one after the other.
unsafe impl Team for Backwards {
    fn size(&self) -> usize {
        self.parts
    }

    fn least_work(&self) -> u64 {
        0
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize, &mut [u8]) + Sync)) {
        let mut room = vec![0x55; self.room];
        (0..parts).rev().for_each(|part| work(part, &mut room));
    }
}

/// Hashes by plan and instruction set of a `probe` elsewhere.
fn probe(command: &str, files: &BTreeMap<&str, PathBuf>) -> Vec<(String, String, u64)> {
    let mut words = command.split_whitespace();
    let mut process = Command::new(words.next().expect("a program"));
    let output = process.args(words).args(files.values()).output().expect("starts");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let names: BTreeMap<_, _> = files.iter().map(|(name, file)| (file.display().to_string(), *name)).collect();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [file, set, hash, ..] = fields[..] else { panic!("{command} printed «{line}»") };
        (names[file].to_string(), set.to_string(), u64::from_str_radix(hash, 16).expect("a hash"))
    };
    text.lines().map(line).collect()
}

#[test]
fn every_instruction_set_gives_the_same_bytes() {
    let sets: Vec<&str> = available().map(|kernels| kernels.name).collect();
    println!("instruction sets: {}; each with 1, 2 and 3 threads, and cut in 4 parts", sets.join(", "));
    let plans = plans();
    let mut failures = Vec::new();
    let mut hashes = BTreeMap::new();
    for (name, bytes) in &plans {
        let plan = Plan::parse(bytes).expect("verified");
        let room = plan.scratch_bytes();
        let expected = outputs(plan, Kernels::portable(), None);
        hashes.insert(name.as_str(), expected);
        let threads = [2, 3].map(|size| Threads::new(size, room).expect("threads"));
        let backwards = Backwards { parts: 4, room };
        for kernels in available() {
            let teams: [Option<&dyn Team>; 4] = [None, Some(&threads[0]), Some(&threads[1]), Some(&backwards)];
            for team in teams {
                let found = outputs(plan, kernels, team);
                if found != expected {
                    failures.push(format!("{name}: {found:016x} by {} and {team:?}", kernels.name));
                }
            }
        }
    }
    let mut elsewhere = Vec::new();
    match std::env::var("CYGNET_AARCH64") {
        Ok(commands) => {
            let folder = tempfile::tempdir().expect("a folder");
            let native = |bytes: &[u8]| {
                let plan = Plan::parse(bytes).expect("verified");
                !plan.steps().any(|record| matches!(record.step, Step::HostStep(_)))
            };
            let mut files = BTreeMap::new();
            for (index, (name, bytes)) in plans.iter().filter(|(_, bytes)| native(bytes)).enumerate() {
                let file = folder.path().join(format!("{index}.cyg"));
                std::fs::write(&file, bytes).expect("written");
                files.insert(name.as_str(), file);
            }
            for command in commands.lines().filter(|line| !line.trim().is_empty()) {
                for (name, set, found) in probe(command, &files) {
                    if found != hashes[name.as_str()] {
                        failures.push(format!("{name}: {found:016x} by {set} in {command}"));
                    }
                    if !elsewhere.contains(&set) {
                        elsewhere.push(set);
                    }
                }
            }
        }
        Err(_) => println!("SKIPPED: AArch64 (CYGNET_AARCH64 is not set; tests/arm/run does that)"),
    }
    println!("the same on AArch64: {}", if elsewhere.is_empty() { "not run".into() } else { elsewhere.join(", ") });
    for (name, hash) in &hashes {
        println!("{hash:016x}  {name}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
