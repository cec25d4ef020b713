//! Registered phones call each other, and lead callers elsewhere by REFER: whatever the transferor does, nobody is dropped, and nobody who may not
//! leads anybody anywhere.

use contesta::ids::LegId;
use contesta::sip::{EndCause, Event, ReferTo};

use super::company::{is_bridged, segments, staffed};
use super::*;

const ANA: &str = "198.51.100.1:5060";
const LUIS: &str = "198.51.100.3:5060";
const EVA: &str = "198.51.100.4:5060";
const EVERYBODY: [(&str, &str); 3] = [("ana", ANA), ("luis", LUIS), ("eva", EVA)];

fn to(user: &str) -> ReferTo {
    ReferTo::Uri(format!("sip:{user}@contesta.example"))
}

/// A caller who talks with ana.
fn with_ana(seed: u64) -> (Sim, usize, LegId) {
    let mut sim = staffed(seed, &EVERYBODY);
    let phone = sim.talk("caller", "*77");
    sim.until("answered", 30 * SECOND, |sim| is_bridged(sim, 0));
    sim.advance(SECOND);
    let leg = sim.leg(0);
    (sim, phone, leg)
}

fn ended(sim: &Sim, desk: usize) -> Option<&EndCause> {
    let cause = |(_, event): &'_ (u64, Event)| matches!(event, Event::Ended { .. });
    let event = sim.telephones[desk].events.iter().find(|event| cause(event))?;
    let Event::Ended { cause, .. } = &event.1 else { return None };
    Some(cause)
}

fn has(sim: &Sim, desk: usize, is: impl Fn(&Event) -> bool) -> bool {
    sim.telephones[desk].events.iter().any(|(_, event)| is(event))
}

#[test]
fn a_registered_phone_calls_a_colleague() {
    let mut sim = staffed(1, &EVERYBODY);
    let ana = sim.desk_calls(0, "luis");
    sim.advance(SECOND);
    assert!(has(&sim, 0, |event| matches!(event, Event::Ringing { status: 180, .. })));
    sim.advance(2 * SECOND);
    let luis = sim.leg(1);
    assert!(sim.desks_hear((0, ana), (1, luis)));
    sim.desk_hangs_up(1, luis);
    sim.advance(SECOND);
    assert_eq!(ended(&sim, 0), Some(&EndCause::RemoteBye));
    sim.assert_idle();
    let record = sim.record();
    assert_eq!((record.caller.as_str(), record.called.as_str(), record.flow.as_str()), ("ana", "luis", ""));
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("atendida", "the other side hung up"));
    segments(record);
}

#[test]
fn what_the_colleague_says_comes_back_and_strangers_reach_nobody() {
    for (status, expected) in [(486, 486), (603, 603), (404, 404)] {
        let mut sim = staffed(2, &EVERYBODY);
        sim.telephones[1].answers = Some((SECOND, status));
        sim.desk_calls(0, "luis");
        sim.advance(5 * SECOND);
        assert_eq!(ended(&sim, 0), Some(&EndCause::RemoteRefused(expected)));
        sim.assert_idle();
    }
    let mut sim = staffed(3, &[("ana", ANA)]);
    sim.desk_calls(0, "nadie");
    sim.advance(SECOND);
    assert_eq!(ended(&sim, 0), Some(&EndCause::RemoteRefused(404)));
    // She exists, and is not there.
    sim.telephones[0].events.clear();
    sim.desk_calls(0, "eva");
    sim.advance(SECOND);
    assert_eq!(ended(&sim, 0), Some(&EndCause::RemoteRefused(480)));
    // From a trunk agents are nobody.
    let phone = sim.dial("caller", "ana");
    sim.advance(SECOND);
    assert_eq!((sim.phones[phone].finals.as_slice(), sim.telephones[0].lines.len()), (&[404][..], 0));
    sim.assert_idle();
}

