//! Firmware for the Raspberry Pi Pico 2 as a UF2 file.
//!
//! UF2 (github.com/microsoft/uf2) is a row of blocks of 512 bytes, each with an address and 256 bytes for it. The boot ROM of
//! the RP2350 takes such a file from its USB disk (RP2350 data sheet, "UF2 targeting rules": the families).

mod elf;
mod image_definition;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

pub use elf::{Segment, segments};
pub use image_definition::{IMAGE_DEFINITION, IMAGE_DEFINITION_WITHIN};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 512;
/// Bytes of firmware in a block: a page of flash.
pub const PAGE_BYTES: usize = 256;
/// The family of programs for the Arm cores of an RP2350 in secure state.
pub const RP2350_ARM_S: u32 = 0xe48b_ff59;
/// The family of data whose address is taken as it is.
pub const ABSOLUTE: u32 = 0xe48b_ff57;
/// The Pico 2's flash, without the last sector, where the first block of a file may go.
pub const FLASH: Range<u32> = 0x1000_0000..0x103f_f000;

const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
const HAS_FAMILY: u32 = 0x2000;
const HAS_EXTENSIONS: u32 = 0x8000;
/// The end of the largest flash that an RP2350 addresses.
const GUARD_ADDRESS: u32 = 0x10ff_ff00;
const GUARD_BYTE: u8 = 0xef;
/// The extension tag of a block that need not be written.
const IGNORE: u32 = 0x9957_e304;
/// What erased flash holds.
const ERASED: u8 = 0xff;

/// Why there is no UF2 file.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file is no 32-bit little-endian ELF file for Arm, or it is cut off.
    NotFirmware,
    /// Nothing in it is to be loaded.
    Empty,
    /// A part lies outside of the Pico 2's flash.
    OutsideFlash {
        /// Where the part begins.
        address: u32,
        /// Its bytes.
        len: usize,
    },
    /// Two parts lie at the same place.
    Overlap {
        /// The place.
        address: u32,
    },
    /// The first 4 KiB hold no image definition: the boot ROM would not start it.
    NoImageDefinition,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFirmware => f.write_str("it is no firmware: give the ELF file that cargo has built"),
            Self::Empty => f.write_str("nothing in it is to be loaded: link it with boards/cortex-m/memory/pico2.x"),
            Self::OutsideFlash { address, len } => write!(
                f,
                "{len} bytes at {address:#x} lie outside of the Pico 2's flash ({:#x} to {:#x}): build it with --features pico2",
                FLASH.start, FLASH.end
            ),
            Self::Overlap { address } => write!(f, "two parts lie at {address:#x}: look at the linker script"),
            Self::NoImageDefinition => f.write_str(
                "its first 4 KiB hold no image definition for the RP2350's Arm cores: build it with --features pico2",
            ),
        }
    }
}

impl std::error::Error for Problem {}

/// The UF2 file of firmware for the Pico 2.
///
/// # Errors
/// [`Problem`] says what is wrong with the firmware.
pub fn pico2(firmware: &[u8]) -> Result<Vec<u8>, Problem> {
    let pages = pages(&segments(firmware)?)?;
    let start: Vec<u8> = pages
        .range(FLASH.start..FLASH.start + IMAGE_DEFINITION_WITHIN)
        .flat_map(|(_, page)| page.iter().copied())
        .collect();
    if !image_definition::is_in(&start) {
        return Err(Problem::NoImageDefinition);
    }
    let mut file = guard().to_vec();
    for (number, (&address, page)) in (0..).zip(&pages) {
        file.extend(block(HAS_FAMILY, address, [number, pages.len() as u32], RP2350_ARM_S, page));
    }
    Ok(file)
}

/// The pages that the segments touch, by their addresses; what they leave open is erased flash.
fn pages(segments: &[Segment<'_>]) -> Result<BTreeMap<u32, [u8; PAGE_BYTES]>, Problem> {
    let mut pages = BTreeMap::new();
    let mut taken: Vec<Range<u32>> = Vec::new();
    for segment in segments {
        let (address, len) = (segment.address, segment.bytes.len());
        let outside = Problem::OutsideFlash { address, len };
        let end = u32::try_from(len).ok().and_then(|len| address.checked_add(len)).ok_or(outside)?;
        if address < FLASH.start || end > FLASH.end {
            return Err(outside);
        }
        if let Some(other) = taken.iter().find(|other| address < other.end && other.start < end) {
            return Err(Problem::Overlap { address: address.max(other.start) });
        }
        taken.push(address..end);
        for (at, &byte) in (address..end).zip(segment.bytes) {
            let within = at % PAGE_BYTES as u32;
            pages.entry(at - within).or_insert([ERASED; PAGE_BYTES])[within as usize] = byte;
        }
    }
    if pages.is_empty() { Err(Problem::Empty) } else { Ok(pages) }
}

/// The block that keeps chips of the first steppings from taking the file's families for each other (erratum RP2350-E10): of
/// another family, at the end of the largest flash, to be ignored, and one of two blocks so that it is not taken for a file.
/// The makers' picotool puts the same block in front.
fn guard() -> [u8; BLOCK_BYTES] {
    let mut guard = block(HAS_FAMILY | HAS_EXTENSIONS, GUARD_ADDRESS, [0, 2], ABSOLUTE, &[GUARD_BYTE; PAGE_BYTES]);
    guard[32 + PAGE_BYTES..][..4].copy_from_slice(&IGNORE.to_le_bytes());
    guard
}

fn block(flags: u32, address: u32, [number, of]: [u32; 2], family: u32, page: &[u8; PAGE_BYTES]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let words = [MAGIC[0], MAGIC[1], flags, address, PAGE_BYTES as u32, number, of, family];
    for (to, word) in block.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    block[32..][..PAGE_BYTES].copy_from_slice(page);
    block[BLOCK_BYTES - 4..].copy_from_slice(&MAGIC_END.to_le_bytes());
    block
}
