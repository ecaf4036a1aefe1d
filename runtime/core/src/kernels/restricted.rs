//! A set of kernels without those of some kinds of steps.

use super::Kernels;
use crate::plan::StepSet;
use crate::plan::step::opcode;
use crate::session::executors;

/// `kernels` without those of the steps outside `set`. [`crate::Session`] takes no plan that has such a step, so what
/// stands in their place is never called.
pub(super) const fn restrict(kernels: Kernels, set: StepSet) -> Kernels {
    let mut few = kernels;
    few.steps = set;
    few.executors = executors::only(set);
    if !set.has(opcode::ConvI8, false) {
        few.conv_i8 = |_| {};
    }
    if !set.has(opcode::DepthwiseI8, false) {
        few.depthwise_i8 = |_| {};
    }
    if !set.has(opcode::ConvF32, false) {
        few.conv_f32 = |_| {};
    }
    if !set.has(opcode::DepthwiseF32, false) {
        few.depthwise_f32 = |_| {};
    }
    if !set.has(opcode::MatMul, true) {
        few.matmul_f32 = |_, _, _, _| {};
    }
    if !set.has(opcode::Binary, false) {
        few.add_i8 = |_| {};
        few.mul_i8 = |_| {};
        few.binary_i8 = |_, _| {};
    }
    if !set.has(opcode::Table, false) {
        few.table = |_, _, _| {};
    }
    if !set.has(opcode::Unary, false) {
        few.unary = |_, _, _, _, _| {};
    }
    if !set.has(opcode::Pool, false) {
        few.pool_i8 = |_| {};
    }
    if !set.has(opcode::Pool, true) {
        few.pool_f32 = |_, _, _| {};
    }
    if !set.has(opcode::Reduce, false) {
        few.reduce_i8 = |_| {};
    }
    if !set.has(opcode::Softmax, false) {
        few.softmax_i8 = |_, _, _| {};
    }
    if !set.has(opcode::Quantize, false) {
        few.quantize = |_, _, _, _| {};
    }
    if !set.has(opcode::Dequantize, false) {
        few.dequantize = |_, _, _, _| {};
    }
    few
}
