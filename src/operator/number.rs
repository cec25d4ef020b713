//! Called numbers: many spellings of one number, and the flow it leads to.
//!
//! `*` is a digit and never a wildcard. A Mexican number is its ten digits whether it comes as `+52…`, `52…`, `521…`, `0052…` or
//! with the prefixes abolished in 2019 (`01`, `044`, `045`). Anything else is compared as it is, without visual separators
//! (RFC 3966 §3).

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::Operator;
use crate::fault::did_you_mean;

/// A number in the one form in which numbers are compared: digits, `*`, `#`, maybe a leading `+` when it is foreign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalledNumber(String);

impl CalledNumber {
    /// The normalised characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CalledNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one form of a number. `text` has no percent escapes; whatever follows a `;` is left out, and letters are kept in lower
/// case so that `ventas` may be a number too.
#[must_use]
pub fn normalise(text: &str) -> CalledNumber {
    let number = text.split(';').next().unwrap_or("");
    let mut digits: String = number.chars().filter(|c| !c.is_whitespace() && !"-.()".contains(*c)).collect();
    digits.make_ascii_lowercase();
    CalledNumber(national(&digits).unwrap_or(&digits).to_owned())
}

/// A caller's number in the one form; `None` for what is no number and no plain name, so that nothing that could write on a
/// terminal, or that a database refuses, is taken for one: an optional `+`, then digits, `*`, `#`, ASCII letters, `.`, `_` and
/// `-`, at most [`CALLER_MAX`] characters.
#[must_use]
pub fn caller(user: &str) -> Option<String> {
    if !is_unbroken(user) {
        return None;
    }
    let CalledNumber(number) = normalise(user);
    let plain = number.strip_prefix('+').unwrap_or(&number);
    let fits = number.len() <= CALLER_MAX && plain.bytes().any(|byte| byte.is_ascii_alphanumeric());
    let is_plain = plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*#._-".contains(&byte));
    (fits && is_plain).then_some(number)
}

/// Whether a user part as it came over the wire holds neither white space nor control characters: no telephone dials them.
fn is_unbroken(user: &str) -> bool {
    !user.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// The ten digits, or the short code, behind a country code or an abolished prefix.
fn national(digits: &str) -> Option<&str> {
    const PREFIXES: [&str; 9] = ["+521", "+52", "00521", "0052", "521", "52", "044", "045", "01"];
    let ten = |rest: &&str| rest.len() == 10 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let short_code = |rest: &&str| rest.starts_with('*');
    // A trunk may put the country code before a short code (`+52*2363`); no number of ten digits holds a star.
    PREFIXES.iter().find_map(|prefix| {
        digits.strip_prefix(prefix).filter(|rest| ten(rest) || (prefix.contains("52") && short_code(rest)))
    })
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Place of the operator in the list the routes were made from.
    pub operator: usize,
    /// Flow id.
    pub flow: String,
    /// The number as its operator published it (`*2363`).
    pub number: String,
    /// Digits of an extension that came with the call, whether or not it chose the flow.
    pub extension: Option<String>,
}

/// All numbers of all operators.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    numbers: BTreeMap<CalledNumber, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    operator: usize,
    flow: String,
    number: String,
    extensions: BTreeMap<String, String>,
}

/// A number that two operators, or one operator twice, claim.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{number} leads to «{first}» already, and «{second}» claims it too")]
pub struct Clash {
    /// The number as the second one wrote it.
    pub number: String,
    /// Id of the operator that has it.
    pub first: String,
    /// Id of the operator that claims it as well.
    pub second: String,
}

/// How a called number was read, for `contesta route`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The number in the form that is compared.
    pub normalised: CalledNumber,
    /// Where it leads.
    pub route: Option<Route>,
    /// Which rule decided.
    pub rule: Rule,
    /// The published number that is nearest, when it leads nowhere.
    pub suggestion: Option<String>,
}

/// Which rule decides where a number leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No operator publishes it.
    Nobodys,
    /// It is published; no extension came with it.
    Number,
    /// It is published, and the extension that came with it has a flow of its own.
    Extension,
    /// It is published, and takes the call with an extension that it does not list; it lists these.
    UnknownExtension(Vec<String>),
}

impl Routes {
    /// The numbers of these operators.
    ///
    /// # Errors
    /// Every number that is claimed twice.
    pub fn new(operators: &[Operator]) -> Result<Self, Vec<Clash>> {
        let (mut numbers, mut clashes) = (BTreeMap::<CalledNumber, Entry>::new(), Vec::new());
        for (index, operator) in operators.iter().enumerate() {
            for number in &operator.numbers {
                let called = normalise(&number.number);
                if let Some(earlier) = numbers.get(&called) {
                    let first = operators.get(earlier.operator).map(|operator| operator.id.clone()).unwrap_or_default();
                    clashes.push(Clash { number: number.number.clone(), first, second: operator.id.clone() });
                    continue;
                }
                let entry = Entry {
                    operator: index,
                    flow: number.flow.clone(),
                    number: number.number.clone(),
                    extensions: number.extensions.clone(),
                };
                numbers.insert(called, entry);
            }
        }
        if clashes.is_empty() { Ok(Self { numbers }) } else { Err(clashes) }
    }

