//! [LSTM](https://onnx.ai/onnx/operators/onnx__LSTM.html), [GRU](https://onnx.ai/onnx/operators/onnx__GRU.html) and
//! [RNN](https://onnx.ai/onnx/operators/onnx__RNN.html): for each direction a product of the whole sequence with `W`, and
//! a step for the rest.

use std::rc::Rc;

use cygnet_core::bytes::Span;
use cygnet_core::math::Function;
use cygnet_core::plan::step::{Activation, Recurrent, Step, Window};
use cygnet_core::plan::{DType, TensorId};
use cygnet_core::weights;

use super::matmul::Matrix;
use super::value::ConstantQuantization;
use super::{Constant, Kind, Lowered, Lowering, Val, Value, identity, no_step, wrong};
use crate::compile::layout::Layout;
use crate::model::{Node, Tensor};

/// The kind of a layer.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Lstm,
    Gru,
    Rnn,
}

/// What all directions of a layer share.
struct Layer {
    cell: Cell,
    gates: usize,
    hidden: usize,
    steps: usize,
    batch: usize,
    directions: usize,
    linear_before_reset: bool,
    clip: f32,
    label: String,
}

/// One direction of a layer, computed.
struct Direction {
    y: TensorId,
    y_c: Option<TensorId>,
    reverse: bool,
}

