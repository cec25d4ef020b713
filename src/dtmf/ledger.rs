//! One press is one digit, also when it comes by two roads: telephone events in the media and INFO in the signalling.

use std::time::{Duration, Instant};

use super::Digit;

/// How far the two reports of one press may lie apart. INFO is sent at the end of the press, often a little later.
const WINDOW: Duration = Duration::from_millis(400);

/// Presses that may still wait for their twin: in 400 ms nobody presses more keys.
const WAITING: usize = 8;

/// How a digit reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// RFC 4733, in the media.
    TelephoneEvent,
    /// SIP INFO.
    Info,
}

/// The digits of one call, each counted once.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Presses that came by one road only so far, oldest first.
    waiting: [Option<(Instant, Road, Digit)>; WAITING],
}

impl Ledger {
    /// Enters a digit; true when it is a press of its own, false when the other road has reported the same press within
    /// 400 ms. Two digits by one road are always two presses, and each has at most one twin.
    pub fn enter(&mut self, now: Instant, road: Road, digit: Digit) -> bool {
        for place in &mut self.waiting {
            if place.is_some_and(|(since, ..)| now.saturating_duration_since(since) > WINDOW) {
                *place = None;
            }
        }
        let twin = self
            .waiting
            .iter_mut()
            .find(|place| place.is_some_and(|(_, waiting_road, waiting)| waiting_road != road && waiting == digit));
        if let Some(twin) = twin {
            *twin = None;
            return false;
        }
        self.close_gaps();
        if self.waiting.iter().all(Option::is_some) {
            self.waiting.rotate_left(1);
            self.waiting[WAITING - 1] = None;
        }
        if let Some(place) = self.waiting.iter_mut().find(|place| place.is_none()) {
            *place = Some((now, road, digit));
        }
        true
    }

    /// Keeps the oldest first: a twin must match the earliest press that waits for it.
    fn close_gaps(&mut self) {
        self.waiting.sort_by_key(|place| (place.is_none(), place.map(|(since, ..)| since)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of (milliseconds, road, key); gives the keys that count.
    fn counted(rows: &[(u64, Road, char)]) -> String {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        let start = Instant::now();
        let mut ledger = Ledger::default();
        rows.iter()
            .filter(|(ms, road, key)| {
                ledger.enter(start + Duration::from_millis(*ms), *road, Digit::from_char(*key).unwrap())
            })
            .map(|(_, _, key)| *key)
            .collect()
    }

    use Road::{Info, TelephoneEvent as Event};

    #[test]
    fn both_roads_of_a_press_count_once() {
        assert_eq!(counted(&[(0, Event, '5'), (120, Info, '5')]), "5");
        assert_eq!(counted(&[(0, Info, '5'), (20, Event, '5')]), "5");
        assert_eq!(counted(&[(0, Event, '5'), (400, Info, '5')]), "5");
        assert_eq!(counted(&[(0, Event, '5'), (401, Info, '5')]), "55");
    }

    #[test]
    fn two_presses_by_one_road_are_two() {
        assert_eq!(counted(&[(0, Event, '5'), (90, Event, '5')]), "55");
        assert_eq!(counted(&[(0, Info, '5'), (0, Info, '5')]), "55");
        assert_eq!(counted(&[(0, Event, '5'), (100, Info, '5'), (200, Event, '5'), (300, Info, '5')]), "55");
        assert_eq!(counted(&[(0, Event, '5'), (100, Event, '5'), (200, Info, '5'), (300, Info, '5')]), "55");
        assert_eq!(counted(&[(0, Event, '5'), (100, Info, '5'), (150, Info, '5')]), "55");
    }

    #[test]
    fn different_keys_never_merge() {
        assert_eq!(counted(&[(0, Event, '1'), (50, Info, '2'), (100, Event, '2'), (150, Info, '1')]), "12");
    }

    #[test]
    fn more_presses_than_can_wait_lose_nothing() {
        let rows: Vec<_> = "0123456789".chars().map(|key| (0, Event, key)).collect();
        assert_eq!(counted(&rows), "0123456789");
    }
}
