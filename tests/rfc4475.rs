//! The torture messages of RFC 4475 and RFC 5118: one row a message, with what may come back and what does.
//!
//! An INVITE that reaches the exchange is refused with 404 here, which stands for "handled". After each message the user
//! agent must still answer OPTIONS.

#![expect(clippy::disallowed_methods, reason = "the fixtures are files")]

#[path = "rfc4475/differential.rs"]
mod differential;
mod peer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use contesta::config::Config;
use contesta::exchange::accounts;
use contesta::ids::Ids;
use contesta::sip::digest::{Algorithm, Ha1};
use contesta::sip::registrar::{Account, Accounts, Offers, Registrar};
use contesta::sip::user_agent::Settings;
use contesta::sip::{Action, Event, Rejection, UserAgent};
use peer::{Line, sent, status};

/// What RFC 4475 says of a message, for an endpoint that challenges who registers, and nobody else.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// Well formed: never dropped, never 400, never 5xx but 501.
    Accept,
    /// To be refused.
    Reject,
    /// Either way, as long as nothing breaks.
    Either,
    /// To be dropped silently.
    Drop,
}
use Class::{Accept, Drop, Either, Reject};

/// (file, class, statuses that are right, what we answer: 0 for silence)
const MESSAGES: &[(&str, Class, &[u16], u16)] = &[
    ("rfc4475/wsinv", Accept, &[404, 481], 481),
    ("rfc4475/intmeth", Accept, &[501], 501),
    ("rfc4475/esc01", Accept, &[404], 404),
    ("rfc4475/escnull", Accept, &[200, 401], 401),
    ("rfc4475/esc02", Accept, &[501], 501),
    ("rfc4475/lwsdisp", Accept, &[200, 404], 200),
    ("rfc4475/longreq", Accept, &[404], 404),
    ("rfc4475/dblreq", Accept, &[200, 401], 401),
    ("rfc4475/semiuri", Accept, &[200, 404], 200),
    ("rfc4475/transports", Accept, &[200, 404], 200),
    ("rfc4475/mpart01", Accept, &[200, 404, 405, 415, 501], 405),
    ("rfc4475/unreason", Accept, &[0], 0),
    ("rfc4475/noreason", Accept, &[0], 0),
    ("rfc4475/badinv01", Reject, &[400], 400),
    ("rfc4475/clerr", Reject, &[400], 400),
    ("rfc4475/ncl", Reject, &[400], 400),
    ("rfc4475/scalar02", Reject, &[400], 400),
    ("rfc4475/scalarlg", Drop, &[0], 0),
    ("rfc4475/quotbal", Reject, &[400], 400),
    ("rfc4475/ltgtruri", Either, &[400, 404], 400),
    ("rfc4475/lwsruri", Reject, &[400], 400),
    ("rfc4475/lwsstart", Either, &[400, 404], 400),
    ("rfc4475/trws", Either, &[400, 200], 400),
    ("rfc4475/escruri", Either, &[400, 404], 404),
    ("rfc4475/baddate", Either, &[400, 404], 404),
    ("rfc4475/regbadct", Either, &[400, 401], 401),
    ("rfc4475/badaspec", Either, &[400, 200], 400),
    ("rfc4475/baddn", Either, &[400, 200], 400),
    ("rfc4475/badvers", Reject, &[505], 505),
    ("rfc4475/mismatch01", Reject, &[400], 400),
    ("rfc4475/mismatch02", Reject, &[501, 400], 501),
    ("rfc4475/bigcode", Drop, &[0], 0),
    ("rfc4475/badbranch", Either, &[400, 200], 200),
    ("rfc4475/insuf", Reject, &[400, 0], 400),
    ("rfc4475/unkscm", Reject, &[416], 416),
    ("rfc4475/novelsc", Reject, &[416, 404], 416),
    ("rfc4475/unksm2", Reject, &[400, 401], 401),
    ("rfc4475/bext01", Reject, &[420], 420),
    ("rfc4475/invut", Reject, &[415], 415),
    ("rfc4475/regaut01", Accept, &[401], 401),
    ("rfc4475/multi01", Reject, &[400], 400),
    ("rfc4475/mcl01", Reject, &[400], 400),
    ("rfc4475/bcast", Drop, &[0], 0),
    ("rfc4475/zeromf", Accept, &[200, 404], 200),
    ("rfc4475/cparam01", Accept, &[200, 401], 401),
    ("rfc4475/cparam02", Accept, &[200, 401], 401),
    ("rfc4475/regescrt", Accept, &[200, 401], 401),
    ("rfc4475/sdp01", Reject, &[406, 400], 406),
    ("rfc4475/inv2543", Either, &[400, 404], 400),
    // In the RFC's archive, but in none of its sections: the first line has no version, so it is not SIP.
    ("rfc4475/test", Either, &[400, 0], 0),
    ("rfc5118/ipv6-good", Accept, &[200, 401], 401),
    ("rfc5118/ipv6-bad", Reject, &[400], 400),
    ("rfc5118/port-ambiguous", Accept, &[200, 404, 401], 401),
    ("rfc5118/port-unambiguous", Accept, &[200, 404, 401], 401),
    ("rfc5118/via-received-param-with-delim", Accept, &[481], 481),
    ("rfc5118/via-received-param-no-delim", Accept, &[200, 404], 200),
    // Their Content-Length does not fit the body, as printed in the RFC: one is longer (a second clerr), in the others the
    // rest of the datagram is ignored. The mended copies follow.
    ("rfc5118/ipv6-in-sdp", Reject, &[400], 400),
    ("rfc5118/mult-ip-in-sdp", Accept, &[404], 404),
    ("rfc5118/ipv4-mapped-ipv6", Accept, &[404], 404),
    ("rfc5118/content-length-fixed/ipv6-in-sdp", Accept, &[404], 404),
    ("rfc5118/content-length-fixed/mult-ip-in-sdp", Accept, &[404], 404),
    ("rfc5118/content-length-fixed/ipv4-mapped-ipv6", Accept, &[404], 404),
    ("rfc5118/mult-ip-in-header", Accept, &[481], 481),
    ("rfc5118/ipv6-bug-abnf-3-colons", Accept, &[200, 404], 200),
    ("rfc5118/ipv6-correct-abnf-2-colons", Accept, &[200, 404], 200),
];

