//! The key of the secrets in imported tables: a file beside the database, never in it.
#![expect(clippy::disallowed_methods, reason = "reading and making the file is what this file is for")]

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use crate::edge::entropy;
use crate::service::secret::{KEY_BYTES, SecretKey, hex, unhex};

/// The key in this file, which is made when it is not there: 64 hexadecimal digits that only its owner may read. Of two
/// programs that make it at once both get the same.
///
/// # Errors
/// The file cannot be read or made, or holds something else.
pub fn read_or_make(path: &Path) -> anyhow::Result<SecretKey> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| format!("{} holds no key: 64 hexadecimal digits", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path),
        Err(error) => Err(error).with_context(|| format!("cannot read the key of the secrets, {}", path.display())),
    }
}

fn parse(text: &str) -> anyhow::Result<SecretKey> {
    let bytes: Option<[u8; KEY_BYTES]> = unhex(text.trim()).and_then(|bytes| bytes.try_into().ok());
    bytes.map(SecretKey::new).context("it has another form")
}

fn make(path: &Path) -> anyhow::Result<SecretKey> {
    let failed = || format!("cannot make the key of the secrets, {}", path.display());
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    let mut ids = entropy::ids()?;
    ids.fill(bytes.as_mut());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
    }
    // Written beside and linked: nobody reads half a key, and whoever comes second takes the first one's.
    let beside = path.with_extension(format!("{}.part", ids.token(8)));
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{}\n", hex(bytes.as_ref())).as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&beside, path)
    }();
    let _ = fs::remove_file(&beside);
    match written {
        Ok(()) => Ok(SecretKey::new(*bytes)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::read_to_string(path) {
            Ok(text) => parse(&text).with_context(failed),
            Err(error) => bail!("{}: {error}", failed()),
        },
        Err(error) => Err(error).with_context(failed),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::service::secret::SecretPlace;

    #[test]
    fn the_key_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/secrets.key");
        let place = SecretPlace { operator: "o", table: "t", row: "r", column: "c" };
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || read_or_make(&path).unwrap().seal(place, "4821"))
            })
            .collect();
        let sealed: Vec<String> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(sealed.iter().all(|one| *one == sealed[0]), "{sealed:?}");
        assert_eq!(read_or_make(&path).unwrap().seal(place, "4821"), sealed[0]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");

        fs::write(&path, "4821\n").unwrap();
        let why = read_or_make(&path).unwrap_err().to_string();
        assert!(why.ends_with("secrets.key holds no key: 64 hexadecimal digits"), "{why}");
    }
}
