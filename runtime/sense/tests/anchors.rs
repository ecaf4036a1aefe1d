//! Boxes by anchors, against cases worked by hand and what NumPy finds (`golden/anchors.py`).
#![cfg(feature = "card")]

use cygnet_sense::{BoxDecoder, BoxError, BoxForm, BoxUnits, Card, Corners, Detection};

const CARD: &str = r#"
name = "detector"
task = "detection"
labels = ["a", "b", "c"]
[input]
kind = "image"
width = 64
height = 48
[boxes]
decoder = "ssd"
score_threshold = 0.3
iou_threshold = 0.45
"#;

const LEVELS: &str = r#"
[[boxes.anchors]]
stride = 16
scales = [14.0, 20.0, 14.0]
ratios = [1.0, 1.0, 2.0]
[[boxes.anchors]]
stride = [32, 32]
scales = [30.0, 30.0, 30.0, 44.0]
ratios = [1.0, 2.0, 0.5, 1.0]
"#;

fn decoder(fields: &str) -> BoxDecoder {
    Card::parse(&format!("{CARD}{fields}")).unwrap().box_decoder().unwrap()
}

fn found(decoder: &BoxDecoder, outputs: &[&[f32]]) -> Result<Vec<Detection>, BoxError> {
    let mut found = [Detection::default(); 64];
    let count = decoder.decode(outputs, &mut found)?;
    Ok(found[..count].to_vec())
}

/// The numbers of a line of `golden/anchors.txt`.
fn golden(name: &str) -> Vec<f32> {
    let line = include_str!("golden/anchors.txt").lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect()
}

fn assert_found(found: &[Detection], expected: &[f32]) {
    assert_eq!(found.len(), expected.len() / 6);
    for (one, expected) in found.iter().zip(expected.chunks(6)) {
        let numbers = [one.class as f32, one.score, one.x1, one.y1, one.x2, one.y2];
        let far = numbers.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 2e-4, "{numbers:?} where NumPy has {expected:?}");
    }
}

#[test]
fn anchors_lie_where_the_card_says() {
    let decoder = decoder(&format!("background = true\n{LEVELS}"));
    let anchors: Vec<f32> = decoder.anchors.anchors(64, 48).flatten().collect();
    let expected = golden("anchors");
    assert_eq!(anchors.len(), expected.len());
    assert!(anchors.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4), "{anchors:?}");
    // 4 × 3 cells of 3 anchors and 2 × 2 cells of 4, the last row cut off by the edge.
    assert_eq!(anchors.len(), 4 * (4 * 3 * 3 + 2 * 2 * 4));
}

#[test]
fn boxes_are_those_of_torchvision_and_tensorflow() {
    let (offsets, logits) = (golden("offsets"), golden("logits"));
    let torchvision = decoder(&format!("background = true\nscores = \"softmax\"\n{LEVELS}"));
    assert_found(&found(&torchvision, &[&offsets, &logits]).unwrap(), &golden("torchvision"));
    // Scores of another length may come first.
    let turned = decoder(&format!("background = true\nscores = \"sigmoid\"\norder = \"yxhw\"\n{LEVELS}"));
    let without: Vec<f32> = logits.chunks(4).flat_map(|row| row[1..].to_vec()).collect();
    assert_found(&found(&turned, &[&offsets, &logits]).unwrap(), &golden("tensorflow"));
    let labels_only = decoder(&format!("scores = \"sigmoid\"\norder = \"yxhw\"\n{LEVELS}"));
    assert_found(&found(&labels_only, &[&without, &offsets]).unwrap(), &golden("tensorflow"));
}

#[test]
fn an_output_may_tell_the_anchors() {
    // One anchor from (0.25, 0.25) to (0.75, 0.75) of 64 × 48 pixels: 32 × 24 around (32, 24). Its box lies 0.1 · 5 widths
    // to the right and 0.1 · -2.5 heights up, is e^(0.2·ln 2 / 0.2) = 2 times as wide and as high as it was.
    let decoder = BoxDecoder { corners: Corners::Yxyx, units: BoxUnits::Share, ..decoder("") };
    let offsets = [5.0, -2.5, core::f32::consts::LN_2 / 0.2, 0.0];
    let anchors = [0.25, 0.25, 0.75, 0.75];
    let boxes = found(&decoder, &[&offsets, &[0.1, 0.2, 0.75], &anchors]).unwrap();
    assert_eq!((boxes.len(), boxes[0].class, boxes[0].score, boxes[0].place), (1, 2, 0.75, 0));
    // From 16 to 80, of which 64 are in the input.
    let far = [boxes[0].x1 - 16.0, boxes[0].y1 - 6.0, boxes[0].x2 - 64.0, boxes[0].y2 - 30.0];
    assert!(far.iter().all(|off| off.abs() < 1e-4), "{boxes:?}");
}

#[test]
fn outputs_and_cards_of_another_form_are_refused() {
    let decoder = decoder(&format!("background = true\n{LEVELS}"));
    assert_eq!(found(&decoder, &[&[0.0; 208]]), Err(BoxError::Outputs { needed: 2, given: 1 }));
    let refused = found(&decoder, &[&[0.0; 208], &[0.0; 156]]);
    assert_eq!(refused, Err(BoxError::Length { output: 1, given: 156, of: 208 }));
    let refused = found(&decoder, &[&[0.0; 204], &[0.0; 208]]);
    assert_eq!(refused, Err(BoxError::Length { output: 0, given: 204, of: 208 }));
    let none = BoxDecoder::new(BoxForm::Ssd, 3, 64, 48);
    assert_eq!(found(&none, &[&[0.0; 4], &[0.0; 3]]), Err(BoxError::Outputs { needed: 3, given: 2 }));
    let refused = |fields: &str| Card::parse(&format!("{CARD}{fields}")).unwrap_err().to_string();
    let uneven = "[[boxes.anchors]]\nstride = 16\nscales = [1.0]\nratios = [1.0, 2.0]\n";
    assert!(refused(uneven).contains("`boxes.anchors.ratios` must be as many numbers above 0 as `scales`"));
    let flat = "[[boxes.anchors]]\nstride = 0\nscales = [1.0]\nratios = [1.0]\n";
    assert!(refused(flat).contains("`boxes.anchors.stride` must be at least one pixel"));
    let rows = CARD.replace("\"ssd\"", "\"rows\"") + LEVELS;
    assert!(Card::parse(&rows).unwrap_err().to_string().contains("`decoder` be \"ssd\""));
}
