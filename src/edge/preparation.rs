//! Prepares prompts in codecs that cost something, on a thread of its own that gives way to all others.
//!
//! G.711 is made when a prompt is loaded. Opus costs a thousand times as much, and most machines never speak it: a codec is prepared when it
//! is wanted, because a trunk's settings name it or a call has begun in it. Calls do not wait for that: a leg encodes by itself what is not
//! there yet ([`Clip`]).
#![expect(unsafe_code, clippy::disallowed_methods, reason = "the files are read again, and setpriority is not in std")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tracing::{info, warn};

use crate::audio::{self, Clip, Codec};

/// The handle of the thread, which ends with it.
#[derive(Debug)]
pub struct Preparation {
    wanted: SyncSender<Codec>,
    asked: Vec<Codec>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Preparation {
    /// Starts the thread `prompts` for clips and the files they were made from.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(clips: Vec<(PathBuf, Arc<Clip>)>) -> io::Result<Self> {
        let (wanted, waiting) = sync_channel(Codec::ALL.len());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("prompts".to_owned()).spawn(move || run(&clips, &waiting, &stopped))?;
        Ok(Self { wanted, asked: Vec::new(), stop, thread: Some(thread) })
    }

    /// Prompts are wanted in this codec from now on. Never waits.
    pub fn want(&mut self, codec: Codec) {
        if codec.law().is_none() && !self.asked.contains(&codec) {
            self.asked.push(codec);
            // There is room for all codecs, and each is asked for once.
            let _ = self.wanted.try_send(codec);
        }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let (nobody, _) = sync_channel(0);
        self.wanted = nobody;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(clips: &[(PathBuf, Arc<Clip>)], wanted: &Receiver<Codec>, stop: &AtomicBool) {
    // SAFETY: no pointers; 0 is the calling thread. Refused, the thread takes its share like any other.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LEAST_PRIORITY) };
    while let Ok(codec) = wanted.recv() {
        let mut prepared = 0;
        for (file, clip) in clips {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match prepare(file, clip, codec) {
                Ok(()) => prepared += 1,
                Err(why) => warn!("{}: not prepared in {}: {why}", file.display(), codec.encoding_name()),
            }
        }
        info!("{prepared} prompts are prepared in {}", codec.encoding_name());
    }
}

fn prepare(file: &Path, clip: &Clip, codec: Codec) -> Result<(), String> {
    if clip.is_prepared(codec) {
        return Ok(());
    }
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let recording = audio::decode(&bytes, extension).map_err(|error| error.to_string())?;
    clip.prepare(codec, &recording).map_err(|error| error.to_string())
}

const LEAST_PRIORITY: i32 = 19;
