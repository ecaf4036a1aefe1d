//! Runs plans with every set of kernels of this CPU, or the one that `CYGNET_ISA` names, and prints the hash of
//! all outputs and the median time of a run: `probe [--runs N] MODEL.cyg ...`.
//!
//! Before and behind each run stands a system call that does not exist (number 5000, argument 1 and 2), at which an
//! emulator's plugin can count instructions. With `--steps` the steps are listed, and each has a mark behind it (3).

use std::error::Error;
use std::time::Instant;

use cygnet_core::kernels::{Kernels, available};
use cygnet_core::plan::step::StepRecord;
use cygnet_core::{Error as CoreError, Host, HostTensor, Plan, Session};

/// Runs whose outputs are hashed, each with another input.
const INPUTS: usize = 20;

/// Marks the end of each step.
struct Marks;

impl Host for Marks {
    fn run(
        &mut self,
        index: u32,
        _: &[u8],
        _: &mut [HostTensor<'_>],
        _: &mut [HostTensor<'_>],
    ) -> Result<(), CoreError> {
        Err(CoreError::NeedsHost { step: index })
    }

    fn after(&mut self, _: &StepRecord, _: &[u8]) {
        mark(3);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut runs, mut steps) = (INPUTS, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--runs" {
            runs = arguments.next().ok_or("--runs needs a number")?.parse()?;
            continue;
        }
        if argument == "--steps" {
            steps = true;
            continue;
        }
        let bytes = std::fs::read(&argument).map_err(|error| format!("{argument}: {error}"))?;
        for record in Plan::parse(&bytes)?.steps().filter(|_| steps) {
            println!("{} {}", record.step.kind(), record.step.multiply_accumulates());
        }
        let wanted = std::env::var("CYGNET_ISA").ok();
        for kernels in available().filter(|kernels| wanted.as_ref().is_none_or(|name| name == kernels.name)) {
            let (hash, median) = measure(&bytes, kernels, runs, steps)?;
            println!("{argument} {} {hash:016x} {:.4} ms", kernels.name, median * 1e3);
        }
    }
    Ok(())
}

fn measure(bytes: &[u8], kernels: &'static Kernels, runs: usize, steps: bool) -> Result<(u64, f64), Box<dyn Error>> {
    let plan = Plan::parse(bytes)?;
    let mut memory = vec![0_u128; plan.arena_bytes().div_ceil(16)];
    // SAFETY: u128 has no padding, and u8 no alignment.
    let arena = unsafe { memory.align_to_mut::<u8>().1 };
    let mut session = Session::with_kernels(plan, arena, kernels)?;
    let (mut hash, mut state) = (0xcbf2_9ce4_8422_2325_u64, 99_u64);
    let mut times = Vec::with_capacity(runs);
    for run in 0..runs.max(INPUTS) {
        for index in 0..plan.input_count() {
            for byte in session.input_bytes(index)? {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
        }
        mark(1);
        let start = Instant::now();
        if steps {
            session.run_with(&mut Marks)?
        } else {
            session.run()?
        }
        times.push(start.elapsed().as_secs_f64());
        mark(2);
        for index in (0..plan.output_count()).filter(|_| run < INPUTS) {
            for &byte in session.output_bytes(index)? {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
    }
    times.sort_by(f64::total_cmp);
    Ok((hash, times[times.len() / 2]))
}

/// System call 5000 with `tag`; the system answers that there is none.
#[cfg(target_arch = "aarch64")]
fn mark(tag: u64) {
    // SAFETY: the call has no effect.
    unsafe { std::arch::asm!("svc 0", in("x8") 5000, inlateout("x0") tag => _, options(nostack)) }
}

#[cfg(not(target_arch = "aarch64"))]
fn mark(_tag: u64) {}
