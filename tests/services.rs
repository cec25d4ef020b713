//! Self-services of the shipped operators, asked as a flow asks them: imported tables, orders, cases, the outbox.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and stages its world")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use contesta::case::{self, Folio};
use contesta::edge::files;
use contesta::flow::action::Message;
use contesta::flow::{Answer, Request};
use contesta::ids::CallKey;
use contesta::operator::Operator;
use contesta::service::Services;
use contesta::service::import::{self, import_all_if_empty, read_table};
use contesta::service::secret::{KEY_BYTES, SecretKey};
use contesta::store::{OrderKind, Store};
use contesta::value::{Value, Values};
use tempfile::TempDir;

/// A store with the shipped tables, and the services over it.
struct Desk {
    store: Store,
    services: Services,
    operators: Vec<Arc<Operator>>,
    _data: TempDir,
}

async fn desk() -> Desk {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(&Store::default_url(data.path()), data.path()).await.unwrap();
    let (operators, _) = files::load_operators(Path::new("flows")).unwrap();
    let operators: Vec<Arc<Operator>> = operators.into_iter().map(Arc::new).collect();
    let read = |path: &str| files::read_bytes(&Path::new("flows").join(path)).ok();
    let key = SecretKey::new([7; KEY_BYTES]);
    let imported = import_all_if_empty(&store, &key, &operators, &read).await.unwrap();
    let tables: usize = operators.iter().map(|operator| operator.tables.len()).sum();
    assert_eq!(imported.len(), tables);
    // What is filled stays as ops left it.
    assert_eq!(import_all_if_empty(&store, &key, &operators, &read).await.unwrap(), []);
    Desk { services: Services::new(store.clone(), operators.clone(), key), store, operators, _data: data }
}

impl Desk {
    async fn ask(&self, operator: &str, service: &str, args: &[(&str, Value)]) -> (String, Values) {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let request = Request::Service { operator: operator.into(), service: service.into(), args, idempotency: None };
        result(self.services.carry_out(request).await)
    }

    async fn refusal(&self, operator: &str, service: &str, args: &[(&str, Value)]) -> String {
        let args: Values = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        error(self.services.ask(operator, service, &args).await)
    }

    fn operator(&self, id: &str) -> &Operator {
        self.operators.iter().find(|operator| operator.id == id).unwrap()
    }
}

fn result(answer: Answer) -> (String, Values) {
    match answer {
        Answer::Result { result, values } => (result, values),
        Answer::Error(why) => panic!("{why}"),
    }
}

fn error(answer: Answer) -> String {
    match answer {
        Answer::Error(why) => why,
        Answer::Result { result, .. } => panic!("answered {result}"),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// B-25: a postal code is covered with a technology, not covered, or not known.
#[tokio::test(flavor = "multi_thread")]
async fn coverage_is_answered_by_postal_code() {
    let desk = desk().await;
    let (result, values) = desk.ask("beneleit", "coverage.lookup", &[("postal", text("72000"))]).await;
    assert_eq!(result, "covered_4g");
    assert_eq!(values["localidad"], text("Puebla"));
    let prompts = &desk.operator("beneleit").prompts;
    assert!(prompts.id(&values["tecnologia"].to_string()).is_some());
    let (result, values) = desk.ask("beneleit", "coverage.lookup", &[("postal", text("99999"))]).await;
    assert_eq!((result.as_str(), values), ("not_found", Values::new()));
}

/// B-28, B-33: a list is walked by position from 1 to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_walked_to_its_end() {
    let desk = desk().await;
    let mut keys = Vec::new();
    for position in 1.. {
        let (result, values) = desk.ask("beneleit", "packages.item", &[("posicion", Value::Number(position))]).await;
        if result == "end" {
            assert_eq!(values, Values::new());
            break;
        }
        assert_eq!((result.as_str(), &values["orden"]), ("found", &Value::Number(position)));
        keys.push(values["clave"].to_string());
    }
    assert_eq!(keys.first().map(String::as_str), Some("quincenal"));
    let rows = desk.store.table("beneleit", "packages").await.unwrap().unwrap().rows;
    assert_eq!(u64::try_from(keys.len()).unwrap(), rows);
    let (_, first) = desk.ask("beneleit", "packages.item", &[("posicion", Value::Number(1))]).await;
    assert_eq!(first["precio"], Value::Money(10_150));
    for position in [0, -1, i64::MIN, i64::MAX] {
        let (result, _) = desk.ask("beneleit", "packages.item", &[("posicion", Value::Number(position))]).await;
        assert_eq!(result, "end", "{position}");
    }
}

/// B-29, P-14: the last four digits belong to this line, not to another; the balance is told in centavos.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_verified_by_its_own_four_digits() {
    let desk = desk().await;
    let verify = async |line: &str, last4: &str| {
        desk.ask("beneleit", "accounts.verify", &[("linea", text(line)), ("ultimos4", text(last4))]).await.0
    };
    assert_eq!(verify("2221234567", "4821").await, "match");
    assert_eq!(verify("2221234567", "1907").await, "no_match");
    assert_eq!(verify("2225550101", "1907").await, "match");
    assert_eq!(verify("0000000000", "4821").await, "no_match");
    let (result, values) = desk.ask("beneleit", "billing.balance", &[("linea", text("2221234567"))]).await;
    assert_eq!((result.as_str(), &values["saldo"]), ("found", &Value::Money(22_100)));
    assert!(!values.contains_key("ultimos4"), "what is compared is not given back");
    let stored = desk.store.table_row("beneleit", "accounts", "2221234567").await.unwrap().unwrap();
    assert!(stored["ultimos4"].to_string().starts_with("s1:"), "nor kept: {}", stored["ultimos4"]);
    // Another key opens nothing, and says so: it must not look like a wrong guess.
    let stranger = Services::new(desk.store.clone(), desk.operators.clone(), SecretKey::new([8; KEY_BYTES]));
    let args = Values::from([("linea".into(), text("2221234567")), ("ultimos4".into(), text("4821"))]);
    let why = error(stranger.ask("beneleit", "accounts.verify", &args).await);
    assert!(why.starts_with("accounts.verify: a secret is sealed with another key"), "{why}");
    assert_eq!(values["vence"], Value::Date(jiff::civil::date(2026, 3, 28)));
    // Operators do not read each other's tables.
    let why = desk.refusal("bluepoint", "billing.balance", &[("linea", text("2221234567"))]).await;
    assert_eq!(why, "billing.balance: bluepoint declares no such service");
}

