//! Int8 convolution with AVX2, 3 × 3 with stride 1, by minimal filtering: 36 products for sixteen positions in place of 144
//! (Lavin and Gray, arXiv:1509.09308, `F(4 × 4, 3 × 3)`).
//!
//! `Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A` in integers: the rows of `24G` are divided by 1, 1, 1, 1, 1 and 4, so that two of them
//! times a weight fit 16 bits, and `Aᵀ` takes the rest:
//!
//! ```text
//!       4  0 -5  0  1  0           6  0  0
//!       0 -4 -4  1  1  0          -4 -4 -4            1  1  1  1  1  0
//! Bᵀ =  0  4 -4 -1  1  0     G' = -4  4 -4      A'ᵀ = 0  1 -1  2 -2  0
//!       0 -2 -1  2  1  0           1  2  4            0  1  1  4  4  0
//!       0  2 -1 -2  1  0           1 -2  4            0  1 -1  8 -8  4
//!       0  4  0 -5  0  1           0  0  6
//! ```
//!
//! gives `576Y`, modulo 2³². That is exact: times the inverse of 9 it is `64Y`, and `|Y| ≤ 9 · 64 · 128 · 128 < 2²⁵`. Of the
//! second and third row of `G'` the signs are turned. Each transformed element is one of 36 products of matrices, words by
//! words in pairs, some tiles of 4 × 4 positions times 16 channels in registers.

mod products;
mod transform;

use core::mem::MaybeUninit;

use products::{Product, store};
use transform::{transform_input, transform_weights};

use super::finish::Finish256;
use crate::kernels::ConvI8Args;
use crate::kernels::rows::Rows;
use crate::plan::step::Window;
use crate::weights::BLOCK;

/// Positions of a tile, and elements that they see, along each axis.
const TILE: usize = 4;
const SIDE: usize = TILE + 2;
/// Transformed elements of a tile, and of the weights of a channel.
const ELEMENTS: usize = SIDE * SIDE;
/// Tiles multiplied at once.
const TILES: usize = 6;
/// Input channels at most: `576Y` would be exact for more, but few tiles of them fit in [`ROOM`].
const MOST_CHANNELS: usize = 64;
/// Input channels whose weights are transformed at once.
const CHUNK: usize = 32;
/// Words of transformed input, on the stack.
const ROOM: usize = 8 * ELEMENTS * MOST_CHANNELS;
/// Words of the input channels that are transformed at once.
const WORDS: usize = 16;
/// Tiles of which products are kept: those multiplied at once, or a piece of more than a chunk of channels.
const KEPT: usize = ROOM / ELEMENTS / MOST_CHANNELS;
/// The inverse of 9 modulo 2³².
const NINTH: i32 = 954_437_177;

/// Transformed input that is written before it is read: by element, tile, channel.
type Input = [MaybeUninit<i16>; ROOM];
/// Transformed weights of a block: by element, pair of input channels, output channel, channel of the pair.
type Weights = [MaybeUninit<i16>; ELEMENTS * CHUNK * BLOCK];
/// The products of a tile: by element, output channel.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Products([[MaybeUninit<i32>; BLOCK]; ELEMENTS]);

impl Products {
    const NONE: Self = Self([[MaybeUninit::uninit(); BLOCK]; ELEMENTS]);
}

/// Whether a convolution is one of those that can take this way, and whether its rows are enough to pay for transformed
/// weights.
pub(super) fn pays(args: &ConvI8Args<'_>, rows: &Rows<'_>) -> bool {
    let Window { kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups, .. } = *args.window;
    let shape = [kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups] == [3, 3, 1, 1, 1, 1, 1];
    let (channels, out) = (args.window.in_c as usize, args.window.out_c as usize);
    let fits = channels.is_multiple_of(WORDS) && channels <= MOST_CHANNELS && out.is_multiple_of(BLOCK);
    // A tile costs as much as nine positions in the direct way, transformed weights as much as sixteen.
    shape && fits && rows.lines * rows.columns >= 9 * Tiles::new(rows).count + 16
}

/// The tiles of the rows, in lines from the left.
struct Tiles<'a, 'r> {
    rows: &'a Rows<'r>,
    /// Tiles of a line.
    columns: usize,
    count: usize,
}

impl<'a, 'r> Tiles<'a, 'r> {
    fn new(rows: &'a Rows<'r>) -> Self {
        let columns = rows.columns.div_ceil(TILE);
        Self { rows, columns, count: columns * rows.lines.div_ceil(TILE) }
    }

