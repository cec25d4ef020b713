//! Runs espeak-ng, which reads Spanish texts aloud for prompts that nobody has recorded.
#![expect(clippy::disallowed_methods, reason = "feeds the process that speaks from a thread of its own")]

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::audio::{self, Pcm};

/// A voice and its manner.
#[derive(Clone, Debug)]
pub struct Voice {
    /// A voice of espeak-ng (`es-419`).
    pub name: String,
    /// Words a minute.
    pub words_a_minute: u16,
    /// 0 to 99; 50 is the voice's own.
    pub pitch: u8,
}

impl Voice {
    /// Reads a text aloud.
    ///
    /// # Errors
    /// espeak-ng is not installed, does not know the voice, or gave no sound.
    pub fn speak(&self, text: &str) -> anyhow::Result<Pcm> {
        let (rate, pitch) = (self.words_a_minute.to_string(), self.pitch.to_string());
        let mut child = Command::new("espeak-ng")
            .args(["-v", &self.name, "-s", &rate, "-p", &pitch, "-b", "1", "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                if error.kind() == std::io::ErrorKind::NotFound {
                    return anyhow::anyhow!("espeak-ng is not installed; on Debian: apt-get install espeak-ng");
                }
                anyhow::Error::new(error).context("cannot run espeak-ng")
            })?;
        let mut input = child.stdin.take().context("espeak-ng takes no text")?;
        let text = text.to_owned();
        // From a thread: a long text and a full pipe of sound would wait for each other.
        let feeder = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let output = child.wait_with_output().context("espeak-ng did not end")?;
        let fed = feeder.join();
        if !output.status.success() {
            bail!("espeak-ng failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        if !matches!(fed, Ok(Ok(()))) {
            bail!("espeak-ng did not read the text");
        }
        // It writes a header of unknown length, as a stream has; the decoder stops where the sound does.
        audio::decode(&output.stdout, "wav").context("espeak-ng gave no sound")
    }
}
