//! Whole models as firmware on the Cortex-M boards that QEMU shows: the same bits as on this machine, in exactly the
//! memory that was promised. Prints a table.
//!
//! Runs where `CYGNET_CORTEX_M` is set (`tests/arm/firmware` does it); elsewhere it is skipped and says so. The variable
//! may name boards, separated by commas; `all` stands for all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cygnet_core::kernels::{Kernels, available};
use cygnet_core::{Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use cygnet_tests::int8::int8_model;
use cygnet_tests::run::{arena, arena_bytes};
use quantize::boards::{Board, Need};

/// The boards that QEMU shows, with a processor of each kind.
const BOARDS: [&str; 5] = ["microbit", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"];

/// Models of ours, each with a sample and what it is.
const OURS: [(&str, &str, &str); 3] = [
    ("fashion", "fashion/samples/trouser.png", "trouser"),
    ("objects", "objects/samples/horse.png", "horse"),
    ("digits-speech", "digits-speech/samples/seven.wav", "seven"),
    // ("digits-tiny", "digits-speech/samples/seven.wav", "seven"),
];

/// Models of others that small boards are for.
const OTHERS: [&str; 4] =
    ["mlperf_kws_dscnn", "mlperf_vww_mobilenetv1_025", "mlperf_ic_resnet8", "mlperf_ad01_autoencoder"];

/// What fits the 16 KiB of the micro:bit.
const SMALLEST: [&str; 2] = ["fashion", "digits-tiny"];

/// A model and one input, as it lies in the arena.
struct Case {
    name: String,
    model: Model,
    input: Vec<u8>,
    label: Option<&'static str>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, sample, label) in OURS {
        let model = Model::read(&root().join(format!("tests/golden/own/{name}.int8.onnx"))).expect("readable");
        let loaded = cygnet::Model::from_onnx(&model, None).expect("compiles");
        let data = loaded.data_set(&root().join("models").join(sample)).expect("a sample");
        let sample = data.samples().next().expect("one").expect("readable");
        let mut session = loaded.session_on(1).expect("a session");
        session.set_f32(0, &sample.inputs[0]).expect("fits");
        let input = session.engine().expect("an engine").input_bytes(0).expect("an input").to_vec();
        cases.push(Case { name: name.into(), model, input, label: Some(label) });
    }
    let models = root().join("../shared/data/models");
    if !models.is_dir() {
        println!("SKIPPED: the models of others are not beside this repository (../shared/data/models)");
        return cases;
    }
    for name in OTHERS {
        let model = int8_model(&models.join(format!("{name}.onnx")));
        let plan = compile(&model, &Options::default()).expect("compiles").plan;
        let plan = Plan::parse(&plan).expect("verified");
        let port = plan.input(0).expect("an input");
        let bytes = plan.tensor(port.tensor).expect("a tensor").bytes();
        let mut state = 99_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let input = (0..bytes).map(|_| random()).collect();
        cases.push(Case { name: name.into(), model, input, label: None });
    }
    cases
}

/// The hash of all outputs, as the firmware computes it.
fn expected(plan: Plan<'_>, input: &[u8], kernels: &'static Kernels) -> u64 {
    let mut memory = arena(plan.arena_bytes());
    let mut session = Session::with_kernels(plan, arena_bytes(&mut memory), kernels).expect("a session");
    session.input_bytes(0).expect("an input").copy_from_slice(input);
    session.run().expect("runs");
    let outputs = (0..plan.output_count()).flat_map(|index| session.output_bytes(index).expect("an output").to_vec());
    outputs.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Builds the firmware and runs it: what it prints, by the first word of each line, and the bytes of its sections.
fn firmware(board: &str, plan: &Path, input: &Path) -> (BTreeMap<String, String>, BTreeMap<String, usize>) {
    let run = |command: &mut Command| {
        let output = command.output().expect("starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {}\n{text}{said}", output.status);
        text
    };
    let script = root().join("tests/arm/thumb");
    let script = |arguments: &[&str]| {
        let mut command = Command::new(&script);
        command.arg(board).args(arguments).env("CYGNET_PLAN", plan).env("CYGNET_INPUT", input);
        command
    };
    let text = run(&mut script(&["run", "--quiet", "--bin", "run"]));
    let lines = text.lines().filter_map(|line| line.split_once(' ')).map(|(key, rest)| (key.into(), rest.into()));
    let sizes = run(&mut script(&["size", "run"]));
    let sections = sizes.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_string(), words.next()?.parse().ok()?))
    });
    (lines.collect(), sections.collect())
}

