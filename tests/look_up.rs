//! The commands that look into the store: `cases`, `calls`, `import`, run as people run them.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and stages its world")]

use std::path::Path;
use std::process::{Command, Output};

use contesta::call::{CallRecord, PathEntry, Segment, What};
use contesta::case;
use contesta::ids::CallKey;
use contesta::media::LegReport;
use contesta::store::{Order, OrderKind, Store};
use contesta::value::{Value, Values};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

fn contesta(data: &Path, args: &[&str]) -> Output {
    command(args).arg("--data").arg(data).output().unwrap()
}

/// The store of whoever runs the tests is none of their business.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contesta"));
    command.args(args).env_remove("CONTESTA_STORE_URL");
    command
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap().trim_end().to_owned()
}

/// The engine runs meanwhile: the commands stand beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_case_and_its_call_are_found_while_the_engine_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let engine = Store::open(&Store::default_url(data), data).await.unwrap();
    let folio = engine.open_case(&opening()).await.unwrap().case.folio;
    let order = Order {
        operator: "beneleit".into(),
        kind: OrderKind::DeviceBlock,
        imei: "490154203237518".into(),
        line: "2221234567".into(),
        folio: folio.clone(),
        reason: "robo".into(),
    };
    engine.order(&order).await.unwrap();
    engine.save_call(&record(folio.to_string())).await.unwrap();

    let shown = said(&contesta(data, &["cases", "show", &folio.grouped()]));
    let expected = [
        format!("folio     {}  ({folio})", folio.grouped()),
        "operator  beneleit".into(),
        "kind      bloqueo/robo".into(),
        "state     abierto".into(),
        "received  2026-03-15 02:30:00 CST  by telefono".into(),
        "due       2026-03-16 02:30:00 CST".into(),
        "call      k7".into(),
        "          linea = 2221234567".into(),
    ];
    for line in &expected {
        assert!(shown.contains(line.as_str()), "{line}\nis not in\n{shown}");
    }
    assert!(shown.contains("order     device_block 490154203237518 pendiente"), "{shown}");
    assert!(shown.contains("2026-03-15 02:30:00 CST  opened     bloqueo robo  call k7"), "{shown}");

    let json: serde_json::Value =
        serde_json::from_str(&said(&contesta(data, &["cases", "show", folio.as_str(), "--json"]))).unwrap();
    assert_eq!(json["folio"], json!(folio.as_str()));
    assert_eq!(json["fields"], json!({ "intentos": 2, "linea": "2221234567", "saldo": "101.50", "titular": true }));
    assert_eq!(json["history"][0]["kind"], json!("opened"));
    assert_eq!(json["orders"][0]["state"], json!("pendiente"));
    let listed: serde_json::Value = serde_json::from_str(&said(&contesta(
        data,
        &["cases", "list", "--operator", "beneleit", "--state", "abierto", "--since", "2026-03-15", "--json"],
    )))
    .unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(said(&contesta(data, &["cases", "list", "--since", "2026-03-15T02:31"])), "");

    let timeline = said(&contesta(data, &["calls", "show", "k7"]));
    let [head, lines, segments, ladder] = timeline.split("\n\n").collect::<Vec<_>>()[..] else { panic!("{timeline}") };
    let ladder: Vec<&str> = ladder.lines().collect();
    assert!(ladder[0].contains("192.0.2.20:5062 (UDP)") && ladder[0].ends_with("contesta"), "{ladder:#?}");
    assert!(
        ladder[1].contains("│─ INVITE sip:*2363@192.0.2.10 ─")
            && ladder[1].ends_with("audio 192.0.2.20:4000 RTP/AVP PCMU")
    );
    assert!(ladder[2].contains("+0.000 │◄─") && ladder[2].ends_with(" 200 OK (INVITE) ─│"), "{ladder:#?}");
    assert!(head.contains("result    bloqueo  (caller hung up: BYE)"), "{head}");
    let words: Vec<String> = lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "+0.000 sip INVITE",
        "+0.050 sip 200 OK",
        "+0.052 beneleit.principal/contestar enter",
        "+5.120 beneleit.principal/menu key 1",
        "+12.000 beneleit.facturacion/ultimos4 keys ****",
        "+83.250 sip end",
    ];
    assert_eq!(words, expected);
    let told: Vec<String> =
        segments.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(told, ["+0.000 ivr 20.000 s", "+20.000 talk 63.250 s ana", "sum 83.250 s"]);
    let json: serde_json::Value =
        serde_json::from_str(&said(&contesta(data, &["calls", "show", "k7", "--json"]))).unwrap();
    assert_eq!((&json["ladder"][1]["what"], &json["ladder"][1]["at_ms"]), (&json!("200 OK"), &json!(0.25)));
    assert_eq!((&json["duration_ms"], &json["class"]), (&json!(83_250), &json!("gratuito")));
    assert!(said(&contesta(data, &["calls", "list", "--result", "bloqueo"])).contains(folio.as_str()));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_mistyped_or_unknown_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let nothing = refused(&contesta(data, &["cases", "list"]));
    assert!(nothing.starts_with("error: there is no database at "), "{nothing}");
    Store::open(&Store::default_url(data), data).await.unwrap().close().await;
    let cases = [
        (
            vec!["cases", "show", "2123456780"],
            "error: «2123456780» is no folio: wrong check digit: one of the digits was mistyped",
        ),
        (vec!["cases", "show", "212345"], "error: «212345» is no folio: a folio has ten digits, this has 6"),
        (vec!["cases", "show", "2123456789"], "error: there is no case with the folio 2123456789"),
        (vec!["calls", "show", "nada"], "error: there is no call with the key «nada»"),
        (
            vec!["calls", "list", "--since", "ayer"],
            "error: «ayer» is no moment: write 2026-03-15, 2026-03-15T02:30 or 2026-03-15T08:30:00Z",
        ),
        (
            vec!["cases", "list", "--operator", "bluepint"],
            "error: there is no operator «bluepint»; there are beneleit, bluepoint; did you mean «bluepoint»?",
        ),
        (
            vec!["calls", "list", "--operator", "nope"],
            "error: there is no operator «nope»; there are beneleit, bluepoint",
        ),
        (vec!["import", "covrage"], "error: there is no table «covrage»; did you mean «coverage»?"),
    ];
    for (args, expected) in cases {
        assert_eq!(refused(&contesta(data, &args)), expected);
    }
}

