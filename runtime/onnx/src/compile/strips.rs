//! Neighbouring steps run in strips of lines, so that what lies between them is never there as a whole.
//!
//! A step's output line needs only a few lines of its input. Where a chain of convolutions and poolings takes more
//! memory than there is, it is run once for each strip of its last output: the lines that the strip needs are copied from
//! the chain's input, go through all steps of the chain, and the result is copied into its place. Lines at the border of
//! two strips are computed twice. (Lin et al., «MCUNetV2: memory-efficient patch-based inference for tiny deep
//! learning», 2021, has the idea; patches there are cut along both axes.)

use std::ops::Range;

use cygnet_core::bytes::Span;
use cygnet_core::kernels::source::useful_scratch;
use cygnet_core::plan::step::{Access, Copy, IndexedConvI8, PoolKind, SparseConvI8, Step, Window, row_major};
use cygnet_core::plan::{MAX_RANK, TensorId};

use super::builder::{Builder, Draft};
use super::compress::scratch_bytes;
use super::memory;

/// Steps of a chain, at most: each adds lines that are computed twice.
const LONGEST: usize = 6;

/// A way to run a chain in strips.
struct Cut {
    /// Bytes that live at one time, as far as they are too many; then the work on top.
    rank: (usize, u64),
    steps: Vec<(Step, String)>,
    tensors: Vec<Draft>,
}

/// Runs chains in strips until all that lives at one time fits `limit` bytes, or nothing more helps. `scratch` is
/// [`super::Options::scratch_bytes`].
pub(super) fn fit(builder: &mut Builder, limit: usize, scratch: usize) {
    if builder.steps.iter().any(|(step, _)| matches!(step, Step::HostStep(_))) {
        return;
    }
    loop {
        let live = memory::live(&builder.buffers());
        if live.bytes <= limit {
            return;
        }
        // Step `i` runs at time `i + 1`.
        let peak = (live.time as usize).saturating_sub(1);
        let mut best: Option<Cut> = None;
        let first = (peak + 1).saturating_sub(LONGEST);
        for start in first..=peak {
            for end in start + 1..builder.steps.len().min(start + LONGEST) {
                let Some(chain) = Chain::of(builder, start..end + 1) else { break };
                if end < peak {
                    continue;
                }
                for lines in 1..chain.lines() {
                    let (steps, tensors) = (builder.steps.clone(), builder.tensors.clone());
                    let cost = chain.cut(builder, lines, scratch);
                    let bytes = memory::live(&builder.buffers()).bytes;
                    let steps = std::mem::replace(&mut builder.steps, steps);
                    let tensors = std::mem::replace(&mut builder.tensors, tensors);
                    let Some(cost) = cost.filter(|_| bytes < live.bytes) else { continue };
                    let rank = (bytes.max(limit), cost);
                    if best.as_ref().is_none_or(|best| rank < best.rank) {
                        best = Some(Cut { rank, steps, tensors });
                    }
                }
            }
        }
        let Some(best) = best else { return };
        (builder.steps, builder.tensors) = (best.steps, best.tensors);
    }
}

/// Steps with a window, each reading just what the one before has written.
struct Chain {
    steps: Range<usize>,
    windows: Vec<Window>,
    x: TensorId,
    y: TensorId,
}

/// A step's window, input and output, when it can be run in strips.
fn link(step: &Step) -> Option<(Window, TensorId, TensorId)> {
    let (window, x, y) = match step {
        Step::ConvI8(s) | Step::DepthwiseI8(s) => (s.window, s.x, s.y),
        Step::IndexedConvI8(IndexedConvI8 { conv: s, .. }) | Step::SparseConvI8(SparseConvI8 { conv: s, .. }) => {
            (s.window, s.x, s.y)
        }
        Step::Pool(s) if s.kind != PoolKind::AverageIncludingPad => (s.window, s.x, s.y),
        _ => return None,
    };
    (window.batch == 1).then_some((window, x, y))
}

impl Chain {
    fn of(builder: &Builder, steps: Range<usize>) -> Option<Self> {
        let links: Option<Vec<_>> = builder.steps[steps.clone()].iter().map(|(step, _)| link(step)).collect();
        let links = links?;
        for (before, behind) in links.iter().zip(&links[1..]) {
            let between = before.2;
            let mut readers = 0;
            for (step, _) in &builder.steps {
                step.visit_tensors(&mut |id, access| readers += u32::from(id == between && access == Access::Read));
            }
            let seen_outside = builder.outputs.iter().any(|port| port.tensor == between);
            if behind.1 != between || readers != 1 || seen_outside {
                return None;
            }
        }
        let ((_, x, _), (_, _, y)) = (links.first()?, links.last()?);
        Some(Self { x: *x, y: *y, windows: links.iter().map(|link| link.0).collect(), steps })
    }

    /// Lines of the last output.
    fn lines(&self) -> usize {
        self.windows.last().map_or(0, |window| window.out_h as usize)
    }

