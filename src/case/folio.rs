//! The folio: ten digits that can be keyed, with a check digit, that cannot be guessed from the last one.
//!
//! Prefix digit of the operator, eight random digits (the first a 9 when the database was away), one check digit after H. M. Damm (2004). Damm's quasigroup notices
//! every wrong digit and every two neighbours exchanged, the two mistakes people make at a keypad; Luhn lets `09` ↔ `90`
//! through, and Verhoeff notices no more of these two with three tables instead of one.

use std::fmt;
use std::str::FromStr;

use crate::ids::Ids;

/// A case's number: the operator's prefix digit, eight random digits, one check digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folio(String);

/// Why a text is no folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FolioError {
    /// Not ten digits.
    #[error("a folio has ten digits, this has {0}")]
    Length(usize),
    /// Something else than digits, spaces and dashes.
    #[error("a folio has digits only, not `{0}`")]
    NotADigit(char),
    /// The check digit is wrong: somebody mistyped.
    #[error("wrong check digit: one of the digits was mistyped")]
    CheckDigit,
}

impl Folio {
    /// Draws a folio: each of the 9 · 10⁷ of this prefix is equally likely. `prefix` is 1 to 9; only its last digit counts.
    #[must_use]
    pub fn draw(prefix: u8, ids: &mut Ids) -> Self {
        Self::with_payload(prefix, ids.below(APART))
    }

    /// Draws one of the other 10⁷, which [`Folio::draw`] never gives: for whoever cannot see which folios there are. It is
    /// nobody's but of another that was drawn so.
    #[must_use]
    pub fn draw_apart(prefix: u8, ids: &mut Ids) -> Self {
        Self::with_payload(prefix, APART + ids.below(ALL - APART))
    }

    fn with_payload(prefix: u8, number: u64) -> Self {
        let payload = format!("{}{number:08}", prefix % 10);
        let check = damm(payload.bytes().map(|byte| byte.wrapping_sub(b'0')));
        Self(format!("{payload}{check}"))
    }

    /// Reads what a caller keyed or a person wrote. Spaces and dashes are ignored.
    ///
    /// # Errors
    /// [`FolioError`]: other characters, not ten digits, a check digit that does not fit.
    pub fn parse(text: &str) -> Result<Self, FolioError> {
        let digits: String = text.chars().filter(|character| !matches!(character, ' ' | '-' | '\u{a0}')).collect();
        if let Some(other) = digits.chars().find(|character| !character.is_ascii_digit()) {
            return Err(FolioError::NotADigit(other));
        }
        if digits.len() != 10 {
            return Err(FolioError::Length(digits.len()));
        }
        // The whole word, check digit included, ends in 0 exactly when it is right.
        if damm(digits.bytes().map(|byte| byte.wrapping_sub(b'0'))) != 0 {
            return Err(FolioError::CheckDigit);
        }
        Ok(Self(digits))
    }

    /// The operator's digit, 0 to 9.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.0.bytes().next().map_or(0, |byte| byte.wrapping_sub(b'0'))
    }

    /// True when it was drawn by [`Folio::draw_apart`].
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.0.as_bytes().get(1) == Some(&b'9')
    }

    /// Its ten digits as a number, for sets of many folios.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.bytes().fold(0, |number, byte| number * 10 + u64::from(byte.wrapping_sub(b'0')))
    }

    /// Its ten digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In groups, for people: `2 123 456 789`.
    #[must_use]
    pub fn grouped(&self) -> String {
        let mut grouped = String::with_capacity(13);
        for (place, digit) in self.0.chars().enumerate() {
            if place % 3 == 1 {
                grouped.push(' ');
            }
            grouped.push(digit);
        }
        grouped
    }
}

impl fmt::Display for Folio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Folio {
    type Err = FolioError;

    fn from_str(text: &str) -> Result<Self, FolioError> {
        Self::parse(text)
    }
}

/// How many numbers eight digits are, and from which on they are drawn without sight of the others.
const ALL: u64 = 100_000_000;
const APART: u64 = 90_000_000;

