//! One leg's media, without I/O: packets and ticks in, packets and events out.

pub mod action;
pub mod bridge;
pub mod hearing;
mod leg;
mod listener;
pub mod mixer;
mod overload;
mod player;
mod presses;
mod protection;
mod reception;
pub mod recorder;
mod source;
mod speaking;
pub mod switchboard;
mod tones;

pub use action::{Event, LegReport, LegSettings, RecordingChange, RecordingReport, Segment};
pub use bridge::{Bridge, Role};
pub use hearing::Hearing;
pub use leg::{FRAME_SAMPLES, Leg, MAX_PACKET};
pub use listener::Listener;
pub use mixer::Mixer;
pub use overload::{LEGS_MIN, Overload};
pub use recorder::Recorder;
pub use speaking::Music;
pub use switchboard::{Switch, Switchboard};
