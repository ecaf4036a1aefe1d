//! Which channels of which tensors and weights belong together.
//!
//! A *class* is a set of channels that can only be changed as one: a channel that a convolution makes, the same
//! channel behind its activation, behind a residual sum the channels of both operands, behind a flattening all the
//! columns that it becomes. Every element of every activation belongs to one class, and so does what the weights hold
//! for it: the rows that make it and the columns that read it. Two questions are asked of classes, see [`Purpose`].
//!
//! Operators that only move values are not described here: the labels themselves are moved by evaluating the
//! operator on them.

mod labels;
mod operators;
mod walk;

use std::collections::BTreeMap;

use cygnet_onnx::model::Model;

use crate::facts::Facts;
pub use labels::Labels;

/// What is to be done to classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Multiply all values of a class by a positive factor and divide by it where they are read: only operators
    /// with `f(s·x) = s·f(x)` pass classes on. Layers end one class and begin another, depthwise ones too.
    Scale,
    /// Take all values of a class out: every operator that works on channels apart passes classes on, depthwise
    /// convolutions too.
    Remove,
}

/// Channels that change together.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Why the class must stay as it is; `None` where it is free.
    pub pinned: Option<String>,
    /// Classes made by the same layer have the same set; sets are numbered from 0.
    pub set: usize,
}

/// A constant that belongs to classes: weights, a bias, an operand of an element-wise operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// The node's position in [`Model::nodes`].
    pub node: usize,
    /// The position among the node's inputs.
    pub input: usize,
    /// The class that each element makes: divided by `s` when that class is.
    pub makes: Option<Labels>,
    /// The class that each element reads: multiplied by `s` when that class is divided by it.
    pub reads: Option<Labels>,
}

/// A tensor whose values are cut off, with [`Purpose::Scale`]: a class may be scaled as far as its values stay
/// within the bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// What the cut-off reads; no value of it lies outside the bounds where its output touches none.
    pub input: String,
    /// What the cut-off makes.
    pub output: String,
    /// The least and the largest value that passes.
    pub bounds: (f32, f32),
}

/// The classes of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channels {
    /// By number.
    pub classes: Vec<Class>,
    /// The class of every element of every float activation.
    pub of: BTreeMap<String, Labels>,
    /// The constants that change with classes.
    pub uses: Vec<Use>,
    /// Cut-offs that classes pass.
    pub limits: Vec<Limit>,
}

impl Channels {
    /// Follows the channels of a folded float model; what is not understood is pinned.
    pub fn of(model: &Model, facts: &Facts, purpose: Purpose) -> Channels {
        walk::walk(model, facts, purpose)
    }

    /// Whether the class may be changed.
    pub fn is_free(&self, class: usize) -> bool {
        self.classes.get(class).is_some_and(|class| class.pinned.is_none())
    }

    /// The free classes of every set that has any.
    pub fn free_sets(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, class) in self.classes.iter().enumerate().filter(|(_, class)| class.pinned.is_none()) {
            sets.entry(class.set).or_default().push(number);
        }
        sets
    }
}
