//! `cygnet listen` as its users call it: the same words, however the sound comes.
#![cfg(feature = "onnx")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use cygnet::input::{Sound, resampled};
use serde_json::Value;

const RATE: u32 = 16_000;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn speech() -> PathBuf {
    repository("models/digits-speech/digits-speech.onnx")
}

/// The samples that are called so, with silence between them, and where in seconds each one lies.
fn spoken(words: &[&str]) -> (Vec<i16>, Vec<(f64, f64)>) {
    let seconds = |samples: usize| samples as f64 / f64::from(RATE);
    let (mut samples, mut places) = (vec![0; 8000], Vec::new());
    for word in words {
        let sound = Sound::open(&repository(&format!("models/digits-speech/samples/{word}.wav"))).unwrap();
        let begin = samples.len();
        samples.extend_from_slice(&resampled(&sound.samples, sound.rate, RATE).unwrap());
        // Some samples end in silence.
        let is_loud = |sample: &i16| sample.unsigned_abs() > 100;
        let (first, last) = (samples[begin..].iter().position(is_loud), samples.iter().rposition(is_loud));
        places.push((seconds(begin + first.unwrap()), seconds(last.unwrap())));
        samples.extend([0; 12_800]);
    }
    (samples, places)
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A WAV whose head says that it has `told` bytes of sound.
fn wav(samples: &[i16], told: u32) -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend(told.saturating_add(36).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend([RATE, 2 * RATE].iter().flat_map(|word| word.to_le_bytes()));
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(told.to_le_bytes());
    wav.extend(bytes(samples));
    wav
}

fn listen(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    command.arg("listen").args(arguments.iter().map(|argument| argument.as_ref()));
    command.env_remove("CYGNET_ISA").env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What is printed when standard input comes in pieces of `chunk` bytes with `pause` between them.
fn piped(arguments: &[&dyn AsRef<std::ffi::OsStr>], input: &[u8], chunk: usize, pause: Duration) -> String {
    let mut child = listen(arguments).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (number, piece) in input.chunks(chunk).enumerate() {
                pipe.write_all(piece).unwrap();
                thread::sleep((pause * number as u32).saturating_sub(begin.elapsed()));
            }
        });
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    })
}

fn labels(lines: &str) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    lines.lines().map(|text| line(text)["label"].as_str().unwrap().to_string()).collect()
}

/// Lines that a thread reads, so that a test can give up on them.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// The next line of the output or of the messages.
fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(60)).unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_word_is_one_event_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.wav");
    let words = ["seven", "zero", "nine", "three", "four", "one", "five", "nine"];
    let (samples, places) = spoken(&words);
    fs::write(&path, wav(&samples, 2 * samples.len() as u32)).unwrap();
    let output = listen(&[&speech(), &path]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(labels(&lines), words, "{}", String::from_utf8_lossy(&output.stderr));
    for (line, (begin, end)) in lines.lines().zip(places) {
        let event: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| event[key].as_f64().unwrap();
        let middle = (begin + end) / 2.0;
        assert!(number("start") < middle && middle < number("end"), "{line}, spoken from {begin} to {end}");
        // Told within two seconds: the word has to leave the window of one second.
        assert!(number("end") < number("time") && number("time") < end + 2.0, "{line}");
        assert!((0.5..=1.0).contains(&number("score")), "{line}");
    }
}

#[test]
fn the_same_events_in_any_pieces_and_in_real_time() {
    let (samples, _) = spoken(&["three", "nine"]);
    let wav = wav(&samples, 2 * samples.len() as u32);
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 3] = [&speech(), &"-", &"--windows"];
    let whole = piped(&arguments, &wav, wav.len(), Duration::ZERO);
    let words = whole.lines().filter(|line| line.contains("\"label\"") && !line.contains("\"window\"")).count();
    assert_eq!(words, 2, "{whole}");
    // 20 ms of sound every 20 ms.
    let chunk = 2 * RATE as usize / 50;
    assert_eq!(piped(&arguments, &wav, chunk, Duration::from_millis(20)), whole);
    for chunk in [1, 333, 4097] {
        assert_eq!(piped(&arguments, &wav, chunk, Duration::ZERO), whole, "pieces of {chunk}");
    }
}

