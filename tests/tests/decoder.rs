//! Decoders that keep keys and values: the logits that onnxruntime gives as the past grows, see golden/decoder.py.

use std::path::{Path, PathBuf};

use cygnet::input::read_arrays;
use cygnet::{Card, Model, Session};

const NAMES: [&str; 2] = ["rotary", "learned"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/decoder").join(name)
}

/// What onnxruntime made of a model.
struct Golden {
    tokens: Vec<i64>,
    /// A row for each token but the last.
    logits: Vec<Vec<f32>>,
    /// The same where each token sees the last eight only.
    windowed: Vec<Vec<f32>>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let arrays = read_arrays(&golden(&format!("{name}.npz"))).unwrap();
        let array = |name: &str| arrays.iter().find(|array| array.name == name);
        let rows = |name: &str| match array(name) {
            Some(array) => (0..array.shape[0]).map(|row| array.to_f32s(row * array.shape[1], array.shape[1])).collect(),
            None => Vec::new(),
        };
        let tokens = array("tokens").unwrap();
        Self {
            tokens: tokens.to_f32s(0, tokens.len()).iter().map(|&token| token as i64).collect(),
            logits: rows("logits"),
            windowed: rows("windowed"),
        }
    }
}

/// A model with another card.
fn model(name: &str, tables: &str) -> Model {
    let card = format!("name = \"{name}\"\ntask = \"generation\"\n{tables}\n[input]\nkind = \"tensor\"");
    Model::load_with_card(golden(&format!("{name}.onnx")), Card::parse(&card).unwrap()).unwrap()
}

/// Runs once; gives the logits of all tokens of the run.
fn logits(session: &mut Session, tokens: &[i64]) -> Result<Vec<f32>, cygnet::Error> {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    session.set_bytes("input_ids", &bytes)?;
    session.run()?;
    let mut values = Vec::new();
    session.output_f32("logits", &mut values)?;
    Ok(values)
}

fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-5 + 1e-5 * expected.abs(), "{what}: {got} for {expected}");
    }
}

fn best(logits: &[f32]) -> i64 {
    let place = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    place.map_or(-1, |(place, _)| place as i64)
}

#[test]
fn tokens_one_by_one_are_those_of_onnxruntime() {
    for name in NAMES {
        let expected = Golden::read(name);
        let model = Model::load(golden(&format!("{name}.onnx"))).unwrap();
        let fallen = model.plan().steps().any(|record| record.step.needs_host());
        assert!(!fallen, "{name}");
        let mut session = model.session_on(1).unwrap();
        let mut first = Vec::new();
        for round in 0..2 {
            for (place, row) in expected.logits.iter().enumerate() {
                let got = logits(&mut session, &expected.tokens[place..=place]).unwrap();
                assert_near(&got, row, &format!("{name} at {place}"));
                if place >= 5 {
                    assert_eq!(best(&got), expected.tokens[place + 1], "{name} at {place}");
                }
                if round == 0 {
                    first.push(got);
                } else {
                    assert_eq!(first[place], got, "{name} begun anew");
                }
            }
            session.reset().unwrap();
        }
    }
}

#[test]
fn a_full_cache_is_told_and_can_be_rewound() {
    let expected = Golden::read("learned");
    let model = model("learned", "[cache]\nlength = 6");
    let mut session = model.session_on(1).unwrap();
    for place in 0..6 {
        logits(&mut session, &expected.tokens[place..=place]).unwrap();
    }
    let refused = logits(&mut session, &expected.tokens[6..7]).unwrap_err().to_string();
    assert!(refused.contains("can keep 6 tokens"), "{refused}");
    session.rewind(3).unwrap();
    assert_eq!(session.position().unwrap(), 3);
    for place in 3..6 {
        let got = logits(&mut session, &expected.tokens[place..=place]).unwrap();
        assert_near(&got, &expected.logits[place], &format!("again at {place}"));
    }
}

#[test]
fn several_tokens_of_a_run_are_as_one_by_one() {
    for name in NAMES {
        let expected = Golden::read(name);
        let model = model(name, "[cache]\nlength = 24\n[dims]\nsequence = 4");
        let mut session = model.session_on(1).unwrap();
        // The last run has three tokens and one that only fills it up.
        for place in (0..23).step_by(4) {
            let count = 4.min(23 - place);
            let mut run = expected.tokens[place..place + count].to_vec();
            run.resize(4, 0);
            let got = logits(&mut session, &run).unwrap();
            session.rewind((4 - count) as u64).unwrap();
            for (row, got) in got.chunks(got.len() / 4).take(count).enumerate() {
                assert_near(got, &expected.logits[place + row], &format!("{name} at {}", place + row));
            }
        }
        assert_eq!(session.position().unwrap(), 23);
    }
}

#[test]
fn the_oldest_make_room_where_the_card_says_so() {
    let expected = Golden::read("rotary");
    let model = model("rotary", "[cache]\nlength = 8\nslides = true");
    let mut session = model.session_on(1).unwrap();
    for (place, row) in expected.windowed.iter().enumerate() {
        let got = logits(&mut session, &expected.tokens[place..=place]).unwrap();
        assert_near(&got, row, &format!("at {place}"));
    }
    assert_eq!(session.position().unwrap(), 23);
}

#[test]
fn a_model_without_a_length_says_how_to_give_it() {
    let card = Card::parse("name = \"rotary\"\ntask = \"generation\"\n[input]\nkind = \"tensor\"").unwrap();
    let refused = Model::load_with_card(golden("rotary.onnx"), card).unwrap_err().to_string();
    assert!(refused.contains("[cache]") && refused.contains("past_key_values.0.key"), "{refused}");
}

#[test]
fn attention_is_one_step_however_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/transformer");
    for name in ["heads", "padding", "causal", "scale_of_shape", "filled", "where", "triangle"] {
        let model = Model::load(folder.join(format!("attention_{name}.onnx"))).unwrap();
        let count = model.plan().steps().filter(|record| record.step.kind() == "Attention").count();
        let fallen = model.plan().steps().filter(|record| record.step.needs_host()).count();
        assert_eq!((count, fallen), (1, 0), "{name}");
    }
}
