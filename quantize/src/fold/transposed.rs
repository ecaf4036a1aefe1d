//! Writes a transposed convolution as a convolution and DepthToSpace, which every integer engine has.

use cygnet_onnx::model::{Attribute, DType, Model, Node, Tensor};
use cygnet_onnx::transposed::Transposed;

use crate::facts::Facts;
use crate::graph::{Names, Readers, constant};
use crate::operators::bounds;

/// Replaces all that can be written so; returns how many were.
///
/// An activation behind the layer goes in front of the DepthToSpace: it is computed with the sums.
pub(super) fn replace(model: &mut Model, facts: &Facts) -> usize {
    let mut replaced = 0;
    for index in 0..model.nodes.len() {
        let node = model.nodes[index].clone();
        if let Some(transposed) = readable(model, facts, &node) {
            rewrite(model, index, &node, &transposed);
            replaced += 1;
        }
    }
    replaced
}

/// The node as [`Transposed`], where both axes have one stride, the phases end together and nothing is in groups.
fn readable(model: &Model, facts: &Facts, node: &Node) -> Option<Transposed> {
    if !node.is("ConvTranspose") {
        return None;
    }
    let weights = constant(model, node, 1).filter(|weights| weights.dtype == DType::F32)?;
    if node.input(2).is_some() {
        constant(model, node, 2).filter(|bias| bias.dtype == DType::F32)?;
    }
    let (_, shape) = facts.get(node.input(0)?)?;
    let transposed = Transposed::of(node, shape, &weights.shape).ok()?;
    let [rows, columns] = transposed.axes;
    let even = transposed.axes.iter().all(|axis| axis.output.is_multiple_of(axis.stride) && behind(*axis) >= 0);
    let square = shape.len() == 4 && rows.stride == columns.stride && rows.stride > 1;
    (even && square && transposed.groups == 1).then_some(transposed)
}

/// Padding of the convolution behind.
fn behind(axis: cygnet_onnx::transposed::Axis) -> i64 {
    (axis.positions() + axis.span()) as i64 - (axis.input + axis.before()) as i64 - 1
}

fn rewrite(model: &mut Model, index: usize, node: &Node, transposed: &Transposed) {
    let mut names = Names::of(model);
    let numbers = |position: usize| constant(model, node, position).and_then(|tensor| tensor.to_f32s().ok());
    let (weights, bias) = (numbers(1).unwrap_or_default(), numbers(2));
    let spread: Vec<f32> = transposed.elements().iter().map(|from| from.map_or(0.0, |from| weights[from])).collect();
    let [rows, columns] = transposed.axes;
    let shape = vec![transposed.channels(), transposed.inner, rows.span(), columns.span()];
    let (wide, weights_name) =
        (names.fresh(&format!("{}_phases", node.outputs[0])), names.fresh(&format!("{}_phases", node.inputs[1])));
    model.initializers.insert(weights_name.clone(), Tensor::from_f32(shape, &spread));
    let pads = [rows.before() as i64, columns.before() as i64, behind(rows), behind(columns)];
    let mut conv = Node::new("Conv", &node.name, &[&node.inputs[0], &weights_name], &[&wide])
        .with("kernel_shape", Attribute::Ints(vec![rows.span() as i64, columns.span() as i64]))
        .with("pads", Attribute::Ints(pads.to_vec()));
    if let Some(bias) = bias {
        let bias: Vec<f32> = transposed.channel_of().iter().map(|&channel| bias[channel]).collect();
        let name = names.fresh(&format!("{}_phases", node.inputs[2]));
        model.initializers.insert(name.clone(), Tensor::from_f32(vec![bias.len()], &bias));
        conv.inputs.push(name);
    }
    // Only cuts values off: the same in any order of the elements.
    let readers = Readers::of(model);
    let activation = readers.only(&node.outputs[0]).filter(|&reader| bounds(model, &model.nodes[reader]).is_some());
    let label = names.fresh(&format!("{}_to_space", node.label()));
    let mut to_space = Node::new("DepthToSpace", &label, &[&wide], &[&node.outputs[0]])
        .with("blocksize", Attribute::Int(rows.stride as i64));
    model.nodes[index] = conv;
    match activation {
        Some(reader) => {
            let cut = names.fresh(&format!("{wide}_cut"));
            to_space.inputs[0].clone_from(&cut);
            let activation = &mut model.nodes[reader];
            activation.inputs[0] = wide;
            to_space.outputs[0] = std::mem::replace(&mut activation.outputs[0], cut);
            // In topological order again with the sort that follows all passes.
            model.nodes.push(to_space);
        }
        None => model.nodes.push(to_space),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Dims, infer};
    use cygnet_onnx::model::{Dim, ValueInfo};
    use cygnet_onnx::reference::Reference;

    /// tract's own ConvTranspose is the judge.
    #[test]
    fn a_convolution_and_depth_to_space_compute_the_same() {
        for (kernel, stride, pads, extra) in [(2, 2, 0, 0), (4, 2, 1, 0), (3, 2, 1, 1), (3, 3, 0, 0), (5, 3, 1, 0)] {
            let value = |name: &str, shape| ValueInfo { name: name.into(), dtype: DType::F32, shape };
            let node = Node::new("ConvTranspose", "up", &["x", "w", "b"], &["t"])
                .with("strides", Attribute::Ints(vec![stride; 2]))
                .with("pads", Attribute::Ints(vec![pads; 4]))
                .with("output_padding", Attribute::Ints(vec![extra; 2]));
            let mut model = Model {
                ir_version: 8,
                opsets: [(String::new(), 13)].into(),
                nodes: vec![node, Node::new("Relu", "", &["t"], &["y"])],
                inputs: vec![value("x", Some([1, 3, 4, 5].map(Dim::Known).to_vec()))],
                outputs: vec![value("y", None)],
                ..Model::default()
            };
            let count = 3 * 2 * kernel * kernel;
            let numbers = |count: usize| (0..count).map(|i| ((i * 37 % 19) as f32 - 9.0) / 8.0).collect::<Vec<_>>();
            model.initializers.insert("w".into(), Tensor::from_f32(vec![3, 2, kernel, kernel], &numbers(count)));
            model.initializers.insert("b".into(), Tensor::from_f32(vec![2], &[0.25, -0.5]));
            let x = Tensor::from_f32(vec![1, 3, 4, 5], &numbers(60));
            let run = |model: &Model| {
                let reference = Reference::new(model, &[]).expect("a model that tract runs");
                reference.run(std::slice::from_ref(&x)).expect("a result").remove(0)
            };
            let expected = run(&model);
            let facts = infer(&model, &Dims::new()).expect("shapes");
            let even = facts["t"].1[2..].iter().all(|extent| extent % stride as usize == 0);
            assert_eq!(replace(&mut model, &facts), usize::from(even), "kernel {kernel}, stride {stride}");
            model.sort().expect("an order");
            let found = run(&model);
            assert_eq!(found.shape, expected.shape);
            let (found, expected) = (found.to_f32s().expect("numbers"), expected.to_f32s().expect("numbers"));
            let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0));
            assert!(near, "kernel {kernel}, stride {stride}: {found:?} instead of {expected:?}");
        }
    }
}
