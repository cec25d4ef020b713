//! From the files of `flows/<operator>/` to an [`Operator`], with all faults at once.
//!
//! Reads `operator.toml`, `hours.toml`, `prompts.toml`, `services.toml` and `agents.toml` by their file names; flows and tests lie in
//! the same folder and belong to `flow`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::number::{Routes, normalise};
use super::prompts::Prompt;
use super::{Calendar, CaseKind, Number, Operator, Prompts, Recording, SlaClock, agent, hours_file, service};
use crate::document::{self, Fields, Node, Place};
use crate::fault::{Fault, SourceFile};

/// The version of the files that this program reads: `schema = 1`.
const SCHEMA: i64 = 1;

/// Reads one operator. `files` are those of its folder, in any order; others than the five are passed over.
///
/// # Errors
/// Every fault of every file, in the order of files and lines.
pub fn load(files: &[SourceFile]) -> Result<Operator, Vec<Fault>> {
    let mut faults = Vec::new();
    let Some(source) = file(files, "operator.toml") else {
        let folder = files.first().and_then(|file| file.path.rsplit_once('/')).map_or("", |(folder, _)| folder);
        let path = format!("{folder}/operator.toml").trim_start_matches('/').to_owned();
        let missing = SourceFile { path, text: String::new() };
        return Err(vec![Fault::error(&missing, 0..0, "the operator has no operator.toml")]);
    };
    let hours = read(files, "hours.toml", &mut faults, hours_file::calendars);
    let calendars = hours.unwrap_or_default();
    let (tables, services) = read(files, "services.toml", &mut faults, |fields, faults| {
        let tables = service::tables(fields, faults);
        let services = service::services(fields, &tables, faults);
        (tables, services)
    })
    .unwrap_or_default();
    let prompts = read(files, "prompts.toml", &mut faults, prompts).unwrap_or_default();
    let agents = read(files, "agents.toml", &mut faults, agent::agents).unwrap_or_default();

    let root = document::parse(source, &mut faults);
    let mut operator = None;
    if let Some(mut fields) = Place::new(source, &root).fields(&mut faults) {
        fields.schema(SCHEMA, &mut faults);
        let identity = fields.required("operator", &mut faults).and_then(|place| identity(place, &mut faults));
        let numbers = numbers(&mut fields, &mut faults);
        let kinds = kinds(&mut fields, &calendars, &mut faults);
        let recording = recording(&mut fields, &mut faults);
        let templates = templates(&mut fields, &mut faults);
        fields.finish(&mut faults);
        operator = identity.map(|identity| Operator {
            prompts: Prompts::new(&identity.id, prompts),
            id: identity.id,
            name: identity.name,
            folio_prefix: identity.folio_prefix,
            class: identity.class,
            time_zone: identity.time_zone,
            numbers,
            calendars,
            services,
            tables,
            kinds,
            recording,
            agents,
            templates,
        });
    }
    match operator {
        Some(operator) if faults.is_empty() => Ok(operator),
        _ => Err(sorted(faults)),
    }
}

