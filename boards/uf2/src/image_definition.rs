//! What tells the boot ROM that there is a program (RP2350 data sheet, 5.9.5.1, "Minimum Arm IMAGE_DEF").

/// A block of one item, in words: the start marker; the item of an image type (number 0x42, one word long; 0x1021: for the
/// RP2350, Arm, secure, executable); the item that ends the list (0xff, one word in front of it); the next block, which is
/// this one; the end marker.
pub const IMAGE_DEFINITION: [u32; 5] = [0xffff_ded3, 0x1021_0142, 0x0000_01ff, 0, 0xab12_3579];

/// The boot ROM looks for it in so many bytes from the beginning of flash.
pub const IMAGE_DEFINITION_WITHIN: u32 = 4096;

/// Whether the beginning of flash holds it, at a multiple of four.
pub(crate) fn is_in(start: &[u8]) -> bool {
    let words: Vec<_> = start.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
    words.windows(IMAGE_DEFINITION.len()).any(|words| words == IMAGE_DEFINITION)
}