#[test]
fn firmware_gives_the_same_bits_in_the_promised_memory() {
    let Ok(wanted) = std::env::var("CYGNET_CORTEX_M") else {
        println!("SKIPPED: set CYGNET_CORTEX_M=all, or run tests/arm/firmware");
        return;
    };
    let boards: Vec<&str> = BOARDS.into_iter().filter(|board| wanted == "all" || wanted.contains(board)).collect();
    let (cases, work) = (cases(), tempfile::tempdir().expect("a folder"));
    let mut failures = Vec::new();
    println!(
        "model                       board        hash              instructions    arena  statics  stack     plan    code"
    );
    // Boards of one processor share a folder of builds: they go one after the other.
    let rows: Vec<_> = std::thread::scope(|scope| {
        let halves = boards.chunks(boards.len().div_ceil(2).max(1));
        let threads: Vec<_> = halves.map(|boards| scope.spawn(|| on_boards(boards, &cases, work.path()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    for (row, problems) in rows {
        println!("{row}");
        failures.extend(problems);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A row of the table and what is wrong with it, for each model that fits each board.
fn on_boards(boards: &[&str], cases: &[Case], work: &Path) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    for name in boards {
        let board = Board::named(name).expect("a board");
        for case in cases.iter().filter(|case| *name != "microbit" || SMALLEST.contains(&case.name.as_str())) {
            rows.push(on_board(board, case, work));
        }
    }
    rows
}

fn on_board(board: &'static Board, case: &Case, work: &Path) -> (String, Vec<String>) {
    let mut options = Options::default();
    options.fallback = false;
    options.arena_bytes = Some(board.arena_limit());
    let bytes = compile(&case.model, &options).expect("compiles").plan;
    let plan = Plan::parse(&bytes).expect("verified");
    let need = Need::of(&plan, board);
    let hashes: Vec<u64> = available().map(|kernels| expected(plan, &case.input, kernels)).collect();
    let file = |kind: &str| work.join(format!("{}-{}.{kind}", case.name, board.name));
    std::fs::write(file("cyg"), &bytes).expect("written");
    std::fs::write(file("bin"), &case.input).expect("written");
    let (said, sections) = firmware(board.name, &file("cyg"), &file("bin"));

    let number = |key: &str| said.get(key).and_then(|text| text.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let section = |name: &str| sections.get(name).copied().unwrap_or(0);
    let statics = section(".data") + section(".bss") + section(".uninit") - plan.arena_bytes();
    let flash = section(".vector_table") + section(".text") + section(".rodata") + section(".data");
    let code = flash - bytes.len() - case.input.len();
    let hash = said.get("hash").cloned().unwrap_or_default();
    let row = format!(
        "{:27} {:12} {hash} {:13} {:8} {statics:8} {:6} {:8} {code:7}",
        case.name,
        board.name,
        number("instructions"),
        plan.arena_bytes(),
        number("stack"),
        bytes.len(),
    );
    let mut problems = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            problems.push(format!("{} on {}: {what}", case.name, board.name));
        }
    };
    check(hashes.iter().all(|&other| format!("{other:016x}") == hash), format!("{hash}, here {:016x}", hashes[0]));
    let answer = said.get("answer").and_then(|answer| answer.rsplit_once(' ')).map(|(label, _)| label);
    check(case.label.is_none() || answer == case.label, format!("the answer is {answer:?}"));
    check(number("arena") == plan.arena_bytes(), "another arena".into());
    check(number("stack") <= need.stack, format!("{} bytes of stack, {} were promised", number("stack"), need.stack));
    check(statics <= need.statics, format!("{statics} bytes of statics, {} were promised", need.statics));
    check(code <= need.code, format!("{code} bytes of code, {} were promised", need.code));
    (row, problems)
}
