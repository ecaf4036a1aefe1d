//! Events from scores, worked by hand.

use cygnet_sense::{Change, Error, Event, EventDetector, EventSpec};

const SPEC: EventSpec = EventSpec { threshold: 0.6, release: 0.3, average: 3, hold: 1 };

/// The changes that windows of three classes make, the last of which is the background.
fn changes(spec: EventSpec, windows: &[[f32; 3]]) -> Vec<Change> {
    let mut scratch = vec![0.0; EventDetector::scratch_len(&spec, 3)];
    let mut detector = EventDetector::new(&spec, 3, &[2], &mut scratch).unwrap();
    let mut changes = Vec::new();
    for window in windows {
        detector.push(window, |change| changes.push(change));
    }
    detector.interrupt(|change| changes.push(change));
    changes
}

const QUIET: [f32; 3] = [0.0, 0.0, 1.0];
const FIRST: [f32; 3] = [1.0, 0.0, 0.0];
const SECOND: [f32; 3] = [0.0, 1.0, 0.0];

#[test]
fn a_word_of_many_windows_is_one_event() {
    let found = changes(SPEC, &[QUIET, QUIET, FIRST, FIRST, FIRST, FIRST, QUIET, QUIET, QUIET]);
    // Averages of the first class: 0, 0, 1/3, 2/3, 1, 1, 2/3, 1/3 (the background is better), 0.
    let begun = Event { class: 0, score: 2.0 / 3.0, first: 3, last: 3 };
    assert_eq!(found, [Change::Begun(begun), Change::Ended(Event { score: 1.0, last: 6, ..begun })]);
}

#[test]
fn one_window_alone_is_no_event() {
    assert_eq!(changes(SPEC, &[QUIET, QUIET, FIRST, QUIET, QUIET, SECOND, QUIET, QUIET]), []);
    let alone = changes(EventSpec { average: 1, ..SPEC }, &[QUIET, FIRST, QUIET]);
    let begun = Event { class: 0, score: 1.0, first: 1, last: 1 };
    assert_eq!(alone, [Change::Begun(begun), Change::Ended(begun)]);
}

#[test]
fn a_better_class_ends_the_other() {
    let found = changes(EventSpec { average: 1, ..SPEC }, &[FIRST, FIRST, SECOND]);
    let first = Event { class: 0, score: 1.0, first: 0, last: 0 };
    let second = Event { class: 1, score: 1.0, first: 2, last: 2 };
    let first_whole = Event { last: 1, ..first };
    assert_eq!(found, [Change::Begun(first), Change::Ended(first_whole), Change::Begun(second), Change::Ended(second)]);
}

#[test]
fn a_score_between_the_thresholds_holds_an_event_and_begins_none() {
    let weak = [0.4, 0.3, 0.3];
    let spec = EventSpec { average: 1, ..SPEC };
    assert_eq!(changes(spec, &[weak, weak]), []);
    let found = changes(spec, &[FIRST, weak, weak, [0.2, 0.15, 0.15], weak]);
    let begun = Event { class: 0, score: 1.0, first: 0, last: 0 };
    assert_eq!(found, [Change::Begun(begun), Change::Ended(Event { last: 2, ..begun })]);
}

#[test]
fn background_and_numbers_that_are_none_make_no_event() {
    assert_eq!(changes(SPEC, &[[f32::NAN; 3], QUIET, QUIET, QUIET, QUIET]), []);
}

#[test]
fn what_does_not_last_is_no_event() {
    let spec = EventSpec { average: 1, hold: 3, ..SPEC };
    assert_eq!(changes(spec, &[QUIET, FIRST, FIRST, QUIET, FIRST, SECOND, SECOND]), []);
    let found = changes(spec, &[QUIET, FIRST, FIRST, FIRST, FIRST, QUIET]);
    let begun = Event { class: 0, score: 1.0, first: 1, last: 3 };
    assert_eq!(found, [Change::Begun(begun), Change::Ended(Event { last: 4, ..begun })]);
    assert_eq!(begun.windows(), 3);
}

#[test]
fn specs_that_cannot_work_are_refused() {
    let mut scratch = [0.0; 12];
    let mut refusal = |spec: EventSpec| match EventDetector::new(&spec, 3, &[], &mut scratch) {
        Err(Error::Spec { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(EventSpec { threshold: 1.5, ..SPEC }), "threshold");
    assert_eq!(refusal(EventSpec { threshold: f32::NAN, ..SPEC }), "threshold");
    assert_eq!(refusal(EventSpec { release: 0.7, ..SPEC }), "release");
    assert_eq!(refusal(EventSpec { average: 0, ..SPEC }), "average");
    assert_eq!(refusal(EventSpec { hold: 0, ..SPEC }), "hold");
    let short = EventDetector::new(&SPEC, 4, &[], &mut scratch).map(|_| ());
    assert_eq!(short, Err(Error::ScratchLength { needed: 16, given: 12 }));
}
