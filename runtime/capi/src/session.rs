//! Sessions: a plan and the memory that it runs in.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ops::Range;

use cygnet_core::kernels::Kernels;
use cygnet_core::{Plan, Session};

use crate::CYGNET_ALIGNMENT;
use crate::boundary::{Outcome, answer, apart, at, check, elements, elements_mut, put, span};
use crate::plan::{CygnetPlan, PlanMemory, input, needs_fallback, output};
use crate::seal::{self, Claim, Seal};
use crate::status::CygnetStatus;

/// A session. Zero it before it begins for the first time (`CygnetSession session = {0};`, or static); leave it in its
/// place until it ends. What is in it is not yours.
#[repr(C)]
pub struct CygnetSession {
    /// Not yours.
    pub reserved: [u64; 20],
}

/// What a [`CygnetSession`] holds; any bytes are a value of it.
#[repr(C)]
struct SessionMemory {
    seal: Seal,
    begun: UnsafeCell<MaybeUninit<Begun>>,
}

#[derive(Clone, Copy)]
struct Begun {
    /// The plan's object, which counts its sessions.
    owner: *const CygnetPlan,
    /// Copied from there: valid as long as it has sessions.
    plan: Plan<'static>,
    arena: *mut u8,
    kernels: &'static Kernels,
}

/// The fastest kernels of this CPU.
#[cfg(not(target_os = "none"))]
pub(crate) fn kernels() -> &'static Kernels {
    Kernels::best()
}

/// The kernels of the core, perhaps only those of the one plan that the library is built for.
#[cfg(target_os = "none")]
pub(crate) fn kernels() -> &'static Kernels {
    #[cfg(not(cygnet_plan))]
    static KERNELS: Kernels = Kernels::for_target();
    #[cfg(cygnet_plan)]
    static KERNELS: Kernels = Kernels::for_target().only(include_bytes!(env!("CYGNET_PLAN")));
    &KERNELS
}

const _: () = assert!(
    size_of::<SessionMemory>() <= size_of::<CygnetSession>()
        && align_of::<SessionMemory>() <= align_of::<CygnetSession>()
);

/// A session that this call works with.
pub(crate) struct Running<'a> {
    claim: Claim<'a>,
    begun: Begun,
}

impl<'a> Running<'a> {
    /// # Safety
    /// A pointer that is not null and aligned points to a [`CygnetSession`] that lives as long as the value; when it
    /// has begun, its plan and arena are there.
    pub(crate) unsafe fn of(session: *mut CygnetSession) -> Outcome<Self> {
        check(session)?;
        // SAFETY: the object is large enough and aligned; its fields are atomic or in a cell.
        let memory: &'a SessionMemory = unsafe { at(session.cast_const().cast()) }?;
        let claim = memory.seal.take(seal::SESSION)?;
        // SAFETY: a session that has begun holds one; the claim keeps others away.
        let begun = unsafe { (*memory.begun.get()).assume_init() };
        Ok(Self { claim, begun })
    }

    pub(crate) fn plan(&self) -> &Plan<'static> {
        &self.begun.plan
    }

    /// The addresses of the arena: values and scratch must be apart from it.
    pub(crate) fn arena(&self) -> Range<usize> {
        span(self.begun.arena, self.begun.plan.arena_bytes())
    }

    pub(crate) fn engine(&mut self) -> Outcome<Session<'static, '_>> {
        let Begun { plan, arena, kernels, .. } = self.begun;
        // SAFETY: as many bytes were given when the session began; they are the library's while a call works with the
        // session, and the claim says that this is the only one.
        let arena = unsafe { core::slice::from_raw_parts_mut(arena, plan.arena_bytes()) };
        Ok(Session::resume(plan, arena, kernels)?)
    }
}

