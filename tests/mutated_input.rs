//! 100,000 mutated SIP messages: none may panic, leave a leg behind that nobody can end, or disturb a call in progress. And what
//! the fuzz targets of `fuzz/` have found so far.

#![expect(clippy::disallowed_methods, reason = "the corpora are files")]

mod fuzz;
mod peer;

use std::path::Path;
use std::time::Duration;

use contesta::ids::Ids;
use contesta::sip::{Action, Event, Rejection};
use peer::mutation::{corpus, mutate, within};
use peer::{Call, Line, OFFER, statuses};

const MUTATIONS: u32 = 100_000;
/// How often the call in progress and OPTIONS are tried: each try costs as much as a few mutations.
const PROBE_EVERY: u32 = 500;
/// How often a new call is made whose own messages are mutated.
const VICTIM_EVERY: u32 = 40;

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

/// Inputs that reach every part of the targets that libFuzzer has found a way to, and each that was a finding once.
#[test]
fn the_corpora_of_the_fuzz_targets_find_nothing() {
    let corpora = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"));
    for (target, run) in fuzz::TARGETS {
        let entries = std::fs::read_dir(corpora.join(target)).expect(target);
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 20, "{target}: {} inputs", files.len());
        for file in files {
            let input = std::fs::read(&file).unwrap();
            let result = std::panic::catch_unwind(|| run(&input));
            assert!(result.is_ok(), "{}", file.display());
        }
    }
}