/// Reads several operators, and the numbers that lead to them. Each item is one operator's files.
///
/// # Errors
/// Every fault of every operator; and ids, folio prefixes, numbers and agents that two of them claim.
pub fn load_all(folders: &[Vec<SourceFile>]) -> Result<(Vec<Operator>, Routes), Vec<Fault>> {
    let (mut operators, mut faults) = (Vec::new(), Vec::new());
    for files in folders {
        match load(files) {
            Ok(operator) => operators.push(operator),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    for (index, (later, files)) in operators.iter().zip(folders).enumerate() {
        for earlier in operators.iter().take(index) {
            if earlier.id == later.id {
                faults.extend(at_identity(files, "id", format!("another operator is called «{}» already", later.id)));
            }
            if earlier.folio_prefix == later.folio_prefix {
                let message = format!("«{}» begins its folios with {} already", earlier.id, later.folio_prefix);
                faults.extend(at_identity(files, "folio_prefix", message));
            }
            // Phones register with this machine, not with an operator: one name is one agent.
            for user in later.agents.keys().filter(|user| earlier.agents.contains_key(*user)) {
                faults.extend(at_agent(files, user, format!("«{}» has an agent «{user}» already", earlier.id)));
            }
        }
    }
    match Routes::new(&operators) {
        Ok(routes) if faults.is_empty() => Ok((operators, routes)),
        Ok(_) => Err(faults),
        Err(clashes) => {
            for clash in clashes {
                let owner = operators.iter().zip(folders).find(|(operator, _)| operator.id == clash.second);
                faults.extend(owner.and_then(|(_, files)| at_number(files, &clash.number, clash.to_string())));
            }
            Err(faults)
        }
    }
}

/// A flow that `operator.toml` names, and where: whoever knows the flows checks that it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowReference {
    /// Flow id (`beneleit.principal`).
    pub flow: String,
    /// Bytes of `operator.toml` that name it.
    pub span: Range<usize>,
}

/// Every flow that the operator's numbers lead to, with its place in the returned `operator.toml`.
#[must_use]
pub fn flow_references(files: &[SourceFile]) -> Option<(&SourceFile, Vec<FlowReference>)> {
    let source = file(files, "operator.toml")?;
    let (mut references, mut ignored) = (Vec::new(), Vec::new());
    let root = document::parse(source, &mut ignored);
    let mut add = |place: Option<Place<'_>>| {
        if let Some(place) = place
            && let Some(flow) = place.text(&mut Vec::new())
        {
            references.push(FlowReference { flow: flow.to_owned(), span: place.span() });
        }
    };
    for mut number in number_tables(source, &root) {
        add(number.optional("flow"));
        number.entries("extensions", &mut ignored).into_iter().for_each(|(_, place)| add(Some(place)));
    }
    Some((source, references))
}

/// Who the operator is.
struct Identity {
    id: String,
    name: String,
    folio_prefix: u8,
    class: String,
    time_zone: TimeZone,
}

fn identity(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<Identity> {
    let mut fields = place.fields(faults)?;
    let id = fields.required("id", faults).and_then(|place| {
        let id = place.text(faults)?;
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            faults.push(place.fault("an operator's id is a folder name: lower-case letters, digits and underscores"));
        }
        Some(id.to_owned())
    });
    let name = fields.required_text("name", faults).map(str::to_owned);
    let folio_prefix = fields.required("folio_prefix", faults).and_then(|place| place.integer_in(1..=9, faults));
    let class = fields.text("class", faults).unwrap_or("").to_owned();
    let time_zone = fields.required("time_zone", faults).and_then(|place| time_zone(place, faults));
    fields.finish(faults);
    Some(Identity {
        id: id?,
        name: name?,
        folio_prefix: u8::try_from(folio_prefix?).ok()?,
        class,
        time_zone: time_zone?,
    })
}

