//! Session timers (RFC 4028): a session lasts for its interval and is over without a refresh, so that neither end keeps a call
//! whose other end has vanished. Read RFC 4028 §7 to §10 first.
//!
//! ```text
//!  2xx        ½ interval            interval − min(32 s, ⅓ interval)   interval
//!   ├───────────────┼────────────────────────────────┼─────────────────────┤
//!   0        the refresher refreshes      whoever saw no refresh says BYE
//! ```
//!
//! This file decides who refreshes, how often, and when it is too late; who sends what is the user agent's.

use std::time::{Duration, Instant};

use super::header::session_expires::{Refresher, SessionExpires, min_se};
use super::header::{Name, option_tags};
use super::message::Message;

/// The option tag (RFC 4028 §12).
pub const OPTION_TAG: &str = "timer";

/// No session is asked to be shorter (RFC 4028 §4), in seconds.
pub const SHORTEST: u32 = 90;

/// A session that the far end, against RFC 4028 §4, made shorter than this lasts for so long, in seconds.
const SHORTEST_TAKEN: u32 = 10;

/// BYE goes out so long before a session ends, or a third of it if that is less (RFC 4028 §10).
const EARLY: Duration = Duration::from_secs(32);

/// A refresh that was refused is not tried again sooner.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What we ask for and agree to. Seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a session of ours lasts; `None`: sessions have timers only where the far end asks for one.
    pub expires: Option<u32>,
    /// The shortest session that we agree to, at least [`SHORTEST`].
    pub min: u32,
}

impl Default for Policy {
    /// Half an hour, as RFC 4028 §4 recommends.
    fn default() -> Self {
        Self { expires: Some(1_800), min: SHORTEST }
    }
}

/// What a request or response says of session timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its sender knows session timers.
    pub supported: bool,
    /// Session-Expires, if it is readable.
    pub expires: Option<SessionExpires>,
    /// Min-SE, in seconds.
    pub min_se: Option<u32>,
}

impl Said {
    /// Reads what a message says.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        Self {
            supported: message.values(Name::Supported).any(|value| option_tags::names(value, OPTION_TAG))
                || message.values(Name::Require).any(|value| option_tags::names(value, OPTION_TAG)),
            expires: message.value(Name::SessionExpires).and_then(|value| SessionExpires::parse(value).ok()),
            min_se: message.value(Name::MinSe).and_then(min_se),
        }
    }
}

/// The session is shorter than we agree to: 422, with our Min-SE (RFC 4028 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort {
    /// Our Min-SE, in seconds.
    pub min_se: u32,
}

impl Policy {
    /// What our 2xx to an INVITE or UPDATE says (RFC 4028 §9, table 2); `None` when its session has no timer. `running` is the
    /// session's timer so far: a refresh that leaves it open changes neither its length nor who refreshes.
    ///
    /// Where we may choose, we refresh: a far end that means to and does not would cost a call that is well.
    ///
    /// # Errors
    /// [`TooShort`]; never for a sender that does not know session timers.
    pub fn answer(&self, said: &Said, running: Option<&SessionTimer>) -> Result<Option<SessionExpires>, TooShort> {
        let floor = said.min_se.unwrap_or(SHORTEST).max(self.min);
        let ours = running.map(|timer| timer.seconds).or(self.expires);
        let refresher = match running {
            Some(timer) if timer.refresher == Who::They => Refresher::Uac,
            Some(_) | None => Refresher::Uas,
        };
        Ok(match said.expires {
            Some(asked) if asked.seconds < self.min => {
                if said.supported {
                    return Err(TooShort { min_se: self.min });
                }
                // A proxy asked, against RFC 4028 §4, and nobody would understand the 422.
                None
            }
            Some(asked) => {
                // RFC 4028 §9: it may be made shorter, but not below Min-SE, and never longer.
                let seconds = ours.map_or(asked.seconds, |ours| asked.seconds.min(ours.max(floor)));
                let refresher = match asked.refresher {
                    Some(refresher) if said.supported => refresher,
                    None if said.supported => refresher,
                    Some(_) | None => Refresher::Uas,
                };
                Some(SessionExpires { seconds, refresher: Some(refresher) })
            }
            None if said.supported => {
                ours.map(|ours| SessionExpires { seconds: ours.max(floor), refresher: Some(refresher) })
            }
            // RFC 4028 §7.2: nobody asks for a timer, or nobody does any more.
            None => None,
        })
    }
}

