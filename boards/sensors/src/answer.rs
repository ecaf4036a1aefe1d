//! What a board does with an answer: a lamp, a relay, a brightness.

use embedded_hal::digital::{ErrorType as PinErrorType, OutputPin};
use embedded_hal::pwm::{ErrorType as DutyErrorType, SetDutyCycle};

/// Something that follows the answers of a model.
pub trait Answer {
    /// The output's error.
    type Error: core::fmt::Debug;

    /// Shows the class that holds now with its score within 0 and 1, or that there is none. Called whenever that
    /// changes.
    ///
    /// # Errors
    /// The output's; the next call tries again.
    fn show(&mut self, answer: Option<(&str, f32)>) -> Result<(), Self::Error>;
}

/// A pin that is high while the answer is a label.
#[derive(Debug)]
pub struct AnswerPin<'l, P> {
    pin: P,
    label: &'l str,
}

impl<'l, P: OutputPin> AnswerPin<'l, P> {
    /// A pin that is low now, and high while the answer is `label`; of an empty `label`, while there is any answer.
    ///
    /// # Errors
    /// The pin's.
    pub fn new(mut pin: P, label: &'l str) -> Result<Self, P::Error> {
        pin.set_low()?;
        Ok(Self { pin, label })
    }
}

impl<P: OutputPin> Answer for AnswerPin<'_, P>
where
    <P as PinErrorType>::Error: core::fmt::Debug,
{
    type Error = P::Error;

    fn show(&mut self, answer: Option<(&str, f32)>) -> Result<(), P::Error> {
        let on = answer.is_some_and(|(label, _)| self.label.is_empty() || label == self.label);
        self.pin.set_state(on.into())
    }
}

/// A brightness that is the score of a label: dark while the answer is another.
#[derive(Debug)]
pub struct AnswerBrightness<'l, P> {
    output: P,
    label: &'l str,
}

impl<'l, P: SetDutyCycle> AnswerBrightness<'l, P> {
    /// An output that is dark now; of an empty `label`, the score of any answer.
    ///
    /// # Errors
    /// The output's.
    pub fn new(mut output: P, label: &'l str) -> Result<Self, P::Error> {
        output.set_duty_cycle_fully_off()?;
        Ok(Self { output, label })
    }
}

impl<P: SetDutyCycle> Answer for AnswerBrightness<'_, P>
where
    <P as DutyErrorType>::Error: core::fmt::Debug,
{
    type Error = P::Error;

    fn show(&mut self, answer: Option<(&str, f32)>) -> Result<(), P::Error> {
        let score = match answer {
            Some((label, score)) if self.label.is_empty() || label == self.label => score,
            _ => return self.output.set_duty_cycle_fully_off(),
        };
        // NaN is dark.
        self.output.set_duty_cycle_percent((score * 100.0).clamp(0.0, 100.0) as u8)
    }
}
