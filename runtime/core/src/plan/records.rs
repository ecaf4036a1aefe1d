//! The records of the steps: what each computes, on which tensors. Int8 steps follow the number contract
//! of [`crate::quantization`]; the formula of each stands at its struct.

use super::tensor::{MAX_RANK, TensorId};
use crate::bytes::Span;
pub use crate::math::Function;

crate::record! {
    /// A window sliding over a batch of channels-last images.
    Window {
        /// Images.
        batch: u32,
        /// Input rows.
        in_h: u32,
        /// Input columns.
        in_w: u32,
        /// Input channels.
        in_c: u32,
        /// Output rows.
        out_h: u32,
        /// Output columns.
        out_w: u32,
        /// Output channels.
        out_c: u32,
        /// Window rows.
        kernel_h: u32,
        /// Window columns.
        kernel_w: u32,
        /// Rows from one window to the next.
        stride_h: u32,
        /// Columns from one window to the next.
        stride_w: u32,
        /// Rows between neighbouring taps.
        dilation_h: u32,
        /// Columns between neighbouring taps.
        dilation_w: u32,
        /// Rows of padding above.
        pad_top: u32,
        /// Columns of padding to the left.
        pad_left: u32,
        /// Channel groups.
        groups: u32,
    }
}

impl Window {
    /// Taps of the window.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.kernel_h as usize * self.kernel_w as usize
    }

    /// Input channels of one group.
    #[must_use]
    pub fn group_in(&self) -> usize {
        (self.in_c / self.groups.max(1)) as usize
    }

    /// Output channels of one group.
    #[must_use]
    pub fn group_out(&self) -> usize {
        (self.out_c / self.groups.max(1)) as usize
    }

    /// Output positions of all images.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.batch as usize * self.out_h as usize * self.out_w as usize
    }

    /// Whether each output position reads just the input position of the same number.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1
            && self.stride_h == 1
            && self.stride_w == 1
            && self.pad_top == 0
            && self.pad_left == 0
            && self.in_h == self.out_h
            && self.in_w == self.out_w
    }

    /// Whether no output position sees padding.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        let reach = |out: u32, stride: u32, kernel: u32, dilation: u32| (out - 1) * stride + (kernel - 1) * dilation;
        self.pad_top == 0
            && self.pad_left == 0
            && reach(self.out_h, self.stride_h, self.kernel_h, self.dilation_h) < self.in_h
            && reach(self.out_w, self.stride_w, self.kernel_w, self.dilation_w) < self.in_w
    }

    /// A pointwise window with all positions of all images in one line.
    #[must_use]
    pub(crate) fn as_one_line(&self) -> Self {
        let positions = self.batch * self.in_h * self.in_w;
        Self { batch: 1, in_h: 1, in_w: positions, out_h: 1, out_w: positions, ..*self }
    }
}

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
    /// Product of two activations, `[batch, m, k] · [batch, k, n]`.
    /// int8 and int16: `y = clamp(round(f32(Σ (a - za)(b - zb)) × multiplier) + zy)`, the sum of int16 in 64 bits.
    MatMul {
        /// Left side.
        a: TensorId,
        /// Right side.
        b: TensorId,
        /// Result, of the same type.
        y: TensorId,
        /// Matrices.
        batch: u32,
        /// Elements from one left matrix to the next; 0 repeats the same one.
        a_stride: u32,
        /// Elements from one right matrix to the next; 0 repeats the same one.
        b_stride: u32,
        /// Rows of the left side.
        m: u32,
        /// Columns of the left side.
        k: u32,
        /// Columns of the right side.
        n: u32,
        /// `sa·sb/sy` for int8 and int16.
        multiplier: f32,
    }
}

crate::word_enum! {
    /// An operation on two elements. What is said of int8 holds for int16, whose products are rounded to f32.
    BinaryOp {
        /// `a + b`; int8: `round(f32(a - za)·ma + f32(b - zb)·mb)`.
        Add = 0,
        /// `a - b`; int8: `round(f32(a - za)·ma - f32(b - zb)·mb)`.
        Sub = 1,
        /// `a · b`; int8: `round(f32((a - za)(b - zb))·ma)`.
        Mul = 2,
        /// `a < 0 ? a·b : a`; int8: `a ≥ za ? round(f32(a - za)·ma) : round(f32((a - za)(b - zb))·mb)`.
        PRelu = 3,
        /// `a / b`, float32 only.
        Div = 4,
        /// `max(a, b)`; int8 `max(f32(a - za)·ma, f32(b - zb)·mb)`, rounded.
        Max = 5,
        /// `min(a, b)`; int8 likewise.
        Min = 6,
        /// `a ^ b`, float32 only.
        Pow = 7,
    }
}

