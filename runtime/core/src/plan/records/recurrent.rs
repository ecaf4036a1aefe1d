//! The record of recurrent layers.

use super::Window;
use crate::bytes::Span;
use crate::math::Function;
use crate::plan::TensorId;

crate::record! {
    /// A function inside a cell.
    Activation {
        /// Which; sigmoid and tanh are those of [`crate::math::float`].
        function: Function,
        /// First attribute.
        alpha: f32,
        /// Second attribute.
        beta: f32,
    }
}

crate::record! {
    /// One direction of a recurrent layer of `hidden` units. The kinds of steps that have this record are those of ONNX:
    /// [LSTM](https://onnx.ai/onnx/operators/onnx__LSTM.html) with 4 gates (input, output, forget, cell),
    /// [GRU](https://onnx.ai/onnx/operators/onnx__GRU.html) with 3 (update, reset, hidden) and
    /// [RNN](https://onnx.ai/onnx/operators/onnx__RNN.html) with 1.
    ///
    /// `x` holds `W·x + Wb` of all gates; the step adds `R·h + Rb`, with `h` what the step before has made, and applies the
    /// cell's formula, each operation rounded to f32. Where `state` is float32, the weights are, and sums are those of
    /// [`crate::plan::step::ConvF32`]. Where it is int16, the weights are int8 and
    /// `R·h + Rb = f32(Σ level·w + bias) × multiplier`, with `level = clamp(round(h × 2¹⁵))`, as in
    /// [`crate::plan::step::ConvI16`]: a state outside of -1..1 is cut off there.
    Recurrent {
        /// Inputs of the gates, float32 `[steps, batch, gates · hidden]`.
        x: TensorId,
        /// State in the beginning, float32 `[batch, hidden]`; zeros where absent.
        h: Option<TensorId>,
        /// State of an LSTM's cells in the beginning, float32 `[batch, hidden]`; zeros where absent.
        c: Option<TensorId>,
        /// States, float32 `[steps, batch, hidden]`.
        y: TensorId,
        /// State of an LSTM's cells in the end, float32 `[batch, hidden]`; absent in other kinds.
        y_c: Option<TensorId>,
        /// Room for the state as the weights meet it, float32 or int16 `[batch, hidden]`, rows filled up to a multiple of 4.
        state: TensorId,
        /// Room for `R·h + Rb`, float32 `[batch, gates · hidden]`.
        sums: TensorId,
        /// Elements of the sequence.
        steps: u32,
        /// Sequences.
        batch: u32,
        /// Units.
        hidden: u32,
        /// 1 goes from the last element to the first.
        reverse: u32,
        /// GRU only: 1 where the reset gate multiplies `R·h + Rb` rather than `h`.
        linear_before_reset: u32,
        /// `R` packed as for a pointwise convolution of `hidden`, filled up to a multiple of 4, input and `gates · hidden` output channels. Of a GRU without
        /// `linear_before_reset`: those of the first two gates, behind them those of the third.
        weights: Span,
        /// int8 weights only: `2⁻¹⁵ · scale` of each row of `R`, f32.
        multipliers: Span,
        /// `Rb`, f32; with int8 weights in units of the multipliers, i32, or i64 where `wide` is 1.
        bias: Span,
        /// As in [`crate::plan::step::ConvI16`].
        wide: u32,
        /// LSTM only: weights from the cells to the gates, f32 `[3, hidden]` (input, output, forget); or absent.
        peepholes: Span,
        /// Of the gates; of RNN that of the state.
        f: Activation,
        /// Of an LSTM's cell input or a GRU's hidden gate.
        g: Activation,
        /// Of an LSTM's cells.
        h_activation: Activation,
        /// What goes into the functions of the gates is limited to `-clip..=clip`; an LSTM's cells are not, as in onnxruntime.
        clip: f32,
    }
}

impl Recurrent {
    /// Of one run.
    pub(in crate::plan) fn multiply_accumulates(&self, gates: u64) -> u64 {
        u64::from(self.steps) * u64::from(self.batch) * gates * u64::from(self.hidden) * u64::from(self.hidden)
    }

    /// Elements of a row of `state`.
    #[must_use]
    pub fn padded(&self) -> usize {
        (self.hidden as usize).next_multiple_of(4)
    }

    /// The product of the states of all sequences with `gates` rows of blocks of `R`.
    #[must_use]
    pub fn window(&self, gates: u32) -> Window {
        Window {
            batch: 1,
            in_h: 1,
            in_w: self.batch,
            in_c: self.hidden.next_multiple_of(4),
            out_h: 1,
            out_w: self.batch,
            out_c: gates.saturating_mul(self.hidden),
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
            groups: 1,
        }
    }
}
