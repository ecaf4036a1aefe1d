//! Where a convolution of stored integers finds its input, and how much room it needs to bring it there.

use crate::plan::step::Window;
use crate::weights::{BLOCK, Segments};

/// Elements behind the last line of scratch that kernels may read, though never use.
pub(super) const SLACK: usize = 16;

/// Where the rows of a convolution are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the input itself: no position sees padding.
    InPlace,
    /// In padded copies of the input lines that an output line sees; neighbouring rows overlap.
    Lines,
    /// In copies, one behind the other: for windows with gaps, whose lines would take too much room.
    Packed,
}

impl Source {
    /// The source for a convolution.
    #[must_use]
    pub fn of(window: &Window) -> Self {
        if window.is_inside() && window.group_in().is_multiple_of(4) {
            Self::InPlace
        } else if window.dilation_h == 1 && window.dilation_w == 1 {
            Self::Lines
        } else {
            Self::Packed
        }
    }

    /// The source for a depthwise convolution: packed rows are of no use to it.
    #[must_use]
    pub fn of_depthwise(window: &Window) -> Self {
        if window.is_inside() { Self::InPlace } else { Self::Lines }
    }

    /// Elements of scratch for `count` output lines ([`Source::Lines`]) or rows ([`Source::Packed`]) at once.
    #[must_use]
    pub fn scratch_len(self, window: &Window, count: usize) -> usize {
        match self {
            Self::InPlace => 0,
            Self::Lines => lines_seen(window, count).saturating_mul(line_len(window)).saturating_add(SLACK),
            Self::Packed => count.saturating_mul(Segments::of(window).packed_len()),
        }
    }
}

/// Tiles of six expanded rows for which a channel's weights are expanded, at most: more save little.
const MOST_TILES: usize = 8;
/// Bytes of expanded rows, at most: only microcontrollers use them, and the same plan runs elsewhere.
const MOST_EXPANDED: usize = 8 << 10;

/// Whether Cortex-M makes use of room for exactly so many rows expanded to 16 bits. It multiplies six, three or one at
/// a time; three tiles of six and more, and blocks of fewer than 16 channels, have one for the weights of a channel,
/// too.
fn expanded_rows(window: &Window, rows: usize) -> bool {
    let narrow = !window.group_out().is_multiple_of(BLOCK);
    let used = match rows {
        1 | 3 => true,
        6 => !narrow,
        7 => narrow,
        _ => rows % 6 == 1 && rows > 3 * 6,
    };
    used && if rows < 6 { rows } else { rows / 6 * 6 } <= window.positions()
}

/// Bytes of scratch that a convolution should have: what it must have, for as many output lines or rows at once as
/// `limit` allows, but no more than the step reads and writes; or some room for expanded rows within `limit`, if that is more.
/// `None` where it needs none and there is no room.
#[must_use]
pub fn useful_scratch(window: &Window, depthwise: bool, limit: usize) -> Option<usize> {
    let lines = useful_lines(window, depthwise, limit);
    let row = 2 * Segments::of(window).packed_len();
    let rows = (0..=6 * MOST_TILES + 1).rev().filter(|&rows| !depthwise && expanded_rows(window, rows));
    let expanded = rows.map(|rows| rows * row).find(|bytes| *bytes <= limit.min(MOST_EXPANDED)).unwrap_or(0);
    Some(lines.max(expanded)).filter(|bytes| *bytes > 0)
}

/// Elements of scratch that a convolution of int16 should have, `limit` being in bytes; otherwise as [`useful_scratch`].
#[must_use]
pub fn useful_scratch_i16(window: &Window, depthwise: bool, limit: usize) -> Option<usize> {
    Some(useful_lines(window, depthwise, limit / 2)).filter(|len| *len > 0)
}

