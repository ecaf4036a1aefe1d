//! What runs each kind of step, in a table.

use super::{
    Context, cache, compressed, convolution, dynamic, elementwise, host, movement, product, recurrent, reduction,
    transformer,
};
use crate::error::Error;
use crate::plan::Form;
use crate::plan::step::{Step, opcode};
use crate::session::Host;

/// Runs one step of its kind.
pub(crate) type Executor = fn(&mut Context<'_, '_>, &Step, &mut dyn Host) -> Result<(), Error>;

/// By opcode and [`Form`].
pub(crate) type Executors = [[Executor; Form::COUNT]; opcode::COUNT];

/// All of them. Int8 convolutions run without a look at the table.
pub(crate) const ALL: Executors = {
    let mut table: Executors = [[refuse; Form::COUNT]; opcode::COUNT];
    table[opcode::ConvF32] = [convolution::conv_f32, refuse, refuse];
    table[opcode::DepthwiseF32] = [convolution::depthwise_f32, refuse, refuse];
    table[opcode::MatMul] = [product::matmul_i8, product::matmul_f32, product::matmul_i16];
    table[opcode::Binary] = [elementwise::binary_i8, elementwise::binary_f32, elementwise::binary_i16];
    table[opcode::Table] = [elementwise::table_i8, elementwise::table_f32, elementwise::table_i16];
    table[opcode::Unary] = [elementwise::unary, refuse, refuse];
    table[opcode::Pool] = [reduction::pool_i8, reduction::pool_f32, reduction::pool_i16];
    table[opcode::Reduce] = [reduction::reduce_i8, reduction::reduce_f32, reduction::reduce_i16];
    table[opcode::Softmax] = [reduction::softmax_i8, reduction::softmax_f32, refuse];
    table[opcode::Copy] = [movement::copy, refuse, refuse];
    table[opcode::Fill] = [movement::fill, refuse, refuse];
    table[opcode::Gather] = [movement::gather, refuse, refuse];
    table[opcode::ResizeLinear] = [movement::resize_i8, movement::resize_f32, movement::resize_i16];
    table[opcode::RoiAlign] = [movement::roi_align, refuse, refuse];
    table[opcode::ArgMax] = [reduction::arg_max_i8, reduction::arg_max_f32, reduction::arg_max_i16];
    table[opcode::Quantize] = [elementwise::quantize_i8, refuse, elementwise::quantize_i16];
    table[opcode::Dequantize] = [elementwise::dequantize_i8, refuse, elementwise::dequantize_i16];
    table[opcode::Cast] = [elementwise::cast, refuse, refuse];
    table[opcode::HostStep] = [host::host, refuse, refuse];
    table[opcode::ConvI16] = [convolution::conv_i16, refuse, refuse];
    table[opcode::DepthwiseI16] = [convolution::depthwise_i16, refuse, refuse];
    table[opcode::Requantize] = [elementwise::requantize_i8, refuse, elementwise::requantize_i16];
    table[opcode::PartialConvI8] = [convolution::partial_conv_i8, refuse, refuse];
    table[opcode::IndexedConvI8] = [compressed::indexed, refuse, refuse];
    table[opcode::SparseConvI8] = [compressed::sparse, refuse, refuse];
    table[opcode::ReduceToFloat] = [reduction::reduce_to_float, refuse, refuse];
    table[opcode::Lstm] = [refuse, recurrent::lstm_f32, recurrent::lstm_i16];
    table[opcode::Gru] = [refuse, recurrent::gru_f32, recurrent::gru_i16];
    table[opcode::Rnn] = [refuse, recurrent::rnn_f32, recurrent::rnn_i16];
    table[opcode::Lookup] = [transformer::lookup, refuse, refuse];
    table[opcode::Select] = [transformer::select, refuse, refuse];
    table[opcode::Compare] = [transformer::compare, refuse, refuse];
    table[opcode::LayerNorm] = [transformer::layer_norm, refuse, refuse];
    table[opcode::Attention] = [transformer::attention, refuse, refuse];
    table[opcode::CacheRows] = [cache::rows, refuse, refuse];
    table[opcode::CachedAttention] = [cache::attention, refuse, refuse];
    table[opcode::QuantizeDynamic] = [dynamic::quantize, refuse, refuse];
    table[opcode::ConvI8Dynamic] = [dynamic::conv_i8, refuse, refuse];
    table
};

/// Runs a step that is no int8 convolution.
#[inline(never)]
pub(super) fn run(context: &mut Context<'_, '_>, step: &Step, host: &mut dyn Host) -> Result<(), Error> {
    let form = match step.deciding_tensor() {
        Some(id) => Form::of(Some(context.tensor(id)?.dtype)),
        None => Form::I8,
    };
    let executor = context.kernels.kinds.executor(step, form);
    executor(context, step, host)
}

/// Stands for the kinds that are left out.
pub(crate) fn refuse(context: &mut Context<'_, '_>, _: &Step, _: &mut dyn Host) -> Result<(), Error> {
    Err(Error::NoKernel { step: context.index })
}

/// Functions for the table, each with the fields of its kind of step.
macro_rules! executors {
    ($($name:ident($context:ident, $s:ident: $variant:ident) $body:block)*) => {
        $(
            pub(super) fn $name(
                $context: &mut $crate::session::execute::Context<'_, '_>,
                step: &$crate::plan::Step,
                _: &mut dyn $crate::session::Host,
            ) -> Result<(), $crate::Error> {
                let $crate::plan::Step::$variant($s) = step else { return Err($context.refused()) };
                $body
                Ok(())
            }
        )*
    };
}

pub(super) use executors;
