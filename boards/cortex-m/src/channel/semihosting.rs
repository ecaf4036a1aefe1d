//! Semihosting. Without a debugger or an emulator the core stops at the first byte: for QEMU only.

use core::cell::Cell;

use cortex_m::interrupt::{self, Mutex};
use cortex_m_semihosting::debug;
use cortex_m_semihosting::hio::{self, HostStream};

static OUT: Mutex<Cell<Option<HostStream>>> = Mutex::new(Cell::new(None));

/// Writes some bytes.
pub fn write(bytes: &[u8]) {
    interrupt::free(|cs| {
        let slot = OUT.borrow(cs);
        let out = slot.get().or_else(|| hio::hstdout().ok());
        slot.set(out);
        if let Some(mut out) = out {
            let _ = out.write_all(bytes);
        }
    });
}

/// Ends the program: the emulator's exit status says whether it went well.
pub fn end(well: bool) -> ! {
    debug::exit(if well { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}
