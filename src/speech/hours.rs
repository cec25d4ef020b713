//! Opening hours read aloud.

use super::time::clock;
use super::vocabulary::weekday;
use super::{GROUP_PAUSE, Word};

/// One open interval of a day in minutes since midnight, half-open: `open <= minute < close <= 1440`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayHours {
    /// First open minute, 0 to 1439.
    pub open: u16,
    /// First minute that is no longer open, up to 1440 for midnight.
    pub close: u16,
}

impl DayHours {
    /// The whole day.
    pub const ALL_DAY: Self = Self { open: 0, close: 1440 };
}

/// The open intervals of Monday to Sunday, each day's in order and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeekHours(pub [Vec<DayHours>; 7]);

/// «de lunes a viernes de nueve de la mañana a cinco de la tarde, y sábado de nueve de la mañana a dos de la tarde»; days with
/// the same hours are said together, in the order of their first.
pub(super) fn week(week: &WeekHours, words: &mut Vec<Word>) {
    let mut groups: Vec<(Vec<usize>, &[DayHours])> = Vec::new();
    for (day, hours) in week.0.iter().enumerate().filter(|(_, hours)| !hours.is_empty()) {
        match groups.iter_mut().find(|(_, others)| *others == hours) {
            Some((days, _)) => days.push(day),
            None => groups.push((vec![day], hours)),
        }
    }
    if groups.is_empty() {
        words.push(Word::Key("hours.closed"));
    }
    let last = groups.len().saturating_sub(1);
    for (index, (days, hours)) in groups.iter().enumerate() {
        if index > 0 {
            words.push(Word::Pause(GROUP_PAUSE));
        }
        if index > 0 && index == last {
            words.push(Word::Key("word.y"));
        }
        name_days(days, words);
        intervals(hours, words);
    }
}

fn name_days(days: &[usize], words: &mut Vec<Word>) {
    let run = days.windows(2).all(|pair| matches!(pair, [one, next] if one + 1 == *next));
    match days {
        _ if days.len() == 7 => words.push(Word::Key("hours.every_day")),
        [first, .., last] if run && days.len() > 2 => {
            words.extend([Word::Key("word.de"), weekday(*first), Word::Key("word.a"), weekday(*last)]);
        }
        _ => {
            for (index, day) in days.iter().enumerate() {
                if index > 0 && index + 1 == days.len() {
                    words.push(Word::Key("word.y"));
                }
                words.push(weekday(*day));
            }
        }
    }
}

fn intervals(hours: &[DayHours], words: &mut Vec<Word>) {
    for (index, interval) in hours.iter().enumerate() {
        if index > 0 {
            words.push(Word::Key("word.y"));
        }
        if *interval == DayHours::ALL_DAY {
            words.push(Word::Key("hours.all_day"));
            continue;
        }
        words.push(Word::Key("word.de"));
        minute_of_day(interval.open, words);
        words.push(Word::Key("word.a"));
        minute_of_day(interval.close, words);
    }
}

fn minute_of_day(minute: u16, words: &mut Vec<Word>) {
    let minute = minute.min(1440);
    clock(u8::try_from(minute / 60).unwrap_or(0), u8::try_from(minute % 60).unwrap_or(0), false, words);
}

#[cfg(test)]
mod tests {
    use super::super::{Say, say, text};
    use super::*;

    fn heard(days: &[(usize, &[(u16, u16)])]) -> String {
        let mut week = WeekHours::default();
        for (day, hours) in days {
            week.0[*day] = hours.iter().map(|(open, close)| DayHours { open: open * 60, close: close * 60 }).collect();
        }
        text(&say(&Say::Hours(week)).unwrap())
    }

    #[test]
    fn days_with_the_same_hours_are_said_together() {
        let nine_to_five: &[(u16, u16)] = &[(9, 17)];
        let weekdays: Vec<_> = (0..5).map(|day| (day, nine_to_five)).collect();
        assert_eq!(heard(&weekdays), "de lunes a viernes de nueve de la mañana a cinco de la tarde");
        let with_saturday: Vec<_> = weekdays.into_iter().chain([(5, [(9, 14)].as_slice())]).collect();
        assert_eq!(
            heard(&with_saturday),
            "de lunes a viernes de nueve de la mañana a cinco de la tarde, y sábado de nueve de la mañana a dos de la tarde"
        );
        assert_eq!(
            heard(&[(0, &[(9, 14), (16, 19)]), (2, &[(9, 14), (16, 19)]), (4, &[(9, 14), (16, 19)])]),
            "lunes miércoles y viernes de nueve de la mañana a dos de la tarde y de cuatro de la tarde a siete de la noche"
        );
    }

    #[test]
    fn whole_days_and_closed_weeks_have_words() {
        let all: Vec<_> = (0..7).map(|day| (day, [(0, 24)].as_slice())).collect();
        assert_eq!(heard(&all), "todos los días las veinticuatro horas");
        assert_eq!(heard(&[]), "cerrado");
        assert_eq!(heard(&[(5, &[(13, 24)]), (6, &[(13, 24)])]), "sábado y domingo de una de la tarde a medianoche");
    }
}