/// Joins a plan and an arena, which is filled with zeros. Takes the fastest kernels of this CPU; the results have the
/// same bits with all of them. A plan may have any number of sessions, each with an arena of its own.
///
/// Owner: session and arena stay yours and must stay in their places until cygnet_session_end(); until then the bytes
/// of the arena are the library's, and the plan must stay open. An arena larger than needed is used from its start.
/// Threads: one at a time for this object. Sessions of the same plan may begin and end in different threads (not in
/// interrupts on Armv6-M).
/// Pointers: `session` is null or points to a CygnetSession, `plan` to a CygnetPlan; `arena` is null or points to
/// `arena_bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_begin(
    session: *mut CygnetSession,
    plan: *const CygnetPlan,
    arena: *mut c_void,
    arena_bytes: usize,
) -> CygnetStatus {
    answer(|| {
        check(session)?;
        // SAFETY: the caller's duty, as said above.
        let (memory, owner): (&SessionMemory, _) = unsafe { (at(session.cast_const().cast())?, PlanMemory::at(plan)?) };
        let parsed = *owner.plan()?;
        if needs_fallback(&parsed) {
            return Err(CygnetStatus::NeedsFallback);
        }
        check(arena)?;
        if !arena.addr().is_multiple_of(CYGNET_ALIGNMENT) {
            return Err(CygnetStatus::Unaligned);
        }
        if arena_bytes < parsed.arena_bytes() {
            return Err(CygnetStatus::ArenaTooSmall);
        }
        let arena = arena.cast::<u8>();
        let used = span(arena, parsed.arena_bytes());
        apart(&used, &span(session, 1))?;
        for other in owner.spans()? {
            apart(&used, &other)?;
            apart(&span(session, 1), &other)?;
        }
        let claim = memory.seal.claim(seal::SESSION)?;
        // SAFETY: the caller gives at least so many bytes; zeros are a value of each.
        let bytes = unsafe {
            arena.write_bytes(0, parsed.arena_bytes());
            core::slice::from_raw_parts_mut(arena, parsed.arena_bytes())
        };
        // What the engine refuses now, it would refuse at every call.
        Session::with_kernels(parsed, bytes, kernels())?;
        let begun = Begun { owner: plan, plan: parsed, arena, kernels: kernels() };
        // SAFETY: the claim gives this call alone the right to the cell.
        unsafe { (*memory.begun.get()).write(begun) };
        owner.count_session(true);
        claim.finish();
        Ok(())
    })
}

/// Ends a session; its memory can begin another one.
///
/// Owner: session and arena are yours alone again. Threads: one at a time for this object.
/// Pointers: `session` is null or points to a CygnetSession; when it has begun, its plan is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_end(session: *mut CygnetSession) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let running = unsafe { Running::of(session)? };
        // SAFETY: the plan's object is in its place as long as it has sessions.
        unsafe { PlanMemory::at(running.begun.owner)? }.count_session(false);
        running.claim.close();
        Ok(())
    })
}

/// Runs all steps on the inputs that were written. Write every input before each run, but those that the plan keeps from run
/// to run: steps reuse the memory of what was read for the last time. Takes no memory but the stack.
///
/// Threads: one at a time for this session; sessions with arenas of their own run at the same time.
/// Pointers: `session` is null or points to a CygnetSession; when it has begun, its plan and arena are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_run(session: *mut CygnetSession) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let mut running = unsafe { Running::of(session)? };
        Ok(running.engine()?.run()?)
    })
}

/// Sets what the plan keeps from run to run to zeros, as it is when a session begins: the next run begins a new sequence.
///
/// Threads: one at a time for this session; sessions with arenas of their own run at the same time.
/// Pointers: `session` is null or points to a CygnetSession; when it has begun, its plan and arena are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_reset(session: *mut CygnetSession) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let mut running = unsafe { Running::of(session)? };
        running.engine()?.reset();
        Ok(())
    })
}

