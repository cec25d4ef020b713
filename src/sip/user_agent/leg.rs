//! One leg as the user agent sees it: its stage, its dialog, and what is open between the two sides.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::sip::dialog::{Dialog, LocalTag};
use crate::sip::message::Message;
use crate::sip::timers::ClientId;
use crate::sip::transport::Peer;

/// A leg that is not over.
#[derive(Debug)]
pub struct Leg {
    /// Our tag.
    pub tag: LocalTag,
    /// How far it came.
    pub stage: Stage,
    /// Present in every stage but `Outgoing`.
    pub dialog: Option<Dialog>,
    /// A request of the peer that waits for `accept` or `reject`.
    pub pending: Option<Box<Pending>>,
    /// Our 2xx that waits for its ACK.
    pub unacknowledged: Option<Box<Unacknowledged>>,
    /// Its deadline in the timer index.
    pub armed: Option<Instant>,
}

/// How far a leg came.
#[derive(Debug)]
pub enum Stage {
    /// The peer's INVITE is in `pending`.
    Incoming,
    /// Our INVITE has no final answer.
    Outgoing(Outgoing),
    /// A 2xx was sent or received.
    Established,
    /// Our BYE waits for its answer.
    Ending,
}

/// Our INVITE on its way.
#[derive(Debug)]
pub struct Outgoing {
    /// Its transaction.
    pub client: ClientId,
    /// Set by `hangup`: why we no longer want it.
    pub hangup: Option<Box<str>>,
    /// Set when CANCEL was sent: when to stop waiting for the 487 (RFC 3261 §9.1).
    pub cancelled_until: Option<Instant>,
}

/// A request that waits for the exchange.
#[derive(Debug)]
pub struct Pending {
    /// Its transaction.
    pub server: u64,
    /// The request, for its response.
    pub request: Message,
    /// Where it came from.
    pub source: Peer,
    /// Whether it is an INVITE; otherwise it is an UPDATE.
    pub invite: bool,
    /// Whether it made the leg.
    pub initial: bool,
    /// Its CSeq.
    pub cseq: u32,
}

/// A 2xx of ours without ACK (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub struct Unacknowledged {
    /// The response.
    pub response: Bytes,
    /// Where it goes.
    pub destination: Peer,
    /// When it is sent again.
    pub resend_at: Instant,
    /// The interval behind `resend_at`.
    pub interval: Duration,
    /// 64·T1 behind the first sending.
    pub give_up_at: Instant,
    /// CSeq of the INVITE, which the ACK repeats.
    pub cseq: u32,
    /// Whether it answers the INVITE that made the leg.
    pub initial: bool,
    /// Whether the INVITE had no offer, so that the ACK brings the answer.
    pub late_offer: bool,
    /// Set by `hangup`: the BYE waits for the ACK (RFC 3261 §15).
    pub hangup: Option<Box<str>>,
}

impl Leg {
    /// When the leg itself wants to wake.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (&self.stage, &self.unacknowledged) {
            (Stage::Outgoing(outgoing), _) => outgoing.cancelled_until,
            (Stage::Incoming | Stage::Established | Stage::Ending, Some(open)) => {
                Some(open.resend_at.min(open.give_up_at))
            }
            (Stage::Incoming | Stage::Established | Stage::Ending, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A confirmed call is one of these and the strings of its dialog, for hours.
    #[test]
    fn a_leg_is_small() {
        assert!(size_of::<Leg>() <= 320, "{}", size_of::<Leg>());
    }
}
