//! Points of a body, against cases worked by hand.

use cygnet_sense::BoxUnits;
use cygnet_sense::keypoints::{
    CoordinateOrder, Keypoint, KeypointDecoder, KeypointError, KeypointForm, KeypointLayout, PlacePoint,
};

/// Of two points, for an input of 12 × 6 pixels.
fn decoder(form: KeypointForm, shape: &[u32]) -> KeypointDecoder {
    KeypointDecoder {
        form,
        layout: form.layout(shape, 2).unwrap(),
        points: 2,
        width: 12,
        height: 6,
        units: BoxUnits::Pixels,
        order: CoordinateOrder::Xy,
        place_point: PlacePoint::Middle,
        quarter_shift: false,
        threshold: None,
    }
}

fn point(x: f32, y: f32, score: f32) -> Option<Keypoint> {
    Some(Keypoint { x, y, score: Some(score) })
}

/// Two maps of 2 × 4 places of 3 × 3 pixels each.
const PLANES: [f32; 16] = [
    0.0, 0.1, 0.2, 0.1, //
    0.3, 0.5, 0.9, 0.4, //
    0.7, 0.2, 0.7, 0.1, //
    0.6, 0.0, 0.8, 0.8,
];

#[test]
fn the_greatest_score_of_a_map_tells_the_place() {
    let planes = decoder(KeypointForm::Planes, &[1, 2, 2, 4]);
    // Row 1, column 2: its middle at 2.5 · 3 and 1.5 · 3. Of equal scores the first.
    assert_eq!(planes.point(&PLANES, 0), point(7.5, 4.5, 0.9));
    assert_eq!(planes.point(&PLANES, 1), point(7.5, 4.5, 0.8));
    assert_eq!(planes.point(&PLANES, 2), None);
    let corners = KeypointDecoder { place_point: PlacePoint::Corner, ..planes };
    assert_eq!(corners.point(&PLANES, 0), point(6.0, 3.0, 0.9));
    let pixels: Vec<f32> = (0..8).flat_map(|place| [PLANES[place], PLANES[8 + place]]).collect();
    let turned = decoder(KeypointForm::Pixels, &[2, 4, 2]);
    for index in 0..2 {
        assert_eq!(turned.point(&pixels, index), planes.point(&PLANES, index));
    }
    // The threshold is reached by 0.8 and 0.9, and not by 0.8 alone.
    let sure = KeypointDecoder { threshold: Some(0.9), ..planes };
    assert_eq!((sure.point(&PLANES, 0).is_some(), sure.point(&PLANES, 1)), (true, None));
    let nothing = [f32::NAN; 16];
    assert_eq!(planes.point(&nothing, 0), None);
}

#[test]
fn a_quarter_of_a_place_towards_the_greater_neighbour() {
    let shifted = KeypointDecoder { quarter_shift: true, ..decoder(KeypointForm::Planes, &[2, 2, 4]) };
    // To the left (0.5 over 0.4), 0.25 · 3 = 0.75 pixels; the last row has no neighbour below and stays.
    assert_eq!(shifted.point(&PLANES, 0), point(6.75, 4.5, 0.9));
    // To the right (0.8 over 0).
    assert_eq!(shifted.point(&PLANES, 1), point(8.25, 4.5, 0.8));
    // In the middle of 3 × 3 places of 4 × 2 pixels: up (3 over 2), and where both are equal not aside.
    let one = KeypointDecoder { points: 1, layout: KeypointLayout::Places { rows: 3, columns: 3 }, ..shifted };
    assert_eq!(one.point(&[0.0, 3.0, 0.0, 1.0, 5.0, 1.0, 0.0, 2.0, 0.0], 0), point(6.0, 2.5, 5.0));
}

#[test]
fn coordinates_have_an_order_a_unit_and_perhaps_a_score() {
    let plain = decoder(KeypointForm::Coordinates, &[1, 4]);
    assert_eq!(plain.point(&[1.0, 2.0, 3.0, 4.0], 1), Some(Keypoint { x: 3.0, y: 4.0, score: None }));
    // As MoveNet tells them: down, across, score, as shares.
    let shares = KeypointDecoder {
        units: BoxUnits::Share,
        order: CoordinateOrder::Yx,
        threshold: Some(0.3),
        ..decoder(KeypointForm::Coordinates, &[1, 1, 2, 3])
    };
    let output = [0.5, 0.25, 0.75, 0.5, 0.5, 0.25];
    assert_eq!((shares.point(&output, 0), shares.point(&output, 1)), (point(3.0, 3.0, 0.75), None));
    assert_eq!(plain.point(&[f32::INFINITY, 2.0, 3.0, 4.0], 0), None);
}

#[test]
fn outputs_of_another_shape_or_length_are_refused() {
    let planes = |shape: &[u32]| KeypointForm::Planes.layout(shape, 2);
    assert_eq!(planes(&[1, 2, 3, 5]), Some(KeypointLayout::Places { rows: 3, columns: 5 }));
    for shape in [&[1, 3, 3, 5][..], &[2, 2, 3, 5], &[2, 0, 5], &[3, 5], &[]] {
        assert_eq!(planes(shape), None, "{shape:?}");
    }
    let coordinates = |shape: &[u32]| KeypointForm::Coordinates.layout(shape, 2);
    assert_eq!(coordinates(&[1, 6]), Some(KeypointLayout::Rows { numbers: 3 }));
    for shape in [&[1, 5][..], &[1, 3, 3], &[1, 2, 4], &[2, 4], &[]] {
        assert_eq!(coordinates(shape), None, "{shape:?}");
    }
    let refused = decoder(KeypointForm::Planes, &[2, 2, 4]).check(&[0.0; 15]).unwrap_err();
    assert_eq!(refused, KeypointError { given: 15, needed: 16 });
    assert!(refused.to_string().contains("15 numbers, where keypoints of this form have 16; mend the card"));
}
