//! x86-64: AVX2, AVX-VNNI, and AVX-512 with VNNI.
//!
//! Most kernels are the portable ones, compiled once more with the instruction set switched on; the
//! compiler never fuses or reorders float operations, so the bits stay the same. Convolutions and
//! additions are written by hand.

mod add;
mod conv_i16;
mod cpu;
mod depthwise_i16;
mod depthwise_madd;
mod depthwise_vnni;
mod expand;
mod finish;
mod finish_i16;
mod float;
mod paired;
mod pairs;
mod panel;
mod pool;
mod table;
mod vnni;
mod winograd;
mod words;
mod ymm;

use core::cell::Cell;

use super::portable::{
    PORTABLE, conv, depthwise, depthwise_i16 as portable_depthwise_i16, elementwise, layer_norm, pool as portable_pool,
    softmax,
};
use super::{ConvI8Args, ConvI16Args, Kernels, KernelsI16, ReduceArgs, ReduceI8Args, Row, RowI8};
use crate::bytes::F32s;
use crate::math::Function;
use crate::plan::step::{BinaryOp, LayerNorm, MatMul, Pool, Reduce, Softmax};
use crate::quantization::{Target, TargetI16};

/// Compiles portable kernels for an instruction set: a module with one plain function for each.
///
/// Safety of the calls inside: the module's functions stand only in a [`Kernels`] value that
/// [`available`] gives out after [`cpu`] has found all the features.
macro_rules! compiled_for {
    ($module:ident, $features:literal, {
        $($name:ident = $path:path: ($($argument:ident: $type:ty),*) $(-> $result:ty)?),* $(,)?
    }) => {
        mod $module {
            use super::*;
            $(
                pub fn $name($($argument: $type),*) $(-> $result)? {
                    #[target_feature(enable = $features)]
                    fn inner($($argument: $type),*) $(-> $result)? {
                        $path($($argument),*)
                    }
                    // SAFETY: see the macro: the CPU has the features.
                    unsafe { inner($($argument),*) }
                }
            )*
        }
    };
}

