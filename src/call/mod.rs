//! One call, from INVITE to call record.

pub mod record;

pub use record::{CallRecord, PathEntry};
