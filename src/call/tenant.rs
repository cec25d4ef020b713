//! One operator as it is served: what its folder declares, its flows, and the audio of its prompts.

use std::sync::Arc;

use crate::audio::Clip;
use crate::flow::{Flows, Utterance};
use crate::media::Segment;
use crate::operator::Operator;

/// An immutable snapshot. A call keeps the one it began with, so a reload never changes a call under way.
#[derive(Debug)]
pub struct Tenant {
    /// What the operator's folder declares.
    pub operator: Arc<Operator>,
    /// Its checked flows.
    pub flows: Arc<Flows>,
    /// The audio of every prompt, by `PromptId`.
    pub clips: Vec<Arc<Clip>>,
}

impl Tenant {
    /// What a leg plays for these utterances. A prompt without audio is passed over: a call never drops for a file.
    #[must_use]
    pub fn segments(&self, utterances: &[Utterance]) -> Box<[Segment]> {
        utterances
            .iter()
            .filter_map(|utterance| match utterance {
                Utterance::Prompt(prompt) => self.clips.get(prompt.0 as usize).cloned().map(Segment::Clip),
                Utterance::Silence(duration) => Some(Segment::Silence(*duration)),
            })
            .collect()
    }
}
