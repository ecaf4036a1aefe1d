//! Text out of scores for each moment, connectionist temporal classification: the likeliest text by a search with beams.
//!
//! The greedy way is [`read_ctc`](crate::answers::read_ctc), or [`CtcReader`] moment by moment: it takes the likeliest
//! class of each moment. A text is likelier than that where many ways lead to it.

use crate::Error;
use crate::answers::{are_probabilities, softmax_in_place};

/// Reads text greedily out of moments that come one by one: what it has told stays so.
///
/// ```
/// use cygnet_sense::ctc::CtcReader;
///
/// let mut reader = CtcReader::new(0);
/// assert_eq!(reader.push(&[0.1, 0.9]), Some((1, 0.9)));
/// assert_eq!(reader.push(&[0.2, 0.8]), None);
/// assert!(reader.goes_on());
/// assert_eq!(reader.push(&[0.7, 0.3]), None);
/// assert_eq!(reader.push(&[0.4, 0.6]), Some((1, 0.6)));
/// ```
#[derive(Debug, Clone)]
pub struct CtcReader {
    blank: usize,
    last: usize,
}

impl CtcReader {
    /// Nothing read yet; the class `blank` stands for no character.
    pub fn new(blank: usize) -> Self {
        CtcReader { blank, last: blank }
    }

    /// Takes the scores of a moment and tells the class that begins there, with its score; equal scores count for the
    /// lower class. A class that goes on from the moment before is told once.
    pub fn push(&mut self, moment: &[f32]) -> Option<(usize, f32)> {
        let best = moment.iter().copied().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        let (class, score) = best?;
        let begins = class != self.last && class != self.blank;
        self.last = class;
        begins.then_some((class, score))
    }

    /// Whether the last moment held a character: the next one may go on with it.
    pub fn goes_on(&self) -> bool {
        self.last != self.blank
    }
}

/// A text that the search has met: the one before, and the class behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prefix {
    before: u32,
    class: u32,
}

/// A text that is kept, with the probability of all ways to it that end in a blank, and of those that do not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beam {
    /// Its place among the prefixes; [`NEW`] where it has none yet.
    place: u32,
    prefix: Prefix,
    blank: f64,
    other: f64,
}

impl Beam {
    fn total(&self) -> f64 {
        self.blank + self.other
    }
}

/// Memory of a search.
#[derive(Debug)]
pub struct CtcRoom<'a> {
    /// Twice as many as texts are kept.
    pub beams: &'a mut [Beam],
    /// At least [`CtcRoom::prefixes`].
    pub prefixes: &'a mut [Prefix],
    /// At least as many as classes.
    pub moment: &'a mut [f32],
}

impl CtcRoom<'_> {
    /// How many prefixes a search over so many moments needs that keeps `width` texts.
    pub const fn prefixes(moments: usize, width: usize) -> usize {
        moments.saturating_mul(width).saturating_add(1)
    }
}

/// The place of the text without characters.
const EMPTY: u32 = 0;
/// The place of a text that was not kept before.
const NEW: u32 = u32::MAX;

/// Finds the likeliest text of scores `[time, classes]` (probabilities, or numbers whose softmax they are) and calls
/// `read` with its classes from the first to the last. Gives the natural logarithm of its probability: that of all ways to
/// it which the search has kept.
///
/// After each moment the likeliest texts are kept, half as many as there are beams; of equally likely ones the one that was
/// met first. It is the prefix search of Graves et al., «Connectionist temporal classification», 2006, with beams as in
/// Hannun et al., «First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs», 2014,
/// without a model of language.
///
/// ```
/// use cygnet_sense::ctc::{Beam, CtcRoom, Prefix, search_ctc};
///
/// // The best class of both moments is the blank, 0; but three of four ways lead to class 1.
/// let scores = [0.6, 0.4, 0.6, 0.4];
/// let (mut beams, mut prefixes, mut moment) = ([Beam::default(); 8], [Prefix::default(); 9], [0.0; 2]);
/// let room = CtcRoom { beams: &mut beams, prefixes: &mut prefixes, moment: &mut moment };
/// let mut text = Vec::new();
/// let sure = search_ctc(&scores, 2, 0, room, |class| text.push(class))?;
/// assert_eq!(text, [1]);
/// assert!((sure - 0.64_f64.ln()).abs() < 1e-6);
/// # Ok::<(), cygnet_sense::Error>(())
/// ```
///
/// # Errors
/// [`Error::ScratchLength`] where the room is too small.
pub fn search_ctc(
    scores: &[f32],
    classes: usize,
    blank: usize,
    room: CtcRoom<'_>,
    mut read: impl FnMut(usize),
) -> Result<f64, Error> {
    let CtcRoom { beams, prefixes, moment } = room;
    let width = beams.len() / 2;
    let moments = scores.len().checked_div(classes).unwrap_or(0);
    enough(2, beams.len())?;
    enough(CtcRoom::prefixes(moments, width), prefixes.len())?;
    enough(classes, moment.len())?;
    let (kept, next) = beams.split_at_mut(width);
    let next = next.get_mut(..width).unwrap_or_default();
    let moment = moment.get_mut(..classes).unwrap_or_default();
    let mut search = Search { kept, count: 1, next, found: 0, prefixes, used: 1, blank };
    if let Some(first) = search.kept.first_mut() {
        *first = Beam { place: EMPTY, blank: 1.0, ..Beam::default() };
    }
    let mut logarithm = 0.0;
    for scores in scores.chunks_exact(classes.max(1)).take(moments) {
        moment.copy_from_slice(scores);
        if !are_probabilities(moment) {
            softmax_in_place(moment);
        }
        logarithm += search.step(moment);
    }
    let Some(best) = search.kept.first().filter(|_| search.count > 0) else { return Ok(f64::NEG_INFINITY) };
    let len = search.walk(best.place).count();
    for place in (0..len).rev() {
        if let Some(class) = search.walk(best.place).nth(place) {
            read(class as usize);
        }
    }
    Ok(logarithm + libm::log(best.total()))
}

