//! A call's SIP messages as a ladder: the far end on the left, we on the right, time downwards.

use serde_json::{Value as Json, json};

use crate::sip::ladder::{Direction, Rung, rungs};

/// Columns between the two sides.
const WIDTH: usize = 52;

/// The lines to print; none for a call without a ladder.
#[must_use]
pub fn lines(ladder: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut known = ("", "");
    for rung in rungs(ladder) {
        match rung {
            Rung::Message { after_us, direction, transport, far, what, cseq, note } => {
                if known != (transport, far) {
                    known = (transport, far);
                    let label = format!("{far} ({transport})");
                    let room = (WIDTH + 2).saturating_sub("contesta".len());
                    lines.push(format!("{:11} {label:room$} contesta", ""));
                }
                let text = label(what, cseq);
                let note = if note.is_empty() { String::new() } else { format!("  {note}") };
                lines.push(format!("{:>11} {}{note}", format!("+{}", seconds(after_us)), arrow(&text, direction)));
            }
            Rung::LeftOut(count) => lines.push(format!("{:11} │{:^WIDTH$}│", "", format!("{count} messages not kept"))),
        }
    }
    lines
}

/// `[{"at_ms": 0.25, "direction": "in", "transport": "UDP", "far": "192.0.2.20:5062", "what": "INVITE sip:…", "cseq": "1 INVITE",
/// "note": "audio …"}, {"left_out": 12}]`; `in` is from the far end to us.
#[must_use]
pub fn to_json(ladder: &str) -> Json {
    let rung = |rung: Rung<'_>| match rung {
        Rung::Message { after_us, direction, transport, far, what, cseq, note } => json!({
            "at_ms": after_us as f64 / 1_000.0,
            "direction": match direction { Direction::In => "in", Direction::Out => "out" },
            "transport": transport, "far": far, "what": what, "cseq": cseq, "note": note,
        }),
        Rung::LeftOut(count) => json!({ "left_out": count }),
    };
    rungs(ladder).map(rung).collect()
}

/// A response says what it answers: `200 OK (INVITE)`.
fn label(what: &str, cseq: &str) -> String {
    let method = cseq.split(' ').next_back().unwrap_or_default();
    let is_response = what.starts_with(|first: char| first.is_ascii_digit());
    if is_response && !method.is_empty() { format!("{what} ({method})") } else { what.to_owned() }
}

/// `│─ INVITE sip:a@b ───►│`.
fn arrow(text: &str, direction: Direction) -> String {
    let room = WIDTH - 6;
    let text = match text.char_indices().nth(room) {
        Some(_) => format!("{}…", text.chars().take(room - 1).collect::<String>()),
        None => text.to_owned(),
    };
    let dashes = "─".repeat(WIDTH - 4 - text.chars().count());
    match direction {
        Direction::In => format!("│─ {text} {dashes}►│"),
        Direction::Out => format!("│◄{dashes} {text} ─│"),
    }
}

/// `83.250012` for 83,250,012 µs, with three decimals: finer ones say more of us than of the network.
fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: &str = "0\t<UDP\t192.0.2.20:5062\tINVITE sip:*2363@192.0.2.10\t1 INVITE\taudio 192.0.2.20:4000 RTP/AVP PCMU\n\
        212\t>UDP\t=\t100 Trying\t1 INVITE\t\n3\n83250012\t<TCP\t[2001:db8::1]:5060\tBYE sip:1234567890123456789012345678901234567890@h\t2 BYE\tReason: Q.850;cause=16\n";

    #[test]
    fn a_ladder_reads_downwards() {
        let lines = lines(LADDER);
        assert_eq!(lines.len(), 6);
        let width = |line: &str| line.chars().position(|c| c == '│').zip(line.chars().rev().position(|c| c == '│'));
        assert_eq!(lines[0].chars().count(), 12 + WIDTH + 2 + 1, "{lines:#?}");
        assert!(lines[3].contains(" 3 messages not kept "), "{lines:#?}");
        let inner = |line: &str| line.split('│').nth(1).map(|inner| inner.chars().count());
        for line in [&lines[1], &lines[2], &lines[3], &lines[5]] {
            assert_eq!((inner(line), width(line).map(|(left, _)| left)), (Some(WIDTH), Some(12)), "{lines:#?}");
        }
        assert!(
            lines[1].starts_with("     +0.000 │─ INVITE sip:*2363@192.0.2.10 ─")
                && lines[1].ends_with("►│  audio 192.0.2.20:4000 RTP/AVP PCMU")
        );
        assert!(lines[2].starts_with("     +0.000 │◄─") && lines[2].ends_with("─ 100 Trying (INVITE) ─│"));
        assert!(lines[4].contains("[2001:db8::1]:5060 (TCP)"));
        assert!(lines[5].starts_with("    +83.250 │─ BYE sip:1234567890") && lines[5].contains("…"), "{lines:#?}");
        assert!(super::lines("").is_empty());
    }

    #[test]
    fn programs_are_shown_the_same() {
        let json = to_json(LADDER);
        assert_eq!(json[1]["what"], "100 Trying");
        assert_eq!((json[1]["far"].as_str(), json[1]["at_ms"].as_f64()), (Some("192.0.2.20:5062"), Some(0.212)));
        assert_eq!((json[1]["direction"].as_str(), json[2]["left_out"].as_u64()), (Some("out"), Some(3)));
    }
}
