//! Attention, as [`recognise`](crate::compile::recognise) finds it.

use cygnet_core::plan::step::{Attention, CachedAttention, Step};
use cygnet_core::plan::{DType, TensorId};

use super::{Kind, Lowered, Lowering, Val, identity, wrong};
use crate::compile::layout::Layout;
use crate::model::{Attribute, Node};

/// An operand: its extents as `[batch, head, row, element]`, and the elements from one to the next.
pub(super) struct Operand {
    pub tensor: TensorId,
    pub extents: [usize; 4],
    pub strides: [usize; 4],
}

impl Operand {
    /// From one batch, head, row to the next; a single one is repeated.
    fn rows(&self) -> [u32; 3] {
        [0, 1, 2].map(|axis| if self.extents[axis] == 1 { 0 } else { self.strides[axis] as u32 })
    }
}

impl Lowering<'_> {
    pub(super) fn attention(&mut self, node: &Node) -> Lowered {
        let [q, k, v] = [0, 1, 2].map(|index| self.float_tensor(node, index));
        let (q, k, v) = (q?, k?, v?);
        let mask = self.whole_mask(node)?;
        let mut whole = node.clone();
        whole.inputs.resize(whole.inputs.len().max(4), String::new());
        whole.inputs[3] = mask.clone().unwrap_or_default();
        let node = &whole;
        let mask = match mask {
            Some(_) => Some(self.float_tensor(node, 3)?),
            None => None,
        };
        let rank = q.layout.shape.len();
        let same_rank = [&k, &v].into_iter().all(|val| val.layout.shape.len() == rank);
        if !(2..=4).contains(&rank) || !same_rank || mask.as_ref().is_some_and(|mask| mask.layout.shape.len() > rank) {
            return self.attention_in_parts(node);
        }
        let positions = match node.input(4) {
            Some(name) => Some(self.any(name)?.tensor),
            None => None,
        };
        // Keys come with rows and columns swapped, but for those that are kept.
        let mut swapped = identity(rank);
        swapped.swap(rank - 2, rank - 1);
        let k = if positions.is_some() { k } else { Val { layout: k.layout.transposed(&swapped), ..k } };
        let shape = q.layout.shape.clone();
        let (q, k, v) = (self.operand(&q)?, self.operand(&k)?, self.operand(&v)?);
        let [batch, heads, queries, width] = q.extents;
        let [_, kv_heads, keys, _] = k.extents;
        let value_width = v.extents[3];
        let fits = k.extents == [batch, kv_heads, keys, width] && v.extents == [batch, kv_heads, keys, value_width];
        let mask = match mask {
            Some(mask) => Some(self.operand(&mask)?),
            None => None,
        };
        let broadcasts = |mask: &Operand| {
            mask.extents.iter().zip([batch, heads, queries, keys]).all(|(&extent, whole)| [1, whole].contains(&extent))
        };
        let shares = [1, heads].contains(&kv_heads) || positions.is_some() && heads.is_multiple_of(kv_heads);
        if !fits || !shares || !mask.as_ref().is_none_or(broadcasts) {
            return self.attention_in_parts(node);
        }
        let mut out_shape = shape;
        out_shape[rank - 1] = value_width;
        let mut order = identity(rank);
        if rank > 2 && self.swaps_heads(node, rank) {
            order.swap(rank - 3, rank - 2);
        }
        let layout = Layout::ordered(&out_shape, &order);
        let y = self.new_tensor(DType::F32, &layout, None, node.output(0).unwrap_or(""));
        let result = self.operand(&Val { tensor: y, layout: layout.clone(), kind: Kind::Float })?;
        let mut mask_strides = [0; 4];
        if let Some(mask) = &mask {
            let [batch, head, query] = mask.rows();
            mask_strides = [batch, head, query, u32::from(mask.extents[3] != 1)];
        }
        let mut step = Attention {
            q: q.tensor,
            k: k.tensor,
            v: v.tensor,
            mask: mask.map(|mask| mask.tensor),
            y,
            scratch: TensorId::NONE,
            batch: batch as u32,
            heads: heads as u32,
            sharing: (heads / kv_heads) as u32,
            queries: queries as u32,
            keys: keys as u32,
            width: width as u32,
            value_width: value_width as u32,
            q_strides: q.rows(),
            k_strides: k.rows(),
            v_strides: v.rows(),
            y_strides: result.rows(),
            mask_strides,
            scale: node.float("scale").unwrap_or(1.0),
        };
        let Some(room) = step.scratch_len() else { return self.attention_in_parts(node) };
        step.scratch = self.builder.scratch_f32(room, &node.label());
        let step = match positions {
            Some(positions) => Step::CachedAttention(CachedAttention { attention: step, positions }),
            None => Step::Attention(step),
        };
        self.builder.step(step, &node.label());
        self.bind(node, 0, Val { tensor: y, layout, kind: Kind::Float });
        Ok(())
    }

    /// The name of what is added to the scores: the mask, and the least where a condition hides some.
    fn whole_mask(&mut self, node: &Node) -> Lowered<Option<String>> {
        let mask = node.input(3).map(str::to_string);
        let Some(condition) = node.input(5) else { return Ok(mask) };
        let output = node.output(0).unwrap_or("").to_string();
        let [nothing, least, hidden, both] =
            ["nothing", "least", "hidden", "mask"].map(|what| self.fresh(&format!("{output}/{what}")));
        let numbers = [(&nothing, 0.0), (&least, node.float("least").unwrap_or(f32::NEG_INFINITY))];
        for (name, number) in numbers {
            let constant = super::Constant::plain(crate::model::Tensor::scalar_f32(number));
            self.values.insert(name.clone(), super::Value::Constant(constant.into()));
        }
        let hides = node.int("hides").unwrap_or(0) != 0;
        let (a, b) = if hides { (&least, &nothing) } else { (&nothing, &least) };
        let label = node.label();
        self.select(&Node::new("Where", &label, &[condition, a, b], &[&hidden]))?;
        let Some(mask) = mask else { return Ok(Some(hidden)) };
        self.binary(&Node::new("Add", &label, &[&mask, &hidden], &[&both]))?;
        Ok(Some(both))
    }

    /// A tensor of two to four axes whose rows are contiguous, copied where they are not.
    pub(super) fn operand(&mut self, val: &Val) -> Lowered<Operand> {
        let layout = val.layout.with_rank(4);
        let strides = |layout: &Layout| -> Option<[usize; 4]> {
            let mut strides = [0; 4];
            for (axis, slot) in strides.iter_mut().enumerate() {
                *slot = match layout.axis_strides(axis)[..] {
                    [] => 0,
                    [(_, stride)] => stride,
                    _ => return None,
                };
            }
            (strides[3] <= 1).then_some(strides)
        };
        if let Some(strides) = strides(&layout)
            && let Ok(extents) = <[usize; 4]>::try_from(&layout.shape[..])
        {
            return Ok(Operand { tensor: val.tensor, extents, strides });
        }
        let val = self.ordered(val, &identity(val.layout.shape.len()))?;
        let layout = val.layout.with_rank(4);
        let mut extents = [1; 4];
        extents.iter_mut().zip(&layout.shape).for_each(|(slot, &dim)| *slot = dim);
        Ok(Operand { tensor: val.tensor, extents, strides: strides(&layout).unwrap_or_default() })
    }

    /// Whether the only reader of the result wants the heads of a row side by side.
    fn swaps_heads(&self, node: &Node, rank: usize) -> bool {
        let only_reader = |node: &Node| {
            let readers = node.output(0).and_then(|name| self.consumers.get(name));
            readers.and_then(|readers| if let [reader] = readers[..] { Some(reader) } else { None })
        };
        let Some(mut reader) = only_reader(node) else { return false };
        while ["QuantizeLinear", "DequantizeLinear"].iter().any(|op_type| self.model.nodes[reader].is(op_type)) {
            let Some(next) = only_reader(&self.model.nodes[reader]) else { return false };
            reader = next;
        }
        let mut swapped: Vec<i64> = (0..rank as i64).collect();
        swapped.swap(rank - 3, rank - 2);
        let reader = &self.model.nodes[reader];
        reader.is("Transpose") && reader.ints("perm") == Some(&swapped[..])
    }

    /// The operators that it stands for, one by one.
    fn attention_in_parts(&mut self, node: &Node) -> Lowered {
        if node.input(4).is_some() {
            return wrong("its queries, keys and values do not suit each other, or its mask not both");
        }
        let output = node.output(0).unwrap_or("").to_string();
        let [product, factor, scaled, masked, weights] =
            ["product", "factor", "scaled", "masked", "weights"].map(|what| self.fresh(&format!("{output}/{what}")));
        let at = |index: usize| node.input(index).unwrap_or("");
        let label = node.label();
        let scale = crate::model::Tensor::scalar_f32(node.float("scale").unwrap_or(1.0));
        self.values.insert(factor.clone(), super::Value::Constant(super::Constant::plain(scale).into()));
        self.matmul(&Node::new("MatMul", &label, &[at(0), at(1)], &[&product]))?;
        self.binary(&Node::new("Mul", &label, &[&product, &factor], &[&scaled]))?;
        let scores = if at(3).is_empty() {
            &scaled
        } else {
            self.binary(&Node::new("Add", &label, &[&scaled, at(3)], &[&masked]))?;
            &masked
        };
        let softmax = Node::new("Softmax", &label, &[scores], &[&weights]).with("axis", Attribute::Int(-1));
        self.softmax(&softmax)?;
        self.matmul(&Node::new("MatMul", &label, &[&weights, at(2)], &[&output]))
    }
}
