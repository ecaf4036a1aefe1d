//! Int8 convolution: two rows with four channels at a time, a single row with eight.

use super::copy::copy;
use super::octets;
use super::pack::{multiply_packed, pays_to_pack};
use super::piece::{Kernel, Piece};
use super::tile;
use crate::bytes::{F32s, I32s};
use crate::kernels::cortex_m::plain;
use crate::kernels::rows::{Reach, Rows, for_each_rows_by};
use crate::kernels::view::{part, part_mut};
use crate::kernels::{ConvI8Args, ConvOutput, view};
use crate::quantization::Target;
use crate::weights::{BLOCK, GROUP, block_width};

/// Bytes of a vector.
pub(super) const WHOLE: usize = 16;
/// Channels of a tile.
pub(super) const TILE: usize = 4;
/// Channels that a single row is multiplied with at once.
const OCTET: usize = 8;
/// Positions whose results have room where a tile has fewer channels than it computes.
const ROOM: usize = 8;

/// See [`crate::plan::step::ConvI8`].
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    let words = [args.weights, args.bias.bytes(0, 1), args.multipliers.bytes(0, 1)];
    let aligned = words.iter().all(|bytes| bytes.as_ptr().addr().is_multiple_of(4));
    if !aligned || !args.weight_zero_points.is_empty() {
        return plain::conv(args, false);
    }
    for_each_rows_by(&mut args, copy, |args, rows, weights| {
        if matches!(args.y, ConvOutput::F32(_)) {
            multiply_to_float(args, rows, weights);
        } else if pays_to_pack(&rows.reach, args.window.group_out()) {
            multiply_packed(args, rows, weights);
        } else {
            multiply(args, rows, weights);
        }
    });
}

/// Multiplies all rows with all channels of their group.
#[inline(never)]
pub(super) fn multiply(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let ConvOutput::I8(y, target) = &mut args.y else { return };
    let (count, y_step) = (args.window.group_out(), args.y_step);
    let (first, positions) = (rows.group * count, rows.lines * rows.columns);
    let length = (positions - 1) * y_step + count;
    let y = part_mut(y, rows.first * y_step + first, length);
    let (bias, multipliers) = (args.bias.whole(first, count), args.multipliers.whole(first, count));
    let (Some(bias), Some(multipliers), true) = (bias, multipliers, y.len() == length) else { return };
    let channels = Channels { weights, bias, multipliers, count };
    let mut piece = Piece::new(rows, *target);
    let pairs = positions / 2 * 2;
    let mut start = 0;
    while pairs > 0 && start < count {
        piece.x = rows.pointer(0, 0);
        piece.left = rows.columns;
        // A block at a time, the last channels of fewer than four on their own.
        let lanes = match count - start {
            few @ ..TILE => few,
            many => many.min(BLOCK) / TILE * TILE,
        };
        if channels.place(&mut piece, &rows.reach, start) {
            piece.tiles(part_mut(y, start, length - start), y_step, pairs, lanes);
        }
        start += lanes;
    }
    if positions > pairs {
        piece.x = rows.pointer(rows.lines - 1, rows.columns - 1);
        row(&mut piece, &rows.reach, &channels, part_mut(y, pairs * y_step, count));
    }
    let (low, high, _) = target.limits();
    if (low, high) != (i8::MIN, i8::MAX) {
        let results = y.chunks_mut(y_step.max(1)).flat_map(|y| y.iter_mut().take(count));
        results.for_each(|y| *y = (*y).max(low).min(high));
    }
}

/// As [`multiply`], with float32 results: one row at a time, as there are few of them.
#[inline(never)]
fn multiply_to_float(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let ConvOutput::F32(y) = &mut args.y else { return };
    let (count, y_step) = (args.window.group_out(), args.y_step);
    let first = rows.group * count;
    let (bias, multipliers) = (args.bias.whole(first, count), args.multipliers.whole(first, count));
    let (Some(bias), Some(multipliers)) = (bias, multipliers) else { return };
    let channels = Channels { weights, bias, multipliers, count };
    let mut piece = Piece { real: 1, ..Piece::new(rows, Target::new(0, 0, 0)) };
    for line in 0..rows.lines {
        for column in 0..rows.columns {
            let y = part_mut(y, (rows.first + line * rows.columns + column) * y_step + first, count);
            if y.len() != count {
                return;
            }
            piece.x = rows.pointer(line, column);
            // SAFETY: there is room for the results of all channels.
            let done = unsafe { octets_of_row(&mut piece, &rows.reach, &channels, y.as_mut_ptr().cast(), 4) };
            let start = rows.start + line * rows.line_step + column * rows.step;
            for (channel, y) in y.iter_mut().enumerate().skip(done) {
                *y = channels.sum(rows, start, channel) as f32 * F32s::new(multipliers).get(channel);
            }
        }
    }
}

