//! How likely frames of sound hold speech, to segments that do.

use crate::Error;

/// When speech begins and ends, in samples at the model's rate.
///
/// The rule and the values of [`new`](SpeechSpec::new) are those of `get_speech_timestamps` of Silero VAD
/// (<https://github.com/snakers4/silero-vad>), with segments as long as they come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeechSpec {
    /// The probability from which on a frame begins speech, within 0 and 1.
    pub threshold: f32,
    /// The probability below which a frame may end it; at most `threshold`.
    pub release: f32,
    /// Samples from one frame to the next, at least 1.
    pub hop: u32,
    /// Shorter speech is none.
    pub least_speech: u32,
    /// Shorter silence belongs to the speech around it.
    pub least_silence: u32,
    /// How much is added at both ends; at most half of `least_silence`, so that segments stay apart.
    pub padding: u32,
}

impl SpeechSpec {
    /// Speech from a probability of 0.5 on until it is below 0.35, of 250 ms or more, with 100 ms or more of silence
    /// between, and 30 ms added at both ends.
    pub fn new(sample_rate: u32, hop: u32) -> Self {
        let samples = |milliseconds| samples_of(milliseconds, sample_rate);
        SpeechSpec {
            threshold: 0.5,
            release: Self::release_of(0.5),
            hop,
            least_speech: samples(250),
            least_silence: samples(100),
            padding: samples(30),
        }
    }

    /// The release that suits a threshold: 0.15 less, but not below 0.01.
    pub fn release_of(threshold: f32) -> f32 {
        (threshold - 0.15).max(0.01).min(threshold)
    }

    /// Whether the fields are usable together.
    ///
    /// # Errors
    /// [`Error::Spec`] names the first field that is not, and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if !(0.0..=1.0).contains(&self.threshold) {
            return refuse("threshold", "within 0 and 1");
        }
        if !(0.0..=self.threshold).contains(&self.release) {
            return refuse("release", "within 0 and `threshold`");
        }
        if self.hop == 0 {
            return refuse("hop", "at least 1");
        }
        if self.padding > self.least_silence / 2 {
            return refuse("padding", "at most half of the least silence");
        }
        Ok(())
    }
}

/// A time in samples, rounded down.
pub fn samples_of(milliseconds: u32, sample_rate: u32) -> u32 {
    u32::try_from(u64::from(milliseconds) * u64::from(sample_rate) / 1000).unwrap_or(u32::MAX)
}

/// A stretch of speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Its first sample.
    pub begin: u64,
    /// The sample behind its last one.
    pub end: u64,
    /// The mean probability of its frames, those of short silence among them.
    pub score: f32,
}

/// Tells segments from the probabilities of frames that come one by one: the same segments as of all frames at once.
///
/// ```
/// use cygnet_sense::speech::{SpeechDetector, SpeechSpec};
///
/// let spec = SpeechSpec { least_speech: 800, least_silence: 320, padding: 100, ..SpeechSpec::new(8000, 400) };
/// let mut detector = SpeechDetector::new(&spec)?;
/// let mut told = Vec::new();
/// for probability in [0.0, 0.9, 0.8, 0.4, 0.7, 0.1, 0.1, 0.0] {
///     told.extend(detector.push(probability));
/// }
/// // Frames 1 to 4.
/// assert_eq!((told[0].begin, told[0].end, told.len()), (400 - 100, 2000 + 100, 1));
/// assert_eq!(detector.finish(8 * 400), None);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SpeechDetector {
    spec: SpeechSpec,
    frames: u64,
    open: Option<Open>,
}

/// Speech that goes on.
#[derive(Debug, Clone, Copy)]
struct Open {
    begin: u64,
    /// The end, should the silence that has begun last.
    quiet: Option<Quiet>,
    sum: f64,
    frames: u64,
}

#[derive(Debug, Clone, Copy)]
struct Quiet {
    at: u64,
    sum: f64,
    frames: u64,
}

impl SpeechDetector {
    /// Begins with nothing heard.
    ///
    /// # Errors
    /// [`Error::Spec`] from [`SpeechSpec::check`].
    pub fn new(spec: &SpeechSpec) -> Result<Self, Error> {
        spec.check()?;
        Ok(SpeechDetector { spec: *spec, frames: 0, open: None })
    }

    /// Whether there is speech now, and has been for long enough.
    pub fn is_speech(&self) -> bool {
        let now = self.place(self.frames);
        self.open.is_some_and(|open| open.quiet.is_none() && now - open.begin > u64::from(self.spec.least_speech))
    }

    /// Takes the probability of the next frame; tells the segment whose end this frame makes sure.
    pub fn push(&mut self, probability: f32) -> Option<Segment> {
        let at = self.place(self.frames);
        self.frames = self.frames.wrapping_add(1);
        let Some(mut open) = self.open.take() else {
            if probability >= self.spec.threshold {
                self.open = Some(Open { begin: at, quiet: None, sum: f64::from(probability), frames: 1 });
            }
            return None;
        };
        if probability >= self.spec.threshold {
            open.quiet = None;
        } else if probability < self.spec.release {
            let quiet = open.quiet.get_or_insert(Quiet { at, sum: open.sum, frames: open.frames });
            if at - quiet.at >= u64::from(self.spec.least_silence) {
                return self.segment(
                    open.begin,
                    quiet.at,
                    quiet.at + u64::from(self.spec.padding),
                    quiet.sum,
                    quiet.frames,
                );
            }
        }
        open.sum += f64::from(probability);
        open.frames += 1;
        self.open = Some(open);
        None
    }

    /// Ends the sound after `samples` samples; tells the segment that goes on to its end. What is pushed then is new
    /// sound, counted from 0.
    pub fn finish(&mut self, samples: u64) -> Option<Segment> {
        self.frames = 0;
        let open = self.open.take()?;
        self.segment(open.begin, samples, samples, open.sum, open.frames)
    }

    fn segment(&self, begin: u64, end: u64, padded_end: u64, sum: f64, frames: u64) -> Option<Segment> {
        if end.saturating_sub(begin) <= u64::from(self.spec.least_speech) {
            return None;
        }
        let begin = begin.saturating_sub(u64::from(self.spec.padding));
        Some(Segment { begin, end: padded_end, score: (sum / frames as f64) as f32 })
    }

    fn place(&self, frame: u64) -> u64 {
        frame.wrapping_mul(u64::from(self.spec.hop))
    }
}
