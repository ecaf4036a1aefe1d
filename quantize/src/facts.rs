//! Element type and shape of every tensor, by running shape inference on the float model.

use std::collections::BTreeMap;

use cygnet_onnx::model::{DType, Dim, Model, Tensor};
use cygnet_onnx::reference::{Reference, ReferenceError};

/// Type and shape by tensor name: inputs, initializers and everything that nodes make.
pub type Facts = BTreeMap<String, (DType, Vec<usize>)>;

/// Extents of open axes by symbol, see [`Reference::with_dims`].
pub type Dims = BTreeMap<String, usize>;

/// All tensors that nodes make.
pub fn inner_tensors(model: &Model) -> Vec<String> {
    model.nodes.iter().flat_map(|n| &n.outputs).filter(|o| !o.is_empty()).cloned().collect()
}

/// Infers types and shapes with open axes fixed by `dims`.
///
/// # Errors
/// [`ReferenceError`] where tract cannot follow the model.
pub fn infer(model: &Model, dims: &Dims) -> Result<Facts, ReferenceError> {
    let names = inner_tensors(model);
    let reference = Reference::with_dims(model, &names, dims)?;
    let inner = reference.output_facts().iter().skip(model.outputs.len()).cloned();
    let mut facts: Facts = names.into_iter().zip(inner).collect();
    facts.extend(reference.input_facts().iter().map(|(n, t, s)| (n.clone(), (*t, s.clone()))));
    facts.extend(model.initializers.iter().map(|(n, t)| (n.clone(), (t.dtype, t.shape.clone()))));
    Ok(facts)
}

/// Fixes the open axes of the inputs as the first sample has them.
pub fn dims_of(model: &Model, sample: &[Tensor]) -> Dims {
    let mut dims = Dims::new();
    for (input, tensor) in model.inputs.iter().zip(sample) {
        for (axis, (dim, &extent)) in input.shape.iter().flatten().zip(&tensor.shape).enumerate() {
            if let Dim::Symbol(name) = dim {
                let key = if name.is_empty() { format!("{}:{axis}", input.name) } else { name.clone() };
                dims.insert(key, extent);
            }
        }
    }
    dims
}
