//! A phone in a browser: SIP.js on a page of ours, in a headless Chromium, over WebSocket with and without TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};

use super::support::{Engine, Folder};
use super::{NEVER, PASSWORD, engine_with_streams, flows, registered};

/// What the page says, and what it is told.
struct Page {
    url: String,
    told: Receiver<String>,
    /// The call may end.
    heard: Sender<()>,
}

/// Serves the page and the modules of SIP.js, which `scripts/test` has fetched, on a port of its own.
fn page() -> Page {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    let (heard, hears) = mpsc::channel();
    std::thread::spawn(move || {
        let mut hears = Some(hears);
        for stream in listener.incoming().map_while(Result::ok) {
            // One connection a request; the one that waits for the call's end has a thread of its own.
            let request = read_request(&stream);
            match request.path.as_str() {
                "/" => respond(&stream, "text/html", &page_text()),
                "/told" => {
                    let _over = tell.send(request.body);
                    respond(&stream, "text/plain", b"");
                }
                "/heard" => {
                    let hears = hears.take();
                    std::thread::spawn(move || {
                        let _over = hears.map(|hears| hears.recv());
                        respond(&stream, "text/plain", b"");
                    });
                }
                path => match path.strip_prefix("/sip.js/").map(|module| std::fs::read(modules().join(module))) {
                    Some(Ok(module)) => respond(&stream, "text/javascript", &module),
                    Some(Err(_)) | None => respond(&stream, "text/plain", b""),
                },
            }
        }
    });
    Page { url, told, heard }
}

fn page_text() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/phones/browser.html")).unwrap()
}

/// The modules of SIP.js.
fn modules() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("sip.js/node_modules/sip.js/lib")
}

struct Request {
    path: String,
    body: String,
}

fn read_request(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let _read = reader.read_line(&mut line);
    let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        match reader.read_line(&mut header) {
            Ok(3..) => {
                if let Some((name, value)) = header.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            Ok(_) | Err(_) => break,
        }
    }
    let mut body = vec![0; length];
    let _read = reader.read_exact(&mut body);
    Request { path, body: String::from_utf8(body).unwrap() }
}

fn respond(mut stream: &TcpStream, kind: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// A Chromium that shows one page; ended with its whole family.
struct Chromium(Child);

impl Chromium {
    fn show(folder: &Path, url: &str) -> Self {
        // Nothing but the page: no look at the network outside, no sandbox where the suite runs as root.
        let process = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
            .arg("--ignore-certificate-errors")
            .arg(format!("--user-data-dir={}", folder.join("chromium").display()))
            .arg(url)
            .env("HOME", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium: scripts/test installs it");
        Self(process)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        super::support::signal(self.0.id(), libc::SIGTERM);
        let _reaped = self.0.wait();
    }
}

/// The page's address with what the phone is to do.
fn order(page: &Page, engine: &Engine, transport: &str, password: &str, rtp: u16) -> String {
    let server = format!("{transport}://{}", engine.ready[transport][0].as_str().unwrap());
    format!(
        "{}?server={server}&user=sip:ana@{sip}&name=ana&password={password}&to=sip:*2363@{sip}&rtp={rtp}",
        page.url,
        sip = engine.sip
    )
}

#[test]
fn a_browser_registers_over_websocket_and_its_call_is_answered() {
    for transport in ["ws", "wss"] {
        let folder = Folder::new("browser");
        let flows = flows(folder.path());
        let engine = engine_with_streams(&folder, &flows);
        let page = page();
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        rtp.set_read_timeout(Some(NEVER)).unwrap();
        let port = rtp.local_addr().unwrap().port();
        let chromium = Chromium::show(folder.path(), &order(&page, &engine, transport, PASSWORD, port));
        let told = || page.told.recv_timeout(NEVER).unwrap_or_else(|_| panic!("the page is silent:\n{}", engine.log()));

        assert_eq!(told(), "registered", "{transport}");
        // The store learns of it while the phone goes on.
        assert!((0..200).any(|_| registered(&engine, &flows) == ["ana"]), "{}", engine.log());
        let answer = told();
        assert!(answer.starts_with("answer: m=audio ") && answer.ends_with(" RTP/AVP 0 101"), "{answer}");
        assert_eq!(told(), "established");
        // The greeting comes to where the page said: PCMU that is no silence.
        let mut packet = [0; 1_500];
        let greeted = (0..500).any(|_| {
            let length = rtp.recv(&mut packet).unwrap();
            packet[1] & 0x7f == 0 && packet[12..length].iter().any(|&byte| byte & 0x7f < 0x40)
        });
        assert!(greeted);
        page.heard.send(()).unwrap();
        assert_eq!(told(), "over");
        assert!((0..200).any(|_| registered(&engine, &flows).is_empty()), "{}", engine.log());
        drop(chromium);
        assert!(engine.stop());
    }
}

#[test]
fn a_browser_with_a_wrong_password_is_refused() {
    let folder = Folder::new("browser-wrong");
    let flows = flows(folder.path());
    let engine = engine_with_streams(&folder, &flows);
    let page = page();
    let chromium = Chromium::show(folder.path(), &order(&page, &engine, "ws", "adivinanza", 9));
    assert_eq!(page.told.recv_timeout(NEVER).as_deref(), Ok("refused: 401"), "{}", engine.log());
    assert!(registered(&engine, &flows).is_empty());
    drop(chromium);
}
