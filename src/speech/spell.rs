//! E-mail addresses and web pages, letter by letter.

use std::time::Duration;

use super::vocabulary::{character, net_word};
use super::{LONGEST, SayError, Word};

/// The silence after each part of an address, so that it can be written down.
const PART_PAUSE: Duration = Duration::from_millis(200);

/// «atención arroba be grande … punto eme equis»: whole parts that everybody knows are said as words.
pub(super) fn spell(text: &str, words: &mut Vec<Word>) -> Result<(), SayError> {
    let text = text.trim().to_lowercase();
    if text.is_empty() {
        return Err(SayError::Empty);
    }
    if text.chars().count() > LONGEST {
        return Err(SayError::TooLong);
    }
    for part in text.split_inclusive(|letter: char| !letter.is_alphanumeric()) {
        let (token, sign) = match part.char_indices().next_back() {
            Some((at, sign)) if !sign.is_alphanumeric() => (part.get(..at).unwrap_or(""), Some(sign)),
            _ => (part, None),
        };
        match net_word(token) {
            Some(word) => words.push(word),
            None => {
                for letter in token.chars() {
                    words.push(character(unaccented(letter)).ok_or(SayError::Unspeakable(letter))?);
                }
            }
        }
        if !token.is_empty() && sign.is_some() {
            words.push(Word::Pause(PART_PAUSE));
        }
        match sign {
            None | Some(' ') => {}
            Some(sign) => words.push(character(sign).ok_or(SayError::Unspeakable(sign))?),
        }
    }
    Ok(())
}

/// Addresses are typed without accents.
fn unaccented(letter: char) -> char {
    match letter {
        'á' => 'a',
        'é' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' | 'ü' => 'u',
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Say, say, text};
    use super::*;

    fn heard(address: &str) -> Result<String, SayError> {
        say(&Say::Spell(address.into())).map(|words| text(&words))
    }

    #[test]
    fn addresses_are_spelt_with_their_signs() {
        for (address, expected) in [
            ("www.beneleit.mx", "triple doble u, punto be grande e ene e ele e i te, punto eme equis"),
            ("atencion@ax-1.com", "atención, arroba a equis, guion uno, punto com"),
            ("Ñandú_v", "eñe a ene de u, guion bajo ve chica"),
        ] {
            assert_eq!(heard(address).as_deref(), Ok(expected), "{address}");
        }
    }

    #[test]
    fn what_cannot_be_spelt_is_an_error() {
        assert_eq!(heard("  "), Err(SayError::Empty));
        assert_eq!(heard("a€"), Err(SayError::Unspeakable('€')));
        assert_eq!(heard(&"a".repeat(LONGEST + 1)), Err(SayError::TooLong));
    }
}
