//! Takes channels out of a model.

use std::collections::BTreeSet;

use cygnet_onnx::model::{Attribute, Model, Tensor};

use crate::channels::{Channels, Labels};
use crate::error::QuantizeError;
use crate::facts::Facts;
use crate::graph::{Names, Readers, drop_unused};

/// Removes the classes in `gone` from all constants, and makes shapes and group counts follow.
///
/// # Errors
/// [`QuantizeError::Node`] for a node whose constants do not let channels go (a mistake of ours: it should be pinned).
pub(super) fn cut(
    model: &mut Model,
    facts: &Facts,
    channels: &Channels,
    gone: &BTreeSet<usize>,
) -> Result<(), QuantizeError> {
    let mut names = Names::of(model);
    for part in &channels.uses {
        let Some(name) = model.nodes[part.node].input(part.input).map(str::to_string) else { continue };
        let Some(mut constant) = model.initializers.get(&name).cloned() else { continue };
        let groups = model.nodes[part.node].int("group").unwrap_or(1);
        for labels in [&part.makes, &part.reads].into_iter().flatten() {
            let shape = constant.shape.clone();
            constant = cut_tensor(constant, labels, gone).ok_or_else(|| {
                let problem = format!("channels cannot be taken out of \"{name}\" of shape {shape:?}");
                QuantizeError::node(&model.nodes[part.node], problem)
            })?;
        }
        let is_depthwise = groups > 1 && part.input == 1 && part.makes == part.reads;
        if is_depthwise && let Some(original) = model.initializers.get(&name) {
            let per_group = (original.shape[0] as i64 / groups).max(1);
            let left = constant.shape[0] as i64 / per_group;
            model.nodes[part.node].attributes.insert("group".into(), Attribute::Int(left));
        }
        replace(model, &mut names, part.node, part.input, constant);
    }
    for index in 0..model.nodes.len() {
        follow(model, &mut names, facts, channels, gone, index);
    }
    model.value_info.clear();
    drop_unused(model);
    Ok(())
}

/// Makes the node read `constant` in place of what it read.
fn replace(model: &mut Model, names: &mut Names, node: usize, input: usize, constant: Tensor) {
    let name = model.nodes[node].inputs[input].clone();
    let is_shared = Readers::of(model).nodes(&name).len() > 1;
    let new = if is_shared { names.fresh(&format!("{name}_pruned")) } else { name };
    model.nodes[node].inputs[input] = new.clone();
    model.initializers.insert(new, constant);
}

/// The tensor without the slices whose class is gone.
fn cut_tensor(tensor: Tensor, labels: &Labels, gone: &BTreeSet<usize>) -> Option<Tensor> {
    if !labels.marks().iter().any(|class| gone.contains(class)) {
        return Some(tensor);
    }
    let [axis] = labels.varying()[..] else { return None };
    // A tensor that was cut along the same axis before is as long as what is left.
    let kept = kept(labels, gone)?;
    let extent = tensor.shape[axis];
    let total = labels.marks().len();
    if extent == kept.len() && extent != total {
        return Some(tensor);
    }
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let values = tensor.to_f32s().ok()?;
    let is_kept = |index: &usize| kept.binary_search(&(index / inner.max(1) % extent)).is_ok();
    let values: Vec<f32> = (0..values.len()).filter(is_kept).map(|index| values[index]).collect();
    let mut shape = tensor.shape;
    shape[axis] = kept.len();
    Some(Tensor::from_f32(shape, &values))
}

/// The indices along the axis of classes that stay.
pub(super) fn kept(labels: &Labels, gone: &BTreeSet<usize>) -> Option<Vec<usize>> {
    let marks = labels.marks().iter().enumerate();
    (labels.varying().len() == 1).then(|| marks.filter(|(_, class)| !gone.contains(class)).map(|(i, _)| i).collect())
}

/// Writes the extents that are left into the constants of nodes that move values.
fn follow(
    model: &mut Model,
    names: &mut Names,
    facts: &Facts,
    channels: &Channels,
    gone: &BTreeSet<usize>,
    index: usize,
) -> Option<()> {
    let node = &model.nodes[index];
    let left = |tensor: &str| {
        let labels = channels.of.get(tensor)?;
        let axis = *labels.varying().first()?;
        Some((axis, kept(labels, gone)?.len()))
    };
    if node.is("Reshape") {
        let (axis, left) = left(node.output(0)?)?;
        let mut shape = model.initializers.get(node.input(1)?)?.to_i64s().ok()?;
        if *shape.get(axis)? > 0 {
            shape[axis] = left as i64;
            replace(model, names, index, 1, Tensor::from_i64(vec![shape.len()], &shape));
        } else if shape[axis] == 0 {
            // 0 copies the extent of the same axis of the input, which need not be the one that shrank.
            shape[axis] = left as i64;
            replace(model, names, index, 1, Tensor::from_i64(vec![shape.len()], &shape));
        }
    } else if node.is("Split") {
        let rank = facts.get(node.input(0)?)?.1.len() as i64;
        let axis = node.int("axis").unwrap_or(0);
        let axis = if axis < 0 { axis + rank } else { axis } as usize;
        let extent = |output: &String| match left(output) {
            Some((along, left)) if along == axis => Some(left as i64),
            _ => Some(facts.get(output)?.1[axis] as i64),
        };
        let sizes = node.outputs.iter().map(extent).collect::<Option<Vec<i64>>>()?;
        let name = names.fresh(&format!("{}_split", node.label()));
        model.initializers.insert(name.clone(), Tensor::from_i64(vec![sizes.len()], &sizes));
        let node = &mut model.nodes[index];
        node.inputs.truncate(1);
        node.inputs.push(name);
        node.attributes.remove("num_outputs");
    }
    Some(())
}
