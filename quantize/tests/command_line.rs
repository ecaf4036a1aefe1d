//! The program as its users call it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cygnet::input::{Array, ElementType};
use cygnet::output::write_npz;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with the small network and its samples.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let folder = tempfile::tempdir().unwrap();
        for name in ["network.onnx", "samples.npz"] {
            fs::copy(golden.join(name), folder.path().join(name)).unwrap();
        }
        Bench(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `x` of the network: [samples, 3, 12, 12].
    fn npz(&self, name: &str, samples: usize, value: impl Fn(usize) -> f32) {
        let data = (0..samples * 3 * 144).flat_map(|place| value(place).to_le_bytes()).collect();
        let x = Array { name: "x".into(), dtype: ElementType::F32, shape: vec![samples, 3, 12, 12], data };
        write_npz(&self.path(name), &[x]).unwrap();
    }

    fn quantize(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quantize"));
        command.current_dir(self.0.path()).env_remove("RUST_LOG").env_remove("CYGNET_ISA");
        command.args(arguments.iter().map(OsStr::new)).output().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Calls that fail: exit status, what stderr says, nothing on stdout, and no file more than before.
    fn fails(&self, status: i32, arguments: &[&str], says: &[&str]) {
        let before = self.files();
        let output = self.quantize(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
        for part in says {
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
        assert!(output.stdout.is_empty() && !message.contains("panicked"), "{arguments:?}: {message}");
        assert_eq!(self.files(), before, "{arguments:?}");
    }
}

#[test]
fn the_model_and_the_plan_are_written_and_told() {
    let bench = Bench::new();
    let outputs = ["-o", "out.onnx", "--plan", "out.cyg", "--json"];
    let output = bench.quantize(&[&["network.onnx", "--calib", "samples.npz"], &outputs[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let length = |name: &str| fs::metadata(bench.path(name)).unwrap().len();
    assert_eq!(report["int8_bytes"], length("out.onnx"));
    assert_eq!(report["float_bytes"], length("network.onnx"));
    assert_eq!(report["memory"]["plan_bytes"], length("out.cyg"));
    assert_eq!(report["calibration_samples"], 16);
    assert_eq!(bench.files(), ["network.onnx", "out.cyg", "out.onnx", "samples.npz"]);

    let compiled = bench.quantize(&["compile", "out.onnx", "--json"]);
    let report: Value = serde_json::from_slice(&compiled.stdout).unwrap();
    assert_eq!(report["plan"], "out.cyg");
    assert_eq!(report["plan_bytes"], length("out.cyg"));
    let plan = cygnet::Model::load(bench.path("out.cyg")).unwrap();
    assert_eq!(report["arena_bytes"], plan.plan().arena_bytes());
    let table = bench.quantize(&["compile", "out.onnx"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("RAM: arena"));
}

#[test]
fn a_board_gets_a_plan_that_fits_it_or_a_reason() {
    let bench = Bench::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/own/fashion.int8.onnx");
    let model = model.to_str().unwrap();
    let compiled = bench.quantize(&["compile", model, "-o", "small.cyg", "--board", "microbit", "--json"]);
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let report: Value = serde_json::from_slice(&compiled.stdout).unwrap();
    let number = |key: &str| report["need"][key].as_u64().unwrap() as usize;
    assert_eq!(number("board_ram"), 16 * 1024);
    assert!(number("ram") <= 16 * 1024, "{report}");
    let parts = ["activations", "scratch", "gaps", "stack", "statics"];
    assert_eq!(parts.map(number).iter().sum::<usize>(), number("ram"));
    assert_eq!(["weights", "plan", "code"].map(number).iter().sum::<usize>(), number("flash"));

    // The session takes exactly the printed arena, and not one byte less.
    let bytes = fs::read(bench.path("small.cyg")).unwrap();
    let plan = cygnet::core::Plan::parse(&bytes).unwrap();
    let arena = parts[..3].iter().map(|part| number(part)).sum();
    let mut memory = cygnet::core::Arena::<{ 16 * 1024 }>::new();
    assert!(cygnet::core::Session::new(plan, &mut memory.bytes()[..arena]).is_ok());
    let refused = cygnet::core::Session::new(plan, &mut memory.bytes()[..arena - 1]).map(|_| ());
    assert_eq!(refused, Err(cygnet::core::Error::ArenaTooSmall { needed: arena, given: arena - 1 }));

    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/own/objects.int8.onnx");
    let arguments = ["compile", model.to_str().unwrap(), "-o", "large.cyg", "--board", "microbit"];
    bench.fails(1, &arguments, &["microbit has 16384", "% less would make it fit", "nucleo-f446re"]);
    bench.fails(2, &["compile", "network.onnx", "--board", "abacus"], &["the boards are microbit"]);
}

#[test]
fn bad_data_are_named() {
    let bench = Bench::new();
    bench.npz("nan.npz", 3, |place| if place == 500 { f32::NAN } else { place as f32 });
    bench.npz("empty.npz", 0, |_| 0.0);
    bench.npz("constant.npz", 4, |_| 0.5);
    let shape = vec![2, 3, 10, 10];
    let wrong = Array { name: "x".into(), dtype: ElementType::F32, shape, data: vec![0; 2 * 300 * 4] };
    write_npz(&bench.path("wrong.npz"), &[wrong]).unwrap();
    write_npz(&bench.path("nothing.npz"), &[]).unwrap();
    fs::write(bench.path("text.npz"), "no archive").unwrap();
    fs::create_dir(bench.path("photos")).unwrap();
    fs::write(bench.path("photos/a.jpg"), "").unwrap();
    let cases: [(&str, &[&str]); 8] = [
        ("nan.npz", &["nan.npz", "sample 1", "NaN", "1 of 3 samples are broken", "--bad-samples skip"]),
        ("empty.npz", &["empty.npz", "no sample"]),
        ("constant.npz", &["constant.npz", "all its values are 0.5", "no sample is left"]),
        ("wrong.npz", &["wrong.npz", "[2, 3, 10, 10]", "12, 12"]),
        ("nothing.npz", &["nothing.npz", "\"x\""]),
        ("text.npz", &["text.npz"]),
        ("missing.npz", &["missing.npz"]),
        ("photos", &["photos", "no card", "MODEL.toml", "--card"]),
    ];
    for (data, says) in cases {
        bench.fails(1, &["network.onnx", "--calib", data, "--plan", "out.cyg"], says);
    }
}

#[test]
fn a_few_bad_samples_are_left_out_and_named() {
    let bench = Bench::new();
    // Of eight samples number 2 holds infinity, 3 is constant, and 5 is number 4 again.
    bench.npz("mixed.npz", 8, |place| match place / 432 {
        2 if place % 432 == 7 => f32::INFINITY,
        3 => 0.25,
        5 => ((place - 432) % 89) as f32 * 0.01,
        _ => (place % 89) as f32 * 0.01,
    });
    let arguments = ["network.onnx", "--calib", "mixed.npz", "--eval", "mixed.npz", "--json"];
    let output = bench.quantize(&arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{message}"));
    assert_eq!(report["calibration_samples"], 5);
    assert_eq!(report["bad_samples"][0]["counts"], json!({"broken": 1, "constant": 1, "duplicate": 1}));
    // In evaluation what can be read counts.
    assert_eq!(report["bad_samples"][1]["left_out"], 1);
    assert_eq!(report["evaluation"]["samples"], 7);
    for part in ["mixed.npz[2]", "holds inf", "mixed.npz[3]", "0.25", "mixed.npz[5]", "same as mixed.npz[4]"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(message.contains("are in --calib too"), "{message}");
    fs::remove_file(bench.path("network.int8.onnx")).unwrap();
    bench.fails(1, &[&arguments[..], &["--bad-samples", "refuse"]].concat(), &["holds inf", "take it out"]);
}

#[test]
fn without_labels_int8_is_compared_with_float() {
    let bench = Bench::new();
    let output = bench.quantize(&["network.onnx", "--calib", "samples.npz", "--eval", "samples.npz", "--json"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("without label") && message.contains("\"y\""), "{message}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let measures = report["evaluation"]["measures"].as_array().unwrap();
    let names: Vec<_> = measures.iter().map(|measure| measure["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["same answer", "cosine", "squared error"]);
    assert!(measures[1]["int8"]["value"].as_f64().unwrap() > 0.99, "{report}");
    assert_eq!(report["accuracy"], Value::Null);
}

#[test]
fn bad_models_and_cards_are_named() {
    let bench = Bench::new();
    let whole = fs::read(bench.path("network.onnx")).unwrap();
    fs::write(bench.path("cut.onnx"), &whole[..whole.len() / 2]).unwrap();
    fs::write(bench.path("empty.onnx"), "").unwrap();
    fs::write(bench.path("bad.toml"), "name = \"network\"\n[input]\nkind = \"smell\"\n").unwrap();
    for model in ["cut.onnx", "empty.onnx", "missing.onnx"] {
        bench.fails(1, &[model, "--calib", "samples.npz"], &[model]);
        bench.fails(1, &["compile", model], &[model]);
    }
    let bad = ["--card", "bad.toml"];
    bench.fails(1, &[&["network.onnx", "--calib", "samples.npz"], &bad[..]].concat(), &["bad.toml", "smell"]);
    bench.fails(1, &[&["compile", "network.onnx"], &bad[..]].concat(), &["bad.toml", "smell"]);
    fs::copy(bench.path("bad.toml"), bench.path("network.toml")).unwrap();
    bench.fails(1, &["network.onnx", "--calib", "samples.npz"], &["network.toml"]);
}

#[test]
fn outputs_that_cannot_be_are_refused_before_the_work() {
    let bench = Bench::new();
    let calib = ["network.onnx", "--calib", "samples.npz"];
    bench.fails(1, &[&calib[..], &["-o", "no/such/out.onnx"]].concat(), &["no/such"]);
    bench.fails(1, &[&calib[..], &["--plan", "no/such/out.cyg"]].concat(), &["no/such"]);
    bench.fails(1, &[&calib[..], &["-o", "network.onnx"]].concat(), &["network.onnx", "is the input"]);
    bench.fails(1, &[&calib[..], &["-o", "same", "--plan", "same"]].concat(), &["same", "two"]);
    bench.fails(1, &["compile", "network.onnx", "-o", "."], &["name of a file"]);
}

#[test]
fn wrong_usage_is_told_apart() {
    let bench = Bench::new();
    bench.fails(2, &[], &["--help"]);
    bench.fails(2, &["network.onnx"], &["--calib"]);
    bench.fails(2, &["network.onnx", "--calib", "samples.npz", "--ranges", "wild"], &["wild"]);
    bench.fails(2, &["network.onnx", "--calib", "samples.npz", "--percentile", "10"], &["above 50"]);
    bench.fails(2, &["compile"], &["MODEL"]);
    bench.fails(2, &["demo", "--nonsense"], &["nonsense"]);
}

#[test]
fn a_demo_without_models_says_what_is_missing() {
    let bench = Bench::new();
    let output = bench.quantize(&["demo", "--models", "nowhere", "-o", "made"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("fashion.onnx") && message.contains("3 of its parts"), "{message}");
    assert_eq!(fs::read_dir(bench.path("made")).unwrap().count(), 0);
}
