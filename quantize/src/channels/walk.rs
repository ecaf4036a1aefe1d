//! Goes through a model in its order and joins the channels that belong together.

use std::collections::BTreeMap;

use cygnet_onnx::model::{DType, Model, Node, Tensor};

use super::{Channels, Class, Labels, Limit, Purpose, Use};
use crate::facts::Facts;

/// Labels while the model is walked: units, joined as their dependence is found.
pub(super) struct Walk<'m> {
    pub(super) model: &'m Model,
    pub(super) facts: &'m Facts,
    pub(super) purpose: Purpose,
    parent: Vec<usize>,
    /// By unit; only that of a set's first unit counts.
    pins: Vec<Option<String>>,
    of: BTreeMap<String, Labels>,
    uses: Vec<Use>,
    limits: Vec<Limit>,
}

/// The classes of `model`, see [`Channels::of`].
pub(super) fn walk(model: &Model, facts: &Facts, purpose: Purpose) -> Channels {
    let (parent, pins, of) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut walk = Walk { model, facts, purpose, parent, pins, of, uses: Vec::new(), limits: Vec::new() };
    for input in &model.inputs {
        walk.make_pinned(&input.name, &format!("input \"{}\" of the model", input.name));
    }
    for (index, node) in model.nodes.iter().enumerate() {
        if walk.follow(index, node).is_none() {
            walk.give_up(node);
        }
        for tensor in node.captures() {
            walk.pin_tensor(&tensor, &format!("read inside node \"{}\"", node.label()));
        }
    }
    for output in &model.outputs {
        walk.pin_tensor(&output.name, &format!("output \"{}\" of the model", output.name));
    }
    walk.finish()
}

impl Walk<'_> {
    /// Type and extents of a float activation.
    pub(super) fn shape(&self, tensor: &str) -> Option<&[usize]> {
        let (dtype, shape) = self.facts.get(tensor)?;
        (*dtype == DType::F32).then_some(shape)
    }

    /// A float constant that a node reads.
    pub(super) fn constant(&self, node: &Node, input: usize) -> Option<&Tensor> {
        self.model.initializers.get(node.input(input)?).filter(|tensor| tensor.dtype == DType::F32)
    }

    /// The labels of an activation.
    pub(super) fn labels(&self, tensor: &str) -> Option<&Labels> {
        self.of.get(tensor)
    }

    /// `count` new units that belong to nothing yet.
    pub(super) fn fresh(&mut self, count: usize) -> Vec<usize> {
        let first = self.parent.len();
        self.parent.extend(first..first + count);
        self.pins.resize(first + count, None);
        (first..first + count).collect()
    }

    /// A new unit that must stay as it is.
    pub(super) fn fresh_pinned(&mut self, reason: &str) -> usize {
        let unit = self.parent.len();
        self.fresh(1);
        self.pins[unit] = Some(reason.into());
        unit
    }

    /// Gives a tensor its labels; `None` where they do not have its rank.
    pub(super) fn make(&mut self, tensor: &str, labels: Labels) -> Option<()> {
        if self.shape(tensor)?.len() != labels.rank() {
            return None;
        }
        self.of.insert(tensor.into(), labels);
        Some(())
    }

    /// Gives a float tensor one label that must stay as it is.
    fn make_pinned(&mut self, tensor: &str, reason: &str) {
        if let Some(rank) = self.shape(tensor).map(<[usize]>::len) {
            let unit = self.fresh_pinned(reason);
            self.of.insert(tensor.into(), Labels::uniform(rank, unit));
        }
    }

    fn find(&mut self, mut unit: usize) -> usize {
        while self.parent[unit] != unit {
            self.parent[unit] = self.parent[self.parent[unit]];
            unit = self.parent[unit];
        }
        unit
    }

    /// Makes two units one; what pins either pins both.
    pub(super) fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        if one == other {
            return;
        }
        let (first, second) = (one.min(other), one.max(other));
        self.parent[second] = first;
        if self.pins[first].is_none() {
            self.pins[first] = self.pins[second].take();
        }
    }

    fn pin(&mut self, unit: usize, reason: &str) {
        let unit = self.find(unit);
        self.pins[unit].get_or_insert_with(|| reason.into());
    }

    pub(super) fn is_pinned(&mut self, unit: usize) -> bool {
        let unit = self.find(unit);
        self.pins[unit].is_some()
    }

    pub(super) fn pin_tensor(&mut self, tensor: &str, reason: &str) {
        for unit in self.of.get(tensor).map(|labels| labels.marks().to_vec()).unwrap_or_default() {
            self.pin(unit, reason);
        }
    }

    pub(super) fn record(&mut self, node: usize, input: usize, makes: Option<Labels>, reads: Option<Labels>) {
        self.uses.push(Use { node, input, makes, reads });
    }

    pub(super) fn limit(&mut self, output: &str, bounds: (f32, f32)) {
        self.limits.push(Limit { output: output.into(), bounds });
    }

    /// Pins what the node reads and makes.
    fn give_up(&mut self, node: &Node) {
        let reason = format!("{} \"{}\"", node.op_type, node.label());
        for input in node.inputs.iter().filter(|input| !input.is_empty()) {
            self.pin_tensor(input, &reason);
        }
        for output in node.outputs.iter().filter(|output| !output.is_empty()) {
            self.make_pinned(output, &reason);
        }
    }

    /// Numbers the sets of joined units.
    fn finish(mut self) -> Channels {
        let mut class_of = vec![usize::MAX; self.parent.len()];
        let mut classes: Vec<Class> = Vec::new();
        for unit in 0..self.parent.len() {
            let first = self.find(unit);
            if class_of[first] == usize::MAX {
                class_of[first] = classes.len();
                classes.push(Class { pinned: self.pins[first].clone(), set: classes.len() });
            }
            class_of[unit] = class_of[first];
        }
        let rename = |labels: &Labels| labels.renamed(|unit| class_of[unit]);
        let of = self.of.iter().map(|(tensor, labels)| (tensor.clone(), rename(labels))).collect();
        let renamed = |u: Use| Use { makes: u.makes.as_ref().map(rename), reads: u.reads.as_ref().map(rename), ..u };
        let uses: Vec<Use> = self.uses.into_iter().map(renamed).collect();
        number_sets(&mut classes, &uses);
        Channels { classes, of, uses, limits: self.limits }
    }
}

/// Gives classes that one constant makes the same set.
fn number_sets(classes: &mut [Class], uses: &[Use]) {
    let mut parent: Vec<usize> = (0..classes.len()).collect();
    let find = |parent: &[usize], mut set: usize| {
        while parent[set] != set {
            set = parent[set];
        }
        set
    };
    for labels in uses.iter().filter_map(|u| u.makes.as_ref()) {
        for pair in labels.marks().windows(2) {
            let (one, other) = (find(&parent, pair[0]), find(&parent, pair[1]));
            parent[one.max(other)] = one.min(other);
        }
    }
    let mut number_of = BTreeMap::new();
    for (class, known) in classes.iter_mut().enumerate() {
        let next = number_of.len();
        known.set = *number_of.entry(find(&parent, class)).or_insert(next);
    }
}
