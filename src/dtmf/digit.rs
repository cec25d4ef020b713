//! One key of a telephone.

use std::fmt;

/// A DTMF digit, by its RFC 4733 §3.2 event code (0 to 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digit(u8);

impl Digit {
    /// `*`, event 10.
    pub const STAR: Self = Self(10);
    /// `#`, event 11.
    pub const POUND: Self = Self(11);

    /// The digit of an RFC 4733 event code; `None` above 15.
    #[must_use]
    pub fn from_event(event: u8) -> Option<Self> {
        (event < 16).then_some(Self(event))
    }

    /// The digit of one of the characters `0-9 * # A-D a-d`.
    #[must_use]
    pub fn from_char(character: char) -> Option<Self> {
        match character {
            '0'..='9' => Some(Self(character as u8 - b'0')),
            '*' => Some(Self::STAR),
            '#' => Some(Self::POUND),
            'A'..='D' => Some(Self(character as u8 - b'A' + 12)),
            'a'..='d' => Some(Self(character as u8 - b'a' + 12)),
            _ => None,
        }
    }

    /// The RFC 4733 event code, 0 to 15.
    #[must_use]
    pub fn event(self) -> u8 {
        self.0
    }

    /// The key's character: one of `0123456789*#ABCD`.
    #[must_use]
    pub fn as_char(self) -> char {
        char::from(*b"0123456789*#ABCD".get(usize::from(self.0)).unwrap_or(&b'?'))
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}
