//! INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2).
//!
//! ```text
//!                     INVITE │ send
//!                            ▼
//!   Timer A: send again ┌─────────┐ Timer B
//!                       │ Calling ├──────────►(TimedOut)
//!                       └─┬──┬──┬─┘
//!               1xx, to user │  │ 2xx, to user
//!            ┌────────────┐◄─┘  └──────────►┌──────────┐ 2xx: to user
//!   1xx:     │ Proceeding ├────────────────►│ Accepted ├───────────────► Terminated
//!   to user  └─────┬──────┘  2xx, to user   └──────────┘ Timer M             ▲
//!      300–699, ACK│to user (also from Calling)                              │
//!                  ▼                                                         │
//!            ┌───────────┐ Timer D                                           │
//!            │ Completed ├───────────────────────────────────────────────────┘
//!            └───────────┘ 300–699: send ACK again
//! ```
//!
//! The ACK of a refusal is this machine's; the ACK of a 2xx belongs to the user agent core (RFC 3261 §13.2.2.4).

use std::time::Instant;

use bytes::Bytes;

use super::{Fired, Resend, Timing};

/// One INVITE of ours.
#[derive(Debug)]
pub struct InviteClient {
    timing: Timing,
    /// When a provisional response is no reason to wait any longer; `None` outside dialogs, where somebody may have to be fetched.
    patience: Option<Instant>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nobody answered; `resend` is Timer A, `b` Timer B.
    Calling { resend: Resend, b: Instant },
    /// A provisional response came: somebody is there.
    Proceeding,
    /// Refused; `ack` is sent again for each repeated refusal until Timer D.
    Completed { ack: Bytes, d: Instant },
    /// Answered; Timer M lets further 2xx (repeated, or of other forks) through (RFC 6026 §7.2).
    Accepted { m: Instant },
    /// Over.
    Terminated,
}

/// What a response is to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A provisional response, or a 2xx: the user handles it, and acknowledges a 2xx.
    ToUser,
    /// The refusal: send this ACK, and tell the user.
    Refused(Bytes),
    /// The refusal once more: send this ACK again.
    Again(Bytes),
    /// Nothing to do.
    Absorbed,
}

impl InviteClient {
    /// The transaction of `request`, which the caller sends now for the first time.
    #[must_use]
    pub fn new(timing: Timing, now: Instant, request: Bytes) -> Self {
        let resend = Resend::new(timing, now, request);
        Self { timing, patience: None, state: State::Calling { resend, b: now + timing.give_up() } }
    }

    /// The transaction of a `request` within a dialog, which is answered by a machine: a final response comes within 128·T1, or none.
    #[must_use]
    pub fn within_dialog(timing: Timing, now: Instant, request: Bytes) -> Self {
        Self { patience: Some(now + timing.give_up() * 2), ..Self::new(timing, now, request) }
    }

    /// A response with our branch. `ack` builds the ACK of a refusal.
    pub fn handle_response(&mut self, now: Instant, status: u16, ack: impl FnOnce() -> Bytes) -> Answer {
        match (&self.state, status) {
            (State::Calling { .. } | State::Proceeding, ..200) => {
                self.state = State::Proceeding;
                Answer::ToUser
            }
            (State::Calling { .. } | State::Proceeding, 200..300) => {
                self.state = State::Accepted { m: now + self.timing.give_up() };
                Answer::ToUser
            }
            (State::Calling { .. } | State::Proceeding, 300..) => {
                let ack = ack();
                self.state = State::Completed { ack: ack.clone(), d: now + self.timing.d() };
                Answer::Refused(ack)
            }
            (State::Accepted { .. }, 200..300) => Answer::ToUser,
            (State::Completed { ack, .. }, 300..) => Answer::Again(ack.clone()),
            (State::Accepted { .. } | State::Completed { .. } | State::Terminated, _) => Answer::Absorbed,
        }
    }

    /// Sends nothing again: somebody else is asked, or nobody any more. What is answered late is heard until Timer B, and no final response behind a late
    /// provisional one is waited for longer than 128·T1: whoever was cancelled may never send it.
    pub fn fall_silent(&mut self, now: Instant) {
        self.patience = Some(now + self.timing.give_up() * 2);
        if let State::Calling { resend, .. } = &mut self.state {
            resend.at = None;
        }
    }

