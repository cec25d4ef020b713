//! The guard in simulated time.
#![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

use super::*;
use crate::config::Config;
use crate::ids::Ids;

const SECOND: Duration = Duration::from_secs(1);
const INVITE: Kind<'_> = Kind::Request(Method::Invite);

struct Door {
    guard: Guard,
    now: Instant,
}

impl Door {
    fn new(change: impl FnOnce(&mut config::Guard)) -> Self {
        Self::with(config::Strangers::Refuse, change)
    }

    fn with(strangers: config::Strangers, change: impl FnOnce(&mut config::Guard)) -> Self {
        let mut settings = Config::default().guard;
        change(&mut settings);
        Self { guard: Guard::new(settings, strangers), now: Instant::now() }
    }

    fn admit(&mut self, from: &str, standing: Standing, kind: Kind<'_>) -> Verdict {
        self.guard.admit(self.now, &peer(from), standing, false, kind)
    }

    fn stranger(&mut self, from: &str, kind: Kind<'_>) -> Verdict {
        self.admit(from, Standing::Stranger, kind)
    }

    fn guess(&mut self, from: &str, user: &str) -> Verdict {
        let verdict = self.stranger(from, register(Some(user)));
        if verdict == Verdict::Pass {
            self.guard.offence(self.now, &peer(from), Standing::Stranger, Offence::WrongPassword { user });
        }
        verdict
    }
}

fn peer(address: &str) -> Peer {
    Peer::udp(address.parse().unwrap())
}

fn register(user: Option<&str>) -> Kind<'_> {
    Kind::Register { user, own: false }
}

const ONE: &str = "203.0.113.1:5060";
const NEIGHBOUR: &str = "203.0.113.1:40000";
const OTHER: &str = "203.0.113.2:5060";

#[test]
fn strangers_get_403_at_a_rate_and_silence_beyond_it() {
    let mut door = Door::new(|_| {});
    let answers = |door: &mut Door| (0..100).filter(|_| door.stranger(ONE, INVITE) == Verdict::Refuse).count();
    assert_eq!(answers(&mut door), 50);
    assert_eq!(door.stranger(OTHER, INVITE), Verdict::Refuse, "another address has a rate of its own");
    door.now += SECOND;
    assert_eq!(answers(&mut door), 10);
    assert_eq!(door.guard.counters().refused, 61);
    let mut silent = Door::with(config::Strangers::Ignore, |_| {});
    assert_eq!(answers(&mut silent), 0);
    for kind in [Kind::Request(Method::Ack), Kind::Noise] {
        assert_eq!(door.stranger(ONE, kind), Verdict::Drop, "never answered");
    }
}

/// Trunks, and what belongs to calls that we have, pass whatever else comes from there.
#[test]
fn trunks_and_calls_always_pass() {
    let mut door = Door::new(|settings| (settings.rate, settings.rate_all) = (1, 1));
    for _ in 0..1_000 {
        door.guard.offence(door.now, &peer(ONE), Standing::Stranger, Offence::UnknownNumber);
        door.guard.offence(door.now, &peer(OTHER), Standing::Trunk, Offence::UnknownNumber);
    }
    assert_eq!(door.stranger(ONE, register(None)), Verdict::Drop, "blocked");
    assert_eq!(door.stranger(ONE, Kind::Known), Verdict::Pass);
    for _ in 0..1_000 {
        assert_eq!(door.admit(OTHER, Standing::Trunk, INVITE), Verdict::Pass);
    }
    assert!(!door.guard.must_look(&peer(OTHER), Standing::Trunk, 60_000));
    assert_eq!((door.guard.counters().blocked_sources, door.guard.counters().unknown_numbers), (1, 2_000));
}

