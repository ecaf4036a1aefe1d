//! 16 bits for detectors: two layers that hand on rows of boxes, each four corners and a score.

use cygnet::input::{Array, ElementType};
use cygnet::output::write_npz;
use cygnet_onnx::model::{DType, Dim, Model, Node, Tensor, ValueInfo};
use cygnet_sense::{BoxDecoder, BoxForm, BoxUnits};
use quantize::data::Data;
use quantize::quantizer::boxes::LEVEL;
use quantize::recipe::Precision;
use quantize::{Built, Options, Quantizer};

/// Numbers of a row.
const COLUMNS: usize = 5;
/// Rows: three beside each other and two below, once above the threshold and once below it.
const ROWS: usize = 12;
const SAMPLES: usize = 16;
/// Width and height of the picture.
const SIDE: u32 = 640;

fn model() -> Model {
    let value = |name: &str| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        shape: Some([1, COLUMNS, 1, ROWS].map(Dim::Known).to_vec()),
    };
    let mut identity = vec![0.0; COLUMNS * COLUMNS];
    identity.iter_mut().step_by(COLUMNS + 1).for_each(|weight| *weight = 1.0);
    let weights = Tensor::from_f32(vec![COLUMNS, COLUMNS, 1, 1], &identity);
    Model {
        ir_version: 8,
        opsets: [(String::new(), 13)].into(),
        nodes: vec![Node::new("Conv", "one", &["x", "w"], &["a"]), Node::new("Conv", "two", &["a", "w"], &["y"])],
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        initializers: [("w".to_string(), weights)].into(),
        ..Model::default()
    }
}

/// Rows whose corners are pixels divided by `unit`, beside scores of 0.8 and 0.2.
fn data(unit: f32) -> Data {
    let mut values = Vec::new();
    for sample in 0..SAMPLES {
        let shift = (sample % 5) as f32;
        let left = |row: usize| 5.0 + shift + 213.0 * (row % 3) as f32;
        let top = |row: usize| 5.0 + shift + 315.0 * (row / 3 % 2) as f32;
        for column in 0..COLUMNS {
            values.extend((0..ROWS).map(|row| match column {
                0 => left(row) / unit,
                1 => top(row) / unit,
                2 => (left(row) + 200.0) / unit,
                3 => (top(row) + 300.0) / unit,
                _ if row < ROWS / 2 => 0.8 - 0.001 * sample as f32,
                _ => 0.2,
            }));
        }
    }
    let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
    let shape = vec![SAMPLES, COLUMNS, 1, ROWS];
    let array = Array { name: "x".into(), dtype: ElementType::F32, shape, data: bytes };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    write_npz(&path, &[array]).unwrap();
    Data::open(&path, &model(), None).unwrap()
}

fn decoder(units: BoxUnits) -> BoxDecoder {
    let plain = BoxDecoder::new(BoxForm::Rows, 1, SIDE, SIDE);
    BoxDecoder { units, transposed: true, score_threshold: 0.5, ..plain }
}

fn made(data: &Data, boxes: Option<BoxDecoder>, mixed: bool) -> (Quantizer<'_>, Built) {
    Quantizer::of(model(), data, &Options { boxes, mixed, ..Options::default() }, || ()).unwrap()
}

#[test]
fn boxes_that_8_bits_lose_are_kept_on_16() {
    // A level of 8 bits is two pixels and more: no score is left beside corners in pixels.
    let data = data(1.0);
    let (quantizer, built) = made(&data, Some(decoder(BoxUnits::Pixels)), true);
    let boxes = built.quantized.boxes.unwrap();
    let wide = boxes.wide.unwrap();
    assert_eq!(boxes.count, SAMPLES * ROWS / 2);
    assert!(boxes.is_wide && boxes.narrow.agreement < 0.5 && wide.agreement > 0.99, "{boxes:?}");
    assert!(boxes.narrow.arena_bytes < wide.arena_bytes, "{boxes:?}");
    assert_eq!(built.quantized.inserted.wide, ["one", "two"]);
    assert_eq!(quantizer.recipe().usual.precision, Precision::Int16);
    assert_eq!(quantizer.asked().usual.precision, Precision::Int8);
    // Whoever wants 8 bits gets them.
    let (_, narrow) = made(&data, Some(decoder(BoxUnits::Pixels)), false);
    assert!(narrow.quantized.inserted.wide.is_empty() && narrow.quantized.boxes.is_none());
}

#[test]
fn boxes_that_8_bits_keep_change_nothing() {
    let data = data(SIDE as f32);
    let (_, looked_at) = made(&data, Some(decoder(BoxUnits::Share)), true);
    let (_, plain) = made(&data, None, true);
    let boxes = looked_at.quantized.boxes.unwrap();
    assert!(boxes.narrow.agreement >= LEVEL && boxes.wide.is_none() && !boxes.is_wide, "{boxes:?}");
    assert_eq!(looked_at.quantized.model, plain.quantized.model);
}

#[test]
fn a_decoder_that_does_not_fit_changes_nothing() {
    let data = data(1.0);
    let unfit = BoxDecoder { form: BoxForm::CenterFace, ..decoder(BoxUnits::Pixels) };
    let (_, looked_at) = made(&data, Some(unfit), true);
    assert!(looked_at.quantized.boxes.is_none() && looked_at.quantized.inserted.wide.is_empty());
}
