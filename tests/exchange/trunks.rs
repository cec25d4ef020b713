//! What the engine keeps up with its carriers: registrations and probes, through good and bad weather.

use contesta::config;
use contesta::fault::SourceFile;
use contesta::sip::Method;
use contesta::sip::locate::{Answer, Kind, Question, Record};
use contesta::sip::registrar::Offers;
use contesta::sip::trunk::Standing;

use super::sim::carrier::{PASSWORD, USER};
use super::*;

const FIRST: &str = "198.51.100.1:5060";
const SECOND_GATEWAY: &str = "198.51.100.2:5060";

/// A centre with one trunk that has these gateways and lines.
fn centre(gateways: &str, lines: &str) -> Sim {
    let text = format!(
        "[[trunks]]\nname = 'carrier'\ngateways = [{gateways}]\nuser = '{USER}'\npassword = '{PASSWORD}'\n\
         register = true\nexpires = '2m'\n{lines}\n"
    );
    let config = config::load(&SourceFile { path: "contesta.toml".into(), text }).unwrap_or_else(|f| panic!("{f:#?}"));
    Sim::with(Setup { config, ..Setup::default() })
}

fn is_registered(sim: &Sim) -> bool {
    let (_, trunk) = sim.exchange.trunks().iter().next().unwrap();
    trunk.registration().unwrap().registered_until().is_some_and(|until| until > sim.moment())
}

fn count(sim: &Sim, carrier: usize, wanted: Method) -> usize {
    sim.carriers[carrier].requests.iter().filter(|(method, _)| *method == wanted).count()
}

fn standings(sim: &Sim) -> Vec<Standing> {
    let (_, trunk) = sim.exchange.trunks().iter().next().unwrap();
    trunk.ways().map(|(_, health)| health.standing()).collect()
}

fn targets(sim: &Sim, carrier: usize) -> usize {
    sim.carriers[carrier].agent.registrar().unwrap().targets(USER).len()
}

#[test]
fn a_trunk_registers_refreshes_and_takes_its_registration_back_at_the_end() {
    for offers in [Offers::Md5, Offers::Sha256, Offers::Both] {
        let mut sim = centre("'sip:198.51.100.1'", "probe = '0s'");
        let carrier = sim.carrier(FIRST, offers, (30, 120));
        sim.tell(Input::Begin);
        sim.advance(SECOND);
        assert!(is_registered(&sim), "{offers:?}");
        assert_eq!((count(&sim, carrier, Method::Register), targets(&sim, carrier)), (2, 1));
        // Refreshed each minute or a little later, with the nonce that is known.
        sim.advance(30 * MINUTE);
        assert!(is_registered(&sim));
        let refreshes = count(&sim, carrier, Method::Register);
        assert!((27..=40).contains(&refreshes), "{refreshes}");
        sim.tell(Input::Drain { retry_after: 1 });
        sim.advance(SECOND);
        assert!(sim.exchange.trunks().are_over());
        assert_eq!(targets(&sim, carrier), 0);
        sim.assert_idle();
    }
}

/// An hour over a network that loses a fifth of all datagrams, repeats and reorders: the carrier always knows where we are.
#[test]
fn a_registration_outlasts_bad_weather() {
    for seed in 1..=5 {
        let mut sim = centre("'sip:198.51.100.1'", "");
        sim.dice = Ids::from_seed(seed);
        let carrier = sim.carrier(FIRST, Offers::Md5, (30, 120));
        sim.sip_weather = Weather { loss: 20, repeats: 10, delay: ms(30), jitter: ms(60) };
        sim.tell(Input::Begin);
        sim.advance(20 * SECOND);
        for minute in 0..60 {
            assert!(is_registered(&sim) && targets(&sim, carrier) == 1, "seed {seed}, minute {minute}");
            sim.advance(MINUTE);
        }
        assert_eq!(standings(&sim), [Standing::Up], "lost probes take nobody down");
    }
}

