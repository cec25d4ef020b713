//! Self-services and their tables, as declared in `services.toml`; and what the product's own services take and give.

use std::collections::BTreeMap;

use super::{Service, Source, Table};
use crate::document::{Fields, Name, Place};
use crate::fault::{Fault, did_you_mean};
use crate::value::Kind;

/// Kinds of values by the names that files use.
pub const KINDS: [(&str, Kind); 7] = [
    ("text", Kind::Text),
    ("number", Kind::Number),
    ("money", Kind::Money),
    ("date", Kind::Date),
    ("moment", Kind::Moment),
    ("flag", Kind::Flag),
    ("prompt", Kind::Prompt),
];

/// Names with their kinds.
type Kinds = &'static [(&'static str, Kind)];

/// A service that the product carries out itself: name, arguments, results with their values.
type Builtin = (&'static str, Kinds, &'static [(&'static str, Kinds)]);

/// What the product carries out itself. `linea` is a line of ten digits,
/// `folio` the case that covers the order; the same folio orders once.
const BUILTINS: [Builtin; 3] = [
    (
        "device.status",
        &[("imei", Kind::Text), ("linea", Kind::Text)],
        &[("not_blocked", &[]), ("already_blocked", &[("folio", Kind::Text)])],
    ),
    (
        "device.block",
        &[("imei", Kind::Text), ("linea", Kind::Text), ("folio", Kind::Text), ("motivo", Kind::Text)],
        &[("accepted", &[]), ("already_blocked", &[("folio", Kind::Text)])],
    ),
    (
        "line.suspend",
        &[("linea", Kind::Text), ("folio", Kind::Text), ("motivo", Kind::Text)],
        &[("accepted", &[]), ("already_suspended", &[("folio", Kind::Text)])],
    ),
];

/// The service of a builtin's name, as if it were declared under that name.
#[must_use]
pub fn builtin(name: &str) -> Option<Service> {
    let kinds = |kinds: Kinds| kinds.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect::<BTreeMap<_, _>>();
    let (name, args, results) = BUILTINS.iter().find(|(builtin, _, _)| *builtin == name)?;
    Some(Service {
        name: (*name).to_owned(),
        args: kinds(args),
        secrets: Vec::new(),
        results: results.iter().map(|(result, values)| ((*result).to_owned(), kinds(values))).collect(),
        source: Source::Builtin,
    })
}

/// Reads `[tables.<name>]`.
pub(super) fn tables(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    for (name, place) in fields.entries("tables", faults) {
        if let Some(table) = table(name, place, faults) {
            tables.insert(table.name.clone(), table);
        }
    }
    tables
}

fn table(name: Name<'_>, place: Place<'_>, faults: &mut Vec<Fault>) -> Option<Table> {
    if !name.text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        faults.push(name.fault("a table's name is a file name: lower-case letters, digits and underscores"));
    }
    let mut fields = place.fields(faults)?;
    let (columns, secrets) = match fields.required("columns", faults) {
        Some(place) => columns(place, faults),
        None => (Vec::new(), Vec::new()),
    };
    if columns.is_empty() && fields.name("columns").is_some() {
        faults.push(place.fault("a table has at least one column"));
    }
    let mut key = Vec::new();
    for (column, place) in fields.required("key", faults).map(|key| key.texts(faults)).unwrap_or_default() {
        known_column(column, &columns, place, faults);
        if secrets.iter().any(|secret| secret == column) {
            faults.push(place.fault(format!("the secret column «{column}» cannot be part of the key")));
        }
        key.push(column.to_owned());
    }
    if key.is_empty()
        && let Some(name) = fields.name("key")
    {
        faults.push(name.fault("a key has at least one column"));
    }
    fields.finish(faults);
    Some(Table { name: name.text.to_owned(), columns, secrets, key })
}

/// Reads `[services."<name>"]`.
pub(super) fn services(
    fields: &mut Fields<'_>,
    tables: &BTreeMap<String, Table>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Service> {
    let mut services = BTreeMap::new();
    for (name, place) in fields.entries("services", faults) {
        let Some(mut fields) = place.fields(faults) else { continue };
        let service = match fields.optional("builtin") {
            Some(builtin) => built_in(builtin, faults),
            None => from_table(&mut fields, tables, faults),
        };
        fields.finish(faults);
        if let Some(service) = service {
            services.insert(name.text.to_owned(), Service { name: name.text.to_owned(), ..service });
        }
    }
    services
}

fn built_in(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<Service> {
    let name = place.text(faults)?;
    let service = builtin(name);
    if service.is_none() {
        let fault = place.fault(format!("there is no builtin service «{name}»"));
        faults.push(fault.did_you_mean(name, BUILTINS.iter().map(|(name, _, _)| *name)));
    }
    service
}

/// A service that reads one row of a table: by `match`, or the row number `position` of those that match, in the order of the
/// table's key. The row's columns are the values of every result but `missing`.
fn from_table(fields: &mut Fields<'_>, tables: &BTreeMap<String, Table>, faults: &mut Vec<Fault>) -> Option<Service> {
    let args: Vec<(String, Kind)> = fields.optional("args").map(|args| kinds(args, faults)).unwrap_or_default();
    let table_place = fields.required("table", faults);
    let pairs: Vec<(Name<'_>, Place<'_>)> = fields.entries("match", faults);
    let position = fields.optional("position");
    let (found, found_by) = (fields.optional("found"), fields.optional("found_by"));
    let declared = fields.texts("results", faults);
    let missing = fields.required_text("missing", faults);

    let table_place = table_place?;
    let table_name = table_place.text(faults)?;
    let Some(table) = tables.get(table_name) else {
        let fault = table_place.fault(format!("there is no table «{table_name}»"));
        faults.push(fault.did_you_mean(table_name, tables.keys().map(String::as_str)));
        return None;
    };
    let keys = matches(&pairs, table, &args, faults);
    if let Some(place) = found_by
        && let Some(column) = place.text(&mut Vec::new())
        && table.secrets.iter().any(|secret| secret == column)
    {
        faults.push(place.fault(format!("the secret column «{column}» cannot name a result")));
    }
    let is_secret = |column: &String| table.secrets.contains(column);
    let compared = keys.iter().filter(|(column, _)| is_secret(column)).map(|(_, argument)| argument.clone()).collect();
    let position = position.and_then(|place| Some((place.text(faults)?, place)));
    if let Some((argument, place)) = position {
        match kind_of(argument, &args) {
            Some(Kind::Number) => {}
            Some(_) => faults.push(place.fault(format!("the argument «{argument}» must be a number to be a position"))),
            None => faults.push(unknown("argument", argument, &args, place)),
        }
    }
    if pairs.is_empty() && position.is_none() {
        let fault = fields.place().fault("the service neither matches columns nor takes a position");
        faults.push(fault.suggest("add match = { column = \"argument\" } or position = \"argument\""));
    }
    let found = found_name(fields, found, found_by, table, faults)?;
    // What is compared is never given back.
    let row: BTreeMap<String, Kind> = table.columns.iter().filter(|(column, _)| !is_secret(column)).cloned().collect();
    let missing = missing?;
    let mut results = BTreeMap::from([(missing.to_owned(), BTreeMap::new())]);
    match &found {
        Ok(name) => {
            results.insert(name.clone(), row);
        }
        Err(_) => results.extend(declared.iter().map(|(name, _)| ((*name).to_owned(), row.clone()))),
    }
    if found.is_err() && declared.is_empty() {
        faults.push(fields.place().fault("«found_by» needs «results»: the names that the column may hold"));
    }
    if found.is_ok()
        && let Some(name) = fields.name("results")
    {
        faults.push(name.fault("«results» goes with «found_by»; a single «found» is the only result"));
    }
    let source = Source::Table {
        table: table_name.to_owned(),
        keys,
        position: position.map(|(argument, _)| argument.to_owned()),
        found,
        missing: missing.to_owned(),
    };
    Some(Service { name: String::new(), args: args.into_iter().collect(), secrets: compared, results, source })
}

/// `match = { column = "argument" }`, whose kinds must agree.
fn matches(
    pairs: &[(Name<'_>, Place<'_>)],
    table: &Table,
    args: &[(String, Kind)],
    faults: &mut Vec<Fault>,
) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for (column, place) in pairs {
        let Some(argument) = place.text(faults) else { continue };
        let of_column = kind_of(column.text, &table.columns);
        let of_argument = kind_of(argument, args);
        if of_column.is_none() {
            let fault = column.fault(format!("table «{}» has no column «{}»", table.name, column.text));
            faults.push(fault.did_you_mean(column.text, table.columns.iter().map(|(name, _)| name.as_str())));
        }
        match (of_column, of_argument) {
            (_, None) => faults.push(unknown("argument", argument, args, *place)),
            (Some(of_column), Some(of_argument)) if of_column != of_argument => faults.push(place.fault(format!(
                "the column is {} and the argument {}",
                kind_name(of_column),
                kind_name(of_argument)
            ))),
            _ => {}
        }
        keys.push((column.text.to_owned(), argument.to_owned()));
    }
    keys
}

/// `found = "name"`, or `found_by = "column"`.
fn found_name(
    fields: &Fields<'_>,
    found: Option<Place<'_>>,
    found_by: Option<Place<'_>>,
    table: &Table,
    faults: &mut Vec<Fault>,
) -> Option<Result<String, String>> {
    match (found, found_by) {
        (Some(found), None) => Some(Ok(found.text(faults)?.to_owned())),
        (None, Some(place)) => {
            let column = place.text(faults)?;
            known_column(column, &table.columns, place, faults);
            Some(Err(column.to_owned()))
        }
        (Some(_), Some(place)) => {
            faults.push(place.fault("«found» and «found_by» exclude each other"));
            None
        }
        (None, None) => {
            faults.push(
                fields.place().fault("«found» (a result's name) or «found_by» (a column that holds it) is missing"),
            );
            None
        }
    }
}

fn known_column(column: &str, columns: &[(String, Kind)], place: Place<'_>, faults: &mut Vec<Fault>) {
    if kind_of(column, columns).is_none() {
        faults.push(unknown("column", column, columns, place));
    }
}

fn unknown(what: &str, name: &str, known: &[(String, Kind)], place: Place<'_>) -> Fault {
    place.fault(format!("there is no {what} «{name}»")).did_you_mean(name, known.iter().map(|(name, _)| name.as_str()))
}

/// The columns of a table, and which of them are secret.
fn columns(place: Place<'_>, faults: &mut Vec<Fault>) -> (Vec<(String, Kind)>, Vec<String>) {
    let mut secrets = Vec::new();
    let mut columns = Vec::new();
    for (name, place) in place.entries(faults) {
        if place.text(&mut Vec::new()) == Some(SECRET) {
            secrets.push(name.text.to_owned());
            columns.push((name.text.to_owned(), Kind::Text));
        } else {
            columns.extend(kind(place, &[SECRET], faults).map(|kind| (name.text.to_owned(), kind)));
        }
    }
    (columns, secrets)
}

/// What a column of digits that prove who calls is declared as.
const SECRET: &str = "secret";

/// `{ name = "kind" }`
fn kinds(place: Place<'_>, faults: &mut Vec<Fault>) -> Vec<(String, Kind)> {
    let mut kinds = Vec::new();
    for (name, place) in place.entries(faults) {
        kinds.extend(kind(place, &[], faults).map(|kind| (name.text.to_owned(), kind)));
    }
    kinds
}

/// A kind by its name; `more` names are known here as well, but no kinds.
fn kind(place: Place<'_>, more: &[&'static str], faults: &mut Vec<Fault>) -> Option<Kind> {
    let text = place.text(faults)?;
    let known = KINDS.iter().find(|(kind, _)| *kind == text);
    if known.is_none() {
        let fault = place.fault(format!("there is no kind of value «{text}»"));
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).chain(more.iter().copied()).collect();
        faults.push(match did_you_mean(text, names.iter().copied()) {
            Some(_) => fault.did_you_mean(text, names.iter().copied()),
            None => fault.suggest(format!("kinds are {}", names.join(", "))),
        });
    }
    known.map(|(_, kind)| *kind)
}

fn kind_of(name: &str, kinds: &[(String, Kind)]) -> Option<Kind> {
    kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind)
}

/// The name of a kind as files write it.
#[must_use]
pub fn kind_name(kind: Kind) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
}
