//! The spool: what could not be written to the database, kept on disk until it can.
//!
//! One file, `spool` in the data directory, only ever appended to and emptied. A record is a line: eight hexadecimal
//! digits of CRC-32, a space, one JSON object. [`append`](Spool::append) returns when the lines are on the disk (`fsync`);
//! a line that a crash cut short has no valid sum and is dropped, for nobody was told that it was kept. The file is locked,
//! so that two engines never share it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use crc::{CRC_32_ISO_HDLC, Crc};
use tracing::{error, warn};

use crate::store::entry::Entry;

/// The open spool of this data directory.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    file: File,
    length: u64,
}

impl Spool {
    /// Opens and locks the spool of `folder` (made when missing), and reads what an earlier run left in it, in order.
    ///
    /// # Errors
    /// Another engine has it, or the file system refuses.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<(Self, Vec<Entry>)> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open the spool {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("another contesta is running on {}: give this one another --data", folder.display())
            }
            Err(TryLockError::Error(fault)) => {
                return Err(fault).with_context(|| format!("cannot lock the spool {}", path.display()));
            }
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context("cannot read the spool")?;
        let read = parse(&bytes);
        let mut spool = Self { folder: folder.to_owned(), file, length: u64::try_from(bytes.len())? };
        if read.damaged > 0 {
            spool.keep_damaged(&bytes, read.damaged)?;
        }
        if read.torn {
            warn!("the spool ends in a line that was cut short; nobody was told it was kept, so it is dropped");
            spool.cut(read.whole)?;
        }
        sync_folder(folder)?;
        Ok((spool, read.entries))
    }

    /// What lies in the spool of `folder`, read by another process than its owner: for commands that look things up.
    pub(crate) fn peek(folder: &Path) -> Vec<Entry> {
        let mut bytes = Vec::new();
        match File::open(folder.join(FILE_NAME)).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => parse(&bytes).entries,
            Err(_) => Vec::new(),
        }
    }

    /// Appends entries; all of them are on the disk when this returns, or none is.
    pub(crate) fn append<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            let json = entry.to_json().to_string();
            writeln!(lines, "{:08x} {json}", CRC.checksum(json.as_bytes()))?;
        }
        let grown = self.length + u64::try_from(lines.len())?;
        anyhow::ensure!(grown <= BYTES_MAX, "the spool is full: {BYTES_MAX} bytes wait for the database");
        let written = (|| {
            self.file.seek(SeekFrom::Start(self.length))?;
            self.file.write_all(&lines)?;
            self.file.sync_data()
        })();
        if let Err(fault) = written {
            // Half a batch must not stay: its callers are told that it was not kept.
            self.cut(self.length)?;
            return Err(fault).context("cannot write the spool");
        }
        self.length = grown;
        Ok(())
    }

    /// Empties the spool, once all of it is in the database.
    pub(crate) fn clear(&mut self) -> anyhow::Result<()> {
        self.cut(0)
    }

    /// Puts an entry that the database will never take where people find it.
    pub(crate) fn reject(&mut self, entry: &Entry, why: &str) -> anyhow::Result<()> {
        error!(cause = why, "a spooled write was refused; it is in {REJECTED_NAME} of the data directory");
        let mut file = OpenOptions::new().append(true).create(true).open(self.folder.join(REJECTED_NAME))?;
        let mut line = entry.to_json();
        if let Some(members) = line.as_object_mut() {
            members.insert("refused".into(), why.into());
        }
        writeln!(file, "{line}")?;
        file.sync_all().context("cannot keep a refused write")
    }

    fn cut(&mut self, length: u64) -> anyhow::Result<()> {
        self.file.set_len(length).and_then(|()| self.file.sync_data()).context("cannot shorten the spool")?;
        self.length = length;
        Ok(())
    }

    /// Lines in the middle are damaged: a disk fault, not a crash. The whole file is set aside for people.
    fn keep_damaged(&self, bytes: &[u8], lines: usize) -> anyhow::Result<()> {
        error!("{lines} lines of the spool are damaged; the sound ones are used, a copy of all is in {DAMAGED_NAME}");
        let mut copy = File::create(self.folder.join(DAMAGED_NAME))?;
        copy.write_all(bytes)?;
        copy.sync_all().context("cannot set the damaged spool aside")
    }
}

