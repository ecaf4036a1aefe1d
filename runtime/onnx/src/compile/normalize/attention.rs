//! [Attention](https://onnx.ai/onnx/operators/onnx__Attention.html) written out as the operators that it stands for.
//!
//! What depends on shapes alone (positions, windows, numbers of heads) is written with Shape and Range: constants
//! when the nodes are lowered.

use super::Rewrite;
use crate::model::{Attribute, DType, ModelError, Node, Tensor};

/// TensorProto.DataType of float32 and bool.
const FLOAT: i64 = 1;
const BOOL: i64 = 9;

/// Keys and values as all queries see them.
struct Cache {
    key: String,
    value: String,
}

impl Rewrite<'_> {
    /// Whether the node is an attention over float32 that is written out; others are left to the fallback.
    pub(super) fn is_attention(&self) -> bool {
        let halves = self.node.input(0).and_then(|name| self.model.value(name)).is_some_and(|q| q.dtype != DType::F32);
        self.node.is("Attention") && self.node.inputs.len() >= 3 && !self.node.outputs.is_empty() && !halves
    }

    /// Appends the nodes that an attention stands for.
    pub(super) fn attention(&mut self) -> Result<(), ModelError> {
        let node = self.node;
        let given = |index: usize| node.input(index).map(str::to_string).ok_or(self.problem(index));
        let (query, key, value) = (given(0)?, given(1)?, given(2)?);
        let heads = (node.int("q_num_heads"), node.int("kv_num_heads"));
        let (query, key, value) = match heads {
            (Some(of_queries), Some(of_keys)) => {
                (self.split_heads(query, of_queries), self.split_heads(key, of_keys), self.split_heads(value, of_keys))
            }
            _ => (query, key, value),
        };
        let key = self.with_past(key, 4, 1);
        let value = self.with_past(value, 5, 2);
        let bias = self.added(&query, &key);
        let cache = self.for_all_queries(&query, &key, &value);
        let turned = self.op("Transpose", &[&cache.key], &[("perm", Attribute::Ints(vec![0, 1, 3, 2]))]);
        let scale = self.scale(&query);
        let product = self.op("MatMul", &[&query, &turned], &[]);
        let scaled = self.op("Mul", &[&product, &scale], &[]);
        let capped = match node.float("softcap").filter(|&cap| cap > 0.0) {
            Some(cap) => {
                let cap = self.constant(Tensor::scalar_f32(cap));
                let shares = self.op("Div", &[&scaled, &cap], &[]);
                let cut = self.op("Tanh", &[&shares], &[]);
                self.op("Mul", &[&cut, &cap], &[])
            }
            None => scaled.clone(),
        };
        let biased = match &bias {
            Some(bias) => self.op("Add", &[&capped, bias], &[]),
            None => capped.clone(),
        };
        let mut shares = self.op("Softmax", &[&biased], &[("axis", Attribute::Int(-1))]);
        if let Some(bias) = bias.filter(|_| self.may_mask_all()) {
            shares = self.without_masked_rows(&shares, &bias);
        }
        let shown =
            [&scaled, &capped, &biased, &shares][node.int("qk_matmul_output_mode").unwrap_or(0).clamp(0, 3) as usize];
        let shown = shown.clone();
        self.copied(&shown, 3);
        let output = node.outputs[0].clone();
        if heads.0.is_some() {
            let made = self.op("MatMul", &[&shares, &cache.value], &[]);
            let made = self.op("Transpose", &[&made], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))]);
            let shape = self.constant(Tensor::from_i64(vec![3], &[0, 0, -1]));
            self.model.nodes.push(Node::new("Reshape", &node.name, &[&made, &shape], &[&output]));
        } else {
            self.model.nodes.push(Node::new("MatMul", &node.name, &[&shares, &cache.value], &[&output]));
        }
        Ok(())
    }

    /// Whether some query may see no key at all.
    fn may_mask_all(&self) -> bool {
        let window = |name| self.node.int(name).unwrap_or(-1) >= 0;
        self.node.input(3).is_some()
            || self.node.input(6).is_some()
            || window("left_window_size")
            || window("right_window_size")
    }

    /// Appends a node and gives the name of what it makes.
    fn op(&mut self, op_type: &str, inputs: &[&str], attributes: &[(&str, Attribute)]) -> String {
        let output = self.name("attention");
        let mut node = Node::new(op_type, &format!("{}/{output}", self.node.name), inputs, &[&output]);
        for (name, value) in attributes {
            node = node.with(name, value.clone());
        }
        self.model.nodes.push(node);
        output
    }

    fn constant(&mut self, tensor: Tensor) -> String {
        let name = self.name("constant");
        self.model.initializers.insert(name.clone(), tensor);
        name
    }

    fn whole(&mut self, values: &[i64]) -> String {
        self.constant(Tensor::from_i64(vec![values.len()], values))
    }

    /// Hands a tensor out as an output of the node, where that is wanted.
    fn copied(&mut self, from: &str, output: usize) {
        if let Some(name) = self.node.output(output) {
            self.model.nodes.push(Node::new("Identity", &format!("{}/{name}", self.node.name), &[from], &[name]));
        }
    }

    /// `[batch, length, heads · size]` as `[batch, heads, length, size]`.
    fn split_heads(&mut self, x: String, heads: i64) -> String {
        let shape = self.whole(&[0, 0, heads, -1]);
        let cut = self.op("Reshape", &[&x, &shape], &[]);
        self.op("Transpose", &[&cut], &[("perm", Attribute::Ints(vec![0, 2, 1, 3]))])
    }

    /// Keys or values behind those of the past, which are input `past`; also output `present`.
    fn with_past(&mut self, x: String, past: usize, present: usize) -> String {
        let all = match self.node.input(past) {
            Some(past) => self.op("Concat", &[past, &x], &[("axis", Attribute::Int(2))]),
            None => x,
        };
        self.copied(&all, present);
        all
    }

    /// Extent `axis` of a tensor of four axes, as one number in a list.
    fn extent(&mut self, x: &str, axis: i64) -> String {
        self.op("Shape", &[x], &[("start", Attribute::Int(axis)), ("end", Attribute::Int(axis + 1))])
    }

    /// Keys and values repeated where several heads of queries share one.
    fn for_all_queries(&mut self, query: &str, key: &str, value: &str) -> Cache {
        let heads = (self.extent(query, 1), self.extent(key, 1));
        let times = self.op("Div", &[&heads.0, &heads.1], &[]);
        let mut repeated = |x: &str| {
            let [batch, length, size] = [0, 2, 3].map(|axis| self.extent(x, axis));
            let axis = self.whole(&[2]);
            let wide = self.op("Unsqueeze", &[x, &axis], &[]);
            let shape = [&*batch, &heads.1, &times, &length, &size];
            let shape = self.op("Concat", &shape, &[("axis", Attribute::Int(0))]);
            let wide = self.op("Expand", &[&wide, &shape], &[]);
            let shape = [&*batch, &heads.0, &length, &size];
            let shape = self.op("Concat", &shape, &[("axis", Attribute::Int(0))]);
            self.op("Reshape", &[&wide, &shape], &[])
        };
        Cache { key: repeated(key), value: repeated(value) }
    }

    /// What products are multiplied by: the attribute, or `1 / √size`.
    fn scale(&mut self, query: &str) -> String {
        if let Some(scale) = self.node.float("scale") {
            return self.constant(Tensor::scalar_f32(scale));
        }
        let size = self.extent(query, 3);
        let size = self.op("Cast", &[&size], &[("to", Attribute::Int(FLOAT))]);
        let root = self.op("Sqrt", &[&size], &[]);
        self.op("Reciprocal", &[&root], &[])
    }

    /// `0, 1, …` up to an extent, float32, with axes of 1 around as `axes` says.
    fn positions(&mut self, extent: &str, axes: &[i64]) -> String {
        let only = self.whole(&[0]);
        let extent = self.op("Squeeze", &[extent, &only], &[]);
        let [start, step] = [0, 1].map(|value| self.constant(Tensor::from_i64(Vec::new(), &[value])));
        let numbers = self.op("Range", &[&start, &extent, &step], &[]);
        let numbers = self.op("Cast", &[&numbers], &[("to", Attribute::Int(FLOAT))]);
        let axes = self.whole(axes);
        self.op("Unsqueeze", &[&numbers, &axes], &[])
    }

    /// 1 where `x + more` is at least 1, 0 where it is not; both are whole.
    fn allowed(&mut self, x: &str, more: f32) -> String {
        let more = self.constant(Tensor::scalar_f32(more));
        let sum = self.op("Add", &[x, &more], &[]);
        let [low, high] = [0.0, 1.0].map(|value| self.constant(Tensor::scalar_f32(value)));
        self.op("Clip", &[&sum, &low, &high], &[])
    }

    /// What is added to the products: -∞ where a query may not see a key. `None` where all see all.
    fn added(&mut self, query: &str, key: &str) -> Option<String> {
        let node = self.node;
        let (queries, keys) = (self.extent(query, 2), self.extent(key, 2));
        let causal = node.int("is_causal").unwrap_or(0) != 0;
        let window = |name: &str| node.int(name).filter(|&size| size >= 0);
        let (left, right) = (window("left_window_size"), window("right_window_size"));
        let mut masks = Vec::new();
        let valid = node.input(6).map(|count| {
            let count = self.op("Cast", &[count], &[("to", Attribute::Int(FLOAT))]);
            let shape = self.whole(&[-1, 1, 1, 1]);
            self.op("Reshape", &[&count, &shape], &[])
        });
        if causal || left.is_some() || right.is_some() {
            // How far each key lies before each query.
            let rows = self.positions(&queries, &[1]);
            let columns = self.positions(&keys, &[0]);
            let mut distance = self.op("Sub", &[&rows, &columns], &[]);
            if let Some(past) = node.input(4) {
                let before = self.extent(past, 2);
                let before = self.op("Cast", &[&before], &[("to", Attribute::Int(FLOAT))]);
                distance = self.op("Add", &[&distance, &before], &[]);
            } else if let Some(valid) = &valid {
                let count = self.op("Cast", &[&queries], &[("to", Attribute::Int(FLOAT))]);
                let before = self.op("Sub", &[valid, &count], &[]);
                distance = self.op("Add", &[&distance, &before], &[]);
            }
            if causal {
                masks.push(self.allowed(&distance, 1.0));
            }
            if let Some(right) = right {
                masks.push(self.allowed(&distance, right as f32 + 1.0));
            }
            if let Some(left) = left {
                let ahead = self.op("Neg", &[&distance], &[]);
                masks.push(self.allowed(&ahead, left as f32 + 1.0));
            }
        }
        if let Some(valid) = &valid {
            let columns = self.positions(&keys, &[0, 1, 2]);
            let left = self.op("Sub", &[valid, &columns], &[]);
            masks.push(self.allowed(&left, 0.0));
        }
        let mut bias: Option<String> = None;
        for mask in masks {
            let next = self.op("Log", &[&mask], &[]);
            bias = Some(match bias {
                Some(bias) => self.op("Add", &[&bias, &next], &[]),
                None => next,
            });
        }
        if let Some(mask) = node.input(3) {
            let mask = self.mask(mask, &keys);
            bias = Some(match bias {
                Some(bias) => self.op("Add", &[&mask, &bias], &[]),
                None => mask,
            });
        }
        bias
    }

    /// The mask of the node as what is added; it may tell of fewer keys than there are.
    fn mask(&mut self, mask: &str, keys: &str) -> String {
        let value = self.model.value(mask);
        let is_bool = value.as_ref().is_none_or(|value| value.dtype == DType::Bool);
        let rank = value.and_then(|value| value.shape).map(|shape| shape.len());
        let mut mask = mask.to_string();
        if is_bool {
            mask = self.op("Cast", &[&mask], &[("to", Attribute::Int(FLOAT))]);
        }
        if let Some(rank) = rank.filter(|&rank| rank > 0) {
            let known = self.op("Shape", &[&mask], &[("start", Attribute::Int(rank as i64 - 1))]);
            let missing = self.op("Sub", &[keys, &known], &[]);
            let zeros = self.whole(&vec![0; 2 * rank - 1]);
            let pads = self.op("Concat", &[&zeros, &missing], &[("axis", Attribute::Int(0))]);
            let hidden = self.constant(Tensor::scalar_f32(if is_bool { 0.0 } else { f32::NEG_INFINITY }));
            mask = self.op("Pad", &[&mask, &pads, &hidden], &[]);
        }
        if is_bool { self.op("Log", &[&mask], &[]) } else { mask }
    }

    /// Zeros for the queries that see no key.
    fn without_masked_rows(&mut self, shares: &str, bias: &str) -> String {
        let most = if self.model.opset() >= 18 {
            let axis = self.whole(&[-1]);
            self.op("ReduceMax", &[bias, &axis], &[])
        } else {
            self.op("ReduceMax", &[bias], &[("axes", Attribute::Ints(vec![-1]))])
        };
        // Any finite number times 2e-38, and 8, is above 1; -∞ stays what it is.
        let small = self.constant(Tensor::scalar_f32(2e-38));
        let near = self.op("Mul", &[&most, &small], &[]);
        let sees = self.allowed(&near, 8.0);
        let sees = self.op("Cast", &[&sees], &[("to", Attribute::Int(BOOL))]);
        let zero = self.constant(Tensor::scalar_f32(0.0));
        self.op("Where", &[&sees, shares, &zero], &[])
    }
}