/// Pain 18: the office's misconfigured phone costs its own user the registration, and nobody else's.
#[test]
fn wrong_passwords_block_their_user_at_their_address_and_nobody_else() {
    let mut door = Door::new(|_| {});
    let tried = |door: &mut Door| {
        let mut tried = 0;
        while door.guess(ONE, "ana") == Verdict::Pass {
            tried += 1;
            door.now += 10 * SECOND;
        }
        tried
    };
    assert_eq!(tried(&mut door), 10);
    assert_eq!(door.stranger(NEIGHBOUR, register(Some("ana"))), Verdict::Drop, "another port is the same address");
    assert_eq!(door.stranger(NEIGHBOUR, register(Some("eva"))), Verdict::Pass, "another user is not");
    assert_eq!(door.stranger(ONE, register(None)), Verdict::Pass, "a challenge is no offence");
    assert_eq!(door.stranger(OTHER, register(Some("ana"))), Verdict::Pass, "elsewhere it is listened to");
    assert_eq!((door.guard.counters().blocked_users, door.guard.counters().blocked_sources), (1, 0));
    door.now += Duration::from_secs(900);
    assert_eq!(tried(&mut door), 10);
}

#[test]
fn an_enumeration_of_users_blocks_its_address_but_not_the_phones_behind_it() {
    let mut door = Door::new(|_| {});
    let passed: Vec<bool> = (0..8).map(|number| door.guess(ONE, &format!("user{number}")) == Verdict::Pass).collect();
    assert_eq!(passed.iter().filter(|passed| **passed).count(), 5);
    assert_eq!(door.stranger(NEIGHBOUR, register(Some("new"))), Verdict::Drop);
    assert_eq!(door.stranger(NEIGHBOUR, Kind::Register { user: Some("ana"), own: true }), Verdict::Pass);
    for kind in [INVITE, Kind::Noise] {
        assert_eq!(door.guard.admit(door.now, &peer(NEIGHBOUR), Standing::Stranger, true, kind), Verdict::Pass);
    }
    assert_eq!(door.stranger(OTHER, register(Some("new"))), Verdict::Pass);
    door.now += Duration::from_secs(900);
    assert_eq!(door.stranger(ONE, register(Some("new"))), Verdict::Pass, "a block ends");
    assert_eq!(door.guard.counters().blocked_sources, 1);
}

#[test]
fn a_right_password_takes_back_what_was_tried_before() {
    let mut door = Door::new(|_| {});
    for _ in 0..5 {
        for _ in 0..9 {
            assert_eq!(door.guess(ONE, "ana"), Verdict::Pass);
            door.now += SECOND;
        }
        door.guard.proven(&peer(NEIGHBOUR), "ana");
    }
    assert_eq!(door.guard.counters().blocked_users, 0);
    // What was tried long ago does not count either.
    for _ in 0..50 {
        assert_eq!(door.guess(OTHER, "ana"), Verdict::Pass);
        door.now += Duration::from_secs(100);
    }
}

#[test]
fn numbers_that_nobody_has_block_their_address_where_everybody_may_call() {
    let mut door = Door::new(|_| {});
    assert!(!door.guard.must_look(&peer(ONE), Standing::Open, 1_000), "the well-behaved are not looked at");
    for _ in 0..30 {
        assert_eq!(door.admit(ONE, Standing::Open, INVITE), Verdict::Pass);
        door.guard.offence(door.now, &peer(ONE), Standing::Open, Offence::UnknownNumber);
    }
    assert!(door.guard.must_look(&peer(ONE), Standing::Open, 1_000));
    assert_eq!(door.admit(ONE, Standing::Open, INVITE), Verdict::Drop);
    assert_eq!(door.admit(OTHER, Standing::Open, INVITE), Verdict::Pass);
    door.now += Duration::from_secs(900);
    assert_eq!(door.admit(ONE, Standing::Open, INVITE), Verdict::Pass);
}

#[test]
fn long_messages_are_for_trunks() {
    let mut door = Door::new(|_| {});
    assert!(door.guard.is_too_long(Standing::Stranger, 8_193) && !door.guard.is_too_long(Standing::Stranger, 8_192));
    assert!(
        door.guard.must_look(&peer(ONE), Standing::Open, 8_193) && !door.guard.is_too_long(Standing::Trunk, 60_000)
    );
}

