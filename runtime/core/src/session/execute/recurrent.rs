//! Recurrent layers: their cells together with products by kernels of convolutions.

use core::ops::Range;

use super::{Context, Step};
use crate::bytes::{F32s, I32s, I64s};
use crate::error::Error;
use crate::kernels::portable::recurrent::{self, Product, RecurrentArgs, beside};
use crate::kernels::view::{f32s, f32s_mut, i16s_mut, part};
use crate::kernels::{Bias, ConvF32Args, ConvI16Args, ConvI16Output};
use crate::plan::step::Recurrent;
use crate::quantization::quantize;
use crate::session::Host;
use crate::weights::{packed_bytes, packed_f32_len};

/// A cell, see [`recurrent`].
type Cell = fn(RecurrentArgs<'_>, Product<'_>);

/// What the numbers of the state are worth as int16.
const LEVEL: f32 = 1.0 / 32768.0;

/// Functions for the table, each with its kind of step, its cell and the type of its weights.
macro_rules! executors {
    ($($name:ident: $variant:ident, $cell:ident, $run:ident;)*) => {
        $(
            pub(super) fn $name(context: &mut Context<'_, '_>, step: &Step, _: &mut dyn Host) -> Result<(), Error> {
                let Step::$variant(s) = step else { return Err(context.refused()) };
                $run(context, s, recurrent::$cell)
            }
        )*
    };
}

executors! {
    lstm_f32: Lstm, lstm, run_f32;
    lstm_i16: Lstm, lstm, run_i16;
    gru_f32: Gru, gru, run_f32;
    gru_i16: Gru, gru, run_i16;
    rnn_f32: Rnn, rnn, run_f32;
    rnn_i16: Rnn, rnn, run_i16;
}

fn run_f32(context: &mut Context<'_, '_>, s: &Recurrent, cell: Cell) -> Result<(), Error> {
    let kernel = context.kernels.conv_f32;
    let (weights, bias) = (F32s::new(context.plan.constant(s.weights)), F32s::new(context.plan.constant(s.bias)));
    run(context, s, cell, &mut |state, h, gates, sums| {
        let state = f32s_mut(state);
        let levels = rows(s, h, sums);
        beside(state.chunks_exact_mut(s.padded().max(1)), levels).for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        });
        let (window, behind) = (s.window(gates.end - gates.start), s.window(gates.start));
        let weights = weights.slice(packed_f32_len(&behind), packed_f32_len(&window));
        let bias = bias.slice(behind.out_c as usize, window.out_c as usize);
        let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
        kernel(ConvF32Args { window: &window, x: state, y: sums, weights, bias, low, high });
    })
}

fn run_i16(context: &mut Context<'_, '_>, s: &Recurrent, cell: Cell) -> Result<(), Error> {
    let (plan, kernel) = (context.plan, context.kernels.i16.conv);
    let (weights, multipliers, bias) =
        (plan.constant(s.weights), F32s::new(plan.constant(s.multipliers)), plan.constant(s.bias));
    run(context, s, cell, &mut |state, h, gates, sums| {
        let state = i16s_mut(state);
        let levels = rows(s, h, sums);
        beside(state.chunks_exact_mut(s.padded().max(1)), levels).for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = quantize(*from, LEVEL, 0));
        });
        let (window, behind) = (s.window(gates.end - gates.start), s.window(gates.start));
        let (first, count) = (behind.out_c as usize, window.out_c as usize);
        let bias = match s.wide {
            0 => Bias::I32(I32s::new(bias).slice(first, count)),
            _ => Bias::I64(I64s::new(bias).slice(first, count)),
        };
        kernel(ConvI16Args {
            window: &window,
            x: state,
            x_zero_point: 0,
            y: ConvI16Output::F32(sums),
            scratch: &mut [],
            weights: part(weights, packed_bytes(&behind), packed_bytes(&window)),
            multipliers: multipliers.slice(first, count),
            bias,
        });
    })
}

/// The states of the sequences: `h`, or, where it is empty, what stands in the place of the products.
fn rows<'a>(s: &Recurrent, h: &'a [f32], sums: &'a [f32]) -> impl Iterator<Item = &'a [f32]> + use<'a> {
    (if h.is_empty() { sums } else { h }).chunks_exact((s.hidden as usize).max(1))
}

/// `R·h + Rb` of some gates: room for the state, the state, the gates, the products.
type Multiply<'m> = &'m mut dyn FnMut(&mut [u8], &[f32], Range<u32>, &mut [f32]);

fn run(context: &mut Context<'_, '_>, s: &Recurrent, cell: Cell, multiply: Multiply<'_>) -> Result<(), Error> {
    let refused = context.refused();
    let peepholes = F32s::new(context.plan.constant(s.peepholes));
    let place = |id: Option<_>| id.map_or(Ok(0..0), |id| context.tensor(id).map(|tensor| tensor.range));
    let places = [
        place(Some(s.x))?,
        place(s.h)?,
        place(s.c)?,
        place(Some(s.y))?,
        place(s.y_c)?,
        place(Some(s.state))?,
        place(Some(s.sums))?,
    ];
    let [x, h, c, y, y_c, state, sums] = context.arena.get_disjoint_mut(places).map_err(|_| refused)?;
    // Rows of padding are never written again.
    state.fill(0);
    let args = RecurrentArgs {
        step: s,
        x: f32s(x),
        h: f32s(h),
        c: f32s(c),
        y: f32s_mut(y),
        y_c: f32s_mut(y_c),
        sums: f32s_mut(sums),
        peepholes,
    };
    cell(args, &mut |h, gates, sums| multiply(state, h, gates, sums));
    Ok(())
}
