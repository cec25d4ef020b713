//! Who is let in at the door: trunks always, phones that are registered, and strangers as far as their behaviour and the rates allow.
//!
//! ```text
//!  source                     requests outside calls            REGISTER
//!  ───────────────────────    ──────────────────────────────    ─────────────────────────────────────────────
//!  a trunk's address          pass                              pass
//!  a registered phone's way   pass                              pass for its own user, else as from a stranger
//!  open to everybody          pass, unless blocked              pass at a rate, unless blocked
//!  a stranger                 403 at a rate, then silence       pass at a rate, unless blocked
//! ```
//!
//! What belongs to a dialog or transaction that we have always passes: a block ends nobody's call. A challenge is no offence. Wrong
//! passwords of one user block that user from that address; those of several users, or too many numbers that nobody has, block
//! the address, but not the phones that are registered behind it. Every table is bounded: what is forgotten first is whoever was
//! silent longest. Each block is one line in the log, however much it holds off.

pub(super) mod rate;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config;
use crate::sip::{Method, Peer};

use rate::{Bucket, Rate};
use source::{Place, Source, Struck};

/// Addresses that are remembered: those that were silent longest are forgotten first.
pub const SOURCES_MAX: usize = 65_536;

/// What an address is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Listed as a trunk's.
    Trunk,
    /// No trunk is listed, or one that is everybody: whoever comes may call.
    Open,
    /// Nobody's.
    Stranger,
}

/// What a message is, as far as the door is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// It belongs to a transaction or a dialog that we have.
    Known,
    /// REGISTER.
    Register {
        /// Whom its credentials name, if it has any.
        user: Option<&'a str>,
        /// Whether it came by the way that this user's phone is registered by.
        own: bool,
    },
    /// Another request, outside dialogs.
    Request(Method),
    /// Nothing that SIP answers.
    Noise,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is handled.
    Pass,
    /// 403, without a transaction.
    Refuse,
    /// Nothing at all.
    Drop,
}

/// What counts against an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence<'a> {
    /// A wrong password, or a user that does not exist: nobody is told which.
    WrongPassword {
        /// The user.
        user: &'a str,
    },
    /// A number that no flow answers.
    UnknownNumber,
}

/// What the guard has done so far, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests of strangers answered with 403.
    pub refused: u64,
    /// Dropped: more than one address may send.
    pub dropped_rate: u64,
    /// Dropped: more than all strangers together may send.
    pub dropped_flood: u64,
    /// Dropped: the address, or this user from it, is blocked.
    pub dropped_blocked: u64,
    /// Dropped: longer than strangers' messages may be, or nothing that is answered.
    pub dropped_unread: u64,
    /// Wrong passwords, of users that exist and of others.
    pub wrong_passwords: u64,
    /// Calls to numbers that no flow answers.
    pub unknown_numbers: u64,
    /// Users that were blocked from one address.
    pub blocked_users: u64,
    /// Addresses that were blocked.
    pub blocked_sources: u64,
}

/// The guard.
#[derive(Debug)]
pub struct Guard {
    settings: config::Guard,
    silent: bool,
    strangers: Bucket,
    registers: Bucket,
    sources: BTreeMap<Place, Source>,
    /// Every source by the moment it was heard of last.
    seen: BTreeSet<(Instant, Place)>,
    /// Calls under way of each address that is no trunk's.
    calls: BTreeMap<Place, u32>,
    flood_told: Option<Instant>,
    counters: Counters,
}

impl Guard {
    /// `strangers` says what they get: 403 at a rate, or nothing.
    #[must_use]
    pub fn new(settings: config::Guard, strangers: config::Strangers) -> Self {
        Self {
            settings,
            silent: strangers == config::Strangers::Ignore,
            strangers: Bucket::default(),
            registers: Bucket::default(),
            sources: BTreeMap::new(),
            seen: BTreeSet::new(),
            calls: BTreeMap::new(),
            flood_told: None,
            counters: Counters::default(),
        }
    }

