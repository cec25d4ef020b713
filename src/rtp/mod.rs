//! RTP packets, sequence and time arithmetic (RFC 3550, RFC 3551), and their protection (RFC 3711).
//!
//! The fixed header is twelve bytes, so it is ours: the `rtp` crate brings `webrtc-util` and a runtime for them.

pub mod header;
pub mod jitter_buffer;
pub mod rtcp;
mod rtcp_path;
pub mod srtp;
pub mod time;

pub use header::{HEADER_LENGTH, RtpError, RtpHeader};
pub use jitter_buffer::{Arrival, Hole, JitterBuffer, JitterCounts, JitterSettings, Playout};
pub use rtcp_path::RtcpPath;
pub use time::{RtpTime, SequenceNumber, Ssrc};