/// The channels of a group.
struct Channels<'a> {
    weights: &'a [u8],
    bias: &'a [u8],
    multipliers: &'a [u8],
    count: usize,
}

impl Channels<'_> {
    /// Sets where the weights of the block lie to which channel `start` belongs, from that channel on; and what the
    /// sums of four channels meet. Whether all of that is there.
    fn place(&self, piece: &mut Piece, reach: &Reach, start: usize) -> bool {
        let block = start / BLOCK * BLOCK;
        let stored = block_width(block, self.count);
        let length = stored * reach.packed_len();
        let weights = part(self.weights, block * reach.packed_len(), length);
        piece.stride = WHOLE * stored;
        piece.tail_stride = piece.tail * stored;
        let address = weights.as_ptr().addr() + (start - block) * GROUP;
        piece.weights = core::array::from_fn(|group| address + group * GROUP * stored);
        let place = |words: &[u8]| words.as_ptr().wrapping_add(4 * start);
        (piece.bias_from, piece.multipliers_from) = (place(self.bias), place(self.multipliers));
        if self.count - start < TILE {
            let (bias, multipliers) = (I32s::new(self.bias), F32s::new(self.multipliers));
            piece.bias = core::array::from_fn(|lane| bias.get(start + lane));
            piece.multipliers = core::array::from_fn(|lane| multipliers.get(start + lane));
            (piece.bias_from, piece.multipliers_from) = (piece.bias.as_ptr().cast(), piece.multipliers.as_ptr().cast());
        }
        weights.len() == length
    }

    /// The sum of one channel over the row that starts at `start`.
    fn sum(&self, rows: &Rows<'_>, start: usize, channel: usize) -> i32 {
        let (reach, block) = (&rows.reach, channel / BLOCK * BLOCK);
        let stored = block_width(block, self.count);
        let weights = part(self.weights, block * reach.packed_len(), stored * reach.packed_len());
        let mut quads = weights.as_chunks::<GROUP>().0.iter().skip(channel - block).step_by(stored.max(1));
        let mut sum = I32s::new(self.bias).get(channel);
        reach.for_each_segment(|offset| {
            let segment = part(rows.elements, start + offset, GROUP * reach.quads);
            for (x, w) in segment.as_chunks::<GROUP>().0.iter().zip(&mut quads) {
                let products = x.iter().zip(w).map(|(&x, &w)| i32::from(x) * i32::from(w.cast_signed()));
                sum = sum.wrapping_add(products.sum());
            }
        });
        sum
    }
}

impl Piece {
    /// A piece of these rows, without channels.
    pub fn new(rows: &Rows<'_>, target: Target) -> Self {
        let reach = &rows.reach;
        // Segments lie in rows and columns where windows are dilated or grouped.
        let (segments, segment_step, runs) = match (reach.rows, reach.columns) {
            (rows, 1) => (rows, reach.row_step, 1),
            (rows, columns) => (columns, reach.column_step, rows),
        };
        let bytes = GROUP * reach.quads;
        let whole = bytes / WHOLE;
        let last = (segments - 1) * segment_step + WHOLE * whole;
        let (_, _, zero_point) = target.limits();
        Self {
            columns: rows.columns,
            turn: rows.line_step.wrapping_sub(rows.columns * rows.step),
            next: rows.step.wrapping_sub((runs - 1) * reach.row_step + last),
            step: rows.step,
            segments,
            segment_step,
            runs,
            run_gap: reach.row_step.wrapping_sub(last),
            gap: segment_step.wrapping_sub(WHOLE * whole),
            whole,
            whole_and_1: whole + 1,
            tail: bytes % WHOLE,
            zero_point: [zero_point; 8],
            ..Self::EMPTY
        }
    }

