//! Messages of the engine and of programs (`log`) as lines of text. They need the feature `log`, and that `quiet`, which is
//! on by default, is off: their texts and the code of `core::fmt` take flash.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::channel::Channel;

struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // The channel takes whatever it is given.
            let _ = writeln!(Text(Channel::open()), "{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

struct Text(Channel);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// Shows messages up to `level` from now on. To be called once, at the beginning of a program.
pub fn start(level: LevelFilter) {
    #[cfg(target_has_atomic = "ptr")]
    {
        // It fails where there is a logger already, which then stays.
        let _ = log::set_logger(&Lines);
        log::set_max_level(level);
    }
    #[cfg(not(target_has_atomic = "ptr"))]
    cortex_m::interrupt::free(|_| {
        // SAFETY: there is one core, and no interrupt comes in between.
        unsafe {
            let _ = log::set_logger_racy(&Lines);
            log::set_max_level_racy(level);
        }
    });
}
