//! ONNX models in our own types, read from and written to the standard protobuf form.
//!
//! A [`Model`] is what the ONNX file says, tidied: nodes in topological order, `Constant` nodes as initializers,
//! graph inputs without initializers, tensor data as plain little-endian bytes and external data files read in.
//! The format: <https://github.com/onnx/onnx/blob/main/docs/IR.md>.

mod external;
mod operators;
mod order;
mod read;
mod tensor;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use read::Subgraph;
use read::graph_captures;
pub(crate) use tensor::parameter_of;
pub use tensor::{DType, Tensor};
pub(crate) use write::{model_proto, value_info_proto};

/// Why a model cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are not an ONNX protobuf.
    #[error("this is not an ONNX model ({0}); give a .onnx file, whole and uncompressed")]
    NotOnnx(String),
    /// The model as a whole cannot be used.
    #[error("{0}")]
    Model(String),
    /// A tensor or value is wrong.
    #[error("tensor \"{tensor}\": {problem}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A node is wrong.
    #[error("node \"{node}\": {problem}")]
    Node {
        /// Its label, see [`Node::label`].
        node: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A text tensor was asked for numbers.
    #[error("the tensor holds text where numbers are needed")]
    NotNumeric,
    /// A tensor was asked for 64-bit integers and holds something else.
    #[error("the tensor holds numbers that are not whole or need more than 64 bits")]
    NotWhole,
}

impl ModelError {
    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Tensor { tensor: name.into(), problem: problem.into() }
    }

    pub(crate) fn node(node: &Node, problem: impl Into<String>) -> ModelError {
        ModelError::Node { node: node.label(), problem: problem.into() }
    }
}

/// The value of a node's attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// `FLOAT`
    Float(f32),
    /// `INT`
    Int(i64),
    /// `STRING`, where it is valid UTF-8
    String(String),
    /// `TENSOR`
    Tensor(Tensor),
    /// `FLOATS`
    Floats(Vec<f32>),
    /// `INTS`
    Ints(Vec<i64>),
    /// `STRINGS`, where all are valid UTF-8
    Strings(Vec<String>),
    /// `GRAPH`: the bytes of the `GraphProto` as they are
    Graph(Vec<u8>),
    /// Any other kind: the bytes of the whole `AttributeProto` as they are
    Other(Vec<u8>),
}

/// One operator of the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// The node's own name; may be empty, see [`Node::label`].
    pub name: String,
    /// The operator, `Conv`.
    pub op_type: String,
    /// The operator set; empty for the standard one.
    pub domain: String,
    /// Names of the tensors read; empty where an optional input is absent.
    pub inputs: Vec<String>,
    /// Names of the tensors written; empty where an optional output is absent.
    pub outputs: Vec<String>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

impl Node {
    /// A node of the standard operator set without attributes.
    pub fn new(op_type: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Node {
            name: name.into(),
            op_type: op_type.into(),
            domain: String::new(),
            inputs: owned(inputs),
            outputs: owned(outputs),
            attributes: BTreeMap::new(),
        }
    }

    /// The same node with one attribute more.
    pub fn with(mut self, name: &str, value: Attribute) -> Node {
        self.attributes.insert(name.into(), value);
        self
    }

    /// What messages call the node: its name, or operator and first output.
    pub fn label(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let output = self.outputs.iter().find(|o| !o.is_empty());
        format!("{} → {}", self.op_type, output.map_or("nothing", |o| o))
    }

    /// Whether the node is the standard operator `op_type`.
    pub fn is(&self, op_type: &str) -> bool {
        self.domain.is_empty() && self.op_type == op_type
    }

    /// The input at `index`; `None` where it is absent.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|n| !n.is_empty())
    }

    /// The output at `index`; `None` where it is absent.
    pub fn output(&self, index: usize) -> Option<&str> {
        self.outputs.get(index).map(String::as_str).filter(|n| !n.is_empty())
    }

    /// The attribute as an integer; `None` where it is absent or of another kind.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attributes.get(name)? {
            Attribute::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// The attribute as integers; `None` where it is absent or of another kind.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name)? {
            Attribute::Ints(v) => Some(v),
            _ => None,
        }
    }

    /// The attribute as a float; `None` where it is absent or of another kind.
    pub fn float(&self, name: &str) -> Option<f32> {
        match self.attributes.get(name)? {
            Attribute::Float(v) => Some(*v),
            _ => None,
        }
    }

    /// The attribute as floats; `None` where it is absent or of another kind.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.attributes.get(name)? {
            Attribute::Floats(v) => Some(v),
            _ => None,
        }
    }

    /// The attribute as text; `None` where it is absent or of another kind.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name)? {
            Attribute::String(v) => Some(v),
            _ => None,
        }
    }

    /// The attribute as a tensor; `None` where it is absent or of another kind.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.attributes.get(name)? {
            Attribute::Tensor(v) => Some(v),
            _ => None,
        }
    }

    /// A subgraph (`If`, `Loop`, `Scan`) by the name of its attribute; `None` where it is absent.
    ///
    /// # Errors
    /// [`ModelError`] naming the tensor or node.
    pub fn subgraph(&self, name: &str) -> Result<Option<Subgraph>, ModelError> {
        match self.attributes.get(name) {
            Some(Attribute::Graph(bytes)) => read::subgraph(bytes).map(Some),
            _ => Ok(None),
        }
    }

    /// Names of outer tensors that the node's subgraphs (`If`, `Loop`, `Scan`) read besides its inputs.
    pub fn captures(&self) -> Vec<String> {
        let graphs = self.attributes.values().filter_map(|a| match a {
            Attribute::Graph(bytes) => Some(bytes),
            _ => None,
        });
        graphs.flat_map(|bytes| graph_captures(bytes)).collect()
    }
}

