//! Cuts the text of an expression into numbers, texts, words and signs.

use std::fmt;
use std::ops::Range;

use super::{Comparison, ExprFault, Sign, fault};
use crate::value::Value;

/// A piece of an expression's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
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

/// The tokens of `text`, each with its bytes.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, Range<usize>)>, ExprFault> {
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
