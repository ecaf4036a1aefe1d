//! What becomes of each layer: how wide its activations are, and in what form its weights are stored.

use std::collections::BTreeMap;

use cygnet_onnx::model::Node;

/// How a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// On levels of 8 bits.
    #[default]
    Int8,
    /// On levels of 16 bits; weights keep theirs.
    Int16,
    /// In float: neither activations nor weights become integers.
    Float,
}

/// How a layer's weights are stored. Each form stands for int8 levels with one scale per output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightForm {
    /// One byte for each weight
    #[default]
    Int8,
    /// Four bits for each weight, and a factor for each 32 inputs
    Int4,
    /// Four bits that choose from a table of 16 levels
    Clustered,
    /// Half of the weights become 0; levels of the others, and where they are
    Sparse,
}

impl WeightForm {
    /// As the command line and a model's metadata ([`cygnet_onnx::compile::WEIGHTS_KEY`]) name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Clustered => "clustered",
            Self::Sparse => "sparse",
        }
    }
}

/// What becomes of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize)]
pub struct LayerForm {
    /// How it computes.
    pub precision: Precision,
    /// How its weights are stored; without meaning where it stays in float.
    pub weights: WeightForm,
}

/// What becomes of all layers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recipe {
    /// The form of every layer that is not listed.
    pub usual: LayerForm,
    /// Forms of single layers by [`Node::label`].
    pub layers: BTreeMap<String, LayerForm>,
}

impl Recipe {
    /// The form of `node`.
    pub fn form(&self, node: &Node) -> LayerForm {
        self.layers.get(&node.label()).copied().unwrap_or(self.usual)
    }
}
