//! What the store promises, whichever database it stands on.

use std::collections::BTreeSet;
use std::time::Duration;

use contesta::audio::Codec;
use contesta::call::{CallRecord, PathEntry, Segment, What};
use contesta::case::{self, Folio, State};
use contesta::flow::action::{Lockout, Message};
use contesta::ids::CallKey;
use contesta::media::{LegReport, Mos, Quality, RecordingReport, RoundTrip, StreamQuality};
use contesta::rtp::srtp::Suite;
use contesta::sip::Peer;
use contesta::sip::registrar::Registration;
use contesta::store::{
    CallFilter, CaseFilter, Change, NewTable, Order, OrderKind, Ordered, RegistrationChange, Store, StoredRegistration,
    TableRow, Tried, row_key,
};
use contesta::value::{Value, Values};
use jiff::Timestamp;

use crate::database::{Cluster, Database};

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_its_promises() {
    promises(&Database::sqlite, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_its_promises() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    promises(&|| Database::postgres(&cluster), 200).await;
}

async fn promises(fresh: &(dyn Fn() -> Database + Sync), callers: usize) {
    a_case_is_opened_once_and_found_again(&fresh().open().await).await;
    values_of_every_kind_come_back(&fresh().open().await).await;
    a_case_changes_only_as_its_state_allows(&fresh().open().await).await;
    concurrent_callers_get_a_folio_each(&fresh().open().await, callers).await;
    the_same_key_at_once_is_one_case(&fresh().open().await).await;
    a_write_that_is_refused_harms_no_neighbour(&fresh().open().await).await;
    a_call_record_is_one_and_whole(&fresh().open().await).await;
    records_that_nobody_waits_for_are_written_together(&fresh()).await;
    the_event_log_is_numbered_in_the_order_of_things(&fresh().open().await).await;
    a_handset_is_blocked_by_its_first_report(&fresh().open().await).await;
    a_message_is_queued_once(&fresh().open().await).await;
    tries_lock_an_account(&fresh().open().await).await;
    registrations_are_kept_refreshed_and_forgotten(&fresh().open().await).await;
    tables_are_replaced_whole_and_together(&fresh()).await;
    everything_is_there_after_a_restart(&fresh()).await;
}

async fn registrations_are_kept_refreshed_and_forgotten(store: &Store) {
    let registration = Registration {
        operator: "beneleit".into(),
        user: "ana".into(),
        contact: "sip:ana@192.168.1.5".into(),
        instance: Some("<urn:uuid:1>".into()),
        reg_id: Some(1),
        call_id: "c".into(),
        cseq: u32::MAX,
        q: Some(500),
        peer: Peer::udp("203.0.113.9:40000".parse().unwrap()),
        symmetric: true,
        user_agent: "teléfono".into(),
        lasts: Duration::ZERO,
    };
    let kept = |registration: &Registration, is_new, ends: &str| RegistrationChange::Kept {
        registration: Box::new(registration.clone()),
        is_new,
        ends: at(ends),
    };
    let second =
        Registration { contact: "sip:ana@h2".into(), instance: None, reg_id: None, q: None, ..registration.clone() };
    let gone =
        RegistrationChange::Gone { operator: "beneleit".into(), user: "ana".into(), contact: second.contact.clone() };
    let changes = [
        kept(&registration, true, "2026-03-15T08:02:00Z"),
        kept(&second, true, "2026-03-15T08:02:00Z"),
        kept(&registration, false, "2026-03-15T08:04:00Z"),
        gone,
    ];
    store.change_registrations(&changes).await.unwrap();
    let stored = store.registrations(at("2026-03-15T08:03:00Z")).await.unwrap();
    assert_eq!(stored, [StoredRegistration { registration, ends: at("2026-03-15T08:04:00Z") }]);
    let kinds: Vec<String> = store.events_after(0, 10).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["phone_registered", "phone_registered", "phone_gone"]);
    assert!(store.restore_registrations(at("2026-03-15T08:04:00Z")).await.unwrap().is_empty());
    assert!(store.registrations(at("2026-03-15T08:00:00Z")).await.unwrap().is_empty(), "what is over is forgotten");
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn opening(operator: &str, key: &str) -> case::Open {
    case::Open {
        operator: operator.into(),
        prefix: if operator == "beneleit" { 2 } else { 7 },
        kind: "bloqueo".into(),
        subkind: "robo".into(),
        fields: Values::from([("linea".into(), Value::Text("2221234567".into()))]),
        channel: "telefono".into(),
        call: CallKey(format!("call-{key}").into()),
        received: at("2026-03-15T08:30:00.123456789Z"),
        due: Some(at("2026-03-16T08:30:00.123456789Z")),
        idempotency: key.into(),
    }
}

pub fn record(key: &str, folios: Vec<String>) -> CallRecord {
    CallRecord {
        key: CallKey(key.into()),
        operator: "beneleit".into(),
        flow: "beneleit.principal".into(),
        sip_call_id: "a84b4c76e66710@pc33".into(),
        called: "*2363".into(),
        caller: "2221234567".into(),
        class: "gratuito".into(),
        began: at("2026-03-15T08:30:00.250Z"),
        answered: Some(at("2026-03-15T08:30:00.300Z")),
        ended: at("2026-03-15T08:32:00Z"),
        result: "bloqueo".into(),
        cause: "caller hung up: BYE".into(),
        folios,
        path: vec![
            PathEntry { at_ms: 50, place: "beneleit.principal/contestar".into(), what: "enter".into() },
            PathEntry { at_ms: 5_120, place: "beneleit.principal/menu".into(), what: "key 1 → «bloqueo»".into() },
        ],
        segments: vec![Segment { what: What::Talk, who: "ana".into(), at_ms: 9_000, ms: 61_000 }],
        ladder: "0\t<UDP\t192.0.2.20:5062\tINVITE sip:*2363@192.0.2.10\t1 INVITE\t\n".into(),
        media: LegReport {
            packets_received: 6_000,
            packets_sent: 5_990,
            packets_lost: 3,
            packets_ignored: 1,
            packets_forged: 1,
            digits: 9,
            codec: Some(Codec::Opus),
            srtp: Some(Suite::AeadAes256Gcm),
            quality: Quality {
                round_trip: Some(RoundTrip { mean: Duration::from_micros(12_345), longest: Duration::from_millis(40) }),
                heard: Some(StreamQuality {
                    loss: 123,
                    jitter: Duration::from_micros(2_100),
                    jitter_highest: Duration::from_millis(9),
                    mos: Mos(418),
                }),
                reported: None,
                one_way: 1,
            },
        },
        recording: Some(RecordingReport {
            file: "2026-03-15/20260315-083000-k7m2p9.wav".into(),
            duration: Duration::from_millis(119_500),
            lost: Duration::from_millis(500),
            fault: Some("broke off: no room".into()),
        }),
    }
}

fn update(folio: &Folio, state: Option<State>) -> case::Update {
    case::Update {
        operator: "beneleit".into(),
        folio: folio.clone(),
        state,
        fields: Values::from([("tipo_falla".into(), Value::Text("sin_datos".into()))]),
        call: CallKey("call-later".into()),
        at: at("2026-03-15T09:00:00Z"),
    }
}

/// P-09, P-19: one case, one folio, whatever is repeated; C-3, J8: another operator does not see it.
async fn a_case_is_opened_once_and_found_again(store: &Store) {
    let opened = store.open_case(&opening("beneleit", "k1")).await.unwrap();
    assert!(opened.new);
    assert_eq!(opened.case.folio.prefix(), 2);
    assert_eq!(opened.case.state, State::Open);
    assert_eq!(opened.case.open.received, at("2026-03-15T08:30:00.123Z"));

    let mut again = opening("beneleit", "k1");
    again.kind = "falla".into();
    let repeated = store.open_case(&again).await.unwrap();
    assert!(!repeated.new);
    assert_eq!(repeated.case, opened.case);
    // The same key of another operator is another case.
    let other = store.open_case(&opening("bluepoint", "k1")).await.unwrap();
    assert!(other.new);
    assert_eq!(other.case.folio.prefix(), 7);

    let folio = &opened.case.folio;
    assert_eq!(store.find_case("beneleit", folio).await.unwrap(), Some(opened.case.clone()));
    assert_eq!(store.find_case("bluepoint", folio).await.unwrap(), None);
    assert_eq!(store.cases(&CaseFilter { limit: 10, ..CaseFilter::default() }).await.unwrap().len(), 2);
    let only = CaseFilter { operator: Some("bluepoint".into()), limit: 10, ..CaseFilter::default() };
    assert_eq!(store.cases(&only).await.unwrap(), [other.case]);
    let later = CaseFilter { since: Some(at("2026-03-15T08:30:01Z")), limit: 10, ..CaseFilter::default() };
    assert_eq!(store.cases(&later).await.unwrap(), []);
    let closed = CaseFilter { state: Some(State::Closed), limit: 10, ..CaseFilter::default() };
    assert_eq!(store.cases(&closed).await.unwrap(), []);
}

async fn values_of_every_kind_come_back(store: &Store) {
    let mut open = opening("beneleit", "kinds");
    open.due = None;
    open.subkind = String::new();
    open.fields = Values::from([
        ("nombre".into(), Value::Text("José «Pepe» Ñandú; DROP TABLE cases; -- \u{1f600}".into())),
        ("vacio".into(), Value::Text(String::new())),
        ("veces".into(), Value::Number(-3)),
        ("saldo".into(), Value::Money(10_150)),
        ("dia".into(), Value::Date(jiff::civil::date(2026, 2, 28))),
        ("cuando".into(), Value::Moment(at("2026-07-01T00:00:00Z"))),
        ("titular".into(), Value::Flag(false)),
    ]);
    let opened = store.open_case(&open).await.unwrap().case;
    assert_eq!(opened.open.fields, open.fields);
    assert_eq!(store.case(&opened.folio).await.unwrap(), Some(opened));
}

/// P-06, P-22: the history grows, the state follows the table, a refusal changes nothing.
async fn a_case_changes_only_as_its_state_allows(store: &Store) {
    let folio = store.open_case(&opening("beneleit", "k")).await.unwrap().case.folio;
    let refused = store.update_case(&update(&folio, Some(State::Closed))).await.unwrap();
    assert_eq!(refused, Change::Illegal { from: State::Open, to: State::Closed });
    let Change::Done(case) = store.update_case(&update(&folio, Some(State::Solved))).await.unwrap() else {
        panic!("solving an open case is allowed")
    };
    assert_eq!(case.state, State::Solved);
    assert_eq!(case.open.fields.keys().collect::<Vec<_>>(), ["linea", "tipo_falla"]);
    assert_eq!(store.find_case("beneleit", &folio).await.unwrap(), Some(*case));

    let nobody = Folio::parse("2000000000").or_else(|_| Folio::parse("2000000001"));
    let nobody = nobody.unwrap_or_else(|_| (2..10).find_map(|d| Folio::parse(&format!("200000000{d}")).ok()).unwrap());
    assert_eq!(store.update_case(&update(&nobody, None)).await.unwrap(), Change::NotFound);
    let mut foreign = update(&folio, None);
    foreign.operator = "bluepoint".into();
    assert_eq!(store.update_case(&foreign).await.unwrap(), Change::NotFound);

    let history = store.history(&folio).await.unwrap();
    let lines: Vec<String> = history.iter().map(|event| format!("{} {}", event.kind, event.detail)).collect();
    assert_eq!(lines, ["opened bloqueo robo", "updated estado=resuelto tipo_falla=sin_datos"]);
    assert_eq!(history[1].call, CallKey("call-later".into()));
}

async fn concurrent_callers_get_a_folio_each(store: &Store, callers: usize) {
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                let folio = store.open_case(&opening("beneleit", &format!("k{caller}"))).await.unwrap().case.folio;
                // Answered means that anybody can read it.
                assert!(store.find_case("beneleit", &folio).await.unwrap().is_some());
                folio
            })
        })
        .collect();
    let mut folios = BTreeSet::new();
    for task in tasks {
        folios.insert(task.await.unwrap());
    }
    assert_eq!(folios.len(), callers);
    let all = CaseFilter { limit: u32::MAX, ..CaseFilter::default() };
    let stored: BTreeSet<Folio> = store.cases(&all).await.unwrap().into_iter().map(|case| case.folio).collect();
    assert_eq!(stored, folios);
}