impl Lowering<'_> {
    pub(super) fn recurrent(&mut self, node: &Node) -> Lowered {
        let batch_first = match node.int("layout").unwrap_or(0) {
            0 => false,
            1 => true,
            other => return wrong(format!("its layout = {other} is neither 0 nor 1")),
        };
        let mut x = self.tensor(node, 0)?;
        if x.layout.shape.len() != 3 {
            return wrong("its input X must have three axes");
        }
        if batch_first {
            x.layout = x.layout.transposed(&[1, 0, 2]);
        }
        let layer = self.layer(node, &x.layout.shape)?;
        let reversed = match (node.string("direction").unwrap_or("forward"), layer.directions) {
            ("forward", 1) => [false].as_slice(),
            ("reverse", 1) => &[true],
            ("bidirectional", 2) => &[false, true],
            (other, count) => return wrong(format!("weights of {count} directions do not fit direction \"{other}\"")),
        };
        let activations = activations(node, &layer)?;
        let initial = [
            self.initial(node, 5, &layer, batch_first)?,
            if layer.cell == Cell::Lstm { self.initial(node, 6, &layer, batch_first)? } else { Vec::new() },
        ];
        let mut directions = Vec::new();
        for (index, &reverse) in reversed.iter().enumerate() {
            let state = |side: usize| initial[side].get(index).copied();
            let functions = &activations[3 * index..][..3];
            directions.push(self.direction(node, &x, &layer, index, reverse, functions, [state(0), state(1)])?);
        }
        self.states(node, &layer, &directions, batch_first)
    }

    /// Reads the attributes, and refuses what has no step.
    fn layer(&self, node: &Node, x: &[usize]) -> Lowered<Layer> {
        let (cell, gates) = match node.op_type.as_str() {
            "LSTM" => (Cell::Lstm, 4),
            "GRU" => (Cell::Gru, 3),
            _ => (Cell::Rnn, 1),
        };
        let Some(w) = self.constant(node, 1)? else { return wrong("its weights W are missing") };
        let Some(r) = self.constant(node, 2)? else { return wrong("its weights R are missing") };
        let (steps, batch, inputs) = (x[0], x[1], x[2]);
        let (&[directions, rows, columns], &[_, _, hidden]) = (&w.tensor.shape[..], &r.tensor.shape[..]) else {
            return wrong("its weights must have three axes");
        };
        if columns != inputs || rows != gates * hidden || r.tensor.shape != [directions, rows, hidden] {
            let (w, r) = (&w.tensor.shape, &r.tensor.shape);
            return wrong(format!("weights {w:?} and {r:?} do not fit {inputs} inputs"));
        }
        if node.int("hidden_size").is_some_and(|size| size != hidden as i64) {
            return wrong(format!("its hidden_size is not that of weights for {hidden} units"));
        }
        if node.int("input_forget").unwrap_or(0) != 0 {
            return no_step("input_forget has no step");
        }
        match self.constant(node, 4)? {
            Some(lengths) if lengths.tensor.to_i64s()?.iter().any(|&length| length != steps as i64) => {
                return no_step("sequences of other lengths than the input's (sequence_lens) have no step");
            }
            _ => {}
        }
        let clip = match node.float("clip") {
            Some(clip) if clip > 0.0 => clip,
            Some(clip) => return wrong(format!("its clip = {clip} is not above 0")),
            None => f32::INFINITY,
        };
        let linear_before_reset = node.int("linear_before_reset").unwrap_or(0) != 0;
        let label = node.label();
        Ok(Layer { cell, gates, hidden, steps, batch, directions, linear_before_reset, clip, label })
    }

    /// The state in the beginning, a tensor `[batch, hidden]` for each direction; none where it is zeros.
    fn initial(&mut self, node: &Node, index: usize, layer: &Layer, batch_first: bool) -> Lowered<Vec<TensorId>> {
        let Some(name) = node.input(index) else { return Ok(Vec::new()) };
        if let Some(Value::Constant(constant)) = self.values.get(name)
            && constant.to_f32s()?.iter().all(|&value| value == 0.0)
        {
            return Ok(Vec::new());
        }
        let mut val = self.float_tensor(node, index)?;
        if batch_first && val.layout.shape.len() == 3 {
            val.layout = val.layout.transposed(&[1, 0, 2]);
        }
        let (batch, hidden) = (layer.batch, layer.hidden);
        if val.layout.shape != [layer.directions, batch, hidden] {
            return wrong(format!("the state \"{name}\" has the shape {:?}", val.layout.shape));
        }
        let val = self.ordered(&val, &identity(3))?;
        let shared = index == 6 && node.input(5) == node.input(6);
        if layer.directions == 1 && !shared {
            return Ok(vec![val.tensor]);
        }
        let len = batch * hidden;
        let part = |direction: usize| {
            let name = format!("{name}/{direction}");
            let y = self.builder.tensor(DType::F32, vec![batch, hidden], None, &name);
            self.copy(Some(val.tensor), Span::NONE, y, &[len], direction * len, &[1], 0, &[1], Span::NONE, &name)?;
            Ok(y)
        };
        (0..layer.directions).map(part).collect()
    }

    /// The steps of one direction.
    #[allow(clippy::too_many_arguments, reason = "the operands of a recurrent layer")]
    fn direction(
        &mut self,
        node: &Node,
        x: &Val,
        layer: &Layer,
        index: usize,
        reverse: bool,
        functions: &[Activation],
        [h, c]: [Option<TensorId>; 2],
    ) -> Lowered<Direction> {
        let &Layer { cell, gates, hidden, steps, batch, .. } = layer;
        let rows = gates * hidden;
        let name = node.output(0).or(node.output(1)).or(node.output(2)).unwrap_or("").to_string();
        let parameters = |state: &Self, place: usize| match state.constant(node, place)? {
            Some(constant) => part(&constant, index, layer.directions).map(Some),
            None => Ok(None),
        };
        let (Some(w), Some(r)) = (parameters(self, 1)?, parameters(self, 2)?) else {
            return wrong("it has no weights");
        };
        let biases = match parameters(self, 3)? {
            Some(biases) => biases.to_f32s()?,
            None => vec![0.0; 2 * rows],
        };
        if biases.len() != 2 * rows {
            return wrong(format!("{} biases do not fit {rows} rows of weights", biases.len()));
        }
        let (w_bias, r_bias) = biases.split_at(rows);
        let gates_name = self.fresh(&format!("{name}/gates{index}"));
        let product = Node { outputs: vec![gates_name.clone()], ..node.clone() };
        let matrix = Matrix { k: w.tensor.shape[1], n: rows, transposed: true, flip: false };
        let w_bias = Constant::plain(Tensor::from_f32(vec![rows], w_bias));
        self.product(&product, x.clone(), &w, matrix, Some(&w_bias), (1.0, 1.0))?;
        let inputs = self.any(&gates_name)?;
        let inputs = self.float(inputs)?;
        let inputs = self.ordered(&inputs, &identity(3))?;
        let peepholes = match parameters(self, 7)?.filter(|_| cell == Cell::Lstm) {
            Some(weights) if weights.tensor.len() == 3 * hidden => self.builder.constant_f32(&weights.to_f32s()?),
            Some(weights) => return wrong(format!("{} peephole weights do not fit", weights.tensor.len())),
            None => Span::NONE,
        };
        let tensor = |state: &mut Self, dtype: DType, shape: &[usize], what: &str| {
            state.builder.tensor(dtype, shape.to_vec(), None, &format!("{name}/{what}{index}"))
        };
        let y = tensor(self, DType::F32, &[steps, batch, hidden], "states");
        let y_c = (cell == Cell::Lstm).then(|| tensor(self, DType::F32, &[batch, hidden], "cells"));
        let sums = tensor(self, DType::F32, &[batch, rows], "sums");
        let mut step = Recurrent {
            x: inputs.tensor,
            h,
            c,
            y,
            y_c,
            state: TensorId::NONE,
            sums,
            steps: steps as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            reverse: u32::from(reverse),
            linear_before_reset: u32::from(layer.linear_before_reset),
            weights: Span::NONE,
            multipliers: Span::NONE,
            bias: Span::NONE,
            wide: 0,
            peepholes,
            f: functions[0],
            g: functions[1],
            h_activation: functions[2],
            clip: layer.clip,
        };
        let windows = match cell {
            Cell::Gru if !layer.linear_before_reset => vec![step.window(2), step.window(1)],
            _ => vec![step.window(gates as u32)],
        };
        // What a cell makes of such functions is never outside of -1..1.
        let used = &functions[..if cell == Cell::Lstm { 3 } else { 1 + usize::from(cell == Cell::Gru) }];
        let bounded = used.iter().all(|a| matches!(a.function, Function::Sigmoid | Function::Tanh))
            && (cell != Cell::Gru || used[0].function == Function::Sigmoid);
        let dtype = match self.integer_rows(&mut step, &r, r_bias, &windows, hidden)? {
            true if bounded => DType::I16,
            _ => {
                self.float_rows(&mut step, &r, r_bias, &windows, hidden)?;
                DType::F32
            }
        };
        let padded = step.padded();
        step.state = tensor(self, dtype, &[batch, padded], "state");
        let step = match cell {
            Cell::Lstm => Step::Lstm(step),
            Cell::Gru => Step::Gru(step),
            Cell::Rnn => Step::Rnn(step),
        };
        self.builder.step(step, &layer.label);
        Ok(Direction { y, y_c, reverse })
    }

    /// Packs weights that are int8; false where they are not, or have zero points.
    fn integer_rows(
        &mut self,
        step: &mut Recurrent,
        r: &Constant,
        bias: &[f32],
        windows: &[Window],
        hidden: usize,
    ) -> Lowered<bool> {
        let Some((values, quantization, shift)) = r.to_i8s()? else { return Ok(false) };
        let rows = bias.len();
        let scales = &quantization.scales;
        let per_row = scales.len() == 1 || quantization.axis == 0 && scales.len() == rows;
        if !per_row || quantization.zero_points.iter().any(|&zero| zero != shift) {
            return Ok(false);
        }
        let multipliers: Vec<f32> =
            (0..rows).map(|row| scales[if scales.len() == 1 { 0 } else { row }] / 32768.0).collect();
        let level = |(bias, multiplier): (&f32, &f32)| (bias / multiplier).round_ties_even().clamp(-1e15, 1e15) as i64;
        let levels: Vec<i64> = bias.iter().zip(&multipliers).map(level).collect();
        let sum =
            |row: usize| values[row * hidden..][..hidden].iter().map(|w| i64::from(w.unsigned_abs())).sum::<i64>();
        let fits = (0..rows).all(|row| sum(row) * 32768 + levels[row].abs() < 1 << 31);
        let mut packed = Vec::new();
        let mut first = 0;
        for window in windows {
            let from = packed.len();
            packed.resize(from + weights::packed_bytes(window), 0);
            let weight = &mut |row: usize, _, _, input: usize| match input < hidden {
                true => values[(first + row) * hidden + input],
                false => 0,
            };
            weights::pack(window, weight, &mut packed[from..]);
            first += window.out_c as usize;
        }
        step.weights = self.builder.constant(packed);
        step.multipliers = self.builder.constant_f32(&multipliers);
        step.wide = u32::from(!fits);
        step.bias = if fits {
            self.builder.constant_i32(&levels.iter().map(|&level| level as i32).collect::<Vec<_>>())
        } else {
            self.builder.constant(levels.iter().flat_map(|level| level.to_le_bytes()).collect())
        };
        Ok(true)
    }

    /// Packs weights in float32.
    fn float_rows(
        &mut self,
        step: &mut Recurrent,
        r: &Constant,
        bias: &[f32],
        windows: &[Window],
        hidden: usize,
    ) -> Lowered {
        let values = r.to_f32s()?;
        let block = weights::F32_BLOCK;
        let mut packed = Vec::new();
        let mut first = 0;
        for window in windows {
            let rows = window.out_c as usize;
            for start in (0..rows).step_by(block) {
                for input in 0..window.in_c as usize {
                    packed.extend((start..start + block).map(|row| {
                        let inside = row < rows && input < hidden;
                        if inside { values[(first + row) * hidden + input] } else { 0.0 }
                    }));
                }
            }
            first += rows;
        }
        step.weights = self.builder.constant_f32(&packed);
        step.bias = self.builder.constant_f32(bias);
        (step.multipliers, step.wide) = (Span::NONE, 0);
        Ok(())
    }

    /// Binds the outputs.
    fn states(&mut self, node: &Node, layer: &Layer, directions: &[Direction], batch_first: bool) -> Lowered {
        let &Layer { hidden, steps, batch, .. } = layer;
        let (count, len) = (directions.len(), batch * hidden);
        let float =
            |tensor: TensorId, shape: &[usize]| Val { tensor, layout: Layout::row_major(shape), kind: Kind::Float };
        let moved = |val: Val, order: &[usize]| match batch_first {
            true => Val { layout: val.layout.transposed(order), ..val },
            false => val,
        };
        if let Some(name) = node.output(0) {
            let all = match directions {
                [direction] => direction.y,
                _ => {
                    let all = self.builder.tensor(DType::F32, vec![steps, count, batch, hidden], None, name);
                    for (index, direction) in directions.iter().enumerate() {
                        let (from, to) = ([len as i64, 1], [count * len, 1]);
                        let (y, dims) = (Some(direction.y), [steps, len]);
                        self.copy(y, Span::NONE, all, &dims, 0, &from, index * len, &to, Span::NONE, name)?;
                    }
                    all
                }
            };
            let all = float(all, &[steps, count, batch, hidden]);
            self.bind(node, 0, moved(all, &[2, 0, 1, 3]));
        }
        for (output, name) in (1..3).filter_map(|output| Some((output, node.output(output)?))) {
            // The last element that each direction has seen.
            let last = |direction: &Direction| match (output, direction.y_c) {
                (1, _) => (direction.y, if direction.reverse { 0 } else { (steps - 1) * len }),
                (_, cells) => (cells.unwrap_or(direction.y), 0),
            };
            let all = match directions {
                [direction] if output == 2 || steps == 1 => last(direction).0,
                _ => {
                    let all = self.builder.tensor(DType::F32, vec![count, batch, hidden], None, name);
                    for (index, direction) in directions.iter().enumerate() {
                        let (y, offset) = last(direction);
                        self.copy(Some(y), Span::NONE, all, &[len], offset, &[1], index * len, &[1], Span::NONE, name)?;
                    }
                    all
                }
            };
            self.bind(node, output, moved(float(all, &[count, batch, hidden]), &[1, 0, 2]));
        }
        Ok(())
    }
}

