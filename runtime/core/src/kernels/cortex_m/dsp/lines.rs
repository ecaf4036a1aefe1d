//! Padded copies of input lines for a depthwise convolution.

use core::ops::Range;

use crate::kernels::source::Source;
use crate::plan::step::Window;

/// Output lines of one image, and the padded input lines that they see.
pub(super) struct Strip {
    /// The first input line.
    pub lines: *const i8,
    /// Bytes from one input line to the next.
    pub pitch: usize,
    /// The first output position.
    pub first: usize,
    /// Output lines.
    pub count: usize,
}

/// The input of a depthwise convolution.
pub(super) struct Lines<'a> {
    pub window: &'a Window,
    pub x: &'a [i8],
    pub zero_point: i8,
}

impl Lines<'_> {
    /// Calls `visit` with strips that cover all output lines; `None` when the scratch is too small for one, or the
    /// input for the window.
    pub fn for_each_strip(&self, scratch: &mut [i8], mut visit: impl FnMut(&Strip)) -> Option<()> {
        let w = self.window;
        let (out_h, in_h) = (w.out_h as usize, w.in_h as usize);
        let in_place = Source::of_depthwise(w) == Source::InPlace;
        let columns =
            (w.out_w as usize - 1) * w.stride_w as usize + (w.kernel_w as usize - 1) * w.dilation_w as usize + 1;
        let pitch = if in_place { w.in_w as usize } else { columns } * w.in_c as usize;
        let stride = w.stride_h as usize;
        let seen = (w.kernel_h as usize - 1) * w.dilation_h as usize + 1;
        let image_bytes = in_h * w.in_w as usize * w.in_c as usize;
        let most = if in_place {
            out_h
        } else {
            let room = scratch.len().checked_div(pitch)?;
            (room.checked_sub(seen)?.checked_div(stride)? + 1).min(out_h)
        };
        if self.x.len() < image_bytes * w.batch as usize {
            return None;
        }
        for image in 0..w.batch as usize {
            let x = self.x.as_ptr().wrapping_add(image * image_bytes);
            let mut kept = 0..0;
            let mut line = 0;
            while line < out_h {
                let count = most.min(out_h - line);
                let first = (image * out_h + line) * w.out_w as usize;
                let wanted = line * stride..(line + count - 1) * stride + seen;
                if in_place {
                    visit(&Strip { lines: x, pitch, first, count });
                } else {
                    // SAFETY: there is room for the wanted lines; the image lies in the input.
                    unsafe { self.bring(x, &kept, &wanted, pitch, scratch.as_mut_ptr()) };
                    visit(&Strip { lines: scratch.as_ptr(), pitch, first, count });
                }
                kept = wanted;
                line += count;
            }
        }
        Some(())
    }

    /// Brings the wanted lines, counted from the first one of the padding, to `to`, where the kept ones are.
    ///
    /// # Safety
    /// There is room for the lines wanted, `pitch` bytes each. `x` is an image of the window.
    unsafe fn bring(&self, x: *const i8, kept: &Range<usize>, wanted: &Range<usize>, pitch: usize, to: *mut i8) {
        let w = self.window;
        let in_line = w.in_w as usize * w.in_c as usize;
        let before = (w.pad_left as usize).saturating_mul(w.in_c as usize).min(pitch);
        let inside = (pitch - before).min(in_line);
        let mut to = to;
        for line in wanted.clone() {
            // SAFETY: a kept line moves by whole lines to the front; the others come from the image.
            unsafe {
                if kept.contains(&line) {
                    let from = to.wrapping_add((wanted.start - kept.start) * pitch);
                    from.copy_to_nonoverlapping(to, pitch);
                } else if let Some(line) = line.checked_sub(w.pad_top as usize)
                    && line < w.in_h as usize
                {
                    to.write_bytes(self.zero_point.cast_unsigned(), before);
                    x.add(line * in_line).copy_to_nonoverlapping(to.add(before), inside);
                    to.add(before + inside).write_bytes(self.zero_point.cast_unsigned(), pitch - before - inside);
                } else {
                    to.write_bytes(self.zero_point.cast_unsigned(), pitch);
                }
            }
            to = to.wrapping_add(pitch);
        }
    }
}
