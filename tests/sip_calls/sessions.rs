//! Session timers (RFC 4028) in both roles, over lines that lose, repeat and reorder.

use std::time::Duration;

use contesta::sip::{Action, EndCause, Event, Method, Settings};

use super::{MINUTE, ended, happened, ladder};
use crate::pair::{CALLED, CALLER, CALM, Pair, STORM};
use crate::peer::{ANSWER, Call, Line, PEER, first_line, first_lines, header, response, sent};

const SECOND: Duration = Duration::from_secs(1);

/// Sessions of ten minutes.
fn ten_minutes(_: usize, settings: &mut Settings) {
    settings.session.expires = Some(600);
}

/// Three quarters of an hour, in which the one who was called refreshes and the other one sees it do so.
#[test]
fn forty_five_minutes_with_refreshes_over_a_bad_line() {
    for (seed, hides_update) in (0..8).zip([false, true].into_iter().cycle()) {
        let mut pair = Pair::new(seed, STORM, ten_minutes);
        pair.hides_update = hides_update;
        let mut pair = pair.talk();
        pair.advance(45 * MINUTE);
        assert_eq!((pair.ended(CALLER), pair.ended(CALLED)), (None, None), "seed {seed}: {}", pair.picture());
        let (used, other) =
            if hides_update { (Method::Invite, Method::Update) } else { (Method::Update, Method::Invite) };
        let refreshes = pair.requests(CALLED, used).len();
        assert!((8..=9).contains(&refreshes), "seed {seed}: one each five minutes, not {refreshes}");
        assert_eq!((pair.requests(CALLED, other), pair.requests(CALLER, Method::Update)), (vec![], vec![]));
        assert_eq!(pair.count(CALLED, |event| matches!(event, Event::Unchanged { .. })), 0);
        pair.hangup(CALLER);
        pair.assert_over();
        assert_eq!(pair.ended(CALLED).map(|(_, cause)| cause), Some(EndCause::RemoteBye), "seed {seed}");
    }
}

/// The line is cut in the middle of the call: each end notices, by its own role, and says so.
#[test]
fn a_far_end_that_vanishes_is_noticed_in_both_roles() {
    for (seed, hides_update) in [(1, false), (2, true)] {
        let mut pair = Pair::new(seed, STORM, ten_minutes);
        pair.hides_update = hides_update;
        let mut pair = pair.talk();
        pair.advance(10 * MINUTE);
        let refreshed = pair.ends[CALLED].sent.iter().rev().find(|(_, line)| line.starts_with(['U', 'I'])).unwrap().0;
        for end in &mut pair.ends {
            end.cut = true;
        }
        pair.advance(15 * MINUTE);
        // Its refresh is due five minutes behind the last one, and not answered for 64·T1.
        let (at, cause) = pair.ended(CALLED).unwrap();
        assert_eq!(cause, EndCause::Vanished);
        assert!((330_000..=333_000).contains(&(at - refreshed)), "{at} {refreshed}");
        // 32 s before the ten minutes are over (RFC 4028 §10).
        let (at, cause) = pair.ended(CALLER).unwrap();
        assert_eq!(cause, EndCause::NotRefreshed);
        assert!((566_000..=570_000).contains(&(at - refreshed)), "{at} {refreshed}");
        pair.assert_over();
    }
}

#[test]
fn a_session_that_is_too_short_is_asked_for_again_as_long_as_it_must_be() {
    for seed in 0..6 {
        let pair = Pair::new(seed, STORM, |end, settings| {
            settings.session.expires = Some(if end == CALLER { 300 } else { 3_600 });
            settings.session.min = if end == CALLER { 90 } else { 1_000 };
        });
        let mut pair = pair.talk();
        assert_eq!(pair.requests(CALLER, Method::Invite), [1, 2], "seed {seed}: {}", pair.picture());
        let invite =
            pair.ends[CALLER].messages.iter().find(|m| header(m, "CSeq").as_deref() == Some("2 INVITE")).unwrap();
        let session = ["Session-Expires", "Min-SE"].map(|name| header(invite, name).unwrap());
        assert_eq!(session, ["1000", "1000"]);
        pair.hangup(CALLED);
        pair.assert_over();
        assert_eq!(pair.count(CALLER, |event| matches!(event, Event::Answered { .. })), 1);
    }
}

/// A phone's call with these headers, and what its 200 says of the session.
fn phone(headers: &str) -> (Line, Call, contesta::ids::LegId, Option<String>) {
    let mut line = Line::with(Settings::new(crate::peer::US.parse().unwrap()));
    let mut call = Call { headers: headers.to_owned(), ..Call::new("timed") };
    let leg = line.invited(&call);
    let accepted = line.accept(leg);
    let ok = &sent(&accepted)[0];
    call.to_tag = crate::peer::to_tag(ok);
    let session = header(ok, "Session-Expires");
    assert_eq!(session.is_some() && headers.contains("timer"), header(ok, "Require").as_deref() == Some("timer"));
    line.receive(call.request("ACK", 1, "ack", "", ""));
    (line, call, leg, session)
}

