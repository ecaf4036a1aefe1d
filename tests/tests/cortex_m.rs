//! Whole models as firmware on the Cortex-M boards that QEMU shows: the same bits as on this machine, in exactly the
//! memory that was promised. Prints a table.
//!
//! Runs where `CYGNET_CORTEX_M` is set (`tests/arm/firmware` does it); elsewhere it is skipped and says so. The variable
//! may name boards, separated by commas; `all` stands for all of them. With `CYGNET_MEASURE` set too, what firmware takes
//! beside the plan is written down for `cygnet::boards` (`tests/arm/measure` does it).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cygnet::boards::{Board, Need};
use cygnet_core::kernels::{Kernels, available};
use cygnet_core::plan::StepSet;
use cygnet_core::{Plan, Session};
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use cygnet_tests::int8::int8_model;
use cygnet_tests::run::{arena, arena_bytes};
use quantize::engine;
use quantize::facts::Dims;
use quantize::recipe::WeightForm;

/// The boards that QEMU shows, with a processor of each kind.
const BOARDS: [&str; 5] = ["microbit", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"];

/// Models of ours, each with a sample and what it is.
const OURS: [(&str, &str, &str); 6] = [
    ("fashion", "fashion/samples/trouser.png", "trouser"),
    ("objects", "objects/samples/horse.png", "horse"),
    ("digits-speech", "digits-speech/samples/seven.wav", "seven"),
    ("digits-tiny", "digits-speech/samples/seven.wav", "seven"),
    ("digits-tiny-int4", "digits-speech/samples/seven.wav", "seven"),
    ("digits-tiny-sparse", "digits-speech/samples/seven.wav", "seven"),
];

/// Models of others that small boards are for.
const OTHERS: [&str; 4] =
    ["mlperf_kws_dscnn", "mlperf_vww_mobilenetv1_025", "mlperf_ic_resnet8", "mlperf_ad01_autoencoder"];

/// What fits the 16 KiB of the micro:bit.
const SMALLEST: [&str; 4] = ["fashion", "digits-tiny", "digits-tiny-int4", "digits-tiny-sparse"];

/// Parts of the names of functions that lead to a panic.
const PANICS: [&str; 4] = ["core::panicking::", "slice_index_fail", "expect_failed", "unwrap_failed"];

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

/// `digits-tiny` with int8 activations and weights of a form, with its card inside.
fn tiny(weights: WeightForm) -> Model {
    let models = root().join("models");
    let mut model = Model::read(&models.join("digits-tiny/digits-tiny.onnx")).expect("readable");
    let card = std::fs::read_to_string(models.join("digits-tiny/digits-tiny.toml")).expect("a card");
    model.metadata.insert(cygnet_onnx::compile::CARD_KEY.into(), card);
    let data = quantize::data::Data::open(&models.join("digits-speech/calib.npz"), &model, None).expect("opens");
    let mut options = quantize::Options::default();
    options.recipe.usual.weights = weights;
    quantize::quantize(model, &data, &options, || ()).expect("quantizes").model
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, sample, label) in OURS {
        let model = match name {
            "digits-tiny" => tiny(WeightForm::Int8),
            "digits-tiny-int4" => tiny(WeightForm::Int4),
            "digits-tiny-sparse" => tiny(WeightForm::Sparse),
            _ => Model::read(&root().join(format!("tests/golden/own/{name}.int8.onnx"))).expect("readable"),
        };
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

/// Runs `tests/arm/thumb` for a board with what is to be built in.
fn thumb(board: &str, plan: &Path, input: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(root().join("tests/arm/thumb"));
    command.arg(board).args(arguments).env("CYGNET_PLAN", plan).env("CYGNET_INPUT", input);
    let output = command.output().expect("starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{said}", output.status);
    text
}

/// Builds the firmware: the bytes of its sections.
fn sections(board: &str, plan: &Path, input: &Path) -> BTreeMap<String, usize> {
    thumb(board, plan, input, &["build", "--quiet", "--bin", "run"]);
    let sizes = thumb(board, plan, input, &["size", "run"]);
    let sections = sizes.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_string(), words.next()?.parse().ok()?))
    });
    sections.collect()
}

/// Builds the firmware and runs it: what it prints, by the first word of each line, and the bytes of its sections.
fn firmware(board: &str, plan: &Path, input: &Path) -> (BTreeMap<String, String>, BTreeMap<String, usize>) {
    let sections = sections(board, plan, input);
    let text = thumb(board, plan, input, &["run", "--quiet", "--bin", "run"]);
    let lines = text.lines().filter_map(|line| line.split_once(' ')).map(|(key, rest)| (key.into(), rest.into()));
    (lines.collect(), sections)
}