async fn the_same_key_at_once_is_one_case(store: &Store) {
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.open_case(&opening("beneleit", "same")).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    let mut folios = BTreeSet::new();
    for task in tasks {
        let opened = task.await.unwrap();
        new += u32::from(opened.new);
        folios.insert(opened.case.folio);
    }
    assert_eq!((new, folios.len()), (1, 1));
}

/// A text with a NUL is refused by PostgreSQL, one that is fine is not; the writes around it are gathered into one commit.
async fn a_write_that_is_refused_harms_no_neighbour(store: &Store) {
    let mut bad = opening("beneleit", "bad");
    bad.channel = "tele\0fono".into();
    let (first, second) = (message("good"), message("also good"));
    let (good, bad, also_good) =
        tokio::join!(store.enqueue(&first), async { store.open_case(&bad).await }, store.enqueue(&second),);
    good.unwrap();
    also_good.unwrap();
    let queued: Vec<String> = store.outbox(9).await.unwrap().into_iter().map(|m| m.message.idempotency).collect();
    assert_eq!(queued, ["good", "also good"]);
    let stored = store.cases(&CaseFilter { limit: 9, ..CaseFilter::default() }).await.unwrap();
    match bad {
        Ok(opened) => assert_eq!(stored, [opened.case]),
        Err(fault) => {
            assert!(format!("{fault:#}").starts_with("the database refuses it: "), "{fault:#}");
            assert_eq!(stored, []);
        }
    }
}

