//! The registrar by itself, in simulated time: REGISTERs in, answers and reports out; and beside a small model of what RFC 3261 §10.3 says.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and counts from some instant"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contesta::ids::Ids;
use contesta::sip::digest::{Algorithm, Answers, Ha1, Login};
use contesta::sip::envelope::Envelope;
use contesta::sip::header::option_tags::SUPPORTED;
use contesta::sip::message::Message;
use contesta::sip::refusal::Refusal;
use contesta::sip::registrar::{Account, Accounts, Answer, Gone, Offers, Registrar, Registration, Report, Settings};
use contesta::sip::{Flow, Peer, Transport};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn account(user: &str) -> Account {
    let secrets = Algorithm::ALL.map(|algorithm| Ha1::new(algorithm, user, "contesta", &password(user))).to_vec();
    Account { user: user.to_owned(), operator: "beneleit".to_owned(), offers: Offers::Md5, secrets }
}

fn password(user: &str) -> String {
    format!("secret of {user}")
}

fn accounts(users: &[&str]) -> Arc<Accounts> {
    Arc::new(Accounts::new("contesta", Offers::Md5, users.iter().map(|user| account(user))))
}

fn peer(address: &str) -> Peer {
    Peer::udp(address.parse().unwrap())
}

/// A registrar, the time, and a phone that answers challenges.
struct Desk {
    registrar: Registrar,
    now: Instant,
}

/// One REGISTER as a phone writes it.
#[derive(Clone)]
struct Phone {
    user: &'static str,
    peer: Peer,
    call_id: String,
    cseq: u32,
    /// Whole lines.
    headers: String,
}

impl Phone {
    fn new(user: &'static str, address: &str) -> Self {
        Self { user, peer: peer(address), call_id: "c1".into(), cseq: 0, headers: String::new() }
    }

    fn text(&self, contacts: &str, credentials: &str) -> String {
        let Self { user, peer, call_id, cseq, headers } = self;
        format!(
            "REGISTER sip:contesta SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{cseq};rport\r\nFrom: <sip:{user}@contesta>;tag=1\r\n\
             To: <sip:{user}@contesta>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{headers}{credentials}{contacts}\r\n",
            peer.address
        )
    }
}

impl Desk {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self { registrar: Registrar::new(now, settings, accounts(&["ana", "eva"]), &mut Ids::from_seed(1)), now }
    }

    fn say(&mut self, peer: Peer, text: String) -> (Answer, Vec<Report>) {
        let message = Message::scan(Bytes::from(text)).unwrap();
        let envelope = Envelope::read(&message).unwrap();
        let mut reports = Vec::new();
        let answer = self.registrar.handle(self.now, peer, &message, &envelope, &mut reports);
        (answer, reports)
    }

    /// Registers these contacts (whole lines): the challenge is answered with the user's password.
    fn register(&mut self, phone: &mut Phone, contacts: &str) -> (Answer, Vec<Report>) {
        phone.cseq += 1;
        let credentials = self.credentials(phone, &password(phone.user));
        self.say(phone.peer, phone.text(contacts, &credentials))
    }

    fn credentials(&mut self, phone: &Phone, password: &str) -> String {
        let (Answer::Challenge(lines), reports) = self.say(phone.peer, phone.text("", "")) else {
            panic!("no challenge")
        };
        assert_eq!(reports, [], "a challenge is no failure");
        let lines = lines.iter().map(|line| format!("WWW-Authenticate: {}\r\n", String::from_utf8_lossy(line)));
        let refused = format!("SIP/2.0 401 x\r\n{}\r\n", lines.collect::<String>());
        let mut answers = Answers::new(Login { user: phone.user.to_owned(), password: password.to_owned() });
        answers.challenged(&Message::scan(Bytes::from(refused)).unwrap(), false).unwrap();
        let (name, value) = answers.answer(b"REGISTER", b"sip:contesta", "c").unwrap();
        format!("{name}: {}\r\n", String::from_utf8(value).unwrap())
    }

    fn advance(&mut self, duration: Duration) -> Vec<Report> {
        let (end, mut reports) = (self.now + duration, Vec::new());
        while let Some(at) = self.registrar.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "a timer in the past");
            self.now = at;
            self.registrar.handle_timeout(at, &mut reports);
        }
        self.now = end;
        reports
    }

    /// `(contact, seconds left)`
    fn registered(&self, user: &str) -> Vec<(String, u64)> {
        let text = |uri: &[u8]| String::from_utf8_lossy(uri).into_owned();
        self.registrar.contacts(self.now, user).map(|one| (text(one.uri), one.left.as_secs())).collect()
    }

    fn targets(&self, user: &str) -> Vec<(String, String)> {
        let targets = self.registrar.targets(user).into_iter();
        targets.map(|target| (target.uri, target.peer.to_string())).collect()
    }
}

