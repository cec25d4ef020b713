//! The other leg of a call: who rings, who wins, what the caller hears meanwhile, and that nobody is left behind.

use contesta::call::What;
use contesta::sip::Event;

use super::*;
use crate::sim::desk::VOICE;

const ANA: &str = "198.51.100.1:5060";
const ANA_TOO: &str = "198.51.100.2:5060";
const LUIS: &str = "198.51.100.3:5060";

/// A centre where these agents' telephones are registered.
pub fn staffed(seed: u64, desks: &[(&'static str, &'static str)]) -> Sim {
    let mut config = Config::default();
    config.registrar.max_expires = Duration::from_secs(86_400);
    let mut sim = Sim::with(Setup { seed, config, desks: desks.to_vec(), ..Setup::default() });
    for (user, address) in desks {
        sim.desk(user, address);
    }
    sim
}

/// A caller of `*77` who hears ana's telephone ring.
fn ringing(sim: &mut Sim) -> usize {
    let phone = sim.talk("caller", "*77");
    sim.until("rings", 30 * SECOND, |sim| !sim.telephones[0].lines.is_empty());
    phone
}

/// One who talks with ana.
fn bridged(sim: &mut Sim) -> usize {
    let phone = ringing(sim);
    sim.until("answered", 30 * SECOND, |sim| is_bridged(sim, 0));
    sim.advance(SECOND);
    phone
}

pub fn is_bridged(sim: &Sim, desk: usize) -> bool {
    sim.telephones[desk].lines.values().any(|line| line.talk.is_some() && line.packets > 0)
}

pub fn segments(record: &CallRecord) -> Vec<(What, &str, u64)> {
    let total = u64::try_from(record.ended.duration_since(record.began).as_millis()).unwrap();
    assert_eq!(record.segments.iter().map(|segment| segment.ms).sum::<u64>(), total, "{:?}", record.segments);
    record.segments.iter().map(|segment| (segment.what, segment.who.as_str(), segment.ms / 1_000)).collect()
}

fn path(record: &CallRecord) -> Vec<&str> {
    record.path.iter().map(|entry| entry.what.as_str()).collect()
}

#[test]
fn an_agent_answers_both_hear_each_other_and_the_flow_goes_on() {
    let mut sim = staffed(1, &[("ana", ANA)]);
    let phone = ringing(&mut sim);
    sim.advance(SECOND);
    assert!(sim.phones[phone].ear.is_music(0), "a ringing tone");
    sim.until("answered", 30 * SECOND, |sim| is_bridged(sim, 0));
    sim.advance(8 * SECOND);
    assert!(sim.hear_each_other(phone, 0));
    // Keys go on, whichever way they come, each once.
    sim.press(phone, "12");
    sim.advance(2 * SECOND);
    sim.info(phone, '3');
    sim.advance(2 * SECOND);
    assert_eq!(sim.line(0).keys, "123");
    let leg = sim.leg(0);
    sim.desk_hangs_up(0, leg);
    sim.until_heard(phone, "algo_mas");
    // Pain 14: one stream, whatever was behind it.
    assert_eq!((sim.phones[phone].rtp_breaks, sim.phones[phone].rtp_jumps), (0, 0));
    sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("atendida", "the flow ended: hangup"));
    let told = segments(record);
    let what: Vec<_> = told.iter().map(|(what, who, _)| (*what, *who)).collect();
    let expected = [(What::Ivr, ""), (What::Ring, "ana"), (What::Talk, "ana"), (What::Ivr, ""), (What::End, "")];
    assert_eq!(what, expected, "{told:?}");
    assert!((14..=15).contains(&told[2].2), "{told:?}");
    // Both legs are on the ladder.
    let ladder = &record.ladder;
    assert!(ladder.contains(&format!("{ANA}\tINVITE sip:ana@{ANA}")), "{ladder}");
    assert!(ladder.contains("BYE") && ladder.contains(&sim.phones[phone].sip.to_string()), "{ladder}");
    assert!(path(record).contains(&"ana rings (180)") && path(record).contains(&"ana answers"));
}

/// All phones of an agent ring; who answers first has the call, and the other is cancelled, or loses by a hair.
#[test]
fn the_first_phone_to_answer_wins() {
    for (second, answered) in [(8_000, false), (2_030, true)] {
        let mut sim = staffed(2, &[("ana", ANA), ("ana", ANA_TOO)]);
        sim.sip_weather = Weather { delay: ms(20), ..Weather::default() };
        sim.telephones[1].answers = Some((ms(second), 200));
        let phone = bridged(&mut sim);
        sim.advance(5 * SECOND);
        assert!(sim.telephones[1].lines.is_empty(), "{:#?}", sim.telephones[1].log);
        let late = sim.telephones[1].log.iter().any(|line| line.starts_with("→ 200 OK"));
        let byes = sim.telephones[1].log.iter().any(|line| line.starts_with("← BYE"));
        let cancelled = sim.telephones[1].log.iter().any(|line| line.starts_with("← CANCEL"));
        assert!(late && cancelled, "{:#?}", sim.telephones[1].log);
        assert_eq!(byes, answered, "{:#?}", sim.telephones[1].log);
        sim.bye(phone);
        sim.assert_idle();
        assert_eq!((sim.record().result.as_str(), sim.record().cause.as_str()), ("atendida", "the far end hung up"));
        assert!(sim.telephones.iter().all(|desk| desk.lines.is_empty()));
    }
}