    /// Whether this source's messages have to be looked at: those of trunks never, and of everybody else none while nobody
    /// has misbehaved where everybody is welcome. `bytes` is how long the message is.
    #[must_use]
    pub fn must_look(&self, peer: &Peer, standing: Standing, bytes: usize) -> bool {
        match standing {
            Standing::Trunk => false,
            Standing::Open => bytes > self.settings.message_bytes || self.sources.contains_key(&Place::of(peer)),
            Standing::Stranger => true,
        }
    }

    /// Whether a message is longer than one that is no trunk's may be.
    pub fn is_too_long(&mut self, standing: Standing, bytes: usize) -> bool {
        let too_long = standing != Standing::Trunk && bytes > self.settings.message_bytes;
        self.counters.dropped_unread += u64::from(too_long);
        too_long
    }

    /// Decides on one message. `is_phone` says that it came by the way of a registered phone.
    pub fn admit(&mut self, now: Instant, peer: &Peer, standing: Standing, is_phone: bool, kind: Kind<'_>) -> Verdict {
        let place = Place::of(peer);
        match (standing, kind) {
            (Standing::Trunk, _) | (_, Kind::Known | Kind::Register { own: true, .. }) => Verdict::Pass,
            // An empty line or a STUN request: what keeps its way through a NAT open.
            (_, Kind::Noise) if is_phone => Verdict::Pass,
            (_, Kind::Noise | Kind::Request(Method::Ack)) => {
                self.counters.dropped_unread += 1;
                Verdict::Drop
            }
            (_, Kind::Request(_)) if is_phone => Verdict::Pass,
            (_, kind) if self.is_blocked(now, place, kind) => {
                self.counters.dropped_blocked += 1;
                Verdict::Drop
            }
            (_, Kind::Register { .. }) => self.at_a_rate(now, peer, Door::Register),
            (Standing::Open, Kind::Request(_)) => Verdict::Pass,
            (Standing::Stranger, Kind::Request(_)) if self.silent => {
                self.tell_once(now, peer);
                Verdict::Drop
            }
            (Standing::Stranger, Kind::Request(_)) => match self.at_a_rate(now, peer, Door::Strangers) {
                Verdict::Pass => {
                    self.counters.refused += 1;
                    self.tell_once(now, peer);
                    Verdict::Refuse
                }
                other @ (Verdict::Refuse | Verdict::Drop) => other,
            },
        }
    }

    fn is_blocked(&self, now: Instant, place: Place, kind: Kind<'_>) -> bool {
        let Some(source) = self.sources.get(&place) else { return false };
        let user = match kind {
            Kind::Register { user, .. } => user,
            Kind::Known | Kind::Request(_) | Kind::Noise => None,
        };
        source.is_blocked(now) || user.is_some_and(|user| source.is_user_blocked(now, user))
    }

    /// Lets through what one address, and all of them together, may send. Only what passes both makes an entry: a flood from
    /// many addresses fills the table no faster than its own rate.
    fn at_a_rate(&mut self, now: Instant, peer: &Peer, door: Door) -> Verdict {
        let (one, all) = (self.settings.rate, self.settings.rate_all);
        let place = Place::of(peer);
        let bucket = |source: &Source| match door {
            Door::Register => source.registers,
            Door::Strangers => source.strangers,
        };
        if !self.sources.get(&place).map(bucket).unwrap_or_default().has(now, Rate::of(one)) {
            self.counters.dropped_rate += 1;
            return Verdict::Drop;
        }
        let shared = match door {
            Door::Register => &mut self.registers,
            Door::Strangers => &mut self.strangers,
        };
        if !shared.take(now, Rate::of(all)) {
            self.counters.dropped_flood += 1;
            if self.flood_told.is_none_or(|told| now.saturating_duration_since(told) >= FLOOD_EVERY) {
                self.flood_told = Some(now);
                warn!(%peer, "a flood: more than {all} requests a second from addresses of no trunk; what is too much gets no answer");
            }
            return Verdict::Drop;
        }
        let source = self.source(now, place);
        match door {
            Door::Register => source.registers.take(now, Rate::of(one)),
            Door::Strangers => source.strangers.take(now, Rate::of(one)),
        };
        Verdict::Pass
    }

