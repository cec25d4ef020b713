//! INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1). Read both first.
//!
//! ```text
//!                    INVITE │ send 100
//!                           ▼
//!   INVITE: send last  ┌────────────┐ 2xx from user       ┌──────────┐
//!   1xx from user:     │ Proceeding ├────────────────────►│ Accepted │ INVITE: absorbed
//!   send               └─────┬──────┘ send                └────┬─────┘ 2xx from user: send
//!          300–699 from user │ send                            │ ACK: to the dialog
//!                            ▼                           Timer L
//!   INVITE or Timer G: ┌───────────┐ Timer H                   │
//!   send               │ Completed ├────────────►(TimedOut)    ▼
//!                      └─────┬─────┘                      Terminated
//!                        ACK │                                 ▲
//!                            ▼          Timer I                │
//!                      ┌───────────┐───────────────────────────┘
//!                      │ Confirmed │ INVITE, ACK: absorbed
//!                      └───────────┘
//! ```
//!
//! Retransmission of 2xx belongs to the user agent core (RFC 3261 §13.3.1.4), not to this machine.

use std::time::Instant;

use bytes::Bytes;

use super::{Fired, Resend, Timing};

/// One INVITE from a peer.
#[derive(Debug)]
pub struct InviteServer {
    timing: Timing,
    state: State,
}

/// Where the transaction stands, with what it needs there.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// `last` is the last provisional response.
    Proceeding { last: Bytes },
    /// A refusal was sent and not acknowledged; `resend` is Timer G, `h` Timer H.
    Completed { resend: Resend, h: Instant },
    /// The refusal was acknowledged; Timer I absorbs further ACKs.
    Confirmed { i: Instant },
    /// A 2xx was sent; Timer L absorbs further INVITEs (RFC 6026).
    Accepted { l: Instant },
    /// Over.
    Terminated,
}

/// To whom an ACK belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It ends this transaction's refusal.
    Absorbed,
    /// It acknowledges a 2xx (RFC 6026 §7.1).
    ToDialog,
}

impl InviteServer {
    /// The transaction of an INVITE that has just been answered with `trying`, a 100.
    #[must_use]
    pub fn new(timing: Timing, trying: Bytes) -> Self {
        Self { timing, state: State::Proceeding { last: trying } }
    }

    /// A retransmitted INVITE: what to send for it, if anything.
    #[must_use]
    pub fn handle_invite(&self) -> Option<Bytes> {
        match &self.state {
            State::Proceeding { last } => Some(last.clone()),
            State::Completed { resend, .. } => Some(resend.bytes.clone()),
            // RFC 6026 §7.1: "any retransmissions of the INVITE are absorbed"; the core sends the 2xx by its own timer.
            State::Accepted { .. } | State::Confirmed { .. } | State::Terminated => None,
        }
    }

    /// An ACK that matches this transaction.
    pub fn handle_ack(&mut self, now: Instant) -> Ack {
        match self.state {
            State::Completed { .. } => {
                self.state = State::Confirmed { i: now + self.timing.i() };
                Ack::Absorbed
            }
            State::Accepted { .. } => Ack::ToDialog,
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => Ack::Absorbed,
        }
    }

    /// A response from the user. Comes back when it is to be sent; a second final response is not.
    pub fn respond(&mut self, now: Instant, status: u16, response: Bytes) -> Option<Bytes> {
        match &mut self.state {
            State::Proceeding { last } => {
                match status {
                    ..200 => *last = response.clone(),
                    200..300 => self.state = State::Accepted { l: now + self.timing.give_up() },
                    300.. => {
                        let resend = Resend::new(self.timing, now, response.clone());
                        self.state = State::Completed { resend, h: now + self.timing.give_up() };
                    }
                }
                Some(response)
            }
            State::Accepted { .. } if (200..300).contains(&status) => Some(response),
            State::Accepted { .. } | State::Completed { .. } | State::Confirmed { .. } | State::Terminated => None,
        }
    }

