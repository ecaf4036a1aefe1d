//! Outputs to answers.

use crate::CYGNET_MAX_ANSWERS;
use crate::boundary::{answer, apart, check, elements, elements_mut, put, span};
use crate::session::{CygnetSession, Running};
use crate::status::CygnetStatus;

/// One of the best scores.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CygnetAnswer {
    /// Which score it is; cygnet_plan_label() tells its name.
    pub index: u32,
    /// The score.
    pub score: f32,
}

/// Finds the best of `count` scores, the best first; equal ones in the order of their indices, NaN last. `found` tells
/// how many: the least of `count`, `capacity` and CYGNET_MAX_ANSWERS.
///
/// Owner: scores, answers and `found` are yours. Threads: any number at a time.
/// Pointers: `scores` is null or points to `count` numbers, `answers` is null or points to room for `capacity`,
/// `found` is null or points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_top(
    scores: *const f32,
    count: usize,
    answers: *mut CygnetAnswer,
    capacity: usize,
    found: *mut usize,
) -> CygnetStatus {
    answer(|| {
        check(found)?;
        apart(&span(scores, count), &span(answers, capacity))?;
        // SAFETY: the caller's duty, as said above.
        let (scores, answers) = unsafe { (elements(scores, count)?, elements_mut(answers, capacity)?) };
        let best = cygnet_sense::top_k::<CYGNET_MAX_ANSWERS>(scores);
        for (to, &(index, score)) in answers.iter_mut().zip(&best) {
            *to = CygnetAnswer { index: index as u32, score };
        }
        // SAFETY: the caller's duty, as said above.
        unsafe { put(found, best.len().min(capacity)) }
    })
}

/// Reads output `index` as probabilities: as it is where the model ends in a softmax or the numbers are probabilities
/// already, else through a softmax.
///
/// Owner: `values` are yours. Threads: one at a time for this session.
/// Pointers: `session` is null or points to a CygnetSession, `values` is null or points to room for `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cygnet_session_read_probabilities(
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
        running.engine()?.read_f32(index as usize, values)?;
        if !running.plan().ends_in_softmax(index as usize) && !cygnet_sense::answers::are_probabilities(values) {
            cygnet_sense::softmax_in_place(values);
        }
        Ok(())
    })
}
