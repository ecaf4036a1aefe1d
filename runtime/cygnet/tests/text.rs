//! Text in sound: what the samples of `digits-text` say, however the sound comes.
#![cfg(feature = "onnx")]

use std::path::{Path, PathBuf};

use cygnet::input::{DataSet, Sound, resampled};
use cygnet::{Model, Session, TextMemory, TextStream, Word};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits-text")
}

fn session() -> Session {
    Model::load(folder().join("digits-text.onnx")).unwrap().session_on(1).unwrap()
}

/// The samples, each named after what it says.
fn samples() -> Vec<(String, PathBuf)> {
    let files = std::fs::read_dir(folder().join("samples")).unwrap().map(|entry| entry.unwrap().path());
    let mut named: Vec<_> =
        files.map(|path| (path.file_stem().unwrap().to_str().unwrap().replace('-', " "), path)).collect();
    named.sort();
    named
}

fn text(words: &[Word]) -> String {
    words.iter().map(|word| &*word.text).collect::<Vec<_>>().join(" ")
}

/// What is told of sound that comes in pieces.
fn streamed(session: &mut Session, sound: &[i16], piece: usize) -> Vec<Word> {
    let mut memory = TextMemory::new(&session.model().clone()).unwrap().expect("the card tells text in sound");
    let mut stream = TextStream::new(session, &mut memory).unwrap();
    let mut words = Vec::new();
    for piece in sound.chunks(piece) {
        stream.push(piece, |word| words.push(word.clone())).unwrap();
    }
    stream.finish(|word| words.push(word.clone())).unwrap();
    words
}

#[test]
fn samples_are_written_down_as_they_were_said() {
    let mut session = session();
    let samples = samples();
    assert_eq!(samples.len(), 3);
    for (said, path) in samples {
        let sound = Sound::open(&path).unwrap();
        let words = session.words(&sound.samples, sound.rate).unwrap().unwrap();
        assert_eq!(text(&words), said);
        let seconds = sound.samples.len() as u64 * 8000 / u64::from(sound.rate);
        for pair in words.windows(2) {
            assert!(pair[0].end <= pair[1].begin && pair[0].heard <= pair[1].heard, "{said}: {pair:?}");
        }
        for word in &words {
            assert!(word.begin < word.end && word.end <= word.heard && word.heard <= seconds + 1, "{said}: {word:?}");
            assert!((0.3..=1.0).contains(&word.score), "{said}: {word:?}");
        }
    }
}

#[test]
fn pieces_tell_what_the_whole_tells() {
    let mut session = session();
    for (said, path) in samples() {
        let sound = Sound::open(&path).unwrap();
        let at_the_models_rate = resampled(&sound.samples, sound.rate, 8000).unwrap();
        let whole = session.words(&sound.samples, sound.rate).unwrap().unwrap();
        for piece in [1, 333, 1024, 4097] {
            assert_eq!(streamed(&mut session, &at_the_models_rate, piece), whole, "{said}, pieces of {piece}");
        }
    }
}

#[test]
fn recordings_are_sequences_of_runs_for_calibration() {
    let session = session();
    let card = session.model().card().unwrap();
    let set = DataSet::open(&folder().join("samples"), Some(card), session.model().inputs()).unwrap();
    let starts = set.samples().filter(|sample| sample.as_ref().unwrap().starts).count();
    assert_eq!(starts, samples().len());
    // Of each recording as many runs as its samples and half a second of silence fill.
    let runs = |path: &PathBuf| {
        let sound = Sound::open(path).unwrap();
        (resampled(&sound.samples, sound.rate, 8000).unwrap().len() + 4000).div_ceil(1024)
    };
    assert_eq!(set.len(), samples().iter().map(|(_, path)| runs(path)).sum::<usize>());
    let first = set.sample(0).unwrap();
    assert_eq!((first.inputs[0].len(), first.inputs[1].len()), (13 * 40, 0));
}
