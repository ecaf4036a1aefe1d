//! Plans: opened, asked, closed.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use cygnet_core::Plan;
use cygnet_core::plan::{MetadataKind, Port, Step, Tensor};

use crate::boundary::{Outcome, answer, apart, at, check, elements, put, span};
use crate::mapping::{self, Mapping};
use crate::seal::{self, Seal};
use crate::session::kernels;
use crate::status::CygnetStatus;
use crate::tensor::{CygnetTensor, CygnetText};

/// An open plan. Zero it before it is opened for the first time (`CygnetPlan plan = {0};`, or static); leave it in its
/// place until it is closed. What is in it is not yours.
#[repr(C)]
pub struct CygnetPlan {
    /// Not yours.
    pub reserved: [u64; 20],
}

/// What a [`CygnetPlan`] holds; any bytes are a value of it.
#[repr(C)]
pub(crate) struct PlanMemory {
    seal: Seal,
    /// Sessions that have begun and not ended.
    sessions: AtomicU32,
    opened: UnsafeCell<MaybeUninit<Opened>>,
}

struct Opened {
    /// Valid until the plan is closed: the caller keeps the bytes, or `mapping` does.
    plan: Plan<'static>,
    mapping: Option<Mapping>,
}

const _: () =
    assert!(size_of::<PlanMemory>() <= size_of::<CygnetPlan>() && align_of::<PlanMemory>() <= align_of::<CygnetPlan>());

impl PlanMemory {
    /// # Safety
    /// A pointer that is not null and aligned points to a [`CygnetPlan`] that lives as long as the reference.
    pub(crate) unsafe fn at<'a>(plan: *const CygnetPlan) -> Outcome<&'a Self> {
        check(plan)?;
        // SAFETY: the object is large enough and aligned; its fields are atomic or in a cell.
        unsafe { at(plan.cast()) }
    }

    /// The plan of an open object.
    pub(crate) fn plan(&self) -> Outcome<&Plan<'static>> {
        self.seal.check(seal::PLAN)?;
        // SAFETY: an open object holds a plan; nobody writes to it until it is closed, which the caller does not do
        // while another call reads.
        Ok(unsafe { &(*self.opened.get()).assume_init_ref().plan })
    }

    fn open(&self, get: impl FnOnce() -> Outcome<(Plan<'static>, Option<Mapping>)>) -> Outcome {
        let claim = self.seal.claim(seal::PLAN)?;
        let (plan, mapping) = get()?;
        // SAFETY: the claim gives this call alone the right to the cell.
        unsafe { (*self.opened.get()).write(Opened { plan, mapping }) };
        self.sessions.store(0, Ordering::Relaxed);
        claim.finish();
        Ok(())
    }

    fn close(&self) -> Outcome {
        let claim = self.seal.take(seal::PLAN)?;
        if self.sessions.load(Ordering::Acquire) > 0 {
            return Err(CygnetStatus::InUse);
        }
        // SAFETY: the object was open, and the claim gives this call alone the right to the cell.
        let opened = unsafe { (*self.opened.get()).assume_init_read() };
        claim.close();
        drop(opened.mapping);
        Ok(())
    }

    /// Counts a session more or fewer.
    pub(crate) fn count_session(&self, begun: bool) {
        let change = if begun { 1 } else { u32::MAX };
        #[cfg(target_has_atomic = "32")]
        self.sessions.fetch_add(change, Ordering::AcqRel);
        #[cfg(not(target_has_atomic = "32"))]
        self.sessions.store(self.sessions.load(Ordering::Acquire).wrapping_add(change), Ordering::Release);
    }

    /// Where the object and the plan's bytes lie: an arena must be apart from both.
    pub(crate) fn spans(&self) -> Outcome<[Range<usize>; 2]> {
        let bytes = self.plan()?.bytes();
        Ok([span(core::ptr::from_ref(self), 1), span(bytes.as_ptr(), bytes.len())])
    }
}

pub(crate) fn text(text: &str) -> CygnetText {
    text.into()
}

