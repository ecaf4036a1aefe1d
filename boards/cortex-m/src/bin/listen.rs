//! Listens: sound in pieces of 20 ms to words, a line and a lamp for each.
//!
//! The sound is a recording that was built in (`CYGNET_SOUND`); without one, on a board on a desk, the microphone. The
//! lamp shines while there is a word; of one word alone where `CYGNET_WORD` names it.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use cygnet_core::Plan;
use cygnet_cortex_m::board::{self, Board, Lamp};
use cygnet_cortex_m::console::{self, Word};
use cygnet_cortex_m::counter::Counter;
use cygnet_cortex_m::{embedded, stack};
use cygnet_sense::AudioSpec;
use cygnet_sensors::{Answer, AnswerPin, AudioSource, Change, Listener, ModelError};

#[cfg(not(any(recorded_sound, sampled)))]
compile_error!("this board has no microphone: set CYGNET_SOUND to a recording, see build.rs");

/// The word that the lamp shows; nothing stands for any word.
const WORD: &str = match option_env!("CYGNET_WORD") {
    Some(word) => word,
    None => "",
};
/// Pieces of sound a second.
const PIECES: u32 = 50;
/// Samples of the longest piece: that of 16 kHz. At higher rates the pieces are shorter.
const PIECE: usize = 320;
/// Values that the listener needs for its features and averages.
const SCRATCH: usize = Listener::scratch_len_of(embedded::PLAN, &Listener::EVENTS);
const _: () = assert!(SCRATCH > 0, "CYGNET_PLAN takes no sound: compile a model whose card says kind = \"audio\"");

#[entry]
fn main() -> ! {
    stack::paint();
    #[cfg(feature = "log")]
    cygnet_cortex_m::logger::start(log::LevelFilter::Debug);
    let done = board::start().ok_or(Stop::Board).and_then(listen);
    if let Err(stop) = &done {
        stop.tell();
    }
    console::end(done.is_ok())
}

/// Why nothing is heard.
enum Stop {
    /// The board did not start, or was started before.
    Board,
    /// The microphone cannot be read at the plan's rate.
    Microphone,
    /// The plan or its sound.
    Listen(ModelError),
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::Listen(error)
    }
}

impl Stop {
    fn tell(&self) {
        let text = match self {
            Self::Board => "the board does not start: look at its supply and its clock",
            Self::Microphone => "the microphone cannot be read at the plan's rate",
            Self::Listen(ModelError::Run(error)) => return console::error(error),
            Self::Listen(ModelError::Input(_)) => "the plan takes no sound as int8: cygnet inspect shows its input",
            Self::Listen(_) => "the plan's sound cannot be prepared: compile it again",
        };
        console::line(&[Word::Text(text)]);
    }
}

/// The recording, and the lamp.
#[cfg(all(recorded_sound, not(sampled)))]
fn open(board: Board, spec: &AudioSpec) -> Option<(impl AudioSource, Lamp)> {
    Some((cygnet_sensors::RecordedSound::new(embedded::SOUND, spec.sample_rate), board.lamp))
}

/// The microphone, and the lamp.
#[cfg(sampled)]
fn open(mut board: Board, spec: &AudioSpec) -> Option<(impl AudioSource, Lamp)> {
    let timer = &mut board.core.SYST;
    let source = cygnet_cortex_m::sampling::start(board.spi, timer, board.core_hz, spec.sample_rate)?;
    Some((source, board.lamp))
}

fn listen(mut board: Board) -> Result<(), Stop> {
    let plan = embedded::plan().map_err(ModelError::Run)?;
    let spec = Listener::sound(&plan)?;
    let ignored = Listener::background(&plan);
    let scratch = cortex_m::singleton!(VALUES: [f32; SCRATCH] = [0.0; SCRATCH]).ok_or(Stop::Board)?;
    let session = embedded::session().ok_or(Stop::Board)?.map_err(ModelError::Run)?;
    let mut listener = Listener::new(session, &spec, Listener::step_rows(&spec), &Listener::EVENTS, &ignored, scratch)?;
    let counter = Counter::start(&mut board.core);
    // Before the microphone: the windows of silence are work, too.
    listener.begin(|_| {})?;
    let (mut source, lamp) = open(board, &spec).ok_or(Stop::Microphone)?;
    let Ok(lamp) = AnswerPin::new(lamp, WORD);
    let mut teller = Teller { plan, rate: spec.sample_rate.into(), lamp };

    let mut piece = heapless::Vec::<i16, PIECE>::new();
    let _ = piece.resize((spec.sample_rate / PIECES).clamp(1, PIECE as u32) as usize, 0);
    let (mut samples, mut work) = (0, 0);
    loop {
        let count = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            // The next piece tries again; what is lost is less than a word.
            Err(_) => continue,
        };
        let start = counter.count();
        listener.push(piece.get(..count).unwrap_or_default(), |change| teller.tell(change))?;
        work += counter.count() - start;
        samples += count as u64;
        #[cfg(sampled)]
        tell_lost();
    }
    listener.finish(|change| teller.tell(change))?;
    console::line(&[Word::Text("sound "), Word::Number(samples * 1000 / teller.rate), Word::Text(" ms")]);
    let second = work * teller.rate / samples.max(1);
    console::line(&[Word::Text(Counter::UNIT), Word::Text(" for a second of sound "), Word::Number(second)]);
    console::line(&[Word::Text("arena "), Word::Number(embedded::ARENA_BYTES as u64)]);
    console::line(&[Word::Text("scratch "), Word::Number(4 * SCRATCH as u64)]);
    console::line(&[Word::Text("stack "), Word::Number(stack::high_water() as u64)]);
    Ok(())
}

/// Says when the core was too slow, or the microphone did not answer.
#[cfg(sampled)]
fn tell_lost() {
    let (lost, failed) = cygnet_cortex_m::sampling::take_lost();
    if lost > 0 {
        console::line(&[Word::Number(lost.into()), Word::Text(" samples lost: the core is too slow for this plan")]);
    }
    if failed > 0 {
        console::line(&[Word::Number(failed.into()), Word::Text(" samples not given: look at the microphone's wires")]);
    }
}

/// Shows the words.
struct Teller {
    plan: Plan<'static>,
    rate: u64,
    lamp: AnswerPin<'static, Lamp>,
}

impl Teller {
    fn tell(&mut self, change: Change) {
        let (word, is_over) = match change {
            Change::Begun(word) => (word, false),
            Change::Ended(word) => (word, true),
        };
        let label = self.plan.labels().nth(word.class).unwrap_or_default();
        let Ok(()) = self.lamp.show((!is_over).then_some((label, word.score)));
        let time = |samples: u64| Word::Number(samples * 1000 / self.rate);
        if is_over {
            console::line(&[
                time(word.start),
                Word::Text(" ms to "),
                time(word.end),
                Word::Text(" ms: "),
                Word::Text(label),
                Word::Text(" "),
                Word::Real(word.score),
            ]);
        } else {
            log::debug!("{label} begins");
        }
    }
}
