//! Several threads at one step: how the work of convolutions and attention is cut, so that the bits stay the same.

mod attention;

use core::ops::Range;

use crate::bytes::{F32s, I32s};
use crate::kernels::source::Source;
use crate::kernels::view::{i8s_mut, i16s_inside};
use crate::kernels::{Bias, ConvF32Args, ConvI8Args, ConvI16Args, ConvI16Output, ConvOutput, ReduceArgs};
use crate::plan::step::{CachedAttention, Pool, Step, Window};
use crate::quantization::{Stored, Target, TargetI16};
use crate::weights::{BLOCK, F32_BLOCK, LANES, Segments};

pub(crate) use attention::attention;

/// Threads that work on one step together.
///
/// # Safety
/// [`Team::run`] calls the work once for each part, and does not come back before all calls have: the parts write to
/// memory that they own only as long, and no two of the same number may do so at the same time.
pub unsafe trait Team: core::fmt::Debug {
    /// How many there are, the calling one among them.
    fn size(&self) -> usize;

    /// Multiply-accumulates below which a step is not cut: waking another thread takes about as long, with
    /// [`crate::kernels::Kernels::least_work`] of the kernels in use. A quarter of it for depthwise steps and for those
    /// on float32, which do fewer at a time.
    fn least_work(&self) -> u64 {
        LEAST_WORK
    }

    /// Calls `work(part, room)` for all parts from 0 to `parts`, perhaps several at the same time, and comes back when
    /// all are done. `room` belongs to the thread; it has the size that [`crate::Plan::scratch_bytes`] names.
    fn run(&self, parts: usize, work: &(dyn Fn(usize, &mut [u8]) + Sync));
}

/// [`Team::least_work`] for kernels of no great speed.
pub(crate) const LEAST_WORK: u64 = 400_000;

/// How many times more multiply-accumulates of int8 than of float32 are done at a time.
const FLOAT_SHARE: u64 = 4;

/// Whether there may be a team: without an operating system there are no threads, and no code for them.
const THREADS: bool = !cfg!(target_os = "none");

/// Whether a team of two would cut the step, with so much work at least.
pub(crate) fn pays(step: &Step, least_work: u64) -> bool {
    let (window, dense) = match step {
        Step::ConvI8(s) => (&s.window, true),
        Step::DepthwiseI8(s) => (&s.window, false),
        Step::PartialConvI8(s) => (&s.conv.window, true),
        Step::IndexedConvI8(s) => (&s.conv.window, true),
        Step::SparseConvI8(s) => (&s.conv.window, true),
        Step::ConvI8Dynamic(s) => (&s.conv.window, true),
        Step::ConvI16(s) => (&s.window, true),
        Step::DepthwiseI16(s) => (&s.window, false),
        Step::ConvF32(s) => (&s.window, true),
        Step::DepthwiseF32(s) => (&s.window, false),
        Step::Pool(s) => (&s.window, false),
        Step::Attention(s) | Step::CachedAttention(CachedAttention { attention: s, .. }) => {
            return attention::Parts::of(s, s.keys as usize, 2, least_work).is_some();
        }
        _ => return false,
    };
    let share = if matches!(step, Step::ConvF32(_) | Step::DepthwiseF32(_)) { FLOAT_SHARE } else { 1 };
    Parts::of(window, dense, 2, least_work / share).is_some()
}

/// Parts that a team of `size` should do so much work in, `least` being the least for the whole; `None` when it is not worth
/// it.
fn parts_of(work: u64, least: u64, size: usize) -> Option<usize> {
    // More parts than threads, where each is still worth it: a thread may be late.
    let count = if work >= 4 * least * size as u64 { 2 * size } else { size };
    (size > 1 && work >= least).then_some(count)
}

/// What a window is cut along.
#[derive(Clone, Copy)]
enum Axis {
    /// Positions of a pointwise window whose input is read in place: as one line they could need more room than there
    /// is.
    Positions,
    /// Images of the batch.
    Images,
    /// Output lines of one image.
    Lines,
    /// Blocks of output channels of a single position.
    Channels,
}

/// How a window is cut.
#[derive(Clone, Copy)]
struct Parts {
    window: Window,
    axis: Axis,
    length: usize,
    count: usize,
}

/// One part: its window, and which elements of input, output and channels it takes.
struct Part {
    window: Window,
    x: Range<usize>,
    y: Range<usize>,
    channels: Range<usize>,
}