/// RFC 3261 §10.2.8.
#[test]
fn a_carrier_that_grants_no_less_than_an_hour_gets_its_way() {
    let mut sim = centre("'sip:198.51.100.1'", "probe = '0s'");
    let carrier = sim.carrier(FIRST, Offers::Md5, (3_600, 7_200));
    sim.tell(Input::Begin);
    sim.advance(10 * MINUTE);
    assert!(is_registered(&sim));
    // The first, one with credentials that is too brief, and one that is not.
    assert_eq!(count(&sim, carrier, Method::Register), 3);
}

#[test]
fn a_silent_gateway_costs_the_way_to_the_next_and_is_probed_until_it_is_back() {
    let mut sim = centre("'sip:198.51.100.1', 'sip:198.51.100.2'", "probe = '30s'");
    let first = sim.carrier(FIRST, Offers::Md5, (30, 120));
    let second = sim.carrier(SECOND_GATEWAY, Offers::Md5, (30, 120));
    sim.carriers[first].silent = true;
    sim.tell(Input::Begin);
    sim.advance(20 * SECOND);
    assert_eq!(standings(&sim), [Standing::Down, Standing::Up]);
    sim.advance(20 * SECOND);
    assert!(is_registered(&sim), "after timer F of the first");
    assert_eq!((targets(&sim, first), targets(&sim, second)), (0, 1));
    sim.carriers[first].silent = false;
    sim.advance(MINUTE);
    assert_eq!(standings(&sim), [Standing::Up, Standing::Up]);
    // The second goes: the refresh finds the first.
    sim.carriers[second].silent = true;
    sim.advance(3 * MINUTE);
    assert!(is_registered(&sim));
    assert_eq!((targets(&sim, first), standings(&sim)), (1, vec![Standing::Up, Standing::Down]));
}

#[test]
fn two_trunks_stand_by_themselves() {
    let text = format!(
        "[[trunks]]\nname = 'a'\ngateways = ['sip:198.51.100.1']\nuser = '{USER}'\npassword = '{PASSWORD}'\nregister = true\n\
         [[trunks]]\nname = 'b'\ngateways = ['sip:198.51.100.2']\nuser = '{USER}'\npassword = 'wrong'\nregister = true\n"
    );
    let config = config::load(&SourceFile { path: "contesta.toml".into(), text }).unwrap();
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    let first = sim.carrier(FIRST, Offers::Md5, (30, 120));
    let second = sim.carrier(SECOND_GATEWAY, Offers::Md5, (30, 120));
    sim.tell(Input::Begin);
    sim.advance(4 * MINUTE);
    assert_eq!((targets(&sim, first), targets(&sim, second)), (1, 0));
    // The wrong password was shown once, not every few seconds.
    assert_eq!(count(&sim, second, Method::Register), 2);
    sim.tell(Input::Drain { retry_after: 1 });
    sim.advance(SECOND);
    assert!(sim.exchange.trunks().are_over() && targets(&sim, first) == 0);
    sim.assert_idle();
}

#[test]
fn a_carrier_that_is_away_is_found_when_it_is_back_and_nobody_waits_for_it_at_the_end() {
    let mut sim = centre("'sip:198.51.100.1'", "probe = '0s'");
    let carrier = sim.carrier(FIRST, Offers::Md5, (30, 120));
    sim.carriers[carrier].refuses = Some(503);
    sim.tell(Input::Begin);
    sim.advance(90 * SECOND);
    assert_eq!(count(&sim, carrier, Method::Register), 1, "it asked for two minutes");
    sim.carriers[carrier].refuses = None;
    sim.advance(MINUTE);
    assert!(is_registered(&sim));
    sim.carriers[carrier].silent = true;
    sim.tell(Input::Drain { retry_after: 1 });
    assert!(!sim.exchange.trunks().are_over());
    sim.advance(33 * SECOND);
    assert!(sim.exchange.trunks().are_over());
    sim.assert_idle();
}

fn address(name: &str, address: &str) -> (Question, Answer) {
    let records = vec![Record::Address(address.parse().unwrap())];
    (Question::new(name, Kind::A), Answer::Records { records, ttl: 60 * SECOND })
}