    /// The output line and column of a tile's first position.
    fn place(&self, tile: usize) -> (usize, usize) {
        (tile / self.columns * TILE, tile % self.columns * TILE)
    }

    /// Where the input of a tile is: its lines, and how far its columns are from their start. Those that no position of
    /// the output sees stand for others, whose results are not stored.
    #[inline(always)]
    fn input(&self, tile: usize) -> ([*const i8; SIDE], [usize; SIDE]) {
        let (line, column) = self.place(tile);
        let last = (self.rows.lines + 1, self.rows.columns + 1);
        let (mut lines, mut columns) = ([self.rows.pointer(0, 0); SIDE], [0; SIDE]);
        for (index, (start, distance)) in lines.iter_mut().zip(&mut columns).enumerate() {
            *start = start.wrapping_add((line + index).min(last.0) * self.rows.line_step);
            *distance = (column + index).min(last.1) * self.rows.step;
        }
        (lines, columns)
    }

    /// How many lines and columns of a tile there are in the output.
    #[inline(always)]
    fn extent(&self, (line, column): (usize, usize)) -> (usize, usize) {
        ((self.rows.lines - line).min(TILE), (self.rows.columns - column).min(TILE))
    }
}

/// A convolution that [`pays`], for these rows.
#[target_feature(enable = "avx2")]
pub(super) fn all_tiles(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let mut input: Input = [const { MaybeUninit::uninit() }; ROOM];
    let channels = args.window.in_c as usize;
    let tiles = Tiles::new(rows);
    let most = if channels > CHUNK { KEPT } else { ROOM / (ELEMENTS * channels) };
    // Pieces of about the same size.
    let piece = tiles.count.div_ceil(tiles.count.div_ceil(most));
    for first in (0..tiles.count).step_by(piece) {
        let count = piece.min(tiles.count - first);
        let step = count * channels;
        for tile in 0..count {
            let at = input[tile * channels..].as_mut_ptr().cast();
            // SAFETY: there is room for as many elements of `step` words; `Rows` has seen that all lines and
            // columns that a position sees can be read.
            unsafe { transform_input(tiles.input(first + tile), channels, at, step) };
        }
        all_blocks(args, &tiles, first..first + count, &input, weights);
    }
}

/// All output channels of some tiles, whose transformed input is given.
#[target_feature(enable = "avx2")]
fn all_blocks(
    args: &mut ConvI8Args<'_>,
    tiles: &Tiles<'_, '_>,
    range: core::ops::Range<usize>,
    input: &Input,
    weights: &[u8],
) {
    let channels = args.window.in_c as usize;
    let mut transformed = [const { MaybeUninit::uninit() }; ELEMENTS * CHUNK * BLOCK];
    let mut products = [Products::NONE; KEPT];
    let size = range.len().div_ceil(range.len().div_ceil(TILES));
    for (index, block) in weights.chunks_exact(9 * channels * BLOCK).enumerate() {
        let finish = Finish256::new(args, index * BLOCK, BLOCK);
        for start in (0..channels).step_by(CHUNK) {
            let count = CHUNK.min(channels - start);
            transform_weights(block, channels, start..start + count, &mut transformed);
            let weights = transformed.as_ptr().cast();
            let product = Product { channels, count, step: range.len() * channels, weights, goes_on: start > 0 };
            for first in (0..range.len()).step_by(size) {
                let count = size.min(range.len() - first);
                let kept = &mut products[if channels > CHUNK { first } else { 0 }..][..count];
                let x = input[first * channels + start..].as_ptr().cast();
                // SAFETY: input and weights have been transformed for all elements and channels of the chunk,
                // and the products of the chunk before are there.
                unsafe { product.tiles(x, kept) };
                if start + CHUNK < channels {
                    continue;
                }
                for (tile, products) in kept.iter().enumerate() {
                    let (line, column) = tiles.place(range.start + first + tile);
                    let position = tiles.rows.first + line * tiles.rows.columns + column;
                    let place = position * args.y_step + index * BLOCK;
                    let steps = (tiles.rows.columns * args.y_step, args.y_step);
                    // SAFETY: the products are complete; the output has these positions.
                    unsafe { store(&finish, products, place, steps, tiles.extent((line, column))) };
                }
            }
        }
    }
}
