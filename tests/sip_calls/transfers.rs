//! Transfers (RFC 3515, RFC 3891, RFC 4488) in both roles, and transferors who leave when they like.

use std::time::Duration;

use contesta::ids::LegId;
use contesta::sip::{Action, EndCause, Event, Method, ReferTo, Referral, Settings};

use super::{MINUTE, ended, happened};
use crate::pair::{CALLED, CALLER, Pair, STORM};
use crate::peer::{Call, Line, PEER, US, events, first_line, first_lines, header, response, sent, statuses};

const THIRD: &str = "sip:carol@203.0.113.9";

/// A call whose called end takes REFERs up, over a bad line.
fn talk(seed: u64) -> Pair {
    let mut pair = Pair::new(seed, STORM, |_, settings: &mut Settings| settings.transfers = true);
    pair.ends[CALLED].owner.takes_referrals = true;
    pair.talk()
}

fn refer(pair: &mut Pair) {
    pair.ask(CALLER, |agent, now, leg, out| agent.refer(now, leg, &ReferTo::Uri(THIRD.to_owned()), out));
}

fn answered(pair: &Pair) -> bool {
    pair.has(CALLER, |event| matches!(event, Event::ReferAnswered { status: 202, .. }))
}

fn reported(pair: &Pair) -> Vec<(u16, bool)> {
    let reports = pair.ends[CALLER].events.iter().filter_map(|(_, event)| {
        let Event::ReferReported { status, last, .. } = event else { return None };
        Some((*status, *last))
    });
    reports.collect()
}

/// The four ways in which transferors leave: behind the 202, behind a report, never, and without waiting for anything.
#[test]
fn what_was_asked_for_survives_whoever_asked() {
    type Leaves = fn(&Pair) -> bool;
    let ways: [(&str, Leaves); 4] = [
        ("behind the 202", answered),
        ("behind the first report", |pair| !reported(pair).is_empty()),
        ("never", |_| false),
        ("at once", |_| true),
    ];
    for seed in 0..8 {
        for (way, leaves) in ways {
            let mut pair = talk(seed);
            refer(&mut pair);
            let mut left = false;
            for _ in 0..600 {
                if !left && leaves(&pair) {
                    pair.hangup(CALLER);
                    left = true;
                }
                pair.advance(Duration::from_millis(100));
            }
            // Lost with the call that it was sent in, or taken up once.
            let referrals = pair.count(CALLED, |event| matches!(event, Event::Referred { .. }));
            assert!(referrals == 1 || (referrals == 0 && way == "at once"), "seed {seed}, {way}: {}", pair.picture());
            if way == "never" {
                let reports = reported(&pair);
                assert_eq!((reports.first(), reports.last()), (Some(&(100, false)), Some(&(200, true))), "{way}");
                assert!(answered(&pair));
                assert_eq!((pair.ended(CALLED), pair.ended(CALLER)), (None, None));
                // Its far end has somebody else: whoever took the REFER up ends the leg.
                pair.hangup(CALLED);
            }
            pair.assert_over();
            let cause = if way == "never" { EndCause::LocalBye } else { EndCause::RemoteBye };
            assert_eq!(pair.ended(CALLED).unwrap().1, cause, "seed {seed}, {way}: {}", pair.picture());
        }
    }
}

/// A transferor that hears nothing any more: its reports are given up, and nothing else is.
#[test]
fn a_transferor_that_vanishes_costs_its_reports_alone() {
    let mut pair = talk(3);
    refer(&mut pair);
    for _ in 0..100 {
        if pair.has(CALLED, |event| matches!(event, Event::Referred { .. })) {
            break;
        }
        pair.advance(Duration::from_millis(20));
    }
    pair.ends[CALLER].cut = true;
    pair.advance(2 * MINUTE);
    assert_eq!(pair.requests(CALLED, Method::Notify).len(), 1);
    assert_eq!(pair.ended(CALLED), None, "the leg is its owner's");
    pair.ask(CALLED, |agent, now, leg, out| agent.report_referral(now, leg, 200, out));
    assert_eq!(pair.requests(CALLED, Method::Notify).len(), 1);
}

/// A user agent that takes transfers up, and a call.
fn line(id: &str) -> (Line, Call, LegId) {
    let mut settings = Settings::new(US.parse().unwrap());
    settings.transfers = true;
    let mut line = Line::with(settings);
    let mut call = Call::new(id);
    let leg = line.established(&mut call);
    (line, call, leg)
}

