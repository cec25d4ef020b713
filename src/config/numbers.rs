//! `allow`, `format`, `prefix` and `strip` of a trunk: which numbers may be called through it, and how numbers are written on it. Nothing may
//! be called that no pattern names: whatever a caller keys, there is no way from it to a destination outside the list.
//!
//! A pattern is as long as the numbers it allows: `X` is any digit, `N` one of 2 to 9, everything else itself (`*` too). Nothing stands for
//! «and so on»: an open end is how costly numbers get in. Numbers are compared in their one form ([`normalise`]), so a country code or an
//! abolished prefix in front opens no second door, and what goes out is written from that form, not from what was keyed.

use std::fmt;

use thiserror::Error;

use super::load::one_of;
use crate::document::Fields;
use crate::fault::Fault;
use crate::operator::number::normalise;
use crate::sip::uri;

/// The rules of one trunk; without patterns it places no calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// What may be called.
    pub allow: Vec<Pattern>,
    /// How numbers are written, on both ways.
    pub format: Format,
    /// Written in front of every number that we call.
    pub prefix: String,
    /// Taken off the numbers that are called with us, where they begin with it.
    pub strip: String,
}

/// How a trunk wants its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `2226057239`, and `001…` abroad.
    National,
    /// `522226057239`, `1…`.
    E164,
    /// `+522226057239`, `+1…`.
    #[default]
    PlusE164,
}

/// Numbers of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Place>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `X`
    Digit,
    /// `N`
    TwoToNine,
    /// This character.
    Exactly(char),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// Something that no number holds.
    #[error("«{0}» stands in no number: a pattern is made of digits, X (any digit), N (2 to 9), *, # and a + in front")]
    Character(char),
    /// Too short or too long.
    #[error("a pattern names 1 to {NUMBER_MAX} digits, each of them")]
    Length,
    /// The number is compared in another form.
    #[error("numbers are compared as «{0}»: write the pattern like that")]
    Form(String),
}

/// Why a number is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// No telephone number at all.
    #[error("this is no number that can be dialled")]
    NoNumber,
    /// It is on no list.
    #[error("no pattern of «allow» names it")]
    NotAllowed,
}

/// Longest number: 15 digits of E.164 and what carriers put in front.
pub const NUMBER_MAX: usize = 20;

/// Mexico.
const COUNTRY_CODE: &str = "52";

impl Numbers {
    /// The user part of the Request-URI for a number as somebody keyed it: digits, `*`, `#`, and a `+` in front, nothing else.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn dial(&self, keyed: &str) -> Result<String, Denied> {
        let keyed: String = keyed.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
        if keyed.chars().count() > NUMBER_MAX || !is_number(&keyed) {
            return Err(Denied::NoNumber);
        }
        let number = normalise(&keyed);
        if !self.allow.iter().any(|pattern| pattern.matches(number.as_str())) {
            return Err(Denied::NotAllowed);
        }
        Ok(uri::escaped(&format!("{}{}", self.prefix, self.format.write(number.as_str()))))
    }

    fn puts_a_prefix_before_a_plus(&self) -> bool {
        !self.allow.is_empty() && !self.prefix.is_empty() && self.format == Format::PlusE164
    }

    /// A number that the trunk says was called, as numbers are compared.
    #[must_use]
    pub fn called(&self, user: &str) -> String {
        self.format.read(user.strip_prefix(self.strip.as_str()).filter(|rest| !rest.is_empty()).unwrap_or(user))
    }
}

impl Format {
    /// As files name them.
    pub const NAMES: [(&str, Self); 3] =
        [("national", Self::National), ("e164", Self::E164), ("plus_e164", Self::PlusE164)];

