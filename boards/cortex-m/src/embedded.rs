//! The plan and the input that were built in, and memory of exactly the plan's size.

use core::hint::black_box;

use cygnet_core::kernels::Kernels;
use cygnet_core::plan::Plan;
use cygnet_core::{Arena, Error, Session};

/// Word access to weights and tensors wants an aligned start.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// The plan.
pub static PLAN: &[u8] = {
    static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/plan.cyg")));
    &BYTES.0
};

/// The first input of the plan, as it lies in the arena; nothing where `CYGNET_INPUT` was not set.
pub static INPUT: &[u8] = {
    static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/input.bin")));
    &BYTES.0
};

/// A recording at the plan's rate: signed 16-bit samples, little-endian, mono (`CYGNET_SOUND`).
#[cfg(recorded_sound)]
pub static SOUND: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sound.pcm"));

/// Pictures of the plan's size: raw grey or RGB pixels, one picture behind the other (`CYGNET_FRAMES`).
#[cfg(recorded_frames)]
pub static FRAMES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/frames.raw"));

/// The kernels that the plan needs, for this core.
pub static KERNELS: Kernels = Kernels::for_target().only(PLAN);

/// Bytes of the arena.
pub const ARENA_BYTES: usize = Plan::arena_bytes_of(include_bytes!(concat!(env!("OUT_DIR"), "/plan.cyg")));

/// The embedded plan, which is read as the bytes that it is: the compiler is to evaluate nothing of it beforehand, so that
/// the code does not depend on them.
///
/// # Errors
/// Those of [`Plan::parse_with`].
pub fn plan() -> Result<Plan<'static>, Error> {
    Plan::parse_with(black_box(PLAN), &KERNELS)
}

/// The session of [`plan`]. There is one: a second call gives `None`.
pub fn session() -> Option<Result<Session<'static, 'static>, Error>> {
    let arena: &'static mut Arena<ARENA_BYTES> = cortex_m::singleton!(ARENA: Arena<ARENA_BYTES> = Arena::new())?;
    Some(plan().and_then(|plan| Session::with_kernels(plan, arena.bytes(), &KERNELS)))
}