fn done(user: &str) -> Answer {
    Answer::Registered { user: user.to_owned(), outbound: false }
}

fn row(contact: &str, value: u64) -> (String, u64) {
    (contact.to_owned(), value)
}

fn went(reports: &[Report]) -> Vec<(String, Gone)> {
    let gone = |report: &Report| match report {
        Report::Gone { contact, why, .. } => Some((contact.clone(), *why)),
        Report::Kept { .. } | Report::Refused { .. } => None,
    };
    reports.iter().filter_map(gone).collect()
}

#[test]
fn a_phone_registers_refreshes_and_unregisters() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    let contact = "Contact: <sip:ana@192.168.1.5:5060>;expires=3600\r\n";
    let (answer, reports) = desk.register(&mut phone, contact);
    assert_eq!(answer, done("ana"));
    let [Report::Kept { registration, is_new: true }] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(
        (registration.user.as_str(), registration.operator.as_str(), registration.peer),
        ("ana", "beneleit", phone.peer)
    );
    assert_eq!(desk.registered("ana"), [row("sip:ana@192.168.1.5:5060", 120)], "no longer than we grant");
    assert_eq!(desk.registrar.user_at(&phone.peer), Some("ana"));
    assert_eq!(desk.registrar.user_at(&peer("203.0.113.9:40001")), None);

    assert_eq!(desk.advance(100 * SECOND), []);
    let (_, reports) = desk.register(&mut phone, contact);
    assert!(matches!(&reports[..], [Report::Kept { is_new: false, .. }]), "{reports:?}");
    assert_eq!(desk.advance(119 * SECOND), []);
    assert_eq!(desk.registered("ana"), [row("sip:ana@192.168.1.5:5060", 1)]);

    let (answer, reports) = desk.register(&mut phone, "Contact: <sip:ana@192.168.1.5:5060>\r\nExpires: 0\r\n");
    assert_eq!((answer, went(&reports)), (done("ana"), vec![("sip:ana@192.168.1.5:5060".into(), Gone::Unregistered)]));
    assert_eq!((desk.registered("ana"), desk.registrar.len(), desk.registrar.poll_timeout()), (vec![], 0, None));
    assert_eq!(desk.registrar.user_at(&phone.peer), None);
}

#[test]
fn what_is_not_refreshed_ends_at_its_moment() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    desk.register(&mut phone, "Contact: <sip:a@h1>;expires=60, <sip:a@h2>;expires=90\r\n");
    assert_eq!(desk.advance(60 * SECOND - Duration::from_millis(1)), []);
    assert_eq!(went(&desk.advance(Duration::from_millis(1))), [("sip:a@h1".to_owned(), Gone::Expired)]);
    assert_eq!(desk.registered("ana"), [row("sip:a@h2", 30)]);
    assert_eq!(went(&desk.advance(30 * SECOND)), [("sip:a@h2".to_owned(), Gone::Expired)]);
    assert!(desk.registrar.is_empty());
}

