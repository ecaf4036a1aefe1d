//! Sets of samples: folders of pictures and sound, arrays, and what is refused.
#![cfg(feature = "npz")]

use std::fs;
use std::path::Path;

use cygnet::Card;
use cygnet::input::{Array, DataSet, ElementType, InputSpec};
use cygnet::output::write_npz;

fn spec(name: &str, shape: &[usize]) -> InputSpec {
    InputSpec { name: name.into(), shape: shape.to_vec(), kept: false }
}

fn floats(name: &str, shape: &[usize], values: &[f32]) -> Array {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Array { name: name.into(), dtype: ElementType::F32, shape: shape.to_vec(), data }
}

fn labels(values: &[i64]) -> Array {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Array { name: "y".into(), dtype: ElementType::I64, shape: vec![values.len()], data }
}

fn card(input: &str) -> Card {
    let head = "name = \"x\"\ntask = \"classification\"\nlabels = [\"cat\", \"dog\"]\n[input]\n";
    Card::parse(&format!("{head}{input}")).unwrap()
}

fn image_card() -> Card {
    card("kind = \"image\"\nwidth = 2\nheight = 1\nmean = [1.0]\nscale = [2.0]\n")
}

fn picture(path: &Path, pixels: [[u8; 3]; 2]) {
    let [a, b] = pixels.map(image::Rgb);
    let picture = image::RgbImage::from_fn(2, 1, |x, _| if x == 0 { a } else { b });
    picture.save(path).unwrap();
}

#[test]
fn pictures_come_in_the_order_of_the_onnx_shape() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["cat", "dog"] {
        fs::create_dir(folder.path().join(class)).unwrap();
    }
    picture(&folder.path().join("dog/a.png"), [[1, 2, 3], [4, 5, 6]]);
    picture(&folder.path().join("cat/b.png"), [[10, 10, 10], [0, 0, 0]]);
    let card = image_card();
    let set = DataSet::open(folder.path(), Some(&card), vec![spec("x", &[1, 3, 1, 2])]).unwrap();
    let samples: Vec<_> = set.samples().map(Result::unwrap).collect();
    let found: Vec<_> = samples.iter().map(|s| (&*s.name, s.label, &s.inputs[0][..])).collect();
    // (pixel - 1) × 2, channel after channel.
    let cat: (_, _, &[f32]) = ("cat/b.png", Some(0), &[18.0, -2.0, 18.0, -2.0, 18.0, -2.0]);
    let dog: (_, _, &[f32]) = ("dog/a.png", Some(1), &[0.0, 6.0, 2.0, 8.0, 4.0, 10.0]);
    assert_eq!(found, [cat, dog]);
    assert!(set.is_labelled());

    let one = DataSet::open(&folder.path().join("dog/a.png"), Some(&card), vec![spec("x", &[1, 3, 1, 2])]).unwrap();
    assert_eq!((one.len(), one.sample(0).unwrap().name), (1, "a.png".to_string()));
    assert!(one.sample(1).is_err());
}

#[test]
fn recordings_of_another_rate_and_two_channels_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.wav");
    let format = hound::WavSpec {
        channels: 2,
        sample_rate: 16000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, format).unwrap();
    for _ in 0..1600 {
        writer.write_sample(16384i16).unwrap();
        writer.write_sample(0i16).unwrap();
    }
    writer.finalize().unwrap();
    let card = card("kind = \"audio\"\nsample_rate = 8000\nclip_samples = 1000\nfeatures = \"waveform\"\n");
    let set = DataSet::open(folder.path(), Some(&card), vec![spec("x", &[1, 1000])]).unwrap();
    let sample = set.sample(0).unwrap();
    assert_eq!(sample.inputs[0].len(), 1000);
    // 0.1 s of the constant ¼ at half the rate, then padding.
    let (sound, padding) = (&sample.inputs[0][100..700], &sample.inputs[0][800..]);
    assert!(sound.iter().all(|value| (value - 0.25).abs() < 0.001));
    assert!(padding.iter().all(|&value| value == 0.0));
}

#[test]
fn arrays_hold_many_samples_or_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let values: Vec<f32> = (0..8).map(|value| value as f32).collect();
    let cases: [(&str, &[usize], &[usize], usize); 6] = [
        ("x", &[2, 4], &[1, 4], 2),
        ("in", &[2, 4], &[1, 4], 2),
        ("x", &[2, 2, 2], &[1, 1, 2, 2], 2),
        ("x", &[8], &[1, 8], 1),
        ("x", &[2, 4], &[2, 4], 1),
        ("x", &[8], &[1, 1], 8),
    ];
    for (name, shape, wanted, count) in cases {
        write_npz(&path, &[floats(name, shape, &values)]).unwrap();
        let set = DataSet::open(&path, None, vec![spec("in", wanted)]).unwrap();
        assert_eq!(set.len(), count, "{shape:?} for {wanted:?}");
        let all: Vec<f32> = set.samples().flat_map(|sample| sample.unwrap().inputs.remove(0)).collect();
        assert_eq!(all, values);
    }
    write_npz(&path, &[floats("b", &[2], &[7.0, 8.0]), labels(&[1, 0]), floats("a", &[2, 2], &[1.0, 2.0, 3.0, 4.0])])
        .unwrap();
    let set = DataSet::open(&path, None, vec![spec("a", &[1, 2]), spec("b", &[1])]).unwrap();
    let second = set.sample(1).unwrap();
    assert_eq!((second.inputs, second.label), (vec![vec![3.0, 4.0], vec![8.0]], Some(0)));
    assert_eq!(second.name, "data.npz[1]");
}

