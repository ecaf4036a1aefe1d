//! What the convolutions share: the walk over the positions and the blocks of output channels.

use super::finish::{Finish, Room};
use crate::kernels::ConvI8Args;
use crate::kernels::rows::Rows;
use crate::weights::{BLOCK, LANES, block_width};

/// Rows multiplied at once, at most; and positions that the room for odd results has.
pub(super) const ROWS: usize = 6;

/// What a kernel multiplies: rows from `x` on with one block of channels. Kernels read it from assembly, and leave
/// `x`, `left` and `y` behind the last row.
pub(super) struct Piece {
    /// The first row.
    pub x: *const i8,
    /// Rows from `x` to the end of its line.
    pub left: usize,
    /// Rows of a line.
    pub columns: usize,
    /// Bytes from one row to the next.
    pub step: usize,
    /// Bytes from behind the last row of a line to the first one of the next.
    pub turn: usize,
    /// Groups of four bytes in a segment of a row.
    pub quads: usize,
    /// Segments that lie equally far from each other.
    pub segments: usize,
    /// Bytes from behind one of them to the next.
    pub gap: usize,
    /// How many times there are so many segments.
    pub runs: usize,
    /// Bytes from where a segment behind the last one would be to the first one of the next time.
    pub run_turn: usize,
    /// Not 0 where 16 bytes cannot be read at the end of each segment.
    pub tight: usize,
    /// 1 where segments are three steps long and steps multiples of 16 bytes.
    pub overlap: usize,
    /// Weights of the block.
    pub weights: *const u8,
    /// Bytes of weights from one group of four along the reduction axis to the next.
    pub quad_step: usize,
    /// What becomes of the sums.
    pub finish: Finish,
}

/// Multiplies and stores so many tiles of rows; or one row with so many blocks of 16 channels, whose results lie
/// [`Finish::step`] apart.
///
/// # Safety
/// The CPU has the instructions, and the piece has the rows and the channels.
pub(super) type Kernel = unsafe fn(&mut Piece, usize);

/// The kernels for tiles of one row and more, for each width of a block.
pub(super) struct Set<'s> {
    pub by_16: &'s [Kernel],
    pub by_8: &'s [Kernel],
    pub by_4: &'s [Kernel],
}

/// Multiplies `rows` with all channels of their group.
///
/// # Safety
/// The CPU has the instructions of `set`.
#[inline(always)]
pub(super) unsafe fn multiply(
    args: &mut ConvI8Args<'_>,
    rows: &Rows<'_>,
    weights: &[u8],
    finish: Finish,
    set: &Set<'_>,
) {
    let group_out = args.window.group_out();
    let y_step = args.y_step;
    let positions = rows.lines * rows.columns;
    let reach = rows.reach;
    let (segments, segment_step, runs, run_step) = if reach.columns == 1 {
        (reach.rows, reach.row_step, 1, 0)
    } else {
        (reach.columns, reach.column_step, reach.rows, reach.row_step)
    };
    let tail = 4 * reach.quads % 16;
    let last = rows.start + (rows.lines - 1) * rows.line_step + (rows.columns - 1) * rows.step;
    let slack = rows.elements.len() - last - reach.len();
    let mut piece = Piece {
        x: rows.pointer(0, 0),
        left: rows.columns,
        columns: rows.columns,
        step: rows.step,
        turn: rows.line_step.wrapping_sub(rows.columns * rows.step),
        quads: reach.quads,
        segments,
        gap: segment_step.wrapping_sub(4 * reach.quads),
        runs,
        run_turn: run_step.wrapping_sub(segments * segment_step),
        tight: usize::from(tail != 0 && slack < 16 - tail),
        overlap: usize::from(rows.step.is_multiple_of(16) && 4 * reach.quads == 3 * rows.step && reach.columns == 1),
        weights: weights.as_ptr(),
        quad_step: BLOCK * LANES,
        finish,
    };
    let mut channel = 0;
    if positions == 1 && group_out >= BLOCK && !finish.is_real() {
        let blocks = group_out / BLOCK;
        channel = blocks * BLOCK;
        assert!(weights.len() >= channel * reach.packed_len());
        piece.finish.place(args, rows.first, 1, rows.group * group_out, channel);
        piece.finish.step = BLOCK;
        // SAFETY: `Rows` has the row, `place` has seen that there are the channels; the weights are there as
        // asserted.
        unsafe { set.by_16[0](&mut piece, blocks) };
    }
    while channel < group_out {
        let stored = block_width(channel, group_out);
        let these = &weights[channel * reach.packed_len()..][..stored * reach.packed_len()];
        // A block is 16 wide, or 8, 8 + 4 or 4.
        let mut start = 0;
        while start < stored {
            let (width, kernels) = match stored - start {
                BLOCK => (BLOCK, set.by_16),
                4 => (4, set.by_4),
                _ => (8, set.by_8),
            };
            let lanes = (group_out - channel - start).min(width);
            let first_channel = rows.group * group_out + channel + start;
            piece.x = rows.pointer(0, 0);
            piece.left = rows.columns;
            piece.weights = these[start * LANES..].as_ptr();
            piece.quad_step = stored * LANES;
            let most = kernels.len();
            if lanes == width && !finish.is_real() {
                piece.finish.place(args, rows.first, positions, first_channel, lanes);
                piece.finish.step = y_step;
                // SAFETY: `Rows` has the rows, `place` has seen that there are the positions and channels.
                unsafe {
                    if positions >= most {
                        kernels[most - 1](&mut piece, positions / most);
                    }
                    if !positions.is_multiple_of(most) {
                        kernels[positions % most - 1](&mut piece, 1);
                    }
                }
            } else {
                let mut room = Room::of(args, first_channel, lanes);
                for first in (0..positions).step_by(most) {
                    let count = most.min(positions - first);
                    room.place(&mut piece.finish);
                    // SAFETY: `Rows` has the rows, the room 16 channels of `ROWS` positions.
                    unsafe { kernels[count - 1](&mut piece, 1) };
                    room.copy(&mut args.y, (rows.first + first) * y_step + first_channel, y_step, count, lanes);
                }
            }
            start += width;
        }
        channel += stored;
    }
}
