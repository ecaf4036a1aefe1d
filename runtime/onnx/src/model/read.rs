//! From protobuf to [`Model`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

use super::operators::check_inputs;
use super::{Attribute, DType, Dim, Model, ModelError, Node, Tensor, ValueInfo, external};

/// Reads a model; `folder` is where external data may lie.
pub(super) fn model(bytes: &[u8], folder: Option<&Path>) -> Result<Model, ModelError> {
    let proto = pb::ModelProto::decode(bytes).map_err(|e| ModelError::NotOnnx(e.to_string()))?;
    let graph = proto.graph.ok_or_else(|| ModelError::NotOnnx("it has no graph".into()))?;
    if !proto.functions.is_empty() {
        let problem = "the model has functions of its own; inline them first (onnx.inliner.inline_local_functions)";
        return Err(ModelError::Model(problem.into()));
    }
    if let Some(sparse) = graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map_or("", |v| v.name.as_str());
        return Err(ModelError::tensor(name, "sparse initializers are not read; store it as a plain tensor"));
    }
    let mut opsets = BTreeMap::new();
    for import in proto.opset_import {
        opsets.insert(standard_domain(import.domain), import.version);
    }
    if opsets.get("").is_none_or(|&version| version < 1) {
        let problem = "the model does not tell its operator set version (opset_import); export it again with one";
        return Err(ModelError::Model(problem.into()));
    }

    let mut initializers = BTreeMap::new();
    for proto in graph.initializer {
        let name = proto.name.clone();
        if initializers.insert(name.clone(), tensor(proto, folder)?).is_some() {
            return Err(ModelError::tensor(&name, "is given twice among the initializers"));
        }
    }
    let nodes = nodes(graph.node, folder, &mut initializers)?;
    let mut inputs = Vec::new();
    let mut seen = BTreeSet::new();
    for proto in graph.input.into_iter().filter(|i| !initializers.contains_key(&i.name)) {
        if !seen.insert(proto.name.clone()) {
            return Err(ModelError::tensor(&proto.name, "is given twice among the model's inputs"));
        }
        inputs.push(value_info(proto)?);
    }
    let mut model = Model {
        ir_version: proto.ir_version,
        opsets,
        producer: proto.producer_name,
        graph_name: graph.name,
        nodes,
        initializers,
        inputs,
        outputs: Vec::new(),
        value_info: graph.value_info.into_iter().filter_map(|v| value_info(v).ok()).collect(),
        metadata: proto.metadata_props.into_iter().map(|e| (e.key, e.value)).collect(),
    };
    model.outputs = graph.output.into_iter().map(value_info).collect::<Result<_, _>>()?;
    model.sort()?;
    Ok(model)
}

/// The graph that a node carries, tidied as a model is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subgraph {
    /// Operators as the file orders them.
    pub nodes: Vec<Node>,
    /// Constants by name.
    pub initializers: BTreeMap<String, Tensor>,
    /// Names of the results.
    pub outputs: Vec<String>,
}

/// Reads the bytes of a `GraphProto`.
pub(super) fn subgraph(bytes: &[u8]) -> Result<Subgraph, ModelError> {
    let graph = pb::GraphProto::decode(bytes).map_err(|e| ModelError::NotOnnx(e.to_string()))?;
    let mut initializers = BTreeMap::new();
    for proto in graph.initializer {
        initializers.insert(proto.name.clone(), tensor(proto, None)?);
    }
    let nodes = nodes(graph.node, None, &mut initializers)?;
    let outputs = graph.output.into_iter().map(|output| output.name).collect();
    Ok(Subgraph { nodes, initializers, outputs })
}

