//! Int8 convolution with AVX2, 3 × 3 with stride 1, by minimal filtering: 16 products for four positions in place of 36
//! (Lavin and Gray, arXiv:1509.09308, `F(2 × 2, 3 × 3)`).
//!
//! In integers it is exact: `Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A` with `2G` in place of `G` gives `4Y`. Each transformed element
//! is one of 16 products of matrices, words by words in pairs (VPMADDWD), six tiles of 2 × 2 positions times 16 channels
//! in registers.

#![allow(clippy::needless_range_loop, reason = "rows become columns, and closures over arrays are not always inlined")]

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::finish::Finish256;
use super::pairs::{add_pairs, pair_of};
use crate::kernels::ConvI8Args;
use crate::kernels::rows::Rows;
use crate::plan::step::Window;
use crate::weights::{BLOCK, GROUP};

/// Transformed elements of a tile, and of the weights of a channel.
const ELEMENTS: usize = 16;
/// Tiles multiplied at once.
const TILES: usize = 6;
/// Input channels at most: as many as there is room for on the stack. Then `4Y` is below `4 · 9 · 64 · 128 · 128`.
const MOST_CHANNELS: usize = 64;
/// Words of transformed input, on the stack.
const ROOM: usize = 24 << 10;
/// Words of the input channels that are transformed at once.
const WORDS: usize = 16;

/// Words that are written before they are read.
type Words<const N: usize> = [MaybeUninit<i16>; N];
/// The products of a tile: by element, channel.
type Products = [[__m256i; 2]; ELEMENTS];

/// Whether a convolution is one of those that can take this way, and whether its rows are enough to pay for transformed
/// weights.
pub(super) fn pays(args: &ConvI8Args<'_>, rows: &Rows<'_>) -> bool {
    let Window { kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups, .. } = *args.window;
    let shape = [kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups] == [3, 3, 1, 1, 1, 1, 1];
    let (channels, out) = (args.window.in_c as usize, args.window.out_c as usize);
    let fits = channels.is_multiple_of(WORDS) && channels <= MOST_CHANNELS && out.is_multiple_of(BLOCK);
    let tiles = rows.lines.div_ceil(2) * rows.columns.div_ceil(2);
    shape && fits && tiles >= 2 * TILES && 3 * rows.lines * rows.columns >= 8 * tiles
}

/// The tiles of the rows, in lines from the left.
struct Tiles<'a, 'r> {
    rows: &'a Rows<'r>,
    /// Tiles of a line.
    columns: usize,
    count: usize,
}

impl Tiles<'_, '_> {
    /// The output line and column of a tile's first position.
    fn place(&self, tile: usize) -> (usize, usize) {
        (tile / self.columns * 2, tile % self.columns * 2)
    }

    /// Where the input of a tile is: its four lines, and how far its four columns are from their start. Those that no
    /// position of the output sees stand for others, whose results are not stored.
    #[inline(always)]
    fn input(&self, tile: usize) -> ([*const i8; 4], [usize; 4]) {
        let (line, column) = self.place(tile);
        let last = (self.rows.lines + 1, self.rows.columns + 1);
        let (mut lines, mut columns) = ([self.rows.pointer(0, 0); 4], [0; 4]);
        for index in 0..4 {
            lines[index] = lines[index].wrapping_add((line + index).min(last.0) * self.rows.line_step);
            columns[index] = (column + index).min(last.1) * self.rows.step;
        }
        (lines, columns)
    }
}

/// A convolution that [`pays`], for these rows.
#[target_feature(enable = "avx2")]
pub(super) fn all_tiles(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let mut input: Words<ROOM> = [const { MaybeUninit::uninit() }; ROOM];
    let channels = args.window.in_c as usize;
    let columns = rows.columns.div_ceil(2);
    let tiles = Tiles { rows, columns, count: columns * rows.lines.div_ceil(2) };
    let most = ROOM / (ELEMENTS * channels);
    // Pieces of about the same size.
    let piece = tiles.count.div_ceil(tiles.count.div_ceil(most));
    for first in (0..tiles.count).step_by(piece) {
        let count = piece.min(tiles.count - first);
        let step = count * channels;
        for tile in 0..count {
            let at = input[tile * channels..].as_mut_ptr().cast();
            // SAFETY: there is room for 16 elements of `step` words; `Rows` has seen that all lines and columns that a
            // position sees can be read.
            unsafe { transform_input(tiles.input(first + tile), channels, at, step) };
        }
        all_blocks(args, &tiles, first..first + count, &input, weights);
    }
}

