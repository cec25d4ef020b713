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

use std::fmt;
use std::ops::Range;

use crate::fault;
use crate::value::{Kind, Value};

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
        let tokens = lex(text)?;
        let mut parser = Parser { tokens, at: 0, end: text.len(), scope, depth: 0, nodes: 0, sensitive: false };
        let (node, kind) = parser.or()?;
        match parser.peek() {
            None => Ok(Self { node, kind, sensitive: parser.sensitive }),
            Some((token, span)) => {
                Err(fault(span.clone(), format!("{token} is not expected here, the expression should end")))
            }
        }
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

    /// The variables it reads without asking first whether they are set.
    pub fn reads(&self, found: &mut Vec<Reference>) {
        self.node.reads(found);
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

    fn reads(&self, found: &mut Vec<Reference>) {
        match self {
            Self::Literal(_) | Self::IsSet(_) => {}
            Self::Variable(reference) => found.push(*reference),
            Self::Not(inner) | Self::Length(inner) => inner.reads(found),
            Self::And(left, right)
            | Self::Or(left, right)
            | Self::Compare(_, left, right)
            | Self::Sum(_, left, right)
            | Self::StartsWith(left, right) => {
                left.reads(found);
                right.reads(found);
            }
        }
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

struct Parser<'s> {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    end: usize,
    scope: &'s dyn Scope,
    depth: usize,
    nodes: usize,
    sensitive: bool,
}

type Parsed = Result<(Node, Kind), ExprFault>;

impl Parser<'_> {
    fn peek(&self) -> Option<&(Token, Range<usize>)> {
        self.tokens.get(self.at)
    }

    /// Takes the next token when it is this word or sign.
    fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek().is_some_and(|(next, _)| next == token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), ExprFault> {
        if self.eat(token) {
            return Ok(());
        }
        Err(match self.peek() {
            Some((found, span)) => fault(span.clone(), format!("expected {token}, found {found}")),
            None => fault(self.end..self.end, format!("expected {token}, but the expression ends")),
        })
    }

    fn here(&self) -> usize {
        self.peek().map_or(self.end, |(_, span)| span.start)
    }

    fn span_from(&self, start: usize) -> Range<usize> {
        let end = self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(self.end, |(_, span)| span.end);
        start..end.max(start)
    }

    fn grow(&mut self) -> Result<(), ExprFault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(fault(0..self.end, "the expression is too long: use `set` and `branch` steps".to_owned()));
        }
        Ok(())
    }

    fn or(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(fault(0..self.end, "the expression is nested too deeply".to_owned()));
        }
        let start = self.here();
        let (mut left, mut kind) = self.and()?;
        while self.eat(&Token::Word("or".to_owned())) {
            self.grow()?;
            self.need(kind, Kind::Flag, start, "or")?;
            let middle = self.here();
            let (right, right_kind) = self.and()?;
            self.need(right_kind, Kind::Flag, middle, "or")?;
            (left, kind) = (Node::Or(Box::new(left), Box::new(right)), Kind::Flag);
        }
        self.depth -= 1;
        Ok((left, kind))
    }

    fn and(&mut self) -> Parsed {
        let start = self.here();
        let (mut left, mut kind) = self.not()?;
        while self.eat(&Token::Word("and".to_owned())) {
            self.grow()?;
            self.need(kind, Kind::Flag, start, "and")?;
            let middle = self.here();
            let (right, right_kind) = self.not()?;
            self.need(right_kind, Kind::Flag, middle, "and")?;
            (left, kind) = (Node::And(Box::new(left), Box::new(right)), Kind::Flag);
        }
        Ok((left, kind))
    }

    fn not(&mut self) -> Parsed {
        // `not not not x` is read in a loop, so that its length cannot deepen the recursion.
        let mut nots = 0;
        while self.eat(&Token::Word("not".to_owned())) {
            self.grow()?;
            nots += 1;
        }
        let start = self.here();
        let (mut node, mut kind) = self.compare()?;
        for _ in 0..nots {
            self.need(kind, Kind::Flag, start, "not")?;
            (node, kind) = (Node::Not(Box::new(node)), Kind::Flag);
        }
        Ok((node, kind))
    }

    fn compare(&mut self) -> Parsed {
        let start = self.here();
        let (left, left_kind) = self.sum()?;
        let comparison = match self.peek() {
            Some((Token::Compare(comparison), _)) => *comparison,
            Some(_) | None => return Ok((left, left_kind)),
        };
        self.at += 1;
        self.grow()?;
        let (right, right_kind) = self.sum()?;
        if !fits(left_kind, right_kind) && !fits(right_kind, left_kind) {
            let message = format!("a {} is compared with a {}", kind_name(left_kind), kind_name(right_kind));
            return Err(fault(self.span_from(start), message));
        }
        let ordered = matches!(left_kind, Kind::Number | Kind::Money | Kind::Date | Kind::Moment);
        if !ordered && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            let message = format!("a {} has no order: only == and != compare it", kind_name(left_kind));
            return Err(fault(self.span_from(start), message));
        }
        Ok((Node::Compare(comparison, Box::new(left), Box::new(right)), Kind::Flag))
    }

    fn sum(&mut self) -> Parsed {
        let start = self.here();
        let (mut left, kind) = self.atom()?;
        while let Some((Token::Sum(sign), _)) = self.peek() {
            let sign = *sign;
            self.at += 1;
            self.grow()?;
            let (right, right_kind) = self.atom()?;
            if kind != right_kind || !matches!(kind, Kind::Number | Kind::Money) {
                let message = format!(
                    "+ and - work on two numbers or two amounts, not on a {} and a {}",
                    kind_name(kind),
                    kind_name(right_kind)
                );
                return Err(fault(self.span_from(start), message));
            }
            left = Node::Sum(sign, Box::new(left), Box::new(right));
        }
        Ok((left, kind))
    }

    fn atom(&mut self) -> Parsed {
        self.grow()?;
        let Some((token, span)) = self.peek().cloned() else {
            return Err(fault(self.end..self.end, "a value is missing at the end".to_owned()));
        };
        self.at += 1;
        match token {
            Token::Number(number) => Ok((Node::Literal(Value::Number(number)), Kind::Number)),
            Token::Money(centavos) => Ok((Node::Literal(Value::Money(centavos)), Kind::Money)),
            Token::Text(text) => Ok((Node::Literal(Value::Text(text)), Kind::Text)),
            Token::Open => {
                let inner = self.or()?;
                self.expect(&Token::Close)?;
                Ok(inner)
            }
            Token::Word(word) => self.word(&word, span),
            Token::Close | Token::Comma | Token::Compare(_) | Token::Sum(_) => {
                Err(fault(span, format!("a value is expected here, not {token}")))
            }
        }
    }

    fn word(&mut self, word: &str, span: Range<usize>) -> Parsed {
        let called = self.peek().is_some_and(|(token, _)| *token == Token::Open);
        match word {
            "true" | "false" => Ok((Node::Literal(Value::Flag(word == "true")), Kind::Flag)),
            "and" | "or" | "not" => Err(fault(span, format!("a value is expected here, not «{word}»"))),
            _ if !called => self.variable(word, span),
            "length" => {
                self.expect(&Token::Open)?;
                let (inner, _) = self.or()?;
                self.expect(&Token::Close)?;
                Ok((Node::Length(Box::new(inner)), Kind::Number))
            }
            "starts_with" => {
                self.expect(&Token::Open)?;
                let start = self.here();
                let (text, kind) = self.or()?;
                self.need(kind, Kind::Text, start, "starts_with")?;
                self.expect(&Token::Comma)?;
                let start = self.here();
                let (beginning, kind) = self.or()?;
                self.need(kind, Kind::Text, start, "starts_with")?;
                self.expect(&Token::Close)?;
                Ok((Node::StartsWith(Box::new(text), Box::new(beginning)), Kind::Flag))
            }
            "set" => {
                self.expect(&Token::Open)?;
                let Some((Token::Word(name), span)) = self.peek().cloned() else {
                    let here = self.here();
                    return Err(fault(here..here, "set( ) asks about a variable: set(imei)".to_owned()));
                };
                self.at += 1;
                let reference = self.known(&name, span)?.reference;
                self.expect(&Token::Close)?;
                Ok((Node::IsSet(reference), Kind::Flag))
            }
            _ => Err(ExprFault {
                suggestion: fault::did_you_mean(word, FUNCTIONS).map(|near| format!("did you mean «{near}»?")),
                ..fault(span, format!("unknown function «{word}»"))
            }),
        }
    }

    fn variable(&mut self, name: &str, span: Range<usize>) -> Parsed {
        let known = self.known(name, span)?;
        self.sensitive |= known.sensitive;
        Ok((Node::Variable(known.reference), known.kind))
    }

    fn known(&self, name: &str, span: Range<usize>) -> Result<Known, ExprFault> {
        self.scope.lookup(name).ok_or_else(|| ExprFault {
            suggestion: fault::did_you_mean(name, self.scope.names()).map(|near| format!("did you mean «{near}»?")),
            follows: self.scope.is_doubtful(name),
            ..fault(span, format!("unknown variable «{name}»"))
        })
    }

    fn need(&self, found: Kind, wanted: Kind, start: usize, place: &str) -> Result<(), ExprFault> {
        if fits(found, wanted) {
            return Ok(());
        }
        let message = format!("{place} works on a {}, this is a {}", kind_name(wanted), kind_name(found));
        Err(fault(self.span_from(start), message))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Number(i64),
    Money(i64),
    Text(String),
    Word(String),
    Open,
    Close,
    Comma,
    Compare(Comparison),
    Sum(Sign),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "«{number}»"),
            Self::Money(centavos) => write!(f, "«{}»", Value::Money(*centavos)),
            Self::Text(_) => f.write_str("a text"),
            Self::Word(word) => write!(f, "«{word}»"),
            Self::Open => f.write_str("«(»"),
            Self::Close => f.write_str("«)»"),
            Self::Comma => f.write_str("«,»"),
            Self::Compare(_) => f.write_str("a comparison"),
            Self::Sum(Sign::Plus) => f.write_str("«+»"),
            Self::Sum(Sign::Minus) => f.write_str("«-»"),
        }
    }
}