#[test]
fn bad_arrays_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let good = floats("x", &[2, 2], &[0.0; 4]);
    let cases: [(Vec<Array>, &str); 8] = [
        (vec![floats("image", &[2, 2], &[0.0; 4])], "there is no array \"in\" or \"x\" in it; it has \"image\""),
        (vec![floats("x", &[2, 3], &[0.0; 6])], "its shape is [2, 3], the input \"in\" needs [samples, 2]"),
        (vec![floats("x", &[0, 2], &[])], "it holds no sample"),
        (vec![good.clone(), labels(&[0])], "1 labels for 2 samples"),
        (vec![good.clone(), labels(&[0, -1])], "label 1 is -1"),
        (vec![good.clone(), labels(&[0, 2])], "label 1 is 2, the card has 2 labels"),
        (vec![floats("x", &[2, 2], &[0.0, 0.0, f32::NAN, 0.0])], "sample 1 holds NaN at element 0"),
        (vec![floats("x", &[2, 2], &[0.0, f32::INFINITY, 0.0, 0.0])], "sample 0 holds inf at element 1"),
    ];
    let card = card("kind = \"tensor\"\n");
    for (arrays, expected) in cases {
        write_npz(&path, &arrays).unwrap();
        let set = DataSet::open(&path, Some(&card), vec![spec("in", &[1, 2])]);
        let all = set.and_then(|set| set.samples().collect::<Result<Vec<_>, _>>());
        let message = all.unwrap_err().to_string();
        assert!(message.contains("data.npz") && message.contains(expected), "{message}");
    }
    for (bytes, expected) in [(&b"PK\x03\x04 broken"[..], "savez"), (b"", "ends early"), (b"hello world", "NumPy")] {
        fs::write(&path, bytes).unwrap();
        let message = DataSet::open(&path, None, vec![spec("in", &[1, 2])]).unwrap_err().to_string();
        assert!(message.contains("data.npz") && message.contains(expected), "{message}");
    }
}

#[test]
fn what_does_not_suit_the_model_is_refused_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("a.png");
    picture(&png, [[0; 3]; 2]);
    let card = image_card();
    let fits = vec![spec("x", &[1, 3, 1, 2])];
    let cases = [
        (DataSet::open(&png, None, fits.clone()), "give a card (--card FILE.toml)"),
        (DataSet::open(folder.path(), None, fits.clone()), "there are no arrays"),
        (
            DataSet::open(&png, Some(&card), vec![spec("x", &[1, 1, 2, 3])]),
            "it makes [3, 1, 2] (channels, height, width)",
        ),
        (DataSet::open(&png, Some(&card), vec![spec("x", &[1, 6]), spec("z", &[1])]), "the model has 2; give a .npz"),
        (DataSet::open(&folder.path().join("b.png"), Some(&card), fits), "No such file"),
    ];
    for (result, expected) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn recordings_become_the_frames_that_a_voice_activity_model_hears() {
    let folder = tempfile::tempdir().unwrap();
    for (name, count) in [("a.wav", 6_u32), ("b.wav", 4)] {
        let samples: Vec<u8> = (1..=count as i16).flat_map(|n| (n * 1024).to_le_bytes()).collect();
        let mut wav = b"RIFF".to_vec();
        wav.extend((36 + 2 * count).to_le_bytes());
        wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend([8000_u32, 16000].iter().flat_map(|word| word.to_le_bytes()));
        wav.extend(b"\x02\0\x10\0data");
        wav.extend((2 * count).to_le_bytes());
        wav.extend(samples);
        fs::write(folder.path().join(name), wav).unwrap();
    }
    let audio = "kind = \"audio\"\nsample_rate = 8000\nclip_samples = 6\nfeatures = \"waveform\"\n[speech]\nhop = 4\n";
    let state = InputSpec { kept: true, ..spec("state", &[1, 2]) };
    let set = DataSet::open(folder.path(), Some(&card(audio)), vec![spec("x", &[1, 6]), state]).unwrap();
    let samples: Vec<_> = set.samples().map(Result::unwrap).collect();
    let found: Vec<_> = samples.iter().map(|s| (&*s.name, s.starts, s.inputs[0].clone(), s.inputs[1].len())).collect();
    // 1024 / 32768 is a 32nd. Two samples of the frame before stand in front, silence before and behind the recording.
    let frame = |values: [u8; 6]| values.map(|value| f32::from(value) / 32.0).to_vec();
    let expected = [
        ("a.wav[0]", true, frame([0, 0, 1, 2, 3, 4]), 0),
        ("a.wav[1]", false, frame([3, 4, 5, 6, 0, 0]), 0),
        ("b.wav[0]", true, frame([0, 0, 1, 2, 3, 4]), 0),
    ];
    assert_eq!(found, expected);
    assert_eq!(set.file(2), Some(&*folder.path().join("b.wav")));
    assert!(set.sample(3).is_err() && !set.is_labelled());
}
