//! Any bytes as an ONNX model: refused, or compiled to a plan that the verifier takes.
#![no_main]

use cygnet_onnx::compile::{Options, compile};
use cygnet_onnx::model::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes) {
        let _ = compile(&model, &Options::default());
    }
});