/// Who refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// This end.
    We,
    /// The far end.
    They,
}

/// The timer of a session, from its last refresh on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// Who refreshes.
    pub refresher: Who,
    /// How long it lasts, in seconds.
    pub seconds: u32,
    /// When we refresh; `None` while they do, or while a refresh of ours has no answer.
    refresh_at: Option<Instant>,
    ends_at: Instant,
}

impl SessionTimer {
    /// Begins, or begins again, with what a 2xx said. `we` is what we were in its transaction.
    #[must_use]
    pub fn new(now: Instant, agreed: SessionExpires, we: Refresher) -> Self {
        // RFC 4028 §7.2: a response has to say who refreshes; where it does not, its receiver had better do it.
        let refresher = if agreed.refresher.unwrap_or(Refresher::Uac) == we { Who::We } else { Who::They };
        let seconds = agreed.seconds.max(SHORTEST_TAKEN);
        let interval = Duration::from_secs(seconds.into());
        Self {
            refresher,
            seconds,
            refresh_at: (refresher == Who::We).then(|| now + interval / 2),
            ends_at: now + interval - EARLY.min(interval / 3),
        }
    }

    /// What a request of ours says, which is sent while this timer runs (RFC 4028 §7.4): who refreshes stays as it is.
    #[must_use]
    pub fn request(&self, min_se: u32) -> SessionExpires {
        let refresher = match self.refresher {
            Who::We => Refresher::Uac,
            Who::They => Refresher::Uas,
        };
        SessionExpires { seconds: self.seconds.max(min_se), refresher: Some(refresher) }
    }

    /// When to look at it again.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.refresh_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }

    /// What is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Due {
        if self.ends_at <= now {
            return Due::End;
        }
        match self.refresh_at.take_if(|at| *at <= now) {
            Some(_) => Due::Refresh,
            None => Due::Nothing,
        }
    }

    /// A refresh of ours was refused, or could not be tried: when to try again. Each time half of what is left passes, so that the
    /// last tries stand close to the end.
    pub fn retry(&mut self, now: Instant, after: Option<Duration>) {
        let left = self.ends_at.saturating_duration_since(now);
        self.refresh_at = Some(now + after.unwrap_or(left / 2).max(AGAIN_AFTER));
    }
}

