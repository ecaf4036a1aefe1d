//! Loading models and running sessions, with models whose answers are worked out by hand.
#![cfg(feature = "onnx")]

use std::fs;

use cygnet::input::{Picture, Sound};
use cygnet::sense::Pixels;
use cygnet::{Card, Error, Model, Preparation, core};
use cygnet_onnx::model::{Attribute, DType, Dim, Model as Onnx, Node, Tensor, ValueInfo};

fn value(name: &str, dtype: DType, shape: &[usize]) -> ValueInfo {
    ValueInfo { name: name.into(), dtype, shape: Some(shape.iter().map(|&dim| Dim::Known(dim)).collect()) }
}

fn onnx(nodes: Vec<Node>, input: ValueInfo, output: ValueInfo) -> Onnx {
    Onnx {
        ir_version: 8,
        opsets: [(String::new(), 17)].into(),
        nodes,
        inputs: vec![input],
        outputs: vec![output],
        ..Onnx::default()
    }
}

/// The mean of each channel of a picture of 2×2 pixels.
fn channel_means() -> Onnx {
    let nodes = vec![
        Node::new("GlobalAveragePool", "mean", &["picture"], &["means"]),
        Node::new("Flatten", "flatten", &["means"], &["scores"]),
    ];
    onnx(nodes, value("picture", DType::F32, &[1, 3, 2, 2]), value("scores", DType::F32, &[1, 3]))
}

/// The same behind QuantizeLinear and DequantizeLinear, uint8, scale 0.5, zero point 10.
fn quantized_channel_means() -> Onnx {
    let mut model = channel_means();
    model.nodes[0].inputs[0] = "dequantized".into();
    model.nodes.insert(0, Node::new("QuantizeLinear", "q", &["picture", "scale", "zero"], &["quantized"]));
    model.nodes.insert(1, Node::new("DequantizeLinear", "dq", &["quantized", "scale", "zero"], &["dequantized"]));
    model.initializers.insert("scale".into(), Tensor::scalar_f32(0.5));
    model.initializers.insert("zero".into(), Tensor::from_u8(vec![], &[10]));
    model
}

fn image_card() -> Card {
    let text = r#"
        name = "means"
        task = "classification"
        labels = ["red", "green", "blue"]
        [input]
        kind = "image"
        width = 2
        height = 2
        mean = [10.0, 0.0, 0.0]
        scale = [0.5, 1.0, 0.25]
    "#;
    Card::parse(text).unwrap()
}

/// RGB, row by row.
const PIXELS: [u8; 12] = [10, 0, 0, 20, 0, 4, 10, 0, 8, 20, 100, 12];

#[test]
fn a_picture_is_prepared_and_named() {
    let model = Model::from_onnx(&channel_means(), Some(image_card())).unwrap();
    assert_eq!(model.name(), "means");
    assert_eq!(model.labels(), ["red", "green", "blue"]);
    assert!(matches!(model.preparation(0), Preparation::Image(_)));
    let mut session = model.session().unwrap();
    session.set_image(&Pixels::rgb8(&PIXELS, 2, 2).unwrap()).unwrap();
    session.run().unwrap();
    // red ((0 + 10 + 0 + 10) / 4) / 2, green 100 / 4, blue (24 / 4) / 4.
    assert_eq!(session.scores().unwrap(), [2.5, 25.0, 1.5]);
    let top = session.top(2).unwrap();
    assert_eq!((top[0].class, &*top[0].label, top[1].class), (1, "green", 0));
    // The softmax of 25 against 2.5 and 1.5 leaves e^-22.5 and e^-23.5.
    assert!(top[0].score > 0.999_999 && top[1].score < 1e-9);
}

#[test]
fn a_quantized_input_gets_the_same_picture_in_place_and_through_floats() {
    let model = Model::from_onnx(&quantized_channel_means(), Some(image_card())).unwrap();
    let port = model.plan().input(0).unwrap();
    assert_eq!(model.plan().tensor(port.tensor).unwrap().dtype, core::DType::I8);
    let mut session = model.session().unwrap();
    session.set_image(&Pixels::rgb8(&PIXELS, 2, 2).unwrap()).unwrap();
    let in_place = session.engine().unwrap().input_bytes(0).unwrap().to_vec();
    // (pixel - mean) × scale in the order of the ONNX shape.
    let floats = [0.0, 5.0, 0.0, 5.0, 0.0, 0.0, 0.0, 100.0, 0.0, 1.0, 2.0, 3.0];
    session.set_f32("picture", &floats).unwrap();
    assert_eq!(session.engine().unwrap().input_bytes(0).unwrap(), in_place);
    session.run().unwrap();
    assert_eq!(session.scores().unwrap(), [2.5, 25.0, 1.5]);
}

#[test]
fn sound_is_resampled_and_padded() {
    let card = r#"
        name = "loudness"
        task = "other"
        [input]
        kind = "audio"
        sample_rate = 8000
        clip_samples = 800
        features = "waveform"
    "#;
    let nodes = vec![Node::new("ReduceSumSquare", "sum", &["sound"], &["energy"])];
    let model = onnx(nodes, value("sound", DType::F32, &[1, 800]), value("energy", DType::F32, &[1, 1]));
    let model = Model::from_onnx(&model, Some(Card::parse(card).unwrap())).unwrap();
    let mut session = model.session().unwrap();
    // 50 ms of a 500 Hz tone of amplitude ½ at 32 kHz: 400 samples at 8 kHz of mean square ⅛.
    let tone: Vec<i16> =
        (0..1600).map(|n| (16384.0 * (f64::from(n) * 500.0 / 32000.0 * std::f64::consts::TAU).sin()) as i16).collect();
    session.set_audio(&tone, 32_000).unwrap();
    session.run().unwrap();
    let energy = session.scores().unwrap()[0];
    assert!((energy - 50.0).abs() < 1.5, "{energy}");
    let sound = Sound { samples: tone, rate: 1 };
    assert!(matches!(session.set_audio(&sound.samples, sound.rate), Err(Error::Prepare(_))));
}

