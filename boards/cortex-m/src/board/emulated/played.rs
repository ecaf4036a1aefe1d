//! A microphone's converter that plays the built-in recording, so that the way from the interrupt to the word can be tried
//! without a microphone.

use core::convert::Infallible;

use cygnet_sensors::{AudioSource, RecordedSound};
use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

use crate::{console, embedded};

/// What SysTick counts on mps2-an386 in QEMU; on others the recording is played faster or slower, which nobody notices.
pub const CORE_HZ: u32 = 25_000_000;
/// Samples of silence behind the recording, after which the program ends: enough for the windows that are under way.
const SILENCE: u32 = 16_000;
/// What the converter says in silence.
const MIDDLE: i16 = 2048;

/// The converter: a sample of the recording, cut to twelve bits, for each conversion.
#[derive(Debug)]
pub struct Converter {
    recording: RecordedSound<'static>,
    silence: u32,
}

impl Converter {
    /// One that begins to play. Its rate is that of the interrupts.
    pub fn from_beginning() -> Self {
        Self { recording: RecordedSound::new(embedded::SOUND, 0), silence: SILENCE }
    }

    fn convert(&mut self) -> u16 {
        let mut sample = [0];
        let Ok(count) = self.recording.read(&mut sample);
        if count == 0 {
            self.silence = self.silence.saturating_sub(1);
            if self.silence == 0 {
                console::end(true);
            }
        }
        (sample[0] / 16 + MIDDLE).cast_unsigned()
    }
}

impl ErrorType for Converter {
    type Error = Infallible;
}

impl SpiDevice for Converter {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        let level = self.convert().to_be_bytes();
        for operation in operations {
            if let Operation::Read(bytes) = operation {
                for (to, from) in bytes.iter_mut().zip(level) {
                    *to = from;
                }
            }
        }
        Ok(())
    }
}