/// Reads nodes; those that are constants become initializers.
fn nodes(
    protos: Vec<pb::NodeProto>,
    folder: Option<&Path>,
    initializers: &mut BTreeMap<String, Tensor>,
) -> Result<Vec<Node>, ModelError> {
    let mut nodes = Vec::new();
    for proto in protos {
        let node = node(proto, folder)?;
        match constant(&node)? {
            Some(value) => {
                let name = node.outputs[0].clone();
                if initializers.insert(name, value).is_some() {
                    return Err(ModelError::node(&node, "its output is made twice; names must differ"));
                }
            }
            None => nodes.push(node),
        }
    }
    Ok(nodes)
}

/// `ai.onnx` and the empty string are the same domain.
fn standard_domain(domain: String) -> String {
    if domain == "ai.onnx" { String::new() } else { domain }
}

fn node(proto: pb::NodeProto, folder: Option<&Path>) -> Result<Node, ModelError> {
    let mut node = Node {
        name: proto.name,
        op_type: proto.op_type,
        domain: standard_domain(proto.domain),
        inputs: proto.input,
        outputs: proto.output,
        attributes: BTreeMap::new(),
    };
    if node.outputs.iter().all(String::is_empty) {
        return Err(ModelError::node(&node, "it has no output"));
    }
    check_inputs(&node)?;
    for proto in proto.attribute {
        let name = proto.name.clone();
        let value = attribute(proto, folder).map_err(|e| ModelError::node(&node, format!("attribute {name}: {e}")))?;
        node.attributes.insert(name, value);
    }
    Ok(node)
}

fn attribute(proto: pb::AttributeProto, folder: Option<&Path>) -> Result<Attribute, ModelError> {
    let other = |proto: &pb::AttributeProto| Attribute::Other(proto.encode_to_vec());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Ok(match kind(&proto) {
        AttributeType::Float => Attribute::Float(proto.f),
        AttributeType::Int => Attribute::Int(proto.i),
        AttributeType::String => text(&proto.s).map_or_else(|| other(&proto), Attribute::String),
        AttributeType::Tensor => match proto.t {
            Some(t) => Attribute::Tensor(tensor(t, folder)?),
            None => return Err(ModelError::Model("the tensor is missing".into())),
        },
        AttributeType::Graph => match proto.g {
            Some(g) => Attribute::Graph(g.encode_to_vec()),
            None => return Err(ModelError::Model("the graph is missing".into())),
        },
        AttributeType::Floats => Attribute::Floats(proto.floats),
        AttributeType::Ints => Attribute::Ints(proto.ints),
        AttributeType::Strings => match proto.strings.iter().map(|s| text(s)).collect() {
            Some(strings) => Attribute::Strings(strings),
            None => other(&proto),
        },
        _ => other(&proto),
    })
}

/// The attribute's kind; old files leave the field out and fill just one of the others.
fn kind(proto: &pb::AttributeProto) -> AttributeType {
    match AttributeType::try_from(proto.r#type) {
        Ok(AttributeType::Undefined) => {}
        Ok(kind) => return kind,
        Err(_) => return AttributeType::Undefined,
    }
    let filled = [
        (proto.t.is_some(), AttributeType::Tensor),
        (proto.g.is_some(), AttributeType::Graph),
        (!proto.floats.is_empty(), AttributeType::Floats),
        (!proto.ints.is_empty(), AttributeType::Ints),
        (!proto.strings.is_empty(), AttributeType::Strings),
        (!proto.s.is_empty(), AttributeType::String),
        (proto.f != 0.0, AttributeType::Float),
        (proto.i != 0, AttributeType::Int),
    ];
    filled.iter().find(|(is_filled, _)| *is_filled).map_or(AttributeType::Undefined, |(_, kind)| *kind)
}

