//! The expressions of a flow: small, typed, checked when the flow is loaded.
//!
//! ```text
//! or      = and { "or" and }
//! and     = not { "and" not }
//! not     = "not" not | compare
//! compare = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=") sum ]
//! sum     = atom { ("+" | "-") atom }
//! atom    = number | amount (21.50) | 'text' | "text" | true | false | variable (imei, case.folio, call.caller)
//!         | "(" or ")" | length(x) | starts_with(x, y) | set(x)
//! ```
//!
//! A variable may be unset. What is unset equals nothing (not even another unset one), is neither less nor greater, has
//! length 0, is false; a sum with it is unset. So no expression fails while a call runs.
//!
//! Here are the names and kinds, and what an expression comes to; [`token`] cuts its text, [`parser`] reads and checks it.

use std::fmt;
use std::ops::Range;

use crate::value::{Kind, Value};

mod parser;
mod token;

pub use parser::{DEPTH_MAX, NODES_MAX};

/// Which value a name stands for while a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// A variable of the flow, by its place in the flow's table.
    Slot(u16),
    /// A fact of the call.
    Call(CallFact),
}

/// The facts of a call that flows may read, as `call.<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallFact {
    /// `call.caller`: the caller's number; unset when anonymous.
    Caller,
    /// `call.called`: the number that was dialled.
    Called,
    /// `call.key`: the call's own key.
    Key,
    /// `call.extension`: the extension that came with the INVITE, or was dialled in an `extension` step.
    Extension,
    /// `call.began`: when the call began.
    Began,
    /// `call.now`: the present moment.
    Now,
    /// `call.today`: the present day in the operator's time zone.
    Today,
}

impl CallFact {
    /// Every fact with its name and kind.
    pub const ALL: [(&'static str, Self, Kind); 7] = [
        ("call.caller", Self::Caller, Kind::Text),
        ("call.called", Self::Called, Kind::Text),
        ("call.key", Self::Key, Kind::Text),
        ("call.extension", Self::Extension, Kind::Text),
        ("call.began", Self::Began, Kind::Moment),
        ("call.now", Self::Now, Kind::Moment),
        ("call.today", Self::Today, Kind::Date),
    ];
}

/// What is known of a name when a flow is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it stands for.
    pub reference: Reference,
    /// The kind of its values.
    pub kind: Kind,
    /// True when it holds digits of a sensitive collect.
    pub sensitive: bool,
}

/// The names an expression may use.
pub trait Scope {
    /// What is known of `name`; `None` when there is no such variable.
    fn lookup(&self, name: &str) -> Option<Known>;
    /// Every name, for suggestions.
    fn names(&self) -> Vec<&str>;
    /// True for a name that would be known but for a fault already reported elsewhere.
    fn is_doubtful(&self, _name: &str) -> bool {
        false
    }
    /// The only texts that a variable may hold; `None` when it may hold any.
    fn texts(&self, _reference: Reference) -> Option<Vec<&str>> {
        None
    }
}

/// The values that names have at run time.
pub trait Values {
    /// The value of `reference`; `None` when it is unset.
    fn value(&self, reference: Reference) -> Option<Value>;
}

