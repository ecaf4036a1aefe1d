//! Boxes, masks, keypoints and text, as the program prints and draws them.
#![cfg(feature = "onnx")]

use std::path::Path;
use std::process::Command;

use cygnet_onnx::model::{Attribute, DType, Dim, Model, Node, Tensor, ValueInfo};
use image::{GrayImage, Luma, Rgb, RgbImage};

/// A model whose output is its grey picture, of this size, seen under another shape.
fn reshaped(folder: &Path, width: usize, height: usize, shape: &[i64], card: &str) {
    let value = |name: &str, shape: &[usize]| {
        let shape = Some(shape.iter().map(|&extent| Dim::Known(extent)).collect());
        ValueInfo { name: name.into(), dtype: DType::F32, shape }
    };
    let made: Vec<usize> = shape.iter().map(|&extent| extent as usize).collect();
    let mut model = Model {
        ir_version: 8,
        opsets: [(String::new(), 17)].into(),
        nodes: vec![Node::new("Reshape", "view", &["x", "shape"], &["y"]).with("allowzero", Attribute::Int(0))],
        inputs: vec![value("x", &[1, 1, height, width])],
        outputs: vec![value("y", &made)],
        ..Model::default()
    };
    model.initializers.insert("shape".into(), Tensor::from_i64(vec![shape.len()], shape));
    model.write(&folder.join("model.onnx")).unwrap();
    let input = format!("[input]\nkind = \"image\"\nwidth = {width}\nheight = {height}\ncolour = \"grey\"\n");
    std::fs::write(folder.join("model.toml"), format!("name = \"test\"\n{card}\n{input}")).unwrap();
}

fn cygnet(arguments: &[&Path]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cygnet"));
    let output = command.arg("run").args(arguments).env_remove("CYGNET_ISA").env_remove("RUST_LOG").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn boxes_are_printed_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let card = "task = \"detection\"\nlabels = [\"cat\", \"dog\"]\n[boxes]\ndecoder = \"rows\"\ncorners = \"xywh\"\n\
                score_threshold = 2";
    reshaped(folder.path(), 6, 2, &[1, 2, 6], card);
    // Left, top, width, height and a score for each label; the second row is below the threshold.
    let pixels = [1, 0, 3, 2, 4, 5, 0, 0, 1, 1, 1, 1];
    let picture = folder.path().join("picture.png");
    GrayImage::from_fn(6, 2, |x, y| Luma([pixels[(y * 6 + x) as usize]])).save(&picture).unwrap();
    let (model, drawn) = (folder.path().join("model.onnx"), folder.path().join("drawn.png"));
    let (text, errors) = cygnet(&[&model, &picture, Path::new("--draw"), &drawn]);
    assert_eq!((text.as_str(), errors.as_str()), ("5.0000 dog at 1,0 size 3×2\n", ""));
    let drawn = image::open(&drawn).unwrap().into_rgb8();
    let coloured: Vec<bool> = drawn.pixels().map(|pixel| pixel.0[0] != pixel.0[2]).collect();
    assert_eq!(coloured, [false, true, true, true, false, false, false, true, true, true, false, false]);
    let (_, errors) = cygnet(&[&model, folder.path(), Path::new("--draw"), &folder.path().join("none.png")]);
    assert!(errors.contains("--draw takes one picture, here are 2"), "{errors}");
}

