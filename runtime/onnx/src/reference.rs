//! Float models run by tract: the reference that calibration and comparisons stand on, and constant folding.
//!
//! Slow and allocating, but it knows most of ONNX. tract's types stay inside this module.

mod narrow;
mod rounding;
mod values;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use tract_onnx::pb;
use tract_onnx::prelude::*;

use crate::model::{DType, Dim, Model, Node, Tensor, ValueInfo, model_proto, value_info_proto};
use values::{from_tract, to_tract};

/// Why tract cannot run a model or a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A node cannot be evaluated on constants.
    #[error("node \"{node}\" cannot be evaluated: {problem}")]
    Node {
        /// Its label.
        node: String,
        /// What tract says.
        problem: String,
    },
    /// The model cannot be prepared.
    #[error("the float model cannot be prepared: {0}")]
    Prepare(String),
    /// An axis has no fixed extent.
    #[error("input \"{input}\": axis {axis} ({symbol}) has no fixed extent; give one for \"{symbol}\"")]
    OpenAxis {
        /// The model input.
        input: String,
        /// The axis, from 0.
        axis: usize,
        /// The key under which to give the extent: the symbol's name, or `input:axis` where it has none.
        symbol: String,
    },
    /// The model failed on these inputs.
    #[error("the float model failed: {0}")]
    Run(String),
    /// An input does not fit.
    #[error("input \"{input}\": given {given}, the model wants {wanted}")]
    Input {
        /// The model input, or its number.
        input: String,
        /// What was given.
        given: String,
        /// What fits.
        wanted: String,
    },
}

/// Evaluates one node on constants: `inputs` are the values of the node's inputs by name.
///
/// The result has one tensor for each output that has a name.
///
/// # Errors
/// [`ReferenceError::Node`] where tract lacks the operator or the values do not suit it.
pub fn evaluate(
    node: &Node,
    opsets: &BTreeMap<String, i64>,
    inputs: &[(&str, &Tensor)],
) -> Result<Vec<Tensor>, ReferenceError> {
    let output = |name: &String| ValueInfo { name: name.clone(), dtype: DType::F32, shape: None };
    let model = Model {
        ir_version: 8,
        opsets: opsets.clone(),
        nodes: vec![node.clone()],
        initializers: inputs.iter().map(|&(name, t)| (name.to_string(), t.clone())).collect(),
        outputs: node.outputs.iter().filter(|n| !n.is_empty()).map(output).collect(),
        ..Model::default()
    };
    let run = || {
        let mut proto = model_proto(&model);
        forget_output_types(&mut proto);
        number_nodes(&mut proto);
        let runnable = onnx().model_for_proto_model(&proto)?.into_typed()?.into_runnable()?;
        runnable.run(tvec![])?.iter().map(|t| from_tract(t)).collect()
    };
    guarded(run).map_err(|problem| ReferenceError::Node { node: node.label(), problem })
}

/// A float model that tract runs.
pub struct Reference {
    runnable: Arc<TypedRunnableModel>,
    inputs: Vec<(String, DType, Vec<usize>)>,
    outputs: Vec<(DType, Vec<usize>)>,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("inputs", &self.inputs).field("outputs", &self.outputs).finish()
    }
}

impl Reference {
    /// Prepares `model`; `taps` are inner tensors to read out besides the outputs.
    ///
    /// Every open first axis of an input is taken as 1.
    ///
    /// # Errors
    /// [`ReferenceError`]; see [`Reference::with_dims`] where another axis is open.
    pub fn new(model: &Model, taps: &[String]) -> Result<Reference, ReferenceError> {
        Reference::with_dims(model, taps, &BTreeMap::new())
    }

    /// The same with extents for open axes, by symbol name or `input:axis`; a first axis defaults to 1.
    ///
    /// # Errors
    /// [`ReferenceError`].
    pub fn with_dims(
        model: &Model,
        taps: &[String],
        dims: &BTreeMap<String, usize>,
    ) -> Result<Reference, ReferenceError> {
        let inputs = fixed_inputs(model, dims)?;
        let mut proto = model_proto(&rounding::spelled_out(&narrow::widened(model)));
        if let Some(graph) = &mut proto.graph {
            graph.value_info.clear();
            graph.input = inputs.iter().map(input_proto).collect();
            graph
                .output
                .extend(taps.iter().map(|name| pb::ValueInfoProto { name: name.clone(), ..Default::default() }));
            if let Some(tap) = taps.iter().find(|t| !is_made(model, t)) {
                return Err(ReferenceError::Prepare(format!("there is no tensor \"{tap}\" to read out")));
            }
        }
        forget_output_types(&mut proto);
        number_nodes(&mut proto);
        let prepare = || {
            let typed = onnx().model_for_proto_model(&proto)?.into_typed()?.into_decluttered()?;
            let facts = (0..typed.output_outlets()?.len())
                .map(|index| {
                    let fact = typed.output_fact(index)?;
                    let shape = fact.shape.as_concrete().ok_or_else(|| {
                        TractError::msg(format!("output {index} has the open shape {:?}", fact.shape))
                    })?;
                    Ok((values::dtype(fact.datum_type)?, shape.to_vec()))
                })
                .collect::<TractResult<Vec<_>>>()?;
            Ok((typed.into_optimized()?.into_runnable()?, facts))
        };
        let (runnable, outputs) = guarded(prepare).map_err(ReferenceError::Prepare)?;
        Ok(Reference { runnable, inputs, outputs })
    }

