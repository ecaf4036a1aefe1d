//! Outputs of detectors to boxes, against cases worked by hand and figures of the models' own programs.

use cygnet_sense::{BoxDecoder, BoxError, BoxForm, BoxUnits, Corners, Detection};

fn decode(decoder: &BoxDecoder, outputs: &[&[f32]]) -> Result<Vec<Detection>, BoxError> {
    let mut found = [Detection::default(); 16];
    let count = decoder.decode(outputs, &mut found)?;
    Ok(found[..count].to_vec())
}

fn corners(found: &[Detection]) -> Vec<([f32; 4], u32)> {
    found.iter().map(|one| ([one.x1, one.y1, one.x2, one.y2], one.class)).collect()
}

#[test]
fn rows_become_boxes() {
    // Two boxes, the second hardly sure; centre, size, object, two classes.
    let rows = [20.0, 10.0, 8.0, 4.0, 0.5, 0.2, 0.8, 5.0, 5.0, 2.0, 2.0, 0.01, 0.1, 0.1];
    let plain = BoxDecoder {
        corners: Corners::Cxcywh,
        objectness: true,
        score_threshold: 0.05,
        ..BoxDecoder::new(BoxForm::Rows, 2, 80, 40)
    };
    let found = decode(&plain, &[&rows]).unwrap();
    assert_eq!(corners(&found), [([16.0, 8.0, 24.0, 12.0], 1)]);
    assert_eq!(found[0].score, 0.4);
    // The same number of columns, transposed, as shares of the input.
    let shared = BoxDecoder { units: BoxUnits::Share, transposed: true, ..BoxDecoder::new(BoxForm::Rows, 2, 80, 40) };
    let turned = [0.1, 0.5, 0.25, 0.5, 0.2, 0.75, 0.5, 1.0, 0.9, 0.3, 0.1, 0.6];
    let found = decode(&shared, &[&turned]).unwrap();
    assert_eq!(corners(&found), [([8.0, 10.0, 16.0, 20.0], 0), ([40.0, 20.0, 60.0, 40.0], 1)]);
    let refused = decode(&plain, &[&[0.0; 13]]).unwrap_err();
    assert!(refused.to_string().contains("rows or planes of boxes have 7"), "{refused}");
    assert_eq!(decode(&plain, &[]), Err(BoxError::Outputs { needed: 1, given: 0 }));
}

#[test]
fn a_grid_becomes_boxes() {
    // Two columns, one row; the second cell is sure. tanh(0) = 0, sigmoid(0) = 1/2: half the input wide and high.
    let planes = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.25, 0.0, 0.5];
    let found = decode(&BoxDecoder::new(BoxForm::FastestDet, 2, 80, 40), &[&planes]).unwrap();
    assert_eq!(corners(&found), [([20.0, -10.0, 60.0, 10.0], 1)]);
    // 1^0.6 · 0.5^0.4.
    assert!((found[0].score - 0.757_858_3).abs() < 1e-6, "{}", found[0].score);
}

#[test]
fn faces_have_five_points() {
    // CenterFace over 8 × 4 pixels: two cells, the second sure. The centre is at ((1 + 0.25 + 0.5)·4, (0 + 0 + 0.5)·4);
    // the size e^0·4 high and e^ln 2·4 wide.
    let decoder = BoxDecoder::new(BoxForm::CenterFace, 1, 8, 4);
    let sizes = [0.0, 0.0, 0.0, core::f32::consts::LN_2];
    let offsets = [0.0, 0.0, 0.0, 0.25];
    // Points of the second cell: the first one 0.5 down and 0.25 across.
    let mut points = [0.0; 20];
    (points[1], points[3]) = (0.5, 0.25);
    let outputs: [&[f32]; 4] = [&[0.001, 0.75], &sizes, &offsets, &points];
    let found = decode(&decoder, &outputs).unwrap();
    assert_eq!(found.len(), 1);
    let Detection { x1, y1, x2, y2, score, place, .. } = found[0];
    assert!([x1 - 3.0, y1, x2 - 11.0, y2 - 4.0].iter().all(|off| off.abs() < 1e-5), "{found:?}");
    assert_eq!((score, place), (0.75, 1));
    let (x, y) = decoder.keypoint(&outputs, &found[0], 0).unwrap();
    assert!((x - 5.0).abs() < 1e-5 && (y - 2.0).abs() < 1e-5, "{x} {y}");
    assert_eq!(decoder.keypoint(&outputs, &found[0], 5), None);
    let short = decode(&decoder, &[&[0.1], &sizes, &offsets, &points]).unwrap_err();
    assert_eq!(short, BoxError::Length { output: 0, given: 1, of: 2 });
}

#[test]
fn lists_of_three_levels_become_faces() {
    // YuNet over 32 × 32 pixels: 16, 4 and 1 cells. The last cell of the second level: class 0.64, object 1.
    let cells = [16, 4, 1];
    let list = |numbers: usize| cells.map(|cells| vec![0.0_f32; cells * numbers]);
    let (mut class, mut object, mut boxes, mut points) = (list(1), list(1), list(4), list(10));
    (class[1][3], object[1][3]) = (0.64, 1.0);
    // Centre (1 + 0.5)·16, (1 + 0.25)·16; size e^0·16.
    boxes[1][12..16].copy_from_slice(&[0.5, 0.25, 0.0, 0.0]);
    points[1][30..32].copy_from_slice(&[-0.5, 0.5]);
    let outputs: Vec<&[f32]> = class.iter().chain(&object).chain(&boxes).chain(&points).map(Vec::as_slice).collect();
    let decoder = BoxDecoder { score_threshold: 0.5, ..BoxDecoder::new(BoxForm::Yunet, 1, 32, 32) };
    let found = decode(&decoder, &outputs).unwrap();
    assert_eq!(corners(&found), [([16.0, 12.0, 32.0, 28.0], 0)]);
    assert!((found[0].score - 0.8).abs() < 1e-6);
    assert_eq!(decoder.keypoint(&outputs, &found[0], 0), Some((8.0, 24.0)));
}

#[test]
fn the_best_boxes_are_kept_where_room_is_short() {
    let row = |left: f32, score: f32| [left, 0.0, left + 1.0, 1.0, score];
    let rows: Vec<f32> = [(0.0, 0.2), (10.0, 0.9), (20.0, f32::NAN), (30.0, 0.5), (40.0, 0.1)]
        .iter()
        .flat_map(|&(left, score)| row(left, score))
        .collect();
    let mut found = [Detection::default(); 2];
    let count = BoxDecoder::new(BoxForm::Rows, 1, 50, 1).decode(&[&rows], &mut found).unwrap();
    assert_eq!(found[..count].iter().map(|one| (one.x1, one.place)).collect::<Vec<_>>(), [(10.0, 1), (30.0, 3)]);
}
