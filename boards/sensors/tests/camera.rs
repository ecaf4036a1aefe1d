//! Frame sources: a recording, and the camera's driver against a camera of registers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cygnet_sense::{Colour, Fit, ImageSpec, Layout, Output, YuvRange};
use cygnet_sensors::{
    ArducamMega, CameraError, FrameError, FrameFormat, FrameSource, PixelFormat, RecordedFrames, Resolution,
};
use embedded_hal::delay::DelayNs;
use embedded_hal::spi::{ErrorKind, ErrorType, Operation, SpiDevice};

/// What the application note says of the camera, for a test.
#[derive(Default)]
struct Camera {
    /// What was written: register and value.
    written: Vec<(u8, u8)>,
    registers: HashMap<u8, u8>,
    /// Looks at the state before the camera is idle again, or has its frame.
    busy: u32,
    frame: Vec<u8>,
    /// The bus fails from now on.
    is_cut: bool,
    /// The camera never ends what it does.
    is_stuck: bool,
}

impl Camera {
    fn read(&mut self, register: u8) -> u8 {
        if register == 0x44 {
            if self.is_stuck {
                return 0x01;
            }
            if self.busy > 0 {
                self.busy -= 1;
                return 0x01;
            }
            let has_frame = self.written.last() == Some(&(0x04, 0x02));
            return 0x02 | if has_frame { 0x04 } else { 0 };
        }
        self.registers.get(&register).copied().unwrap_or(0)
    }
}

#[derive(Clone)]
struct Bus(Rc<RefCell<Camera>>);

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl SpiDevice for Bus {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), ErrorKind> {
        let mut camera = self.0.borrow_mut();
        if camera.is_cut {
            return Err(ErrorKind::Other);
        }
        match operations {
            [Operation::Write([register, value])] => {
                let (register, value) = (*register, *value);
                assert!(register & 0x80 != 0, "a written register has the highest bit set");
                camera.written.push((register & 0x7f, value));
                camera.busy = 3;
            }
            [Operation::TransferInPlace(bytes)] => {
                let register = bytes[0];
                assert!(bytes.len() == 3 && register & 0x80 == 0);
                bytes.copy_from_slice(&[0xaa, 0x55, camera.read(register)]);
            }
            [Operation::Write([0x3c, _]), Operation::Read(frame)] => frame.copy_from_slice(&camera.frame),
            _ => panic!("the camera knows no such transfer"),
        }
        Ok(())
    }
}

/// Counts the milliseconds.
struct Delay(Rc<RefCell<u32>>);

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        *self.0.borrow_mut() += ns / 1_000_000;
    }
}

type Parts = (Rc<RefCell<Camera>>, Rc<RefCell<u32>>, Result<ArducamMega<Bus, Delay>, CameraError<ErrorKind>>);

fn open(camera: Camera, resolution: Resolution) -> Parts {
    let camera = Rc::new(RefCell::new(camera));
    let waited = Rc::new(RefCell::new(0));
    let opened = ArducamMega::new(Bus(camera.clone()), Delay(waited.clone()), resolution);
    (camera, waited, opened)
}

/// A 5-megapixel camera with a frame of this length.
fn mega(length: usize) -> Camera {
    let [low, middle, high, _] = (length as u32).to_le_bytes();
    let registers = HashMap::from([(0x40, 0x81), (0x45, low), (0x46, middle), (0x47, high)]);
    Camera { registers, frame: vec![0; length], ..Camera::default() }
}

#[test]
fn a_frame_comes_as_the_application_note_says() {
    let mut camera = mega(96 * 96 * 2);
    // The upper half white, the lower half black, in full range.
    let half = camera.frame.len() / 2;
    for (k, byte) in camera.frame.iter_mut().enumerate() {
        *byte = if k % 2 == 1 {
            128
        } else if k < half {
            255
        } else {
            0
        };
    }
    let (camera, _, opened) = open(camera, Resolution::Square96);
    let mut source = opened.unwrap();
    assert_eq!(camera.borrow().written, [(0x07, 0x40), (0x20, 3), (0x21, 10)]);
    assert_eq!(source.format(), FrameFormat { width: 96, height: 96, pixels: PixelFormat::Yuyv(YuvRange::Full) });
    let mut buffer = vec![1; source.format().bytes() + 5];
    let picture = source.read(&mut buffer).unwrap().unwrap();
    assert_eq!(camera.borrow().written[3..], [(0x04, 0x01), (0x04, 0x02)]);
    let spec = ImageSpec { fit: Fit::Stretch, ..ImageSpec::new(96, 96, Colour::Rgb) };
    let mut tensor = vec![9.0; 96 * 96 * 3];
    let mut scratch = vec![0; 1 << 16];
    spec.prepare(&picture, &mut Output::F32(&mut tensor), Layout::Nhwc, &mut scratch).unwrap();
    assert!(tensor[..96 * 48 * 3].iter().all(|&value| value == 255.0));
    assert!(tensor[96 * 48 * 3..].iter().all(|&value| value == 0.0));
    assert_eq!(buffer[96 * 96 * 2..], [1; 5], "behind the frame nothing is touched");
}

