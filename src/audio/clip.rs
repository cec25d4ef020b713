//! A prompt's audio, encoded once a codec when it is loaded and shared by all calls.

/// A speech codec of RFC 3551 that a leg can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law, static payload type 0, 8,000 samples a second, one byte a sample.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
}

/// One prompt's audio in every codec we speak. One byte is one sample, 8,000 a second.
#[derive(Debug, PartialEq, Eq)]
pub struct Clip {
    /// G.711 µ-law bytes.
    pub pcmu: Box<[u8]>,
    /// G.711 A-law bytes, as many as `pcmu`.
    pub pcma: Box<[u8]>,
}