fn accept(line: &mut Line, leg: LegId) -> Vec<Action> {
    line.ask(|agent, now, out| agent.accept_referral(now, leg, out))
}

fn report(line: &mut Line, leg: LegId, status: u16) -> Vec<Action> {
    line.ask(|agent, now, out| agent.report_referral(now, leg, status, out))
}

fn report_of(notify: &[u8]) -> (String, String, String) {
    let text = String::from_utf8_lossy(notify);
    let body = text.split("\r\n\r\n").nth(1).unwrap().trim_end().to_owned();
    (header(notify, "Event").unwrap(), header(notify, "Subscription-State").unwrap(), body)
}

#[test]
fn a_referral_is_answered_and_reported_on() {
    let (mut line, call, leg) = line("refer");
    let refer = call.request("REFER", 2, "refer", &format!("Refer-To: Carol <{THIRD}>\r\n"), "");
    let referral = Box::new(Referral { target: THIRD.to_owned(), replaces: None });
    assert_eq!(line.receive(refer.clone()), [Action::Event(Event::Referred { leg, referral })]);
    assert_eq!(line.receive(refer.clone()), [], "the same one again is the same");
    assert_eq!(
        statuses(&line.receive(call.request("REFER", 3, "second", &format!("Refer-To: <{THIRD}>\r\n"), ""))),
        [491]
    );
    let accepted = accept(&mut line, leg);
    assert_eq!(first_lines(&accepted), ["202 Accepted".to_owned(), format!("NOTIFY sip:alice@{PEER}")]);
    let first = sent(&accepted)[1].clone();
    let trying = "SIP/2.0 100 Trying".to_owned();
    assert_eq!(report_of(&first), ("refer".to_owned(), "active;expires=300".to_owned(), trying));
    assert_eq!(header(&first, "Content-Type").as_deref(), Some("message/sipfrag;version=2.0"));
    // One behind the other; only the last of those that wait is worth telling.
    assert_eq!((report(&mut line, leg, 180), report(&mut line, leg, 183)), (vec![], vec![]));
    let second = sent(&line.receive(response(&first, 200, "", "", "")))[0].clone();
    assert_eq!(report_of(&second).2, "SIP/2.0 183 Session Progress");
    line.receive(response(&second, 200, "", "", ""));
    let last = sent(&report(&mut line, leg, 486))[0].clone();
    let expected = ("refer", "terminated;reason=noresource", "SIP/2.0 486 Busy Here");
    assert_eq!(report_of(&last), (expected.0.to_owned(), expected.1.to_owned(), expected.2.to_owned()));
    line.receive(response(&last, 200, "", "", ""));
    assert_eq!(report(&mut line, leg, 200), [], "it is over");
    // The next one has the number of its REFER (RFC 3515 §2.4.6).
    line.receive(call.request("REFER", 4, "third", &format!("r: <{THIRD}>\r\n"), ""));
    assert_eq!(report_of(&sent(&accept(&mut line, leg))[1]).0, "refer;id=4");
    assert_eq!(line.agent.dialogs(), 1);
}

/// RFC 5057 §4.2: the transferor hangs up behind the 202; its reports go on in what is left of the dialog.
#[test]
fn reports_go_on_behind_a_bye() {
    for last in [200, 481] {
        let (mut line, call, leg) = line("early");
        line.receive(call.request("REFER", 2, "refer", &format!("Refer-To: <{THIRD}>\r\n"), ""));
        let first = sent(&accept(&mut line, leg))[1].clone();
        let bye = line.receive(call.request("BYE", 3, "bye", "", ""));
        assert_eq!(events(&bye), [ended(leg, EndCause::RemoteBye)]);
        let next = line.receive(response(&first, last, "", "", ""));
        assert_eq!(next, []);
        let notify = report(&mut line, leg, 200);
        if last == 481 {
            assert_eq!(notify, [], "it wants none");
        } else {
            let notify = sent(&notify)[0].clone();
            assert_eq!(
                (report_of(&notify).2.as_str(), header(&notify, "CSeq").as_deref()),
                ("SIP/2.0 200 OK", Some("2 NOTIFY"))
            );
            line.receive(response(&notify, 481, "", "", ""));
        }
        line.advance(MINUTE);
        assert_eq!((line.agent.transactions(), line.agent.poll_timeout()), (0, None));
    }
    // What came of it is never told: it is forgotten after five minutes.
    let (mut line, call, leg) = line("never");
    line.receive(call.request("REFER", 2, "refer", &format!("Refer-To: <{THIRD}>\r\n"), ""));
    let first = sent(&accept(&mut line, leg))[1].clone();
    line.receive(call.request("BYE", 3, "bye", "", ""));
    line.receive(response(&first, 200, "", "", ""));
    line.advance(6 * MINUTE);
    assert_eq!((report(&mut line, leg, 200), line.agent.poll_timeout()), (vec![], None));
}

