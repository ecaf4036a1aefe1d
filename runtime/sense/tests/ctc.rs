//! The search with beams against all ways, counted one by one.

use std::collections::BTreeMap;

use cygnet_sense::answers::read_ctc;
use cygnet_sense::ctc::{Beam, CtcRoom, Prefix, search_ctc};
use proptest::prelude::*;

fn search(scores: &[f32], classes: usize, blank: usize, width: usize) -> (Vec<usize>, f64) {
    let mut beams = vec![Beam::default(); 2 * width];
    let mut prefixes = vec![Prefix::default(); CtcRoom::prefixes(scores.len() / classes, width)];
    let mut moment = vec![0.0; classes];
    let room = CtcRoom { beams: &mut beams, prefixes: &mut prefixes, moment: &mut moment };
    let mut text = Vec::new();
    let sure = search_ctc(scores, classes, blank, room, |class| text.push(class)).unwrap();
    (text, sure)
}

/// The probability of every text: that of all ways to it.
fn all_texts(scores: &[f32], classes: usize, blank: usize) -> BTreeMap<Vec<usize>, f64> {
    let moments = scores.len() / classes;
    let mut texts = BTreeMap::new();
    for number in 0..classes.pow(moments as u32) {
        let way: Vec<usize> = (0..moments).map(|at| number / classes.pow(at as u32) % classes).collect();
        let likely: f64 = way.iter().enumerate().map(|(at, class)| f64::from(scores[at * classes + class])).product();
        let mut text = way.clone();
        text.dedup();
        text.retain(|class| *class != blank);
        *texts.entry(text).or_insert(0.0) += likely;
    }
    texts
}

#[test]
fn many_ways_win_over_the_likeliest_one() {
    let scores = [0.6, 0.4, 0.6, 0.4];
    let mut greedy = Vec::new();
    read_ctc(&scores, 2, 0, |class, _| greedy.push(class));
    assert_eq!(greedy, []);
    assert_eq!(search(&scores, 2, 0, 4).0, [1]);
    // "aa" needs a blank between: a, blank, a.
    assert_eq!(search(&[0.1, 0.9, 0.9, 0.1, 0.1, 0.9], 2, 0, 4).0, [1, 1]);
    assert_eq!(search(&[0.1, 0.9, 0.1, 0.9, 0.1, 0.9], 2, 0, 4).0, [1]);
    assert_eq!(search(&[], 2, 0, 4), (vec![], 0.0));
}

#[test]
fn a_room_that_is_too_small_is_refused() {
    let (mut beams, mut prefixes, mut moment) = ([Beam::default(); 4], [Prefix::default(); 4], [0.0; 2]);
    let room = CtcRoom { beams: &mut beams, prefixes: &mut prefixes, moment: &mut moment };
    let error = search_ctc(&[0.5; 4], 2, 0, room, |_| {}).unwrap_err();
    assert!(error.to_string().contains("5 elements of scratch are needed, 4 were given"), "{error}");
}

/// Scores without classes are no moments: the text without characters, for sure.
#[test]
fn scores_without_classes_tell_nothing() {
    let (mut beams, mut prefixes) = ([Beam::default(); 4], [Prefix::default(); 4]);
    let room = CtcRoom { beams: &mut beams, prefixes: &mut prefixes, moment: &mut [] };
    let sure = search_ctc(&[0.5; 4], 0, 0, room, |class| panic!("class {class} of none"));
    assert_eq!(sure, Ok(0.0));
}

proptest! {
    /// With room for all texts the search is exact.
    #[test]
    fn wide_searches_find_the_likeliest_text(
        (classes, blank, numbers) in (2_usize..4).prop_flat_map(|classes| {
            (Just(classes), 0..classes, prop::collection::vec(0.01_f32..1.0, classes * 5))
        })
    ) {
        let scores: Vec<f32> = numbers
            .chunks_exact(classes)
            .flat_map(|moment| moment.iter().map(|value| value / moment.iter().sum::<f32>()).collect::<Vec<_>>())
            .collect();
        let texts = all_texts(&scores, classes, blank);
        let (text, sure) = search(&scores, classes, blank, texts.len());
        let best = texts.values().copied().fold(0.0, f64::max);
        prop_assert!((texts[&text] - best).abs() < 1e-9 * best, "{text:?}: {} of {best}", texts[&text]);
        prop_assert!((sure - best.ln()).abs() < 1e-6, "{sure} of {}", best.ln());
        // Narrow ones find some text and call it no likelier than it is.
        for width in [1, 2, 3] {
            let (text, sure) = search(&scores, classes, blank, width);
            prop_assert!(sure <= texts[&text].ln() + 1e-6);
        }
    }
}