/// RFC 3263 from the settings to the call: the name is looked up, followed when it moves, and what comes from its address is the trunk's.
#[test]
fn a_gateway_by_name_is_located_followed_and_let_in() {
    let mut sim = centre("'sip:carrier.example'", "");
    let old = sim.carrier("198.51.100.1:5070", Offers::Md5, (30, 120));
    let new = sim.carrier("198.51.100.2:5070", Offers::Md5, (30, 120));
    let hosts = vec![Record::Srv { priority: 0, weight: 0, port: 5070, target: "sbc.example".into() }];
    let service = Question::new("_sip._udp.carrier.example", Kind::Srv);
    sim.zone =
        vec![(service, Answer::Records { records: hosts, ttl: 600 * SECOND }), address("sbc.example", "198.51.100.1")];
    sim.tell(Input::Begin);
    sim.advance(2 * SECOND);
    assert!(is_registered(&sim) && targets(&sim, old) == 1);
    assert_eq!(sim.looked_up.len(), 5, "{:?}", sim.looked_up);
    let trunk_of = |sim: &Sim, address: &str| {
        let trunk = sim.exchange.snapshot().config().trunk_of(address.parse().unwrap());
        trunk.map(|trunk| trunk.name.clone())
    };
    assert_eq!((trunk_of(&sim, "198.51.100.1").as_deref(), trunk_of(&sim, "198.51.100.2")), (Some("carrier"), None));
    // The name server fails: the last answer holds.
    sim.zone[1].1 = Answer::Failed("no answer".into());
    sim.advance(10 * MINUTE);
    assert!(is_registered(&sim) && standings(&sim) == [Standing::Up]);
    // The host moves.
    sim.zone[1] = address("sbc.example", "198.51.100.2");
    sim.carriers[old].silent = true;
    sim.advance(3 * MINUTE);
    assert!(is_registered(&sim) && targets(&sim, new) == 1);
    assert_eq!(trunk_of(&sim, "198.51.100.2").as_deref(), Some("carrier"));
    sim.advance(61 * MINUTE);
    assert_eq!(trunk_of(&sim, "198.51.100.1"), None, "it was not named for an hour");
}

#[test]
fn a_name_that_does_not_exist_is_asked_again_and_costs_nobody_else_anything() {
    let mut sim = centre("'sip:nobody.example:5060'", "");
    let carrier = sim.carrier(FIRST, Offers::Md5, (30, 120));
    sim.tell(Input::Begin);
    sim.advance(5 * MINUTE);
    assert!(!is_registered(&sim) && (4..=6).contains(&sim.looked_up.len()), "{:?}", sim.looked_up);
    sim.zone = vec![address("nobody.example", "198.51.100.1")];
    sim.advance(2 * MINUTE);
    assert!(is_registered(&sim) && targets(&sim, carrier) == 1);
}

/// Two of three name servers are silent, so that each question takes longer than its answer holds, and some are not answered at all.
#[test]
fn a_slow_name_server_holds_nobody_back_and_is_waited_for() {
    let mut sim = centre("'sip:carrier.example', 'sip:198.51.100.2'", "");
    sim.carrier(FIRST, Offers::Md5, (30, 120));
    let second = sim.carrier(SECOND_GATEWAY, Offers::Md5, (30, 120));
    let failed = |name: &str, kind| (Question::new(name, kind), Answer::Failed("no answer".into()));
    let (question, answer) = address("carrier.example", "198.51.100.1");
    let Answer::Records { records, .. } = answer else { panic!("no records") };
    let services =
        ["_sip._udp", "_sip._tcp", "_sips._tcp"].map(|name| failed(&format!("{name}.carrier.example"), Kind::Srv));
    sim.zone = vec![failed("carrier.example", Kind::Naptr), (question, Answer::Records { records, ttl: SECOND })];
    sim.zone.extend(services);
    sim.dns_takes = 9 * SECOND;
    sim.tell(Input::Begin);
    sim.advance(4 * SECOND);
    assert!(is_registered(&sim) && targets(&sim, second) == 1, "the other gateway waits for nobody");
    assert_eq!(standings(&sim).len(), 1);
    sim.advance(40 * SECOND);
    assert_eq!(standings(&sim), [Standing::Up, Standing::Up]);
    sim.advance(5 * MINUTE);
    assert_eq!((targets(&sim, second), standings(&sim).len()), (1, 2), "it stays where it is registered");
}

