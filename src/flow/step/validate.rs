//! What collected digits must be.

use jiff::civil::Date;

use crate::case::Folio;
use crate::flow::prompt::Style;
use crate::value::{Kind, Value};

/// What the digits must be. Patterns beyond these are written as `digits` with `min` and `max`, and a `branch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validate {
    /// Anything.
    Digits,
    /// 14 digits, 15 with a check digit (Luhn over the first 14, 3GPP TS 23.003 annex B), or 16 with a software version.
    Imei,
    /// Ten digits, the first 2 to 9; old prefixes (52, 521, 01, 044, 045) are cut off.
    PhoneMx,
    /// A folio with its check digit.
    Folio,
    /// Five digits, 01000 to 99999.
    PostalMx,
    /// Eight digits, day, month and year, a day that exists.
    DateDmy,
    /// Whole pesos.
    Amount,
}

/// Names of what digits can be.
pub(super) const NAMES: &[&str] = &["digits", "imei", "phone_mx", "folio", "postal_mx", "date_dmy", "amount"];

/// A valid entry.
pub(super) struct Entry {
    /// What the variable gets.
    pub(super) value: Value,
    /// What is read back: the digits as keyed, or the day or amount they mean.
    pub(super) spoken: Value,
    /// Fine only when the caller confirms it: an IMEI whose check digit is 0, as older devices show it.
    pub(super) doubtful: bool,
}

impl Validate {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "digits" => Self::Digits,
            "imei" => Self::Imei,
            "phone_mx" => Self::PhoneMx,
            "folio" => Self::Folio,
            "postal_mx" => Self::PostalMx,
            "date_dmy" => Self::DateDmy,
            "amount" => Self::Amount,
            _ => return None,
        })
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Digits | Self::Imei | Self::PhoneMx | Self::Folio | Self::PostalMx => Kind::Text,
            Self::DateDmy => Kind::Date,
            Self::Amount => Kind::Money,
        }
    }

    /// Fewest and most digits; `None` when the flow has to say.
    pub(super) fn length(self) -> Option<(u8, u8)> {
        match self {
            Self::Digits => None,
            Self::Imei => Some((14, 16)),
            Self::PhoneMx | Self::Folio => Some((10, 10)),
            Self::PostalMx => Some((5, 5)),
            Self::DateDmy => Some((8, 8)),
            Self::Amount => Some((1, 7)),
        }
    }

    /// How it is read back when the flow does not say.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Digits | Self::PostalMx => Style::Digits,
            Self::Imei => Style::Imei,
            Self::PhoneMx => Style::PhoneMx,
            Self::Folio => Style::Folio,
            Self::DateDmy => Style::Date,
            Self::Amount => Style::MoneyMxn,
        }
    }

    /// What the keys mean.
    ///
    /// # Errors
    /// Why they mean nothing, for the call's path; never with the digits themselves.
    pub(super) fn read(self, keys: &str) -> Result<Entry, &'static str> {
        if !keys.bytes().all(|key| key.is_ascii_digit()) {
            return Err("not only digits");
        }
        let text =
            |text: String| Entry { spoken: Value::Text(text.clone()), value: Value::Text(text), doubtful: false };
        let same = |value: Value| Entry { spoken: value.clone(), value, doubtful: false };
        match self {
            Self::Digits => Ok(text(keys.to_owned())),
            Self::Imei => imei(keys),
            Self::PhoneMx => national(keys).map(|number| text(number.to_owned())).ok_or("not a number of ten digits"),
            Self::Folio => match Folio::parse(keys) {
                Ok(folio) => Ok(text(folio.to_string())),
                Err(_) => Err("not a folio: wrong length or check digit"),
            },
            Self::PostalMx if keys.len() == 5 && keys >= "01000" => Ok(text(keys.to_owned())),
            Self::PostalMx => Err("not a postal code"),
            Self::DateDmy => day(keys).map(|day| same(Value::Date(day))).ok_or("not a day"),
            Self::Amount => {
                let pesos: Option<i64> = keys.parse().ok();
                pesos.and_then(|pesos| pesos.checked_mul(100)).map(|sum| same(Value::Money(sum))).ok_or("not an amount")
            }
        }
    }
}