#[test]
fn resolutions_have_the_numbers_of_the_register_table() {
    for (resolution, number, bytes) in
        [(Resolution::Square96, 10, 18_432), (Resolution::Square128, 11, 32_768), (Resolution::Qvga, 1, 153_600)]
    {
        let (camera, _, opened) = open(mega(bytes), resolution);
        assert_eq!(opened.unwrap().format().bytes(), bytes);
        assert_eq!(camera.borrow().written.last(), Some(&(0x21, number)));
    }
}

#[test]
fn a_camera_that_is_not_there_is_told() {
    for sensor in [0, 0xff] {
        let camera = Camera { registers: HashMap::from([(0x40, sensor)]), ..Camera::default() };
        assert_eq!(open(camera, Resolution::Square96).2.map(|_| ()), Err(CameraError::Absent { sensor }));
    }
    let stuck = Camera { is_stuck: true, ..mega(0) };
    let (_, waited, opened) = open(stuck, Resolution::Square96);
    assert_eq!((opened.map(|_| ()), *waited.borrow()), (Err(CameraError::Busy), 2000));
    let cut = Camera { is_cut: true, ..mega(0) };
    assert_eq!(open(cut, Resolution::Square96).2.map(|_| ()), Err(CameraError::Bus(ErrorKind::Other)));
}

#[test]
fn a_camera_that_fails_later_is_told_and_tried_again() {
    let (camera, _, opened) = open(mega(96 * 96 * 2), Resolution::Square96);
    let mut source = opened.unwrap();
    let mut buffer = vec![0; source.format().bytes()];
    camera.borrow_mut().is_cut = true;
    let error = source.read(&mut buffer).map(|_| ()).unwrap_err();
    assert_eq!(error, FrameError::Device(CameraError::Bus(ErrorKind::Other)));
    camera.borrow_mut().is_cut = false;
    camera.borrow_mut().registers.insert(0x46, 0);
    let error = source.read(&mut buffer).map(|_| ()).unwrap_err();
    assert_eq!(error, FrameError::Device(CameraError::Length { expected: 18_432, given: 0 }));
    camera.borrow_mut().registers.insert(0x46, 0x48);
    assert!(source.read(&mut buffer).unwrap().is_some());
    let error = source.read(&mut buffer[1..]).map(|_| ()).unwrap_err();
    assert_eq!(error, FrameError::Buffer { needed: 18_432, given: 18_431 });
}

#[test]
fn a_recording_of_frames_ends() {
    let format = FrameFormat { width: 2, height: 1, pixels: PixelFormat::Grey8 };
    let mut source = RecordedFrames::new(&[1, 2, 3, 4, 5], format);
    let mut buffer = [0; 2];
    for expected in [[1, 2], [3, 4]] {
        let picture = source.read(&mut buffer).unwrap().unwrap();
        assert_eq!((picture.width(), picture.height()), (2, 1));
        assert_eq!(buffer, expected);
    }
    assert!(source.read(&mut buffer).unwrap().is_none());
    assert_eq!(source.read(&mut []).map(|_| ()), Err(FrameError::Buffer { needed: 2, given: 0 }));
}

#[test]
fn bytes_of_a_frame() {
    let bytes = |pixels| FrameFormat { width: 5, height: 3, pixels }.bytes();
    assert_eq!(bytes(PixelFormat::Grey8), 15);
    assert_eq!(bytes(PixelFormat::Rgb8), 45);
    assert_eq!(bytes(PixelFormat::Yuyv(YuvRange::Full)), 36);
}
