//! From files to what is served: operators, their checked flows, the audio of their prompts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use tracing::warn;

use crate::audio::Clip;
use crate::call::Tenant;
use crate::edge::files;
use crate::edge::prompt_audio::PromptAudio;
use crate::fault::{self, Fault, Severity, SourceFile};
use crate::flow;
use crate::operator::{self, Operator, Routes};

/// Everything a snapshot is made of.
#[derive(Debug)]
pub struct Served {
    /// The operators with flows and audio, in the order of their folders.
    pub tenants: Vec<Arc<Tenant>>,
    /// Their numbers.
    pub routes: Routes,
    /// Every prompt's audio with its file.
    pub clips: Vec<(PathBuf, Arc<Clip>)>,
}

/// Reads and checks everything; nothing is served while one fault stands.
///
/// # Errors
/// All faults of all files, drawn over their lines; or what could not be read.
pub fn load(flows: &Path, prompts: &Path) -> anyhow::Result<Served> {
    let sources = files::read_operators(flows)?;
    let (operators, routes, faults) = check(&sources);
    let errors: Vec<Fault> = faults.into_iter().filter(|fault| fault.severity == Severity::Error).collect();
    let (Some(operators), true) = (operators, errors.is_empty()) else {
        bail!(
            "{} fault(s): nothing is served until they are mended\n\n{}",
            errors.len(),
            fault::render_all(&errors, &sources.concat())
        );
    };
    if !prompts.is_dir() {
        bail!(
            "there is no folder of prompts at {}: callers would hear tones. Name it with --prompts or [paths] prompts, or let «contesta prompts render» make it",
            prompts.display()
        );
    }
    let mut audio = PromptAudio::new(prompts);
    let tenants = operators
        .into_iter()
        .map(|(operator, flows)| {
            let loaded = audio.load(&operator.prompts);
            if let Some(first) = loaded.defects.first() {
                warn!(
                    "{}: {} prompts have no audio that callers understand, the first is {} ({}); «contesta prompts report» lists them",
                    operator.id,
                    loaded.defects.len(),
                    first.key,
                    first.fault
                );
            }
            Arc::new(Tenant { operator, flows: Arc::new(flows), clips: loaded.clips })
        })
        .collect();
    Ok(Served { tenants, routes, clips: audio.clips() })
}

type Checked = (Option<Vec<(Arc<Operator>, flow::Flows)>>, Routes, Vec<Fault>);

/// Operators and flows with every fault of both: a slip in one file does not hide those of another.
fn check(sources: &[Vec<SourceFile>]) -> Checked {
    let (operators, routes) = match operator::load_all(sources) {
        Ok(loaded) => loaded,
        Err(faults) => return (None, Routes::default(), faults),
    };
    let (mut checked, mut faults) = (Vec::new(), Vec::new());
    for (operator, files) in operators.into_iter().zip(sources) {
        let operator = Arc::new(operator);
        match flow::load(&operator, files) {
            Ok(flows) => checked.push((operator, flows)),
            Err(more) => faults.extend(more),
        }
    }
    (Some(checked), routes, faults)
}
