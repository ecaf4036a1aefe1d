//! Sound to words: windows of features, the plan, the average of its answers.

use cygnet_core::plan::MetadataKind;
use cygnet_core::{DType, Plan, Session};
use cygnet_sense::audio::Features;
use cygnet_sense::events::BACKGROUND;
use cygnet_sense::{
    AudioSpec, Event, EventDetector, EventSpec, FeatureWindows, Output, Quantization, Window, softmax_in_place,
};

use crate::model::{InputKind, ModelError, gives_probabilities};

/// A word that was heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word {
    /// Index of the class among the plan's labels.
    pub class: usize,
    /// The greatest average probability it had.
    pub score: f32,
    /// Where the middle of the averaged windows was when the word was there first, in samples from the beginning.
    pub start: u64,
    /// The same for the last time.
    pub end: u64,
}

/// What a piece of sound has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// A word has lasted long enough; `end` is where it is by now.
    Begun(Word),
    /// The word is over.
    Ended(Word),
}

/// A plan that listens. The words do not depend on how the sound is cut into pieces.
///
/// Before the first sample and behind the last one there is silence as long as the plan's window, so that words at the
/// edges are heard whole: [`begin`](Listener::begin) and [`finish`](Listener::finish) put it there.
#[derive(Debug)]
pub struct Listener<'a> {
    windows: FeatureWindows<'a>,
    model: Model<'a>,
    clip: usize,
}

/// What happens with a window.
#[derive(Debug)]
struct Model<'a> {
    session: Session<'a, 'a>,
    quantization: Quantization,
    scores: &'a mut [f32],
    are_probabilities: bool,
    detector: EventDetector<'a>,
    clock: Clock,
}

/// Turns numbers of windows into places in the sound, in samples.
#[derive(Clone, Copy, Debug)]
struct Clock {
    clip: i64,
    step: i64,
    average: i64,
}

impl Clock {
    /// The middle of all windows whose average is that of `window`; the first one begins a clip before the sound.
    fn middle(self, window: u64) -> u64 {
        let windows = i64::try_from(window).unwrap_or(i64::MAX);
        let begin = windows.saturating_mul(self.step) - self.clip;
        let before = (self.average - 1).saturating_mul(self.step) / 2;
        u64::try_from((begin + self.clip / 2).saturating_sub(before)).unwrap_or(0)
    }

    fn word(self, event: Event) -> Word {
        let (start, end) = (self.middle(event.first), self.middle(event.last));
        Word { class: event.class, score: event.score, start, end }
    }

    fn change(self, change: cygnet_sense::Change) -> Change {
        match change {
            cygnet_sense::Change::Begun(event) => Change::Begun(self.word(event)),
            cygnet_sense::Change::Ended(event) => Change::Ended(self.word(event)),
        }
    }
}

impl<'a> Listener<'a> {
    /// What makes a word where nobody says otherwise: an average of three windows of at least 0.5, until it is below
    /// half of that; for four windows at least. `cygnet listen` has the same.
    pub const EVENTS: EventSpec = EventSpec { threshold: 0.5, release: 0.25, average: 3, hold: 4 };

    /// Rows of features from a window to the next where nobody says otherwise: an eighth of the window.
    #[must_use]
    pub fn step_rows(spec: &AudioSpec) -> usize {
        let row = if spec.features == Features::Waveform { 1 } else { spec.hop };
        ((spec.clip_samples / 8).saturating_add(row / 2) / row.max(1)).max(1) as usize
    }

    /// The classes of a plan that are no words, by their labels.
    #[must_use]
    pub fn background(plan: &Plan<'_>) -> heapless::Vec<usize, { BACKGROUND.len() }> {
        let is_background = |(class, label)| BACKGROUND.contains(&label).then_some(class);
        plan.labels().enumerate().filter_map(is_background).take(BACKGROUND.len()).collect()
    }

    /// What [`scratch_len`](Listener::scratch_len) will say of the plan in `bytes` whose classes all have a label, for
    /// the length of an array in firmware; 0 where its first input takes no sound. Can be called in a constant.
    #[must_use]
    pub const fn scratch_len_of(bytes: &[u8], events: &EventSpec) -> usize {
        let Some(record) = Plan::metadata_in(bytes, MetadataKind::Audio, 0) else { return 0 };
        let labels = match Plan::metadata_in(bytes, MetadataKind::Labels, 0) {
            Some(labels) => labels,
            None => &[],
        };
        let (mut rest, mut classes) = (labels, !labels.is_empty() as usize);
        while let Some((&byte, later)) = rest.split_first() {
            // A line end at the very end begins no line.
            classes += (byte == b'\n' && !later.is_empty()) as usize;
            rest = later;
        }
        FeatureWindows::scratch_len_of(record) + EventDetector::scratch_len(events, classes) + classes
    }

