//! How durations are spread: counted in steps of 10 µs, so that millions cost no more memory than one.

use std::time::Duration;

/// Nanoseconds of a step.
const STEP_NS: u64 = 10_000;

/// Steps that are told apart: one second. What is longer counts as that long.
const STEPS: usize = 100_000;

/// Counted durations.
#[derive(Clone, Debug)]
pub struct Spread {
    counts: Box<[u32]>,
    total: u64,
    longest_ns: u64,
}

impl Spread {
    /// Nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: vec![0; STEPS].into_boxed_slice(), total: 0, longest_ns: 0 }
    }

    /// Counts one.
    pub fn add_ns(&mut self, ns: u64) {
        let step = usize::try_from(ns / STEP_NS).unwrap_or(usize::MAX).min(STEPS - 1);
        if let Some(count) = self.counts.get_mut(step) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The duration that `percent` of all do not exceed, in milliseconds; `None` when nothing was counted.
    #[must_use]
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let rank = (self.total as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut below = 0;
        let step = self.counts.iter().position(|&count| {
            below += u64::from(count);
            below >= rank
        })?;
        Some((step as u64 * STEP_NS) as f64 / 1e6)
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> Option<f64> {
        (self.total > 0).then(|| self.longest_ns as f64 / 1e6)
    }

    /// The share, 0 to 1, of those further than `tolerance` from `middle`.
    #[must_use]
    pub fn share_outside(&self, middle: Duration, tolerance: Duration) -> f64 {
        let step = |duration: Duration| usize::try_from(duration.as_nanos() / u128::from(STEP_NS)).unwrap_or(STEPS);
        let within = step(middle.saturating_sub(tolerance))..=step(middle + tolerance).min(STEPS - 1);
        let inside: u64 = self.counts.get(within).unwrap_or_default().iter().map(|&count| u64::from(count)).sum();
        if self.total == 0 { 0.0 } else { (self.total - inside) as f64 / self.total as f64 }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let mut spread = Spread::new();
        assert_eq!((spread.percentile_ms(50.0), spread.longest_ms(), spread.count()), (None, None, 0));
        (1..=100).for_each(|ms| spread.add_ns(ms * MS));
        assert_eq!((spread.percentile_ms(50.0), spread.percentile_ms(99.0)), (Some(50.0), Some(99.0)));
        assert_eq!((spread.percentile_ms(0.0), spread.percentile_ms(100.0)), (Some(1.0), Some(100.0)));
        spread.add_ns(90_000 * MS);
        assert_eq!(spread.longest_ms(), Some(90_000.0), "known to the millisecond although it has no step of its own");
    }

    #[test]
    fn what_lies_outside_a_band_is_a_share() {
        let mut spread = Spread::new();
        let (middle, tolerance) = (Duration::from_millis(20), Duration::from_millis(3));
        assert!(spread.share_outside(middle, tolerance).abs() < f64::EPSILON);
        for ms in [16, 17, 20, 23, 24, 20, 20, 20] {
            spread.add_ns(ms * MS);
        }
        assert!((spread.share_outside(middle, tolerance) - 0.25).abs() < f64::EPSILON, "16 and 24 of eight");
    }
}