/// What the RFC names for a message (0: silence); where it leaves the choice, to refuse it or to pass over what is wrong, which is 404 or 200
/// here. One that is not listed is to be handled like any other: whatever a well-formed message of its kind gets here, down to 401 for a
/// REGISTER, 404 for a user and 405 or 501 for a method.
const ASKED: &[(&str, &[u16])] = &[
    ("rfc4475/badinv01", &[400]),
    ("rfc4475/clerr", &[400]),
    ("rfc4475/ncl", &[400]),
    ("rfc4475/scalar02", &[400]),
    ("rfc4475/scalarlg", &[0]),
    ("rfc4475/quotbal", &[400]),
    ("rfc4475/ltgtruri", &[400, 404]),
    ("rfc4475/lwsruri", &[400]),
    ("rfc4475/lwsstart", &[400, 404]),
    ("rfc4475/trws", &[400, 200]),
    ("rfc4475/escruri", &[400, 404]),
    ("rfc4475/baddate", &[400, 404]),
    ("rfc4475/regbadct", &[400]),
    ("rfc4475/badaspec", &[400, 200]),
    ("rfc4475/baddn", &[400, 200]),
    ("rfc4475/badvers", &[505]),
    ("rfc4475/mismatch01", &[400]),
    ("rfc4475/mismatch02", &[501]),
    ("rfc4475/bigcode", &[0]),
    ("rfc4475/insuf", &[400]),
    ("rfc4475/unkscm", &[416]),
    ("rfc4475/novelsc", &[416]),
    ("rfc4475/unksm2", &[400]),
    ("rfc4475/bext01", &[420]),
    ("rfc4475/invut", &[415]),
    ("rfc4475/regaut01", &[401]),
    ("rfc4475/multi01", &[400]),
    ("rfc4475/mcl01", &[400]),
    ("rfc4475/bcast", &[0]),
    ("rfc4475/zeromf", &[200]),
    ("rfc4475/sdp01", &[406]),
    ("rfc4475/inv2543", &[404]),
    ("rfc5118/ipv6-bad", &[400]),
];

