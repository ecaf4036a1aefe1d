//! QEMU's boards: a lamp where the machine has one, which nobody sees (`-trace led_change_intensity`), and no microphone but
//! one that plays a recording (feature `played`).

use core::convert::Infallible;

use cortex_m::Peripherals;
use embedded_hal::digital::{ErrorType, OutputPin};
#[cfg(sampled)]
pub use played::Converter as Sensor;

#[cfg(sampled)]
mod played;

/// Where the lamps of the machine are switched: the register LED0 of the MPS2's FPGA, a bit for each (Arm DAI 0386 and
/// 0500, "FPGA system control and I/O"). The other machines have none that is used here.
const LAMPS: Option<usize> =
    if cfg!(any(feature = "mps2-an386", feature = "mps2-an500")) { Some(0x4002_8000) } else { None };

/// The board.
pub struct Board {
    /// The core's peripherals.
    pub core: Peripherals,
    /// The lamp that shows the answer.
    pub lamp: Lamp,
    /// The core's clock, in Hz.
    #[cfg(sampled)]
    pub core_hz: u32,
    /// The wires to a microphone.
    #[cfg(sampled)]
    pub spi: Sensor,
}

/// Lamp 0.
#[derive(Debug)]
pub struct Lamp(());

impl Lamp {
    fn switch(&mut self, on: bool) {
        if let Some(register) = LAMPS {
            // SAFETY: on these machines a word register lies at this address, and nobody else writes it.
            unsafe { core::ptr::with_exposed_provenance_mut::<u32>(register).write_volatile(on.into()) };
        }
    }
}

impl ErrorType for Lamp {
    type Error = Infallible;
}

impl OutputPin for Lamp {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.switch(false);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.switch(true);
        Ok(())
    }
}

/// The board, once.
#[must_use]
pub fn start() -> Option<Board> {
    Some(Board {
        core: Peripherals::take()?,
        lamp: Lamp(()),
        #[cfg(sampled)]
        core_hz: played::CORE_HZ,
        #[cfg(sampled)]
        spi: Sensor::from_beginning(),
    })
}
