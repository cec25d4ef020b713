//! What happens when the reader of our output goes away (`contesta calls list | head`).

/// Lets the command end quietly, as every Unix tool does, in place of a panic at its next line. Not for the engine: a closed
/// pipe must not end calls.
pub fn end_with_the_reader() {
    // SAFETY: sets the default action of one signal before any thread was started.
    #[expect(unsafe_code, reason = "signal dispositions are not in std")]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
