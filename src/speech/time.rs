//! Days, times of day and lengths of time.

use std::time::Duration;

use jiff::civil;

use super::number::{cardinal, counted};
use super::vocabulary::{feminine, hour, month, number, weekday};
use super::{Gender, Word};

/// «primero de marzo de dos mil veintiséis»
pub(super) fn date(date: civil::Date, words: &mut Vec<Word>) {
    words.push(match u8::try_from(date.day()).unwrap_or(1) {
        1 => Word::Key("date.first"),
        day => number(day),
    });
    words.extend([month(date.month()), Word::Key("word.de")]);
    cardinal(i64::from(date.year()), Gender::Masculine, false, words);
}

/// «la una de la tarde», «las doce del día», «medianoche».
pub(super) fn time(time: civil::Time, words: &mut Vec<Word>) {
    let (hour_of_day, minute) = parts(time);
    clock(hour_of_day, minute, true, words);
}

/// «el viernes trece de marzo de dos mil veintiséis a las cinco de la tarde»
pub(super) fn moment(moment: civil::DateTime, words: &mut Vec<Word>) {
    let from_monday = usize::try_from(moment.weekday().to_monday_zero_offset()).unwrap_or(0);
    words.extend([Word::Key("word.el"), weekday(from_monday)]);
    date(moment.date(), words);
    words.push(Word::Key("word.a"));
    time(moment.time(), words);
}

/// «veinticuatro horas», «dos horas y treinta minutos», «tres días», «cero segundos».
pub(super) fn duration(duration: Duration, words: &mut Vec<Word>) {
    /// From here on days are easier to grasp than hours; «24 horas» and «48 horas» are how deadlines are published.
    const DAYS_FROM_SECONDS: u64 = 72 * 3_600;
    let total_seconds = duration.as_secs();
    let days = if total_seconds >= DAYS_FROM_SECONDS { total_seconds / 86_400 } else { 0 };
    let rest = total_seconds - days * 86_400;
    let parts: Vec<(u64, Gender, (&str, &str))> = [
        (days, Gender::Masculine, ("span.day", "span.days")),
        (rest / 3_600, Gender::Feminine, ("span.hour", "span.hours")),
        (rest % 3_600 / 60, Gender::Masculine, ("span.minute", "span.minutes")),
        (rest % 60, Gender::Masculine, ("span.second", "span.seconds")),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .collect();
    if parts.is_empty() {
        counted(0, Gender::Masculine, ("span.second", "span.seconds"), words);
    }
    let last = parts.len().saturating_sub(1);
    for (index, (count, gender, noun)) in parts.into_iter().enumerate() {
        if index > 0 && index == last {
            words.push(Word::Key("word.y"));
        }
        counted(count, gender, noun, words);
    }
}

/// A time of day, on its own with the article («las cinco de la tarde») or inside «de … a …» without it.
pub(super) fn clock(hour_of_day: u8, minute: u8, article: bool, words: &mut Vec<Word>) {
    if hour_of_day.is_multiple_of(24) && minute == 0 {
        words.push(Word::Key("time.midnight"));
        return;
    }
    let hour_of_face = match hour_of_day % 12 {
        0 => 12,
        hour => hour,
    };
    words.push(match (article, hour_of_face) {
        (true, _) => hour(hour_of_face),
        (false, 1) => feminine(1),
        (false, _) => number(hour_of_face),
    });
    match minute {
        0 => {}
        15 => words.push(Word::Key("time.quarter")),
        30 => words.push(Word::Key("time.half")),
        _ => words.extend([Word::Key("word.y"), number(minute)]),
    }
    words.push(Word::Key(match (hour_of_day, minute) {
        (0, _) => "time.night",
        (1..=5, _) => "time.early",
        (6..=11, _) => "time.morning",
        (12, 0) => "time.noon",
        (12..=18, _) => "time.afternoon",
        _ => "time.night",
    }));
}

fn parts(time: civil::Time) -> (u8, u8) {
    (u8::try_from(time.hour()).unwrap_or(0), u8::try_from(time.minute()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::{Say, say, text};
    use super::*;

    fn heard(value: Say) -> String {
        text(&say(&value).unwrap())
    }

    #[test]
    fn days_begin_with_primero() {
        for (year, month, day, expected) in [
            (2026, 3, 1, "primero de marzo de dos mil veintiséis"),
            (2026, 3, 31, "treinta y uno de marzo de dos mil veintiséis"),
            (2000, 12, 21, "veintiuno de diciembre de dos mil"),
            (1999, 1, 2, "dos de enero de mil novecientos noventa y nueve"),
        ] {
            assert_eq!(heard(Say::Date(civil::date(year, month, day))), expected);
        }
    }

    #[test]
    fn the_clock_has_twelve_hours_and_five_parts_of_the_day() {
        for (hour, minute, expected) in [
            (0, 0, "medianoche"),
            (0, 30, "las doce y media de la noche"),
            (1, 0, "la una de la madrugada"),
            (5, 59, "las cinco y cincuenta y nueve de la madrugada"),
            (8, 30, "las ocho y media de la mañana"),
            (9, 0, "las nueve de la mañana"),
            (11, 45, "las once y cuarenta y cinco de la mañana"),
            (12, 0, "las doce del día"),
            (12, 15, "las doce y cuarto de la tarde"),
            (13, 0, "la una de la tarde"),
            (14, 0, "las dos de la tarde"),
            (18, 30, "las seis y media de la tarde"),
            (19, 1, "las siete y uno de la noche"),
            (23, 59, "las once y cincuenta y nueve de la noche"),
        ] {
            assert_eq!(heard(Say::Time(civil::time(hour, minute, 59, 0))), expected);
        }
    }

    #[test]
    fn a_moment_has_its_weekday() {
        assert_eq!(
            heard(Say::Moment(civil::date(2026, 3, 13).at(17, 0, 0, 0))),
            "el viernes trece de marzo de dos mil veintiséis a las cinco de la tarde"
        );
        assert_eq!(
            heard(Say::Moment(civil::date(2026, 5, 1).at(0, 0, 0, 0))),
            "el viernes primero de mayo de dos mil veintiséis a medianoche"
        );
    }

    #[test]
    fn lengths_of_time_count_in_their_gender() {
        for (seconds, expected) in [
            (0, "cero segundos"),
            (1, "un segundo"),
            (21, "veintiún segundos"),
            (60, "un minuto"),
            (3_600, "una hora"),
            (75_600, "veintiuna horas"),
            (86_400, "veinticuatro horas"),
            (172_800, "cuarenta y ocho horas"),
            (259_200, "tres días"),
            (9_000, "dos horas y treinta minutos"),
            (3_661, "una hora un minuto y un segundo"),
            (1_814_400 + 3_600, "veintiún días y una hora"),
        ] {
            assert_eq!(heard(Say::Duration(Duration::from_secs(seconds))), expected);
        }
        assert!(heard(Say::Duration(Duration::MAX)).ends_with("segundos"));
    }
}
