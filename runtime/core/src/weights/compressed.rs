//! Packed weights in fewer bits: what a step may store in the place of the packed bytes, and expands to just those.
//!
//! Both forms follow the packed bytes in their order, in pieces of 16.
//!
//! - *Indexed*: each byte is one of 16 levels, named by an index of four bits. Two pieces share 16 stored bytes: the
//!   first has the low halves, the second the high ones. With factors, a byte is its level times the factor of its
//!   output channel and of the [`Factors::quads`] groups of four along the reduction axis that it belongs to.
//! - *Sparse*: a piece is a mask of 16 bits, little-endian, the first byte's bit the lowest, and behind it those bytes
//!   whose bits are 1; the others are 0.

use super::{BLOCK, GROUP, LANES, Segments, block_width, packed_bytes};
use crate::plan::step::Window;

/// Bytes of packed weights that belong together: a group of four of four channels.
pub const PIECE: usize = GROUP * LANES;
/// Levels that an index can name.
pub const LEVELS: usize = 16;

/// Stored bytes of so many packed ones, by indices.
#[must_use]
pub fn indexed_bytes(packed: usize) -> usize {
    packed.div_ceil(2 * PIECE).saturating_mul(PIECE)
}

/// Packed bytes of `channels` output channels, or of all there are: the room that they take when they are expanded.
#[must_use]
pub fn expanded_bytes(window: &Window, channels: u32) -> usize {
    packed_bytes(&Window { out_c: window.out_c.min(channels), ..*window })
}

/// Number of factors where so many groups of four share one; `None` where they do not fit the window: the reduction
/// axis must be cut into whole ones, and the channels into no groups.
#[must_use]
pub fn factor_count(window: &Window, quads: u32) -> Option<usize> {
    let of_channel = Segments::of(window).packed_len() / GROUP;
    let fits = window.groups == 1 && quads > 0 && of_channel.is_multiple_of(quads as usize);
    fits.then(|| of_channel / quads as usize * (window.out_c as usize).next_multiple_of(LANES))
}

/// Factors of indexed weights, `[block of output channels][part of the reduction axis][channel of the block]`.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// As many as [`factor_count`] says.
    pub values: &'a [u8],
    /// Groups of four that share a factor.
    pub quads: usize,
}

impl Factors<'_> {
    /// The factors of the four channels of the packed piece at byte `at`.
    fn of_piece(&self, window: &Window, at: usize) -> Option<[u8; LANES]> {
        let of_channel = Segments::of(window).packed_len();
        let block = at / (BLOCK * of_channel).max(1) * BLOCK;
        let width = block_width(block, window.out_c as usize);
        let inside = at - block * of_channel;
        let row = inside.checked_div(GROUP * width)?;
        let lane = inside % (GROUP * width) / GROUP;
        let first = block * (of_channel / GROUP).checked_div(self.quads)? + row / self.quads * width + lane;
        self.values.get(first..)?.first_chunk().copied()
    }
}

