//! A session allocates nothing while it runs, and ten minutes of sound in pieces are heard as the whole is.
#![cfg(feature = "onnx")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cygnet::input::{Sound, resampled};
use cygnet::sense::{Change, EventDetector, EventSpec, FeatureWindows, Output};
use cygnet::{Model, Session, SpeechMemory, SpeechStream};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// Held by the test that counts.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn running_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/whole");
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/objects/objects.onnx");
    for name in ["mobile_qdq_uint8.onnx", "shuffle_qdq_int8_per_channel.onnx"]
        .map(|name| golden.join(name))
        .iter()
        .chain([&objects])
    {
        let model = Model::load(name).unwrap();
        for threads in [1, 2, 3] {
            let mut session = model.session_on(threads).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let done = (0..3).try_for_each(|_| session.run());
            let after = ALLOCATIONS.load(Ordering::Relaxed);
            done.unwrap();
            assert_eq!(after - before, 0, "{} on {threads} threads", name.display());
        }
    }
}

#[test]
fn a_decoder_allocates_nothing_for_a_token() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for name in ["rotary", "learned"] {
        let model = Model::load(repository(&format!("tests/golden/decoder/{name}.onnx"))).unwrap();
        let mut session = model.session_on(1).unwrap();
        let input = session.input_index("input_ids").unwrap();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let done = (2..20_i64).try_for_each(|token| {
            session.set_bytes(input, &token.to_le_bytes())?;
            session.run()
        });
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        done.unwrap();
        assert_eq!((after - before, session.position().unwrap()), (0, 18), "{name}");
    }
}

const RATE: u32 = 8000;
/// Samples of a round, about a minute: whole windows and frames of both models.
const ROUND: usize = 469 * 1024;
const ROUNDS: usize = 10;
/// Samples from one window of the keyword model to the next.
const STEP: usize = 1024;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Ten times the same minute: silence, words, tones and noise, the same in each run.
fn ten_minutes() -> Vec<i16> {
    let mut round = Vec::new();
    let mut state = 7_u64;
    let words = ["zero", "one", "three", "four", "five", "seven", "nine"];
    for (number, word) in words.iter().cycle().enumerate() {
        round.resize(round.len() + 6000, 0);
        let sound = Sound::open(&repository(&format!("models/digits-speech/samples/{word}.wav"))).unwrap();
        round.extend_from_slice(&resampled(&sound.samples, sound.rate, RATE).unwrap());
        round.resize(round.len() + 6000, 0);
        let step = 0.05 * (1 + number % 9) as f32;
        round.extend((0..4000).map(|n| ((step * n as f32).sin() * 6000.0) as i16));
        round.extend((0..8000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 48) as i16 / 64
        }));
        if round.len() >= ROUND {
            break;
        }
    }
    round.truncate(ROUND);
    round.repeat(ROUNDS)
}

/// Pieces of 1 to 8192 samples, more than a thousand, the same in each run.
fn pieces(mut sound: &[i16]) -> Vec<&[i16]> {
    let (mut pieces, mut state) = (Vec::new(), 3_u64);
    while !sound.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (piece, rest) = sound.split_at((1 + (state >> 51) as usize).min(sound.len()));
        pieces.push(piece);
        sound = rest;
    }
    assert!(pieces.len() > 1000);
    pieces
}

/// What a keyword model has heard.
#[derive(PartialEq)]
struct Words {
    scores: Vec<f32>,
    /// Class, first and last window.
    events: Vec<(usize, u64, u64)>,
}