#[test]
fn what_agents_phones_say_chooses_the_way_on() {
    for (status, result) in [(486, "ocupada"), (600, "ocupada"), (603, "ocupada"), (480, "nadie"), (488, "fallo")] {
        let mut sim = staffed(3, &[("ana", ANA), ("ana", ANA_TOO)]);
        sim.telephones[0].answers = Some((SECOND, status));
        // The other one would ring on, but for a refusal that is everybody's.
        sim.telephones[1].answers = Some((3 * SECOND, status));
        let phone = ringing(&mut sim);
        sim.until_heard(phone, "disculpa");
        sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
        sim.assert_idle();
        assert_eq!(sim.record().result, result, "{status}");
        let ring = segments(sim.record())[1];
        assert_eq!(ring, (What::Ring, "ana", if status >= 600 { 1 } else { 3 }), "{status}");
    }
}

#[test]
fn nobody_answers_or_nobody_is_there() {
    let mut sim = staffed(4, &[("ana", ANA), ("ana", ANA_TOO)]);
    sim.telephones[0].answers = None;
    // A phone that was switched off without a word.
    sim.telephones[1].cut = true;
    let phone = ringing(&mut sim);
    sim.until_heard(phone, "disculpa");
    sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
    assert!(sim.telephones[0].log.iter().any(|line| line.starts_with("← CANCEL")));
    sim.assert_idle();
    assert_eq!(segments(sim.record())[1], (What::Ring, "ana", 20));
    assert_eq!(sim.record().result, "nadie");
    // Not registered at all.
    let mut sim = staffed(5, &[("luis", LUIS)]);
    let phone = sim.talk("caller", "*77");
    sim.until_heard(phone, "disculpa");
    sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    assert_eq!(sim.record().result, "nadie");
    assert!(path(sim.record()).contains(&"no phone of ana is registered"));
}

#[test]
fn a_caller_who_leaves_takes_everybody_along() {
    // While it rings, in the moment of the answer, and in the talk.
    for leaves in [ms(500), ms(1_990), ms(2_000), ms(2_040), ms(2_100), ms(9_000)] {
        let mut sim = staffed(6, &[("ana", ANA), ("ana", ANA_TOO)]);
        sim.sip_weather = Weather { delay: ms(30), jitter: ms(30), ..Weather::default() };
        let phone = ringing(&mut sim);
        sim.advance(leaves);
        sim.bye(phone);
        sim.assert_idle();
        assert!(sim.telephones.iter().all(|desk| desk.lines.is_empty()), "{leaves:?}");
        let record = sim.record();
        assert_eq!(segments(record).last().map(|(what, ..)| *what), Some(What::End));
        assert!(path(record).contains(&"note colgó"), "{leaves:?}");
        assert_eq!(record.result, if leaves < ms(2_030) { "abandono" } else { "atendida" }, "{leaves:?}");
    }
}

/// Either end holds: the other one hears music, nothing of one goes to the other, and afterwards they talk again.
#[test]
fn whoever_is_on_hold_hears_music() {
    for direction in ["sendonly", "inactive"] {
        let mut sim = staffed(7, &[("ana", ANA)]);
        let phone = bridged(&mut sim);
        let (leg, voice) = (sim.leg(0), sim.telephones[0].voice);
        sim.desk_reoffers(0, leg, direction);
        sim.advance(2 * SECOND);
        let _before = sim.phones[phone].ear.is(0);
        sim.advance(MINUTE);
        assert!(sim.phones[phone].ear.is_music(voice), "{direction}");
        sim.desk_reoffers(0, leg, "sendrecv");
        assert!(sim.hear_each_other(phone, 0), "{direction}");
        // The caller's turn.
        sim.reinvite(phone, direction);
        sim.advance(SECOND);
        let _before = sim.line(0).ear.is(0);
        sim.advance(10 * SECOND);
        assert!(sim.line(0).ear.is_music(VOICE), "{direction}");
        sim.reinvite(phone, "sendrecv");
        assert!(sim.hear_each_other(phone, 0), "{direction}");
        // Who only listens holds nobody.
        sim.desk_reoffers(0, leg, "recvonly");
        sim.phones[phone].sounds = Some([VOICE; 160]);
        sim.advance(SECOND);
        let _before = sim.line(0).ear.is(0);
        sim.advance(2 * SECOND);
        assert!(sim.line(0).ear.is(VOICE), "{direction}");
        assert_eq!((sim.phones[phone].rtp_breaks, sim.line(0).rtp_breaks), (0, 0), "{direction}");
        sim.bye(phone);
        sim.assert_idle();
        let told = segments(sim.record());
        let what: Vec<What> = told.iter().map(|(what, ..)| *what).collect();
        let expected = [What::Ivr, What::Ring, What::Talk, What::Hold, What::Talk, What::Hold, What::Talk, What::End];
        assert_eq!(what, expected, "{told:?}");
        assert!((62..=63).contains(&told[3].2), "{told:?}");
    }
}