fn enough(needed: usize, given: usize) -> Result<(), Error> {
    if given < needed { Err(Error::ScratchLength { needed, given }) } else { Ok(()) }
}

struct Search<'a> {
    kept: &'a mut [Beam],
    count: usize,
    /// What is kept next, the likeliest first. A text that is not met yet is told by the one before and its class.
    next: &'a mut [Beam],
    found: usize,
    prefixes: &'a mut [Prefix],
    used: usize,
    blank: usize,
}

impl Search<'_> {
    /// Goes on by a moment; gives the logarithm of what all probabilities were divided by.
    fn step(&mut self, moment: &[f32]) -> f64 {
        self.found = 0;
        let blank = self.blank;
        let of = |class: usize| f64::from(moment.get(class).copied().unwrap_or(0.0));
        for place in 0..self.count {
            let Some(beam) = self.kept.get(place).copied() else { break };
            let mut stays = Beam { blank: beam.total() * of(blank), other: 0.0, ..beam };
            if beam.place != EMPTY {
                let Prefix { before, class } = beam.prefix;
                stays.other = (beam.other + self.extended_to(before, class)) * of(class as usize);
            }
            self.offer(stays);
        }
        for place in 0..self.count {
            let Some(beam) = self.kept.get(place).copied() else { break };
            for (class, &probability) in (0_u32..).zip(moment).filter(|(class, _)| *class as usize != blank) {
                let other = extended(&beam, class) * f64::from(probability);
                let prefix = Prefix { before: beam.place, class };
                if other > 0.0 && self.is_wanted(other) && !self.is_kept(prefix) {
                    self.offer(Beam { place: NEW, prefix, blank: 0.0, other });
                }
            }
        }
        self.settle();
        core::mem::swap(&mut self.kept, &mut self.next);
        self.count = self.found;
        let greatest = self.kept.first().filter(|_| self.count > 0).map_or(0.0, Beam::total);
        if greatest > 0.0 {
            for beam in self.kept.iter_mut().take(self.count) {
                beam.blank /= greatest;
                beam.other /= greatest;
            }
        }
        libm::log(greatest)
    }

    /// What the text at a place adds to that with `class` behind it, where it is kept.
    fn extended_to(&self, place: u32, class: u32) -> f64 {
        let kept = self.kept.iter().take(self.count).find(|beam| beam.place == place);
        kept.map_or(0.0, |beam| extended(beam, class))
    }

    /// Whether a text is kept already, and so has counted this way to it.
    fn is_kept(&self, prefix: Prefix) -> bool {
        self.kept.iter().take(self.count).any(|beam| beam.place != EMPTY && beam.prefix == prefix)
    }

    fn is_wanted(&self, total: f64) -> bool {
        self.found < self.next.len() || self.next.last().is_some_and(|worst| total > worst.total())
    }

    /// Puts a text among the next ones, behind those that are as likely.
    fn offer(&mut self, beam: Beam) {
        let total = beam.total();
        if !self.is_wanted(total) {
            return;
        }
        self.found = (self.found + 1).min(self.next.len());
        let Some(found) = self.next.get_mut(..self.found) else { return };
        let place = found.iter().take(self.found - 1).take_while(|other| other.total() >= total).count();
        let Some(behind) = found.get_mut(place..) else { return };
        behind.rotate_right(1);
        if let Some(first) = behind.first_mut() {
            *first = beam;
        }
    }

    /// Gives new texts their places; one that was kept before has its own, so that no text has two.
    fn settle(&mut self) {
        for beam in self.next.iter_mut().take(self.found).filter(|beam| beam.place == NEW) {
            let met = self.prefixes.iter().take(self.used).skip(1).position(|prefix| *prefix == beam.prefix);
            let place = met.map_or(self.used, |met| met + 1);
            if met.is_none() {
                self.used += 1;
            }
            if let Some(prefix) = self.prefixes.get_mut(place) {
                *prefix = beam.prefix;
            }
            beam.place = place as u32;
        }
    }

    /// The classes of a text from the last to the first.
    fn walk(&self, place: u32) -> impl Iterator<Item = u32> + '_ {
        let prefix = |place: u32| self.prefixes.get(place as usize).copied().filter(|_| place != EMPTY);
        core::iter::successors(prefix(place), move |last| prefix(last.before)).map(|last| last.class)
    }
}

/// The probability of ways to a text that may go on with `class`: a repetition needs a blank between.
fn extended(beam: &Beam, class: u32) -> f64 {
    let repeats = beam.place != EMPTY && beam.prefix.class == class;
    if repeats { beam.blank } else { beam.total() }
}
