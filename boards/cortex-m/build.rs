//! Gives the linker the board's memory map, and the program its plan and input.

use std::path::Path;
use std::{env, fs};

/// QEMU's boards, by feature.
const EMULATED: [&str; 5] = ["microbit", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"];
/// The boards on a desk.
const ON_DESK: [&str; 3] = ["pico2", "nucleo-f446re", "nrf52840-dk"];

fn main() {
    let boards = [&EMULATED[..], &ON_DESK].concat();
    let chosen: Vec<_> = boards.iter().filter(|board| has(board)).collect();
    let [board] = chosen[..] else {
        panic!("choose one board: --features {}", boards.join(" or --features "));
    };
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let out = Path::new(&out);
    let map = format!("memory/{board}.x");
    let mut memory = fs::read_to_string(&map).unwrap_or_else(|error| panic!("{map}: {error}"));
    // For images that are looked at, not run: the whole engine is more than a small board holds.
    println!("cargo:rerun-if-env-changed=CYGNET_FLASH");
    if let Ok(flash) = env::var("CYGNET_FLASH") {
        let other = |line: &str| match line.split_once("LENGTH = ") {
            Some((start, _)) if line.contains("FLASH :") => format!("{start}LENGTH = {flash}\n"),
            _ => format!("{line}\n"),
        };
        memory = memory.lines().map(other).collect();
    }
    fs::write(out.join("memory.x"), memory).expect("cargo's folder can be written");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-env=BOARD={board}");
    println!("cargo:rerun-if-changed=memory");

    let plan = "a plan: quantize compile MODEL.onnx --board NAME";
    let input = "the plan's first input as it lies in the arena: cygnet run … --save-input FILE";
    let sound = "a recording: signed 16-bit samples, little-endian, mono, at the plan's rate";
    embed("CYGNET_PLAN", plan, &out.join("plan.cyg"));
    let with_input = embed("CYGNET_INPUT", input, &out.join("input.bin"));
    if !with_input {
        fs::write(out.join("input.bin"), []).expect("cargo's folder can be written");
    }
    let recorded = embed("CYGNET_SOUND", sound, &out.join("sound.pcm"));
    let frames = "pictures: raw grey or RGB pixels of the plan's size, one picture behind the other";
    let pictured = embed("CYGNET_FRAMES", frames, &out.join("frames.raw"));
    let on_desk = ON_DESK.contains(board);
    assert!(recorded || !has("played"), "--features played: set CYGNET_SOUND to {sound}");
    assert!(!on_desk || !has("played"), "--features played: {board} has a microphone of its own");
    // The board is made of chips; these are built in; an interrupt samples a microphone.
    let sampled = has("played") || on_desk && !recorded;
    let facts = [
        ("on_desk", on_desk),
        ("embedded_input", with_input),
        ("recorded_frames", pictured),
        ("recorded_sound", recorded),
        ("sampled", sampled),
    ];
    for (name, holds) in facts {
        println!("cargo:rustc-check-cfg=cfg({name})");
        if holds {
            println!("cargo:rustc-cfg={name}");
        }
    }
}

/// Whether a feature is asked for.
fn has(feature: &str) -> bool {
    env::var_os(format!("CARGO_FEATURE_{}", feature.to_uppercase().replace('-', "_"))).is_some()
}

/// Copies the file that a variable names to where the program includes it; tells whether the variable is set. Each
/// program needs the plan, and says itself what else it needs.
fn embed(variable: &str, what: &str, to: &Path) -> bool {
    println!("cargo:rerun-if-env-changed={variable}");
    let Ok(from) = env::var(variable) else {
        assert!(variable != "CYGNET_PLAN", "set {variable} to the path of {what}");
        return false;
    };
    println!("cargo:rerun-if-changed={from}");
    fs::copy(&from, to).unwrap_or_else(|error| panic!("{variable}={from}: {error}: it is {what}"));
    true
}
