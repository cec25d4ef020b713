//! `contesta load` against a running engine over loopback: what it counts, and how it ends. No timing is judged here.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests of the whole program start processes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Engine, Folder, contesta, signal, text};

fn load(uri: &str, arguments: &[&str]) -> (Value, Output) {
    let output = contesta().args(["load", uri, "--json"]).args(arguments).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    (json, output)
}

fn engine(folder: &Folder, settings: &str) -> Engine {
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, settings).unwrap();
    Engine::start_with(folder.path(), &["--config", path.to_str().unwrap()])
}

/// Twelve callers with a port each, then the same with two ports among them all: each is answered, hears its prompt, and hangs up.
#[test]
fn every_caller_is_served_whether_its_port_is_its_own_or_shared() {
    let folder = Folder::new("load");
    let engine = engine(&folder, "");
    let uri = format!("sip:*2363@{}", engine.sip);
    let pid = engine.pid().to_string();
    for ports in [&[][..], &["--ports", "2"]] {
        let window = ["--calls", "12", "--rate", "100", "--settle", "0s", "--measure", "1s", "--pid", &pid];
        let (json, output) = load(&uri, &[&window, ports].concat());
        assert!(output.status.success(), "{}", text(&output));
        let calls = &json["calls"];
        for (name, expected) in [("placed", 12), ("answered", 12), ("measured", 12), ("silent", 0), ("not_hung_up", 0)]
        {
            assert_eq!(calls[name], expected, "{name}: {json:#}");
        }
        assert_eq!((&calls["refused"], &calls["broken_off"]), (&serde_json::json!({}), &Value::from(0)), "{json:#}");
        assert_eq!((&json["set_up"]["count"], &json["first_audio"]["count"]), (&12.into(), &12.into()), "{json:#}");
        assert!(json["packets"]["received"].as_u64().unwrap() > 12 * 10, "{json:#}");
        assert!(json["spacing"]["count"].as_u64().unwrap() > 12 * 10, "{json:#}");
        assert!(json["packets"]["sent"].as_u64().unwrap() > 12 * 10, "{json:#}");
        assert!(json["server"]["memory_kb"].as_u64().unwrap() > 0, "{json:#}");
    }
    assert!(engine.stop(), "all callers have hung up: nothing keeps the engine");
    let output = contesta().args(["calls", "list", "--json", "--data"]).arg(folder.path()).output().unwrap();
    let records: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 24, "each call left its record");
}

/// Lines for five, ten callers: five get 503, and the run says so with its status.
#[test]
fn callers_that_are_refused_are_counted_by_status() {
    let folder = Folder::new("load-busy");
    let engine = engine(&folder, "[limits]\ncalls = 5\n");
    let window = ["--calls", "10", "--rate", "100", "--settle", "0s", "--measure", "200ms"];
    let (json, output) = load(&format!("sip:*2363@{}", engine.sip), &window);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!((&json["calls"]["answered"], &json["calls"]["refused"]["503"]), (&5.into(), &5.into()), "{json:#}");
    assert!(text(&output).contains("5 of 10 calls were not answered: 5 × 503"), "{}", text(&output));
    let (json, output) = load(&format!("sip:911911@{}", engine.sip), &window);
    assert_eq!((output.status.code(), &json["calls"]["refused"]["404"]), (Some(1), &10.into()), "{json:#}");
}

#[test]
fn calls_of_a_turnover_come_and_go() {
    let folder = Folder::new("load-turnover");
    let engine = engine(&folder, "[limits]\ncalls = 25\n");
    let (json, output) = load(
        &format!("sip:*2363@{}", engine.sip),
        &["--calls", "30", "--rate", "20", "--talk", "100ms", "--pid", &engine.pid().to_string()],
    );
    assert!(output.status.success(), "more than were ever up at once: {}", text(&output));
    assert_eq!((&json["calls"]["answered"], &json["calls"]["not_hung_up"]), (&30.into(), &0.into()), "{json:#}");
    assert!(json["packets"]["received"].as_u64().unwrap() > 0, "{json:#}");
}

/// A key pressed into the pause behind the greeting is counted, and so is what answers it.
#[test]
fn keys_are_pressed_and_their_answers_counted() {
    let folder = Folder::new("load-keys");
    write_operator(folder.path());
    let [flows, prompts] = ["flows", "prompts"].map(|name| folder.path().join(name).display().to_string());
    let engine = Engine::start_with(folder.path(), &["--flows", &flows, "--prompts", &prompts]);
    let arguments = ["--calls", "4", "--rate", "100", "--settle", "0s", "--measure", "6s", "--press", "1"];
    let (json, output) = load(&format!("sip:100@{}", engine.sip), &arguments);
    assert!(output.status.success(), "{}", text(&output));
    let keys = &json["keys"];
    assert!(keys["pressed"].as_u64().unwrap() >= 4, "{json:#}");
    assert_eq!(keys["reaction"]["count"], keys["pressed"], "each has its answer: {json:#}");
}

