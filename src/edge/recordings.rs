//! The thread that writes recordings, and what a media worker holds of one.
//!
//! ```text
//! media worker                          bounded channel                       thread «recordings»
//! Recording::tick ─ half a second full ─► Message::Audio ─────────────────────► RecordingFile::append
//!        ▲                                                                            │
//!        └───────────── empty chunks, CHUNKS of each recording ◄──────────────────────┘
//! ```
//!
//! A media worker never waits and never allocates for a recording: it has so many chunks, which come back empty. While the disk hangs, two seconds of a
//! recording are held; after them, or when the channel is full, sound is lost, counted, and silence in the file. A
//! disk that takes no more ends a recording, not its call. Either is told in the [`RecordingReport`], which comes once for every
//! recording that was begun.

#![expect(clippy::disallowed_methods, reason = "this is the edge: it starts a thread and reads the clock")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::recording_file::RecordingFile;
use crate::ids::LegId;
use crate::media::recorder::Chunk;
use crate::media::{Recorder, RecordingChange, RecordingReport};

/// Chunks of each recording, full and empty together: the disk may hang for so many half seconds before sound is lost.
pub const CHUNKS: usize = 5;

/// Messages that may wait: every chunk of 1,600 recordings.
const MESSAGES_MAX: usize = 8_192;

/// How often the thread looks for recordings whose last message was refused.
const SWEEP: Duration = Duration::from_secs(1);

/// What a recording is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose report it is.
    pub leg: LegId,
    /// Its file below the recordings' folder: `2026-03-15/20260315-083000-k7m2p9.wav`.
    pub file: String,
    /// Samples a second of each channel: 8,000, 16,000 or 48,000.
    pub rate: u32,
}

/// The handle of the thread, which ends when this is dropped: what was handed over until then is written.
#[derive(Debug)]
pub struct Recordings {
    sender: SyncSender<Message>,
    next: u64,
    thread: Option<JoinHandle<()>>,
}

/// A recording as a media worker holds it. Dropped, it ends.
#[derive(Debug)]
pub struct Recording {
    id: u64,
    recorder: Recorder,
    sender: SyncSender<Message>,
    empty: Receiver<Box<Chunk>>,
    shared: Arc<Shared>,
}

/// What both threads know of a recording.
#[derive(Debug, Default)]
struct Shared {
    /// Chunks that the thread will get.
    handed_over: AtomicU64,
    /// Chunks that it has dealt with.
    taken: AtomicU64,
    lost_us: AtomicU64,
    ended: AtomicBool,
}

#[derive(Debug)]
enum Message {
    Begin(Box<Begin>),
    Audio(u64, Box<Chunk>),
    End(u64),
    Stop,
}

#[derive(Debug)]
struct Begin {
    id: u64,
    order: Order,
    empty: SyncSender<Box<Chunk>>,
    shared: Arc<Shared>,
}

impl Recordings {
    /// Starts the thread; recordings go below `root`. `report` is called on it, so it must be quick and never wait.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(root: &Path, report: impl Fn(LegId, RecordingReport) + Send + 'static) -> io::Result<Self> {
        let (sender, messages) = sync_channel(MESSAGES_MAX);
        let writer = Writer { root: root.to_owned(), open: BTreeMap::new(), report: Box::new(report) };
        let thread = std::thread::Builder::new().name("recordings".into()).spawn(move || writer.run(&messages))?;
        Ok(Self { sender, next: 0, thread: Some(thread) })
    }

    /// Begins a recording: give it to the worker of its leg. Its file is made by the thread.
    ///
    /// # Errors
    /// What the call's record should say; no report follows.
    pub fn begin(&mut self, order: Order) -> Result<Box<Recording>, String> {
        self.next += 1;
        let (recording, begin) = recording(self.next, order, self.sender.clone());
        match self.sender.try_send(Message::Begin(Box::new(begin))) {
            Ok(()) => Ok(Box::new(recording)),
            Err(TrySendError::Full(_)) => Err("the recordings' thread is overloaded".into()),
            Err(TrySendError::Disconnected(_)) => Err("the recordings' thread has ended".into()),
        }
    }
}

