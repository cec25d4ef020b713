//! The engine over real sockets: its own test phone, SIPp and baresip call it.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests of the whole program read files and start processes"
)]

#[path = "wire/capture.rs"]
mod capture;
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Engine, Folder, contesta, text};

/// J1 (B-03, B-09, B-14, B-30, B-31, B-32): a stolen handset, reported from a landline with the extension dialled after the
/// answer; a wrong IMEI is refused, the right one read back; the folio that is heard is the folio that is stored.
#[test]
fn j1_a_stolen_handset_is_blocked_over_real_sockets() {
    let folder = Folder::new("j1");
    let engine = Engine::start(folder.path());
    let keys = "300,1,1,2221234567,1,490154203237519,490154203237518,1";
    let call = engine.call("2226057239", &["--barge-in", "--keys", keys, "--from", "5551234567"]);
    assert_eq!((call["status"].as_u64(), call["keys_left"].as_u64()), (Some(200), Some(0)), "{call:#}");
    let folio = call["folio"].as_str().unwrap_or_else(|| panic!("no folio was heard: {call:#}"));

    let case = engine.ask(&["cases", "show", folio]);
    assert_eq!(case["folio"], folio, "{case:#}");
    assert_eq!(case["kind"], "bloqueo", "{case:#}");
    let shown = contesta().args(["cases", "show", folio, "--data"]).arg(folder.path()).output().unwrap();
    assert!(text(&shown).contains("order     device_block 490154203237518 "), "{}", text(&shown));

    let keys = "300,1,1,2221234567,1,490154203237518,1";
    let again = engine.call("2226057239", &["--barge-in", "--keys", keys, "--from", "5551234567"]);
    assert_eq!(again["folio"], folio, "the same IMEI within the hour has the same folio: {again:#}");
    assert!(engine.stop(), "SIGTERM with no call left ends the engine cleanly");
}

/// J3 (B-02, B-28, B-33): both keys pressed into the greeting count, and the price is heard.
#[test]
fn j3_keys_pressed_early_lead_to_the_price_over_real_sockets() {
    let folder = Folder::new("j3");
    let engine = Engine::start(folder.path());
    let call = engine.call("*2363", &["--keys", "!22,#,!*,!*", "--linger", "500ms"]);
    let heard = words(&call);
    assert!(heard.contains("ciento un pesos con cincuenta centavos"), "{heard}");
    assert!(call["first_audio_ms"].as_u64().unwrap() < 500, "{call:#}");
    assert_eq!(call["folio"], Value::Null, "no case is opened: {call:#}");
}

/// Keys of a caller whose telephone sends tones, and of one whose telephone sends INFO, lead where telephone events lead.
#[test]
fn keys_count_by_every_road() {
    let folder = Folder::new("roads");
    let engine = Engine::start(folder.path());
    for (road, codec) in [("inband", "pcmu"), ("inband", "opus"), ("info", "pcmu"), ("rfc4733", "pcmu")] {
        let options = ["--dtmf", road, "--codec", codec, "--keys", "!22", "--linger", "200ms", "--longest", "10s"];
        let call = engine.call("*2363", &options);
        assert_eq!((&call["keys_left"], &call["key_refused"]), (&Value::from(0), &Value::Null), "{road}: {call:#}");
    }
    assert!(engine.stop());
    let calls = contesta().args(["calls", "list", "--json", "--data"]).arg(folder.path()).output().unwrap();
    let calls: Vec<Value> = serde_json::from_slice(&calls.stdout).unwrap();
    assert_eq!(calls.len(), 4);
    for call in &calls {
        let path = call["path"].as_array().unwrap().iter();
        let said: Vec<&str> = path.filter_map(|line| line["what"].as_str()?.strip_prefix("says ")).collect();
        assert!(said.iter().any(|said| said.starts_with("prompt paquete_quincenal,")), "{call:#}");
    }
}

