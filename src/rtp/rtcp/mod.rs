//! RTCP: what each end of a stream tells the other of it (RFC 3550 §6), pure.
//!
//! ```text
//! compound.rs   bytes → sender and receiver reports, CNAME, BYE; everything else is stepped over
//! report.rs     the report that a leg sends, as bytes
//! interval.rs   how long until the next one (§6.2, appendix A.7)
//! session.rs    one leg's part in it: when it reports, what the far end's reports say of ours
//! ntp.rs        the clock that reports are stamped with
//! ```
//!
//! Written by ourselves: it is four short packets, and the `rtcp` crate panics on eight bytes that anyone may send
//! (`81 cd 00 01 0e e4 93 f4`).
//!
//! Left out: more than one stream an end, feedback (RFC 4585) and extended reports (RFC 3611), which are accepted and not read.

pub mod compound;
pub mod interval;
pub mod ntp;
pub mod report;
pub mod session;

pub use compound::{Compound, Packet, RtcpError};
pub use ntp::{NtpTime, WallClock};
pub use report::{Cname, REPORT_LENGTH_MAX, Report, ReportBlock, SenderInfo};
pub use session::{Learned, Received, Sent, Session};

/// Sender report (RFC 3550 §6.4.1).
pub const SENDER_REPORT: u8 = 200;

/// Receiver report (RFC 3550 §6.4.2).
pub const RECEIVER_REPORT: u8 = 201;

/// Source description (RFC 3550 §6.5).
pub const SOURCE_DESCRIPTION: u8 = 202;

/// BYE (RFC 3550 §6.6).
pub const GOODBYE: u8 = 203;

/// The item of a source description that names its sender whatever its SSRC is (RFC 3550 §6.5.1).
const CNAME: u8 = 1;

/// Whether a datagram on a port that carries both is RTCP (RFC 5761 §4): its packet type, read as RTP, is a payload type of 64 to 95
/// with the marker bit.
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == 2)
}
