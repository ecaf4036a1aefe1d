//! Records of steps that move elements.

use crate::bytes::Span;
use crate::plan::{MAX_RANK, TensorId};

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
    /// Values of boxes of pictures, float32, each box in `out_h × out_w` cells:
    /// [RoiAlign](https://onnx.ai/onnx/operators/onnx__RoiAlign.html) (He and others 2017, «Mask R-CNN»).
    ///
    /// An edge `e` lies at `e·scale`, half a pixel less with `half_pixel`. Sample `i` of `n` of cell `c` lies, down and
    /// across, at `start + c·cell + (i + 0.5)·cell/n`, `cell` being the length of the box (without `half_pixel` at least 1)
    /// over the number of cells. There the four pixels around count with the products `w` of their weights down and across;
    /// farther than 1 in front of the first line or column, or behind the last one's end, a sample is 0.
    /// The result is `Σ (w₁a + w₂b + w₃c + w₄d) / n²`, samples in order of lines, or the greatest `w·x` of all samples.
    /// Nothing is fused. A box of a picture that is not there is an error of the run.
    RoiAlign {
        /// Pictures `[batch, in_h, in_w, channels]`, float32.
        x: TensorId,
        /// Left, upper, right and lower edge of each box, `[count, 4]`, float32.
        boxes: TensorId,
        /// The picture of each box, `[count]`, int64.
        images: TensorId,
        /// Output `[count, out_h, out_w, channels]`, float32.
        y: TensorId,
        /// Pictures.
        batch: u32,
        /// Input rows.
        in_h: u32,
        /// Input columns.
        in_w: u32,
        /// Channels.
        channels: u32,
        /// Boxes.
        count: u32,
        /// Rows of cells.
        out_h: u32,
        /// Columns of cells.
        out_w: u32,
        /// Samples of a cell, down as well as across, at most [`RoiAlign::MOST_SAMPLES`]; 0: the length of the cell in
        /// pixels, rounded up, for each box.
        samples: u32,
        /// What edges are multiplied by.
        scale: f32,
        /// 1 where edges are those of pixels and not their middles.
        half_pixel: u32,
        /// 1 for the greatest, 0 for the mean.
        greatest: u32,
    }
}

impl RoiAlign {
    /// The greatest [`samples`](Self::samples).
    pub const MOST_SAMPLES: u32 = 1 << 8;
}