    /// How the sound of a plan's first input is prepared: the `spec` for [`new`](Listener::new).
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::Prepare`].
    pub fn sound(plan: &Plan<'_>) -> Result<AudioSpec, ModelError> {
        let record = plan.metadata_of(MetadataKind::Audio, 0).ok_or(ModelError::Input(InputKind::Sound))?;
        Ok(AudioSpec::from_bytes(record)?)
    }

    /// Values of `f32` scratch that [`new`](Listener::new) needs.
    #[must_use]
    pub fn scratch_len(spec: &AudioSpec, events: &EventSpec, classes: usize) -> usize {
        FeatureWindows::scratch_len(spec) + EventDetector::scratch_len(events, classes) + classes
    }

    /// Listens with `session`, whose first output has one score for each class. A window is looked at every
    /// `step_rows` rows of features; the classes in `ignored` (silence, unknown words) are no words.
    ///
    /// # Errors
    /// [`ModelError`]; in `scratch`, at least [`scratch_len`](Listener::scratch_len) values are needed.
    pub fn new(
        mut session: Session<'a, 'a>,
        spec: &'a AudioSpec,
        step_rows: usize,
        events: &EventSpec,
        ignored: &'a [usize],
        mut scratch: &'a mut [f32],
    ) -> Result<Self, ModelError> {
        let plan = *session.plan();
        let port = plan.input(0).filter(|port| port.in_order()).ok_or(ModelError::Input(InputKind::Sound))?;
        let tensor = plan.tensor(port.tensor).filter(|tensor| tensor.dtype == DType::I8);
        let tensor =
            tensor.filter(|tensor| tensor.len() == spec.tensor_len()).ok_or(ModelError::Input(InputKind::Sound))?;
        session.input_i8(0)?;
        let classes = plan.output(0).ok_or(ModelError::Input(InputKind::Sound))?.len();
        let (needed, given) = (Self::scratch_len(spec, events, classes), scratch.len());
        let mut take = |len| scratch.split_off_mut(..len).ok_or(ModelError::Scratch { needed, given });
        let scores = take(classes)?;
        let room = take(EventDetector::scratch_len(events, classes))?;
        let detector = EventDetector::new(events, classes, ignored, room)?;
        let windows = FeatureWindows::new(spec, step_rows, take(FeatureWindows::scratch_len(spec))?)?;
        let row = if spec.features == Features::Waveform { 1 } else { spec.hop };
        let clock = Clock {
            clip: spec.clip_samples.into(),
            step: i64::try_from(step_rows.max(1)).unwrap_or(i64::MAX).saturating_mul(row.into()),
            average: i64::try_from(events.average).unwrap_or(i64::MAX),
        };
        let model = Model {
            quantization: Quantization { scale: tensor.scale, zero_point: tensor.zero_point },
            are_probabilities: gives_probabilities(&plan),
            session,
            scores,
            detector,
            clock,
        };
        Ok(Self { windows, model, clip: spec.clip_samples as usize })
    }

    /// The session that listens.
    #[must_use]
    pub fn session(&self) -> &Session<'a, 'a> {
        &self.model.session
    }

    /// The label of a class, empty where the plan has none.
    #[must_use]
    pub fn label(&self, class: usize) -> &'a str {
        self.model.session.plan().labels().nth(class).unwrap_or_default()
    }

    /// Hears the silence before the sound.
    ///
    /// # Errors
    /// [`ModelError::Run`].
    pub fn begin(&mut self, mut emit: impl FnMut(Change)) -> Result<(), ModelError> {
        self.silence(&mut emit)
    }

    /// Hears a piece of sound, of any length, and calls `emit` with what it changes.
    ///
    /// # Errors
    /// [`ModelError::Run`].
    pub fn push(&mut self, samples: &[i16], mut emit: impl FnMut(Change)) -> Result<(), ModelError> {
        self.hear(samples, &mut emit)
    }

    /// Hears the silence behind the sound and ends the word that is there now.
    ///
    /// # Errors
    /// [`ModelError::Run`].
    pub fn finish(&mut self, mut emit: impl FnMut(Change)) -> Result<(), ModelError> {
        self.silence(&mut emit)?;
        let Model { detector, clock, .. } = &mut self.model;
        detector.interrupt(|change| emit(clock.change(change)));
        Ok(())
    }

    fn silence(&mut self, emit: &mut dyn FnMut(Change)) -> Result<(), ModelError> {
        const SILENCE: [i16; 64] = [0; 64];
        let mut missing = self.clip;
        while missing > 0 {
            let block = SILENCE.get(..missing).unwrap_or(&SILENCE);
            self.hear(block, emit)?;
            missing -= block.len();
        }
        Ok(())
    }

    fn hear(&mut self, samples: &[i16], emit: &mut dyn FnMut(Change)) -> Result<(), ModelError> {
        let Self { windows, model, .. } = self;
        let mut done = Ok(());
        windows.push(samples, |window| {
            if done.is_ok() {
                done = model.window(&window, emit);
            }
        });
        done.map_err(ModelError::Run)
    }
}

impl Model<'_> {
    fn window(&mut self, window: &Window<'_>, emit: &mut dyn FnMut(Change)) -> Result<(), cygnet_core::Error> {
        window.write(&mut Output::I8(self.session.input_i8(0)?, self.quantization));
        self.session.run()?;
        self.session.read_f32(0, self.scores)?;
        if !self.are_probabilities {
            softmax_in_place(self.scores);
        }
        let Self { detector, clock, scores, .. } = self;
        detector.push(scores, |change| emit(clock.change(change)));
        Ok(())
    }
}
