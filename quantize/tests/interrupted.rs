//! Ctrl-C, a killed process and a full disk: outputs are whole, or as they were before.
#![cfg(unix)]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cygnet::input::{Array, ElementType};
use cygnet::output::write_npz;
use quantize::random::Random;
use tempfile::TempDir;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
/// Moments at which a run is disturbed.
const MOMENTS: u32 = 8;

/// A folder with the small network and enough samples that it takes a while.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/network.onnx");
        fs::copy(golden, folder.path().join("network.onnx")).unwrap();
        let (samples, mut random) = (1500, Random::new(5));
        let data = (0..samples * 3 * 144).flat_map(|_| (random.normal() as f32).to_le_bytes()).collect();
        let x = Array { name: "x".into(), dtype: ElementType::F32, shape: vec![samples, 3, 12, 12], data };
        write_npz(&folder.path().join("samples.npz"), &[x]).unwrap();
        Bench(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, before: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_quantize");
        let words: Vec<&str> = before.iter().copied().chain([program]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["network.onnx", "--calib", "samples.npz", "--eval", "samples.npz"]);
        command.args(["--effort", "fast", "-o", "out.onnx", "--plan", "out.cyg"]);
        command.current_dir(self.0.path()).env_remove("RUST_LOG").stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self) -> Child {
        self.command(&[]).spawn().unwrap()
    }

    /// Both outputs, where they are there.
    fn outputs(&self) -> [Option<Vec<u8>>; 2] {
        ["out.onnx", "out.cyg"].map(|name| fs::read(self.path(name)).ok())
    }

    fn remove_outputs(&self) {
        for name in ["out.onnx", "out.cyg"] {
            let _ = fs::remove_file(self.path(name));
        }
    }

    /// What lies in the folder beside inputs and outputs.
    fn left_behind(&self) -> Vec<String> {
        let expected = ["network.onnx", "samples.npz", "out.onnx", "out.cyg", "kept"];
        let names = fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !expected.contains(&name.as_str())).collect()
    }

    /// Runs undisturbed: the outputs, and how long it takes.
    fn whole(&self) -> ([Option<Vec<u8>>; 2], Duration) {
        let start = Instant::now();
        let output = self.start().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (self.outputs(), start.elapsed())
    }
}

/// Sends `signal` to the child after `delay` and waits for its end.
fn disturb(mut child: Child, signal: i32, delay: Duration) -> ExitStatus {
    std::thread::sleep(delay);
    if child.try_wait().unwrap().is_none() {
        let mut kill = Command::new("kill");
        kill.args([format!("-{signal}"), child.id().to_string()]).stderr(Stdio::null()).status().unwrap();
    }
    child.wait().unwrap()
}

#[test]
fn at_any_moment_ctrl_c_leaves_whole_files_or_none() {
    let bench = Bench::new();
    let (expected, time) = bench.whole();
    for moment in 0..MOMENTS {
        bench.remove_outputs();
        let status = disturb(bench.start(), SIGINT, time * moment / MOMENTS);
        let outputs = bench.outputs();
        match (status.code(), status.signal()) {
            (Some(0), _) => assert_eq!(outputs, expected, "moment {moment}"),
            // Before the program watches for it, the signal ends it as it ends any other.
            (Some(130), _) | (None, Some(SIGINT)) => assert_eq!(outputs, [None, None], "moment {moment}"),
            _ => panic!("moment {moment}: {status}"),
        }
        assert_eq!(bench.left_behind(), [""; 0], "moment {moment}");
    }
}

#[test]
fn the_cache_stays_usable() {
    let bench = Bench::new();
    let cached = || {
        let mut command = bench.command(&[]);
        command.args(["--cache", "kept"]);
        command
    };
    let (expected, time) = bench.whole();
    let files = || {
        let entries = fs::read_dir(bench.path("kept")).map(|entries| entries.map(|e| e.unwrap().path()).collect());
        entries.unwrap_or_else(|_| Vec::<PathBuf>::new())
    };
    for moment in 0..2 * MOMENTS {
        let signal = if moment % 2 == 0 { SIGINT } else { SIGKILL };
        disturb(cached().spawn().unwrap(), signal, time * (moment / 2) / MOMENTS);
        let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
        let left: Vec<PathBuf> = files().into_iter().filter(hidden).collect();
        assert!(signal == SIGKILL || left.is_empty(), "moment {moment}: {left:?}");
        left.iter().for_each(|path| fs::remove_file(path).unwrap());
        if moment % 4 > 1 {
            // Go on from what is there.
            let output = cached().output().unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && !message.contains("damaged"), "moment {moment}: {message}");
            assert_eq!(bench.outputs(), expected, "moment {moment}");
            files().iter().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
}

#[test]
fn a_killed_process_leaves_no_half_file() {
    let bench = Bench::new();
    let (expected, time) = bench.whole();
    for moment in 0..MOMENTS {
        bench.remove_outputs();
        disturb(bench.start(), SIGKILL, time * moment / MOMENTS);
        for (output, expected) in bench.outputs().iter().zip(&expected) {
            assert!(output.is_none() || output == expected, "moment {moment}: half a file");
        }
        for name in bench.left_behind() {
            assert!(name.starts_with(".cygnet-"), "moment {moment}: {name}");
            fs::remove_file(bench.path(&name)).unwrap();
        }
    }
    // What was there before stays, or is replaced as a whole.
    fs::write(bench.path("out.onnx"), "old").unwrap();
    disturb(bench.start(), SIGKILL, time / 2);
    let output = bench.outputs()[0].clone();
    assert!(output.as_deref() == Some(b"old") || output == expected[0]);
}

#[test]
fn where_one_output_does_not_fit_none_appears() {
    let bench = Bench::new();
    let (whole, _) = bench.whole();
    let sizes = whole.map(|bytes| bytes.unwrap().len());
    for name in ["out.onnx", "out.cyg"] {
        fs::write(bench.path(name), "old").unwrap();
    }
    // Limits in blocks of 512 bytes: beneath both files, and between them.
    let between = sizes[0].min(sizes[1]).div_ceil(512);
    assert!(between * 512 < sizes[0].max(sizes[1]), "{sizes:?}");
    let larger = if sizes[0] > sizes[1] { "out.onnx" } else { "out.cyg" };
    for (blocks, named) in [(1, "out.onnx"), (between, larger)] {
        let limit = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let output = bench.command(&["sh", "-c", &limit]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in [named, "cannot be written", "raise the limit", "bytes"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(bench.outputs(), [Some(b"old".to_vec()), Some(b"old".to_vec())]);
        assert_eq!(bench.left_behind(), [""; 0]);
    }
}
