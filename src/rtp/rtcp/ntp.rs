//! The time in RTCP: seconds since 1900 in 32.32 bits, and the middle 32 bits of it (RFC 3550 §4).

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Seconds from the beginning of 1900 to that of 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;

/// A moment in units of 2^-32 s since 1900, wrapping in 2036.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The middle 32 bits: units of 2^-16 s, wrapping each 18 hours.
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32 // the upper 16 bits are meant to go
    }

    /// The moment `duration` after this one.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.wrapping_add(duration.as_secs() << 32).wrapping_add(fraction(duration.subsec_nanos())))
    }
}

impl From<Timestamp> for NtpTime {
    fn from(moment: Timestamp) -> Self {
        let nanoseconds = moment.as_nanosecond();
        let seconds = nanoseconds.div_euclid(1_000_000_000) as u64; // wraps, as NTP's eras do
        let rest = nanoseconds.rem_euclid(1_000_000_000) as u32; // below 10^9
        Self(seconds.wrapping_add(UNIX_EPOCH) << 32).plus(Duration::from_nanos(rest.into()))
    }
}

/// Which NTP time each moment of the monotonic clock is: what one end says of its clock is even, whatever is done to the machine's
/// wall clock during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// A moment …
    pub instant: Instant,
    /// … and the same on the wall.
    pub ntp: NtpTime,
}

impl WallClock {
    /// The NTP time of a moment.
    #[must_use]
    pub fn at(&self, moment: Instant) -> NtpTime {
        match moment.checked_duration_since(self.instant) {
            Some(later) => self.ntp.plus(later),
            None => {
                let earlier = self.instant.saturating_duration_since(moment);
                NtpTime(self.ntp.0.wrapping_sub(NtpTime(0).plus(earlier).0))
            }
        }
    }
}

/// A duration in units of 2^-16 s; one that has no room is the longest there is, 18 hours.
#[must_use]
pub fn short_units(duration: Duration) -> u32 {
    u32::try_from(NtpTime(0).plus(duration.min(Duration::from_secs(1 << 16))).0 >> 16).unwrap_or(u32::MAX)
}

/// Units of 2^-16 s as a duration.
#[must_use]
pub fn from_short_units(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

fn fraction(nanoseconds: u32) -> u64 {
    (u64::from(nanoseconds) << 32) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_gives_the_time_of_1900() {
        let moment: Timestamp = "1970-01-01T00:00:00.5Z".parse().unwrap();
        assert_eq!(NtpTime::from(moment), NtpTime((UNIX_EPOCH << 32) + (1 << 31)));
        // RFC 5905 figure 4: the last second of the first era.
        let last: Timestamp = "2036-02-07T06:28:15Z".parse().unwrap();
        assert_eq!(NtpTime::from(last).0 >> 32, 0xffff_ffff);
        let next: Timestamp = "2036-02-07T06:28:16Z".parse().unwrap();
        assert_eq!(NtpTime::from(next).0 >> 32, 0);
    }

    #[test]
    fn the_monotonic_clock_moves_it_both_ways() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some moment to begin at")]
        let now = Instant::now() + Duration::from_secs(10);
        let clock = WallClock { instant: now, ntp: NtpTime(100 << 32) };
        assert_eq!(clock.at(now + Duration::from_millis(1_250)), NtpTime((101 << 32) + (1 << 30)));
        assert_eq!(clock.at(now - Duration::from_millis(1_500)), NtpTime((98 << 32) + (1 << 31)));
        assert_eq!(clock.at(now).middle(), 100 << 16);
    }

    /// RFC 3550 §6.4.1, figure 2: 5.250 s are 0x00054000.
    #[test]
    fn short_units_are_those_of_the_rfc() {
        assert_eq!(short_units(Duration::from_millis(5_250)), 0x0005_4000);
        assert_eq!(from_short_units(0x0005_4000), Duration::from_millis(5_250));
        assert_eq!(short_units(Duration::MAX), u32::MAX);
        assert!(from_short_units(u32::MAX) < Duration::from_secs(65_536));
    }
}
