//! The one layout of convolution weights, read in place by every backend.
//!
//! Output channels of a group are cut into blocks of [`BLOCK`]; the last block is as wide as what
//! is left, rounded up to [`LANES`]. The reduction axis is cut into *segments* of bytes that lie
//! next to each other in a channels-last input: one per kernel row (all its columns and channels),
//! or one per tap where columns are dilated or channels grouped. Each segment is padded with zeros
//! to a multiple of four. A block then is
//!
//! `[segment][group of 4 along the segment][channel of the block][4]`
//!
//! so that a group of four input bytes meets the same four weights of 4, 8 or 16 channels at once:
//! SDOT, VPDPBUSD, SMULL/SADALP and SMLAD all read it as it is.

pub mod compressed;

use crate::plan::step::Window;

/// Output channels of a full block.
pub const BLOCK: usize = 16;
/// A block's width is a multiple of this.
pub const LANES: usize = 4;
/// Neighbours along the reduction axis that are stored together.
pub const GROUP: usize = 4;

/// How the reduction axis of a convolution is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Number of segments.
    pub count: usize,
    /// Bytes of one segment that come from the input.
    pub len: usize,
    /// Bytes of one segment as stored.
    pub padded: usize,
    /// Whether a segment is a whole kernel row.
    pub rows: bool,
}

impl Segments {
    /// The segments of a convolution.
    #[must_use]
    pub fn of(window: &Window) -> Self {
        let rows = window.groups == 1 && (window.dilation_w == 1 || window.kernel_w == 1);
        let (count, len) = if rows {
            (window.kernel_h as usize, window.kernel_w as usize * window.in_c as usize)
        } else {
            (window.taps(), window.group_in())
        };
        Self { count, len, padded: len.next_multiple_of(GROUP), rows }
    }

    /// Bytes of the whole reduction axis as stored.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.count * self.padded
    }
}

/// Width of the block that starts at output channel `start` of a group of `channels`.
#[must_use]
pub fn block_width(start: usize, channels: usize) -> usize {
    channels.saturating_sub(start).min(BLOCK).next_multiple_of(LANES)
}

/// Bytes of the packed weights of a convolution.
#[must_use]
pub fn packed_bytes(window: &Window) -> usize {
    let reduction = Segments::of(window).packed_len();
    window.groups as usize * window.group_out().next_multiple_of(LANES) * reduction
}

/// Packs weights. `weight(output channel, kernel row, kernel column, input channel of the group)`
/// gives the stored value; `out` has [`packed_bytes`] bytes.
pub fn pack(window: &Window, weight: &mut dyn FnMut(usize, usize, usize, usize) -> i8, out: &mut [u8]) {
    let segments = Segments::of(window);
    let (group_in, group_out) = (window.group_in(), window.group_out());
    let kernel_w = window.kernel_w as usize;
    out.fill(0);
    let mut base = 0;
    for group in 0..window.groups as usize {
        for start in (0..group_out).step_by(BLOCK) {
            let width = block_width(start, group_out);
            for segment in 0..segments.count {
                for position in 0..segments.len {
                    let (row, column, channel) = if segments.rows {
                        (segment, position / group_in, position % group_in)
                    } else {
                        (segment / kernel_w, segment % kernel_w, position)
                    };
                    let quad = segment * segments.padded / GROUP + position / GROUP;
                    for lane in 0..width.min(group_out - start) {
                        let value = weight(group * group_out + start + lane, row, column, channel);
                        let place = base + (quad * width + lane) * GROUP + position % GROUP;
                        if let Some(slot) = out.get_mut(place) {
                            *slot = value.cast_unsigned();
                        }
                    }
                }
            }
            base += width * segments.packed_len();
        }
    }
}

/// Positions of a block of float32 weights, as wide as [`BLOCK`].
pub const F32_BLOCK: usize = BLOCK;

/// Number of float32 weights of a packed float convolution.
#[must_use]
pub fn packed_f32_len(window: &Window) -> usize {
    window.groups as usize * window.group_out().next_multiple_of(F32_BLOCK) * window.taps() * window.group_in()
}