/// One number: a menu whose prompt is a short tone, and whose key leads to another and back.
fn write_operator(folder: &Path) {
    let (flows, prompts) = (folder.join("flows/banco"), folder.join("prompts/banco"));
    std::fs::create_dir_all(&flows).unwrap();
    std::fs::create_dir_all(&prompts).unwrap();
    for (name, text) in [
        (
            "operator.toml",
            "schema = 1\n[operator]\nid = 'banco'\nname = 'Banco'\ntime_zone = 'America/Mexico_City'\nfolio_prefix = 9\n\
             class = 'gratuito'\n[[numbers]]\nnumber = '100'\nflow = 'banco.menu'\n",
        ),
        ("hours.toml", "schema = 1\n"),
        ("services.toml", "schema = 1\n"),
        ("prompts.toml", "schema = 1\n[prompts]\ntono = 'Tono.'\n"),
        (
            "menu.toml",
            "schema = 1\n[flow]\nid = 'banco.menu'\nstart = 'contestar'\nmax_visits = 1000\nmax_duration = '1h'\n\
             [steps.contestar.answer]\non.next = 'principal'\n[steps.principal.menu]\nprompt = ['tono']\ntimeout = '10s'\n\
             attempts = 9\nkeys = { 1 = 'otro', 9 = 'adios' }\non = { max_attempts = 'principal' }\n\
             [steps.otro.play]\nprompt = ['tono']\non.next = 'principal'\n[steps.adios.hangup]\n",
        ),
    ] {
        std::fs::write(flows.join(name), text).unwrap();
    }
    let tone: Vec<i16> = (0..2_400).map(|sample| if sample / 8 % 2 == 0 { 4_000 } else { -4_000 }).collect();
    std::fs::write(prompts.join("tono.wav"), contesta::audio::wav::write(&tone, 8_000)).unwrap();
}

#[test]
fn a_far_end_that_is_not_there_is_named() {
    // A socket that nobody reads: an address where nothing answers, for as long as the test lasts.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (json, output) = load(&format!("sip:1@{}", silent.local_addr().unwrap()), &["--calls", "3"]);
    assert_eq!((output.status.code(), &json["unreachable"]), (Some(1), &true.into()), "{}", text(&output));
    assert!(text(&output).contains("is contesta running there?"), "{}", text(&output));
    for (arguments, told) in [
        (&["load", "*2363"][..], "is no SIP address"),
        (&["load", "sip:1@127.0.0.1", "--press", "x"], "«x» is no key"),
        (&["load", "sip:1@127.0.0.1", "--calls", "0"], "0 is not in 1..=20000"),
        (&["load", "sip:1@127.0.0.1", "--pid", "4294967295"], "cannot watch process"),
    ] {
        let output = contesta().args(arguments).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(told), "{told}: {}", text(&output));
    }
}

/// Ctrl-C: every call is hung up in order, and the engine keeps none.
#[test]
fn ctrl_c_hangs_all_calls_up() {
    let folder = Folder::new("load-stop");
    let engine = engine(&folder, "");
    let mut callers = contesta()
        .args(["load", &format!("sip:*2363@{}", engine.sip), "--json", "--calls", "8", "--measure", "10m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| engine.log().matches("answered").count() >= 8);
    signal(callers.id(), libc::SIGINT);
    assert_eq!(callers.wait().unwrap().code(), Some(1));
    let output = callers.wait_with_output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["interrupted"], &json["calls"]["not_hung_up"]), (&true.into(), &0.into()), "{json:#}");
    assert!(text(&output).contains("interrupted: 8 of 8 calls were placed, all were hung up"), "{}", text(&output));
    assert!(engine.stop(), "no call is left that would keep the engine");
}

/// Waits for what the engine writes to its log.
fn wait_for(done: impl Fn() -> bool) {
    let reader = UdpSocket::bind("127.0.0.1:0").unwrap();
    reader.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    for _ in 0..1_500 {
        if done() {
            return;
        }
        // Nobody sends here: this waits for its timeout.
        let _nothing = reader.recv(&mut [0]);
    }
    panic!("it did not happen in 30 s");
}