    /// Where a call to this user part goes; `None` is a 404. `parameters` are those of the request URI: `ext` is an extension
    /// (RFC 3966 §5.4), as is one in the user part itself (`2226057239;ext=300`, `2226057239x300`). An extension that the number
    /// does not know goes to the number's own flow, which can tell the caller.
    #[must_use]
    pub fn find(&self, user: &str, parameters: &[(String, String)]) -> Option<Route> {
        if !is_unbroken(user) {
            return None;
        }
        let (number, own_extension) = split_extension(user);
        let parameter =
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("ext")).map(|(_, value)| value.as_str());
        let extension = own_extension.or(parameter).map(digits_of).filter(|digits| !digits.is_empty());
        let entry = self.numbers.get(&normalise(number))?;
        let flow = extension.as_ref().and_then(|extension| entry.extensions.get(extension)).unwrap_or(&entry.flow);
        Some(Route { operator: entry.operator, flow: flow.clone(), number: entry.number.clone(), extension })
    }

    /// How a number is read and where it leads. Blanks are left out, as people write them.
    #[must_use]
    pub fn explain(&self, user: &str, parameters: &[(String, String)]) -> Explanation {
        let user = user.replace(' ', "");
        let normalised = normalise(split_extension(&user).0);
        let route = self.find(&user, parameters);
        let suggestion = match route {
            Some(_) => None,
            None => did_you_mean(normalised.as_str(), self.numbers.values().map(|entry| entry.number.as_str())),
        };
        let rule = match (&route, self.numbers.get(&normalised)) {
            (Some(Route { extension: None, .. }), Some(_)) => Rule::Number,
            (Some(Route { extension: Some(digits), .. }), Some(entry)) if entry.extensions.contains_key(digits) => {
                Rule::Extension
            }
            (Some(_), Some(entry)) => Rule::UnknownExtension(entry.extensions.keys().cloned().collect()),
            (_, _) => Rule::Nobodys,
        };
        Explanation { normalised, route, rule, suggestion }
    }

    /// The published numbers and their flows, in the order of the numbers.
    pub fn published(&self) -> impl Iterator<Item = (&str, &str)> {
        self.numbers.values().map(|entry| (entry.number.as_str(), entry.flow.as_str()))
    }
}

/// The number and the extension of a user part.
fn split_extension(user: &str) -> (&str, Option<&str>) {
    let mut parts = user.split(';');
    let number = parts.next().unwrap_or("");
    let parameter = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("ext").then_some(value)
    });
    match number.split_once(['x', 'X']) {
        Some((number, extension)) if parameter.is_none() && is_dialled(number) && is_dialled(extension) => {
            (number, Some(extension))
        }
        _ => (number, parameter),
    }
}

fn is_dialled(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "+*# -.()".contains(c))
}

fn digits_of(extension: &str) -> String {
    extension.chars().filter(|c| c.is_ascii_digit() || "*#".contains(*c)).collect()
}

