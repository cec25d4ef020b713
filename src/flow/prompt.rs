//! What the caller hears, as a flow writes it: keys of the catalogue, spoken values, silence.
//!
//! ```toml
//! prompt = ["su_reporte_es", { say = "folio", value = "${case.folio}", repeat = 2 }, { silence = "300ms" },
//!           { prompt = "info_reemplazo", when = "motivo == 'robo'" }, { say = "hours", calendar = "asesores" }]
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use crate::document::{Fields, Item as Written, Place};
use crate::duration_text;
use crate::fault::Fault;
use crate::operator::{Operator, PromptId};
use crate::speech::{self, Gender, Say, Word};
use crate::value::{Kind, Value};

use super::action::Utterance;
use super::expr::{Expr, Scope, Values, fits, kind_name};
use super::reader::{read_condition, read_template};
use super::template::Template;

/// A piece of what the caller hears.
#[derive(Clone, Debug)]
pub struct Item {
    what: What,
    when: Option<Expr>,
}

#[derive(Clone, Debug)]
enum What {
    Prompt { id: PromptId, key: Box<str> },
    Silence(Duration),
    Hours { calendar: Box<str> },
    Say { style: Style, value: Template, repeat: u8 },
}

/// How a value is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Cardinal { gender: Gender, apocope: bool },
    Digits,
    PhoneMx,
    Folio,
    Imei,
    MoneyMxn,
    Date,
    Time,
    Moment,
    Duration { unit: Duration },
    Spell,
    Prompt,
}

/// Names of the ways to speak a value, for `say`.
pub const STYLES: [&str; 13] = [
    "cardinal",
    "digits",
    "phone_mx",
    "folio",
    "imei",
    "money_mxn",
    "date",
    "time",
    "moment",
    "duration",
    "hours",
    "spell",
    "prompt",
];

/// Reads a list of prompt items, or a single one.
pub(crate) fn read(place: Place<'_>, scope: &dyn Scope, operator: &Operator, faults: &mut Vec<Fault>) -> Vec<Item> {
    let places = if place.is_list() { place.list(faults) } else { vec![place] };
    if places.len() > ITEMS_MAX {
        faults.push(place.fault(format!("{} pieces; nobody listens to more than {ITEMS_MAX}", places.len())));
    }
    let read = |place: Place<'_>| match &place.node.item {
        Written::Text(key) => {
            prompt_id(place, key, operator, faults).map(|id| Item { what: prompt(id, key), when: None })
        }
        Written::Table(_) => table(place, scope, operator, faults),
        Written::Integer(_) | Written::Float(_) | Written::Flag(_) | Written::Datetime(_) | Written::Array(_) => {
            faults.push(place.expected("the key of a prompt, { say = … } or { silence = … }"));
            None
        }
    };
    places.into_iter().filter_map(read).collect()
}

fn table(place: Place<'_>, scope: &dyn Scope, operator: &Operator, faults: &mut Vec<Fault>) -> Option<Item> {
    let mut fields = place.fields(faults)?;
    let (condition, silence, key, say) =
        (fields.optional("when"), fields.optional("silence"), fields.optional("prompt"), fields.optional("say"));
    let when = condition.map(|place| read_condition(place, scope, faults));
    let what = match (silence, key, say) {
        (Some(silence), None, None) => silence.duration(faults).and_then(|duration| {
            if duration > SILENCE_MAX {
                faults.push(silence.fault("more than 10s of silence: callers hang up"));
                return None;
            }
            Some(What::Silence(duration))
        }),
        (None, Some(key_place), None) => {
            let key = key_place.text(faults);
            key.and_then(|key| prompt_id(key_place, key, operator, faults).map(|id| prompt(id, key)))
        }
        (None, None, Some(say)) => say.text(faults).and_then(|style| {
            if style == "hours" {
                hours(&mut fields, operator, faults)
            } else {
                spoken(style, say, &mut fields, scope, faults)
            }
        }),
        (_, _, _) => {
            faults.push(place.fault("a piece is one of: a key, { say = … }, { prompt = … }, { silence = … }"));
            return None;
        }
    };
    fields.finish(faults);
    match when {
        Some(when) => Some(Item { what: what?, when: Some(when?) }),
        None => Some(Item { what: what?, when: None }),
    }
}

fn spoken(
    style: &str,
    say: Place<'_>,
    fields: &mut Fields<'_>,
    scope: &dyn Scope,
    faults: &mut Vec<Fault>,
) -> Option<What> {
    let value_place = fields.required("value", faults);
    let repeat = fields.optional("repeat").map_or(Some(1), |place| place.integer_in(1..=3, faults));
    let (style, kinds) = read_style(style, say, fields, faults)?;
    let value_place = value_place?;
    let value = read_template(value_place, None, scope, faults)?;
    if value.is_sensitive() {
        faults.push(value_place.fault("a sensitive variable is never spoken"));
        return None;
    }
    if let (Style::Duration { .. }, Some(literal)) = (style, value.as_literal()) {
        if let Err(error) = duration_text::parse(literal) {
            faults.push(value_place.fault(error.to_string()));
            return None;
        }
    } else if !kinds.iter().any(|kind| fits(value.kind(), *kind)) {
        let wanted: Vec<&str> = kinds.iter().map(|kind| kind_name(*kind)).collect();
        let message =
            format!("«{}» speaks a {}, this is a {}", say_name(say), wanted.join(" or "), kind_name(value.kind()));
        faults.push(value_place.fault(message));
        return None;
    }
    Some(What::Say { style, value, repeat: u8::try_from(repeat?).unwrap_or(1) })
}

