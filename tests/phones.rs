//! Phones that are not ours register with the running engine: baresip with MD5 and linphonec with SHA-256 over UDP, SIP.js in Chromium over
//! WebSocket; and a second engine whose trunks register.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the whole program read files, own sockets and start processes"
)]

mod support;

#[path = "phones/agents.rs"]
mod agents;
#[path = "phones/browser.rs"]
mod browser;
#[path = "phones/linphone.rs"]
mod linphone;
#[path = "phones/trunks.rs"]
mod trunks;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Engine, Folder};

const PASSWORD: &str = "corcel-7-nube";

/// Nothing that a test waits for takes longer, unless it never comes.
const NEVER: Duration = Duration::from_secs(60);

/// The shipped operators with two agents: ana's phone is offered MD5, luis's SHA-256.
fn flows(folder: &Path) -> PathBuf {
    let flows = folder.join("flows");
    let copied =
        Command::new("cp").arg("-r").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("flows")).arg(&flows).status();
    assert!(copied.unwrap().success());
    let agents = format!(
        "schema = 1\n[agents.ana]\nname = 'Ana López'\npassword = '{PASSWORD}'\n\
         [agents.luis]\nname = 'Luis Ortega'\ndigest = 'sha-256'\npassword = '{PASSWORD}'\n"
    );
    std::fs::write(flows.join("beneleit/agents.toml"), agents).unwrap();
    flows
}

fn engine(folder: &Path, flows: &Path) -> Engine {
    Engine::start_with(&folder.join("data"), &["--flows", flows.to_str().unwrap()])
}

/// An engine with a certificate of its own, for phones in browsers and over TLS.
fn engine_with_streams(folder: &Folder, flows: &Path) -> Engine {
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let pair = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&chain, parameters.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let settings = format!(
        "[sip]\nlisten_tls = \"127.0.0.1:0\"\nlisten_ws = \"127.0.0.1:0\"\nlisten_wss = \"127.0.0.1:0\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [paths]\nflows = \"{}\"\nprompts = \"{}/prompts\"\n[log]\nfilter = \"contesta=debug\"\n",
        chain.display(),
        key.display(),
        flows.display(),
        env!("CARGO_MANIFEST_DIR"),
    );
    let config = folder.path().join("contesta.toml");
    std::fs::write(&config, settings).unwrap();
    Engine::start_with(&folder.path().join("data"), &["--config", config.to_str().unwrap()])
}