/// Ctrl-C hangs up, and what was heard until then is kept.
#[test]
fn an_interrupted_test_call_hangs_up_and_keeps_what_it_heard() {
    let folder = Folder::new("interrupted");
    let engine = Engine::start(folder.path());
    let wav = folder.path().join("heard.wav");
    let mut call = contesta()
        .args(["call", &format!("sip:*2363@{}", engine.sip), "--linger", "1m", "--wav"])
        .arg(&wav)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(call.stderr.take().unwrap()).lines();
    assert!(told.by_ref().any(|line| line.unwrap().starts_with("answered")));
    support::signal(call.id(), 2);
    let last = told.last().unwrap().unwrap();
    assert!(last.contains("interrupted: the call was hung up"), "{last}");
    assert_eq!(call.wait().unwrap().code(), Some(1));
    assert!(engine.stop(), "no call is left behind");
    let calls = contesta().args(["calls", "list", "--json", "--data"]).arg(folder.path()).output().unwrap();
    let calls: Value = serde_json::from_slice(&calls.stdout).unwrap();
    assert_eq!(calls[0]["cause"], "the far end hung up", "{calls:#}");
}

/// An engine that dies in the midst of a call is told from one that hangs up.
#[test]
fn a_test_call_tells_a_dead_engine_from_a_hang_up() {
    let folder = Folder::new("dead");
    let engine = Engine::start(folder.path());
    let mut call = contesta()
        .args(["call", &format!("sip:*2363@{}", engine.sip), "--linger", "1m", "--wav"])
        .arg(folder.path().join("heard.wav"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(call.stderr.take().unwrap()).lines();
    assert!(told.by_ref().any(|line| line.unwrap().starts_with("answered")));
    engine.kill();
    let last = told.last().unwrap().unwrap();
    assert!(last.contains("does not answer any more"), "{last}");
    assert_eq!(call.wait().unwrap().code(), Some(1));
}

/// B-02, pain 25: `*` arrives as itself and escaped, and with the country code in front of a landline number.
#[test]
fn the_called_number_is_understood_in_every_spelling() {
    let folder = Folder::new("numbers");
    let engine = Engine::start(folder.path());
    for number in ["*2363", "%2A2363", "300", "+522226057239", "5212226057239", "2226057239;ext=300", "7676720827"] {
        let call = engine.call(number, &["--linger", "200ms", "--longest", "4s"]);
        assert_eq!(call["status"], 200, "{number}: {call:#}");
    }
    let call = engine.call("911911", &[]);
    assert_eq!(call["status"], 404, "{call:#}");
}

/// A far end that is not ours, its SDP and its transactions included.
#[test]
fn sipp_gets_through() {
    let folder = Folder::new("sipp");
    let engine = Engine::start(folder.path());
    let output = Command::new("sipp")
        .args(["-sn", "uac", "-s", "*2363", "-i", "127.0.0.1", "-m", "20", "-r", "10", "-d", "300"])
        .args(["-timeout", "30s", "-timeout_error", "-nostdin", &engine.sip])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("SIPp: scripts/test installs it");
    assert!(output.status.success(), "{}", text(&output));
}

/// A softphone of the kind callers and agents use: what it recorded contains the greeting.
#[test]
fn baresip_records_the_greeting() {
    let folder = Folder::new("baresip");
    let engine = Engine::start(folder.path());
    let settings = folder.path().join("settings");
    let recordings = folder.path().join("recordings");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::create_dir_all(&recordings).unwrap();
    let config = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:0\naudio_player aubridge,line\naudio_source aubridge,line\n\
         audio_srate 8000\naudio_channels 1\nmodule_path /usr/lib/baresip/modules\nmodule aubridge.so\n\
         module g711.so\nmodule sndfile.so\nmodule account.so\nmodule menu.so\nsnd_path {}\n",
        recordings.display()
    );
    std::fs::write(settings.join("config"), config).unwrap();
    std::fs::write(settings.join("accounts"), "<sip:tester@127.0.0.1>;regint=0;audio_codecs=PCMU/8000/1\n").unwrap();
    std::fs::write(settings.join("contacts"), "").unwrap();
    let output = Command::new("baresip")
        .args(["-f"])
        .arg(&settings)
        .args(["-t", "8", "-e", &format!("/dial sip:*2363@{}", engine.sip)])
        .stdin(Stdio::null())
        .output()
        .expect("baresip: scripts/test installs it");
    let recording = std::fs::read_dir(&recordings)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("-dec"))
        .unwrap_or_else(|| panic!("nothing recorded:\n{}", text(&output)));
    let heard = contesta::audio::decode(&std::fs::read(recording).unwrap(), "wav").unwrap().resample_to(8_000).unwrap();
    assert!(heard.duration().as_secs() >= 3, "{:?}", heard.duration());
    assert!(correlates_with_a_greeting(&heard.samples), "the recording holds none of the first prompts");
}

