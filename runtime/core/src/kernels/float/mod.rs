//! Float convolutions and products in tiles that stay in vector registers, for any instruction set that fuses
//! multiplication and addition.
//!
//! Every result is one chain of fused multiply-additions, from the bias on in the order of the taps and
//! their channels, so that no bit depends on the tile that a result is computed in.

mod attention;
mod conv;
mod depthwise;
mod matmul;

use core::ops::Range;

pub(super) use self::attention::InVectors;
pub(super) use self::conv::{Strip, conv, next_tile, tile};
pub(super) use self::depthwise::depthwise;
pub(super) use self::matmul::{matmul, packs};
use super::ConvF32Args;
use crate::plan::step::Window;
use crate::weights::F32_BLOCK;

/// A register of float32 lanes.
///
/// # Safety
/// The functions may only be called where the CPU has the instruction set, and from functions compiled for
/// it. Pointers need no alignment; as many elements as each function says must be valid behind them.
pub(super) trait Vector: Copy {
    /// Lanes of the register; divides [`F32_BLOCK`].
    const LANES: usize;

    /// `value` in all lanes.
    unsafe fn splat(value: f32) -> Self;
    /// Reads [`Self::LANES`] elements.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes [`Self::LANES`] elements.
    unsafe fn store(self, to: *mut f32);
    /// Writes the first `count` lanes.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// `self + x·w`, rounded once.
    unsafe fn multiply_add(self, x: Self, w: Self) -> Self;
    /// `self · x`.
    unsafe fn multiply(self, x: Self) -> Self;
    /// `self + x·w`, product and sum rounded.
    unsafe fn add_product(self, x: Self, w: Self) -> Self;
    /// Registers for the elements of one query in attention: four queries' leave room for the operands.
    const ATTENTION_REGISTERS: usize;
    /// The lanes limited to `low..=high`.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
    /// How many blocks a strip takes of `blocks` that are left, for so many positions.
    fn strip_blocks(blocks: usize, positions: usize) -> usize;
    /// Computes positions `range` of a strip by [`tile`], in sizes that fill the registers.
    unsafe fn strip(strip: &Strip<'_>, range: Range<usize>);

    /// Adds `count` input channels of `R` positions, times their rows of the weights.
    #[inline(always)]
    unsafe fn accumulate<const R: usize, const N: usize>(
        sums: &mut [[Self; N]; R],
        x: [*const f32; R],
        weights: *const f32,
        block_len: usize,
        count: usize,
    ) {
        for channel in 0..count {
            // SAFETY: the caller's promise: `count` channels of each position, as many rows of each block.
            unsafe {
                let mut row = [Self::splat(0.0); N];
                for (index, row) in row.iter_mut().enumerate() {
                    *row = Self::load(weights.add(channel * F32_BLOCK + place::<Self>(index, block_len)));
                }
                for (sums, x) in sums.iter_mut().zip(x) {
                    let x = Self::splat(*x.add(channel));
                    for (sum, row) in sums.iter_mut().zip(row) {
                        *sum = sum.multiply_add(x, row);
                    }
                }
            }
        }
    }
}

/// Where register `index` of a row of weights starts, `block_len` being the length of a block.
#[inline(always)]
pub(super) fn place<V: Vector>(index: usize, block_len: usize) -> usize {
    let registers = F32_BLOCK / V::LANES;
    index / registers * block_len + index % registers * V::LANES
}

/// A window with what follows from it.
struct Shape<'a> {
    window: &'a Window,
    /// Output rows whose windows lie inside the image.
    rows: Range<usize>,
    /// Output columns whose windows lie inside the image.
    columns: Range<usize>,
}

impl<'a> Shape<'a> {
    /// # Panics
    /// When a slice is shorter than the window says, or the window is none that the verifier lets pass: all
    /// unsafe code here relies on it.
    fn checked(args: &ConvF32Args<'a>, weights: usize) -> Self {
        let w = args.window;
        let fields = [w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, w.groups];
        assert!(fields.iter().all(|field| (1..1 << 16).contains(field)) && w.pad_top.max(w.pad_left) < 1 << 16);
        let fits = |len: usize, sizes: [u32; 4]| {
            let needed = sizes.iter().try_fold(1, |len: usize, &size| len.checked_mul(size as usize));
            needed.is_some_and(|needed| needed <= len)
        };
        assert!(fits(args.x.len(), [w.batch, w.in_h, w.in_w, w.in_c]));
        assert!(fits(args.y.len(), [w.batch, w.out_h, w.out_w, w.out_c]));
        assert!(args.weights.len() >= weights && args.bias.len() >= w.out_c as usize);
        let inner = |out: u32, stride: u32, pad: u32, reach: u32, length: u32| {
            let end = (length as usize + pad as usize)
                .checked_sub(reach as usize)
                .map_or(0, |room| (room / stride as usize + 1).min(out as usize));
            (pad.div_ceil(stride) as usize).min(end)..end
        };
        let (reach_h, reach_w) = ((w.kernel_h - 1) * w.dilation_h + 1, (w.kernel_w - 1) * w.dilation_w + 1);
        Self {
            window: w,
            rows: inner(w.out_h, w.stride_h, w.pad_top, reach_h, w.in_h),
            columns: inner(w.out_w, w.stride_w, w.pad_left, reach_w, w.in_w),
        }
    }

    /// The input row and column of the first tap of an output row and column; outside in the padding.
    #[inline(always)]
    fn corner(&self, row: usize, column: usize) -> [isize; 2] {
        let w = self.window;
        let top = (row * w.stride_h as usize) as isize - w.pad_top as isize;
        [top, (column * w.stride_w as usize) as isize - w.pad_left as isize]
    }

    /// Elements in front of an input pixel.
    #[inline(always)]
    fn pixel(&self, image: usize, [row, column]: [isize; 2]) -> isize {
        let w = self.window;
        (((image * w.in_h as usize) as isize + row) * w.in_w as isize + column) * w.in_c as isize
    }
}

/// The window of a product: `rows` positions of `length` channels.
fn pointwise(rows: u32, length: u32, out_c: u32) -> Window {
    Window {
        batch: 1,
        in_h: 1,
        in_w: rows,
        in_c: length,
        out_h: 1,
        out_w: rows,
        out_c,
        kernel_h: 1,
        kernel_w: 1,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    }
}