/// Input `index` of a plan.
pub(crate) fn input(plan: &Plan<'_>, index: u32) -> Outcome<(Port, Tensor)> {
    let port = plan.input(index as usize).ok_or(CygnetStatus::NotFound)?;
    Ok((port, plan.tensor(port.tensor).ok_or(CygnetStatus::NotFound)?))
}

/// Output `index` of a plan.
pub(crate) fn output(plan: &Plan<'_>, index: u32) -> Outcome<(Port, Tensor)> {
    let port = plan.output(index as usize).ok_or(CygnetStatus::NotFound)?;
    Ok((port, plan.tensor(port.tensor).ok_or(CygnetStatus::NotFound)?))
}

/// Opens a plan that lies in memory: verified once, then read in place; nothing is copied. Bytes behind its end are
/// left alone. The bytes may lie at any address; float32 steps are faster at a multiple of 16.
///
/// Owner: `bytes` stay yours; they must not change, move or vanish before cygnet_plan_close(). Takes no other memory.
/// Threads: one at a time for this object; when it is done, any may use the open plan.
/// Pointers: `plan` is null or points to a CygnetPlan, `bytes` is null or points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_open(plan: *mut CygnetPlan, bytes: *const u8, length: usize) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let (memory, bytes) = unsafe { (PlanMemory::at(plan)?, elements(bytes, length)?) };
        apart(&span(plan, 1), &span(bytes.as_ptr(), length))?;
        memory.open(|| Ok((Plan::parse_with(bytes, kernels())?, None)))
    })
}

/// Opens a plan in a file, which is mapped into memory, not read. CYGNET_STATUS_NO_FILES in builds for bare metal.
///
/// Owner: `path` (ended by a zero) is yours and not kept; the mapping is the library's until cygnet_plan_close().
/// Nobody may write to the file until then: replace a plan by renaming another over it.
/// Threads: one at a time for this object; when it is done, any may use the open plan.
/// Pointers: `plan` is null or points to a CygnetPlan, `path` is null or points to bytes of which one is zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_load(plan: *mut CygnetPlan, path: *const c_char) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let memory = unsafe { PlanMemory::at(plan)? };
        memory.open(|| {
            // SAFETY: the caller's duty, as said above.
            let mapping = unsafe { mapping::map(path)? };
            let bytes = mapping::bytes(&mapping);
            // SAFETY: a mapping stays where it is when its owner moves, and the owner lives until the plan is closed.
            let bytes = unsafe { core::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
            Ok((Plan::parse_with(bytes, kernels())?, Some(mapping)))
        })
    })
}

/// Closes a plan; its memory can be opened again. CYGNET_STATUS_IN_USE as long as a session of it has not ended.
///
/// Owner: the bytes of the plan are yours alone again; texts that point into them stay as long as they do, but a file's
/// are gone. Threads: one, and no other may use the plan meanwhile.
/// Pointers: `plan` is null or points to a CygnetPlan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_close(plan: *mut CygnetPlan) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        unsafe { PlanMemory::at(plan)? }.close()
    })
}

/// What there is to know about a plan before memory is given to it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetPlanFacts {
    /// The name of the model; empty when the plan has none.
    pub name: CygnetText,
    /// Bytes of the plan.
    pub plan_bytes: usize,
    /// Bytes of weights and tables in it.
    pub constant_bytes: usize,
    /// Bytes of arena that a session needs.
    pub arena_bytes: usize,
    /// Bytes of the largest set of tensors that live at the same time: no arena could be smaller.
    pub live_bytes: usize,
    /// Number of inputs.
    pub inputs: u32,
    /// Number of outputs.
    pub outputs: u32,
    /// Number of steps.
    pub steps: u32,
    /// Number of labels of output 0; 0 when the plan has none.
    pub labels: u32,
    /// A step needs the ONNX fallback: no session of this library runs the plan.
    pub needs_fallback: bool,
}