fn time_zone(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<TimeZone> {
    let name = place.text(faults)?;
    let zone = TimeZone::get(name).ok();
    if zone.is_none() {
        let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let fault = place.fault(format!("there is no time zone «{name}»"));
        faults.push(fault.did_you_mean(name, known.iter().map(String::as_str)));
    }
    zone
}

fn numbers(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Vec<Number> {
    let mut numbers: Vec<Number> = Vec::new();
    let Some(list) = fields.required("numbers", faults) else { return numbers };
    for place in list.list(faults) {
        let Some(mut fields) = place.fields(faults) else { continue };
        let number = fields.required("number", faults).and_then(|place| Some((place.text(faults)?, place)));
        let flow = fields.required_text("flow", faults);
        let extensions = fields
            .entries("extensions", faults)
            .into_iter()
            .filter_map(|(digits, flow)| {
                if !digits.text.chars().all(|c| c.is_ascii_digit() || c == '*' || c == '#') {
                    faults.push(digits.fault(format!("the extension «{}» cannot be dialled", digits.text)));
                }
                Some((digits.text.to_owned(), flow.text(faults)?.to_owned()))
            })
            .collect();
        fields.finish(faults);
        let (Some((number, place)), Some(flow)) = (number, flow) else { continue };
        let called = normalise(number);
        if called.as_str().is_empty()
            || !called.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "*#+".contains(c))
        {
            faults.push(place.fault(format!("«{number}» cannot be dialled")));
        }
        if numbers.iter().any(|other| normalise(&other.number) == called) {
            faults.push(place.fault(format!("{number} stands here twice (as {called})")));
        }
        numbers.push(Number { number: number.to_owned(), flow: flow.to_owned(), extensions });
    }
    numbers
}

fn kinds(
    fields: &mut Fields<'_>,
    calendars: &BTreeMap<String, Calendar>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, CaseKind> {
    let mut kinds = BTreeMap::new();
    for (name, place) in fields.entries("kinds", faults) {
        let Some(mut fields) = place.fields(faults) else { continue };
        let mut subkinds: Vec<String> = Vec::new();
        for (subkind, place) in fields.texts("subkinds", faults) {
            if subkinds.iter().any(|other| other == subkind) {
                faults.push(place.fault(format!("«{subkind}» stands here twice")));
            }
            subkinds.push(subkind.to_owned());
        }
        let deadline = deadline(&mut fields, calendars, faults);
        fields.finish(faults);
        kinds.insert(name.text.to_owned(), CaseKind { name: name.text.to_owned(), subkinds, deadline });
    }
    kinds
}

/// `[recording] calls`.
fn recording(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Recording {
    let Some(mut fields) = fields.fields("recording", faults) else { return Recording::default() };
    let place = fields.required("calls", faults);
    let calls = place.and_then(|place| Some((place, place.text(faults)?)));
    fields.finish(faults);
    let Some((place, calls)) = calls else { return Recording::default() };
    match RECORDINGS.iter().find(|(name, _)| *name == calls) {
        Some((_, recording)) => *recording,
        None => {
            let names = RECORDINGS.map(|(name, _)| name);
            let fault = place.fault(format!("«{calls}» are no calls to record; known: {}", names.join(", ")));
            faults.push(fault.did_you_mean(calls, names));
            Recording::default()
        }
    }
}

const RECORDINGS: [(&str, Recording); 3] =
    [("none", Recording::None), ("notice", Recording::Notice), ("all", Recording::All)];

/// `deadline` and `clock`, which belong together: which hours count is never guessed.
fn deadline(
    fields: &mut Fields<'_>,
    calendars: &BTreeMap<String, Calendar>,
    faults: &mut Vec<Fault>,
) -> Option<(Duration, SlaClock)> {
    let (time, clock) = (fields.optional("deadline"), fields.optional("clock"));
    let (time_place, clock_place) = match (time, clock) {
        (None, None) => return None,
        (Some(time), Some(clock)) => (time, clock),
        (Some(time), None) => {
            let fault = time.fault("a deadline needs a «clock»");
            faults.push(fault.suggest("\"natural\" counts every hour; a calendar's name counts its open hours"));
            return None;
        }
        (None, Some(clock)) => {
            faults.push(clock.fault("a «clock» without a «deadline» has nothing to count"));
            return None;
        }
    };
    let time = time_place.duration(faults);
    if time.is_some_and(|time| time.is_zero()) {
        faults.push(time_place.fault("a deadline is longer than nothing"));
    }
    let clock = match clock_place.text(faults)? {
        "natural" => SlaClock::Natural,
        name if calendars.contains_key(name) => SlaClock::Calendar(name.to_owned()),
        name => {
            let fault = clock_place.fault(format!("there is no calendar «{name}» in hours.toml"));
            faults.push(fault.did_you_mean(name, calendars.keys().map(String::as_str).chain(["natural"])));
            return None;
        }
    };
    Some((time?, clock))
}

fn templates(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let entries = fields.entries("templates", faults);
    entries
        .into_iter()
        .filter_map(|(name, place)| Some((name.text.to_owned(), place.text(faults)?.to_owned())))
        .collect()
}

fn prompts(fields: &mut Fields<'_>, faults: &mut Vec<Fault>) -> Vec<Prompt> {
    let mut prompts = Vec::new();
    for (key, place) in fields.entries("prompts", faults) {
        if !key.text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            faults.push(key.fault("a prompt's key is a file name: lower-case letters, digits and underscores"));
        }
        let (text, file) = if place.is_table() {
            let Some(mut fields) = place.fields(faults) else { continue };
            let text = fields.required("text", faults);
            let file = fields.optional("file").and_then(|place| audio_file(place, faults));
            fields.finish(faults);
            (text, file)
        } else {
            (Some(place), None)
        };
        let Some(place) = text else { continue };
        let Some(text) = place.text(faults) else { continue };
        if text.trim().is_empty() {
            faults.push(place.fault(format!("the prompt «{}» says nothing", key.text)));
        }
        prompts.push(Prompt { key: key.text.to_owned(), text: text.to_owned(), file });
    }
    prompts
}

/// A file inside the operator's prompts folder.
fn audio_file(place: Place<'_>, faults: &mut Vec<Fault>) -> Option<String> {
    let file = place.text(faults)?;
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    if !super::prompts::AUDIO_EXTENSIONS.contains(&extension) {
        faults.push(place.fault(format!("«{file}» is no audio file")).suggest("wav, flac, ogg and mp3 are read"));
    }
    let inside = !file.contains('\\') && file.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if !inside {
        faults.push(place.fault("the file must lie inside the operator's prompts folder"));
    }
    inside.then(|| file.to_owned())
}

/// Reads one of the optional files through `body`.
fn read<T>(
    files: &[SourceFile],
    name: &str,
    faults: &mut Vec<Fault>,
    body: impl FnOnce(&mut Fields<'_>, &mut Vec<Fault>) -> T,
) -> Option<T> {
    let source = file(files, name)?;
    let root = document::parse(source, faults);
    let mut fields = Place::new(source, &root).fields(faults)?;
    fields.schema(SCHEMA, faults);
    let value = body(&mut fields, faults);
    fields.finish(faults);
    Some(value)
}

fn file<'a>(files: &'a [SourceFile], name: &str) -> Option<&'a SourceFile> {
    files.iter().find(|file| file.path.rsplit(['/', '\\']).next() == Some(name))
}

fn sorted(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|one, other| (&one.file, one.span.start).cmp(&(&other.file, other.span.start)));
    faults
}

