//! What steps demand that keep keys and values of the tokens before.

use super::operands::{require, tensor, typed};
use super::product::{check_attention, reaches};
use super::rules;
use crate::plan::DType;
use crate::verify::product;

rules! {
    rows(plan, s: CacheRows) {
        let (x, y) = (tensor(plan, s.x)?, tensor(plan, s.y)?);
        typed(&tensor(plan, s.positions)?, DType::I64)?;
        let slots = plan.tensor(s.y).ok_or("it names a tensor that is not there")?;
        let same = plan.tensor(s.x).is_some_and(|x| {
            x.dtype == slots.dtype && x.scale == slots.scale && x.zero_point == slots.zero_point
        });
        require(same, "its tensors have different types")?;
        let sizes = [s.heads, s.rows, s.width, s.slots];
        require(sizes.iter().all(|&size| (1..1 << 24).contains(&size)), "its sizes are not usable")?;
        let [head, row] = s.x_strides;
        require(reaches([1, s.heads, s.rows], [0, head, row], s.width, x.len()), "its strides leave a tensor")?;
        require(product(&[s.heads, s.slots, s.width]) == Some(y.len()), "its slots do not fill the tensor")?;
        // It writes a part: what is read of the rest must have been there before.
        require(slots.first == 0 && s.rows <= s.slots && s.in_turns <= 1, "its slots are not kept")
    }
    attention(plan, s: CachedAttention) {
        typed(&tensor(plan, s.positions)?, DType::I64)?;
        check_attention(plan, &s.attention)
    }
}
