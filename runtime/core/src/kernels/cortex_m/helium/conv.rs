//! Int8 convolution: two rows with four channels at a time, a single row with eight.

use super::tile::{self, Piece};
use crate::bytes::{F32s, I32s};
use crate::kernels::portable::conv as portable;
use crate::kernels::rows::{Reach, Rows, for_each_rows};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::quantization::Target;
use crate::weights::{BLOCK, GROUP, block_width};

/// Bytes of a vector.
const WHOLE: usize = 16;

/// Channels of a tile.
const TILE: usize = 4;
/// Channels that a single row is multiplied with at once.
const OCTET: usize = 8;
/// Positions whose results have room where a tile has fewer channels than it computes.
const ROOM: usize = 8;

/// See [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    let words = [args.weights, args.bias.bytes(0, 1), args.multipliers.bytes(0, 1)];
    let aligned = words.iter().all(|bytes| bytes.as_ptr().addr().is_multiple_of(4));
    // Segments that lie in rows and columns are those of dilated and grouped windows.
    let plain = args.window.groups == 1 && (args.window.dilation_w == 1 || args.window.kernel_w == 1)
        || args.window.kernel_h == 1
        || args.window.kernel_w == 1;
    if !aligned || !plain || !args.weight_zero_points.is_empty() || matches!(args.y, ConvOutput::F32(_)) {
        return portable::conv(args);
    }
    for_each_rows(args, |args, rows, weights| {
        if pays_to_pack(&rows.reach, args.window.group_out()) {
            multiply_packed(args, rows, weights);
        } else {
            multiply(args, rows, weights);
        }
    });
}

/// Whether it takes fewer instructions to copy the short segments of each row behind each other than to multiply them
/// one by one. The numbers are those of a tile, two rows with four channels.
fn pays_to_pack(reach: &Reach, group_out: usize) -> bool {
    let segments = reach.rows * reach.columns;
    let quads = segments * reach.quads;
    let copies = 2 * (8 + 6 * segments) * TILE / group_out;
    segments > 1 && reach.quads <= WHOLE / GROUP && 24 * segments > 17 * (quads / 4) + 26 + copies
}

/// Multiplies rows that are copied first, as many at a time as there is room for.
#[inline(never)]
fn multiply_packed(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    const ROOM: usize = 1024;
    let mut room = [0; ROOM];
    let step = rows.reach.packed_len();
    let most = ROOM / step;
    let positions = rows.lines * rows.columns;
    let ConvOutput::I8(_, target) = args.y else { return };
    if most < 2 {
        return multiply(args, rows, weights);
    }
    let mut piece = Piece::new(rows, target);
    (piece.x, piece.left, piece.tail) = (rows.pointer(0, 0), rows.columns, GROUP * rows.reach.quads);
    let reach = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads: step / GROUP };
    for first in (0..positions).step_by(most) {
        let columns = most.min(positions - first);
        piece.rows = columns;
        // SAFETY: `Rows` has the rows, and there is room for so many.
        unsafe { tile::pack(&mut piece, room.as_mut_ptr()) };
        let (start, lines, line_step, first) = (0, 1, 0, rows.first + first);
        let packed = Rows { bytes: &room, start, columns, step, lines, line_step, reach, first, group: rows.group };
        multiply(args, &packed, weights);
    }
}

