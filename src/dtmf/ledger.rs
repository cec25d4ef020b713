//! One press is one digit, by however many roads it comes: telephone events and tones in the media, INFO in the signalling.
//!
//! Telephones send several at once: Yealink's have a setting for RFC 2833 *and* INFO, Grandstream's a box for each of the three, and
//! gateways let a little of the tone through before the telephone event that stands for it.
//!
//! ```text
//! ms             0         35 … 300              length of the press …              … + 0.5, 1.5, 3.5 s
//! event          first packet
//! tones                    30–35 heard, behind the jitter buffer
//! INFO           sent here, or                   here                               and again where it was lost (timer E)
//! ```
//!
//! So the roads in the media wait for each other for [`MEDIA_PATIENCE`], and an INFO finds its press for much longer. Reports of one key
//! pair up in their order: of three presses by two roads, of which one road loses one, three remain.

use std::time::{Duration, Instant};

use super::Digit;

/// How late a press may come by a road in the media when another road has told of it: as deep as a jitter buffer gets, what it
/// takes to hear a tone, and lost first packets.
const MEDIA_PATIENCE: Duration = Duration::from_millis(400);

/// How late an INFO may come behind the end of its press: sent four times, 500 ms, 1 s and 2 s apart (RFC 3261 §17.1.2.2).
const INFO_PATIENCE: Duration = Duration::from_secs(4);

/// No press is believed to have been longer: what Cisco's gateways take for the longest, and more.
const HELD_MAX: Duration = Duration::from_secs(10);

/// Presses remembered.
const REMEMBERED: usize = 16;

/// How a digit reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// RFC 4733, in the media.
    TelephoneEvent,
    /// SIP INFO.
    Info,
    /// Tones in the audio (ITU-T Q.23).
    InBand,
}

/// The digits of one call, each counted once.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The presses counted last, oldest first.
    presses: [Option<Counted>; REMEMBERED],
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    since: Instant,
    digit: Digit,
    /// A bit for each road that has told of it.
    roads: u8,
}

impl Ledger {
    /// Enters a digit; true when it is a press of its own, false when another road has told of the same press. Two digits by one
    /// road are always two presses. `held` is how long an INFO says that the key was down; it is sent when the key goes up.
    pub fn enter(&mut self, now: Instant, road: Road, digit: Digit, held: Duration) -> bool {
        let patience = match road {
            Road::TelephoneEvent | Road::InBand => MEDIA_PATIENCE,
            Road::Info => INFO_PATIENCE + held.min(HELD_MAX),
        };
        let told = self.presses.iter_mut().flatten().find(|press| {
            press.digit == digit
                && press.roads & road.bit() == 0
                && now.saturating_duration_since(press.since) <= patience
        });
        if let Some(press) = told {
            press.roads |= road.bit();
            return false;
        }
        self.presses.rotate_left(1);
        if let Some(newest) = self.presses.last_mut() {
            *newest = Some(Counted { since: now, digit, roads: road.bit() });
        }
        true
    }
}

