//! The hash functions of digest authentication, and hashes as both sides write them.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};

/// A hash function. Those whose name ends in `-sess` bring nothing to SIP, where a challenge seldom serves more than one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// What every phone speaks.
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    /// The strongest first: the order in which they are offered (RFC 8760 §2.3).
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// As the `algorithm` parameter has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Reads an `algorithm` parameter; without one it is MD5 (RFC 7616 §3.3). `None` for those we do not speak.
    #[must_use]
    pub fn of(parameter: Option<&[u8]>) -> Option<Self> {
        let Some(name) = parameter else { return Some(Self::Md5) };
        Self::ALL.into_iter().find(|algorithm| name.eq_ignore_ascii_case(algorithm.name().as_bytes()))
    }

    /// Digits of a hash.
    #[must_use]
    pub fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 => DIGITS_MAX,
        }
    }
}

const DIGITS_MAX: usize = 64;

/// A hash in lower-case hexadecimal digits, as it is sent and as it goes into other hashes.
#[derive(Clone, Copy)]
pub struct Hash {
    digits: [u8; DIGITS_MAX],
    length: usize,
}

impl Hash {
    fn new(bytes: &[u8]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut hash = Self { digits: [0; DIGITS_MAX], length: 0 };
        let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (digit, nibble) in hash.digits.iter_mut().zip(nibbles) {
            *digit = HEX.get(usize::from(nibble)).copied().unwrap_or_default();
            hash.length += 1;
        }
        hash
    }

    /// Reads the digits of a hash in either case; `None` when there are too many, too few, or others.
    #[must_use]
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Option<Self> {
        let legal = text.len() == algorithm.digits() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut hash = Self { digits: [0; DIGITS_MAX], length: algorithm.digits() };
        for (digit, byte) in hash.digits.iter_mut().zip(text.bytes()) {
            *digit = byte.to_ascii_lowercase();
        }
        legal.then_some(hash)
    }

    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Whether `digits`, in either case, are this hash. Takes as long for a hash that differs in its first digit as for one that
    /// differs in its last.
    #[must_use]
    pub fn is(&self, digits: &[u8]) -> bool {
        let ours = self.as_bytes();
        let differing =
            ours.iter().zip(digits).fold(0, |all, (ours, theirs)| all | (ours ^ theirs.to_ascii_lowercase()));
        std::hint::black_box(differing) == 0 && ours.len() == digits.len()
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.as_bytes())
    }
}

impl Eq for Hash {}

/// Not the digits: most hashes here are secrets, or made of one.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({} digits)", self.length)
    }
}

/// The hash of `parts` with colons between them: H(a:b:c).
#[must_use]
pub fn hash(algorithm: Algorithm, parts: &[&[u8]]) -> Hash {
    match algorithm {
        Algorithm::Md5 => Hash::new(&joined::<Md5>(parts)),
        Algorithm::Sha256 => Hash::new(&joined::<Sha256>(parts)),
    }
}

fn joined<D: Digest>(parts: &[&[u8]]) -> impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<D> {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    #[cfg(test)]
    work::count(parts);
    let out: Box<[u8]> = digest.finalize().as_slice().into();
    out
}

/// What was hashed so far on this thread: two answers that must take the same time do the same work.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local!(static DONE: Cell<(usize, usize)> = const { Cell::new((0, 0)) });

    pub(super) fn count(parts: &[&[u8]]) {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        DONE.with(|done| done.set((done.get().0 + 1, done.get().1 + bytes)));
    }

    /// Hashes and bytes since the last time.
    pub(crate) fn taken() -> (usize, usize) {
        DONE.with(Cell::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_md5_is_meant_by_none() {
        assert_eq!(Algorithm::of(None), Some(Algorithm::Md5));
        assert_eq!(Algorithm::of(Some(b"md5")), Some(Algorithm::Md5));
        assert_eq!(Algorithm::of(Some(b"sha-256")), Some(Algorithm::Sha256));
        for other in [&b"SHA-512-256"[..], b"MD5-sess", b"SHA256", b""] {
            assert_eq!(Algorithm::of(Some(other)), None);
        }
    }

    #[test]
    fn hashes_compare_in_either_case_and_whole() {
        let hash = hash(Algorithm::Md5, &[b"a", b"b"]);
        assert_eq!(hash, super::hash(Algorithm::Md5, &[b"a:b"]));
        assert!(hash.is(hash.as_str().to_uppercase().as_bytes()));
        assert!(!hash.is(&hash.as_bytes()[..31]) && !hash.is(b"") && !hash.is(&[hash.as_bytes(), b"0"].concat()));
        assert_eq!(Hash::from_hex(Algorithm::Md5, hash.as_str()), Some(hash));
    }
}
