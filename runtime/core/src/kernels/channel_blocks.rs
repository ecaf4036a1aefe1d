//! Depthwise convolutions in blocks of neighbouring channels, for cores that multiply 16 at once.

use crate::kernels::rows::Operands;
use crate::kernels::source::Source;
use crate::kernels::strips::for_each_strip;
use crate::kernels::view::copy;
use crate::kernels::view::i8s;
use crate::weights::BLOCK;

/// Up to 16 channels of a depthwise convolution, or up to 32, at all positions of a strip.
pub(crate) struct Block<'a, E = i8> {
    elements: &'a [E],
    /// First channel.
    pub channel: usize,
    /// Channels stored; elements behind them can be read up to the width of blocks, but mean nothing.
    pub lanes: usize,
    /// Output lines.
    pub lines: usize,
    /// Output columns.
    pub columns: usize,
    /// Elements from one tap to its right neighbour.
    pub column_step: usize,
    /// Elements from one tap to the one below.
    pub row_step: usize,
    /// Elements from an output line's first tap to that of the next.
    pub line_step: usize,
    /// The output position of the first row.
    pub first: usize,
}

impl<E> Block<'_, E> {
    /// Where the first column of output line `line` finds its taps of kernel row `row`.
    #[inline(always)]
    pub fn pointer(&self, line: usize, row: usize) -> *const E {
        debug_assert!(line < self.lines);
        // SAFETY: `for_each_block` has seen that all taps of all positions lie inside the elements.
        unsafe { self.elements.as_ptr().add(line * self.line_step + row * self.row_step + self.channel) }
    }

    /// The weights of tap `tap`, behind those of the block zeros; `WIDTH` is that of blocks.
    #[inline(always)]
    pub fn weights<'a, const WIDTH: usize>(&self, args: &impl Operands<'a>, tap: usize) -> [i8; WIDTH] {
        let stored = &i8s(args.weights())[tap * args.window().out_c as usize + self.channel..][..self.lanes];
        if let Ok(all) = stored.try_into() {
            return all;
        }
        let mut all = [0; WIDTH];
        all[..self.lanes].copy_from_slice(stored);
        all
    }
}

/// Calls `visit` with blocks of 16 channels that cover a depthwise convolution whose output has the channels of its input.
/// Of 16 channels or more, the last block begins early enough to be full; of fewer, the source is
/// [`Source::Lines`], behind which 16 elements can be read.
#[inline(always)]
pub(crate) fn for_each_block<'a, A: Operands<'a>>(args: A, visit: impl FnMut(&mut A, &Block<'_, A::Element>)) {
    for_each_block_of::<BLOCK, A>(args, visit);
}

/// As [`for_each_block`], with blocks of `WIDTH` channels; where that is more than 16 there are as many.
#[inline(always)]
pub(crate) fn for_each_block_of<'a, const WIDTH: usize, A: Operands<'a>>(
    mut args: A,
    mut visit: impl FnMut(&mut A, &Block<'_, A::Element>),
) {
    let window = *args.window();
    let channels = window.in_c as usize;
    let scratch = args.take_scratch();
    let ((x, x_zero_point), source) = (args.input(), Source::of_depthwise(&window));
    let columns = window.out_w as usize;
    let position_step = window.stride_w as usize * channels;
    let column_step = window.dilation_w as usize * channels;
    for_each_strip(&window, source, x, x_zero_point, scratch, copy, |strip| {
        let line_step = window.stride_h as usize * strip.pitch;
        let row_step = window.dilation_h as usize * strip.pitch;
        let last_column = (columns - 1) * position_step + (window.kernel_w as usize - 1) * column_step;
        let last_line = (strip.lines - 1) * line_step + (window.kernel_h as usize - 1) * row_step;
        assert!(last_line + last_column + channels.max(WIDTH) <= strip.elements.len());
        for start in (0..channels).step_by(WIDTH) {
            let channel = start.min(channels.saturating_sub(WIDTH));
            let block = Block {
                elements: strip.elements,
                channel,
                lanes: channels.min(WIDTH),
                lines: strip.lines,
                columns,
                column_step,
                row_step,
                line_step,
                first: strip.first,
            };
            visit(&mut args, &block);
        }
    });
}