struct Parsed {
    entries: Vec<Entry>,
    /// Bytes up to the end of the last whole line.
    whole: u64,
    /// The last line was cut short.
    torn: bool,
    /// Unsound lines before the last.
    damaged: usize,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed { entries: Vec::new(), whole: 0, torn: false, damaged: 0 };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    let mut at = 0u64;
    while let Some(line) = lines.next() {
        at += line.len() as u64;
        match parse_line(line) {
            Some(entry) => {
                parsed.entries.push(entry);
                parsed.whole = at;
            }
            None if lines.peek().is_none() => parsed.torn = true,
            None => parsed.damaged += 1,
        }
    }
    parsed
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (sum, json) = line.split_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != CRC.checksum(json.as_bytes()) {
        return None;
    }
    Entry::from_json(&serde_json::from_str(json).ok()?).ok()
}

/// A new file's name is on the disk only when its folder is.
fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).context("cannot sync the data directory")
}

const FILE_NAME: &str = "spool";
const REJECTED_NAME: &str = "spool.refused";
const DAMAGED_NAME: &str = "spool.damaged";
/// A day's calls of a large operator; beyond it the disk is needed for other things.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::flow::action::Message;
    use crate::ids::CallKey;
    use crate::store::entry::Write;

    fn entry(name: &str) -> Entry {
        let message = Message {
            operator: "beneleit".into(),
            channel: "sms".into(),
            to: "2221234567".into(),
            template: "folio".into(),
            text: "Su folio es\n2…".into(),
            folio: None,
            call: CallKey("c1".into()),
            idempotency: name.into(),
        };
        Entry { id: name.into(), at: Timestamp::from_millisecond(1).unwrap(), write: Write::Enqueue(message) }
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn nobody_else_may_look_into_its_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("var/data");
        drop(Spool::open(&data).unwrap());
        for made in [data.as_path(), data.parent().unwrap()] {
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
        }
    }

    #[test]
    fn keeps_the_order_over_restarts_until_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, found) = Spool::open(folder.path()).unwrap();
        assert_eq!(names(&found), [""; 0]);
        spool.append(&[entry("a"), entry("b")]).unwrap();
        spool.append(&[entry("c")]).unwrap();
        drop(spool);
        let (mut spool, found) = Spool::open(folder.path()).unwrap();
        assert_eq!(names(&found), ["a", "b", "c"]);
        assert_eq!(names(&Spool::peek(folder.path())), ["a", "b", "c"]);
        spool.clear().unwrap();
        drop(spool);
        assert_eq!(names(&Spool::open(folder.path()).unwrap().1), [""; 0]);
    }

    /// Cut at every byte: whole lines survive, the torn one is gone, and the next append starts on a clean line.
    #[test]
    fn a_line_cut_short_anywhere_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path()).unwrap();
        spool.append(&[entry("a")]).unwrap();
        let first = spool.length;
        spool.append(&[entry("b")]).unwrap();
        let whole = spool.length;
        drop(spool);
        let path = folder.path().join(FILE_NAME);
        let bytes = std::fs::read(&path).unwrap();
        for length in first..whole {
            std::fs::write(&path, &bytes[..usize::try_from(length).unwrap()]).unwrap();
            let (mut spool, found) = Spool::open(folder.path()).unwrap();
            assert_eq!(names(&found), ["a"], "cut at {length}");
            spool.append(&[entry("c")]).unwrap();
            drop(spool);
            assert_eq!(names(&Spool::peek(folder.path())), ["a", "c"], "cut at {length}");
        }
    }

    #[test]
    fn a_damaged_line_in_the_middle_costs_itself_only_and_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path()).unwrap();
        spool.append(&[entry("a"), entry("b"), entry("c")]).unwrap();
        drop(spool);
        let path = folder.path().join(FILE_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (_spool, found) = Spool::open(folder.path()).unwrap();
        assert_eq!(names(&found), ["a", "c"]);
        assert_eq!(std::fs::read(folder.path().join(DAMAGED_NAME)).unwrap(), bytes);
    }

    /// The bound of the file: what does not fit is refused whole, and what is there stays.
    #[test]
    fn a_full_spool_refuses_and_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(folder.path()).unwrap();
        spool.append(&[entry("a")]).unwrap();
        let length = std::mem::replace(&mut spool.length, BYTES_MAX - 1);
        let full = spool.append(&[entry("b")]).unwrap_err().to_string();
        assert_eq!(full, "the spool is full: 268435456 bytes wait for the database");
        spool.length = length;
        drop(spool);
        assert_eq!(names(&Spool::peek(folder.path())), ["a"]);
    }

    #[test]
    fn belongs_to_one_engine_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Spool::open(folder.path()).unwrap();
        let refused = Spool::open(folder.path()).unwrap_err().to_string();
        assert!(refused.starts_with("another contesta is running on "), "{refused}");
        drop(first);
        assert!(Spool::open(folder.path()).is_ok());
    }
}