/// B-14, P-14, pain 19: the digits that prove who calls are in no record, log or output, and in no table.
#[test]
fn secret_digits_are_nowhere() {
    let folder = Folder::new("secret");
    let engine = Engine::start_logging(folder.path(), "trace");
    let call = engine.call("*2363", &["--keys", "!3,!1,!4821", "--barge-in", "--linger", "500ms"]);
    assert_eq!(call["keys_left"], 0, "{call:#}");
    let calls = engine.ask(&["calls", "list"]).to_string();
    assert!(calls.contains("billing."), "the verification was reached: {calls}");
    let log = engine.log();
    assert!(engine.stop());
    let database =
        ["contesta.db", "contesta.db-wal"].map(|file| std::fs::read(folder.path().join(file)).unwrap_or_default());
    assert!(!calls.contains("4821"), "{calls}");
    assert!(!log.contains("4821"), "{}", log.lines().find(|line| line.contains("4821")).unwrap());
    let text = database.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(text.contains("2221234567") && text.contains("\"s1:"), "the table is there, and its secrets are sealed");
    for leak in ["ultimos4 4821", "keys 4821", "key 4", "\"4821\""] {
        assert!(!text.contains(leak), "{leak} is in the database");
    }
}

/// The README's first command: no subcommand, and the engine answers.
#[test]
fn without_a_command_the_engine_runs() {
    let folder = Folder::new("bare");
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings = format!(
        "[sip]\nlisten = \"127.0.0.1:0\"\n[paths]\nflows = \"{0}/flows\"\nprompts = \"{0}/prompts\"\n",
        package.display()
    );
    std::fs::write(folder.path().join("contesta.toml"), settings).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_contesta"))
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(line.starts_with("contesta answers on 127.0.0.1:"), "{line}");
}

