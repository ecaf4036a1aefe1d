//! What the firmware of all boards shares: the embedded plan, its memory, and how results are shown.
#![no_std]

pub mod board;
pub mod channel;
pub mod console;
#[cfg(not(any(on_desk, sampled)))]
pub mod counter;
#[cfg(any(on_desk, sampled))]
#[path = "cycles.rs"]
pub mod counter;
pub mod embedded;
#[cfg(feature = "log")]
pub mod logger;
#[cfg(sampled)]
pub mod sampling;
pub mod stack;

use core::panic::PanicInfo;

/// The board, for those who look at the file.
#[used]
#[unsafe(link_section = ".board")]
static BOARD: [u8; env!("BOARD").len()] = *env!("BOARD").as_bytes().first_chunk().unwrap();

/// The engine has no path that leads here; firmware built on it may have.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    console::line(&[console::Word::Text("the firmware panicked")]);
    console::end(false)
}
