//! What each kind of step demands of its tensors and constants, in a table: firmware leaves out the kinds that its plan has
//! not.

mod cache;
mod convolution;
mod elementwise;
mod movement;
mod operands;
mod product;
mod recurrent;
mod reduction;
mod sums;

use crate::plan::Plan;
use crate::plan::step::{Step, opcode};

/// That all is well, or the broken rule.
type Rule = Result<(), &'static str>;

/// Checks a step of its kind whose tensors exist and are alive.
pub(crate) type Demand = fn(&Plan<'_>, &Step) -> Rule;

/// By opcode.
pub(crate) type Demands = [Demand; opcode::COUNT];

/// All of them.
pub(crate) const ALL: Demands = {
    let mut table: Demands = [refuse; opcode::COUNT];
    table[opcode::ConvI8] = convolution::conv_i8;
    table[opcode::DepthwiseI8] = convolution::depthwise_i8;
    table[opcode::ConvF32] = convolution::conv_f32;
    table[opcode::DepthwiseF32] = convolution::depthwise_f32;
    table[opcode::PartialConvI8] = convolution::partial_conv_i8;
    table[opcode::IndexedConvI8] = convolution::indexed_conv_i8;
    table[opcode::SparseConvI8] = convolution::sparse_conv_i8;
    table[opcode::ConvI16] = convolution::conv_i16;
    table[opcode::DepthwiseI16] = convolution::depthwise_i16;
    table[opcode::ConvI8Dynamic] = convolution::conv_i8_dynamic;
    table[opcode::MatMul] = product::matmul;
    table[opcode::Attention] = product::attention;
    table[opcode::CacheRows] = cache::rows;
    table[opcode::CachedAttention] = cache::attention;
    table[opcode::Lstm] = recurrent::lstm;
    table[opcode::Gru] = recurrent::gru;
    table[opcode::Rnn] = recurrent::rnn;
    table[opcode::Binary] = elementwise::binary;
    table[opcode::Table] = elementwise::table;
    table[opcode::Unary] = elementwise::unary;
    table[opcode::Select] = elementwise::select;
    table[opcode::Compare] = elementwise::compare;
    table[opcode::Quantize] = elementwise::quantize;
    table[opcode::QuantizeDynamic] = elementwise::quantize_dynamic;
    table[opcode::Dequantize] = elementwise::dequantize;
    table[opcode::Requantize] = elementwise::requantize;
    table[opcode::Cast] = elementwise::cast;
    table[opcode::Pool] = reduction::pool;
    table[opcode::Reduce] = reduction::reduce;
    table[opcode::ReduceToFloat] = reduction::reduce_to_float;
    table[opcode::Softmax] = reduction::softmax;
    table[opcode::ArgMax] = reduction::arg_max;
    table[opcode::LayerNorm] = reduction::layer_norm;
    table[opcode::Copy] = movement::copy;
    table[opcode::Fill] = movement::fill;
    table[opcode::Gather] = movement::gather;
    table[opcode::Lookup] = movement::lookup;
    table[opcode::ResizeLinear] = movement::resize_linear;
    table[opcode::RoiAlign] = movement::roi_align;
    table[opcode::HostStep] = movement::host;
    table
};

/// Stands for the kinds that are left out, and refuses what belongs to another kind.
pub(crate) fn refuse(_: &Plan<'_>, _: &Step) -> Rule {
    Err("its kind is not known here")
}

/// Functions for the table, each with the fields of its kind of step.
macro_rules! rules {
    ($($name:ident($plan:ident, $s:ident: $variant:ident) $body:block)*) => {
        $(
            pub(super) fn $name(
                $plan: &$crate::plan::Plan<'_>,
                step: &$crate::plan::Step,
            ) -> $crate::verify::demands::Rule {
                let $crate::plan::Step::$variant($s) = step else {
                    return $crate::verify::demands::refuse($plan, step);
                };
                $body
            }
        )*
    };
}

use rules;
