//! Records of element-wise steps and conversions.

use crate::bytes::Span;
pub use crate::math::Function;
use crate::plan::{MAX_RANK, TensorId};

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

crate::word_enum! {
    /// How two elements are compared. With a NaN only [`NotEqual`](Self::NotEqual) holds.
    Comparison {
        /// `a < b`
        Less = 1,
        /// `a = b`
        Equal = 2,
        /// `a ≤ b`
        LessOrEqual = 3,
        /// `a > b`
        Greater = 4,
        /// `a ≥ b`
        GreaterOrEqual = 6,
        /// `a ≠ b`
        NotEqual = 13,
    }
}

crate::record! {
    /// Compares elements, with broadcasting; strides count elements, 0 repeats. Of truths the true one is the greater.
    Compare {
        /// How: the sum of 1 where it holds for less, 2 for equal, 4 for greater and 8 where one is NaN.
        comparison: Comparison,
        /// Left side, float32, int32, int64 or bool.
        a: TensorId,
        /// Right side, or none when it is `constant`.
        b: Option<TensorId>,
        /// Right side as constant, of the same type as `a`.
        constant: Span,
        /// Result, bool, row-major over `dims`.
        y: TensorId,
        /// Dimensions of the result; those in front are 1.
        dims: [u32; MAX_RANK],
        /// Strides of `a`.
        a_strides: [u32; MAX_RANK],
        /// Strides of `b`.
        b_strides: [u32; MAX_RANK],
    }
}

crate::record! {
    /// float32 to int8 with scale and zero point of this run
    /// ([DynamicQuantizeLinear](https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html)): from the least `a` and
    /// the greatest `b` of all elements and 0, `scale = (b - a)/255`, or 1 where that is 0,
    /// `zero = clamp(round(0 - a/scale), 0, 255) - 128`, `y = clamp(round(x/scale) + zero)`.
    QuantizeDynamic {
        /// Input, float32.
        x: TensorId,
        /// Output, int8; scale and zero point of its entry mean nothing.
        y: TensorId,
        /// Scale and zero point, float32 `[2]`.
        parameters: TensorId,
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
