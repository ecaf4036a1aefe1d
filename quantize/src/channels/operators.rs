//! What each operator does to channels. Every function gives `None` where it does not understand the node.

use cygnet_onnx::model::{Node, Tensor};
use cygnet_onnx::reference::evaluate;

use super::walk::Walk;
use super::{Labels, Purpose};
use crate::operators::bounds;

impl Walk<'_> {
    /// Labels the outputs of `node`, which is at `index`, and joins what it ties together.
    pub(super) fn follow(&mut self, index: usize, node: &Node) -> Option<()> {
        if !node.domain.is_empty() {
            return None;
        }
        match node.op_type.as_str() {
            "Conv" => self.convolution(index, node),
            "ConvTranspose" if node.int("group").unwrap_or(1) == 1 => self.dense(index, node, 1, 0, 1),
            "Gemm" if node.int("transA").unwrap_or(0) == 0 => {
                let outputs = usize::from(node.int("transB").unwrap_or(0) == 0);
                self.dense(index, node, 1, 1 - outputs, outputs)
            }
            "MatMul" => {
                let last = self.labels(node.input(0)?)?.rank().checked_sub(1)?;
                self.dense(index, node, last, 0, 1)
            }
            "Relu" | "LeakyRelu" | "Identity" | "Dropout" | "Abs" | "Neg" => self.hand_on(node),
            "Clip" => self.clip(node),
            "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh" | "Elu" | "Gelu" | "Erf" | "Softplus" | "Mish" => {
                // Not of degree one: nothing may be scaled in front of it.
                if self.purpose == Purpose::Remove { self.hand_on(node) } else { None }
            }
            "Add" | "Sub" | "Max" | "Min" => self.sum(index, node),
            "Mul" => self.product(index, node),
            "MaxPool" | "GlobalMaxPool" | "AveragePool" | "GlobalAveragePool" => self.pool(node),
            "ReduceMean" | "ReduceMax" | "ReduceSum" => self.reduction(node),
            "Pad" | "Resize" => self.spread(node),
            "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice" | "Split" | "Gather" | "Concat"
            | "DepthToSpace" | "SpaceToDepth" | "Expand" | "Tile" => self.movement(node),
            _ => None,
        }
    }

    /// Output 0 has the labels of input 0.
    fn hand_on(&mut self, node: &Node) -> Option<()> {
        let labels = self.labels(node.input(0)?)?.clone();
        self.make(node.output(0)?, labels)
    }

    fn clip(&mut self, node: &Node) -> Option<()> {
        let (low, high) = bounds(self.model, node)?;
        self.hand_on(node)?;
        let is_open = |bound: f32, open: f32| bound == 0.0 || bound == open;
        if !is_open(low, f32::NEG_INFINITY) || !is_open(high, f32::INFINITY) {
            self.limit(node.input(0)?, node.output(0)?, (low, high));
        }
        Some(())
    }

    fn convolution(&mut self, index: usize, node: &Node) -> Option<()> {
        let weights = self.constant(node, 1)?.shape.clone();
        let ([made, per_group, ..], Some(groups)) =
            (&weights[..], usize::try_from(node.int("group").unwrap_or(1)).ok())
        else {
            return None;
        };
        if groups == 1 {
            return self.dense(index, node, 1, 1, 0);
        }
        let read = self.labels(node.input(0)?)?.along_axis(1, groups * per_group)?;
        let made_per_group = made / groups.max(1);
        let out = self.fresh(*made);
        if self.purpose == Purpose::Remove {
            // Groups stay as large as each other: what one loses, all lose. Groups of one channel go as a whole.
            let apart = if *per_group == 1 { 1 } else { groups };
            for (place, &unit) in read.iter().enumerate().filter(|_| apart > 1) {
                self.join(unit, read[place % per_group]);
            }
            for (place, &unit) in out.iter().enumerate() {
                let twin = if apart > 1 { out[place % made_per_group] } else { read[place / made_per_group] };
                self.join(unit, twin);
            }
        }
        let inner: usize = weights[2..].iter().product();
        let element = |place: usize| {
            let (row, column) = (place / (per_group * inner), place / inner % per_group);
            read[row / made_per_group * per_group + column]
        };
        let reads = Labels::of_elements(&weights, (0..made * per_group * inner).map(element).collect());
        self.layer(index, node, 1, Labels::along(weights.len(), 0, out.clone()), reads, out)
    }

    /// A layer in which every output channel reads every channel along `axis` of input 0; the weights have the
    /// channels read along axis `inputs` and those made along axis `outputs`.
    fn dense(&mut self, index: usize, node: &Node, axis: usize, inputs: usize, outputs: usize) -> Option<()> {
        let weights = self.constant(node, 1)?.shape.clone();
        let (&read, &made) = (weights.get(inputs)?, weights.get(outputs)?);
        if weights.len() > 2 && node.is("MatMul") {
            return None;
        }
        let read = self.labels(node.input(0)?)?.along_axis(axis, read)?;
        let out = self.fresh(made);
        let makes = Labels::along(weights.len(), outputs, out.clone());
        self.layer(index, node, axis, makes, Labels::along(weights.len(), inputs, read), out)
    }

    fn layer(
        &mut self,
        index: usize,
        node: &Node,
        axis: usize,
        makes: Labels,
        reads: Labels,
        out: Vec<usize>,
    ) -> Option<()> {
        let rank = self.shape(node.output(0)?)?.len();
        if node.input(2).is_some() {
            let bias = self.constant(node, 2)?.shape.clone();
            let labels = Labels::along(1, 0, out.clone()).widened(bias.len().max(1)).of_operand(&bias)?;
            self.record(index, 2, Some(labels), None);
        }
        self.record(index, 1, Some(makes), Some(reads));
        self.make(node.output(0)?, Labels::along(rank, axis, out))
    }

    /// Element-wise operators with `f(s·a, s·b) = s·f(a, b)`.
    fn sum(&mut self, index: usize, node: &Node) -> Option<()> {
        let constants: Vec<usize> = (0..node.inputs.len()).filter(|&i| self.constant(node, i).is_some()).collect();
        let activations: Vec<&String> = node.inputs.iter().filter(|input| self.labels(input).is_some()).collect();
        if constants.len() + activations.len() != node.inputs.len() {
            return None;
        }
        let mut labels = self.labels(activations.first()?)?.clone();
        for other in &activations[1..] {
            let (extents, pairs) = labels.meetings(self.labels(other)?)?;
            pairs.iter().for_each(|&(one, other)| self.join(one, other));
            labels = Labels::of_elements(&extents, pairs.into_iter().map(|(one, _)| one).collect());
        }
        let labels = labels.widened(self.shape(node.output(0)?)?.len());
        for input in constants {
            let tensor = self.constant(node, input)?;
            let is_scalar = tensor.len() == 1;
            // A number that all channels share can go on being shared only where none of them is scaled.
            if is_scalar && (self.purpose == Purpose::Remove || tensor.as_scalar_f32() == Some(0.0)) {
                continue;
            }
            let makes = labels.of_operand(&tensor.shape)?;
            self.record(index, input, Some(makes), None);
        }
        self.make(node.output(0)?, labels)
    }

    fn product(&mut self, index: usize, node: &Node) -> Option<()> {
        let [one, other] = &node.inputs[..] else { return None };
        let Some(position) = (0..2).find(|&input| self.constant(node, input).is_some()) else {
            return self.gate(node, one, other);
        };
        let labels = self.labels(&node.inputs[1 - position])?.widened(self.shape(node.output(0)?)?.len());
        let tensor = self.constant(node, position)?;
        if self.purpose == Purpose::Remove && tensor.len() != 1 {
            let makes = labels.of_operand(&tensor.shape)?;
            self.record(index, position, Some(makes), None);
        }
        self.make(node.output(0)?, labels)
    }

    /// The product of two activations: scaled as one of them where the other stays as it is.
    fn gate(&mut self, node: &Node, one: &str, other: &str) -> Option<()> {
        let (extents, pairs) = self.labels(one)?.meetings(self.labels(other)?)?;
        let rank = self.shape(node.output(0)?)?.len();
        if self.purpose == Purpose::Remove {
            pairs.iter().for_each(|&(one, other)| self.join(one, other));
        }
        let (first, second): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
        let are_pinned = |walk: &mut Self, units: &[usize]| units.iter().all(|&unit| walk.is_pinned(unit));
        let scaled = if self.purpose == Purpose::Remove || are_pinned(self, &second) {
            first
        } else if are_pinned(self, &first) {
            second
        } else {
            return None;
        };
        self.make(node.output(0)?, Labels::of_elements(&extents, scaled).widened(rank))
    }

    fn pool(&mut self, node: &Node) -> Option<()> {
        let labels = self.labels(node.input(0)?)?;
        let is_plain = labels.varying().iter().all(|&axis| axis < 2) && node.output(1).is_none();
        if is_plain { self.hand_on(node) } else { None }
    }

    fn reduction(&mut self, node: &Node) -> Option<()> {
        let labels = self.labels(node.input(0)?)?;
        let rank = labels.rank();
        let axes = match (node.ints("axes"), node.input(1)) {
            (Some(axes), None) => axes.to_vec(),
            (None, Some(name)) => self.model.initializers.get(name)?.to_i64s().ok()?,
            _ => return None,
        };
        let place = |axis: &i64| usize::try_from(if *axis < 0 { axis + rank as i64 } else { *axis }).ok();
        let axes = axes.iter().map(place).collect::<Option<Vec<_>>>()?;
        let labels = labels.without(&axes, node.int("keepdims").unwrap_or(1) != 0)?;
        self.make(node.output(0)?, labels)
    }

    /// Operators that put zeros or values between values along some axes: those must not be axes of channels.
    fn spread(&mut self, node: &Node) -> Option<()> {
        let (from, to) = (self.shape(node.input(0)?)?, self.shape(node.output(0)?)?);
        let labels = self.labels(node.input(0)?)?;
        let is_kept = labels.varying().iter().all(|&axis| from.get(axis) == to.get(axis));
        let value = match node.input(2) {
            Some(_) if node.is("Pad") => self.constant(node, 2)?.as_scalar_f32()?,
            _ => 0.0,
        };
        let is_zero = value == 0.0 || value.is_infinite() || node.string("mode").unwrap_or("constant") != "constant";
        if is_kept && (is_zero || self.purpose == Purpose::Remove) { self.hand_on(node) } else { None }
    }

    /// Operators that only move values: they move the labels too.
    fn movement(&mut self, node: &Node) -> Option<()> {
        let moves_all = node.is("Concat");
        let mut inputs: Vec<(&str, Tensor)> = Vec::new();
        for (index, name) in node.inputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let carries = moves_all || index == 0;
            let value = match (self.labels(name).cloned(), self.model.initializers.get(name)) {
                (Some(labels), _) if carries => as_tensor(self.shape(name)?, &labels)?,
                (None, Some(constant)) if carries => {
                    let unit = self.fresh_pinned(&format!("constant \"{name}\""));
                    as_tensor(&constant.shape, &Labels::uniform(constant.shape.len(), unit))?
                }
                (None, Some(constant)) => constant.clone(),
                _ => return None,
            };
            inputs.push((name, value));
        }
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let moved = evaluate(node, &self.model.opsets, &given).ok()?;
        let read = self.labels(node.input(0)?)?.clone();
        for (output, moved) in node.outputs.iter().filter(|o| !o.is_empty()).zip(&moved) {
            let units = moved.to_f32s().ok()?.iter().map(|&unit| unit as usize).collect();
            let labels = Labels::of_elements(&moved.shape, units);
            if self.purpose == Purpose::Remove && !can_shrink(node, &read, &labels) {
                return None;
            }
            self.make(output, labels)?;
        }
        Some(())
    }
}

/// Whether the node can go on doing the same when labels are taken out of its input, with other constants at most.
fn can_shrink(node: &Node, read: &Labels, made: &Labels) -> bool {
    match node.op_type.as_str() {
        "Transpose" | "Concat" | "Split" => read.varying().len() <= 1 && made.varying().len() <= 1,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => read.varying().len() <= 1 && made.varying().len() <= 1,
        _ => read.marks() == made.marks(),
    }
}

/// Labels as numbers that tract can move; `None` where there are more than f32 can tell apart.
fn as_tensor(shape: &[usize], labels: &Labels) -> Option<Tensor> {
    let exact = |&unit: &usize| (unit < 1 << 24).then_some(unit as f32);
    let values = labels.elements(shape).iter().map(exact).collect::<Option<Vec<f32>>>()?;
    Some(Tensor::from_f32(shape.to_vec(), &values))
}