/// B-32, J1: the order is in the store before the answer; the second report of a handset hears the first one's folio.
#[tokio::test(flavor = "multi_thread")]
async fn a_handset_is_blocked_once_under_its_first_folio() {
    let desk = desk().await;
    let (first, second) = (open(&desk, "call-1:case").await, open(&desk, "call-2:case").await);
    let imei = ("imei", text("490154203237518"));
    let linea = ("linea", text("2221234567"));
    let block = async |folio: &Folio| {
        let args = [imei.clone(), linea.clone(), ("folio", text(folio.as_str())), ("motivo", text("robo"))];
        desk.ask("beneleit", "device.block", &args).await
    };
    let status = async || desk.ask("beneleit", "device.status", &[imei.clone(), linea.clone()]).await;
    assert_eq!(status().await, ("not_blocked".into(), Values::new()));
    assert_eq!(block(&first).await, ("accepted".into(), Values::new()));
    assert_eq!(desk.store.orders(&first).await.unwrap()[0].order.kind, OrderKind::DeviceBlock);
    assert_eq!(block(&first).await, ("accepted".into(), Values::new()));
    let already = Values::from([("folio".to_owned(), text(first.as_str()))]);
    assert_eq!(block(&second).await, ("already_blocked".into(), already.clone()));
    assert_eq!(status().await, ("already_blocked".into(), already.clone()));
    assert_eq!(desk.store.orders(&second).await.unwrap(), []);
    // Whoever reports it from another line hears no folio that is not theirs, and has their own line suspended.
    let elsewhere = [imei.clone(), ("linea", text("2225550102"))];
    assert_eq!(desk.ask("beneleit", "device.status", &elsewhere).await, ("not_blocked".into(), Values::new()));
    assert_eq!(desk.ask("beneleit", "device.status", &[imei.clone(), ("linea", text(""))]).await.0, "not_blocked");

    // J2: without an IMEI the line alone is suspended.
    let suspend = async |folio: &Folio| {
        let args = [linea.clone(), ("folio", text(folio.as_str())), ("motivo", text("extravio"))];
        desk.ask("beneleit", "line.suspend", &args).await
    };
    assert_eq!(suspend(&first).await, ("accepted".into(), Values::new()));
    assert_eq!(suspend(&first).await, ("accepted".into(), Values::new()));
    assert_eq!(suspend(&second).await, ("already_suspended".into(), already));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_out_says_why() {
    let desk = desk().await;
    let block = |imei: &str, folio: &str| {
        [("imei", text(imei)), ("linea", text("")), ("folio", text(folio)), ("motivo", text("robo"))]
    };
    let folio = open(&desk, "k").await;
    let cases = [
        (block("49015420", folio.as_str()), "device.block: the argument `imei` does not have 14 to 16 digits"),
        (block("49015420323751x", folio.as_str()), "device.block: the argument `imei` does not have 14 to 16 digits"),
        (block("490154203237518", "123"), "device.block: a folio has ten digits, this has 3"),
    ];
    for (args, expected) in cases {
        assert_eq!(desk.refusal("beneleit", "device.block", &args).await, expected);
    }
    let wrong = desk.refusal("beneleit", "packages.item", &[("posicion", text("1"))]).await;
    assert_eq!(wrong, "packages.item: `posicion` is Text, not Number");
    let missing = desk.refusal("beneleit", "packages.item", &[]).await;
    assert_eq!(missing, "packages.item: `posicion` is missing");
    let more = [("posicion", Value::Number(1)), ("otro", text("x"))];
    let unknown = desk.refusal("beneleit", "packages.item", &more).await;
    assert_eq!(unknown, "packages.item: `otro` is not one of its arguments");
    assert_eq!(desk.refusal("nadie", "x", &[]).await, "x: there is no operator `nadie`");
}

/// P-06, P-09, P-19, J8: the folio opened in one call answers in another, and to its operator only.
#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_opened_found_and_changed() {
    let desk = desk().await;
    let (result_name, values) = result(desk.services.carry_out(Request::OpenCase(opening("c1:case"))).await);
    assert_eq!(result_name, "ok");
    assert_eq!(values.keys().collect::<Vec<_>>(), ["estado", "folio", "nuevo", "vence"]);
    assert_eq!((&values["estado"], &values["nuevo"]), (&text("abierto"), &Value::Flag(true)));
    let (_, again) = result(desk.services.carry_out(Request::OpenCase(opening("c1:case"))).await);
    assert_eq!((&again["folio"], &again["nuevo"]), (&values["folio"], &Value::Flag(false)));

    let folio = Folio::parse(&values["folio"].to_string()).unwrap();
    let find = async |operator: &str| {
        let request = Request::FindCase { operator: operator.into(), folio: folio.clone() };
        result(desk.services.carry_out(request).await)
    };
    let (found, values) = find("beneleit").await;
    let expected = BTreeMap::from([
        ("folio".to_owned(), text(folio.as_str())),
        ("tipo".to_owned(), text("falla")),
        ("estado".to_owned(), text("abierto")),
        ("recibido".to_owned(), Value::Moment("2026-03-13T23:00:00Z".parse().unwrap())),
        ("vence".to_owned(), Value::Moment("2026-03-14T23:00:00Z".parse().unwrap())),
        ("siguiente".to_owned(), text("")),
    ]);
    assert_eq!((found.as_str(), values), ("ok", expected));
    assert_eq!(find("bluepoint").await, ("not_found".into(), Values::new()));

    let update = |state| {
        Request::UpdateCase(case::Update {
            operator: "beneleit".into(),
            folio: folio.clone(),
            state: Some(state),
            fields: Values::new(),
            call: CallKey("c2".into()),
            at: "2026-03-14T01:00:00Z".parse().unwrap(),
        })
    };
    let closing = error(desk.services.carry_out(update(case::State::Closed)).await);
    assert_eq!(closing, "case update: a case cannot go from abierto to cerrado");
    assert_eq!(result(desk.services.carry_out(update(case::State::Escalated)).await).0, "ok");
    assert_eq!(find("beneleit").await.1["estado"], text("escalado"));
}

