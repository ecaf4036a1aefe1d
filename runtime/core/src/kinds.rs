//! What the engine knows of each kind of step: how its record is read, what it demands, how it runs. Firmware leaves out
//! the kinds that its plan has not: no code of them is linked.

use core::fmt;

use crate::plan::step::{DECODERS, Decoder, Decoders, Step, opcode};
use crate::plan::{Form, StepSet};
use crate::session::executors::{self, Executor, Executors};
use crate::verify::demands::{self, Demand, Demands};

/// Kinds of steps, in tables by opcode.
#[derive(Clone, Copy)]
pub(crate) struct Kinds {
    set: StepSet,
    decoders: Decoders,
    demands: Demands,
    executors: Executors,
}

impl Kinds {
    /// Every kind.
    pub const ALL: Self =
        Self { set: StepSet::ALL, decoders: DECODERS, demands: demands::ALL, executors: executors::ALL };

    /// Those of them that are in `set`, too.
    pub const fn only(self, set: StepSet) -> Self {
        let set = self.set.and(set);
        let mut few = Self { set, ..self };
        let mut kind = 0;
        while kind < opcode::COUNT {
            let mut there = false;
            let mut form = 0;
            while form < Form::COUNT {
                if set.has(kind, Form::ALL[form]) {
                    there = true;
                } else {
                    few.executors[kind][form] = executors::refuse;
                }
                form += 1;
            }
            if !there {
                few.decoders[kind] = |_, _, _| None;
                few.demands[kind] = demands::refuse;
            }
            kind += 1;
        }
        few
    }

    /// The kinds.
    pub const fn set(&self) -> StepSet {
        self.set
    }

    /// What reads records of an opcode; `None` where no kind has it.
    #[inline]
    pub fn decoder(&self, opcode: u32) -> Option<Decoder> {
        self.decoders.get(opcode as usize).copied()
    }

    /// What a step must keep.
    pub fn demand(&self, step: &Step) -> Demand {
        self.demands.get(step.opcode() as usize).copied().unwrap_or(demands::refuse)
    }

    /// What runs a step whose deciding tensor asks for a form.
    pub fn executor(&self, step: &Step, form: Form) -> Executor {
        let Some([plain, real, wide]) = self.executors.get(step.opcode() as usize) else { return executors::refuse };
        *match form {
            Form::I8 => plain,
            Form::F32 => real,
            Form::I16 => wide,
        }
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kinds").field(&self.set).finish()
    }
}
