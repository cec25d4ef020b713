//! One leg's media, without I/O: packets and ticks in, packets and events out.

pub mod action;
pub mod bridge;
mod control;
pub mod hearing;
mod leg;
mod listener;
pub mod mixer;
pub mod one_way;
mod overload;
mod player;
mod presses;
mod protection;
pub mod quality;
mod reception;
pub mod recorder;
mod source;
mod speaking;
pub mod switchboard;
mod tones;

pub use action::{Event, LegReport, LegSettings, RecordingChange, RecordingReport, Segment};
pub use bridge::{Bridge, Role};
pub use control::CONTROL_LENGTH_MAX;
pub use hearing::Hearing;
pub use leg::{ControlPacket, FRAME_SAMPLES, Leg, MAX_PACKET};
pub use listener::Listener;
pub use mixer::Mixer;
pub use one_way::{FarSays, OneWay, Unheard};
pub use overload::{LEGS_MIN, ON_TIME_MAX, Overload};
pub use quality::{Mos, Quality, RoundTrip, StreamQuality};
pub use recorder::Recorder;
pub use speaking::Music;
pub use switchboard::{Switch, Switchboard};
