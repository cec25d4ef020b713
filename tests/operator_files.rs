//! Operators as ops write them: the shipped ones load, and every slip of the pen is shown where it stands.
#![expect(clippy::unwrap_used, reason = "a test whose files cannot be read has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use contesta::fault::{self, SourceFile};
use contesta::operator::{self, AgentSecret, Digest, Source};
use contesta::speech::{self, Say};
use contesta::value::Kind;
use jiff::Timestamp;
use jiff::civil::DateTime;
use proptest::prelude::*;

/// Files in one string, each headed `=== name`.
fn files(folder: &str, text: &str) -> Vec<SourceFile> {
    text.split("=== ")
        .skip(1)
        .map(|file| {
            let (name, text) = file.split_once('\n').unwrap();
            SourceFile { path: format!("flows/{folder}/{name}"), text: text.to_owned() }
        })
        .collect()
}

/// The folder of an operator as shipped.
#[expect(clippy::disallowed_methods, reason = "reads the files that ship")]
fn shipped(folder: &str) -> Vec<SourceFile> {
    ["operator.toml", "hours.toml", "prompts.toml", "services.toml", "agents.toml"]
        .map(|name| {
            let path = format!("flows/{folder}/{name}");
            let text = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            SourceFile { path, text }
        })
        .to_vec()
}

#[test]
fn the_shipped_operators_load_and_their_numbers_lead_to_their_flows() {
    let folders = [shipped("beneleit"), shipped("bluepoint")];
    let (operators, routes) = operator::load_all(&folders)
        .unwrap_or_else(|faults| panic!("{}", fault::render_all(&faults, &folders.concat())));
    for (called, operator, flow) in [
        ("*2363", 0, "beneleit.principal"),          // B-02
        ("+522226057239", 0, "beneleit.conmutador"), // B-03
        ("2226057239;ext=300", 0, "beneleit.principal"),
        ("300", 0, "beneleit.principal"),
        ("7676720827", 1, "bluepoint.principal"), // P-01
        ("+5217775000232", 1, "bluepoint.principal"),
    ] {
        let route = routes.find(called, &[]).unwrap_or_else(|| panic!("{called} leads nowhere"));
        assert_eq!((route.operator, route.flow.as_str()), (operator, flow), "{called}");
    }
    // B-12, P-04: the published hours, read aloud.
    let heard = |index: usize| {
        let week = operators[index].calendars["asesores"].weekly.clone();
        speech::text(&speech::say(&Say::Hours(week)).unwrap())
    };
    assert_eq!(heard(0), "de lunes a viernes de nueve de la mañana a cinco de la tarde");
    assert_eq!(heard(1), "de lunes a sábado de ocho y media de la mañana a seis y media de la tarde");
    let block = &operators[0].services["device.block"];
    assert_eq!(block.source, Source::Builtin);
    assert_eq!(block.results["already_blocked"], BTreeMap::from([("folio".to_owned(), Kind::Text)]));
    let coverage = &operators[0].services["coverage.lookup"];
    assert_eq!(
        coverage.results.keys().map(String::as_str).collect::<Vec<_>>(),
        ["covered_3g", "covered_4g", "not_covered", "not_found"]
    );
    assert_eq!(coverage.results["covered_4g"]["tecnologia"], Kind::Prompt);
    assert!(coverage.results["not_found"].is_empty());
}

/// B-23: 24 natural hours for a fault, weekend or not; office hours for the rest (pain 20).
#[test]
fn each_deadline_runs_on_its_own_clock() {
    let operator = operator::load(&shipped("beneleit")).unwrap();
    let local = |text: &str| operator.time_zone.to_timestamp(text.parse::<DateTime>().unwrap()).unwrap();
    let due = |received: &str, kind: &str| operator::due(local(received), &operator.kinds[kind], &operator);
    let friday_evening = "2026-03-13T16:30";
    assert_eq!(due(friday_evening, "falla"), Some(local("2026-03-14T16:30")));
    // Half an hour of Friday, no weekend, no Monday (Benito Juárez), eight hours of Tuesday, seven and a half of Wednesday.
    assert_eq!(due(friday_evening, "consulta"), Some(local("2026-03-18T16:30")));
    assert_eq!(due("2026-03-15T03:00", "llamada"), Some(local("2026-03-17T17:00")));
    let mut never = operator.clone();
    never.calendars.get_mut("asesores").unwrap().weekly = speech::WeekHours::default();
    assert_eq!(operator::due(Timestamp::UNIX_EPOCH, &never.kinds["consulta"], &never), None);
    assert_eq!(never.kinds["falla"].deadline.as_ref().map(|(time, _)| *time), Some(Duration::from_secs(86_400)));
}

