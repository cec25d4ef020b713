//! When a case's deadline runs out: in natural hours or in the open hours of a calendar (`requirements.md` B-23, P-07).

use jiff::Timestamp;

use super::{CaseKind, Operator, SlaClock};

/// When a case of this kind, received at `received`, must have its answer. `None`: the kind has no deadline, or its calendar does
/// not open often enough for one.
#[must_use]
pub fn due(received: Timestamp, kind: &CaseKind, operator: &Operator) -> Option<Timestamp> {
    let (time, clock) = kind.deadline.as_ref()?;
    match clock {
        SlaClock::Natural => received.checked_add(jiff::SignedDuration::try_from(*time).ok()?).ok(),
        SlaClock::Calendar(name) => operator.calendars.get(name)?.after_open_time(received, *time, &operator.time_zone),
    }
}
