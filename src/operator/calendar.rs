//! Opening hours: half-open intervals in the operator's time zone, holidays, overrides that expire.
//!
//! A day's open time is its weekly intervals, or nothing on a holiday or a closed day; overrides are laid over that last. At the
//! closing minute itself the place is closed: `09:00-17:00` ends at 16:59:59.999.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::speech::{DayHours, WeekHours};

/// How far ahead an opening is looked for: a calendar that is closed for longer never opens.
const HORIZON_DAYS: usize = 4 * 366;

/// Opening hours of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Name (`asesores`).
    pub name: String,
    /// Intervals of each day of the week, in order and apart.
    pub weekly: WeekHours,
    /// Which public holidays close it.
    pub holidays: Holidays,
    /// Further closed days, by date.
    pub closed: Vec<(Date, String)>,
    /// Exceptions that expire, by their beginning, none overlapping another.
    pub overrides: Vec<Override>,
}

/// A set of public holidays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holidays {
    /// None closes it.
    #[default]
    None,
    /// The days of rest of article 74 of the Ley Federal del Trabajo; election days have to be declared one by one.
    Federal,
}

/// Open or closed from `from` until `to`, whatever the week says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// First moment, local time.
    pub from: DateTime,
    /// First moment that is no longer covered.
    pub to: DateTime,
    /// Open or closed meanwhile.
    pub open: bool,
    /// Why (`simulacro`).
    pub reason: String,
}

/// What a calendar says of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoursState {
    /// Inside a weekly interval.
    Open,
    /// Outside of all.
    Closed,
    /// Closed all day: the holiday's or the closed day's name.
    Holiday(String),
    /// An override decides.
    Override {
        /// Open or closed.
        open: bool,
        /// Why.
        reason: String,
    },
}

/// Why a calendar says what it says, for `contesta hours`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The moment in local time.
    pub local: DateTime,
    /// What holds.
    pub state: HoursState,
    /// The rule that decided, as a sentence.
    pub rule: String,
    /// When it opens, if it is closed; when it closes, if it is open. `None`: not within four years.
    pub next_change: Option<Timestamp>,
}

impl HoursState {
    /// True when callers can be served.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Override { open, .. } => *open,
            Self::Closed | Self::Holiday(_) => false,
        }
    }
}

impl Calendar {
    /// What holds at a moment.
    #[must_use]
    pub fn at(&self, at: Timestamp, zone: &TimeZone) -> HoursState {
        let local = zone.to_datetime(at);
        if let Some(exception) = self.overrides.iter().find(|exception| exception.from <= local && local < exception.to)
        {
            return HoursState::Override { open: exception.open, reason: exception.reason.clone() };
        }
        if let Some(name) = self.holiday(local.date()) {
            return HoursState::Holiday(name.to_owned());
        }
        let minute = minute_of_day(local);
        let open = self.hours_of(local.weekday()).iter().any(|hours| hours.open <= minute && minute < hours.close);
        if open { HoursState::Open } else { HoursState::Closed }
    }

    /// The first open moment at or after `at`; `None` when there is none within four years.
    #[must_use]
    pub fn next_opening(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.open_spans(at, zone).next().map(|(from, _)| from.max(at))
    }

    /// The first moment after `at` that is no longer open, when it is open at `at` and ever closes.
    #[must_use]
    pub fn next_closing(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut end = None;
        for (from, to) in self.open_spans(at, zone) {
            if from > end.unwrap_or(at) {
                return end;
            }
            end = Some(to);
        }
        // The last span touches the horizon: it never closes within it.
        None
    }

    /// The moment when `open_time` of open hours have passed since `from`; `None` when that is years away.
    #[must_use]
    pub fn after_open_time(&self, from: Timestamp, open_time: Duration, zone: &TimeZone) -> Option<Timestamp> {
        let mut left = jiff::SignedDuration::try_from(open_time).ok()?;
        for (open, close) in self.open_spans(from, zone) {
            let open = open.max(from);
            let length = close.duration_since(open);
            if left <= length {
                return open.checked_add(left).ok();
            }
            left -= length;
        }
        None
    }

