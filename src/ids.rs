//! Identifiers, and the one source of randomness of the pure code.
//!
//! An [`Ids`] is given at construction: from the operating system in production, from a seed in tests, so that a
//! simulated day of calls is the same every time.

use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use zeroize::Zeroizing;

/// One leg: a SIP dialog with its media. Unique for the life of the process, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// Legs that hear each other. Unique for the life of the process, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeId(pub u64);

/// One `play` of a flow: its end is reported under this number, so that a late report of an earlier play is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayId(pub u32);

/// One visit of a customer, from INVITE to call record. Unique for ever: `calls show KEY` takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub Arc<str>);

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A seeded, cryptographically strong source of identifiers (ChaCha12). Folios come from it, so in production the
/// seed must come from the operating system: [`Ids::from_entropy`].
pub struct Ids {
    rng: StdRng,
}

impl Ids {
    /// The same identifiers in the same order for the same seed: for tests and simulations.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    /// Identifiers that nobody can foresee. `seed` is 32 bytes from the operating system.
    #[must_use]
    pub fn from_entropy(seed: [u8; 32]) -> Self {
        Self { rng: StdRng::from_seed(seed) }
    }

    /// Another source, seeded from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        self.fill(&mut *seed);
        Self::from_entropy(*seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Random bytes: a key, the seed of other identifiers.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    /// A number in `0..bound`, each equally likely. `bound` is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound.max(1))
    }

    /// `length` characters of lower-case base 32 (5 bits each): SIP tags, branches, keys.
    pub fn token(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..length).map(|_| char::from(ALPHABET[(self.rng.next_u64() >> 59) as usize])).collect()
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}
