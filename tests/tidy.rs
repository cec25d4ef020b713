//! The house rules that a compiler does not know: which module may import which, what files may be called, and that purity
//! is silenced only where the edge begins. ARCHITECTURE.md draws the same arrows.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "this test reads the sources")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom. Leaves (`ids`, `now`, `value`, …) have an empty row and are open to all.
const ARROWS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("now", &[]),
    ("value", &[]),
    ("fault", &[]),
    ("document", &["fault"]),
    ("duration_text", &[]),
    ("sip", &[]),
    ("sdp", &["audio", "rtp"]),
    ("rtp", &[]),
    ("audio", &[]),
    ("dtmf", &["rtp"]),
    ("media", &["rtp", "audio", "dtmf"]),
    ("speech", &[]),
    ("operator", &["speech"]),
    ("case", &[]),
    ("flow", &["speech", "dtmf", "operator", "case"]),
    ("call", &["flow", "sip", "sdp", "media", "rtp", "audio", "dtmf", "operator", "case"]),
    ("exchange", &["call", "flow", "sip", "media", "dtmf", "operator", "config", "sdp"]),
    ("config", &["operator", "audio", "sdp", "sip"]),
    ("store", &["case", "call", "flow", "operator", "media", "sip", "audio", "rtp"]),
    ("service", &["store", "notify", "case", "call", "flow", "operator"]),
    ("notify", &["store", "flow"]),
    (
        "edge",
        &[
            "exchange", "call", "flow", "sip", "sdp", "rtp", "audio", "dtmf", "media", "operator", "speech", "config",
            "service", "store", "case",
        ],
    ),
    (
        "cli",
        &[
            "edge", "exchange", "call", "flow", "speech", "operator", "config", "store", "service", "notify", "case",
            "audio", "media", "sip", "sdp", "rtp", "dtmf",
        ],
    ),
    ("main", &["cli"]),
];

/// Modules that everyone may import.
const LEAVES: &[&str] = &["ids", "now", "value", "fault", "document", "duration_text"];

/// Modules that may wait, read a clock or touch the system.
const EDGE: &[&str] = &["edge", "store", "service", "notify", "cli", "main"];

