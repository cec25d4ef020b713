//! Non-INVITE server transaction (RFC 3261 §17.2.2).
//!
//! ```text
//!              request │ to the user
//!                      ▼
//!                 ┌────────┐  200–699 from user, send
//!                 │ Trying ├───────────────┐
//!                 └───┬────┘               ▼
//!   1xx from user, send│             ┌───────────┐ Timer J
//!                      ▼             │ Completed ├────────► Terminated
//!               ┌────────────┐       └───────────┘
//!  request:     │ Proceeding ├──────────►  request: send last
//!  send last    └────────────┘ final
//! ```

use std::time::Instant;

use bytes::Bytes;

use super::{Fired, Timing};

/// One request of a peer other than INVITE and ACK.
#[derive(Debug)]
pub struct Server {
    timing: Timing,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing was answered yet.
    Trying,
    /// `last` is the last provisional response.
    Proceeding { last: Bytes },
    /// `last` is the final response; Timer J keeps it for retransmitted requests.
    Completed { last: Bytes, j: Instant },
    /// Over.
    Terminated,
}

impl Server {
    /// The transaction of a request that has just come.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self { timing, state: State::Trying }
    }

    /// A retransmitted request: what to send for it, if anything.
    #[must_use]
    pub fn handle_request(&self) -> Option<Bytes> {
        match &self.state {
            State::Proceeding { last } | State::Completed { last, .. } => Some(last.clone()),
            State::Trying | State::Terminated => None,
        }
    }

    /// A response from the user. Comes back when it is to be sent; whatever follows a final response is not.
    pub fn respond(&mut self, now: Instant, status: u16, response: Bytes) -> Option<Bytes> {
        match self.state {
            State::Trying | State::Proceeding { .. } => {
                let last = response.clone();
                self.state = match status {
                    ..200 => State::Proceeding { last },
                    200.. => State::Completed { last, j: now + self.timing.j() },
                };
                Some(response)
            }
            State::Completed { .. } | State::Terminated => None,
        }
    }

    /// When to wake, and for which timer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, char)> {
        match self.state {
            State::Completed { j, .. } => Some((j, 'J')),
            State::Trying | State::Proceeding { .. } | State::Terminated => None,
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Fired {
        match self.state {
            State::Completed { j, .. } if j <= now => {
                self.state = State::Terminated;
                Fired::Terminated
            }
            State::Trying | State::Proceeding { .. } | State::Completed { .. } | State::Terminated => Fired::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;
    use crate::sip::transaction::testing::run;
    use crate::sip::transport::Transport;

    const TRYING: Bytes = Bytes::from_static(b"100");
    const OK: Bytes = Bytes::from_static(b"200");

    /// RFC 3261 §17.2.2: timer J is zero over a reliable transport.
    #[test]
    fn a_reliable_transport_repeats_no_request() {
        let start = Instant::now();
        let mut server = Server::new(Timing::default().over(Transport::Wss));
        assert_eq!(server.respond(start, 200, OK), Some(OK));
        assert_eq!(run(start, &mut server, Server::poll_timeout, Server::handle_timeout), ["0 J terminated"]);
    }

    #[test]
    fn a_repeated_request_gets_the_last_response_until_timer_j() {
        let start = Instant::now();
        let mut server = Server::new(Timing::default());
        assert_eq!(server.handle_request(), None);
        assert_eq!(server.respond(start, 100, TRYING), Some(TRYING));
        assert_eq!(server.handle_request(), Some(TRYING));
        assert_eq!(server.respond(start, 200, OK), Some(OK));
        assert_eq!(server.handle_request(), Some(OK));
        assert_eq!(server.respond(start, 500, TRYING), None);
        assert_eq!(run(start, &mut server, Server::poll_timeout, Server::handle_timeout), ["32000 J terminated"]);
        assert_eq!(server.handle_request(), None);
    }
}
