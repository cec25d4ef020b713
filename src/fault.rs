//! What is wrong in a file that people write: where, why, and what was probably meant.
//!
//! Every reader of such a file (operators, flows, settings) collects [`Fault`]s and goes on, so that one look shows them all.
//! [`render`] draws one over its line, as compilers do; the same fields serve `--json`.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A file as read: its path as people know it, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as shown in faults (`flows/beneleit/hours.toml`).
    pub path: String,
    /// Its whole text; spans are byte offsets into it.
    pub text: String,
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is loaded while it stands.
    Error,
    /// It loads, but someone should look.
    Warning,
}

/// One thing that is wrong in one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// [`SourceFile::path`] of its file.
    pub file: String,
    /// Bytes of the text that are at fault; empty where something is missing.
    pub span: Range<usize>,
    /// Line of the span's start, from 1.
    pub line: usize,
    /// Column of the span's start in characters, from 1.
    pub column: usize,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead, as a sentence (`did you mean «hours»?`), if there is a guess.
    pub suggestion: Option<String>,
    /// Whether it stops the load.
    pub severity: Severity,
}

impl Fault {
    /// An error at `span` of `source`; a span beyond the text is moved to its end.
    #[must_use]
    pub fn error(source: &SourceFile, span: Range<usize>, message: impl Into<String>) -> Self {
        let span = within(&source.text, span);
        let (line, column) = position(&source.text, span.start);
        Self {
            file: source.path.clone(),
            span,
            line,
            column,
            message: without_passwords(&message.into()),
            suggestion: None,
            severity: Severity::Error,
        }
    }

    /// A warning at `span` of `source`.
    #[must_use]
    pub fn warning(source: &SourceFile, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(source, span, message) }
    }

    /// The same with a suggestion, a sentence of its own.
    #[must_use]
    pub fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }

    /// The same with «did you mean» when one of `candidates` is near to `word`.
    #[must_use]
    pub fn did_you_mean<'c>(self, word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Self {
        match did_you_mean(word, candidates) {
            Some(candidate) => self.suggest(format!("did you mean «{candidate}»?")),
            None => self,
        }
    }
}

/// True when one of the faults stops the load.
#[must_use]
pub fn any_error(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}