/// The shipped text with its examples taken out of their comments.
fn examples(text: &str) -> String {
    let plain = text.lines().map(|line| line.strip_prefix("#     ").unwrap_or(line).replace('…', "corcel-7-nube"));
    plain.collect::<Vec<_>>().join("\n")
}

#[test]
fn nobody_is_an_agent_until_declared_and_the_examples_are_good() {
    let mut files = shipped("bluepoint");
    assert!(operator::load(&files).unwrap().agents.is_empty());
    files[4].text = examples(&files[4].text);
    let operator = operator::load(&files).unwrap_or_else(|faults| panic!("{}", fault::render_all(&faults, &files)));
    let agents: Vec<_> =
        operator.agents.values().map(|agent| (agent.user.as_str(), agent.name.as_str(), agent.digest)).collect();
    assert_eq!(agents, [("ana", "Ana López", None), ("luis", "Luis Ortega", Some(Digest::Sha256))]);
    assert_eq!(operator.agents["ana"].secret, AgentSecret::Password("corcel-7-nube".to_owned()));
    assert!(!format!("{operator:?}").contains("corcel"), "a password is not shown");
}

#[test]
fn every_slip_is_shown_where_it_stands() {
    let files = files(
        "beneleit",
        r##"=== operator.toml
schema = 2
[operator]
id = "Beneleit"
nmae = "Beneleit Móvil"
time_zone = "America/Mexico_Cty"
folio_prefix = 12
[[numbers]]
number = "*2363"
flow = "beneleit.principal"
[[numbers]]
number = "+52*2363"
flow = "beneleit.principal"
extensions = { 3a0 = "beneleit.principal" }
[[numbers]]
flow = 3
[kinds.falla]
deadline = "24 h"
clock = "natural"
[kinds.queja]
deadline = "8h"
clock = "asesorez"
[kinds.duda]
deadline = "8h"
[kind.duda]
[templates]
folio = 3
=== hours.toml
schema = 1
[calendars.asesores]
weekly = { mon = ["17:00-09:00", "9-17"], tue = ["09:00-14:00", "13:59-18:00"], lun = [] }
holidays = "mexico"
closed = [{ date = "2026-13-24", name = "x" }, { date = 2026-12-24 }]
overrides = [
  { from = "2026-05-04T10:00", to = "2026-05-04T10:00", open = false, reason = "x" },
  { from = "2026-05-04T10:00Z", to = "2026-05-04T12:00", open = "no", reason = "x" },
  { from = "2026-06-04T10:00", to = 2026-06-04T12:00:00, open = true, reason = "a" },
  { from = "2026-06-04T11:00", to = "2026-06-04T13:00", open = true, reason = "b" },
]
=== prompts.toml
schema = 1
[prompts]
bienvenida = " "
Menu = "x"
adios = { file = "../adios.txt" }
tarde = { text = "x", file = "tarde.wav", speed = 2 }
=== services.toml
schema = 1
[tables.coverage]
key = ["codigo"]
columns = { codigo_postal = "texto", cobertura = "text" }
[services."a"]
args = { postal = "number" }
table = "coverge"
missing = "none"
found = "x"
[services."b"]
args = { postal = "number" }
table = "coverage"
match = { cobertura = "postal", cobertur = "postl" }
found = "x"
found_by = "cobertura"
missing = "none"
[services."c"]
builtin = "device.blok"
args = {}
[services."d"]
table = "coverage"
found_by = "cobertura"
missing = "none"
[tables.cuentas]
key = ["nip"]
columns = { linea = "text", nip = "secret", clave = "secrt" }
[services."e"]
args = { linea = "text" }
table = "cuentas"
match = { linea = "linea" }
found_by = "nip"
results = ["x"]
missing = "none"
=== agents.toml
schema = 1
[agents.ana]
nmae = "Ana"
password = "corto"
[agents."Luis Ortega"]
name = "Luis"
digest = "sha256"
[agents.eva]
name = "Eva"
password = "nadie-lo-sabe-1"
ha1_md5 = "0123"
[agents.rosa]
name = "Rosa"
digest = "both"
ha1_md5 = "0123456789abcdef0123456789abcdef"
"##,
    );
    let faults = operator::load(&files).unwrap_err();
    insta::assert_snapshot!(fault::render_all(&faults, &files));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is cut out of the shipped files or pasted into them, the answer is an operator or faults that can be drawn.
    #[test]
    fn no_edit_breaks_the_reader(file in 0..5_usize, cut in 0.0..1.0_f64, length in 0..200_usize, paste in "[\\PC\n\"\\[\\]=]{0,12}") {
        let mut files = shipped("beneleit");
        // Short texts make more of the edits hit something.
        let short = files[2].text.floor_char_boundary(2_000);
        files[2].text.truncate(short);
        files[4].text = examples(&files[4].text);
        let text = &mut files[file].text;
        let start = text.floor_char_boundary((text.len() as f64 * cut) as usize);
        let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
        text.replace_range(start..end, &paste);
        if let Err(faults) = operator::load(&files) {
            prop_assert!(!faults.is_empty());
            prop_assert!(fault::render_all(&faults, &files).contains("flows/beneleit/"));
        }
    }

    #[test]
    fn any_text_is_spoken_or_refused(text in "\\PC{0,100}") {
        for value in [Say::Digits(text.clone()), Say::PhoneMx(text.clone()), Say::Folio(text.clone()), Say::Spell(text.clone())] {
            if let Ok(words) = speech::say(&value) {
                prop_assert!(!words.is_empty() && !speech::text(&words).is_empty(), "{value:?}");
            }
        }
    }
}