#[test]
fn one_address_has_so_many_calls_and_no_more() {
    let mut door = Door::new(|settings| settings.calls = Some(2));
    let mut begin = |from: &str, standing| door.guard.begin_call(&peer(from), standing);
    assert_eq!([ONE, NEIGHBOUR, ONE, OTHER].map(|from| begin(from, Standing::Open)), [true, true, false, true]);
    assert!((0..100).all(|_| begin(OTHER, Standing::Trunk)));
    door.guard.end_call(&peer(ONE), Standing::Open);
    assert_eq!([ONE, ONE].map(|from| door.guard.begin_call(&peer(from), Standing::Open)), [true, false]);
    for from in [ONE, ONE, OTHER] {
        door.guard.end_call(&peer(from), Standing::Open);
    }
    assert!(door.guard.calls.is_empty());
}

/// A household's 2⁶⁴ addresses are one.
#[test]
fn ipv6_is_counted_by_network() {
    let mut door = Door::new(|_| {});
    let passed =
        (0..100).filter(|host| door.stranger(&format!("[2001:db8::{host:x}]:5060"), INVITE) == Verdict::Refuse);
    assert_eq!(passed.count(), 50);
    assert_eq!(door.stranger("[2001:db8:0:1::1]:5060", INVITE), Verdict::Refuse);
    assert_eq!(door.stranger("[::ffff:203.0.113.9]:5060", INVITE), Verdict::Refuse);
    assert_eq!(door.guard.sources(), 3);
}

/// Ten minutes of 20,000 requests a second from addresses all over the world: what is answered, and what is remembered, is bounded.
#[test]
fn a_flood_from_everywhere_is_answered_at_its_rate_and_fills_no_memory() {
    let mut door = Door::new(|_| {});
    let mut dice = Ids::from_seed(1);
    let mut answered = 0;
    for _ in 0..60_000 {
        door.now += Duration::from_millis(10);
        for _ in 0..200 / 20 {
            let [_, _, a, b, c, d, e, f] = dice.next_u64().to_be_bytes();
            let from = Peer::udp((std::net::Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, f])).into());
            answered +=
                u64::from(door.guard.admit(door.now, &from, Standing::Stranger, false, INVITE) == Verdict::Refuse);
        }
    }
    let bound = 500 * 600 + 2_500;
    assert!((bound - 5_000..=bound).contains(&answered), "{answered}");
    assert_eq!(door.guard.sources(), SOURCES_MAX);
    assert_eq!(door.guard.seen.len(), SOURCES_MAX);
    assert_eq!(
        door.guard.counters().refused + door.guard.counters().dropped_flood + door.guard.counters().dropped_rate,
        600_000
    );
    // Time forgets them, two for each newcomer.
    door.now += Duration::from_secs(3_600);
    for host in 0..40_000_u32 {
        door.now += Duration::from_millis(10);
        let from = Peer::udp((std::net::Ipv4Addr::from_bits(host), 5_060).into());
        door.guard.admit(door.now, &from, Standing::Stranger, false, INVITE);
    }
    assert_eq!(door.guard.sources(), 40_000);
}

/// A flood of calls does not keep phones from registering.
#[test]
fn calls_and_registrations_have_rates_of_their_own() {
    let mut door = Door::new(|settings| settings.rate_all = 20);
    for host in 0..250_u32 {
        let from = Peer::udp((std::net::Ipv4Addr::from_bits(host), 5_060).into());
        door.guard.admit(door.now, &from, Standing::Stranger, false, INVITE);
    }
    assert_eq!(door.guard.counters().dropped_flood, 150);
    assert_eq!(door.stranger(ONE, INVITE), Verdict::Drop);
    assert_eq!(door.stranger(ONE, register(None)), Verdict::Pass);
}
