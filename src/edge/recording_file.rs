//! One recording on disk: a stereo WAV that is a whole file at every moment, whatever becomes of the process.
//!
//! ```text
//! data/recordings/unfinished/2026-03-15/20260315-083000-k7m2p9.wav      while it is written
//! data/recordings/2026-03-15/20260315-083000-k7m2p9.wav                 when it is finished: renamed, never copied
//! ```
//!
//! The header follows each half second of sound, so that a player opens the file right after `kill -9` and misses no more
//! than that. What a killed process left in `unfinished` is put right and moved by [`repair`] at the next start; a day's folder
//! holds finished recordings only, so that it may be copied away at any time. Nothing is forced to the disk's platters: a
//! machine that loses power may lose what its kernel had not written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::audio::wav;

/// Where recordings lie that are not finished, below the recordings' own folder.
const UNFINISHED: &str = "unfinished";

/// Caller and what the caller hears.
const CHANNELS: u16 = 2;

/// Bytes of a frame: two samples of 16 bits.
const FRAME_LENGTH: u64 = 4;

/// Folders below [`UNFINISHED`] that [`repair`] looks into, and files of each: far beyond what calls can be under way.
const REPAIRED_MAX: usize = 100_000;

/// A recording that is being written.
#[derive(Debug)]
pub struct RecordingFile {
    file: File,
    rate: u32,
    frames: u64,
    unfinished: PathBuf,
    finished: PathBuf,
    /// Room for a chunk's bytes.
    bytes: Vec<u8>,
}

impl RecordingFile {
    /// Begins `name` (`2026-03-15/20260315-083000-k7m2p9.wav`) below `root`, readable by its owner alone.
    ///
    /// # Errors
    /// A folder or the file cannot be made, or a recording of that name is being written.
    pub fn create(root: &Path, name: &str, rate: u32) -> io::Result<Self> {
        let unfinished = root.join(UNFINISHED).join(name);
        if let Some(folder) = unfinished.parent() {
            make_folder(folder)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all_at(&wav::header(CHANNELS, rate, 0), 0)?;
        Ok(Self { file, rate, frames: 0, unfinished, finished: root.join(name), bytes: Vec::new() })
    }

    /// Writes `frames`, left and right, whose first has `begins` before it; what was not written before it is silence.
    ///
    /// # Errors
    /// No room, on the disk or in the format. What was written before stays a whole file.
    pub fn append(&mut self, begins: u64, frames: &[[i16; 2]]) -> io::Result<()> {
        let end = begins.saturating_add(frames.len() as u64);
        if end > wav::frames_max(CHANNELS) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than a WAV file can count"));
        }
        self.bytes.clear();
        self.bytes.extend(frames.iter().flatten().flat_map(|sample| sample.to_le_bytes()));
        // A hole before it reads as zeros.
        self.file.write_all_at(&self.bytes, wav::HEADER_LENGTH as u64 + begins * FRAME_LENGTH)?;
        self.frames = self.frames.max(end);
        self.file.write_all_at(&wav::header(CHANNELS, self.rate, self.frames), 0)
    }

    /// Samples a second of each channel.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// How many frames were written.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Moves the recording to its day.
    ///
    /// # Errors
    /// It could not be moved; it stays where it is, whole, for [`repair`].
    pub fn finish(self) -> io::Result<()> {
        // What a full disk left behind the last whole chunk is no sound.
        let _ = self.file.set_len(wav::HEADER_LENGTH as u64 + self.frames * FRAME_LENGTH);
        move_to_its_day(&self.unfinished, &self.finished)
    }
}

/// Puts right and moves what a killed process left unfinished below `root`; gives the names of those, as
/// `2026-03-15/20260315-083000-k7m2p9.wav`. A file that is no recording of ours stays where it is, with a warning.
///
/// # Errors
/// The folder cannot be read. No folder is no error: nothing was ever recorded.
pub fn repair(root: &Path) -> io::Result<Vec<String>> {
    let mut repaired = Vec::new();
    for day in entries(&root.join(UNFINISHED))? {
        for unfinished in entries(&day)? {
            let Ok(name) = unfinished.strip_prefix(root.join(UNFINISHED)) else { continue };
            let done = put_right(&unfinished).and_then(|()| move_to_its_day(&unfinished, &root.join(name)));
            match done {
                Ok(()) => repaired.push(name.display().to_string()),
                Err(error) => tracing::warn!("{}: {error}", unfinished.display()),
            }
        }
        // Empty, unless something in it was left.
        let _ = fs::remove_dir(&day);
    }
    Ok(repaired)
}