/// Elements for as many output lines or rows at once as `limit` allows, at least one, but no more than the step reads and
/// writes.
fn useful_lines(window: &Window, depthwise: bool, limit: usize) -> usize {
    let source = if depthwise { Source::of_depthwise(window) } else { Source::of(window) };
    let most = match source {
        Source::InPlace => 0,
        Source::Lines => window.out_h as usize,
        Source::Packed => window.positions(),
    };
    let elements = |h: u32, w: u32, c: u32| window.batch as usize * h as usize * w as usize * c as usize;
    let moved = elements(window.in_h, window.in_w, window.in_c) + elements(window.out_h, window.out_w, window.out_c);
    let fits = |&count: &usize| source.scratch_len(window, count) <= limit.min(moved);
    let count = (1..=most).take_while(fits).last().unwrap_or(1);
    source.scratch_len(window, count)
}

/// Input lines that `count` output lines see.
pub(super) fn lines_seen(window: &Window, count: usize) -> usize {
    count.saturating_sub(1) * window.stride_h as usize
        + (window.kernel_h as usize).saturating_sub(1) * window.dilation_h as usize
        + 1
}

/// Elements of a padded line: from the first column that an output sees to the last one.
pub(super) fn line_len(window: &Window) -> usize {
    let last = (window.out_w as usize - 1) * window.stride_w as usize;
    let columns = last + (window.kernel_w as usize - 1) * window.dilation_w as usize + 1;
    columns.saturating_mul(window.in_c as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pointwise window of 25 × 5 positions, 64 channels both ways: 8,000 bytes read, as many written.
    const POINTWISE: Window = Window {
        batch: 1,
        in_h: 25,
        in_w: 5,
        in_c: 64,
        out_h: 25,
        out_w: 5,
        out_c: 64,
        kernel_h: 1,
        kernel_w: 1,
        stride_h: 1,
        stride_w: 1,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: 0,
        pad_left: 0,
        groups: 1,
    };

    #[test]
    fn useful_scratch_is_what_a_step_can_use_within_the_limit() {
        let single = Window { in_h: 1, in_w: 1, out_h: 1, out_w: 1, in_c: 640, out_c: 128, ..POINTWISE };
        let kernel = Window { kernel_h: 3, kernel_w: 3, pad_top: 1, pad_left: 1, ..POINTWISE };
        let depthwise = Window { groups: 64, ..kernel };
        let narrow = Window { out_c: 24, ..POINTWISE };
        let few = Window { in_h: 5, out_h: 5, ..POINTWISE };
        // A row of 64 channels takes 128 bytes at 16 bits, one of 3 × 3 × 64 takes 1,152. A padded line of 7 × 64 takes
        // 448, and an output line sees 3.
        let cases = [
            (POINTWISE, false, 65_536, Some(49 * 128)),
            (POINTWISE, false, 49 * 128 - 1, Some(43 * 128)),
            (POINTWISE, false, 19 * 128 - 1, Some(6 * 128)),
            (narrow, false, 19 * 128 - 1, Some(7 * 128)),
            (narrow, false, 7 * 128 - 1, Some(3 * 128)),
            // 25 positions are four tiles of six.
            (few, false, 65_536, Some(3_200)),
            (few, false, 3_199, Some(19 * 128)),
            (POINTWISE, false, 767, Some(3 * 128)),
            (POINTWISE, false, 383, Some(128)),
            (POINTWISE, false, 127, None),
            (single, false, 65_536, Some(1_280)),
            (single, false, 1_279, None),
            (kernel, false, 6_912, Some(6_912)),
            (kernel, false, 6_911, Some(15 * 448 + 16)),
            (kernel, false, 0, Some(3 * 448 + 16)),
            (depthwise, true, 4_096, Some(9 * 448 + 16)),
            (depthwise, true, 65_536, Some(27 * 448 + 16)),
        ];
        for (window, depthwise, limit, expected) in cases {
            assert_eq!(useful_scratch(&window, depthwise, limit), expected, "{window:?} within {limit}");
        }
    }
}
