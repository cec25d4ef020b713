//! Texts with `${…}`: arguments, fields, messages. A text that is one `${…}` and nothing else keeps its value's kind.

use std::fmt::Write as _;

use crate::value::{Kind, Value};

use super::expr::{Expr, ExprFault, Reference, Scope, Values};

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Constant(Value),
    Expr(Expr),
}

impl Template {
    /// Reads and checks `text`. Spans of faults are bytes of `text`.
    ///
    /// # Errors
    /// An unclosed `${`, or whatever is wrong with an expression.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<Self, ExprFault> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(open) = text.get(at..).and_then(|rest| rest.find("${")).map(|offset| at + offset) {
            push_text(&mut pieces, text.get(at..open).unwrap_or(""));
            let inner = open + 2;
            let Some(close) = closing(text, inner) else {
                let message = "«${» has no closing «}»".to_owned();
                return Err(ExprFault { span: open..text.len(), message, suggestion: None, follows: false });
            };
            let expression = text.get(inner..close).unwrap_or("");
            let expr = Expr::parse(expression, scope)
                .map_err(|fault| ExprFault { span: fault.span.start + inner..fault.span.end + inner, ..fault })?;
            pieces.push(Piece::Expr(expr));
            at = close + 1;
        }
        push_text(&mut pieces, text.get(at..).unwrap_or(""));
        Ok(Self { pieces })
    }

    /// A text without expressions, whatever it holds.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut pieces = Vec::new();
        push_text(&mut pieces, text);
        Self { pieces }
    }

    /// Always this value.
    #[must_use]
    pub fn constant(value: Value) -> Self {
        Self { pieces: vec![Piece::Constant(value)] }
    }

    /// The kind of its value: that of the only expression, or text.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.pieces.as_slice() {
            [Piece::Expr(expr)] => expr.kind(),
            [Piece::Constant(value)] => value.kind(),
            _ => Kind::Text,
        }
    }

    /// Its text, when it has no expression.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// True when it reads a sensitive variable.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.exprs().any(Expr::is_sensitive)
    }

    /// Its value. An unset part of a longer text is empty; a template that is one unset expression is unset.
    #[must_use]
    pub fn value(&self, values: &dyn Values) -> Option<Value> {
        match self.pieces.as_slice() {
            [Piece::Expr(expr)] => expr.value(values),
            [Piece::Constant(value)] => Some(value.clone()),
            _ => Some(Value::Text(self.text(values))),
        }
    }

    /// Its value as text; unset is empty.
    #[must_use]
    pub fn text(&self, values: &dyn Values) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Constant(value) => {
                    let _ = write!(text, "{value}");
                }
                Piece::Expr(expr) => {
                    if let Some(value) = expr.value(values) {
                        let _ = write!(text, "{value}");
                    }
                }
            }
        }
        text
    }

    /// The variable it is, when it is one and nothing else.
    #[must_use]
    pub fn variable(&self) -> Option<Reference> {
        match self.pieces.as_slice() {
            [Piece::Expr(expr)] => expr.variable(),
            _ => None,
        }
    }

    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) | Piece::Constant(_) => None,
            Piece::Expr(expr) => Some(expr),
        })
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
}

/// Where the `}` stands that closes an expression beginning at `from`; one inside quotes does not count.
fn closing(text: &str, from: usize) -> Option<usize> {
    let mut quote = None;
    for (offset, character) in text.get(from..)?.char_indices() {
        match (quote, character) {
            (None, '}') => return Some(from + offset),
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::expr::Known;
    use super::*;

    struct Desk;

    impl Scope for Desk {
        fn lookup(&self, name: &str) -> Option<Known> {
            let kind = if name == "precio" { Kind::Money } else { Kind::Text };
            let slot = ["precio", "linea", "vacía"].iter().position(|known| *known == name)?;
            Some(Known { reference: Reference::Slot(u16::try_from(slot).ok()?), kind, sensitive: false })
        }

        fn names(&self) -> Vec<&str> {
            vec!["precio", "linea", "vacía"]
        }
    }

    impl Values for Desk {
        fn value(&self, reference: Reference) -> Option<Value> {
            match reference {
                Reference::Slot(0) => Some(Value::Money(2_150)),
                Reference::Slot(1) => Some(Value::Text("2221234567".to_owned())),
                Reference::Slot(_) | Reference::Call(_) => None,
            }
        }
    }

    #[test]
    fn one_expression_keeps_its_kind_and_a_longer_text_is_text() {
        let sole = Template::parse("${precio}", &Desk).unwrap();
        assert_eq!((sole.kind(), sole.value(&Desk)), (Kind::Money, Some(Value::Money(2_150))));
        let text = Template::parse("La línea ${linea} debe ${precio} pesos${vacía}.", &Desk).unwrap();
        let expect = "La línea 2221234567 debe 21.50 pesos.".to_owned();
        assert_eq!((text.kind(), text.value(&Desk)), (Kind::Text, Some(Value::Text(expect))));
        assert_eq!(Template::parse("${vacía}", &Desk).unwrap().value(&Desk), None);
    }

    #[test]
    fn faults_are_placed_in_the_whole_text() {
        let fault = Template::parse("a ${precoi} b", &Desk).unwrap_err();
        assert_eq!((fault.span, fault.suggestion.as_deref()), (4..10, Some("did you mean «precio»?")));
        assert_eq!(Template::parse("a ${precio", &Desk).unwrap_err().span, 2..10);
    }

    #[test]
    fn a_brace_in_quotes_closes_nothing() {
        let template = Template::parse("${linea == '}'}", &Desk).unwrap();
        assert_eq!(template.value(&Desk), Some(Value::Flag(false)));
    }
}