    /// Why it is open or closed, and until when.
    #[must_use]
    pub fn explain(&self, at: Timestamp, zone: &TimeZone) -> Explanation {
        let (local, state) = (zone.to_datetime(at), self.at(at, zone));
        let day = weekday_name(local.weekday());
        let intervals = self.hours_of(local.weekday());
        let rule = match &state {
            HoursState::Override { open, reason } => {
                format!("an override says {}: {reason}", if *open { "open" } else { "closed" })
            }
            HoursState::Holiday(name) => format!("{} is a closed day: {name}", local.date()),
            HoursState::Open | HoursState::Closed if intervals.is_empty() => format!("closed on every {day}"),
            HoursState::Open | HoursState::Closed => {
                let intervals: Vec<String> = intervals.iter().map(interval_text).collect();
                format!("open on {day} {}", intervals.join(" and "))
            }
        };
        let next_change = if state.is_open() { self.next_closing(at, zone) } else { self.next_opening(at, zone) };
        Explanation { local, state, rule, next_change }
    }

    /// The name of the holiday or closed day, if that date is one.
    #[must_use]
    pub fn holiday(&self, date: Date) -> Option<&str> {
        let declared = self.closed.iter().find(|(closed, _)| *closed == date).map(|(_, name)| name.as_str());
        declared.or_else(|| match self.holidays {
            Holidays::Federal => federal_holiday(date),
            Holidays::None => None,
        })
    }

    fn hours_of(&self, day: Weekday) -> &[DayHours] {
        let index = usize::try_from(day.to_monday_zero_offset()).unwrap_or(0);
        self.weekly.0.get(index).map_or(&[], Vec::as_slice)
    }

    /// Open spans from the one that covers or follows `at`, in order; touching ones come apart.
    fn open_spans<'a>(
        &'a self,
        at: Timestamp,
        zone: &'a TimeZone,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> + 'a {
        let first = zone.to_datetime(at).date();
        std::iter::successors(Some(first), |date| date.tomorrow().ok())
            .take(HORIZON_DAYS)
            .flat_map(|date| self.open_spans_of_day(date))
            .filter_map(|(from, to)| Some((zone.to_timestamp(from).ok()?, zone.to_timestamp(to).ok()?)))
            .filter(move |(from, to)| at < *to && from < to)
    }

    /// One day's open spans in local time: the week's, with overrides laid over them.
    fn open_spans_of_day(&self, date: Date) -> Vec<(DateTime, DateTime)> {
        let (start, end) = (date.to_datetime(jiff::civil::Time::midnight()), date.saturating_add(1.day()).into());
        let weekly = if self.holiday(date).is_some() { &[] } else { self.hours_of(date.weekday()) };
        let moment = |minute: u16| start.saturating_add(i64::from(minute).minutes());
        let mut spans: Vec<(DateTime, DateTime)> =
            weekly.iter().map(|hours| (moment(hours.open), moment(hours.close))).collect();
        for exception in self.overrides.iter().filter(|exception| exception.from < end && start < exception.to) {
            let (from, to) = (exception.from.max(start), exception.to.min(end));
            spans = spans
                .into_iter()
                .flat_map(|(open, close)| [(open, close.min(from)), (open.max(to), close)])
                .filter(|(open, close)| open < close)
                .collect();
            if exception.open {
                spans.push((from, to));
            }
        }
        spans.sort();
        spans
    }
}

