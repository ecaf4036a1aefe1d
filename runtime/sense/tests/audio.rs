//! Sound features against librosa and scipy (`golden/make.py`), and streaming against the whole.

use cygnet_sense::{
    AudioSpec, Error, FeatureStream, FeatureWindows, Features, MelNorm, MelScale, Output, PerBand, Quantization,
};
use proptest::prelude::*;

fn sound() -> Vec<i16> {
    include_bytes!("golden/sound.i16").as_chunks().0.iter().map(|value| i16::from_le_bytes(*value)).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

fn htk() -> AudioSpec {
    AudioSpec {
        clip_samples: 4000,
        window: 256,
        hop: 128,
        fft: 256,
        mels: 40,
        mel_low_hz: 60.0,
        mel_high_hz: 3800.0,
        floor: 1e-6,
        ..AudioSpec::new(8000)
    }
}

fn slaney() -> AudioSpec {
    AudioSpec {
        clip_samples: 4000,
        window: 400,
        hop: 160,
        fft: 512,
        mels: 64,
        mel_low_hz: 0.0,
        mel_high_hz: 8000.0,
        mel_scale: MelScale::Slaney,
        mel_norm: MelNorm::Slaney,
        floor: 1e-10,
        ..AudioSpec::new(16000)
    }
}

/// Gaps between the frames, and a window shorter than the transform.
fn gaps() -> AudioSpec {
    AudioSpec {
        window: 50,
        hop: 90,
        fft: 64,
        mels: 8,
        mel_low_hz: 100.0,
        mel_high_hz: 4000.0,
        mel_norm: MelNorm::Slaney,
        ..htk()
    }
}

fn long() -> AudioSpec {
    AudioSpec {
        window: 2000,
        hop: 500,
        fft: 2048,
        mels: 128,
        mel_low_hz: 300.0,
        mel_high_hz: 4000.0,
        mel_scale: MelScale::Slaney,
        ..htk()
    }
}

fn mfcc() -> AudioSpec {
    AudioSpec { features: Features::Mfcc, coefficients: 10, ..htk() }
}

/// The tensor, with scratch of exactly the size that was asked for.
fn prepare(spec: &AudioSpec, samples: &[i16]) -> Vec<f32> {
    let mut tensor = vec![f32::NAN; spec.tensor_len()];
    let mut scratch = vec![f32::NAN; spec.scratch_len()];
    spec.prepare(samples, &mut Output::F32(&mut tensor), &mut scratch).unwrap();
    tensor
}

#[test]
fn features_equal_librosa() {
    let cases = [
        ("htk", htk(), &include_bytes!("golden/log_mel_htk.f32")[..]),
        ("slaney", slaney(), include_bytes!("golden/log_mel_slaney.f32")),
        ("gaps", gaps(), include_bytes!("golden/log_mel_gaps.f32")),
        ("fft 2048", long(), include_bytes!("golden/log_mel_2048.f32")),
        ("mfcc", mfcc(), include_bytes!("golden/mfcc.f32")),
    ];
    let mut failing = Vec::new();
    for (name, spec, expected) in cases {
        let (got, expected) = (prepare(&spec, &sound()), floats(expected));
        assert_eq!(got.len(), expected.len(), "{name}");
        let difference = |(got, expected): (&f32, &f32)| (got - expected).abs() / expected.abs().max(1.0);
        let most = got.iter().zip(&expected).map(difference).fold(0.0, f32::max);
        println!("{name}: at most {most:e}");
        if most.is_nan() || most > 1e-4 {
            failing.push((name, most));
        }
    }
    assert!(failing.is_empty(), "{failing:?}");
}

#[test]
fn mean_and_scale_are_for_all_bands_or_for_each() {
    let plain = prepare(&mfcc(), &sound());
    let all = AudioSpec {
        mean: PerBand::from_slice(&[-6.0]).unwrap(),
        scale: PerBand::from_slice(&[0.25]).unwrap(),
        ..mfcc()
    };
    let each = AudioSpec { mean: (0..10).map(|k| k as f32).collect(), ..mfcc() };
    for (k, value) in plain.iter().enumerate() {
        assert_eq!(prepare(&all, &sound())[k], (value + 6.0) * 0.25);
        assert_eq!(prepare(&each, &sound())[k], value - (k % 10) as f32);
    }
}

#[test]
fn a_waveform_is_the_samples() {
    let spec = AudioSpec { features: Features::Waveform, clip_samples: 5, ..AudioSpec::new(16000) };
    assert_eq!(prepare(&spec, &[16384, -32768, 0]), [0.5, -1.0, 0.0, 0.0, 0.0]);
    // The five with the greatest energy.
    assert_eq!(prepare(&spec, &[1, 0, 0, 8192, 0, 0, 0, 16384, 1]), [0.25, 0.0, 0.0, 0.0, 0.5]);
    let mut tensor = [0; 5];
    let quantization = Quantization { scale: 0.01, zero_point: 1 };
    let mut scratch = vec![0.0; spec.scratch_len()];
    spec.prepare(&[16384, -16384], &mut Output::I8(&mut tensor, quantization), &mut scratch).unwrap();
    assert_eq!(tensor, [51, -49, 1, 1, 1]);
}

#[test]
fn a_short_recording_is_followed_by_zeros() {
    let mut whole = sound();
    whole[1000..].fill(0);
    assert_eq!(prepare(&htk(), &whole[..1000]), prepare(&htk(), &whole));
    // Silence is the floor: ln(1e-6) = -13.8155.
    for value in prepare(&htk(), &[]) {
        assert!((value + 13.815_511).abs() < 1e-5, "{value}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cases = [
        ("sample_rate", AudioSpec { sample_rate: 999, ..htk() }),
        ("clip_samples", AudioSpec { clip_samples: 0, ..htk() }),
        ("fft", AudioSpec { fft: 300, ..htk() }),
        ("fft", AudioSpec { fft: 4096, ..htk() }),
        ("window", AudioSpec { window: 257, ..htk() }),
        ("window", AudioSpec { clip_samples: 255, ..htk() }),
        ("hop", AudioSpec { hop: 0, ..htk() }),
        ("mels", AudioSpec { mels: 129, ..htk() }),
        ("mel_low_hz", AudioSpec { mel_low_hz: -1.0, ..htk() }),
        ("mel_low_hz", AudioSpec { mel_low_hz: f32::NAN, ..htk() }),
        ("mel_high_hz", AudioSpec { mel_high_hz: 4001.0, ..htk() }),
        ("floor", AudioSpec { floor: 0.0, ..htk() }),
        ("coefficients", AudioSpec { coefficients: 41, ..mfcc() }),
        ("mean", AudioSpec { mean: PerBand::new(), ..htk() }),
        ("scale", AudioSpec { scale: PerBand::from_slice(&[1.0, 1.0]).unwrap(), ..htk() }),
    ];
    for (name, spec) in cases {
        assert!(matches!(spec.check(), Err(Error::Spec { field, .. }) if field == name), "{name}: {:?}", spec.check());
        assert_eq!(AudioSpec::from_bytes(&spec.to_bytes()).unwrap_err(), spec.check().unwrap_err());
        assert_eq!(spec.scratch_len(), 0);
        assert!(FeatureStream::new(&spec, &mut [0.0; 5000]).is_err());
    }
    let needed = htk().scratch_len();
    let given = needed - 1;
    let mut scratch = vec![0.0; given];
    assert_eq!(FeatureStream::new(&htk(), &mut scratch).unwrap_err(), Error::ScratchLength { needed, given });
    let mut scratch = vec![0.0; needed];
    let refused = htk().prepare(&[], &mut Output::F32(&mut [0.0; 3]), &mut scratch);
    assert_eq!(refused, Err(Error::OutputLength { needed: 30 * 40, given: 3 }));
}

fn any_spec() -> impl Strategy<Value = AudioSpec> {
    let waveform = AudioSpec { features: Features::Waveform, ..htk() };
    prop::sample::select(vec![htk(), slaney(), gaps(), long(), mfcc(), waveform])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Sound cut into chunks of any size gives the same rows as the whole, to the bit.
    #[test]
    fn chunks_give_the_same_rows(spec in any_spec(), sizes in prop::collection::vec(0usize..700, 1..40)) {
        let sound = sound();
        let whole = prepare(&spec, &sound);
        let mut scratch = vec![0.0; spec.scratch_len()];
        let mut stream = FeatureStream::new(&spec, &mut scratch).unwrap();
        // What came before a reset leaves no trace.
        stream.push(&sound[..sizes[0]], |_| {});
        stream.reset();
        let mut rows = Vec::new();
        let mut rest = &sound[..];
        for size in sizes.iter().cycle().take(sizes.len() + 4000) {
            let (chunk, others) = rest.split_at((*size).min(rest.len()));
            stream.push(chunk, |row| rows.extend_from_slice(row));
            rest = others;
        }
        stream.push(rest, |row| rows.extend_from_slice(row));
        prop_assert_eq!(rows, whole);
    }

    #[test]
    fn a_record_reads_back(spec in any_spec(), mean in -9f32..9.0) {
        let spec = AudioSpec { mean: vec![mean; spec.row_len()].into_iter().collect(), ..spec };
        let record = spec.to_bytes();
        prop_assert_eq!(FeatureWindows::scratch_len_of(&record), FeatureWindows::scratch_len(&spec));
        prop_assert_eq!(FeatureWindows::scratch_len_of(&record[1..]), 0);
        prop_assert_eq!(AudioSpec::from_bytes(&record), Ok(spec));
    }

    /// Any bytes are read as a usable spec or refused; damage to a good record too.
    #[test]
    fn any_record_is_safe(
        noise in prop::collection::vec(any::<u8>(), 0..1200),
        at in 0usize..60,
        byte: u8,
        spec in any_spec(),
    ) {
        let mut damaged = spec.to_bytes();
        damaged[at] = byte;
        for bytes in [&noise[..], &damaged] {
            let length = FeatureWindows::scratch_len_of(bytes);
            if let Ok(spec) = AudioSpec::from_bytes(bytes) {
                prop_assert_eq!(spec.check(), Ok(()));
                prop_assert_eq!(length, FeatureWindows::scratch_len(&spec));
                let mut scratch = vec![0.0; spec.scratch_len()];
                let mut stream = FeatureStream::new(&spec, &mut scratch).unwrap();
                stream.push(&[100; 3000], |row| assert_eq!(row.len(), spec.row_len()));
            }
        }
    }
}

#[test]
fn windows_of_a_stream_are_the_clips_it_is_cut_into() {
    let sound = [sound(), sound(), sound()].concat();
    for (spec, step) in [(htk(), 3), (htk(), 40), (gaps(), 5), (AudioSpec { features: Features::Mfcc, ..htk() }, 1)] {
        let clip = spec.clip_samples as usize;
        let step_samples = step * spec.hop as usize;
        let clips = (0..).map(|k| k * step_samples).take_while(|begin| begin + clip <= sound.len());
        let mut expected = Vec::new();
        for begin in clips {
            let mut tensor = vec![0.0; spec.tensor_len()];
            let mut scratch = vec![0.0; spec.scratch_len()];
            let sound = &sound[begin..begin + clip];
            spec.prepare(sound, &mut Output::F32(&mut tensor), &mut scratch).unwrap();
            expected.push((begin as u64, tensor));
        }
        assert!(expected.len() > 1);
        for chunk in [1, 160, 4097, sound.len()] {
            let mut scratch = vec![0.0; FeatureWindows::scratch_len(&spec)];
            let mut windows = FeatureWindows::new(&spec, step, &mut scratch).unwrap();
            let mut found = Vec::new();
            for block in sound.chunks(chunk) {
                windows.push(block, |window| {
                    let mut tensor = vec![0.0; spec.tensor_len()];
                    window.write(&mut Output::F32(&mut tensor));
                    found.push((window.begin(), tensor));
                });
            }
            // A window is there with its last frame, which may come before the last sample of its clip.
            assert!(found.len() >= expected.len() && found.len() <= expected.len() + 1, "{}", found.len());
            assert!(found.iter().zip(&expected).all(|(found, expected)| found == expected), "chunks of {chunk}");
        }
    }
}