impl Drop for Recordings {
    fn drop(&mut self) {
        // Waits for room if it must: the thread takes messages until it ends.
        let _ = self.sender.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn recording(id: u64, order: Order, sender: SyncSender<Message>) -> (Recording, Begin) {
    let (give, empty) = sync_channel(CHUNKS);
    for _ in 1..CHUNKS {
        // There is room for all of them.
        let _ = give.try_send(Box::new(Chunk::new(order.rate)));
    }
    let recorder = Recorder::new(order.rate, Box::new(Chunk::new(order.rate)));
    let shared = Arc::new(Shared::default());
    let begin = Begin { id, order, empty: give, shared: Arc::clone(&shared) };
    (Recording { id, recorder, sender, empty, shared }, begin)
}

impl Recording {
    /// Takes what both sides said in the next 20 ms ([`Recorder::tick`]).
    pub fn tick(&mut self, caller: &[i16], heard: &[i16]) {
        if self.recorder.is_starved()
            && let Ok(empty) = self.empty.try_recv()
        {
            self.recorder.refill(empty);
        }
        if let Some(full) = self.recorder.tick(caller, heard) {
            self.hand_over(full);
        }
    }

    /// Silence in the file, or nothing ([`Recorder::mute`], [`Recorder::pause`]).
    pub fn change(&mut self, change: RecordingChange) {
        match change {
            RecordingChange::Mute(muted) => self.recorder.mute(muted),
            RecordingChange::Pause(paused) => self.recorder.pause(paused),
        }
    }

    /// A key is down ([`Recorder::key_down`]).
    pub fn key_down(&mut self) {
        self.recorder.key_down();
    }

    /// Keys come as tones, or do not ([`Recorder::hold_back`]).
    pub fn hold_back(&mut self, on: bool) {
        self.recorder.hold_back(on);
    }

    /// True when the thread has given back every chunk but the one in hand.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.shared.taken.load(Ordering::Acquire) >= self.shared.handed_over.load(Ordering::Relaxed)
    }

    fn hand_over(&mut self, full: Box<Chunk>) {
        self.shared.handed_over.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.sender.try_send(Message::Audio(self.id, full))
        {
            self.shared.handed_over.fetch_sub(1, Ordering::Relaxed);
            if let Message::Audio(_, chunk) = message {
                self.recorder.lose(chunk);
            }
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(last) = self.recorder.finish() {
            self.hand_over(last);
        }
        let lost = u64::try_from(self.recorder.lost().as_micros()).unwrap_or(u64::MAX);
        self.shared.lost_us.store(lost, Ordering::Relaxed);
        // What the thread reads after this flag was written before it.
        self.shared.ended.store(true, Ordering::Release);
        // Refused, it is found by the next sweep.
        let _ = self.sender.try_send(Message::End(self.id));
    }
}

/// What the thread owns.
struct Writer {
    root: PathBuf,
    open: BTreeMap<u64, Open>,
    report: Box<dyn Fn(LegId, RecordingReport) + Send>,
}

/// A recording on its way to its file.
struct Open {
    order: Order,
    /// `None` after a fault.
    file: Option<RecordingFile>,
    /// Frames written by the file that a fault closed.
    frames: u64,
    fault: Option<String>,
    empty: SyncSender<Box<Chunk>>,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut swept = Instant::now();
        loop {
            match messages.recv_timeout(SWEEP) {
                Ok(Message::Begin(begin)) => self.begin(*begin),
                Ok(Message::Audio(id, chunk)) => self.append(id, chunk),
                Ok(Message::End(id)) => self.end_if_complete(id),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                for id in self.open.keys().copied().collect::<Vec<_>>() {
                    self.end_if_complete(id);
                }
            }
        }
        for (_, open) in std::mem::take(&mut self.open) {
            self.end(open);
        }
    }

    fn begin(&mut self, Begin { id, order, empty, shared }: Begin) {
        let (file, fault) = match RecordingFile::create(&self.root, &order.file, order.rate) {
            Ok(file) => (Some(file), None),
            Err(error) => {
                tracing::error!(leg = order.leg.0, "{}: the call is not recorded: {error}", order.file);
                (None, Some(format!("not begun: {error}")))
            }
        };
        self.open.insert(id, Open { order, file, frames: 0, fault, empty, shared });
    }

    fn append(&mut self, id: u64, chunk: Box<Chunk>) {
        let Some(open) = self.open.get_mut(&id) else { return };
        if let Some(file) = &mut open.file
            && let Err(error) = file.append(chunk.begins, &chunk.frames)
        {
            tracing::error!(leg = open.order.leg.0, "{}: the recording breaks off: {error}", open.order.file);
            open.fault = Some(format!("broke off: {error}"));
            open.close();
        }
        // A recording that has ended wants none back.
        let _ = open.empty.try_send(chunk);
        open.shared.taken.fetch_add(1, Ordering::Release);
    }

    /// Ends a recording whose worker has ended it, once its last chunk has come.
    fn end_if_complete(&mut self, id: u64) {
        let is_complete = self.open.get(&id).is_some_and(|open| {
            let shared = &open.shared;
            shared.ended.load(Ordering::Acquire)
                && shared.taken.load(Ordering::Relaxed) >= shared.handed_over.load(Ordering::Relaxed)
        });
        if is_complete && let Some(open) = self.open.remove(&id) {
            self.end(open);
        }
    }

    fn end(&self, mut open: Open) {
        open.close();
        let rate = u64::from(open.order.rate.max(1));
        let report = RecordingReport {
            file: open.order.file,
            duration: Duration::from_micros(open.frames * 1_000_000 / rate),
            lost: Duration::from_micros(open.shared.lost_us.load(Ordering::Relaxed)),
            fault: open.fault,
        };
        if !report.lost.is_zero() {
            tracing::error!(leg = open.order.leg.0, "{}: {:?} could not be recorded", report.file, report.lost);
        }
        (self.report)(open.order.leg, report);
    }
}

impl Open {
    fn close(&mut self) {
        let Some(file) = self.file.take() else { return };
        self.frames = file.frames();
        if let Err(error) = file.finish() {
            tracing::error!(leg = self.order.leg.0, "{}: left unfinished: {error}", self.order.file);
            self.fault.get_or_insert_with(|| format!("left unfinished: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const NAME: &str = "2026-03-15/20260315-083000-k7m2p9.wav";
    const LEG: LegId = LegId(7);

    fn order() -> Order {
        Order { leg: LEG, file: NAME.into(), rate: 8_000 }
    }

    fn seconds(recording: &mut Recording, seconds: usize) {
        (0..seconds * 50).for_each(|_| recording.tick(&[1; 160], &[2; 160]));
    }

    fn samples(path: &Path) -> Vec<i16> {
        hound::WavReader::open(path).unwrap().samples::<i16>().map(Result::unwrap).collect()
    }

    #[test]
    fn a_recording_is_written_while_it_is_made_and_reported_when_it_ends() {
        let root = tempfile::tempdir().unwrap();
        let (sender, reports) = channel();
        let mut recordings =
            Recordings::start(root.path(), move |leg, report| drop(sender.send((leg, report)))).unwrap();
        let mut recording = recordings.begin(order()).unwrap();
        for _ in 0..110 {
            // As slowly as the disk takes it: a full channel is another test's.
            while recording.recorder.is_starved() {
                recording.recorder.refill(recording.empty.recv().unwrap());
            }
            recording.tick(&[1; 160], &[2; 160]);
        }
        drop(recording);
        let report = RecordingReport {
            file: NAME.into(),
            duration: Duration::from_millis(2_200),
            lost: Duration::ZERO,
            fault: None,
        };
        assert_eq!(reports.recv().unwrap(), (LEG, report));
        assert_eq!(samples(&root.path().join(NAME)), [1, 2].repeat(17_600));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_and_the_recording_goes_on_in_vain() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("unfinished"), "a file in the way").unwrap();
        let (sender, reports) = channel();
        let mut recordings = Recordings::start(root.path(), move |_, report| drop(sender.send(report))).unwrap();
        let mut recording = recordings.begin(order()).unwrap();
        for _ in 0..CHUNKS * 4 {
            (0..25).for_each(|_| recording.tick(&[1; 160], &[2; 160]));
            recording.recorder.refill(recording.empty.recv().unwrap());
        }
        drop(recording);
        let report = reports.recv().unwrap();
        assert!(report.fault.as_ref().is_some_and(|fault| fault.starts_with("not begun: ")), "{report:?}");
        assert_eq!((report.duration, report.lost), (Duration::ZERO, Duration::ZERO));
    }

    /// The disk hangs: nobody takes what is handed over.
    #[test]
    fn a_hanging_disk_costs_sound_that_is_counted_and_never_a_worker() {
        let (sender, messages) = sync_channel(MESSAGES_MAX);
        let (mut recording, begin) = recording(1, order(), sender);
        seconds(&mut recording, 10);
        let root = tempfile::tempdir().unwrap();
        let (reporter, reports) = channel();
        let report = Box::new(move |_: LegId, report| drop(reporter.send(report)));
        let mut writer = Writer { root: root.path().to_owned(), open: BTreeMap::new(), report };
        writer.begin(begin);
        // The disk is back: what waited is written, and the recording goes on behind a silence.
        while let Ok(Message::Audio(id, chunk)) = messages.try_recv() {
            writer.append(id, chunk);
        }
        seconds(&mut recording, 1);
        drop(recording);
        while let Ok(message) = messages.try_recv() {
            match message {
                Message::Audio(id, chunk) => writer.append(id, chunk),
                Message::End(id) => writer.end_if_complete(id),
                Message::Begin(_) | Message::Stop => panic!("nobody sent it"),
            }
        }
        let report = reports.try_recv().unwrap();
        assert_eq!((report.lost, report.duration), (Duration::from_millis(7_500), Duration::from_secs(11)));
        let samples = samples(&root.path().join(NAME));
        let silent = samples.iter().filter(|sample| **sample == 0).count();
        assert_eq!((samples.len(), silent), (2 * 88_000, 2 * 60_000));
        assert_eq!(&samples[2 * 80_000..2 * 80_000 + 2], [1, 2], "and nothing is shifted");
    }

    #[test]
    fn a_full_channel_costs_sound_and_the_end_is_found_all_the_same() {
        let (sender, messages) = sync_channel(2);
        let (mut recording, begin) = recording(1, order(), sender);
        seconds(&mut recording, 3);
        drop(recording);
        let root = tempfile::tempdir().unwrap();
        let (reporter, reports) = channel();
        let report = Box::new(move |_: LegId, report| drop(reporter.send(report)));
        let mut writer = Writer { root: root.path().to_owned(), open: BTreeMap::new(), report };
        writer.begin(begin);
        writer.end_if_complete(1);
        assert!(reports.try_recv().is_err(), "its chunks have not come yet");
        while let Ok(message) = messages.try_recv() {
            let Message::Audio(id, chunk) = message else { panic!("{message:?}: there was no room for it") };
            writer.append(id, chunk);
        }
        writer.end_if_complete(1);
        let report = reports.try_recv().unwrap();
        assert_eq!((report.duration, report.lost), (Duration::from_secs(1), Duration::from_secs(2)));
    }

    #[test]
    fn the_engines_end_finishes_what_is_open() {
        let root = tempfile::tempdir().unwrap();
        let (sender, reports) = channel();
        let mut recordings = Recordings::start(root.path(), move |_, report| drop(sender.send(report))).unwrap();
        let mut recording = recordings.begin(order()).unwrap();
        seconds(&mut recording, 1);
        drop(recordings);
        assert_eq!(reports.recv().unwrap().duration, Duration::from_secs(1));
        seconds(&mut recording, 10);
        assert!(!recording.recorder.lost().is_zero(), "whoever still holds it loses sound, and nothing else");
    }
}