fn say_name(say: Place<'_>) -> &str {
    say.text(&mut Vec::new()).unwrap_or("say")
}

/// The style of that name with its own options, and the kinds of value it speaks.
fn read_style(
    name: &str,
    say: Place<'_>,
    fields: &mut Fields<'_>,
    faults: &mut Vec<Fault>,
) -> Option<(Style, &'static [Kind])> {
    let pair: (Style, &'static [Kind]) = match name {
        "cardinal" => {
            let gender =
                fields.optional("gender").map_or(Some(Gender::Masculine), |place| match place.text(faults)? {
                    "m" => Some(Gender::Masculine),
                    "f" => Some(Gender::Feminine),
                    other => {
                        faults.push(place.fault(format!("«{other}» is no gender: \"m\" or \"f\"")));
                        None
                    }
                });
            let apocope = fields.flag("apocope", faults).unwrap_or(false);
            (Style::Cardinal { gender: gender?, apocope }, &[Kind::Number])
        }
        "digits" => (Style::Digits, &[Kind::Text]),
        "phone_mx" => (Style::PhoneMx, &[Kind::Text]),
        "folio" => (Style::Folio, &[Kind::Text]),
        "imei" => (Style::Imei, &[Kind::Text]),
        "money_mxn" => (Style::MoneyMxn, &[Kind::Money]),
        "date" => (Style::Date, &[Kind::Date, Kind::Moment]),
        "time" => (Style::Time, &[Kind::Moment]),
        "moment" => (Style::Moment, &[Kind::Moment]),
        "duration" => {
            let unit = fields.optional("unit").map_or(Some("m"), |place| {
                let unit = place.text(faults)?;
                let known = UNITS.iter().any(|(name, _)| *name == unit);
                if !known {
                    faults.push(place.fault(format!("«{unit}» is no unit: s, m, h or d")));
                }
                known.then_some(unit)
            })?;
            let seconds = UNITS.iter().find(|(name, _)| *name == unit).map_or(60, |(_, seconds)| *seconds);
            (Style::Duration { unit: Duration::from_secs(seconds) }, &[Kind::Number])
        }
        "spell" => (Style::Spell, &[Kind::Text]),
        "prompt" => (Style::Prompt, &[Kind::Prompt]),
        other => {
            let fault = say.fault(format!("«{other}» is no way to speak a value")).did_you_mean(other, STYLES);
            faults.push(if fault.suggestion.is_some() {
                fault
            } else {
                fault.suggest(format!("known: {}", STYLES.join(", ")))
            });
            return None;
        }
    };
    Some(pair)
}

fn hours(fields: &mut Fields<'_>, operator: &Operator, faults: &mut Vec<Fault>) -> Option<What> {
    let place = fields.required("calendar", faults)?;
    let calendar = known_calendar(place, operator, faults)?;
    Some(What::Hours { calendar: calendar.into() })
}

/// The name of a calendar of the operator at `place`, or a fault.
pub(crate) fn known_calendar<'a>(place: Place<'a>, operator: &Operator, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let name = place.text(faults)?;
    if operator.calendars.contains_key(name) {
        return Some(name);
    }
    let names = operator.calendars.keys().map(String::as_str);
    faults.push(place.fault(format!("{} has no calendar «{name}»", operator.id)).did_you_mean(name, names));
    None
}

fn prompt(id: PromptId, key: &str) -> What {
    What::Prompt { id, key: key.into() }
}

fn prompt_id(place: Place<'_>, key: &str, operator: &Operator, faults: &mut Vec<Fault>) -> Option<PromptId> {
    let id = operator.prompts.id(key);
    if id.is_none() {
        let fault = place.fault(format!("{} has no prompt «{key}»", operator.id));
        faults.push(match operator.prompts.did_you_mean(key) {
            Some(near) => fault.suggest(format!("did you mean «{near}»?")),
            None => fault,
        });
    }
    id
}

/// The recorded texts among these items; `None` when a value brings one that is not known before a call.
pub(crate) fn recorded_text(items: &[Item], operator: &Operator) -> Option<String> {
    let mut text = String::new();
    for item in items {
        match &item.what {
            What::Prompt { id, .. } => {
                text.push_str(operator.prompts.text(*id));
                text.push(' ');
            }
            What::Say { style: Style::Prompt, .. } => return None,
            What::Silence(_) | What::Hours { .. } | What::Say { .. } => {}
        }
    }
    Some(text)
}

/// What a list of items comes to: what is played, and a line about it for the call's path.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) utterances: Vec<Utterance>,
    /// Keys and values (`su_reporte_es, folio 2123456789`), and what could not be spoken.
    pub(crate) account: String,
}

