//! `cygnet watch`: answers for pictures as they come.

#[cfg(feature = "camera")]
mod camera;
mod folder;
mod frame;
mod jpeg;
mod stream;

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Args;
use cygnet::sense::YuvRange;
use cygnet::{Answer, Error, Session};
use serde::Serialize;

use crate::StreamArguments;
use crate::events::{Class, print_line, seconds};
use crate::gpio::AnswerLine;
use crate::pipe::Pipe;
use crate::retry::Retry;
use folder::Folder;
use frame::{Format, Frame, FrameSource, Shape};
use stream::{JpegFrames, RawFrames};

/// Say what is in pictures as they come: a line for each.
///
/// SOURCE is a folder (pictures there and those that come), `-` for frames on standard input, a file or named pipe of
/// frames, or a camera such as /dev/video0. Frames on pipes need `--format`, and `--size` unless they are JPEG. A
/// folder, camera or named pipe that disappears is waited for.
///
/// Each line is a JSON object: `frame` (from 0), `time` (seconds since the first frame), `picture` (its file), `answer`
/// (the best label, or null below the threshold), `top` (the best labels). A frame that cannot be read has `error`
/// instead.
#[derive(Args)]
pub struct Watch {
    #[command(flatten)]
    stream: StreamArguments,
    /// What is watched.
    source: String,
    /// Of a folder: only what is there, then end.
    #[arg(long)]
    once: bool,
    /// How frames are arranged.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Width and height of frames, such as 640x480.
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<(u32, u32)>,
    /// YUV in full range (0 to 255, as in JPEG) instead of limited (16 to 235, as in video).
    #[arg(long)]
    full_range: bool,
    /// Frames a second: `time` counts frames instead of asking the clock.
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    fps: Option<f64>,
    /// Look at every N-th frame only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// End after so many frames.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How many classes to name, the most likely first.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// How sure an answer must be, 0 to 1.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_probability)]
    threshold: f32,
    /// Only lines whose answer is another one than before.
    #[arg(long)]
    changes: bool,
    /// Larger pictures are refused, so that none takes all memory.
    #[arg(long, value_name = "MEGAPIXELS", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    largest: u16,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let size = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let size = size.filter(|&(width, height)| (1..=16_384).contains(&width) && (1..=16_384).contains(&height));
    size.ok_or_else(|| "give width and height, such as 640x480".into())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "give frames a second, above 0".into())
}

fn parse_probability(text: &str) -> Result<f32, String> {
    let probability = text.parse().ok().filter(|probability| (0.0..=1.0).contains(probability));
    probability.ok_or_else(|| "give a number from 0 to 1".into())
}

/// What is printed for a frame.
#[derive(Serialize)]
struct Seen {
    frame: u64,
    time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Answer { answer: Option<String>, top: Vec<Class> },
    Broken { error: String },
}

impl Watch {
    /// Does the work.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut session = self.stream.session()?;
        let line = self.stream.line.open(session.model().labels())?;
        let mut source = self.open().with_context(|| self.name())?;
        let mut watcher = Watcher {
            arguments: self,
            session: &mut session,
            line,
            for_people: self.stream.is_for_people(),
            begin: None,
            frames: 0,
            broken: 0,
            last: None,
        };
        watcher.watch(&mut *source)?;
        let Watcher { frames, broken, .. } = watcher;
        ensure!(frames > 0, "{}: there was no picture", self.name());
        ensure!(broken < frames, "{}: none of {frames} pictures could be read", self.name());
        if broken > 0 {
            log::warn!("{}: {broken} of {frames} frames were broken", self.name());
        }
        Ok(())
    }

    fn name(&self) -> String {
        if self.source == "-" { "standard input".into() } else { self.source.clone() }
    }

    fn open(&self) -> anyhow::Result<Box<dyn FrameSource>> {
        let path = Path::new(&self.source);
        let range = if self.full_range { YuvRange::Full } else { YuvRange::Limited };
        if self.source != "-" && path.is_dir() {
            return Ok(Box::new(Folder::open(path, self.once, self.largest())?));
        }
        if path.starts_with("/dev") && !path.starts_with("/dev/fd") && path != "/dev/stdin" {
            return self.open_camera(path, range);
        }
        match (self.format, self.size) {
            (Some(Format::Mjpeg), _) => Ok(Box::new(JpegFrames::new(Pipe::open(&self.source)?, self.largest()))),
            (Some(format), Some(size)) => {
                Ok(Box::new(RawFrames::new(Pipe::open(&self.source)?, Shape::new(format, size, range))))
            }
            (Some(_), None) => bail!("how large are the frames? Give --size, such as --size 640x480"),
            (None, _) => bail!("what do the frames look like? Give --format, such as --format i420 --size 640x480"),
        }
    }

    #[cfg(feature = "camera")]
    fn open_camera(&self, path: &Path, range: YuvRange) -> anyhow::Result<Box<dyn FrameSource>> {
        let wanted = camera::Wanted { size: self.size, format: self.format, range };
        Ok(Box::new(camera::Camera::open(path, wanted, self.largest())?))
    }

    #[cfg(not(feature = "camera"))]
    fn open_camera(&self, _: &Path, _: YuvRange) -> anyhow::Result<Box<dyn FrameSource>> {
        bail!("this build has no cameras; build it with `--features camera`, or pipe the frames in")
    }

    fn largest(&self) -> u64 {
        u64::from(self.largest) * 1_000_000
    }
}

