//! The commands that read the operators' files, run as people run them.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, and stages its world"
)]

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn contesta(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contesta"));
    command.args(args).current_dir(folder).env_remove("CONTESTA_STORE_URL");
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    contesta(folder, args).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap().trim_end().to_owned()
}

/// A folder whose `contesta.toml` names the shipped flows and prompts, which are elsewhere.
fn elsewhere() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let settings = format!("[paths]\nflows = '{0}/flows'\nprompts = '{0}/prompts'\n", here.display());
    std::fs::write(folder.path().join("contesta.toml"), settings).unwrap();
    folder
}

#[test]
fn every_command_finds_the_operators_where_run_does() {
    let folder = elsewhere();
    for (args, expected) in [
        (&["check"][..], "2 operators, "),
        (&["route", "*2363"], "flow        beneleit.principal"),
        (&["hours", "beneleit", "--at", "2026-03-13T10:00"], "asesores: open"),
        (&["say", "hours", "beneleit.asesores"], "de lunes a viernes"),
        (&["say", "cardinal", "21", "--wav", "21.wav"], "veintiuno"),
        (&["simulate", "beneleit", "--keys", "h"], "result  abandono"),
        (&["prompts", "report"], "beneleit: "),
        (&["prompts", "script"], "file,key,text"),
    ] {
        let shown = said(&output(folder.path(), args));
        assert!(shown.contains(expected), "{args:?}: {shown}");
    }
    assert!(folder.path().join("21.wav").is_file());
    // What the command line says comes first.
    let flows = folder.path().join("nowhere");
    let why = refused(&output(folder.path(), &["route", "*2363", "--flows", flows.to_str().unwrap()]));
    assert!(why.contains("cannot read the operators") && why.contains("nowhere"), "{why}");
    let why = refused(&output(folder.path(), &["hours", "beneliet"]));
    assert_eq!(why, "error: there is no operator «beneliet»; there are beneleit, bluepoint; did you mean «beneleit»?");
}

#[test]
fn a_route_says_which_rule_decided() {
    let because = |number: &str| {
        let shown = said(&output(Path::new("."), &["route", number]));
        shown.lines().find_map(|line| line.strip_prefix("because     ")).unwrap().to_owned()
    };
    assert_eq!(because("+52*2363"), "*2363 is published, and no extension came with it");
    assert_eq!(because("2226057239;ext=300"), "2226057239 lists the extension 300");
    assert_eq!(
        because("2226057239;ext=999"),
        "2226057239 does not list the extension 999 (it lists 300): its own flow takes the call"
    );
    let nowhere = output(Path::new("."), &["route", "2363"]);
    assert!(String::from_utf8_lossy(&nowhere.stdout).contains("because     no operator publishes 2363"));
    assert!(refused(&nowhere).contains("leads nowhere (404)"));
    let nothing = refused(&output(Path::new("."), &["route", " "]));
    assert_eq!(nothing, "error: there is no number to look up: write one as it is dialled, like *2363");
}

/// A database that is not there, and one that cannot even be looked at.
#[test]
fn a_database_that_is_missing_is_told_from_one_that_cannot_be_seen() {
    let folder = elsewhere();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let why = |data: &str| refused(&output(folder.path(), &["calls", "list", "--data", data]));
    assert!(why("none").contains("there is no database at none/contesta.db"), "{}", why("none"));
    assert!(why("file").starts_with("error: cannot look at the database file/contesta.db"), "{}", why("file"));
}

#[test]
fn a_folio_that_nobody_has_is_said_and_so_is_that() {
    let right = output(Path::new("."), &["say", "folio", "2000000003"]);
    assert!(said(&right).starts_with("dos") && right.stderr.is_empty());
    let wrong = output(Path::new("."), &["say", "folio", "2000000007"]);
    assert!(said(&wrong).starts_with("dos"));
    let why = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(why.trim_end(), "no case can have this folio: wrong check digit: one of the digits was mistyped");
}

