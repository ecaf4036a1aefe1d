//! Records of steps that make one element of many: pooling, reductions, softmax, normalisation.

use super::Window;
use crate::bytes::Span;
use crate::plan::TensorId;

crate::word_enum! {
    /// What a pooling window computes.
    PoolKind {
        /// The greatest stored value; padding is left out.
        Max = 0,
        /// The mean of the positions inside the image.
        Average = 1,
        /// The mean of all positions inside image and padding (`count_include_pad`).
        AverageIncludingPad = 2,
    }
}

crate::record! {
    /// Pooling. int8 and int16 averages: `y = round(f32(Σ (x - zx)) × (multiplier / f32(count))) + zy`.
    Pool {
        /// Input `[batch, in_h, in_w, c]`, int8, int16 or float32.
        x: TensorId,
        /// Output `[batch, out_h, out_w, c]`, of the same type.
        y: TensorId,
        /// Shapes; `out_c = in_c`.
        window: Window,
        /// Which.
        kind: PoolKind,
        /// `sx/sy`.
        multiplier: f32,
        /// Rows of padding below and columns to the right, for [`PoolKind::AverageIncludingPad`].
        pad_end: [u32; 2],
    }
}

crate::word_enum! {
    /// What a reduction computes; int16 as int8.
    ReduceKind {
        /// Mean; int8: `round(f32(Σ (x - zx)) × multiplier) + zy` with `multiplier = (sx/sy)/f32(n)`.
        Mean = 0,
        /// Sum; int8: `round(f32(Σ (x - zx)) × multiplier) + zy` with `multiplier = sx/sy`.
        Sum = 1,
        /// Greatest.
        Max = 2,
        /// Least.
        Min = 3,
        /// Product, float32 only.
        Product = 4,
        /// Sum of absolute values, float32 only.
        L1 = 5,
        /// Square root of the sum of squares, float32 only.
        L2 = 6,
        /// Sum of squares, float32 only.
        SumSquare = 7,
    }
}

crate::record! {
    /// `[outer, n, inner]` to `[outer, inner]`.
    ///
    /// From int8 to float32 a mean is `f32(Σ (x - zx)) × multiplier` with `multiplier = sx/f32(n)`, a sum the same with
    /// `sx`, and the greatest or least is `f32(x - zx) × sx`.
    Reduce {
        /// Input, int8, int16 or float32.
        x: TensorId,
        /// Output, of the same type; of [`Step::ReduceToFloat`](crate::plan::step::Step::ReduceToFloat) float32.
        y: TensorId,
        /// Which.
        kind: ReduceKind,
        /// Dimensions in front of the reduced one.
        outer: u32,
        /// Elements reduced to one.
        n: u32,
        /// Dimensions behind the reduced one.
        inner: u32,
        /// For an int8 or int16 input.
        multiplier: f32,
    }
}

crate::record! {
    /// Softmax over the middle of `[outer, n, inner]`. int8, with `d` the distance to the greatest
    /// stored value and `table[d] = round(e^(-d·sx) · 2²³)`:
    /// `y = clamp(round(f32(table[d]) × ((1/sy) / f32(Σ table))) + zy)`.
    Softmax {
        /// Input, int8 or float32.
        x: TensorId,
        /// Output, of the same type.
        y: TensorId,
        /// Dimensions in front.
        outer: u32,
        /// Elements that sum to one.
        n: u32,
        /// Dimensions behind.
        inner: u32,
        /// 256 u32 for int8.
        table: Span,
        /// 1 for the logarithm of the result (float32 only).
        log: u32,
    }
}

crate::record! {
    /// The index of the greatest element of the middle of `[outer, n, inner]`.
    ArgMax {
        /// Input, int8, int16 or float32.
        x: TensorId,
        /// Output, int64 `[outer, inner]`.
        y: TensorId,
        /// Dimensions in front.
        outer: u32,
        /// Elements compared.
        n: u32,
        /// Dimensions behind.
        inner: u32,
        /// 1 looks for the least element.
        least: u32,
        /// 1 takes the last one of equals.
        last: u32,
    }
}

crate::record! {
    /// Layer normalisation of the rows of `[rows, n]`
    /// ([LayerNormalization](https://onnx.ai/onnx/operators/onnx__LayerNormalization.html)), all in f32:
    /// with `s = x + residual`, `y = (s - mean) · (1/√(mean((s - mean)²) + epsilon)) · scale + bias`.
    ///
    /// Sums are those of [`crate::kernels::lanes`]. Where `about_zero` is 1, all means of `s` count as 0
    /// ([RMSNormalization](https://onnx.ai/onnx/operators/onnx__RMSNormalization.html)).
    LayerNorm {
        /// Input, float32 `[rows, n]`.
        x: TensorId,
        /// Added to it first, float32 `[rows, n]`; or none.
        residual: Option<TensorId>,
        /// Output, float32 `[rows, n]`; may be the place of `x` or of the residual.
        y: TensorId,
        /// Rows.
        rows: u32,
        /// Elements of a row.
        n: u32,
        /// f32 `[n]`; absent when all are 1.
        scale: Span,
        /// f32 `[n]`; absent when all are 0.
        bias: Span,
        /// Added to the variance.
        epsilon: f32,
        /// 1 where nothing is taken off the elements.
        about_zero: u32,
    }
}
