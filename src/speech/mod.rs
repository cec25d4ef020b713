//! Spanish of Mexico for recordings: values become lists of recorded words.
//!
//! Rules from the RAE's grammar as far as numbers need it: only *uno* and the hundreds change with gender; *uno* is cut before
//! a masculine noun and before *mil*; *millón* takes «de» before its noun (`requirements.md` §2.6). One file a family: [`number`],
//! [`digits`], [`time`], [`hours`], [`spell`]; their words with texts in [`vocabulary()`].

use std::time::Duration;

use jiff::civil;
use thiserror::Error;

mod digits;
mod hours;
mod number;
mod spell;
mod time;
mod vocabulary;

pub use hours::{DayHours, WeekHours};
pub use vocabulary::{text_of, vocabulary};

/// Grammatical gender of the noun that follows a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// pesos, días, minutos
    Masculine,
    /// horas, páginas
    Feminine,
}

/// A value to be spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// A number: «veintiuno», before a noun «veintiún» (`apocope`) or «veintiuna».
    Cardinal {
        /// Any value; negative ones begin with «menos».
        value: i64,
        /// Gender of what is counted.
        gender: Gender,
        /// True when a masculine noun follows.
        apocope: bool,
    },
    /// Keys of a telephone one by one: `0-9 * # +`; spaces and separators are passed over.
    Digits(String),
    /// A telephone number in the country's groups, 222 605 72 39 or 55 12 34 56 78, digit by digit with pauses. `+52` and visual
    /// separators are passed over; other lengths come in threes; an extension may follow as `x300`, `;ext=300` or `ext. 300`.
    PhoneMx(String),
    /// A folio, digit by digit in groups of 3, 3 and 4.
    Folio(String),
    /// An IMEI, digit by digit in threes.
    Imei(String),
    /// An amount in centavos: «veintiún pesos con cincuenta centavos».
    MoneyMxn(i64),
    /// «primero de marzo de dos mil veintiséis»
    Date(civil::Date),
    /// «la una de la tarde», with its article; seconds are dropped.
    Time(civil::Time),
    /// «el viernes trece de marzo de dos mil veintiséis a las cinco de la tarde»; seconds are dropped.
    Moment(civil::DateTime),
    /// «veinticuatro horas», «dos horas y treinta minutos»; from three days on in days. Fractions of a second are dropped.
    Duration(Duration),
    /// «de lunes a viernes de nueve de la mañana a cinco de la tarde»
    Hours(WeekHours),
    /// An address letter by letter, with «arroba», «punto» and the parts that everybody says as words.
    Spell(String),
}

/// A piece of a spoken value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The key of a recorded word of [`vocabulary()`].
    Key(&'static str),
    /// Silence between groups.
    Pause(Duration),
}

/// Why a value cannot be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SayError {
    /// There is nothing to say.
    #[error("there is nothing to say")]
    Empty,
    /// The text holds a character without a recording.
    #[error("«{0}» has no recorded name")]
    Unspeakable(char),
    /// Longer than anybody would listen to: more than [`LONGEST`] characters.
    #[error("too long to be spoken: more than {LONGEST} characters")]
    TooLong,
}

/// Most characters of a text that is spoken one by one.
pub const LONGEST: usize = 80;

/// The silence between groups of digits.
pub const GROUP_PAUSE: Duration = Duration::from_millis(350);

/// The words for a value, in order, at least one.
///
/// # Errors
/// [`SayError`], only for values that come as text.
pub fn say(value: &Say) -> Result<Vec<Word>, SayError> {
    let mut words = Vec::new();
    match value {
        Say::Cardinal { value, gender, apocope } => number::cardinal(*value, *gender, *apocope, &mut words),
        Say::Digits(text) => digits::one_by_one(text, &mut words)?,
        Say::PhoneMx(text) => digits::phone_mx(text, &mut words)?,
        Say::Folio(text) => digits::folio(text, &mut words)?,
        Say::Imei(text) => digits::imei(text, &mut words)?,
        Say::MoneyMxn(centavos) => number::money_mxn(*centavos, &mut words),
        Say::Date(date) => time::date(*date, &mut words),
        Say::Time(time) => time::time(*time, &mut words),
        Say::Moment(moment) => time::moment(*moment, &mut words),
        Say::Duration(duration) => time::duration(*duration, &mut words),
        Say::Hours(week) => hours::week(week, &mut words),
        Say::Spell(text) => spell::spell(text, &mut words)?,
    }
    Ok(words)
}

/// The sentence as heard, pauses as commas: for `simulate`, tests and people.
#[must_use]
pub fn text(words: &[Word]) -> String {
    let mut sentence = String::new();
    for word in words {
        match word {
            Word::Key(key) => {
                if !sentence.is_empty() {
                    sentence.push(' ');
                }
                sentence.push_str(text_of(key));
            }
            Word::Pause(_) => sentence.push(','),
        }
    }
    sentence
}