/// Sets input `index` from real numbers in the order of its shape; they are quantized where the arena holds int8
/// (half to even, saturating, NaN as 0). CYGNET_STATUS_ELEMENT_TYPE for inputs whose element_type is not float32.
///
/// Owner: `values` are yours and not kept. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `values` is null or points to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_write_f32(
    session: *mut CygnetSession,
    index: u32,
    values: *const f32,
    count: usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let (mut running, values) = unsafe { (Running::of(session)?, elements(values, count)?) };
        apart(&running.arena(), &span(values.as_ptr(), count))?;
        Ok(running.engine()?.write_f32(index as usize, values)?)
    })
}

/// Sets input `index` from the bytes of an ONNX tensor: elements of its element_type in the order of its shape,
/// little-endian, at any address.
///
/// Owner: `bytes` are yours and not kept. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `bytes` is null or points to `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_write_bytes(
    session: *mut CygnetSession,
    index: u32,
    bytes: *const c_void,
    count: usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let (mut running, bytes) = unsafe { (Running::of(session)?, elements(bytes.cast::<u8>(), count)?) };
        apart(&running.arena(), &span(bytes.as_ptr(), count))?;
        Ok(running.engine()?.write_bytes(index as usize, bytes)?)
    })
}

/// Reads output `index` as real numbers in the order of its shape; whole numbers are converted.
///
/// Owner: `values` are yours. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `values` is null or points to room for `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_read_f32(
    session: *mut CygnetSession,
    index: u32,
    values: *mut f32,
    count: usize,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let mut running = unsafe { Running::of(session)? };
        apart(&running.arena(), &span(values, count))?;
        // SAFETY: the caller's duty, as said above.
        let values = unsafe { elements_mut(values, count)? };
        Ok(running.engine()?.read_f32(index as usize, values)?)
    })
}

/// Reads output `index` as the bytes of an ONNX tensor: elements of its element_type in the order of its shape,
/// little-endian, at any address.
///
/// Owner: `bytes` are yours. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `bytes` is null or points to room for `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_read_bytes(
    session: *mut CygnetSession,
    index: u32,
    bytes: *mut c_void,
    count: usize,
) -> CygnetStatus {
    answer(|| {
        let bytes = bytes.cast::<u8>();
        // SAFETY: the caller's duty, as said above.
        let mut running = unsafe { Running::of(session)? };
        apart(&running.arena(), &span(bytes, count))?;
        // SAFETY: the caller's duty, as said above.
        let bytes = unsafe { elements_mut(bytes, count)? };
        Ok(running.engine()?.read_bytes(index as usize, bytes)?)
    })
}

/// Where input `index` lies in the arena, to be written in place: stored_bytes of stored_type in the order of `order`.
/// CygnetTensor tells all of them, and the scale.
///
/// Owner: part of the arena; write to it between calls, before cygnet_session_run(). It stays in its place until the
/// session ends, and after a run it holds something else. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `stored` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_input_stored(
    session: *mut CygnetSession,
    index: u32,
    stored: *mut *mut c_void,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let running = unsafe { Running::of(session)? };
        let (_, tensor) = input(running.plan(), index)?;
        // The verifier has proved that the tensor lies in the arena.
        let place = running.begun.arena.wrapping_add(tensor.offset as usize).cast();
        // SAFETY: the caller's duty, as said above.
        unsafe { put(stored, place) }
    })
}

/// Where output `index` lies in the arena, to be read in place: stored_bytes of stored_type in the order of `order`.
/// CygnetTensor tells all of them, and the scale.
///
/// Owner: part of the arena; read it between calls, behind cygnet_session_run(). It stays in its place until the
/// session ends, and holds the output until the next input is written. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `stored` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_output_stored(
    session: *mut CygnetSession,
    index: u32,
    stored: *mut *const c_void,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let running = unsafe { Running::of(session)? };
        let (_, tensor) = output(running.plan(), index)?;
        let place = running.begun.arena.wrapping_add(tensor.offset as usize).cast_const().cast();
        // SAFETY: the caller's duty, as said above.
        unsafe { put(stored, place) }
    })
}