/// Both offer at once within their calls: each leg has its own glare (RFC 3261 §14.1), and all is well after it.
#[test]
fn what_happens_on_one_leg_does_not_disturb_the_other() {
    for seed in 0..4 {
        let mut sim = staffed(20 + seed, &[("ana", ANA)]);
        sim.sip_weather = Weather { loss: 15, repeats: 10, delay: ms(20), jitter: ms(200) };
        let phone = bridged(&mut sim);
        let leg = sim.leg(0);
        sim.desk_reoffers(0, leg, "sendonly");
        sim.reinvite(phone, "sendonly");
        sim.advance(20 * SECOND);
        sim.move_audio(phone);
        sim.reinvite(phone, "sendrecv");
        sim.desk_reoffers(0, leg, "sendrecv");
        sim.advance(20 * SECOND);
        assert!(sim.hear_each_other(phone, 0), "seed {seed}: {:#?}", sim.telephones[0].log);
        sim.desk_hangs_up(0, leg);
        sim.until("over", 2 * MINUTE, |sim| sim.phones[phone].bye.is_some());
        sim.assert_idle();
        assert!(sim.telephones[0].lines.is_empty(), "seed {seed}");
        segments(sim.record());
    }
}

/// A bad line all the way, and every way to leave: exactly one record, and nothing is left.
#[test]
fn bad_weather_leaves_nobody_behind() {
    for seed in 0..12 {
        let mut sim = staffed(100 + seed, &[("ana", ANA), ("ana", ANA_TOO), ("luis", LUIS)]);
        sim.sip_weather = Weather { loss: 20, repeats: 15, delay: ms(20), jitter: ms(300) };
        sim.telephones[1].answers = Some((ms(1_500 + 100 * seed), if seed % 3 == 0 { 486 } else { 200 }));
        let phone = sim.dial("caller", if seed % 2 == 0 { "*77" } else { "*79" });
        sim.advance(ms(4_000 + 700 * seed));
        match seed % 4 {
            0 => sim.bye(phone),
            1 => sim.tell(Input::ShutDown),
            2 => {
                for desk in 0..2 {
                    for leg in sim.telephones[desk].lines.keys().copied().collect::<Vec<_>>() {
                        sim.desk_hangs_up(desk, leg);
                    }
                }
            }
            _ => sim.phones[phone].speaks = false,
        }
        sim.advance(4 * MINUTE);
        if sim.exchange.calls() > 0 {
            sim.tell(Input::ShutDown);
        }
        sim.phones[phone].talk = None;
        sim.assert_idle();
        assert!(sim.telephones.iter().all(|desk| desk.lines.is_empty()), "seed {seed}");
        segments(sim.record());
    }
}