/// `Bᵀ·d·B` of one tile: element `e` of all channels goes to `to + e·step`.
///
/// # Safety
/// `channels` bytes of each of the 16 places can be read, and as many words written for each element.
#[target_feature(enable = "avx2")]
unsafe fn transform_input((lines, columns): ([*const i8; 4], [usize; 4]), channels: usize, to: *mut i16, step: usize) {
    for channel in (0..channels).step_by(WORDS) {
        macro_rules! line {
            ($row:literal) => {{
                let mut line = [_mm256_setzero_si256(); 4];
                for column in 0..4 {
                    // SAFETY: the caller's promise.
                    line[column] = unsafe { widened(lines[$row].add(columns[column] + channel).cast()) };
                }
                line
            }};
        }
        // A line of `Bᵀ·d` at a time, and the same for its columns: more would not stay in registers.
        macro_rules! store {
            ($row:literal, $combine:ident, $a:ident, $b:ident) => {
                let mut line = [_mm256_setzero_si256(); 4];
                for column in 0..4 {
                    line[column] = $combine($a[column], $b[column]);
                }
                let words = input_of(line);
                for column in 0..4 {
                    // SAFETY: the caller's promise.
                    unsafe { _mm256_storeu_si256(to.add((4 * $row + column) * step + channel).cast(), words[column]) };
                }
            };
        }
        let (first, third) = (line!(0), line!(2));
        store!(0, _mm256_sub_epi16, first, third);
        let second = line!(1);
        store!(1, _mm256_add_epi16, second, third);
        store!(2, _mm256_sub_epi16, third, second);
        let fourth = line!(3);
        store!(3, _mm256_sub_epi16, second, fourth);
    }
}

/// `Bᵀ·d`.
#[target_feature(enable = "avx2")]
#[inline]
fn input_of([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    [_mm256_sub_epi16(a, c), _mm256_add_epi16(b, c), _mm256_sub_epi16(c, b), _mm256_sub_epi16(b, d)]
}

/// `2G·g`.
#[target_feature(enable = "avx2")]
#[inline]
fn weights_of([a, b, c]: [__m256i; 3]) -> [__m256i; 4] {
    let outer = _mm256_add_epi16(a, c);
    [_mm256_add_epi16(a, a), _mm256_add_epi16(outer, b), _mm256_sub_epi16(outer, b), _mm256_add_epi16(c, c)]
}

/// The first or the second of `Aᵀ·m`.
#[target_feature(enable = "avx2")]
#[inline]
fn results_of<const INDEX: usize>([a, b, c, d]: [__m256i; 4]) -> __m256i {
    match INDEX {
        0 => _mm256_add_epi32(_mm256_add_epi32(a, b), c),
        _ => _mm256_sub_epi32(_mm256_sub_epi32(b, c), d),
    }
}

/// 16 bytes as 16-bit numbers.
///
/// # Safety
/// 16 bytes from `bytes` on can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn widened(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// `2G·g·2Gᵀ` of a block: by element, pair of input channels, output channel, channel of the pair.
#[target_feature(enable = "avx2")]
fn transform_weights(block: &[u8], channels: usize, to: &mut Words<{ ELEMENTS * MOST_CHANNELS * BLOCK }>) {
    const QUAD: usize = BLOCK * GROUP;
    let quads = channels / GROUP;
    assert!(block.len() >= 9 * quads * QUAD && channels <= MOST_CHANNELS);
    let to = to.as_mut_ptr().cast::<i16>();
    for quad in 0..quads {
        // Eight output channels and two input channels at a time.
        for part in 0..4 {
            let (half, pair) = (part / 2, part % 2);
            let mut lines = [[_mm256_setzero_si256(); 3]; 4];
            for column in 0..3 {
                let mut g = [_mm256_setzero_si256(); 3];
                for row in 0..3 {
                    let at = ((3 * row + column) * quads + quad) * QUAD + half * 32;
                    // SAFETY: 9 taps of `quads` groups are in the block, as asserted.
                    let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(at).cast()) };
                    g[row] = if pair == 0 { pair_of::<0>(bytes) } else { pair_of::<1>(bytes) };
                }
                let g = weights_of(g);
                for row in 0..4 {
                    lines[row][column] = g[row];
                }
            }
            for row in 0..4 {
                let words = weights_of(lines[row]);
                for column in 0..4 {
                    let at = ((4 * row + column) * channels + quad * GROUP + 2 * pair) * BLOCK + half * 16;
                    // SAFETY: there is room for 16 elements of `channels` times 16 words.
                    unsafe { _mm256_storeu_si256(to.add(at).cast(), words[column]) };
                }
            }
        }
    }
}

