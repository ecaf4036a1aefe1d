//! What the convolutions share: the walk over the positions and the blocks of output channels.

use super::finish::Finish;
use crate::kernels::rows::{Block, Reach, Rows};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::weights::{BLOCK, LANES, block_width};

/// Rows multiplied at once, at most; and positions that the room for odd results has.
pub(super) const ROWS: usize = 6;

/// Rows of one line together with one block of channels, or one row with several.
pub(super) struct Piece {
    /// The first row.
    pub x: *const i8,
    /// Bytes from one row to the next.
    pub step: usize,
    /// How often the kernel runs: on other rows, or on other blocks of channels.
    pub times: usize,
    /// Rows from one time to the next.
    pub position_step: usize,
    /// Channels from one time to the next.
    pub channel_step: usize,
    /// The first row among the positions that results are stored for.
    pub position: usize,
    /// Their segments.
    pub reach: Reach,
    /// Weights of the block.
    pub weights: *const u8,
    /// Bytes of weights from one group of four along the reduction axis to the next.
    pub quad_step: usize,
    /// Channels of the block: 16, 8 or 4.
    pub width: usize,
}

/// Calls `kernel(number of rows, piece, finish)` with pieces of 6, 4, 2 or 1 rows, up to `most`, that cover `rows`
/// and all channels of their group.
#[inline(always)]
pub(super) fn for_each_piece(
    args: &mut ConvI8Args<'_>,
    rows: &Rows<'_>,
    weights: &[u8],
    most: usize,
    mut kernel: impl FnMut(usize, &Piece, &Finish),
) {
    let group_out = args.window.group_out();
    let reach = rows.reach;
    let together = matches!(args.y, ConvOutput::I8(..));
    let mut channel = 0;
    let mut rest = weights;
    if rows.lines * rows.columns == 1 && together && group_out >= BLOCK {
        let times = group_out / BLOCK;
        channel = times * BLOCK;
        rest = &weights[channel * reach.packed_len()..];
        let piece = Piece {
            x: rows.pointer(0, 0),
            step: rows.step,
            times,
            position_step: 0,
            channel_step: BLOCK,
            position: 0,
            reach,
            weights: weights.as_ptr(),
            quad_step: BLOCK * LANES,
            width: BLOCK,
        };
        let channels = (rows.group * group_out, channel);
        Finish::with(args, (rows.first, 1), channels, BLOCK, |finish| kernel(1, &piece, finish));
    }
    while channel < group_out {
        let stored = block_width(channel, group_out);
        let (these, behind) = rest.split_at(stored * reach.packed_len());
        rest = behind;
        // A block is 16 wide, or 8, 8 + 4 or 4.
        let mut start = 0;
        while start < stored {
            let width = match stored - start {
                BLOCK => BLOCK,
                4 => 4,
                _ => 8,
            };
            let lanes = (group_out - channel - start).min(width);
            let channels = (rows.group * group_out + channel + start, lanes);
            // Results that cannot be stored as they are go through a room for a few positions.
            let (lines, columns) = if together && lanes == width { (rows.lines, rows.columns) } else { (1, ROWS) };
            for first_line in (0..rows.lines).step_by(lines) {
                for first_column in (0..rows.columns).step_by(columns) {
                    let columns = columns.min(rows.columns - first_column);
                    let first = rows.first + first_line * rows.columns + first_column;
                    Finish::with(args, (first, lines * columns), channels, width, |finish| {
                        for line in 0..lines {
                            let mut column = 0;
                            while column < columns {
                                let count = match (columns - column).min(most) {
                                    6 => 6,
                                    4.. => 4,
                                    2.. => 2,
                                    _ => 1,
                                };
                                let times = (columns - column) / count;
                                let piece = Piece {
                                    x: rows.pointer(first_line + line, first_column + column),
                                    step: rows.step,
                                    times,
                                    position_step: count,
                                    channel_step: 0,
                                    position: line * columns + column,
                                    reach,
                                    weights: these[start * LANES..].as_ptr(),
                                    quad_step: stored * LANES,
                                    width,
                                };
                                kernel(count, &piece, finish);
                                column += times * count;
                            }
                        }
                    });
                }
            }
            start += width;
        }
        channel += stored;
    }
}

/// Calls `kernel(finish, line, first column, number of columns)` with runs that cover the positions of a block of a
/// depthwise convolution, whose results are `W` channels wide; a run's first position is `position` of the finish.
#[inline(always)]
pub(super) fn for_each_run<const W: usize>(
    args: &mut ConvI8Args<'_>,
    block: &Block<'_>,
    mut kernel: impl FnMut(&Finish, Run),
) {
    let channels = (block.channel, block.lanes);
    let together = matches!(args.y, ConvOutput::I8(..)) && block.lanes == W;
    // Results that cannot be stored as they are go through a room for a few positions.
    let (lines, columns) = if together { (block.lines, block.columns) } else { (1, ROWS) };
    for first_line in (0..block.lines).step_by(lines) {
        for first_column in (0..block.columns).step_by(columns) {
            let count = columns.min(block.columns - first_column);
            let first = block.first + first_line * block.columns + first_column;
            Finish::with(args, (first, lines * count), channels, W, |finish| {
                for line in 0..lines {
                    let position = line * count;
                    kernel(finish, Run { line: first_line + line, column: first_column, count, position });
                }
            });
        }
    }
}

/// Positions of a line of a depthwise convolution.
pub(super) struct Run {
    /// The line.
    pub line: usize,
    /// The first column.
    pub column: usize,
    /// Columns.
    pub count: usize,
    /// The first of them among the positions that results are stored for.
    pub position: usize,
}