/// A baresip that registers; what it prints is read line by line.
fn baresip(folder: &Path, sip: &str, password: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let settings = folder.join("baresip");
    std::fs::create_dir_all(&settings).unwrap();
    let config = "poll_method epoll\nsip_listen 127.0.0.1:0\nmodule_path /usr/lib/baresip/modules\nmodule aubridge.so\n\
                  module g711.so\nmodule account.so\nmodule menu.so\n";
    std::fs::write(settings.join("config"), config).unwrap();
    std::fs::write(settings.join("accounts"), format!("<sip:ana@{sip}>;auth_pass={password};regint=60\n")).unwrap();
    std::fs::write(settings.join("contacts"), "").unwrap();
    let mut process = Command::new("baresip")
        .arg("-f")
        .arg(&settings)
        .args(["-t", "4"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("baresip: scripts/test installs it");
    let printed = BufReader::new(process.stdout.take().unwrap());
    (process, printed)
}

/// The users that are registered, as `agents list` tells them.
fn registered(engine: &Engine, flows: &Path) -> Vec<String> {
    let agents = engine.ask(&["agents", "list", "--flows", flows.to_str().unwrap()]);
    let agents = agents.as_array().unwrap().iter().filter(|agent| !agent["phones"].as_array().unwrap().is_empty());
    agents.map(|agent| agent["user"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn baresip_registers_with_md5_and_unregisters() {
    let folder = Folder::new("phones-md5");
    let flows = flows(folder.path());
    let engine = engine(folder.path(), &flows);
    let (mut phone, printed) = baresip(folder.path(), &engine.sip, PASSWORD);
    let lines: Vec<String> = printed.lines().map_while(Result::ok).collect();
    phone.wait().unwrap();
    assert!(lines.iter().any(|line| line.contains("200 OK (contesta/") && line.contains("1 binding")), "{lines:#?}");
    let log = engine.log();
    assert!(log.contains("registered: «ana» of beneleit"), "{log}");
    assert!(log.contains("the phone unregistered"), "{log}");
    assert!(!log.contains(PASSWORD));
    assert!(registered(&engine, &flows).is_empty());
    assert!(engine.stop());
}

#[test]
fn a_wrong_password_registers_nobody() {
    let folder = Folder::new("phones-wrong");
    let flows = flows(folder.path());
    let engine = engine(folder.path(), &flows);
    let (mut phone, printed) = baresip(folder.path(), &engine.sip, "adivinanza");
    let lines: Vec<String> = printed.lines().map_while(Result::ok).collect();
    phone.wait().unwrap();
    assert!(!lines.iter().any(|line| line.contains("200 OK")), "{lines:#?}");
    assert!(!engine.log().contains("registered: «ana»") && registered(&engine, &flows).is_empty());
}

#[test]
fn linphone_registers_with_sha_256_and_unregisters() {
    let folder = Folder::new("phones-sha256");
    let flows = flows(folder.path());
    let engine = engine(folder.path(), &flows);
    std::fs::create_dir_all(folder.path().join(".local/share/linphone")).unwrap();
    std::fs::write(folder.path().join("linphonerc"), "[sip]\nsip_port=-1\n").unwrap();
    let mut phone = Command::new("linphonec")
        .args(["-c", folder.path().join("linphonerc").to_str().unwrap()])
        .env("HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("linphonec: scripts/test installs it");
    let mut keys = phone.stdin.take().unwrap();
    writeln!(keys, "register sip:luis@127.0.0.1 sip:{} {PASSWORD}", engine.sip).unwrap();
    // It has done so when the store knows; each look takes a while of its own.
    let seen = (0..200).any(|_| registered(&engine, &flows) == ["luis"]);
    writeln!(keys, "unregister\nquit").unwrap();
    drop(keys);
    phone.wait().unwrap();
    assert!(seen, "{}", engine.log());
    assert!(engine.log().contains("registered: «luis» of beneleit"));
}

/// The engine dies in the midst of it: the phone is there again before it says so.
#[test]
fn a_registration_outlasts_kill_9() {
    let folder = Folder::new("phones-killed");
    let flows = flows(folder.path());
    let first = engine(folder.path(), &flows);
    let (mut phone, _printed) = baresip(folder.path(), &first.sip, PASSWORD);
    let seen = (0..200).any(|_| registered(&first, &flows) == ["ana"]);
    // Without its last words it stays registered for its time.
    phone.kill().unwrap();
    phone.wait().unwrap();
    assert!(seen, "{}", first.log());
    first.kill();
    let second = engine(folder.path(), &flows);
    assert_eq!(registered(&second, &flows), ["ana"]);
    assert!(second.log().contains("1 phones are registered from before"), "{}", second.log());
    assert!(second.stop());
}

/// A second engine is ana over UDP with MD5 and luis over TCP with SHA-256, until it stops; with a wrong password it is nobody.
#[test]
fn a_second_engine_registers_its_trunks_and_takes_them_back() {
    let folder = Folder::new("phones-trunks");
    let flows = flows(folder.path());
    let registrar = engine(folder.path(), &flows);
    let trunk = |user: &str, transport: &str, password: &str| {
        format!(
            "[[trunks]]\nname = '{user}'\ngateways = ['sip:{};transport={transport}']\nuser = '{user}'\npassword = '{password}'\n\
             register = true\nexpires = '2m'\n",
            registrar.sip
        )
    };
    let text = [trunk("ana", "udp", PASSWORD), trunk("luis", "tcp", PASSWORD), trunk("nadie", "udp", "adivinanza-9")];
    let config = folder.path().join("second.toml");
    std::fs::write(&config, text.concat()).unwrap();
    let second = Engine::start_with(&folder.path().join("second"), &["--config", config.to_str().unwrap()]);
    // Each look takes a while of its own; so may the second engine's.
    let seen =
        (0..200).any(|_| registered(&registrar, &flows) == ["ana", "luis"] && second.log().contains("not registered"));
    let log = second.log();
    assert!(seen, "{log}\n{}", registrar.log());
    assert!(
        log.contains("trunk «ana»: registered for 120 s") && log.contains("trunk «luis»: registered for 120 s"),
        "{log}"
    );
    assert!(
        log.contains("trunk «nadie»: not registered") && log.contains("the user or the password is wrong"),
        "{log}"
    );
    assert!(!log.contains(PASSWORD) && !log.contains("adivinanza"));
    assert!(second.stop());
    assert!((0..200).any(|_| registered(&registrar, &flows).is_empty()), "{}", registrar.log());
    assert!(registrar.stop());
}
