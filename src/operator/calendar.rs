//! Opening hours: half-open intervals in the operator's time zone, holidays, overrides that expire.

/// Opening hours of one service.
#[derive(Clone, Debug)]
pub struct Calendar {}