/// Damm's check digit over decimal digits (0 to 9); 0 for a word that carries the right one.
fn damm(digits: impl Iterator<Item = u8>) -> u8 {
    digits.fold(0, |interim, digit| {
        QUASIGROUP.get(usize::from(interim)).and_then(|row| row.get(usize::from(digit))).copied().unwrap_or(0)
    })
}

/// A totally anti-symmetric quasigroup of order 10 with zeros on the diagonal (Damm 2004).
const QUASIGROUP: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn knows_the_published_example() {
        assert_eq!(damm([5, 7, 2].into_iter()), 4);
        assert_eq!(damm([5, 7, 2, 4].into_iter()), 0);
    }

    #[test]
    fn draws_ten_digits_with_the_prefix_and_no_pattern() {
        let mut ids = Ids::from_seed(7);
        let drawn: Vec<Folio> = (0..3).map(|_| Folio::draw(2, &mut ids)).collect();
        for folio in &drawn {
            assert_eq!(folio.prefix(), 2);
            assert_eq!(Folio::parse(folio.as_str()).as_ref(), Ok(folio));
        }
        let middle = |folio: &Folio| folio.as_str()[1..9].parse::<i64>().unwrap();
        assert!((middle(&drawn[0]) - middle(&drawn[1])).abs() > 1_000);
        assert!((middle(&drawn[1]) - middle(&drawn[2])).abs() > 1_000);
    }

    #[test]
    fn whoever_cannot_see_the_others_draws_apart_from_them() {
        let mut ids = Ids::from_seed(11);
        for _ in 0..10_000 {
            assert!(!Folio::draw(7, &mut ids).is_apart());
            let apart = Folio::draw_apart(7, &mut ids);
            assert!(apart.is_apart() && Folio::parse(apart.as_str()).as_ref() == Ok(&apart), "{apart}");
        }
    }

    #[test]
    fn reads_what_people_write_and_says_what_is_wrong() {
        let folio = Folio::draw(2, &mut Ids::from_seed(1));
        assert_eq!(Folio::parse(&folio.grouped()).as_ref(), Ok(&folio));
        assert_eq!(Folio::parse(&folio.grouped().replace(' ', "-")), Ok(folio.clone()));
        assert_eq!(folio.grouped().len(), 13);
        assert_eq!(format!("{:010}", folio.number()), folio.as_str());
        assert_eq!(Folio::parse("123"), Err(FolioError::Length(3)));
        assert_eq!(Folio::parse(""), Err(FolioError::Length(0)));
        assert_eq!(Folio::parse("12345x7890"), Err(FolioError::NotADigit('x')));
        assert_eq!(Folio::parse("١٢٣٤٥٦٧٨٩٠"), Err(FolioError::NotADigit('١')));
    }

    proptest! {
        #[test]
        fn any_wrong_digit_is_noticed(seed in any::<u64>(), prefix in 1u8..10, place in 0usize..10, shift in 1u8..10) {
            let folio = Folio::draw(prefix, &mut Ids::from_seed(seed));
            let mut digits = folio.as_str().as_bytes().to_vec();
            digits[place] = b'0' + (digits[place] - b'0' + shift) % 10;
            prop_assert_eq!(Folio::parse(std::str::from_utf8(&digits).unwrap()), Err(FolioError::CheckDigit));
        }

        #[test]
        fn any_two_neighbours_exchanged_are_noticed(seed in any::<u64>(), prefix in 1u8..10, place in 0usize..9) {
            let folio = Folio::draw(prefix, &mut Ids::from_seed(seed));
            let mut digits = folio.as_str().as_bytes().to_vec();
            prop_assume!(digits[place] != digits[place + 1]);
            digits.swap(place, place + 1);
            prop_assert_eq!(Folio::parse(std::str::from_utf8(&digits).unwrap()), Err(FolioError::CheckDigit));
        }

        #[test]
        fn nothing_typed_makes_it_panic(text in ".*") {
            let _ = Folio::parse(&text);
        }
    }
}
