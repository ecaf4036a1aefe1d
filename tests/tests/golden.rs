//! Our answers beside onnxruntime's: see `golden/README.md` for how the vectors were made.

use std::path::Path;

use cygnet_onnx::model::{Model, Tensor};
use cygnet_tests::arrays::read_npz;
use cygnet_tests::run::compile_and_run;
use serde_json::Value;

/// What one case came to.
enum Verdict {
    Equal,
    Different(String),
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

/// Elements in steps of the output's scale where it has one.
fn steps(tensor: &Tensor, output: &Value) -> Vec<f64> {
    let values = tensor.to_f32s().expect("numbers");
    match number(output, "scale").filter(|_| output["type"] == "float32") {
        Some(scale) => values.iter().map(|&value| (f64::from(value) / scale).round()).collect(),
        None => values.iter().map(|&value| f64::from(value)).collect(),
    }
}

fn compare(case: &Value, folder: &Path) -> Verdict {
    let text = |key: &str| case[key].as_str().expect("a text").to_string();
    let model = match Model::read(&folder.join(text("model"))) {
        Ok(model) => model,
        Err(error) => return Verdict::Different(format!("reading: {error}")),
    };
    let arrays = read_npz(&folder.join(text("data")));
    let part = |prefix: &str| {
        arrays
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor.clone())))
            .collect()
    };
    let outcome = match compile_and_run(&model, &part("in.")) {
        Ok(outcome) => outcome,
        Err(error) => return Verdict::Different(error),
    };
    if !outcome.fallbacks.is_empty() && case["may_fall_back"] != true {
        return Verdict::Different(format!("fell back: {}", outcome.fallbacks.join(", ")));
    }
    let tolerance = &case["tolerance"];
    let class = tolerance["class"].as_str().expect("a class");
    let (mut total, mut off) = (0, 0);
    for output in case["outputs"].as_array().expect("outputs") {
        let name = output["name"].as_str().expect("a name");
        let expected = &arrays[&format!("out.{name}")];
        let Some(found) = outcome.outputs.get(name) else { return Verdict::Different(format!("no output {name}")) };
        if found.shape != expected.shape || found.dtype != expected.dtype {
            let shapes =
                format!("{} {:?} instead of {} {:?}", found.dtype, found.shape, expected.dtype, expected.shape);
            return Verdict::Different(shapes);
        }
        if class == "float" {
            let (atol, rtol) = (number(tolerance, "atol").expect("atol"), number(tolerance, "rtol").expect("rtol"));
            let (found, expected) = (found.to_f32s().expect("numbers"), expected.to_f32s().expect("numbers"));
            for (index, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                let (found, expected) = (f64::from(found), f64::from(expected));
                let same = found == expected || found.is_nan() && expected.is_nan();
                if !(same || (found - expected).abs() <= atol + rtol * expected.abs()) {
                    return Verdict::Different(format!("{name}[{index}] is {found} instead of {expected}"));
                }
            }
            continue;
        }
        let (found, expected) = (steps(found, output), steps(expected, output));
        total += found.len();
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let limit = if class == "exact" { 0.0 } else { number(tolerance, "max_step").unwrap_or(1.0) };
            if (found - expected).abs() > limit {
                return Verdict::Different(format!("{name}[{index}] is {found} instead of {expected} (in steps)"));
            }
            off += usize::from(found != expected);
        }
    }
    let allowed = number(tolerance, "max_fraction").unwrap_or(0.0) * total as f64;
    if class == "one-step" && off as f64 > allowed.max(2.0) {
        return Verdict::Different(format!("{off} of {total} elements are one step off"));
    }
    Verdict::Equal
}

fn family(name: &str) {
    family_of("cases.json", name);
}

fn family_of(list: &str, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let text = std::fs::read_to_string(folder.join(list)).expect("a list of cases");
    let cases: Value = serde_json::from_str(&text).expect("JSON");
    let cases = cases.as_array().or_else(|| cases["cases"].as_array()).expect("a list of cases");
    let mut failures = Vec::new();
    let mut count = 0;
    for case in cases.iter().filter(|case| case["family"] == name) {
        count += 1;
        if let Verdict::Different(reason) = compare(case, &folder) {
            failures.push(format!("  {}: {reason}", case["name"].as_str().unwrap_or("?")));
        }
    }
    assert!(count > 0, "there is no case of the family {name}");
    println!("{name}: {} of {count} cases agree with onnxruntime", count - failures.len());
    assert!(failures.is_empty(), "{} of {count} cases of {name} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn qdq_convolutions() {
    family("qdq_conv");
}

#[test]
fn qoperator_forms() {
    family("qlinear");
}

#[test]
fn other_quantized_operators() {
    family("qdq_other");
}

#[test]
fn weights_of_four_bits() {
    family("narrow");
}

#[test]
fn float_operators() {
    family("float");
}

#[test]
fn transformers() {
    family("transformer");
}

#[test]
fn whole_models_of_onnxruntimes_quantizer() {
    family("whole");
}

#[test]
fn int16_activations() {
    family_of("int16.json", "int16");
}

#[test]
fn forms_that_went_wrong_once() {
    family_of("regressions.json", "regressions");
}

#[test]
fn transposed_convolutions() {
    family_of("transposed.json", "transposed");
}

#[test]
fn recurrent_layers() {
    family_of("recurrent.json", "recurrent");
}