/// RFC 3261 §10.3, step 7: what is shorter than the least, and than an hour, is refused; what asks for more gets the most.
#[test]
fn too_brief_an_interval_is_refused_with_the_least_that_is_granted() {
    let mut desk = Desk::new(Settings { max_expires: 7_200 * SECOND, ..Settings::default() });
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    for (contacts, seconds) in [
        ("Contact: <sip:a@h>;expires=29\r\n", None),
        ("Contact: <sip:a@h>\r\nExpires: 1\r\n", None),
        ("Contact: <sip:a@h>;expires=30\r\nExpires: 5\r\n", Some(30)),
        ("Contact: <sip:a@h>\r\nExpires: 31\r\n", Some(31)),
        ("Contact: <sip:a@h>\r\n", Some(7_200)),
        ("Contact: <sip:a@h>;expires=soon\r\n", Some(3_600)),
        ("Contact: <sip:a@h>;expires=99999999999\r\n", Some(7_200)),
    ] {
        let (answer, _) = desk.register(&mut phone, contacts);
        match seconds {
            None => assert_eq!(answer, Answer::Refused(Refusal::IntervalTooBrief { min_expires: 30 }), "{contacts}"),
            Some(seconds) => assert_eq!(desk.registered("ana"), [row("sip:a@h", seconds)], "{contacts}"),
        }
    }
    let strict = Settings { min_expires: 7_000 * SECOND, max_expires: 7_200 * SECOND, ..Settings::default() };
    let mut desk = Desk::new(strict);
    assert_eq!(
        desk.register(&mut phone, "Contact: <sip:a@h>;expires=3600\r\n").0,
        done("ana"),
        "an hour is never too brief"
    );
}

/// RFC 3261 §10.2.2.
#[test]
fn a_star_removes_everything_and_only_with_expires_zero() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    let mut other = Phone { call_id: "c2".into(), ..Phone::new("ana", "198.51.100.7:5060") };
    desk.register(&mut phone, "Contact: <sip:a@h1>\r\n");
    desk.register(&mut other, "Contact: <sip:a@h2>\r\n");
    for wrong in
        ["Contact: *\r\n", "Contact: *\r\nExpires: 60\r\n", "Contact: *\r\nContact: <sip:a@h>\r\nExpires: 0\r\n"]
    {
        let (answer, reports) = desk.register(&mut phone, wrong);
        assert!(matches!(answer, Answer::Refused(refusal) if refusal.status() == 400), "{wrong}: {answer:?}");
        assert_eq!((reports, desk.registrar.len()), (vec![], 2));
    }
    let (answer, reports) = desk.register(&mut phone, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!((answer, went(&reports).len(), desk.registrar.len()), (done("ana"), 2, 0));
}

/// RFC 3261 §10.3: a request that is older than what is registered changes nothing, whatever else it asks for.
#[test]
fn an_older_request_changes_nothing() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    phone.cseq = 10;
    desk.register(&mut phone, "Contact: <sip:a@h1>;expires=100\r\n");
    for contacts in [
        "Contact: <sip:a@h2>, <sip:a@h1>;expires=60\r\n",
        "Contact: <sip:a@h1>;expires=0\r\n",
        "Contact: *\r\nExpires: 0\r\n",
    ] {
        phone.cseq = 10;
        let (answer, reports) = desk.register(&mut phone, contacts);
        assert_eq!(answer, Answer::Refused(Refusal::OutOfOrder { retry_after: 0 }), "{contacts}");
        assert_eq!((reports, desk.registered("ana")), (vec![], vec![row("sip:a@h1", 100)]));
    }
    // After it was switched off and on it counts anew, under another Call-ID.
    let mut restarted = Phone { call_id: "c2".into(), cseq: 0, ..phone };
    assert_eq!(desk.register(&mut restarted, "Contact: <sip:a@h1>;expires=60\r\n").0, done("ana"));
    assert_eq!(desk.registered("ana"), [row("sip:a@h1", 60)]);
}

