//! A bounded mailbox that wakes a thread sleeping in `poll`.
//!
//! Media workers, tasks and signals put their messages here; the signalling thread sleeps on the mailbox's descriptor and its
//! SIP socket at once. A wake-up costs one system call, and only for the first message that finds the thread asleep.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// The reading end; one thread owns it.
pub struct Inbox<T> {
    messages: Receiver<T>,
    bell: Arc<Bell>,
}

/// A writing end; any thread may have one.
pub struct Sender<T> {
    messages: SyncSender<T>,
    bell: Arc<Bell>,
}

struct Bell {
    descriptor: OwnedFd,
    /// Rung since the reader last looked: ringing again would only cost a system call.
    rung: AtomicBool,
    dropped: AtomicU64,
}

/// A mailbox for at most `capacity` messages.
///
/// # Errors
/// When the system has no descriptor left.
pub fn inbox<T>(capacity: usize) -> io::Result<(Sender<T>, Inbox<T>)> {
    // SAFETY: eventfd takes no pointers; a negative result is turned into an error before it is owned.
    #[expect(unsafe_code, reason = "eventfd is not in std")]
    let descriptor = unsafe {
        let raw = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(raw)
    };
    let bell = Arc::new(Bell { descriptor, rung: AtomicBool::new(false), dropped: AtomicU64::new(0) });
    let (sender, messages) = sync_channel(capacity);
    Ok((Sender { messages: sender, bell: bell.clone() }, Inbox { messages, bell }))
}

impl<T> Inbox<T> {
    /// What to poll for reading.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.bell.descriptor.as_raw_fd()
    }

    /// Stops the bell; a message that comes later rings again. A bell that was not rung is silent: asking costs a system call.
    fn hush(&self) {
        if !self.bell.rung.load(Ordering::SeqCst) {
            return;
        }
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is 8 bytes, as eventfd wants, and outlives the call.
        #[expect(unsafe_code, reason = "eventfd is not in std")]
        let read = unsafe { libc::read(self.descriptor(), count.as_mut_ptr().cast(), count.len()) };
        // Who rings says so first and then does it: until that has come, the bell is not silent.
        if read > 0 {
            self.bell.rung.store(false, Ordering::SeqCst);
        }
    }

    /// Up to `most` messages, in order. When that many were there, more may be: the bell is rung again, so that the next
    /// `poll` does not sleep on them.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<T> {
        self.hush();
        let taken: Vec<T> = std::iter::from_fn(|| self.messages.try_recv().ok()).take(most).collect();
        if taken.len() == most {
            self.bell.ring();
        }
        taken
    }

    /// Messages that found the mailbox full since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.bell.dropped.load(Ordering::Relaxed)
    }
}

impl<T> Sender<T> {
    /// Puts a message into the mailbox without waiting. `false` when it is full (counted) or its owner is gone.
    pub fn send(&self, message: T) -> bool {
        match self.messages.try_send(message) {
            Ok(()) => {
                self.bell.ring();
                true
            }
            Err(TrySendError::Full(_)) => {
                self.bell.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { messages: self.messages.clone(), bell: self.bell.clone() }
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the buffer is 8 bytes, as eventfd wants, and outlives the call.
            #[expect(unsafe_code, reason = "eventfd is not in std")]
            unsafe {
                libc::write(self.descriptor.as_raw_fd(), one.as_ptr().cast(), one.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_counts_what_it_drops() {
        let (sender, inbox) = inbox(2).unwrap();
        assert_eq!([1, 2, 3].map(|message| sender.send(message)), [true, true, false]);
        assert_eq!(inbox.dropped(), 1);
        assert_eq!(inbox.take(64), [1, 2]);
    }

    #[test]
    fn rings_again_after_it_was_hushed() {
        let (sender, inbox) = inbox(8).unwrap();
        let readable = || is_readable(&inbox);
        assert!(!readable());
        assert!(sender.send('a') && sender.send('b'));
        assert!(readable());
        assert_eq!(inbox.take(64), ['a', 'b']);
        assert!(!readable());
        assert!(sender.send('c'));
        assert!(readable());
    }

    /// A sender that is stopped between saying that it rings and ringing: its ring is heard when it comes, and not for ever.
    #[test]
    fn a_ring_that_comes_late_is_hushed_too() {
        let (sender, inbox) = inbox(8).unwrap();
        sender.bell.rung.store(true, Ordering::SeqCst);
        assert!(sender.messages.try_send('a').is_ok());
        assert_eq!(inbox.take(64), ['a']);
        sender.bell.rung.store(false, Ordering::SeqCst);
        sender.bell.ring();
        assert!(is_readable(&inbox));
        assert!(inbox.take(64).is_empty());
        assert!(!is_readable(&inbox));
    }

    #[test]
    fn what_a_full_batch_leaves_behind_rings_again() {
        let (sender, inbox) = inbox(100).unwrap();
        (0..65).for_each(|message| assert!(sender.send(message)));
        assert_eq!(inbox.take(64).len(), 64);
        assert!(is_readable(&inbox));
        assert_eq!(inbox.take(64), [64]);
        assert!(!is_readable(&inbox));
    }

    fn is_readable<T>(inbox: &Inbox<T>) -> bool {
        let mut poll = libc::pollfd { fd: inbox.descriptor(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, as announced, and no waiting.
        #[expect(unsafe_code, reason = "poll is not in std")]
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        ready == 1
    }
}
