//! Int8 convolution with AVX2 where many rows meet the same weights: these are looked at once, and most groups of four are
//! multiplied in twos.
//!
//! VPMADDUBSW gives sums of two products in 16 bits, `|x|·w` with the sign of `x` as in [`super::ymm`]. Sums of two groups
//! can be added in 16 bits, too, before VPMADDWD widens them, where the absolute values of the four weights concerned add
//! up to 255 at most: `128 · 255` fits. Weights of real models are small but for a few, so that nearly every group finds
//! another one that goes with it.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::finish::Finish256;
use super::panel::{self, PANEL_GROUP};
use super::ymm::{four, masks_of, weights_of};
use crate::kernels::ConvI8Args;
use crate::kernels::rows::Rows;
use crate::weights::{BLOCK, GROUP, block_width};

/// Rows multiplied at once: of single groups, and of two.
const ROWS: [usize; 2] = [5, 3];
/// Rows times groups that pay for a look at the weights.
const ENOUGH: usize = 6000;
/// Groups that a row should have for that: among fewer, hardly any go together.
const ENOUGH_GROUPS: usize = 16;
/// Groups of weights that are looked at together, on the stack.
const ROOM: usize = 8 << 10;
/// Blocks of channels that are looked at together.
const MOST_BLOCKS: usize = 32;
/// Groups among which others are looked for.
const CHUNK: usize = 128;
/// How often they are.
const PASSES: usize = 8;

/// Numbers of a block's groups: those that go together next to each other in front, the others from behind.
type Numbers = [MaybeUninit<u16>];

/// A block of channels that has been looked at.
#[derive(Clone, Copy, Default)]
struct Looked {
    /// Channels of the weights.
    width: usize,
    /// Bytes of weights in front of the block.
    start: usize,
    /// How many groups go together.
    paired: usize,
}

/// All rows and channels of a group of channels.
#[target_feature(enable = "avx2")]
pub(super) fn all_blocks(args: &mut ConvI8Args<'_>, rows: &Rows<'_>, weights: &[u8]) {
    let group_out = args.window.group_out();
    let quads = rows.reach.packed_len() / GROUP;
    let pays = rows.lines * rows.columns * quads >= ENOUGH && quads >= ENOUGH_GROUPS;
    let together = (ROOM / quads).clamp(1, MOST_BLOCKS);
    let mut numbers = [const { MaybeUninit::<u16>::uninit() }; ROOM];
    let mut looked = [Looked::default(); MOST_BLOCKS];
    for first in (0..group_out).step_by(together * BLOCK) {
        let count = (group_out - first).div_ceil(BLOCK).min(together);
        for (index, looked) in looked.iter_mut().enumerate().take(count) {
            let channel = first + index * BLOCK;
            let width = block_width(channel, group_out);
            let start = channel * quads * GROUP;
            let block = &weights[start..][..width * quads * GROUP];
            let numbers = &mut numbers[index * quads..][..quads];
            let paired = match width {
                _ if !pays => in_order(numbers),
                BLOCK => pairs::<2, true>(block, width, numbers),
                8 => pairs::<1, true>(block, width, numbers),
                4 => pairs::<1, false>(block, width, numbers),
                _ => pairs::<2, false>(block, width, numbers),
            };
            *looked = Looked { width, start, paired };
        }
        panel::for_each(rows, |rows| {
            for (index, looked) in looked.iter().enumerate().take(count) {
                let numbers = &numbers[index * quads..][..quads];
                let channel = first + index * BLOCK;
                match looked.width {
                    BLOCK => one_block::<2, true>(args, rows, channel, weights, looked, numbers),
                    8 => one_block::<1, true>(args, rows, channel, weights, looked, numbers),
                    4 => one_block::<1, false>(args, rows, channel, weights, looked, numbers),
                    _ => one_block::<2, false>(args, rows, channel, weights, looked, numbers),
                }
            }
        });
    }
}

/// All groups for themselves.
fn in_order(numbers: &mut Numbers) -> usize {
    numbers.iter_mut().enumerate().for_each(|(quad, number)| _ = number.write(quad as u16));
    0
}

