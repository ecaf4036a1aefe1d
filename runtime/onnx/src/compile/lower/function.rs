//! Functions of one element.

use std::rc::Rc;

use cygnet_core::math::Function;
use cygnet_core::plan::DType;
use cygnet_core::plan::step::{BinaryOp, Cast, Step, Unary};

use super::{Kind, Lowered, Lowering, Val, Value, no_step, plan_type, wrong};
use crate::model::Node;

impl Lowering<'_> {
    /// The function that a node applies to each element, with its two attributes; `None` for other operators.
    pub(super) fn unary_function(&self, node: &Node) -> Lowered<Option<(Function, f32, f32)>> {
        let attribute = |name: &str, default: f32| node.float(name).unwrap_or(default);
        let plain = |function| Ok(Some((function, 0.0, 0.0)));
        match node.op_type.as_str() {
            "Relu" => Ok(Some((Function::Clip, 0.0, f32::INFINITY))),
            "Clip" => {
                let limit = |index: usize, name: &str, default: f32| -> Lowered<f32> {
                    Ok(match self.constant(node, index)? {
                        Some(constant) => constant.scalar()?,
                        None => attribute(name, default),
                    })
                };
                let (low, high) = (limit(1, "min", f32::NEG_INFINITY)?, limit(2, "max", f32::INFINITY)?);
                Ok(Some((Function::Clip, low, high)))
            }
            "Sigmoid" => plain(Function::Sigmoid),
            "Tanh" => plain(Function::Tanh),
            "HardSigmoid" => Ok(Some((Function::HardSigmoid, attribute("alpha", 0.2), attribute("beta", 0.5)))),
            "HardSwish" => plain(Function::HardSwish),
            "LeakyRelu" => Ok(Some((Function::LeakyRelu, attribute("alpha", 0.01), 0.0))),
            "Elu" => Ok(Some((Function::Elu, attribute("alpha", 1.0), 0.0))),
            "Selu" => {
                let (alpha, gamma) = (attribute("alpha", 1.673_263_2), attribute("gamma", 1.050_701));
                Ok(Some((Function::Selu, alpha, gamma)))
            }
            "Celu" => Ok(Some((Function::Celu, attribute("alpha", 1.0), 0.0))),
            "ThresholdedRelu" => Ok(Some((Function::ThresholdedRelu, attribute("alpha", 1.0), 0.0))),
            "Gelu" => match node.string("approximate").unwrap_or("none") {
                "tanh" => plain(Function::GeluTanh),
                "none" => plain(Function::Gelu),
                other => wrong(format!("the attribute approximate = \"{other}\" is not known")),
            },
            "FastGelu" if node.inputs.len() == 1 => plain(Function::GeluTanh),
            "QuickGelu" => Ok(Some((Function::Swish, attribute("alpha", 1.702), 0.0))),
            "Swish" => Ok(Some((Function::Swish, attribute("alpha", 1.0), 0.0))),
            "Mish" => plain(Function::Mish),
            "Exp" => plain(Function::Exp),
            "Log" => plain(Function::Log),
            "Sqrt" => plain(Function::Sqrt),
            "Erf" => plain(Function::Erf),
            "Abs" => plain(Function::Abs),
            "Neg" => plain(Function::Neg),
            "Floor" => plain(Function::Floor),
            "Ceil" => plain(Function::Ceil),
            "Round" => plain(Function::Round),
            "Reciprocal" => plain(Function::Reciprocal),
            "Sign" => plain(Function::Sign),
            "Softplus" => plain(Function::Softplus),
            "Softsign" => plain(Function::Softsign),
            _ => Ok(None),
        }
    }

    pub(super) fn function(&mut self, node: &Node) -> Lowered {
        let Some(function) = self.unary_function(node)? else { return no_step("the operator has no step") };
        let val = self.tensor(node, 0)?;
        let name = node.output(0).unwrap_or("").to_string();
        self.apply_function(node, val, function, &name)
    }

    /// Applies a function under the name `name`: to the table of an int8 tensor, or as a float step.
    pub(super) fn apply_function(
        &mut self,
        node: &Node,
        val: Val,
        (function, alpha, beta): (Function, f32, f32),
        name: &str,
    ) -> Lowered {
        if let Some(values) = self.real_table(&val) {
            let table = values.map(|value| function.apply(value, alpha, beta));
            let kind = Kind::Quantized { table: Some(Rc::new(table)) };
            self.values.insert(name.to_string(), Value::Val(Val { kind, ..val }));
            return Ok(());
        }
        let x = self.float(val)?;
        if function == Function::PowConstant && alpha == 2.0 {
            // The same bits, by one multiplication.
            return self.pair(node, BinaryOp::Mul, Value::Val(x.clone()), Value::Val(x), name);
        }
        let shape = self.builder.draft(x.tensor).shape.clone();
        let y = self.builder.tensor(DType::F32, shape, None, name);
        self.builder.step(Step::Unary(Unary { x: x.tensor, y, function, alpha, beta }), &node.label());
        self.values.insert(name.to_string(), Value::Val(Val { tensor: y, layout: x.layout, kind: Kind::Float }));
        Ok(())
    }

    pub(super) fn cast(&mut self, node: &Node) -> Lowered {
        let val = self.tensor(node, 0)?;
        let to = node.int("to").unwrap_or(1);
        // TensorProto.DataType
        let dtype = match to {
            1 => Some(crate::model::DType::F32),
            2 => Some(crate::model::DType::U8),
            3 => Some(crate::model::DType::I8),
            6 => Some(crate::model::DType::I32),
            7 => Some(crate::model::DType::I64),
            9 => Some(crate::model::DType::Bool),
            _ => None,
        };
        let Some(dtype) = dtype.and_then(plan_type) else {
            return no_step(format!("a cast to ONNX element type {to} has no step"));
        };
        match (&val.kind, dtype) {
            (Kind::Float | Kind::Quantized { .. } | Kind::Wide, DType::F32) => {
                self.bind(node, 0, val);
                return Ok(());
            }
            (Kind::Stored(_), _) | (_, DType::I8 | DType::U8) => {
                return no_step("a cast of or to 8-bit numbers has no step");
            }
            _ => {}
        }
        let x = if matches!(val.kind, Kind::Plain) { val } else { self.float(val)? };
        let shape = self.builder.draft(x.tensor).shape.clone();
        let y = self.builder.tensor(dtype, shape, None, node.output(0).unwrap_or(""));
        self.builder.step(Step::Cast(Cast { x: x.tensor, y }), &node.label());
        let kind = if dtype == DType::F32 { Kind::Float } else { Kind::Plain };
        self.bind(node, 0, Val { tensor: y, layout: x.layout, kind });
        Ok(())
    }
}