/// A model that tells background, red and blue by the colour of each pixel of 8 × 4: scores 100, red − green and blue −
/// green. A picture of 4 × 4 lies in the middle of the input.
fn colours(folder: &Path, card: &str) {
    let value = |name: &str| {
        let shape = Some([1, 3, 4, 8].map(Dim::Known).to_vec());
        ValueInfo { name: name.into(), dtype: DType::F32, shape }
    };
    let mut model = Model {
        ir_version: 8,
        opsets: [(String::new(), 17)].into(),
        nodes: vec![Node::new("Conv", "colours", &["x", "w", "b"], &["y"])],
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        ..Model::default()
    };
    let weights = [0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0, 1.0];
    model.initializers.insert("w".into(), Tensor::from_f32(vec![3, 3, 1, 1], &weights));
    model.initializers.insert("b".into(), Tensor::from_f32(vec![3], &[100.0, 0.0, 0.0]));
    model.write(&folder.join("model.onnx")).unwrap();
    let input = "[input]\nkind = \"image\"\nwidth = 8\nheight = 4\nfit = \"pad\"\n";
    std::fs::write(folder.join("model.toml"), format!("name = \"test\"\ntask = \"segmentation\"\n{card}\n{input}"))
        .unwrap();
}

#[test]
fn masks_are_printed_and_painted() {
    let folder = tempfile::tempdir().unwrap();
    let (model, drawn) = (folder.path().join("model.onnx"), folder.path().join("drawn.png"));
    let picture = folder.path().join("picture.png");
    let rows = ["rr..", "rr..", "...b", "...."];
    let at = |x: u32, y: u32| rows[y as usize].as_bytes()[x as usize];
    let colour = |x, y| match at(x, y) {
        b'r' => Rgb([250, 10, 10]),
        b'b' => Rgb([10, 10, 250]),
        _ => Rgb([90, 90, 90]),
    };
    RgbImage::from_fn(4, 4, colour).save(&picture).unwrap();
    let labels = "labels = [\"background\", \"red\", \"blue\"]";
    colours(folder.path(), &format!("{labels}\n[mask]\nform = \"planes\"\nbackground = 0"));
    let (text, errors) = cygnet(&[&model, &picture, Path::new("--draw"), &drawn]);
    // 4 and 1 of 16 pixels.
    assert_eq!((text.as_str(), errors.as_str()), ("25.00 % red\n6.25 % blue\n", ""));
    let (json, _) = cygnet(&[&model, &picture, Path::new("--json")]);
    let json: String = json.split_whitespace().collect();
    let expected = r#""mask":[{"class":1,"label":"red","pixels":4,"area":0.25},"#.to_string()
        + r#"{"class":2,"label":"blue","pixels":1,"area":0.0625}]"#;
    assert!(json.contains(&expected), "{json}");
    // Half of the picture and half of the class's colour: 86, 180, 233 and 0, 158, 115.
    let painted = |x, y| match at(x, y) {
        b'r' => Rgb([168, 95, 121]),
        b'b' => Rgb([5, 84, 182]),
        _ => Rgb([90, 90, 90]),
    };
    assert_eq!(image::open(&drawn).unwrap().into_rgb8(), RgbImage::from_fn(4, 4, painted));
}

/// Two heat maps of 3 × 6 places, one above the other: the brightest pixels of both halves of a picture of 6 × 6.
const HEADS: [&str; 2] = ["task = \"keypoints\"", "[keypoints]\nform = \"planes\"\nnames = [\"head\", \"foot\"]"];

