//! What listening and watching have in common.

use core::fmt;

use cygnet_core::Plan;
use cygnet_core::plan::Step;

/// What a plan takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Sound, as the card's `kind = "audio"` says.
    Sound,
    /// Pictures, as the card's `kind = "image"` says.
    Pictures,
}

/// Why a plan gives no answers.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ModelError {
    /// The plan's first input does not take this, or not as int8 in the order of the rows.
    Input(InputKind),
    /// The scratch is too short.
    Scratch {
        /// Elements needed: `f32` for sound, bytes for pictures.
        needed: usize,
        /// Elements given.
        given: usize,
    },
    /// The sound or the picture cannot be prepared, or an event spec not be used.
    Prepare(cygnet_sense::Error),
    /// The plan cannot be run.
    Run(cygnet_core::Error),
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(kind) => {
                let (what, card) = match kind {
                    InputKind::Sound => ("sound", "audio"),
                    InputKind::Pictures => ("pictures", "image"),
                };
                write!(
                    f,
                    "the plan's first input takes no {what} as int8: compile a model whose card says kind = \"{card}\""
                )
            }
            Self::Scratch { needed, given } => {
                write!(f, "{needed} elements of scratch are needed, {given} were given: give at least {needed}")
            }
            Self::Prepare(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ModelError {}

impl From<cygnet_sense::Error> for ModelError {
    fn from(error: cygnet_sense::Error) -> Self {
        Self::Prepare(error)
    }
}

impl From<cygnet_core::Error> for ModelError {
    fn from(error: cygnet_core::Error) -> Self {
        Self::Run(error)
    }
}

/// Whether what a plan gives went through a softmax (not its logarithm) last, apart from steps that keep the values.
pub(crate) fn gives_probabilities(plan: &Plan<'_>) -> bool {
    plan.steps().fold(false, |last, record| match record.step {
        Step::Softmax(softmax) => softmax.log == 0,
        Step::Dequantize(_) | Step::Quantize(_) | Step::Copy(_) => last,
        _ => false,
    })
}
