//! Everything that the engine has, for every kind of step: what no firmware leaves out, linked to see that nothing of it
//! can panic, and how much flash it takes. It prints whether the embedded plan runs.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use cygnet_core::kernels::Kernels;
use cygnet_core::{Arena, Error, Plan, Session};
use cygnet_cortex_m::console::{self, Word};
use cygnet_cortex_m::embedded;

/// Bytes of the arena, so few that every board has them: a plan that needs more is refused.
const ARENA_BYTES: usize = 8 * 1024;
/// Elements of an input or output that are moved as numbers.
const ELEMENTS: usize = 64;

#[entry]
fn main() -> ! {
    let done = cortex_m::singleton!(: Arena<ARENA_BYTES> = Arena::new())
        .map_or(Err(Error::ArenaMisaligned), |arena| run(black_box(embedded::PLAN), arena.bytes()));
    match done {
        Ok(()) => console::line(&[Word::Text("the plan runs")]),
        Err(error) => console::error(&error),
    }
    console::end(done.is_ok())
}

fn run(plan: &[u8], arena: &mut [u8]) -> Result<(), Error> {
    let plan = Plan::parse(plan)?;
    static FASTEST: Kernels = Kernels::for_target();
    let kernels = if black_box(true) { &FASTEST } else { Kernels::portable() };
    let mut session = Session::with_kernels(plan, arena, kernels)?;
    let (mut values, mut bytes) = ([0.0_f32; ELEMENTS], [0_u8; ELEMENTS]);
    let port = black_box(0);
    session.input_bytes(port)?.fill(0);
    session.input_i8(port)?.fill(0);
    // Only a plan of these sizes takes them; that the others are refused is no failure.
    let _ = session.write_f32(port, black_box(&values));
    let _ = session.write_bytes(port, black_box(&bytes));
    session.run()?;
    let _ = session.read_f32(port, &mut values);
    let _ = session.read_bytes(port, &mut bytes);
    black_box((&values, &bytes, session.output_bytes(port)?));
    Ok(())
}
