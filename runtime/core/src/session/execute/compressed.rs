//! Convolutions that expand their weights before they multiply with them.

use core::ops::Range;

use super::{Context, Step};
use crate::bytes::{F32s, I32s};
use crate::error::Error;
use crate::kernels::view::{f32s_mut, i8s, i8s_mut, part};
use crate::kernels::{ConvI8Args, ConvOutput, IndexedArgs};
use crate::plan::DType;
use crate::plan::step::{ConvI8, Window};
use crate::quantization::Target;
use crate::session::Host;
use crate::team;
use crate::weights::compressed::{Factors, PIECE, expanded_bytes};
use crate::weights::{BLOCK, GROUP, Segments, block_width, packed_bytes};

/// See [`crate::plan::step::IndexedConvI8`].
pub(super) fn indexed(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::IndexedConvI8(s) = step else { return Err(context.refused()) };
    let (plan, kernel) = (context.plan, context.kernels.expand_indexed);
    let indices = plan.constant(s.conv.weights);
    let levels = plan.constant(s.levels).first_chunk().ok_or(context.refused())?;
    let (factors, quads) = (plan.constant(s.factors), s.factor_quads as usize);
    let of_channel = Segments::of(&s.conv.window).packed_len();
    convolve(context, &s.conv, s.channels, &mut |channels, out| {
        // Blocks in front of these channels are full, so their bytes are whole pairs of pieces.
        let indices = indices.get(channels.start * of_channel / 2..).unwrap_or_default();
        if factors.is_empty() {
            return kernel(IndexedArgs { indices, levels, factors: Factors { values: &[], quads }, width: BLOCK, out });
        }
        let factors_of_channel = (of_channel / GROUP).checked_div(quads).unwrap_or(0);
        let blocks =
            out.chunks_mut((BLOCK * of_channel).max(1)).zip(indices.chunks((BLOCK * of_channel / 2).max(PIECE)));
        for (start, (out, indices)) in channels.clone().step_by(BLOCK).zip(blocks) {
            let width = block_width(start, channels.end);
            let values = part(factors, start * factors_of_channel, width * factors_of_channel);
            kernel(IndexedArgs { indices, levels, factors: Factors { values, quads }, width, out });
        }
    })
}

/// See [`crate::plan::step::SparseConvI8`].
pub(super) fn sparse(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
    let Step::SparseConvI8(s) = step else { return Err(context.refused()) };
    let kernel = context.kernels.expand_sparse;
    let mut stored = context.plan.constant(s.conv.weights);
    convolve(context, &s.conv, s.channels, &mut |_, out| {
        let read = kernel(stored, out);
        stored = stored.get(read..).unwrap_or_default();
    })
}

/// Convolves some output channels after the others, with weights that `expand` brings into their room; it is asked for
/// neighbouring channels in order.
fn convolve(
    context: &mut Context<'_, '_>,
    s: &ConvI8,
    channels: u32,
    expand: &mut dyn FnMut(Range<usize>, &mut [u8]),
) -> Result<(), Error> {
    let refused = context.refused();
    let (plan, team, kernel) = (context.plan, context.team, context.kernels.conv_i8);
    let (x, y) = (context.tensor(s.x)?, context.tensor(s.y)?);
    let scratch = context.tensor(s.scratch.ok_or(refused)?)?;
    let places = [x.range.clone(), y.range.clone(), scratch.range];
    let [x_bytes, y_bytes, scratch] = context.arena.get_disjoint_mut(places).map_err(|_| refused)?;
    let room = expanded_bytes(&s.window, channels);
    let (weights, scratch) = scratch.split_at_mut_checked(room).ok_or(refused)?;
    let all = s.window.out_c as usize;
    for first in (0..all).step_by((channels as usize).max(1)) {
        let count = (channels as usize).min(all - first);
        let window = Window { out_c: count as u32, ..s.window };
        let weights = weights.get_mut(..packed_bytes(&window)).ok_or(refused)?;
        expand(first..first + count, weights);
        let args = ConvI8Args {
            window: &window,
            x: i8s(x_bytes),
            x_zero_point: x.zero_point as i8,
            y: match y.dtype {
                DType::F32 => ConvOutput::F32(f32s_mut(y_bytes).get_mut(first..).ok_or(refused)?),
                _ => {
                    let y_part = i8s_mut(y_bytes).get_mut(first..).ok_or(refused)?;
                    ConvOutput::I8(y_part, Target::new(y.zero_point, s.low, s.high))
                }
            },
            y_step: all,
            scratch: i8s_mut(scratch),
            weights,
            multipliers: F32s::new(plan.constant(s.multipliers)).slice(first, count),
            bias: I32s::new(plan.constant(s.bias)).slice(first, count),
            weight_zero_points: I32s::new(plan.constant(s.weight_zero_points)).slice(first, count),
            narrow: s.narrow != 0,
        };
        team::conv_i8(team, true, args, kernel);
    }
    Ok(())
}
