//! What a decoder keeps of the tokens before, as [`Cache`](crate::compile::cache) writes it.

use cygnet_core::plan::step::{CacheRows, Step};

use super::{CACHE, DOMAIN, Kind, Lowered, Lowering, Val, Value, wrong};
use crate::compile::layout::Layout;
use crate::model::{Model, Node};

/// Inputs that are written where they stay, and the outputs that they are, by number.
pub(super) fn pairs(model: &Model) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (from, input) in model.inputs.iter().enumerate() {
        let reads = |node: &&Node| node.domain == DOMAIN && node.op_type == CACHE && node.input(0) == Some(&input.name);
        let Some(mut end) = model.nodes.iter().find(reads).and_then(|node| node.output(0)) else { continue };
        let place = loop {
            if let Some(place) = model.outputs.iter().position(|output| output.name == end) {
                break Some(place);
            }
            let next = model.nodes.iter().find(|node| node.is("Identity") && node.input(0) == Some(end));
            let Some(next) = next.and_then(|node| node.output(0)) else { break None };
            end = next;
        };
        pairs.extend(place.map(|to| (from, to)));
    }
    pairs
}

impl Lowering<'_> {
    /// Puts new rows behind those of the tokens before.
    pub(super) fn cache(&mut self, node: &Node) -> Lowered {
        let Value::Val(kept) = self.value(node, 0)? else { return wrong("what it keeps must be an input") };
        let new = self.float_tensor(node, 1)?;
        let positions = self.tensor(node, 2)?.tensor;
        let shape = kept.layout.shape.clone();
        let (&[1, heads, slots, width], &[1, new_heads, rows, new_width]) = (&shape[..], &new.layout.shape[..]) else {
            return wrong("keys and values must have the axes batch, head, token, element, and one batch");
        };
        if (heads, width) != (new_heads, new_width) {
            return wrong(format!("the new tokens have the shape {:?}, the past {shape:?}", new.layout.shape));
        }
        let x = self.operand(&new)?;
        let [_, head, row, _] = x.strides;
        let step = CacheRows {
            x: x.tensor,
            y: kept.tensor,
            positions,
            heads: heads as u32,
            rows: rows as u32,
            width: width as u32,
            slots: slots as u32,
            x_strides: [head as u32, row as u32],
            in_turns: node.int("in_turns").unwrap_or(0) as u32,
        };
        self.builder.step(Step::CacheRows(step), &node.label());
        let layout = Layout::row_major(&shape);
        self.bind(node, 0, Val { tensor: kept.tensor, layout, kind: Kind::Float });
        Ok(())
    }
}
