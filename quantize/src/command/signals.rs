//! Ctrl-C, and files larger than allowed.

/// From now on Ctrl-C (SIGINT) and SIGTERM stop the work between two samples, so that nothing is left half done; the
/// second one ends the program at once. A file beyond the limit of its size (SIGXFSZ) is an error of writing, no
/// sudden end.
#[cfg(unix)]
pub fn watch() -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};

    signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default())?;
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                // It comes back only where the signal cannot be raised.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                std::process::exit(128 + signal);
            }
            quantize::interrupt::request();
            eprintln!("quantize: stopping; once more to end at once");
        }
    })?;
    Ok(())
}

/// Elsewhere Ctrl-C ends the program at once.
#[cfg(not(unix))]
pub fn watch() -> std::io::Result<()> {
    Ok(())
}