/// Where we answer otherwise than the RFC asks for, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("rfc4475/regbadct", "whoever has not proven who it is gets a challenge before its contacts are looked at"),
    ("rfc4475/unksm2", "whoever has not proven who it is gets a challenge before its address is looked at"),
    (
        "rfc4475/inv2543",
        "without a tag in From its calls cannot be told apart: phones from before RFC 3261 are not served",
    ),
];

fn torture() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture"))
}

/// A user agent with a registrar that knows one user.
#[expect(clippy::unwrap_used, reason = "a constant")]
fn line() -> Line {
    let mut line = Line::new();
    let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, "ana", "example.com", "clave")).to_vec();
    let ana = Account { user: "ana".into(), operator: "beneleit".into(), offers: Offers::Md5, secrets };
    let accounts = Accounts::new("example.com", Offers::Md5, [ana]);
    let settings = accounts::settings(&Config::default().registrar);
    let registrar = Registrar::new(line.now, settings, Arc::new(accounts), &mut Ids::from_seed(3));
    let agent = UserAgent::new(Settings::new(peer::US.parse().unwrap()), Ids::from_seed(7));
    line.agent = agent.with_registrar(registrar);
    line
}

/// Sends one message; every final response that came back.
fn verdict(line: &mut Line, datagram: Vec<u8>) -> Vec<u16> {
    let mut actions = line.receive(datagram);
    let invited: Vec<_> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Event(Event::Invited { leg, .. }) => Some(*leg),
            Action::Event(_) | Action::Send { .. } => None,
        })
        .collect();
    for leg in invited {
        let rejection = Rejection { status: 404, retry_after: None, warning: None };
        actions.extend(line.ask(|agent, now, out| agent.reject(now, leg, &rejection, out)));
    }
    sent(&actions).iter().map(|datagram| status(datagram)).filter(|status| *status >= 200).collect()
}

