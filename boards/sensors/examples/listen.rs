//! The listening firmware on a laptop: `listen PLAN SOUND`, where the sound is raw signed 16-bit samples, little-endian, mono,
//! at the plan's rate. Prints the lines that `boards/cortex-m/src/bin/listen.rs` prints for its words.

use std::error::Error;
use std::{env, fs};

use cygnet_core::{Plan, Session};
use cygnet_sensors::{AudioSource, Change, Listener, RecordedSound};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<_> = env::args_os().skip(1).collect();
    let [plan, sound] = &files[..] else { return Err("usage: listen PLAN SOUND".into()) };
    let (bytes, sound) = (fs::read(plan)?, fs::read(sound)?);
    let plan = Plan::parse(&bytes)?;
    let spec = Listener::sound(&plan)?;
    let ignored = Listener::background(&plan);
    let mut scratch = vec![0.0; Listener::scratch_len_of(&bytes, &Listener::EVENTS)];
    let mut arena = vec![0; plan.arena_bytes() + 16];
    let start = arena.as_ptr().align_offset(16);
    let session = Session::new(plan, &mut arena[start..start + plan.arena_bytes()])?;
    let mut listener =
        Listener::new(session, &spec, Listener::step_rows(&spec), &Listener::EVENTS, &ignored, &mut scratch)?;
    let rate = u64::from(spec.sample_rate);
    let tell = |change| {
        let Change::Ended(word) = change else { return };
        let label = plan.labels().nth(word.class).unwrap_or_default();
        let [start, end] = [word.start, word.end].map(|samples| samples * 1000 / rate);
        println!("{start} ms to {end} ms: {label} {:.3}", word.score);
    };
    let mut source = RecordedSound::new(&sound, spec.sample_rate);
    let mut piece = vec![0; spec.sample_rate as usize / 50];
    listener.begin(tell)?;
    loop {
        let count = source.read(&mut piece)?;
        if count == 0 {
            break;
        }
        listener.push(&piece[..count], tell)?;
    }
    listener.finish(tell)?;
    Ok(())
}
