//! Asking the system to run a thread soon after it wakes.

#![expect(unsafe_code, reason = "sched_setattr is not in std")]

use std::time::Duration;

/// The turn that a media thread asks for: what it does in a millisecond with a thousand legs.
pub const MEDIA_TURN: Duration = Duration::from_micros(200);

/// Asks that this thread's turns are as short as this: since Linux 6.12 a thread with short turns is run before one with long turns
/// that is in the midst of its own (EEVDF), and nobody loses his share by it. A thread that wakes each millisecond would
/// otherwise wait up to three for one that sets up calls on the same core. Needs no privilege; older systems take no notice.
pub fn ask_for_short_turns(turn: Duration) {
    // SAFETY: sched_attr is plain C data for which zeros are valid.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<libc::sched_attr>() as u32;
    // Whoever starts the engine may have given it another policy.
    attributes.sched_flags = libc::SCHED_FLAG_KEEP_POLICY as u64;
    // SAFETY: no pointers; 0 is the calling thread. It keeps the niceness it has.
    attributes.sched_nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    attributes.sched_runtime = u64::try_from(turn.as_nanos()).unwrap_or(0);
    // SAFETY: the attributes are as large as they say and outlive the call; 0 is the calling thread. Refused, it waits like any other.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