/// P-10: the message is in the outbox when `queued` is answered, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_to_the_outbox() {
    let desk = desk().await;
    let message = Message {
        operator: "beneleit".into(),
        channel: "sms".into(),
        to: "2221234567".into(),
        template: "folio".into(),
        text: "Su folio es 2123456789".into(),
        folio: None,
        call: CallKey("c1".into()),
        idempotency: "c1:folio".into(),
    };
    for _ in 0..2 {
        assert_eq!(result(desk.services.carry_out(Request::Notify(message.clone())).await).0, "queued");
    }
    let queued = desk.store.outbox(9).await.unwrap();
    assert_eq!((queued.len(), &queued[0].message, queued[0].state.as_str()), (1, &message, "pendiente"));
    let nowhere = Message { to: String::new(), ..message };
    let why = error(desk.services.carry_out(Request::Notify(nowhere)).await);
    assert_eq!(why, "notify: the sms address is no telephone number");
}

/// Every bad row is named with its line and column.
#[test]
fn a_bad_file_names_every_bad_row() {
    let (operators, _) = files::load_operators(Path::new("flows")).unwrap();
    let operator = operators.iter().find(|operator| operator.id == "beneleit").unwrap();
    let csv = "orden,clave,descripcion,precio,vigencia_dias\n\
        1,quincenal,paquete_quincenal,101.50,15\n\
        dos,diario,paquete_diario,21.00,1\n\
        3,semanal,paquete_semanall,52.00,7\n\
        4,mensual,paquete_mensual,\"1,199.00\",30\n\
        1,otro,paquete_diario,21.00,1\n\
        6,corto,paquete_diario\n\
        7,vacio,paquete_diario,,1\n\
        ,sin_clave,paquete_diario,1.00,1\n\
        9,bien,paquete_diario,1,1\n";
    let table = &operator.tables["packages"];
    let faults = read_table(operator, table, "packages.csv", csv.as_bytes()).unwrap_err();
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    packages.csv:3: orden: «dos» is not a whole number (15)
    packages.csv:4: descripcion: there is no prompt «paquete_semanall»; did you mean «paquete_semanal»?
    packages.csv:5: precio: «1,199.00» is not an amount in pesos (101.50)
    packages.csv:6: orden: «1» stands in line 2 already
    packages.csv:7: the row has 3 cells, the header 5
    packages.csv:8: precio: the cell is empty
    packages.csv:9: orden: the cell is empty, and it is part of the key
    ");
}

