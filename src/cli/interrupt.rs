//! Ctrl-C for commands that place calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;

/// Counts Ctrl-C (and SIGTERM) from a thread of its own, so that a command can end in order.
///
/// # Errors
/// When the system gives no way to wait for signals.
pub fn counted() -> anyhow::Result<Arc<AtomicUsize>> {
    let stop = Arc::new(AtomicUsize::new(0));
    let counted = stop.clone();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot wait for signals")?;
    #[expect(clippy::disallowed_methods, reason = "the thread waits for signals, and ends with the program")]
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    Ok(stop)
}
