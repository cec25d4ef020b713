//! 100,000 mutated SIP messages: none may panic, leave a leg behind that nobody can end, or disturb a call in progress.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "the fixtures are files, and they must be there")]

mod peer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use contesta::ids::Ids;
use contesta::sip::{Action, Event, Rejection};
use peer::{ANSWER, Call, Line, OFFER, response, statuses};

const MUTATIONS: u32 = 100_000;
/// How often the call in progress and OPTIONS are tried: each try costs as much as a few mutations.
const PROBE_EVERY: u32 = 500;
/// How often a new call is made whose own messages are mutated.
const VICTIM_EVERY: u32 = 40;

/// Every torture message, and valid messages of calls that do not exist.
fn corpus() -> Vec<Vec<u8>> {
    let torture = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture"));
    let mut files: Vec<PathBuf> = ["rfc4475", "rfc5118"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(torture.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dat"))
        .collect();
    files.sort();
    let mut corpus: Vec<_> = files.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut call = Call::new("corpus");
    call.headers = "Record-Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2;lr>\r\nUser-Agent: Phone\r\n".to_owned();
    corpus.push(call.invite().into_bytes());
    corpus
        .push(call.invite().replace("Via:", "v:").replace("From:", "f:").replace("Content-Length:", "l:").into_bytes());
    for method in ["ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "REGISTER"] {
        corpus.push(call.request(method, 1, "invite", "", "").into_bytes());
    }
    corpus.extend((0..40).map(|number| Call::new(&format!("new{number}")).invite().into_bytes()));
    corpus.push(response(call.invite().as_bytes(), 200, "x", "Contact: <sip:a@b>\r\n", ANSWER).into_bytes());
    corpus
}

/// Valid requests within the dialog of `victim`.
fn within(victim: &Call) -> Vec<Vec<u8>> {
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    let methods = ["INVITE", "ACK", "INFO", "UPDATE", "OPTIONS", "BYE"];
    let request = |(number, method): (u32, &str)| {
        victim.request(method, 2 + number, &format!("within{number}"), sdp, OFFER).into_bytes()
    };
    (0..30).zip(methods.into_iter().cycle()).map(request).collect()
}

/// One to four random wounds.
fn mutate(ids: &mut Ids, corpus: &[Vec<u8>], message: &mut Vec<u8>) {
    for _ in 0..=ids.below(4) {
        let at = |ids: &mut Ids, length: usize| usize::try_from(ids.below(length as u64 + 1)).unwrap();
        let position = at(ids, message.len());
        match ids.below(8) {
            0 => {
                if let Some(byte) = message.get_mut(position) {
                    *byte ^= 1 << ids.below(8);
                }
            }
            1 => message.truncate(position),
            // Bytes that mean something, or that surely do not belong.
            2 => {
                let marks = b"\0\r\n\t ;,:<>\"\\@%?=/[]*\xff\x80";
                let mark = marks[at(ids, marks.len() - 1)];
                message.splice(position..position, std::iter::repeat_n(mark, 1 + at(ids, 20)));
            }
            // The tail of another message.
            3 => {
                let other = &corpus[at(ids, corpus.len() - 1)];
                message.truncate(position);
                message.extend_from_slice(&other[at(ids, other.len())..]);
            }
            // A line twice, or moved.
            4 => {
                let lines: Vec<_> = message.split_inclusive(|&byte| byte == b'\n').collect();
                let (from, to) = (at(ids, lines.len()), at(ids, lines.len()));
                if let Some(line) = lines.get(from) {
                    let mut copied: Vec<_> = lines.clone();
                    copied.insert(to.min(copied.len()), line);
                    *message = copied.concat();
                }
            }
            // A line gone.
            5 => {
                let mut lines: Vec<_> = message.split_inclusive(|&byte| byte == b'\n').collect();
                let from = at(ids, lines.len());
                if from < lines.len() {
                    lines.remove(from);
                    *message = lines.concat();
                }
            }
            // A stretch gone.
            6 => {
                let end = (position + at(ids, 40)).min(message.len());
                message.drain(position..end);
            }
            // Digits grow.
            _ => {
                if let Some(digit) = message[position..].iter().position(u8::is_ascii_digit) {
                    let position = position + digit;
                    message.splice(position..position, b"99999999999".iter().copied().take(1 + at(ids, 10)));
                }
            }
        }
    }
}

#[test]
fn no_mutation_panics_or_disturbs_a_call() {
    let mut ids = Ids::from_seed(4_475);
    let mut line = Line::new();
    let corpus = corpus();
    let (mut dialog, mut established) = (Vec::new(), Vec::new());
    let mut call = Call::new("witness");
    let witness = line.established(&mut call);
    let mut cseq = 10;
    let (mut invited, mut reoffered, mut answered) = (0, 0, 0);
    for number in 0..MUTATIONS {
        // The victim's dialog is wounded for real, so there is a new one every now and then.
        if number % VICTIM_EVERY == 0 {
            let mut victim = Call::new(&format!("victim{number}"));
            established.push(line.established(&mut victim));
            dialog = within(&victim);
        }
        let source = if ids.below(4) == 0 { &dialog } else { &corpus };
        let mut message = source[usize::try_from(ids.below(source.len() as u64)).unwrap()].clone();
        mutate(&mut ids, &corpus, &mut message);
        let actions = line.receive(message);
        answered += statuses(&actions).len();
        for action in actions {
            match action {
                Action::Event(Event::Invited { leg, .. }) => {
                    invited += 1;
                    finish(&mut line, leg, ids.below(3));
                }
                Action::Event(Event::Reoffered { leg, .. }) => {
                    reoffered += 1;
                    let rejection = Rejection { status: 488, retry_after: None, warning: None };
                    line.ask(|agent, now, out| agent.reject(now, leg, &rejection, out));
                }
                Action::Send { .. } | Action::Event(_) => {}
            }
        }
        line.advance(Duration::from_millis(20));
        if number % PROBE_EVERY == 0 {
            assert!(line.is_alive(&number.to_string()), "OPTIONS after mutation {number}");
            for method in ["OPTIONS", "INFO"] {
                cseq += 1;
                let request = call.request(method, cseq, &format!("w{cseq}"), "", "");
                assert_eq!(statuses(&line.receive(request)), [200], "{method} after mutation {number}");
            }
        }
    }
    // The mutations must reach the inside, or this test proves nothing.
    let reached = invited > 1_000 && reoffered > 500 && answered > 20_000;
    assert!(reached, "{invited} calls, {reoffered} re-offers, {answered} answers");
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    line.receive(call.request("INVITE", cseq + 1, "last", sdp, OFFER));
    assert_eq!(statuses(&line.accept(witness)), [200]);
    line.receive(call.request("ACK", cseq + 1, "lastack", "", ""));
    assert_eq!(statuses(&line.receive(call.request("BYE", cseq + 2, "bye", "", ""))), [200]);
    for leg in established {
        line.ask(|agent, now, out| agent.hangup(now, leg, "", out));
    }
    line.advance(Duration::from_secs(200));
    assert_eq!((line.agent.dialogs(), line.agent.transactions(), line.agent.poll_timeout()), (0, 0, None));
    assert!(line.ends.len() > invited && line.ends.values().all(|&ends| ends == 1), "each leg ends exactly once");
}

/// Refuses, answers without ever getting an ACK, or hangs up.
fn finish(line: &mut Line, leg: contesta::ids::LegId, way: u64) {
    match way {
        0 => {
            let rejection = Rejection { status: 404, retry_after: None, warning: None };
            line.ask(|agent, now, out| agent.reject(now, leg, &rejection, out));
        }
        1 => {
            line.accept(leg);
        }
        _ => {
            line.accept(leg);
            line.ask(|agent, now, out| agent.hangup(now, leg, "over", out));
        }
    }
}
