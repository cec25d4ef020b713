//! The values a flow works with, and their kinds: what a caller keyed, what a service answered, what a case holds.

use std::collections::BTreeMap;
use std::fmt;

/// What sort of value an expression, an argument or a column has. Flows are checked against it when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Any characters: digits keyed, names, keys.
    Text,
    /// A whole number.
    Number,
    /// An amount in centavos of Mexican pesos.
    Money,
    /// A calendar day.
    Date,
    /// An instant in UTC, spoken and compared in the operator's time zone.
    Moment,
    /// True or false.
    Flag,
    /// The key of a prompt of the operator: checked on import, spoken by `{ say = "prompt" }`.
    Prompt,
}

/// One value. `Display` gives the form that templates (`"${imei}"`) and records use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// See [`Kind::Text`] (and [`Kind::Prompt`], whose values are text).
    Text(String),
    /// See [`Kind::Number`].
    Number(i64),
    /// Centavos; see [`Kind::Money`].
    Money(i64),
    /// See [`Kind::Date`].
    Date(jiff::civil::Date),
    /// See [`Kind::Moment`].
    Moment(jiff::Timestamp),
    /// See [`Kind::Flag`].
    Flag(bool),
}

/// Named values, in the order of their names.
pub type Values = BTreeMap<String, Value>;

impl Value {
    /// The kind of this value; a prompt key counts as text.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Number(_) => Kind::Number,
            Self::Money(_) => Kind::Money,
            Self::Date(_) => Kind::Date,
            Self::Moment(_) => Kind::Moment,
            Self::Flag(_) => Kind::Flag,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Money(centavos) => {
                let sign = if *centavos < 0 { "-" } else { "" };
                write!(f, "{sign}{}.{:02}", centavos.unsigned_abs() / 100, centavos.unsigned_abs() % 100)
            }
            Self::Date(date) => write!(f, "{date}"),
            Self::Moment(moment) => write!(f, "{moment}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}