/// Without its prompts an engine would answer callers with tones.
#[test]
fn an_engine_without_its_folder_of_prompts_does_not_start() {
    let folder = elsewhere();
    let why = refused(&output(folder.path(), &["run", "--sip", "127.0.0.1:0", "--prompts", "promts"]));
    assert!(why.starts_with("error: there is no folder of prompts at promts: callers would hear tones."), "{why}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_simulation_that_is_interrupted_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = contesta(Path::new("."), &["simulate", "beneleit"]);
    command.env("TMPDIR", scratch.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut simulation = command.spawn().unwrap();
    let mut first = String::new();
    // Kept open: whoever stops reading ends the program in another way.
    let mut shown = BufReader::new(simulation.stdout.take().unwrap());
    shown.read_line(&mut first).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "{first}");
    let interrupted = Command::new("kill").args(["-INT", &simulation.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(simulation.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// A far end that refuses one INVITE; at the address that it gives.
fn refusing(at: &str, status: &'static str, headers: &'static str) -> (String, std::thread::JoinHandle<()>) {
    let socket = UdpSocket::bind(at).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let refuse = move || {
        let mut bytes = [0; 4_096];
        let (length, from) = socket.recv_from(&mut bytes).unwrap();
        let invite = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(invite.starts_with("INVITE sip:*2363@"), "{invite}");
        let kept = |line: &&str| ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
        let kept: String = invite.split("\r\n").filter(kept).map(|line| format!("{line}\r\n")).collect();
        let to = invite.split("\r\n").find(|line| line.starts_with("To:")).unwrap();
        let response = format!("SIP/2.0 {status}\r\n{kept}{to};tag=far\r\n{headers}Content-Length: 0\r\n\r\n");
        socket.send_to(response.as_bytes(), from).unwrap();
    };
    (address, std::thread::spawn(refuse))
}

#[test]
fn a_call_that_is_refused_says_why_and_spoils_no_recording() {
    let folder = elsewhere();
    let wav = folder.path().join("llamada.wav");
    std::fs::write(&wav, "the call before").unwrap();
    for (at, status, headers, expected) in [
        ("127.0.0.1:0", "486 Busy Here", "", "error: the call was refused: 486 Busy Here"),
        (
            "[::1]:0",
            "404 Not Found",
            "Warning: 399 x \"no flow answers this number\"\r\n",
            "error: the call was refused: 404 Not Found: no flow answers this number",
        ),
    ] {
        let (address, far_end) = refusing(at, status, headers);
        let call = output(folder.path(), &["call", &format!("sip:*2363@{address}"), "--longest", "5s"]);
        assert_eq!(refused(&call), format!("calling sip:*2363@{address} …\n{expected}"));
        far_end.join().unwrap();
    }
    assert_eq!(std::fs::read_to_string(&wav).unwrap(), "the call before");
}

#[test]
fn a_call_that_cannot_be_made_is_not_begun() {
    let folder = elsewhere();
    for (args, expected) in [
        (
            vec!["sips:*2363@127.0.0.1:9;transport=udp"],
            "«sips:*2363@127.0.0.1:9;transport=udp» asks for udp: test calls go over UDP, TCP and TLS",
        ),
        (vec!["tel:2226057239"], "«tel:2226057239» cannot be called: test calls go to sip: and sips: addresses"),
        (
            vec!["sip:*2363@127.0.0.1:9;transport=WS"],
            "«sip:*2363@127.0.0.1:9;transport=WS» asks for WS: test calls go over UDP, TCP and TLS",
        ),
        (vec!["sip:*2363@127.0.0.1:9", "--keys", "2,,!"], "--keys has a group without keys"),
        (vec!["sip:*2363@127.0.0.1:9", "--wav", "no/such/folder/heard.wav"], "cannot write no/such/folder/heard.wav: "),
    ] {
        let why = refused(&output(folder.path(), &[&["call"], args.as_slice()].concat()));
        assert!(why.starts_with(&format!("error: {expected}")), "{why}");
    }
}

/// What is said of transfers counts from the first step on.
#[test]
fn a_simulated_transfer_comes_out_as_it_is_told_to() {
    let folder = elsewhere();
    let flows = folder.path().join("flows");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("flows/beneleit");
    std::fs::create_dir_all(flows.join("beneleit")).unwrap();
    for file in std::fs::read_dir(&shipped).unwrap().flatten().filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), flows.join("beneleit").join(file.file_name())).unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(flows.join("beneleit").join(name), text).unwrap();
    write("agents.toml", "schema = 1\n[agents.ana]\nname = \"Ana\"\npassword = \"corcel-7-nube\"\n");
    let numbers = std::fs::read_to_string(shipped.join("operator.toml")).unwrap();
    write("operator.toml", &format!("{numbers}\n[[numbers]]\nnumber = \"*77\"\nflow = \"beneleit.ana\"\n"));
    write(
        "ana.toml",
        "schema = 1\n[flow]\nid = \"beneleit.ana\"\nstart = \"a\"\n[steps.a.transfer]\nto = { agent = \"ana\" }\n\
         on = { done = \"b\", busy = \"b\", failed = \"b\" }\n[steps.b.hangup]\n",
    );
    for outcome in ["busy", "failed"] {
        let args = ["simulate", "beneleit", "--to", "*77", "--keys", "", "--transfers", outcome, "--flows", "flows"];
        let shown = said(&output(folder.path(), &args));
        assert!(shown.contains(&format!("→ {outcome}")), "{shown}");
    }
}