/// P-22, pain 24: every call one record, its path whole; the cases it consulted know of it.
async fn a_call_record_is_one_and_whole(store: &Store) {
    let case = store.open_case(&opening("beneleit", "k")).await.unwrap().case;
    let folios = vec![case.folio.to_string()];
    let mut abandoned = record("c2", Vec::new());
    abandoned.answered = None;
    abandoned.operator = String::new();
    abandoned.path = Vec::new();
    abandoned.began = at("2026-03-15T08:31:00Z");
    let mut consulting = record("c1", folios.clone());
    for record in [&consulting, &abandoned, &consulting] {
        store.save_call(record).await.unwrap();
    }
    assert_eq!(store.call("c1").await.unwrap(), Some(consulting.clone()));
    assert_eq!(store.call("c2").await.unwrap(), Some(abandoned.clone()));
    assert_eq!(store.call("c3").await.unwrap(), None);
    let all = CallFilter { limit: 10, ..CallFilter::default() };
    assert_eq!(store.calls(&all).await.unwrap(), [abandoned, consulting.clone()]);
    let only = CallFilter { operator: Some("beneleit".into()), limit: 10, ..CallFilter::default() };
    assert_eq!(store.calls(&only).await.unwrap(), [consulting.clone()]);
    let none = CallFilter { result: Some("abandono".into()), limit: 10, ..CallFilter::default() };
    assert_eq!(store.calls(&none).await.unwrap(), []);

    // The call that opened the case did not consult it.
    consulting.key = case.open.call.clone();
    store.save_call(&consulting).await.unwrap();
    let history: Vec<_> = store
        .history(&case.folio)
        .await
        .unwrap()
        .into_iter()
        .map(|event| (event.kind, event.call.to_string()))
        .collect();
    let expected = [("opened", "call-k"), ("consulted", "c1")];
    assert_eq!(history, expected.map(|(kind, call)| (kind.to_owned(), call.to_owned())));
}

