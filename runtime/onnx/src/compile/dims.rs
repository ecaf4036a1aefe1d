//! Extents of open axes.

use std::collections::BTreeMap;

use crate::model::{Dim, Model};

/// Fixes open axes of the inputs; `dims` has extents by the name of the axis, or `input:axis`.
pub fn fix_dims(model: &mut Model, dims: &BTreeMap<String, usize>) {
    for input in &mut model.inputs {
        for (axis, dim) in input.shape.iter_mut().flatten().enumerate() {
            let Dim::Symbol(symbol) = dim else { continue };
            let place = format!("{}:{axis}", input.name);
            if let Some(&extent) = dims.get(&place).or_else(|| dims.get(symbol.as_str())) {
                *dim = Dim::Known(extent);
            }
        }
    }
}
