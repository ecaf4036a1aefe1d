//! A set of kernels without those of some kinds of steps.

use super::Kernels;
use crate::plan::StepSet;
use crate::plan::step::opcode;
use crate::session::executors;

/// `kernels` without those of the steps outside `set`. [`crate::Session`] takes no plan that has such a step, so what
/// stands in their place is never called.
pub(super) const fn restrict(kernels: Kernels, set: StepSet) -> Kernels {
    // What was left out before is not there any more.
    let set = kernels.steps.and(set);
    let mut few = kernels;
    few.steps = set;
    few.executors = executors::only(set);
    let (indexed, sparse) = (set.has(opcode::IndexedConvI8, false), set.has(opcode::SparseConvI8, false));
    if !indexed {
        few.expand_indexed = |_| {};
    }
    if !sparse {
        few.expand_sparse = |_, _| 0;
    }
    if !set.has(opcode::ConvI8, false) && !indexed && !sparse {
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
    if !set.has(opcode::ReduceToFloat, false) {
        few.reduce_to_float = |_, _, _, _| {};
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

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::plan::{HEADER_BYTES, MAGIC};

    /// A file whose step table, behind the header, is one record without fields.
    fn file(opcode: usize) -> Vec<u8> {
        let mut file = std::vec![0; HEADER_BYTES];
        file[..4].copy_from_slice(&MAGIC);
        file[28..32].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        file[32..36].copy_from_slice(&12_u32.to_le_bytes());
        file.extend((opcode as u32 | 3 << 16).to_le_bytes());
        file.extend([0; 8]);
        file
    }

    #[test]
    fn what_is_left_out_stays_out() {
        let (conv, fill) = (file(opcode::ConvI8), file(opcode::Fill));
        let once = Kernels::PORTABLE.only(&conv);
        // Bit 2 · opcode, and ConvI8 is 1.
        assert_eq!(once.steps.bits(), 1 << 2);
        assert_eq!(once.only(&conv).steps.bits(), 1 << 2);
        assert_eq!(Kernels::PORTABLE.only(&fill).only(&conv).steps.bits(), 0);
    }
}