/// Twice the longest number of ITU-T E.164, for names.
pub const CALLER_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::{Number, tests::operator};
    use super::*;

    fn routes() -> Routes {
        let number = |number: &str, flow: &str, extensions: &[(&str, &str)]| Number {
            number: number.into(),
            flow: flow.into(),
            extensions: extensions.iter().map(|(digits, flow)| ((*digits).into(), (*flow).into())).collect(),
        };
        let mut beneleit = operator("beneleit");
        beneleit.numbers = vec![
            number("*2363", "beneleit.principal", &[]),
            number("222 605 7239", "beneleit.conmutador", &[("300", "beneleit.principal")]),
            number("300", "beneleit.principal", &[]),
        ];
        let mut bluepoint = operator("bluepoint");
        bluepoint.numbers = vec![number("7676720827", "bluepoint.principal", &[])];
        Routes::new(&[beneleit, bluepoint]).unwrap()
    }

    fn route(operator: usize, flow: &str, number: &str, extension: Option<&str>) -> Option<Route> {
        Some(Route { operator, flow: flow.into(), number: number.into(), extension: extension.map(Into::into) })
    }

    #[test]
    fn every_spelling_of_a_mexican_number_is_its_ten_digits() {
        for spelling in [
            "2226057239",
            "+522226057239",
            "522226057239",
            "+5212226057239",
            "5212226057239",
            "00522226057239",
            "012226057239",
            "0442226057239",
            "0452226057239",
            "222-605-7239",
            "(222) 605.72.39",
            "+52 222 605 7239",
            "2226057239;phone-context=+52",
        ] {
            assert_eq!(normalise(spelling).as_str(), "2226057239", "{spelling}");
        }
        for (spelling, normal) in [
            ("+14155550100", "+14155550100"),
            ("5255512345", "5255512345"),
            ("911", "911"),
            ("52*", "*"),
            ("Ventas", "ventas"),
            ("", ""),
        ] {
            assert_eq!(normalise(spelling).as_str(), normal, "{spelling}");
        }
    }

    #[test]
    fn a_star_is_a_digit_and_never_a_wildcard() {
        let routes = routes();
        let found = route(0, "beneleit.principal", "*2363", None);
        for user in ["*2363", "+52*2363", "52*2363", "*2363;phone-context=beneleit.mx"] {
            assert_eq!(routes.find(user, &[]), found, "{user}");
        }
        for user in ["2363", "12363", "*23630", "*", ""] {
            assert_eq!(routes.find(user, &[]), None, "{user}");
        }
    }

    /// B-03: both ways to the extension reach the same flow.
    #[test]
    fn an_extension_that_came_with_the_call_leads_straight_to_its_flow() {
        let routes = routes();
        let found = route(0, "beneleit.principal", "222 605 7239", Some("300"));
        let parameter = [("EXT".to_owned(), "300".to_owned())];
        assert_eq!(routes.find("+522226057239", &parameter), found);
        assert_eq!(routes.find("2226057239;ext=300", &[]), found);
        assert_eq!(routes.find("2226057239x300", &[]), found);
        assert_eq!(routes.find("300", &[]), route(0, "beneleit.principal", "300", None));
        assert_eq!(routes.find("2226057239", &[]), route(0, "beneleit.conmutador", "222 605 7239", None));
        assert_eq!(
            routes.find("2226057239;ext=999", &[]),
            route(0, "beneleit.conmutador", "222 605 7239", Some("999")),
            "an unknown extension is the flow's to tell"
        );
    }

    #[test]
    fn a_number_that_leads_nowhere_is_explained() {
        let explained = routes().explain("76767208272", &[]);
        assert_eq!((explained.route, explained.suggestion.as_deref()), (None, Some("7676720827")));
        let explained = routes().explain("+527676720827", &[]);
        assert_eq!((explained.normalised.as_str(), explained.suggestion), ("7676720827", None));
        assert_eq!(explained.route.map(|route| route.operator), Some(1));
        for (user, rule) in [
            ("2226057239", Rule::Number),
            ("2226057239;ext=300", Rule::Extension),
            ("2226057239x999", Rule::UnknownExtension(vec!["300".into()])),
            ("*2363;ext=1", Rule::UnknownExtension(Vec::new())),
            ("2363", Rule::Nobodys),
        ] {
            assert_eq!(routes().explain(user, &[]).rule, rule, "{user}");
        }
    }

    #[test]
    fn a_caller_is_a_number_or_a_plain_name_and_nothing_else() {
        for (user, number) in [
            ("+522221234567", "2221234567"),
            ("(222) 123", ""),
            ("(222)123-4567", "2221234567"),
            ("+14155550100", "+14155550100"),
            ("*2363#", "*2363#"),
            ("Recepcion_2", "recepcion_2"),
            ("\u{1b}[31mEVIL\n", ""),
            ("222\u{0}", ""),
            ("2221234567;\u{1b}[31m", ""),
            ("ñandú", ""),
            ("a+b", ""),
            ("a<b>", ""),
            ("+", ""),
            ("-.-", ""),
            ("", ""),
        ] {
            assert_eq!(caller(user).unwrap_or_default(), number, "{user:?}");
        }
        let longest = "9".repeat(CALLER_MAX);
        assert_eq!(caller(&longest), Some(longest.clone()));
        assert_eq!(caller(&format!("{longest}9")), None);
    }

    #[test]
    fn a_called_number_with_white_space_or_control_characters_leads_nowhere() {
        let routes = routes();
        for user in ["*2363\n", "*23 63", "\u{0}*2363", "*2363;\u{1b}[31m", "*2363\u{a0}"] {
            assert_eq!(routes.find(user, &[]), None, "{user:?}");
        }
        let explained = routes.explain("222 605 7239", &[]);
        assert_eq!(
            explained.route.map(|route| route.flow).as_deref(),
            Some("beneleit.conmutador"),
            "as people write it"
        );
    }

    #[test]
    fn a_number_claimed_twice_is_refused() {
        let mut first = operator("beneleit");
        first.numbers = vec![Number { number: "300".into(), flow: "a".into(), extensions: BTreeMap::new() }];
        let mut second = operator("bluepoint");
        second.numbers = vec![Number { number: "3-00".into(), flow: "b".into(), extensions: BTreeMap::new() }];
        let clashes = Routes::new(&[first, second]).unwrap_err();
        assert_eq!(clashes[0].to_string(), "3-00 leads to «beneleit» already, and «bluepoint» claims it too");
    }
}
