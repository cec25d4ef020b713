//! Non-INVITE client transaction (RFC 3261 §17.1.2): our BYE, CANCEL, REGISTER and OPTIONS.
//!
//! ```text
//!                   request │ send
//!                           ▼
//!  Timer E: send again  ┌────────┐ Timer F
//!                       │ Trying ├──────────►(TimedOut)
//!                       └─┬────┬─┘              ▲
//!                     1xx │    │ 200–699        │ Timer F
//!                         ▼    │                │
//!  Timer E (T2):  ┌────────────┐├───────────────┘
//!  send again     │ Proceeding ││
//!                 └─────┬──────┘│
//!              200–699  │       ▼
//!                       └──►┌───────────┐ Timer K
//!                           │ Completed ├────────► Terminated
//!                           └───────────┘ responses: absorbed
//! ```

use std::time::Instant;

use bytes::Bytes;

use super::{Fired, Resend, Timing};

/// One request of ours other than INVITE and ACK.
#[derive(Debug)]
pub struct Client {
    timing: Timing,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nobody answered; `resend` is Timer E, `f` Timer F.
    Trying { resend: Resend, f: Instant },
    /// A provisional response came; Timer E goes on at T2, for the final response may be lost.
    Proceeding { resend: Resend, f: Instant },
    /// Answered; Timer K absorbs repeated responses.
    Completed { k: Instant },
    /// Over.
    Terminated,
}

impl Client {
    /// The transaction of `request`, which the caller sends now for the first time.
    #[must_use]
    pub fn new(timing: Timing, now: Instant, request: Bytes) -> Self {
        let resend = Resend::new(timing, now, request);
        Self { timing, state: State::Trying { resend, f: now + timing.give_up() } }
    }

    /// A response with our branch. `true` when it is the first final one: the user is told.
    pub fn handle_response(&mut self, now: Instant, status: u16) -> bool {
        match &mut self.state {
            State::Trying { .. } | State::Proceeding { .. } if status >= 200 => {
                self.state = State::Completed { k: now + self.timing.i() };
                true
            }
            State::Trying { resend, f } => {
                let resend = Resend { interval: self.timing.t2, ..resend.clone() };
                self.state = State::Proceeding { resend, f: *f };
                false
            }
            State::Proceeding { .. } | State::Completed { .. } | State::Terminated => false,
        }
    }

    /// Whether no final response came yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }

    /// When to wake, and for which timer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, char)> {
        match &self.state {
            State::Trying { resend, f } | State::Proceeding { resend, f } => Some(resend.or('E', (*f, 'F'))),
            State::Completed { k } => Some((*k, 'K')),
            State::Terminated => None,
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match &mut self.state {
            State::Trying { f, .. } | State::Proceeding { f, .. } if *f <= now => {
                self.state = State::Terminated;
                Fired::TimedOut
            }
            State::Trying { resend, .. } | State::Proceeding { resend, .. } => {
                resend.fire(now, self.timing.t2).map_or(Fired::Nothing, Fired::Send)
            }
            State::Completed { k } if *k <= now => {
                self.state = State::Terminated;
                Fired::Terminated
            }
            State::Completed { .. } | State::Terminated => Fired::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;
    use crate::sip::transaction::testing::run;
    use crate::sip::transport::Transport;

    const BYE: Bytes = Bytes::from_static(b"BYE");

    fn machine() -> (Instant, Client) {
        let start = Instant::now();
        (start, Client::new(Timing::default(), start, BYE))
    }

    /// RFC 3261 §17.1.2.2: 500, 1000, 2000, then every 4000 ms.
    #[test]
    fn timer_e_grows_to_t2_until_timer_f() {
        let (start, mut client) = machine();
        let ladder = run(start, &mut client, Client::poll_timeout, Client::handle_timeout);
        let expected = [
            "500 E",
            "1500 E",
            "3500 E",
            "7500 E",
            "11500 E",
            "15500 E",
            "19500 E",
            "23500 E",
            "27500 E",
            "31500 E",
            "32000 F timed out",
        ];
        assert_eq!(ladder, expected);
    }

    #[test]
    fn a_provisional_response_slows_timer_e_to_t2() {
        let (start, mut client) = machine();
        assert!(!client.handle_response(start, 100));
        let ladder = run(start, &mut client, Client::poll_timeout, Client::handle_timeout);
        let expected =
            ["500 E", "4500 E", "8500 E", "12500 E", "16500 E", "20500 E", "24500 E", "28500 E", "32000 F timed out"];
        assert_eq!(ladder, expected);
    }

    /// RFC 3261 §17.1.2.2: over a reliable transport timer E is not set, and timer K is zero.
    #[test]
    fn a_reliable_transport_needs_neither_e_nor_k() {
        let start = Instant::now();
        let client = || Client::new(Timing::default().over(Transport::Tls), start, BYE);
        let mut unanswered = client();
        assert_eq!(run(start, &mut unanswered, Client::poll_timeout, Client::handle_timeout), ["32000 F timed out"]);
        let mut ringing = client();
        assert!(!ringing.handle_response(start, 100));
        assert_eq!(run(start, &mut ringing, Client::poll_timeout, Client::handle_timeout), ["32000 F timed out"]);
        let mut answered = client();
        assert!(answered.handle_response(start, 200));
        assert_eq!(run(start, &mut answered, Client::poll_timeout, Client::handle_timeout), ["0 K terminated"]);
    }

    #[test]
    fn the_first_final_response_counts_and_timer_k_absorbs_the_rest() {
        let (start, mut client) = machine();
        assert!(client.handle_response(start, 200));
        assert!(!client.handle_response(start, 200));
        assert_eq!(run(start, &mut client, Client::poll_timeout, Client::handle_timeout), ["5000 K terminated"]);
    }
}
