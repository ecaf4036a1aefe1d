//! Front ends as librosa, Kaldi and TensorFlow compute them (`golden/conventions.py`), told by cards.
#![cfg(feature = "card")]

use std::path::Path;

use cygnet_sense::audio::{AudioSpec, Convention, Padding, Stft, WindowFunction};
use cygnet_sense::{Card, FeatureWindows, Output};

fn golden(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/conventions/{name}.f32"));
    std::fs::read(path).unwrap().as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

fn sound() -> Vec<i16> {
    include_bytes!("golden/sound.i16").as_chunks().0.iter().map(|value| i16::from_le_bytes(*value)).collect()
}

fn spec(fields: &str) -> AudioSpec {
    let head = "name = \"a\"\ntask = \"other\"\n[input]\nkind = \"audio\"\nsample_rate = 8000\nclip_samples = 4000\n";
    Card::parse(&format!("{head}{fields}")).unwrap_or_else(|error| panic!("{fields}: {error}")).audio_spec().unwrap()
}

fn prepare(spec: &AudioSpec, samples: &[i16]) -> Vec<f32> {
    let mut tensor = vec![f32::NAN; spec.tensor_len()];
    let mut scratch = vec![f32::NAN; spec.scratch_len()];
    spec.prepare(samples, &mut Output::F32(&mut tensor), &mut scratch).unwrap();
    tensor
}

const LIBROSA: &str = "convention = \"librosa\"\nwindow = 200\nfft = 256\nhop = 100\nmels = 32\n";
const KALDI: &str = "convention = \"kaldi\"\nwindow = 200\nhop = 80\nmels = 23\n";
const TENSORFLOW: &str =
    "convention = \"tensorflow\"\nwindow = 240\nhop = 120\nmels = 40\nmel_low_hz = 80\nmel_high_hz = 3900\n";
const MFCC: &str = "features = \"mfcc\"\ncoefficients = 13\n";
const LOG_MEL: &str = "features = \"log-mel\"\n";

fn cases() -> Vec<(&'static str, String)> {
    let hamming = "window = 256\nhop = 128\nmels = 20\nwindow_function = \"hamming\"\nspectrum = \"magnitude\"\n\
                   logarithm = \"decimal\"\nfloor = 1e-5\n";
    vec![
        ("librosa_zeros", format!("{LIBROSA}{LOG_MEL}")),
        ("librosa_reflect", format!("{LIBROSA}{LOG_MEL}padding = \"reflect\"")),
        ("librosa_mfcc_zeros", format!("{LIBROSA}{MFCC}lifter = 22")),
        ("librosa_mfcc_reflect", format!("{LIBROSA}{MFCC}lifter = 22\npadding = \"reflect\"")),
        ("librosa_hamming_log10", format!("{hamming}{LOG_MEL}")),
        ("librosa_inside", format!("{LIBROSA}{LOG_MEL}padding = \"inside\"")),
        ("kaldi_fbank", format!("{KALDI}{LOG_MEL}")),
        ("kaldi_fbank_symmetric", format!("{KALDI}{LOG_MEL}padding = \"symmetric\"")),
        ("kaldi_mfcc", format!("{KALDI}{MFCC}")),
        ("kaldi_mfcc_energy", format!("{KALDI}{MFCC}energy = true")),
        ("tensorflow", format!("{TENSORFLOW}{LOG_MEL}")),
        ("tensorflow_mfcc", format!("{TENSORFLOW}{MFCC}")),
    ]
}

#[test]
fn features_equal_those_of_others() {
    let mut failing = Vec::new();
    for (name, fields) in cases() {
        let (got, expected) = (prepare(&spec(&fields), &sound()), golden(name));
        assert_eq!(got.len(), expected.len(), "{name}");
        let difference = |(got, expected): (&f32, &f32)| (got - expected).abs() / expected.abs().max(1.0);
        let most = got.iter().zip(&expected).map(difference).fold(0.0, f32::max);
        println!("{name}: at most {most:e}");
        if most.is_nan() || most > 2e-4 {
            failing.push((name, most));
        }
    }
    assert!(failing.is_empty(), "{failing:?}");
}

#[test]
fn records_read_back_and_plain_ones_stay_as_short_as_they_were() {
    for (name, fields) in cases() {
        let spec = spec(&fields);
        let record = spec.to_bytes();
        assert_eq!(AudioSpec::from_bytes(&record).as_ref(), Ok(&spec), "{name}");
        assert_eq!(record.len(), AudioSpec::MOST_BYTES, "{name}");
        assert_eq!(FeatureWindows::scratch_len_of(&record), FeatureWindows::scratch_len(&spec), "{name}");
        assert!(AudioSpec::from_bytes(&record[..record.len() - 1]).is_err());
    }
    let plain = AudioSpec::new(8000);
    assert_eq!((plain.to_bytes().len(), plain.convention), (AudioSpec::BYTES, Convention::default()));
}

#[test]
fn a_damaged_convention_is_refused_or_read() {
    let spec = spec(&cases()[1].1);
    let record = spec.to_bytes();
    for at in AudioSpec::BYTES..AudioSpec::MOST_BYTES {
        for value in [1, 2, 6, 0x7f, 0xff] {
            let mut damaged = record.clone();
            damaged[at] = value;
            if let Ok(read) = AudioSpec::from_bytes(&damaged) {
                assert_eq!(FeatureWindows::scratch_len_of(&damaged), FeatureWindows::scratch_len(&read));
            }
        }
    }
}

/// A floor that is added raises all bands; one that the range of a clip has raised would shift them.
#[test]
fn a_range_is_refused_where_the_floor_is_added() {
    let spec = spec(&format!("{TENSORFLOW}{LOG_MEL}"));
    let ranged = AudioSpec { convention: Convention { range_db: 40.0, ..spec.convention }, ..spec };
    assert!(matches!(ranged.check(), Err(cygnet_sense::Error::Spec { field: "range_db", .. })), "{:?}", ranged.check());
}

/// Frames that lie within the clip do not know of its edges: those of a stream are the same.
#[test]
fn streams_have_no_edges() {
    let fields = format!("{LIBROSA}{LOG_MEL}range_db = 0");
    let padded = spec(&fields);
    assert_eq!((padded.convention.padding, padded.frames()), (Padding::Zeros, 41));
    let plain = AudioSpec { convention: Convention { padding: Padding::None, ..padded.convention }, ..padded.clone() };
    let (padded, plain) = (prepare(&padded, &sound()), prepare(&plain, &sound()));
    // The first frame without padding begins with the first sample: where the second one with padding does.
    assert_eq!(padded[32..][..38 * 32], plain[..38 * 32]);
}

#[test]
fn spectra_and_their_sound_equal_those_of_librosa() {
    let sound: Vec<f32> = sound()[..1600].iter().map(|&sample| f32::from(sample) / 32768.0).collect();
    let plain = Stft { fft: 256, window: 200, hop: 100, function: WindowFunction::Hann, padding: Padding::Zeros };
    let cases = [
        ("zeros", plain),
        ("reflect", Stft { padding: Padding::Reflect, ..plain }),
        ("none", Stft { padding: Padding::None, window: 256, ..plain }),
    ];
    for (name, stft) in cases {
        let expected = golden(&format!("stft_{name}"));
        let mut spectra = vec![[0.0; 2]; stft.frames(sound.len()) * stft.bins()];
        let mut scratch = vec![f32::NAN; stft.scratch_len(sound.len())];
        stft.forward(&sound, &mut spectra, &mut scratch).unwrap();
        let got = spectra.as_flattened();
        assert_eq!(got.len(), expected.len(), "{name}");
        let most = got.iter().zip(&expected).map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
        assert!(most < 2e-5, "{name}: {most}");
        spectra.chunks_exact_mut(stft.bins()).for_each(|spectrum| spectrum[64..].fill([0.0; 2]));
        let mut again = vec![f32::NAN; sound.len()];
        stft.inverse(&spectra, &mut again, &mut scratch).unwrap();
        let expected = golden(&format!("istft_{name}"));
        // Where windows barely reach, at the edges, small differences are divided by small numbers.
        let near = |(got, expected): (&f32, &f32)| (got - expected).abs() < 2e-5 + 1e-3 * expected.abs();
        let middle = 4..again.len() - 100;
        assert!(again[middle.clone()].iter().zip(&expected[middle]).all(near), "{name}");
        assert!(stft.forward(&sound, &mut spectra[1..], &mut scratch).is_err());
        assert!(stft.inverse(&spectra, &mut again, &mut scratch[1..]).is_err());
    }
    let short = Stft { padding: Padding::Reflect, ..plain };
    let error = short.forward(&sound[..100], &mut [[0.0; 2]; 2 * 129], &mut [0.0; 600]).unwrap_err();
    assert!(error.to_string().contains("`padding`"), "{error}");
}
