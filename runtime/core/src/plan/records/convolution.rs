//! Records of convolutions.

use super::Window;
use crate::bytes::Span;
use crate::plan::TensorId;

crate::record! {
    /// Int8 convolution, also of a matrix by a constant matrix (rows are positions), or depthwise: output
    /// channel `c` reads input channel `c / (out_c / in_c)`.
    ///
    /// `y = clamp(round(f32(Σ (x - zx)(w - zw) + bias) × multiplier[c]) + zy)`; a float32 `y` is
    /// `f32(Σ … + bias) × multiplier[c]`. Padding counts as `x = zx`.
    ConvI8 {
        /// Input, int8 `[batch, in_h, in_w, in_c]`.
        x: TensorId,
        /// Output, int8 or float32 `[batch, out_h, out_w, out_c]`.
        y: TensorId,
        /// Room for rows or lines of the input, int8; see [`crate::kernels::source::Source`].
        scratch: Option<TensorId>,
        /// Shapes; a depthwise one has `groups = in_c`.
        window: Window,
        /// Packed as [`crate::weights`] says; depthwise int8 `[kernel_h·kernel_w, out_c]`.
        weights: Span,
        /// `multiplier[c]`, f32.
        multipliers: Span,
        /// `bias[c] - zx·Σw + n·zx·zw`, i32, so that the kernel sums stored values only.
        bias: Span,
        /// Weight zero points `zw[c]`, i32; absent when all are 0.
        weight_zero_points: Span,
        /// 1 when no weight is -128: the sum of two products then fits 16 bits.
        narrow: u32,
        /// Least stored result.
        low: i32,
        /// Greatest stored result.
        high: i32,
    }
}

crate::record! {
    /// [`ConvI8`] whose results are some channels of a tensor with more of them: part of what a concatenation makes.
    PartialConvI8 {
        /// The convolution; its output has `channels` in the place of `out_c`.
        conv: ConvI8,
        /// The channel of the output that the first one of the convolution becomes.
        first: u32,
        /// Channels of the output.
        channels: u32,
    }
}

crate::record! {
    /// [`ConvI8`] that keeps its weights as indices of 16 levels, see [`crate::weights::compressed`], and expands
    /// them some output channels at a time; for each of these parts the input is read anew.
    IndexedConvI8 {
        /// The convolution; its weights are the indices, and in front of its scratch is the room for expanded weights.
        conv: ConvI8,
        /// Output channels that are expanded at once: a multiple of 16, or at least as many as there are.
        channels: u32,
        /// 16 levels, int8.
        levels: Span,
        /// Factors of the levels, uint8; absent where all are 1.
        factors: Span,
        /// Groups of four weights along the reduction axis that share a factor.
        factor_quads: u32,
    }
}

crate::record! {
    /// [`ConvI8`] that keeps those of its weights that are not 0, see [`crate::weights::compressed`], and expands them
    /// some output channels at a time; for each of these parts the input is read anew.
    SparseConvI8 {
        /// The convolution; its weights are masks and bytes, and in front of its scratch is the room for expanded weights.
        conv: ConvI8,
        /// Output channels that are expanded at once: a multiple of 16, or at least as many as there are.
        channels: u32,
    }
}

crate::record! {
    /// Convolution of int16 activations with int8 weights; otherwise as [`ConvI8`], but that all weights have zero point 0.
    ///
    /// `y = clamp(round(f32(Σ (x - zx)·w + bias) × multiplier[c]) + zy)`, the sum exact and f32 its nearest float; a
    /// float32 `y` is `f32(Σ … + bias) × multiplier[c]`. Padding counts as `x = zx`.
    ConvI16 {
        /// Input, int16 `[batch, in_h, in_w, in_c]`.
        x: TensorId,
        /// Output, int16, int8 or float32 `[batch, out_h, out_w, out_c]`.
        y: TensorId,
        /// Room for rows or lines of the input, int16; see [`crate::kernels::source::Source`].
        scratch: Option<TensorId>,
        /// Shapes; a depthwise one has `groups = in_c` and at most [`crate::weights::WIDE_RUN`] taps.
        window: Window,
        /// Packed as [`crate::weights`] says; depthwise int8 `[kernel_h·kernel_w, out_c]`.
        weights: Span,
        /// `multiplier[c]`, f32.
        multipliers: Span,
        /// `bias[c] - zx·Σw`, i32, or i64 where `wide` is 1.
        bias: Span,
        /// 0 where `32768·Σ|w| + |bias|` is below 2³¹ for each channel, so that sums fit 32 bits; else 1: sums of up to
        /// [`crate::weights::WIDE_RUN`] products fit 32 bits, and are added up in 64.
        wide: u32,
        /// Least stored result.
        low: i32,
        /// Greatest stored result.
        high: i32,
    }
}

crate::record! {
    /// Convolution in float32, `y = clamp(bias + Σ x·w)`, summed in the order of the taps.
    ConvF32 {
        /// Input `[batch, in_h, in_w, in_c]`.
        x: TensorId,
        /// Output `[batch, out_h, out_w, out_c]`.
        y: TensorId,
        /// Shapes.
        window: Window,
        /// f32 `[group][block of 16 output channels][tap][input channel][16]`.
        weights: Span,
        /// f32 `[out_c]`.
        bias: Span,
        /// Least result.
        low: f32,
        /// Greatest result.
        high: f32,
    }
}

crate::record! {
    /// Depthwise convolution in float32.
    DepthwiseF32 {
        /// Input `[batch, in_h, in_w, in_c]`.
        x: TensorId,
        /// Output `[batch, out_h, out_w, out_c]`.
        y: TensorId,
        /// Shapes; `groups = in_c`.
        window: Window,
        /// f32 `[kernel_h·kernel_w, out_c]`.
        weights: Span,
        /// f32 `[out_c]`.
        bias: Span,
        /// Least result.
        low: f32,
        /// Greatest result.
        high: f32,
    }
}

crate::record! {
    /// [`ConvI8`] of int8 whose scale `sx` and zero point `zx` a [`QuantizeDynamic`](super::QuantizeDynamic) has found, to float32:
    /// `y = f32(Σ (x - zx)(w - zw)) × (sx × sw[c]) + offset[c]`.
    ConvI8Dynamic {
        /// The convolution: `multipliers` are the `sw[c]`, `bias` is `Σ (w - zw)`, i32. Without padding.
        conv: ConvI8,
        /// Scale and zero point of the input, float32 `[2]`.
        parameters: TensorId,
        /// Room for multipliers and biases of the run, int8 `[8 · out_c]`.
        room: TensorId,
        /// f32 `[out_c]`; absent when all are 0.
        offsets: Span,
    }
}
