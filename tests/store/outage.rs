//! The database goes away and comes back: what was answered meanwhile is true afterwards, once.

use contesta::case::{self, Folio, State};
use contesta::flow::action::Lockout;
use contesta::ids::CallKey;
use contesta::store::{CaseFilter, Change, OrderKind, Ordered, Store};
use contesta::value::Values;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::database::{Cluster, Database};
use crate::suite::{at, message, opening, order, record};

/// Another process holds the write lock; the file can still be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_sqlite_loses_nothing() {
    let database = Database::sqlite();
    let store = database.open().await;
    let before = store.open_case(&opening("beneleit", "before")).await.unwrap().case;
    let old_order = store.order(&order(OrderKind::LineSuspension, &before.folio)).await.unwrap();
    assert_eq!(old_order, Ordered::Accepted);
    // A new process remembers nothing but what it reads.
    store.close().await;
    let store = database.open().await;
    let mut lock = locked(&database).await;

    let folio = write_in_the_dark(&store).await;
    // What only the locked database knows is known all the same.
    let again = store.open_case(&opening("beneleit", "before")).await.unwrap();
    assert_eq!((again.new, &again.case.folio), (false, &before.folio));
    let suspended = store.order(&order(OrderKind::LineSuspension, &folio)).await.unwrap();
    assert_eq!(suspended, Ordered::Already(before.folio.clone()));
    assert!(matches!(store.update_case(&solved(&before.folio)).await.unwrap(), Change::Done(_)));
    assert_eq!(store.case(&before.folio).await.unwrap().unwrap().state, State::Solved);
    assert!(spool_length(&database) > 0);
    // A command beside the engine sees what waits.
    let beside = Store::connect(&database.url, database.data.path()).await.unwrap();
    assert!(beside.case(&folio).await.unwrap().is_some());
    beside.close().await;

    // Restarted while it is still locked, the engine knows what it promised.
    store.close().await;
    let store = database.open().await;
    check_promised(&store, &folio).await;
    let repeated = store.open_case(&opening("beneleit", "dark")).await.unwrap();
    assert_eq!((repeated.new, &repeated.case.folio), (false, &folio));

    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    store.close().await;
    assert_eq!(spool_length(&database), 0);
    let store = database.open().await;
    check_promised(&store, &folio).await;
    check_stored_once(&store, &folio, 2).await;
    assert_eq!(store.find_case("beneleit", &before.folio).await.unwrap().unwrap().state, State::Solved);
    assert!(!database.data.path().join("spool.refused").exists());
}

/// The server is gone as in a power cut, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_down_loses_nothing() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let database = Database::postgres(&cluster);
    let store = database.open().await;
    let before = store.open_case(&opening("beneleit", "before")).await.unwrap().case;
    cluster.down();

    let folio = write_in_the_dark(&store).await;
    let again = store.open_case(&opening("beneleit", "before")).await.unwrap();
    assert_eq!((again.new, &again.case.folio), (false, &before.folio));
    assert!(spool_length(&database) > 0);
    check_promised(&store, &folio).await;

    cluster.up();
    store.close().await;
    assert_eq!(spool_length(&database), 0);
    let store = database.open().await;
    check_promised(&store, &folio).await;
    check_stored_once(&store, &folio, 2).await;
}

/// The machine comes up before its database does: it promises what it can, learns the rest later, and keeps all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_at_the_start_is_waited_for() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    // One database is new, the other has a case that nobody can look up now.
    for with_a_case in [false, true] {
        let database = Database::postgres(&cluster);
        if with_a_case {
            let store = database.open().await;
            store.open_case(&opening("beneleit", "before")).await.unwrap();
            store.close().await;
        }
        cluster.down();
        let store = database.open().await;
        assert!(!store.has_seen_database());
        let folio = write_in_the_dark(&store).await;
        assert!(folio.is_apart(), "{folio} could be one that was given before");
        let guess = store.count_try("beneleit", "account", lockout(), at("2026-03-15T09:00:00Z")).await;
        assert!(guess.is_err(), "a guess that cannot be counted is not taken");
        check_promised(&store, &folio).await;

        cluster.up();
        store.database_seen().await;
        store.close().await;
        let store = database.open().await;
        assert!(store.has_seen_database());
        check_promised(&store, &folio).await;
        check_stored_once(&store, &folio, if with_a_case { 2 } else { 1 }).await;
        store.close().await;
    }
    // With nothing to write it is seen as well; one that answers and refuses is no outage.
    let database = Database::postgres(&cluster);
    cluster.down();
    let store = database.open().await;
    cluster.up();
    store.database_seen().await;
    assert_eq!(store.cases(&CaseFilter { limit: 9, ..CaseFilter::default() }).await.unwrap(), []);
    store.close().await;
    let nowhere = format!("{}_nowhere", database.url);
    let refused = Store::open(&nowhere, database.data.path()).await.err().unwrap();
    assert!(format!("{refused:#}").contains("does not exist"), "{refused:#}");
}

