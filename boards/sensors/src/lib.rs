//! What a board hears and sees, and how it answers: traits of ours, with drivers on embedded-hal 1.0.
//!
//! | trait | recorded | hardware |
//! |---|---|---|
//! | [`AudioSource`] | [`RecordedSound`] | [`SpiMicrophone`], paced ([`PacedSound`]) or sampled by an interrupt ([`SoundQueue`]) |
//! | [`FrameSource`] | [`RecordedFrames`] | [`ArducamMega`] |
//! | [`Answer`] | | [`AnswerPin`] on an `OutputPin`, [`AnswerBrightness`] on a `SetDutyCycle` |
//!
//! Between a source and an answer stand [`Listener`] (pieces of sound to words with their times) and [`Watcher`] (a picture
//! to its class). They are the same code on a laptop and on a Cortex-M, so the answers are the same too.
#![no_std]
#![forbid(unsafe_code)]

mod answer;
mod arducam_mega;
mod frame_source;
mod listener;
mod model;
mod sound_queue;
mod sound_source;
mod spi_microphone;
mod watcher;

pub use answer::{Answer, AnswerBrightness, AnswerPin};
pub use arducam_mega::{ArducamMega, CameraError, Resolution};
pub use frame_source::{FrameError, FrameFormat, FrameSource, PixelFormat, RecordedFrames};
pub use listener::{Change, Listener, Word};
pub use model::{InputKind, ModelError};
pub use sound_queue::{QueuedSound, SoundQueue, SoundSink};
pub use sound_source::{AudioSource, RecordedSound};
pub use spi_microphone::{DelayPace, Pace, PacedSound, SpiMicrophone};
pub use watcher::Watcher;
