//! Voice activity: probabilities as onnxruntime computes them, segments by the rules of Silero VAD; see golden/voice.py.

use std::path::{Path, PathBuf};

use cygnet::input::Sound;
use cygnet::sense::speech::{Segment, SpeechDetector, SpeechSpec};
use cygnet::{Model, SpeechMemory, SpeechStream};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    words: Vec<String>,
    gap: usize,
    probabilities: Vec<f32>,
    segments: Vec<[u64; 2]>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// Hop, threshold, release, least speech, least silence, padding.
    rule: (u32, f32, f32, u32, u32, u32),
    /// Samples of the sound.
    count: u64,
    values: Vec<f32>,
    segments: Vec<[u64; 2]>,
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(repository("tests/golden/voice.json")).unwrap()).unwrap()
}

/// The samples that the script takes, one behind the other.
fn sound(golden: &Golden) -> Vec<i16> {
    let silence = vec![0; golden.gap];
    let mut samples = Vec::new();
    for word in &golden.words {
        samples.extend_from_slice(&silence);
        let path = repository(&format!("models/digits-speech/samples/{word}.wav"));
        samples.extend(Sound::open(&path).unwrap().samples);
    }
    samples.extend_from_slice(&silence);
    samples
}

fn places(segments: impl IntoIterator<Item = Segment>) -> Vec<[u64; 2]> {
    segments.into_iter().map(|segment| [segment.begin, segment.end]).collect()
}

/// Probabilities and segments of a sound that comes in pieces.
fn streamed(model: &Model, samples: &[i16], piece: usize) -> (Vec<f32>, Vec<Segment>) {
    let mut session = model.session_on(1).unwrap();
    let mut memory = SpeechMemory::new(model).unwrap().expect("the card tells speech");
    let mut stream = SpeechStream::new(&mut session, &mut memory).unwrap();
    let (mut probabilities, mut segments) = (Vec::new(), Vec::new());
    let mut told = |spoken: cygnet::Spoken| {
        probabilities.push(spoken.probability);
        segments.extend(spoken.segment);
    };
    for piece in samples.chunks(piece) {
        stream.push(piece, &mut told).unwrap();
    }
    let last = stream.finish(&mut told).unwrap();
    segments.extend(last);
    (probabilities, segments)
}

#[test]
fn segments_follow_the_published_rules() {
    let golden = golden();
    let mut wrong = Vec::new();
    for (number, case) in golden.cases.iter().enumerate() {
        let (hop, threshold, release, least_speech, least_silence, padding) = case.rule;
        let spec = SpeechSpec { threshold, release, hop, least_speech, least_silence, padding };
        let mut detector = SpeechDetector::new(&spec).unwrap();
        let mut found: Vec<Segment> = case.values.iter().filter_map(|&value| detector.push(value)).collect();
        found.extend(detector.finish(case.count));
        if places(found.iter().copied()) != case.segments {
            wrong.push((number, places(found)));
        }
    }
    assert!(golden.cases.iter().any(|case| case.segments.len() > 10));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_model_tells_speech_as_onnxruntime_does() {
    let golden = golden();
    let model = Model::load(repository("tests/golden/voice/voice.onnx")).unwrap();
    let samples = sound(&golden);
    let (probabilities, segments) = streamed(&model, &samples, samples.len());
    assert_eq!(probabilities.len(), golden.probabilities.len());
    for (frame, (found, wanted)) in probabilities.iter().zip(&golden.probabilities).enumerate() {
        assert!((found - wanted).abs() < 1e-5, "frame {frame}: {found}, onnxruntime {wanted}");
    }
    assert_eq!(places(segments), golden.segments);
    let at_once = model.session_on(1).unwrap().speech(&samples, 8000).unwrap();
    assert_eq!(at_once.map(places), Some(golden.segments));
}

#[test]
fn pieces_tell_what_the_whole_tells() {
    let golden = golden();
    let model = Model::load(repository("tests/golden/voice/voice.onnx")).unwrap();
    // The last word is cut off.
    let samples = sound(&golden);
    let samples = &samples[..samples.len() - 12_000];
    let whole = streamed(&model, samples, samples.len());
    assert_eq!(whole.1.last().map(|segment| segment.end), Some(samples.len() as u64));
    for piece in [1, 7, 256, 257, 4097] {
        assert_eq!(streamed(&model, samples, piece), whole, "pieces of {piece}");
    }
}