impl Parts {
    /// For a team of `size`; `None` when the work is not worth it. `dense` steps have weights in blocks of output
    /// channels; the others work on each channel by itself.
    fn of(window: &Window, dense: bool, size: usize, least: u64) -> Option<Self> {
        let depth = if dense { window.group_in() } else { 1 };
        let work = window.positions() as u64 * u64::from(window.out_c) * (window.taps() * depth) as u64;
        let least = if dense { least } else { least / 4 };
        let count = parts_of(work, least, size)?;
        let (axis, length) = if window.positions() == 1 && window.groups == 1 && dense {
            (Axis::Channels, (window.out_c as usize).div_ceil(BLOCK))
        } else if window.is_pointwise() && Source::of(window) == Source::InPlace {
            (Axis::Positions, window.positions())
        } else if window.batch > 1 {
            (Axis::Images, window.batch as usize)
        } else {
            (Axis::Lines, window.out_h as usize)
        };
        let count = count.min(length);
        // The last part must see some of the image, not just padding.
        let last = (count - 1) * length / count * window.stride_h as usize;
        if matches!(axis, Axis::Lines) && last >= (window.in_h + window.pad_top) as usize {
            return None;
        }
        (count > 1).then_some(Self { window: *window, axis, length, count })
    }

    /// Part `part` of a window whose results lie `y_step` elements from one position to the next.
    fn get(&self, part: usize, y_step: usize) -> Part {
        let w = &self.window;
        let range = part * self.length / self.count..(part + 1) * self.length / self.count;
        let line = w.in_w as usize * w.in_c as usize;
        let in_image = w.in_h as usize * line;
        let (out_line, out_image) = (w.out_w as usize, w.out_h as usize * w.out_w as usize);
        let scaled = |by: usize| range.start * by..range.end * by;
        let results = |positions: usize| {
            let Range { start, end } = scaled(positions);
            start * y_step..(end - 1) * y_step + w.out_c as usize
        };
        let channels = 0..w.out_c as usize;
        match self.axis {
            Axis::Positions => {
                let count = range.len() as u32;
                let window = Window { batch: 1, in_h: 1, in_w: count, out_h: 1, out_w: count, ..*w };
                Part { window, x: scaled(w.in_c as usize), y: results(1), channels }
            }
            Axis::Images => {
                let window = Window { batch: range.len() as u32, ..*w };
                Part { window, x: scaled(in_image), y: results(out_image), channels }
            }
            Axis::Lines => {
                // Input lines above the part are left out; what is left of the padding stays.
                let first = range.start as u32 * w.stride_h;
                let skipped = first.saturating_sub(w.pad_top);
                let window = Window {
                    in_h: w.in_h - skipped,
                    out_h: range.len() as u32,
                    pad_top: w.pad_top.saturating_sub(first),
                    ..*w
                };
                Part { window, x: skipped as usize * line..in_image, y: results(out_line), channels }
            }
            Axis::Channels => {
                let channels = range.start * BLOCK..(range.end * BLOCK).min(w.out_c as usize);
                let window = Window { out_c: channels.len() as u32, ..*w };
                Part { window, x: 0..in_image, y: channels.clone(), channels }
            }
        }
    }
}

/// Elements that several threads write, each a part of its own.
struct Shared<T>(*mut T, usize);

// SAFETY: `part` hands out disjoint slices only, as its caller promises.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(elements: &mut [T]) -> Self {
        Self(elements.as_mut_ptr(), elements.len())
    }

    /// # Safety
    /// No element is in two slices that are used at the same time.
    #[allow(clippy::mut_from_ref, reason = "the caller keeps the slices apart")]
    unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.1);
        // SAFETY: inside the elements, as asserted; apart from each other, as the caller promises.
        unsafe { core::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

/// The team and how it cuts a window; `None` where one thread does all.
#[inline]
fn cut<'t>(team: Option<&'t dyn Team>, window: &Window, dense: bool, share: u64) -> Option<(&'t dyn Team, Parts)> {
    let team = team.filter(|_| THREADS)?;
    Some((team, Parts::of(window, dense, team.size(), team.least_work() / share)?))
}

