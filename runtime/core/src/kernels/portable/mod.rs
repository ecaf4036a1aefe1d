//! The portable kernels: plain loops, the specification of every step.

pub(crate) mod attention;
mod compare;
pub(crate) mod conv;
pub(crate) mod conv_f32;
pub(crate) mod conv_i16;
pub(crate) mod depthwise;
pub(crate) mod depthwise_i16;
pub(crate) mod elementwise;
pub(crate) mod expand;
pub(crate) mod layer_norm;
pub mod movement;
pub(crate) mod pool;
pub mod recurrent;
mod resize;
mod roi_align;
pub(crate) mod softmax;

pub use compare::compare;
pub(crate) use elementwise::for_each_row;
pub use elementwise::{binary_f32, cast, table_f32, table_i16};
pub use pool::{arg_max, matmul_i8, reduce_f32};
pub use resize::resize_linear;
pub use roi_align::roi_align;
pub use softmax::softmax_f32;

use super::{Kernels, KernelsI16};
use crate::kinds::Kinds;

/// Cores without an operating system have little flash and no vectors.
const SMALL: bool = cfg!(target_os = "none");

/// The portable set.
pub static KERNELS: Kernels = PORTABLE;

/// The portable set, to be restricted in a constant.
pub(crate) const PORTABLE: Kernels = Kernels {
    name: "portable",
    kinds: Kinds::ALL,
    least_work: crate::team::LEAST_WORK,
    conv_i8: conv::conv,
    depthwise_i8: depthwise::depthwise,
    expand_indexed: expand::indexed,
    expand_sparse: expand::sparse,
    conv_f32: conv_f32::conv,
    depthwise_f32: conv_f32::depthwise,
    matmul_f32: pool::matmul_f32,
    pool_f32: pool::pool_f32,
    unary: elementwise::unary,
    add_i8: elementwise::add_i8,
    mul_i8: elementwise::mul_i8,
    binary_i8: elementwise::binary_i8,
    table: elementwise::table,
    pool_i8: pool::pool,
    reduce_i8: pool::reduce,
    reduce_to_float: pool::reduce_to_float,
    softmax_i8: softmax::softmax_i8,
    extent: elementwise::extent,
    layer_norm: layer_norm::layer_norm,
    attention: attention::attention,
    quantize: elementwise::quantize,
    dequantize: elementwise::dequantize,
    i16: KernelsI16 {
        conv: conv_i16::conv,
        depthwise: depthwise_i16::depthwise,
        matmul: pool::matmul_i16,
        binary: elementwise::binary_i16,
        pool: pool::pool,
        reduce: pool::reduce,
        quantize: elementwise::quantize,
        dequantize: elementwise::dequantize,
        requantize: elementwise::requantize,
        requantize_i8: elementwise::requantize,
    },
};