#[test]
fn an_answer_of_the_dns_that_is_lost_is_asked_for_again() {
    let mut sim = centre("'sip:carrier.example:5060'", "");
    sim.carrier(FIRST, Offers::Md5, (30, 120));
    sim.zone = vec![address("carrier.example", "198.51.100.1")];
    sim.dns_loses = 1;
    sim.tell(Input::Begin);
    sim.advance(2 * MINUTE);
    assert!(is_registered(&sim), "{:?}", sim.looked_up);
    // Nobody asks any more once the engine stops.
    sim.dns_loses = u32::MAX;
    sim.advance(2 * MINUTE);
    sim.tell(Input::Drain { retry_after: 1 });
    sim.advance(SECOND);
    sim.assert_idle();
}

#[test]
fn two_names_of_one_host_are_one_way() {
    let mut sim = centre("'sip:a.example:5060', 'sip:b.example:5060', 'sip:198.51.100.1'", "");
    let carrier = sim.carrier(FIRST, Offers::Md5, (30, 120));
    sim.zone = vec![address("a.example", "198.51.100.1"), address("b.example", "198.51.100.1")];
    sim.tell(Input::Begin);
    sim.advance(20 * SECOND);
    assert_eq!(standings(&sim), [Standing::Up]);
    assert_eq!(count(&sim, carrier, Method::Options), 1);
}

/// A carrier whose name servers name two of its four hosts at a time: a call may come from any of them.
#[test]
fn hosts_that_the_dns_names_in_turn_are_the_trunks_all_the_while() {
    let mut sim = centre("'sip:carrier.example:5060'", "");
    for host in 1..=4 {
        sim.carrier(&format!("198.51.100.{host}:5060"), Offers::Md5, (30, 120));
    }
    let hosts = |first: u8, second: u8| {
        let records = [first, second].map(|host| Record::Address([198, 51, 100, host].into())).to_vec();
        (Question::new("carrier.example", Kind::A), Answer::Records { records, ttl: 60 * SECOND })
    };
    let are_known = |sim: &Sim| {
        let config = sim.exchange.snapshot().config();
        (1..=5).map(|host| config.trunk_of([198, 51, 100, host].into()).is_some()).collect::<Vec<_>>()
    };
    sim.zone = vec![hosts(1, 2)];
    sim.tell(Input::Begin);
    for turn in 0..20 {
        sim.zone = vec![if turn % 2 == 0 { hosts(3, 4) } else { hosts(1, 2) }];
        sim.advance(2 * MINUTE);
        assert_eq!(are_known(&sim), [true, true, true, true, false], "turn {turn}");
        assert_eq!(standings(&sim).len(), 2);
    }
    sim.zone = vec![hosts(1, 2)];
    sim.advance(70 * MINUTE);
    assert_eq!(are_known(&sim), [true, true, false, false, false]);
}

/// What one host of a carrier refused, the other hosts that the DNS names meanwhile are not asked for before their time.
#[test]
fn a_refusal_is_waited_out_however_often_the_hosts_change() {
    let mut sim = centre("'sip:carrier.example:5060'", "probe = '0s'");
    let carriers = [FIRST, SECOND_GATEWAY].map(|host| sim.carrier(host, Offers::Md5, (30, 120)));
    for carrier in carriers {
        sim.carriers[carrier].refuses = Some(403);
    }
    sim.tell(Input::Begin);
    for minute in 0..5 {
        sim.zone = vec![address("carrier.example", if minute % 2 == 0 { "198.51.100.1" } else { "198.51.100.2" })];
        sim.advance(MINUTE);
    }
    let asked: usize = carriers.map(|carrier| count(&sim, carrier, Method::Register)).iter().sum();
    assert_eq!(asked, 1, "a refusal is good for five minutes at least");
}