/// Whoever may read the files may look: nothing is written, not even a log beside the database.
#[tokio::test(flavor = "multi_thread")]
async fn looking_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let engine = Store::open(&Store::default_url(data), data).await.unwrap();
    let folio = engine.open_case(&opening()).await.unwrap().case.folio;
    engine.close().await;
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(data)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name(), entry.metadata().unwrap().modified().unwrap(), std::fs::read(entry.path()).ok())
            })
            .collect();
        files.sort();
        files
    };
    let before = files();
    assert!(said(&contesta(data, &["cases", "list"])).contains(folio.as_str()));
    said(&contesta(data, &["cases", "show", folio.as_str()]));
    said(&contesta(data, &["calls", "list"]));
    assert_eq!(files(), before);
    let looks = Store::connect(&Store::default_url(data), data).await.unwrap();
    assert_eq!(looks.open_case(&opening()).await.unwrap_err().to_string(), "the store is closed");
    looks.close().await;

    // An older engine made it: what its tables mean is not guessed at.
    let mut old = SqliteConnection::connect(&Store::default_url(data)).await.unwrap();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version > 1").execute(&mut old).await.unwrap();
    old.close().await.unwrap();
    let why = refused(&contesta(data, &["cases", "list"]));
    assert!(why.ends_with("are older than this program: `contesta run` brings them up to date"), "{why}");
}