/// The part of weights or biases that belongs to a direction, without their first axis.
fn part(constant: &Rc<Constant>, index: usize, directions: usize) -> Lowered<Constant> {
    let [count, shape @ ..] = &constant.tensor.shape[..] else { return wrong("its weights have no axis") };
    if *count != directions {
        return wrong(format!("weights of {count} directions stand beside weights of {directions}"));
    }
    let tensor = &constant.tensor;
    let bytes = tensor.data.len() / directions;
    let data = tensor.data[index * bytes..][..bytes].to_vec();
    let part = Tensor { dtype: tensor.dtype, shape: shape.to_vec(), data };
    let Some(quantization) = &constant.quantization else { return Ok(Constant::plain(part)) };
    let &ConstantQuantization { axis, block, .. } = quantization;
    let one_axis = axis > 0 && block == 0;
    if quantization.scales.len() > 1 && !one_axis {
        let values = constant.to_f32s()?;
        let len = values.len() / directions;
        return Ok(Constant::plain(Tensor::from_f32(shape.to_vec(), &values[index * len..][..len])));
    }
    let quantization = ConstantQuantization { axis: axis.saturating_sub(1), ..quantization.clone() };
    Ok(Constant { tensor: part, quantization: Some(quantization) })
}

/// Three functions for each direction: of the gates, of what goes into the cell, of the cell.
fn activations(node: &Node, layer: &Layer) -> Lowered<Vec<Activation>> {
    let usual: &[&str] = match layer.cell {
        Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        Cell::Gru => &["Sigmoid", "Tanh"],
        Cell::Rnn => &["Tanh"],
    };
    let given = match node.attributes.get("activations") {
        None => usual.repeat(layer.directions),
        Some(crate::model::Attribute::Strings(names)) => names.iter().map(String::as_str).collect(),
        Some(_) => return wrong("its activations are no names"),
    };
    if given.len() != usual.len() * layer.directions {
        return wrong(format!("{} activations do not fit {} directions", given.len(), layer.directions));
    }
    // The lists of attributes have an entry for each function that takes one.
    let mut alphas = node.floats("activation_alpha").unwrap_or_default().iter();
    let mut betas = node.floats("activation_beta").unwrap_or_default().iter();
    let mut functions = Vec::new();
    for names in given.chunks(usual.len()) {
        for place in 0..3 {
            functions.push(match names.get(place) {
                Some(name) => activation(name, &mut alphas, &mut betas)?,
                None => Activation { function: Function::Identity, alpha: 0.0, beta: 0.0 },
            });
        }
    }
    Ok(functions)
}

fn activation<'a>(
    name: &str,
    alphas: &mut impl Iterator<Item = &'a f32>,
    betas: &mut impl Iterator<Item = &'a f32>,
) -> Lowered<Activation> {
    let mut alpha = |usual: f32| alphas.next().copied().unwrap_or(usual);
    let (function, alpha, beta) = match name.to_ascii_lowercase().as_str() {
        "sigmoid" => (Function::Sigmoid, 0.0, 0.0),
        "tanh" => (Function::Tanh, 0.0, 0.0),
        "relu" => (Function::Clip, 0.0, f32::INFINITY),
        "leakyrelu" => (Function::LeakyRelu, alpha(0.01), 0.0),
        "thresholdedrelu" => (Function::ThresholdedRelu, alpha(1.0), 0.0),
        "hardsigmoid" => (Function::HardSigmoid, alpha(0.2), betas.next().copied().unwrap_or(0.5)),
        "elu" => (Function::Elu, alpha(1.0), 0.0),
        "softsign" => (Function::Softsign, 0.0, 0.0),
        "softplus" => (Function::Softplus, 0.0, 0.0),
        other => return no_step(format!("the activation \"{other}\" has no step")),
    };
    Ok(Activation { function, alpha, beta })
}
