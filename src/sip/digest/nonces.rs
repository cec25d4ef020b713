//! The server's nonces (RFC 7616 §3.3, §5.4): given to anybody, remembered only for those who knew the password.
//!
//! A nonce carries its own age and a code that nobody else can make, so a challenge costs no memory. Of a nonce that was used
//! with the right password the counts are kept, and none is taken twice. Where there is no room for another one, the oldest is
//! forgotten together with everything that was given before it: a flood can make phones ask again, not let a replay through.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ids::Ids;

/// Nonces whose counts are kept: a few for each phone of the largest centre.
pub const COUNTED_MAX: usize = 65_536;

/// Counts below the highest that may still come: requests of one phone overtake each other.
const WINDOW: u32 = 64;

/// What becomes of a nonce that came with the right password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// This is its first use with this count.
    Fresh,
    /// Too old, of another process, or used with this count before: the client may ask again with a new one, without
    /// asking its user (`stale=true`).
    Stale,
}

/// All nonces of one server.
pub struct Nonces {
    /// As long as a block of the hash, so that it is used whole.
    key: [u8; 64],
    epoch: Instant,
    lifetime: Duration,
    next: u32,
    counted: BTreeMap<Id, Counts>,
    /// Everything up to this one is stale.
    forgotten: Option<Id>,
}

/// Milliseconds since the epoch, and a number: the order in which nonces were given.
type Id = (u64, u32);

/// The counts that came with one nonce.
#[derive(Debug, Default)]
struct Counts {
    highest: u32,
    /// Bit `n`: `highest - n` has come.
    seen: u64,
}

/// Hexadecimal digits of a nonce's parts.
const MOMENT_DIGITS: usize = 12;
const NUMBER_DIGITS: usize = 8;
const CODE_DIGITS: usize = 32;

impl Nonces {
    /// No nonce was given yet. `ids` gives the key: nobody else makes nonces of this server.
    #[must_use]
    pub fn new(now: Instant, lifetime: Duration, ids: &mut Ids) -> Self {
        let mut key = [0; 64];
        ids.fill(&mut key);
        Self { key, epoch: now, lifetime, next: 0, counted: BTreeMap::new(), forgotten: None }
    }

    /// A new nonce.
    pub fn give(&mut self, now: Instant) -> String {
        self.next = self.next.wrapping_add(1);
        let id = (self.moment(now), self.next);
        self.write(id)
    }

    /// Takes note of a nonce that came with the right password, and its count; `None`: without one (RFC 2069), then it serves once.
    pub fn take(&mut self, now: Instant, nonce: &[u8], count: Option<u32>) -> Freshness {
        let Some(id) = self.read(nonce) else { return Freshness::Stale };
        let moment = self.moment(now);
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let is_old = |given: u64| moment.saturating_sub(given) > lifetime;
        while self.counted.first_key_value().is_some_and(|((given, _), _)| is_old(*given)) {
            self.counted.pop_first();
        }
        if is_old(id.0) || self.forgotten.is_some_and(|forgotten| id <= forgotten) {
            return Freshness::Stale;
        }
        let fresh = self.counted.entry(id).or_default().take(count);
        if self.counted.len() > COUNTED_MAX {
            self.forgotten = self.counted.pop_first().map(|(oldest, _)| oldest);
        }
        if fresh { Freshness::Fresh } else { Freshness::Stale }
    }

    /// Nonces whose counts are kept.
    #[must_use]
    pub fn counted(&self) -> usize {
        self.counted.len()
    }

