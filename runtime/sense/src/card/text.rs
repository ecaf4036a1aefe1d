//! The card's `[text]`: how the output becomes text.

use std::string::ToString;

use serde::{Deserialize, Serialize};

use super::error::{Refusal, from_spec};
use crate::Error;
use crate::audio::{AudioSpec, Runs};
use crate::speech::samples_of;

/// How the output becomes text: `[text]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// The form of the output.
    pub decoder: TextDecoder,
    /// With `ctc`: the class that stands for no character; 0 when not given.
    #[serde(default)]
    pub blank: u32,
    /// With `ctc`: how many texts the search keeps, see [`search_ctc`](crate::ctc::search_ctc); where it is not given, or
    /// 0, the likeliest class of each moment is taken.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beams: u16,
    /// For spoken text: samples from one run to the next, see [`Runs`]. What the model keeps from run to run goes on through
    /// a sound. Where it is not given, the model is run once, on a clip or a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// With `hop`: how much silence is heard behind a sound, for models that tell a word only when it is over; none when
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_ms: Option<u32>,
    /// With `hop`: after how much time without a character a word is over, should none that begins with a space follow;
    /// 500 when not given. Where each label is a whole word, 0 tells it without delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u32>,
}

impl Text {
    /// What cannot be used with so many labels. None are told where the model's file has them.
    pub(super) fn refusal(&self, labels: usize) -> Option<Refusal> {
        // The last class need not have a name where it is the blank.
        let is_beyond = labels > 0 && self.blank as usize > labels;
        is_beyond
            .then(|| ("text.blank".to_string(), "the index of one of `labels`, from 0, or their number".to_string()))
    }

    /// How spoken text is heard, where it is.
    pub(super) fn runs(&self, audio: &AudioSpec) -> Result<Option<Runs>, Refusal> {
        let in_table = |field: &str, mend: &str| (std::format!("text.{field}"), mend.to_string());
        let Some(hop) = self.hop else {
            return match (self.tail_ms, self.pause_ms) {
                (None, None) => Ok(None),
                (Some(_), _) => Err(in_table("tail_ms", "left out, or `hop` be given")),
                _ => Err(in_table("pause_ms", "left out, or `hop` be given")),
            };
        };
        if self.beams > 0 {
            return Err(in_table("beams", "left out where `hop` is given: a search may yet change what it has read"));
        }
        let runs = Runs { hop, tail: self.tail_ms.map_or(0, |ms| samples_of(ms, audio.sample_rate)) };
        match runs.check(audio) {
            Err(Error::Spec { field: "hop", mend }) => Err(in_table("hop", mend)),
            Err(other) => Err(from_spec(other)),
            Ok(()) => Ok(Some(runs)),
        }
    }
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// The form of an output that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TextDecoder {
    /// Scores `[time, classes]`, see [`read_ctc`](crate::answers::read_ctc); `labels` are the characters.
    Ctc,
}
