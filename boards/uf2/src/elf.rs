//! The parts of an ELF file that are loaded (System V ABI, "Program Header").

use crate::Problem;

const MAGIC_32_LITTLE: [u8; 6] = [0x7f, b'E', b'L', b'F', 1, 1];
const MACHINE_ARM: u16 = 40;
const LOADED: u32 = 1;
/// Bytes of a program header.
const ENTRY: usize = 32;

/// A part that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where it is stored (its physical address): initialized variables lie in flash here.
    pub address: u32,
    /// What is stored.
    pub bytes: &'a [u8],
}

/// The parts of firmware that are stored, in the order of the file; those without bytes are left out.
///
/// # Errors
/// [`Problem::NotFirmware`].
pub fn segments(firmware: &[u8]) -> Result<Vec<Segment<'_>>, Problem> {
    parse(firmware).ok_or(Problem::NotFirmware)
}

fn parse(firmware: &[u8]) -> Option<Vec<Segment<'_>>> {
    if !firmware.starts_with(&MAGIC_32_LITTLE) || half(firmware, 18)? != MACHINE_ARM {
        return None;
    }
    let (table, size, count) = (word(firmware, 28)?, half(firmware, 42)?, half(firmware, 44)?);
    let table = firmware.get(table as usize..)?;
    if usize::from(size) < ENTRY {
        return None;
    }
    let mut segments = Vec::new();
    for entry in 0..usize::from(count) {
        let entry = table.get(entry * usize::from(size)..)?.get(..ENTRY)?;
        let (offset, address, len) = (word(entry, 4)?, word(entry, 12)?, word(entry, 16)?);
        if word(entry, 0)? == LOADED && len > 0 {
            segments.push(Segment { address, bytes: firmware.get(offset as usize..)?.get(..len as usize)? });
        }
    }
    Some(segments)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
