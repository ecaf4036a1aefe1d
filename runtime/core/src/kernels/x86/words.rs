//! Int8 convolution with AVX2 of short rows, first layers for example: as 16-bit numbers.
//!
//! VPMADDWD of pairs of words is exact whatever the bytes: it takes fewer instructions than products of bytes, with their
//! signs apart, where rows are too short for what [`super::paired`] does, and wastes less where a segment is not a whole
//! number of groups.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::finish::Finish256;
use super::pairs::{add_pairs, pair_of};
use super::ymm::{masks_of, weights_of};
use crate::kernels::ConvI8Args;
use crate::kernels::rows::Rows;
use crate::plan::step::Window;
use crate::weights::{BLOCK, GROUP, Segments, block_width};

/// Rows multiplied at once.
const ROWS: usize = 6;
/// Pairs of words of a row at most.
const MOST_PAIRS: usize = 32;
/// Words of input that are made of bytes together, on the stack: they stay in the first cache.
const ROOM: usize = 12 << 10;

/// Pairs of words of a segment, and of a row.
fn pairs_of(window: &Window) -> (usize, usize) {
    let segments = Segments::of(window);
    let pairs = segments.len.div_ceil(2);
    (pairs, pairs * segments.count)
}

/// Whether rows are short, and there is room for some of them.
pub(super) fn pays(args: &ConvI8Args<'_>, rows: &Rows<'_>) -> bool {
    let fits = (ROWS - 1) * rows.step + rows.reach.len() <= ROOM;
    (1..=MOST_PAIRS).contains(&pairs_of(args.window).1) && fits && rows.lines * rows.columns > 1
}

/// All rows and channels of a group of channels, of a convolution that [`pays`].
#[target_feature(enable = "avx2")]
pub(super) fn all_blocks(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let mut room = [const { MaybeUninit::<i16>::uninit() }; ROOM];
    let &Rows { step, line_step, reach, group, .. } = rows;
    let length = |columns: usize| (columns - 1) * step + reach.len();
    let (columns, lines) = match rows.columns {
        columns if length(columns) <= ROOM => (columns, 1 + (ROOM - length(columns)) / line_step.max(1)),
        _ => (((ROOM - reach.len()) / step + 1) / ROWS * ROWS, 1),
    };
    for line in (0..rows.lines).step_by(lines) {
        let lines = lines.min(rows.lines - line);
        for column in (0..rows.columns).step_by(columns) {
            let columns = columns.min(rows.columns - column);
            let all = (lines - 1) * line_step + length(columns);
            // SAFETY: `Rows` has seen that its rows can be read, from the first of these to the end of the last.
            let bytes = unsafe { core::slice::from_raw_parts(rows.pointer(line, column), all) };
            let elements = widen(bytes, &mut room);
            let first = rows.first + line * rows.columns + column;
            let rows = Rows { elements, start: 0, columns, step, lines, line_step, reach, first, group };
            blocks_of(args, &rows, weights);
        }
    }
}

/// Bytes as words, in `room`.
#[target_feature(enable = "avx2")]
fn widen<'r>(bytes: &[i8], room: &'r mut [MaybeUninit<i16>; ROOM]) -> &'r [i16] {
    const WIDE: usize = 16;
    let room = &mut room[..bytes.len()];
    let (whole, rest) = bytes.as_chunks::<WIDE>();
    let (to, to_rest) = room.as_chunks_mut::<WIDE>();
    for (bytes, to) in whole.iter().zip(to) {
        // SAFETY: 16 bytes are read, and 16 words written.
        unsafe {
            let words = _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm256_storeu_si256(to.as_mut_ptr().cast(), words);
        }
    }
    rest.iter().zip(to_rest).for_each(|(&byte, to)| _ = to.write(i16::from(byte)));
    // SAFETY: all of it has been written.
    unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), room.len()) }
}

