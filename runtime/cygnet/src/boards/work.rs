//! How many instructions a board takes for one inference, told from the plan.
//!
//! No board has been timed. Instructions were counted in QEMU: whole models on the Cortex-M boards (`tests/arm/firmware`)
//! and on AArch64 (`tests/peers/arm`), eight to twelve models on each, two on the Cortex-M0. Four rates were fitted to
//! them, by least squares of the relative error: instructions for a multiply-accumulate of a dense layer, of a depthwise
//! layer, for an element that a step writes, and for a step. [`Rates::deviation`] is the largest error of that fit.

use cygnet_core::Plan;
use cygnet_core::plan::step::Access;
use cygnet_core::plan::{DType, Step};
use serde::Serialize;

use super::Board;

/// What one inference costs a board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Work {
    /// The board.
    pub board: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Instructions on one core, predicted.
    pub instructions: u64,
    /// How far the prediction lay from the count, at most, as a part of it: 0.1 is ten percent.
    pub deviation: f64,
    /// The clock, in MHz.
    pub megahertz: u32,
    /// Milliseconds at one instruction in each cycle of the clock.
    pub milliseconds: f64,
}

/// Instructions for each unit of work.
struct Rates {
    dense: f64,
    depthwise: f64,
    element: f64,
    step: f64,
    deviation: f64,
}

/// Armv6-M with the portable kernels: fitted to two models only.
const CORTEX_M0: Rates = Rates { dense: 10.88, depthwise: 73.85, element: 0.0, step: 0.0, deviation: 0.3 };
/// The DSP extension (Cortex-M4, M7, M33: within 0.2 % of each other).
const DSP: Rates = Rates { dense: 0.936, depthwise: 0.0, element: 12.71, step: 10_409.0, deviation: 0.09 };
/// AArch64 without the dot product.
const NEON: Rates = Rates { dense: 0.2207, depthwise: 0.5699, element: 2.884, step: 1_303.0, deviation: 0.21 };
/// AArch64 with it.
const DOT_PRODUCT: Rates = Rates { dense: 0.0823, depthwise: 0.4426, element: 1.221, step: 1_548.0, deviation: 0.39 };

/// Boards with a clock: QEMU's have none. The clocks are the makers' figures, of Cortex-M boards those that our firmware sets.
const CLOCKS: [(&str, u32, &Rates); 12] = [
    ("microbit", 16, &CORTEX_M0),
    ("nucleo-f446re", 180, &DSP),
    ("nrf52840-dk", 64, &DSP),
    ("nucleo-h743zi", 480, &DSP),
    ("pico2", 150, &DSP),
    ("raspberry-pi-zero-2w", 1000, &NEON),
    ("raspberry-pi-3", 1200, &NEON),
    ("raspberry-pi-4", 1500, &NEON),
    ("raspberry-pi-5", 2400, &DOT_PRODUCT),
    ("jetson-nano", 1430, &NEON),
    ("jetson-orin-nano", 1500, &DOT_PRODUCT),
    ("jetson-agx-orin", 2200, &DOT_PRODUCT),
];

impl Work {
    /// What one inference of `plan` costs `board`; `None` for boards without a clock, and for plans with steps that were
    /// not counted: layers in float, and those that run through tract.
    pub fn of(plan: &Plan<'_>, board: &Board) -> Option<Work> {
        let &(name, megahertz, rates) = CLOCKS.iter().find(|(name, ..)| *name == board.name)?;
        let mut instructions = 0.0;
        for record in plan.steps() {
            let macs = record.step.multiply_accumulates() as f64;
            let (mut elements, mut is_float) = (0, false);
            record.step.visit_tensors(&mut |id, access| {
                let Some(tensor) = plan.tensor(id) else { return };
                match access {
                    Access::Write => elements += tensor.bytes() / tensor.dtype.bytes().max(1),
                    // Sums of int8 may leave as float32: what is read decides.
                    Access::Read => is_float |= tensor.dtype == DType::F32,
                    Access::Scratch => {}
                }
            });
            if record.step.needs_host() || (is_float && macs > 0.0) {
                return None;
            }
            let rate = if matches!(record.step, Step::DepthwiseI8(_)) { rates.depthwise } else { rates.dense };
            instructions += rate * macs + rates.element * elements as f64 + rates.step;
        }
        Some(Work {
            board: name,
            title: board.title,
            instructions: instructions.round() as u64,
            deviation: rates.deviation,
            megahertz,
            milliseconds: instructions / (f64::from(megahertz) * 1e3),
        })
    }
}
