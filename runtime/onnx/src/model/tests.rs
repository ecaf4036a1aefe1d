//! Reading and writing, sound and broken.

use std::path::PathBuf;

use prost::Message;
use tract_onnx::pb;

use super::*;

fn value(name: &str, shape: &[usize]) -> ValueInfo {
    let shape = Some(shape.iter().map(|&d| Dim::Known(d)).collect());
    ValueInfo { name: name.into(), dtype: DType::F32, shape }
}

fn small() -> Model {
    let mut model = Model {
        ir_version: 8,
        opsets: [(String::new(), 13)].into(),
        graph_name: "small".into(),
        nodes: vec![
            Node::new("Add", "add", &["x", "w"], &["a"]),
            Node::new("LeakyRelu", "", &["a"], &["y"]).with("alpha", Attribute::Float(0.25)),
        ],
        inputs: vec![value("x", &[1, 2])],
        outputs: vec![value("y", &[1, 2])],
        ..Model::default()
    };
    model.initializers.insert("w".into(), Tensor::from_f32(vec![2], &[1.0, -2.0]));
    model.metadata.insert("key".into(), "value".into());
    model
}

fn proto() -> pb::ModelProto {
    pb::ModelProto::decode(&small().to_bytes()[..]).unwrap()
}

fn read(change: impl FnOnce(&mut pb::GraphProto)) -> Result<Model, ModelError> {
    let mut proto = proto();
    change(proto.graph.as_mut().unwrap());
    Model::from_bytes(&proto.encode_to_vec())
}

fn refused(change: impl FnOnce(&mut pb::GraphProto), named: &str) {
    let message = read(change).unwrap_err().to_string();
    assert!(message.contains(named), "{message:?} does not name {named:?}");
}

#[test]
fn what_is_written_is_read() {
    let model = small();
    assert_eq!(Model::from_bytes(&model.to_bytes()).unwrap(), model);
}

#[test]
fn every_encoding_of_a_tensor_is_read() {
    use pb::tensor_proto::DataType as T;
    let given = |data_type: T| pb::TensorProto {
        name: "w".into(),
        dims: vec![2],
        data_type: data_type as i32,
        ..Default::default()
    };
    // 0x3C00 and 0xC000 are 1 and -2 in float16, 0x3F80 and 0xC000 in bfloat16 (IEEE 754).
    let cases = [
        pb::TensorProto { float_data: vec![1.0, -2.0], ..given(T::Float) },
        pb::TensorProto { double_data: vec![1.0, -2.0], ..given(T::Double) },
        pb::TensorProto { int32_data: vec![1, -2], ..given(T::Int8) },
        pb::TensorProto { int32_data: vec![1, -2], ..given(T::Int16) },
        pb::TensorProto { int32_data: vec![1, -2], ..given(T::Int32) },
        pb::TensorProto { int64_data: vec![1, -2], ..given(T::Int64) },
        pb::TensorProto { int32_data: vec![0x3C00, 0xC000], ..given(T::Float16) },
        pb::TensorProto { int32_data: vec![0x3F80, 0xC000], ..given(T::Bfloat16) },
        pb::TensorProto { raw_data: vec![1, 0xFE], ..given(T::Int8) },
    ];
    for tensor in cases {
        let kind = T::try_from(tensor.data_type);
        let model = read(|g| g.initializer[0] = tensor).unwrap();
        assert_eq!(model.initializers["w"].to_f32s().unwrap(), [1.0, -2.0], "{kind:?}");
    }
}

#[test]
fn lengths_that_do_not_fit_the_shape_are_refused() {
    refused(|g| g.initializer[0].dims = vec![3], "\"w\"");
    refused(|g| g.initializer[0].dims = vec![-2], "negative");
    refused(|g| g.initializer[0].dims = vec![i64::MAX, i64::MAX], "larger than any memory");
    refused(|g| g.initializer[0].raw_data.truncate(7), "\"w\"");
    refused(|g| g.initializer[0].data_type = 99, "99");
}

#[test]
fn broken_graphs_are_refused_by_name() {
    refused(|g| g.node[0].input[0] = "nowhere".into(), "nowhere");
    refused(|g| g.node[1].output[0] = "a".into(), "made twice");
    refused(|g| g.node[0].output[0] = "w".into(), "made twice");
    refused(|g| g.node[0].input[0] = "y".into(), "cycle");
    refused(|g| g.output[0].name = "z".into(), "\"z\"");
    refused(|g| g.node[1].output.clear(), "no output");
    refused(|g| g.node[0].input.push("x".into()), "\"add\": it has 3 inputs, and Add takes at most 2");
    let mut without_opset = proto();
    without_opset.opset_import.clear();
    assert!(Model::from_bytes(&without_opset.encode_to_vec()).unwrap_err().to_string().contains("opset_import"));
}

#[test]
fn inputs_without_a_name_and_operators_of_others_are_not_counted() {
    assert!(read(|g| g.node[0].input.push(String::new())).is_ok());
    let other = |g: &mut pb::GraphProto| {
        g.node[0].domain = "of.others".into();
        g.node[0].input.push("x".into());
    };
    assert!(read(other).is_ok());
}

#[test]
fn nodes_are_sorted_and_constants_lifted() {
    let model = read(|g| {
        g.node.reverse();
        let value = Some(g.initializer.remove(0));
        let attribute = pb::AttributeProto { name: "value".into(), r#type: 4, t: value, ..Default::default() };
        let output = vec!["w".into()];
        g.node.push(pb::NodeProto {
            op_type: "Constant".into(),
            output,
            attribute: vec![attribute],
            ..Default::default()
        });
    });
    assert_eq!(model.unwrap(), small());
}

#[test]
fn damaged_bytes_never_panic() {
    let bytes = small().to_bytes();
    for end in 0..bytes.len() {
        let _ = Model::from_bytes(&bytes[..end]);
    }
    // A small congruential generator (Numerical Recipes) is random enough here.
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 16) as usize
    };
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + random() % 4 {
            let position = random() % damaged.len();
            damaged[position] = random() as u8;
        }
        if let Ok(model) = Model::from_bytes(&damaged) {
            let _ = model.to_bytes();
        }
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("cygnet-onnx-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn external_data_is_read_from_beside_the_model_only() {
    let folder = folder("external");
    std::fs::write(folder.join("weights.bin"), [1.0f32, -2.0].map(f32::to_le_bytes).concat()).unwrap();
    let model_at = |location: &str| {
        let mut proto = proto();
        let tensor = &mut proto.graph.as_mut().unwrap().initializer[0];
        tensor.raw_data.clear();
        tensor.data_location = Some(1);
        let entry = pb::StringStringEntryProto { key: "location".into(), value: location.into() };
        tensor.external_data = vec![entry];
        let path = folder.join("model.onnx");
        std::fs::write(&path, proto.encode_to_vec()).unwrap();
        Model::read(&path)
    };
    assert_eq!(model_at("weights.bin").unwrap(), small());
    for outside in ["../weights.bin", "/etc/hostname", "a/../../weights.bin"] {
        assert!(model_at(outside).unwrap_err().to_string().contains("outside"), "{outside}");
    }
    std::fs::write(folder.join("weights.bin"), [0; 4]).unwrap();
    assert!(model_at("weights.bin").unwrap_err().to_string().contains("cut short"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_are_written_whole() {
    let folder = folder("write");
    let path = folder.join("model.onnx");
    small().write(&path).unwrap();
    assert_eq!(Model::read(&path).unwrap(), small());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert!(small().write(&folder.join("none/model.onnx")).is_err());
    std::fs::remove_dir_all(folder).unwrap();
}
