//! A TOML document with the place of every key and value, and readers that collect faults instead of stopping at one.
//!
//! [`parse`] gives a [`Node`] tree in the order of the file. [`Place`] is one value in its file; [`Fields`] reads a table whose
//! keys are known: what is asked for is thereby allowed, and [`Fields::finish`] reports every other key with a suggestion.
//!
//! ```
//! use contesta::{document, fault::SourceFile};
//! let source = SourceFile { path: "a.toml".into(), text: "schema = 1\nname = 'x'\nnmae = 2".into() };
//! let mut faults = Vec::new();
//! let root = document::parse(&source, &mut faults);
//! let mut fields = document::Place::new(&source, &root).fields(&mut faults).unwrap();
//! assert_eq!(fields.integer("schema", &mut faults), Some(1));
//! assert_eq!(fields.text("name", &mut faults), Some("x"));
//! fields.finish(&mut faults);
//! assert_eq!(faults[0].message, "unknown key «nmae»");
//! ```

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::duration_text;
use crate::fault::{Fault, SourceFile};

/// A value and the bytes it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Bytes of the value in its file; of a `[header]` table, its header.
    pub span: Range<usize>,
    /// The value.
    pub item: Item,
}

/// A TOML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A string, its escapes read.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a point.
    Float(f64),
    /// `true` or `false`.
    Flag(bool),
    /// A date, time or both, as it was written.
    Datetime(String),
    /// `[…]`, or the tables under one `[[header]]`.
    Array(Vec<Node>),
    /// `{…}`, `[header]` or dotted keys: entries in the order of the file.
    Table(Vec<Entry>),
}

/// One `key = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key, unquoted.
    pub key: String,
    /// Bytes of the key where it first stands.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node,
}

/// Reads a document. Syntax errors, all of them, become faults; what could be read is returned all the same.
#[must_use]
pub fn parse(source: &SourceFile, faults: &mut Vec<Fault>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut errors: Vec<_> = errors.into_iter().map(|error| (error.span().unwrap_or(0..0), error)).collect();
    errors.sort_by_key(|(span, _)| span.start);
    for (span, error) in errors {
        faults.push(Fault::error(source, span, error.message().replace('\n', ", ")));
    }
    let span = table.span();
    Node { span, item: entries(table.get_ref(), source, faults) }
}

fn entries(table: &DeTable<'_>, source: &SourceFile, faults: &mut Vec<Fault>) -> Item {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: key.span(),
            node: node(value, source, faults),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Item::Table(entries)
}

fn node(value: &Spanned<DeValue<'_>>, source: &SourceFile, faults: &mut Vec<Fault>) -> Node {
    let span = value.span();
    let item = match value.get_ref() {
        DeValue::String(text) => Item::Text(text.to_string()),
        DeValue::Integer(integer) => {
            Item::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_else(|_| {
                faults.push(Fault::error(source, span.clone(), "the number does not fit into 64 bits"));
                0
            }))
        }
        DeValue::Float(float) => Item::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Item::Flag(*flag),
        DeValue::Datetime(datetime) => Item::Datetime(datetime.to_string()),
        DeValue::Array(array) => Item::Array(array.iter().map(|value| node(value, source, faults)).collect()),
        DeValue::Table(table) => entries(table, source, faults),
    };
    Node { span, item }
}

/// One value in its file.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its file.
    pub source: &'a SourceFile,
    /// The value.
    pub node: &'a Node,
}

/// One key in its file.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// Its file.
    pub source: &'a SourceFile,
    /// The key.
    pub text: &'a str,
    /// Where it stands.
    pub span: &'a Range<usize>,
}

impl Name<'_> {
    /// An error about the key.
    #[must_use]
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::error(self.source, self.span.clone(), message)
    }
}

impl<'a> Place<'a> {
    /// The value `node` of `source`.
    #[must_use]
    pub fn new(source: &'a SourceFile, node: &'a Node) -> Self {
        Self { source, node }
    }

    /// Bytes of the value.
    #[must_use]
    pub fn span(self) -> Range<usize> {
        self.node.span.clone()
    }

    /// An error about the value.
    #[must_use]
    pub fn fault(self, message: impl Into<String>) -> Fault {
        Fault::error(self.source, self.span(), message)
    }

    /// A warning about the value.
    #[must_use]
    pub fn warning(self, message: impl Into<String>) -> Fault {
        Fault::warning(self.source, self.span(), message)
    }

