//! `cygnet watch` as its users call it: folders, pipes, broken frames, sources that vanish.
#![cfg(feature = "onnx")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn fashion() -> PathBuf {
    repository("models/fashion/fashion.onnx")
}

fn objects() -> PathBuf {
    repository("models/objects/objects.onnx")
}

fn sample(name: &str) -> PathBuf {
    repository("models").join(name)
}

fn watch(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    command.arg("watch").args(arguments.iter().map(|argument| argument.as_ref()));
    command.env_remove("CYGNET_ISA").env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn piped(arguments: &[&dyn AsRef<std::ffi::OsStr>], input: &[u8]) -> Output {
    let mut child = watch(arguments).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // A program that ends early closes the pipe.
        scope.spawn(move || input.chunks(999).try_for_each(|piece| pipe.write_all(piece)));
        child.wait_with_output().unwrap()
    })
}

/// The lines of a call that succeeds, and what it says on standard error.
fn events(output: Output) -> (Vec<Value>, String) {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), errors)
}

fn answers(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["answer"].as_str().unwrap_or("-")).collect()
}

/// The grey samples of 28×28 pixels.
fn clothes() -> Vec<(&'static str, Vec<u8>)> {
    let open = |name| {
        let picture = image::open(sample(&format!("fashion/samples/{name}.png"))).unwrap();
        (name, picture.into_luma8().into_raw())
    };
    ["bag", "dress", "trouser"].map(open).into()
}

/// Lines that a thread reads, so that a test can give up on them.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn next_event(lines: &Receiver<String>) -> Value {
    serde_json::from_str(&next(lines)).unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_folder_is_gone_through_once() {
    let (events, errors) = events(watch(&[&fashion(), &sample("fashion/samples"), &"--once"]).output().unwrap());
    // The samples are called by their class.
    let names: Vec<_> = events.iter().map(|event| event["picture"].as_str().unwrap().replace(".png", "")).collect();
    assert_eq!(names, ["ankle-boot", "bag", "dress", "trouser"]);
    assert_eq!(answers(&events), names);
    assert_eq!(events.iter().map(|event| event["frame"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(errors, "");
}

/// The frames of a format whose pixels are exactly the grey ones.
fn frames(format: &str) -> Vec<u8> {
    let frame = |grey: &[u8]| match format {
        "i420" | "nv12" => [grey, &[128; 2 * 14 * 14]].concat(),
        "yuyv" => grey.iter().flat_map(|&luma| [luma, 128]).collect(),
        "rgb24" => grey.iter().flat_map(|&luma| [luma; 3]).collect(),
        _ => grey.to_vec(),
    };
    clothes().iter().flat_map(|(_, grey)| frame(grey)).collect()
}

#[test]
fn piped_frames_of_every_format_have_the_answers_of_their_pictures() {
    let (expected, _) = events(watch(&[&fashion(), &sample("fashion/samples"), &"--once"]).output().unwrap());
    let expected: Vec<_> = expected[1..].iter().map(|event| &event["top"]).collect();
    for format in ["i420", "nv12", "yuyv", "rgb24", "grey"] {
        let arguments: [&dyn AsRef<std::ffi::OsStr>; 9] =
            [&fashion(), &"-", &"--format", &format, &"--size", &"28x28", &"--full-range", &"--fps", &"25"];
        let (events, errors) = events(piped(&arguments, &frames(format)));
        assert_eq!(events.iter().map(|event| &event["top"]).collect::<Vec<_>>(), expected, "{format}");
        let times: Vec<_> = events.iter().map(|event| event["time"].as_f64().unwrap()).collect();
        assert_eq!((times, &*errors), (vec![0.0, 0.04, 0.08], ""));
    }
}

#[test]
fn half_a_frame_at_the_end_is_named_and_counted() {
    let input = frames("i420");
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 7] =
        [&fashion(), &"-", &"--format", &"i420", &"--size", &"28x28", &"--full-range"];
    // A frame has 28·28 + 2·14·14 bytes.
    let (events, errors) = events(piped(&arguments, &input[..2 * 1176 + 100]));
    assert_eq!(answers(&events), ["bag", "dress", "-"]);
    assert_eq!(events[2]["error"], "the frame is cut off after 100 of 1176 bytes");
    assert!(errors.contains("frame 2: ") && errors.contains("1 of 3 frames were broken"), "{errors}");
}

/// `horse.png` as JPEG.
fn horse() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::open(sample("objects/samples/horse.png")).unwrap();
    picture.into_rgb8().write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[test]
fn broken_jpeg_pictures_are_passed_over() {
    let (cat, horse) = (fs::read(sample("objects/samples/cat.jpg")).unwrap(), horse());
    let input = [&cat[..], &cat[..cat.len() / 2], &horse, b"noise on the line", &cat, &horse[..500]].concat();
    let (events, errors) = events(piped(&[&objects(), &"-", &"--format", &"mjpeg"], &input));
    assert_eq!(answers(&events), ["cat", "-", "horse", "-", "cat", "-"], "{errors}");
    assert_eq!(events[3]["error"], "17 bytes are no whole JPEG picture");
    assert_eq!(events[5]["error"], "the picture is cut off after 500 bytes");
    assert!(errors.contains("3 of 6 frames were broken"), "{errors}");
}

#[test]
fn only_changes_only_some_frames_and_only_so_many() {
    let clothes = clothes();
    let order = [0, 0, 1, 1, 1, 0, 2];
    let input: Vec<u8> = order.iter().flat_map(|&place| clothes[place].1.clone()).collect();
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 6] = [&fashion(), &"-", &"--format", &"grey", &"--size", &"28x28"];
    let with = |more: &[&'static str]| {
        let mut arguments = arguments.to_vec();
        arguments.extend(more.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
        let (events, _) = events(piped(&arguments, &input));
        let frame = |event: &Value| event["frame"].as_u64().unwrap();
        (events.iter().map(frame).collect::<Vec<_>>(), answers(&events).join(" "))
    };
    assert_eq!(with(&["--changes"]), (vec![0, 2, 5, 6], "bag dress bag trouser".into()));
    assert_eq!(with(&["--every", "3"]), (vec![0, 3, 6], "bag dress trouser".into()));
    assert_eq!(with(&["--count", "2"]), (vec![0, 1], "bag bag".into()));
    // Nothing is as sure as that.
    assert_eq!(with(&["--changes", "--threshold", "1"]), (vec![0], "-".into()));
}

#[test]
fn a_folder_is_watched_through_everything() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox");
    fs::create_dir(&inbox).unwrap();
    fs::copy(sample("fashion/samples/bag.png"), inbox.join("a.png")).unwrap();
    let mut child = watch(&[&fashion(), &inbox]).spawn().unwrap();
    let (lines, messages) = (lines_of(child.stdout.take().unwrap()), lines_of(child.stderr.take().unwrap()));
    let _running = Running(child);
    // One that was there.
    assert_eq!(next_event(&lines)["answer"], "bag");
    // One that is written bit by bit.
    let dress = fs::read(sample("fashion/samples/dress.png")).unwrap();
    let mut file = File::create(inbox.join("b.png")).unwrap();
    for piece in dress.chunks(dress.len() / 8) {
        file.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(40));
    }
    drop(file);
    let event = next_event(&lines);
    assert_eq!((&event["answer"], &event["picture"]), (&"dress".into(), &"b.png".into()));
    // One that is none.
    fs::write(inbox.join("c.png"), &dress[..dress.len() / 2]).unwrap();
    let event = next_event(&lines);
    assert!(event["error"].as_str().unwrap().contains("c.png"), "{event}");
    let message = next(&messages);
    assert!(message.contains("frame 2, c.png") && message.contains("1 broken so far"), "{message}");
    // The folder vanishes and comes back: what was seen is not seen again, what is new is.
    let away = folder.path().join("away");
    fs::rename(&inbox, &away).unwrap();
    let message = next(&messages);
    assert!(message.contains("inbox") && message.contains("trying again in 0.5 s"), "{message}");
    fs::copy(sample("fashion/samples/trouser.png"), away.join("d.png")).unwrap();
    fs::rename(&away, &inbox).unwrap();
    let event = next_event(&lines);
    assert_eq!((&event["answer"], &event["frame"]), (&"trouser".into(), &3.into()));
}