#[test]
fn what_is_no_referral_is_refused() {
    let (mut line, call, leg) = line("odd");
    for (cseq, (headers, status)) in (2..).zip([
        ("", 400),
        ("Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
        ("Refer-To: <sip:a@b\r\n", 400),
        ("Refer-To: <https://example.com>\r\n", 416),
        ("Refer-To: <sip:a@b?Replaces=x>\r\n", 400),
    ]) {
        let refused = line.receive(call.request("REFER", cseq, &format!("b{cseq}"), headers, ""));
        assert_eq!((statuses(&refused), events(&refused)), (vec![status], vec![]), "{headers}");
    }
    // Refused by its owner, and with the leg itself.
    line.receive(call.request("REFER", 20, "b20", &format!("Refer-To: <{THIRD}>\r\n"), ""));
    assert_eq!(statuses(&line.ask(|agent, now, out| agent.refuse_referral(now, leg, 603, out))), [603]);
    line.receive(call.request("REFER", 21, "b21", &format!("Refer-To: <{THIRD}>\r\n"), ""));
    assert_eq!(statuses(&line.receive(call.request("BYE", 22, "bye", "", ""))), [200, 487]);
    // Outside a call, and where transfers are nobody's business.
    let outside = Call::new("stranger").request("REFER", 1, "r", &format!("Refer-To: <{THIRD}>\r\n"), "");
    assert_eq!(statuses(&line.receive(outside)), [403]);
    let mut line = Line::new();
    let mut call = Call::new("plain");
    line.established(&mut call);
    let refused = line.receive(call.request("REFER", 2, "r", &format!("Refer-To: <{THIRD}>\r\n"), ""));
    assert_eq!((statuses(&refused), events(&refused)), (vec![403], vec![]));
    assert_eq!(statuses(&line.receive(call.request("NOTIFY", 3, "n", "Event: refer\r\n", ""))), [481]);
}

/// RFC 4488: who wants no reports gets none.
#[test]
fn without_a_subscription_nothing_is_reported() {
    let (mut line, call, leg) = line("quiet");
    let headers = format!("Refer-To: <{THIRD}>\r\nRequire: norefersub\r\nRefer-Sub: false\r\n");
    line.receive(call.request("REFER", 2, "refer", &headers, ""));
    let accepted = accept(&mut line, leg);
    assert_eq!(statuses(&accepted), [202]);
    assert_eq!(header(&sent(&accepted)[0], "Refer-Sub").as_deref(), Some("false"));
    assert_eq!(report(&mut line, leg, 200), []);
}

/// RFC 3891 §3.
#[test]
fn an_invite_takes_the_place_of_a_call_that_it_names() {
    let (mut line, call, leg) = line("old");
    let replaces = |id: &str, to: &str, from: &str, more: &str| {
        format!("Require: replaces\r\nReplaces: {id};to-tag={to};from-tag={from}{more}\r\n")
    };
    let tag = call.to_tag.clone();
    for (number, (headers, status)) in [
        (replaces("old", &tag, "wrong", ""), 481),
        (replaces("other", &tag, "farold", ""), 481),
        (replaces("old", "0123456789abcdef", "farold", ""), 481),
        (replaces("old", &tag, "farold", ";early-only"), 486),
        (format!("Replaces: old;to-tag={tag}\r\n"), 400),
    ]
    .into_iter()
    .enumerate()
    {
        let invite = Call { headers: headers.clone(), ..Call::new(&format!("new{number}")) };
        assert_eq!(statuses(&line.receive(invite.invite())), [status], "{headers}");
    }
    let new = Call { headers: replaces("old", &tag, "farold", ""), ..Call::new("new") };
    let invited = line.receive(new.invite());
    let [Event::Invited { leg: taker, invitation }] = &events(&invited)[..] else { panic!("{invited:?}") };
    assert_eq!(invitation.replaces, Some(leg));
    assert_eq!(statuses(&line.accept(*taker)), [200]);
    let bye = line.ask(|agent, now, out| agent.hangup(now, leg, "replaced", out));
    assert_eq!(first_lines(&bye), [format!("BYE sip:alice@{PEER}")]);
    let late = Call { headers: replaces("old", &tag, "farold", ""), ..Call::new("late") };
    assert_eq!(statuses(&line.receive(late.invite())), [603], "it ends already");
    // Nobody takes anybody's place where transfers are not taken up.
    let mut line = Line::new();
    let mut old = Call::new("old");
    line.established(&mut old);
    let new = Call { headers: format!("Replaces: old;to-tag={};from-tag=farold\r\n", old.to_tag), ..Call::new("new") };
    let invited = line.receive(new.invite());
    assert!(matches!(&events(&invited)[..], [Event::Invited { invitation, .. }] if invitation.replaces.is_none()));
    let required = Call { headers: replaces("old", &old.to_tag, "farold", ""), ..Call::new("newer") };
    assert_eq!(statuses(&line.receive(required.invite())), [420]);
}

/// An attended transfer of ours: what the REFER names reads back as the dialog that is to be replaced.
#[test]
fn a_referral_of_ours_names_the_dialog_to_be_replaced() {
    let (mut line, call, leg) = line("first");
    let mut other = Call::new("second@host");
    let second = line.established(&mut other);
    let referred = line.ask(|agent, now, out| agent.refer(now, leg, &ReferTo::Leg(second), out));
    let refer = sent(&referred)[0].clone();
    assert_eq!(first_line(&refer), format!("REFER sip:alice@{PEER}"));
    let to = header(&refer, "Refer-To").unwrap();
    // Put to another user agent, it is understood.
    let (mut far, far_call, far_leg) = self::line("far");
    let told = events(&far.receive(far_call.request("REFER", 2, "r", &format!("Refer-To: {to}\r\n"), "")));
    let [Event::Referred { referral, .. }] = &told[..] else { panic!("{told:?}") };
    let replaces = referral.replaces.as_ref().unwrap();
    assert_eq!(
        (referral.target.as_str(), replaces.call_id.as_slice()),
        (&*format!("sip:alice@{PEER}"), &b"second@host"[..])
    );
    assert_eq!(
        (replaces.to_tag.as_slice(), replaces.from_tag.as_slice()),
        (&b"farsecond@host"[..], other.to_tag.as_bytes())
    );
    assert_eq!(far_leg, LegId(1));
    // A report that overtakes the 202; then the answers, each once.
    let notify = |cseq: u32, state: &str, body: &str| {
        let headers = format!("Event: refer\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n");
        call.request("NOTIFY", cseq, &format!("n{cseq}"), &headers, body)
    };
    let early = line.receive(notify(2, "active;expires=60", "SIP/2.0 100 Trying\r\n"));
    assert_eq!(
        (statuses(&early), events(&early)),
        (vec![200], vec![Event::ReferReported { leg, status: 100, last: false }])
    );
    assert_eq!(events(&line.receive(response(&refer, 202, "", "", ""))), [Event::ReferAnswered { leg, status: 202 }]);
    let last = line.receive(notify(3, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n"));
    assert_eq!(events(&last), [Event::ReferReported { leg, status: 200, last: true }]);
    assert_eq!(statuses(&line.receive(notify(4, "active", "SIP/2.0 200 OK\r\n"))), [481], "nothing more is awaited");
    // Refused, unanswered, and impossible.
    let again = line.ask(|agent, now, out| agent.refer(now, leg, &ReferTo::Uri(THIRD.to_owned()), out));
    let refused = line.receive(response(&sent(&again)[0], 603, "", "", ""));
    assert_eq!(events(&refused), [Event::ReferAnswered { leg, status: 603 }]);
    line.ask(|agent, now, out| agent.refer(now, leg, &ReferTo::Uri(THIRD.to_owned()), out));
    let late = happened(line.advance(MINUTE)).pop().map(|(_, event)| event);
    assert_eq!(late, Some(Event::ReferAnswered { leg, status: 408 }));
    let nobody = line.ask(|agent, now, out| agent.refer(now, leg, &ReferTo::Uri("nobody".to_owned()), out));
    assert_eq!(events(&nobody), [Event::ReferAnswered { leg, status: 400 }]);
}
