//! Written by `tests/arm/measure`: bytes of firmware beside the plan.

use cygnet::core::Plan;

use super::Core;

/// Bytes of stack, the deepest of all models tried.
pub fn stack(core: Core) -> usize {
    if core == Core::Linux { 0 } else { 4600 }
}

/// Bytes of statics beside the arena.
pub fn statics(core: Core) -> usize {
    if core == Core::Linux { 0 } else { 64 }
}

/// Bytes of code and its constants for the steps of a plan.
pub fn code(core: Core, _plan: &Plan<'_>) -> usize {
    if core == Core::Linux { 0 } else { 70_000 }
}