#[test]
fn who_refreshes_and_how_often_follows_from_the_invite() {
    for (headers, expected) in [
        ("", None),
        ("Supported: timer\r\n", Some("1800;refresher=uas")),
        ("k: 100rel, timer\r\nx: 600\r\n", Some("600;refresher=uas")),
        ("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n", Some("600;refresher=uac")),
        ("Require: timer\r\nSession-Expires: 600;refresher=uas\r\nMin-SE: 500\r\n", Some("600;refresher=uas")),
        ("Session-Expires: 300\r\n", Some("300;refresher=uas")),
    ] {
        let (mut line, _, leg, session) = phone(headers);
        assert_eq!(session.as_deref(), expected, "{headers}");
        // Without a timer nothing wakes for hours.
        let wakes = line.advance(120 * MINUTE);
        assert_eq!(wakes.is_empty(), expected.is_none(), "{headers}");
        if let Some(uac) = expected.filter(|session| session.ends_with("uac")) {
            assert_eq!(uac, "600;refresher=uac");
            assert_eq!(happened(wakes), [(568_000, ended(leg, EndCause::NotRefreshed))]);
        }
    }
}

#[test]
fn a_session_below_our_minimum_is_refused_with_422() {
    let mut line = Line::new();
    let short = "Supported: timer\r\nSession-Expires: 89\r\n".to_owned();
    let actions = line.receive(Call { headers: short, ..Call::new("short") }.invite());
    assert_eq!(first_lines(&actions), ["422 Session Interval Too Small"]);
    assert_eq!(header(&sent(&actions)[0], "Min-SE").as_deref(), Some("90"));
    let (mut line, call, leg, _) = phone("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    let update = call.request("UPDATE", 2, "short", "Supported: timer\r\nSession-Expires: 5\r\n", "");
    assert_eq!(first_lines(&line.receive(update)), ["422 Session Interval Too Small"]);
    assert_eq!(happened(line.advance(10 * MINUTE)), [(568_000, ended(leg, EndCause::NotRefreshed))], "as it was");
}

/// A phone that refreshes by UPDATE or re-INVITE, with and without saying so again, keeps its call; one that ends the timer is left alone.
#[test]
fn a_phone_that_refreshes_keeps_its_call() {
    let (mut line, mut call, leg, _) = phone("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n");
    let says = ["Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n", "Supported: timer\r\n"];
    for (cseq, says) in (2..12).zip(says.into_iter().cycle()) {
        assert_eq!(line.advance(9 * MINUTE), []);
        let branch = format!("b{cseq}");
        let ok = if cseq % 3 == 0 {
            let headers = format!("{says}Contact: <sip:alice@{PEER}>\r\nContent-Type: application/sdp\r\n");
            line.receive(call.request("INVITE", cseq, &branch, &headers, crate::peer::OFFER));
            let accepted = line.accept(leg);
            line.receive(call.request("ACK", cseq, &format!("ack{cseq}"), "", ""));
            sent(&accepted)[0].clone()
        } else {
            sent(&line.receive(call.request("UPDATE", cseq, &branch, says, "")))[0].clone()
        };
        assert_eq!(first_line(&ok), "200 OK");
        assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("600;refresher=uac"), "{cseq}");
    }
    call.headers.clear();
    let ok = line.receive(call.request("UPDATE", 12, "last", "", ""));
    assert_eq!(header(&sent(&ok)[0], "Session-Expires"), None);
    assert_eq!(line.advance(120 * MINUTE), []);
}