#[test]
fn one_wrong_contact_changes_none() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    for (contacts, status) in [
        ("Contact: <sip:a@h1>, <tel:+5255>\r\n", 400),
        ("Contact: <sip:a@h1>, <sip:a@h2>;expires=3\r\n", 423),
        ("Contact: <sip:a@h1>\r\nContact: <sip:a@\r\n", 400),
    ] {
        let (answer, reports) = desk.register(&mut phone, contacts);
        assert!(matches!(answer, Answer::Refused(refusal) if refusal.status() == status), "{contacts}: {answer:?}");
        assert_eq!((reports, desk.registrar.len()), (vec![], 0));
    }
}

#[test]
fn nobody_registers_for_others_or_requires_what_is_not_spoken() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    phone.cseq = 1;
    let credentials = desk.credentials(&phone, &password("ana"));
    let for_eva = phone.text("Contact: <sip:a@h>\r\n", &credentials).replace("To: <sip:ana@", "To: <sip:eva@");
    assert_eq!(desk.say(phone.peer, for_eva), (Answer::Refused(Refusal::Forbidden), vec![]));
    phone.headers = "Require: outbound, path\r\n".into();
    let text = phone.text("Contact: <sip:a@h>\r\n", "");
    assert_eq!(desk.say(phone.peer, text).0, Answer::Refused(Refusal::BadExtension { supported: SUPPORTED }));
    assert!(desk.registrar.is_empty());
}

#[test]
fn a_wrong_password_and_a_wrong_user_are_challenged_again_and_told() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    let mut challenges = Vec::new();
    for user in ["ana", "eve"] {
        phone = Phone { user, cseq: 1, ..phone };
        let credentials = desk.credentials(&phone, "guess");
        let (answer, reports) = desk.say(phone.peer, phone.text("Contact: <sip:a@h>\r\n", &credentials));
        let Answer::Challenge(lines) = answer else { panic!("{answer:?}") };
        challenges.push(lines.iter().map(|line| without_nonce(line)).collect::<Vec<_>>());
        assert_eq!(reports, [Report::Refused { peer: phone.peer, user: user.to_owned() }]);
    }
    assert_eq!(challenges[0], challenges[1]);
    assert!(!challenges[0][0].contains("stale"), "{challenges:?}");
}

fn without_nonce(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line).into_owned();
    let (before, after) = text.split_once("nonce=\"").unwrap();
    format!("{before}{}", after.split_once('"').unwrap().1)
}

#[test]
fn one_more_phone_than_a_user_may_have_takes_the_place_of_the_one_not_refreshed_longest() {
    let mut desk = Desk::new(Settings { contacts: 2, ..Settings::default() });
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    for contact in ["Contact: <sip:a@h1>\r\n", "Contact: <sip:a@h2>\r\n", "Contact: <sip:a@h1>\r\n"] {
        desk.register(&mut phone, contact);
        desk.advance(SECOND);
    }
    let (_, reports) = desk.register(&mut phone, "Contact: <sip:a@h3>\r\n");
    assert_eq!(went(&reports), [("sip:a@h2".to_owned(), Gone::Replaced)]);
    assert_eq!(desk.registered("ana").into_iter().map(|(uri, _)| uri).collect::<Vec<_>>(), ["sip:a@h1", "sip:a@h3"]);
    let (_, reports) = desk.register(&mut phone, "Contact: <sip:a@h4>, <sip:a@h5>, <sip:a@h6>\r\n");
    assert_eq!((went(&reports).len(), desk.registrar.len()), (3, 2));
}

#[test]
fn the_same_contact_twice_in_one_request_is_one() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    desk.register(&mut phone, "Contact: <sip:a@h;x=1>;expires=50, <sip:a@H;y=2>;expires=60\r\n");
    assert_eq!(desk.registered("ana"), [row("sip:a@H;y=2", 60)]);
}