/// What a session timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Not yet.
    Nothing,
    /// A refresh of ours.
    Refresh,
    /// BYE: no refresh came in time.
    End,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use Refresher::{Uac, Uas};

    use super::*;

    fn said(supported: bool, expires: Option<(u32, Option<Refresher>)>, min_se: Option<u32>) -> Said {
        let expires = expires.map(|(seconds, refresher)| SessionExpires { seconds, refresher });
        Said { supported, expires, min_se }
    }

    /// RFC 4028 §9, table 2, and how long a session may be.
    #[test]
    fn what_an_answer_says() {
        let policy = Policy { expires: Some(1_800), min: 90 };
        let answer =
            |said| policy.answer(&said, None).map(|agreed| agreed.map(|it| (it.seconds, it.refresher.unwrap())));
        for (said, expected) in [
            (said(true, None, None), Some((1_800, Uas))),
            (said(true, None, Some(3_000)), Some((3_000, Uas))),
            (said(true, Some((600, None)), None), Some((600, Uas))),
            (said(true, Some((600, Some(Uac))), None), Some((600, Uac))),
            (said(true, Some((600, Some(Uas))), None), Some((600, Uas))),
            (said(true, Some((90, Some(Uac))), Some(90)), Some((90, Uac))),
            (said(true, Some((7_200, Some(Uac))), None), Some((1_800, Uac))),
            (said(true, Some((7_200, Some(Uac))), Some(3_600)), Some((3_600, Uac))),
            // A proxy wants a timer, the phone does not know of any: only we can refresh.
            (said(false, Some((600, None)), None), Some((600, Uas))),
            (said(false, Some((20, None)), None), None),
            (said(false, None, None), None),
        ] {
            assert_eq!(answer(said), Ok(expected), "{said:?}");
        }
        assert_eq!(answer(said(true, Some((89, Some(Uac))), None)), Err(TooShort { min_se: 90 }));
        let unasked = Policy { expires: None, min: 90 };
        assert_eq!(unasked.answer(&said(true, None, None), None), Ok(None));
        let asked = unasked.answer(&said(true, Some((7_200, Some(Uac))), None), None);
        assert_eq!(asked, Ok(Some(SessionExpires { seconds: 7_200, refresher: Some(Uac) })));
    }

    #[test]
    fn a_refresh_that_leaves_it_open_changes_nothing() {
        let (policy, now) = (Policy::default(), Instant::now());
        // Whom the far end's INVITE made refresh: it, or us.
        for refresher in [Uac, Uas] {
            let agreed = SessionExpires { seconds: 600, refresher: Some(refresher) };
            let running = SessionTimer::new(now, agreed, Uas);
            let answer = policy.answer(&said(true, None, None), Some(&running)).unwrap().unwrap();
            assert_eq!(answer, SessionExpires { seconds: 600, refresher: Some(refresher) });
        }
        // RFC 4028 §7.2: a peer that knows of no timers ends it.
        let agreed = SessionExpires { seconds: 600, refresher: Some(Uac) };
        assert_eq!(policy.answer(&Said::default(), Some(&SessionTimer::new(now, agreed, Uac))), Ok(None));
    }

    /// RFC 4028 §10: half the interval; 32 s or a third before the end.
    #[test]
    fn refresh_at_half_and_end_early() {
        let start = Instant::now();
        for (seconds, refresh, end) in [(1_800, 900_000, 1_768_000), (90, 45_000, 60_000), (3, 5_000, 6_666)] {
            let agreed = SessionExpires { seconds, refresher: Some(Uac) };
            let at = |timer: SessionTimer| (timer.poll_timeout() - start).as_millis();
            let mut ours = SessionTimer::new(start, agreed, Uac);
            assert_eq!(at(ours), refresh, "{seconds}");
            assert_eq!(ours.handle_timeout(ours.poll_timeout()), Due::Refresh);
            assert_eq!(at(ours), end, "{seconds}");
            let mut theirs = SessionTimer::new(start, agreed, Uas);
            assert_eq!(at(theirs), end, "{seconds}");
            assert_eq!(theirs.handle_timeout(start), Due::Nothing);
            assert_eq!(theirs.handle_timeout(theirs.poll_timeout()), Due::End);
        }
    }

    #[test]
    fn a_refused_refresh_is_tried_ever_closer_to_the_end() {
        let start = Instant::now();
        let mut timer = SessionTimer::new(start, SessionExpires { seconds: 1_800, refresher: Some(Uac) }, Uac);
        let mut tries = Vec::new();
        loop {
            let at = timer.poll_timeout();
            tries.push((at - start).as_secs());
            match timer.handle_timeout(at) {
                Due::Refresh => timer.retry(at, None),
                Due::Nothing | Due::End => break,
            }
        }
        assert_eq!(tries, [900, 1_334, 1_551, 1_659, 1_713, 1_740, 1_754, 1_761, 1_764, 1_766, 1_768]);
    }
}
