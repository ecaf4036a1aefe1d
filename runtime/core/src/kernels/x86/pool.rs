//! Greatest values of int8 windows, with AVX2: 128, 64 or 32 channels of a position in registers.

use core::arch::x86_64::*;
use core::ops::Range;

use crate::kernels::ReduceI8Args;
use crate::kernels::portable::pool::{Cover, cover};
use crate::plan::step::{Pool, PoolKind, Window};

/// Channels of a register.
const LANES: usize = 32;

/// [`Pool`] for greatest values, where there are registers full of channels; all others go to `otherwise`.
#[inline(always)]
pub(super) fn pool(args: ReduceI8Args<'_, Pool>, otherwise: fn(ReduceI8Args<'_, Pool>)) {
    let channels = args.step.window.out_c as usize;
    if args.step.kind != PoolKind::Max || channels < LANES {
        return otherwise(args);
    }
    // SAFETY: this function stands only in kernels that `available` gives out where AVX2 is there.
    unsafe { greatest(args) }
}

#[target_feature(enable = "avx2")]
fn greatest(args: ReduceI8Args<'_, Pool>) {
    let w = &args.step.window;
    let channels = w.out_c as usize;
    let line = w.in_w as usize * channels;
    let (stride, dilation_h, dilation_w) = (w.stride_w as usize, w.dilation_h as usize, w.dilation_w as usize);
    let whole = whole_columns(w);
    let images = args.x.chunks_exact((w.in_h as usize * line).max(1));
    let results = args.y.chunks_exact_mut((w.out_h as usize * w.out_w as usize * channels).max(1));
    for (x, y) in images.zip(results) {
        for (row, y) in y.chunks_exact_mut(w.out_w as usize * channels).enumerate() {
            let mut column = 0;
            while column < w.out_w as usize {
                let Cover { rows, columns, .. } = cover(args.step, row, column);
                let count = if whole.contains(&column) { whole.end - column } else { 1 };
                // The first tap inside may lie behind a padding.
                let top = row * w.stride_h as usize + rows.0 * dilation_h;
                let left = column * stride + columns.0 * dilation_w;
                let first = top.wrapping_sub(w.pad_top as usize).wrapping_mul(line);
                let first = first.wrapping_add(left.wrapping_sub(w.pad_left as usize).wrapping_mul(channels));
                let taps = Taps {
                    rows: rows.1 - rows.0,
                    columns: columns.1 - columns.0,
                    row_step: dilation_h * line,
                    column_step: dilation_w * channels,
                };
                let y = &mut y[column * channels..(column + count) * channels];
                column += count;
                if taps.rows == 0 || taps.columns == 0 {
                    y.fill(i8::MIN);
                    continue;
                }
                let run = Run { taps, count, x_step: stride * channels, y_step: channels };
                assert!(first + run.len() + channels <= x.len());
                let mut start = 0;
                while start < channels {
                    // The last register begins early enough to be full.
                    let at = start.min(channels - LANES);
                    let (x, y) = (x.as_ptr().wrapping_add(first + at), y[at..].as_mut_ptr());
                    // SAFETY: all taps of this many channels are inside, as asserted.
                    start += unsafe {
                        match channels - at {
                            128.. => run.store::<4>(x, y),
                            64.. => run.store::<2>(x, y),
                            _ => run.store::<1>(x, y),
                        }
                    };
                }
            }
        }
    }
}

/// The columns of results whose windows do not reach over the left or right edge.
fn whole_columns(w: &Window) -> Range<usize> {
    let reach = (w.kernel_w as usize - 1) * w.dilation_w as usize;
    let (stride, pad) = (w.stride_w as usize, w.pad_left as usize);
    let end = (w.in_w as usize + pad).checked_sub(reach).map_or(0, |room| room.div_ceil(stride));
    pad.div_ceil(stride)..end.min(w.out_w as usize)
}

/// Neighbouring positions of a line that see the same taps.
struct Run {
    taps: Taps,
    count: usize,
    /// Elements of the input from one position to the next.
    x_step: usize,
    /// Elements of the output from one position to the next.
    y_step: usize,
}

impl Run {
    /// Elements from the first tap of the first position to the last of the last.
    fn len(&self) -> usize {
        (self.count - 1) * self.x_step + self.taps.len()
    }

    /// Stores the greatest values of `N` registers of channels at all positions, and gives the number of channels.
    ///
    /// # Safety
    /// All taps from `x` on can be read, and as many channels written from `y` on at each position.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn store<const N: usize>(&self, x: *const i8, y: *mut i8) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.taps.rows, self.taps.columns) {
                // Loops of known length are written out.
                (3, 3) => self.store_taps::<N>(x, y, 3, 3),
                (2, 2) => self.store_taps::<N>(x, y, 2, 2),
                (rows, columns) => self.store_taps::<N>(x, y, rows, columns),
            }
        }
        N * LANES
    }

    /// The same for so many taps.
    ///
    /// # Safety
    /// As for [`Self::store`].
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn store_taps<const N: usize>(&self, x: *const i8, y: *mut i8, rows: usize, columns: usize) {
        for position in 0..self.count {
            let y = y.wrapping_add(position * self.y_step);
            // SAFETY: the caller's promise.
            let most = unsafe { self.taps.most::<N>(x.wrapping_add(position * self.x_step), rows, columns) };
            for (index, most) in most.into_iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { _mm256_storeu_si256(y.add(index * LANES).cast(), most) };
            }
        }
    }
}

/// The taps of a window that are inside the image.
struct Taps {
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl Taps {
    /// Elements from the first tap to the last.
    fn len(&self) -> usize {
        (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step
    }

    /// The greatest values of `N` registers of channels, of so many taps.
    ///
    /// # Safety
    /// The taps from `x` on can be read.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn most<const N: usize>(&self, x: *const i8, rows: usize, columns: usize) -> [__m256i; N] {
        let mut most = [_mm256_set1_epi8(i8::MIN); N];
        for row in 0..rows {
            for column in 0..columns {
                let x = x.wrapping_add(row * self.row_step + column * self.column_step);
                for (index, most) in most.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    *most = _mm256_max_epi8(*most, unsafe { _mm256_loadu_si256(x.add(index * LANES).cast()) });
                }
            }
        }
        most
    }
}