/// What we refresh, and a far end that answers it in its own way.
#[test]
fn a_refresh_of_ours_survives_what_phones_answer_to_it() {
    let headers = "Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 600;refresher=uas\r\n";
    let refresh = |line: &mut Line| loop {
        let (at, _) = line.agent.poll_timeout().unwrap();
        if let [(_, Action::Send { message, .. })] = &line.advance(at - line.now)[..] {
            break message.clone();
        }
    };
    // 200 without a word on the session: we go on.
    let (mut line, _, _, _) = phone(headers);
    for _ in 0..3 {
        let update = refresh(&mut line);
        assert_eq!(first_line(&update), format!("UPDATE sip:alice@{PEER}"));
        assert_eq!(header(&update, "Session-Expires").as_deref(), Some("600;refresher=uac"));
        assert_eq!(line.receive(response(&update, 200, "", "", "")), []);
    }
    // 405 and 501: by re-INVITE from here on.
    for status in [405, 501] {
        let (mut line, _, leg, _) = phone(headers);
        let update = refresh(&mut line);
        assert_eq!(line.receive(response(&update, status, "", "", "")), [Action::Event(Event::OfferWanted { leg })]);
        let offered = line.ask(|agent, now, out| agent.reoffer(now, leg, ANSWER.into(), out));
        let reinvite = &sent(&offered)[0];
        assert_eq!(first_line(reinvite), format!("INVITE sip:alice@{PEER}"));
        let taken = line.receive(response(reinvite, 200, "", &format!("Contact: <sip:alice@{PEER}>\r\n"), ANSWER));
        assert_eq!(first_lines(&taken), [format!("ACK sip:alice@{PEER}")]);
        assert_eq!(header(&sent(&taken)[0], "CSeq").as_deref(), Some("2 ACK"));
        assert_eq!(line.receive(response(reinvite, 200, "", "", ANSWER)), [taken[0].clone()], "acknowledged again");
        // Nobody makes an offer the next times: it ends with the session.
        let wanted = line.advance(10 * MINUTE).into_iter().map(|(_, action)| action).collect::<Vec<_>>();
        assert_eq!(wanted.iter().filter(|action| **action == Action::Event(Event::OfferWanted { leg })).count(), 9);
        assert!(wanted.contains(&Action::Event(ended(leg, EndCause::RefreshFailed))));
    }
    // 481: it has forgotten the call. 408 and silence: it has vanished.
    for (status, cause) in [(481, EndCause::Forgotten), (408, EndCause::Vanished)] {
        let (mut line, _, leg, _) = phone(headers);
        let update = refresh(&mut line);
        let actions = line.receive(response(&update, status, "", "", ""));
        assert_eq!(first_lines(&actions), [format!("BYE sip:alice@{PEER}")]);
        assert_eq!(crate::peer::events(&actions), [ended(leg, cause)]);
    }
    // 488 and the like: tried again, ever closer to the end; 503 when it says.
    let (mut line, _, leg, _) = phone(headers);
    let mut at = Vec::new();
    let mut update = refresh(&mut line);
    for (status, extra) in [(503, "Retry-After: 17\r\n"), (488, ""), (500, "")] {
        assert_eq!(line.receive(response(&update, status, "", extra, "")), []);
        update = refresh(&mut line);
        at.push((line.now - line.start).as_millis());
    }
    assert_eq!(at, [317_000, 442_500, 505_250]);
    line.receive(response(&update, 200, "", "Session-Expires: 600;refresher=uac\r\n", ""));
    let next = ladder(&line.advance(5 * MINUTE));
    assert_eq!(next, [(805_250, format!("UPDATE sip:alice@{PEER}"))]);
    assert_eq!(happened(line.advance(40 * SECOND)), [(837_250, ended(leg, EndCause::Vanished))]);
}

/// Two ends of ours agree whoever of them knows of timers.
#[test]
fn without_timers_at_one_end_a_call_lasts_as_long_as_it_likes() {
    let mut pair = Pair::new(3, CALM, |_, settings| settings.session.expires = None).talk();
    pair.advance(600 * MINUTE);
    assert_eq!((pair.ended(CALLER), pair.ended(CALLED)), (None, None));
    assert!(pair.requests(CALLED, Method::Update).is_empty());
    pair.hangup(CALLED);
    pair.advance(SECOND);
    assert_eq!(pair.ended(CALLER).map(|(_, cause)| cause), Some(EndCause::RemoteBye));
    pair.assert_over();
}

/// A far end, or what stands on the way to it, that wants each time a second more than it was given: it is followed a few times.
#[test]
fn min_se_that_grows_for_ever_is_not_followed_for_ever() {
    let (mut line, _, leg, _) =
        phone("Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 600;refresher=uas\r\n");
    let refusal = |request: &[u8]| {
        let asked: u32 = header(request, "Session-Expires").unwrap().split(';').next().unwrap().parse().unwrap();
        response(request, 422, "t", &format!("Min-SE: {}\r\n", asked + 1), "")
    };
    let mut asked = 0;
    let mut waiting: Vec<Action> = Vec::new();
    while !crate::peer::events(&waiting).contains(&ended(leg, EndCause::RefreshFailed)) {
        assert!(asked < 50, "{asked} requests");
        waiting = match sent(&waiting).first() {
            Some(update) if first_line(update).starts_with("UPDATE") => {
                asked += 1;
                line.receive(refusal(update))
            }
            Some(_) | None => {
                let (at, _) = line.agent.poll_timeout().unwrap();
                line.advance(at - line.now).into_iter().map(|(_, action)| action).collect()
            }
        };
    }
    assert_eq!(asked, 5 + 8, "five at once, and one each time that it is tried again before the session ends");
    // Our INVITE.
    let (leg, mut invite) = super::dial(&mut line);
    for follows in [true, true, true, true, false] {
        let actions = line.receive(refusal(&invite));
        invite = sent(&actions).pop().unwrap();
        let expected = if follows { vec![] } else { vec![ended(leg, EndCause::RemoteRefused(422))] };
        assert_eq!(crate::peer::events(&actions), expected);
    }
}
