//! The weights of int8 convolutions, in the form that the plan keeps.

use cygnet_core::kernels::source::useful_scratch;
use cygnet_core::plan::step::{ConvI8, IndexedConvI8, SparseConvI8, Step};
use cygnet_core::weights;

use super::Lowering;
use crate::compile::compress::{Allowed, Form, channels_at_once, scratch_bytes};

/// A number of a convolution's weights: by output channel, tap row, tap column, input channel of the group.
pub(super) type OfWeight<'w> = dyn Fn(usize, usize, usize, usize) -> i8 + 'w;

impl Lowering<'_> {
    /// A depthwise step: weights by tap and channel.
    pub(super) fn depthwise_i8(&mut self, conv: ConvI8, weight: &OfWeight<'_>, label: &str) -> Step {
        let window = conv.window;
        let columns = window.kernel_w as usize;
        let taps = (0..window.taps()).flat_map(|tap| (0..window.out_c as usize).map(move |channel| (tap, channel)));
        let stored: Vec<u8> =
            taps.map(|(tap, channel)| weight(channel, tap / columns, tap % columns, 0).cast_unsigned()).collect();
        let scratch = useful_scratch(&window, true, self.options.scratch_bytes);
        Step::DepthwiseI8(ConvI8 {
            scratch: scratch.map(|bytes| self.builder.scratch(bytes, label)),
            narrow: is_narrow(&stored),
            weights: self.builder.constant(stored),
            ..conv
        })
    }

    /// A dense step: weights packed, or in fewer bits where that is allowed and saves enough. `factor` gives what is inside each weight
    /// as a factor that neighbours share; 0 where nothing is known of that.
    pub(super) fn dense_i8(&mut self, conv: ConvI8, weight: &OfWeight<'_>, factor: &OfWeight<'_>, label: &str) -> Step {
        let window = conv.window;
        let limit = self.options.scratch_bytes;
        let packed_by = |number: &OfWeight<'_>| {
            let mut packed = vec![0; weights::packed_bytes(&window)];
            weights::pack(&window, &mut |c, row, column, input| number(c, row, column, input), &mut packed);
            packed
        };
        let packed = packed_by(weight);
        let narrow = is_narrow(&packed);
        let factors = packed_by(factor);
        let Some(form) = Form::smaller(&window, &packed, &factors, self.allowed) else {
            let smaller = Form::smaller(&window, &packed, &factors, Allowed::ALL);
            self.builder.compressible_bytes += smaller.map_or(0, |form| packed.len() - form.len());
            let scratch = useful_scratch(&window, false, limit).map(|bytes| self.builder.scratch(bytes, label));
            return Step::ConvI8(ConvI8 { scratch, weights: self.builder.constant(packed), narrow, ..conv });
        };
        let channels = channels_at_once(&window, limit);
        let scratch = Some(self.builder.scratch(scratch_bytes(&window, channels, limit), label));
        let conv = ConvI8 { scratch, narrow, ..conv };
        match form {
            Form::Indexed { indices, levels, factors, factor_quads } => Step::IndexedConvI8(IndexedConvI8 {
                conv: ConvI8 { weights: self.builder.constant(indices), ..conv },
                channels,
                levels: self.builder.constant(levels.to_vec()),
                factors: self.builder.constant(factors),
                factor_quads,
            }),
            Form::Sparse(stored) => {
                let conv = ConvI8 { weights: self.builder.constant(stored), ..conv };
                Step::SparseConvI8(SparseConvI8 { conv, channels })
            }
        }
    }
}

/// Whether no weight is -128, as a field of a step.
fn is_narrow(stored: &[u8]) -> u32 {
    u32::from(!stored.contains(&i8::MIN.cast_unsigned()))
}