/// The value is always 14 digits and their check digit, so that one device is blocked once, however it was keyed.
fn imei(keys: &str) -> Result<Entry, &'static str> {
    let body = keys.get(..14).filter(|_| keys.len() <= 16).ok_or("not 14 to 16 digits")?;
    let check = luhn(body);
    let value = Value::Text(format!("{body}{check}"));
    let spoken = Value::Text(keys.to_owned());
    match keys.as_bytes() {
        // An IMEISV ends in a software version, which no check digit covers.
        [_, .., _] if keys.len() != 15 => Ok(Entry { value, spoken, doubtful: false }),
        [.., last] if *last == b'0' + check => Ok(Entry { value, spoken, doubtful: false }),
        [.., b'0'] => Ok(Entry { value, spoken, doubtful: true }),
        [..] => Err("wrong check digit"),
    }
}

/// The Luhn check digit of decimal digits, 0 to 9.
fn luhn(digits: &str) -> u8 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            if place % 2 == 1 {
                return digit;
            }
            if digit > 4 { digit * 2 - 9 } else { digit * 2 }
        })
        .sum();
    u8::try_from((10 - sum % 10) % 10).unwrap_or(0)
}

/// The ten digits of a national number. Before 2019 mobiles were dialled with 044, 045 or, from abroad, 52 1.
fn national(keys: &str) -> Option<&str> {
    const PREFIXES: [&str; 5] = ["521", "52", "044", "045", "01"];
    let ten = |number: &&str| number.len() == 10 && matches!(number.bytes().next(), Some(b'2'..=b'9'));
    let cut = PREFIXES.iter().filter_map(|prefix| keys.strip_prefix(prefix));
    std::iter::once(keys).chain(cut).find(ten)
}

fn day(keys: &str) -> Option<Date> {
    if keys.len() != 8 {
        return None;
    }
    let (day, month, year) = (keys.get(..2)?, keys.get(2..4)?, keys.get(4..)?);
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(validate: Validate, keys: &str, expect: Result<&str, &str>) {
        let found = validate.read(keys).map(|entry| {
            let doubt = if entry.doubtful { " ?" } else { "" };
            format!("{} / {}{doubt}", entry.value, entry.spoken)
        });
        assert_eq!(found.as_deref().map_err(|reason| *reason), expect, "{validate:?} {keys}");
    }

    #[test]
    fn imei_by_luhn_and_length() {
        check(Validate::Imei, "490154203237518", Ok("490154203237518 / 490154203237518"));
        check(Validate::Imei, "260531793113837", Ok("260531793113837 / 260531793113837"));
        check(Validate::Imei, "490154203237519", Err("wrong check digit"));
        check(Validate::Imei, "490154203237510", Ok("490154203237518 / 490154203237510 ?"));
        check(Validate::Imei, "49015420323751", Ok("490154203237518 / 49015420323751"));
        check(Validate::Imei, "4901542032375107", Ok("490154203237518 / 4901542032375107"));
        check(Validate::Imei, "4901542032375", Err("not 14 to 16 digits"));
        check(Validate::Imei, "49015420323751077", Err("not 14 to 16 digits"));
        check(Validate::Imei, "49015420323751*", Err("not only digits"));
        check(Validate::Imei, "", Err("not 14 to 16 digits"));
    }

    #[test]
    fn national_numbers_with_and_without_old_prefixes() {
        for keys in ["2221234567", "522221234567", "5212221234567", "0442221234567", "012221234567"] {
            check(Validate::PhoneMx, keys, Ok("2221234567 / 2221234567"));
        }
        // A number of area code 52x is not cut.
        check(Validate::PhoneMx, "5212345678", Ok("5212345678 / 5212345678"));
        check(Validate::PhoneMx, "0221234567", Err("not a number of ten digits"));
        check(Validate::PhoneMx, "222123456", Err("not a number of ten digits"));
    }

    #[test]
    fn postal_codes_days_amounts_and_folios() {
        check(Validate::PostalMx, "72530", Ok("72530 / 72530"));
        check(Validate::PostalMx, "00999", Err("not a postal code"));
        check(Validate::DateDmy, "29022024", Ok("2024-02-29 / 2024-02-29"));
        check(Validate::DateDmy, "29022026", Err("not a day"));
        check(Validate::Amount, "0150", Ok("150.00 / 150.00"));
        let folio = Folio::draw(2, &mut crate::ids::Ids::from_seed(1)).to_string();
        check(Validate::Folio, &folio, Ok(&format!("{folio} / {folio}")));
        let last = folio.chars().last().and_then(|digit| digit.to_digit(10)).unwrap();
        let wrong = format!("{}{}", &folio[..9], (last + 1) % 10);
        check(Validate::Folio, &wrong, Err("not a folio: wrong length or check digit"));
    }
}
