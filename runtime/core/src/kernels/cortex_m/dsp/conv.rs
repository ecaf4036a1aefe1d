//! Int8 convolution: tiles of rows are expanded once, and multiplied with all channels.

use super::expand::{EXPANDED, Input, Position};
use super::many::{Many, expand_skip, many_tiles, multiply_skip};
use super::operands::Operands;
use super::tile::{Job, Tile};
use crate::kernels::ConvI8Args;
use crate::kernels::cortex_m::plain;
use crate::weights::{BLOCK, GROUP, LANES};

/// Rows of the largest tile.
const SIX: usize = Tile::Six.rows();
/// Such tiles for which it pays to expand the weights of a channel, at least.
const MANY: usize = 3;

/// See [`crate::plan::step::ConvI8`].
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    let Some(operands) = Operands::of(&mut args, false) else {
        return plain::conv(args, false);
    };
    let window = if args.window.is_pointwise() { args.window.as_one_line() } else { *args.window };
    let input = Input::new(&window, args.x, args.x_zero_point);
    let scratch = core::mem::take(&mut args.scratch);
    let row_bytes = input.quads() * EXPANDED;
    let aligned = scratch.as_ptr().addr().is_multiple_of(4);
    // Rows that can be expanded at once.
    let room = if aligned { scratch.len().checked_div(row_bytes).unwrap_or(0) } else { 0 };
    if room == 0 && !input.lies_in_place() {
        args.scratch = scratch;
        return plain::conv(args, false);
    }
    let buffer: *mut u32 = scratch.as_mut_ptr().cast();
    // Weights of a channel take as much room as a row. Without it blocks of fewer than 16 channels cannot have tiles of
    // six rows.
    let most = room.saturating_sub(1) / SIX;
    let narrow = !window.group_out().is_multiple_of(BLOCK);
    let rows = if most > 0 { buffer.wrapping_byte_add(row_bytes) } else { buffer };
    let tiles = Tiles { input, operands, buffer, rows, weights: args.weights.as_ptr() };
    let positions = window.positions();
    let sixes = positions >= SIX && room >= SIX && (most > 0 || !narrow);
    for group in 0..window.groups as usize {
        let (mut at, mut position) = (0, Position::default());
        while at < positions {
            let left = positions - at;
            // As few batches of tiles as there is room for, all of about the same size.
            let whole = left / SIX;
            let batches = whole.div_ceil(most.max(1)).max(1);
            let (tile, count) = match room.min(positions) {
                0 => (Tile::InPlace, 1),
                _ if operands.y_bytes > 1 => (Tile::One, 1),
                _ if sixes && most >= MANY && whole >= MANY * batches => (Tile::Six, whole.div_ceil(batches)),
                _ if sixes && left > Tile::Three.rows() => (Tile::Six, 1),
                3.. => (Tile::Three, 1),
                _ => (Tile::One, 1),
            };
            let rows = tile.rows() * count;
            if at + rows > positions {
                // The last tile begins early enough to be full.
                at = positions - rows;
                position = tiles.input.position(at);
            }
            // SAFETY: there is room for the rows, and there are the positions.
            unsafe { tiles.multiply(tile, count, group, at, &mut position) };
            at += rows;
        }
    }
    operands.clamp(&mut args);
}

/// The tiles of a convolution.
struct Tiles<'a> {
    input: Input<'a>,
    operands: Operands,
    /// Room for the weights of a channel, where tiles of six rows may be many or blocks narrow.
    buffer: *mut u32,
    /// Room for rows.
    rows: *mut u32,
    weights: *const u8,
}

