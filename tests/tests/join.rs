//! Convolutions that write into a concatenation; that the results are right is for `golden.rs` to say.

use std::path::Path;

use cygnet_core::Plan;
use cygnet_core::plan::step::Step;
use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;

/// Convolutions in place, copies, and tensors of a golden model's plan.
fn counted(name: &str) -> [usize; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/qdq_other").join(name);
    let plan = compile(&Model::read(&path).expect("readable"), &Options::default()).expect("compiles").plan;
    let plan = Plan::parse(&plan).expect("verified");
    let count = |is: fn(&Step) -> bool| plan.steps().filter(|record| is(&record.step)).count();
    [count(|step| matches!(step, Step::PartialConvI8(_))), count(|step| matches!(step, Step::Copy(_)))]
}

#[test]
fn branches_of_one_scale_are_not_copied() {
    // Of four convolutions three are read by a concatenation alone. Copied are the pool, the convolution that is read
    // twice, and two concatenations that are part of the next one.
    assert_eq!(counted("concat_of_one_scale.onnx"), [3, 4]);
}

#[test]
fn branches_requantized_by_the_concatenation_are_not_copied() {
    assert_eq!(counted("fire_concat.onnx"), [2, 0]);
}