/// A caller of `number`, in a centre whose trunk has two gateways; where it ends, and what the gateways were sent.
fn outside(number: &str, lines: &str, stage: impl Fn(&mut Sim)) -> Sim {
    let text = format!(
        "[[trunks]]\nname = 'any'\nsources = ['198.18.0.0/16']\n\
         [[trunks]]\nname = 'carrier'\ngateways = ['sip:198.51.100.21', 'sip:198.51.100.22']\nprobe = '0s'\nadvertised = '203.0.113.7'\n\
         allow = ['55XXXXXXXX']\ncaller = '5550001122'\n{lines}\n"
    );
    let config = config::load(&SourceFile { path: "contesta.toml".into(), text }).unwrap_or_else(|f| panic!("{f:#?}"));
    let desks = vec![("ana", "198.51.100.21:5060"), ("luis", "198.51.100.22:5060")];
    let mut sim = Sim::with(Setup { config, desks: desks.clone(), ..Setup::default() });
    for (user, address) in desks {
        sim.desk(user, address);
    }
    sim.tell(Input::Begin);
    stage(&mut sim);
    let phone = sim.dial("caller", number);
    sim.advance(20 * SECOND);
    if sim.phones[phone].bye.is_none() && sim.exchange.calls() > 0 {
        sim.bye(phone);
    }
    sim.advance(40 * SECOND);
    assert_eq!((sim.exchange.calls(), sim.exchange.capacity().calls(1)), (0, 0), "{:#?}", sim.records);
    sim
}

/// The first INVITE that a gateway got.
fn invites(sim: &Sim, gateway: usize) -> usize {
    sim.telephones[gateway].log.iter().filter(|line| line.starts_with("← INVITE")).count()
}

#[test]
fn a_call_goes_out_by_a_trunk_as_its_settings_say() {
    let sim = outside("*76", "format = 'e164'\nprefix = '9'", |_| {});
    assert_eq!((invites(&sim, 0), invites(&sim, 1)), (1, 0));
    let ladder = &sim.record().ladder;
    assert!(ladder.contains("INVITE sip:9525555123456@198.51.100.21"), "{ladder}");
    assert!(ladder.contains("audio 192.0.2.10:"), "{ladder}");
    let who: Vec<&str> = sim.record().segments.iter().map(|segment| segment.who.as_str()).collect();
    assert!(who.contains(&"55 5512 3456"), "{who:?}");
}

/// RFC 3263 §4.3: 503 and silence lead to the other gateway, a refusal does not.
#[test]
fn a_gateway_that_cannot_take_the_call_costs_no_call() {
    for silent in [false, true] {
        let sim = outside("*76", "", |sim| {
            sim.telephones[0].cut = silent;
            sim.telephones[0].answers = Some((ms(50), 503));
        });
        assert_eq!(invites(&sim, 1), 1, "{:#?}", sim.records);
        let record = sim.record();
        assert!(record.segments.iter().any(|segment| segment.what == contesta::call::What::Talk), "{record:#?}");
    }
    let sim = outside("*76", "", |sim| sim.telephones[0].answers = Some((ms(50), 486)));
    assert_eq!((invites(&sim, 0), invites(&sim, 1), sim.record().result.as_str()), (1, 0, "ocupada"));
}

#[test]
fn what_a_trunk_does_not_call_reaches_no_gateway() {
    let sim = outside("*75", "", |_| {});
    assert_eq!((invites(&sim, 0), invites(&sim, 1), sim.record().result.as_str()), (0, 0, "fallo"));
    let path: Vec<&str> = sim.record().path.iter().map(|entry| entry.what.as_str()).collect();
    assert!(path.iter().any(|line| line.contains("no pattern of «allow» names it")), "{path:?}");
}