impl Road {
    fn bit(self) -> u8 {
        match self {
            Self::TelephoneEvent => 1,
            Self::Info => 2,
            Self::InBand => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of (milliseconds, road, key); gives the keys that count.
    fn counted(rows: &[(u64, Road, char)]) -> String {
        held(&rows.iter().map(|&(ms, road, key)| (ms, road, key, 0)).collect::<Vec<_>>())
    }

    /// The same, with the milliseconds for which an INFO says that the key was down.
    fn held(rows: &[(u64, Road, char, u64)]) -> String {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        let start = Instant::now();
        let mut ledger = Ledger::default();
        let mut is_counted = |&&(ms, road, key, held): &&(u64, Road, char, u64)| {
            let (at, held) = (start + Duration::from_millis(ms), Duration::from_millis(held));
            ledger.enter(at, road, Digit::from_char(key).unwrap(), held)
        };
        rows.iter().filter(|row| is_counted(row)).map(|row| row.2).collect()
    }

    use Road::{InBand, Info, TelephoneEvent as Event};

    #[test]
    fn all_roads_of_a_press_count_once_in_any_order() {
        assert_eq!(counted(&[(0, Event, '5'), (120, Info, '5')]), "5");
        assert_eq!(counted(&[(0, Info, '5'), (20, Event, '5')]), "5");
        assert_eq!(counted(&[(0, Event, '5'), (60, InBand, '5'), (120, Info, '5')]), "5");
        assert_eq!(counted(&[(0, Info, '5'), (30, Event, '5'), (300, InBand, '5')]), "5");
        assert_eq!(counted(&[(0, InBand, '5'), (30, Event, '5'), (90, Info, '5')]), "5");
        assert_eq!(counted(&[(0, Info, '5'), (400, InBand, '5')]), "5");
        assert_eq!(counted(&[(0, Info, '5'), (401, InBand, '5')]), "55", "too late for the same press");
    }

    #[test]
    fn two_presses_are_two_by_one_road_and_by_all() {
        assert_eq!(counted(&[(0, Event, '5'), (90, Event, '5')]), "55");
        assert_eq!(counted(&[(0, Info, '5'), (0, Info, '5')]), "55");
        assert_eq!(counted(&[(0, InBand, '5'), (80, InBand, '5')]), "55");
        assert_eq!(counted(&[(0, Event, '5'), (100, Info, '5'), (200, Event, '5'), (300, Info, '5')]), "55");
        assert_eq!(counted(&[(0, Event, '5'), (100, Event, '5'), (200, Info, '5'), (300, Info, '5')]), "55");
        assert_eq!(counted(&[(0, Event, '5'), (100, Info, '5'), (150, Info, '5')]), "55");
        let press = |at| [(at, Event, '5'), (at + 60, InBand, '5'), (at + 110, Info, '5')];
        assert_eq!(counted(&[press(0), press(200), press(400)].concat()), "555");
    }

    /// 0.5, 1.5 and 3.5 s behind the first: when an INFO is sent again.
    #[test]
    fn an_info_that_was_lost_finds_its_press_when_it_comes_again() {
        for late in [600, 1_600, 3_600] {
            assert_eq!(counted(&[(0, Event, '5'), (late, Info, '5')]), "5", "{late} ms");
            assert_eq!(counted(&[(0, Event, '5'), (100, Event, '5'), (200, Info, '5'), (late, Info, '5')]), "55");
            let other_first = [(0, InBand, '1'), (500, InBand, '2'), (900, Info, '2'), (late, Info, '1')];
            assert_eq!(counted(&other_first), "12");
        }
        assert_eq!(counted(&[(0, Event, '5'), (4_001, Info, '5')]), "55");
    }

    #[test]
    fn an_info_at_the_end_of_a_long_press_finds_its_beginning() {
        assert_eq!(held(&[(0, Event, '5', 0), (7_100, Info, '5', 7_000)]), "5");
        assert_eq!(held(&[(0, Event, '5', 0), (60_000, Info, '5', 60_000)]), "55", "no press is that long");
    }

    /// A road that loses one of three presses takes none from the others.
    #[test]
    fn a_press_that_one_road_loses_is_counted_by_the_other() {
        let press = |at| [(at, InBand, '5'), (at + 150, Info, '5')];
        for lost in 0..6 {
            let mut rows = [press(0), press(300), press(600)].concat();
            rows.remove(lost);
            assert_eq!(counted(&rows), "555", "without row {lost}");
        }
    }

    #[test]
    fn different_keys_never_merge() {
        assert_eq!(counted(&[(0, Event, '1'), (50, Info, '2'), (100, Event, '2'), (150, Info, '1')]), "12");
    }

    #[test]
    fn more_presses_than_are_remembered_lose_nothing() {
        let rows: Vec<_> = "01234567890123456789".chars().map(|key| (0, Event, key)).collect();
        assert_eq!(counted(&rows), "01234567890123456789");
    }
}
