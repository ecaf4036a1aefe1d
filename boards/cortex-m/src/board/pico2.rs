//! Raspberry Pi Pico 2: RP2350, one of its two Cortex-M33 cores at 150 MHz.
//!
//! The lamp is the board's LED (GPIO25). A microphone (Pmod MIC3) or a camera (Arducam Mega) goes to SPI0: CS to GPIO17
//! (pin 22 of the board), MISO to GPIO16 (pin 21), SCK to GPIO18 (pin 24), the camera's MOSI to GPIO19 (pin 25), power to
//! 3V3 (pin 36).

use cortex_m::Peripherals;
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use rp235x_hal::block::ImageDef;
use rp235x_hal::clocks::{Clock, init_clocks_and_plls};
use rp235x_hal::fugit::RateExtU32;
use rp235x_hal::gpio::bank0::{Gpio16, Gpio17, Gpio18, Gpio19, Gpio25};
use rp235x_hal::gpio::{FunctionSioOutput, FunctionSpi, Pin, Pins, PullDown};
use rp235x_hal::spi::{Enabled, Spi};
use rp235x_hal::{Sio, Watchdog, pac};

/// What the boot ROM looks for: a program for the Arm cores in secure state (RP2350 data sheet, "Bootable images").
#[used]
#[unsafe(link_section = ".image_definition")]
static IMAGE_DEFINITION: ImageDef = ImageDef::secure_exe();

/// The crystal, in Hz.
const CRYSTAL_HZ: u32 = 12_000_000;
/// The sensor's clock, in Hz: a sample of the microphone takes 2 µs, and the camera takes no more.
const SENSOR_HZ: u32 = 8_000_000;

type Wire<I> = Pin<I, FunctionSpi, PullDown>;
type Output<I> = Pin<I, FunctionSioOutput, PullDown>;
type Bus = Spi<Enabled, pac::SPI0, (Wire<Gpio19>, Wire<Gpio16>, Wire<Gpio18>)>;

/// The lamp that shows the answer.
pub type Lamp = Output<Gpio25>;
/// The wires to a microphone or a camera.
pub type Sensor = ExclusiveDevice<Bus, Output<Gpio17>, NoDelay>;

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
    let mut chip = pac::Peripherals::take()?;
    let mut watchdog = Watchdog::new(chip.WATCHDOG);
    let clocks = init_clocks_and_plls(
        CRYSTAL_HZ,
        chip.XOSC,
        chip.CLOCKS,
        chip.PLL_SYS,
        chip.PLL_USB,
        &mut chip.RESETS,
        &mut watchdog,
    )
    .ok()?;
    let sio = Sio::new(chip.SIO);
    let pins = Pins::new(chip.IO_BANK0, chip.PADS_BANK0, sio.gpio_bank0, &mut chip.RESETS);
    let wires = (pins.gpio19.into_function(), pins.gpio16.into_function(), pins.gpio18.into_function());
    let bus = Spi::new(chip.SPI0, wires).init(
        &mut chip.RESETS,
        clocks.peripheral_clock.freq(),
        SENSOR_HZ.Hz(),
        embedded_hal::spi::MODE_0,
    );
    let device = ExclusiveDevice::new_no_delay(bus, pins.gpio17.into_push_pull_output()).ok()?;
    Some(Board {
        core,
        core_hz: clocks.system_clock.freq().to_Hz(),
        lamp: pins.gpio25.into_push_pull_output(),
        spi: device,
    })
}
