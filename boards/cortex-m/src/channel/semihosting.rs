//! Semihosting. Without a debugger or an emulator the core stops at the first byte: for QEMU only.

use cortex_m_semihosting::debug;
use cortex_m_semihosting::hio::{self, HostStream};

/// The emulator's standard output.
pub struct Channel(Option<HostStream>);

impl Channel {
    /// Opens it.
    #[must_use]
    pub fn open() -> Self {
        Self(hio::hstdout().ok())
    }

    /// Writes some bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.0 {
            let _ = out.write_all(bytes);
        }
    }
}

/// Ends the program: the emulator's exit status says whether it went well.
pub fn end(well: bool) -> ! {
    debug::exit(if well { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}
