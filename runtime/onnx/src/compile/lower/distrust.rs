//! Forms of operators that tract runs and computes wrongly: an error is better than a wrong number.

use crate::model::{Attribute, DType, Model, Node};

/// What is wrong with the node of `model`, the one that a fallback step would run; `None` where nothing is known.
pub(super) fn distrusted(node: &Node, model: &Model) -> Option<String> {
    let has = |attribute: &str, value: &str| node.string(attribute) == Some(value);
    let dtype = |index: usize| node.input(index).and_then(|name| model.value(name)).map(|value| value.dtype);
    let attribute = |name: &str| Some(format!("with the attribute {name}"));
    match node.op_type.as_str() {
        "GlobalLpPool" => Some("at all".into()),
        "Resize" if has("coordinate_transformation_mode", "tf_crop_and_resize") => {
            attribute("coordinate_transformation_mode = \"tf_crop_and_resize\"")
        }
        // Neighbours beyond the border have its values; tract moves the place itself to the border.
        "GridSample" if (has("mode", "bicubic") || has("mode", "cubic")) && has("padding_mode", "border") => {
            attribute("padding_mode = \"border\" and a cubic mode")
        }
        "LSTM" | "GRU" | "RNN" if has("direction", "reverse") => attribute("direction = \"reverse\""),
        "LSTM" | "GRU" | "RNN" => ignored_by_recurrent(node).and_then(attribute),
        "ConvTranspose" if node.attributes.contains_key("output_shape") => attribute("output_shape"),
        "Einsum" if node.string("equation").is_some_and(|equation| equation.trim_end().ends_with("->")) => {
            Some("to one number".into())
        }
        "LayerNormalization" if model.value(node.input(0)?)?.shape.is_some_and(|shape| shape.is_empty()) => {
            Some("of a single number".into())
        }
        "BitShift" => {
            let bits = match dtype(0)? {
                DType::I8 => 8,
                DType::I16 => 16,
                DType::I32 => 32,
                DType::I64 => 64,
                _ => return None,
            };
            let shifts = node.input(1).and_then(|name| model.initializers.get(name)).map(|shift| shift.to_i64s());
            let usual = matches!(shifts, Some(Ok(shifts)) if shifts.iter().all(|shift| (0..bits).contains(shift)));
            (!usual).then(|| "of signed numbers by other than a constant number of their bits".into())
        }
        "Celu" if dtype(0) == Some(DType::F16) => Some("of float16".into()),
        "Attention" => {
            let window = |name: &&str| node.int(name).unwrap_or(-1) >= 0;
            if let Some(name) = ["left_window_size", "right_window_size"].into_iter().find(window) {
                return attribute(name);
            }
            if node.int("is_causal").unwrap_or(0) != 0 && node.input(4).is_some() {
                return Some("with is_causal and keys of the past".into());
            }
            // A row that masks everything makes zeros; tract's is uniform.
            (dtype(3) == Some(DType::Bool)).then(|| "with a mask of truth values (use a float mask)".into())
        }
        _ => None,
    }
}

/// The attribute of a recurrent layer that tract computes without.
fn ignored_by_recurrent(node: &Node) -> Option<&'static str> {
    let usual: &[&str] = match node.op_type.as_str() {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    let unusual = match node.attributes.get("activations") {
        Some(Attribute::Strings(names)) => {
            names.iter().zip(usual.iter().cycle()).any(|(name, usual)| !name.eq_ignore_ascii_case(usual))
        }
        other => other.is_some(),
    };
    if unusual {
        return Some("activations");
    }
    if node.int("input_forget").unwrap_or(0) != 0 {
        return Some("input_forget");
    }
    node.float("clip").map(|_| "clip")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Tensor, ValueInfo};

    #[test]
    fn what_is_wrong_is_named_and_the_rest_let_through() {
        let mut model = Model::default();
        let value = |name: &str, dtype| ValueInfo { name: name.into(), dtype, shape: None };
        model.inputs = vec![value("x", DType::I32), value("u", DType::U32), value("h", DType::F16)];
        model.initializers.insert("two".into(), Tensor::from_i32(vec![1], &[2]));
        model.initializers.insert("many".into(), Tensor::from_i32(vec![1], &[32]));
        let shift = |x: &str, by: &str| distrusted(&Node::new("BitShift", "", &[x, by], &["y"]), &model);
        assert_eq!((shift("u", "x"), shift("x", "two")), (None, None));
        assert!(shift("x", "many").is_some() && shift("x", "x").is_some());
        let gru = Node::new("GRU", "", &["x"], &["y"]);
        assert_eq!(distrusted(&gru, &model), None);
        let reverse = gru.with("direction", Attribute::String("reverse".into()));
        assert!(distrusted(&reverse, &model).is_some_and(|form| form.contains("direction")));
        let names = |names: &[&str]| Attribute::Strings(names.iter().map(|name| name.to_string()).collect());
        let lstm = |name: &str, value| distrusted(&Node::new("LSTM", "", &["x"], &["y"]).with(name, value), &model);
        assert_eq!(lstm("activations", names(&["sigmoid", "Tanh", "Tanh"].repeat(2))), None);
        assert!(lstm("activations", names(&["Sigmoid", "Affine", "Tanh"])).is_some_and(|form| form.contains("activ")));
        assert!(lstm("input_forget", Attribute::Int(1)).is_some_and(|form| form.contains("input_forget")));
        assert!(lstm("clip", Attribute::Float(3.0)).is_some_and(|form| form.contains("clip")));
        let sum = |equation: &str| {
            let node = Node::new("Einsum", "", &["x"], &["y"]);
            distrusted(&node.with("equation", Attribute::String(equation.into())), &model)
        };
        assert!(sum("ab->").is_some() && sum("ab->b").is_none());
        let transposed = Node::new("ConvTranspose", "", &["x", "w"], &["y"]);
        assert_eq!(distrusted(&transposed, &model), None);
        assert!(distrusted(&transposed.with("output_shape", Attribute::Ints(vec![8])), &model).is_some());
        let text = |value: &str| Attribute::String(value.into());
        let grid = Node::new("GridSample", "", &["x", "g"], &["y"]).with("padding_mode", text("border"));
        assert_eq!(distrusted(&grid.clone().with("mode", text("bilinear")), &model), None);
        for mode in ["bicubic", "cubic"] {
            let cubic = grid.clone().with("mode", text(mode));
            assert!(distrusted(&cubic, &model).is_some_and(|form| form.contains("padding_mode")));
        }
        assert!(distrusted(&Node::new("Celu", "", &["h"], &["y"]), &model).is_some());
    }
}
