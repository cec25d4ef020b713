//! Token buckets, each one moment of memory.

use std::time::{Duration, Instant};

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exchange) struct Rate {
    interval: Duration,
    burst: Duration,
}

/// A bucket of tokens, full at first: the moment at which it is full again says how many are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::exchange) struct Bucket {
    full_at: Option<Instant>,
}

/// A bucket holds what flows in during so many seconds.
const BURST_SECONDS: u32 = 5;

impl Rate {
    /// `per_second` is at least 1; five seconds' worth may come at once.
    pub fn of(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: interval * per_second.max(1) * BURST_SECONDS }
    }

    /// `per_second` is at least 1, and no more than that come at once: what a carrier counts.
    pub fn within_a_second(per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: interval * per_second.max(1) }
    }
}

impl Bucket {
    /// Whether a token is there.
    pub fn has(&self, now: Instant, rate: Rate) -> bool {
        let missing = self.full_at.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        missing + rate.interval <= rate.burst
    }

    /// Takes a token, if one is there.
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let has = self.has(now, rate);
        if has {
            self.full_at = Some(self.full_at.unwrap_or(now).max(now) + rate.interval);
        }
        has
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (start, rate, mut bucket) = (Instant::now(), Rate::of(10), Bucket::default());
        let taken = |bucket: &mut Bucket, now| (0..1_000).filter(|_| bucket.take(now, rate)).count();
        assert_eq!(taken(&mut bucket, start), 50);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(99)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(100)), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(1_100)), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3_600)), 50);
    }
}
