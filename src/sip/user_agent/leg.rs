//! One leg as the user agent sees it: its stage, its dialog, and what is open between the two sides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::again::Trying;
use crate::sip::action::Why;
use crate::sip::dialog::{Dialog, LocalTag};
use crate::sip::message::Message;
use crate::sip::session_timer::SessionTimer;
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
    /// An offer of the peer's that came before the INVITE in `pending` was answered, by UPDATE or PRACK.
    pub early_offer: Option<Box<Pending>>,
    /// Our reliable provisional responses to the INVITE in `pending`, and the state that they leave behind.
    pub reliable: Option<Box<Reliable>>,
    /// Our 2xx that waits for its ACK.
    pub unacknowledged: Option<Box<Unacknowledged>>,
    /// A re-INVITE or UPDATE of ours.
    pub change: Option<Box<Change>>,
    /// Our INVITE without offer, whose 2xx brought one: its ACK waits for our answer.
    pub owed_ack: Option<ClientId>,
    /// Ends the session unless it is refreshed (RFC 4028).
    pub session: Option<Box<SessionTimer>>,
    /// What the session's Min-SE has to be, in seconds, since the far end or a proxy said so.
    pub min_se: u32,
    /// Refusals of our re-INVITE or UPDATE as too short, one behind the other.
    pub too_short: u8,
    /// A REFER of the far end's, and what we report of it.
    pub referral: Option<Box<Subscription>>,
    /// A REFER of ours, whose reports are awaited.
    pub refers: bool,
    /// REFERs that came.
    pub referrals: u32,
    /// The far end's Allow names UPDATE.
    pub takes_update: bool,
    /// Its deadline in the timer index.
    pub armed: Option<Instant>,
}

/// A re-INVITE or UPDATE of ours, under way or to be tried again.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Whether it is an INVITE; an UPDATE of ours has no offer.
    pub invite: bool,
    /// Where it stands.
    pub stands: Stands,
}

/// Where a re-INVITE or UPDATE of ours stands.
#[derive(Clone, Copy, Debug)]
pub enum Stands {
    /// It was sent, and has no final answer.
    Sent {
        /// Its transaction.
        client: ClientId,
        /// Of an INVITE: when it is cancelled, for a provisional response stops its timers.
        until: Option<Instant>,
    },
    /// It crossed one of the far end's, and is tried again then (RFC 3261 §14.1).
    Again(Instant),
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
    /// Dialogs that reliable provisional responses made, one for each fork (RFC 3261 §12.1, RFC 3262 §4).
    pub early: Vec<Early>,
    /// What else may be tried.
    pub trying: Option<Box<Trying>>,
}

/// The dialog of a fork that has not answered.
#[derive(Debug)]
pub struct Early {
    /// The dialog.
    pub dialog: Dialog,
    /// The RSeq that was acknowledged last.
    pub rseq: u32,
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

/// What we report of a REFER (RFC 3515 §2.4.4): one NOTIFY behind the answer to the other.
#[derive(Debug)]
pub struct Subscription {
    /// The REFER that waits for its answer.
    pub pending: Option<Pending>,
    /// Its CSeq, where another REFER came before it.
    pub id: Option<u32>,
    /// Nobody wants reports (RFC 4488).
    pub quiet: bool,
    /// A NOTIFY has no answer.
    pub asks: bool,
    /// The status to report next.
    pub next: Option<u16>,
    /// The last status has been reported, or waits to be.
    pub over: bool,
    /// When nobody waits for it any more.
    pub until: Instant,
    /// Set by `hangup`: the BYE waits until the last report has its answer, for behind a BYE phones know of no call to report on.
    pub hangup: Option<Box<str>>,
}

/// A subscription whose leg is over: its transferor hung up at once (RFC 5057 §4.2).
#[derive(Debug)]
pub struct Orphan {
    /// What is left of the dialog.
    pub dialog: Dialog,
    /// The subscription.
    pub subscription: Box<Subscription>,
    /// Its deadline in the timer index.
    pub armed: Option<Instant>,
}

/// Provisional responses of ours that have to be acknowledged (RFC 3262 §3), one behind the other.
#[derive(Debug)]
pub struct Reliable {
    /// RSeq of the next one.
    pub next: u32,
    /// The one that waits for its PRACK.
    pub open: Option<Unpracked>,
    /// Those that wait for the one before: status and SDP.
    pub queue: VecDeque<(u16, Bytes)>,
    /// SDP has been sent and acknowledged: the 2xx needs none.
    pub described: bool,
    /// The 2xx that waits for the PRACK, with its SDP.
    pub held: Option<Bytes>,
}

/// A provisional response without PRACK.
#[derive(Debug)]
pub struct Unpracked {
    /// Its RSeq.
    pub rseq: u32,
    /// CSeq of the INVITE.
    pub cseq: u32,
    /// Whether it holds SDP.
    pub describes: bool,
    /// The response.
    pub response: Bytes,
    /// When it is sent again; `None` behind a final response, when its PRACK is welcome and not needed.
    pub resend_at: Option<Instant>,
    /// The interval behind `resend_at`.
    pub interval: Duration,
    /// 64·T1 behind the first sending.
    pub give_up_at: Instant,
}

impl Leg {
    /// A leg in this stage, with nothing open.
    pub fn new(tag: LocalTag, stage: Stage, dialog: Option<Dialog>) -> Self {
        Self {
            tag,
            stage,
            dialog,
            pending: None,
            early_offer: None,
            reliable: None,
            unacknowledged: None,
            change: None,
            owed_ack: None,
            session: None,
            min_se: 0,
            too_short: 0,
            referral: None,
            refers: false,
            referrals: 0,
            takes_update: false,
            armed: None,
        }
    }

    /// Whether a re-INVITE or UPDATE of ours has no answer.
    pub fn asks(&self) -> bool {
        self.change.as_ref().is_some_and(|change| matches!(change.stands, Stands::Sent { .. }))
    }

    /// When the leg itself wants to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        match self.stage {
            // Behind a CANCEL: 64·T1, the time that timer B would have given the INVITE (RFC 3261 §9.1).
            Stage::Outgoing(Outgoing { cancelled_until, ref trying, .. }) => {
                let cancelled = cancelled_until.map(|at| (at, Why::Timer('B')));
                let next = trying.as_ref().and_then(|trying| trying.next_at).map(|at| (at, Why::NextHop));
                cancelled.into_iter().chain(next).min_by_key(|(at, _)| *at)
            }
            Stage::Incoming | Stage::Established | Stage::Ending => {
                let open = self.unacknowledged.as_ref();
                let open = open.map(|open| (open.resend_at.min(open.give_up_at), Why::Retransmit2xx));
                let progress = self.reliable.as_ref().and_then(|reliable| reliable.open.as_ref());
                let progress = progress.and_then(|open| Some(open.resend_at?.min(open.give_up_at)));
                let progress = progress.map(|at| (at, Why::Retransmit1xx));
                let change = self.change.as_ref().and_then(|change| match change.stands {
                    Stands::Again(at) => Some((at, Why::Again)),
                    Stands::Sent { until, .. } => until.map(|at| (at, Why::Timer('B'))),
                });
                let session = self.session.as_ref().map(|timer| (timer.poll_timeout(), Why::Session));
                [open, progress, change, session].into_iter().flatten().min_by_key(|(at, _)| *at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A confirmed call is one of these and the strings of its dialog, for hours.
    #[test]
    fn a_leg_is_small() {
        assert!(size_of::<Leg>() <= 384, "{}", size_of::<Leg>());
    }
}