/// The extent of one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Known(usize),
    /// Decided when the model runs. The name that the file gives to it, or the empty string.
    Symbol(String),
}

/// What the file says about a tensor: type and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// The tensor.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents; `None` where even the rank is not told.
    pub shape: Option<Vec<Dim>>,
}

/// An ONNX model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Version of the file format.
    pub ir_version: i64,
    /// Versions of the operator sets by domain; the standard one is the empty string.
    pub opsets: BTreeMap<String, i64>,
    /// The program that made the file.
    pub producer: String,
    /// The graph's name.
    pub graph_name: String,
    /// Operators in topological order.
    pub nodes: Vec<Node>,
    /// Constants by name, `Constant` nodes included.
    pub initializers: BTreeMap<String, Tensor>,
    /// What the caller feeds; initializers listed as inputs (as format version 3 does) are left out.
    pub inputs: Vec<ValueInfo>,
    /// What the caller gets.
    pub outputs: Vec<ValueInfo>,
    /// Types and shapes of inner tensors, where the file tells them.
    pub value_info: Vec<ValueInfo>,
    /// Free text by key.
    pub metadata: BTreeMap<String, String>,
}

impl Model {
    /// Reads a `.onnx` file and the external data files beside it.
    ///
    /// External data is read from the model's own folder and below it only.
    ///
    /// # Errors
    /// [`ModelError`] naming the file, tensor or node.
    pub fn read(path: &Path) -> Result<Model, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::File { path: path.into(), source })?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let model = read::model(&bytes, Some(folder))?;
        model.warn_of_newer_operators(&path.display().to_string());
        Ok(model)
    }

    /// Reads a model that keeps all its data inside.
    ///
    /// # Errors
    /// [`ModelError`] naming the tensor or node; any bytes may be given.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
        let model = Model::from_own_bytes(bytes)?;
        model.warn_of_newer_operators("the model");
        Ok(model)
    }

    /// The same of what the compiler has written, which is told of nothing anew.
    pub(crate) fn from_own_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
        read::model(bytes, None)
    }

    fn warn_of_newer_operators(&self, name: &str) {
        let (version, newest) = (self.opset(), operators::NEWEST_SET);
        if version > newest {
            log::warn!(
                "{name} has version {version} of the standard operator set, and the newest known here is {newest}: should \
                 an operator have changed since, answers may be wrong; export with version {newest} or below to be sure"
            );
        }
    }

    /// The model as the bytes of a `.onnx` file, all data inside.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::bytes(self)
    }

    /// Writes a `.onnx` file, whole or not at all: first beside `path`, then renamed.
    ///
    /// # Errors
    /// [`ModelError::File`], [`ModelError::Model`] above protobuf's limit of 2 GiB.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let bytes = self.to_bytes();
        if bytes.len() > i32::MAX as usize {
            let problem = "the model is over 2 GiB, more than one ONNX file can hold; quantize it in parts";
            return Err(ModelError::Model(problem.into()));
        }
        write::file(path, &bytes)
    }

    /// The version of the standard operator set.
    pub fn opset(&self) -> i64 {
        self.opsets.get("").copied().unwrap_or(0)
    }

    /// Type and shape of a tensor as far as the file tells: inputs, outputs, initializers, inner tensors.
    pub fn value(&self, name: &str) -> Option<ValueInfo> {
        if let Some(t) = self.initializers.get(name) {
            let shape = t.shape.iter().map(|&d| Dim::Known(d)).collect();
            return Some(ValueInfo { name: name.into(), dtype: t.dtype, shape: Some(shape) });
        }
        let all = self.inputs.iter().chain(&self.outputs).chain(&self.value_info);
        all.into_iter().find(|v| v.name == name).cloned()
    }

    /// Puts the nodes into topological order again after a change, keeping the old order where it is free.
    ///
    /// # Errors
    /// [`ModelError`] on a cycle, an input that nothing makes, or a tensor that two nodes make.
    pub fn sort(&mut self) -> Result<(), ModelError> {
        order::sort(self)
    }
}

#[cfg(test)]
mod tests;
