//! Scores of overlapping windows to events: one word, one event.

use crate::Error;
use crate::answers::argmax;

/// Labels that are no words, as the usual sets of keywords call them.
pub const BACKGROUND: [&str; 7] =
    ["silence", "unknown", "background", "noise", "_silence_", "_unknown_", "_background_noise_"];

/// When an event begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventSpec {
    /// The average probability from which on the best class begins an event, within 0 and 1.
    pub threshold: f32,
    /// The average probability below which it ends, or where another class is better; at most `threshold`.
    pub release: f32,
    /// How many windows are averaged, at least 1.
    pub average: usize,
    /// How many windows in a row an event must last, at least 1. Half a word at the edge of the window may look like
    /// another one, but not for long.
    pub hold: usize,
}

/// A class that was there for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Index of the class.
    pub class: usize,
    /// The greatest average probability it had.
    pub score: f32,
    /// Number of the first window whose average had it, from 0.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
}

impl Event {
    /// How many windows it has lasted.
    pub fn windows(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// What a window has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// An event has lasted long enough; `last` is the window that makes it so.
    Begun(Event),
    /// The event is over.
    Ended(Event),
}

/// Averages the probabilities of the last windows and tells when a class appears and disappears.
///
/// ```
/// use cygnet_sense::{Change, EventDetector, EventSpec};
///
/// const SPEC: EventSpec = EventSpec { threshold: 0.6, release: 0.3, average: 2, hold: 1 };
/// let mut scratch = [0f32; EventDetector::scratch_len(&SPEC, 2)];
/// // Class 1 is the background.
/// let mut detector = EventDetector::new(&SPEC, 2, &[1], &mut scratch)?;
/// let mut ended = Vec::new();
/// for score in [0.1, 0.9, 0.9, 0.8, 0.0, 0.0] {
///     detector.push(&[score, 1.0 - score], |change| {
///         if let Change::Ended(event) = change {
///             ended.push((event.class, event.first, event.last));
///         }
///     });
/// }
/// assert_eq!(ended, [(0, 2, 3)]);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
#[derive(Debug)]
pub struct EventDetector<'a> {
    spec: EventSpec,
    ignored: &'a [usize],
    /// The last `average` windows, one behind the other; the oldest at `next`.
    recent: &'a mut [f32],
    means: &'a mut [f32],
    next: usize,
    windows: u64,
    /// The event that goes on; it is told once it has lasted.
    open: Option<Event>,
}

impl<'a> EventDetector<'a> {
    /// Values of `f32` scratch that [`new`](EventDetector::new) needs.
    pub const fn scratch_len(spec: &EventSpec, classes: usize) -> usize {
        classes.saturating_mul(spec.average.saturating_add(1))
    }

    /// Begins with nothing heard; the classes in `ignored` (silence, unknown words) make no events.
    ///
    /// # Errors
    /// [`Error::Spec`] where a field is not usable; [`Error::ScratchLength`].
    pub fn new(spec: &EventSpec, classes: usize, ignored: &'a [usize], scratch: &'a mut [f32]) -> Result<Self, Error> {
        let refuse = |field, mend| Err(Error::Spec { field, mend });
        if !(0.0..=1.0).contains(&spec.threshold) {
            return refuse("threshold", "within 0 and 1");
        }
        if !(0.0..=spec.threshold).contains(&spec.release) {
            return refuse("release", "within 0 and `threshold`");
        }
        if spec.average == 0 {
            return refuse("average", "at least 1");
        }
        if spec.hold == 0 {
            return refuse("hold", "at least 1");
        }
        let (needed, given) = (Self::scratch_len(spec, classes), scratch.len());
        let scratch = scratch.get_mut(..needed).ok_or(Error::ScratchLength { needed, given })?;
        scratch.fill(0.0);
        let (means, recent) = scratch.split_at_mut_checked(classes).ok_or(Error::ScratchLength { needed, given })?;
        Ok(EventDetector { spec: *spec, ignored, recent, means, next: 0, windows: 0, open: None })
    }

    /// The average probabilities, one for each class.
    pub fn means(&self) -> &[f32] {
        self.means
    }

    /// Takes the probabilities of the next window and calls `emit` with what changes: at most an end and then a
    /// beginning. Before the first window lies nothing: probabilities of 0.
    pub fn push(&mut self, scores: &[f32], mut emit: impl FnMut(Change)) {
        let window = self.windows;
        self.windows = window.wrapping_add(1);
        self.average(scores);
        let best = argmax(self.means).map(|class| (class, self.mean(class)));
        if let Some(mut event) = self.open {
            let still = best.is_some_and(|(class, _)| class == event.class);
            let mean = self.mean(event.class);
            if still && mean >= self.spec.release {
                event.score = event.score.max(mean);
                self.go_on(event, window, emit);
                return;
            }
            self.end(&mut emit);
        }
        let Some((class, score)) = best else { return };
        if score >= self.spec.threshold && !self.ignored.contains(&class) {
            self.go_on(Event { class, score, first: window, last: window }, window, emit);
        }
    }

    fn go_on(&mut self, mut event: Event, window: u64, mut emit: impl FnMut(Change)) {
        event.last = window;
        self.open = Some(event);
        if event.windows() == self.spec.hold as u64 {
            emit(Change::Begun(event));
        }
    }

    fn end(&mut self, emit: &mut impl FnMut(Change)) {
        if let Some(event) = self.open.take().filter(|event| event.windows() >= self.spec.hold as u64) {
            emit(Change::Ended(event));
        }
    }

    /// Forgets the windows so far, as when the sound was interrupted, and calls `emit` with the end of the open
    /// event, if there is one. The numbers of the windows go on.
    pub fn interrupt(&mut self, mut emit: impl FnMut(Change)) {
        self.end(&mut emit);
        self.recent.fill(0.0);
        self.means.fill(0.0);
    }

    fn mean(&self, class: usize) -> f32 {
        self.means.get(class).copied().unwrap_or_default()
    }

    /// Puts a window in the place of the oldest one. Sums are made anew each time, from the first place to the
    /// last: no error piles up.
    fn average(&mut self, scores: &[f32]) {
        let classes = self.means.len();
        for (to, &score) in self.recent.iter_mut().skip(self.next).take(classes).zip(scores) {
            *to = score;
        }
        self.next += classes;
        if self.next >= self.recent.len() {
            self.next = 0;
        }
        self.means.fill(0.0);
        for window in self.recent.chunks_exact(classes.max(1)) {
            for (sum, score) in self.means.iter_mut().zip(window) {
                *sum += score;
            }
        }
        for sum in self.means.iter_mut() {
            *sum /= self.spec.average as f32;
        }
    }
}
