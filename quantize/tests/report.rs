//! The report as the program writes it: what the page shows is what the JSON says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use quantize::report::numbers::{grouped, percent};
use serde_json::Value;
use tempfile::TempDir;

/// The JSON and the page for a model and its data.
fn made(arguments: &[&Path]) -> (Value, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_quantize"))
        .current_dir(folder.path())
        .args(arguments)
        .args(["-o", "out.onnx", "--report", "out.html", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let page = fs::read_to_string(folder.path().join("out.html")).unwrap();
    (summary, page, folder)
}

fn bundled(name: &str, file: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name).join(file);
    root.canonicalize().unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn the_page_shows_what_the_json_says() {
    let (model, calib, eval) =
        (bundled("fashion", "fashion.onnx"), bundled("fashion", "calib.npz"), bundled("fashion", "eval.npz"));
    // Rough, so that some answers change.
    let rough =
        ["--effort", "fast", "--outputs", "int8", "--ranges", "percentile", "--percentile", "98"].map(Path::new);
    let data = [&*model, Path::new("--calib"), &calib, Path::new("--eval"), &eval];
    let (summary, page, folder) = made(&[&data[..], &rough[..]].concat());
    let report = &summary["report"];
    for number in
        [&report["size"]["float_bytes"], &report["size"]["int8_bytes"], &report["memory"]["arena_bytes"]].map(number)
    {
        assert!(page.contains(&grouped(number)), "{number}");
    }
    assert_eq!(report["size"]["int8_bytes"], fs::metadata(folder.path().join("out.onnx")).unwrap().len());
    assert_eq!(report["size"]["int8_bytes"], summary["int8_bytes"]);
    let measures = report["quality"]["measures"].as_array().unwrap();
    let measure = |name: &str| measures.iter().find(|measure| measure["name"] == name).unwrap();
    for share in [&measure("top-1")["float"], &measure("top-1")["int8"], &measure("same answer")["int8"]] {
        for part in ["value", "low", "high"] {
            assert!(page.contains(&percent(share[part].as_f64().unwrap())), "{share}");
        }
    }
    assert_eq!(measure("top-1")["int8"]["value"], summary["accuracy"]["int8_top1"]);
    assert_eq!(measure("same answer")["int8"]["value"], summary["accuracy"]["agreement"]);

    // The comparison finds as many changed answers as the evaluation did.
    let flips = &report["flips"];
    let changed = ["lost", "won", "other"].map(|kind| number(&flips[kind])).iter().sum::<usize>();
    assert_eq!(changed, number(&summary["accuracy"]["samples"]) - number(&summary["accuracy"]["agree"]));
    assert!(changed > 0);
    assert_eq!(flips["shown"].as_array().unwrap().len(), changed.min(8));
    let won = number(&flips["won"]) as i64 - number(&flips["lost"]) as i64;
    let right = |kind: &str| number(&summary["accuracy"][kind]) as i64;
    assert_eq!(won, right("int8_right") - right("float_right"));

    let hash = Command::new("sha256sum").arg(&model).output();
    if let Ok(output) = hash.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) {
        let hash = report["origin"]["model"]["sha256"].as_str().unwrap();
        assert!(output.starts_with(hash) && page.contains(hash), "{output} {hash}");
    }
}

#[test]
fn layers_are_those_of_the_model() {
    let (model, calib) = (bundled("fashion", "fashion.onnx"), bundled("fashion", "calib.npz"));
    let (summary, page, _) = made(&[&model, Path::new("--calib"), &calib]);
    let layers = summary["report"]["layers"].as_array().unwrap();
    // The model's card: three convolutions, two dense layers; behind them all a softmax, before them the picture.
    let operators: Vec<&str> = layers.iter().map(|layer| layer["operator"].as_str().unwrap()).collect();
    assert_eq!(operators, ["input", "Conv, Relu", "Conv, Relu", "Conv, Relu", "Gemm, Relu", "Gemm", "Softmax"]);
    let weights: usize = layers.iter().filter(|layer| !layer["weights"].is_null()).count();
    assert_eq!(weights, number(&summary["layers"]));
    for layer in layers.iter().filter(|layer| !layer["weights"].is_null()) {
        let counts = layer["weights"]["values"]["counts"].as_array().unwrap().iter().map(number).sum::<usize>();
        let shape = layer["weights"]["shape"].as_array().unwrap().iter().map(number).product::<usize>();
        assert_eq!(counts, shape, "{}", layer["node"]);
        assert!(layer["weights"]["decibels"].as_f64().unwrap() > 30.0, "{}", layer["node"]);
    }
    // Pixels from 0 to 1 on 256 levels; calibration saw 120 pictures of 28 × 28.
    assert_eq!(layers[0]["range"], serde_json::json!([0.0, 1.0]));
    assert_eq!(layers[0]["values"]["counts"].as_array().unwrap().iter().map(number).sum::<usize>(), 120 * 28 * 28);
    // Without labelled samples there is no accuracy, and nothing that changed.
    assert!(summary["report"]["flips"].is_null() && !page.contains("id=\"flips\""));
    assert!(page.contains("accuracy is not known"));
}

#[test]
fn sound_is_shown_too() {
    let model = bundled("digits-tiny", "digits-tiny.onnx");
    let data = bundled("digits-speech", "eval.npz");
    let (summary, page, _) = made(&[
        &*model,
        Path::new("--calib"),
        &data,
        Path::new("--eval"),
        &data,
        Path::new("--effort"),
        Path::new("fast"),
        Path::new("--ranges"),
        Path::new("percentile"),
        Path::new("--percentile"),
        Path::new("95"),
    ]);
    let flips = &summary["report"]["flips"];
    assert_eq!(number(&flips["samples"]), 510);
    assert!(!flips["shown"].as_array().unwrap().is_empty());
    for flip in flips["shown"].as_array().unwrap() {
        // 61 frames to the right, 40 bands upwards.
        let preview = &flip["preview"];
        assert_eq!(
            (&preview["kind"], number(&preview["width"]), number(&preview["height"])),
            (&"spectrogram".into(), 61, 40)
        );
        assert!(preview["image"].as_str().unwrap().starts_with("data:image/png;base64,"));
        assert!(page.contains(flip["float"]["answer"].as_str().unwrap()));
        for model in ["float", "int8"] {
            assert_eq!(flip[model]["map"]["drops"].as_array().unwrap().len(), 24 * 24);
        }
    }
}

#[test]
fn a_small_network_without_card_gets_a_report() {
    let (summary, page, _) = made(&[&golden("network.onnx"), Path::new("--calib"), &golden("samples.npz")]);
    assert_eq!(number(&summary["report"]["origin"]["calibration"]["samples"]), 16);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
}
