//! What the shipped operators declare apart from their menus: numbers, hours, kinds of case, texts and tables.
#![expect(clippy::disallowed_methods, reason = "a test reads the files it holds to account")]

mod shipped;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use contesta::operator::number::Routes;
use contesta::operator::{HoursState, Operator, SlaClock, sla};
use contesta::service::import;
use contesta::value::Value;
use jiff::Timestamp;

/// B-02, B-03, B-08, P-01: each published number, in the spellings that carriers deliver, leads to its operator's menu.
#[test]
fn published_numbers_lead_to_their_menus() {
    let operators: Vec<Operator> = shipped::OPERATORS.iter().map(|id| shipped::operator(id)).collect();
    let routes = Routes::new(&operators).unwrap();
    let flow = |user: &str| routes.find(user, &[]).map(|route| route.flow);
    for (user, expect) in [
        ("*2363", "beneleit.principal"),
        ("+52*2363", "beneleit.principal"),
        ("300", "beneleit.principal"),
        ("2226057239", "beneleit.conmutador"),
        ("+522226057239", "beneleit.conmutador"),
        ("5212226057239", "beneleit.conmutador"),
        ("2226057239;ext=300", "beneleit.principal"),
        ("7676720827", "bluepoint.principal"),
        ("+527775000232", "bluepoint.principal"),
    ] {
        assert_eq!(flow(user).as_deref(), Some(expect), "{user}");
    }
    assert_eq!(flow("2363"), None, "the star is a digit, not a wildcard");
    assert_eq!(flow("12363"), None);
}

/// B-11: calls to Beneleit are rated free.
#[test]
fn beneleit_is_free_of_charge() {
    assert_eq!(shipped::operator("beneleit").class, "gratuito");
}

/// B-12, P-04: half-open hours in Mexico's central time, at the second.
#[test]
fn agents_are_there_in_their_hours_only() {
    let (beneleit, bluepoint) = (shipped::operator("beneleit"), shipped::operator("bluepoint"));
    for (operator, local, open) in [
        (&beneleit, "2026-03-13T08:59:59", false),
        (&beneleit, "2026-03-13T09:00:00", true),
        (&beneleit, "2026-03-13T16:59:59", true),
        (&beneleit, "2026-03-13T17:00:00", false),
        (&beneleit, "2026-03-14T12:00:00", false),
        (&beneleit, "2026-07-15T09:00:00", true),
        (&bluepoint, "2026-03-14T08:29:59", false),
        (&bluepoint, "2026-03-14T08:30:00", true),
        (&bluepoint, "2026-03-14T18:29:59", true),
        (&bluepoint, "2026-03-14T18:30:00", false),
        (&bluepoint, "2026-03-15T12:00:00", false),
    ] {
        let at: Timestamp = format!("{local}-06:00").parse().unwrap();
        let state = operator.calendars["asesores"].at(at, &operator.time_zone);
        assert_eq!(state, if open { HoursState::Open } else { HoursState::Closed }, "{} {local}", operator.id);
    }
    let benito_juarez: Timestamp = "2026-03-16T12:00:00-06:00".parse().unwrap();
    for operator in [&beneleit, &bluepoint] {
        let state = operator.calendars["asesores"].at(benito_juarez, &operator.time_zone);
        assert!(matches!(state, HoursState::Holiday(_)), "{}: {state:?}", operator.id);
    }
}

/// B-15, B-16, B-17, B-20, B-30, B-34: everything that may be raised is a kind of case, and each has a first-response time.
#[test]
fn beneleit_knows_everything_that_may_be_raised() {
    let operator = shipped::operator("beneleit");
    for kind in [
        "consulta",
        "duda",
        "aclaracion",
        "reclamacion",
        "queja",
        "sugerencia",
        "disputa",
        "falla",
        "bloqueo",
        "datos",
        "cancelacion",
        "llamada",
    ] {
        let kind = operator.kinds.get(kind).unwrap_or_else(|| panic!("no kind «{kind}»"));
        assert!(kind.deadline.is_some(), "«{}» has no first-response time", kind.name);
    }
    assert_eq!(operator.kinds["bloqueo"].subkinds, ["robo", "extravio", "duplicidad"]);
    assert_eq!(operator.kinds["falla"].subkinds, ["sin_senal", "sin_datos", "llamadas", "sms", "recarga", "otro"]);
}