crate::record! {
    /// An element-wise operation with broadcasting; strides count elements, 0 repeats.
    Binary {
        /// Which.
        op: BinaryOp,
        /// Left side.
        a: TensorId,
        /// Right side, or none when it is `constant`.
        b: Option<TensorId>,
        /// Right side as constant, of the same type as `a`.
        constant: Span,
        /// Result, of the same type, row-major over `dims`.
        y: TensorId,
        /// Dimensions of the result; those in front are 1.
        dims: [u32; MAX_RANK],
        /// Strides of `a`.
        a_strides: [u32; MAX_RANK],
        /// Strides of `b`.
        b_strides: [u32; MAX_RANK],
        /// Zero point of `b` (that of `a` is in its tensor).
        b_zero_point: i32,
        /// Multiplier `ma`.
        a_multiplier: f32,
        /// Multiplier `mb`.
        b_multiplier: f32,
        /// Least stored int8 or int16 result.
        low: i32,
        /// Greatest stored int8 or int16 result.
        high: i32,
    }
}

crate::record! {
    /// `y = table[x + 128]`: any function of one int8 value.
    Table {
        /// Input, int8.
        x: TensorId,
        /// Output, int8, uint8, int16 or float32, as many elements; one of bytes may be the input's place.
        y: TensorId,
        /// 256 elements of the output's type.
        table: Span,
    }
}

crate::record! {
    /// A function of one float32 value.
    Unary {
        /// Input, float32.
        x: TensorId,
        /// Output, float32; may be the input's place.
        y: TensorId,
        /// Which.
        function: Function,
        /// First attribute.
        alpha: f32,
        /// Second attribute.
        beta: f32,
    }
}

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
        /// Output, of the same type; of [`Step::ReduceToFloat`](super::step::Step::ReduceToFloat) float32.
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
    /// `y[y_offset + Σ i·y_strides] = x[x_offset + Σ i·x_strides]` over `dims`: transpose, slice,
    /// one piece of a concatenation, broadcast. All in elements.
    Copy {
        /// Source, or none when it is `constant`.
        x: Option<TensorId>,
        /// Source as constant.
        constant: Span,
        /// Destination, with elements of the same size.
        y: TensorId,
        /// How many of each dimension; those in front are 1.
        dims: [u32; MAX_RANK],
        /// First element read.
        x_offset: u32,
        /// Strides of the source; negative ones walk back.
        x_strides: [i32; MAX_RANK],
        /// First element written.
        y_offset: u32,
        /// Strides of the destination.
        y_strides: [u32; MAX_RANK],
        /// 256 bytes through which each int8 goes on the way; absent: as it is.
        table: Span,
    }
}

crate::record! {
    /// Sets all bytes of `y`, element by element, to the low bytes of `value`.
    Fill {
        /// Destination.
        y: TensorId,
        /// The element, little-endian.
        value: [u32; 2],
    }
}

crate::record! {
    /// `y[o, i, …] = x[o, indices[i], …]`: nearest resize, edge and reflected padding, constant Gather.
    Gather {
        /// Source `[outer, n, inner]`.
        x: TensorId,
        /// Destination `[outer, number of indices, inner]`, elements of the same type.
        y: TensorId,
        /// Dimensions in front.
        outer: u32,
        /// Length of the axis in the source.
        n: u32,
        /// Elements behind.
        inner: u32,
        /// u32 each.
        indices: Span,
    }
}

crate::record! {
    /// `y[o, i, …] = x[o, indices[i], …]` with indices that are computed: embeddings. Negative indices count from the end;
    /// one outside the axis is an error of the run.
    Lookup {
        /// Source `[outer, n, inner]`, or none when it is `constant`.
        x: Option<TensorId>,
        /// Source as constant.
        constant: Span,
        /// Absent, or the real value of one level in each of the `n` rows, f32: the source is then constant int8, `outer`
        /// 1, and `y` float32: `f32(level) × scale`.
        scales: Span,
        /// int32 or int64.
        indices: TensorId,
        /// Destination `[outer, number of indices, inner]`, elements of the same type.
        y: TensorId,
        /// Dimensions in front.
        outer: u32,
        /// Length of the axis in the source.
        n: u32,
        /// Elements behind.
        inner: u32,
    }
}

