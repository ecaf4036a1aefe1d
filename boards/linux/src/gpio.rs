//! An output line that is on while an answer holds: a lamp, a relay.

use clap::Args;
use embedded_hal::digital::OutputPin;

/// The options of the output line.
#[derive(Args)]
pub struct LineArguments {
    /// Switch an output line on while the answer is LABEL, such as /dev/gpiochip0:17.
    #[arg(long, value_name = "CHIP:LINE", requires = "gpio_label")]
    gpio: Option<String>,
    /// The answer that switches the line on.
    #[arg(long, value_name = "LABEL", requires = "gpio")]
    gpio_label: Option<String>,
}

/// A line that follows the answers.
pub struct AnswerLine {
    pin: Box<dyn Switch>,
    label: String,
    is_on: bool,
}

/// An output pin whose errors are text.
trait Switch {
    fn switch(&mut self, on: bool) -> Result<(), String>;
}

impl<P: OutputPin> Switch for P {
    fn switch(&mut self, on: bool) -> Result<(), String> {
        self.set_state(on.into()).map_err(|error| format!("{error:?}"))
    }
}

impl AnswerLine {
    /// A line that is switched off now, and on while the answer is `label`.
    ///
    /// # Errors
    /// What the pin says.
    pub fn new(pin: impl OutputPin + 'static, label: impl Into<String>) -> Result<Self, String> {
        let mut pin = Box::new(pin);
        pin.switch(false)?;
        Ok(Self { pin, label: label.into(), is_on: false })
    }

    /// Tells the line the answer that holds now, if there is one.
    pub fn answer(&mut self, label: Option<&str>) {
        let on = label == Some(&*self.label);
        if on == self.is_on {
            return;
        }
        // The answers go on without the line, and the next one tries again.
        match self.pin.switch(on) {
            Ok(()) => self.is_on = on,
            Err(problem) => log::warn!("the output line for \"{}\" cannot be switched: {problem}", self.label),
        }
    }
}

impl Drop for AnswerLine {
    fn drop(&mut self) {
        self.answer(None);
    }
}

impl LineArguments {
    /// The line, where one is asked for; `labels` are those of the model.
    ///
    /// # Errors
    /// A label that the model does not have, a line that cannot be had.
    pub fn open(&self, labels: &[String]) -> anyhow::Result<Option<AnswerLine>> {
        let (Some(place), Some(label)) = (&self.gpio, &self.gpio_label) else { return Ok(None) };
        anyhow::ensure!(
            labels.contains(label),
            "--gpio-label {label}: the model has no such label; it has {}",
            labels.join(", ")
        );
        let Some((chip, line)) = place.rsplit_once(':').and_then(|(chip, line)| Some((chip, line.parse().ok()?)))
        else {
            anyhow::bail!("--gpio {place}: give chip and line, such as /dev/gpiochip0:17");
        };
        let pin = line_of_chip(chip, line).map_err(|problem| anyhow::anyhow!("--gpio {place}: {problem}"))?;
        let line = AnswerLine::new(pin, label.as_str());
        line.map(Some).map_err(|problem| anyhow::anyhow!("--gpio {place}: {problem}"))
    }
}

/// Asks the kernel for a line as output.
#[cfg(feature = "gpio")]
fn line_of_chip(chip: &str, line: u32) -> Result<linux_embedded_hal::CdevPin, String> {
    use linux_embedded_hal::CdevPin;
    use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags};
    let mut chip = Chip::new(chip).map_err(|error| error.to_string())?;
    let line = chip.get_line(line).map_err(|error| error.to_string())?;
    let handle = line.request(LineRequestFlags::OUTPUT, 0, "cygnet").map_err(|error| error.to_string())?;
    CdevPin::new(handle).map_err(|error| error.to_string())
}

#[cfg(not(feature = "gpio"))]
fn line_of_chip(_: &str, _: u32) -> Result<NoPin, String> {
    Err("this build switches no lines; build it with `--features gpio`, or install the package".into())
}

/// The pin of a build without pins.
#[cfg(not(feature = "gpio"))]
struct NoPin;

#[cfg(not(feature = "gpio"))]
impl embedded_hal::digital::ErrorType for NoPin {
    type Error = std::convert::Infallible;
}

#[cfg(not(feature = "gpio"))]
impl OutputPin for NoPin {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use embedded_hal::digital::{Error, ErrorKind, ErrorType};

    use super::*;

    /// Writes down what it is set to; refuses as long as it is told to.
    #[derive(Clone, Default)]
    struct FakePin {
        states: Rc<RefCell<Vec<bool>>>,
        refuses: Rc<RefCell<bool>>,
    }

    #[derive(Debug)]
    struct Refused;

    impl Error for Refused {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    impl ErrorType for FakePin {
        type Error = Refused;
    }

    impl FakePin {
        fn set(&self, on: bool) -> Result<(), Refused> {
            if *self.refuses.borrow() {
                return Err(Refused);
            }
            self.states.borrow_mut().push(on);
            Ok(())
        }
    }

    impl OutputPin for FakePin {
        fn set_low(&mut self) -> Result<(), Refused> {
            self.set(false)
        }

        fn set_high(&mut self) -> Result<(), Refused> {
            self.set(true)
        }
    }

    #[test]
    fn the_line_is_on_while_the_answer_holds_and_off_in_the_end() {
        let pin = FakePin::default();
        let mut line = AnswerLine::new(pin.clone(), "seven").unwrap();
        for answer in [None, Some("one"), Some("seven"), Some("seven"), Some("one"), Some("seven")] {
            line.answer(answer);
        }
        assert_eq!(*pin.states.borrow(), [false, true, false, true]);
        drop(line);
        assert_eq!(pin.states.borrow().last(), Some(&false));
    }

    #[test]
    fn a_line_that_refuses_is_tried_again() {
        let pin = FakePin::default();
        let mut line = AnswerLine::new(pin.clone(), "seven").unwrap();
        *pin.refuses.borrow_mut() = true;
        line.answer(Some("seven"));
        *pin.refuses.borrow_mut() = false;
        line.answer(Some("seven"));
        assert_eq!(*pin.states.borrow(), [false, true]);
        *pin.refuses.borrow_mut() = true;
        assert!(AnswerLine::new(pin.clone(), "seven").is_err());
    }
}
