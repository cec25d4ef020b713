//! Agents' phones register, through good and bad weather; guessers and floods are held off, and disturb nobody else.

use bytes::Bytes;
use contesta::config::Network;
use contesta::exchange::guard::Counters;

use super::*;

const PASSWORD: &str = "corcel-7-nube";

/// A centre with these agents, and a trunk at 198.18.0.0/16, where the simulation's telephones live.
fn centre(agents: &[&str], change: impl FnOnce(&mut Config)) -> Sim {
    let mut config = Config::default();
    config.trunks = vec![Trunk { sources: vec!["198.18.0.0/16".parse().unwrap()], ..config.trunks[0].clone() }];
    change(&mut config);
    let agents = agents.iter().map(|user| ((*user).to_owned(), PASSWORD.to_owned())).collect();
    Sim::with(Setup { config, agents, ..Setup::default() })
}

fn targets(sim: &Sim, user: &str) -> Vec<(String, String)> {
    let targets = sim.exchange.registrar().unwrap().targets(user);
    targets.into_iter().map(|target| (target.uri, target.peer.to_string())).collect()
}

fn counters(sim: &Sim) -> Counters {
    sim.exchange.guard().counters()
}

/// A request of somebody whom nobody knows.
fn invite(from: &str, branch: &str) -> String {
    format!(
        "INVITE sip:*2363@contesta SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch};rport\r\nFrom: <sip:100@x>;tag=1\r\n\
         To: <sip:*2363@contesta>\r\nCall-ID: {branch}\r\nCSeq: 1 INVITE\r\nContact: <sip:100@{from}>\r\nMax-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// The same answer, but for what differs with each nonce and request.
fn comparable(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let kept =
        text.lines().filter(|line| !["Via:", "From:", "To:", "Call-ID:"].iter().any(|name| line.starts_with(name)));
    let nonceless = kept.map(|line| match line.split_once("nonce=\"") {
        Some((before, after)) => format!("{before}{}", after.split_once('"').unwrap().1),
        None => line.to_owned(),
    });
    nonceless.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_phone_behind_a_nat_is_registered_refreshed_and_gone_when_it_falls_silent() {
    let mut sim = centre(&["ana"], |_| {});
    let ana = sim.registrant("ana", PASSWORD, "203.0.113.9:40000");
    sim.register(ana);
    sim.advance(SECOND);
    assert_eq!(sim.registrants[ana].finals, [200]);
    let ok = sim.registrants[ana].last.clone();
    assert_eq!(peer::header(&ok, "Contact").as_deref(), Some("<sip:ana@192.168.1.5:5060>;expires=120"));
    assert!(peer::header(&ok, "Via").unwrap().contains(";rport=40000;"), "{ok:?}");
    assert_eq!(targets(&sim, "ana"), [("sip:ana@192.168.1.5:5060".to_owned(), "udp:203.0.113.9:40000".to_owned())]);
    assert_eq!(sim.stored_registrations(), [("ana".to_owned(), "sip:ana@192.168.1.5:5060".to_owned())]);

    // It refreshes each minute with the nonce it has, without a further challenge.
    sim.advance(5 * MINUTE);
    assert_eq!((sim.registrants[ana].finals.clone(), sim.registrants[ana].messages), (vec![200; 6], 7));
    sim.registrants[ana].refreshes = false;
    sim.advance(3 * MINUTE);
    assert_eq!((targets(&sim, "ana"), sim.stored_registrations()), (vec![], vec![]));
    sim.assert_idle();
    assert_eq!(counters(&sim).wrong_passwords, 0);
}

#[test]
fn a_phone_says_good_bye() {
    let mut sim = centre(&["ana"], |_| {});
    let ana = sim.registrant("ana", PASSWORD, "203.0.113.9:40000");
    sim.register(ana);
    sim.advance(SECOND);
    sim.registrants[ana].expires = 0;
    sim.register(ana);
    sim.advance(SECOND);
    assert_eq!(sim.registrants[ana].finals, [200, 200]);
    assert_eq!(peer::header(&sim.registrants[ana].last, "Contact"), None);
    assert_eq!((targets(&sim, "ana"), sim.stored_registrations()), (vec![], vec![]));
    sim.assert_idle();
}

/// Half an hour of a hundred phones behind five NATs, whose network loses, repeats and reorders: nobody is ever unregistered, refused, or
/// taken for a guesser.
#[test]
fn a_hundred_phones_stay_registered_through_bad_weather() {
    let agents: Vec<String> = (0..100).map(|number| format!("agente{number}")).collect();
    let names: Vec<&str> = agents.iter().map(String::as_str).collect();
    let mut sim = centre(&names, |_| {});
    sim.sip_weather = Weather { loss: 15, repeats: 15, delay: ms(20), jitter: ms(900) };
    for (number, user) in names.iter().enumerate() {
        let phone = sim.registrant(user, PASSWORD, &format!("203.0.113.{}:{}", number % 5, 40_000 + number));
        sim.register(phone);
        sim.advance(ms(200));
    }
    sim.advance(MINUTE);
    for _ in 0..60 {
        sim.advance(30 * SECOND);
        let lost: Vec<_> = names.iter().filter(|user| targets(&sim, user).is_empty()).collect();
        assert!(lost.is_empty(), "{lost:?} are not registered after {} s", sim.ms() / 1_000);
    }
    assert!(sim.registrants.iter().all(|one| one.finals.iter().all(|status| *status == 200) && one.finals.len() > 25));
    assert_eq!(sim.stored_registrations().len(), 100);
    let Counters { wrong_passwords, blocked_users, blocked_sources, dropped_blocked, .. } = counters(&sim);
    assert_eq!((wrong_passwords, blocked_users, blocked_sources, dropped_blocked), (0, 0, 0, 0));
    for one in &mut sim.registrants {
        one.refreshes = false;
    }
    sim.advance(3 * MINUTE);
    assert!(sim.stored_registrations().is_empty());
    sim.assert_idle();
}

/// Which users exist cannot be told by asking.
#[test]
fn a_wrong_user_and_a_wrong_password_get_the_same_answers() {
    let mut sim = centre(&["ana"], |_| {});
    let answers = ["ana", "eva"].map(|user| {
        let guesser = sim.registrant(user, "a guess", "203.0.113.9:40000");
        sim.register(guesser);
        sim.advance(SECOND);
        assert_eq!((sim.registrants[guesser].finals.clone(), sim.registrants[guesser].messages), (vec![401], 2));
        comparable(&sim.registrants[guesser].last)
    });
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains("WWW-Authenticate: Digest realm=\"contesta\"") && !answers[0].contains("stale"));
    assert_eq!(counters(&sim).wrong_passwords, 2);
}

/// Pain 18: behind one address somebody guesses until it is blocked. The phone that is registered there stays so, and is heard.
#[test]
fn a_guesser_is_silenced_and_its_neighbour_is_not() {
    let mut sim = centre(&["ana", "eva", "rosa", "luis", "juan", "sara"], |_| {});
    let ana = sim.registrant("ana", PASSWORD, "203.0.113.9:40000");
    sim.register(ana);
    sim.advance(SECOND);
    let guessers: Vec<usize> = ["eva", "rosa", "luis", "juan", "nadie"]
        .iter()
        .enumerate()
        .map(|(number, user)| sim.registrant(user, "a guess", &format!("203.0.113.9:{}", 50_000 + number)))
        .collect();
    for guesser in &guessers {
        sim.register(*guesser);
        sim.advance(SECOND);
        assert_eq!(sim.registrants[*guesser].finals, [401]);
    }
    assert_eq!(counters(&sim).blocked_sources, 1);
    // The right password of somebody who is not registered comes too late; from elsewhere it does not.
    let late = sim.registrant("sara", PASSWORD, "203.0.113.9:51000");
    let elsewhere = sim.registrant("sara", PASSWORD, "203.0.113.10:51000");
    [late, elsewhere].iter().for_each(|phone| sim.register(*phone));
    sim.advance(10 * SECOND);
    assert_eq!((sim.registrants[late].messages, sim.registrants[elsewhere].finals.clone()), (0, vec![200]));
    // Ten minutes on the neighbour is still registered, and calls.
    sim.advance(10 * MINUTE);
    assert_eq!(targets(&sim, "ana").len(), 1);
    assert!(sim.registrants[ana].finals.len() > 9 && sim.registrants[ana].finals.iter().all(|status| *status == 200));
    sim.send_from(sim.registrants[ana].address, invite("203.0.113.9:40000", "anacalls"));
    sim.advance(SECOND);
    assert_eq!(
        peer::first_line(&sim.registrants[ana].last),
        "200 OK",
        "an INVITE without an offer is answered with one"
    );
    assert_eq!(sim.exchange.calls(), 1);
    sim.advance(6 * MINUTE);
    sim.register(late);
    sim.advance(SECOND);
    assert_eq!(sim.registrants[late].finals, [200], "a block ends");
}

/// A call that has begun is heard to its end, whatever else comes from its address.
#[test]
fn a_block_ends_nobodys_call() {
    let mut sim = centre(&[], |config| config.trunks = Config::default().trunks);
    let ana = sim.talk("ana", "*2363");
    let neighbour = std::net::SocketAddr::new(sim.phones[ana].sip.ip(), 40_000);
    for number in 0..40 {
        let text = invite(&neighbour.to_string(), &format!("n{number}")).replace("sip:*2363@", "sip:5550000@");
        sim.send_from(neighbour, text);
        sim.advance(ms(100));
    }
    let Counters { unknown_numbers, blocked_sources, dropped_blocked, .. } = counters(&sim);
    assert_eq!((unknown_numbers, blocked_sources), (30, 1));
    assert!(dropped_blocked >= 10);
    sim.keys(ana, "2");
    sim.info(ana, '2');
    sim.advance(SECOND);
    assert_eq!(peer::status(&sim.phones[ana].last_response), 200);
    sim.bye(ana);
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the far end hung up");
    let again = sim.dial("again", "*2363");
    sim.advance(SECOND);
    assert_eq!(sim.phones[again].finals, [200], "another address");
}

/// Thirty seconds of 2,000 calls a second from all over the world: a trunk's calls are answered as if nothing were, phones register, and
/// nothing of it is left.
#[test]
fn a_flood_of_strangers_is_not_noticed_by_trunks_and_phones() {
    let mut sim = centre(&["ana"], |_| {});
    let mut late = 0;
    for second in 0..30 {
        let caller = sim.dial(&format!("caller{second}"), "*2363");
        if second == 20 {
            let ana = sim.registrant("ana", PASSWORD, "203.0.113.9:40000");
            sim.register(ana);
        }
        for slot in 0..50 {
            for number in 0..40 {
                let from =
                    format!("{}:5060", std::net::Ipv4Addr::from_bits(0x0a00_0000 + sim.dice.below(100_000) as u32));
                let text = invite(&from, &format!("f{second}x{slot}x{number}"));
                sim.tell(Input::Message {
                    source: contesta::sip::Peer::udp(from.parse().unwrap()),
                    bytes: text.into(),
                });
            }
            sim.advance(ms(20));
            late += u32::from(slot == 0 && sim.phones[caller].finals != [200]);
        }
        sim.bye(caller);
    }
    assert_eq!((late, sim.registrants[0].finals.clone()), (0, vec![200]));
    let Counters { refused, dropped_flood, .. } = counters(&sim);
    assert_eq!(refused + dropped_flood, 60_000);
    assert!(refused <= 500 * 35, "{refused}");
    sim.registrants[0].refreshes = false;
    sim.advance(2 * MINUTE);
    sim.assert_idle();
    assert_eq!(sim.records.len(), 30);
}

#[test]
fn phones_register_from_where_they_may() {
    let only: Network = "10.0.0.0/8".parse().unwrap();
    for (trunks, elsewhere) in [(Vec::new(), 403), (Config::default().trunks, 403)] {
        let mut sim = centre(&["ana"], |config| (config.registrar.sources, config.trunks) = (vec![only], trunks));
        for (address, status) in [("203.0.113.9:40000", elsewhere), ("10.1.2.3:40000", 200)] {
            let ana = sim.registrant("ana", PASSWORD, address);
            sim.register(ana);
            sim.advance(SECOND);
            assert_eq!(sim.registrants[ana].finals, [status], "{address}");
        }
    }
    let mut nobody = centre(&[], |config| config.trunks = Config::default().trunks);
    let ana = nobody.registrant("ana", PASSWORD, "203.0.113.9:40000");
    nobody.register(ana);
    nobody.advance(SECOND);
    assert_eq!(nobody.registrants[ana].finals, [405], "without agents there is nothing to register with");
}

/// RFC 5626 §4.4.2: a registered phone learns its address; a stranger gets no answer from a port that it might aim at others.
#[test]
fn a_registered_phone_keeps_its_way_open() {
    let mut sim = centre(&["ana"], |_| {});
    let ana = sim.registrant("ana", PASSWORD, "203.0.113.9:40000");
    let request = Bytes::from_static(b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl");
    sim.send_from(sim.registrants[ana].address, request.clone());
    sim.advance(SECOND);
    assert_eq!(sim.registrants[ana].messages, 0);
    sim.register(ana);
    sim.advance(SECOND);
    sim.send_from(sim.registrants[ana].address, request);
    sim.advance(SECOND);
    assert_eq!((sim.registrants[ana].messages, sim.registrants[ana].last[..2].to_vec()), (3, vec![1, 1]));
}
