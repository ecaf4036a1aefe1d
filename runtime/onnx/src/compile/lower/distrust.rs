//! Forms of operators that tract runs and computes wrongly: an error is better than a wrong number.

use crate::model::{DType, Model, Node};

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
        "LSTM" | "GRU" | "RNN" if has("direction", "reverse") => attribute("direction = \"reverse\""),
        "BitShift"
            if dtype(0).is_some_and(|dtype| !matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64)) =>
        {
            Some("on signed numbers".into())
        }
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
