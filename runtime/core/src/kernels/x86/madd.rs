//! Int8 convolution with AVX2: bytes widened to 16 bits and multiplied in pairs by VPMADDWD, whose
//! 32-bit sums of two products cannot overflow (VPMADDUBSW would saturate).
//!
//! Three rows times 16 output channels in registers. A register of products holds two partial sums for
//! each of four channels; they meet when a block is finished.

use core::arch::x86_64::*;

use crate::kernels::rows::{Tile, for_each_rows};
use crate::kernels::{ConvI8Args, ConvOutput};
use crate::weights::{BLOCK, GROUP, LANES, block_width};

/// Rows multiplied at once.
const ROWS: usize = 3;
/// Registers of partial sums for one row of a block.
const PARTS: usize = BLOCK / LANES;

/// [`crate::plan::step::ConvI8`].
pub(super) fn conv(args: ConvI8Args<'_>) {
    if !args.weight_zero_points.is_empty() {
        // Rare: the sums of the rows are needed too.
        return super::avx2::conv_i8(args);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    unsafe { rows(args) }
}

#[target_feature(enable = "avx2")]
fn rows(args: ConvI8Args<'_>) {
    for_each_rows(args, |args, rows, weights| {
        rows.for_each_tile(|tile| match tile.count {
            1 => multiply::<1>(args, tile, rows.group, weights),
            2 => multiply::<2>(args, tile, rows.group, weights),
            _ => multiply::<3>(args, tile, rows.group, weights),
        })
    });
}

#[target_feature(enable = "avx2")]
fn multiply<const R: usize>(args: &mut ConvI8Args<'_>, tile: &Tile<'_, ROWS>, group: usize, weights: &[u8]) {
    let group_out = args.window.group_out();
    let length = tile.reach.packed_len();
    let mut base = 0;
    for start in (0..group_out).step_by(BLOCK) {
        let width = block_width(start, group_out);
        let block = &weights[base..][..width * length];
        base += width * length;
        let sums = products::<R>(tile, block, width);
        sums.iter()
            .enumerate()
            .for_each(|(row, sums)| store(args, tile, group, row, start, width.min(group_out - start), sums));
    }
}

/// `Σ x·w` of `R` rows from `first` with one block of `width` channels.
#[target_feature(enable = "avx2")]
fn products<const R: usize>(tile: &Tile<'_, ROWS>, block: &[u8], width: usize) -> [[i32; BLOCK]; R] {
    let mut sums = [[_mm256_setzero_si256(); PARTS]; R];
    let quads = tile.reach.quads;
    assert!(block.len() >= width * tile.reach.packed_len() && width <= BLOCK && width.is_multiple_of(LANES));
    let mut at = 0;
    let rows: [*const i8; R] = core::array::from_fn(|row| tile.pointer(row));
    tile.reach.for_each_segment(|offset| {
        for quad in 0..quads {
            // SAFETY: the segment has `quads` groups of 4 bytes.
            let x = rows.map(|row| unsafe { widened_quad(row.add(offset + quad * GROUP)) });
            // SAFETY: `width` groups of this quad lie inside the block, as asserted.
            let w = unsafe { block.as_ptr().add(at) };
            at += width * GROUP;
            if width == BLOCK {
                // SAFETY: as above.
                (0..PARTS).for_each(|part| unsafe { step(&mut sums, &x, w, part) });
            } else {
                // SAFETY: as above.
                (0..width / LANES).for_each(|part| unsafe { step(&mut sums, &x, w, part) });
            }
        }
    });
    sums.map(|sums| {
        let mut out = [0; BLOCK];
        for (half, out) in out.chunks_exact_mut(2 * LANES).enumerate() {
            // Pairs of partial sums: channels 0 1 4 5 and 2 3 6 7, put in order.
            let pairs = _mm256_hadd_epi32(sums[2 * half], sums[2 * half + 1]);
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
            // SAFETY: `out` has the 8 words that are written.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), ordered) };
        }
        out
    })
}

/// Adds the products with part `part` of a quad of weights at `w`.
///
/// # Safety
/// 16 bytes of the part can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn step<const R: usize>(sums: &mut [[__m256i; PARTS]; R], x: &[__m256i; R], w: *const u8, part: usize) {
    // SAFETY: the caller's promise.
    let w = unsafe { widened(w.add(part * LANES * GROUP)) };
    for (sums, x) in sums.iter_mut().zip(x) {
        sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(*x, w));
    }
}

/// Four bytes as 16-bit numbers, in all four lanes of 64 bits.
///
/// # Safety
/// 4 bytes from `bytes` on can be read.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn widened_quad(bytes: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(_mm_set1_epi32(unsafe { bytes.cast::<i32>().read_unaligned() }))
}

/// 16 bytes as 16-bit numbers.
///
/// # Safety
/// 16 bytes from `bytes` on can be read.
#[target_feature(enable = "avx2")]
unsafe fn widened(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// Requantizes and stores `lanes` channels from `start` of the group for one row.
#[target_feature(enable = "avx2")]
fn store(
    args: &mut ConvI8Args<'_>,
    tile: &Tile<'_, ROWS>,
    group: usize,
    row: usize,
    start: usize,
    lanes: usize,
    sums: &[i32; BLOCK],
) {
    let channel = group * args.window.group_out() + start;
    let place = (tile.first + row) * args.y_step + channel;
    let bias = args.bias.slice(channel, lanes).iter();
    let scaled = sums.iter().zip(bias).zip(args.multipliers.slice(channel, lanes).iter());
    let scaled = scaled.map(|((sum, bias), m)| sum.wrapping_add(bias) as f32 * m);
    match &mut args.y {
        ConvOutput::I8(y, target) => y[place..][..lanes].iter_mut().zip(scaled).for_each(|(y, v)| *y = target.store(v)),
        ConvOutput::F32(y) => y[place..][..lanes].iter_mut().zip(scaled).for_each(|(y, v)| *y = v),
    }
}
