//! What each fuzz target does with the bytes that chance gives it, and what must hold then. `fuzz/` hands these to libFuzzer;
//! `tests/mutated_input.rs` replays what was found, so that the ordinary suite keeps it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a finding is a panic, and what is not looked at may grow"
)]

pub mod exchange;
pub mod header;
pub mod message;
pub mod sdp;
pub mod uri;

/// A fuzz target, by the name of its folder in `fuzz/corpus`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
#[allow(dead_code, reason = "libFuzzer is given one at a time")]
pub const TARGETS: [Target; 5] = [
    ("message", message::run),
    ("uri", uri::run),
    ("header", header::run),
    ("sdp", sdp::run),
    ("exchange", exchange::run),
];

/// Whether `part` is a piece of `whole`: what a parser hands out points into what it was given.
pub fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty()
        || (whole.as_ptr_range().start <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end)
}
