//! Answers on pins and brightnesses that write down what they are told.

use cygnet_sensors::{Answer, AnswerBrightness, AnswerPin};
use embedded_hal::digital::{self, OutputPin};
use embedded_hal::pwm::{self, SetDutyCycle};

/// A lamp that remembers, and refuses while it is broken.
#[derive(Debug, Default)]
struct Lamp {
    states: Vec<u16>,
    is_broken: bool,
}

#[derive(Debug, PartialEq)]
struct Broken;

impl digital::Error for Broken {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl pwm::Error for Broken {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl Lamp {
    fn set(&mut self, state: u16) -> Result<(), Broken> {
        if self.is_broken {
            return Err(Broken);
        }
        self.states.push(state);
        Ok(())
    }
}

impl digital::ErrorType for &mut Lamp {
    type Error = Broken;
}

impl OutputPin for &mut Lamp {
    fn set_low(&mut self) -> Result<(), Broken> {
        self.set(0)
    }

    fn set_high(&mut self) -> Result<(), Broken> {
        self.set(1)
    }
}

impl pwm::ErrorType for &mut Lamp {
    type Error = Broken;
}

impl SetDutyCycle for &mut Lamp {
    fn max_duty_cycle(&self) -> u16 {
        2000
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), Broken> {
        self.set(duty)
    }
}

const ANSWERS: [Option<(&str, f32)>; 5] =
    [None, Some(("one", 0.9)), Some(("seven", 0.5)), Some(("seven", 0.75)), Some(("one", 0.25))];

#[test]
fn a_pin_is_high_while_its_label_holds() {
    for (label, expected) in [("seven", [0, 0, 0, 1, 1, 0]), ("", [0, 0, 1, 1, 1, 1])] {
        let mut lamp = Lamp::default();
        let mut pin = AnswerPin::new(&mut lamp, label).unwrap();
        for answer in ANSWERS {
            pin.show(answer).unwrap();
        }
        assert_eq!(lamp.states, expected, "{label:?}");
    }
}

#[test]
fn a_brightness_is_the_score_of_its_label() {
    for (label, expected) in [("seven", [0, 0, 0, 1000, 1500, 0]), ("", [0, 0, 1800, 1000, 1500, 500])] {
        let mut lamp = Lamp::default();
        let mut brightness = AnswerBrightness::new(&mut lamp, label).unwrap();
        for answer in ANSWERS {
            brightness.show(answer).unwrap();
        }
        assert_eq!(lamp.states, expected, "{label:?}");
    }
    let mut lamp = Lamp::default();
    let mut brightness = AnswerBrightness::new(&mut lamp, "").unwrap();
    for score in [f32::NAN, -3.0, 7.0] {
        brightness.show(Some(("one", score))).unwrap();
    }
    assert_eq!(lamp.states, [0, 0, 0, 2000]);
}

#[test]
fn a_broken_lamp_is_told() {
    let mut lamp = Lamp { is_broken: true, ..Lamp::default() };
    assert_eq!(AnswerPin::new(&mut lamp, "").map(|_| ()), Err(Broken));
    assert_eq!(AnswerBrightness::new(&mut lamp, "").map(|_| ()), Err(Broken));
}
