//! Panels: rows of an int8 convolution made ready to be multiplied with all channels by AVX2.
//!
//! A row of a panel is what the row reaches, packed, in groups of four: their absolute values, and their signs, all bits
//! set where the value is negative. Behind it there is the sum of the absolute values of the negative ones, an i32.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use crate::kernels::rows::{Reach, Rows};
use crate::plan::step::Window;
use crate::weights::{GROUP, Segments};

/// Bytes of a panel at most, on the stack.
const ROOM: usize = 48 << 10;
/// Bytes of a panel of more than a few rows: it stays in the first cache.
const ENOUGH: usize = 16 << 10;
/// Rows that should be in a panel: those multiplied at once.
const ROWS: usize = 5;

/// Bytes of a group: four absolute values and four signs.
pub(super) const PANEL_GROUP: usize = 2 * GROUP;

/// Bytes of a row of a panel.
fn row_len(packed_len: usize) -> usize {
    2 * packed_len + size_of::<i32>()
}

/// Whether there is room for a panel.
pub(super) fn fits(window: &Window) -> bool {
    row_len(Segments::of(window).packed_len()) <= ROOM
}

/// Whether rows meet enough channels, and are in few enough pieces.
pub(super) fn pays(window: &Window) -> bool {
    let segments = Segments::of(window);
    let enough = ROWS * row_len(segments.packed_len()) <= ROOM;
    enough && window.group_out() >= 16 && segments.padded >= 16 && window.positions() > 1
}

/// Calls `visit` with panels of all rows, as many rows at once as there is room for.
#[target_feature(enable = "avx2")]
pub(super) fn for_each(rows: &Rows<'_>, mut visit: impl FnMut(&Rows<'_>)) {
    let mut room = [const { MaybeUninit::<i8>::uninit() }; ROOM];
    let length = rows.reach.packed_len();
    let step = row_len(length);
    let most = (ENOUGH / step / ROWS * ROWS).max(ROWS).min(ROOM / step);
    let (mut line, mut column) = (0, 0);
    let positions = rows.lines * rows.columns;
    for first in (0..positions).step_by(most) {
        let columns = most.min(positions - first);
        let panel = &mut room[..columns * step];
        for to in panel.chunks_exact_mut(step) {
            // SAFETY: `Rows` has seen that the reach of each row can be read; `to` has room for it.
            unsafe { prepare(rows.pointer(line, column), &rows.reach, to) };
            column += 1;
            if column == rows.columns {
                (line, column) = (line + 1, 0);
            }
        }
        let reach = Reach { rows: 1, row_step: 0, columns: 1, column_step: 0, quads: length / GROUP };
        let (first, group) = (rows.first + first, rows.group);
        // SAFETY: all of its rows have been written.
        let elements = unsafe { core::slice::from_raw_parts(panel.as_ptr().cast(), panel.len()) };
        visit(&Rows { elements, start: 0, columns, step, lines: 1, line_step: 0, reach, first, group });
    }
}

/// Makes a row ready.
///
/// # Safety
/// The row can be read as far as the reach.
#[target_feature(enable = "avx2")]
unsafe fn prepare(row: *const i8, reach: &Reach, to: &mut [MaybeUninit<i8>]) {
    let length = reach.quads * GROUP;
    let all = reach.packed_len();
    assert!(to.len() >= row_len(all));
    let mut to = to.as_mut_ptr().cast::<i8>();
    let mut negative = _mm256_setzero_si256();
    reach.for_each_segment(|offset| {
        // SAFETY: the caller's promise, and what is asserted: `length` bytes of the row and room for
        // twice as many from here on.
        unsafe {
            let from = row.add(offset);
            let mut at = 0;
            while at + 32 <= length {
                let x = _mm256_loadu_si256(from.add(at).cast());
                let (absolute, signs) = parts(x, &mut negative);
                let even = _mm256_unpacklo_epi32(absolute, signs);
                let odd = _mm256_unpackhi_epi32(absolute, signs);
                let to = to.add(2 * at);
                _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(even, odd));
                _mm256_storeu_si256(to.add(32).cast(), _mm256_permute2x128_si256::<0x31>(even, odd));
                at += 32;
            }
            if at + 16 <= length {
                let x = _mm256_zextsi128_si256(_mm_loadu_si128(from.add(at).cast()));
                let (absolute, signs) = parts(x, &mut negative);
                let (absolute, signs) = (_mm256_castsi256_si128(absolute), _mm256_castsi256_si128(signs));
                let to = to.add(2 * at);
                _mm_storeu_si128(to.cast(), _mm_unpacklo_epi32(absolute, signs));
                _mm_storeu_si128(to.add(16).cast(), _mm_unpackhi_epi32(absolute, signs));
                at += 16;
            }
            while at < length {
                let x = _mm_cvtsi32_si128(from.add(at).cast::<i32>().read_unaligned());
                let (absolute, signs) = parts(_mm256_zextsi128_si256(x), &mut negative);
                let both = _mm_unpacklo_epi32(_mm256_castsi256_si128(absolute), _mm256_castsi256_si128(signs));
                _mm_storeu_si64(to.add(2 * at).cast(), both);
                at += GROUP;
            }
            to = to.add(2 * length);
        }
    });
    let halves = _mm_add_epi64(_mm256_castsi256_si128(negative), _mm256_extracti128_si256::<1>(negative));
    let sum = _mm_cvtsi128_si32(_mm_add_epi64(halves, _mm_unpackhi_epi64(halves, halves)));
    // SAFETY: `to` now is behind the groups, where there are 4 bytes.
    unsafe { to.cast::<i32>().write_unaligned(sum) };
}

/// Absolute values and signs; adds up the absolute values of those that are negative.
#[target_feature(enable = "avx2")]
#[inline]
fn parts(x: __m256i, negative: &mut __m256i) -> (__m256i, __m256i) {
    let (absolute, signs) = (_mm256_abs_epi8(x), _mm256_cmpgt_epi8(_mm256_setzero_si256(), x));
    *negative = _mm256_add_epi64(*negative, _mm256_sad_epu8(_mm256_and_si256(absolute, signs), _mm256_setzero_si256()));
    (absolute, signs)
}