#[test]
fn firmware_gives_the_same_bits_in_the_promised_memory() {
    let Ok(wanted) = std::env::var("CYGNET_CORTEX_M") else {
        println!("SKIPPED: set CYGNET_CORTEX_M=all, or run tests/arm/firmware");
        return;
    };
    let boards: Vec<&str> = BOARDS.into_iter().filter(|board| wanted == "all" || wanted.contains(board)).collect();
    let (cases, work) = (cases(), tempfile::tempdir().expect("a folder"));
    let (mut failures, mut deepest) = (Vec::new(), BTreeMap::new());
    println!(
        "model                       board        hash              instructions    arena  statics  stack     plan    code"
    );
    // Boards of one processor share a folder of builds: they go one after the other.
    let rows: Vec<_> = std::thread::scope(|scope| {
        let halves = boards.chunks(boards.len().div_ceil(2).max(1));
        let threads: Vec<_> = halves.map(|boards| scope.spawn(|| on_boards(boards, &cases, work.path()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    for Outcome { row, board, stack, problems } in rows {
        println!("{row}");
        let most: &mut usize = deepest.entry(board).or_default();
        *most = stack.max(*most);
        failures.extend(problems);
    }
    if std::env::var_os("CYGNET_MEASURE").is_some() {
        measure(&deepest, work.path());
        return;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Bytes of code that are not the engine's: the program `run`, start-up, interrupt vectors, console, and the division of
/// 64-bit numbers, which only the program has.
fn program_bytes(symbols: &str) -> usize {
    const NAMES: [&str; 11] = [
        "cygnet_cortex_m",
        "run::",
        "__cortex_m_rt_main",
        "__INTERRUPTS",
        "__EXCEPTIONS",
        "Reset",
        "semihosting",
        "is_some_and",
        "u64_div_rem",
        "uldivmod",
        "udivmoddi4",
    ];
    let sizes = symbols.lines().filter_map(|line| {
        let mut words = line.splitn(4, ' ');
        let (size, kind, name) = (words.nth(1)?, words.next()?, words.next()?);
        let is_program = "tTrR".contains(kind) && NAMES.iter().any(|part| name.contains(part));
        usize::from_str_radix(size, 16).ok().filter(|_| is_program)
    });
    // The plan and the input are the program's too, and stand in `code` no more.
    sizes.filter(|&size| size < 8192).sum()
}

/// What a model did on a board.
struct Outcome {
    row: String,
    board: &'static str,
    stack: usize,
    problems: Vec<String>,
}

/// Each model on each board that it fits.
fn on_boards(boards: &[&str], cases: &[Case], work: &Path) -> Vec<Outcome> {
    let mut rows = Vec::new();
    for name in boards {
        let board: &Board = name.parse().expect("a board");
        for case in cases.iter().filter(|case| *name != "microbit" || SMALLEST.contains(&case.name.as_str())) {
            rows.push(on_board(board, case, work));
        }
    }
    rows
}

fn on_board(board: &'static Board, case: &Case, work: &Path) -> Outcome {
    let bytes = engine::plan(&case.model, &Dims::new(), Some(board)).expect("compiles");
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
    let symbols = thumb(board.name, &file("cyg"), &file("bin"), &["symbols", "run"]);
    let panics = symbols.lines().filter(|line| PANICS.iter().any(|name| line.contains(name))).count();
    let engine = code.saturating_sub(program_bytes(&symbols));
    let row = format!(
        "{:27} {:12} {hash} {:13} {:8} {statics:8} {:6} {:8} {code:7} {engine:7}",
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
    check(panics == 0, format!("{panics} functions that panic are linked: tests/arm/no_panic shows whose they are"));
    check(number("arena") == plan.arena_bytes(), "another arena".into());
    check(number("stack") <= need.stack, format!("{} bytes of stack, {} were promised", number("stack"), need.stack));
    check(statics <= need.statics, format!("{statics} bytes of statics, {} were promised", need.statics));
    check(code <= need.code, format!("{code} bytes of code, {} were promised", need.code));
    Outcome { row, board: board.name, stack: number("stack"), problems }
}

/// Kinds of steps, by their bit of a [`StepSet`], in a plan that is never run.
fn plan_of_kind(bit: Option<u32>) -> Vec<u8> {
    use cygnet_core::bytes::Record;
    let mut words = vec![0_u32; cygnet_core::plan::HEADER_BYTES / 4];
    words[0] = u32::from_le_bytes(cygnet_core::plan::MAGIC);
    // See `Header`: bytes of the arena, steps, tensors.
    words[4] = 16;
    let (tensors, entry) = (words.len() as u32 * 4, cygnet_core::plan::Tensor::WORDS);
    words.extend(vec![0; entry]);
    // The type is an entry's second word.
    let dtype = words.len() - entry + 1;
    use cygnet_core::plan::DType;
    words[dtype] = match bit {
        Some(bit) if bit % BLOCK >= INT16 => DType::I16 as u32,
        bit => bit.unwrap_or(0) & 1,
    };
    let steps = words.len() as u32 * 4;
    if let Some(bit) = bit {
        let opcode = opcode_of(bit);
        words.extend([opcode | (16 << 16)]);
        words.extend([0; 15]);
    }
    (words[7], words[8], words[9]) = (steps, words.len() as u32 * 4 - steps, tensors);
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Writes what firmware takes beside the plan to `boards/measured.rs` of the crate `cygnet`.
fn measure(deepest: &BTreeMap<&str, usize>, work: &Path) {
    let mut text = String::from("//! Written by `tests/arm/measure`: bytes of firmware beside the plan.\n\n");
    text += "use super::{Core, Measured};\n\n";
    text += "/// By processor. `code` holds what each kind of step adds, by its bit of a `StepSet`.\n";
    text += "pub(super) const MEASURED: [(Core, Measured); 5] = [\n";
    for name in BOARDS {
        let board: &Board = name.parse().expect("a board");
        let code = |bit: Option<u32>| {
            let (plan, input) = (work.join("kind.cyg"), work.join("kind.bin"));
            let bytes = plan_of_kind(bit);
            let set = StepSet::of(&bytes);
            let just = bit.is_none_or(|bit| set.has_number(bit)) && set.len() == u32::from(bit.is_some());
            assert!(just, "the plan has just this kind");
            std::fs::write(&plan, &bytes).expect("written");
            std::fs::write(&input, []).expect("written");
            let sections = sections(name, &plan, &input);
            let section = |name: &str| sections.get(name).copied().unwrap_or(0);
            let flash = section(".vector_table") + section(".text") + section(".rodata") + section(".data");
            (flash - bytes.len(), section(".data") + section(".bss") + section(".uninit") - 16)
        };
        let (base, statics) = code(None);
        let kinds: Vec<_> = (0..2 * BLOCK).filter(|bit| exists(*bit)).collect();
        let added: Vec<_> = kinds.iter().map(|&bit| (bit, code(Some(bit)).0.saturating_sub(base))).collect();
        let stack = deepest.get(name).copied().unwrap_or(0);
        println!("{name}: {base} bytes of code, {statics} of statics, {stack} of stack");
        text += &format!("    (Core::{:?}, Measured {{ stack: {stack}, statics: {statics}, base: {base}, ", board.core);
        text += &format!("code: &{added:?} }}),\n");
    }
    text += "];\n";
    std::fs::write(root().join("runtime/cygnet/src/boards/measured.rs"), text).expect("written");
}

/// Opcodes are below this.
const OPCODES: u32 = 45;

/// Opcodes that no kind of step has.
const FREE: [u32; 5] = [0, 30, 31, 40, 41];

/// Bits of 32 opcodes.
const BLOCK: u32 = 128;

/// Bit of the first opcode of 32 where int16 decides.
const INT16: u32 = 64;

/// The kind that needs a host with `std`.
const HOST_STEP: u32 = 20;

/// The opcode of a kind.
fn opcode_of(bit: u32) -> u32 {
    let place = bit % BLOCK;
    32 * (bit / BLOCK) + if place >= INT16 { (place - INT16) % 32 } else { place / 2 }
}

/// Whether there is such a kind, for firmware: several forms where a type decides, one else.
fn exists(bit: u32) -> bool {
    let (opcode, place) = (opcode_of(bit), bit % BLOCK);
    if place >= INT16 {
        return place < INT16 + 32 && [5, 6, 7, 9, 10, 15, 16, 17, 18, 26, 27, 28, 29].contains(&opcode);
    }
    // Recurrent layers compute in float, or with states of int16.
    if [27, 28, 29].contains(&opcode) {
        return !place.is_multiple_of(2);
    }
    let two_forms = [5, 6, 7, 9, 10, 11, 15, 16].contains(&opcode);
    opcode < OPCODES && !FREE.contains(&opcode) && opcode != HOST_STEP && (two_forms || place.is_multiple_of(2))
}
