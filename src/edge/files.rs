//! Reads what people write: the folders of `flows/`.
#![expect(clippy::disallowed_methods, reason = "reading files is what this file is for")]

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail};

use crate::fault::{self, SourceFile};
use crate::operator::{self, Operator, Routes};

/// A file of an operator's folder is read up to this size; a larger one is no TOML that a person wrote.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const DATA_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The TOML files of one folder (`flows/beneleit`), not of folders below it, in the order of their names. Paths in faults begin
/// with `folder` as it was given.
///
/// # Errors
/// The folder or one of its files cannot be read, is too large, or is not UTF-8; the error names it.
pub fn read_operator_dir(folder: &Path) -> io::Result<Vec<SourceFile>> {
    let named = |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| named(folder, error))? {
        let path = entry.map_err(|error| named(folder, error))?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let length = fs::metadata(&path).map_err(|error| named(&path, error))?.len();
            if length > FILE_BYTES_MAX {
                return Err(named(&path, io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MB")));
            }
            let text = fs::read_to_string(&path).map_err(|error| named(&path, error))?;
            Ok(SourceFile { path: path.display().to_string(), text })
        })
        .collect()
}

/// The folders below `flows` that hold an `operator.toml`, in the order of their names.
///
/// # Errors
/// `flows` cannot be read.
pub fn operator_dirs(flows: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = fs::read_dir(flows)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", flows.display())))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("operator.toml").is_file())
        .collect();
    folders.sort();
    Ok(folders)
}

/// The TOML files of each operator below `flows`, which may be one operator's own folder.
///
/// # Errors
/// Nothing can be read, or no operator is there.
pub fn read_operators(flows: &Path) -> anyhow::Result<Vec<Vec<SourceFile>>> {
    let folders = if flows.join("operator.toml").is_file() {
        vec![flows.to_owned()]
    } else {
        operator_dirs(flows).context("cannot read the operators")?
    };
    if folders.is_empty() {
        bail!("no operator in {}: no folder in it has an operator.toml", flows.display());
    }
    Ok(folders.iter().map(|folder| read_operator_dir(folder)).collect::<Result<_, _>>()?)
}

/// All operators below `flows` and the numbers that lead to them.
///
/// # Errors
/// Those of [`read_operators`], or files have faults: then the error is their drawing.
pub fn load_operators(flows: &Path) -> anyhow::Result<(Vec<Operator>, Routes)> {
    let sources = read_operators(flows)?;
    operator::load_all(&sources).map_err(|faults| {
        anyhow::anyhow!(
            "{} fault(s) in {}\n\n{}",
            faults.len(),
            flows.display(),
            fault::render_all(&faults, &sources.concat())
        )
    })
}

/// The bytes of a file of data, up to 256 MB: a table that is larger wants a database, not a CSV file.
///
/// # Errors
/// There is no such file (`NotFound`), it is too large, or it cannot be read.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > DATA_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 MB"));
    }
    fs::read(path)
}

/// One operator of `operators` by its id.
///
/// # Errors
/// There is none of that id; the error names those that are.
pub fn find_operator<'a>(operators: &'a [Operator], id: &str) -> anyhow::Result<&'a Operator> {
    operators.iter().find(|operator| operator.id == id).with_context(|| {
        let known: Vec<&str> = operators.iter().map(|operator| operator.id.as_str()).collect();
        let near = fault::did_you_mean(id, known.iter().copied());
        let hint = near.map(|near| format!("; did you mean «{near}»?")).unwrap_or_default();
        format!("there is no operator «{id}»; there are {}{hint}", known.join(", "))
    })
}
