//! Int8 convolution: tiles of rows are expanded once, and multiplied with all channels.

use super::expand::{EXPANDED, Input, Position};
use super::operands::Operands;
use super::tile::{Job, Tile};
use crate::kernels::ConvI8Args;
use crate::kernels::cortex_m::plain;
use crate::weights::{BLOCK, GROUP, LANES, block_width};

/// See [`crate::plan::step::ConvI8`].
pub(super) fn conv(mut args: ConvI8Args<'_>) {
    let Some(operands) = Operands::of(&mut args) else {
        return plain::conv(args, false);
    };
    let window = *args.window;
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
    let tiles = Tiles { input, operands, rows: scratch.as_mut_ptr().cast(), weights: args.weights };
    let positions = window.positions();
    for group in 0..window.groups as usize {
        let (mut at, mut position) = (0, Position::default());
        while at < positions {
            let left = positions - at;
            let tile = match room.min(positions) {
                6.. if left > Tile::Three.rows() => Tile::Six,
                3.. => Tile::Three,
                1.. => Tile::One,
                0 => Tile::InPlace,
            };
            if tile.rows() > left {
                // The last tile begins early enough to be full.
                at = positions - tile.rows();
                position = tiles.input.position(at);
            }
            // SAFETY: there is room for the rows, and there are the positions.
            unsafe { tiles.multiply(tile, group, at, &mut position) };
            at += tile.rows();
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
    /// Multiplies the rows from position `first` on with all channels of a group; `position` moves on behind them.
    ///
    /// # Safety
    /// There is room for the rows, and there are the positions.
    unsafe fn multiply(&self, tile: Tile, group: usize, first: usize, position: &mut Position) {
        let window = self.input.window;
        let quads = self.input.quads();
        let rows = if tile == Tile::InPlace {
            let Some(row) = self.input.in_place(position, group) else { return };
            row
        } else {
            // SAFETY: there is room for the rows, as the caller says.
            unsafe { self.input.expand(position, group, self.rows, tile.rows()) };
            self.rows
        };
        let group_out = window.group_out();
        let stored = group_out.next_multiple_of(LANES) * GROUP * quads;
        let mut weights = self.weights.as_ptr().wrapping_add(group * stored);
        for start in (0..group_out).step_by(BLOCK) {
            let width = block_width(start, group_out);
            let channel = group * group_out + start;
            let y = self.operands.y.wrapping_add(first * self.operands.channels + channel);
            let lanes = width.min(group_out - start);
            let job = Job {
                end: rows.wrapping_byte_add(tile.quad_bytes() * quads),
                rows,
                skip: tile.skip(quads, width * GROUP),
                bias: self.operands.bias.wrapping_add(4 * channel),
                weights,
                multipliers: self.operands.multipliers.wrapping_add(4 * channel),
                zero_point: self.operands.zero_point,
                y,
                y_step: self.operands.channels,
                y_end: y.wrapping_add(lanes),
                quad_step: width * GROUP,
            };
            // SAFETY: the rows are there, and `Operands` has seen that the channels are.
            unsafe {
                match tile.rows() {
                    1 => one_row(tile, job, lanes),
                    _ => tile.multiply(&job),
                }
            }
            weights = weights.wrapping_add(width * GROUP * quads);
        }
    }
}

/// Multiplies one row with `lanes` channels; those behind the last four pass through memory of their own.
///
/// # Safety
/// As for [`Tile::multiply`], but any number of channels.
unsafe fn one_row(tile: Tile, mut job: Job, lanes: usize) {
    let (whole, rest) = (lanes / LANES * LANES, lanes % LANES);
    let (y, y_end) = (job.y, job.y.wrapping_add(whole));
    if whole > 0 {
        job.y_end = y_end;
        // SAFETY: as the caller says.
        unsafe { tile.multiply(&job) };
    }
    if rest == 0 {
        return;
    }
    let (mut bias, mut multipliers, mut results) = ([0_u32; LANES], [0_u32; LANES], [0_i8; LANES]);
    let (from, factors) = (job.bias.cast::<u32>(), job.multipliers.cast::<u32>());
    for lane in 0..rest {
        // SAFETY: as the caller says.
        unsafe { (bias[lane], multipliers[lane]) = (from.add(whole + lane).read(), factors.add(whole + lane).read()) };
    }
    job.bias = bias.as_ptr().cast();
    job.multipliers = multipliers.as_ptr().cast();
    job.weights = job.weights.wrapping_add(whole * GROUP);
    job.y = results.as_mut_ptr();
    job.y_end = job.y.wrapping_add(LANES);
    // SAFETY: weights are stored for multiples of four channels; all else is here.
    unsafe { tile.multiply(&job) };
    for (lane, result) in results.into_iter().take(rest).enumerate() {
        // SAFETY: as the caller says.
        unsafe { y_end.add(lane).write(result) };
    }
}