    /// A number that the trunk wrote, in the form in which numbers are compared, so far as this format says something about it.
    #[must_use]
    pub fn read(self, user: &str) -> String {
        let is_plain = user.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            // Ten digits are a number of ours, whatever the carrier promised.
            Self::E164 if is_plain && (11..=15).contains(&user.len()) => format!("+{user}"),
            Self::National if is_plain && user.len() > 10 => match user.strip_prefix("00") {
                Some(abroad) => format!("+{abroad}"),
                None => user.to_owned(),
            },
            Self::E164 | Self::National | Self::PlusE164 => user.to_owned(),
        }
    }

    /// A number in the form in which numbers are compared, as the trunk wants it.
    #[must_use]
    pub fn write(self, number: &str) -> String {
        let is_mexican = number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit());
        match (self, number.strip_prefix('+')) {
            (Self::PlusE164, None) if is_mexican => format!("+{COUNTRY_CODE}{number}"),
            (Self::E164, None) if is_mexican => format!("{COUNTRY_CODE}{number}"),
            (Self::E164, Some(abroad)) => abroad.to_owned(),
            (Self::National, Some(abroad)) => format!("00{abroad}"),
            // Short codes are the same everywhere.
            (Self::National | Self::E164 | Self::PlusE164, _) => number.to_owned(),
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let plain: Vec<char> = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        if plain.is_empty() || plain.len() > NUMBER_MAX {
            return Err(BadPattern::Length);
        }
        let mut places = Vec::new();
        for (index, c) in plain.iter().enumerate() {
            places.push(match c {
                'X' => Place::Digit,
                'N' => Place::TwoToNine,
                '0'..='9' | '*' | '#' => Place::Exactly(*c),
                '+' if index == 0 => Place::Exactly('+'),
                other => return Err(BadPattern::Character(*other)),
            });
        }
        let pattern = Self(places);
        // A pattern that no number in its one form can match would deny what it seems to allow.
        let example: String = pattern.0.iter().map(|place| place.example()).collect();
        let form = normalise(&example);
        if form.as_str() != example {
            let kept = form.as_str().len();
            return Err(BadPattern::Form(plain.iter().skip(plain.len().saturating_sub(kept)).collect()));
        }
        Ok(pattern)
    }

    /// Whether a number, in its one form, is one of these.
    #[must_use]
    pub fn matches(&self, number: &str) -> bool {
        let mut characters = number.chars();
        self.0.iter().all(|place| characters.next().is_some_and(|c| place.holds(c))) && characters.next().is_none()
    }
}

impl Place {
    fn holds(self, c: char) -> bool {
        match self {
            Self::Digit => c.is_ascii_digit(),
            Self::TwoToNine => ('2'..='9').contains(&c),
            Self::Exactly(expected) => c == expected,
        }
    }

    fn example(self) -> char {
        match self {
            Self::Digit | Self::TwoToNine => '7',
            Self::Exactly(c) => c,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|place| match place {
            Place::Digit => f.write_str("X"),
            Place::TwoToNine => f.write_str("N"),
            Place::Exactly(c) => write!(f, "{c}"),
        })
    }
}

/// An optional `+`, then digits, `*` and `#`.
#[must_use]
pub fn is_number(text: &str) -> bool {
    let plain = text.strip_prefix('+').unwrap_or(text);
    !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'))
}

/// The number rules of a trunk, and where they stand; the caller says what they need.
pub(super) fn read(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Numbers {
    let faults_before = faults.len();
    let format = one_of(fields.optional("format"), &Format::NAMES, faults).unwrap_or_default();
    let mut allow = Vec::new();
    if let Some(place) = fields.optional("allow") {
        let before = faults.len();
        for (text, place) in place.texts(faults) {
            match Pattern::parse(text) {
                Ok(pattern) if allow.contains(&pattern) => faults.push(place.fault("this pattern stands here twice")),
                Ok(pattern) => allow.push(pattern),
                Err(why) => faults.push(place.fault(why.to_string())),
            }
        }
        if faults.len() == before && (allow.is_empty() || allow.len() > PATTERNS_MAX) {
            let expected = format!("expected 1 to {PATTERNS_MAX} patterns, like [\"55XXXXXXXX\", \"911\"]");
            faults.push(place.fault(expected));
        }
    }
    let mut digits = |key: &'static str| {
        let place = fields.optional(key)?;
        let text = place.text(faults)?;
        if text.chars().count() > NUMBER_MAX || !is_number(text) {
            faults.push(place.fault(format!("«{key}» is made of digits, * and #, with a + in front at most")));
        }
        Some(text.to_owned())
    };
    let numbers = Numbers {
        prefix: digits("prefix").unwrap_or_default(),
        strip: digits("strip").unwrap_or_default(),
        allow,
        format,
    };
    if let Some(name) =
        fields.name("prefix").filter(|_| numbers.puts_a_prefix_before_a_plus() && faults.len() == faults_before)
    {
        let fault = name.fault("a «prefix» would stand in front of the + that numbers are written with");
        faults.push(fault.suggest("write them without: format = \"national\", or \"e164\""));
    }
    numbers
}