macro_rules! all_portable_for {
    ($module:ident, $features:literal) => {
        compiled_for!($module, $features, {
            conv_i8 = conv::conv: (args: ConvI8Args<'_>),
            depthwise_i8 = depthwise::depthwise: (args: ConvI8Args<'_>),
            matmul_f32 = portable_pool::matmul_f32: (s: &MatMul, a: &[f32], b: &[f32], y: &mut [f32]),
            pool_f32 = portable_pool::pool_f32: (s: &Pool, x: &[f32], y: &mut [f32]),
            unary = elementwise::unary_vectorised:
                (x: &[Cell<f32>], y: &[Cell<f32>], function: Function, alpha: f32, beta: f32),
            mul_i8 = elementwise::mul_i8: (row: &RowI8<'_>),
            pool_i8 = portable_pool::pool: (args: ReduceI8Args<'_, Pool>),
            reduce_i8 = portable_pool::reduce: (args: ReduceI8Args<'_, Reduce>),
            reduce_to_float = portable_pool::reduce_to_float: (s: &Reduce, x: &[i8], zero_point: i32, y: &mut [f32]),
            softmax_i8 = softmax::softmax_i8: (args: ReduceI8Args<'_, Softmax>, table: &[u8], inverse_scale: f32),
            layer_norm = layer_norm::layer_norm: (s: &LayerNorm, y: &mut [f32], scale: F32s<'_>, bias: F32s<'_>),
            extent = elementwise::extent: (x: &[f32]) -> [f32; 2],
            quantize = elementwise::quantize: (x: &[f32], scale: f32, y: &mut [i8], target: Target),
            dequantize = elementwise::dequantize: (x: &[i8], scale: f32, zero_point: i32, y: &mut [f32]),
            depthwise_i16 = portable_depthwise_i16::depthwise: (args: ConvI16Args<'_>),
            matmul_i16 = portable_pool::matmul_i16:
                (s: &MatMul, a: &[i16], b: &[i16], zero_points: [i32; 2], y: &mut [i16], target: TargetI16),
            binary_i16 = elementwise::binary_i16: (op: BinaryOp, row: &Row<'_, i16>),
            pool_i16 = portable_pool::pool: (args: ReduceArgs<'_, Pool, i16>),
            reduce_i16 = portable_pool::reduce: (args: ReduceArgs<'_, Reduce, i16>),
            quantize_i16 = elementwise::quantize: (x: &[f32], scale: f32, y: &mut [i16], target: TargetI16),
            dequantize_i16 = elementwise::dequantize: (x: &[i16], scale: f32, zero_point: i32, y: &mut [f32]),
            requantize = elementwise::requantize:
                (x: &[i16], zero_point: i32, multiplier: f32, y: &mut [i16], target: TargetI16),
            requantize_i8 = elementwise::requantize:
                (x: &[i16], zero_point: i32, multiplier: f32, y: &mut [i8], target: Target),
        });
    };
}

all_portable_for!(avx2, "avx2");
all_portable_for!(avx512, "avx512f,avx512bw,avx512vl,avx512dq,avx2");

macro_rules! kernels {
    ($name:literal, $module:ident, least_work: $least_work:literal, conv_i8: $conv:path, depthwise_i8: $depthwise:path, add_i8: $add:path, conv_i16: $conv_i16:path, depthwise_i16: $depthwise_i16:path, table: $table:path) => {
        Kernels {
            name: $name,
            least_work: $least_work,
            conv_i8: $conv,
            depthwise_i8: $depthwise,
            expand_indexed: expand::indexed,
            expand_sparse: expand::sparse,
            conv_f32: float::$module::conv,
            depthwise_f32: float::$module::depthwise,
            matmul_f32: float::$module::matmul,
            pool_f32: $module::pool_f32,
            unary: $module::unary,
            add_i8: $add,
            mul_i8: $module::mul_i8,
            table: $table,
            pool_i8: |args| pool::pool(args, $module::pool_i8),
            reduce_i8: $module::reduce_i8,
            reduce_to_float: $module::reduce_to_float,
            softmax_i8: $module::softmax_i8,
            layer_norm: $module::layer_norm,
            attention: float::$module::attention,
            quantize: $module::quantize,
            extent: $module::extent,
            dequantize: $module::dequantize,
            i16: KernelsI16 {
                conv: $conv_i16,
                depthwise: $depthwise_i16,
                matmul: $module::matmul_i16,
                binary: $module::binary_i16,
                pool: $module::pool_i16,
                reduce: $module::reduce_i16,
                quantize: $module::quantize_i16,
                dequantize: $module::dequantize_i16,
                requantize: $module::requantize,
                requantize_i8: $module::requantize_i8,
            },
            ..PORTABLE
        }
    };
}

static AVX2: Kernels = kernels!(
    "avx2",
    avx2,
    least_work: 500_000,
    conv_i8: ymm::conv_avx2,
    depthwise_i8: depthwise_madd::depthwise,
    add_i8: add::add_256,
    conv_i16: conv_i16::conv_avx2,
    depthwise_i16: depthwise_i16::depthwise_avx2,
    table: table::table_avx2
);
static AVX_VNNI: Kernels = kernels!(
    "avx-vnni",
    avx2,
    least_work: 1_000_000,
    conv_i8: ymm::conv_vnni,
    depthwise_i8: depthwise_madd::depthwise,
    add_i8: add::add_256,
    conv_i16: conv_i16::conv_vnni,
    depthwise_i16: depthwise_i16::depthwise_vnni,
    table: table::table_avx2
);
static AVX512_VNNI: Kernels = kernels!(
    "avx512-vnni",
    avx512,
    least_work: 1_000_000,
    conv_i8: vnni::conv,
    depthwise_i8: depthwise_vnni::depthwise,
    add_i8: add::add_512,
    conv_i16: conv_i16::conv_avx512,
    depthwise_i16: depthwise_i16::depthwise_avx512,
    table: table::table_avx512
);

/// The sets that this CPU can run, the slowest first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    let features = cpu::Features::detect();
    let sets = [(features.avx2, &AVX2), (features.avx_vnni, &AVX_VNNI), (features.avx512_vnni, &AVX512_VNNI)];
    sets.into_iter().filter(|(there, _)| *there).map(|(_, kernels)| kernels)
}
