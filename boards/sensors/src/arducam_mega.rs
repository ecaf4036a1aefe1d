//! Arducam Mega (3 and 5 megapixels): a camera with a frame memory behind SPI and nothing else.
//!
//! From the «Mega SPI Camera Series Application Note» (Arducam, September 2023), sections 2 to 4 (SPI mode 0, 8 MHz
//! recommended; registers up to 0x3d), and the makers' own driver in Zephyr, `drivers/video/arducam_mega.c` (the
//! registers that are read, the order of the steps, and that YUV is Y, U, Y, V).

use cygnet_sense::{Pixels, YuvRange};
use embedded_hal::delay::DelayNs;
use embedded_hal::spi::{Operation, SpiDevice};

use crate::frame_source::{FrameError, FrameFormat, FrameSource, PixelFormat, room};

/// Registers. Written ones have the highest bit set on the bus.
mod register {
    /// Bit 0: forget the frame in the memory. Bit 1: take a frame.
    pub const MEMORY: u8 = 0x04;
    /// Bit 6: reset.
    pub const RESET: u8 = 0x07;
    /// What pixels are: see `FORMAT_YUV`.
    pub const FORMAT: u8 = 0x20;
    /// The number of a resolution.
    pub const RESOLUTION: u8 = 0x21;
    /// Many bytes of the frame in one transfer.
    pub const BURST: u8 = 0x3c;
    /// Which sensor it is.
    pub const SENSOR: u8 = 0x40;
    /// Bits 0 and 1: what the camera does. Bit 2: a frame is in the memory.
    pub const STATE: u8 = 0x44;
    /// Bytes of the frame: bits 0 to 7, then 8 to 15, then 16 to 23.
    pub const LENGTH: [u8; 3] = [0x45, 0x46, 0x47];
}

const WRITE: u8 = 0x80;
const FORGET_FRAME: u8 = 0x01;
const TAKE_FRAME: u8 = 0x02;
const RESET: u8 = 0x40;
const FORMAT_YUV: u8 = 3;
const STATE_MASK: u8 = 0x03;
const STATE_IDLE: u8 = 0x02;
const STATE_FRAME: u8 = 0x04;
/// Bits of the sensor's number, at least one of which every known camera has.
const SENSOR_MASK: u8 = 0x87;

/// Milliseconds between two looks at the state.
const POLL_MS: u32 = 2;
/// Looks before a camera is given up: two seconds, as long as exposure in the dark and start-up need.
const POLLS: u32 = 1000;

/// The sizes that suit small models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// 96 × 96: 18,432 bytes a frame.
    Square96,
    /// 128 × 128: 32,768 bytes a frame.
    Square128,
    /// 320 × 240: 153,600 bytes a frame.
    Qvga,
}

impl Resolution {
    const fn number(self) -> u8 {
        match self {
            Self::Square96 => 10,
            Self::Square128 => 11,
            Self::Qvga => 1,
        }
    }

    const fn format(self) -> FrameFormat {
        let (width, height) = match self {
            Self::Square96 => (96, 96),
            Self::Square128 => (128, 128),
            Self::Qvga => (320, 240),
        };
        FrameFormat { width, height, pixels: PixelFormat::Yuyv(YuvRange::Full) }
    }
}

/// Why the camera gave no picture.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraError<E> {
    /// The bus failed.
    Bus(E),
    /// No Arducam Mega answers: look at the wires and at the supply.
    Absent {
        /// The number that was read where the sensor's should be.
        sensor: u8,
    },
    /// The camera did not become ready within two seconds.
    Busy,
    /// The frame has another size than the resolution asks for.
    Length {
        /// Bytes of a frame.
        expected: usize,
        /// Bytes that the camera tells.
        given: usize,
    },
}

impl<E> From<E> for CameraError<E> {
    fn from(error: E) -> Self {
        Self::Bus(error)
    }
}

/// The camera, set to YUV at one resolution.
#[derive(Debug)]
pub struct ArducamMega<SPI, D> {
    spi: SPI,
    delay: D,
    resolution: Resolution,
}

impl<SPI: SpiDevice, D: DelayNs> ArducamMega<SPI, D> {
    /// Resets the camera and sets it up. Takes about a second, and up to eight where it does not answer.
    ///
    /// # Errors
    /// [`CameraError::Absent`], [`CameraError::Busy`], [`CameraError::Bus`].
    pub fn new(spi: SPI, delay: D, resolution: Resolution) -> Result<Self, CameraError<SPI::Error>> {
        let mut camera = Self { spi, delay, resolution };
        camera.write(register::RESET, RESET)?;
        camera.wait_until(STATE_MASK, STATE_IDLE)?;
        let sensor = camera.register(register::SENSOR)?;
        // A bus that nobody drives reads as zeros or ones.
        if sensor & SENSOR_MASK == 0 || sensor == 0xff {
            return Err(CameraError::Absent { sensor });
        }
        camera.write(register::FORMAT, FORMAT_YUV)?;
        camera.wait_until(STATE_MASK, STATE_IDLE)?;
        camera.write(register::RESOLUTION, resolution.number())?;
        camera.wait_until(STATE_MASK, STATE_IDLE)?;
        Ok(camera)
    }

    fn write(&mut self, register: u8, value: u8) -> Result<(), CameraError<SPI::Error>> {
        Ok(self.spi.write(&[register | WRITE, value])?)
    }

    /// The byte behind the register's number comes too early to be valid.
    fn register(&mut self, register: u8) -> Result<u8, CameraError<SPI::Error>> {
        let mut bytes = [register, 0, 0];
        self.spi.transfer_in_place(&mut bytes)?;
        Ok(bytes[2])
    }

    fn wait_until(&mut self, mask: u8, value: u8) -> Result<(), CameraError<SPI::Error>> {
        for _ in 0..POLLS {
            self.delay.delay_ms(POLL_MS);
            if self.register(register::STATE)? & mask == value {
                return Ok(());
            }
        }
        Err(CameraError::Busy)
    }

    fn capture(&mut self, frame: &mut [u8]) -> Result<(), CameraError<SPI::Error>> {
        self.write(register::MEMORY, FORGET_FRAME)?;
        self.write(register::MEMORY, TAKE_FRAME)?;
        self.wait_until(STATE_FRAME, STATE_FRAME)?;
        let mut length = [0; 4];
        for (byte, register) in length.iter_mut().zip(register::LENGTH) {
            *byte = self.register(register)?;
        }
        let given = u32::from_le_bytes(length) as usize;
        if given != frame.len() {
            return Err(CameraError::Length { expected: frame.len(), given });
        }
        // The first burst of a frame begins with a byte that is not valid yet.
        Ok(self.spi.transaction(&mut [Operation::Write(&[register::BURST, 0]), Operation::Read(frame)])?)
    }
}

impl<SPI: SpiDevice, D: DelayNs> FrameSource for ArducamMega<SPI, D> {
    type Error = CameraError<SPI::Error>;

    fn format(&self) -> FrameFormat {
        self.resolution.format()
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<Pixels<'b>>, FrameError<Self::Error>> {
        let format = self.format();
        let frame = room(buffer, format)?;
        self.capture(frame).map_err(FrameError::Device)?;
        format.view(frame).map(Some).map_err(FrameError::Format)
    }
}