/// Ops name the store once, for the engine; the commands beside it must not look into another, empty one.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_find_the_store_that_the_engine_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let (data, store) = (folder.path().join("data"), folder.path().join("cases.db"));
    let settings = folder.path().join("contesta.toml");
    let paths = format!("[paths]\ndata = {data:?}\nflows = {:?}\n", Path::new("flows").canonicalize().unwrap());
    std::fs::write(&settings, format!("{paths}[store]\nurl = {store:?}\n")).unwrap();
    let engine = Store::open(store.to_str().unwrap(), &data).await.unwrap();
    let folio = engine.open_case(&opening()).await.unwrap().case.folio;
    engine.close().await;

    let settings = settings.to_str().unwrap();
    let shown = |command: &mut Command| said(&command.output().unwrap());
    let told = shown(&mut command(&["cases", "list", "--config", settings]));
    assert!(told.starts_with(folio.as_str()) && told.contains("2026-03-15 02:30:00 CST"), "{told}");
    let elsewhere = ["cases", "list", "--config", settings, "--data", "/nonexistent"];
    assert_eq!(shown(&mut command(&elsewhere)), told, "--data does not move a store that was named");
    let read_there = command(&["cases", "list"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(said(&read_there), told);
    let variable = |url: &str| {
        let mut command = command(&["cases", "show", folio.as_str()]);
        command.env("CONTESTA_STORE_URL", url).output().unwrap()
    };
    assert!(said(&variable(&format!("sqlite://{}", store.display()))).contains("kind      bloqueo/robo"));
    let why = "this is no store: write a SQLite file like data/contesta.db, or postgres://user:password@host/contesta";
    assert_eq!(refused(&variable("mysql://ana:secret@db/c")), format!("error: CONTESTA_STORE_URL: {why}"));

    let imported = shown(&mut command(&["import", "coverage", "--operator", "beneleit", "--config", settings]));
    assert!(imported.starts_with("beneleit/coverage: "), "{imported}");
    let store = Store::connect(store.to_str().unwrap(), &data).await.unwrap();
    assert!(store.table("beneleit", "coverage").await.unwrap().is_some());
    store.close().await;
    assert!(!data.join("contesta.db").exists());
}

/// One bad row in one file: every other file stays out as well, until ops have mended it.
#[test]
fn an_import_is_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, flows) = (folder.path().join("data"), folder.path().join("flows"));
    let copied = Command::new("cp").args(["-r", "flows"]).arg(&flows).status().unwrap();
    assert!(copied.success());
    let repairs = flows.join("data/beneleit/repairs.csv");
    let good = std::fs::read_to_string(&repairs).unwrap();
    std::fs::write(&repairs, good.replace("sin_datos,8", "sin_datos,ocho")).unwrap();
    let import = || contesta(&data, &["import", "--flows", flows.to_str().unwrap()]);
    let why = refused(&import());
    let expected = format!(
        "{}:3: horas: «ocho» is not a whole number (15)\nerror: 1 bad row: nothing was imported",
        repairs.display()
    );
    assert_eq!(why, expected);
    assert!(!data.exists());
    let json = |output: &Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    let answer = json(&contesta(&data, &["import", "--json", "--flows", flows.to_str().unwrap()]));
    assert_eq!((&answer["bad_rows"][0]["line"], &answer["imported"]), (&json!(3), &json!([])));
    // At its first start an engine names every bad row of every table, and fills none.
    let plans = flows.join("data/bluepoint/contracts.csv");
    let contracts = std::fs::read_to_string(&plans).unwrap();
    std::fs::write(&plans, format!("{contracts}too,few\n")).unwrap();
    let start = contesta(&data, &["run", "--sip", "127.0.0.1:0", "--flows", flows.to_str().unwrap()]);
    let why = refused(&start);
    assert!(
        why.contains("bad rows: 2") && why.contains("repairs.csv:3: horas") && why.contains("contracts.csv:"),
        "{why}"
    );
    std::fs::write(&plans, contracts).unwrap();
    std::fs::write(&repairs, good).unwrap();
    let answer = json(&contesta(&data, &["import", "--json", "--flows", flows.to_str().unwrap(), "repairs"]));
    assert_eq!((&answer["imported"][0]["table"], &answer["imported"][0]["rows"]), (&json!("repairs"), &json!(6)));
    let told = said(&import());
    assert!(told.contains(&format!("beneleit/repairs: 6 rows from {}", repairs.display())), "{told}");
    assert_eq!(told.lines().count(), 10, "{told}");
}