#[test]
fn speech_is_the_same_in_any_pieces_and_as_run_tells_it() {
    let voice = repository("tests/golden/voice/voice.onnx");
    let (samples, places) = spoken(&["three", "nine", "zero"]);
    let wav = wav(&samples, 2 * samples.len() as u32);
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 3] = [&voice, &"-", &"--windows"];
    let whole = piped(&arguments, &wav, wav.len(), Duration::ZERO);
    for chunk in [1, 333, 4097] {
        assert_eq!(piped(&arguments, &wav, chunk, Duration::ZERO), whole, "pieces of {chunk}");
    }
    let segments = piped(&arguments[..2], &wav, wav.len(), Duration::ZERO);
    assert_eq!(labels(&segments), ["speech"; 3], "{segments}");
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let told: Vec<Value> = segments.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (segment, (begin, end)) in told.iter().zip(places) {
        let (start, stop) = (number(segment, "start"), number(segment, "end"));
        assert!((start - begin).abs() < 0.2 && (stop - end).abs() < 0.3, "{segment}, spoken from {begin} to {end}");
        assert!(number(segment, "time") >= stop && number(segment, "time") < stop + 0.2, "{segment}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.wav");
    fs::write(&path, &wav).unwrap();
    let run =
        Command::new(env!("CARGO_BIN_EXE_cygnet")).arg("run").args([&voice, &path]).arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let of_run: Vec<_> = report["samples"][0]["speech"].as_array().unwrap().iter().collect();
    let bounds = |value: &Value| (number(value, "start"), number(value, "end"), number(value, "score"));
    assert_eq!(of_run.into_iter().map(bounds).collect::<Vec<_>>(), told.iter().map(bounds).collect::<Vec<_>>());
}

#[test]
fn text_is_the_same_in_any_pieces_and_as_run_tells_it() {
    let digits = repository("models/digits-text/digits-text.onnx");
    let path = repository("models/digits-text/samples/seven-two-nine.wav");
    let wav = fs::read(&path).unwrap();
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 2] = [&digits, &"-"];
    let whole = piped(&arguments, &wav, wav.len(), Duration::ZERO);
    assert_eq!(labels(&whole), ["seven", "two", "nine"], "{whole}");
    for chunk in [1, 333, 4097] {
        assert_eq!(piped(&arguments, &wav, chunk, Duration::ZERO), whole, "pieces of {chunk}");
    }
    let run = |json: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
        let output = command.arg("run").args([&digits, &path]).args(json).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&[]), "seven two nine\n");
    let report: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let read = &report["samples"][0]["read"];
    assert_eq!(read["text"], "seven two nine");
    let told = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let bounds = |word: &Value| ["label", "score", "start", "end"].map(|key| word[key].clone());
    let words = read["words"].as_array().unwrap();
    assert_eq!(words.iter().map(bounds).collect::<Vec<_>>(), told.map(|word| bounds(&word)).collect::<Vec<_>>());
}

#[test]
fn raw_sound_and_a_wav_of_unknown_length_are_the_same_sound() {
    let (samples, _) = spoken(&["one"]);
    let whole = piped(&[&speech(), &"-"], &wav(&samples, 2 * samples.len() as u32), 1 << 16, Duration::ZERO);
    assert_eq!(labels(&whole), ["one"]);
    for told in [0, u32::MAX, 0x7fff_ffff - 36] {
        assert_eq!(piped(&[&speech(), &"-"], &wav(&samples, told), 1 << 16, Duration::ZERO), whole, "{told}");
    }
    let both: Vec<i16> = samples.iter().flat_map(|&sample| [sample, sample]).collect();
    let raw: [&dyn AsRef<std::ffi::OsStr>; 6] = [&speech(), &"-", &"--rate", &"16000", &"--channels", &"2"];
    assert_eq!(piped(&raw, &bytes(&both), 1 << 16, Duration::ZERO), whole);
}