crate::record! {
    /// `y = condition ? a : b` with broadcasting; strides count elements, 0 repeats.
    Select {
        /// Bool.
        condition: TensorId,
        /// Taken where the condition holds, or none when it is `a_constant`.
        a: Option<TensorId>,
        /// Taken elsewhere, or none when it is `b_constant`.
        b: Option<TensorId>,
        /// `a` as constant.
        a_constant: Span,
        /// `b` as constant.
        b_constant: Span,
        /// Result, elements of the type of both, row-major over `dims`.
        y: TensorId,
        /// Dimensions of the result; those in front are 1.
        dims: [u32; MAX_RANK],
        /// Strides of the condition.
        condition_strides: [u32; MAX_RANK],
        /// Strides of `a`.
        a_strides: [u32; MAX_RANK],
        /// Strides of `b`.
        b_strides: [u32; MAX_RANK],
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

crate::record! {
    /// Attention (Vaswani and others 2017, «Attention is all you need», scaled dot-product attention) of each head, all in
    /// f32: `y = softmax(q·kᵀ × scale + mask) · v`.
    ///
    /// Products are rounded, then added in order; the softmax is `e^(s - greatest)` as in [`Softmax`], and
    /// `y = (Σ e·v) × (1 / Σ e)`, the last sum that of [`crate::kernels::lanes`].
    Attention {
        /// Queries, float32; a row is contiguous.
        q: TensorId,
        /// Keys, float32; a row is contiguous.
        k: TensorId,
        /// Values, float32; a row is contiguous.
        v: TensorId,
        /// Added to the scores, float32; or none.
        mask: Option<TensorId>,
        /// Result, float32; a row is contiguous.
        y: TensorId,
        /// Room, float32: [`Attention::scratch_len`] elements.
        scratch: TensorId,
        /// Sequences.
        batch: u32,
        /// Heads of queries.
        heads: u32,
        /// Heads of queries that read the same keys and values, one after the other.
        sharing: u32,
        /// Rows of a head's queries and of its result.
        queries: u32,
        /// Rows of a head's keys and values.
        keys: u32,
        /// Elements of a row of queries and keys.
        width: u32,
        /// Elements of a row of values and of the result.
        value_width: u32,
        /// Elements from one sequence, head, row of queries to the next.
        q_strides: [u32; 3],
        /// The same of keys.
        k_strides: [u32; 3],
        /// The same of values.
        v_strides: [u32; 3],
        /// The same of the result.
        y_strides: [u32; 3],
        /// Elements of the mask from one sequence, head, query, key to the next; 0 repeats.
        mask_strides: [u32; 4],
        /// What scores are multiplied by.
        scale: f32,
    }
}

impl Attention {
    /// Elements of scratch: the keys of a head by columns, some of its queries and their scores.
    #[must_use]
    pub fn scratch_len(&self) -> Option<usize> {
        use crate::kernels::lanes::LANES;
        use crate::kernels::portable::attention::TILE;
        let keys = (self.keys as usize).checked_next_multiple_of(LANES)?;
        let columns = (self.width as usize).checked_mul(keys)?;
        let tile = (self.width as usize).checked_add(keys)?.checked_mul(TILE)?;
        columns.checked_add(tile)
    }
}

crate::record! {
    /// Linear interpolation of rows and columns. Row `r` of the result lies between the rows
    /// `rows[r].0` and `rows[r].1` with weight `rows[r].2` of the second; columns likewise.
    /// `top = a·(1-wx) + b·wx`, `v = top·(1-wy) + bottom·wy`; int8 and int16: `round(v·multiplier) + zy` on `x - zx`.
    ResizeLinear {
        /// Input `[batch, in_h, in_w, c]`, int8, int16 or float32.
        x: TensorId,
        /// Output `[batch, out_h, out_w, c]`, of the same type.
        y: TensorId,
        /// Images.
        batch: u32,
        /// Input rows.
        in_h: u32,
        /// Input columns.
        in_w: u32,
        /// Output rows.
        out_h: u32,
        /// Output columns.
        out_w: u32,
        /// Channels.
        channels: u32,
        /// `(u32, u32, f32)` for each output row.
        rows: Span,
        /// `(u32, u32, f32)` for each output column.
        columns: Span,
        /// `sx/sy`.
        multiplier: f32,
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
    /// float32 to int8 or int16 with scale and zero point of `y`.
    Quantize {
        /// Input, float32.
        x: TensorId,
        /// Output, int8 or int16.
        y: TensorId,
    }
}

crate::record! {
    /// int8 or int16 to float32 with scale and zero point of `x`.
    Dequantize {
        /// Input, int8 or int16.
        x: TensorId,
        /// Output, float32.
        y: TensorId,
    }
}

crate::record! {
    /// int16 to another scale, zero point or width: `y = clamp(round(f32(x - zx) × multiplier) + zy)`. (What int8 becomes
    /// is a [`Table`].)
    Requantize {
        /// Input, int16.
        x: TensorId,
        /// Output, int8 or int16, as many elements.
        y: TensorId,
        /// `sx/sy`.
        multiplier: f32,
    }
}

crate::record! {
    /// Converts between types: float to integer towards zero, saturating; integer to integer by its low bits.
    Cast {
        /// Input.
        x: TensorId,
        /// Output.
        y: TensorId,
    }
}

/// Tensors that a [`HostStep`] may read, and as many that it may write.
pub const MAX_HOST_TENSORS: usize = 12;

crate::record! {
    /// Nodes without a native step, kept as an ONNX model for a host that can run them.
    HostStep {
        /// Tensors read; the first [`TensorId::NONE`] ends the list.
        inputs: [TensorId; MAX_HOST_TENSORS],
        /// Tensors written; the first [`TensorId::NONE`] ends the list.
        outputs: [TensorId; MAX_HOST_TENSORS],
        /// A complete ONNX model of the nodes.
        model: Span,
    }
}

impl HostStep {
    /// The tensors read.
    pub fn input_ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        self.inputs.into_iter().take_while(|&id| id != TensorId::NONE)
    }

    /// The tensors written.
    pub fn output_ids(&self) -> impl Iterator<Item = TensorId> + use<> {
        self.outputs.into_iter().take_while(|&id| id != TensorId::NONE)
    }
}
