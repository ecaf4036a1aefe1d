//! Where prepared input goes.

use cygnet_core::Session;
use cygnet_core::kernels::view;
use cygnet_core::plan::{DType, Port, Tensor};
use cygnet_sense::{Output, Quantization};

use crate::boundary::Outcome;
use crate::status::CygnetStatus;

/// The place of an input in the arena, and how real numbers stand there.
pub(crate) fn place<'a>(
    engine: &'a mut Session<'_, '_>,
    index: u32,
    port: &Port,
    tensor: &Tensor,
) -> Outcome<Output<'a>> {
    let bytes = engine.input_bytes(index as usize)?;
    match (port.dtype, tensor.dtype) {
        (DType::F32, DType::F32) => Ok(Output::F32(view::f32s_mut(bytes))),
        (DType::F32, DType::I8) => {
            let quantization = Quantization { scale: tensor.scale, zero_point: tensor.zero_point };
            Ok(Output::I8(view::i8s_mut(bytes), quantization))
        }
        // The numbers themselves are the elements, and lie shifted by 128.
        (DType::U8, DType::I8) => Ok(Output::I8(view::i8s_mut(bytes), Quantization { scale: 1.0, zero_point: -128 })),
        _ => Err(CygnetStatus::ElementType),
    }
}
