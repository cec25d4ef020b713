//! How many calls a trunk carries (`max_calls`) and how many begin in a second (`calls_per_second`), both ways together: what a carrier
//! sells are channels, whoever opens them.

use std::collections::BTreeMap;
use std::time::Instant;

use thiserror::Error;

use super::guard::rate::{Bucket, Rate};
use crate::config::Trunk;
use crate::ids::LegId;

/// The calls of every trunk, in the order of the settings.
#[derive(Debug, Default)]
pub struct Capacity {
    trunks: BTreeMap<usize, Load>,
    legs: BTreeMap<LegId, usize>,
}

#[derive(Debug, Default)]
struct Load {
    calls: u32,
    begun: Bucket,
}

/// Which rule keeps a call out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// Too many at the same time.
    #[error("over the trunk's limit of {0} calls (max_calls)")]
    Calls(u32),
    /// Too many in a second.
    #[error("over the trunk's limit of {0} calls a second (calls_per_second)")]
    Rate(u32),
}

impl Capacity {
    /// A leg begins on a trunk, if it may.
    ///
    /// # Errors
    /// [`Full`]: then nothing is counted.
    pub fn begin(&mut self, now: Instant, leg: LegId, (number, trunk): (usize, &Trunk)) -> Result<(), Full> {
        let load = self.trunks.entry(number).or_default();
        if let Some(most) = trunk.max_calls.filter(|most| load.calls >= *most) {
            return Err(Full::Calls(most));
        }
        if let Some(most) = trunk.calls_per_second
            && !load.begun.take(now, Rate::within_a_second(most))
        {
            return Err(Full::Rate(most));
        }
        if self.legs.insert(leg, number).is_none() {
            load.calls += 1;
        }
        Ok(())
    }

    /// A leg is over. One that was never counted changes nothing.
    pub fn end(&mut self, leg: LegId) {
        if let Some(load) = self.legs.remove(&leg).and_then(|number| self.trunks.get_mut(&number)) {
            load.calls = load.calls.saturating_sub(1);
        }
    }

    /// Legs of a trunk right now.
    #[must_use]
    pub fn calls(&self, trunk: usize) -> u32 {
        self.trunks.get(&trunk).map_or(0, |load| load.calls)
    }
}

impl Full {
    /// How long whoever was kept out should wait, in seconds.
    #[must_use]
    pub fn retry_after(self) -> u32 {
        match self {
            Self::Calls(_) => 5,
            Self::Rate(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn a_trunk_is_full_by_its_calls_and_by_its_rate_and_empties_again() {
        let (start, mut capacity) = (Instant::now(), Capacity::default());
        let trunk = Trunk { max_calls: Some(5), calls_per_second: Some(3), ..Trunk::named("a", Vec::new()) };
        let other = Trunk::named("b", Vec::new());
        let at = |ms| start + Duration::from_millis(ms);
        let begun: Vec<_> = (0..4).map(|leg| capacity.begin(at(0), LegId(leg), (0, &trunk))).collect();
        assert_eq!(begun, [Ok(()), Ok(()), Ok(()), Err(Full::Rate(3))]);
        assert_eq!(capacity.begin(at(333), LegId(4), (0, &trunk)), Err(Full::Rate(3)));
        assert_eq!(capacity.begin(at(334), LegId(4), (0, &trunk)), Ok(()));
        assert_eq!(capacity.begin(at(2_000), LegId(5), (0, &trunk)), Ok(()));
        assert_eq!(capacity.begin(at(2_000), LegId(6), (0, &trunk)), Err(Full::Calls(5)));
        (10..100).for_each(|leg| assert_eq!(capacity.begin(at(2_000), LegId(leg), (1, &other)), Ok(())));
        assert_eq!((capacity.calls(0), capacity.calls(1)), (5, 90));
        // Each leg once, whoever tells of its end how often.
        [0, 0, 77].into_iter().for_each(|leg| capacity.end(LegId(leg)));
        assert_eq!((capacity.calls(0), capacity.calls(1)), (4, 89));
        assert_eq!(capacity.begin(at(2_000), LegId(6), (0, &trunk)), Ok(()));
    }
}