#[test]
fn a_header_or_a_result_that_does_not_fit_is_named() {
    let (operators, _) = files::load_operators(Path::new("flows")).unwrap();
    let operator = operators.iter().find(|operator| operator.id == "beneleit").unwrap();
    let faults = |table: &str, csv: &[u8]| -> String {
        let faults = read_table(operator, &operator.tables[table], "x.csv", csv).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let told = [
        faults("repairs", b"tipos,horas,horas\nsin_senal,1,1\n"),
        faults("repairs", b""),
        faults("repairs", b"tipo,horas\nsin_\xffsenal,12\nsms,tres\n"),
        faults("coverage", b"codigo_postal,localidad,cobertura,tecnologia\n72000,Puebla,coverd_4g,tecnologia_4g_5g\n"),
        faults(
            "accounts",
            b"linea,ultimos4,saldo,vence,ultimo_pago,fecha_pago\n2221234567,4821.0,1,2026-03-28,1,2026-02-27\n",
        ),
    ];
    insta::assert_snapshot!(told.join("\n--\n"), @"
    x.csv:1: tipos: the table repairs has no such column; did you mean «tipo»?
    x.csv:1: horas: the column stands here twice
    x.csv:1: tipo: the column is missing
    --
    x.csv:1: tipo: the column is missing
    x.csv:1: horas: the column is missing
    --
    x.csv:2: the row is not UTF-8: save the file as UTF-8
    x.csv:3: horas: «tres» is not a whole number (15)
    --
    x.csv:2: cobertura: «coverd_4g» is no result of coverage.lookup; did you mean «covered_4g»?
    --
    x.csv:2: ultimos4: the secret is not digits only
    ");
    // Spreadsheets put a mark before the header, spaces around cells and CRLF at the end.
    let rows =
        read_table(operator, &operator.tables["repairs"], "x.csv", b"\xef\xbb\xbfhoras , tipo\r\n 12, sin_senal\r\n");
    let rows = rows.unwrap();
    assert_eq!((rows.len(), &rows[0].cells["horas"], rows[0].key.as_str()), (1, &Value::Number(12), "sin_senal"));
    // A file of bad rows only is not read to its end.
    let many: String =
        std::iter::once("tipo,horas\n".to_owned()).chain((0..999).map(|n| format!("t{n},x\n"))).collect();
    let faults = read_table(operator, &operator.tables["repairs"], "x.csv", many.as_bytes()).unwrap_err();
    assert_eq!(faults.len(), import::FAULTS_MAX);
}

async fn open(desk: &Desk, key: &str) -> Folio {
    let (_, values) = result(desk.services.carry_out(Request::OpenCase(opening(key))).await);
    Folio::parse(&values["folio"].to_string()).unwrap()
}

fn opening(key: &str) -> case::Open {
    case::Open {
        operator: "beneleit".into(),
        prefix: 2,
        kind: "falla".into(),
        subkind: "sin_datos".into(),
        fields: Values::new(),
        channel: "telefono".into(),
        call: CallKey("c1".into()),
        received: "2026-03-13T23:00:00Z".parse().unwrap(),
        due: Some("2026-03-14T23:00:00Z".parse().unwrap()),
        idempotency: key.into(),
    }
}
