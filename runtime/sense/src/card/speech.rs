//! The card's `[speech]`: how the output tells where in a sound there is speech.

use std::string::ToString;

use serde::{Deserialize, Serialize};

use super::error::{Refusal, refusal};
use crate::Error;
use crate::audio::{AudioSpec, Features, Runs};
use crate::speech::{SpeechSpec, samples_of};

/// How the first output tells where in a sound there is speech: `[speech]`. The input is a waveform; what the model
/// keeps from run to run goes on from frame to frame. What is not given is as in [`SpeechSpec::new`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speech {
    /// Which value of the output is the probability of speech: the first when not given.
    #[serde(default)]
    pub class: u32,
    /// Samples from one frame to the next: `clip_samples` when not given. Where it is less, a frame begins with the last
    /// samples of the frame before; in front of the sound lie zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// The probability from which on a frame begins speech.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// The probability below which a frame may end it: 0.15 below `threshold` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<f32>,
    /// Shorter speech is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_speech_ms: Option<u32>,
    /// Shorter silence belongs to the speech around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_silence_ms: Option<u32>,
    /// How much is added at both ends of a segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding_ms: Option<u32>,
}

impl Speech {
    pub(super) fn spec(&self, audio: &AudioSpec) -> Result<SpeechSpec, Refusal> {
        let in_table = |field: &str, mend: &str| (std::format!("speech.{field}"), mend.to_string());
        if audio.features != Features::Waveform {
            return Err(refusal("features", "\"waveform\" where there is [speech]"));
        }
        let hop = self.hop.unwrap_or(audio.clip_samples);
        if let Err(Error::Spec { mend, .. }) = (Runs { hop, tail: 0 }).check(audio) {
            return Err(in_table("hop", mend));
        }
        let usual = SpeechSpec::new(audio.sample_rate, hop);
        let samples = |given: Option<u32>, usual| given.map_or(usual, |ms| samples_of(ms, audio.sample_rate));
        let threshold = self.threshold.unwrap_or(usual.threshold);
        let spec = SpeechSpec {
            threshold,
            release: self.release.unwrap_or(SpeechSpec::release_of(threshold)),
            hop,
            least_speech: samples(self.least_speech_ms, usual.least_speech),
            least_silence: samples(self.least_silence_ms, usual.least_silence),
            padding: samples(self.padding_ms, usual.padding),
        };
        match spec.check() {
            Err(Error::Spec { field: "padding", .. }) => {
                Err(in_table("padding_ms", "at most half of `least_silence_ms`"))
            }
            Err(Error::Spec { field, mend }) => Err(in_table(field, mend)),
            _ => Ok(spec),
        }
    }
}
