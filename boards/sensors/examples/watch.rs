//! The watching firmware on a laptop: `watch PLAN OUT.raw PICTURE…` writes pictures of the plan's size as the firmware takes
//! them (`CYGNET_FRAMES`: raw grey or RGB pixels, one picture behind the other), and looks at them: the lines are those that
//! `boards/cortex-m/src/bin/watch.rs` prints.

use std::error::Error;
use std::ffi::OsString;
use std::{env, fs};

use cygnet_core::{Plan, Session};
use cygnet_sense::{Colour, ImageSpec};
use cygnet_sensors::{FrameFormat, FrameSource, PixelFormat, RecordedFrames, Watcher};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<OsString> = env::args_os().skip(1).collect();
    let [plan, out, pictures @ ..] = &files[..] else { return Err("usage: watch PLAN OUT.raw PICTURE…".into()) };
    let plan = fs::read(plan)?;
    let spec = Watcher::picture(&Plan::parse(&plan)?)?;
    let frames = joined(pictures, &spec)?;
    fs::write(out, &frames)?;
    watch(&plan, &spec, &frames)
}

fn joined(pictures: &[OsString], spec: &ImageSpec) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut frames = Vec::new();
    for path in pictures {
        let picture = image::open(path)?;
        if (picture.width(), picture.height()) != (spec.width, spec.height) {
            return Err(format!("{}: give pictures of {} × {}", path.display(), spec.width, spec.height).into());
        }
        frames.extend(match spec.colour {
            Colour::Grey => picture.into_luma8().into_raw(),
            _ => picture.into_rgb8().into_raw(),
        });
    }
    Ok(frames)
}

fn watch(bytes: &[u8], spec: &ImageSpec, frames: &[u8]) -> Result<(), Box<dyn Error>> {
    let plan = Plan::parse(bytes)?;
    let mut arena = vec![0; plan.arena_bytes() + 16];
    let start = arena.as_ptr().align_offset(16);
    let session = Session::new(plan, &mut arena[start..start + plan.arena_bytes()])?;
    let mut scores = vec![0.0; plan.labels().count()];
    let mut watcher = Watcher::new(session, &mut scores)?;
    let pixels = if spec.colour == Colour::Grey { PixelFormat::Grey8 } else { PixelFormat::Rgb8 };
    let format = FrameFormat { width: spec.width, height: spec.height, pixels };
    let mut source = RecordedFrames::new(frames, format);
    let (mut frame, mut scratch) = (vec![0; format.bytes()], vec![0; spec.scratch_bytes(spec.width, spec.height)]);
    let mut number = 0;
    while let Some(picture) = source.read(&mut frame)? {
        let (class, score) = watcher.look(&picture, &mut scratch)?.ok_or("no score is a number")?;
        println!("{number}: {} {score:.3}", plan.labels().nth(class).unwrap_or_default());
        number += 1;
    }
    Ok(())
}
