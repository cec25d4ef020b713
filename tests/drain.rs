//! A running engine that is told to stop while a call goes on, seen from the caller's socket.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of the whole program write files, start processes and speak SIP by hand"
)]

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use support::{Engine, Folder, signal};

/// `drain = "0s"`: one signal hangs up at once; the caller does not wait a minute for the default to pass.
#[test]
fn calls_end_at_once_when_draining_takes_no_time() {
    let folder = Folder::new("drain");
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "[limits]\ndrain = '0s'\n").unwrap();
    let engine = Engine::start_with(folder.path(), &["--config", settings.to_str().unwrap()]);
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    phone.connect(&engine.sip).unwrap();
    let own = phone.local_addr().unwrap();
    let request = |method: &str, to_tag: &str, body: &str| {
        format!(
            "{method} sip:*2363@{engine} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-{method}\r\nMax-Forwards: 70\r\n\
             From: <sip:5551234567@{own}>;tag=a\r\nTo: <sip:*2363@{engine}>{to_tag}\r\nCall-ID: drain@{own}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:5551234567@{own}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            engine = engine.sip,
            length = body.len(),
        )
    };
    let receive = |start: &str| loop {
        let mut bytes = [0_u8; 4_096];
        let length = phone.recv(&mut bytes).unwrap_or_else(|error| panic!("no «{start}» came: {error}"));
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text.starts_with(start) {
            break text;
        }
    };
    let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    phone.send(request("INVITE", "", offer).as_bytes()).unwrap();
    let answer = receive("SIP/2.0 200");
    let tag = answer.lines().find(|line| line.starts_with("To:")).and_then(|to| to.split(";tag=").nth(1)).unwrap();
    phone.send(request("ACK", &format!(";tag={tag}"), "").as_bytes()).unwrap();

    signal(engine.pid(), libc::SIGTERM);
    let bye = receive("BYE ");
    let headers: Vec<&str> = bye
        .lines()
        .filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)))
        .collect();
    let answer = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", headers.join("\r\n"));
    phone.send(answer.as_bytes()).unwrap();
    assert!(engine.stop(), "the engine ends cleanly once its last call is over");
}