/// Most patterns of one trunk.
const PATTERNS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;

    fn rules(allow: &[&str], format: Format, prefix: &str) -> Numbers {
        let allow = allow.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        Numbers { allow, format, prefix: prefix.into(), strip: String::new() }
    }

    #[test]
    fn what_a_trunk_writes_is_read_by_its_format() {
        let number = |format: Format, user: &str| normalise(&format.read(user)).to_string();
        for (format, user, expected) in [
            (Format::E164, "522226057239", "2226057239"),
            (Format::E164, "12125551234", "+12125551234"),
            (Format::E164, "2226057239", "2226057239"),
            (Format::National, "0012125551234", "+12125551234"),
            (Format::National, "00522226057239", "2226057239"),
            (Format::National, "2226057239", "2226057239"),
            (Format::National, "012226057239", "2226057239"),
            (Format::PlusE164, "+12125551234", "+12125551234"),
            (Format::E164, "*2363", "*2363"),
            (Format::E164, "ventas", "ventas"),
        ] {
            assert_eq!(number(format, user), expected, "{format:?} {user}");
        }
        let rules = Numbers { strip: "77".into(), format: Format::E164, ..Numbers::default() };
        assert_eq!(
            ["77522226057239", "522226057239", "77"].map(|user| rules.called(user)),
            ["+522226057239", "+522226057239", "77"]
        );
    }

    #[test]
    fn only_what_a_pattern_names_is_dialled_and_as_the_trunk_wants_it() {
        let allow = ["NNXXXXXXXX", "911", "*2363", "+1 NXX NXX XXXX"];
        for (keyed, national, e164, plus) in [
            ("2226057239", "2226057239", "522226057239", "+522226057239"),
            ("+52 222 605 7239", "2226057239", "522226057239", "+522226057239"),
            ("0155-5512-3456", "5555123456", "525555123456", "+525555123456"),
            ("911", "911", "911", "911"),
            ("*2363", "*2363", "*2363", "*2363"),
            ("+12125551234", "0012125551234", "12125551234", "+12125551234"),
        ] {
            for (format, expected) in [(Format::National, national), (Format::E164, e164), (Format::PlusE164, plus)] {
                assert_eq!(rules(&allow, format, "").dial(keyed).as_deref(), Ok(expected), "{keyed}");
            }
        }
        assert_eq!(rules(&allow, Format::National, "9").dial("911").as_deref(), Ok("9911"));
        for denied in
            ["", "2", "22260572390", "1226057239", "+19005551234567", "0019005551234", "9119", "+5312345678", "*2364"]
        {
            assert!(rules(&allow, Format::PlusE164, "").dial(denied).is_err(), "{denied}");
        }
        for broken in
            ["222605723a", "sip:2226057239@x", "2226057239;phone-context=x", "2226057239@evil", "+", "++522226057239"]
        {
            assert_eq!(rules(&allow, Format::PlusE164, "").dial(broken), Err(Denied::NoNumber), "{broken}");
        }
        assert_eq!(Numbers::default().dial("911"), Err(Denied::NotAllowed), "nothing is allowed that is not named");
        assert_eq!(rules(&["#31#"], Format::National, "").dial("#31#").as_deref(), Ok("%2331%23"));
    }

    #[test]
    fn a_pattern_has_no_open_end_and_the_form_that_is_compared() {
        for text in ["X", "NNXXXXXXXX", "*2363", "#31#", "+1NXXNXXXXXX"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Pattern::parse(""), Err(BadPattern::Length));
        assert_eq!(Pattern::parse(&"X".repeat(NUMBER_MAX + 1)), Err(BadPattern::Length));
        for (text, character) in [("22.", '.'), ("5!", '!'), ("1+2", '+'), ("ABC", 'A')] {
            assert_eq!(Pattern::parse(text), Err(BadPattern::Character(character)), "{text}");
        }
        assert_eq!(Pattern::parse("+52NNXXXXXXXX"), Err(BadPattern::Form("NNXXXXXXXX".into())));
        assert_eq!(Pattern::parse("01NNXXXXXXXX"), Err(BadPattern::Form("NNXXXXXXXX".into())));
    }

    /// Whatever is keyed, by people or by who tries: what goes out is a number that a pattern names, in the trunk's format, and nothing else.
    #[test]
    fn no_digits_lead_outside_the_list() {
        let config = Config { cases: 20_000, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
        let head = prop::sample::select(vec![
            "", "+", "+52", "52", "521", "0052", "01", "044", "00", "+1900", "0", "9", "*", "55", "5255",
        ]);
        let tail = prop_oneof!["[0-9*#+]{0,18}", "55[0-9]{8}", "[0-9]{10}", "\\PC{0,12}"];
        let formats = prop::sample::select(vec![Format::National, Format::E164, Format::PlusE164]);
        runner
            .run(&(head, tail, formats), |(head, tail, format)| {
                let rules = rules(&["55NXXXXXXX", "911"], format, "9");
                let keyed = format!("{head}{tail}");
                if let Ok(user) = rules.dial(&keyed) {
                    let number = user.strip_prefix('9').expect("the prefix");
                    let country = match format {
                        Format::National => "",
                        Format::E164 => "52",
                        Format::PlusE164 => "+52",
                    };
                    let local = number.strip_prefix(country).unwrap_or_default();
                    let is_listed = number == "911"
                        || local.len() == 10
                            && local.starts_with("55")
                            && local.bytes().all(|byte| byte.is_ascii_digit())
                            && local.as_bytes()[2] >= b'2';
                    prop_assert!(is_listed, "{keyed:?} → {user}");
                }
                Ok(())
            })
            .unwrap();
    }
}
