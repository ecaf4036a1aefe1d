//! What steps demand that move elements, and the steps of hosts.

use super::operands::{REAL, constant, pair, require, same_type, sized, tensor, typed};
use super::{Rule, rules};
use crate::bytes::{F32s, U32s};
use crate::plan::step::{Copy, Lookup, MAX_HOST_TENSORS, RoiAlign};
use crate::plan::{DType, MAX_RANK, Plan, TensorId};
use crate::verify::product;

rules! {
    copy(plan, s: Copy) {
        check_copy(plan, s)
    }
    fill(plan, s: Fill) {
        tensor(plan, s.y).map(|_| ())
    }
    gather(plan, s: Gather) {
        let (x, y) = pair(plan, s.x, s.y)?;
        require(x.dtype == y.dtype, "input and output differ in type")?;
        sized(&x, &[s.outer, s.n, s.inner])?;
        let bytes = s.indices.of(plan.bytes()).ok_or("a constant lies outside the file")?;
        let indices = U32s::new(bytes);
        sized(&y, &[s.outer, indices.len() as u32, s.inner])?;
        require(indices.iter().all(|index| index < s.n), "an index lies outside the axis")
    }
    lookup(plan, s: Lookup) {
        check_lookup(plan, s)
    }
    resize_linear(plan, s: ResizeLinear) {
        let (x, y) = pair(plan, s.x, s.y)?;
        same_type(&x, &y, REAL)?;
        sized(&x, &[s.batch, s.in_h, s.in_w, s.channels])?;
        sized(&y, &[s.batch, s.out_h, s.out_w, s.channels])?;
        for (span, count, limit) in [(s.rows, s.out_h, s.in_h), (s.columns, s.out_w, s.in_w)] {
            let words = U32s::new(constant(plan, span, (count as usize).checked_mul(12))?);
            for entry in 0..count as usize {
                let inside = words.get(entry * 3) < limit && words.get(entry * 3 + 1) < limit;
                let weight = f32::from_bits(words.get(entry * 3 + 2));
                require(inside && weight.is_finite(), "an interpolation table is not usable")?;
            }
        }
        require(s.multiplier.is_finite() && s.multiplier >= 0.0, "a multiplier is not usable")
    }
    roi_align(plan, s: RoiAlign) {
        let (x, y) = pair(plan, s.x, s.y)?;
        let (boxes, images) = pair(plan, s.boxes, s.images)?;
        [x, y, boxes].iter().try_for_each(|tensor| typed(tensor, DType::F32))?;
        typed(&images, DType::I64)?;
        sized(&x, &[s.batch, s.in_h, s.in_w, s.channels])?;
        sized(&y, &[s.count, s.out_h, s.out_w, s.channels])?;
        sized(&boxes, &[s.count, 4])?;
        sized(&images, &[s.count])?;
        require(s.scale.is_finite() && s.samples <= RoiAlign::MOST_SAMPLES, "its scale or its samples are not usable")
    }
    host(plan, s: HostStep) {
        let named = |ids: &[TensorId; MAX_HOST_TENSORS]| ids.iter().filter(|&&id| id != TensorId::NONE).count();
        require(s.input_ids().count() == named(&s.inputs), "its list of inputs has a gap")?;
        require(s.output_ids().count() == named(&s.outputs), "its list of outputs has a gap")?;
        require(s.model.of(plan.bytes()).is_some(), "its model lies outside the file")
    }
}

#[inline(never)]
fn check_copy(plan: &Plan<'_>, s: &Copy) -> Rule {
    let y = tensor(plan, s.y)?;
    let x_len = match s.x {
        Some(id) => {
            let x = tensor(plan, id)?;
            require(x.dtype.bytes() == y.dtype.bytes(), "input and output differ in type")?;
            x.len()
        }
        None => s.constant.of(plan.bytes()).ok_or("a constant lies outside the file")?.len() / y.dtype.bytes(),
    };
    product(&s.dims).filter(|&count| count > 0).ok_or("its dimensions are not usable")?;
    let (mut least, mut greatest, mut written) = (i64::from(s.x_offset), i64::from(s.x_offset), u64::from(s.y_offset));
    for axis in 0..MAX_RANK {
        let steps = i64::from(s.dims[axis]) - 1;
        require(steps > 0 || s.x_strides[axis] == 0 && s.y_strides[axis] == 0, "its strides leave the source")?;
        let reach = steps * i64::from(s.x_strides[axis]);
        least += reach.min(0);
        greatest += reach.max(0);
        written = written.saturating_add(steps.unsigned_abs().saturating_mul(u64::from(s.y_strides[axis])));
    }
    require(least >= 0 && greatest < x_len as i64, "its strides leave the source")?;
    require(written < y.len() as u64, "its strides leave the destination")?;
    if !s.table.is_none() {
        typed(&y, DType::I8)?;
        constant(plan, s.table, Some(256))?;
    }
    Ok(())
}

#[inline(never)]
fn check_lookup(plan: &Plan<'_>, s: &Lookup) -> Rule {
    let (indices, y) = pair(plan, s.indices, s.y)?;
    require(matches!(indices.dtype, DType::I32 | DType::I64), "its indices are neither int32 nor int64")?;
    let source = [s.outer, s.n, s.inner];
    sized(&y, &[s.outer, indices.len() as u32, s.inner])?;
    require(s.n > 0 && s.inner > 0, "its source is empty")?;
    match s.x {
        Some(x) => {
            let x = tensor(plan, x)?;
            typed(&x, y.dtype)?;
            sized(&x, &source)?;
            require(s.scales.is_none(), "an activation has no scale for each row")
        }
        None if s.scales.is_none() => {
            let bytes = product(&source).and_then(|len| len.checked_mul(y.dtype.bytes()));
            constant(plan, s.constant, bytes).map(|_| ())
        }
        None => {
            typed(&y, DType::F32)?;
            require(s.outer == 1, "rows with scales have no dimensions in front")?;
            constant(plan, s.constant, product(&source))?;
            let scales = F32s::new(constant(plan, s.scales, (s.n as usize).checked_mul(4))?);
            require(scales.iter().all(f32::is_finite), "a scale is not usable")
        }
    }
}