/// The value of a `Constant` node; `None` for any other node.
fn constant(node: &Node) -> Result<Option<Tensor>, ModelError> {
    if !node.is("Constant") {
        return Ok(None);
    }
    let Some((name, value)) = node.attributes.iter().next() else {
        return Err(ModelError::node(node, "a Constant without a value"));
    };
    Ok(Some(match value {
        Attribute::Tensor(value) => value.clone(),
        Attribute::Float(value) => Tensor::scalar_f32(*value),
        Attribute::Floats(values) => Tensor::from_f32(vec![values.len()], values),
        Attribute::Int(value) => Tensor::scalar_i64(*value),
        Attribute::Ints(values) => Tensor::from_i64(vec![values.len()], values),
        Attribute::String(value) => text_tensor(Vec::new(), [value.as_bytes()]),
        Attribute::Strings(values) => text_tensor(vec![values.len()], values.iter().map(|v| v.as_bytes())),
        _ => return Err(ModelError::node(node, format!("a Constant by {name} is not read; store it as `value`"))),
    }))
}

fn text_tensor<'a>(shape: Vec<usize>, values: impl IntoIterator<Item = &'a [u8]>) -> Tensor {
    let mut data = Vec::new();
    for value in values {
        data.extend((value.len() as u32).to_le_bytes());
        data.extend(value);
    }
    Tensor { dtype: DType::String, shape, data }
}

/// The type by its ONNX number, or the reason why it is not read.
fn dtype(number: i32) -> Result<DType, String> {
    Ok(match DataType::try_from(number) {
        Ok(DataType::Float) => DType::F32,
        Ok(DataType::Double) => DType::F64,
        Ok(DataType::Float16) => DType::F16,
        Ok(DataType::Bfloat16) => DType::BF16,
        Ok(DataType::Int4) => DType::I4,
        Ok(DataType::Uint4) => DType::U4,
        Ok(DataType::Int8) => DType::I8,
        Ok(DataType::Uint8) => DType::U8,
        Ok(DataType::Int16) => DType::I16,
        Ok(DataType::Uint16) => DType::U16,
        Ok(DataType::Int32) => DType::I32,
        Ok(DataType::Uint32) => DType::U32,
        Ok(DataType::Int64) => DType::I64,
        Ok(DataType::Uint64) => DType::U64,
        Ok(DataType::Bool) => DType::Bool,
        Ok(DataType::String) => DType::String,
        Ok(other) => return Err(format!("element type {} is not supported", other.as_str_name())),
        Err(_) => return Err(format!("element type {number} is unknown")),
    })
}

fn value_info(proto: pb::ValueInfoProto) -> Result<ValueInfo, ModelError> {
    let fail = |problem: &str| ModelError::tensor(&proto.name, problem);
    let value = proto.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(pb::type_proto::Value::TensorType(tensor)) = value else {
        return Err(fail("has no tensor type (sequences, maps and optionals are not supported)"));
    };
    let dtype = dtype(tensor.elem_type).map_err(|problem| fail(&problem))?;
    let dim = |d: &pb::tensor_shape_proto::Dimension| match &d.value {
        Some(pb::tensor_shape_proto::dimension::Value::DimValue(v)) => {
            // Some exporters write -1 or 0 for "any".
            usize::try_from(*v).ok().filter(|&v| v > 0).map_or(Dim::Symbol(String::new()), Dim::Known)
        }
        Some(pb::tensor_shape_proto::dimension::Value::DimParam(name)) => Dim::Symbol(name.clone()),
        None => Dim::Symbol(String::new()),
    };
    let shape = tensor.shape.as_ref().map(|s| s.dim.iter().map(dim).collect());
    Ok(ValueInfo { name: proto.name, dtype, shape })
}

