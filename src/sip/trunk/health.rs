//! Whether a gateway answers: OPTIONS at intervals (RFC 3261 §11), with hysteresis, so that one lost probe changes nothing.
//!
//! ```text
//!            first answer          DOWN_AFTER failures in a row
//!   Unknown ─────────────► Up ◄═══════════════════════════════► Down
//!      └──────── DOWN_AFTER failures ──────► UP_AFTER answers in a row
//! ```
//!
//! Any answer but 503 is one: who says 404 or 403 to OPTIONS is alive.

use std::time::{Duration, Instant};

/// What is known of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was not asked, or has not answered yet: it may be used.
    Unknown,
    /// It answers.
    Up,
    /// It does not: it is used when no other is left.
    Down,
}

/// One gateway's health.
#[derive(Clone, Debug)]
pub struct Health {
    standing: Standing,
    /// Answers or failures in a row that speak against `standing`.
    against: u32,
    /// Time between probes; `None`: only calls tell.
    interval: Option<Duration>,
    state: State,
    /// Probes so far: a late answer to an older one tells nothing.
    number: u32,
    /// How long the last answer took.
    round_trip: Option<Duration>,
    /// The last status; 0 for silence.
    status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { at: Instant },
    Asking { since: Instant },
}

/// So many failures in a row, and a gateway is down.
pub const DOWN_AFTER: u32 = 2;

/// So many answers in a row, and it is up again.
pub const UP_AFTER: u32 = 2;

/// An answer that takes longer is none: four copies of the probe went out over UDP until then.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// A gateway that has just failed is asked again sooner than after the whole interval.
const AGAIN: Duration = Duration::from_secs(5);

impl Health {
    /// The first probe is due at `at`.
    #[must_use]
    pub fn new(interval: Option<Duration>, at: Instant) -> Self {
        let state = State::Waiting { at };
        Self { standing: Standing::Unknown, against: 0, interval, state, number: 0, round_trip: None, status: None }
    }

    /// What is known.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How long the last answer took, and its status.
    #[must_use]
    pub fn last(&self) -> (Option<Duration>, Option<u16>) {
        (self.round_trip, self.status)
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.interval?;
        Some(match self.state {
            State::Waiting { at } => at,
            State::Asking { since } => since + PATIENCE,
        })
    }

    /// Whether to send a probe now, and under which number; silence counts here.
    pub fn handle_timeout(&mut self, now: Instant) -> (Option<u32>, Option<Standing>) {
        match self.state {
            _ if self.poll_timeout().is_none_or(|at| now < at) => (None, None),
            State::Waiting { .. } => {
                self.number = self.number.wrapping_add(1);
                self.state = State::Asking { since: now };
                (Some(self.number), None)
            }
            State::Asking { .. } => {
                self.round_trip = None;
                self.status = Some(0);
                (None, self.judge(now, false))
            }
        }
    }

    /// A final answer to the probe of this number. Comes back with a standing that changed.
    pub fn handle_answer(&mut self, now: Instant, number: u32, status: u16, answered: bool) -> Option<Standing> {
        let State::Asking { since } = self.state else { return None };
        if number != self.number {
            return None;
        }
        self.round_trip = answered.then(|| now.saturating_duration_since(since));
        self.status = Some(if answered { status } else { 0 });
        self.judge(now, answered && status != 503)
    }

    fn judge(&mut self, now: Instant, answered: bool) -> Option<Standing> {
        let (opposite, needed) = match (self.standing, answered) {
            (Standing::Up, true) | (Standing::Down, false) => (self.standing, 0),
            (Standing::Unknown, true) => (Standing::Up, 1),
            (Standing::Down, true) => (Standing::Up, UP_AFTER),
            (Standing::Unknown | Standing::Up, false) => (Standing::Down, DOWN_AFTER),
        };
        let interval = self.interval.unwrap_or(AGAIN);
        let wait = if needed == 0 { interval } else { interval.min(AGAIN) };
        self.state = State::Waiting { at: now + wait };
        if needed == 0 {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.state = State::Waiting { at: now + interval };
        self.against = 0;
        self.standing = opposite;
        Some(opposite)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Asks as often as it wants for `seconds`; each probe is answered 100 ms later, or never. Writes down what changes.
    fn watch(health: &mut Health, start: Instant, seconds: std::ops::Range<u64>, answers: bool) -> Vec<String> {
        let end = start + SECOND * u32::try_from(seconds.end).unwrap();
        let mut told = Vec::new();
        while let Some(at) = health.poll_timeout().filter(|at| *at < end) {
            let (probe, mut changed) = health.handle_timeout(at);
            if let (Some(number), true) = (probe, answers) {
                changed = health.handle_answer(at + Duration::from_millis(100), number, 200, true);
            }
            let after = at.duration_since(start).as_secs();
            told.extend(changed.map(|standing| format!("{after} {standing:?}")));
        }
        told
    }

    #[test]
    fn two_silences_take_a_gateway_down_and_two_answers_bring_it_back() {
        let start = Instant::now();
        let mut health = Health::new(Some(30 * SECOND), start);
        assert_eq!(health.standing(), Standing::Unknown);
        assert_eq!(watch(&mut health, start, 0..100, true), ["0 Up"]);
        // The probe at 120 s fails at 124, the one at 129 at 133; the one at 197 is lost yet.
        assert_eq!(watch(&mut health, start, 100..200, false), ["133 Down"]);
        assert_eq!(watch(&mut health, start, 200..300, true), ["236 Up"]);
        assert_eq!(health.last(), (Some(Duration::from_millis(100)), Some(200)));
    }

    #[test]
    fn one_lost_probe_changes_nothing() {
        let start = Instant::now();
        let mut health = Health::new(Some(30 * SECOND), start);
        assert_eq!(watch(&mut health, start, 0..10, true), ["0 Up"]);
        assert_eq!(health.handle_timeout(start + 31 * SECOND), (Some(2), None));
        assert_eq!(health.handle_timeout(start + 35 * SECOND), (None, None));
        assert_eq!(watch(&mut health, start, 35..300, true), Vec::<String>::new());
        assert_eq!(health.standing(), Standing::Up);
    }

    #[test]
    fn only_503_is_no_sign_of_life_and_a_late_answer_tells_nothing() {
        let start = Instant::now();
        for (status, expected) in [(200, Standing::Up), (404, Standing::Up), (503, Standing::Unknown)] {
            let mut health = Health::new(Some(30 * SECOND), start);
            assert_eq!(health.handle_timeout(start), (Some(1), None));
            assert_eq!(health.handle_answer(start, 7, status, true), None, "another probe's");
            health.handle_answer(start, 1, status, true);
            assert_eq!(health.standing(), expected, "{status}");
        }
    }
}