/// A repetition, a text that PostgreSQL refuses, and a case that was consulted cost none of their neighbours; the last ones are there although
/// the store is closed behind them.
async fn records_that_nobody_waits_for_are_written_together(database: &Database) {
    let store = database.open().await;
    let folio = store.open_case(&opening("beneleit", "k")).await.unwrap().case.folio;
    let take = |record: CallRecord| assert_eq!(store.take_call(Box::new(record)), Ok(()));
    let keys = |range: std::ops::Range<u32>| range.map(|number| format!("c{number:03}"));
    keys(0..100).for_each(|key| take(record(&key, vec![])));
    take(record("c007", vec![folio.to_string()]));
    take(record("consulted", vec![folio.to_string()]));
    let mut bad = record("bad", vec![]);
    bad.caller = "222\0".into();
    take(bad.clone());
    keys(100..150).for_each(|key| take(record(&key, vec![])));
    store.close().await;

    let store = database.open().await;
    let all = CallFilter { limit: 1_000, ..CallFilter::default() };
    let mut stored: Vec<String> = store.calls(&all).await.unwrap().iter().map(|call| call.key.to_string()).collect();
    stored.sort();
    let bad_is_in = stored.contains(&bad.key.to_string());
    let mut expected: Vec<String> = keys(0..150).chain(["consulted".to_owned()]).collect();
    expected.extend(bad_is_in.then(|| bad.key.to_string()));
    expected.sort();
    assert_eq!(stored, expected);
    assert_eq!(store.call("c007").await.unwrap(), Some(record("c007", vec![])), "the first of a key stays");
    let history: Vec<String> = store.history(&folio).await.unwrap().into_iter().map(|e| e.call.to_string()).collect();
    assert_eq!(history, ["call-k", "consulted"]);
    let log = store.events_after(0, 1_000).await.unwrap();
    let ended = log.iter().filter(|event| event.kind == "call_ended").map(|event| event.subject.clone());
    let mut ended: Vec<String> = ended.collect();
    ended.sort();
    assert_eq!(ended, expected, "a line of the log each");
}

