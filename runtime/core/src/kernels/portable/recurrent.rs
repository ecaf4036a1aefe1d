//! The cells of recurrent layers, in float32; products with the weights are the caller's.

use core::ops::Range;

use crate::bytes::F32s;
use crate::kernels::view::{part, part_mut};
use crate::math::{Function, float};
use crate::plan::step::{Activation, Recurrent};

/// Operands of a recurrent layer, see [`Recurrent`]; `h` and `c` are empty where they are zeros, and `y_c` is empty where
/// the layer is no LSTM.
pub struct RecurrentArgs<'a> {
    /// The step.
    pub step: &'a Recurrent,
    /// Inputs of the gates.
    pub x: &'a [f32],
    /// State in the beginning.
    pub h: &'a [f32],
    /// State of the cells in the beginning.
    pub c: &'a [f32],
    /// States.
    pub y: &'a mut [f32],
    /// State of the cells.
    pub y_c: &'a mut [f32],
    /// Room for products.
    pub sums: &'a mut [f32],
    /// Weights from the cells to the gates.
    pub peepholes: F32s<'a>,
}

/// `R·h + Rb` of some of the gates for the states of all sequences, `[batch, hidden]`: `[batch, gates · hidden]`.
pub type Product<'p> = &'p mut dyn FnMut(&[f32], Range<u32>, &mut [f32]);

/// See [LSTM](https://onnx.ai/onnx/operators/onnx__LSTM.html). The sum that goes into a gate is `(x + (R·h + Rb)) + p·c`.
pub fn lstm(args: RecurrentArgs<'_>, product: Product<'_>) {
    let RecurrentArgs { step: s, x, h, c, y, y_c, sums, peepholes } = args;
    let hidden = s.hidden as usize;
    set(y_c, c);
    let peepholes = [0, 1, 2].map(|gate| peepholes.slice(gate * hidden, hidden));
    for_each_element(s, 4, x, h, y, &mut |x, y| {
        product(y, 0..4, sums);
        let rows = beside(x.chunks_exact((4 * hidden).max(1)), sums.chunks_exact_mut((4 * hidden).max(1)));
        let states = beside(y.chunks_exact_mut(hidden.max(1)), y_c.chunks_exact_mut(hidden.max(1)));
        for ((x, gates), (y, c)) in beside(rows, states) {
            add(gates, x);
            let (input, rest) = halves(gates, hidden);
            let (output, rest) = halves(rest, hidden);
            let (forget, cell) = halves(rest, hidden);
            add_weighted(input, peepholes[0], c);
            add_weighted(forget, peepholes[2], c);
            apply(&s.f, s.clip, input);
            apply(&s.f, s.clip, forget);
            apply(&s.g, s.clip, cell);
            for (((c, forget), input), cell) in c.iter_mut().zip(&*forget).zip(&*input).zip(&*cell) {
                *c = forget * *c + input * cell;
            }
            add_weighted(output, peepholes[1], c);
            apply(&s.f, s.clip, output);
            y.iter_mut().zip(&*c).for_each(|(y, c)| *y = *c);
            apply(&s.h_activation, f32::INFINITY, y);
            y.iter_mut().zip(&*output).for_each(|(y, output)| *y *= output);
        }
    });
}

