//! Keys and what they mean: the table behind menus, extensions and confirmations.

use crate::dtmf::Digit;

/// How prompts call a key: callers press what they hear.
const NAMES: [(&str, &[&str]); 12] = [
    ("0", &["cero"]),
    ("1", &["uno"]),
    ("2", &["dos"]),
    ("3", &["tres"]),
    ("4", &["cuatro"]),
    ("5", &["cinco"]),
    ("6", &["seis"]),
    ("7", &["siete"]),
    ("8", &["ocho"]),
    ("9", &["nueve"]),
    ("*", &["asterisco", "estrella"]),
    ("#", &["gato", "numeral"]),
];

/// True when a Spanish text names this single key.
pub(crate) fn names(text: &str, key: &str) -> bool {
    let called = NAMES.iter().find(|(known, _)| *known == key).map_or(&[][..], |(_, names)| names);
    let text = text.to_lowercase();
    text.split(|character: char| !character.is_alphanumeric()).any(|word| word == key || called.contains(&word))
}

/// Sequences of keys, each with its place in the table. No sequence stands twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keypad {
    keys: Vec<Box<str>>,
}

/// What the keys pressed so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// This entry, and no longer one is possible.
    Now(usize),
    /// A longer entry is still possible; if nothing more comes, it is this one, or none.
    Longer(Option<usize>),
    /// No entry begins like this.
    None,
}

impl Keypad {
    /// Adds a sequence; false when it is there already.
    pub(crate) fn add(&mut self, keys: &str) -> bool {
        let new = !self.keys.iter().any(|known| **known == *keys);
        if new {
            self.keys.push(keys.into());
        }
        new
    }

    /// The sequence at `place`.
    pub(crate) fn keys(&self, place: usize) -> &str {
        self.keys.get(place).map_or("", |keys| keys)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when some entry begins with this key.
    pub(crate) fn uses(&self, digit: Digit) -> bool {
        self.keys.iter().any(|keys| keys.starts_with(digit.as_char()))
    }

    /// What `pressed` means among the entries for which `active` holds.
    pub(crate) fn find(&self, pressed: &str, active: impl Fn(usize) -> bool) -> Match {
        let (mut exact, mut longer) = (None, false);
        for (place, keys) in self.keys.iter().enumerate() {
            if **keys == *pressed && active(place) {
                exact = Some(place);
            } else if keys.starts_with(pressed) && active(place) {
                longer = true;
            }
        }
        match (exact, longer) {
            (Some(place), false) => Match::Now(place),
            (exact, true) => Match::Longer(exact),
            (None, false) => Match::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_the_keys_that_it_says() {
        let text = "Para saldo, oprima uno. Volver, asterisco. Escucharlo de nuevo, gato. O marque 7.";
        for (key, named) in
            [("1", true), ("*", true), ("#", true), ("7", true), ("0", false), ("2", false), ("12", false)]
        {
            assert_eq!(names(text, key), named, "{key}");
        }
    }

    #[test]
    fn acts_the_moment_no_longer_match_is_possible() {
        let mut keypad = Keypad::default();
        for keys in ["1", "30", "300", "#"] {
            assert!(keypad.add(keys));
        }
        assert!(!keypad.add("30"));
        let all = |_| true;
        assert_eq!(keypad.find("1", all), Match::Now(0));
        assert_eq!(keypad.find("3", all), Match::Longer(None));
        assert_eq!(keypad.find("30", all), Match::Longer(Some(1)));
        assert_eq!(keypad.find("300", all), Match::Now(2));
        assert_eq!(keypad.find("31", all), Match::None);
        assert_eq!(keypad.find("30", |place| place != 2), Match::Now(1));
        assert_eq!(keypad.find("1", |place| place != 0), Match::None);
    }
}