    /// Runs the model; `inputs` in the order of the model's inputs. Returns its outputs, then the taps.
    ///
    /// # Errors
    /// [`ReferenceError::Input`] where number, type or shape of the inputs is wrong, [`ReferenceError::Run`].
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ReferenceError> {
        if inputs.len() != self.inputs.len() {
            let wanted = format!("{} inputs", self.inputs.len());
            let given = format!("{} inputs", inputs.len());
            return Err(ReferenceError::Input { input: "all".into(), given, wanted });
        }
        for (given, (name, dtype, shape)) in inputs.iter().zip(&self.inputs) {
            if given.dtype != *dtype || given.shape != *shape || !given.check() {
                let wanted = format!("{dtype} {shape:?}");
                let given = format!("{} {:?}", given.dtype, given.shape);
                return Err(ReferenceError::Input { input: name.clone(), given, wanted });
            }
        }
        let run = || {
            let inputs = inputs.iter().map(|t| Ok(to_tract(t)?.into())).collect::<TractResult<TVec<_>>>()?;
            self.runnable.run(inputs)?.iter().map(|t| from_tract(t)).collect()
        };
        guarded(run).map_err(ReferenceError::Run)
    }

    /// Name, type and shape of every input, as [`Reference::run`] wants them.
    pub fn input_facts(&self) -> &[(String, DType, Vec<usize>)] {
        &self.inputs
    }

