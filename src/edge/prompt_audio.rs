//! The audio of an operator's prompts, decoded once when it is loaded and shared by all calls.
#![expect(clippy::disallowed_methods, reason = "reading files is what this file is for")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audio::{self, Clip, Level};
use crate::operator::Prompts;

/// Sampling rate of G.711.
const RATE: u32 = 8_000;

/// Reads and keeps clips; a file that several operators use is decoded once.
#[derive(Debug)]
pub struct PromptAudio {
    root: PathBuf,
    clips: BTreeMap<PathBuf, Result<(Arc<Clip>, Level), String>>,
    fallback: Arc<Clip>,
}

/// The audio of one operator.
#[derive(Debug)]
pub struct Loaded {
    /// One clip for each prompt, in the order of their ids. What has no usable audio has a short soft tone, so that a call goes on.
    pub clips: Vec<Arc<Clip>>,
    /// What is wrong, in the order of the ids.
    pub defects: Vec<Defect>,
    /// What each prompt with audio is like: its key, its file relative to the prompts folder, its level.
    pub recordings: Vec<Recording>,
}

/// A prompt's audio as found.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Prompt key.
    pub key: String,
    /// File relative to the prompts folder.
    pub file: String,
    /// Loudness and duration.
    pub level: Level,
}

/// A prompt whose audio needs someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Prompt key.
    pub key: String,
    /// File relative to the prompts folder; of a missing one, the first that was looked for.
    pub file: String,
    /// What is wrong.
    pub fault: AudioFault,
}

/// What is wrong with a prompt's audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioFault {
    /// There is no file.
    Missing,
    /// It cannot be read or decoded.
    Unreadable(String),
    /// Nobody would hear anything.
    Silent,
    /// So loud that it is distorted.
    Clipping,
}

impl fmt::Display for AudioFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Unreadable(why) => write!(f, "unreadable: {why}"),
            Self::Silent => f.write_str("silent"),
            Self::Clipping => f.write_str("clipping"),
        }
    }
}

impl AudioFault {
    /// True when callers hear the tone instead of the prompt, or nothing.
    #[must_use]
    pub fn is_serious(&self) -> bool {
        !matches!(self, Self::Clipping)
    }
}

impl PromptAudio {
    /// Reads from the prompts folder `root` (`prompts`).
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), clips: BTreeMap::new(), fallback: Arc::new(Clip::from_pcm(&tone())) }
    }

    /// The audio of every prompt of a catalogue. Never fails as a whole: what is wrong stands in `defects`.
    pub fn load(&mut self, prompts: &Prompts) -> Loaded {
        let mut loaded =
            Loaded { clips: Vec::with_capacity(prompts.len()), defects: Vec::new(), recordings: Vec::new() };
        for (id, candidates) in prompts.files() {
            let key = prompts.key(id).to_owned();
            let found = candidates.iter().find(|file| self.root.join(file).is_file());
            let Some(file) = found.cloned() else {
                let file = candidates.into_iter().next().unwrap_or_default();
                loaded.defects.push(Defect { key, file, fault: AudioFault::Missing });
                loaded.clips.push(Arc::clone(&self.fallback));
                continue;
            };
            match self.clip(&file) {
                Ok((clip, level)) => {
                    let fault = match (level.is_silent(), level.is_clipping()) {
                        (true, _) => Some(AudioFault::Silent),
                        (false, true) => Some(AudioFault::Clipping),
                        (false, false) => None,
                    };
                    loaded.defects.extend(fault.map(|fault| Defect { key: key.clone(), file: file.clone(), fault }));
                    loaded.clips.push(clip);
                    loaded.recordings.push(Recording { key, file, level });
                }
                Err(why) => {
                    loaded.defects.push(Defect { key, file, fault: AudioFault::Unreadable(why) });
                    loaded.clips.push(Arc::clone(&self.fallback));
                }
            }
        }
        loaded
    }

    /// Every clip with its file.
    #[must_use]
    pub fn clips(&self) -> Vec<(PathBuf, Arc<Clip>)> {
        let usable = self.clips.iter().filter_map(|(file, clip)| Some((file, clip.as_ref().ok()?)));
        usable.map(|(file, (clip, _))| (file.clone(), Arc::clone(clip))).collect()
    }

    /// Forgets what was decoded, so that the next [`Self::load`] sees files that have changed.
    pub fn forget(&mut self) {
        self.clips.clear();
    }

    fn clip(&mut self, file: &str) -> Result<(Arc<Clip>, Level), String> {
        let path = self.root.join(file);
        if let Some(known) = self.clips.get(&path) {
            return known.clone();
        }
        let clip = read(&path);
        self.clips.insert(path, clip.clone());
        clip
    }
}

fn read(path: &Path) -> Result<(Arc<Clip>, Level), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let pcm = audio::decode(&bytes, extension).map_err(|error| error.to_string())?;
    let level = pcm.level();
    let pcm = pcm.resample_to(RATE).map_err(|error| error.to_string())?;
    Ok((Arc::new(Clip::from_pcm(&pcm.samples)), level))
}

/// A fifth of a second of 440 Hz at about −26 dBFS, faded at both ends.
fn tone() -> Vec<i16> {
    const SAMPLES: u16 = 1_600;
    (0..SAMPLES)
        .map(|index| {
            let phase = f64::from(index) / f64::from(RATE) * 440.0 * std::f64::consts::TAU;
            let fade = (f64::from(index.min(SAMPLES - index)) / 80.0).min(1.0);
            (phase.sin() * fade * 1_600.0) as i16
        })
        .collect()
}
