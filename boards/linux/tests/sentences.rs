//! Sentences as input, through a tokenizer and an embedder that are worked out by hand.
#![cfg(all(feature = "onnx", feature = "text"))]

use std::path::{Path, PathBuf};
use std::process::Command;

use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};

/// Four words, in small letters; others are unknown.
const TOKENIZER: &str = r#"{
    "version": "1.0",
    "truncation": null,
    "padding": null,
    "added_tokens": [],
    "normalizer": { "type": "Lowercase" },
    "pre_tokenizer": { "type": "Whitespace" },
    "post_processor": null,
    "decoder": null,
    "model": { "type": "WordLevel", "vocab": { "[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3 }, "unk_token": "[UNK]" }
}"#;

const CARD: &str = r#"
    name = "colours"
    task = "features"
    [input]
    kind = "text"
    tokenizer = "words.json"
"#;

/// The mean of the vectors of four tokens: nothing for padding and unknown words, (4, 0) for red, (0, 4) for green.
fn embedder(folder: &Path) -> PathBuf {
    let value = |name: &str, dtype, shape: &[usize]| {
        let shape = Some(shape.iter().map(|&extent| Dim::Known(extent)).collect());
        ValueInfo { name: name.into(), dtype, shape }
    };
    let mean = Node::new("ReduceMean", "mean", &["vectors"], &["features"]);
    let mut model = Model {
        ir_version: 8,
        opsets: [(String::new(), 17)].into(),
        nodes: vec![
            Node::new("Gather", "embeddings", &["table", "input_ids"], &["vectors"]).with("axis", Attribute::Int(0)),
            mean.with("axes", Attribute::Ints(vec![1])).with("keepdims", Attribute::Int(0)),
        ],
        inputs: vec![value("input_ids", DType::I64, &[1, 4])],
        outputs: vec![value("features", DType::F32, &[1, 2])],
        ..Model::default()
    };
    let table = [0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 4.0];
    model.initializers.insert("table".into(), Tensor::from_f32(vec![4, 2], &table));
    let path = folder.join("colours.onnx");
    model.write(&path).unwrap();
    std::fs::write(folder.join("colours.toml"), CARD).unwrap();
    std::fs::write(folder.join("words.json"), TOKENIZER).unwrap();
    path
}

/// Standard output and error of `cygnet run`.
fn run(model: &Path, inputs: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    command.arg("run").arg(model).args(inputs).env_remove("CYGNET_ISA").env_remove("RUST_LOG");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn a_sentence_becomes_features() {
    let folder = tempfile::tempdir().unwrap();
    let model = embedder(folder.path());
    let (text, errors) = run(&model, &["Red, RED green"]);
    // The comma is an unknown word: (4 + 4)/4 and 4/4, of red, comma, red and green.
    assert_eq!((&*text, &*errors), ("features 1×2 min 1.0000 max 2.0000 mean 1.5000: 2.0000 1.0000\n", ""));
    // A fifth word is beyond the end.
    let (text, _) = run(&model, &["red red red red green"]);
    assert_eq!(text, "features 1×2 min 0.0000 max 4.0000 mean 2.0000: 4.0000 0.0000\n");
}

#[test]
fn sentences_are_told_how_much_they_are_like_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let model = embedder(folder.path());
    let alike = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.ends_with("like the first")).map(str::to_string).collect()
    };
    let (text, errors) = run(&model, &["red", "red green", "green green"]);
    // The cosine of 45 degrees, and of 90.
    let expected = ["red green: 0.7071 like the first", "green green: 0.0000 like the first"];
    assert_eq!((alike(&text), &*errors), (expected.map(String::from).to_vec(), ""));
    let lines = folder.path().join("lines.txt");
    std::fs::write(&lines, "red\n\nred green\ngreen green\n").unwrap();
    assert_eq!(alike(&run(&model, &[lines.to_str().unwrap()]).0), expected);
}

#[test]
fn what_is_no_sentence_and_has_no_tokenizer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = embedder(folder.path());
    std::fs::remove_file(folder.path().join("words.json")).unwrap();
    let (_, errors) = run(&model, &["red"]);
    assert!(errors.contains("words.json") && errors.contains("the tokenizer cannot be used"), "{errors}");
    let card = "name = \"colours\"\ntask = \"features\"\n[input]\nkind = \"tensor\"\n";
    std::fs::write(folder.path().join("colours.toml"), card).unwrap();
    let (_, errors) = run(&model, &["red", "green"]);
    assert!(errors.contains("only texts may be several"), "{errors}");
}