#[test]
fn broken_toml_is_shown_with_everything_else_that_could_be_read() {
    let files = files("x", "=== operator.toml\nschema = 1\n[operator\nid = \"x\"\n=== hours.toml\nschema = 1\nx = 1\n");
    let faults = operator::load(&files).unwrap_err();
    let seen = |file: &str, line: usize| faults.iter().any(|fault| fault.file.ends_with(file) && fault.line == line);
    assert!(seen("hours.toml", 2) && seen("operator.toml", 2), "{faults:?}");
    let nothing = operator::load(&[]).unwrap_err();
    assert_eq!(nothing[0].message, "the operator has no operator.toml");
}

#[test]
fn operators_that_claim_the_same_are_refused_at_the_second_ones_line() {
    let operator = |id: &str, number: &str| {
        files(
            id,
            &format!(
                "=== operator.toml\nschema = 1\n[operator]\nid = \"{id}\"\nname = \"A\"\n\
                 time_zone = \"America/Mexico_City\"\nfolio_prefix = 2\n[[numbers]]\nnumber = \"{number}\"\nflow = \"a.x\"\n\
                 === agents.toml\nschema = 1\n[agents]\nana = {{ name = \"Ana\", password = \"nadie-lo-sabe-1\" }}\n"
            ),
        )
    };
    let faults = operator::load_all(&[operator("a", "*2363"), operator("b", "+52*2363")]).unwrap_err();
    let seen: Vec<(&str, usize, &str)> =
        faults.iter().map(|fault| (fault.file.as_str(), fault.line, fault.message.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("flows/b/operator.toml", 6, "«a» begins its folios with 2 already"),
            ("flows/b/agents.toml", 3, "«a» has an agent «ana» already"),
            ("flows/b/operator.toml", 8, "+52*2363 leads to «a» already, and «b» claims it too"),
        ]
    );
}