#[test]
fn every_message_gets_its_verdict() {
    let mut faults = Vec::new();
    let mut line = line();
    for (name, class, allowed, ours) in MESSAGES {
        // Some messages of RFC 5118 share Call-ID and branch: without waiting they would be one transaction.
        line.advance(std::time::Duration::from_secs(60));
        let datagram = std::fs::read(torture().join(format!("{name}.dat"))).expect(name);
        let got = verdict(&mut line, datagram);
        let expected: &[u16] = if *ours == 0 { &[] } else { &[*ours] };
        if got != expected || !allowed.contains(ours) {
            faults.push(format!("{name}: {class:?}, answered {got:?}, expected {expected:?} of {allowed:?}"));
        }
        if *class == Accept && (allowed.contains(&400) || allowed.contains(&500)) {
            faults.push(format!("{name}: a well-formed message may not get 400 or 500"));
        }
        if !line.is_alive(name) {
            faults.push(format!("{name}: OPTIONS got no 200 afterwards"));
        }
        if line.agent.dialogs() != 0 {
            faults.push(format!("{name}: a leg is left"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// "≥ 90 % of the codes the RFC asks for, the rest explained row by row."
#[test]
fn nine_of_ten_get_the_status_that_the_rfc_asks_for() {
    let asked = |name: &str| ASKED.iter().find(|(asked, _)| *asked == name).map(|(_, statuses)| *statuses);
    // That a well-formed message is handled is the business of `every_message_gets_its_verdict`.
    let is_as_asked =
        |(name, _, _, ours): &&(&str, Class, &[u16], u16)| asked(name).is_none_or(|statuses| statuses.contains(ours));
    let otherwise: BTreeSet<_> = MESSAGES.iter().filter(|row| !is_as_asked(row)).map(|(name, ..)| *name).collect();
    let explained: BTreeSet<_> = OTHERWISE.iter().map(|(name, _)| *name).collect();
    assert_eq!(otherwise, explained);
    assert!(ASKED.iter().all(|(name, _)| MESSAGES.iter().any(|(listed, ..)| listed == name)));
    let share = |met: usize, of: usize| met as f64 / of as f64 * 100.0;
    let (all, named, missed) = (MESSAGES.len(), ASKED.len(), otherwise.len());
    let (of_all, of_named) = (share(all - missed, all), share(named - missed, named));
    println!("{} of {all} messages get what the RFC asks for: {of_all:.1} %", all - missed);
    println!("{} of {named} whose status it names: {of_named:.1} %", named - missed);
    for (name, why) in OTHERWISE {
        println!("{name}: {why}");
    }
    assert!(of_all >= 90.0 && of_named >= 90.0, "{of_all} %, {of_named} %");
}

#[test]
fn no_message_is_left_out() {
    let mut found = BTreeSet::new();
    for folder in ["rfc4475", "rfc5118", "rfc5118/content-length-fixed"] {
        for entry in std::fs::read_dir(torture().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(name) = name.strip_suffix(".dat") {
                found.insert(format!("{folder}/{name}"));
            }
        }
    }
    let listed: BTreeSet<_> = MESSAGES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
    assert_eq!(MESSAGES.len(), 65);
}

#[test]
fn refusals_say_what_they_must() {
    let answer = |name: &str| {
        let actions = Line::new().receive(std::fs::read(torture().join(format!("rfc4475/{name}.dat"))).unwrap());
        sent(&actions).into_iter().next().expect(name)
    };
    let allow = Some("INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE".to_owned());
    assert_eq!(peer::header(&answer("intmeth"), "Allow"), allow);
    assert_eq!(peer::header(&answer("regaut01"), "Allow"), allow);
    // The Require options, not the Proxy-Require ones.
    let unsupported = "nothingSupportsThis, nothingSupportsThisEither".to_owned();
    assert_eq!(peer::header(&answer("bext01"), "Unsupported"), Some(unsupported));
    assert_eq!(peer::header(&answer("invut"), "Accept"), Some("application/sdp".to_owned()));
    assert!(peer::header(&answer("clerr"), "Warning").unwrap().contains("body shorter than Content-Length"));
}

/// RFC 4475 §3.1.1.1: what the exchange is told of the most contorted INVITE, once its To tag of a dialog long gone is away.
#[test]
fn the_contorted_invite_is_understood() {
    let text = std::fs::read_to_string(torture().join("rfc4475/wsinv.dat")).unwrap();
    let untagged = text.replace(";   tag    = 1918181833n", "");
    assert_ne!(text, untagged);
    let actions = Line::new().receive(untagged);
    let Some(Action::Event(Event::Invited { invitation, .. })) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(invitation.request_user, "vivekg");
    assert_eq!(invitation.request_parameters, [("unknownparam".to_owned(), String::new())]);
    assert_eq!((invitation.to_user.as_str(), invitation.from_user.as_str()), ("vivekg", "jdrosen"));
    assert_eq!(invitation.from_display, "J Rosenberg \\\"");
    assert_eq!(invitation.call_id, "wsinv.ndaksdj@192.0.2.1");
    assert_eq!(invitation.offer.as_ref().map(bytes::Bytes::len), Some(150));
}
