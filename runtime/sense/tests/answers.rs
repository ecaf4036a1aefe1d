//! Answers against hand-made cases.

use cygnet_sense::{Detection, argmax, non_maximum_suppression, softmax_in_place, top_k};
use proptest::prelude::*;

fn detection(x1: f32, y1: f32, x2: f32, y2: f32, score: f32, class: u32) -> Detection {
    Detection { x1, y1, x2, y2, score, class, place: 0 }
}

#[test]
fn equal_scores_keep_their_order_and_nan_is_last() {
    let scores = [0.5, f32::NAN, 0.9, 0.5, -1.0, 0.9];
    let best = top_k::<4>(&scores);
    assert_eq!(best[..], [(2, 0.9), (5, 0.9), (0, 0.5), (3, 0.5)]);
    let all = top_k::<8>(&scores);
    assert_eq!(all.len(), 6);
    assert_eq!((all[4], all[5].0), ((4, -1.0), 1));
    assert!(top_k::<0>(&scores).is_empty());
    assert!(top_k::<3>(&[]).is_empty());
    assert_eq!(argmax(&scores), Some(2));
    assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY]), Some(1));
    assert_eq!(argmax(&[f32::NAN]), None);
    assert_eq!(argmax(&[]), None);
}

#[test]
fn softmax_equals_hand_worked_values() {
    // exp(0), exp(ln 2), exp(ln 5): 1, 2 and 5 of 8; also far from zero.
    for shift in [0.0, 900.0, -900.0] {
        let mut scores = [shift, shift + 2f32.ln(), shift + 5f32.ln()];
        softmax_in_place(&mut scores);
        for (score, expected) in scores.iter().zip([0.125, 0.25, 0.625]) {
            assert!((score - expected).abs() < 2e-5, "{score} {expected}");
        }
    }
    let mut sure = [f32::INFINITY, 3.0, f32::NEG_INFINITY];
    softmax_in_place(&mut sure);
    assert_eq!(sure, [1.0, 0.0, 0.0]);
    let mut none = [f32::NEG_INFINITY; 2];
    softmax_in_place(&mut none);
    assert_eq!(none, [0.5, 0.5]);
    let mut nan = [f32::NAN, 1.0];
    softmax_in_place(&mut nan);
    assert!(nan[0].is_nan() && nan[1].is_nan());
    softmax_in_place(&mut []);
}

#[test]
fn the_better_of_two_that_overlap_stays() {
    let best = detection(0.0, 0.0, 10.0, 10.0, 0.9, 1);
    // Shares 80 of 120 with the best: 2/3.
    let shifted = detection(2.0, 0.0, 12.0, 10.0, 0.8, 1);
    // Shares 50 of 150 with the best: 1/3; with `shifted` 70 of 130.
    let further = detection(5.0, 0.0, 15.0, 10.0, 0.7, 1);
    let other_class = detection(0.0, 0.0, 10.0, 10.0, 0.6, 2);
    let apart = detection(50.0, 50.0, 60.0, 60.0, 0.95, 1);
    let unsure = detection(80.0, 80.0, 90.0, 90.0, f32::NAN, 1);
    assert!((best.intersection_over_union(&shifted) - 2.0 / 3.0).abs() < 1e-6);
    assert_eq!(best.intersection_over_union(&apart), 0.0);

    let mut boxes = [other_class, further, unsure, shifted, best, apart];
    let kept = non_maximum_suppression(&mut boxes, 0.5);
    // `further` overlaps only with `shifted`, which went.
    assert_eq!(boxes[..kept], [apart, best, further, other_class]);

    let mut boxes = [other_class, further, shifted, best, apart];
    assert_eq!(non_maximum_suppression(&mut boxes, 0.3), 3);
    // The threshold itself is not beyond it.
    let mut boxes = [best, detection(0.0, 0.0, 10.0, 5.0, 0.5, 1)];
    assert_eq!(non_maximum_suppression(&mut boxes, 0.5), 2);
    assert_eq!(non_maximum_suppression(&mut [], 0.5), 0);
    let empty = detection(3.0, 3.0, 3.0, 3.0, 0.5, 1);
    assert_eq!(non_maximum_suppression(&mut [empty, empty], 0.5), 2);
}

fn any_detection() -> impl Strategy<Value = Detection> {
    let side = prop_oneof![9 => (0u8..20).prop_map(f32::from), 1 => any::<f32>()];
    (side.clone(), side.clone(), side.clone(), side, any::<u8>(), 0u32..3)
        .prop_map(|(x1, y1, x2, y2, score, class)| detection(x1, y1, x2, y2, f32::from(score), class))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The order of the input does not matter, and no two that stay overlap too much.
    #[test]
    fn suppression_does_not_depend_on_the_order(
        boxes in prop::collection::vec(any_detection(), 0..30),
        turn in 0usize..30,
        threshold in 0f32..1.0,
    ) {
        let mut one = boxes.clone();
        let mut other = boxes;
        let middle = turn.min(other.len());
        other.rotate_left(middle);
        let kept = non_maximum_suppression(&mut one, threshold);
        prop_assert_eq!(kept, non_maximum_suppression(&mut other, threshold));
        let bits = |boxes: &[Detection]| format!("{boxes:?}");
        prop_assert_eq!(bits(&one[..kept]), bits(&other[..kept]));
        for (k, a) in one[..kept].iter().enumerate() {
            for b in &one[..k] {
                prop_assert!(a.class != b.class || b.intersection_over_union(a) <= threshold);
            }
        }
    }

    /// The same as sorting everything.
    #[test]
    fn the_best_are_those_of_a_stable_sort(scores in prop::collection::vec((-4i8..4).prop_map(f32::from), 0..40)) {
        let mut sorted: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        sorted.truncate(5);
        prop_assert_eq!(&top_k::<5>(&scores)[..], &sorted[..]);
    }
}
