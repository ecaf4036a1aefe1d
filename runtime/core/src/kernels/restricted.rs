//! A set of kernels without those of some kinds of steps.

use super::{Kernels, KernelsI16};
use crate::plan::step::opcode;
use crate::plan::{Form, StepSet};

/// `kernels` without those of the steps outside `set`. [`crate::Session`] takes no plan that has such a step, so what
/// stands in their place is never called.
pub(super) const fn restrict(kernels: Kernels, set: StepSet) -> Kernels {
    // What was left out before is not there any more.
    let mut few = kernels;
    few.kinds = kernels.kinds.only(set);
    let set = few.kinds.set();
    let (indexed, sparse) = (set.has(opcode::IndexedConvI8, Form::I8), set.has(opcode::SparseConvI8, Form::I8));
    if !indexed {
        few.expand_indexed = |_| {};
    }
    if !sparse {
        few.expand_sparse = |_, _| 0;
    }
    let (dynamic, partial) = (set.has(opcode::ConvI8Dynamic, Form::I8), set.has(opcode::PartialConvI8, Form::I8));
    if !set.has(opcode::ConvI8, Form::I8) && !indexed && !sparse && !dynamic && !partial {
        few.conv_i8 = |_| {};
    }
    if !set.has(opcode::DepthwiseI8, Form::I8) {
        few.depthwise_i8 = |_| {};
    }
    if !set.has(opcode::ConvF32, Form::I8) && !recurrent(set, Form::F32) {
        few.conv_f32 = |_| {};
    }
    if !set.has(opcode::DepthwiseF32, Form::I8) {
        few.depthwise_f32 = |_| {};
    }
    if !set.has(opcode::MatMul, Form::F32) {
        few.matmul_f32 = |_, _, _, _| {};
    }
    if !set.has(opcode::Binary, Form::I8) {
        few.add_i8 = |_| {};
        few.mul_i8 = |_| {};
        few.binary_i8 = |_, _| {};
    }
    if !set.has(opcode::Table, Form::I8) {
        few.table = |_, _, _| {};
    }
    if !set.has(opcode::Unary, Form::I8) {
        few.unary = |_, _, _, _, _| {};
    }
    if !set.has(opcode::Pool, Form::I8) {
        few.pool_i8 = |_| {};
    }
    if !set.has(opcode::Pool, Form::F32) {
        few.pool_f32 = |_, _, _| {};
    }
    if !set.has(opcode::Reduce, Form::I8) {
        few.reduce_i8 = |_| {};
    }
    if !set.has(opcode::ReduceToFloat, Form::I8) {
        few.reduce_to_float = |_, _, _, _| {};
    }
    if !set.has(opcode::Softmax, Form::I8) {
        few.softmax_i8 = |_, _, _| {};
    }
    if !set.has(opcode::LayerNorm, Form::I8) {
        few.layer_norm = |_, _, _, _| {};
    }
    if !set.has(opcode::Attention, Form::I8) && !set.has(opcode::CachedAttention, Form::I8) {
        few.attention = |_| {};
    }
    if !set.has(opcode::QuantizeDynamic, Form::I8) {
        few.extent = |_| [0.0; 2];
    }
    if !set.has(opcode::Quantize, Form::I8) && !set.has(opcode::QuantizeDynamic, Form::I8) {
        few.quantize = |_, _, _, _| {};
    }
    if !set.has(opcode::Dequantize, Form::I8) {
        few.dequantize = |_, _, _, _| {};
    }
    few.i16 = restrict_i16(few.i16, set);
    few
}

/// Whether the set has recurrent layers of a form.
const fn recurrent(set: StepSet, form: Form) -> bool {
    set.has(opcode::Lstm, form) || set.has(opcode::Gru, form) || set.has(opcode::Rnn, form)
}

/// [`restrict`] for those that work on int16.
const fn restrict_i16(kernels: KernelsI16, set: StepSet) -> KernelsI16 {
    let mut few = kernels;
    if !set.has(opcode::ConvI16, Form::I8) && !recurrent(set, Form::I16) {
        few.conv = |_| {};
    }
    if !set.has(opcode::DepthwiseI16, Form::I8) {
        few.depthwise = |_| {};
    }
    if !set.has(opcode::MatMul, Form::I16) {
        few.matmul = |_, _, _, _, _, _| {};
    }
    if !set.has(opcode::Binary, Form::I16) {
        few.binary = |_, _| {};
    }
    if !set.has(opcode::Pool, Form::I16) {
        few.pool = |_| {};
    }
    if !set.has(opcode::Reduce, Form::I16) {
        few.reduce = |_| {};
    }
    if !set.has(opcode::Quantize, Form::I16) {
        few.quantize = |_, _, _, _| {};
    }
    if !set.has(opcode::Dequantize, Form::I16) {
        few.dequantize = |_, _, _, _| {};
    }
    if !set.has(opcode::Requantize, Form::I16) {
        few.requantize = |_, _, _, _, _| {};
    }
    if !set.has(opcode::Requantize, Form::I8) {
        few.requantize_i8 = |_, _, _, _, _| {};
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
        // Number 2 · opcode, and ConvI8 is 1.
        for kernels in [once, once.only(&conv)] {
            let set = kernels.kinds.set();
            assert!(set.has_number(2) && set.len() == 1);
        }
        assert!(Kernels::PORTABLE.only(&fill).only(&conv).kinds.set().is_empty());
    }
}
