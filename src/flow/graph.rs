//! What can be said of a flow as a whole: steps that nothing leads to, ways without an end, loops that never hear the caller.

use crate::fault::Fault;

use super::StepIndex;
use super::source::Source;
use super::step::Pace;

/// One flow's steps and where they lead.
#[derive(Debug)]
pub(crate) struct Graph {
    /// One a step, in the order of the file.
    pub(crate) nodes: Vec<Node>,
    /// `start`, `on_hangup`, `on_error` and the steps of global keys.
    pub(crate) entries: Vec<StepIndex>,
    pub(crate) on_hangup: Option<StepIndex>,
    /// False when some step or target could not be read: then what cannot be reached says nothing.
    pub(crate) whole: bool,
}

/// One step.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) targets: Vec<StepIndex>,
    /// `None` for a kind that does not exist.
    pub(crate) pace: Option<Pace>,
    pub(crate) silent: bool,
    /// The flow a `call` runs.
    pub(crate) calls: Option<u16>,
    /// True when it leads nowhere in this flow: `hangup`, `return`, a `goto` to another flow.
    pub(crate) leaves: bool,
}

impl Default for Graph {
    fn default() -> Self {
        Self { nodes: Vec::new(), entries: Vec::new(), on_hangup: None, whole: true }
    }
}

impl Graph {
    fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index)
    }

    /// Which steps can be reached from `from` (themselves included) through steps for which `through` holds.
    fn reach(&self, from: impl IntoIterator<Item = usize>, through: impl Fn(&Node) -> bool) -> Vec<bool> {
        let mut reached = vec![false; self.nodes.len()];
        let mut next: Vec<usize> = from.into_iter().collect();
        while let Some(index) = next.pop() {
            let (Some(seen), Some(node)) = (reached.get_mut(index), self.node(index)) else { continue };
            if !*seen && through(node) {
                *seen = true;
                next.extend(node.targets.iter().map(|target| usize::from(target.0)));
            }
        }
        reached
    }
}

/// A `call` hears the caller when something in its sub-flow does.
pub(crate) fn hear_through_calls(graphs: &mut [Graph]) {
    // Hearing spreads by one level of calls a pass; there are no more levels than flows.
    for _ in 0..graphs.len() {
        let hears: Vec<bool> =
            graphs.iter().map(|graph| graph.nodes.iter().any(|node| node.pace == Some(Pace::Hears))).collect();
        for node in graphs.iter_mut().flat_map(|graph| &mut graph.nodes) {
            if node.calls.is_some_and(|called| hears.get(usize::from(called)) == Some(&true)) {
                node.pace = Some(Pace::Hears);
            }
        }
    }
}