/// Finds groups of a block that go together, and gives how many they are.
#[target_feature(enable = "avx2")]
fn pairs<const PARTS: usize, const FULL: bool>(block: &[u8], width: usize, numbers: &mut Numbers) -> usize {
    let masks = masks_of(width);
    let (mut front, mut back) = (0, numbers.len());
    let mut sums = [_mm256_setzero_si256(); CHUNK];
    for (chunk, weights) in block.chunks(CHUNK * width * GROUP).enumerate() {
        let mut left: [u16; CHUNK] = core::array::from_fn(|quad| quad as u16);
        let mut count = 0;
        for (weights, sums) in weights.chunks_exact(width * GROUP).zip(&mut sums) {
            // SAFETY: a chunk has the words that the masks let be read.
            *sums = sums_of(unsafe { weights_of::<PARTS, FULL>(weights.as_ptr(), &masks) });
            count += 1;
        }
        let of_chunk = |quad: u16| (chunk * CHUNK) as u16 + quad;
        for _ in 0..PASSES {
            // Each of the first half with one of the second. Those that are left mix, and meet others next time.
            let (half, before, mut kept) = (count / 2, left, 0);
            for index in 0..half {
                let (one, other) = (before[index], before[half + index]);
                let room = _mm256_xor_si256(sums[usize::from(one) % CHUNK], _mm256_set1_epi8(-1));
                let beyond = _mm256_subs_epu8(sums[usize::from(other) % CHUNK], room);
                // No branch: it would often be foreseen wrongly. What is written too much is written over.
                let together = _mm256_testz_si256(beyond, beyond) as usize;
                numbers[front].write(of_chunk(one));
                numbers[front + 1].write(of_chunk(other));
                front += 2 * together;
                (left[kept], left[kept + 1]) = (one, other);
                kept += 2 - 2 * together;
            }
            if count % 2 == 1 {
                left[kept] = before[count - 1];
                kept += 1;
            }
            count = kept;
        }
        for quad in &left[..count] {
            back -= 1;
            numbers[back].write(of_chunk(*quad));
        }
    }
    front
}

/// For each pair of weights the greatest sum of absolute values that its products can have, `w` or, where its bits are
/// flipped, `-w - 1`. 256 becomes 255: that fits for itself, since then the products of a pair are negative.
#[target_feature(enable = "avx2")]
#[inline]
fn sums_of<const PARTS: usize>(w: [__m256i; PARTS]) -> __m256i {
    let mut sums = [_mm256_setzero_si256(); 2];
    for part in 0..PARTS {
        let positive = _mm256_cmpgt_epi8(w[part], _mm256_set1_epi8(-1));
        let greatest = _mm256_sub_epi8(_mm256_abs_epi8(w[part]), positive);
        sums[part] = _mm256_maddubs_epi16(greatest, _mm256_set1_epi8(1));
    }
    _mm256_packus_epi16(sums[0], sums[1])
}

/// What [`products`] multiplies rows with.
struct Block<'a> {
    weights: *const u8,
    /// Bytes from one group to the next.
    quad_step: usize,
    masks: [__m256i; 2],
    paired: &'a [[MaybeUninit<u16>; 2]],
    others: &'a Numbers,
    /// Bytes from a row's start to what its signs leave out.
    groups: usize,
    /// Bytes from one row to the next.
    step: usize,
    finish: Finish256,
    /// Elements of the output from one position to the next.
    y_step: usize,
}

