//! From the files of an operator's folder to its [`Flows`], with all faults of all files at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{self, Node, Place};
use crate::fault::{Fault, Severity, SourceFile};
use crate::operator::Operator;
use crate::operator::load::flow_references;
use crate::value::Kind as ValueKind;

use super::graph;
use super::reader::{Output, Reader, target};
use super::source::{Source, StepSource};
use super::step::{self, Kind};
use super::variables::Variable;
use super::{Flow, Flows, GlobalKey, Step};

/// Reads the flows among `files`: every `.toml` of the operator's folder but the operator's own files and `tests/`.
///
/// # Errors
/// All faults, warnings included, when one of them stops the load.
pub fn load(operator: &Operator, files: &[SourceFile]) -> Result<Flows, Vec<Fault>> {
    let (flows, faults) = read(operator, files);
    match flows {
        Some(flows) if !crate::fault::any_error(&faults) => Ok(flows),
        Some(_) | None => Err(faults),
    }
}

/// Every fault of the flows among `files`, errors and warnings, by file and line.
#[must_use]
pub fn check(operator: &Operator, files: &[SourceFile]) -> Vec<Fault> {
    read(operator, files).1
}

/// True for a file that holds a flow.
#[must_use]
pub fn is_flow(path: &str) -> bool {
    const OTHERS: [&str; 6] =
        ["operator.toml", "hours.toml", "prompts.toml", "services.toml", "queues.toml", "agents.toml"];
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let in_tests = path.split(['/', '\\']).rev().nth(1) == Some("tests");
    name.ends_with(".toml") && !OTHERS.contains(&name) && !in_tests
}

fn read(operator: &Operator, files: &[SourceFile]) -> (Option<Flows>, Vec<Fault>) {
    let mut faults = Vec::new();
    let parsed: Vec<(&SourceFile, Node)> = files
        .iter()
        .filter(|file| is_flow(&file.path))
        .map(|file| (file, document::parse(file, &mut faults)))
        .collect();
    let mut sources: Vec<Source<'_>> =
        parsed.iter().filter_map(|(file, root)| Source::read(file, root, &mut faults)).collect();
    let by_id = index(&sources, &mut faults);
    let outs: Vec<(String, Vec<(String, ValueKind)>)> =
        sources.iter().map(|source| (source.id.clone(), source.outs.clone())).collect();
    for source in &mut sources {
        source.find_variables(operator, &outs, &mut faults);
    }
    let mut flows = Vec::new();
    let mut graphs = Vec::new();
    for source in &sources {
        let (flow, graph) = read_flow(source, &sources, operator, &mut faults);
        graphs.push(graph);
        flows.extend(flow);
    }
    graph::hear_through_calls(&mut graphs);
    for (source, graph) in sources.iter().zip(&graphs) {
        graph::check(source, graph, &sources, &graphs, &mut faults);
    }
    check_numbers(files, &sources, &mut faults);
    sort(&mut faults, files);
    let whole = flows.len() == sources.len() && !flows.is_empty();
    (whole.then_some(Flows { flows, by_id }), faults)
}

fn index(sources: &[Source<'_>], faults: &mut Vec<Fault>) -> BTreeMap<String, u16> {
    let mut by_id = BTreeMap::new();
    for (place, source) in sources.iter().enumerate() {
        if source.id.is_empty() {
            continue;
        }
        let index = u16::try_from(place).unwrap_or(u16::MAX);
        if by_id.insert(source.id.clone(), index).is_some()
            && let Some(place) = source.id_place
        {
            faults.push(place.fault(format!("another file is the flow «{}» already", source.id)));
        }
    }
    by_id
}

/// Reads the steps of one flow. The flow is `None` when a fault stands in its way; its graph is as whole as can be.
fn read_flow<'a>(
    source: &Source<'a>,
    sources: &[Source<'a>],
    operator: &Operator,
    faults: &mut Vec<Fault>,
) -> (Option<Flow>, graph::Graph) {
    let mut graph = graph::Graph::default();
    let mut steps = Vec::new();
    for step in &source.steps {
        let (kind, outputs) = read_step(*step, source, sources, operator, &mut graph.whole, faults);
        let sheet = step::sheet(step.kind.text);
        graph.nodes.push(graph::Node {
            targets: outputs.iter().map(|output| output.target).collect(),
            pace: sheet.map(|sheet| sheet.pace),
            silent: sheet.is_some_and(|sheet| sheet.silent),
            calls: match &kind {
                Some(Kind::Call(call)) => Some(call.flow()),
                _ => None,
            },
            leaves: outputs.is_empty() && kind.is_some(),
        });
        let outputs = outputs.into_iter().map(|output| (output.name, output.target)).collect();
        steps.extend(kind.map(|what| Step { name: step.name.text.to_owned(), what, outputs }));
    }
    let mut entry = |place: Option<Place<'_>>| {
        let found = place.and_then(|place| target(source, place, faults));
        graph.whole &= found.is_some() || place.is_none();
        graph.entries.extend(found);
        found
    };
    let (start, on_hangup, on_error) = (entry(source.start), entry(source.on_hangup), entry(source.on_error));
    graph.on_hangup = on_hangup;
    let mut global_keys = Vec::new();
    for (digit, place) in &source.global_keys {
        let does = match place.text(&mut Vec::new()) {
            Some("back") => Some(GlobalKey::Back),
            Some("repeat") => Some(GlobalKey::Repeat),
            Some(_) | None => entry(Some(*place)).map(GlobalKey::Step),
        };
        global_keys.extend(does.map(|does| (*digit, does)));
    }
    // A fault elsewhere may be all that keeps a variable from being read.
    if !faults.iter().any(|fault| fault.severity == Severity::Error && fault.file == source.file.path) {
        tell_unread(source, faults);
    }
    let slot = |name: &str| source.variables.slot(name);
    let flow = start.filter(|_| steps.len() == source.steps.len()).map(|start| Flow {
        id: source.id.clone(),
        steps,
        start,
        on_hangup,
        on_error,
        max_duration: source.max_duration,
        max_visits: source.max_visits,
        global_keys,
        variables: source.variables.clone(),
        outs: source.outs.iter().filter_map(|(name, _)| Some((name.clone(), slot(name)?))).collect(),
    });
    (flow, graph)
}

