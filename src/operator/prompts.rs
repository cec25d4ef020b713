//! The catalogue: every prompt's key, Spanish text and where its audio may lie.

use std::collections::BTreeMap;

use super::PromptId;
use crate::fault::did_you_mean;
use crate::speech;

/// Extensions of audio files, in the order they are looked for.
pub const AUDIO_EXTENSIONS: [&str; 4] = ["wav", "flac", "ogg", "mp3"];

/// The folder of the recorded words that all operators share.
pub const VOCABULARY_FOLDER: &str = "es-MX";

/// All prompts of one operator in the order of its file, and the recorded words of `speech` behind them.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    operator: String,
    own: Vec<Prompt>,
    by_key: BTreeMap<String, PromptId>,
}

/// One prompt as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Key (`menu_principal`): lower-case letters, digits and underscores.
    pub key: String,
    /// What the caller hears.
    pub text: String,
    /// Its audio file in the operator's folder, when it is not named after the key.
    pub file: Option<String>,
}

impl Prompts {
    /// The catalogue of an operator; with an empty name and nothing own, the recorded words alone. Of two prompts with the same key the last one is found.
    #[must_use]
    pub fn new(operator: &str, own: Vec<Prompt>) -> Self {
        let vocabulary = speech::vocabulary().iter().map(|(key, _)| *key);
        let keys = own.iter().map(|prompt| prompt.key.as_str()).chain(vocabulary);
        let by_key = keys.zip(0..).map(|(key, place)| (key.to_owned(), PromptId(place))).collect();
        Self { operator: operator.to_owned(), own, by_key }
    }

    /// The prompt of a key.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<PromptId> {
        self.by_key.get(key).copied()
    }

    /// The key of a prompt; empty for an id of another catalogue.
    #[must_use]
    pub fn key(&self, id: PromptId) -> &str {
        match self.own(id) {
            Some(prompt) => &prompt.key,
            None => self.word(id).0,
        }
    }

    /// The Spanish text of a prompt; empty for an id of another catalogue.
    #[must_use]
    pub fn text(&self, id: PromptId) -> &str {
        match self.own(id) {
            Some(prompt) => &prompt.text,
            None => self.word(id).1,
        }
    }

    /// How many prompts there are, recorded words included: ids go from 0 to one below.
    #[must_use]
    pub fn len(&self) -> usize {
        self.own.len() + speech::vocabulary().len()
    }

    /// Never true: the recorded words are always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All ids in order.
    pub fn ids(&self) -> impl Iterator<Item = PromptId> + use<> {
        (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).map(PromptId)
    }

    /// The operator's own prompts, in the order of its file.
    #[must_use]
    pub fn own_prompts(&self) -> &[Prompt] {
        &self.own
    }

    /// True for a recorded word of `speech`.
    #[must_use]
    pub fn is_word(&self, id: PromptId) -> bool {
        self.own(id).is_none()
    }

    /// The operator's own key that was probably meant.
    #[must_use]
    pub fn did_you_mean(&self, key: &str) -> Option<String> {
        did_you_mean(key, self.own.iter().map(|prompt| prompt.key.as_str()))
    }

    /// Every prompt with the paths its audio may have, relative to the prompts folder, in the order they are looked for. An
    /// operator's own recording of a word (`beneleit/es-MX/num.21.wav`) goes before the shared one.
    pub fn files(&self) -> impl Iterator<Item = (PromptId, Vec<String>)> + '_ {
        self.ids().map(|id| (id, self.candidates(id)))
    }

    fn candidates(&self, id: PromptId) -> Vec<String> {
        let operator = &self.operator;
        let with_extensions =
            |stem: String| AUDIO_EXTENSIONS.iter().map(move |extension| format!("{stem}.{extension}"));
        match self.own(id) {
            Some(Prompt { file: Some(file), .. }) => vec![format!("{operator}/{file}")],
            Some(Prompt { key, file: None, .. }) => with_extensions(format!("{operator}/{key}")).collect(),
            None => {
                let word = format!("{VOCABULARY_FOLDER}/{}", self.word(id).0);
                let own = (!operator.is_empty()).then(|| with_extensions(format!("{operator}/{word}")));
                own.into_iter().flatten().chain(with_extensions(word)).collect()
            }
        }
    }

    fn own(&self, id: PromptId) -> Option<&Prompt> {
        self.own.get(usize::try_from(id.0).ok()?)
    }

    fn word(&self, id: PromptId) -> (&'static str, &'static str) {
        let place = usize::try_from(id.0).ok().and_then(|place| place.checked_sub(self.own.len()));
        place.and_then(|place| speech::vocabulary().get(place)).copied().unwrap_or(("", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts() -> Prompts {
        let prompt = |key: &str, file: Option<&str>| Prompt {
            key: key.into(),
            text: format!("«{key}»"),
            file: file.map(Into::into),
        };
        Prompts::new("beneleit", vec![prompt("bienvenida", None), prompt("menu_principal", Some("menu.wav"))])
    }

    #[test]
    fn own_keys_come_first_and_recorded_words_behind_them() {
        let prompts = prompts();
        assert_eq!((prompts.id("bienvenida"), prompts.id("num.0")), (Some(PromptId(0)), Some(PromptId(2))));
        assert_eq!((prompts.key(PromptId(1)), prompts.text(PromptId(1))), ("menu_principal", "«menu_principal»"));
        let veintiun = prompts.id("num.21.apocope").unwrap();
        assert_eq!((prompts.key(veintiun), prompts.text(veintiun)), ("num.21.apocope", "veintiún"));
        assert!(prompts.is_word(veintiun) && !prompts.is_word(PromptId(1)));
        assert_eq!(prompts.id("bienvenda"), None);
        assert_eq!(prompts.did_you_mean("bienvenda").as_deref(), Some("bienvenida"));
        assert!(prompts.ids().all(|id| prompts.id(prompts.key(id)) == Some(id)));
        assert_eq!((prompts.key(PromptId(u32::MAX)), prompts.text(PromptId(u32::MAX))), ("", ""));
    }

    #[test]
    fn audio_is_looked_for_by_key_unless_a_file_is_named() {
        let files: Vec<(PromptId, Vec<String>)> = prompts().files().collect();
        assert_eq!(files.len(), prompts().len());
        assert_eq!(
            files[0].1,
            [
                "beneleit/bienvenida.wav",
                "beneleit/bienvenida.flac",
                "beneleit/bienvenida.ogg",
                "beneleit/bienvenida.mp3"
            ]
        );
        assert_eq!(files[1].1, ["beneleit/menu.wav"]);
        assert_eq!((files[2].1[0].as_str(), files[2].1[4].as_str()), ("beneleit/es-MX/num.0.wav", "es-MX/num.0.wav"));
    }
}