/// Runs an int8 convolution of either kind, by the whole team where that pays.
pub(crate) fn conv_i8(team: Option<&dyn Team>, dense: bool, args: ConvI8Args<'_>, kernel: fn(ConvI8Args<'_>)) {
    let Some((team, parts)) = cut(team, args.window, dense, 1) else { return kernel(args) };
    enum Out {
        I8(Shared<i8>, Target),
        F32(Shared<f32>),
    }
    let (x, x_zero_point, weights, narrow) = (args.x, args.x_zero_point, args.weights, args.narrow);
    let y_step = args.y_step;
    let (multipliers, bias, weight_zero_points) = (args.multipliers, args.bias, args.weight_zero_points);
    let channel_bytes = Segments::of(args.window).packed_len();
    let y = match args.y {
        ConvOutput::I8(y, target) => Out::I8(Shared::new(y), target),
        ConvOutput::F32(y) => Out::F32(Shared::new(y)),
    };
    team.run(parts.count, &|part, room| {
        let part = parts.get(part, y_step);
        let weights = match parts.axis {
            Axis::Channels => {
                let end = part.channels.end.next_multiple_of(LANES);
                &weights[part.channels.start * channel_bytes..end * channel_bytes]
            }
            _ => weights,
        };
        let (first, count) = (part.channels.start, part.channels.len());
        let zero_points: I32s<'_> = weight_zero_points.slice(first.min(weight_zero_points.len()), count);
        kernel(ConvI8Args {
            window: &part.window,
            x: &x[part.x],
            x_zero_point,
            y: match &y {
                // SAFETY: the parts of a window are disjoint in the output, and each is run once.
                Out::I8(y, target) => ConvOutput::I8(unsafe { y.part(part.y) }, *target),
                // SAFETY: as above.
                Out::F32(y) => ConvOutput::F32(unsafe { y.part(part.y) }),
            },
            y_step,
            scratch: i8s_mut(room),
            weights,
            multipliers: multipliers.slice(first, count),
            bias: bias.slice(first, count),
            weight_zero_points: zero_points,
            narrow,
        });
    });
}

/// Runs an int16 convolution of either kind, by the whole team where that pays.
pub(crate) fn conv_i16(team: Option<&dyn Team>, dense: bool, args: ConvI16Args<'_>, kernel: fn(ConvI16Args<'_>)) {
    let Some((team, parts)) = cut(team, args.window, dense, 1) else { return kernel(args) };
    enum Out {
        I16(Shared<i16>, TargetI16),
        I8(Shared<i8>, Target),
        F32(Shared<f32>),
    }
    let ConvI16Args { window, x, x_zero_point, y, weights, multipliers, bias, .. } = args;
    let channel_bytes = Segments::of(window).packed_len();
    let y = match y {
        ConvI16Output::I16(y, target) => Out::I16(Shared::new(y), target),
        ConvI16Output::I8(y, target) => Out::I8(Shared::new(y), target),
        ConvI16Output::F32(y) => Out::F32(Shared::new(y)),
    };
    team.run(parts.count, &|part, room| {
        let part = parts.get(part, window.out_c as usize);
        let weights = match parts.axis {
            Axis::Channels => {
                let end = part.channels.end.next_multiple_of(LANES);
                &weights[part.channels.start * channel_bytes..end * channel_bytes]
            }
            _ => weights,
        };
        let (first, count) = (part.channels.start, part.channels.len());
        kernel(ConvI16Args {
            window: &part.window,
            x: &x[part.x],
            x_zero_point,
            y: match &y {
                // SAFETY: the parts of a window are disjoint in the output, and each is run once.
                Out::I16(y, target) => ConvI16Output::I16(unsafe { y.part(part.y) }, *target),
                // SAFETY: as above.
                Out::I8(y, target) => ConvI16Output::I8(unsafe { y.part(part.y) }, *target),
                // SAFETY: as above.
                Out::F32(y) => ConvI16Output::F32(unsafe { y.part(part.y) }),
            },
            scratch: i16s_inside(room),
            weights,
            multipliers: multipliers.slice(first, count),
            bias: match bias {
                Bias::I32(bias) => Bias::I32(bias.slice(first, count)),
                Bias::I64(bias) => Bias::I64(bias.slice(first, count)),
            },
        });
    });
}