async fn the_event_log_is_numbered_in_the_order_of_things(store: &Store) {
    let folio = store.open_case(&opening("beneleit", "k")).await.unwrap().case.folio;
    store.update_case(&update(&folio, Some(State::Escalated))).await.unwrap();
    store.order(&order(OrderKind::DeviceBlock, &folio)).await.unwrap();
    store.order(&order(OrderKind::LineSuspension, &folio)).await.unwrap();
    store.enqueue(&message("m")).await.unwrap();
    store.save_call(&record("c", Vec::new())).await.unwrap();
    // Repetitions are no events.
    store.open_case(&opening("beneleit", "k")).await.unwrap();
    store.enqueue(&message("m")).await.unwrap();
    store.order(&order(OrderKind::DeviceBlock, &folio)).await.unwrap();
    store.save_call(&record("c", Vec::new())).await.unwrap();

    let log = store.events_after(0, 100).await.unwrap();
    let lines: Vec<(&str, &str)> = log.iter().map(|event| (event.kind.as_str(), event.subject.as_str())).collect();
    let expected = [
        ("case_opened", folio.as_str()),
        ("case_updated", folio.as_str()),
        ("device_block_ordered", folio.as_str()),
        ("line_suspension_ordered", folio.as_str()),
        ("message_queued", "1"),
        ("call_ended", "c"),
    ];
    assert_eq!(lines, expected);
    assert!(log.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    // Pain 24: a listener that was away resumes from the last number it saw.
    assert_eq!(store.events_after(log[2].seq, 2).await.unwrap(), log[3..5]);
}

/// B-32, J1: the second report of one handset is told the first one's folio; the same report orders once.
async fn a_handset_is_blocked_by_its_first_report(store: &Store) {
    let first = store.open_case(&opening("beneleit", "a")).await.unwrap().case.folio;
    let second = store.open_case(&opening("beneleit", "b")).await.unwrap().case.folio;
    let block = order(OrderKind::DeviceBlock, &first);
    assert_eq!(store.order(&block).await.unwrap(), Ordered::Accepted);
    assert_eq!(store.order(&block).await.unwrap(), Ordered::Accepted);
    // The same device by its IMEISV: 14 digits in common.
    let mut again = order(OrderKind::DeviceBlock, &second);
    again.imei = "4901542032375199".into();
    assert_eq!(store.order(&again).await.unwrap(), Ordered::Already(first.clone()));
    // Another operator's order is its own matter.
    again.operator = "bluepoint".into();
    assert_eq!(store.order(&again).await.unwrap(), Ordered::Accepted);
    assert_eq!(store.order(&order(OrderKind::LineSuspension, &second)).await.unwrap(), Ordered::Accepted);

    let device = contesta::store::device("490154203237518");
    let found = store.order_in_force("beneleit", OrderKind::DeviceBlock, device).await.unwrap();
    assert_eq!(found, Some(first.clone()));
    assert_eq!(store.order_in_force("beneleit", OrderKind::DeviceBlock, "00000000000000").await.unwrap(), None);
    let stored = store.orders(&first).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0].order, stored[0].state.as_str()), (&block, "pendiente"));
}