/// Pain 11, and the four transferors: gone in the same breath, behind the 202, behind a report, and one who never hangs up.
#[test]
fn a_caller_is_led_to_a_colleague_whatever_the_transferor_does() {
    type Leaves = fn(&Sim) -> bool;
    let ways: [(&str, Leaves); 4] = [
        ("at once", |_| true),
        ("behind the 202", |sim| has(sim, 0, |event| matches!(event, Event::ReferAnswered { status: 202, .. }))),
        ("behind 180", |sim| sim.reports(0).contains(&180)),
        ("never", |_| false),
    ];
    for (way, leaves) in ways {
        for answers in [200, 486] {
            let (mut sim, phone, leg) = with_ana(4);
            sim.sip_weather = Weather { delay: ms(25), ..Weather::default() };
            sim.telephones[1].answers = Some((3 * SECOND, answers));
            sim.desk_reoffers(0, leg, "sendonly");
            sim.advance(SECOND);
            sim.desk_refers(0, leg, &to("luis"));
            let mut left = false;
            for _ in 0..80 {
                if !left && leaves(&sim) {
                    left = true;
                    sim.desk_hangs_up(0, leg);
                }
                sim.advance(ms(100));
            }
            match (answers, left) {
                (200, _) => {
                    assert!(sim.telephones[0].lines.is_empty(), "{way}: ana is free");
                    assert!(sim.hear_each_other(phone, 1), "{way}");
                    let luis = sim.leg(1);
                    sim.desk_hangs_up(1, luis);
                    sim.until_heard(phone, "algo_mas");
                }
                (_, true) => {
                    sim.until("told", 30 * SECOND, |sim| sim.phones[phone].has_heard("disculpa"));
                }
                (_, false) => {
                    sim.desk_reoffers(0, leg, "sendrecv");
                    sim.advance(SECOND);
                    assert!(sim.hear_each_other(phone, 0), "{way}: they have each other back");
                    sim.desk_hangs_up(0, leg);
                    sim.until_heard(phone, "algo_mas");
                }
            }
            if !left {
                assert_eq!(sim.reports(0), [100, 180, answers], "{way}");
            }
            sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
            sim.assert_idle();
            assert!(sim.telephones.iter().all(|desk| desk.lines.is_empty()), "{way}");
            let record = sim.record();
            let whom: Vec<_> =
                segments(record).into_iter().map(|(what, who, _)| format!("{} {who}", what.name())).collect();
            assert!(whom.contains(&"ring luis".to_owned()) && whom.contains(&"talk ana".to_owned()), "{whom:?}");
            assert_eq!(whom.contains(&"talk luis".to_owned()), answers == 200, "{whom:?}");
            assert_eq!(record.result == "fallo", answers != 200 && left, "{way} {answers}");
            assert_eq!(sim.phones[phone].rtp_breaks, 0, "{way}: one stream");
        }
    }
}

/// A bad line: nobody is left behind, there is one record, and its sums are right.
#[test]
fn transfers_survive_bad_weather() {
    for seed in 0..10 {
        let (mut sim, phone, leg) = with_ana(40 + seed);
        sim.sip_weather = Weather { loss: 20, repeats: 15, delay: ms(20), jitter: ms(300) };
        sim.telephones[1].answers = Some((2 * SECOND, if seed % 3 == 0 { 486 } else { 200 }));
        sim.desk_refers(0, leg, &to("luis"));
        sim.advance(ms(300 * seed));
        match seed % 4 {
            0 | 1 => sim.desk_hangs_up(0, leg),
            2 => sim.bye(phone),
            _ => {}
        }
        sim.advance(MINUTE);
        if sim.phones[phone].talk.is_some() {
            sim.bye(phone);
        }
        sim.advance(2 * MINUTE);
        sim.assert_idle();
        assert!(sim.telephones.iter().all(|desk| desk.lines.is_empty()), "seed {seed}");
        segments(sim.record());
    }
}

#[test]
fn a_caller_is_led_to_a_number_of_the_operators_own() {
    let (mut sim, phone, leg) = with_ana(5);
    sim.desk_refers(0, leg, &ReferTo::Uri("sip:*2363@contesta.example".into()));
    sim.until_heard(phone, "menu_principal");
    assert_eq!(sim.reports(0), [100, 200]);
    assert!(sim.telephones[0].lines.is_empty());
    sim.press(phone, "2");
    sim.until_heard(phone, "menu_informacion");
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.phones[phone].rtp_breaks, 0);
    let what: Vec<_> = segments(sim.record()).into_iter().map(|(what, ..)| what.name()).collect();
    assert_eq!(what, ["ivr", "ring", "talk", "ivr", "end"]);
}

/// Nothing is dialled that is not the operator's, and from a trunk nobody leads anybody anywhere.
#[test]
fn nobody_is_led_outside_and_callers_lead_nobody() {
    let (mut sim, phone, leg) = with_ana(6);
    for target in ["5512345678", "nadie", "*9999"] {
        sim.telephones[0].events.clear();
        sim.desk_refers(0, leg, &to(target));
        sim.advance(2 * SECOND);
        assert_eq!(sim.reports(0), [100, 403], "{target}");
        assert!(sim.hear_each_other(phone, 0), "{target}");
    }
    sim.ask(phone, "REFER", "Refer-To: <sip:luis@contesta.example>\r\n", "");
    sim.advance(SECOND);
    assert_eq!(peer::status(&sim.phones[phone].last_response), 403);
    assert!(sim.hear_each_other(phone, 0) && sim.telephones[1].lines.is_empty());
    // One that names a dialog: whose it is or not, it is refused.
    let other = ReferTo::Uri("sip:luis@contesta.example?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2".into());
    sim.telephones[0].events.clear();
    sim.desk_refers(0, leg, &other);
    sim.advance(2 * SECOND);
    assert_eq!(sim.reports(0), [100, 603]);
    assert!(sim.hear_each_other(phone, 0));
    sim.bye(phone);
    sim.assert_idle();
}