fn read_step<'a>(
    step: StepSource<'a>,
    source: &Source<'a>,
    sources: &[Source<'a>],
    operator: &Operator,
    whole: &mut bool,
    faults: &mut Vec<Fault>,
) -> (Option<Kind>, Vec<Output>) {
    let Some(sheet) = step::sheet(step.kind.text) else {
        let fault = step.kind.fault(format!("«{}» is not a step kind", step.kind.text));
        let near = fault.did_you_mean(step.kind.text, step::NAMES.iter().copied());
        faults.push(if near.suggestion.is_some() {
            near
        } else {
            near.suggest(format!("step kinds: {}", step::NAMES.join(", ")))
        });
        *whole = false;
        return (None, Vec::new());
    };
    let before = faults.len();
    let mut reader = Reader::new(step, source, sources, operator, sheet, faults);
    let kind = step::read(step.kind.text, &mut reader);
    let outputs = reader.finish();
    // A target that does not exist leaves what it meant unreachable: that is one fault, not two.
    *whole &= !faults.iter().skip(before).any(|fault| fault.severity == Severity::Error);
    (kind, outputs)
}

/// Warns of what is written down and never read: often the name is misspelt where it should be read, or where it is set. Of a
/// record (`cuenta.saldo`, `cuenta.vence`) one member is enough.
fn tell_unread(source: &Source<'_>, faults: &mut Vec<Fault>) {
    let record = |name: &str| name.split_once('.').map_or(name, |(record, _)| record).to_owned();
    let given_back = |name: &str| source.outs.iter().any(|(out, _)| out == name);
    let is_read = |(slot, variable): &(u16, &Variable)| source.reads.has(*slot) || given_back(&variable.name);
    let read: BTreeSet<String> = source.variables.iter().filter(is_read).map(|(_, one)| record(&one.name)).collect();
    let mut told = BTreeSet::new();
    for (slot, variable) in source.variables.iter() {
        let name = record(&variable.name);
        if let (false, Some(span)) = (read.contains(&name), source.written.get(&slot))
            && told.insert(name.clone())
        {
            faults.push(Fault::warning(source.file, span.clone(), format!("nothing reads «{name}»")));
        }
    }
}

/// The numbers of operator.toml must lead to flows that can answer a call.
fn check_numbers(files: &[SourceFile], sources: &[Source<'_>], faults: &mut Vec<Fault>) {
    let Some((file, references)) = flow_references(files) else { return };
    for reference in references {
        match sources.iter().find(|source| source.id == reference.flow) {
            None => {
                let fault = Fault::error(file, reference.span, format!("there is no flow «{}»", reference.flow));
                let ids = sources.iter().map(|source| source.id.as_str());
                faults.push(fault.did_you_mean(&reference.flow, ids));
            }
            Some(source) if !source.inputs.is_empty() || !source.returns.is_empty() => {
                let message =
                    format!("«{}» is a sub-flow: it has inputs or returns and cannot answer a number", source.id);
                faults.push(Fault::error(file, reference.span, message));
            }
            Some(_) => {}
        }
    }
}

/// By file, in the order given, then by place.
fn sort(faults: &mut [Fault], files: &[SourceFile]) {
    faults.sort_by_key(|fault| {
        let file = files.iter().position(|file| file.path == fault.file).unwrap_or(files.len());
        (file, fault.span.start, fault.span.end)
    });
}