/// Multiplies all rows with all channels of their group.
fn multiply(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let ConvOutput::I8(y, target) = &mut args.y else { return };
    let (group_out, out_c) = (args.window.group_out(), args.window.out_c as usize);
    let (first, positions) = (rows.group * group_out, rows.lines * rows.columns);
    let y = &mut y[rows.first * out_c + first..][..(positions - 1) * out_c + group_out];
    let (Some(bias), Some(multipliers)) = (args.bias.whole(first, group_out), args.multipliers.whole(first, group_out))
    else {
        return;
    };
    let channels = Channels { weights, bias, multipliers, count: group_out };
    let mut piece = Piece::new(rows, *target);
    let pairs = positions / 2 * 2;
    for start in (0..if pairs > 0 { group_out } else { 0 }).step_by(TILE) {
        channels.place(&mut piece, &rows.reach, start);
        piece.x = rows.pointer(0, 0);
        piece.left = rows.columns;
        piece.tiles(&mut y[start..], out_c, pairs, TILE.min(group_out - start));
    }
    if positions > pairs {
        piece.x = rows.pointer(rows.lines - 1, rows.columns - 1);
        row(&mut piece, &rows.reach, &channels, &mut y[pairs * out_c..]);
    }
    let (low, high, _) = target.limits();
    if (low, high) != (i8::MIN, i8::MAX) {
        y.chunks_mut(out_c).for_each(|y| y[..group_out].iter_mut().for_each(|y| *y = (*y).clamp(low, high)));
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
    /// sums of four channels meet.
    fn place(&self, piece: &mut Piece, reach: &Reach, start: usize) {
        let block = start / BLOCK * BLOCK;
        let stored = block_width(block, self.count);
        let weights = &self.weights[block * reach.packed_len()..][..stored * reach.packed_len()];
        piece.stride = 16 * stored;
        piece.tail_stride = piece.tail * stored;
        let address = weights.as_ptr().addr() + (start - block) * GROUP;
        piece.weights = core::array::from_fn(|group| address + group * GROUP * stored);
        let (bias, multipliers) = (I32s::new(self.bias), F32s::new(self.multipliers));
        piece.bias = core::array::from_fn(|lane| bias.get(start + lane));
        piece.multipliers = core::array::from_fn(|lane| multipliers.get(start + lane));
    }
}

impl Piece {
    /// A piece of these rows, without channels.
    fn new(rows: &Rows<'_>, target: Target) -> Self {
        let reach = &rows.reach;
        let (segments, segment_step) =
            if reach.columns == 1 { (reach.rows, reach.row_step) } else { (reach.columns, reach.column_step) };
        let bytes = GROUP * reach.quads;
        let whole = bytes / WHOLE;
        let (_, _, zero_point) = target.limits();
        Self {
            x: core::ptr::null(),
            rows: 0,
            left: 0,
            columns: rows.columns,
            turn: rows.line_step.wrapping_sub(rows.columns * rows.step),
            next: rows.step.wrapping_sub((segments - 1) * segment_step + WHOLE * whole),
            step: rows.step,
            pairs: 0,
            segments,
            segment_step,
            gap: segment_step.wrapping_sub(WHOLE * whole),
            whole,
            tail: bytes % WHOLE,
            stride: 0,
            tail_stride: 0,
            weights: [0; 4],
            y: core::ptr::null_mut(),
            y_step: 0,
            bias: [0; 4],
            multipliers: [0.0; 4],
            zero_point: [zero_point; 8],
            octets: 0,
            octet_bias: core::ptr::null(),
            octet_multipliers: core::ptr::null(),
            hop: 0,
            other_hop: 0,
        }
    }

    /// The kernel for these segments and channels.
    fn kernel(&self) -> tile::Kernel {
        match (self.segments, self.whole, self.tail) {
            (1, 0, _) | (1, 1, 0) => tile::resident,
            (_, 0, _) => tile::short,
            (1, _, 0) if self.stride == BLOCK * WHOLE => tile::pointwise,
            (_, _, 0) if self.stride == BLOCK * WHOLE => tile::window,
            _ => tile::any,
        }
    }

    /// Pairs of rows, `count` rows in all, times four channels, of whose results `lanes` are stored.
    fn tiles(&mut self, y: &mut [i8], y_step: usize, count: usize, lanes: usize) {
        let kernel = self.kernel();
        if lanes == TILE {
            assert!((count - 1) * y_step + TILE <= y.len());
            (self.y, self.y_step, self.rows) = (y.as_mut_ptr(), y_step, count);
            // SAFETY: `Rows` has the rows, `place` has seen the weights, and there is room for the results.
            return unsafe { kernel(self) };
        }
        for (start, chunk) in (0..count).step_by(ROOM).zip(y.chunks_mut(ROOM * y_step)) {
            let mut room = [0; ROOM * TILE];
            (self.y, self.y_step, self.rows) = (room.as_mut_ptr(), TILE, ROOM.min(count - start));
            // SAFETY: as above; the room has as many positions.
            unsafe { kernel(self) };
            let results = room.chunks_exact(TILE).take(ROOM.min(count - start));
            for (y, results) in chunk.chunks_mut(y_step).zip(results) {
                y[..lanes].copy_from_slice(&results[..lanes]);
            }
        }
    }
}

/// The row at `piece.x` times all channels.
fn row(piece: &mut Piece, reach: &Reach, channels: &Channels<'_>, y: &mut [i8]) {
    let blocks = channels.count / BLOCK * BLOCK;
    for (start, end) in [(0, blocks), (blocks, channels.count / OCTET * OCTET)] {
        if start == end {
            continue;
        }
        channels.place(piece, reach, start);
        piece.octets = (end - start) / OCTET;
        piece.octet_bias = channels.bias[4 * start..4 * end].as_ptr().cast();
        piece.octet_multipliers = channels.multipliers[4 * start..4 * end].as_ptr().cast();
        (piece.hop, piece.other_hop) = (OCTET * GROUP, BLOCK * reach.packed_len() - OCTET * GROUP);
        piece.y = y[start..end].as_mut_ptr();
        // SAFETY: `Rows` has the row, `place` has seen the weights of the first block, and the others are there as
        // are bias, multipliers and results of all.
        unsafe { tile::octets(piece) };
    }
    // What is left is multiplied with the same row twice.
    (piece.next, piece.step, piece.turn, piece.columns) = (0, 0, 0, 2);
    let x = piece.x;
    for start in (channels.count / OCTET * OCTET..channels.count).step_by(TILE) {
        channels.place(piece, reach, start);
        (piece.x, piece.left) = (x, 2);
        let mut room = [0; 2 * TILE];
        piece.tiles(&mut room, TILE, 2, TILE);
        let lanes = TILE.min(channels.count - start);
        y[start..][..lanes].copy_from_slice(&room[..lanes]);
    }
}
