//! Reads `hours.toml`: calendars by name.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};

use super::Calendar;
use super::calendar::{Holidays, Override};
use crate::document::{Fields, Place};
use crate::fault::Fault;
use crate::speech::{DayHours, WeekHours};

/// Days of the week by their names in files, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Reads `[calendars.<name>]`.
pub(super) fn calendars(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> BTreeMap<String, Calendar> {
    let mut calendars = BTreeMap::new();
    for (name, place) in fields.entries("calendars", faults) {
        if name.text == "natural" {
            faults.push(name.fault("«natural» is the clock that counts every hour; a calendar needs another name"));
        }
        let Some(mut fields) = place.fields(faults) else { continue };
        let weekly = fields.required("weekly", faults).map(|week| weekly(week, faults)).unwrap_or_default();
        let holidays = fields.optional("holidays").and_then(|place| holidays(place, faults)).unwrap_or_default();
        let closed = fields.optional("closed").map(|place| closed(place, faults)).unwrap_or_default();
        let overrides = fields.optional("overrides").map(|place| overrides(place, faults)).unwrap_or_default();
        fields.finish(faults);
        let calendar = Calendar { name: name.text.to_owned(), weekly, holidays, closed, overrides };
        calendars.insert(name.text.to_owned(), calendar);
    }
    calendars
}

fn weekly(place: Place<'_>, faults: &mut Vec<Fault>) -> WeekHours {
    let mut week = WeekHours::default();
    let Some(mut fields) = place.fields(faults) else { return week };
    for (day, hours) in DAYS.into_iter().zip(week.0.iter_mut()) {
        let mut intervals: Vec<(DayHours, Place<'_>)> = fields
            .texts(day, faults)
            .into_iter()
            .filter_map(|(text, place)| Some((interval(text, place, faults)?, place)))
            .collect();
        intervals.sort_by_key(|(hours, _)| *hours);
        for pair in intervals.windows(2) {
            if let [(earlier, _), (later, place)] = pair
                && later.open < earlier.close
            {
                faults.push(place.fault("the interval overlaps another one of the same day"));
            }
        }
        // Touching intervals are one when they are read aloud.
        for (interval, _) in intervals {
            match hours.last_mut() {
                Some(last) if last.close >= interval.open => last.close = last.close.max(interval.close),
                _ => hours.push(interval),
            }
        }
    }
    fields.finish(faults);
    week
}

/// `09:00-17:00`, half-open; `24:00` ends a day.
fn interval(text: &str, place: Place<'_>, faults: &mut Vec<Fault>) -> Option<DayHours> {
    let read = text.split_once('-').and_then(|(open, close)| Some((minute(open)?, minute(close)?)));
    let Some((open, close)) = read else {
        faults.push(place.fault(format!("«{text}» is no interval")).suggest("write it like \"09:00-17:00\""));
        return None;
    };
    if close <= open {
        let fault = place.fault(format!("the interval «{text}» is empty or runs backwards"));
        faults.push(
            fault.suggest("hours past midnight are two intervals: one to \"24:00\", one from \"00:00\" the next day"),
        );
        return None;
    }
    Some(DayHours { open, close })
}

/// Minutes since midnight of `HH:MM`, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u16>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    ((hour < 24 && minute < 60) || (hour == 24 && minute == 0)).then_some(hour * 60 + minute)
}

fn holidays(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<Holidays> {
    match place.text(faults)? {
        "federal" => Some(Holidays::Federal),
        "none" => Some(Holidays::None),
        other => {
            let fault = place.fault(format!("there is no set of holidays «{other}»"));
            faults.push(fault.suggest("\"federal\" or \"none\"; other days go under «closed»"));
            None
        }
    }
}

fn closed(place: Place<'_>, faults: &mut Vec<Fault>) -> Vec<(Date, String)> {
    let mut closed: Vec<(Date, String)> = Vec::new();
    for place in place.list(faults) {
        let Some(mut fields) = place.fields(faults) else { continue };
        let date = fields.required("date", faults).and_then(|date| Some((read_date(date, faults)?, date)));
        let name = fields.required_text("name", faults);
        fields.finish(faults);
        if let (Some((date, date_place)), Some(name)) = (date, name) {
            if closed.iter().any(|(other, _)| *other == date) {
                faults.push(date_place.fault(format!("{date} is closed already")));
            }
            closed.push((date, name.to_owned()));
        }
    }
    closed.sort();
    closed
}

fn overrides(place: Place<'_>, faults: &mut Vec<Fault>) -> Vec<Override> {
    let mut overrides: Vec<(Override, Place<'_>)> = Vec::new();
    for place in place.list(faults) {
        let Some(mut fields) = place.fields(faults) else { continue };
        let from = fields.required("from", faults).and_then(|from| read_moment(from, faults));
        let to = fields.required("to", faults).and_then(|to| read_moment(to, faults));
        let open = fields.required("open", faults).and_then(|open| open.flag(faults));
        let reason = fields.required_text("reason", faults);
        fields.finish(faults);
        if let (Some(from), Some(to), Some(open), Some(reason)) = (from, to, open, reason) {
            if to <= from {
                faults.push(place.fault("the override ends before it begins"));
                continue;
            }
            overrides.push((Override { from, to, open, reason: reason.to_owned() }, place));
        }
    }
    overrides.sort_by_key(|(exception, _)| exception.from);
    for pair in overrides.windows(2) {
        if let [(earlier, _), (later, place)] = pair
            && later.from < earlier.to
        {
            faults.push(place.fault(format!("the override overlaps the one from {}", earlier.from)));
        }
    }
    overrides.into_iter().map(|(exception, _)| exception).collect()
}

/// `"2026-12-24"`, quoted or as a TOML date.
fn read_date(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<Date> {
    let date = written(place).filter(|text| text.len() == 10).and_then(|text| text.parse().ok());
    if date.is_none() {
        faults.push(place.fault("expected a date like \"2026-12-24\""));
    }
    date
}

/// `"2026-05-04T10:00"`, local time, quoted or as a TOML date-time.
fn read_moment(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<DateTime> {
    // A zone or offset would be read past: the operator's zone is the only one here.
    let plain = |text: &&str| {
        text.len() >= 16
            && text.chars().all(|c| c.is_ascii_digit() || "-:Tt .".contains(c))
            && text.matches('-').count() == 2
    };
    let moment = written(place).filter(plain).and_then(|text| text.parse().ok());
    if moment.is_none() {
        faults.push(place.fault("expected local date and time like \"2026-05-04T10:00\""));
    }
    moment
}

fn written(place: Place<'_>) -> Option<&str> {
    use crate::document::Item;
    match &place.node.item {
        Item::Text(text) | Item::Datetime(text) => Some(text),
        Item::Integer(_) | Item::Float(_) | Item::Flag(_) | Item::Array(_) | Item::Table(_) => None,
    }
}