/// With one fault in any file, `run` does not start, and says where and why.
#[test]
fn a_flow_with_a_fault_keeps_the_engine_from_starting() {
    let folder = Folder::new("fault");
    let flows = folder.path().join("flows");
    copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("flows"), &flows);
    let path = flows.join("beneleit/principal.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("timeout =", "timeuot =", 1)).unwrap();
    let output = contesta()
        .args(["run", "--sip", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--flows")
        .arg(&flows)
        .output()
        .unwrap();
    let said = text_of_error(&output);
    assert!(!output.status.success(), "{said}");
    let line = text.lines().position(|line| line.starts_with("timeout =")).unwrap() + 1;
    assert!(said.contains(&format!("principal.toml:{line}:1")), "{said}");
    assert!(said.contains("did you mean «timeout»"), "{said}");
    assert!(!folder.path().join("data/contesta.db").exists(), "nothing is touched before the flows are right");
}

/// A closing terminal, or ops who mean "read again": SIGHUP ends no call, with a certificate or without.
#[test]
fn a_hang_up_signal_ends_nothing() {
    let folder = Folder::new("hangup");
    let engine = Engine::start(folder.path());
    support::signal(engine.pid(), 1);
    let call = engine.call("*2363", &["--linger", "200ms", "--longest", "3s"]);
    assert_eq!(call["status"], 200, "{call:#}");
    assert!(engine.stop());
}

/// A number outside that no trunk calls is found before a caller finds it.
#[test]
fn a_flow_that_leads_outside_the_allow_list_keeps_the_engine_from_starting() {
    let folder = Folder::new("outside");
    let flows = folder.path().join("flows");
    copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("flows"), &flows);
    let flow = |trunk: &str, number: &str| {
        format!(
            "schema = 1\n[flow]\nid = \"beneleit.fuera\"\nstart = \"a\"\n[steps.a.transfer]\n\
             to = {{ trunk = \"{trunk}\", number = \"{number}\" }}\non = {{ done = \"b\", failed = \"b\" }}\n[steps.b.hangup]\n"
        )
    };
    std::fs::write(
        folder.path().join("contesta.toml"),
        "[[trunks]]\nname = \"carrier\"\ngateways = [\"sip:127.0.0.1:9\"]\nprobe = \"0s\"\nallow = [\"55XXXXXXXX\"]\n",
    )
    .unwrap();
    for (trunk, number, expected) in [
        ("carier", "5555123456", "there is no trunk «carier»: did you mean «carrier»?"),
        ("carrier", "9001234567", "by the trunk «carrier»: no pattern of «allow» names it"),
    ] {
        std::fs::write(flows.join("beneleit/fuera.toml"), flow(trunk, number)).unwrap();
        let output = contesta()
            .args(["run", "--sip", "127.0.0.1:0", "--config"])
            .arg(folder.path().join("contesta.toml"))
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("--flows")
            .arg(&flows)
            .output()
            .unwrap();
        let said = text_of_error(&output);
        assert!(!output.status.success() && said.contains("the step «a» of the flow beneleit.fuera"), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

/// The error that a typo gives.
#[test]
fn a_call_to_nobody_says_what_to_do() {
    let folder = Folder::new("nobody");
    let output = contesta()
        .args(["call", "sip:*2363@127.0.0.1:9", "--longest", "1s", "--wav"])
        .arg(folder.path().join("heard.wav"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("contesta run"), "{}", text(&output));
}

fn words(call: &Value) -> String {
    let texts = call["heard"].as_array().unwrap().iter().map(|prompt| prompt["text"].as_str().unwrap());
    texts.collect::<Vec<_>>().join(" ")
}

/// Whether one second of some prompt of Beneleit's stands in the recording, sample by sample up to a shift and a gain.
fn correlates_with_a_greeting(heard: &[i16]) -> bool {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/beneleit");
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let extension = entry.path().extension().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(entry.path()).unwrap();
        let prompt = contesta::audio::decode(&bytes, &extension).unwrap().resample_to(8_000).unwrap();
        let Some(piece) = prompt.samples.get(1_000..9_000) else { return false };
        best_correlation(heard, piece) > 0.9
    })
}

fn best_correlation(heard: &[i16], piece: &[i16]) -> f64 {
    // Coarse first: every 8th sample of the piece at every shift; a match is then measured in full.
    let coarse: Vec<(usize, f64)> = piece.iter().enumerate().step_by(8).map(|(i, s)| (i, f64::from(*s))).collect();
    let norm = coarse.iter().map(|(_, sample)| sample * sample).sum::<f64>().sqrt();
    (0..heard.len().saturating_sub(piece.len()))
        .map(|shift| {
            let (mut product, mut energy) = (0.0, 0.0);
            for (index, sample) in &coarse {
                let other = f64::from(heard[shift + index]);
                product += sample * other;
                energy += other * other;
            }
            product / (norm * energy.sqrt()).max(1.0)
        })
        .fold(0.0, f64::max)
}

fn text_of_error(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How often a test looks for what is being written.
const LOOKS_MAX: usize = 100;

/// Hold, resume, refresh and late offer by a far end that is not ours, over UDP and TCP (RFC 3311, RFC 4028).
#[test]
fn sipp_holds_resumes_and_refreshes() {
    let folder = Folder::new("sipp-changes");
    let engine = Engine::start(folder.path());
    let scenario = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp/changes.xml");
    for transport in ["u1", "t1"] {
        let output = Command::new("sipp")
            .arg("-sf")
            .arg(&scenario)
            .args(["-s", "*2363", "-i", "127.0.0.1", "-t", transport, "-m", "5", "-r", "10", "-timeout", "20s"])
            .args(["-timeout_error", "-nostdin", "-trace_err", &engine.sip])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("SIPp: scripts/test installs it");
        assert!(output.status.success(), "{transport}: {}", text(&output));
    }
    // Records are written together, so the last one may be on its way when SIPp has ended.
    let is_ended = |calls: &str| calls.matches("\"cause\":\"the far end hung up\"").count() == 10;
    let calls = (0..LOOKS_MAX).map(|_| engine.ask(&["calls", "list"]).to_string()).find(|calls| is_ended(calls));
    assert!(calls.is_some(), "{}", engine.ask(&["calls", "list"]));
}