    /// What the value is, with its article: `a text`, `a whole number` …
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self.node.item {
            Item::Text(_) => "a text",
            Item::Integer(_) => "a whole number",
            Item::Float(_) => "a number with a point",
            Item::Flag(_) => "true or false",
            Item::Datetime(_) => "a date",
            Item::Array(_) => "a list",
            Item::Table(_) => "a table",
        }
    }

    /// A fault that something else was expected here: `expected a list of texts, found a whole number`.
    #[must_use]
    pub fn expected(self, expected: &str) -> Fault {
        self.fault(format!("expected {expected}, found {}", self.kind()))
    }

    /// The text, or a fault.
    pub fn text(self, faults: &mut Vec<Fault>) -> Option<&'a str> {
        match &self.node.item {
            Item::Text(text) => Some(text),
            Item::Integer(_) | Item::Float(_) | Item::Flag(_) | Item::Datetime(_) | Item::Array(_) | Item::Table(_) => {
                faults.push(self.expected("a text"));
                None
            }
        }
    }

    /// The whole number, or a fault.
    pub fn integer(self, faults: &mut Vec<Fault>) -> Option<i64> {
        if let Item::Integer(integer) = self.node.item {
            return Some(integer);
        }
        faults.push(self.expected("a whole number"));
        None
    }

    /// The whole number when it lies in `range`, or a fault that names the bounds.
    pub fn integer_in(self, range: std::ops::RangeInclusive<i64>, faults: &mut Vec<Fault>) -> Option<i64> {
        let integer = self.integer(faults)?;
        if range.contains(&integer) {
            return Some(integer);
        }
        faults.push(self.fault(format!("{integer} is not between {} and {}", range.start(), range.end())));
        None
    }

    /// `true` or `false`, or a fault.
    pub fn flag(self, faults: &mut Vec<Fault>) -> Option<bool> {
        if let Item::Flag(flag) = self.node.item {
            return Some(flag);
        }
        faults.push(self.expected("true or false"));
        None
    }

    /// The duration written as text (`"5s"`), or a fault.
    pub fn duration(self, faults: &mut Vec<Fault>) -> Option<Duration> {
        if let Item::Text(text) = &self.node.item {
            return duration_text::parse(text).map_err(|error| faults.push(self.fault(error.to_string()))).ok();
        }
        faults.push(self.expected("a duration like \"5s\""));
        None
    }

    /// The values of a list, or a fault and nothing.
    pub fn list(self, faults: &mut Vec<Fault>) -> Vec<Place<'a>> {
        if let Item::Array(nodes) = &self.node.item {
            return nodes.iter().map(|node| Self { source: self.source, node }).collect();
        }
        faults.push(self.expected("a list"));
        Vec::new()
    }

    /// The texts of a list, with their places; a fault for each value that is none.
    pub fn texts(self, faults: &mut Vec<Fault>) -> Vec<(&'a str, Place<'a>)> {
        self.list(faults).into_iter().filter_map(|place| Some((place.text(faults)?, place))).collect()
    }

    /// The entries of a table with free keys, in the order of the file; or a fault and nothing.
    pub fn entries(self, faults: &mut Vec<Fault>) -> Vec<(Name<'a>, Place<'a>)> {
        let Item::Table(entries) = &self.node.item else {
            faults.push(self.expected("a table"));
            return Vec::new();
        };
        entries.iter().map(|entry| (entry.name(self.source), Self { source: self.source, node: &entry.node })).collect()
    }

    /// A reader of a table with known keys, or a fault.
    pub fn fields(self, faults: &mut Vec<Fault>) -> Option<Fields<'a>> {
        if let Item::Table(entries) = &self.node.item {
            return Some(Fields { place: self, entries, known: Vec::new() });
        }
        faults.push(self.expected("a table"));
        None
    }

    /// True for a table; for values that may be written in a short and a long form.
    #[must_use]
    pub fn is_table(self) -> bool {
        matches!(self.node.item, Item::Table(_))
    }

    /// True for a text.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self.node.item, Item::Text(_))
    }

    /// True for a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self.node.item, Item::Array(_))
    }
}

impl Entry {
    fn name<'a>(&'a self, source: &'a SourceFile) -> Name<'a> {
        Name { source, text: &self.key, span: &self.key_span }
    }
}

