//! The program as its users call it.
#![cfg(feature = "onnx")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cygnet::input::{Array, ElementType, read_arrays};
use cygnet::output::write_npz;
use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn fashion() -> PathBuf {
    repository("models/fashion/fashion.onnx")
}

fn cygnet(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    command.env_remove("CYGNET_ISA").env_remove("RUST_LOG").output().unwrap()
}

/// Standard output of a call that succeeds and says nothing else.
fn printed(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let output = cygnet(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Value {
    serde_json::from_str(&printed(arguments)).unwrap()
}

/// Exit status and standard error of a call that fails.
fn failed(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (Option<i32>, String) {
    let output = cygnet(arguments);
    assert!(!output.status.success());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn run_names_what_is_in_a_picture() {
    let dress = repository("models/fashion/samples/dress.png");
    let text = printed(&[&"run", &fashion(), &dress]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].ends_with(" dress"), "{text}");
    let answer = json(&[&"run", &fashion(), &dress, &"--top", &"2", &"--json"]);
    let top = answer["samples"][0]["top"].as_array().unwrap();
    assert_eq!((top.len(), &top[0]["label"]), (2, &Value::from("dress")));
}

#[test]
fn run_goes_through_a_folder_line_by_line() {
    let folder = repository("models/fashion/samples");
    let text = printed(&[&"run", &fashion(), &folder]);
    for line in text.lines() {
        // The samples are called by their class.
        let (name, answer) = line.split_once(".png: ").unwrap();
        assert!(answer.ends_with(name), "{line}");
    }
    assert_eq!(text.lines().count(), fs::read_dir(&folder).unwrap().count());
}

#[test]
fn run_hears_digits() {
    let speech = repository("models/digits-speech/digits-speech.onnx");
    let text = printed(&[&"run", &speech, &repository("models/digits-speech/samples")]);
    for line in text.lines() {
        let (name, answer) = line.split_once(".wav: ").unwrap();
        assert!(answer.ends_with(name), "{line}");
    }
}

#[test]
fn run_counts_what_is_right() {
    let answer = json(&[&"run", &fashion(), &repository("models/fashion/eval.npz"), &"--json"]);
    // The model's card has 0.932 of these 500, measured with onnxruntime.
    assert_eq!((answer["labelled"].as_u64(), answer["correct"].as_u64()), (Some(500), Some(466)));
}

#[test]
fn run_writes_outputs_that_agree_with_onnxruntime() {
    let folder = tempfile::tempdir().unwrap();
    let golden = repository("tests/golden/whole");
    let cases: Vec<_> =
        (0..2).map(|n| read_arrays(&golden.join(format!("mobile_qdq_uint8_{n}.npz"))).unwrap()).collect();
    let joined = |name: &str| {
        let parts: Vec<&Array> = cases.iter().flat_map(|case| case.iter().filter(|array| array.name == name)).collect();
        let mut shape = parts[0].shape.clone();
        shape[0] = parts.len();
        let data = parts.iter().flat_map(|part| part.data.clone()).collect();
        Array { name: name.into(), dtype: ElementType::F32, shape, data }
    };
    let input = folder.path().join("in.npz");
    write_npz(&input, &[Array { name: "image".into(), ..joined("in.image") }]).unwrap();
    let output = folder.path().join("out.npz");
    printed(&[&"run", &golden.join("mobile_qdq_uint8.onnx"), &input, &"-o", &output]);
    let mut found = read_arrays(&output).unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found.len(), 2);
    for (found, name) in found.iter().zip(["features", "scores"]) {
        let expected = joined(&format!("out.{name}"));
        assert_eq!((&*found.name, &found.shape), (name, &expected.shape));
        let (found, expected) = (found.to_f32s(0, found.len()), expected.to_f32s(0, expected.len()));
        // The tolerance of these golden cases: one step of the output, whose scales are below 0.14.
        let far = found.iter().zip(&expected).filter(|(found, expected)| (*found - *expected).abs() > 0.14).count();
        assert_eq!(far, 0, "{name} differs from onnxruntime");
    }
}

#[test]
fn run_without_a_card_sums_the_outputs_up() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("square.onnx");
    square().write(&model).unwrap();
    let input = folder.path().join("x.npy");
    let mut npy = b"\x93NUMPY\x01\x00\x36\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}".to_vec();
    npy[8] = (npy.len() - 10) as u8;
    npy.extend([3.0f32, -1.0, 2.0].iter().flat_map(|value| value.to_le_bytes()));
    fs::write(&input, npy).unwrap();
    let text = printed(&[&"run", &model, &input]);
    assert_eq!(text, "y 3 min 1.0000 max 9.0000 mean 4.6667: 9.0000 1.0000 4.0000\n");
}

/// `y = x · x`.
fn square() -> cygnet_onnx::model::Model {
    use cygnet_onnx::model::{DType, Dim, Model, Node, ValueInfo};
    let value = |name: &str| ValueInfo { name: name.into(), dtype: DType::F32, shape: Some(vec![Dim::Known(3)]) };
    Model {
        ir_version: 8,
        opsets: [(String::new(), 17)].into(),
        nodes: vec![Node::new("Mul", "square", &["x", "x"], &["y"])],
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        ..Model::default()
    }
}

#[test]
fn one_bad_picture_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(repository("models/fashion/samples/bag.png"), folder.path().join("b.png")).unwrap();
    fs::write(folder.path().join("a.png"), "no picture").unwrap();
    let out = folder.path().join("out.npz");
    let output = cygnet(&[&"run", &fashion(), &folder.path(), &"-o", &out]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout.starts_with("b.png: ") && stdout.lines().count() == 1, "{stdout}");
    assert!(stderr.contains("a.png") && stderr.contains("1 of 2 samples"), "{stderr}");
    assert!(!out.exists());
}

