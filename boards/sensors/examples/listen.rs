//! The listening firmware on a laptop: `listen PLAN OUT.pcm RECORDING.wav…` joins the recordings with a second of silence
//! around each, writes that as the firmware takes it (`CYGNET_SOUND`: raw signed 16-bit samples, little-endian, mono, at the
//! plan's rate), and hears it: the lines are those that `boards/cortex-m/src/bin/listen.rs` prints for its words.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::{env, fs};

use cygnet_core::{Plan, Session};
use cygnet_sense::{AudioSpec, Resampler};
use cygnet_sensors::{AudioSource, Change, Listener, RecordedSound};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<OsString> = env::args_os().skip(1).collect();
    let [plan, out, recordings @ ..] = &files[..] else {
        return Err("usage: listen PLAN OUT.pcm RECORDING.wav…".into());
    };
    let plan = fs::read(plan)?;
    let spec = Listener::sound(&Plan::parse(&plan)?)?;
    let sound = joined(recordings, spec.sample_rate)?;
    fs::write(out, &sound)?;
    listen(&plan, &spec, &sound)
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
    let mut scratch = vec![0.0; Listener::scratch_len_of(bytes, &Listener::EVENTS)];
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
