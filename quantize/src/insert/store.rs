//! New constants of a model.

use std::collections::BTreeMap;

use cygnet_onnx::model::{Model, Tensor};

use crate::graph::Names;

/// Puts constants into a model under free names.
pub(super) struct Store {
    names: Names,
    /// Names of shared constants by type and shape, and bytes.
    shared: BTreeMap<(String, Vec<u8>), String>,
}

/// How long a tensor's name may be inside the names of what is made of it.
const LONGEST: usize = 24;

/// The end of a long name, from a `/` on where there is one: `…/activation_8/Relu:0`.
fn shortened(name: &str) -> &str {
    if name.len() <= LONGEST {
        return name;
    }
    let mut ends = name.match_indices('/').map(|(place, _)| &name[place + 1..]).filter(|end| !end.is_empty());
    let fits = |end: &&str| end.len() <= LONGEST;
    let tail = || name.char_indices().map(|(place, _)| &name[place..]).find(fits);
    ends.find(fits).or_else(tail).unwrap_or(name)
}

impl Store {
    /// A free name for what is made of `tensor`: its name, shortened, and `suffix`.
    pub(super) fn name(&mut self, tensor: &str, suffix: &str) -> String {
        self.names.fresh(&format!("{}_{suffix}", shortened(tensor)))
    }

    pub(super) fn of(model: &Model) -> Store {
        Store { names: Names::of(model), shared: BTreeMap::new() }
    }

    /// Stores the levels of the constant `of`; returns their name.
    pub(super) fn levels(&mut self, model: &mut Model, of: &str, levels: Tensor) -> String {
        let name = self.name(of, "q");
        model.initializers.insert(name.clone(), levels);
        name
    }

    /// Stores the scale of `tensor`, or finds an equal one; returns its name.
    pub(super) fn scale(&mut self, model: &mut Model, tensor: &str, scale: Tensor) -> String {
        self.shared(model, &format!("{}_s", shortened(tensor)), scale)
    }

    /// Stores a constant, or finds an equal one that was stored so before; returns its name.
    pub(super) fn shared(&mut self, model: &mut Model, wanted: &str, tensor: Tensor) -> String {
        let key = (format!("{} {:?}", tensor.dtype, tensor.shape), tensor.data.clone());
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let name = self.names.fresh(wanted);
        model.initializers.insert(name.clone(), tensor);
        self.shared.insert(key, name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_end() {
        let cases = [
            ("conv1", "conv1"),
            ("StatefulPartitionedCall/functional_1/activation_8/Relu:0", "activation_8/Relu:0"),
            ("0123456789abcdefghijklmnopqrstuvwxyz", "cdefghijklmnopqrstuvwxyz"),
            ("0123456789abcdéfghijklmnopqrstuvwxyz/", "fghijklmnopqrstuvwxyz/"),
        ];
        for (name, expected) in cases {
            assert!(shortened(name).ends_with(expected) && shortened(name).len() <= LONGEST, "{}", shortened(name));
        }
    }
}
