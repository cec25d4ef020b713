//! What is remembered of one address.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use super::Offence;
use super::rate::Bucket;
use crate::config;
use crate::sip::Peer;

/// An address as it is counted: an IPv4 address, or the network of an IPv6 address, as a household has 2⁶⁴ of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    V4(u32),
    V6(u64),
}

impl Place {
    /// Where a peer is.
    pub fn of(peer: &Peer) -> Self {
        match peer.address.ip().to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(u64::try_from(address.to_bits() >> 64).unwrap_or(0)),
        }
    }
}

/// One address.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// When it was heard of last.
    pub seen: Instant,
    /// For its requests that get 403.
    pub strangers: Bucket,
    /// For its REGISTERs.
    pub registers: Bucket,
    /// When its requests were told of last.
    pub told: Option<Instant>,
    /// What counts against it. In a flood most addresses have sent one request, and there are thousands of them.
    record: Option<Box<Record>>,
}

/// What counts against an address.
#[derive(Clone, Debug)]
struct Record {
    /// Users whose password was wrong, at most [`USERS_MAX`].
    users: Vec<User>,
    numbers: Tries,
    blocked_until: Option<Instant>,
}

/// One user's wrong passwords from one address.
#[derive(Clone, Debug)]
struct User {
    name: u64,
    tries: Tries,
    blocked_until: Option<Instant>,
}

/// Offences within a window of time.
#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    since: Instant,
}

/// What came of an offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Struck {
    /// It counts.
    Counted,
    /// This user is not listened to from there for a time.
    UserBlocked,
    /// Nobody is, for a time; why, in words.
    SourceBlocked(&'static str),
}

/// Users that are told apart at one address: more of them that fail are an enumeration in any case.
pub(crate) const USERS_MAX: usize = 16;

impl Source {
    /// Nothing is known of it.
    pub fn new(now: Instant) -> Self {
        Self { seen: now, strangers: Bucket::default(), registers: Bucket::default(), told: None, record: None }
    }

    /// Whether nobody is listened to from there.
    pub fn is_blocked(&self, now: Instant) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_blocked(now))
    }

    /// Whether this user is not listened to from there.
    pub fn is_user_blocked(&self, now: Instant, user: &str) -> bool {
        let name = name_of(user);
        let found = self.record.as_ref().and_then(|record| record.users.iter().find(|user| user.name == name));
        found.is_some_and(|user| user.blocked_until.is_some_and(|until| now < until))
    }

    /// Counts an offence.
    pub fn strike(&mut self, now: Instant, offence: Offence<'_>, settings: &config::Guard) -> Struck {
        let clean = || Record { users: Vec::new(), numbers: Tries { count: 0, since: now }, blocked_until: None };
        self.record.get_or_insert_with(|| Box::new(clean())).strike(now, offence, settings)
    }

    /// What was tried under this user's name counts no more.
    pub fn forgive(&mut self, user: &str) {
        let name = name_of(user);
        if let Some(record) = &mut self.record {
            record.users.retain(|user| user.name != name);
        }
    }
}

impl Record {
    fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    fn strike(&mut self, now: Instant, offence: Offence<'_>, settings: &config::Guard) -> Struck {
        // What was let in before the block came is answered after it.
        if self.is_blocked(now) {
            return Struck::Counted;
        }
        let block = |record: &mut Self, why| {
            record.blocked_until = Some(now + settings.block);
            // When the block ends, they begin anew.
            record.users.clear();
            record.numbers = Tries { count: 0, since: now };
            Struck::SourceBlocked(why)
        };
        let user = match offence {
            Offence::UnknownNumber => {
                return match self.numbers.add(now, settings) {
                    count if count >= settings.unknown_numbers => block(self, "too many numbers that nobody has"),
                    _ => Struck::Counted,
                };
            }
            Offence::WrongPassword { user } => name_of(user),
        };
        self.users.retain(|user| {
            let blocked = user.blocked_until.is_some_and(|until| now < until);
            blocked || now.saturating_duration_since(user.tries.since) <= settings.window
        });
        let index = self.users.iter().position(|known| known.name == user).unwrap_or_else(|| {
            self.users.push(User { name: user, tries: Tries { count: 0, since: now }, blocked_until: None });
            self.users.len() - 1
        });
        if self.users.len() >= settings.users.min(USERS_MAX) {
            return block(self, "wrong passwords of too many users");
        }
        let Some(user) = self.users.get_mut(index) else { return Struck::Counted };
        if user.tries.add(now, settings) < settings.wrong_passwords
            || user.blocked_until.is_some_and(|until| now < until)
        {
            return Struck::Counted;
        }
        user.blocked_until = Some(now + settings.block);
        user.tries = Tries { count: 0, since: now };
        Struck::UserBlocked
    }
}

impl Tries {
    /// One more within the window, or the first of a new one.
    fn add(&mut self, now: Instant, settings: &config::Guard) -> u32 {
        if now.saturating_duration_since(self.since) > settings.window {
            *self = Self { count: 0, since: now };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

/// A user's name in few bytes: two that share them are blocked together at this one address.
fn name_of(user: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish()
}