/// The rows of a panel with a block of channels from `start` of the group on.
#[target_feature(enable = "avx2")]
fn one_block<const PARTS: usize, const FULL: bool>(
    args: &mut ConvI8Args<'_>,
    rows: &Rows<'_>,
    start: usize,
    weights: &[u8],
    looked: &Looked,
    numbers: &Numbers,
) {
    let y_step = args.y_step;
    let group_out = args.window.group_out();
    let channel = rows.group * group_out + start;
    let (paired, others) = numbers.split_at(looked.paired);
    let block = Block {
        weights: weights[looked.start..][..looked.width * rows.reach.packed_len()].as_ptr(),
        quad_step: looked.width * GROUP,
        masks: masks_of(looked.width),
        paired: paired.as_chunks().0,
        others,
        groups: 2 * rows.reach.packed_len(),
        step: rows.step,
        finish: Finish256::new(args, channel, (group_out - start).min(BLOCK)),
        y_step,
    };
    if paired.is_empty() {
        return rows.for_each_run::<{ ROWS[0] }>(|x, count, position| {
            let multiply = match count {
                1 => products::<1, PARTS, FULL, false>,
                2 => products::<2, PARTS, FULL, false>,
                3 => products::<3, PARTS, FULL, false>,
                4 => products::<4, PARTS, FULL, false>,
                _ => products::<{ ROWS[0] }, PARTS, FULL, false>,
            };
            // SAFETY: the panel has these rows, and the output their positions.
            unsafe { multiply(&block, x, position * y_step + channel) };
        });
    }
    rows.for_each_run::<{ ROWS[1] }>(|x, count, position| {
        let multiply = match count {
            1 => products::<1, PARTS, FULL, true>,
            2 => products::<2, PARTS, FULL, true>,
            _ => products::<{ ROWS[1] }, PARTS, FULL, true>,
        };
        // SAFETY: as above.
        unsafe { multiply(&block, x, position * y_step + channel) };
    });
}

/// Multiplies `R` rows of a panel from `x` on, and stores the results from element `place` of the output on.
///
/// # Safety
/// The panel has these rows; the output has their positions.
#[target_feature(enable = "avx2")]
#[inline(never)]
unsafe fn products<const R: usize, const PARTS: usize, const FULL: bool, const PAIRED: bool>(
    block: &Block<'_>,
    x: *const i8,
    place: usize,
) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [block.finish.bias; R];
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: behind each row there is what its signs leave out.
        let left_out = unsafe { four(x.add(row * block.step + block.groups)) };
        *sums = [_mm256_add_epi32(sums[0], left_out), _mm256_add_epi32(sums[1], left_out)];
    }
    for pair in if PAIRED { block.paired } else { &[] } {
        // SAFETY: all numbers have been written, and each is that of a group of the block and of the rows.
        unsafe {
            let (first, second) = (usize::from(pair[0].assume_init()), usize::from(pair[1].assume_init()));
            let w = weights_of::<PARTS, FULL>(block.weights.add(first * block.quad_step), &block.masks);
            let v = weights_of::<PARTS, FULL>(block.weights.add(second * block.quad_step), &block.masks);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = x.add(row * block.step);
                let (first, second) = (x.add(first * PANEL_GROUP), x.add(second * PANEL_GROUP));
                let (absolute, signs) = (four(first), four(first.add(GROUP)));
                let mut pairs = [_mm256_setzero_si256(); PARTS];
                for (pairs, w) in pairs.iter_mut().zip(w) {
                    *pairs = _mm256_maddubs_epi16(absolute, _mm256_xor_si256(w, signs));
                }
                let (absolute, signs) = (four(second), four(second.add(GROUP)));
                for ((sum, pairs), v) in sums.iter_mut().zip(pairs).zip(v) {
                    let others = _mm256_maddubs_epi16(absolute, _mm256_xor_si256(v, signs));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_add_epi16(pairs, others), ones));
                }
            }
        }
    }
    for quad in block.others {
        // SAFETY: as above.
        unsafe {
            let quad = usize::from(quad.assume_init());
            let w = weights_of::<PARTS, FULL>(block.weights.add(quad * block.quad_step), &block.masks);
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = x.add(row * block.step + quad * PANEL_GROUP);
                let (absolute, signs) = (four(x), four(x.add(GROUP)));
                for (sum, w) in sums.iter_mut().zip(w) {
                    let pairs = _mm256_maddubs_epi16(absolute, _mm256_xor_si256(w, signs));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    // Written out: as a loop it would move all sums to memory, and keep them there throughout.
    macro_rules! store {
        ($($row:literal)*) => {$(
            if $row < R {
                // SAFETY: the caller's promise.
                unsafe { block.finish.store(place + $row * block.y_step, sums[$row]) };
            }
        )*};
    }
    store!(0 1 2 3 4);
}
