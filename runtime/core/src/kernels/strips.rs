//! Strips: output lines of a convolution whose padded input lines are in scratch at the same time.

use core::ops::Range;

use super::source::{SLACK, Source, line_len, lines_seen};
use crate::kernels::view::{copy, fill, part, part_mut};
use crate::plan::step::Window;

/// Output lines of one image whose rows can be read, in place or from scratch.
pub(crate) struct Strip<'a, E = i8> {
    /// The input lines.
    pub elements: &'a [E],
    /// Elements from one input line to the next.
    pub pitch: usize,
    /// The output position of the first row.
    pub first: usize,
    /// Output lines.
    pub lines: usize,
}

/// Calls `visit` with strips that cover all output lines; `copy_line` copies what both places have room for.
#[inline(always)]
pub(crate) fn for_each_strip<E: Copy>(
    window: &Window,
    source: Source,
    x: &[E],
    x_zero_point: E,
    scratch: &mut [E],
    copy_line: impl Fn(&mut [E], &[E]),
    mut visit: impl FnMut(Strip<'_, E>),
) {
    if cfg!(target_os = "none") {
        strips_once(window, source, x, x_zero_point, scratch, &copy_line, &mut visit);
    } else {
        strips(window, source, x, x_zero_point, scratch, copy_line, visit);
    }
}

/// [`strips`] for all kernels in one place: where code is dear.
#[inline(never)]
fn strips_once<E: Copy>(
    window: &Window,
    source: Source,
    x: &[E],
    x_zero_point: E,
    scratch: &mut [E],
    copy_line: &dyn Fn(&mut [E], &[E]),
    visit: &mut dyn FnMut(Strip<'_, E>),
) {
    strips(window, source, x, x_zero_point, scratch, copy_line, visit);
}

/// See [`for_each_strip`].
#[inline(always)]
fn strips<E: Copy>(
    window: &Window,
    source: Source,
    x: &[E],
    x_zero_point: E,
    scratch: &mut [E],
    copy_line: impl Fn(&mut [E], &[E]),
    mut visit: impl FnMut(Strip<'_, E>),
) {
    let (out_h, out_w) = (window.out_h as usize, window.out_w as usize);
    let image_len = window.in_h as usize * window.in_w as usize * window.in_c as usize;
    for (image, x) in x.chunks_exact(image_len.max(1)).enumerate().take(window.batch as usize) {
        let first = image * out_h * out_w;
        if source == Source::InPlace {
            let pitch = window.in_w as usize * window.in_c as usize;
            visit(Strip { elements: x, pitch, first, lines: out_h });
            continue;
        }
        let (pitch, step) = (line_len(window).max(1), window.stride_h.max(1) as usize);
        let Some(most) = lines_at_once(window, scratch.len()) else { return };
        let mut kept = 0..0_usize;
        for line in (0..out_h).step_by(most) {
            let lines = most.min(out_h - line);
            let wanted = line * step..line * step + lines_seen(window, lines);
            // Lines that the strip before has brought move to the front.
            let have = kept.end.saturating_sub(wanted.start).min(wanted.len());
            if have > 0 {
                let from = (wanted.start - kept.start) * pitch;
                move_to_front(scratch, from, have * pitch);
            }
            let new = scratch.get_mut(have * pitch..).unwrap_or_default();
            copy_lines(window, x, x_zero_point, wanted.start + have..wanted.end, pitch, new, &copy_line);
            visit(Strip { elements: scratch, pitch, first: first + line * out_w, lines });
            kept = wanted;
        }
    }
}

/// Output lines of a strip, where the input lines of one have room in so much scratch.
#[inline(always)]
pub(crate) fn lines_at_once(window: &Window, scratch: usize) -> Option<usize> {
    let room = scratch.saturating_sub(SLACK) / line_len(window).max(1);
    let further = room.checked_sub(lines_seen(window, 1))?;
    Some((further / window.stride_h.max(1) as usize + 1).clamp(1, window.out_h.max(1) as usize))
}

/// Moves `len` elements from `from` on to the front, in pieces that do not overlap.
#[inline(always)]
fn move_to_front<E: Copy>(elements: &mut [E], from: usize, len: usize) {
    for start in (0..len).step_by(from.max(1)) {
        if let Some((to, behind)) = elements.get_mut(start..).and_then(|rest| rest.split_at_mut_checked(from)) {
            copy(part_mut(to, 0, (len - start).min(from)), behind);
        }
    }
}

/// Copies input lines, counted from the first one of the padding, padded to the left and right.
#[inline(always)]
fn copy_lines<E: Copy>(
    window: &Window,
    x: &[E],
    zero_point: E,
    lines: Range<usize>,
    pitch: usize,
    out: &mut [E],
    copy_line: impl Fn(&mut [E], &[E]),
) {
    let channels = window.in_c as usize;
    let in_line = window.in_w as usize * channels;
    let before = (window.pad_left as usize).saturating_mul(channels).min(pitch);
    let inside = (pitch - before).min(in_line);
    // What is filled from one line of data to the next lies in one piece.
    let (mut filled, mut start) = (0, 0);
    for line in lines {
        if let Some(line) = line.checked_sub(window.pad_top as usize)
            && line < window.in_h as usize
        {
            let data = start + before;
            fill(out, filled..data, zero_point);
            copy_line(part_mut(out, data, inside), part(x, line * in_line, inside));
            filled = data + inside;
        }
        start += pitch;
    }
    fill(out, filled..start, zero_point);
}