async fn a_message_is_queued_once(store: &Store) {
    let mut with_folio = message("m2");
    with_folio.folio = Some(store.open_case(&opening("beneleit", "k")).await.unwrap().case.folio);
    for message in [&message("m1"), &with_folio, &message("m1")] {
        store.enqueue(message).await.unwrap();
    }
    let queued: Vec<Message> = store.outbox(10).await.unwrap().into_iter().map(|queued| queued.message).collect();
    assert_eq!(queued, [message("m1"), with_folio]);
}

async fn tables_are_replaced_whole_and_together(database: &Database) {
    let store = &database.open().await;
    let rows = |count: i64, town: &str| -> Vec<TableRow> {
        (0..count)
            .map(|number| TableRow {
                key: row_key([number.to_string().as_str()]),
                cells: Values::from([
                    ("orden".into(), Value::Number(number)),
                    ("localidad".into(), Value::Text(format!("{town} {}", number % 2))),
                ]),
            })
            .collect()
    };
    let of = |operator, rows| NewTable { operator, name: "coverage", rows };
    assert_eq!(store.table("beneleit", "coverage").await.unwrap(), None);
    let (many, one) = (rows(2_500, "Puebla"), rows(1, "Iguala"));
    let mut seen = Vec::new();
    let both = [of("beneleit", &many), of("bluepoint", &one)];
    store.replace_tables(&both, &mut |table, rows| seen.push((table, rows))).await.unwrap();
    assert_eq!(seen, [(0, 1_000), (0, 2_000), (0, 2_500), (1, 1)]);
    assert_eq!(store.table("beneleit", "coverage").await.unwrap().unwrap().rows, 2_500);
    let found = store.table_row("beneleit", "coverage", "2499").await.unwrap().unwrap();
    assert_eq!(found["localidad"], Value::Text("Puebla 1".into()));
    assert_eq!(store.table_row("beneleit", "coverage", "2500").await.unwrap(), None);
    let odd = store.table_rows("beneleit", "coverage", Some(("localidad", "Puebla 1"))).await.unwrap();
    assert_eq!((odd.len(), &odd[0]["orden"]), (1_250, &Value::Number(1)));

    // Two rows with one key in the second table: the first, which was good and in already, stays as it was too.
    let (good, mut bad) = (rows(4, "Atlixco"), rows(5, "Cholula"));
    bad[4].key = bad[0].key.clone();
    let why = store.replace_tables(&[of("bluepoint", &good), of("beneleit", &bad)], &mut |_, _| {}).await.unwrap_err();
    assert_eq!(why.to_string(), "cannot bring in the table coverage of beneleit");
    assert_eq!(store.table_rows("beneleit", "coverage", None).await.unwrap().len(), 2_500);
    assert_eq!(store.table_rows("bluepoint", "coverage", None).await.unwrap().len(), 1);

    let few = rows(3, "Cholula");
    store.replace_tables(&[of("beneleit", &few)], &mut |_, _| {}).await.unwrap();
    let all = store.table_rows("beneleit", "coverage", None).await.unwrap();
    assert_eq!(all.iter().map(|row| row["orden"].clone()).collect::<Vec<_>>(), [0, 1, 2].map(Value::Number));
    assert_eq!(store.table("bluepoint", "coverage").await.unwrap().unwrap().rows, 1);
    assert_eq!(database.table_rows().await, 4, "no row stays that nobody reads");

    // Two at once: the rows of one of them are all that is read.
    let (towns, cities) = (rows(2_500, "Zacatlán"), rows(2_500, "Tehuacán"));
    let (town, city) = ([of("beneleit", &towns)], [of("beneleit", &cities)]);
    let (mut tell, mut tell_too) = (|_, _| {}, |_, _| {});
    let (one, other) = tokio::join!(store.replace_tables(&town, &mut tell), store.replace_tables(&city, &mut tell_too));
    one.and(other).unwrap();
    let read = store.table_rows("beneleit", "coverage", None).await.unwrap();
    let cells = |rows: &[TableRow]| rows.iter().map(|row| row.cells.clone()).collect::<Vec<_>>();
    assert!(read == cells(&towns) || read == cells(&cities));
    assert_eq!(database.table_rows().await, 2_501);
}

