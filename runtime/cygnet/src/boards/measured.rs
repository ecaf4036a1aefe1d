//! Written by `tests/arm/measure`: bytes of firmware beside the plan.

use super::{Core, Measured};

/// By processor. `code` holds what each kind of step adds, by its bit of a `StepSet`.
pub(super) const MEASURED: [(Core, Measured); 5] = [
    (Core::CortexM0, Measured { stack: 4600, statics: 64, base: 70000, code: &[] }),
    (Core::CortexM4, Measured { stack: 4600, statics: 64, base: 70000, code: &[] }),
    (Core::CortexM7, Measured { stack: 4600, statics: 64, base: 70000, code: &[] }),
    (Core::CortexM33, Measured { stack: 4600, statics: 64, base: 70000, code: &[] }),
    (Core::CortexM55, Measured { stack: 4600, statics: 64, base: 70000, code: &[] }),
];