/// Tells the sizes of a plan.
///
/// Owner: `facts` is yours; its name points into the plan. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `facts` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_facts(plan: *const CygnetPlan, facts: *mut CygnetPlanFacts) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        let header = plan.header();
        let name = plan.metadata_of(MetadataKind::Name, 0).and_then(|name| core::str::from_utf8(name).ok());
        let found = CygnetPlanFacts {
            name: text(name.unwrap_or_default()),
            plan_bytes: plan.bytes().len(),
            constant_bytes: header.constant_bytes as usize,
            arena_bytes: plan.arena_bytes(),
            live_bytes: header.live_bytes as usize,
            inputs: plan.input_count() as u32,
            outputs: plan.output_count() as u32,
            steps: header.steps,
            labels: plan.labels().count() as u32,
            needs_fallback: needs_fallback(plan),
        };
        // SAFETY: the caller's duty, as said above.
        unsafe { put(facts, found) }
    })
}

pub(crate) fn needs_fallback(plan: &Plan<'_>) -> bool {
    plan.steps().any(|record| matches!(record.step, Step::HostStep(_)))
}

/// Tells about input `index`, counted from 0 as in the ONNX model.
///
/// Owner: `tensor` is yours; its name points into the plan. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `tensor` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_input(
    plan: *const CygnetPlan,
    index: u32,
    tensor: *mut CygnetTensor,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        let (port, stored) = input(plan, index)?;
        // SAFETY: the caller's duty, as said above.
        unsafe { put(tensor, CygnetTensor::new(plan.text(port.name), &port, &stored)) }
    })
}

/// Tells about output `index`, counted from 0 as in the ONNX model.
///
/// Owner: `tensor` is yours; its name points into the plan. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `tensor` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_output(
    plan: *const CygnetPlan,
    index: u32,
    tensor: *mut CygnetTensor,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        let (port, stored) = output(plan, index)?;
        // SAFETY: the caller's duty, as said above.
        unsafe { put(tensor, CygnetTensor::new(plan.text(port.name), &port, &stored)) }
    })
}

/// Finds the input of a name; CYGNET_STATUS_NOT_FOUND when there is none.
///
/// Owner: `name` (ended by a zero) and `index` are yours. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `name` is null or points to bytes of which one is zero, `index`
/// is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_find_input(
    plan: *const CygnetPlan,
    name: *const c_char,
    index: *mut u32,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        // SAFETY: the caller's duty, as said above.
        unsafe { find(plan, plan.inputs(), name, index) }
    })
}

/// Finds the output of a name; CYGNET_STATUS_NOT_FOUND when there is none.
///
/// Owner: `name` (ended by a zero) and `index` are yours. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `name` is null or points to bytes of which one is zero, `index`
/// is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_find_output(
    plan: *const CygnetPlan,
    name: *const c_char,
    index: *mut u32,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        // SAFETY: the caller's duty, as said above.
        unsafe { find(plan, plan.outputs(), name, index) }
    })
}

/// # Safety
/// `name` is null or points to bytes of which one is zero, `index` is null or points to room.
unsafe fn find(plan: &Plan<'_>, ports: impl Iterator<Item = Port>, name: *const c_char, index: *mut u32) -> Outcome {
    check(name)?;
    // SAFETY: the caller's duty.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let mut ports = ports;
    let place = ports.position(|port| plan.constant(port.name) == name).ok_or(CygnetStatus::NotFound)?;
    // SAFETY: the caller's duty.
    unsafe { put(index, place as u32) }
}

/// Tells label `index` of output 0.
///
/// Owner: `label` is yours; its text points into the plan. Threads: any number at a time.
/// Pointers: `plan` is null or points to a CygnetPlan, `label` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_plan_label(
    plan: *const CygnetPlan,
    index: u32,
    label: *mut CygnetText,
) -> CygnetStatus {
    answer(|| {
        // SAFETY: the caller's duty, as said above.
        let plan = unsafe { PlanMemory::at(plan)? }.plan()?;
        let found = plan.labels().nth(index as usize).ok_or(CygnetStatus::NotFound)?;
        // SAFETY: the caller's duty, as said above.
        unsafe { put(label, text(found)) }
    })
}
