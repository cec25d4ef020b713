//! One index over all deadlines of a user agent, so that ten thousand idle dialogs cost nothing.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::ids::LegId;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A server transaction, by its number.
    Server(u64),
    /// A client transaction.
    Client(ClientId),
    /// A leg: repetition of a 2xx, or the wait behind a CANCEL.
    Leg(LegId),
    /// The subscription that a REFER left behind when its leg was over.
    Orphan(LegId),
    /// The registrar: the next registration that ends.
    Registrar,
}

/// Names a client transaction: the random part of its branch, and whether it is the CANCEL that shares the branch of its
/// INVITE (RFC 3261 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId {
    /// Random part of the branch.
    pub branch: u64,
    /// Whether this is a CANCEL.
    pub cancel: bool,
}

/// At most one deadline an owner; the owner remembers which.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeSet<(Instant, Owner)>,
}

impl Timers {
    /// Moves the owner's deadline from `armed` to `at`, and remembers it there.
    pub fn arm(&mut self, owner: Owner, armed: &mut Option<Instant>, at: Option<Instant>) {
        if *armed == at {
            return;
        }
        if let Some(old) = *armed {
            self.queue.remove(&(old, owner));
        }
        if let Some(new) = at {
            self.queue.insert((new, owner));
        }
        *armed = at;
    }

    /// The earliest deadline.
    #[must_use]
    pub fn first(&self) -> Option<(Instant, Owner)> {
        self.queue.first().copied()
    }

    /// Deadlines that are not after `now`, in order, with their owners.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<(Instant, Owner)> {
        self.queue.iter().take_while(|(at, _)| *at <= now).copied().collect()
    }

    /// Takes out a deadline whose owner is gone.
    pub fn forget(&mut self, at: Instant, owner: Owner) {
        self.queue.remove(&(at, owner));
    }

    /// Deadlines in the index.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody waits for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moved_deadline_leaves_nothing_behind() {
        let start = Instant::now();
        let later = |seconds| Some(start + Duration::from_secs(seconds));
        let mut timers = Timers::default();
        let (mut first, mut second) = (None, None);
        timers.arm(Owner::Server(1), &mut first, later(1));
        timers.arm(Owner::Leg(LegId(7)), &mut second, later(2));
        timers.arm(Owner::Server(1), &mut first, later(3));
        assert_eq!(
            timers.due(start + Duration::from_secs(2)),
            [(start + Duration::from_secs(2), Owner::Leg(LegId(7)))]
        );
        assert_eq!(timers.first(), second.map(|at| (at, Owner::Leg(LegId(7)))));
        timers.arm(Owner::Leg(LegId(7)), &mut second, None);
        timers.arm(Owner::Server(1), &mut first, None);
        assert!(timers.is_empty());
        assert_eq!((first, second), (None, None));
    }
}
