//! ST Nucleo-F446RE: STM32F446RE, a Cortex-M4 at 180 MHz.
//!
//! The lamp is LD2 (PA5). A microphone (Pmod MIC3) or a camera (Arducam Mega) goes to SPI2, because LD2 takes SPI1's clock
//! pin: CS to PB12, SCK to PB13, MISO to PB14, the camera's MOSI to PB15 (all on CN10), power to 3V3.

use cortex_m::Peripherals;
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use stm32f4xx_hal::gpio::{Output, PA5, PB12};
use stm32f4xx_hal::pac::{self, SPI2};
use stm32f4xx_hal::prelude::*;
use stm32f4xx_hal::rcc::Config;
use stm32f4xx_hal::spi::{Mode, Phase, Polarity, Spi};

/// The clock that the debug probe gives to the chip, in Hz.
const PROBE_HZ: u32 = 8_000_000;
/// The fastest clock of the chip, in Hz.
const CORE_HZ: u32 = 180_000_000;
/// The sensor's clock at most, in Hz: a sample of the microphone takes 2 µs, and the camera takes no more.
const SENSOR_HZ: u32 = 8_000_000;

/// The lamp that shows the answer.
pub type Lamp = PA5<Output>;
/// The wires to a microphone or a camera.
pub type Sensor = ExclusiveDevice<Spi<SPI2>, PB12<Output>, NoDelay>;

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

/// The board, once, at its full speed.
#[must_use]
pub fn start() -> Option<Board> {
    let core = Peripherals::take()?;
    let chip = pac::Peripherals::take()?;
    let clocks = Config::hse(PROBE_HZ.Hz()).bypass_hse_oscillator().sysclk(CORE_HZ.Hz());
    let mut rcc = chip.RCC.freeze(clocks);
    let (a, b) = (chip.GPIOA.split(&mut rcc), chip.GPIOB.split(&mut rcc));
    let mode = Mode { polarity: Polarity::IdleLow, phase: Phase::CaptureOnFirstTransition };
    let wires = (Some(b.pb13), Some(b.pb14), Some(b.pb15));
    let bus = chip.SPI2.spi(wires, mode, SENSOR_HZ.Hz(), &mut rcc);
    let device = ExclusiveDevice::new_no_delay(bus, b.pb12.into_push_pull_output()).ok()?;
    Some(Board { core, core_hz: rcc.clocks.sysclk().raw(), lamp: a.pa5.into_push_pull_output(), spi: device })
}
