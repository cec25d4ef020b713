//! A call's path while the call lasts. It is most of what a long call keeps, so each text stands once: callers who go round a menu
//! pass the same few places and do the same few things there.

use super::record::PathEntry;

/// Lines in order. Grows with each, bounded by who adds them.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Each place and each thing that happened, one behind the other.
    text: String,
    lines: Vec<Line>,
}

/// A line of twenty bytes.
#[derive(Clone, Copy, Debug)]
struct Line {
    at_ms: u32,
    place: Part,
    what: Part,
}

/// Where a part of the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: u32,
    length: u32,
}

impl Path {
    /// Lines so far.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Adds a line; `at_ms` counts from the call's beginning, up to 49 days.
    pub(super) fn push(&mut self, at_ms: u64, place: &str, what: &str) {
        let (place, what) = (self.part(place), self.part(what));
        self.lines.push(Line { at_ms: u32::try_from(at_ms).unwrap_or(u32::MAX), place, what });
    }

    /// The lines as a record has them.
    pub(super) fn entries(&self) -> Vec<PathEntry> {
        let entry = |line: &Line| PathEntry {
            at_ms: line.at_ms.into(),
            place: self.of(line.place).to_owned(),
            what: self.of(line.what).to_owned(),
        };
        self.lines.iter().map(entry).collect()
    }

    /// Where this text stands already, or else from now on.
    fn part(&mut self, text: &str) -> Part {
        let known =
            self.lines.iter().rev().flat_map(|line| [line.place, line.what]).find(|&part| self.of(part) == text);
        known.unwrap_or_else(|| {
            let part = Part { start: short(self.text.len()), length: short(text.len()) };
            self.text.push_str(text);
            part
        })
    }

    fn of(&self, part: Part) -> &str {
        let start = part.start as usize;
        self.text.get(start..start + part.length as usize).unwrap_or_default()
    }
}

/// A length within the text; a path of four gigabytes cannot be, for its lines are bounded.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_and_each_text_is_kept_once() {
        let mut path = Path::default();
        let round = [("banco.teclas/principal", "enter"), ("banco.teclas/principal", "key 1 → «otro»"), ("sip", "")];
        for (at_ms, (place, what)) in (0..).zip(round.iter().cycle().take(300)) {
            path.push(at_ms, place, what);
        }
        let expected = |at_ms: u64| {
            let (place, what) = round[at_ms as usize % 3];
            PathEntry { at_ms, place: place.to_owned(), what: what.to_owned() }
        };
        assert_eq!(path.entries(), (0..300).map(expected).collect::<Vec<_>>());
        assert_eq!(path.text, "banco.teclas/principalenterkey 1 → «otro»sip");
        assert_eq!((path.len(), size_of::<Line>()), (300, 20));
    }
}
