//! One leg's media, without I/O: packets and ticks in, packets and events out.

pub mod action;
mod leg;
mod listener;
mod player;
mod reception;
pub mod recorder;
mod source;

pub use action::{Event, LegReport, LegSettings, RecordingReport, Segment};
pub use leg::{FRAME_SAMPLES, Leg, MAX_PACKET};
pub use listener::Listener;
pub use recorder::Recorder;