/// The caller of a colleague leads them to another one and leaves: the two go on without.
#[test]
fn whoever_called_may_leave_the_call_to_the_others() {
    let mut sim = staffed(7, &EVERYBODY);
    let ana = sim.desk_calls(0, "luis");
    sim.advance(4 * SECOND);
    let luis = sim.leg(1);
    assert!(sim.desks_hear((0, ana), (1, luis)));
    sim.desk_refers(0, ana, &to("eva"));
    sim.advance(4 * SECOND);
    let eva = sim.leg(2);
    assert!(sim.telephones[0].lines.is_empty(), "{:#?}", sim.telephones[0].log);
    assert!(sim.desks_hear((1, luis), (2, eva)));
    sim.desk_hangs_up(1, luis);
    sim.advance(SECOND);
    assert!(sim.telephones[2].lines.is_empty());
    sim.assert_idle();
    assert_eq!(sim.reports(0), [100, 180, 200]);
    segments(sim.record());
}

#[test]
fn a_caller_who_hangs_up_ends_the_transfer() {
    let (mut sim, phone, leg) = with_ana(8);
    sim.telephones[1].answers = None;
    sim.desk_refers(0, leg, &to("luis"));
    sim.advance(3 * SECOND);
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!(sim.reports(0), [100, 180, 487]);
    assert!(sim.telephones.iter().all(|desk| desk.lines.is_empty()));
    segments(sim.record());
}

/// In another operator's call a phone is a caller like others.
#[test]
fn nobody_is_led_in_a_call_of_another_operators() {
    let mut sim = staffed(9, &EVERYBODY);
    let ana = sim.desk_calls(0, "7676720827");
    sim.advance(2 * SECOND);
    sim.desk_refers(0, ana, &to("luis"));
    sim.advance(SECOND);
    assert!(has(&sim, 0, |event| matches!(event, Event::ReferAnswered { status: 403, .. })));
    assert!(sim.telephones[1].lines.is_empty());
    sim.desk_hangs_up(0, ana);
    sim.assert_idle();
}

/// A call whose caller leaves it to the others is over when they are: its recording ended with the leg that it was of.
#[test]
fn a_recording_ends_with_the_caller_who_leaves() {
    let mut config = Config::default();
    config.registrar.max_expires = Duration::from_secs(86_400);
    let mut sim = Sim::with(Setup { seed: 10, config, desks: EVERYBODY.to_vec(), records: true, ..Setup::default() });
    for (user, address) in EVERYBODY {
        sim.desk(user, address);
    }
    let ana = sim.desk_calls(0, "luis");
    sim.advance(4 * SECOND);
    let luis = sim.leg(1);
    sim.desk_refers(0, ana, &to("eva"));
    sim.advance(4 * SECOND);
    sim.desk_hangs_up(1, luis);
    sim.advance(SECOND);
    sim.assert_idle();
    let recording = sim.record().recording.as_ref().unwrap();
    assert_eq!(recording.fault, None);
}

/// A transferor who holds and comes back while it rings at the next one does not silence the ringing tone, nor count as talk.
#[test]
fn a_transferor_who_holds_meanwhile_is_with_the_caller_no_more() {
    let (mut sim, phone, leg) = with_ana(11);
    sim.telephones[1].answers = None;
    sim.desk_refers(0, leg, &to("luis"));
    sim.advance(2 * SECOND);
    for direction in ["sendonly", "sendrecv"] {
        sim.desk_reoffers(0, leg, direction);
        sim.advance(2 * SECOND);
    }
    let _before = sim.phones[phone].ear.is(0);
    sim.advance(5 * SECOND);
    assert!(sim.phones[phone].ear.is_music(0), "a ringing tone");
    sim.bye(phone);
    sim.assert_idle();
    let talks = sim.record().segments.iter().filter(|segment| segment.what == contesta::call::What::Talk).count();
    assert_eq!(talks, 1, "{:#?}", sim.record().segments);
}

/// A softphone with the accounts of two agents calls as the one that it says it is.
#[test]
fn a_phone_with_two_accounts_calls_as_the_one_it_names() {
    let mut config = Config::default();
    config.registrar.max_expires = Duration::from_secs(86_400);
    let desks = vec![("ana", ANA), ("luis", ANA), ("eva", EVA)];
    let mut sim = Sim::with(Setup { seed: 12, config, desks, ..Setup::default() });
    sim.desk("luis", ANA);
    sim.desk("eva", EVA);
    let luis = sim.desk_calls(0, "eva");
    sim.advance(4 * SECOND);
    sim.desk_hangs_up(0, luis);
    sim.advance(SECOND);
    sim.assert_idle();
    assert_eq!((sim.record().caller.as_str(), sim.record().called.as_str()), ("luis", "eva"));
}