    /// The kernel for these segments and channels.
    fn kernel(&self) -> Kernel {
        match (self.segments, self.whole, self.tail) {
            _ if self.runs > 1 => tile::any,
            (1, 0, _) | (1, 1, 0) => tile::resident,
            (_, 0, _) => tile::short,
            (1, _, 0) if self.stride == BLOCK * WHOLE => tile::pointwise,
            (1, _, _) if self.stride == BLOCK * WHOLE => tile::pointwise_with_tail,
            (_, _, 0) if self.stride == BLOCK * WHOLE => tile::window,
            _ => tile::any,
        }
    }

    /// Pairs of rows, `count` rows in all, times `lanes` channels: of one block, and a multiple of four, or fewer.
    fn tiles(&mut self, y: &mut [i8], y_step: usize, count: usize, lanes: usize) {
        let kernel = self.kernel();
        self.groups = (lanes / TILE).max(1);
        if lanes >= TILE && (count - 1) * y_step + lanes <= y.len() {
            (self.y, self.y_step, self.rows) = (y.as_mut_ptr(), y_step, count);
            (self.first_x, self.first_rows, self.first_left, self.first_y) = (self.x, count, self.left, self.y);
            // SAFETY: `Rows` has the rows, `place` has seen the weights, and there is room for the results.
            return unsafe { kernel(self) };
        }
        let y_step = y_step.max(1);
        for (start, chunk) in (0..count).step_by(ROOM).zip(y.chunks_mut((ROOM * y_step).max(1))) {
            let mut room = [[0; TILE]; ROOM];
            let count = ROOM.min(count - start);
            self.groups = 1;
            (self.y, self.y_step, self.rows) = (room.as_mut_ptr().cast(), TILE, count);
            // SAFETY: as above; the room has as many positions.
            unsafe { kernel(self) };
            for (y, results) in chunk.chunks_mut(y_step).zip(&room).take(count) {
                y.iter_mut().zip(results).take(lanes).for_each(|(y, result)| *y = *result);
            }
        }
    }
}

/// The row at `piece.x` times all channels.
fn row(piece: &mut Piece, reach: &Reach, channels: &Channels<'_>, y: &mut [i8]) {
    if y.len() != channels.count {
        return;
    }
    // SAFETY: there is room for the results of all channels.
    let octets = unsafe { octets_of_row(piece, reach, channels, y.as_mut_ptr(), 1) };
    // What is left is multiplied with the same row twice.
    (piece.next, piece.step, piece.turn, piece.columns) = (0, 0, 0, 2);
    let x = piece.x;
    for start in (octets..channels.count).step_by(TILE) {
        (piece.x, piece.left) = (x, 2);
        let mut room = [0; 2 * TILE];
        if channels.place(piece, reach, start) {
            piece.tiles(&mut room, TILE, 2, TILE);
            view::copy(part_mut(y, start, TILE.min(channels.count - start)), &room);
        }
    }
}

/// The row at `piece.x` times the channels that make eights; gives their number. Results have `y_bytes` each.
///
/// # Safety
/// There is room for the results of all channels from `y` on.
unsafe fn octets_of_row(
    piece: &mut Piece,
    reach: &Reach,
    channels: &Channels<'_>,
    y: *mut i8,
    y_bytes: usize,
) -> usize {
    let octets = if piece.runs > 1 { 0 } else { channels.count / OCTET * OCTET };
    let blocks = octets / BLOCK * BLOCK;
    let there = channels.weights.len() >= blocks * reach.packed_len();
    for (start, end) in [(0, blocks), (blocks, octets)] {
        if start == end || !there || !channels.place(piece, reach, start) {
            continue;
        }
        piece.octets = (end - start) / OCTET;
        piece.octet_bias = channels.bias.as_ptr().cast::<i32>().wrapping_add(start);
        piece.octet_multipliers = channels.multipliers.as_ptr().cast::<f32>().wrapping_add(start);
        (piece.hop, piece.other_hop) = (OCTET * GROUP, BLOCK * reach.packed_len() - OCTET * GROUP);
        piece.y = y.wrapping_add(start * y_bytes);
        // SAFETY: `Rows` has the row; the weights are there, as `place` and this function have seen, and so are bias
        // and multipliers; the results, as the caller says.
        unsafe { octets::octets(piece) };
    }
    octets
}