/// A day of rest of article 74 of the Ley Federal del Trabajo, for any year.
#[must_use]
pub fn federal_holiday(date: Date) -> Option<&'static str> {
    let monday_of_month = |nth: i8| date.weekday() == Weekday::Monday && (date.day() - 1) / 7 + 1 == nth;
    let six_years_from = |year: i16| (date.year() - year).rem_euclid(6) == 0;
    match (date.month(), date.day()) {
        (1, 1) => Some("Año Nuevo"),
        (2, _) if monday_of_month(1) => Some("Día de la Constitución"),
        (3, _) if monday_of_month(3) => Some("Natalicio de Benito Juárez"),
        (5, 1) => Some("Día del Trabajo"),
        (9, 16) => Some("Día de la Independencia"),
        (10, 1) if date.year() >= 2024 && six_years_from(2024) => Some("Transmisión del Poder Ejecutivo Federal"),
        (11, _) if monday_of_month(3) => Some("Día de la Revolución"),
        // Until 2018 the President took office on the first of December.
        (12, 1) if date.year() <= 2018 && six_years_from(2018) => Some("Transmisión del Poder Ejecutivo Federal"),
        (12, 25) => Some("Navidad"),
        _ => None,
    }
}

fn minute_of_day(local: DateTime) -> u16 {
    u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0)
}

fn interval_text(hours: &DayHours) -> String {
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{}-{}", time(hours.open), time(hours.close))
}