#[test]
fn keypoints_are_printed_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let [task, table] = HEADS;
    let card = format!("{task}\n{table}\npairs = [[0, 1]]\nthreshold = 50\nplace_point = \"corner\"");
    reshaped(folder.path(), 6, 6, &[1, 2, 3, 6], &card);
    let (model, drawn) = (folder.path().join("model.onnx"), folder.path().join("drawn.png"));
    let picture = folder.path().join("picture.png");
    let pixels = |foot: u8| {
        GrayImage::from_fn(6, 6, move |x, y| {
            Luma([if (x, y) == (1, 1) {
                200
            } else if (x, y) == (4, 4) {
                foot
            } else {
                0
            }])
        })
    };
    pixels(100).save(&picture).unwrap();
    let (text, errors) = cygnet(&[&model, &picture, Path::new("--draw"), &drawn]);
    // The places of a map of 3 rows are 1 × 2 pixels; the foot lies in row 4 - 3 = 1 of its map.
    assert_eq!((text.as_str(), errors.as_str()), ("200.0000 head at 1.0,2.0\n100.0000 foot at 4.0,2.0\n", ""));
    let (json, _) = cygnet(&[&model, &picture, Path::new("--json")]);
    let json: String = json.split_whitespace().collect();
    let expected = r#""keypoints":[{"point":0,"name":"head","x":1.0,"y":2.0,"score":200.0},"#.to_string()
        + r#"{"point":1,"name":"foot","x":4.0,"y":2.0,"score":100.0}]"#;
    assert!(json.contains(&expected), "{json}");
    // A line from (1, 2) to (4, 2) and a square of 3 × 3 pixels about both ends.
    let image = image::open(&drawn).unwrap().into_rgb8();
    let is_coloured = |x: u32, y: u32| image.get_pixel(x, y).0[0] != image.get_pixel(x, y).0[2];
    let rows: Vec<String> =
        (0..6).map(|y| (0..6).map(|x| if is_coloured(x, y) { '#' } else { '.' }).collect()).collect();
    assert_eq!(rows, ["......", "######", "######", "######", "......", "......"]);
    // A foot below the threshold is no point.
    pixels(49).save(&picture).unwrap();
    assert_eq!(cygnet(&[&model, &picture]).0, "200.0000 head at 1.0,2.0\n");
}

#[test]
fn a_card_with_wrong_keypoints_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (model, picture) = (folder.path().join("model.onnx"), folder.path().join("picture.png"));
    GrayImage::new(6, 6).save(&picture).unwrap();
    let [task, table] = HEADS;
    for (card, message) in [
        (
            format!("{task}\n{}", table.replace("\"foot\"", "\"foot\", \"hand\"")),
            "the output \"y\" has the shape [1, 2, 3, 6], which is none of the form \"planes\" with 3 names; mend \
             [keypoints] in the card",
        ),
        (format!("{task}\n{table}\npairs = [[0, 2]]"), "`keypoints.pairs` must be pairs of two different numbers"),
    ] {
        reshaped(folder.path(), 6, 6, &[1, 2, 3, 6], &card);
        let (_, errors) = cygnet(&[&model, &picture]);
        assert!(errors.contains(message), "{card}: {errors}");
    }
}

#[test]
fn a_card_with_a_wrong_mask_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (model, picture) = (folder.path().join("model.onnx"), folder.path().join("picture.png"));
    RgbImage::new(4, 4).save(&picture).unwrap();
    for (card, told) in [
        (
            "labels = [\"a\", \"b\"]\n[mask]\nform = \"planes\"",
            "the output \"y\" has the shape [1, 3, 4, 8], which is no mask of the form \"planes\" with 2 labels",
        ),
        (
            "labels = [\"a\"]\n[mask]\nform = \"planes\"\nbackground = 1",
            "`mask.background` must be the index of one of",
        ),
        ("labels = [\"a\", \"b\"]\n[mask]\nform = \"threshold\"", "`labels` must be one name where `mask.form` is"),
        ("[mask]\nform = \"classes\"", "`labels` must be the names of 1 … 65,535 classes"),
    ] {
        colours(folder.path(), card);
        let (text, errors) = cygnet(&[&model, &picture]);
        assert_eq!(text, "");
        assert!(errors.contains(told), "{errors}");
    }
}

#[test]
fn text_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let card = "task = \"other\"\nlabels = [\"\", \"a\", \"b\"]\n[text]\ndecoder = \"ctc\"";
    // Five moments of three classes.
    reshaped(folder.path(), 3, 5, &[1, 5, 3], card);
    let best = [1, 1, 0, 1, 2];
    let picture = folder.path().join("line.png");
    GrayImage::from_fn(3, 5, |x, y| Luma([if best[y as usize] == x { 9 } else { 0 }])).save(&picture).unwrap();
    let (text, errors) = cygnet(&[&folder.path().join("model.onnx"), &picture]);
    assert_eq!((text.as_str(), errors.as_str()), ("aab\n", ""));
}