    /// Puts strips of `lines` lines in the place of the steps. Gives the work that comes on top: elements moved and
    /// multiply-accumulates done twice; `None` when a strip would see padding only.
    fn cut(&self, builder: &mut Builder, lines: usize, scratch: usize) -> Option<u64> {
        let old: Vec<_> = builder.steps[self.steps.clone()].to_vec();
        let work = |steps: &[(Step, String)]| -> u64 { steps.iter().map(|(step, _)| work(step)).sum() };
        let mut new = Vec::new();
        for start in (0..self.lines()).step_by(lines) {
            new.extend(self.strip(builder, &old, start..(start + lines).min(self.lines()), scratch)?);
        }
        let more = work(&new).saturating_sub(work(&old));
        builder.steps.splice(self.steps.clone(), new);
        Some(more)
    }

    /// The steps of one strip, `wanted` lines of the last output.
    fn strip(
        &self,
        builder: &mut Builder,
        old: &[(Step, String)],
        wanted: Range<usize>,
        scratch: usize,
    ) -> Option<Vec<(Step, String)>> {
        // From the last step to the first: the window that makes the wanted lines, and the lines it reads.
        let mut windows = Vec::new();
        let mut rows = wanted.clone();
        for window in self.windows.iter().rev() {
            let stride = window.stride_h as usize;
            let reach = (window.kernel_h as usize - 1) * window.dilation_h as usize + 1;
            let pad = window.pad_top as usize;
            let first = (rows.start * stride).saturating_sub(pad);
            let end = ((rows.end - 1) * stride + reach).checked_sub(pad)?.min(window.in_h as usize);
            if first >= end {
                return None;
            }
            let pad_top = pad.saturating_sub(rows.start * stride);
            windows.push(Window {
                in_h: (end - first) as u32,
                out_h: rows.len() as u32,
                pad_top: pad_top as u32,
                ..*window
            });
            rows = first..end;
        }
        windows.reverse();

        let mut steps = Vec::new();
        let name = &old.last()?.1;
        let first = windows.first()?;
        let mut x = self.x;
        if rows.len() < self.windows.first()?.in_h as usize {
            let line = first.in_w as usize * first.in_c as usize;
            x = self.piece(builder, self.x, &[rows.len(), first.in_w as usize, first.in_c as usize]);
            steps.push((move_lines(self.x, rows.start * line, x, 0, rows.len() * line), old.first()?.1.clone()));
        }
        for ((step, label), window) in old.iter().zip(&windows) {
            let shape = [window.out_h as usize, window.out_w as usize, window.out_c as usize];
            let y = self.piece(builder, link(step)?.2, &shape);
            let mut step = *step;
            let depthwise = matches!(step, Step::DepthwiseI8(_));
            match &mut step {
                Step::ConvI8(s) | Step::DepthwiseI8(s) => {
                    (s.x, s.y, s.window) = (x, y, *window);
                    s.scratch = useful_scratch(window, depthwise, scratch).map(|bytes| builder.scratch(bytes, label));
                }
                Step::IndexedConvI8(IndexedConvI8 { conv: s, channels, .. })
                | Step::SparseConvI8(SparseConvI8 { conv: s, channels }) => {
                    (s.x, s.y, s.window) = (x, y, *window);
                    s.scratch = Some(builder.scratch(scratch_bytes(window, *channels, scratch), label));
                }
                Step::Pool(s) => (s.x, s.y, s.window, s.pad_end[0]) = (x, y, *window, 0),
                _ => return None,
            }
            steps.push((step, label.clone()));
            x = y;
        }
        let last = windows.last()?;
        let line = last.out_w as usize * last.out_c as usize;
        steps.push((move_lines(x, 0, self.y, wanted.start * line, wanted.len() * line), name.clone()));
        Some(steps)
    }

    /// A tensor for some lines of another one.
    fn piece(&self, builder: &mut Builder, whole: TensorId, shape: &[usize; 3]) -> TensorId {
        let draft = builder.draft(whole).clone();
        builder.tensor(draft.dtype, [&[1], &shape[..]].concat(), draft.quantization, &draft.name)
    }
}

/// Copies `count` elements.
fn move_lines(x: TensorId, from: usize, y: TensorId, to: usize, count: usize) -> Step {
    let mut dims = [1; MAX_RANK];
    dims[MAX_RANK - 1] = count as u32;
    let strides = row_major(&dims);
    Step::Copy(Copy {
        x: Some(x),
        constant: Span::NONE,
        y,
        dims,
        x_offset: from as u32,
        x_strides: strides.map(u32::cast_signed),
        y_offset: to as u32,
        y_strides: strides,
        table: Span::NONE,
    })
}

/// Roughly how long a step takes, in multiply-accumulates.
fn work(step: &Step) -> u64 {
    match step {
        Step::Copy(s) => s.dims.iter().map(|&dim| u64::from(dim)).product(),
        Step::Pool(s) => s.window.positions() as u64 * u64::from(s.window.out_c) * s.window.taps() as u64,
        other => other.multiply_accumulates(),
    }
}