/// Where a request to the phone goes: back through the NAT, or to where it listens when there is none.
#[test]
fn a_phone_is_reached_by_the_way_it_came() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    let mut reached = |contact: &str, rport: bool| {
        phone.cseq += 1;
        let credentials = desk.credentials(&phone, &password("ana"));
        let text = phone.text(&format!("Contact: <sip:{contact}>\r\n"), &credentials);
        let text = if rport { text } else { text.replace(";rport", "") };
        assert_eq!(desk.say(phone.peer, text).0, done("ana"));
        desk.targets("ana").remove(0).1
    };
    assert_eq!(reached("a@192.168.1.5:5060", false), "udp:203.0.113.9:40000", "a NAT between");
    assert_eq!(reached("a@203.0.113.9:5062", true), "udp:203.0.113.9:40000", "it hears where it speaks from");
    assert_eq!(reached("a@203.0.113.9:5062", false), "udp:203.0.113.9:5062", "it does not, and there is no NAT");
    assert_eq!(reached("b@phone.example", false), "udp:203.0.113.9:40000", "no names are looked up");
}

#[test]
fn the_preferred_phone_comes_first_and_of_equals_the_latest() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    for contact in ["<sip:a@h1>;q=0.5", "<sip:a@h2>", "<sip:a@h3>;q=0.500", "<sip:a@h4>;q=0"] {
        desk.register(&mut phone, &format!("Contact: {contact}\r\n"));
        desk.advance(SECOND);
    }
    let order: Vec<String> = desk.targets("ana").into_iter().map(|(uri, _)| uri).collect();
    assert_eq!(order, ["sip:a@h2", "sip:a@h3", "sip:a@h1", "sip:a@h4"]);
}

/// RFC 5626 §6: a flow is known by the phone's own name and its number, whatever its contact says.
#[test]
fn a_flow_takes_the_place_of_its_former_one() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone { headers: "Supported: path, Outbound\r\n".into(), ..Phone::new("ana", "203.0.113.9:40000") };
    let contact = |host: &str, flow: u32| {
        format!("Contact: <sip:a@{host};transport=tcp;ob>;+sip.instance=\"<urn:uuid:1>\";reg-id={flow}\r\n")
    };
    let outbound = Answer::Registered { user: "ana".into(), outbound: true };
    assert_eq!(desk.register(&mut phone, &contact("h1", 1)).0, outbound);
    assert_eq!(desk.register(&mut phone, &contact("h1", 2)).0, outbound);
    phone.peer = peer("203.0.113.9:41111");
    let (answer, reports) = desk.register(&mut phone, &contact("h9", 1));
    assert_eq!((answer, went(&reports)), (outbound, vec![("sip:a@h1;transport=tcp;ob".into(), Gone::Replaced)]));
    let places: Vec<String> = desk.targets("ana").into_iter().map(|(_, peer)| peer).collect();
    assert_eq!(places, ["udp:203.0.113.9:41111", "udp:203.0.113.9:40000"]);

    // RFC 5626 §6: alone, and without a proxy that keeps no flow.
    let two = format!("{}{}", contact("h1", 1), contact("h1", 2));
    assert!(matches!(desk.register(&mut phone, &two).0, Answer::Refused(refusal) if refusal.status() == 400));
    phone.headers.push_str("Via: SIP/2.0/UDP proxy;branch=z9hG4bKp\r\n");
    assert_eq!(desk.register(&mut phone, &contact("h1", 1)).0, Answer::Refused(Refusal::FirstHopLacksOutbound));
    // A phone that does not say that it knows flows registers contacts.
    phone.headers.clear();
    assert_eq!(desk.register(&mut phone, &contact("h7", 1)).0, done("ana"));
    assert_eq!(desk.registrar.len(), 3);
}