/// Checks one flow.
pub(crate) fn check(
    source: &Source<'_>,
    graph: &Graph,
    sources: &[Source<'_>],
    graphs: &[Graph],
    faults: &mut Vec<Fault>,
) {
    silent_after_hangup(source, graph, faults);
    loops(source, graph, faults);
    recursion(source, graph, sources, graphs, faults);
    if !graph.whole || graph.entries.is_empty() {
        return;
    }
    let reached = graph.reach(graph.entries.iter().map(|entry| usize::from(entry.0)), |_| true);
    for (step, _) in source.steps.iter().zip(&reached).filter(|(_, reached)| !**reached) {
        faults.push(step.name.fault(format!("nothing leads to the step «{}»", step.name.text)));
    }
    // The first step of a trap stands for all of it.
    let trapped = source.steps.iter().enumerate().find(|(index, _)| {
        let from_here = graph.reach([*index], |_| true);
        let ends = graph.nodes.iter().zip(&from_here).any(|(node, reached)| *reached && node.leaves);
        reached.get(*index) == Some(&true) && !ends
    });
    if let Some((_, step)) = trapped {
        let message = format!("from «{}» no way leads to the end of the call: the caller is trapped", step.name.text);
        faults.push(step.name.fault(message).suggest("lead one of its outputs to a hangup, a return or another flow"));
    }
    for name in &source.returns {
        let returned = source.steps.iter().any(|step| {
            step.kind.text == "return"
                && step
                    .body
                    .entries(&mut Vec::new())
                    .iter()
                    .any(|(key, place)| key.text == "name" && place.text(&mut Vec::new()) == Some(name))
        });
        if let (false, Some(place)) = (returned, source.id_place) {
            faults.push(place.warning(format!("no step of «{}» returns «{name}»", source.id)));
        }
    }
}

/// What `on_hangup` leads to runs after the caller has gone: only steps that need nobody.
fn silent_after_hangup(source: &Source<'_>, graph: &Graph, faults: &mut Vec<Fault>) {
    let Some(on_hangup) = graph.on_hangup else { return };
    let reached = graph.reach([usize::from(on_hangup.0)], |node| node.silent);
    for (index, step) in source.steps.iter().enumerate() {
        let Some(node) = graph.node(index) else { continue };
        let comes_here =
            usize::from(on_hangup.0) == index
                || graph.nodes.iter().zip(&reached).any(|(node, reached)| {
                    *reached && node.targets.iter().any(|target| usize::from(target.0) == index)
                });
        if comes_here && !node.silent && node.pace.is_some() {
            let message = format!(
                "on_hangup leads to «{}», but a {} needs a caller who is still there",
                step.name.text, step.kind.text
            );
            faults.push(step.kind.fault(message));
        }
    }
}

/// Loops that never hear the caller: an error when no time passes in them, a warning when they speak or wait.
fn loops(source: &Source<'_>, graph: &Graph, faults: &mut Vec<Fault>) {
    let mut told = vec![false; graph.nodes.len()];
    for (allowed, severe) in [(&[Pace::Instant][..], true), (&[Pace::Instant, Pace::Deaf][..], false)] {
        let within = |node: &Node| node.pace.is_some_and(|pace| allowed.contains(&pace));
        for (index, step) in source.steps.iter().enumerate() {
            let Some(node) = graph.node(index).filter(|node| within(node)) else { continue };
            let onwards = graph.reach(node.targets.iter().map(|target| usize::from(target.0)), within);
            if onwards.get(index) != Some(&true) || told.get(index) == Some(&true) {
                continue;
            }
            for (member, flag) in told.iter_mut().enumerate() {
                let back = graph.reach([member], within);
                *flag |= onwards.get(member) == Some(&true) && back.get(index) == Some(&true);
            }
            faults.push(if severe {
                step.name.fault(format!("«{}» leads back to itself, and nothing happens on the way", step.name.text))
            } else {
                let message = format!("«{}» leads back to itself without hearing the caller", step.name.text);
                Fault::warning(source.file, step.name.span.clone(), message)
            });
        }
    }
}

/// A sub-flow that calls itself, through others or not, would only end at the depth limit.
fn recursion(source: &Source<'_>, graph: &Graph, sources: &[Source<'_>], graphs: &[Graph], faults: &mut Vec<Fault>) {
    let Some(own) = sources.iter().position(|other| std::ptr::eq(other, source)) else { return };
    for (step, node) in source.steps.iter().zip(&graph.nodes) {
        let Some(called) = node.calls else { continue };
        let (mut seen, mut next) = (vec![false; graphs.len()], vec![usize::from(called)]);
        while let Some(index) = next.pop() {
            if let (Some(seen), Some(graph)) = (seen.get_mut(index), graphs.get(index))
                && !*seen
            {
                *seen = true;
                next.extend(graph.nodes.iter().filter_map(|node| node.calls).map(usize::from));
            }
        }
        if seen.get(own) == Some(&true) {
            let message = format!("«{}» calls itself through «{}»", source.id, step.name.text);
            faults.push(step.kind.fault(message).suggest("use a goto, or return and let the caller decide"));
        }
    }
}
