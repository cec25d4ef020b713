//! One leg's media, without I/O: packets and ticks in, packets and events out.

pub mod action;

pub use action::{Event, LegReport, LegSettings, Segment};