/// Reads a table whose keys are known. Whatever is asked for is allowed; [`Fields::finish`] reports the rest.
#[derive(Debug)]
pub struct Fields<'a> {
    place: Place<'a>,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The table itself.
    #[must_use]
    pub fn place(&self) -> Place<'a> {
        self.place
    }

    /// The value of `key`, if it is there.
    pub fn optional(&mut self, key: &'static str) -> Option<Place<'a>> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Place { source: self.place.source, node: &entry.node })
    }

    /// The key itself where `key` is written, for faults about the pair.
    #[must_use]
    pub fn name(&self, key: &str) -> Option<Name<'a>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.name(self.place.source))
    }

    /// The value of `key`; a fault at the table when it is missing.
    pub fn required(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<Place<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            faults.push(self.place.fault(format!("«{key}» is missing")));
        }
        value
    }

    /// The text of `key`, if it is there and a text.
    pub fn text(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        self.optional(key)?.text(faults)
    }

    /// The text of `key`; a fault when it is missing or no text.
    pub fn required_text(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        self.required(key, faults)?.text(faults)
    }

    /// The whole number of `key`, if it is there and one.
    pub fn integer(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<i64> {
        self.optional(key)?.integer(faults)
    }

    /// The flag of `key`, if it is there and one.
    pub fn flag(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<bool> {
        self.optional(key)?.flag(faults)
    }

    /// The duration of `key`, if it is there and one.
    pub fn duration(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<Duration> {
        self.optional(key)?.duration(faults)
    }

    /// The texts of the list `key`; empty when it is missing.
    pub fn texts(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Vec<(&'a str, Place<'a>)> {
        self.optional(key).map(|place| place.texts(faults)).unwrap_or_default()
    }

    /// The entries of the table `key`, whose own keys are free; empty when it is missing.
    pub fn entries(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Vec<(Name<'a>, Place<'a>)> {
        self.optional(key).map(|place| place.entries(faults)).unwrap_or_default()
    }

    /// A reader of the table `key`, if it is there and a table.
    pub fn fields(&mut self, key: &'static str, faults: &mut Vec<Fault>) -> Option<Fields<'a>> {
        self.optional(key)?.fields(faults)
    }

    /// Checks `schema = <version>`, which every file begins with.
    pub fn schema(&mut self, version: i64, faults: &mut Vec<Fault>) {
        if let Some(place) = self.required("schema", faults)
            && let Some(found) = place.integer(faults)
            && found != version
        {
            faults.push(place.fault(format!("this program reads schema {version}, the file says {found}")));
        }
    }

    /// A fault for every key that was not asked for, with the nearest of those that were.
    pub fn finish(self, faults: &mut Vec<Fault>) {
        for entry in self.entries.iter().filter(|entry| !self.known.contains(&entry.key.as_str())) {
            let fault = entry.name(self.place.source).fault(format!("unknown key «{}»", entry.key));
            let fault = fault.did_you_mean(&entry.key, self.known.iter().copied());
            faults.push(if fault.suggestion.is_some() {
                fault
            } else {
                fault.suggest(format!("known here: {}", self.known.join(", ")))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SourceFile {
        SourceFile { path: "a.toml".into(), text: text.into() }
    }

    #[test]
    fn entries_keep_the_order_of_the_file_and_their_places() {
        let source = source("z = 1\n[steps.b.menu]\nprompt = [\"x\"]\non.next = \"a\"\n[steps.a.play]\n");
        let mut faults = Vec::new();
        let root = parse(&source, &mut faults);
        let steps = Place::new(&source, &root).fields(&mut faults).unwrap().entries("steps", &mut faults);
        let spanned = |range: Range<usize>| source.text.get(range).unwrap();
        let names: Vec<&str> = steps.iter().map(|(name, _)| name.text).collect();
        assert_eq!(names, ["b", "a"]);
        let (kind, menu) = steps[0].1.entries(&mut faults)[0];
        assert_eq!((kind.text, spanned(kind.span.clone()), spanned(menu.span())), ("menu", "menu", "[steps.b.menu]"));
        let prompt = menu.fields(&mut faults).unwrap().texts("prompt", &mut faults);
        assert_eq!((prompt[0].0, spanned(prompt[0].1.span())), ("x", "\"x\""));
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn every_syntax_error_is_reported() {
        let source = source("a = \nb = 2\nc = 'x' 'y'\nc = 2\n");
        let mut faults = Vec::new();
        let _ = parse(&source, &mut faults);
        let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 3, 4], "{faults:?}");
    }

    #[test]
    fn wrong_kinds_unknown_and_missing_keys_are_all_reported() {
        let source =
            source("timeuot = '5s'\nattempts = 'x'\nwait = '5'\nlist = [1, 'a']\nhuge = 99999999999999999999\n");
        let mut faults = Vec::new();
        let root = parse(&source, &mut faults);
        let mut fields = Place::new(&source, &root).fields(&mut faults).unwrap();
        fields.schema(1, &mut faults);
        assert_eq!(fields.duration("timeout", &mut faults), None);
        assert_eq!(fields.integer("attempts", &mut faults), None);
        assert_eq!(fields.duration("wait", &mut faults), None);
        assert_eq!(fields.texts("list", &mut faults).len(), 1);
        fields.finish(&mut faults);
        let seen: Vec<(usize, &str, Option<&str>)> =
            faults.iter().map(|fault| (fault.line, fault.message.as_str(), fault.suggestion.as_deref())).collect();
        assert_eq!(
            seen,
            [
                (5, "the number does not fit into 64 bits", None),
                (1, "«schema» is missing", None),
                (2, "expected a whole number, found a text", None),
                (3, "«5» needs a whole number and a unit (ms, s, m, h, d) without a space, like \"5s\"", None),
                (4, "expected a text, found a whole number", None),
                (1, "unknown key «timeuot»", Some("did you mean «timeout»?")),
                (5, "unknown key «huge»", Some("known here: schema, timeout, attempts, wait, list")),
            ]
        );
    }
}