#[test]
fn imports_point_down_only() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let Some(targets) = allowed.get(module.as_str()) else {
            wrong.push(format!("{}: module «{module}» has no row in the table of arrows", path.display()));
            continue;
        };
        for (number, target) in crate_paths(&text) {
            let target = target.as_str();
            let fine = target == module || LEAVES.contains(&target) || targets.contains(&target);
            if !fine && allowed.contains_key(target) {
                wrong.push(format!("{}:{number}: {module} → {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_edge_waits_or_asks_the_system() {
    let mut wrong = Vec::new();
    let all = sources("src");
    let test_only = test_only(&all);
    for (path, text) in &all {
        if EDGE.contains(&module_of(path).as_str()) || test_only.contains(path) {
            continue;
        }
        for (number, line) in production(text) {
            let code = line.trim_start();
            let silenced = code.contains("clippy::disallowed_");
            let waits = code.contains(".await") || code.contains("async fn") || code.contains("unsafe ");
            if !code.starts_with("//") && (silenced || waits) {
                wrong.push(format!("{}:{number}: {code}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not pure:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_named_after_their_noun() {
    let vague = ["utils", "util", "helpers", "helper", "common", "manager", "misc", "types"];
    let wrong: Vec<_> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .map(|(path, _)| path)
        .filter(|path| path.file_stem().is_some_and(|stem| vague.contains(&stem.to_string_lossy().as_ref())))
        .collect();
    assert!(wrong.is_empty(), "files without a noun: {wrong:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let wrong: Vec<_> =
        sources("src").into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(wrong.is_empty(), "files that do not open with //!: {wrong:?}");
}

#[test]
fn rfcs_are_cited_in_one_form() {
    // As RFC 3261 §17.2.1, with its space and its paragraph sign.
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            let digits_glued = line.match_indices("RFC").any(|(at, _)| {
                line.get(at + 3..).and_then(|rest| rest.chars().next()).is_some_and(|next| next.is_ascii_digit())
            });
            if comment && (digits_glued || line.contains(" section 1") || line.contains("Section 1")) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "citations in another form:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later_or_skipped() {
    // Written in two halves, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["#[ig", "nore"], ["unimple", "mented!"], ["thread::", "sleep"]];
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")).chain(sources("benches")) {
        let may_sleep = path.starts_with("src/edge") || path.starts_with("benches");
        for (number, line) in text.lines().enumerate() {
            for [first, second] in words {
                let word = format!("{first}{second}");
                // The name of a forbidden method, in the list that forbids it, is no use of it.
                if line.contains(&word) && !(may_sleep && word.ends_with("sleep")) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "left for later, skipped or asleep:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_of_arrows_has_no_circle() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    fn visit<'a>(module: &'a str, allowed: &BTreeMap<&'a str, &'a [&'a str]>, way: &mut Vec<&'a str>) {
        assert!(!way.contains(&module), "a circle of imports: {way:?} → {module}");
        way.push(module);
        for target in allowed.get(module).copied().unwrap_or_default() {
            visit(target, allowed, way);
        }
        way.pop();
    }
    for (module, _) in ARROWS {
        visit(module, &allowed, &mut Vec::new());
    }
}

/// All Rust files below a folder of the package, with their text; paths are relative to the package.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(folder == "benches" || !files.is_empty(), "no sources below {folder}");
    files.sort();
    files
}

/// `src/sip/header/via.rs` → `sip`, `src/ids.rs` → `ids`.
fn module_of(path: &Path) -> String {
    let below_src = path.strip_prefix("src").unwrap();
    let first = below_src.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.strip_suffix(".rs").map_or(first.clone(), str::to_owned)
}

/// The modules that a file names as `crate::module` or in `crate::{module, other::Name}`, with the lines they stand in.
fn crate_paths(text: &str) -> Vec<(usize, String)> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).flat_map(|line| [line, "\n"]).collect();
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let line = code[..at].matches('\n').count() + 1;
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads(group).into_iter().map(|module| (line, module))),
            None => found.push((line, head(rest))),
        }
    }
    found.retain(|(_, module)| !module.is_empty());
    found
}

/// The first name of a path.
fn head(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first names of the paths in a group of imports, up to the brace that closes it; groups within are parts of a path.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(head(&group[from..at]));
                from = at + 1;
            }
            _ => {}
        }
        if c == '}' && from == at + 1 {
            break;
        }
    }
    found
}

#[test]
fn imports_are_read_in_every_form() {
    let text = "use crate::flow;\nuse crate::{\n    call::{self, Call}, // crate::cli\n    edge,\n};\nlet x = crate::ids::Ids;";
    let read: Vec<_> = crate_paths(text);
    let read: Vec<_> = read.iter().map(|(line, module)| (*line, module.as_str())).collect();
    assert_eq!(read, [(1, "flow"), (2, "call"), (2, "edge"), (6, "ids")]);
}

#[test]
fn tests_are_skipped_and_what_follows_them_is_read() {
    let text = "a\n#[cfg(test)]\nmod bench;\nb\n    #[cfg(test)]\n    fn x() {\n        y\n    }\nc\n#[cfg(test)]\nmod tests {\n    z\n}";
    let read: Vec<_> = production(text);
    assert_eq!(read, [(1, "a"), (4, "b"), (9, "c")]);
}

/// Files that their parent declares below `#[cfg(test)]`.
fn test_only(all: &[(PathBuf, String)]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (path, text) in all {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.trim() == "#[cfg(test)]"
                && let Some(name) = lines.next().and_then(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';'))
            {
                found.push(path.with_file_name(format!("{name}.rs")));
            }
        }
    }
    found
}

/// The numbered lines of a file without the items behind `#[cfg(test)]`: a line that ends in `;` or opens a block that ends at
/// a brace of the same indentation, as rustfmt writes it.
fn production(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..).map(|(line, number)| (number, line));
    while let Some((number, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            found.push((number, line));
            continue;
        }
        let indentation = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indentation));
        for (_, line) in lines.by_ref() {
            let whole = line.len() - line.trim_start().len() == indentation && line.ends_with([';', '}']);
            if whole || line == closing {
                break;
            }
        }
    }
    found
}
