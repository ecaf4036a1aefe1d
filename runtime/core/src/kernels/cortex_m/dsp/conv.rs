//! Int8 convolution: tiles of rows are expanded once, and multiplied with all channels.

use super::expand::{EXPANDED, Input, Position};
use super::operands::Operands;
use super::tile::{Job, six_rows, skip_of_six, skip_of_three, three_rows};
use crate::kernels::ConvI8Args;
use crate::kernels::portable::conv as portable;
use crate::weights::{BLOCK, GROUP, LANES, Segments, block_width};

/// Rows of a tile.
const SIX: usize = 6;
/// Rows of a tile where there are fewer, or little room.
const THREE: usize = 3;

/// See [`crate::plan::step::ConvI8`].
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    let Some(operands) = Operands::of(&mut args) else {
        return portable::conv(args);
    };
    let window = *args.window;
    let segments = Segments::of(&window);
    let row_bytes = segments.packed_len() / GROUP * EXPANDED;
    let scratch = core::mem::take(&mut args.scratch);
    let positions = window.positions();
    let room = (scratch.len() / row_bytes.max(1)).min(positions);
    if room < THREE || !scratch.as_ptr().addr().is_multiple_of(4) {
        args.scratch = scratch;
        return portable::conv(args);
    }
    let input = Input { window: &window, segments, x: args.x, zero_point: args.x_zero_point };
    let tiles = Tiles { input, operands, rows: scratch.as_mut_ptr().cast(), weights: args.weights };
    for group in 0..window.groups as usize {
        let (mut at, mut position) = (0, Position::default());
        while at < positions {
            let left = positions - at;
            let size = if left > THREE && room >= SIX { SIX } else { THREE };
            if size > left {
                // The last tile begins early enough to be full.
                at = positions - size;
                position = Position::of(&window, at);
            }
            // SAFETY: there is room for the rows, and there are the positions.
            unsafe { tiles.multiply(group, at, &mut position, size) };
            at += size;
        }
    }
    operands.clamp(&mut args);
}

/// The tiles of a convolution.
struct Tiles<'a> {
    input: Input<'a>,
    operands: Operands,
    rows: *mut u32,
    weights: &'a [u8],
}

impl Tiles<'_> {
    /// Multiplies `size` rows, six or three, with all channels of a group; `position` moves on behind them.
    ///
    /// # Safety
    /// There is room for the rows, and there are so many positions from `first` on.
    unsafe fn multiply(&self, group: usize, first: usize, position: &mut Position, size: usize) {
        let window = self.input.window;
        let step = size * EXPANDED;
        let quads = self.input.segments.packed_len() / GROUP;
        // SAFETY: there is room for the rows, as the caller says.
        unsafe { self.input.expand(position, group, self.rows, size) };
        let group_out = window.group_out();
        let stored = group_out.next_multiple_of(LANES) * GROUP * quads;
        let mut weights = self.weights.as_ptr().wrapping_add(group * stored);
        for start in (0..group_out).step_by(BLOCK) {
            let width = block_width(start, group_out);
            let channel = group * group_out + start;
            let y = self.operands.y.wrapping_add(first * self.operands.channels + channel);
            let job = Job {
                end: self.rows.wrapping_byte_add(step * quads),
                rows: self.rows,
                skip: if size == SIX { skip_of_six(quads, width * GROUP) } else { skip_of_three(quads) },
                bias: self.operands.bias.wrapping_add(4 * channel),
                weights,
                multipliers: self.operands.multipliers.wrapping_add(4 * channel),
                zero_point: self.operands.zero_point,
                y,
                y_step: self.operands.channels,
                y_end: y.wrapping_add(width.min(group_out - start)),
                quad_step: width * GROUP,
            };
            // SAFETY: the rows are expanded; `Operands` has seen that all else is there.
            unsafe {
                match size {
                    SIX => six_rows(&job),
                    _ => three_rows(&job),
                }
            }
            weights = weights.wrapping_add(width * GROUP * quads);
        }
    }
}
