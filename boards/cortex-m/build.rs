//! Gives the linker the board's memory map, and the program its plan and input.

use std::path::Path;
use std::{env, fs};

/// The boards, by feature.
const BOARDS: [&str; 5] = ["microbit", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"];

fn main() {
    let chosen = |board: &&&str| env::var(format!("CARGO_FEATURE_{}", board.to_uppercase().replace('-', "_"))).is_ok();
    let boards: Vec<_> = BOARDS.iter().filter(chosen).collect();
    let [board] = boards[..] else {
        panic!("choose one board: --features {}", BOARDS.join(" or --features "));
    };
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out);
    let map = format!("memory/{board}.x");
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{map}: {error}"));
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-env=BOARD={board}");
    println!("cargo:rerun-if-changed=memory");

    let embedded = [
        ("CYGNET_PLAN", "plan.cyg", "a plan: quantize compile MODEL.onnx --board NAME"),
        ("CYGNET_INPUT", "input.bin", "the plan's first input as it lies in the arena: cygnet run … --save-input FILE"),
    ];
    for (variable, file, what) in embedded {
        println!("cargo:rerun-if-env-changed={variable}");
        let from = env::var(variable).unwrap_or_else(|_| panic!("set {variable} to the path of {what}"));
        println!("cargo:rerun-if-changed={from}");
        fs::copy(&from, out.join(file)).unwrap_or_else(|error| panic!("{variable}={from}: {error}"));
    }
}
