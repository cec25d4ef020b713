//! A call's messages in its record: who said what and when, and why it failed; neither keys nor credentials.

use std::net::SocketAddr;

use contesta::sip::Peer;
use contesta::sip::ladder::{Direction, Rung, rungs};

use super::*;

/// `< INVITE sip:…  note`, a line a message.
fn told_by(record: &CallRecord) -> Vec<String> {
    let line = |rung: Rung<'_>| match rung {
        Rung::Message { direction, what, note, .. } => {
            let way = if direction == Direction::In { '<' } else { '>' };
            format!("{way} {what} {note}").trim_end().to_owned()
        }
        Rung::LeftOut(count) => format!("{count} left out"),
    };
    rungs(&record.ladder).map(line).collect()
}

#[test]
fn a_call_tells_its_messages_in_order_with_what_they_describe() {
    let mut sim = Sim::new();
    let phone = sim.talk("plain", "*2363");
    sim.reinvite(phone, "sendonly");
    sim.advance(SECOND);
    sim.bye(phone);
    sim.assert_idle();
    let lines = told_by(sim.record());
    let starts: Vec<&str> = lines.iter().map(|line| line.split(' ').take(2).last().unwrap()).collect();
    assert_eq!(starts, ["INVITE", "100", "200", "ACK", "INVITE", "100", "200", "ACK", "BYE", "200"], "{lines:#?}");
    let (ours, theirs) = ("audio 192.0.2.10:10000 RTP/AVP PCMU telephone-event", sim.phones[phone].rtp);
    assert!(
        lines[0].starts_with("< INVITE sip:*2363@") && lines[0].contains(&format!("audio {theirs} RTP/AVP PCMU")),
        "{lines:#?}"
    );
    assert_eq!((lines[1].as_str(), lines[2].as_str()), ("> 100 Trying", format!("> 200 OK {ours}").as_str()));
    assert!(lines[4].ends_with(" sendonly") && lines[6].ends_with(" recvonly"), "{lines:#?}");
    let first = rungs(&sim.record().ladder).next();
    let sip = sim.phones[phone].sip.to_string();
    assert!(matches!(first, Some(Rung::Message { after_us: 0, transport: "UDP", far, .. }) if far == sip), "{first:?}");
}

/// Keys that come as INFO may be a secret: the path shows them where they are none, the ladder never does. Nor does it show keys of SRTP
/// or credentials.
#[test]
fn no_key_and_no_credential_is_in_it() {
    let mut sim = Sim::new();
    let phone = sim.phone("secretive");
    sim.invite(phone, "*2363");
    sim.until("answered", MINUTE, |sim| sim.phones[phone].talk.is_some());
    sim.listen(phone);
    sim.info(phone, '2');
    sim.until_heard(phone, "menu_informacion");
    let proof = "Authorization: Digest username=\"ana\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"c0ffee\"\r\n\
        Refer-To: <sip:ana:geheim@192.0.2.9>\r\n";
    sim.ask(phone, "OPTIONS", proof, "");
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(keys_taken(sim.record()), "2");
    let ladder = &sim.record().ladder;
    assert!(ladder.contains("INFO sip:") && ladder.contains("application/dtmf-relay"), "{ladder}");
    assert!(ladder.contains("Refer-To: <sip:ana:******@192.0.2.9>"), "{ladder}");
    for secret in ["Signal", "c0ffee", "geheim", "Authorization"] {
        assert!(!ladder.contains(secret), "{secret} in {ladder}");
    }
}

#[test]
fn a_refused_call_says_why_in_a_line() {
    let mut sim = Sim::new();
    let phone = sim.phone("g729");
    sim.phones[phone].formats = "18 101";
    sim.invite(phone, "*2363");
    sim.assert_idle();
    assert_eq!(sim.record().cause, "488: no codec in common: G729 was offered (SDP m=audio)");
    let lines = told_by(sim.record());
    assert!(lines[0].ends_with("RTP/AVP G729 telephone-event"), "{lines:#?}");
    let warning = "> 488 Not Acceptable Here Warning: 399 192.0.2.10:5060 \"no codec in common: G729 was offered";
    assert!(lines.last().unwrap().starts_with(warning), "{lines:#?}");
}