fn lex(text: &str) -> Result<Vec<(Token, Range<usize>)>, ExprFault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '+' => (Token::Sum(Sign::Plus), 1),
            '-' => (Token::Sum(Sign::Minus), 1),
            '\'' | '"' => quoted(rest, first, at)?,
            '=' | '!' | '<' | '>' => comparison(rest, at)?,
            '0'..='9' => number(rest, at)?,
            letter if letter.is_alphabetic() || letter == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                (Token::Word(rest.get(..length).unwrap_or(rest).to_owned()), length)
            }
            other => {
                let span = at..at + other.len_utf8();
                return Err(fault(span, format!("«{other}» has no meaning in an expression")));
            }
        };
        tokens.push((token, at..at + length));
        at += length;
    }
    Ok(tokens)
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<(Token, usize), ExprFault> {
    let body = rest.get(1..).unwrap_or("");
    match body.find(quote).and_then(|end| body.get(..end)) {
        Some(inner) => Ok((Token::Text(inner.to_owned()), inner.len() + 2)),
        None => Err(fault(at..at + rest.len(), "the text has no closing quote".to_owned())),
    }
}

fn comparison(rest: &str, at: usize) -> Result<(Token, usize), ExprFault> {
    // Two characters first: `<=` is not `<` and something.
    const SIGNS: [(&str, Comparison); 6] = [
        ("==", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    match SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
        Some((sign, comparison)) => Ok((Token::Compare(*comparison), sign.len())),
        None => Err(ExprFault {
            suggestion: Some("two values are compared with == or !=".to_owned()),
            ..fault(at..at + 1, "this sign has no meaning by itself".to_owned())
        }),
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), ExprFault> {
    let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let written = rest.get(..length).unwrap_or(rest);
    let too_long = || fault(at..at + length, format!("«{written}» is no number that fits"));
    let token = match written.split_once('.') {
        None => Token::Number(written.parse().map_err(|_| too_long())?),
        Some((pesos, centavos)) if centavos.len() == 2 && centavos.bytes().all(|byte| byte.is_ascii_digit()) => {
            let pesos: i64 = pesos.parse().map_err(|_| too_long())?;
            let centavos: i64 = centavos.parse().map_err(|_| too_long())?;
            Token::Money(pesos.checked_mul(100).and_then(|sum| sum.checked_add(centavos)).ok_or_else(too_long)?)
        }
        Some(_) => {
            let message = format!("«{written}»: an amount has two digits after the point, like 21.50");
            return Err(fault(at..at + length, message));
        }
    };
    Ok((token, length))
}

fn fault(span: Range<usize>, message: String) -> ExprFault {
    ExprFault { span, message, suggestion: None, follows: false }
}

/// Parts of one expression at most; bounds the recursion of [`Expr::value`] as well.
pub const NODES_MAX: usize = 200;
/// Levels of parentheses at most.
pub const DEPTH_MAX: usize = 16;
const FUNCTIONS: [&str; 3] = ["length", "starts_with", "set"];

#[cfg(test)]
mod tests {
    use super::*;

    struct Desk;

    impl Scope for Desk {
        fn lookup(&self, name: &str) -> Option<Known> {
            let slot = |slot, kind| Known { reference: Reference::Slot(slot), kind, sensitive: name == "nip" };
            match name {
                "imei" => Some(slot(0, Kind::Text)),
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