async fn everything_is_there_after_a_restart(database: &Database) {
    let store = database.open().await;
    let case = store.open_case(&opening("beneleit", "k")).await.unwrap().case;
    store.save_call(&record("c", Vec::new())).await.unwrap();
    // A command beside the engine reads; a second engine is refused.
    let beside = Store::connect(&database.url, database.data.path()).await.unwrap();
    assert_eq!(beside.case(&case.folio).await.unwrap(), Some(case.clone()));
    let listed = beside.cases(&CaseFilter { limit: 9, ..CaseFilter::default() }).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&case));
    assert!(beside.enqueue(&message("m")).await.is_err());
    beside.close().await;
    let second = Store::open(&database.url, database.data.path()).await.err().map(|fault| fault.to_string());
    assert!(second.is_some_and(|why| why.starts_with("another contesta is running on ")));
    let still = store.clone();
    store.close().await;
    assert_eq!(still.enqueue(&message("m")).await.unwrap_err().to_string(), "the store is closed");

    let store = database.open().await;
    assert_eq!(store.find_case("beneleit", &case.folio).await.unwrap(), Some(case.clone()));
    assert!(!store.open_case(&opening("beneleit", "k")).await.unwrap().new);
    assert!(store.call("c").await.unwrap().is_some());
    store.close().await;
}

pub fn order(kind: OrderKind, folio: &Folio) -> Order {
    let imei = match kind {
        OrderKind::DeviceBlock => "490154203237518",
        OrderKind::LineSuspension => "",
    };
    Order {
        operator: "beneleit".into(),
        kind,
        imei: imei.into(),
        line: "2221234567".into(),
        folio: folio.clone(),
        reason: "robo".into(),
    }
}

pub fn message(key: &str) -> Message {
    Message {
        operator: "beneleit".into(),
        channel: "sms".into(),
        to: "2221234567".into(),
        template: "folio".into(),
        text: "Su folio es 2 123 456 789".into(),
        folio: None,
        call: CallKey("c1".into()),
        idempotency: key.into(),
    }
}

/// P-14: tries count for their account, by whomever and whenever they come; at the limit they stop, and it ends by itself.
async fn tries_lock_an_account(store: &Store) {
    let hour = Duration::from_secs(3_600);
    let lockout = Lockout { tries: 3, window: hour, lasts: hour / 2 };
    let minute = |minute: u32| at(&format!("2026-03-15T{:02}:{:02}:00Z", 8 + minute / 60, minute % 60));
    let attempt =
        async |account: &str, at: u32| store.count_try("beneleit", account, lockout, minute(at)).await.unwrap();
    let counted = |tried: Tried| match tried {
        Tried::Counted(id) => id,
        Tried::Locked(until) => panic!("locked until {until}"),
    };
    // Twenty at the same moment: three are compared.
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        crowd.spawn(async move { store.count_try("beneleit", "a", lockout, minute(0)).await.unwrap() });
    }
    let tried = crowd.join_all().await;
    assert_eq!(tried.iter().filter(|tried| matches!(tried, Tried::Counted(_))).count(), 3);
    assert!(tried.contains(&Tried::Locked(minute(30))));
    assert_eq!(attempt("a", 29).await, Tried::Locked(minute(30)));
    // Another account, and another operator's of the same name, are not touched.
    counted(attempt("b", 29).await);
    counted(store.count_try("bluepoint", "a", lockout, minute(29)).await.unwrap());
    // The lock is over, and what came before it counts no more.
    counted(attempt("a", 30).await);
    counted(attempt("a", 31).await);
    // A try that nobody compared is taken back, with the lock that it was the last one for.
    let last = counted(attempt("a", 32).await);
    assert_eq!(attempt("a", 33).await, Tried::Locked(minute(62)));
    store.take_back_try(&last).await.unwrap();
    counted(attempt("a", 33).await);
    assert_eq!(attempt("a", 34).await, Tried::Locked(minute(63)));
    // Whoever knew the secret is the owner.
    store.forgive_tries("beneleit", "a").await.unwrap();
    counted(attempt("a", 35).await);
    // A try counts for an hour.
    counted(attempt("a", 36).await);
    counted(attempt("a", 97).await);
    counted(attempt("a", 98).await);
    let locks = store.events_after(0, 100).await.unwrap();
    assert_eq!(locks.iter().filter(|event| event.kind == "verification_locked").count(), 3);
}