/// What is sent again stands there as often as it was sent, at its moments; a call that lasts keeps its first messages and its last.
#[test]
fn repetitions_are_told_and_the_ladder_stays_bounded() {
    let mut sim = Sim::new();
    let phone = sim.phone("deaf");
    sim.phones[phone].acks = false;
    sim.invite(phone, "*2363");
    sim.advance(2 * MINUTE);
    sim.assert_idle();
    let sent: Vec<u64> = rungs(&sim.record().ladder)
        .filter_map(|rung| match rung {
            Rung::Message { after_us, what: "200 OK", cseq: "1 INVITE", .. } => Some(after_us / 1_000),
            Rung::Message { .. } | Rung::LeftOut(_) => None,
        })
        .collect();
    let steps: Vec<u64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps, [500, 1_000, 2_000, 4_000, 4_000, 4_000, 4_000, 4_000, 4_000, 4_000]);

    let mut sim = Sim::new();
    let phone = sim.talk("talkative", "*2363");
    for _ in 0..300 {
        sim.ask(phone, "OPTIONS", "", "");
        sim.advance(ms(20));
    }
    sim.bye(phone);
    sim.assert_idle();
    let lines = told_by(sim.record());
    assert_eq!(lines.len(), 129, "{lines:#?}");
    assert!(lines[0].starts_with("< INVITE") && lines[64].ends_with(" left out"), "{lines:#?}");
    assert_eq!(lines[128], "> 200 OK");
}

/// Each call has its own messages, and a stranger who knows a Call-ID adds nothing to them.
#[test]
fn calls_keep_their_messages_apart() {
    let mut sim = Sim::new();
    let [one, other] = ["one", "other"].map(|name| sim.talk(name, "*2363"));
    let stranger = SocketAddr::from(([203, 0, 113, 66], 5060));
    let forged = sim.phones[one].request("BYE", 77, "forged", "", "").replace("tag=", "tag=x");
    sim.tell(Input::Message { source: Peer::udp(stranger), bytes: forged.into() });
    sim.bye(one);
    sim.advance(SECOND);
    sim.bye(other);
    sim.assert_idle();
    let [first, second] = &sim.records[..] else { panic!("{:#?}", sim.records) };
    let byes = |record: &CallRecord| told_by(record).iter().filter(|line| line.starts_with("< BYE")).count();
    assert_eq!((byes(first), byes(second)), (1, 1), "{}", first.ladder);
    assert!(![first, second].iter().any(|record| record.ladder.contains("203.0.113.66")));
}

/// Whoever knows a Call-ID and no more is no part of the call: neither a stranger that the guard refuses, nor where everybody may call, nor
/// with a second call of the same Call-ID.
#[test]
fn who_knows_a_call_id_writes_nothing_into_its_ladder() {
    let listed = vec![Trunk::named("phones", vec!["198.18.0.0/16".parse().unwrap()])];
    for config in [Config::default(), Config { trunks: listed, ..Config::default() }] {
        let mut sim = Sim::with(Setup { config, ..Setup::default() });
        let phone = sim.talk("known", "*2363");
        let stranger = "203.0.113.66:5060".parse().unwrap();
        let call_id = "known";
        for (number, start) in
            ["INVITE sip:*2363@x", "OPTIONS sip:*2363@x", "BYE sip:*2363@x", "SIP/2.0 200 OK"].iter().enumerate()
        {
            let method = start.split(' ').next().filter(|word| !word.starts_with("SIP")).unwrap_or("BYE");
            let line = if start.starts_with("SIP") { (*start).to_owned() } else { format!("{start} SIP/2.0") };
            let text = format!(
                "{line}\r\nVia: SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKs{number}\r\nFrom: <sip:x@y>;tag=s\r\nTo: <sip:*2363@x>;tag=t\r\n\
                 Call-ID: {call_id}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:x@203.0.113.66>\r\nContent-Length: 0\r\n\r\n"
            );
            sim.send_from(stranger, text.clone());
            sim.send_from(stranger, text.replace(";tag=t", "").replace("z9hG4bKs", "z9hG4bKu"));
            sim.advance(SECOND);
        }
        sim.bye(phone);
        sim.advance(40 * SECOND);
        let record = sim.records.iter().find(|record| record.caller != "x").unwrap();
        let lines = told_by(record);
        let starts: Vec<&str> = lines.iter().map(|line| line.split(' ').take(2).last().unwrap()).collect();
        assert_eq!(starts, ["INVITE", "100", "200", "ACK", "BYE", "200"], "{lines:#?}");
    }
}