impl Spoken {
    /// Adds what `items` come to with these values.
    pub(crate) fn add(&mut self, items: &[Item], values: &dyn Values, operator: &Operator) {
        for item in items.iter().filter(|item| item.when.as_ref().is_none_or(|when| when.holds(values))) {
            match &item.what {
                What::Prompt { id, key } => {
                    self.note(key);
                    self.utterances.push(Utterance::Prompt(*id));
                }
                What::Silence(duration) => self.utterances.push(Utterance::Silence(*duration)),
                What::Hours { calendar } => {
                    self.note(&format!("hours {calendar}"));
                    if let Some(calendar) = operator.calendars.get(&**calendar) {
                        self.say(&Say::Hours(calendar.weekly.clone()), operator);
                    }
                }
                What::Say { style, value, repeat } => self.value(*style, value.value(values), *repeat, operator),
            }
        }
    }

    fn value(&mut self, style: Style, value: Option<Value>, repeat: u8, operator: &Operator) {
        let name = style.name();
        let Some(value) = value else { return self.note(&format!("{name}: nothing to say")) };
        self.note(&format!("{name} {value}"));
        let said = match style.say(&value, operator) {
            Some(Ok(say)) => say,
            Some(Err(key)) => match operator.prompts.id(&key) {
                Some(id) => return self.utterances.push(Utterance::Prompt(id)),
                None => return self.note("(no such prompt)"),
            },
            None => return self.note("(not to be spoken so)"),
        };
        for time in 0..repeat {
            if time > 0 {
                self.utterances.push(Utterance::Silence(BETWEEN_REPEATS));
            }
            self.say(&said, operator);
        }
    }

    /// Speaks a value that the catalogue's items do not name: a read-back.
    pub(crate) fn read_back(&mut self, style: Style, value: &Value, operator: &Operator) {
        self.value(style, Some(value.clone()), 1, operator);
    }

    fn say(&mut self, say: &Say, operator: &Operator) {
        let words = match speech::say(say) {
            Ok(words) => words,
            Err(error) => return self.note(&format!("({error})")),
        };
        for word in words {
            match word {
                Word::Pause(duration) => self.utterances.push(Utterance::Silence(duration)),
                Word::Key(key) => match operator.prompts.id(key) {
                    Some(id) => self.utterances.push(Utterance::Prompt(id)),
                    None => self.note(&format!("(no recording of «{key}»)")),
                },
            }
        }
    }

    fn note(&mut self, what: &str) {
        let separator = if self.account.is_empty() { "" } else { ", " };
        let _ = write!(self.account, "{separator}{what}");
    }
}

impl Style {
    fn name(self) -> &'static str {
        match self {
            Self::Cardinal { .. } => "cardinal",
            Self::Digits => "digits",
            Self::PhoneMx => "phone_mx",
            Self::Folio => "folio",
            Self::Imei => "imei",
            Self::MoneyMxn => "money_mxn",
            Self::Date => "date",
            Self::Time => "time",
            Self::Moment => "moment",
            Self::Duration { .. } => "duration",
            Self::Spell => "spell",
            Self::Prompt => "prompt",
        }
    }

    /// What speech is asked for; `Err` is the key of a prompt; `None` when the value's kind does not fit.
    fn say(self, value: &Value, operator: &Operator) -> Option<Result<Say, String>> {
        let zoned = |moment: &jiff::Timestamp| moment.to_zoned(operator.time_zone.clone());
        let text = || value.to_string();
        let say = match (self, value) {
            (Self::Cardinal { gender, apocope }, Value::Number(value)) => {
                Say::Cardinal { value: *value, gender, apocope }
            }
            (Self::Digits, Value::Text(_)) => Say::Digits(text()),
            (Self::PhoneMx, Value::Text(_)) => Say::PhoneMx(text()),
            (Self::Folio, Value::Text(_)) => Say::Folio(text()),
            (Self::Imei, Value::Text(_)) => Say::Imei(text()),
            (Self::MoneyMxn, Value::Money(centavos)) => Say::MoneyMxn(*centavos),
            (Self::Date, Value::Date(date)) => Say::Date(*date),
            (Self::Date, Value::Moment(moment)) => Say::Date(zoned(moment).date()),
            (Self::Time, Value::Moment(moment)) => Say::Time(zoned(moment).time()),
            (Self::Moment, Value::Moment(moment)) => Say::Moment(zoned(moment).datetime()),
            (Self::Duration { unit }, Value::Number(count)) => {
                Say::Duration(unit.checked_mul(u32::try_from(*count).ok()?)?)
            }
            (Self::Duration { .. }, Value::Text(text)) => Say::Duration(duration_text::parse(text).ok()?),
            (Self::Spell, Value::Text(_)) => Say::Spell(text()),
            (Self::Prompt, Value::Text(key)) => return Some(Err(key.clone())),
            (_, _) => return None,
        };
        Some(Ok(say))
    }
}

/// Pieces of one prompt at most.
const ITEMS_MAX: usize = 40;
/// The longest silence a flow may write.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Between a value and its repetition.
const BETWEEN_REPEATS: Duration = Duration::from_millis(700);
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