/// See [GRU](https://onnx.ai/onnx/operators/onnx__GRU.html). The new state is `(1 - z)·ĥ + z·h`.
pub fn gru(args: RecurrentArgs<'_>, product: Product<'_>) {
    let RecurrentArgs { step: s, x, h, y, sums, .. } = args;
    let hidden = s.hidden as usize;
    let whole = s.linear_before_reset != 0;
    let all = y.len().checked_div(s.steps as usize).unwrap_or(0);
    for_each_element(s, 3, x, h, y, &mut |x, y| {
        // Rows of the first gates, and behind them, where they come later, rows of the third.
        let (first, last) = halves(sums, if whole { 3 * all } else { 2 * all });
        product(y, 0..if whole { 3 } else { 2 }, first);
        let width = if whole { 3 * hidden } else { 2 * hidden };
        let rows = || x.chunks_exact((3 * hidden).max(1));
        for (x, gates) in beside(rows(), first.chunks_exact_mut(width.max(1))) {
            let (gates, candidate) = halves(gates, 2 * hidden);
            add(gates, x);
            apply(&s.f, s.clip, gates);
            let reset = part(gates, hidden, hidden);
            candidate.iter_mut().zip(reset).for_each(|(candidate, reset)| *candidate *= reset);
        }
        if !whole {
            let resets = first.chunks_exact((2 * hidden).max(1));
            // The place of the products is the room for what they are made of.
            let places = beside(last.chunks_exact_mut(hidden.max(1)), resets);
            for ((last, gates), y) in beside(places, y.chunks_exact(hidden.max(1))) {
                last.iter_mut().zip(part(gates, hidden, hidden)).zip(y).for_each(|((to, r), h)| *to = r * h);
            }
            product(&[], 2..3, last);
        }
        for (row, (x, y)) in beside(rows(), y.chunks_exact_mut(hidden.max(1))).enumerate() {
            let gates = part_mut(first, row * width, width);
            let (update, rest) = halves(gates, hidden);
            let candidate = if whole { part_mut(rest, hidden, hidden) } else { part_mut(last, row * hidden, hidden) };
            add(candidate, part(x, 2 * hidden, hidden));
            apply(&s.g, s.clip, candidate);
            for ((y, update), candidate) in y.iter_mut().zip(&*update).zip(&*candidate) {
                *y = (1.0 - update) * candidate + update * *y;
            }
        }
    });
}

/// See [RNN](https://onnx.ai/onnx/operators/onnx__RNN.html).
pub fn rnn(args: RecurrentArgs<'_>, product: Product<'_>) {
    let RecurrentArgs { step: s, x, h, y, sums, .. } = args;
    for_each_element(s, 1, x, h, y, &mut |x, y| {
        product(y, 0..1, sums);
        y.iter_mut().zip(&*sums).zip(x).for_each(|((y, sum), x)| *y = sum + x);
        apply(&s.f, s.clip, y);
    });
}

/// Calls `cell(inputs of the gates, state)` for each element of the sequence in its order; the state is that of the
/// element before, to be replaced.
fn for_each_element(
    s: &Recurrent,
    gates: usize,
    x: &[f32],
    h: &[f32],
    y: &mut [f32],
    cell: &mut dyn FnMut(&[f32], &mut [f32]),
) {
    let states = (s.batch as usize).saturating_mul(s.hidden as usize).max(1);
    let (x, y) = (x.chunks_exact(states.saturating_mul(gates).max(1)), y.chunks_exact_mut(states));
    let mut before: &[f32] = h;
    if s.reverse == 0 {
        for (x, y) in beside(x, y) {
            set(y, before);
            cell(x, y);
            before = y;
        }
    } else {
        for (x, y) in beside(x.rev(), y.rev()) {
            set(y, before);
            cell(x, y);
            before = y;
        }
    }
}

/// Pairs of both, as `zip` gives them; without the division by which that counts chunks ahead.
pub(crate) fn beside<A: Iterator, B: Iterator>(one: A, mut other: B) -> impl Iterator<Item = (A::Item, B::Item)> {
    one.map_while(move |item| Some((item, other.next()?)))
}

/// Copies `from`, or zeros where it is empty.
fn set(to: &mut [f32], from: &[f32]) {
    if from.is_empty() {
        to.fill(0.0);
    } else {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// The first `len` elements and the others.
fn halves(values: &mut [f32], len: usize) -> (&mut [f32], &mut [f32]) {
    let len = len.min(values.len());
    values.split_at_mut_checked(len).unwrap_or_default()
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

fn add_weighted(to: &mut [f32], weights: F32s<'_>, from: &[f32]) {
    to.iter_mut().zip(weights.iter()).zip(from).for_each(|((to, weight), from)| *to += weight * from);
}

/// Replaces values by those of a function of them, limited to `-clip..=clip`.
fn apply(activation: &Activation, clip: f32, values: &mut [f32]) {
    if clip < f32::INFINITY {
        for value in &mut *values {
            let above = if *value < -clip { -clip } else { *value };
            *value = if above > clip { clip } else { above };
        }
    }
    match activation.function {
        Function::Sigmoid => values.iter_mut().for_each(|value| *value = float::sigmoid(*value)),
        Function::Tanh => values.iter_mut().for_each(|value| *value = float::tanh(*value)),
        Function::Identity => {}
        function => {
            for value in values {
                *value = function.apply_any(*value, activation.alpha, activation.beta);
            }
        }
    }
}
