//! One leg's media, without I/O: packets and ticks in, packets and events out.

pub mod action;
mod leg;
mod listener;
mod player;
mod reception;
mod source;

pub use action::{Event, LegReport, LegSettings, Segment};
pub use leg::{FRAME_SAMPLES, Leg, MAX_PACKET};
pub use listener::Listener;