/// B-23: a fault is answered within 24 natural hours, whatever the hours and holidays; and P-07: Blue Point's times are those of
/// its open hours.
#[test]
fn deadlines_run_on_the_clock_of_their_kind() {
    let operator = shipped::operator("beneleit");
    let fault = &operator.kinds["falla"];
    assert_eq!(fault.deadline, Some((Duration::from_secs(24 * 3_600), SlaClock::Natural)));
    let friday: Timestamp = "2026-03-13T17:00:00-06:00".parse().unwrap();
    assert_eq!(sla::due(friday, fault, &operator), Some("2026-03-14T17:00:00-06:00".parse().unwrap()));

    let operator = shipped::operator("bluepoint");
    let saturday: Timestamp = "2026-03-14T18:00:00-06:00".parse().unwrap();
    // Half an hour on Saturday, none on Sunday and on the holiday, and 19.5 of the ten hours of Tuesday and Wednesday.
    let due = sla::due(saturday, &operator.kinds["duda"], &operator);
    assert_eq!(due, Some("2026-03-18T18:00:00-06:00".parse().unwrap()));
}

/// Tables are whole, their prompts exist, and B-25's postal codes have five digits, B-28's prices are above nothing.
#[test]
fn tables_are_filled_from_their_files() {
    for id in shipped::OPERATORS {
        let operator = shipped::operator(id);
        for (name, table) in &operator.tables {
            let path = format!("flows/data/{id}/{name}.csv");
            let csv = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let rows = import::read_table(&operator, table, &path, &csv).unwrap();
            assert!(rows.len() >= 3, "{path} has {} rows", rows.len());
            for (column, value) in rows.iter().flat_map(|row| &row.cells) {
                match (column.as_str(), value) {
                    ("codigo_postal", Value::Text(postal)) => {
                        assert!(
                            postal.len() == 5 && postal.bytes().all(|byte| byte.is_ascii_digit()),
                            "{path}: {postal}"
                        );
                    }
                    ("precio" | "renta", Value::Money(centavos)) => assert!(*centavos > 0, "{path}: {centavos}"),
                    (_, _) => {}
                }
            }
        }
    }
}

/// C-9: Beneleit says «usted», Blue Point «tú»; no text names a regulator that is gone, or a figure of a calendar or table.
#[test]
fn texts_keep_their_register_and_no_figures() {
    for (id, foreign) in [
        ("beneleit", ["oprime ", "marca ", "tu ", "te ", "tus "]),
        ("bluepoint", ["oprima ", "marque ", "su ", "usted ", "sus "]),
    ] {
        for prompt in shipped::operator(id).prompts.own_prompts() {
            let text = format!("{} ", prompt.text.to_lowercase());
            for word in foreign {
                let found = text.split_inclusive(|c: char| !c.is_alphanumeric()).any(|token| token == word);
                assert!(!found, "{id} {}: «{word}» in «{}»", prompt.key, prompt.text);
            }
            assert!(!text.chars().any(|c| c.is_ascii_digit()), "{id} {}: digits in «{}»", prompt.key, prompt.text);
            for gone in ["ift", "instituto federal", "de la mañana", "de la tarde", " pesos", "lunes", "sábado"] {
                assert!(!text.contains(gone), "{id} {}: «{gone}» in «{}»", prompt.key, prompt.text);
            }
        }
    }
}

/// Every prompt of the catalogue is heard somewhere: in a flow or from a table.
#[test]
fn no_text_lies_unused() {
    for id in shipped::OPERATORS {
        let operator = shipped::operator(id);
        let mut used = BTreeSet::new();
        let tables =
            operator.tables.keys().map(|name| fs::read_to_string(format!("flows/data/{id}/{name}.csv")).unwrap());
        let flows = shipped::files(id).into_iter().filter(|file| !file.path.ends_with("prompts.toml"));
        for text in flows.map(|file| file.text).chain(tables) {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map(str::to_owned);
            used.extend(words);
        }
        let unused: Vec<&str> = operator
            .prompts
            .own_prompts()
            .iter()
            .map(|prompt| prompt.key.as_str())
            .filter(|key| !used.contains(*key))
            .collect();
        assert_eq!(unused, Vec::<&str>::new(), "{id}");
    }
}

/// B-32, C-12: no gateway confirms an order or a delivery yet, so nobody is told that one was carried out: only that it was given.
#[test]
fn nobody_is_told_that_an_order_was_carried_out() {
    for id in shipped::OPERATORS {
        let operator = shipped::operator(id);
        let texts = operator.prompts.ids().map(|prompt| operator.prompts.text(prompt));
        for text in texts.chain(operator.templates.values().map(|template| template.as_str())) {
            let text = text.to_lowercase();
            for claim in ["suspendid", "bloquead", "le llegará", "te llegará"] {
                assert!(!text.contains(claim), "{id}: «{text}» claims more than is known");
            }
        }
    }
}