/// The candidate nearest to `word`, if it is near enough to be a slip of the pen. Of equally near ones the first counts.
#[must_use]
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    let (folded, mut best) = (word.to_lowercase(), None::<(usize, &str)>);
    for candidate in candidates {
        let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
        // A third of the longer word may differ: `tiemout`, `beneleit.prinicpal`; but `si` is not meant by `no`.
        let bearable = candidate.chars().count().max(word.chars().count()).div_ceil(3);
        if candidate != word && distance <= bearable && best.is_none_or(|(nearest, _)| distance < nearest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

/// The fault drawn over its line, without colour, without a newline at the end.
#[must_use]
pub fn render(fault: &Fault, source: &SourceFile) -> String {
    draw(fault, source, &Renderer::plain())
}

/// The same with terminal colours.
#[must_use]
pub fn render_coloured(fault: &Fault, source: &SourceFile) -> String {
    draw(fault, source, &Renderer::styled())
}

/// Faults one after another, each over the line of its file among `sources`, a blank line between them.
#[must_use]
pub fn render_all(faults: &[Fault], sources: &[SourceFile]) -> String {
    let one = |fault: &Fault| match sources.iter().find(|source| source.path == fault.file) {
        Some(source) => render(fault, source),
        None => render(fault, &SourceFile { path: fault.file.clone(), text: String::new() }),
    };
    faults.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

fn draw(fault: &Fault, source: &SourceFile, renderer: &Renderer) -> String {
    let level = match fault.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let span = within(&source.text, fault.span.clone());
    let text = masked(&source.text);
    let snippet = Snippet::source(text.as_str())
        .path(source.path.as_str())
        .annotation(AnnotationKind::Primary.span(first_line(&text, span)));
    let mut report: Vec<Group<'_>> = vec![level.primary_title(fault.message.as_str()).element(snippet)];
    if let Some(suggestion) = &fault.suggestion {
        report.push(Group::with_title(Level::HELP.secondary_title(suggestion.as_str())));
    }
    renderer.render(&report).trim_end().to_owned()
}

/// A star for each byte of a password that stands in a URI, `sip:user:password@host` or `postgres://user:password@host`, wherever the URI
/// does: the key in front of it may be misspelt beyond recognition.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let mut masked = text.to_owned();
    let schemes = ["://", "sip:", "sips:", "SIP:", "SIPS:"];
    for (at, scheme) in schemes.into_iter().flat_map(|scheme| text.match_indices(scheme)) {
        let before = text.get(..at).unwrap_or_default();
        let userinfo = text.get(at + scheme.len()..).unwrap_or_default();
        // In quotes it ends with them, whatever stands in it; elsewhere with the word.
        let word = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let end = match word.chars().next_back() {
            Some(quote @ ('"' | '\'' | '«')) => userinfo.find([if quote == '«' { '»' } else { quote }, '\n', '\r']),
            _ => userinfo.find(|c: char| c.is_whitespace() || "\"'»>".contains(c)),
        };
        let userinfo = userinfo.get(..end.unwrap_or(userinfo.len())).unwrap_or_default();
        let Some((userinfo, _)) = userinfo.rsplit_once('@') else { continue };
        let Some((user, password)) = userinfo.split_once(':') else { continue };
        let start = at + scheme.len() + user.len() + 1;
        masked.replace_range(start..start + password.len(), &"*".repeat(password.len()));
    }
    masked
}

/// The text with a star for each byte of a secret, so that no fault beside one prints it: those who start the engine and read its
/// log are not those who may know it.
fn masked(text: &str) -> String {
    let mut masked = without_passwords(text);
    for (at, _) in text.match_indices('=') {
        let (before, value) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        let before = before.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
        let key = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
        if !is_secret(key) {
            continue;
        }
        // The value, to its closing quote or the end of its line; one whose quotes were forgotten is a fault itself.
        let value = value.trim_start_matches([' ', '\t']);
        let inner = value.strip_prefix(['"', '\'']).unwrap_or(value);
        let end = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => inner.find([quote, '\n', '\r']),
            _ => inner.find(['\n', '\r', ',', '}', '#']),
        };
        let end = end.unwrap_or(inner.len());
        let start = text.len() - inner.len();
        masked.replace_range(start..start + end, &"*".repeat(end));
    }
    masked
}

/// Keys whose values are nobody's business, in whatever file.
const SECRETS: [&str; 3] = ["password", "ha1_md5", "ha1_sha256"];

/// Whether that is the key of a secret, misspelt perhaps: that is what most faults beside one are about.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    key.contains("pass") || SECRETS.iter().any(|secret| strsim::osa_distance(&key, secret) <= 2)
}

/// The part of a span on its first line: a fault about a whole table points at its head, not at a page.
fn first_line(text: &str, span: Range<usize>) -> Range<usize> {
    let line_end = text.get(span.clone()).and_then(|spanned| spanned.find('\n')).map(|newline| span.start + newline);
    span.start..line_end.unwrap_or(span.end)
}

fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |offset: usize| text.floor_char_boundary(offset.min(text.len()));
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// Line and column, both from 1, of a byte offset on a character boundary.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or("").chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours() -> SourceFile {
        SourceFile {
            path: "flows/beneleit/hours.toml".into(),
            text: "schema = 1\n\n[calendars.asesores]\n# «día»\nweekly = { món = [] }\n".into(),
        }
    }

    #[test]
    fn a_fault_knows_its_line_and_column_in_characters() {
        let source = hours();
        let start = source.text.find("món").unwrap();
        let fault = Fault::error(&source, start..start + 4, "unknown day «món»").did_you_mean("món", ["mon", "tue"]);
        assert_eq!((fault.line, fault.column), (5, 12));
        assert_eq!(fault.suggestion.as_deref(), Some("did you mean «mon»?"));
    }

    #[test]
    fn a_fault_is_drawn_over_its_line() {
        let source = hours();
        let start = source.text.find("món").unwrap();
        let fault = Fault::error(&source, start..start + 4, "unknown day «món»").did_you_mean("món", ["mon"]);
        insta::assert_snapshot!(render(&fault, &source));
    }

    #[test]
    fn no_fault_prints_a_secret_beside_it() {
        let text = "[agents]\nana = { nmae = 'Ana', password = \"corcel-ñandú-9\", ha1_md5='5ebe2294', x = 'seen' }\n";
        let source = SourceFile { path: "flows/beneleit/agents.toml".into(), text: text.into() };
        let start = text.find("nmae").unwrap();
        let drawn = render(&Fault::error(&source, start..start + 4, "unknown key «nmae»"), &source);
        assert!(drawn.contains("'Ana'") && drawn.contains("'seen'"), "{drawn}");
        assert!(!drawn.contains("corcel") && !drawn.contains("5ebe"), "{drawn}");
        assert_eq!(masked(text).len(), text.len());
        for slip in ["pasword", "Passwrod", "ha1-md5", "\"ha1_sha25\"", "passphrase"] {
            let shown = masked(&format!("[[trunks]]\n{slip} = 'corcel' # nuestra\n"));
            assert!(!shown.contains("corcel") && shown.contains("nuestra"), "{shown}");
        }
        assert_eq!(masked("{ password = corcel, x = 1 }\nb = 2"), "{ password = ******, x = 1 }\nb = 2");
        for plain in ["password", "password = ", "name = 'corcel'", "realm = \"corcel\"", "passwords are \"kept\""] {
            assert_eq!(masked(plain), plain);
        }
    }

    #[test]
    fn a_password_in_a_uri_is_hidden_whatever_its_key_and_wherever_it_is_told() {
        for (text, shown) in [
            ("ulr = \"postgres://user:pw@db/x\"", "ulr = \"postgres://user:**@db/x\""),
            ("x = 'postgres://u:p w:@q@db'", "x = 'postgres://u:******@db'"),
            (
                "g = ['sip:ana:corcel@h;transport=tcp', \"SIPS:b:c@h\"]",
                "g = ['sip:ana:******@h;transport=tcp', \"SIPS:b:*@h\"]",
            ),
            ("x = postgres://u:ñu@db # a:b@c", "x = postgres://u:***@db # a:b@c"),
            ("«sip:ana:corcel 7@h» is no IP address", "«sip:ana:********@h» is no IP address"),
            ("sip:ana@h, http://h:80/x, sip:h:5060, a:b@c", "sip:ana@h, http://h:80/x, sip:h:5060, a:b@c"),
            ("x = 'postgres://u:pw@db", "x = 'postgres://u:**@db"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(text).len(), text.len());
        }
        let source =
            SourceFile { path: "contesta.toml".into(), text: "[store]\nulr = 'postgres://u:corcel@db'\n".into() };
        let fault = Fault::error(&source, 8..11, "«sip:ana:corcel@h» is no IP address").did_you_mean("ulr", ["url"]);
        let drawn = render(&fault, &source);
        assert!(!drawn.contains("corcel") && drawn.contains("postgres://u:******@db"), "{drawn}");
        assert!(!fault.message.contains("corcel"));
    }

    #[test]
    fn a_span_beyond_the_text_is_moved_to_its_end() {
        let source = hours();
        let fault = Fault::warning(&source, 900..950, "something is missing");
        assert_eq!((fault.line, fault.column, fault.span), (6, 1, source.text.len()..source.text.len()));
        let empty = SourceFile { path: "empty.toml".into(), text: String::new() };
        assert!(render(&Fault::error(&empty, 0..7, "nothing here"), &empty).contains("nothing here"));
    }

    #[test]
    fn only_near_words_are_suggested() {
        let keys = ["timeout", "attempts", "no_input"];
        assert_eq!(did_you_mean("tiemout", keys).as_deref(), Some("timeout"));
        assert_eq!(did_you_mean("Attempts", keys).as_deref(), Some("attempts"));
        assert_eq!(did_you_mean("prompt", keys), None);
        assert_eq!(did_you_mean("no", ["si"]), None);
    }
}