    /// Type and shape of every output, then of every tap.
    pub fn output_facts(&self) -> &[(DType, Vec<usize>)] {
        &self.outputs
    }
}

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` and turns errors and panics of tract into text.
///
/// What a panic prints goes to the log: on the first call the process's panic hook is wrapped, and asks
/// whether the thread is inside here.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    static WRAP_HOOK: Once = Once::new();
    WRAP_HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(
            move |info| {
                if GUARDED.get() { log::debug!("tract: {info}") } else { usual(info) }
            },
        ));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    match result {
        Ok(result) => result.map_err(|e| format!("{e:#}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("tract gave up: {}", text.unwrap_or("no reason told")))
        }
    }
}

fn is_made(model: &Model, name: &str) -> bool {
    model.initializers.contains_key(name)
        || model.inputs.iter().any(|i| i.name == name)
        || model.nodes.iter().any(|n| n.outputs.iter().any(|o| o == name))
}

/// tract wants every node under a name of its own; ONNX lets nodes have none, or that of a tensor.
fn number_nodes(proto: &mut pb::ModelProto) {
    let nodes = proto.graph.iter_mut().flat_map(|graph| &mut graph.node);
    for (index, node) in nodes.enumerate() {
        let label = if node.name.is_empty() { &node.op_type } else { &node.name };
        node.name = format!("{label} (node {index})");
    }
}

/// tract infers types itself; what files say about outputs is often wrong once the batch is fixed.
fn forget_output_types(proto: &mut pb::ModelProto) {
    if let Some(graph) = &mut proto.graph {
        graph.output.iter_mut().for_each(|o| o.r#type = None);
    }
}

/// The model's inputs with every axis fixed.
fn fixed_inputs(
    model: &Model,
    dims: &BTreeMap<String, usize>,
) -> Result<Vec<(String, DType, Vec<usize>)>, ReferenceError> {
    let first_axis = |v: &ValueInfo| match v.shape.as_deref() {
        Some([Dim::Symbol(name), ..]) if !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    let batch: Vec<String> = model.inputs.iter().filter_map(first_axis).collect();
    let mut inputs = Vec::new();
    for value in &model.inputs {
        let Some(shape) = &value.shape else {
            let problem = format!("input \"{}\" does not tell its shape; export the model with one", value.name);
            return Err(ReferenceError::Prepare(problem));
        };
        let extent = |(axis, dim): (usize, &Dim)| {
            let Dim::Symbol(name) = dim else {
                return Ok(if let Dim::Known(d) = dim { *d } else { 1 });
            };
            let key = if name.is_empty() { format!("{}:{axis}", value.name) } else { name.clone() };
            match dims.get(&key) {
                Some(&extent) => Ok(extent),
                None if axis == 0 || batch.contains(name) => Ok(1),
                None => Err(ReferenceError::OpenAxis { input: value.name.clone(), axis, symbol: key }),
            }
        };
        let shape = shape.iter().enumerate().map(extent).collect::<Result<Vec<_>, _>>()?;
        inputs.push((value.name.clone(), value.dtype, shape));
    }
    Ok(inputs)
}

fn input_proto((name, dtype, shape): &(String, DType, Vec<usize>)) -> pb::ValueInfoProto {
    let shape = Some(shape.iter().map(|&d| Dim::Known(d)).collect());
    value_info_proto(&ValueInfo { name: name.clone(), dtype: *dtype, shape })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attribute;

    fn model(nodes: Vec<Node>, output: &str) -> Model {
        let value = |name: &str, first| {
            let shape = Some(vec![first, Dim::Known(4)]);
            ValueInfo { name: name.into(), dtype: DType::F32, shape }
        };
        Model {
            ir_version: 8,
            opsets: [(String::new(), 13)].into(),
            nodes,
            inputs: vec![value("x", Dim::Symbol("batch".into()))],
            outputs: vec![value(output, Dim::Symbol("batch".into()))],
            ..Model::default()
        }
    }

    #[test]
    fn outputs_come_first_then_taps() {
        let nodes = vec![Node::new("Relu", "", &["x"], &["a"]), Node::new("Add", "", &["a", "x"], &["y"])];
        let reference = Reference::new(&model(nodes, "y"), &["a".into()]).unwrap();
        assert_eq!(reference.output_facts(), [(DType::F32, vec![1, 4]), (DType::F32, vec![1, 4])]);
        let results = reference.run(&[Tensor::from_f32(vec![1, 4], &[-1.0, 2.0, 0.5, 0.0])]).unwrap();
        assert_eq!(results[0].to_f32s().unwrap(), [-1.0, 4.0, 1.0, 0.0]);
        assert_eq!(results[1].to_f32s().unwrap(), [0.0, 2.0, 0.5, 0.0]);
        assert!(reference.run(&[Tensor::from_f32(vec![4], &[0.0; 4])]).is_err());
        assert!(Reference::new(&model(vec![], "x"), &["none".into()]).unwrap_err().to_string().contains("none"));
    }

    /// ONNX's formula by hand: scale 2, zero point 128; 1, 3 and 5 halves round to even.
    #[test]
    fn quantization_divides_and_rounds_half_to_even() {
        let mut model = model(
            vec![
                Node::new("QuantizeLinear", "", &["x", "scale", "zero_point"], &["q"]),
                Node::new("DequantizeLinear", "", &["q", "scale", "zero_point"], &["y"]),
            ],
            "y",
        );
        model.initializers.insert("scale".into(), Tensor::scalar_f32(2.0));
        model.initializers.insert("zero_point".into(), Tensor::from_u8(vec![], &[128]));
        let reference = Reference::new(&model, &["q".into()]).unwrap();
        let results = reference.run(&[Tensor::from_f32(vec![1, 4], &[1.0, 3.0, -5.0, 1000.0])]).unwrap();
        assert_eq!(results[1], Tensor::from_u8(vec![1, 4], &[128, 130, 126, 255]));
        assert_eq!(results[0].to_f32s().unwrap(), [0.0, 4.0, -4.0, 254.0]);
    }

    /// Between DequantizeLinear and QuantizeLinear a softmax stays a softmax: of equal inputs, a quarter each.
    #[test]
    fn a_softmax_between_integers_is_right() {
        let quantize = |x, y| Node::new("QuantizeLinear", "", &[x, "scale", "zero_point"], &[y]);
        let dequantize = |x, y| Node::new("DequantizeLinear", "", &[x, "scale", "zero_point"], &[y]);
        let softmax = Node::new("Softmax", "", &["b"], &["c"]).with("axis", Attribute::Int(1));
        let mut model = model(
            vec![quantize("x", "a"), dequantize("a", "b"), softmax, quantize("c", "d"), dequantize("d", "y")],
            "y",
        );
        model.initializers.insert("scale".into(), Tensor::scalar_f32(1.0 / 256.0));
        model.initializers.insert("zero_point".into(), Tensor::from_u8(vec![], &[0]));
        let results = Reference::new(&model, &[]).unwrap().run(&[Tensor::from_f32(vec![1, 4], &[0.5; 4])]).unwrap();
        assert_eq!(results[0].to_f32s().unwrap(), [0.25; 4]);
    }

    #[test]
    fn nodes_are_evaluated_on_constants_or_refused() {
        let opsets = [(String::new(), 13)].into();
        let x = Tensor::from_i64(vec![2, 1], &[3, 4]);
        let squeeze = Node::new("Squeeze", "", &["x", "axes"], &["y"]);
        let result = evaluate(&squeeze, &opsets, &[("x", &x), ("axes", &Tensor::from_i64(vec![1], &[1]))]);
        assert_eq!(result.unwrap(), [Tensor::from_i64(vec![2], &[3, 4])]);
        let unknown = Node::new("NoSuchOperator", "odd", &["x"], &["y"]);
        assert!(evaluate(&unknown, &opsets, &[("x", &x)]).unwrap_err().to_string().contains("odd"));
    }

    #[test]
    fn open_axes_need_an_extent() {
        let mut model = model(vec![Node::new("Relu", "", &["x"], &["y"])], "y");
        model.inputs[0].shape = Some(vec![Dim::Symbol("batch".into()), Dim::Symbol("time".into())]);
        assert!(matches!(Reference::new(&model, &[]), Err(ReferenceError::OpenAxis { axis: 1, .. })));
        let reference = Reference::with_dims(&model, &[], &[("time".to_string(), 7)].into()).unwrap();
        assert_eq!(reference.output_facts()[0].1, [1, 7]);
    }
}
