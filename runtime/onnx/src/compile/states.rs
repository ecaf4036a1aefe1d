//! Which outputs are fed back as inputs of the next run.

use std::collections::BTreeMap;

use super::CompileError;
use crate::model::{Model, ValueInfo};

/// Pairs of an input and the output that becomes it, by number: those that `told` names (the card's table `[states]`,
/// output by input), otherwise those whose names say it.
///
/// Names say it where input and output have one type and shape and are `h` and `hN`, `hn`, `h_n`, `hOut`, `h_out`,
/// `h_new` or `h_next`; `h0` and `hn`; `h_0` and `h_n`; `h_in` and `h_out`; `in_h` and `out_h`; `prev_h` and `next_h`;
/// and where the model has an input and an output beside these.
///
/// # Errors
/// [`CompileError::Card`] where `told` has a name that is not there.
pub fn states(model: &Model, told: Option<&BTreeMap<String, String>>) -> Result<Vec<(usize, usize)>, CompileError> {
    let place = |ports: &[ValueInfo], name: &str, what: &str| {
        let problem = || CompileError::Card(format!("`states` names \"{name}\", which is no {what} of the model"));
        ports.iter().position(|port| port.name == name).ok_or_else(problem)
    };
    if let Some(told) = told {
        let pair = |(input, output): (&String, &String)| {
            Ok((place(&model.inputs, input, "input")?, place(&model.outputs, output, "output")?))
        };
        return told.iter().map(pair).collect();
    }
    let mut pairs = Vec::new();
    for (from, input) in model.inputs.iter().enumerate() {
        let fits = |output: &ValueInfo| {
            let rank = |port: &ValueInfo| port.shape.as_ref().map(Vec::len);
            let known = input.dtype == output.dtype && (rank(output).is_none() || rank(input) == rank(output));
            known && names_of_next(&input.name).contains(&output.name)
        };
        pairs.extend(model.outputs.iter().position(fits).map(|to| (from, to)));
    }
    let others = model.inputs.len() > pairs.len() && model.outputs.len() > pairs.len();
    Ok(if others { pairs } else { Vec::new() })
}

/// What the output may be called that becomes the input `name`.
fn names_of_next(name: &str) -> Vec<String> {
    let endings = ["N", "n", "_n", "Out", "_out", "_new", "_next"];
    let mut names: Vec<String> = endings.iter().map(|ending| format!("{name}{ending}")).collect();
    let ends = [("0", "n"), ("_in", "_out")];
    names.extend(ends.iter().filter_map(|(old, new)| Some(format!("{}{new}", name.strip_suffix(old)?))));
    let starts = [("in_", "out_"), ("prev_", "next_")];
    names.extend(starts.iter().filter_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?))));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DType, Dim};

    fn ports(names: &[&str]) -> Vec<ValueInfo> {
        let port =
            |name: &&str| ValueInfo { name: name.to_string(), dtype: DType::F32, shape: Some(vec![Dim::Known(4)]) };
        names.iter().map(port).collect()
    }

    #[test]
    fn names_tell_pairs() {
        let found = |inputs: &[&str], outputs: &[&str]| {
            let model = Model { inputs: ports(inputs), outputs: ports(outputs), ..Model::default() };
            states(&model, None).unwrap()
        };
        assert_eq!(found(&["input", "state", "sr"], &["output", "stateN"]), [(1, 1)]);
        assert_eq!(found(&["x", "h", "c"], &["prob", "hn", "cn"]), [(1, 1), (2, 2)]);
        assert_eq!(found(&["h0", "x"], &["y", "hn"]), [(0, 1)]);
        assert_eq!(found(&["x", "cache_in"], &["cache_out", "y"]), [(1, 0)]);
        // A model of one input and one output keeps nothing.
        assert_eq!(found(&["in_picture"], &["out_picture"]), []);
        assert_eq!(found(&["input", "mask"], &["output", "logits"]), []);
    }

    #[test]
    fn the_card_decides() {
        let model = Model { inputs: ports(&["x", "h", "hx"]), outputs: ports(&["y", "hn"]), ..Model::default() };
        let told = BTreeMap::from([("hx".to_string(), "hn".to_string())]);
        assert_eq!(states(&model, Some(&told)).unwrap(), [(2, 1)]);
        assert_eq!(states(&model, Some(&BTreeMap::new())).unwrap(), []);
        let wrong = BTreeMap::from([("z".to_string(), "hn".to_string())]);
        assert!(states(&model, Some(&wrong)).unwrap_err().to_string().contains("\"z\""));
    }
}