/// The weights of a step as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// Packed, as [`super`] says.
    Packed(&'a [u8]),
    /// Indices of levels.
    Indexed {
        /// Two in each byte.
        indices: &'a [u8],
        /// int8.
        levels: &'a [u8; LEVELS],
        /// What the levels are multiplied with.
        factors: Option<Factors<'a>>,
    },
    /// Masks and the bytes that are not 0.
    Sparse(&'a [u8]),
}

/// Reads stored weights piece by piece: for the verifier, which takes nothing for granted.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    window: &'a Window,
    stored: Stored<'a>,
    /// Packed bytes that have been read.
    at: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(window: &'a Window, stored: Stored<'a>) -> Self {
        Self { window, stored, at: 0 }
    }

    /// The next 16 packed bytes; `None` behind the end, and where a level times its factor is no int8.
    pub fn next(&mut self) -> Option<[u8; PIECE]> {
        let at = self.at;
        self.at += PIECE;
        match &mut self.stored {
            Stored::Packed(packed) => packed.get(at..)?.first_chunk().copied(),
            Stored::Indexed { indices, levels, factors } => {
                let pair: &[u8; PIECE] = indices.get(at / (2 * PIECE) * PIECE..)?.first_chunk()?;
                let shift = at % (2 * PIECE) / PIECE * 4;
                let of = |byte: u8| levels.get(usize::from(byte >> shift & 15)).copied().unwrap_or(0);
                let mut piece = pair.map(of);
                if let Some(factors) = factors {
                    let factors = factors.of_piece(self.window, at)?;
                    for (quad, factor) in piece.as_chunks_mut::<GROUP>().0.iter_mut().zip(factors) {
                        for byte in quad {
                            let level = i32::from(byte.cast_signed()) * i32::from(factor);
                            *byte = i8::try_from(level).ok()?.cast_unsigned();
                        }
                    }
                }
                Some(piece)
            }
            Stored::Sparse(stored) => {
                let (mask, mut rest) = stored.split_first_chunk()?;
                let mask = u16::from_le_bytes(*mask);
                let mut piece = [0; PIECE];
                for (bit, byte) in piece.iter_mut().enumerate() {
                    if mask >> bit & 1 == 1 {
                        (*byte, rest) = rest.split_first().map(|(byte, rest)| (*byte, rest))?;
                    }
                }
                *stored = rest;
                Some(piece)
            }
        }
    }

    /// The next packed bytes, so many, where they are stored as they are; otherwise, and where there are fewer, `None`,
    /// and nothing has been read.
    pub fn run(&mut self, len: usize) -> Option<&'a [u8]> {
        let Stored::Packed(packed) = self.stored else { return None };
        let run = packed.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(run)
    }

    /// Whether nothing is stored behind the pieces read.
    pub fn is_end(&self) -> bool {
        match &self.stored {
            Stored::Packed(packed) => packed.len() == self.at,
            Stored::Indexed { indices, .. } => indices.len() == indexed_bytes(self.at),
            Stored::Sparse(stored) => stored.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    /// A pointwise window of so many channels.
    fn window(in_c: u32, out_c: u32) -> Window {
        Window {
            batch: 1,
            in_h: 1,
            in_w: 1,
            in_c,
            out_h: 1,
            out_w: 1,
            out_c,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
            groups: 1,
        }
    }

    fn read(window: &Window, stored: Stored<'_>) -> Option<Vec<i8>> {
        let mut pieces = Pieces::new(window, stored);
        let mut all = Vec::new();
        for _ in 0..packed_bytes(window) / PIECE {
            all.extend(pieces.next()?.map(u8::cast_signed));
        }
        pieces.is_end().then_some(all)
    }

    #[test]
    fn two_pieces_share_their_bytes() {
        // 4 channels of 12 inputs: three pieces, the third alone in its bytes.
        let window = window(12, 4);
        let levels: [u8; 16] = core::array::from_fn(|index| (index as i8 - 8).cast_unsigned());
        let mut indices = [0x83; 32];
        indices[16..].fill(0x0f);
        let expected = [[-5_i8; 16], [0; 16], [7; 16]].concat();
        let stored = Stored::Indexed { indices: &indices, levels: &levels, factors: None };
        assert_eq!(read(&window, stored), Some(expected));
        let stored = Stored::Indexed { indices: &indices[..16], levels: &levels, factors: None };
        assert_eq!(read(&window, stored), None);
    }

    #[test]
    fn factors_belong_to_channels_and_parts() {
        // 20 channels of 8 inputs, a factor for each four: blocks of 16 and 4 channels.
        let window = window(8, 20);
        let factors: Vec<u8> = (1..=40).collect();
        let factors = Some(Factors { values: &factors, quads: 1 });
        assert_eq!(factor_count(&window, 1), Some(40));
        let (levels, indices) = ([3; 16], [0; 80]);
        let all = read(&window, Stored::Indexed { indices: &indices, levels: &levels, factors }).unwrap();
        // The packed order: channels 0 to 15 of inputs 0 to 3, then of 4 to 7; then those of channels 16 to 19.
        let expected: Vec<i8> = (1..=40).flat_map(|factor| [3 * factor; 4]).collect();
        assert_eq!(all, expected);
        // 4 · 40 is no int8.
        assert_eq!(read(&window, Stored::Indexed { indices: &indices, levels: &[4; 16], factors }), None);
    }

    #[test]
    fn masks_say_which_bytes_follow() {
        let window = window(8, 4);
        let stored = [0x01, 0x80, 5, 250, 0, 0];
        let mut expected = std::vec![0_i8; 32];
        (expected[0], expected[15]) = (5, -6);
        assert_eq!(read(&window, Stored::Sparse(&stored)), Some(expected));
        assert_eq!(read(&window, Stored::Sparse(&stored[..3])), None);
        assert_eq!(read(&window, Stored::Sparse(&[0, 0, 0, 0, 0])), None);
    }
}
