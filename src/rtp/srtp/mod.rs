//! SRTP and SRTCP: RTP that nobody reads and nobody forges (RFC 3711, RFC 7714), pure and in place.
//!
//! A leg has one [`Sender`] and one [`Receiver`], each made from a [`MasterKey`]; how both ends come to know the two keys
//! is SDP's matter (RFC 4568, `sdp::crypto`).
//!
//! ```text
//! SRTP,  counter mode   header │ payload, encrypted │                │ HMAC-SHA1, 10 or 4 bytes
//! SRTP,  GCM            header │ payload, encrypted │ GCM tag, 16
//! SRTCP, counter mode   8 bytes │ the rest, encrypted │ E + index, 4 │ HMAC-SHA1, 10 bytes
//! SRTCP, GCM            8 bytes │ the rest, encrypted │ GCM tag, 16  │ E + index, 4
//! ```
//!
//! The order that matters on receipt: guess the index, look for a replay, authenticate, decrypt, and only then move the
//! replay window and the roll-over counter. Whoever can send us packets can thus waste our time, but a forged packet changes
//! nothing: neither window nor counter nor the list of streams.
//!
//! Left out: key derivation rates, the NULL cipher and f8, master key identifiers, which SDES over SIP does not need; an SDP line
//! that asks for one is not taken. Header extensions travel in clear (RFC 6904 is not negotiated).

mod key;
mod receiver;
mod replay;
mod sender;
mod suite;
mod transform;

pub use key::{KeyPair, Lifetime, MasterKey};
pub use receiver::{Receiver, Refused};
pub use sender::{Sender, Unsent};
pub use suite::Suite;

/// The bytes that protection adds to an RTP packet at most: a GCM tag.
pub const RTP_OVERHEAD_MAX: usize = 16;

/// The bytes that protection adds to an RTCP packet at most: a GCM tag and the index.
pub const RTCP_OVERHEAD_MAX: usize = 20;