fn lockout() -> Lockout {
    let hour = std::time::Duration::from_secs(3_600);
    Lockout { tries: 3, window: hour, lasts: hour / 2 }
}

/// A server that was restarted between two writes costs nobody anything, not even the way through the spool.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_postgres_is_found_again() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let database = Database::postgres(&cluster);
    let store = database.open().await;
    store.open_case(&opening("beneleit", "a")).await.unwrap();
    cluster.down();
    cluster.up();
    store.open_case(&opening("beneleit", "b")).await.unwrap();
    assert_eq!(spool_length(&database), 0);
    assert_eq!(cluster.psql_in(&database, "SELECT count(*) FROM cases"), "2");
}

/// The spooled key was opened in the database by somebody else: the folio that was spoken still leads to a case.
#[tokio::test(flavor = "multi_thread")]
async fn a_folio_spoken_in_the_dark_exists_even_if_its_key_had_another() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let database = Database::postgres(&cluster);
    let store = database.open().await;
    let other_machine = database.beside();
    let other = other_machine.open().await;
    let first = other.open_case(&opening("beneleit", "k")).await.unwrap().case.folio;
    cluster.down();
    let second = store.open_case(&opening("beneleit", "k")).await.unwrap().case.folio;
    assert_ne!(first, second);
    cluster.up();
    store.close().await;
    for folio in [&first, &second] {
        assert_eq!(other.find_case("beneleit", folio).await.unwrap().unwrap().folio, *folio);
    }
}

/// Opens a case, changes it, orders a block, queues a message, saves a call, each twice; the case's folio.
async fn write_in_the_dark(store: &Store) -> Folio {
    let opened = store.open_case(&opening("beneleit", "dark")).await.unwrap();
    assert!(opened.new);
    let folio = opened.case.folio;
    let repeated = store.open_case(&opening("beneleit", "dark")).await.unwrap();
    assert_eq!((repeated.new, &repeated.case.folio), (false, &folio));
    assert!(
        matches!(store.update_case(&solved(&folio)).await.unwrap(), Change::Done(case) if case.state == State::Solved)
    );
    let refused = store.update_case(&case::Update { state: Some(State::Open), ..solved(&folio) }).await.unwrap();
    assert_eq!(refused, Change::Illegal { from: State::Solved, to: State::Open });
    for _ in 0..2 {
        assert_eq!(store.order(&order(OrderKind::DeviceBlock, &folio)).await.unwrap(), Ordered::Accepted);
        store.enqueue(&message("dark")).await.unwrap();
        store.save_call(&record("dark", vec![folio.to_string()])).await.unwrap();
    }
    folio
}

async fn check_promised(store: &Store, folio: &Folio) {
    let case = store.find_case("beneleit", folio).await.unwrap().unwrap();
    assert_eq!((case.state, case.open.kind.as_str()), (State::Solved, "bloqueo"));
    assert_eq!(store.find_case("bluepoint", folio).await.unwrap(), None);
    let device = contesta::store::device("490154203237518");
    let order = store.order_in_force("beneleit", OrderKind::DeviceBlock, device).await.unwrap();
    assert_eq!(order.as_ref(), Some(folio));
}

async fn check_stored_once(store: &Store, folio: &Folio, cases: usize) {
    assert_eq!(store.cases(&CaseFilter { limit: 99, ..CaseFilter::default() }).await.unwrap().len(), cases);
    let history: Vec<String> = store.history(folio).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(history, ["opened", "updated", "consulted"]);
    assert_eq!(store.outbox(9).await.unwrap().len(), 1);
    assert_eq!(store.orders(folio).await.unwrap().len(), 1);
    assert_eq!(store.call("dark").await.unwrap().unwrap(), record("dark", vec![folio.to_string()]));
    let kinds: Vec<String> = store.events_after(0, 99).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "call_ended").count(), 1);
    assert_eq!(kinds.iter().filter(|kind| *kind == "message_queued").count(), 1);
}

fn solved(folio: &Folio) -> case::Update {
    case::Update {
        operator: "beneleit".into(),
        folio: folio.clone(),
        state: Some(State::Solved),
        fields: Values::new(),
        call: CallKey("call-dark".into()),
        at: "2026-03-15T09:00:00Z".parse().unwrap(),
    }
}

pub async fn locked(database: &Database) -> SqliteConnection {
    let path = database.url.strip_prefix("sqlite://").unwrap();
    let mut lock = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(std::time::Duration::from_secs(10))
        .connect()
        .await
        .unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    lock
}

fn spool_length(database: &Database) -> u64 {
    std::fs::metadata(database.data.path().join("spool")).unwrap().len()
}