/// A checked expression.
#[derive(Clone, PartialEq, Eq)]
pub struct Expr {
    node: Node,
    kind: Kind,
    sensitive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Literal(Value),
    Variable(Reference),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Sum(Sign, Box<Node>, Box<Node>),
    Length(Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    IsSet(Reference),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprFault {
    /// Bytes of the expression's text.
    pub span: Range<usize>,
    /// One sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
    /// True when it only follows from a fault already reported elsewhere.
    pub follows: bool,
}

impl Expr {
    /// Reads and checks `text`.
    ///
    /// # Errors
    /// The first thing that is wrong: syntax, an unknown name, kinds that do not fit, more than [`NODES_MAX`] parts or
    /// [`DEPTH_MAX`] levels.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<Self, ExprFault> {
        parser::parse(text, scope)
    }

    /// The kind of its value.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True when it reads a sensitive variable.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// Its value; `None` when it is unset.
    #[must_use]
    pub fn value(&self, values: &dyn Values) -> Option<Value> {
        self.node.value(values)
    }

    /// True when its value is the flag true.
    #[must_use]
    pub fn holds(&self, values: &dyn Values) -> bool {
        self.node.holds(values)
    }

    /// The variable it is, when it is one and nothing else.
    #[must_use]
    pub fn variable(&self) -> Option<Reference> {
        match self.node {
            Node::Variable(reference) => Some(reference),
            Node::Literal(_)
            | Node::Not(_)
            | Node::And(_, _)
            | Node::Or(_, _)
            | Node::Compare(_, _, _)
            | Node::Sum(_, _, _)
            | Node::Length(_)
            | Node::StartsWith(_, _)
            | Node::IsSet(_) => None,
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.node)
    }
}

impl Node {
    fn value(&self, values: &dyn Values) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Variable(reference) => values.value(*reference),
            Self::Not(inner) => Some(Value::Flag(!inner.holds(values))),
            Self::And(left, right) => Some(Value::Flag(left.holds(values) && right.holds(values))),
            Self::Or(left, right) => Some(Value::Flag(left.holds(values) || right.holds(values))),
            Self::Compare(comparison, left, right) => {
                let holds = match (left.value(values), right.value(values)) {
                    (Some(left), Some(right)) => comparison.holds(&left, &right),
                    // What is unset equals nothing, so it differs from everything.
                    (None, _) | (_, None) => *comparison == Comparison::NotEqual,
                };
                Some(Value::Flag(holds))
            }
            Self::Sum(sign, left, right) => {
                let (left, right) = (left.value(values)?, right.value(values)?);
                match (left, right) {
                    (Value::Number(left), Value::Number(right)) => sign.apply(left, right).map(Value::Number),
                    (Value::Money(left), Value::Money(right)) => sign.apply(left, right).map(Value::Money),
                    (_, _) => None,
                }
            }
            Self::Length(inner) => {
                let length = inner.value(values).map_or(0, |value| value.to_string().chars().count());
                i64::try_from(length).ok().map(Value::Number)
            }
            Self::StartsWith(text, start) => {
                let holds = match (text.value(values), start.value(values)) {
                    (Some(text), Some(start)) => text.to_string().starts_with(&start.to_string()),
                    (None, _) | (_, None) => false,
                };
                Some(Value::Flag(holds))
            }
            Self::IsSet(reference) => Some(Value::Flag(values.value(*reference).is_some())),
        }
    }

    fn holds(&self, values: &dyn Values) -> bool {
        self.value(values) == Some(Value::Flag(true))
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Sign {
    fn apply(self, left: i64, right: i64) -> Option<i64> {
        match self {
            Self::Plus => left.checked_add(right),
            Self::Minus => left.checked_sub(right),
        }
    }
}

/// How a kind is called in TOML and in faults.
#[must_use]
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "number",
        Kind::Money => "money",
        Kind::Date => "date",
        Kind::Moment => "moment",
        Kind::Flag => "flag",
        Kind::Prompt => "prompt",
    }
}

/// True when a value of kind `from` may stand where `to` is asked for. A prompt key is text; not every text is a prompt key.
#[must_use]
pub fn fits(from: Kind, to: Kind) -> bool {
    from == to || (from == Kind::Prompt && to == Kind::Text)
}