/// A phone that lost its power comes back with a new Call-ID and a new port: it is one phone, not two.
#[test]
fn a_phone_that_was_switched_off_and_on_is_one_phone() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    let contact = |port: u16| format!("Contact: <sip:a@h:{port}>;+sip.instance=\"<urn:uuid:1>\"\r\n");
    desk.register(&mut phone, &contact(1));
    desk.register(&mut phone, &contact(2));
    assert_eq!(desk.registrar.len(), 2, "within one life it may have two");
    let mut again = Phone { call_id: "c2".into(), cseq: 0, ..phone };
    let (_, reports) = desk.register(&mut again, &contact(3));
    assert_eq!(went(&reports).iter().map(|(_, why)| *why).collect::<Vec<_>>(), [Gone::Replaced; 2]);
    assert_eq!(desk.registered("ana"), [row("sip:a@h:3", 120)]);
}

#[test]
fn a_closed_connection_is_no_way_to_a_phone() {
    let mut desk = Desk::new(Settings::default());
    let flow = |connection| Flow { listener: 1, connection };
    let by = |transport, connection| {
        let address: SocketAddr = "203.0.113.9:40000".parse().unwrap();
        Peer { transport, address, flow: Some(flow(connection)) }
    };
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    for (connection, transport, contact) in [
        (1, Transport::Tcp, "sip:a@192.168.1.5;transport=tcp"),
        (2, Transport::Ws, "sip:a@df7jal23ls0d.invalid;transport=ws"),
        (3, Transport::Tcp, "sip:a@203.0.113.9:5070;transport=tcp"),
    ] {
        phone.peer = by(transport, connection);
        desk.register(&mut phone, &format!("Contact: <{contact}>\r\n"));
        assert_eq!(desk.registrar.user_at(&phone.peer), Some("ana"));
    }
    assert_eq!(desk.registrar.flows().collect::<Vec<_>>(), [1, 2, 3].map(flow));
    let mut reports = Vec::new();
    for connection in 1..=4 {
        desk.registrar.flow_closed(flow(connection), &mut reports);
    }
    assert_eq!(
        went(&reports),
        [
            ("sip:a@192.168.1.5;transport=tcp".to_owned(), Gone::Disconnected),
            ("sip:a@df7jal23ls0d.invalid;transport=ws".to_owned(), Gone::Disconnected)
        ]
    );
    // No NAT stands before the third: a new connection leads to where it listens.
    assert_eq!(
        desk.targets("ana"),
        [("sip:a@203.0.113.9:5070;transport=tcp".to_owned(), "tcp:203.0.113.9:5070".to_owned())]
    );
    assert_eq!(desk.registrar.user_at(&by(Transport::Tcp, 3)), None);
}

#[test]
fn registrations_outlast_a_restart_for_the_time_they_have_left() {
    let mut desk = Desk::new(Settings::default());
    let mut phone = Phone::new("ana", "203.0.113.9:40000");
    phone.cseq = 6;
    let (_, reports) = desk.register(&mut phone, "Contact: <sip:a@192.168.1.5>;q=0.3\r\n");
    let [Report::Kept { registration, .. }] = &reports[..] else { panic!("{reports:?}") };
    let stored = Registration { lasts: 50 * SECOND, ..registration.as_ref().clone() };
    let tcp = Peer::new(Transport::Tcp, phone.peer.address);

    let mut desk = Desk::new(Settings::default());
    let others = [
        Registration { user: "gone".into(), ..stored.clone() },
        Registration { operator: "bluepoint".into(), ..stored.clone() },
        Registration { lasts: Duration::ZERO, ..stored.clone() },
        Registration { peer: tcp, ..stored.clone() },
    ];
    desk.registrar.restore(desk.now, others.into_iter().chain([stored]));
    assert_eq!(desk.registered("ana"), [row("sip:a@192.168.1.5", 50)]);
    assert_eq!(desk.targets("ana"), [("sip:a@192.168.1.5".to_owned(), "udp:203.0.113.9:40000".to_owned())]);
    // A copy of an old request that the network kept over the restart.
    phone.cseq = 6;
    assert_eq!(
        desk.register(&mut phone, "Contact: <sip:a@192.168.1.5>\r\n").0,
        Answer::Refused(Refusal::OutOfOrder { retry_after: 0 })
    );
    assert_eq!(went(&desk.advance(50 * SECOND)), [("sip:a@192.168.1.5".to_owned(), Gone::Expired)]);
}

