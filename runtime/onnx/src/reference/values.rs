//! Our tensors to tract's and back.

use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{DatumType, Tensor as Value, TractError, TractResult};
use tract_onnx::tract_core::internal::{Datum, TDim};

use crate::model::{DType, Tensor};

/// Our name for tract's type.
pub(super) fn dtype(of: DatumType) -> TractResult<DType> {
    Ok(match of.unquantized() {
        DatumType::F32 => DType::F32,
        DatumType::F64 => DType::F64,
        DatumType::F16 => DType::F16,
        DatumType::I8 => DType::I8,
        DatumType::U8 => DType::U8,
        DatumType::I16 => DType::I16,
        DatumType::U16 => DType::U16,
        DatumType::I32 => DType::I32,
        DatumType::U32 => DType::U32,
        // tract keeps shapes symbolic; here every one of them is a number.
        DatumType::I64 | DatumType::TDim => DType::I64,
        DatumType::U64 => DType::U64,
        DatumType::Bool => DType::Bool,
        other => return Err(TractError::msg(format!("tensors of {other:?} are not supported"))),
    })
}

pub(super) fn to_tract(tensor: &Tensor) -> TractResult<Value> {
    macro_rules! elements {
        ($type:ty) => {{
            let read = |b: &[u8]| {
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(b);
                <$type>::from_le_bytes(bytes)
            };
            let values: Vec<$type> = tensor.data.chunks_exact(size_of::<$type>()).map(read).collect();
            array(&tensor.shape, values)
        }};
    }
    match tensor.dtype {
        DType::F32 => elements!(f32),
        DType::F64 => elements!(f64),
        DType::F16 => elements!(half::f16),
        DType::I8 => elements!(i8),
        DType::U8 => elements!(u8),
        DType::I16 => elements!(i16),
        DType::U16 => elements!(u16),
        DType::I32 => elements!(i32),
        DType::U32 => elements!(u32),
        DType::I64 => elements!(i64),
        DType::U64 => elements!(u64),
        DType::Bool => array(&tensor.shape, tensor.data.iter().map(|&b| b != 0).collect()),
        other => Err(TractError::msg(format!("tensors of {other} are not supported"))),
    }
}

fn array<T: Datum>(shape: &[usize], values: Vec<T>) -> TractResult<Value> {
    Ok(ArrayD::from_shape_vec(shape, values)?.into())
}

pub(super) fn from_tract(value: &Value) -> TractResult<Tensor> {
    let dtype = dtype(value.datum_type())?;
    let whole;
    let value = if value.datum_type() == TDim::datum_type() {
        whole = value.cast_to::<i64>()?;
        &*whole
    } else {
        value
    };
    // Elements lie in memory as the machine has them; every machine we run on is little endian.
    const { assert!(cfg!(target_endian = "little")) };
    Ok(Tensor { dtype, shape: value.shape().to_vec(), data: value.try_as_plain_ram()?.as_bytes().to_vec() })
}