#[test]
fn a_pipe_that_vanishes_is_waited_for_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut child = watch(&[&fashion(), &path, &"--format", &"grey", &"--size", &"28x28"]).spawn().unwrap();
    let (lines, messages) = (lines_of(child.stdout.take().unwrap()), lines_of(child.stderr.take().unwrap()));
    let _running = Running(child);
    let clothes = clothes();
    // It breaks off within the second frame.
    File::create(&path).unwrap().write_all(&[&clothes[0].1[..], &clothes[1].1[..300]].concat()).unwrap();
    assert_eq!(next_event(&lines)["answer"], "bag");
    assert_eq!(next_event(&lines)["error"], "the frame is cut off after 300 of 784 bytes");
    assert!(next(&messages).contains("cut off"));
    let message = next(&messages);
    assert!(message.contains("pipe: it has ended; trying again in 0.5 s"), "{message}");
    File::create(&path).unwrap().write_all(&clothes[2].1).unwrap();
    let event = next_event(&lines);
    assert_eq!((&event["answer"], &event["frame"]), (&"trouser".into(), &2.into()));
}

#[test]
fn failures_say_what_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let speech = repository("models/digits-speech/digits-speech.onnx");
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("x.png"), "no picture").unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let samples = sample("fashion/samples");
    let cases: [(&[&dyn AsRef<std::ffi::OsStr>], i32, &str); 9] = [
        (&[&fashion(), &"nothing", &"--format", &"mjpeg"], 1, "nothing: No such file"),
        (&[&fashion(), &"-"], 1, "Give --format"),
        (&[&fashion(), &"-", &"--format", &"nv12"], 1, "Give --size"),
        (&[&fashion(), &"-", &"--format", &"grey", &"--size", &"28x28"], 1, "there was no picture"),
        (&[&fashion(), &empty, &"--once"], 1, "there was no picture"),
        (&[&fashion(), &broken, &"--once"], 1, "none of 1 pictures could be read"),
        (&[&speech, &samples, &"--once"], 1, "kind = \"image\""),
        (&[&fashion(), &samples, &"--gpio", &"chip", &"--gpio-label", &"bag"], 1, "chip and line"),
        (&[&fashion(), &samples, &"--size", &"0x4"], 2, "such as 640x480"),
    ];
    for (arguments, status, expected) in cases {
        let output = piped(arguments, &[]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && message.contains(expected), "{:?} {message}", output.status);
    }
}