/// A database that fails midway: callers meet the tables as they were, those before the failure included, and ops are told.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_the_database_breaks_off_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let url = Store::default_url(data);
    Store::open(&url, data).await.unwrap().close().await;
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let breaks = "CREATE TRIGGER breaks BEFORE INSERT ON table_rows WHEN NEW.name = 'repairs' AND NEW.ordinal = 3 \
                  BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    sqlx::query(breaks).execute(&mut database).await.unwrap();

    let import = ["import", "--operator", "beneleit", "coverage", "repairs"];
    let told = refused(&contesta(data, &import));
    assert!(told.starts_with("error: nothing was imported: cannot bring in the table repairs of beneleit"), "{told}");
    let store = Store::connect(&url, data).await.unwrap();
    for table in ["coverage", "repairs"] {
        assert_eq!(store.table("beneleit", table).await.unwrap(), None);
    }
    store.close().await;
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM table_rows").fetch_one(&mut database).await.unwrap();
    assert_eq!(left, 0, "what was in already is swept away");
    sqlx::query("DROP TRIGGER breaks").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    said(&contesta(data, &import));
}

fn opening() -> case::Open {
    case::Open {
        operator: "beneleit".into(),
        prefix: 2,
        kind: "bloqueo".into(),
        subkind: "robo".into(),
        fields: Values::from([
            ("linea".into(), Value::Text("2221234567".into())),
            ("intentos".into(), Value::Number(2)),
            ("saldo".into(), Value::Money(10_150)),
            ("titular".into(), Value::Flag(true)),
        ]),
        channel: "telefono".into(),
        call: CallKey("k7".into()),
        received: "2026-03-15T08:30:00Z".parse().unwrap(),
        due: Some("2026-03-16T08:30:00Z".parse().unwrap()),
        idempotency: "k7:case".into(),
    }
}

fn record(folio: String) -> CallRecord {
    let entry = |at_ms, place: &str, what: &str| PathEntry { at_ms, place: place.into(), what: what.into() };
    CallRecord {
        key: CallKey("k7".into()),
        operator: "beneleit".into(),
        flow: "beneleit.principal".into(),
        sip_call_id: "a84b4c76e66710@pc33".into(),
        called: "*2363".into(),
        caller: String::new(),
        class: "gratuito".into(),
        began: "2026-03-15T08:30:00Z".parse().unwrap(),
        answered: Some("2026-03-15T08:30:00.050Z".parse().unwrap()),
        ended: "2026-03-15T08:31:23.250Z".parse().unwrap(),
        result: "bloqueo".into(),
        cause: "caller hung up: BYE".into(),
        folios: vec![folio],
        path: vec![
            entry(52, "beneleit.principal/contestar", "enter"),
            entry(5_120, "beneleit.principal/menu", "key 1"),
            entry(12_000, "beneleit.facturacion/ultimos4", "keys ****"),
        ],
        segments: vec![
            Segment { what: What::Ivr, who: String::new(), at_ms: 0, ms: 20_000 },
            Segment { what: What::Talk, who: "ana".into(), at_ms: 20_000, ms: 63_250 },
        ],
        ladder: "0\t<UDP\t192.0.2.20:5062\tINVITE sip:*2363@192.0.2.10\t1 INVITE\taudio 192.0.2.20:4000 RTP/AVP PCMU\n\
                 250\t>UDP\t=\t200 OK\t1 INVITE\t\n"
            .into(),
        media: LegReport::default(),
        recording: None,
    }
}
