//! The listening firmware on a laptop: `listen PLAN OUT.pcm RECORDING.wav…` joins the recordings with a second of
//! silence around each, writes that as the firmware takes it (`CYGNET_SOUND`: raw signed 16-bit samples, little-endian,
//! mono, at the plan's rate), and hears it: the lines are those that `boards/cortex-m/src/bin/listen.rs` prints for its
//! words. `listen --sampled …` hears it through the converter of a microphone, as that firmware does with the feature
//! `played`.

use std::convert::Infallible;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::{env, fs};

use cygnet_core::{Plan, Session};
use cygnet_sense::{AudioSpec, Resampler};
use cygnet_sensors::{AudioSource, Change, Listener, RecordedSound, SpiMicrophone};
use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

fn main() -> Result<(), Box<dyn Error>> {
    let mut files: Vec<OsString> = env::args_os().skip(1).collect();
    let is_sampled = files.first().is_some_and(|first| first == "--sampled");
    files.drain(..usize::from(is_sampled));
    let [plan, out, recordings @ ..] = &files[..] else {
        return Err("usage: listen [--sampled] PLAN OUT.pcm RECORDING.wav…".into());
    };
    let plan = fs::read(plan)?;
    let spec = Listener::sound(&Plan::parse(&plan)?)?;
    let sound = joined(recordings, spec.sample_rate)?;
    fs::write(out, &sound)?;
    let sound = if is_sampled { sampled(&sound)? } else { sound };
    listen(&plan, &spec, &sound)
}

/// A converter whose levels are the samples, cut to twelve bits.
struct Converter<'s>(RecordedSound<'s>);

impl ErrorType for Converter<'_> {
    type Error = Infallible;
}

impl SpiDevice for Converter<'_> {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        let mut sample = [0];
        let Ok(_) = self.0.read(&mut sample);
        let level = (sample[0] / 16 + 2048).to_be_bytes();
        for operation in operations {
            if let Operation::Read(bytes) = operation {
                bytes.copy_from_slice(&level);
            }
        }
        Ok(())
    }
}

/// What a microphone with that converter gives.
fn sampled(sound: &[u8]) -> Result<Vec<u8>, Infallible> {
    let mut microphone = SpiMicrophone::new(Converter(RecordedSound::new(sound, 0)));
    let mut heard = Vec::new();
    for _ in 0..sound.len() / 2 {
        heard.extend(microphone.sample()?.to_le_bytes());
    }
    Ok(heard)
}

/// The recordings at one rate, as bytes.
fn joined(recordings: &[OsString], rate: u32) -> Result<Vec<u8>, Box<dyn Error>> {
    let silence = vec![0_u8; 2 * rate as usize];
    let mut sound = silence.clone();
    for path in recordings {
        let mut wav = hound::WavReader::open(Path::new(path))?;
        let hound::WavSpec { sample_rate, channels, .. } = wav.spec();
        let mut scratch = vec![0.0; Resampler::scratch_len(sample_rate, rate)?];
        let mut resampler = Resampler::new(sample_rate, rate, &mut scratch)?;
        let samples = wav.samples::<i16>().step_by(channels.into()).collect::<Result<Vec<_>, _>>()?;
        resampler.push(&samples, |sample| sound.extend(sample.to_le_bytes()));
        resampler.finish(|sample| sound.extend(sample.to_le_bytes()));
        sound.extend(&silence);
    }
    Ok(sound)
}

fn listen(bytes: &[u8], spec: &AudioSpec, sound: &[u8]) -> Result<(), Box<dyn Error>> {
    let plan = Plan::parse(bytes)?;
    let ignored = Listener::background(&plan);
    let needed = Listener::scratch_len(spec, &Listener::EVENTS, plan.labels().count());
    if Listener::scratch_len_of(bytes, &Listener::EVENTS) != needed {
        return Err(format!("firmware would have another scratch than the {needed} values that are needed").into());
    }
    let mut scratch = vec![0.0; needed];
    let mut arena = vec![0; plan.arena_bytes() + 16];
    let start = arena.as_ptr().align_offset(16);
    let session = Session::new(plan, &mut arena[start..start + plan.arena_bytes()])?;
    let mut listener =
        Listener::new(session, spec, Listener::step_rows(spec), &Listener::EVENTS, &ignored, &mut scratch)?;
    let rate = u64::from(spec.sample_rate);
    let tell = |change| {
        let Change::Ended(word) = change else { return };
        let label = plan.labels().nth(word.class).unwrap_or_default();
        let [start, end] = [word.start, word.end].map(|samples| samples * 1000 / rate);
        println!("{start} ms to {end} ms: {label} {:.3}", word.score);
    };
    let mut source = RecordedSound::new(sound, spec.sample_rate);
    let mut piece = vec![0; spec.sample_rate as usize / 50];
    listener.begin(tell)?;
    loop {
        let count = source.read(&mut piece)?;
        if count == 0 {
            break;
        }
        listener.push(&piece[..count], tell)?;
    }
    Ok(listener.finish(tell)?)
}
