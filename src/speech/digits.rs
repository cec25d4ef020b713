//! Telephone numbers, folios and IMEIs: digit by digit, with pauses where people group them.

use super::vocabulary::character;
use super::{GROUP_PAUSE, LONGEST, SayError, Word};

/// Keys one by one, without pauses.
pub(super) fn one_by_one(text: &str, words: &mut Vec<Word>) -> Result<(), SayError> {
    let keys = keys(text)?;
    grouped(&keys, &[keys.len()], words)
}

/// A folio in groups of 3, 3 and 4.
pub(super) fn folio(text: &str, words: &mut Vec<Word>) -> Result<(), SayError> {
    grouped(&keys(text)?, &[3, 3, 4], words)
}

/// An IMEI in threes.
pub(super) fn imei(text: &str, words: &mut Vec<Word>) -> Result<(), SayError> {
    grouped(&keys(text)?, &[3], words)
}

/// A telephone number, and its extension if it has one.
pub(super) fn phone_mx(text: &str, words: &mut Vec<Word>) -> Result<(), SayError> {
    let (number, extension) = match text.find(['x', 'e', ';']) {
        Some(at) => {
            let (number, tail) = text.split_at(at);
            (number, Some(tail.trim_start_matches(|letter: char| letter.is_alphabetic() || ";=. ".contains(letter))))
        }
        None => (text, None),
    };
    let keys = keys(number)?;
    let national = match keys.as_slice() {
        ['+', '5', '2', rest @ ..] if rest.len() == 10 => rest,
        all => all,
    };
    let groups: &[usize] = match national {
        // The areas of two digits: Mexico City, Guadalajara, Monterrey (numbering plan of 2019).
        [first, second, ..]
            if national.len() == 10 && matches!((first, second), ('5', '5' | '6') | ('3', '3') | ('8', '1')) =>
        {
            &[2, 2, 2, 2, 2]
        }
        _ if national.len() == 10 => &[3, 3, 2, 2],
        _ if national.len() < 6 => &[5],
        _ => &[3],
    };
    grouped(national, groups, words)?;
    if let Some(extension) = extension {
        words.extend([Word::Pause(GROUP_PAUSE), Word::Key("word.extension")]);
        one_by_one(extension, words)?;
    }
    Ok(())
}

/// The keys of a text, without visual separators.
fn keys(text: &str) -> Result<Vec<char>, SayError> {
    let keys: Vec<char> = text.chars().filter(|key| !" -.()/\u{a0}".contains(*key)).take(LONGEST + 1).collect();
    match keys.iter().find(|key| !matches!(key, '0'..='9' | '*' | '#' | '+')) {
        Some(stranger) => Err(SayError::Unspeakable(*stranger)),
        None if keys.is_empty() => Err(SayError::Empty),
        None if keys.len() > LONGEST => Err(SayError::TooLong),
        None => Ok(keys),
    }
}

/// Keys with a pause after each group; the last group's length repeats.
fn grouped(keys: &[char], groups: &[usize], words: &mut Vec<Word>) -> Result<(), SayError> {
    let (mut rest, mut groups) = (keys, groups.iter().copied());
    let mut length = 1;
    while !rest.is_empty() {
        length = groups.next().unwrap_or(length).clamp(1, LONGEST);
        let (group, tail) = rest.split_at(length.min(rest.len()));
        for key in group {
            words.push(character(*key).ok_or(SayError::Unspeakable(*key))?);
        }
        if !tail.is_empty() {
            words.push(Word::Pause(GROUP_PAUSE));
        }
        rest = tail;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Say, say, text};
    use super::*;

    fn heard(value: Say) -> Result<String, SayError> {
        say(&value).map(|words| text(&words))
    }

    #[test]
    fn telephone_numbers_come_in_the_groups_of_the_country() {
        for (number, expected) in [
            ("2226057239", "dos dos dos, seis cero cinco, siete dos, tres nueve"),
            ("+52 222 605 7239", "dos dos dos, seis cero cinco, siete dos, tres nueve"),
            ("55 1234-5678", "cinco cinco, uno dos, tres cuatro, cinco seis, siete ocho"),
            ("*2363", "asterisco dos tres seis tres"),
            ("911", "nueve uno uno"),
            ("2226057239;ext=300", "dos dos dos, seis cero cinco, siete dos, tres nueve, extensión tres cero cero"),
            ("2226057239 ext. 300", "dos dos dos, seis cero cinco, siete dos, tres nueve, extensión tres cero cero"),
            ("+14155550100", "más uno cuatro, uno cinco cinco, cinco cinco cero, uno cero cero"),
        ] {
            assert_eq!(heard(Say::PhoneMx(number.into())).as_deref(), Ok(expected), "{number}");
        }
    }

    #[test]
    fn folios_and_imeis_come_in_groups_that_can_be_written_down() {
        assert_eq!(
            heard(Say::Folio("2104857396".into())).as_deref(),
            Ok("dos uno cero, cuatro ocho cinco, siete tres nueve seis")
        );
        assert_eq!(
            heard(Say::Imei("490154203237518".into())).as_deref(),
            Ok("cuatro nueve cero, uno cinco cuatro, dos cero tres, dos tres siete, cinco uno ocho")
        );
        assert_eq!(heard(Say::Digits("12*#".into())).as_deref(), Ok("uno dos asterisco gato"));
    }

    #[test]
    fn what_has_no_digits_is_an_error() {
        assert_eq!(heard(Say::Folio(String::new())), Err(SayError::Empty));
        assert_eq!(heard(Say::PhoneMx(" - ".into())), Err(SayError::Empty));
        assert_eq!(heard(Say::Digits("12a4".into())), Err(SayError::Unspeakable('a')));
        assert_eq!(heard(Say::Digits("7".repeat(LONGEST + 1))), Err(SayError::TooLong));
        assert_eq!(heard(Say::PhoneMx("2226057239x".into())), Err(SayError::Empty));
    }
}