    fn moment(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    fn write(&self, (moment, number): Id) -> String {
        let code = self.code((moment, number));
        format!("{moment:0MOMENT_DIGITS$x}{number:0NUMBER_DIGITS$x}{code:0CODE_DIGITS$x}")
    }

    /// The place of a nonce in the order, if it is one of ours.
    fn read(&self, nonce: &[u8]) -> Option<Id> {
        let text = std::str::from_utf8(nonce).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let (moment, rest) = text.split_at_checked(MOMENT_DIGITS)?;
        let (number, code) = rest.split_at_checked(NUMBER_DIGITS)?;
        let id = (u64::from_str_radix(moment, 16).ok()?, u32::from_str_radix(number, 16).ok()?);
        let code = u128::from_str_radix(code, 16).ok().filter(|_| code.len() == CODE_DIGITS)?;
        (std::hint::black_box(code ^ self.code(id)) == 0).then_some(id)
    }

    fn code(&self, (moment, number): Id) -> u128 {
        let mut mac = Hmac::<Sha256>::new((&self.key).into());
        mac.update(&moment.to_be_bytes());
        mac.update(&number.to_be_bytes());
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(16).fold(0, |code, byte| code << 8 | u128::from(*byte))
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nonces({} counted)", self.counted.len())
    }
}

impl Counts {
    /// Whether this count comes for the first time.
    fn take(&mut self, count: Option<u32>) -> bool {
        let Some(count) = count else {
            let first = self.seen == 0;
            (self.highest, self.seen) = (u32::MAX, u64::MAX);
            return first;
        };
        if count == 0 {
            return false;
        }
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let fresh = behind < WINDOW && self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn nonces() -> (Instant, Nonces) {
        let start = Instant::now();
        (start, Nonces::new(start, LIFETIME, &mut Ids::from_seed(1)))
    }

    #[test]
    fn each_count_of_a_nonce_is_taken_once_in_any_order() {
        let (now, mut nonces) = nonces();
        let nonce = nonces.give(now);
        let mut take = |count| nonces.take(now, nonce.as_bytes(), Some(count)) == Freshness::Fresh;
        assert_eq!([1, 1, 3, 2, 3, 2, 0].map(&mut take), [true, false, true, true, false, false, false]);
        assert_eq!(
            [80, 17, 16, 17, 79, u32::MAX, 80, 1].map(&mut take),
            [true, true, false, false, true, true, false, false]
        );
    }

    /// RFC 2069 has no count, so such a nonce would serve for ever.
    #[test]
    fn a_nonce_without_a_count_serves_once() {
        let (now, mut nonces) = nonces();
        let nonce = nonces.give(now);
        let answers = [None, None, Some(7)].map(|count| nonces.take(now, nonce.as_bytes(), count));
        assert_eq!(answers, [Freshness::Fresh, Freshness::Stale, Freshness::Stale]);
    }

    #[test]
    fn a_nonce_gets_stale_with_time_and_is_then_forgotten() {
        let (now, mut nonces) = nonces();
        let (nonce, other) = (nonces.give(now), nonces.give(now));
        assert_ne!(nonce, other);
        assert_eq!(nonces.take(now + LIFETIME, nonce.as_bytes(), Some(1)), Freshness::Fresh);
        let late = now + LIFETIME + Duration::from_millis(1);
        assert_eq!(nonces.take(late, nonce.as_bytes(), Some(2)), Freshness::Stale);
        assert_eq!(nonces.counted(), 0);
    }

    #[test]
    fn nonces_of_others_are_stale() {
        let (now, mut nonces) = nonces();
        let theirs = Nonces::new(now, LIFETIME, &mut Ids::from_seed(2)).give(now);
        let mut altered = nonces.give(now);
        altered.replace_range(11..12, if altered.as_bytes()[11] == b'0' { "1" } else { "0" });
        for nonce in [theirs.as_str(), &altered, "", "f", "ñ", &"f".repeat(52), &"+".repeat(52)] {
            assert_eq!(nonces.take(now, nonce.as_bytes(), Some(1)), Freshness::Stale, "{nonce}");
        }
        assert_eq!(nonces.counted(), 0);
    }

    /// At the bound the oldest is forgotten, and what was given before it cannot be replayed.
    #[test]
    fn a_flood_makes_old_nonces_stale_and_opens_no_replay() {
        let (now, mut nonces) = nonces();
        let (before, oldest) = (nonces.give(now), nonces.give(now));
        assert_eq!(nonces.take(now, oldest.as_bytes(), Some(1)), Freshness::Fresh);
        for _ in 0..COUNTED_MAX {
            let nonce = nonces.give(now);
            assert_eq!(nonces.take(now, nonce.as_bytes(), Some(1)), Freshness::Fresh);
        }
        assert_eq!(nonces.counted(), COUNTED_MAX);
        for nonce in [before, oldest] {
            assert_eq!(nonces.take(now, nonce.as_bytes(), Some(1)), Freshness::Stale);
        }
    }
}