#[test]
fn failures_say_what_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let silent = folder.path().join("silent.wav");
    let format =
        hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    hound::WavWriter::create(&silent, format).unwrap().finalize().unwrap();
    let speech = repository("models/digits-speech/digits-speech.onnx");
    let text = folder.path().join("text.onnx");
    fs::write(&text, "no model").unwrap();
    let bag = repository("models/fashion/samples/bag.png");
    let missing = folder.path().join("no/such/folder/out.npz");
    let cases: [(&[&dyn AsRef<std::ffi::OsStr>], i32, &str); 11] = [
        (&[&"run", &speech, &silent], 1, "no samples"),
        (&[&"run", &speech, &bag], 1, "it takes sound"),
        (&[&"run", &fashion(), &"nothing.png"], 1, "nothing.png: No such file"),
        (&[&"run", &fashion(), &bag, &"-o", &missing], 1, "out.npz cannot be written"),
        (&[&"run", &fashion(), &bag, &"--card", &"none.toml"], 1, "none.toml cannot be read"),
        (&[&"inspect", &text], 1, "not an ONNX model"),
        (&[&"inspect", &"nothing.cyg"], 1, "nothing.cyg: No such file"),
        (&[&"bench", &fashion(), &"--threads", &"0"], 2, "0 is not in 1..=256"),
        (&[&"run", &fashion(), &bag, &"--top", &"0"], 2, "--top"),
        (&[&"run", &fashion()], 2, "INPUT"),
        (&[], 2, "Usage"),
    ];
    for (arguments, status, expected) in cases {
        let (found, message) = failed(arguments);
        assert!(found == Some(status) && message.contains(expected), "{found:?} {message}");
    }
}

#[test]
fn unknown_kernels_are_refused_with_a_list() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    let run = |command: &mut Command, isa: &str| {
        let output = command.env("CYGNET_ISA", isa).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    command.args(["run".as_ref(), fashion().as_os_str(), repository("models/fashion/samples").as_os_str()]);
    let (status, message) = run(&mut command, "quantum");
    assert!(status == Some(1) && message.contains("CYGNET_ISA=quantum") && message.contains("portable"), "{message}");
    assert_eq!(run(&mut command, "portable"), (Some(0), String::new()));
}

#[test]
fn bench_measures_the_whole_and_the_steps() {
    let report = json(&[&"bench", &fashion(), &"--runs", &"5", &"--steps", &"--json"]);
    assert_eq!(report["runs"], 5);
    let ms = |key: &str| report[key].as_f64().unwrap();
    assert!(0.0 < ms("min_ms") && ms("min_ms") <= ms("median_ms") && ms("median_ms") <= ms("p95_ms"));
    let steps = report["steps"].as_array().unwrap();
    let share: f64 = steps.iter().map(|step| step["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9);
    // By hand: 28·28·24·9 + 14·14·48·9·24 + 7·7·64·9·48 + 96·576 + 10·96.
    assert_eq!(report["multiply_accumulates"], 3_612_480);
    let sum: u64 = steps.iter().map(|step| step["multiply_accumulates"].as_u64().unwrap()).sum();
    assert_eq!(sum, 3_612_480);
    let text = printed(&[&"bench", &fashion(), &"--runs", &"2", &"--steps"]);
    assert!(text.contains("median") && text.contains("ConvF32"), "{text}");
}

#[test]
fn inspect_shows_memory_steps_and_fallbacks() {
    let report = json(&[&"inspect", &fashion(), &"--json"]);
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!([1, 28, 28, 1]));
    assert_eq!((&report["labels"], &report["inputs"][0]["fed_with"]), (&10.into(), &"pictures".into()));
    let memory = &report["memory"];
    assert!(memory["arena_bytes"].as_u64() >= memory["live_bytes"].as_u64());
    let text = printed(&[&"inspect", &fashion()]);
    assert!(text.contains("arena (RAM)") && text.contains("Every step has a native kernel."), "{text}");

    let sine = repository("tests/golden/float/sin.onnx");
    let report = json(&[&"inspect", &sine, &"--json"]);
    assert!(report["steps"][0]["fallback"].as_str().unwrap().contains("no step"));
    assert!(printed(&[&"inspect", &sine]).contains("run through tract"));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    use std::io::Read;
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    command.args(["run".as_ref(), fashion().as_os_str(), repository("models/fashion/eval.npz").as_os_str()]);
    let pipe = std::process::Stdio::piped;
    let mut child = command.stdout(pipe()).stderr(pipe()).spawn().unwrap();
    let mut one = [0];
    child.stdout.take().unwrap().read_exact(&mut one).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
