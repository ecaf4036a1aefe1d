//! Cygnet for C. The manual is `cygnet.h`, which cbindgen writes from this crate: what stands at a function here is
//! what a C programmer reads there.
//!
//! Every function checks what it is given and answers with a [`CygnetStatus`]; nothing allocates, nothing unwinds into
//! C. The objects are laid out in [`seal`]: a word in each tells whether it is open, ended, moved, or just busy.
#![no_std]
#![allow(clippy::missing_safety_doc, reason = "it stands in the header, as «Pointers:»")]

#[cfg(all(feature = "std", target_os = "none"))]
compile_error!("bare metal has no standard library: --no-default-features");

// Elsewhere the standard library brings the panic handler; only feature `std` uses more of it.
#[cfg(not(target_os = "none"))]
extern crate std;

mod boundary;
mod mapping;
mod place;
mod seal;

// In the order of the header.
mod status;

mod tensor;

mod plan;

mod session;

mod picture;

mod sound;

mod answers;

use core::ffi::{CStr, c_char};

pub use status::CygnetStatus;

/// The version of this interface: it changes whenever a program that was compiled with an older header would go wrong.
/// Compare it with cygnet_abi_version() once at the start.
pub const CYGNET_ABI_VERSION: u32 = 1;
/// Arenas start at a multiple of this many bytes.
pub const CYGNET_ALIGNMENT: usize = 16;
/// The greatest number of dimensions of a tensor.
pub const CYGNET_MAX_RANK: usize = 6;
/// The most values in a row of sound features.
pub const CYGNET_MAX_BANDS: usize = 128;
/// The most answers that cygnet_top() finds.
pub const CYGNET_MAX_ANSWERS: usize = 16;

const _: () = assert!(
    CYGNET_ALIGNMENT == cygnet_core::plan::ALIGNMENT
        && CYGNET_MAX_RANK == cygnet_core::plan::MAX_RANK
        && CYGNET_MAX_BANDS == cygnet_sense::MAX_BANDS
);

/// The version of the interface that the library has; equal to CYGNET_ABI_VERSION, or the header is not the library's.
///
/// Threads: any, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn cygnet_abi_version() -> u32 {
    CYGNET_ABI_VERSION
}

/// The version of the library, such as "0.1.0".
///
/// Owner: the library, for ever. Threads: any, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn cygnet_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// One English sentence about a status: what is wrong and the mend. Any number may be asked for.
///
/// Owner: the library, for ever. Threads: any, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn cygnet_status_text(status: i32) -> *const c_char {
    status::text(status).as_ptr()
}

/// There is nobody to tell on bare metal; the engine has no input on which it panics.
#[cfg(target_os = "none")]
#[panic_handler]
fn halt(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