    /// The first request of a stranger in a while is worth a line, the others are not.
    fn tell_once(&mut self, now: Instant, peer: &Peer) {
        let (window, place) = (self.settings.window, Place::of(peer));
        // In silence nothing is remembered of strangers but what their rate lets in.
        let remembers =
            self.sources.contains_key(&place) || self.at_a_rate(now, peer, Door::Strangers) == Verdict::Pass;
        let Some(source) = self.sources.get_mut(&place).filter(|_| remembers) else { return };
        if source.told.is_none_or(|told| now.saturating_duration_since(told) >= window) {
            source.told = Some(now);
            let what = if self.silent { "no answer" } else { "403" };
            info!(%peer, "{what}: {} is in no trunk's list (sources of [[trunks]] in contesta.toml)", peer.address.ip().to_canonical());
        }
    }

    /// Something counts against an address.
    pub fn offence(&mut self, now: Instant, peer: &Peer, standing: Standing, offence: Offence<'_>) {
        match offence {
            Offence::WrongPassword { .. } => self.counters.wrong_passwords += 1,
            Offence::UnknownNumber => self.counters.unknown_numbers += 1,
        }
        if standing == Standing::Trunk {
            return;
        }
        let settings = self.settings.clone();
        let (block, window) = (settings.block, settings.window);
        let source = self.source(now, Place::of(peer));
        match source.strike(now, offence, &settings) {
            Struck::Counted => {}
            Struck::UserBlocked => {
                self.counters.blocked_users += 1;
                let Offence::WrongPassword { user } = offence else { return };
                warn!(
                    %peer,
                    "blocked for {block:?}: «{}» from this address, {} wrong passwords in {window:?}",
                    printable(user),
                    settings.wrong_passwords
                );
            }
            Struck::SourceBlocked(why) => {
                self.counters.blocked_sources += 1;
                warn!(%peer, "blocked for {block:?}: this address, {why} in {window:?}; phones registered from it are served");
            }
        }
    }

    /// A user proved to be who it is: what was tried under its name from there counts no more.
    pub fn proven(&mut self, peer: &Peer, user: &str) {
        if let Some(source) = self.sources.get_mut(&Place::of(peer)) {
            source.forgive(user);
        }
    }

    /// A call begins. `false`: its address has as many as it may.
    pub fn begin_call(&mut self, peer: &Peer, standing: Standing) -> bool {
        if standing == Standing::Trunk {
            return true;
        }
        let calls = self.calls.entry(Place::of(peer)).or_default();
        let room = self.settings.calls.is_none_or(|most| *calls < most);
        *calls += u32::from(room);
        if *calls == 0 {
            self.calls.remove(&Place::of(peer));
        }
        room
    }

    /// A call that [`begin_call`](Self::begin_call) let begin is over.
    pub fn end_call(&mut self, peer: &Peer, standing: Standing) {
        let place = Place::of(peer);
        if let Some(calls) = self.calls.get_mut(&place).filter(|_| standing != Standing::Trunk) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                self.calls.remove(&place);
            }
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Addresses that are remembered.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// The entry of an address, made if need be; it was heard of now.
    fn source(&mut self, now: Instant, place: Place) -> &mut Source {
        let forget_before = self.settings.window.max(self.settings.block);
        // Two out for one in: what is over does not stay for want of newcomers.
        for _ in 0..2 {
            let Some((seen, oldest)) = self.seen.first().copied() else { break };
            let over = now.saturating_duration_since(seen) > forget_before;
            if oldest != place && (over || self.sources.len() >= SOURCES_MAX) {
                self.seen.pop_first();
                self.sources.remove(&oldest);
            }
        }
        let source = self.sources.entry(place).or_insert_with(|| Source::new(now));
        self.seen.remove(&(source.seen, place));
        source.seen = now;
        self.seen.insert((now, place));
        source
    }
}

/// What a rate is kept for.
#[derive(Clone, Copy)]
enum Door {
    Register,
    Strangers,
}

/// What a stranger called somebody, for the log.
fn printable(user: &str) -> String {
    super::snapshot::printable(user, 32)
}

/// How often a flood is told of.
const FLOOD_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