#[test]
fn who_has_no_account_any_more_is_forgotten() {
    let mut desk = Desk::new(Settings::default());
    for user in ["ana", "eva"] {
        desk.register(&mut Phone::new(user, "203.0.113.9:40000"), "Contact: <sip:a@h>\r\n");
    }
    let mut reports = Vec::new();
    desk.registrar.replace_accounts(accounts(&["eva"]), &mut reports);
    assert_eq!(went(&reports), [("sip:a@h".to_owned(), Gone::Removed)]);
    assert_eq!((desk.registered("ana").len(), desk.registered("eva").len()), (0, 1));
    assert_eq!(desk.register(&mut Phone { cseq: 5, ..Phone::new("eva", "203.0.113.9:40000") }, "").0, done("eva"));
}

// ---- Beside a model --------------------------------------------------------------------------------------------------

/// One REGISTER of a random phone. Contacts are `sip:u@h<n>`; Call-IDs are few, and CSeqs come out of order.
#[derive(Clone, Debug)]
enum Move {
    Register { user: usize, call: u8, cseq: u32, contacts: Vec<(u8, Option<u32>)>, expires: Option<u32> },
    Clear { user: usize, call: u8, cseq: u32, expires: u32 },
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let seconds = prop_oneof![Just(0_u32), 1..140_u32, Just(4_000)];
    let contacts = prop::collection::vec((0..4_u8, prop::option::of(seconds.clone())), 0..3);
    let register = (0..2_usize, 0..2_u8, 0..12_u32, contacts, prop::option::of(seconds))
        .prop_map(|(user, call, cseq, contacts, expires)| Move::Register { user, call, cseq, contacts, expires });
    let clear = (0..2_usize, 0..2_u8, 0..12_u32, prop_oneof![3 => Just(0_u32), 1 => Just(60)])
        .prop_map(|(user, call, cseq, expires)| Move::Clear { user, call, cseq, expires });
    let step = prop_oneof![6 => register, 1 => clear, 3 => (0..70_u64).prop_map(Move::Wait)];
    prop::collection::vec(step, 1..40)
}

/// What RFC 3261 §10.3 says, in a page: for each user and contact the call, CSeq and end of its registration.
#[derive(Default)]
struct Model {
    now: u64,
    bindings: BTreeMap<(usize, u8), (u8, u32, u64)>,
    /// The order in which they were refreshed.
    order: Vec<(usize, u8)>,
}

const MODEL: Settings = Settings {
    min_expires: Duration::from_secs(30),
    max_expires: Duration::from_secs(120),
    contacts: 3,
    nonce_lifetime: Duration::from_secs(300),
};

impl Model {
    /// The status of the answer.
    fn step(&mut self, step: &Move) -> u16 {
        match step {
            Move::Wait(seconds) => {
                self.now += seconds;
                self.bindings.retain(|_, (_, _, end)| *end > self.now);
                0
            }
            Move::Clear { expires, .. } if *expires != 0 => 400,
            Move::Clear { user, call, cseq, .. } => {
                let mine = |binding: &(usize, u8)| binding.0 == *user;
                let late = |(at, by): (&(usize, u8), &(u8, u32, u64))| mine(at) && by.0 == *call && by.1 >= *cseq;
                if self.bindings.iter().any(late) {
                    return 500;
                }
                self.bindings.retain(|at, _| !mine(at));
                200
            }
            Move::Register { user, call, cseq, contacts, expires } => {
                let wish = |own: &Option<u32>| own.or(*expires).unwrap_or(120);
                for (contact, own) in contacts {
                    if (1..30).contains(&wish(own)) {
                        return 423;
                    }
                    if self.bindings.get(&(*user, *contact)).is_some_and(|by| by.0 == *call && by.1 >= *cseq) {
                        return 500;
                    }
                }
                for (contact, own) in contacts {
                    let at = (*user, *contact);
                    self.bindings.remove(&at);
                    self.order.retain(|other| *other != at);
                    if wish(own) > 0 {
                        self.bindings.insert(at, (*call, *cseq, self.now + u64::from(wish(own).min(120))));
                        self.order.push(at);
                    }
                }
                while self.of(*user).len() > MODEL.contacts {
                    let oldest =
                        self.order.iter().position(|at| at.0 == *user && self.bindings.contains_key(at)).unwrap();
                    self.bindings.remove(&self.order.remove(oldest));
                }
                200
            }
        }
    }

