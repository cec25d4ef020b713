//! The engine over connections and real sockets: its own test phone, SIPp and baresip call it by TCP and TLS.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the whole program read files, open sockets and start processes"
)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Engine, Folder, contesta, signal, text};

/// Nothing that a test waits for takes longer, unless it never comes.
const NEVER: Duration = Duration::from_secs(30);

/// An engine that listens on every transport, with a certificate for loopback; gives the file to trust.
fn engine(folder: &Folder) -> (Engine, PathBuf) {
    let chain = folder.path().join("chain.pem");
    let key = folder.path().join("key.pem");
    write_certificate(&chain, &key);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings = format!(
        "[sip]\nlisten_tls = \"127.0.0.1:0\"\nlisten_ws = \"127.0.0.1:0\"\nlisten_wss = \"127.0.0.1:0\"\n\
         certificate = \"{}\"\nkey = \"{}\"\n[paths]\nflows = \"{3}/flows\"\nprompts = \"{3}/prompts\"\n[log]\nfilter = \"{2}\"\n",
        chain.display(),
        key.display(),
        "info",
        package.display()
    );
    let path = folder.path().join("contesta.toml");
    std::fs::write(&path, settings).unwrap();
    let engine = Engine::start_with(folder.path(), &["--config", path.to_str().unwrap()]);
    (engine, chain)
}

/// A certificate that vouches for itself.
fn write_certificate(chain: &Path, key: &Path) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::write(chain, parameters.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
}

fn address(engine: &Engine, transport: &str) -> String {
    engine.ready[transport][0].as_str().unwrap_or_else(|| panic!("{transport}: {}", engine.ready)).to_owned()
}

fn call(folder: &Folder, uri: &str, arguments: &[&str]) -> (Value, String) {
    let output = contesta()
        .args(["call", uri, "--json", "--linger", "200ms", "--longest", "5s", "--wav"])
        .arg(folder.path().join("heard.wav"))
        .args(arguments)
        .output()
        .unwrap();
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), text(&output))
}

/// What the engine says of itself, and a call over each: by address, by name with its certificate, and by a certificate that is not trusted.
#[test]
fn the_test_phone_calls_over_tcp_and_tls() {
    let folder = Folder::new("phones");
    let (engine, ca) = engine(&folder);
    for transport in ["udp", "tcp", "tls", "ws", "wss"] {
        address(&engine, transport).parse::<SocketAddr>().unwrap();
    }
    assert_eq!(address(&engine, "tcp"), address(&engine, "udp"), "RFC 3261 §18.2.1");
    assert!(engine.ready["certificate_expires"].is_string(), "{}", engine.ready);
    let ca = ca.to_str().unwrap();
    let tls = address(&engine, "tls");
    let port = tls.rsplit(':').next().unwrap();
    for (uri, arguments) in [
        (format!("sip:*2363@{};transport=tcp", engine.sip), vec![]),
        (format!("sip:*2363@{tls};transport=tls"), vec!["--ca", ca]),
        (format!("sips:*2363@localhost:{port}"), vec!["--ca", ca]),
    ] {
        let (call, said) = call(&folder, &uri, &arguments);
        assert_eq!(
            (call["status"].as_u64(), call["heard"].as_array().map(Vec::is_empty)),
            (Some(200), Some(false)),
            "{uri}: {said}"
        );
    }
    let (_, said) = call(&folder, &format!("sips:*2363@{tls}"), &[]);
    assert!(said.contains("no connection to tls:"), "the system does not trust it: {said}");
    assert!(engine.stop());
}

/// A TCP port where nobody listens is told at once, and why.
#[test]
fn a_call_to_no_connection_says_so() {
    let folder = Folder::new("closed");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, said) = call(&folder, &format!("sip:*2363@{free};transport=tcp"), &[]);
    assert!(said.contains(&format!("no connection to tcp:{free}: ")), "{said}");
}

/// How often a test looks for what is being written.
const LOOKS_MAX: usize = 100;

/// A far end that is not ours, over one connection for all its calls and over one for each.
#[test]
fn sipp_gets_through_over_tcp() {
    let folder = Folder::new("sipp-tcp");
    let engine = Engine::start(folder.path());
    for mode in ["t1", "tn"] {
        let output = Command::new("sipp")
            .args(["-sn", "uac", "-s", "*2363", "-i", "127.0.0.1", "-t", mode, "-m", "20", "-r", "10", "-d", "300"])
            .args(["-timeout", "30s", "-timeout_error", "-nostdin", "-max_socket", "100", &engine.sip])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("SIPp: scripts/test installs it");
        assert!(output.status.success(), "{mode}: {}", text(&output));
    }
    // Records are written together, so the last ones may be on their way when SIPp has ended.
    let records = || engine.ask(&["calls", "list"]).as_array().map_or(0, Vec::len);
    assert!((0..LOOKS_MAX).any(|_| records() == 40), "{} of 40 calls have their record", records());
}