fn number_tables<'a>(source: &'a SourceFile, root: &'a Node) -> Vec<Fields<'a>> {
    let mut ignored = Vec::new();
    let Some(mut fields) = Place::new(source, root).fields(&mut ignored) else { return Vec::new() };
    let list = fields.optional("numbers").map(|list| list.list(&mut ignored)).unwrap_or_default();
    list.into_iter().filter_map(|place| place.fields(&mut Vec::new())).collect()
}

/// A fault at a key of `[operator]`.
fn at_identity(files: &[SourceFile], key: &'static str, message: String) -> Option<Fault> {
    let source = file(files, "operator.toml")?;
    let mut ignored = Vec::new();
    let root = document::parse(source, &mut ignored);
    let mut fields = Place::new(source, &root).fields(&mut ignored)?;
    Some(fields.fields("operator", &mut ignored)?.optional(key)?.fault(message))
}

/// A fault at an agent's name.
fn at_agent(files: &[SourceFile], user: &str, message: String) -> Option<Fault> {
    let source = file(files, "agents.toml")?;
    let mut ignored = Vec::new();
    let root = document::parse(source, &mut ignored);
    let agents = Place::new(source, &root).fields(&mut ignored)?.entries("agents", &mut ignored);
    agents.into_iter().find(|(name, _)| name.text == user).map(|(name, _)| name.fault(message))
}

/// A fault at the number of an operator.
fn at_number(files: &[SourceFile], number: &str, message: String) -> Option<Fault> {
    let source = file(files, "operator.toml")?;
    let root = document::parse(source, &mut Vec::new());
    let places = number_tables(source, &root).into_iter().filter_map(|mut fields| fields.optional("number"));
    let place = places.into_iter().find(|place| place.text(&mut Vec::new()) == Some(number))?;
    Some(place.fault(message))
}
