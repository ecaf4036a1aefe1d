//! Operators that only see the elements under another shape: layouts, copied where one does not suffice.

use super::{Lowered, Lowering, Val, identity, wrong};
use crate::compile::layout::Layout;
use crate::model::Node;

impl Lowering<'_> {
    pub(super) fn transpose(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let rank = val.layout.shape.len();
        let permutation: Vec<usize> = match node.ints("perm") {
            Some(perm) => perm.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = permutation.clone();
        sorted.sort_unstable();
        if sorted != identity(rank) {
            return wrong(format!("perm {permutation:?} does not name each of {rank} axes once"));
        }
        let layout = val.layout.transposed(&permutation);
        self.bind(node, 0, Val { layout, ..val });
        Ok(())
    }

    pub(super) fn reshape(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let shape = val.layout.shape.clone();
        let len = val.layout.len();
        let new: Vec<usize> = match node.op_type.as_str() {
            "Reshape" => {
                let Some(wanted) = self.ints(node, "shape", 1)? else { return wrong("its shape is missing") };
                reshape(&shape, &wanted, node.int("allowzero").unwrap_or(0) != 0)?
            }
            "Flatten" => {
                let axis = node.int("axis").unwrap_or(1);
                let axis = if axis == shape.len() as i64 { shape.len() } else { Self::axis(axis, shape.len())? };
                vec![shape[..axis].iter().product(), shape[axis..].iter().product()]
            }
            "Squeeze" => match self.ints(node, "axes", 1)? {
                Some(axes) => {
                    let axes: Vec<usize> =
                        axes.iter().map(|&axis| Self::axis(axis, shape.len())).collect::<Lowered<_>>()?;
                    if axes.iter().any(|&axis| shape[axis] != 1) {
                        return wrong(format!("axes {axes:?} of {shape:?} are not all 1"));
                    }
                    (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect()
                }
                None => shape.iter().copied().filter(|&dim| dim != 1).collect(),
            },
            _ => {
                let Some(axes) = self.ints(node, "axes", 1)? else { return wrong("its axes are missing") };
                let rank = shape.len() + axes.len();
                if rank > 64 {
                    return wrong("it adds too many axes");
                }
                let axes: Vec<usize> = axes.iter().map(|&axis| Self::axis(axis, rank)).collect::<Lowered<_>>()?;
                let mut rest = shape.iter().copied();
                (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) }).collect()
            }
        };
        if new.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)) != Some(len) {
            return wrong(format!("{shape:?} cannot be seen as {new:?}"));
        }
        let val = self.reshaped(&val, &new)?;
        self.bind(node, 0, val);
        Ok(())
    }

    /// The same elements under another shape: free where the layout allows, else copied first.
    pub(super) fn reshaped(&mut self, val: &Val, shape: &[usize]) -> Lowered<Val> {
        if let Some(layout) = val.layout.reshaped(shape) {
            return Ok(Val { layout, ..val.clone() });
        }
        let val = self.ordered(val, &identity(val.layout.shape.len()))?;
        // Row-major now: any shape of as many elements is.
        Ok(Val { layout: Layout::row_major(shape), ..val })
    }

    /// [DepthToSpace](https://onnx.ai/onnx/operators/onnx__DepthToSpace.html) and its inverse are
    /// reshapes and transposes.
    pub(super) fn depth_space(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let block = node.int("blocksize").unwrap_or(0).max(0) as usize;
        let [n, c, h, w] = val.layout.shape[..] else { return wrong("its input must have four axes") };
        let (cut, permutation, joined): (Vec<usize>, [usize; 6], Vec<usize>) = if node.op_type == "DepthToSpace" {
            if block == 0 || block > 1 << 12 || !c.is_multiple_of(block * block) {
                return wrong(format!("blocks of {block} do not fit {c} channels"));
            }
            let depth = c / (block * block);
            let out = vec![n, depth, h * block, w * block];
            match node.string("mode").unwrap_or("DCR") {
                "DCR" => (vec![n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2], out),
                "CRD" => (vec![n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3], out),
                other => return wrong(format!("mode \"{other}\" is not known")),
            }
        } else {
            if block == 0 || !h.is_multiple_of(block) || !w.is_multiple_of(block) {
                return wrong(format!("blocks of {block} do not fit {h} × {w}"));
            }
            let out = vec![n, c * block * block, h / block, w / block];
            let cut = vec![n, c, h / block, block, w / block, block];
            match node.string("mode").unwrap_or("DCR") {
                "DCR" => (cut, [0, 3, 5, 1, 2, 4], out),
                "CRD" => (cut, [0, 1, 3, 5, 2, 4], out),
                other => return wrong(format!("mode \"{other}\" is not known")),
            }
        };
        let val = self.reshaped(&val, &cut)?;
        let val = Val { layout: val.layout.transposed(&permutation), ..val };
        let val = match val.layout.reshaped(&joined) {
            Some(layout) => Val { layout, ..val },
            None => self.reshaped(&val, &joined)?,
        };
        self.bind(node, 0, val);
        Ok(())
    }
}

/// The shape that Reshape asks for: 0 keeps an extent, -1 is what is left.
fn reshape(shape: &[usize], wanted: &[i64], allow_zero: bool) -> Lowered<Vec<usize>> {
    let len: usize = shape.iter().product();
    let mut new = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, &extent) in wanted.iter().enumerate() {
        match extent {
            -1 if open.is_none() => {
                open = Some(axis);
                new.push(1);
            }
            0 if !allow_zero => match shape.get(axis) {
                Some(&dim) => new.push(dim),
                None => return wrong(format!("{wanted:?} keeps axis {axis}, which {shape:?} lacks")),
            },
            1.. => new.push(extent as usize),
            _ => return wrong(format!("{wanted:?} is not a shape")),
        }
    }
    let product = new.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)).unwrap_or(0);
    if let Some(axis) = open {
        if product == 0 || !len.is_multiple_of(product) {
            return wrong(format!("{shape:?} cannot be seen as {wanted:?}"));
        }
        new[axis] = len / product;
    }
    Ok(new)
}