    /// Whether a provisional response came and no final one: only then may CANCEL be sent (RFC 3261 §9.1).
    #[must_use]
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether no final response came yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding)
    }

    /// When to wake, and for which timer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, char)> {
        match &self.state {
            State::Calling { resend, b } => Some(resend.or('A', (*b, 'B'))),
            State::Completed { d, .. } => Some((*d, 'D')),
            State::Accepted { m } => Some((*m, 'M')),
            State::Proceeding => self.patience.map(|at| (at, 'B')),
            State::Terminated => None,
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match &mut self.state {
            State::Calling { b, .. } if *b <= now => {
                self.state = State::Terminated;
                Fired::TimedOut
            }
            State::Proceeding if self.patience.is_some_and(|at| at <= now) => {
                self.state = State::Terminated;
                Fired::TimedOut
            }
            // RFC 3261 §17.1.1.2: timer A doubles without bound, timer B ends it.
            State::Calling { resend, .. } => {
                resend.fire(now, self.timing.give_up()).map_or(Fired::Nothing, Fired::Send)
            }
            State::Completed { d: end, .. } | State::Accepted { m: end } if *end <= now => {
                self.state = State::Terminated;
                Fired::Terminated
            }
            State::Proceeding | State::Completed { .. } | State::Accepted { .. } | State::Terminated => Fired::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;
    use crate::sip::transaction::testing::run;
    use crate::sip::transport::Transport;

    const INVITE: Bytes = Bytes::from_static(b"INVITE");
    const ACK: Bytes = Bytes::from_static(b"ACK");

    fn machine() -> (Instant, InviteClient) {
        let start = Instant::now();
        (start, InviteClient::new(Timing::default(), start, INVITE))
    }

    /// RFC 3261 §17.1.1.2.
    #[test]
    fn timer_a_doubles_until_timer_b() {
        let (start, mut client) = machine();
        let ladder = run(start, &mut client, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["500 A", "1500 A", "3500 A", "7500 A", "15500 A", "31500 A", "32000 B timed out"]);
    }

    #[test]
    fn one_that_fell_silent_hears_until_timer_b() {
        let (start, mut client) = machine();
        client.fall_silent(start);
        assert_eq!(client.poll_timeout(), Some((start + Timing::default().give_up(), 'B')));
        assert_eq!(client.handle_response(start, 180, || ACK), Answer::ToUser);
        assert_eq!(client.poll_timeout(), Some((start + Timing::default().give_up() * 2, 'B')));
    }

    #[test]
    fn a_provisional_response_stops_the_timers() {
        let (start, mut client) = machine();
        assert!(!client.is_proceeding());
        assert_eq!(client.handle_response(start, 180, || ACK), Answer::ToUser);
        assert!(client.is_proceeding());
        assert_eq!(client.poll_timeout(), None);
    }

    /// Nobody has to be fetched for a re-INVITE.
    #[test]
    fn within_a_dialog_a_provisional_response_gains_64_t1() {
        let start = Instant::now();
        let mut client = InviteClient::within_dialog(Timing::default(), start, INVITE);
        assert_eq!(client.handle_response(start, 100, || ACK), Answer::ToUser);
        let ladder = run(start, &mut client, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["64000 B timed out"]);
        let mut client = InviteClient::within_dialog(Timing::default(), start, INVITE);
        let ladder = run(start, &mut client, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder.last().unwrap(), "32000 B timed out");
    }

    #[test]
    fn a_refusal_is_acknowledged_each_time_until_timer_d() {
        let (start, mut client) = machine();
        assert_eq!(client.handle_response(start, 486, || ACK), Answer::Refused(ACK));
        assert_eq!(client.handle_response(start, 486, Bytes::new), Answer::Again(ACK));
        assert_eq!(client.handle_response(start, 200, Bytes::new), Answer::Absorbed);
        let ladder = run(start, &mut client, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["32000 D terminated"]);
    }

    /// RFC 3261 §17.1.1.2: over a reliable transport timer A is not set, and timer D is zero.
    #[test]
    fn a_reliable_transport_needs_neither_a_nor_d() {
        let start = Instant::now();
        let client = || InviteClient::new(Timing::default().over(Transport::Tcp), start, INVITE);
        let mut unanswered = client();
        let ladder = run(start, &mut unanswered, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["32000 B timed out"]);
        let mut refused = client();
        assert_eq!(refused.handle_response(start, 486, || ACK), Answer::Refused(ACK));
        let ladder = run(start, &mut refused, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["0 D terminated"]);
        let mut answered = client();
        assert_eq!(answered.handle_response(start, 200, || ACK), Answer::ToUser);
        let ladder = run(start, &mut answered, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["32000 M terminated"], "forks answer over every transport");
    }

    /// RFC 6026 §7.2.
    #[test]
    fn each_2xx_reaches_the_user_until_timer_m() {
        let (start, mut client) = machine();
        assert_eq!(client.handle_response(start, 200, || ACK), Answer::ToUser);
        assert_eq!(client.handle_response(start, 200, || ACK), Answer::ToUser);
        assert_eq!(client.handle_response(start, 180, || ACK), Answer::Absorbed);
        assert_eq!(client.handle_response(start, 486, || ACK), Answer::Absorbed);
        let ladder = run(start, &mut client, InviteClient::poll_timeout, InviteClient::handle_timeout);
        assert_eq!(ladder, ["32000 M terminated"]);
    }
}