/// Writes the header that the file's length asks for.
fn put_right(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut written = [0; wav::HEADER_LENGTH];
    file.read_exact_at(&mut written, 0)?;
    let right = wav::repaired(&written, file.metadata()?.len());
    let right = right.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a recording of this program"))?;
    file.write_all_at(&right, 0)
}

fn move_to_its_day(unfinished: &Path, finished: &Path) -> io::Result<()> {
    if let Some(folder) = finished.parent() {
        make_folder(folder)?;
    }
    fs::rename(unfinished, finished)
}

/// Makes a folder that only its owner may look into.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// What lies in a folder, in order.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let read = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        read => read?,
    };
    let mut paths = read.take(REPAIRED_MAX).map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NAME: &str = "2026-03-15/20260315-083000-k7m2p9.wav";

    /// Left, right, left, right, …
    fn samples(path: &Path) -> Vec<i16> {
        let mut reader = hound::WavReader::open(path).unwrap();
        assert_eq!((reader.spec().channels, reader.spec().bits_per_sample), (2, 16));
        reader.samples::<i16>().map(Result::unwrap).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_recording_is_whole_at_every_moment_and_ends_in_its_day() {
        let root = tempfile::tempdir().unwrap();
        let (unfinished, finished) = (root.path().join(UNFINISHED).join(NAME), root.path().join(NAME));
        let mut file = RecordingFile::create(root.path(), NAME, 8_000).unwrap();
        assert_eq!(samples(&unfinished), [] as [i16; 0]);
        file.append(0, &[[1, 2], [3, 4]]).unwrap();
        assert_eq!(samples(&unfinished), [1, 2, 3, 4]);
        file.append(4, &[[5, 6]]).unwrap();
        assert_eq!(samples(&unfinished), [1, 2, 3, 4, 0, 0, 0, 0, 5, 6], "what is missing is silence");
        assert!(!finished.exists());
        file.finish().unwrap();
        assert_eq!(samples(&finished), [1, 2, 3, 4, 0, 0, 0, 0, 5, 6]);
        assert!(!unfinished.exists());
        assert_eq!((mode(&finished), mode(finished.parent().unwrap())), (0o600, 0o700), "nobody else's business");
    }

    #[test]
    fn a_recording_does_not_overwrite_one_that_is_being_written() {
        let root = tempfile::tempdir().unwrap();
        let _file = RecordingFile::create(root.path(), NAME, 8_000).unwrap();
        assert_eq!(RecordingFile::create(root.path(), NAME, 8_000).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_the_format_cannot_count_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut file = RecordingFile::create(root.path(), NAME, 8_000).unwrap();
        let most = wav::frames_max(2);
        assert_eq!(file.append(most, &[[1, 1]]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(file.append(u64::MAX, &[[1, 1]]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        file.append(0, &[[7, 7]]).unwrap();
        file.finish().unwrap();
        assert_eq!(samples(&root.path().join(NAME)), [7, 7]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a stranger's file is put there")]
    fn what_was_left_unfinished_is_put_right_and_moved() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(repair(root.path()).unwrap(), [] as [&str; 0], "nothing was ever recorded");
        let mut file = RecordingFile::create(root.path(), NAME, 16_000).unwrap();
        file.append(0, &[[1, 2], [3, 4]]).unwrap();
        // Killed between the sound and its header, in the middle of a frame.
        file.file.write_all_at(&[9, 0, 9, 0, 8], wav::HEADER_LENGTH as u64 + 8).unwrap();
        drop(file);
        let foreign = root.path().join(UNFINISHED).join("2026-03-15/notes.txt");
        fs::write(&foreign, "not a recording").unwrap();
        assert_eq!(repair(root.path()).unwrap(), [NAME]);
        assert_eq!(samples(&root.path().join(NAME)), [1, 2, 3, 4, 9, 9]);
        assert!(foreign.exists());
        assert_eq!(repair(root.path()).unwrap(), [] as [&str; 0]);
    }
}
