//! How long until the next report (RFC 3550 §6.2, §6.3, appendix A.7).
//!
//! With two ends, a stream each and 64 kbit/s or more it is always the least interval: five seconds, half of it for the first report, drawn from half
//! to one and a half times that and divided by 1.22 — 2 to 6.2 s. The arithmetic is all there, for far ends that have more
//! streams and codecs of less.

use std::time::Duration;

/// RFC 3550 §6.2: the least mean interval, which the first report halves.
const LEAST: f64 = 5.0;

/// RFC 3550 §6.2: a twentieth of the session's bandwidth is for RTCP, a quarter of it for those who send while they are few.
const RTCP_SHARE: f64 = 0.05;
const SENDERS_SHARE: f64 = 0.25;

/// RFC 3550 §6.3.1: e − 3/2, which makes up for what reconsideration delays.
const COMPENSATION: f64 = 1.218_28;

/// What the interval depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Those who take part, ourselves included.
    pub members: u32,
    /// Those of them who send.
    pub senders: u32,
    /// We send.
    pub we_send: bool,
    /// We have not reported yet.
    pub is_first: bool,
    /// Bytes of the reports of all, on the mean, with IP and UDP.
    pub average_size: f64,
    /// The session's bandwidth in bits a second, with IP and UDP.
    pub bandwidth: u32,
}

impl Conditions {
    /// How long after the last report the next one is due; `random` is 0 to 1, evenly.
    #[must_use]
    pub fn interval(&self, random: f64) -> Duration {
        let least = if self.is_first { LEAST / 2.0 } else { LEAST };
        let bytes_a_second = f64::from(self.bandwidth.max(1)) * RTCP_SHARE / 8.0;
        let (members, senders) = (f64::from(self.members.max(1)), f64::from(self.senders));
        let (count, share) = if senders > members * SENDERS_SHARE {
            (members, 1.0)
        } else if self.we_send {
            (senders, SENDERS_SHARE)
        } else {
            (members - senders, 1.0 - SENDERS_SHARE)
        };
        let mean = (self.average_size * count / (bytes_a_second * share)).max(least);
        Duration::from_secs_f64(mean.min(LONGEST) * (random.clamp(0.0, 1.0) + 0.5) / COMPENSATION)
    }
}

/// Whatever the far end claims, we report once in this time.
const LONGEST: f64 = 60.0;

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Conditions =
        Conditions { members: 2, senders: 2, we_send: true, is_first: false, average_size: 120.0, bandwidth: 80_000 };

    fn range(conditions: Conditions) -> (u128, u128) {
        (conditions.interval(0.0).as_millis(), conditions.interval(1.0).as_millis())
    }

    #[test]
    fn a_call_reports_each_2_to_6_seconds() {
        assert_eq!(range(CALL), (2_052, 6_156));
        assert_eq!(range(Conditions { is_first: true, ..CALL }), (1_026, 3_078));
        assert_eq!(range(Conditions { we_send: false, senders: 1, ..CALL }), (2_052, 6_156));
    }

    /// RFC 3550 §6.2: senders share a quarter while they are a quarter or less, receivers the rest.
    #[test]
    fn many_members_share_the_bandwidth() {
        let conference = Conditions { members: 100, senders: 2, ..CALL };
        // 500 bytes a second: 120 bytes × 2 senders in a quarter of it, 98 receivers in the rest.
        let mean = |seconds: f64| (seconds * 1_000.0 / COMPENSATION) as u128;
        assert_eq!(conference.interval(0.5).as_millis(), mean(5.0), "1.92 s are less than the least");
        assert_eq!(Conditions { we_send: false, ..conference }.interval(0.5).as_millis(), mean(31.36));
        assert_eq!(Conditions { senders: 60, ..conference }.interval(0.5).as_millis(), mean(24.0));
    }

    #[test]
    fn nothing_that_is_claimed_stops_the_reports() {
        for (members, average_size, bandwidth) in [(u32::MAX, 1e9, 0), (0, f64::NAN, 1), (1, -1.0, u32::MAX)] {
            let interval = Conditions { members, average_size, bandwidth, ..CALL }.interval(f64::INFINITY);
            assert!(interval <= Duration::from_secs(74) && interval >= Duration::from_secs(2), "{interval:?}");
        }
    }
}
