//! The two operators as they ship: their folders, read the way the program reads them.

use std::fs;
use std::path::Path;

use contesta::fault::SourceFile;
use contesta::operator::{self, Operator};

/// Folders of `flows/` that hold an operator.
pub const OPERATORS: [&str; 2] = ["beneleit", "bluepoint"];

/// The TOML files of one operator's folder, by name.
pub fn files(operator: &str) -> Vec<SourceFile> {
    let folder = Path::new("flows").join(operator);
    let mut files: Vec<SourceFile> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| SourceFile { text: fs::read_to_string(&path).unwrap(), path: path.display().to_string() })
        .collect();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

/// One operator's declared world.
pub fn operator(id: &str) -> Operator {
    operator::load::load(&files(id)).unwrap()
}