/// Hears the pieces with a keyword model. From the second piece on nothing is allocated.
fn words(model: &Model, pieces: &[&[i16]], count: usize) -> Words {
    let mut session = model.session_on(1).unwrap();
    let (input, spec) = model.sound_input().unwrap();
    let rule = EventSpec { threshold: 0.5, release: 0.25, average: 3, hold: 4 };
    let classes = model.labels().len();
    let mut room = vec![0.0; FeatureWindows::scratch_len(spec)];
    let mut means = vec![0.0; EventDetector::scratch_len(&rule, classes)];
    let (mut tensor, mut probabilities) = (vec![0.0; spec.tensor_len()], vec![0.0; classes]);
    let silence = [classes - 1];
    let mut windows = FeatureWindows::new(spec, STEP / spec.hop as usize, &mut room).unwrap();
    let mut detector = EventDetector::new(&rule, classes, &silence, &mut means).unwrap();
    let mut heard = Words { scores: Vec::with_capacity(count / STEP * classes), events: Vec::with_capacity(1000) };
    let mut before = 0;
    for (number, piece) in pieces.iter().enumerate() {
        if number == 1 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        windows.push(piece, |window| {
            window.write(&mut Output::F32(&mut tensor));
            session.set_f32(input, &tensor).unwrap();
            session.run().unwrap();
            session.probabilities(&mut probabilities).unwrap();
            heard.scores.extend_from_slice(&probabilities);
            detector.push(&probabilities, |change| {
                if let Change::Ended(event) = change {
                    heard.events.push((event.class, event.first, event.last));
                }
            });
        });
    }
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(pieces.len() == 1 || allocated == 0, "{allocated} allocations");
    heard
}

/// What a recurrent model has heard: the probability of each frame, segments, and its state in the end.
#[derive(PartialEq)]
struct Speech {
    probabilities: Vec<f32>,
    segments: Vec<(u64, u64)>,
    state: Vec<f32>,
}

/// Hears the pieces with a recurrent model. From the second piece on nothing is allocated.
fn speech(model: &Model, session: &mut Session, pieces: &[&[i16]], count: usize) -> Speech {
    let mut memory = SpeechMemory::new(model).unwrap().expect("the card tells speech");
    let hop = memory.spec().hop as usize;
    let mut stream = SpeechStream::new(session, &mut memory).unwrap();
    let (probabilities, segments) = (Vec::with_capacity(count / hop + 1), Vec::with_capacity(1000));
    let mut heard = Speech { probabilities, segments, state: Vec::new() };
    let mut before = 0;
    for (number, piece) in pieces.iter().enumerate() {
        if number == 1 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        let told = |spoken: cygnet::Spoken| {
            heard.probabilities.push(spoken.probability);
            heard.segments.extend(spoken.segment.map(|segment| (segment.begin, segment.end)));
        };
        stream.push(piece, told).unwrap();
    }
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(pieces.len() == 1 || allocated == 0, "{allocated} allocations");
    session.output_f32("stateN", &mut heard.state).unwrap();
    heard
}

#[test]
fn ten_minutes_in_pieces_are_heard_as_the_whole_is() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sound = ten_minutes();
    let (pieces, whole) = (pieces(&sound), [&sound[..]]);
    let model = Model::load(repository("models/digits-tiny/digits-tiny.onnx")).unwrap();
    let heard = words(&model, &pieces, sound.len());
    assert!(heard == words(&model, &whole, sound.len()));
    assert!(heard.events.len() >= 5 * ROUNDS, "{} words", heard.events.len());
    // The last minute is heard as the second: what is a minute apart differs in no bit.
    let minute = ROUND / STEP * model.labels().len();
    assert!(heard.scores[minute..2 * minute] == heard.scores[minute * (ROUNDS - 2)..][..minute]);
    let model = Model::load(repository("tests/golden/voice/voice.onnx")).unwrap();
    let mut session = model.session_on(1).unwrap();
    let heard = speech(&model, &mut session, &pieces, sound.len());
    assert!(heard == speech(&model, &mut session, &whole, sound.len()));
    assert!(heard.segments.len() >= 5 * ROUNDS, "{} segments", heard.segments.len());
    let minute = ROUND / 256;
    assert!(heard.probabilities[minute..2 * minute] == heard.probabilities[minute * (ROUNDS - 1)..][..minute]);
}