fn fault(span: Range<usize>, message: String) -> ExprFault {
    ExprFault { span, message, suggestion: None, follows: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Desk;

    impl Scope for Desk {
        fn lookup(&self, name: &str) -> Option<Known> {
            let slot = |slot, kind| Known { reference: Reference::Slot(slot), kind, sensitive: name == "nip" };
            match name {
                "imei" => Some(slot(0, Kind::Text)),
                "motivo" => Some(slot(6, Kind::Text)),
                "intento" => Some(slot(1, Kind::Number)),
                "tarifa.precio" => Some(slot(2, Kind::Money)),
                "tercero" => Some(slot(3, Kind::Flag)),
                "nip" => Some(slot(4, Kind::Text)),
                "vacío" => Some(slot(5, Kind::Text)),
                _ => None,
            }
        }

        fn names(&self) -> Vec<&str> {
            vec!["imei", "intento", "tarifa.precio", "tercero", "nip", "vacío"]
        }

        fn texts(&self, reference: Reference) -> Option<Vec<&str>> {
            (reference == Reference::Slot(6)).then(|| vec!["robo", "extravio"])
        }
    }

    impl Values for Desk {
        fn value(&self, reference: Reference) -> Option<Value> {
            match reference {
                Reference::Slot(0) => Some(Value::Text("490154203237518".to_owned())),
                Reference::Slot(1) => Some(Value::Number(2)),
                Reference::Slot(2) => Some(Value::Money(10_150)),
                Reference::Slot(3) => Some(Value::Flag(true)),
                Reference::Slot(_) | Reference::Call(_) => None,
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expect: bool) {
        assert_eq!(Expr::parse(text, &Desk).unwrap().value(&Desk), Some(Value::Flag(expect)), "{text}");
    }

    #[track_caller]
    fn refuse(text: &str, message: &str, span: Range<usize>) {
        let fault = Expr::parse(text, &Desk).unwrap_err();
        assert_eq!((fault.message.as_str(), fault.span), (message, span), "{text}");
    }

    #[test]
    fn expressions_hold_or_not() {
        check("length(imei) == 15", true);
        check("starts_with(imei, '49') and not starts_with(imei, \"50\")", true);
        check("intento + 1 < 3", false);
        check("intento - 3 <= 0 - 1", true);
        check("tarifa.precio >= 101.50", true);
        check("tarifa.precio > 101.50 or tercero", true);
        check("not not tercero", true);
        check("(tercero or false) and (intento == 1 or intento == 2)", true);
    }

    #[test]
    fn unset_equals_nothing_and_breaks_nothing() {
        check("vacío == vacío", false);
        check("vacío != imei", true);
        check("set(vacío) or set(nip)", false);
        check("set(imei)", true);
        check("length(vacío) == 0", true);
        check("starts_with(vacío, '')", false);
    }

    #[test]
    fn a_sum_that_overflows_is_unset() {
        assert_eq!(Expr::parse("9223372036854775807 + intento", &Desk).unwrap().value(&Desk), None);
    }

    #[test]
    fn faults_point_at_the_part_that_is_wrong() {
        refuse("imie == '1'", "unknown variable «imie»", 0..4);
        refuse("imei == 1", "a text is compared with a number", 0..9);
        refuse("imei < 'a'", "a text has no order: only == and != compare it", 0..10);
        refuse("tercero and imei", "and works on a flag, this is a text", 12..16);
        refuse("intento + imei", "+ and - work on two numbers or two amounts, not on a number and a text", 0..14);
        refuse("lenght(imei) == 3", "unknown function «lenght»", 0..6);
        refuse("intento = 3", "this sign has no meaning by itself", 8..9);
        refuse("(intento == 3", "expected «)», but the expression ends", 13..13);
        refuse("imei == '12", "the text has no closing quote", 8..11);
        refuse("tarifa.precio == 21.5", "«21.5»: an amount has two digits after the point, like 21.50", 17..21);
        refuse("intento == 3 4", "«4» is not expected here, the expression should end", 13..14);
        refuse("", "a value is missing at the end", 0..0);
        refuse("intento == 99999999999999999999", "«99999999999999999999» is no number that fits", 11..31);
    }

    /// `motivo` is set from two texts only: to compare it with a third is a slip that no caller would ever show.
    #[test]
    fn what_a_variable_never_holds_is_not_compared_with_it() {
        assert!(Expr::parse("motivo == 'robo' or motivo != 'extravio'", &Desk).is_ok());
        refuse("motivo == 'robado'", "«motivo» is never «robado»", 10..18);
        refuse("'hurto' != motivo", "«motivo» is never «hurto»", 0..7);
        let suggested = |text| Expr::parse(text, &Desk).unwrap_err().suggestion.unwrap();
        assert_eq!(suggested("motivo == 'robado'"), "did you mean «robo»?");
        assert_eq!(suggested("motivo == 'x'"), "it is one of: robo, extravio");
    }

    #[test]
    fn a_near_name_is_suggested() {
        let fault = Expr::parse("imie == '1'", &Desk).unwrap_err();
        assert_eq!(fault.suggestion.as_deref(), Some("did you mean «imei»?"));
    }

    #[test]
    fn long_and_deep_expressions_are_refused_not_followed() {
        let deep = format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(Expr::parse(&deep, &Desk).unwrap_err().message, "the expression is nested too deeply");
        let long = vec!["tercero"; 5_000].join(" or ");
        assert!(Expr::parse(&long, &Desk).unwrap_err().message.starts_with("the expression is too long"));
        let nots = format!("{}tercero", "not ".repeat(5_000));
        assert!(Expr::parse(&nots, &Desk).unwrap_err().message.starts_with("the expression is too long"));
    }

    #[test]
    fn reading_a_sensitive_variable_taints_but_asking_whether_it_is_set_does_not() {
        assert!(Expr::parse("length(nip) == 4", &Desk).unwrap().is_sensitive());
        assert!(!Expr::parse("set(nip)", &Desk).unwrap().is_sensitive());
    }
}