/// A softphone by TCP and by TLS, whose recording holds sound.
#[test]
fn baresip_calls_over_tcp_and_tls() {
    let folder = Folder::new("baresip-tcp");
    let (engine, ca) = engine(&folder);
    for (name, destination) in [("tcp", engine.sip.clone()), ("tls", address(&engine, "tls"))] {
        let settings = folder.path().join(name);
        let recordings = settings.join("recordings");
        std::fs::create_dir_all(&recordings).unwrap();
        let config = format!(
            "poll_method epoll\nsip_listen 127.0.0.1:0\nsip_cafile {}\nsip_verify_server yes\naudio_player aubridge,line\n\
             audio_source aubridge,line\naudio_srate 8000\naudio_channels 1\nmodule_path /usr/lib/baresip/modules\n\
             module aubridge.so\nmodule g711.so\nmodule sndfile.so\nmodule account.so\nmodule menu.so\nsnd_path {}\n",
            ca.display(),
            recordings.display()
        );
        std::fs::write(settings.join("config"), config).unwrap();
        let account = format!("<sip:tester@127.0.0.1;transport={name}>;regint=0;audio_codecs=PCMU/8000/1\n");
        std::fs::write(settings.join("accounts"), account).unwrap();
        std::fs::write(settings.join("contacts"), "").unwrap();
        let output = Command::new("baresip")
            .arg("-f")
            .arg(&settings)
            .args(["-t", "5", "-e", &format!("/dial sip:*2363@{destination};transport={name}")])
            .stdin(Stdio::null())
            .output()
            .expect("baresip: scripts/test installs it");
        let said = text(&output);
        assert!(said.contains("Call established"), "{name}: {said}");
        let recorded = std::fs::read_dir(&recordings).unwrap().flatten().map(|entry| entry.path());
        let decoded =
            recorded.filter(|path| path.to_string_lossy().contains("-dec")).map(|path| std::fs::read(path).unwrap());
        let sound = decoded.into_iter().any(|wav| {
            let heard = contesta::audio::decode(&wav, "wav").unwrap();
            heard.samples.iter().filter(|sample| sample.unsigned_abs() > 1_000).count() > 8_000
        });
        assert!(sound, "{name}: nothing was heard\n{said}");
    }
}

/// RFC 3261 §18.3: a request whose end nobody knows is refused with 400, and its connection closed. Before that the stream is read as it
/// comes.
#[test]
fn a_request_without_a_length_gets_400_and_the_end() {
    let folder = Folder::new("length");
    let engine = Engine::start(folder.path());
    let options = |length: &str| {
        format!(
            "OPTIONS sip:a@{0} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{1}\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:a@{0}>\r\nCall-ID: {1}\r\nCSeq: 1 OPTIONS\r\n{length}\r\n",
            engine.sip,
            length.len()
        )
    };
    let mut stream = TcpStream::connect(&engine.sip).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    let good = options("Content-Length: 0\r\n");
    stream.write_all(format!("{good}{}{good}", options("")).as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let statuses: Vec<&str> = all.lines().filter(|line| line.starts_with("SIP/2.0 ")).collect();
    assert_eq!(statuses, ["SIP/2.0 200 OK", "SIP/2.0 400 Bad Request"], "{all}");
    assert!(all.contains("Content-Length is missing"), "{all}");
}

/// A certificate that is renewed is shown after SIGHUP, and calls by it work; the engine lives through the signal.
#[test]
fn a_renewed_certificate_is_read_at_sighup() {
    let folder = Folder::new("renewed");
    let (engine, chain) = engine(&folder);
    let tls = address(&engine, "tls");
    let uri = format!("sip:*2363@{tls};transport=tls");
    write_certificate(&chain, &folder.path().join("key.pem"));
    signal(engine.pid(), libc::SIGHUP);
    // The file that the phone trusts is the new certificate.
    let deadline = Instant::now() + NEVER;
    loop {
        let (call, said) = call(&folder, &uri, &["--ca", chain.to_str().unwrap()]);
        if call["status"] == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "{said}");
    }
    assert!(engine.log().contains("the certificate was read again"), "{}", engine.log());
}

/// IPv4 and IPv6 at one port, several at once; a machine without IPv6 has nothing to show.
#[test]
fn several_addresses_of_both_families_are_served() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let folder = Folder::new("families");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings = format!(
        "[sip]\nlisten_tcp = [\"127.0.0.1:0\", \"[::1]:0\"]\n[paths]\nflows = \"{0}/flows\"\nprompts = \"{0}/prompts\"\n",
        package.display()
    );
    let path = folder.path().join("contesta.toml");
    std::fs::write(&path, settings).unwrap();
    let engine = Engine::start_with(folder.path(), &["--config", path.to_str().unwrap()]);
    for local in engine.ready["tcp"].as_array().unwrap() {
        let uri = format!("sip:*2363@{};transport=tcp", local.as_str().unwrap());
        let (call, said) = call(&folder, &uri, &[]);
        assert_eq!(call["status"], 200, "{uri}: {said}");
    }
}