#[test]
fn a_call_that_is_not_answered_rings_until_the_agent_answers() {
    let mut sim = staffed(8, &[("ana", ANA)]);
    let phone = sim.dial("caller", "*78");
    sim.until("180", 5 * SECOND, |sim| sim.phones[phone].log.iter().any(|(_, _, line)| line.starts_with("180 ")));
    assert!(sim.phones[phone].finals.is_empty());
    sim.until("answered", 5 * SECOND, |sim| is_bridged(sim, 0));
    assert!(sim.hear_each_other(phone, 0));
    let leg = sim.leg(0);
    sim.desk_hangs_up(0, leg);
    sim.until("over", 5 * SECOND, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    // Given up before: the agent's phone is cancelled, and so is the caller's INVITE.
    let mut sim = staffed(9, &[("ana", ANA)]);
    let phone = sim.dial("caller", "*78");
    sim.until("rings", 5 * SECOND, |sim| !sim.telephones[0].lines.is_empty());
    sim.cancel(phone);
    sim.assert_idle();
    assert_eq!((sim.phones[phone].finals.as_slice(), sim.record().result.as_str()), (&[487][..], "abandono"));
    assert!(sim.telephones[0].lines.is_empty());
}

/// A telephone that vanished does not answer the BYE for half a minute: that is not the caller's time.
#[test]
fn a_vanished_telephone_makes_no_call_longer() {
    let mut sim = staffed(14, &[("ana", ANA)]);
    let phone = bridged(&mut sim);
    sim.telephones[0].cut = true;
    sim.advance(SECOND);
    sim.bye(phone);
    let left = sim.ms();
    sim.advance(SECOND);
    assert!(sim.records.is_empty(), "the leg is waited for");
    sim.assert_idle();
    let record = sim.record();
    let lasted = u64::try_from(record.ended.as_millisecond() - record.began.as_millisecond()).unwrap();
    assert!((left..left + 500).contains(&lasted), "{lasted} ms, and the caller left at {left} ms");
    let sum: u64 = record.segments.iter().map(|segment| segment.ms).sum();
    assert_eq!(sum, lasted);
}

/// Ana's line is busy, luis takes it: one record tells of both.
#[test]
fn a_second_agent_is_asked_when_the_first_does_not_want_to() {
    let mut sim = staffed(10, &[("ana", ANA), ("luis", LUIS)]);
    sim.telephones[0].answers = Some((SECOND, 603));
    let phone = sim.talk("caller", "*79");
    sim.until("luis", 30 * SECOND, |sim| is_bridged(sim, 1));
    sim.advance(5 * SECOND);
    sim.bye(phone);
    sim.assert_idle();
    let told = segments(sim.record());
    let who: Vec<_> = told.iter().map(|(what, who, _)| (*what, *who)).collect();
    assert_eq!(
        who[who.len() - 4..],
        [(What::Ring, "ana"), (What::Ring, "luis"), (What::Talk, "luis"), (What::End, "")]
    );
}

/// One speaks A-law, the other µ-law: the record says so, and both hear each other all the same.
#[test]
fn two_codecs_are_transcoded_and_the_record_says_so() {
    let mut sim = staffed(11, &[("ana", ANA)]);
    sim.telephones[0].formats = "8 101";
    let phone = sim.phone("caller");
    sim.phones[phone].formats = "0 101";
    sim.invite(phone, "*77");
    sim.until("answered", 30 * SECOND, |sim| is_bridged(sim, 0));
    sim.advance(5 * SECOND);
    let _before = sim.phones[phone].ear.is(0);
    sim.advance(2 * SECOND);
    // The same sample in the other law.
    assert!(!sim.phones[phone].ear.is(0xff));
    sim.bye(phone);
    sim.assert_idle();
    let said = path(sim.record());
    assert!(said.iter().any(|what| what.contains("transcoded PCMA → PCMU")), "{said:#?}");
    assert!(said.iter().any(|what| what.contains("transcoded PCMU → PCMA")), "{said:#?}");
}

/// The agent's phone vanishes in the midst of the talk: its leg ends by its silence, and the caller goes on.
#[test]
fn an_agent_whose_phone_vanishes_costs_the_caller_nothing() {
    let mut config = Config::default();
    config.rtp.silence = 8 * SECOND;
    config.registrar.max_expires = Duration::from_secs(86_400);
    let mut sim = Sim::with(Setup { config, desks: vec![("ana", ANA)], ..Setup::default() });
    sim.desk("ana", ANA);
    let phone = bridged(&mut sim);
    sim.telephones[0].cut = true;
    sim.until_heard(phone, "algo_mas");
    sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
    sim.telephones[0].lines.clear();
    sim.assert_idle();
    assert!(path(sim.record()).contains(&"no RTP from the other side: it is hung up"));
    assert_eq!(sim.record().result, "atendida");
}

/// A drain lets talks go on and places no calls.
#[test]
fn a_drain_places_no_calls() {
    let mut sim = staffed(12, &[("ana", ANA)]);
    let phone = sim.talk("caller", "*77");
    sim.tell(Input::Drain { retry_after: 30 });
    sim.until_heard(phone, "disculpa");
    sim.until("over", 60 * SECOND, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    assert_eq!(sim.record().result, "fallo");
    assert!(sim.telephones[0].log.is_empty());
}

/// An hour of talk with session timers on both legs: nothing of it is the flow's business.
#[test]
fn an_hour_of_talk_outlasts_the_flow_and_both_sessions() {
    let mut sim = staffed(13, &[("ana", ANA)]);
    let phone = bridged(&mut sim);
    sim.advance(60 * MINUTE);
    assert!(sim.phones[phone].talk.is_some() && is_bridged(&sim, 0));
    let refreshed = sim.telephones[0].events.iter().filter(|(_, event)| matches!(event, Event::Reoffered { .. }));
    assert!(refreshed.count() > 0 || sim.telephones[0].log.iter().any(|line| line.contains("UPDATE")));
    sim.bye(phone);
    sim.assert_idle();
}