#[test]
fn a_word_is_told_while_the_sound_goes_on() {
    let mut child = listen(&[&speech(), &"-", &"--rate", &"16000"]).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let lines = lines_of(child.stdout.take().unwrap());
    let running = Running(child);
    let (samples, _) = spoken(&["seven"]);
    pipe.write_all(&bytes(&samples)).unwrap();
    pipe.write_all(&bytes(&[0; RATE as usize])).unwrap();
    pipe.flush().unwrap();
    assert_eq!(labels(&next(&lines)), ["seven"]);
    drop(running);
}

#[test]
fn a_source_that_vanishes_is_waited_for_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut child = listen(&[&speech(), &path]).spawn().unwrap();
    let (lines, messages) = (lines_of(child.stdout.take().unwrap()), lines_of(child.stderr.take().unwrap()));
    let _running = Running(child);
    // The first recording breaks off behind its word, in the middle of what its head has promised.
    let (samples, _) = spoken(&["five"]);
    File::create(&path).unwrap().write_all(&wav(&samples, 1_000_000)).unwrap();
    assert_eq!(labels(&next(&lines)), ["five"]);
    let message = next(&messages);
    assert!(message.contains("pipe") && message.contains("trying again in 0.5 s"), "{message}");
    let (samples, _) = spoken(&["zero"]);
    File::create(&path).unwrap().write_all(&wav(&samples, 1_000_000)).unwrap();
    let line = next(&lines);
    assert_eq!(labels(&line), ["zero"]);
    // The seconds go on: the first recording had 0.5 s of silence, the word, 0.8 s of silence.
    let event: Value = serde_json::from_str(&line).unwrap();
    assert!(event["start"].as_f64() > Some(1.3 + 0.5), "{line}");
}

#[test]
fn a_recording_that_is_cut_off_is_heard_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.wav");
    let (samples, _) = spoken(&["four"]);
    fs::write(&path, wav(&samples, 2 * samples.len() as u32 + 50)).unwrap();
    let output = listen(&[&speech(), &path]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && message.contains("cut.wav") && message.contains("50 bytes"), "{message}");
    assert_eq!(labels(&String::from_utf8(output.stdout).unwrap()), ["four"]);
}

#[test]
fn failures_say_what_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let (text, empty) = (folder.path().join("text.wav"), folder.path().join("empty.wav"));
    fs::write(&text, "this is no recording").unwrap();
    fs::write(&empty, wav(&[], 0)).unwrap();
    let fashion = repository("models/fashion/fashion.onnx");
    let cases: [(&[&dyn AsRef<std::ffi::OsStr>], i32, &str); 13] = [
        (&[&speech(), &"nothing.wav"], 1, "nothing.wav: No such file"),
        (&[&speech(), &text], 1, "does not begin as a WAV"),
        (&[&speech(), &empty], 1, "no samples"),
        (&[&fashion, &text], 1, "kind = \"audio\""),
        (&[&speech(), &text, &"--ignore", &"eleven"], 1, "no such label; it has zero, one"),
        (&[&speech(), &text, &"--threshold", &"2"], 1, "`threshold` cannot be used"),
        (&[&speech(), &text, &"--gpio", &"chip"], 2, "--gpio-label"),
        (&[&speech(), &text, &"--channels", &"2"], 2, "--rate"),
        (&[&speech(), &text, &"--padding", &"2"], 1, "--padding is for speech"),
        (&[&repository("tests/golden/voice/voice.onnx"), &text, &"--hop", &"2"], 1, "--hop is for words"),
        (&[&repository("models/digits-text/digits-text.onnx"), &text, &"--hop", &"2"], 1, "--hop is for words"),
        (
            &[&repository("models/digits-text/digits-text.onnx"), &text, &"--windows"],
            1,
            "--windows: this model tells text",
        ),
        (&[&repository("tests/golden/voice/voice.onnx"), &empty, &"--padding", &"60"], 1, "half of the least silence"),
    ];
    for (arguments, status, expected) in cases {
        let output = listen(arguments).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && message.contains(expected), "{:?} {message}", output.status);
    }
}
