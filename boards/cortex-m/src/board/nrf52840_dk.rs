//! Nordic nRF52840-DK: a Cortex-M4 at 64 MHz.
//!
//! The lamp is LED1 (P0.13). A microphone (Pmod MIC3) or a camera (Arducam Mega) goes to the Arduino header's SPI: CS to D10
//! (P1.12), the camera's MOSI to D11 (P1.13), MISO to D12 (P1.14), SCK to D13 (P1.15), power to VDD.

use core::convert::Infallible;

use cortex_m::Peripherals;
use embedded_hal::digital::{ErrorType, OutputPin};
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use nrf52840_hal::clocks::{Clocks, HFCLK_FREQ};
use nrf52840_hal::gpio::{Level, Output, Pin, PushPull, p0, p1};
use nrf52840_hal::pac::{self, SPIM0};
use nrf52840_hal::spim::{Frequency, MODE_0, Pins, Spim};

/// A lamp between the supply and its pin: it shines while the pin is low.
pub struct Lamp(Pin<Output<PushPull>>);

impl ErrorType for Lamp {
    type Error = Infallible;
}

impl OutputPin for Lamp {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set_high()
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set_low()
    }
}

/// The wires to a microphone or a camera.
pub type Sensor = ExclusiveDevice<Spim<SPIM0>, Pin<Output<PushPull>>, NoDelay>;

/// The board.
pub struct Board {
    /// The core's peripherals.
    pub core: Peripherals,
    /// The core's clock, in Hz.
    pub core_hz: u32,
    /// The lamp that shows the answer.
    pub lamp: Lamp,
    /// The wires to a microphone or a camera: SPI mode 0 with 8 MHz at most.
    pub spi: Sensor,
}

/// The board, once, on its crystal.
#[must_use]
pub fn start() -> Option<Board> {
    let core = Peripherals::take()?;
    let chip = pac::Peripherals::take()?;
    // The sound's rate follows the crystal instead of the oscillator in the chip.
    Clocks::new(chip.CLOCK).enable_ext_hfosc();
    let (zero, one) = (p0::Parts::new(chip.P0), p1::Parts::new(chip.P1));
    let pins = Pins {
        sck: Some(one.p1_15.into_push_pull_output(Level::Low).degrade()),
        mosi: Some(one.p1_13.into_push_pull_output(Level::Low).degrade()),
        miso: Some(one.p1_14.into_floating_input().degrade()),
    };
    let bus = Spim::new(chip.SPIM0, pins, Frequency::M8, MODE_0, 0);
    let select = one.p1_12.into_push_pull_output(Level::High).degrade();
    Some(Board {
        core,
        core_hz: HFCLK_FREQ,
        lamp: Lamp(zero.p0_13.into_push_pull_output(Level::High).degrade()),
        spi: ExclusiveDevice::new_no_delay(bus, select).ok()?,
    })
}
