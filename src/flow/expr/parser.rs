//! Reads the tokens of an expression by the grammar of [`super`], names and kinds checked on the way.

use std::ops::Range;

use super::token::{Token, lex};
use super::{Comparison, Expr, ExprFault, Known, Node, Reference, Scope, fault, fits, kind_name};
use crate::fault::did_you_mean;
use crate::value::{Kind, Value};

/// Reads and checks `text`, as [`Expr::parse`] says.
pub(super) fn parse(text: &str, scope: &dyn Scope) -> Result<Expr, ExprFault> {
    let tokens = lex(text)?;
    let mut parser = Parser { tokens, at: 0, end: text.len(), scope, depth: 0, nodes: 0, sensitive: false };
    let (node, kind) = parser.or()?;
    match parser.peek() {
        None => Ok(Expr { node, kind, sensitive: parser.sensitive }),
        Some((token, span)) => {
            Err(fault(span.clone(), format!("{token} is not expected here, the expression should end")))
        }
    }
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
        let sign = self.at;
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
        match (&left, &right) {
            (Node::Variable(reference), Node::Literal(Value::Text(text))) => {
                self.may_hold(*reference, text, sign.saturating_sub(1), sign + 1)?;
            }
            (Node::Literal(Value::Text(text)), Node::Variable(reference)) => {
                self.may_hold(*reference, text, sign + 1, sign.saturating_sub(1))?;
            }
            (_, _) => {}
        }
        Ok((Node::Compare(comparison, Box::new(left), Box::new(right)), Kind::Flag))
    }

    /// A fault at the text when the variable never holds it; `variable` and `literal` are their tokens.
    fn may_hold(&self, reference: Reference, text: &str, variable: usize, literal: usize) -> Result<(), ExprFault> {
        let Some(texts) = self.scope.texts(reference).filter(|texts| !texts.contains(&text)) else { return Ok(()) };
        let span = self.tokens.get(literal).map_or(0..self.end, |(_, span)| span.clone());
        let name = if let Some((Token::Word(name), _)) = self.tokens.get(variable) { name } else { "the variable" };
        let near = did_you_mean(text, texts.iter().copied()).map(|near| format!("did you mean «{near}»?"));
        Err(ExprFault {
            suggestion: near.or_else(|| Some(format!("it is one of: {}", texts.join(", ")))),
            ..fault(span, format!("«{name}» is never «{text}»"))
        })
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
                suggestion: did_you_mean(word, FUNCTIONS).map(|near| format!("did you mean «{near}»?")),
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
            suggestion: did_you_mean(name, self.scope.names()).map(|near| format!("did you mean «{near}»?")),
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

/// Parts of one expression at most; bounds the recursion of [`Expr::value`] as well.
pub const NODES_MAX: usize = 200;
/// Levels of parentheses at most.
pub const DEPTH_MAX: usize = 16;
const FUNCTIONS: [&str; 3] = ["length", "starts_with", "set"];