/// Reads a tensor in whichever of ONNX's encodings it comes.
fn tensor(proto: pb::TensorProto, folder: Option<&Path>) -> Result<Tensor, ModelError> {
    let fail = |problem: String| ModelError::tensor(&proto.name, problem);
    let dtype = dtype(proto.data_type).map_err(fail)?;
    let shape = proto.dims.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| fail(format!("its shape {:?} has a negative extent", proto.dims)))?;
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let expected = elements.and_then(|n| n.checked_mul(dtype.size_bytes()));
    let Some((elements, expected)) = elements.zip(expected) else {
        return Err(fail(format!("its shape {shape:?} is larger than any memory")));
    };
    if proto.data_location == Some(DataLocation::External as i32) {
        let Some(folder) = folder else {
            return Err(fail("its data is in a file beside the model: read the model by its path".into()));
        };
        if dtype == DType::String {
            return Err(fail("text cannot be kept in a file beside the model".into()));
        }
        let stored = if dtype.is_packed() { expected.div_ceil(2) } else { expected };
        let data = external::read(&proto, folder, stored)?;
        let data = if dtype.is_packed() { unpacked(data, dtype, elements) } else { data };
        return Ok(Tensor { dtype, shape, data });
    }
    let (data, found) = payload(&proto, dtype);
    // The last byte of an odd number of 4-bit elements has room for one more.
    let (data, found) = if dtype.is_packed() && data.len() == elements.div_ceil(2) {
        (unpacked(data, dtype, elements), elements)
    } else {
        (data, found)
    };
    let is_right = if dtype == DType::String { found == elements } else { data.len() == expected };
    if !is_right {
        return Err(fail(format!("{found} elements of {dtype} where its shape {shape:?} asks for {elements}")));
    }
    Ok(Tensor { dtype, shape, data })
}

/// The bytes inside the message and the number of elements that they make.
fn payload(proto: &pb::TensorProto, dtype: DType) -> (Vec<u8>, usize) {
    if dtype == DType::String {
        let strings = &proto.string_data;
        return (text_tensor(Vec::new(), strings.iter().map(Vec::as_slice)).data, strings.len());
    }
    if !proto.raw_data.is_empty() {
        return (proto.raw_data.clone(), proto.raw_data.len() / dtype.size_bytes());
    }
    let ints = &proto.int32_data;
    let data: Vec<u8> = match dtype {
        DType::F32 => proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::F64 => proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::I64 => proto.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::U64 => proto.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::U32 => proto.uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        DType::I32 => ints.iter().flat_map(|v| v.to_le_bytes()).collect(),
        // The narrow types, floats of 16 bits by their bits, sit in the low bytes of an int32.
        DType::F16 | DType::BF16 | DType::I16 | DType::U16 => {
            ints.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect()
        }
        DType::I4 | DType::U4 | DType::I8 | DType::U8 => ints.iter().map(|v| *v as u8).collect(),
        DType::Bool => ints.iter().map(|v| u8::from(*v != 0)).collect(),
        DType::String => Vec::new(),
    };
    let found = data.len() / dtype.size_bytes();
    (data, found)
}

/// Elements of 4 bits, the first of each byte in the low half, as bytes.
fn unpacked(packed: Vec<u8>, dtype: DType, elements: usize) -> Vec<u8> {
    let both = packed.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(elements).collect::<Vec<u8>>();
    match dtype {
        DType::I4 => both.into_iter().map(|v| ((v << 4).cast_signed() >> 4).cast_unsigned()).collect(),
        _ => both,
    }
}

/// Names that a subgraph reads from outside itself.
pub(crate) fn graph_captures(bytes: &[u8]) -> Vec<String> {
    pb::GraphProto::decode(bytes).map(|graph| captures(&graph)).unwrap_or_default()
}

fn captures(graph: &pb::GraphProto) -> Vec<String> {
    let mut inside: BTreeSet<&str> = graph.input.iter().map(|i| i.name.as_str()).collect();
    inside.extend(graph.initializer.iter().map(|i| i.name.as_str()));
    inside.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
    let mut outside = BTreeSet::new();
    for node in &graph.node {
        outside.extend(node.input.iter().cloned());
        let subgraphs = node.attribute.iter().filter_map(|a| a.g.as_ref());
        outside.extend(subgraphs.flat_map(captures));
    }
    outside.extend(graph.output.iter().map(|o| o.name.clone()));
    outside.into_iter().filter(|n| !n.is_empty() && !inside.contains(n.as_str())).collect()
}
