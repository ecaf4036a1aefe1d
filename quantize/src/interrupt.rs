//! A wish to stop, from Ctrl-C: work that goes sample by sample or layer by layer asks for it in between.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::QuantizeError;

static WANTED: AtomicBool = AtomicBool::new(false);

/// Asks all work of this process to stop at its next step.
pub fn request() {
    WANTED.store(true, Ordering::Relaxed);
}

/// Whether the work may go on.
///
/// # Errors
/// [`QuantizeError::Interrupted`] once [`request`] was called.
pub fn check() -> Result<(), QuantizeError> {
    if WANTED.load(Ordering::Relaxed) { Err(QuantizeError::Interrupted) } else { Ok(()) }
}
