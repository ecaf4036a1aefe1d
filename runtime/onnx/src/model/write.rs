//! From [`Model`] to protobuf.

use std::io::Write;
use std::path::Path;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;

use super::{Attribute, DType, Dim, Model, ModelError, Node, Tensor, ValueInfo};

pub(super) fn bytes(model: &Model) -> Vec<u8> {
    model_proto(model).encode_to_vec()
}

/// Writes `bytes` to a new file beside `path` and renames it, so that `path` is never half written.
pub(super) fn file(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let file_error = |source| ModelError::File { path: path.into(), source };
    let mut name = path.file_name().ok_or_else(|| file_error(std::io::ErrorKind::InvalidFilename.into()))?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = std::fs::File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    written.map_err(|source| {
        let _ = std::fs::remove_file(&part);
        file_error(source)
    })
}

/// The model as tract and the file format know it.
pub(crate) fn model_proto(model: &Model) -> pb::ModelProto {
    let opset =
        |(domain, version): (&String, &i64)| pb::OperatorSetIdProto { domain: domain.clone(), version: *version };
    let entry =
        |(key, value): (&String, &String)| pb::StringStringEntryProto { key: key.clone(), value: value.clone() };
    pb::ModelProto {
        // Before version 4 every initializer must be listed as an input too.
        ir_version: model.ir_version.max(4),
        opset_import: model.opsets.iter().map(opset).collect(),
        producer_name: model.producer.clone(),
        metadata_props: model.metadata.iter().map(entry).collect(),
        graph: Some(pb::GraphProto {
            name: if model.graph_name.is_empty() { "graph".into() } else { model.graph_name.clone() },
            node: model.nodes.iter().map(node_proto).collect(),
            initializer: model.initializers.iter().map(|(name, t)| tensor_proto(name, t)).collect(),
            input: model.inputs.iter().map(value_info_proto).collect(),
            output: model.outputs.iter().map(value_info_proto).collect(),
            value_info: model.value_info.iter().map(value_info_proto).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn node_proto(node: &Node) -> pb::NodeProto {
    pb::NodeProto {
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        domain: node.domain.clone(),
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        attribute: node.attributes.iter().map(|(name, value)| attribute_proto(name, value)).collect(),
        ..Default::default()
    }
}

fn attribute_proto(name: &str, value: &Attribute) -> pb::AttributeProto {
    let mut proto = pb::AttributeProto { name: name.into(), ..Default::default() };
    let kind = match value {
        Attribute::Float(v) => {
            proto.f = *v;
            AttributeType::Float
        }
        Attribute::Int(v) => {
            proto.i = *v;
            AttributeType::Int
        }
        Attribute::String(v) => {
            proto.s = v.clone().into_bytes();
            AttributeType::String
        }
        Attribute::Tensor(v) => {
            proto.t = Some(tensor_proto("", v));
            AttributeType::Tensor
        }
        Attribute::Floats(v) => {
            proto.floats = v.clone();
            AttributeType::Floats
        }
        Attribute::Ints(v) => {
            proto.ints = v.clone();
            AttributeType::Ints
        }
        Attribute::Strings(v) => {
            proto.strings = v.iter().map(|s| s.clone().into_bytes()).collect();
            AttributeType::Strings
        }
        Attribute::Graph(bytes) => {
            proto.g = pb::GraphProto::decode(&bytes[..]).ok();
            AttributeType::Graph
        }
        Attribute::Other(bytes) => return pb::AttributeProto::decode(&bytes[..]).unwrap_or(proto),
    };
    proto.r#type = kind as i32;
    proto
}

fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::F16 => DataType::Float16,
        DType::BF16 => DataType::Bfloat16,
        DType::I4 => DataType::Int4,
        DType::U4 => DataType::Uint4,
        DType::I8 => DataType::Int8,
        DType::U8 => DataType::Uint8,
        DType::I16 => DataType::Int16,
        DType::U16 => DataType::Uint16,
        DType::I32 => DataType::Int32,
        DType::U32 => DataType::Uint32,
        DType::I64 => DataType::Int64,
        DType::U64 => DataType::Uint64,
        DType::Bool => DataType::Bool,
        DType::String => DataType::String,
    }
}

fn tensor_proto(name: &str, tensor: &Tensor) -> pb::TensorProto {
    let mut proto = pb::TensorProto {
        name: name.into(),
        data_type: data_type(tensor.dtype) as i32,
        dims: tensor.shape.iter().map(|&d| d as i64).collect(),
        ..Default::default()
    };
    if tensor.dtype == DType::String {
        proto.string_data = strings(&tensor.data);
    } else if tensor.dtype.is_packed() {
        let pair = |pair: &[u8]| pair[0] & 15 | pair.get(1).copied().unwrap_or(0) << 4;
        proto.raw_data = tensor.data.chunks(2).map(pair).collect();
    } else {
        proto.raw_data = tensor.data.clone();
    }
    proto
}

fn strings(mut data: &[u8]) -> Vec<Vec<u8>> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let (text, rest) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
        strings.push(text.to_vec());
        data = rest;
    }
    strings
}

pub(crate) fn value_info_proto(value: &ValueInfo) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |dim: &Dim| Dimension {
        value: match dim {
            Dim::Known(d) => Some(Value::DimValue(*d as i64)),
            Dim::Symbol(name) if name.is_empty() => None,
            Dim::Symbol(name) => Some(Value::DimParam(name.clone())),
        },
        ..Default::default()
    };
    let shape = value.shape.as_ref().map(|s| pb::TensorShapeProto { dim: s.iter().map(dim).collect() });
    let tensor = pb::type_proto::Tensor { elem_type: data_type(value.dtype) as i32, shape };
    pb::ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() }),
        ..Default::default()
    }
}