fn weekday_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone() -> TimeZone {
        TimeZone::get("America/Mexico_City").unwrap()
    }

    fn local(text: &str) -> Timestamp {
        zone().to_timestamp(text.parse::<DateTime>().unwrap()).unwrap()
    }

    /// B-12: Monday to Friday 09:00 to 17:00, closed on federal holidays.
    fn agents() -> Calendar {
        let mut weekly = WeekHours::default();
        for day in 0..5 {
            weekly.0[day].push(DayHours { open: 9 * 60, close: 17 * 60 });
        }
        Calendar { name: "asesores".into(), weekly, holidays: Holidays::Federal, ..Calendar::default() }
    }

    fn state(text: &str) -> HoursState {
        agents().at(local(text), &zone())
    }

    #[test]
    fn the_closing_minute_is_closed() {
        assert_eq!(state("2026-03-13T08:59:59"), HoursState::Closed);
        assert_eq!(state("2026-03-13T09:00:00"), HoursState::Open);
        assert_eq!(state("2026-03-13T16:59:59"), HoursState::Open);
        assert_eq!(state("2026-03-13T17:00:00"), HoursState::Closed);
        assert_eq!(state("2026-03-15T12:00:00"), HoursState::Closed, "a Sunday");
    }

    /// Daylight saving ended in 2022: in July the zone is still six hours behind UTC.
    #[test]
    fn july_has_no_summer_time() {
        let at = |text: &str| agents().at(text.parse().unwrap(), &zone());
        assert_eq!(at("2026-07-15T14:59:59Z"), HoursState::Closed);
        assert_eq!(at("2026-07-15T15:00:00Z"), HoursState::Open);
        assert_eq!(at("2026-07-15T23:00:00Z"), HoursState::Closed);
    }

    #[test]
    fn federal_holidays_follow_their_rules_in_any_year() {
        let dates = |year: i16| -> Vec<String> {
            let first = jiff::civil::date(year, 1, 1);
            first
                .series(1.day())
                .take_while(|date| date.year() == year)
                .filter(|date| federal_holiday(*date).is_some())
                .map(|date| date.to_string())
                .collect()
        };
        assert_eq!(
            dates(2024),
            [
                "2024-01-01",
                "2024-02-05",
                "2024-03-18",
                "2024-05-01",
                "2024-09-16",
                "2024-10-01",
                "2024-11-18",
                "2024-12-25"
            ]
        );
        assert_eq!(
            dates(2026),
            ["2026-01-01", "2026-02-02", "2026-03-16", "2026-05-01", "2026-09-16", "2026-11-16", "2026-12-25"]
        );
        assert!(dates(2030).contains(&"2030-10-01".to_owned()) && dates(2018).contains(&"2018-12-01".to_owned()));
        assert_eq!(state("2026-03-16T10:00"), HoursState::Holiday("Natalicio de Benito Juárez".into()));
        assert_eq!(state("2026-03-09T10:00"), HoursState::Open, "the second Monday");
    }

    #[test]
    fn an_override_wins_and_expires() {
        let mut calendar = agents();
        let drill = |open, from: &str, to: &str| Override {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            open,
            reason: "simulacro".into(),
        };
        calendar.overrides.push(drill(false, "2026-05-04T10:00", "2026-05-04T12:00"));
        calendar.overrides.push(drill(true, "2026-05-10T10:00", "2026-05-10T12:00"));
        let at = |text: &str| calendar.at(local(text), &zone());
        assert_eq!(at("2026-05-04T09:59:59"), HoursState::Open);
        assert_eq!(at("2026-05-04T10:00"), HoursState::Override { open: false, reason: "simulacro".into() });
        assert_eq!(at("2026-05-04T12:00"), HoursState::Open);
        assert_eq!(at("2026-05-10T11:00"), HoursState::Override { open: true, reason: "simulacro".into() });
        let opening = |text: &str| calendar.next_opening(local(text), &zone());
        assert_eq!(opening("2026-05-04T10:30"), Some(local("2026-05-04T12:00")));
        assert_eq!(opening("2026-05-09T11:00"), Some(local("2026-05-10T10:00")));
        assert_eq!(calendar.next_closing(local("2026-05-04T09:30"), &zone()), Some(local("2026-05-04T10:00")));
    }

    #[test]
    fn the_next_opening_skips_nights_weekends_and_holidays() {
        let opening = |text: &str| agents().next_opening(local(text), &zone());
        assert_eq!(opening("2026-03-13T10:00"), Some(local("2026-03-13T10:00")), "open already");
        assert_eq!(opening("2026-03-12T17:00"), Some(local("2026-03-13T09:00")));
        assert_eq!(opening("2026-03-13T17:00"), Some(local("2026-03-17T09:00")), "over a weekend and a holiday");
        assert_eq!(Calendar::default().next_opening(local("2026-03-13T17:00"), &zone()), None);
    }

    #[test]
    fn a_calendar_that_never_closes_has_no_closing() {
        let always =
            Calendar { weekly: WeekHours(std::array::from_fn(|_| vec![DayHours::ALL_DAY])), ..Calendar::default() };
        assert_eq!(always.at(local("2026-12-25T03:00"), &zone()), HoursState::Open);
        assert_eq!(always.next_closing(local("2026-03-13T17:00"), &zone()), None);
        let drawn_out = Calendar { closed: vec![("2026-03-15".parse().unwrap(), "inventario".into())], ..always };
        assert_eq!(drawn_out.next_closing(local("2026-03-13T17:00"), &zone()), Some(local("2026-03-15T00:00")));
    }

    #[test]
    fn an_explanation_names_the_rule_and_the_next_change() {
        let explained = agents().explain(local("2026-03-13T17:00"), &zone());
        assert_eq!(explained.rule, "open on Friday 09:00-17:00");
        assert_eq!((explained.state, explained.next_change), (HoursState::Closed, Some(local("2026-03-17T09:00"))));
        assert_eq!(agents().explain(local("2026-03-15T17:00"), &zone()).rule, "closed on every Sunday");
        assert_eq!(agents().explain(local("2026-12-25T17:00"), &zone()).rule, "2026-12-25 is a closed day: Navidad");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn spans_and_states_tell_the_same(minutes in 0_i64..600_000, drill in 0_i64..600_000, length in 1_i64..5_000, open: bool) {
            let start: DateTime = "2026-01-01T00:00".parse().unwrap();
            let from = start.saturating_add(drill.minutes());
            let exception = Override { from, to: from.saturating_add(length.minutes()), open, reason: "x".into() };
            let calendar = Calendar { overrides: vec![exception], ..agents() };
            let at = zone().to_timestamp(start.saturating_add(minutes.minutes())).unwrap();
            let opening = calendar.next_opening(at, &zone()).unwrap();
            prop_assert_eq!(opening == at, calendar.at(at, &zone()).is_open());
            prop_assert!(calendar.at(opening, &zone()).is_open());
            if let Some(closing) = calendar.next_closing(opening, &zone()) {
                prop_assert!(!calendar.at(closing, &zone()).is_open());
                prop_assert!(calendar.at(closing - 1.second(), &zone()).is_open());
            }
        }
    }
}