    fn of(&self, user: usize) -> Vec<(String, u64)> {
        let mine = self.bindings.iter().filter(|(at, _)| at.0 == user);
        mine.map(|((_, contact), (_, _, end))| (format!("sip:u@h{contact}"), end - self.now)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_registrar_does_what_the_model_does(steps in moves()) {
        const USERS: [&str; 2] = ["ana", "eva"];
        let (mut desk, mut model) = (Desk::new(MODEL), Model::default());
        let mut told: BTreeMap<(String, String), ()> = BTreeMap::new();
        for step in &steps {
            let expected = model.step(step);
            let (answer, reports) = match step {
                Move::Wait(seconds) => (None, desk.advance(Duration::from_secs(*seconds))),
                Move::Clear { user, call, cseq, expires } => {
                    let (answer, reports) = ask(&mut desk, USERS[*user], *call, *cseq, &format!("Contact: *\r\nExpires: {expires}\r\n"));
                    (Some(answer), reports)
                }
                Move::Register { user, call, cseq, contacts, expires } => {
                    let mut lines = expires.map(|seconds| format!("Expires: {seconds}\r\n")).unwrap_or_default();
                    for (contact, own) in contacts {
                        let own = own.map(|seconds| format!(";expires={seconds}")).unwrap_or_default();
                        lines.push_str(&format!("Contact: <sip:u@h{contact}>{own}\r\n"));
                    }
                    let (answer, reports) = ask(&mut desk, USERS[*user], *call, *cseq, &lines);
                    (Some(answer), reports)
                }
            };
            let status = match answer {
                None => 0,
                Some(Answer::Registered { .. }) => 200,
                Some(Answer::Refused(refusal)) => refusal.status(),
                Some(Answer::Challenge(_)) => 401,
            };
            prop_assert_eq!(status, expected, "{:?}", step);
            // Whoever follows the reports knows what is registered, as the store does.
            for report in reports {
                match report {
                    Report::Kept { registration, is_new } => {
                        let before = told.insert((registration.user, registration.contact), ());
                        prop_assert_eq!(before.is_none(), is_new);
                    }
                    Report::Gone { user, contact, .. } => prop_assert!(told.remove(&(user, contact)).is_some()),
                    Report::Refused { .. } => prop_assert!(false, "the password was right"),
                }
            }
            for (number, user) in USERS.into_iter().enumerate() {
                let mut registered = desk.registered(user);
                registered.sort();
                prop_assert_eq!(&registered, &model.of(number), "{:?}", step);
                let known: Vec<&String> = told.keys().filter(|(whose, _)| whose == user).map(|(_, contact)| contact).collect();
                prop_assert_eq!(known, registered.iter().map(|(contact, _)| contact).collect::<Vec<_>>());
            }
            prop_assert_eq!(desk.registrar.len(), model.bindings.len());
            prop_assert_eq!(desk.registrar.poll_timeout().is_none(), model.bindings.is_empty());
        }
    }
}

fn ask(desk: &mut Desk, user: &'static str, call: u8, cseq: u32, lines: &str) -> (Answer, Vec<Report>) {
    let phone = Phone { call_id: format!("call{call}"), cseq, ..Phone::new(user, "203.0.113.9:40000") };
    let credentials = desk.credentials(&phone, &password(user));
    desk.say(phone.peer, phone.text(lines, &credentials))
}