impl Tiles<'_> {
    /// Multiplies the rows of `count` tiles, one but for tiles of six, from position `first` on with all channels of a
    /// group; `position` moves on behind them.
    ///
    /// # Safety
    /// There is room for the rows, and there are the positions.
    unsafe fn multiply(&self, tile: Tile, count: usize, group: usize, first: usize, position: &mut Position) {
        let window = self.input.window;
        let quads = self.input.quads();
        let rows = if tile == Tile::InPlace {
            let Some(row) = self.input.in_place(position, group) else { return };
            row
        } else {
            for index in 0..count {
                let rows = self.rows.wrapping_byte_add(index * tile.quad_bytes() * quads);
                // SAFETY: there is room for the rows, as the caller says.
                unsafe { self.input.expand(position, group, rows, tile.rows()) };
            }
            self.rows
        };
        let operands = &self.operands;
        let mut left = window.group_out();
        let channel = group * left;
        let mut job = Job {
            end: rows.wrapping_byte_add(tile.quad_bytes() * quads),
            rows,
            skip: tile.skip(quads),
            bias: operands.bias.wrapping_add(4 * channel),
            weights: self.weights.wrapping_add(group * left.next_multiple_of(LANES) * GROUP * quads),
            multipliers: operands.multipliers.wrapping_add(4 * channel),
            zero_point: operands.zero_point,
            y: operands.y.wrapping_add((first * operands.y_step + channel) * operands.y_bytes),
            y_step: if operands.y_bytes > 1 { 0 } else { operands.y_step },
            y_end: operands.y,
            quad_step: BLOCK * GROUP,
        };
        while left > 0 {
            let lanes = left.min(BLOCK);
            if lanes < BLOCK {
                job.quad_step = lanes.next_multiple_of(LANES) * GROUP;
            }
            job.y_end = job.y.wrapping_add(lanes * operands.y_bytes);
            // SAFETY: the rows are there, and `Operands` has seen that the channels are.
            unsafe {
                match tile {
                    Tile::Six if count > 1 || lanes < BLOCK => self.multiply_many(&job, count, quads),
                    Tile::One | Tile::InPlace if lanes % LANES != 0 => one_row(tile, &job, lanes, operands.y_bytes),
                    _ => tile.multiply(&job),
                }
            }
            job.bias = job.bias.wrapping_add(4 * BLOCK);
            job.weights = job.weights.wrapping_add(BLOCK * GROUP * quads);
            job.multipliers = job.multipliers.wrapping_add(4 * BLOCK);
            job.y = job.y_end;
            left -= lanes;
        }
    }

    /// Multiplies some tiles of six rows with the channels of a job.
    ///
    /// # Safety
    /// As for [`Tile::multiply`]; there is room for the weights of a channel.
    #[inline(never)]
    unsafe fn multiply_many(&self, job: &Job, count: usize, quads: usize) {
        let many = Many {
            buffer: self.buffer,
            multiply_skip: multiply_skip(quads),
            buffer_end: self.buffer.wrapping_byte_add(quads * EXPANDED),
            y_of_tile: job.y,
            y_step: job.y_step,
            zero_point: job.zero_point,
            rows_end: job.rows.wrapping_byte_add(count * Tile::Six.quad_bytes() * quads),
            y: job.y,
            y_end: job.y_end,
            factors: [0; 2],
            rows: job.rows,
            bias: job.bias,
            multipliers: job.multipliers,
            weights: job.weights,
            quad_step: job.quad_step,
            expand_skip: expand_skip(quads),
        };
        // SAFETY: as the caller says.
        unsafe { many_tiles(&many) };
    }
}

/// Multiplies one row with `lanes` channels; those behind the last four pass through memory of their own.
///
/// # Safety
/// As for [`Tile::multiply`], but any number of channels.
#[inline(never)]
unsafe fn one_row(tile: Tile, job: &Job, lanes: usize, y_bytes: usize) {
    let (whole, rest) = (lanes / LANES * LANES, lanes % LANES);
    let y_end = job.y.wrapping_add(whole * y_bytes);
    if whole > 0 {
        // SAFETY: as the caller says.
        unsafe { tile.multiply(&Job { y_end, ..*job }) };
    }
    let (mut bias, mut multipliers, mut results) = ([0_u32; LANES], [0_u32; LANES], [0_u32; LANES]);
    let (from, factors) =
        (job.bias.cast::<u32>().wrapping_add(whole), job.multipliers.cast::<u32>().wrapping_add(whole));
    for (lane, (bias, multiplier)) in bias.iter_mut().zip(&mut multipliers).enumerate().take(rest) {
        // SAFETY: as the caller says.
        unsafe { (*bias, *multiplier) = (from.add(lane).read(), factors.add(lane).read()) };
    }
    let y: *mut i8 = results.as_mut_ptr().cast();
    let job = Job {
        bias: bias.as_ptr().cast(),
        multipliers: multipliers.as_ptr().cast(),
        weights: job.weights.wrapping_add(whole * GROUP),
        y,
        y_end: y.wrapping_add(LANES * y_bytes),
        ..*job
    };
    // SAFETY: weights are stored for multiples of four channels; all else is here, and there is room in `results` for
    // four results of either type.
    unsafe {
        tile.multiply(&job);
        y_end.copy_from_nonoverlapping(y, rest * y_bytes);
    }
}