/// All output channels of some tiles, whose transformed input is given.
#[target_feature(enable = "avx2")]
fn all_blocks(
    args: &mut ConvI8Args<'_>,
    tiles: &Tiles<'_, '_>,
    range: core::ops::Range<usize>,
    input: &Words<ROOM>,
    weights: &[u8],
) {
    let channels = args.window.in_c as usize;
    let mut transformed = [const { MaybeUninit::uninit() }; ELEMENTS * MOST_CHANNELS * BLOCK];
    let size = range.len().div_ceil(range.len().div_ceil(TILES));
    for (index, block) in weights.chunks_exact(9 * channels * BLOCK).enumerate() {
        let finish = Finish256::new(args, index * BLOCK, BLOCK);
        transform_weights(block, channels, &mut transformed);
        let weights = transformed.as_ptr().cast();
        let product = Product { channels, step: range.len() * channels, weights };
        let mut sums = [[[_mm256_setzero_si256(); 2]; ELEMENTS]; TILES];
        for first in range.clone().step_by(size) {
            let count = size.min(range.end - first);
            let multiply = match count {
                1 => Product::tiles::<1>,
                2 => Product::tiles::<2>,
                3 => Product::tiles::<3>,
                4 => Product::tiles::<4>,
                5 => Product::tiles::<5>,
                _ => Product::tiles::<TILES>,
            };
            let x = input[(first - range.start) * channels..].as_ptr().cast();
            // SAFETY: input and weights have been transformed for all elements and channels.
            unsafe { multiply(&product, x, &mut sums) };
            for tile in 0..count {
                let place = tiles.place(first + tile);
                store(&finish, tiles.rows, place, args.y_step, index * BLOCK, &sums[tile]);
            }
        }
    }
}

/// Transformed operands.
struct Product {
    /// Input channels.
    channels: usize,
    /// Words from one element of the transformed input to the next.
    step: usize,
    weights: *const i16,
}

impl Product {
    /// The products of `R` tiles from `x` on with 16 channels, for all elements.
    ///
    /// # Safety
    /// There are as many words of input and weights.
    #[target_feature(enable = "avx2")]
    unsafe fn tiles<const R: usize>(&self, x: *const i16, products: &mut [Products; TILES]) {
        let (mut x, mut w) = (x, self.weights);
        for element in 0..ELEMENTS {
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            for pair in (0..self.channels).step_by(2) {
                // SAFETY: the caller's promise.
                let weights = unsafe { [_mm256_loadu_si256(w.cast()), _mm256_loadu_si256(w.add(16).cast())] };
                w = w.wrapping_add(2 * BLOCK);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = x.wrapping_add(row * self.channels + pair).cast::<i32>();
                    // SAFETY: as above.
                    let x = _mm256_set1_epi32(unsafe { x.read_unaligned() });
                    *sums = [add_pairs(sums[0], x, weights[0]), add_pairs(sums[1], x, weights[1])];
                }
            }
            for (to, from) in products.iter_mut().zip(sums) {
                to[element] = from;
            }
            x = x.wrapping_add(self.step);
        }
    }
}

/// `Aᵀ·m·A` of one tile, requantized and stored at those of its positions that there are.
#[target_feature(enable = "avx2")]
fn store(
    finish: &Finish256,
    rows: &Rows<'_>,
    (line, column): (usize, usize),
    y_step: usize,
    channel: usize,
    m: &Products,
) {
    let position = rows.first + line * rows.columns + column;
    let both = column + 1 < rows.columns;
    macro_rules! line {
        ($row:literal) => {
            let mut sums = [[_mm256_setzero_si256(); 2]; 2];
            for half in 0..2 {
                let mut line = [_mm256_setzero_si256(); 4];
                for column in 0..4 {
                    let m = [m[column][half], m[4 + column][half], m[8 + column][half], m[12 + column][half]];
                    line[column] = results_of::<$row>(m);
                }
                let quarters = [results_of::<0>(line), results_of::<1>(line)];
                for index in 0..2 {
                    let quarter = _mm256_srai_epi32::<2>(quarters[index]);
                    sums[index][half] = _mm256_add_epi32(finish.bias[half], quarter);
                }
            }
            let place = (position + $row * rows.columns) * y_step + channel;
            // SAFETY: the output has this position, and the one behind it where there are two, with these channels.
            unsafe {
                if both {
                    finish.store_two(place, y_step, sums);
                } else {
                    finish.store(place, sums[0]);
                }
            }
        };
    }
    line!(0);
    if line + 1 < rows.lines {
        line!(1);
    }
}