#[test]
fn whole_number_inputs_take_whole_numbers() {
    let nodes = vec![Node::new("Cast", "cast", &["x"], &["y"]).with("to", Attribute::Int(1))];
    let model = onnx(nodes, value("x", DType::I64, &[3]), value("y", DType::F32, &[3]));
    let mut session = Model::from_onnx(&model, None).unwrap().session().unwrap();
    session.set_f32("x", &[3.0, -4.0, 0.0]).unwrap();
    session.run().unwrap();
    let mut values = Vec::new();
    session.output_f32("y", &mut values).unwrap();
    assert_eq!(values, [3.0, -4.0, 0.0]);
    let message = session.set_f32("x", &[0.0, 0.5, 0.0]).unwrap_err().to_string();
    assert_eq!(message, "\"x\" takes int64: element 1, 0.5, is no such number");
}

#[test]
fn wrong_calls_name_what_is_there() {
    let mut session = Model::from_onnx(&channel_means(), None).unwrap().session().unwrap();
    let pixels = Pixels::rgb8(&PIXELS, 2, 2).unwrap();
    let mut values = Vec::new();
    let cases = [
        (session.set_f32("image", &[]), "the model has no input \"image\"; it has \"picture\""),
        (session.set_f32(3, &[]), "the model has no input 3; it has \"picture\""),
        (session.set_f32(0, &[1.0]), "\"picture\" has the shape [1, 3, 2, 2], 12 elements; given were 1"),
        (session.set_bytes(0, &[0; 8]), "\"picture\" has the shape [1, 3, 2, 2], 12 elements; given were 2"),
        (session.output_f32("y", &mut values), "the model has no output \"y\"; it has \"scores\""),
        (session.set_image(&pixels), "give a card with `kind = \"image\"`"),
        (session.set_audio(&[0], 8000), "give a card with `kind = \"audio\"`"),
    ];
    for (result, expected) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn files_are_known_by_their_first_bytes_and_errors_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    channel_means().write(&path("m.onnx")).unwrap();
    fs::write(path("m.toml"), image_card().to_toml()).unwrap();
    let model = Model::load(path("m.onnx")).unwrap();
    assert_eq!(model.card().unwrap().name, "means");

    // The card goes into the plan, which needs none beside it.
    fs::write(path("plan.cyg"), model.plan().bytes()).unwrap();
    fs::write(path("plan.bin"), model.plan().bytes()).unwrap();
    for name in ["plan.cyg", "plan.bin"] {
        let plan = Model::load(path(name)).unwrap();
        assert_eq!(plan.labels(), ["red", "green", "blue"], "{name}");
        assert_eq!(plan.preparation(0), model.preparation(0), "{name}");
        let mut session = plan.session().unwrap();
        session.set_image(&Pixels::rgb8(&PIXELS, 2, 2).unwrap()).unwrap();
        session.run().unwrap();
        assert_eq!(session.scores().unwrap(), [2.5, 25.0, 1.5], "{name}");
    }

    let mut damaged = model.plan().bytes().to_vec();
    damaged[200] ^= 1;
    fs::write(path("damaged.cyg"), &damaged).unwrap();
    fs::write(path("short.cyg"), &damaged[..60]).unwrap();
    fs::write(path("empty.cyg"), b"").unwrap();
    fs::write(path("text.onnx"), b"no model").unwrap();
    fs::write(path("empty.onnx"), b"").unwrap();
    fs::write(path("badcard.onnx"), b"").unwrap();
    fs::write(path("badcard.toml"), "name = 3").unwrap();
    let cases = [
        ("damaged.cyg", "damaged (checksum)"),
        ("short.cyg", "not a Cygnet plan"),
        ("empty.cyg", "not a Cygnet plan"),
        ("text.onnx", "not an ONNX model"),
        ("empty.onnx", "not an ONNX model"),
        ("missing.onnx", "No such file"),
        ("badcard.onnx", "not written as a card"),
        (".", "a folder"),
    ];
    for (name, expected) in cases {
        let message = Model::load(path(name)).unwrap_err().to_string();
        let names_file = name == "." || message.contains(name.trim_end_matches(".onnx"));
        assert!(names_file && message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn a_card_for_another_input_is_refused() {
    let mut card = image_card();
    if let cygnet::sense::card::Input::Image(image) = &mut card.input {
        image.name = Some("photo".into());
    }
    let message = Model::from_onnx(&channel_means(), Some(card)).unwrap_err().to_string();
    assert!(message.contains("\"photo\"") && message.contains("\"picture\""), "{message}");
}

#[test]
fn sessions_of_one_model_run_in_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Model>();
    moved::<cygnet::Session>();
    let model = Model::from_onnx(&channel_means(), Some(image_card())).unwrap();
    std::thread::scope(|scope| {
        for level in 0..4u8 {
            let model = model.clone();
            scope.spawn(move || {
                let mut session = model.session().unwrap();
                let picture = Picture::from(image::DynamicImage::from(image::RgbImage::from_pixel(
                    9,
                    7,
                    image::Rgb([10, level, 0]),
                )));
                for _ in 0..50 {
                    session.set_image(&picture.pixels().unwrap()).unwrap();
                    session.run().unwrap();
                    assert_eq!(session.scores().unwrap(), [0.0, f32::from(level), 0.0]);
                }
            });
        }
    });
}