/// Runs a float convolution of either kind, by the whole team where that pays.
pub(crate) fn conv_f32(team: Option<&dyn Team>, dense: bool, args: ConvF32Args<'_>, kernel: fn(ConvF32Args<'_>)) {
    let Some((team, parts)) = cut(team, args.window, dense, FLOAT_SHARE) else { return kernel(args) };
    let ConvF32Args { window, x, y, weights, bias, low, high } = args;
    let y = Shared::new(y);
    let channel_words = window.taps() * window.group_in();
    let y_step = window.out_c as usize;
    team.run(parts.count, &|part, _| {
        let part = parts.get(part, y_step);
        let (first, count) = (part.channels.start, part.channels.len());
        let weights: F32s<'_> = match parts.axis {
            Axis::Channels => weights.slice(first * channel_words, count.next_multiple_of(F32_BLOCK) * channel_words),
            _ => weights,
        };
        // SAFETY: the parts of a window are disjoint in the output, and each is run once.
        let y = unsafe { y.part(part.y) };
        kernel(ConvF32Args {
            window: &part.window,
            x: &x[part.x],
            y,
            weights,
            bias: bias.slice(first, count),
            low,
            high,
        });
    });
}

/// Runs a pooling of stored elements, by the whole team where that pays.
pub(crate) fn pool<E: Stored + Send + Sync>(
    team: Option<&dyn Team>,
    args: ReduceArgs<'_, Pool, E>,
    kernel: fn(ReduceArgs<'_, Pool, E>),
) {
    let Some((team, parts)) = cut(team, &args.step.window, false, 1) else { return kernel(args) };
    let ReduceArgs { step, x, x_zero_point, y, target } = args;
    let y = Shared::new(y);
    team.run(parts.count, &|part, _| {
        let part = parts.get(part, step.window.out_c as usize);
        let step = &Pool { window: part.window, ..*step };
        // SAFETY: the parts of a window are disjoint in the output, and each is run once.
        let y = unsafe { y.part(part.y) };
        kernel(ReduceArgs { step, x: &x[part.x], x_zero_point, y, target });
    });
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    fn window() -> impl Strategy<Value = (Window, bool)> {
        let sizes = (1..=2_u32, 1..=40_u32, 1..=40_u32, 1..=9_u32, 1..=40_u32);
        let kernel = (1..=4_u32, 1..=4_u32, 1..=3_u32, 0..=2_u32, any::<bool>());
        (sizes, kernel).prop_filter_map("the window fits", |(sizes, kernel)| {
            let (batch, in_h, in_w, in_c, out_c) = sizes;
            let (kernel_h, kernel_w, stride, pad, dense) = kernel;
            let out = |input: u32, kernel: u32| (input + 2 * pad).checked_sub(kernel).map(|room| room / stride + 1);
            let window = Window {
                batch,
                in_h,
                in_w,
                in_c,
                out_h: out(in_h, kernel_h)?,
                out_w: out(in_w, kernel_w)?,
                out_c: if dense { out_c } else { in_c },
                kernel_h,
                kernel_w,
                stride_h: stride,
                stride_w: stride,
                dilation_h: 1,
                dilation_w: 1,
                pad_top: pad,
                pad_left: pad,
                groups: if dense { 1 } else { in_c },
            };
            Some((window, dense))
        })
    }

    proptest! {
        #[test]
        fn parts_cover_the_output_and_need_no_more_room((window, dense) in window(), size in 2..6_usize) {
            let elements = |h: u32, w: u32, c: u32| h as usize * w as usize * c as usize;
            let room = |w: &Window| if dense { Source::of(w) } else { Source::of_depthwise(w) }.scratch_len(w, 1);
            let Some(parts) = Parts::of(&window, dense, size, 0) else { return Ok(()) };
            let mut covered = 0;
            for part in 0..parts.count {
                let part = parts.get(part, window.out_c as usize);
                let w = part.window;
                prop_assert_eq!(part.y.start, covered);
                covered = part.y.end;
                prop_assert_eq!(part.x.len(), w.batch as usize * elements(w.in_h, w.in_w, w.in_c));
                prop_assert_eq!(part.y.len(), w.batch as usize * elements(w.out_h, w.out_w, w.out_c));
                prop_assert_eq!(part.channels.len(), w.out_c as usize);
                prop_assert!(w.in_h > 0 && room(&w) <= room(&window), "{} > {}", room(&w), room(&window));
            }
            prop_assert_eq!(covered, window.batch as usize * elements(window.out_h, window.out_w, window.out_c));
        }
    }
}