    /// Whether a final response may still be given.
    #[must_use]
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// When to wake, and for which timer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, char)> {
        match &self.state {
            State::Completed { resend, h } => Some(resend.or('G', (*h, 'H'))),
            State::Confirmed { i } => Some((*i, 'I')),
            State::Accepted { l } => Some((*l, 'L')),
            State::Proceeding { .. } | State::Terminated => None,
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match &mut self.state {
            State::Completed { h, .. } if *h <= now => {
                self.state = State::Terminated;
                Fired::TimedOut
            }
            State::Completed { resend, .. } => resend.fire(now, self.timing.t2).map_or(Fired::Nothing, Fired::Send),
            State::Confirmed { i: end } | State::Accepted { l: end } if *end <= now => {
                self.state = State::Terminated;
                Fired::Terminated
            }
            State::Proceeding { .. } | State::Confirmed { .. } | State::Accepted { .. } | State::Terminated => {
                Fired::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use std::time::Duration;

    use super::*;
    use crate::sip::transaction::testing::run;
    use crate::sip::transport::Transport;

    const TRYING: Bytes = Bytes::from_static(b"100");
    const RINGING: Bytes = Bytes::from_static(b"180");
    const OK: Bytes = Bytes::from_static(b"200");
    const BUSY: Bytes = Bytes::from_static(b"486");

    fn machine() -> (Instant, InviteServer) {
        (Instant::now(), InviteServer::new(Timing::default(), TRYING))
    }

    #[test]
    fn proceeding_repeats_the_last_provisional() {
        let (start, mut server) = machine();
        assert_eq!(server.handle_invite(), Some(TRYING));
        assert_eq!(server.respond(start, 180, RINGING), Some(RINGING));
        assert_eq!(server.handle_invite(), Some(RINGING));
        assert_eq!(server.poll_timeout(), None);
    }

    /// RFC 3261 §17.2.1: timer G doubles up to T2, timer H gives up after 64·T1.
    #[test]
    fn a_refusal_is_repeated_until_timer_h() {
        let (start, mut server) = machine();
        assert_eq!(server.respond(start, 486, BUSY), Some(BUSY));
        assert_eq!(server.handle_invite(), Some(BUSY));
        let ladder = run(start, &mut server, InviteServer::poll_timeout, InviteServer::handle_timeout);
        let expected = [
            "500 G",
            "1500 G",
            "3500 G",
            "7500 G",
            "11500 G",
            "15500 G",
            "19500 G",
            "23500 G",
            "27500 G",
            "31500 G",
            "32000 H timed out",
        ];
        assert_eq!(ladder, expected);
        assert_eq!(server.handle_invite(), None);
    }

    #[test]
    fn an_ack_ends_the_refusal_and_timer_i_absorbs_what_follows() {
        let (start, mut server) = machine();
        server.respond(start, 486, BUSY);
        assert_eq!(server.respond(start, 200, OK), None);
        assert_eq!(server.handle_ack(start), Ack::Absorbed);
        assert_eq!(server.handle_ack(start), Ack::Absorbed);
        assert_eq!(server.handle_invite(), None);
        let ladder = run(start, &mut server, InviteServer::poll_timeout, InviteServer::handle_timeout);
        assert_eq!(ladder, ["5000 I terminated"]);
    }

    /// RFC 3261 §17.2.1: over a reliable transport timer G is not set, and timer I is zero.
    #[test]
    fn a_reliable_transport_needs_neither_g_nor_i() {
        let start = Instant::now();
        let server = || InviteServer::new(Timing::default().over(Transport::Ws), TRYING);
        let mut unacknowledged = server();
        unacknowledged.respond(start, 486, BUSY);
        let ladder = run(start, &mut unacknowledged, InviteServer::poll_timeout, InviteServer::handle_timeout);
        assert_eq!(ladder, ["32000 H timed out"]);
        let mut acknowledged = server();
        acknowledged.respond(start, 486, BUSY);
        assert_eq!(acknowledged.handle_ack(start), Ack::Absorbed);
        let ladder = run(start, &mut acknowledged, InviteServer::poll_timeout, InviteServer::handle_timeout);
        assert_eq!(ladder, ["0 I terminated"]);
        let mut accepted = server();
        accepted.respond(start, 200, OK);
        let ladder = run(start, &mut accepted, InviteServer::poll_timeout, InviteServer::handle_timeout);
        assert_eq!(ladder, ["32000 L terminated"], "the core repeats a 2xx over every transport");
    }

    /// RFC 6026 §7.1.
    #[test]
    fn accepted_absorbs_invites_and_lets_2xx_and_ack_through_until_timer_l() {
        let (start, mut server) = machine();
        assert_eq!(server.respond(start, 200, OK), Some(OK));
        assert_eq!(server.handle_invite(), None);
        assert_eq!(server.respond(start + Duration::from_millis(500), 200, OK), Some(OK));
        assert_eq!(server.respond(start, 486, BUSY), None);
        assert_eq!(server.handle_ack(start), Ack::ToDialog);
        let ladder = run(start, &mut server, InviteServer::poll_timeout, InviteServer::handle_timeout);
        assert_eq!(ladder, ["32000 L terminated"]);
    }
}
