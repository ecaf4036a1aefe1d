//! Texts that a model goes on with: the tokens that onnxruntime finds likeliest, see tests/golden/decoder.py.
#![cfg(all(feature = "onnx", feature = "text"))]

use std::path::Path;
use std::process::Command;

/// The words of the first tokens of `tests/golden/decoder/rotary.npz`, the prompt and what follows.
const PROMPT: &str = "the now eats green likes";
const FOLLOWS: &str = "cat [END] [END] [END] [END] was";

fn run(arguments: &[&str]) -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/decoder/rotary.onnx");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    command.arg("run").arg(model).args(arguments).env_remove("CYGNET_ISA").env_remove("RUST_LOG");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_text_goes_on_with_the_likeliest_tokens() {
    assert_eq!(run(&[PROMPT, "--tokens", "6"]), format!("{PROMPT} {FOLLOWS}\n"));
    let json: serde_json::Value = serde_json::from_str(&run(&[PROMPT, PROMPT, "--tokens", "6", "--json"])).unwrap();
    for written in 0..2 {
        assert_eq!((&json[written]["written"], &json[written]["tokens"]), (&FOLLOWS.into(), &6.into()));
    }
    // The cache ends: 24 tokens, 5 of them the prompt's, and the last that is written need not be read.
    let json: serde_json::Value = serde_json::from_str(&run(&[PROMPT, "--tokens", "100", "--json"])).unwrap();
    assert_eq!(json[0]["tokens"], 20);
}
