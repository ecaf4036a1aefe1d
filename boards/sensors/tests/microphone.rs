//! Microphones against a converter that says what a test tells it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use cygnet_sensors::{AudioSource, DelayPace, PacedSound, RecordedSound, SoundQueue, SpiMicrophone};
use embedded_hal::delay::DelayNs;
use embedded_hal::spi::{Error, ErrorKind, ErrorType, Operation, SpiDevice};

/// An ADCS7476: two bytes for each selection; none are left when the wire is cut.
#[derive(Clone, Default)]
struct Converter(Rc<RefCell<VecDeque<u16>>>);

#[derive(Debug, PartialEq)]
struct Cut;

impl Error for Cut {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Converter {
    type Error = Cut;
}

impl SpiDevice for Converter {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Cut> {
        let [Operation::Read(bytes)] = operations else { panic!("one read of two bytes") };
        let level = self.0.borrow_mut().pop_front().ok_or(Cut)?;
        bytes.copy_from_slice(&level.to_be_bytes());
        Ok(())
    }
}

/// Writes down how long it waited.
#[derive(Clone, Default)]
struct Delay(Rc<RefCell<Vec<u32>>>);

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        self.0.borrow_mut().push(ns);
    }
}

fn converter(levels: impl IntoIterator<Item = u16>) -> Converter {
    Converter(Rc::new(RefCell::new(levels.into_iter().collect())))
}

#[test]
fn twelve_bits_fill_sixteen_around_the_middle() {
    // The middle, one step above and below, the ends; the four bits in front are not the converter's.
    let mut microphone = SpiMicrophone::new(converter([0x800, 0x801, 0x7ff, 0xfff, 0x000, 0xf800]));
    let samples: Vec<_> = (0..6).map(|_| microphone.sample().unwrap()).collect();
    // 2047 steps up are 32752, and move the average by two steps; as many down move it back.
    assert_eq!(samples, [0, 16, -16, 32752, i16::MIN, 0]);
    assert_eq!(microphone.sample(), Err(Cut));
}

#[test]
fn a_microphone_whose_silence_lies_elsewhere_becomes_silent() {
    let mut microphone = SpiMicrophone::new(converter(std::iter::repeat_n(2300, 20_000)));
    let samples: Vec<_> = (0..20_000).map(|_| microphone.sample().unwrap()).collect();
    assert_eq!(samples[0], (2300 - 2048) * 16);
    assert!(samples[19_000..].iter().all(|sample| sample.abs() <= 16), "{:?}", &samples[19_990..]);
}

#[test]
fn a_tone_keeps_its_size() {
    // 500 Hz at 8 kHz: a period of 16 samples, of amplitude 1000 steps.
    let level = |k: u32| (2048.0 + 1000.0 * (f64::from(k) * std::f64::consts::TAU / 16.0).sin()).round() as u16;
    let mut microphone = SpiMicrophone::new(converter((0..8000).map(level)));
    let samples: Vec<_> = (0..8000).map(|_| microphone.sample().unwrap()).collect();
    let most = samples[4000..].iter().max().unwrap();
    let least = samples[4000..].iter().min().unwrap();
    assert!((15_800..=16_200).contains(most) && (-16_200..=-15_800).contains(least), "{least} to {most}");
}

#[test]
fn paced_sound_waits_once_for_each_sample_and_tells_the_bus_error() {
    let delay = Delay::default();
    let pace = DelayPace::new(delay.clone(), 8000, 5000);
    let mut sound = PacedSound::new(SpiMicrophone::new(converter([0x800, 0x900, 0x800])), pace);
    assert_eq!(sound.sample_rate(), 8000);
    let mut samples = [0; 2];
    assert_eq!(sound.read(&mut samples), Ok(2));
    assert_eq!(samples, [0, 4096]);
    assert_eq!(*delay.0.borrow(), [120_000, 120_000], "an eighth of a millisecond but 5 microseconds");
    assert_eq!(sound.read(&mut samples), Err(Cut));
}

#[test]
fn a_queue_keeps_the_order_and_counts_what_finds_no_room() {
    let mut queue = SoundQueue::<5>::new();
    let idles = RefCell::new(0);
    let (mut sink, mut source) = queue.split(16_000, || *idles.borrow_mut() += 1);
    assert_eq!(source.sample_rate(), 16_000);
    for sample in 1..=6 {
        sink.push(sample);
    }
    assert_eq!([sink.take_lost(), sink.take_lost()], [2, 0]);
    let mut samples = [0; 3];
    assert_eq!(source.read(&mut samples), Ok(3));
    assert_eq!(samples, [1, 2, 3]);
    for sample in 7..=9 {
        sink.push(sample);
    }
    assert_eq!(source.read(&mut samples), Ok(3));
    assert_eq!(samples, [4, 7, 8]);
    assert_eq!(*idles.borrow(), 0);
}

#[test]
fn a_queue_waits_for_the_interrupt() {
    let mut queue = SoundQueue::<4>::new();
    let sink = RefCell::new(None);
    let next = RefCell::new(0);
    // The interrupt comes while the loop sleeps.
    let interrupt = || {
        *next.borrow_mut() += 10;
        if let Some(sink) = &mut *sink.borrow_mut() {
            cygnet_sensors::SoundSink::push(sink, *next.borrow());
        }
    };
    let (producer, mut source) = queue.split(8000, interrupt);
    *sink.borrow_mut() = Some(producer);
    let mut samples = [0; 6];
    assert_eq!(source.read(&mut samples), Ok(6));
    assert_eq!(samples, [10, 20, 30, 40, 50, 60]);
}

#[test]
fn a_recording_ends() {
    let mut sound = RecordedSound::new(&[0xfe, 0xff, 0x00, 0x80, 0x01], 16_000);
    let mut samples = [9; 4];
    assert_eq!(sound.read(&mut samples), Ok(2));
    assert_eq!(samples, [-2, i16::MIN, 9, 9]);
    assert_eq!([sound.read(&mut samples), sound.read(&mut [])], [Ok(0), Ok(0)]);
}