/// A model that watches.
struct Watcher<'a> {
    arguments: &'a Watch,
    session: &'a mut Session,
    line: Option<AnswerLine>,
    for_people: bool,
    begin: Option<Instant>,
    frames: u64,
    broken: u64,
    /// The answer that was printed last.
    last: Option<Option<String>>,
}

impl Watcher<'_> {
    fn watch(&mut self, source: &mut dyn FrameSource) -> anyhow::Result<()> {
        let mut retry = Retry::new();
        let comes_back = source.comes_back();
        let mut is_open = true;
        while self.arguments.count.is_none_or(|count| self.frames < count) {
            let next = if is_open { source.next() } else { source.reopen().and_then(|()| source.next()) };
            is_open = true;
            let problem = match next {
                Ok(Some(frame)) => {
                    retry.works();
                    self.frame(frame)?;
                    continue;
                }
                Ok(None) if !comes_back => return Ok(()),
                Ok(None) => "it has ended".to_string(),
                Err(error) if !comes_back => return Err(error).with_context(|| self.arguments.name()),
                Err(error) => format!("the pictures are gone: {error}"),
            };
            self.line(None);
            is_open = false;
            retry.wait(&self.arguments.name(), problem);
        }
        Ok(())
    }

    fn frame(&mut self, Frame { name, content }: Frame<'_>) -> anyhow::Result<()> {
        let number = self.frames;
        self.frames += 1;
        if !number.is_multiple_of(self.arguments.every) {
            return Ok(());
        }
        let begin = *self.begin.get_or_insert_with(Instant::now);
        let time = match self.arguments.fps {
            Some(fps) => number as f64 / fps,
            None => begin.elapsed().as_secs_f64(),
        };
        let outcome = match content {
            Ok(content) => {
                let pixels = content.pixels()?;
                self.answer(&pixels)?
            }
            Err(error) => {
                self.broken += 1;
                let name = name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
                log::warn!("frame {number}{name}: {error} ({} broken so far)", self.broken);
                Outcome::Broken { error }
            }
        };
        Ok(self.print(Seen { frame: number, time: seconds(time), picture: name, outcome })?)
    }

    fn answer(&mut self, pixels: &cygnet::sense::Pixels<'_>) -> Result<Outcome, Error> {
        self.session.set_image(pixels)?;
        self.session.run()?;
        let class = |Answer { label, score, .. }| Class { label, score };
        let top: Vec<_> = self.session.top(self.arguments.top.into())?.into_iter().map(class).collect();
        let sure = top.first().filter(|best| best.score >= self.arguments.threshold);
        let answer = sure.map(|best| best.label.clone());
        self.line(answer.as_deref());
        Ok(Outcome::Answer { answer, top })
    }

    fn line(&mut self, answer: Option<&str>) {
        if let Some(line) = &mut self.line {
            line.answer(answer);
        }
    }

    fn print(&mut self, seen: Seen) -> io::Result<()> {
        let is_new = match &seen.outcome {
            Outcome::Answer { answer, .. } => self.last.replace(answer.clone()).as_ref() != Some(answer),
            Outcome::Broken { .. } => true,
        };
        match self.for_people {
            false if is_new || !self.arguments.changes => print_line(&seen),
            false => Ok(()),
            true => show(&seen, is_new),
        }
    }
}

/// Writes a frame over the last line, or below it where the answer is new.
fn show(seen: &Seen, is_new: bool) -> io::Result<()> {
    let Outcome::Answer { top, .. } = &seen.outcome else { return Ok(()) };
    let classes: Vec<_> = top.iter().map(|class| format!("{} {:.2}", class.label, class.score)).collect();
    let picture = seen.picture.as_ref().map(|picture| format!("  {picture}")).unwrap_or_default();
    let mut out = io::stdout().lock();
    let before = if is_new || seen.picture.is_some() { "\n" } else { "\r\x1b[K" };
    write!(out, "{before}{:8.2} s{picture}  {}", seen.time, classes.join(", "))?;
    out.flush()
}
