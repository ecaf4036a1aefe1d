//! Watches: pictures to answers, a line for each, and a lamp.
//!
//! The pictures are frames that were built in (`CYGNET_FRAMES`: raw grey or RGB pixels of the plan's size, one behind
//! the other); without them, on a board on a desk, those of an Arducam Mega. The lamp shines while the answer is
//! `CYGNET_WORD`, of which nothing stands for any answer.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use cygnet_core::Plan;
use cygnet_cortex_m::board::{self, Board, Lamp};
use cygnet_cortex_m::console::{self, Word};
use cygnet_cortex_m::embedded;
use cygnet_sense::ImageSpec;
use cygnet_sensors::{Answer, AnswerPin, FrameError, FrameSource, ModelError, Watcher};

#[cfg(not(any(recorded_frames, on_desk)))]
compile_error!("this board has no camera: set CYGNET_FRAMES to pictures, see build.rs");

/// The answer that the lamp shows; nothing stands for any answer.
const WORD: &str = match option_env!("CYGNET_WORD") {
    Some(word) => word,
    None => "",
};
/// Bytes of the largest frame: 96 × 96 in colour.
const FRAME: usize = 3 * 96 * 96;
/// Bytes to turn a frame into a plan's input.
const SCRATCH: usize = 16 << 10;
/// Classes at most.
const CLASSES: usize = 128;

#[entry]
fn main() -> ! {
    let done = board::start().ok_or("the board does not start: look at its supply and its clock").and_then(watch);
    if let Err(problem) = done {
        console::line(&[Word::Text(problem)]);
    }
    console::end(done.is_ok())
}

fn say(error: ModelError) -> &'static str {
    match error {
        ModelError::Input(_) => "the plan takes no pictures as int8: cygnet inspect shows its input",
        ModelError::Scratch { .. } => "the plan has more classes than there is room for: see CLASSES",
        ModelError::Prepare(cygnet_sense::Error::ScratchLength { .. }) => "the frames need more room: see SCRATCH",
        ModelError::Prepare(_) => "the frames do not suit the plan",
        _ => "the plan cannot be run: cygnet inspect says why",
    }
}

/// The pictures, and the lamp.
#[cfg(recorded_frames)]
fn open(board: Board, spec: &ImageSpec) -> Result<(impl FrameSource, Lamp), &'static str> {
    use cygnet_sense::Colour;
    use cygnet_sensors::{FrameFormat, PixelFormat, RecordedFrames};
    let pixels = if spec.colour == Colour::Grey { PixelFormat::Grey8 } else { PixelFormat::Rgb8 };
    let format = FrameFormat { width: spec.width, height: spec.height, pixels };
    Ok((RecordedFrames::new(embedded::FRAMES, format), board.lamp))
}

/// The camera, and the lamp.
#[cfg(all(on_desk, not(recorded_frames)))]
fn open(board: Board, _: &ImageSpec) -> Result<(impl FrameSource, Lamp), &'static str> {
    use cygnet_sensors::{ArducamMega, CameraError, Resolution};
    let delay = cortex_m::delay::Delay::new(board.core.SYST, board.core_hz);
    let camera = ArducamMega::new(board.spi, delay, Resolution::Square96).map_err(|error| match error {
        CameraError::Busy => "the camera does not become ready: switch it off and on",
        _ => "no camera answers: look at its wires",
    })?;
    Ok((camera, board.lamp))
}

fn watch(board: Board) -> Result<(), &'static str> {
    let run = |error| say(ModelError::Run(error));
    let plan = embedded::plan().map_err(run)?;
    let spec = Watcher::picture(&plan).map_err(say)?;
    let twice = "the board was started before";
    let scores = cortex_m::singleton!(SCORES: [f32; CLASSES] = [0.0; CLASSES]).ok_or(twice)?;
    let frame = cortex_m::singleton!(PIXELS: [u8; FRAME] = [0; FRAME]).ok_or(twice)?;
    let scratch = cortex_m::singleton!(ROWS: [u8; SCRATCH] = [0; SCRATCH]).ok_or(twice)?;
    let session = embedded::session().ok_or(twice)?.map_err(run)?;
    let mut watcher = Watcher::new(session, scores).map_err(say)?;
    let (mut source, lamp) = open(board, &spec)?;
    let Ok(mut lamp) = AnswerPin::new(lamp, WORD);
    let mut number = 0;
    loop {
        match source.read(frame) {
            Ok(Some(picture)) => {
                let answer = watcher.look(&picture, scratch).map_err(say)?;
                let answer = answer.map(|(class, score)| (plan.labels().nth(class).unwrap_or_default(), score));
                let Ok(()) = lamp.show(answer);
                let (label, score) = answer.unwrap_or(("nothing", 0.0));
                console::line(&[
                    Word::Number(number),
                    Word::Text(": "),
                    Word::Text(label),
                    Word::Text(" "),
                    Word::Real(score),
                ]);
            }
            Ok(None) => return Ok(()),
            Err(FrameError::Device(_)) => {
                console::line(&[Word::Text("the camera gives no picture: look at its wires")])
            }
            Err(_) => return Err("the frames are larger than there is room for: see FRAME"),
        }
        number += 1;
    }
}