/// Rows of words with all blocks of channels.
#[target_feature(enable = "avx2")]
fn blocks_of(args: &mut ConvI8Args<'_>, rows: &Rows<'_, i16>, weights: &[u8]) {
    let group_out = args.window.group_out();
    let mut rest = weights;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let (block, behind) = rest.split_at(width * rows.reach.packed_len());
        rest = behind;
        match width {
            BLOCK => one_block::<2, true>(args, rows, start, block, width),
            8 => one_block::<1, true>(args, rows, start, block, width),
            4 => one_block::<1, false>(args, rows, start, block, width),
            _ => one_block::<2, false>(args, rows, start, block, width),
        }
    }
}

/// What [`products`] multiplies rows with.
struct Block {
    /// By pair, the words of 16 channels.
    weights: [[__m256i; 2]; MOST_PAIRS],
    /// By pair, where it is in a row.
    places: [usize; MOST_PAIRS],
    pairs: usize,
    /// Words from one row to the next.
    step: usize,
    finish: Finish256,
    /// Elements of the output from one position to the next.
    y_step: usize,
}

/// All rows with the block of channels from `start` of the group on.
#[target_feature(enable = "avx2")]
fn one_block<const PARTS: usize, const FULL: bool>(
    args: &mut ConvI8Args<'_>,
    rows: &Rows<'_, i16>,
    start: usize,
    weights: &[u8],
    width: usize,
) {
    let y_step = args.y_step;
    let group_out = args.window.group_out();
    let channel = rows.group * group_out + start;
    let (segment, pairs) = pairs_of(args.window);
    let finish = Finish256::new(args, channel, (group_out - start).min(BLOCK));
    let (nothing, places, step) = ([_mm256_setzero_si256(); 2], [0; MOST_PAIRS], rows.step);
    let mut block = Block { weights: [nothing; MOST_PAIRS], places, pairs, step, finish, y_step };
    let masks = masks_of(width);
    let quad_step = width * GROUP;
    let mut quads = weights.chunks_exact(quad_step);
    let mut first = 0;
    rows.reach.for_each_segment(|offset| {
        for (pair, quad) in (0..segment).step_by(2).zip(&mut quads) {
            // SAFETY: a chunk has the words that the masks let be read.
            let quad = unsafe { weights_of::<PARTS, FULL>(quad.as_ptr(), &masks) };
            for (part, &quad) in quad.iter().enumerate() {
                block.weights[first + pair][part] = pair_of::<0>(quad);
                if pair + 1 < segment {
                    block.weights[first + pair + 1][part] = pair_of::<1>(quad);
                }
            }
        }
        for pair in 0..segment {
            block.places[first + pair] = offset + 2 * pair;
        }
        first += segment;
    });
    rows.for_each_run::<ROWS>(|x, count, position| {
        let multiply = match count {
            1 => products::<1, PARTS>,
            2 => products::<2, PARTS>,
            3 => products::<3, PARTS>,
            4 => products::<4, PARTS>,
            5 => products::<5, PARTS>,
            _ => products::<ROWS, PARTS>,
        };
        // SAFETY: the rows have these pairs, and the output has their positions.
        unsafe { multiply(&block, x, position * y_step + channel) };
    });
}

/// Multiplies `R` rows from `x` on, and stores the results from element `place` of the output on.
///
/// # Safety
/// The rows have the pairs of the block; the output has their positions.
#[target_feature(enable = "avx2")]
#[inline(never)]
unsafe fn products<const R: usize, const PARTS: usize>(block: &Block, x: *const i16, place: usize) {
    let mut sums = [block.finish.bias; R];
    for (weights, place) in block.weights.iter().zip(&block.places).take(block.pairs) {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = _mm256_set1_epi32(unsafe { x.add(row * block.step + place).cast::<i32>().read_unaligned() });
            for (sums, &weights) in sums.iter_mut().zip(weights).take(PARTS) {
                *sums = add_pairs(*sums, x, weights);
            }
        }
    }
    // Written out: as a loop it would move all sums to memory, and keep them there throughout.
    macro_rules! store {
        ($($row:literal)*) => {$(
            // SAFETY: the caller's promise.
            unsafe {
                if $row + 1 < R {
                    block.finish.store_two(place + $row * block.y_step, block.y_step, [sums[$row], sums[$row + 1]]);
                } else if $row < R {
                    block.finish.store(place + $row * block.y_step, sums[$row]);
                }
            }
        )*};
    }
    store!(0 2 4);
}
