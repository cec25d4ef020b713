//! The whole engine over loopback sockets, and the kernel's floor in the same run.
//!
//!     cargo bench --bench engine               all rows, about three minutes
//!     cargo bench --bench engine -- menu 500   one row
//!
//! Rows: `floor N` the kernel alone, one socket a flow · `menu N` calls in a menu: CPU a call-second, memory, spacing ·
//! `rate R` calls set up a second: INVITE to 200, 200 to first audio · `digit N` first packet of a press to first packet of
//! the next prompt. The engine is pinned to one core and this generator to the other.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads clocks and owns sockets")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on should say so and stop")]
#![expect(unsafe_code, reason = "epoll, affinity and rusage are not in std")]
#![allow(missing_docs, reason = "a program")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Samples of 20 ms, and a packet of them with its header.
const FRAME: usize = 160;
const PACKET: usize = 12 + FRAME;
/// Legs are spread over the 20 ms.
const SLOTS: usize = 20;
/// Longest a row may take, whatever happens.
const ROW_LIMIT: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor-server", flows, seconds] => floor_server(flows.parse().unwrap(), seconds.parse().unwrap()),
        [] => {
            for row in [["floor", "500"], ["menu", "500"], ["floor", "500"], ["rate", "100"], ["digit", "200"]] {
                run_row(&row);
            }
        }
        row => run_row(row),
    }
}

fn run_row(row: &[&str]) {
    pin(1);
    let number = |index: usize, default: usize| row.get(index).map_or(default, |text| text.parse().unwrap());
    match row[0] {
        "floor" => println!("{}", floor(number(1, 500), number(2, 10))),
        "menu" => println!("{}", menu(number(1, 500), number(2, 20))),
        "rate" => println!("{}", rate(number(1, 100), number(2, 20))),
        "digit" => println!("{}", digit(number(1, 200), number(2, 10))),
        other => panic!("no row «{other}»: floor, menu, rate or digit"),
    }
}

// ---- the engine under test ----

struct Engine {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Engine {
    /// Starts the release binary on core 0 with an operator of three numbers: 100 a menu that plays for ever, 101 the same for
    /// calls that hang up at once, 102 a menu whose key 1 leads to another prompt and back.
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("contesta-bench-{}", std::process::id()));
        write_operator(&folder);
        let mut process = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_contesta"), "run", "--sip", "127.0.0.1:0", "--json"])
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--flows")
            .arg(folder.join("flows"))
            .arg("--prompts")
            .arg(folder.join("prompts"))
            .env("CONTESTA_LOG", "warn")
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset (util-linux) and the release binary");
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        let mut reader = BufReader::new(stdout);
        let address = loop {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the engine ended before it was ready");
            if let Ok(ready) = serde_json::from_str::<serde_json::Value>(&line)
                && let Some(sip) = ready["sip"].as_str()
            {
                break sip.parse().unwrap();
            }
        };
        // The pipe stays open for as long as the engine lives, or its next line would end it.
        std::thread::spawn(move || for _ in reader.lines() {});
        Self { process, address, folder }
    }

    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn write_operator(folder: &Path) {
    let flows = folder.join("flows/banco");
    let prompts = folder.join("prompts/banco");
    std::fs::create_dir_all(&flows).unwrap();
    std::fs::create_dir_all(&prompts).unwrap();
    let operator = r#"schema = 1
[operator]
id = "banco"
name = "Banco de pruebas"
time_zone = "America/Mexico_City"
folio_prefix = 9
class = "gratuito"
[[numbers]]
number = "100"
flow = "banco.menu"
[[numbers]]
number = "101"
flow = "banco.menu"
[[numbers]]
number = "102"
flow = "banco.menu"
"#;
    std::fs::write(flows.join("operator.toml"), operator).unwrap();
    std::fs::write(flows.join("hours.toml"), "schema = 1\n").unwrap();
    std::fs::write(flows.join("services.toml"), "schema = 1\n").unwrap();
    std::fs::write(
        flows.join("prompts.toml"),
        "schema = 1\n[prompts]\nlargo = \"Tono largo.\"\ncorto = \"Tono corto.\"\n",
    )
    .unwrap();
    let menu = r#"schema = 1
[flow]
id = "banco.menu"
start = "contestar"
max_visits = 1000
max_duration = "1h"
[steps.contestar.answer]
on.next = "principal"
[steps.principal.menu]
prompt = ["largo"]
timeout = "1s"
attempts = 9
keys = { 1 = "otro", 9 = "adios" }
on = { max_attempts = "principal" }
[steps.otro.play]
prompt = ["corto"]
on.next = "principal"
[steps.adios.hangup]
"#;
    std::fs::write(flows.join("menu.toml"), menu).unwrap();
    // Two tones that a receiver tells apart by their first byte: a square wave at two levels.
    for (name, level, seconds) in [("largo", 4_000_i16, 60), ("corto", 12_000, 1)] {
        let samples: Vec<i16> = (0..seconds * 8_000).map(|i| if i / 8 % 2 == 0 { level } else { -level }).collect();
        std::fs::write(prompts.join(format!("{name}.wav")), contesta::audio::wav::write(&samples, 8_000)).unwrap();
    }
}

// ---- the generator ----

/// One call: a SIP dialog on the shared socket, media on the socket of its slot.
struct Call {
    index: usize,
    remote: Option<SocketAddr>,
    to: String,
    contact: String,
    invited: Instant,
    answered: Option<Instant>,
    first_audio: Option<Instant>,
    last_audio: Option<Instant>,
    sequence: u16,
    received: u64,
    press: Option<Press>,
    ended: bool,
}

/// A press under way: 5 updates and 3 end packets, one each 20 ms.
struct Press {
    sent: u16,
    timestamp: u32,
    began: Instant,
    answered: bool,
}

struct Generator {
    server: SocketAddr,
    sip: UdpSocket,
    local: SocketAddr,
    /// One socket a slot of 20 ms. The engine gives each call a port of its own, so `owner` tells whose packet came.
    rtp: Vec<UdpSocket>,
    owner: Vec<u32>,
    user: &'static str,
    run: u32,
    calls: Vec<Call>,
    began: Instant,
    tick: u64,
    spacing_ms: Vec<f32>,
    measuring: bool,
    setup: Vec<f64>,
    audio: Vec<f64>,
    reaction: Vec<f64>,
    refused: BTreeMap<String, u64>,
}

impl Generator {
    fn new(server: SocketAddr, user: &'static str) -> Self {
        let sip = UdpSocket::bind("127.0.0.1:0").unwrap();
        sip.set_nonblocking(true).unwrap();
        let local = sip.local_addr().unwrap();
        let rtp = (0..SLOTS)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            })
            .collect();
        Self {
            server,
            sip,
            local,
            rtp,
            owner: vec![u32::MAX; 65_536],
            user,
            run: std::process::id(),
            calls: Vec::new(),
            began: Instant::now(),
            tick: 0,
            spacing_ms: Vec::new(),
            measuring: false,
            setup: Vec::new(),
            audio: Vec::new(),
            reaction: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    fn dial(&mut self) {
        let index = self.calls.len();
        let port = self.rtp[index % SLOTS].local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\no=- {index} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n"
        );
        let uri = format!("sip:{}@{}", self.user, self.server);
        let head = self.head(index, "INVITE", &uri, &format!("<{uri}>"), 1);
        let message = format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
        let invited = Instant::now();
        self.sip.send_to(message.as_bytes(), self.server).unwrap();
        self.calls.push(Call {
            index,
            remote: None,
            to: String::new(),
            contact: String::new(),
            invited,
            answered: None,
            first_audio: None,
            last_audio: None,
            sequence: 0,
            received: 0,
            press: None,
            ended: false,
        });
    }

    fn head(&self, index: usize, method: &str, uri: &str, to: &str, cseq: u32) -> String {
        let (local, run) = (self.local, self.run);
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{run}.{index}.{cseq}.{method}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:5512345678@{local}>;tag={run}.{index}\r\nTo: {to}\r\nCall-ID: {run}.{index}@bench\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:5512345678@{local}>\r\n"
        )
    }

    fn hang_up(&mut self, index: usize) {
        let call = &mut self.calls[index];
        if call.ended {
            return;
        }
        call.ended = true;
        let (contact, to) = (call.contact.clone(), call.to.clone());
        let message = format!("{}Content-Length: 0\r\n\r\n", self.head(index, "BYE", &contact, &to, 2));
        self.sip.send_to(message.as_bytes(), self.server).unwrap();
    }

    /// Goes on for `duration`: one turn a millisecond.
    fn go_on(&mut self, duration: Duration, mut each: impl FnMut(&mut Self, Instant)) {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            let due = self.began + Duration::from_millis(self.tick);
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            let slot = usize::try_from(self.tick % SLOTS as u64).unwrap();
            self.tick += 1;
            self.read_sip();
            self.read_rtp();
            for index in (slot..self.calls.len()).step_by(SLOTS) {
                self.send_rtp(index);
            }
            each(self, Instant::now());
        }
    }

    fn read_sip(&mut self) {
        let mut buffer = [0_u8; 4_096];
        while let Ok((length, _)) = self.sip.recv_from(&mut buffer) {
            let now = Instant::now();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let header = |name: &str| {
                text.lines()
                    .find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))
                    .map(|line| line.split_once(':').unwrap().1.trim().to_owned())
            };
            let status = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
            let index: usize = header("call-id").and_then(|id| id.split(['.', '@']).nth(1)?.parse().ok()).unwrap();
            let invite = header("cseq").is_some_and(|cseq| cseq.ends_with("INVITE"));
            if !invite || status.starts_with('1') {
                continue;
            }
            if status != "200" {
                *self.refused.entry(status).or_default() += 1;
                continue;
            }
            let contact = header("contact").unwrap().trim_matches(['<', '>']).to_owned();
            let to = header("to").unwrap();
            let port: u16 = text.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            let message = format!("{}Content-Length: 0\r\n\r\n", self.head(index, "ACK", &contact, &to, 1));
            self.sip.send_to(message.as_bytes(), self.server).unwrap();
            let call = &mut self.calls[index];
            if call.answered.is_none() {
                self.setup.push((now - call.invited).as_secs_f64() * 1e3);
                call.answered = Some(now);
                call.remote = Some(SocketAddr::new(self.server.ip(), port));
                self.owner[usize::from(port)] = u32::try_from(index).unwrap();
                call.contact = contact;
                call.to = to;
            }
        }
    }

    fn read_rtp(&mut self) {
        let now = Instant::now();
        let mut packet = [0_u8; 2_048];
        for socket in &self.rtp {
            while let Ok((length, source)) = socket.recv_from(&mut packet) {
                let owner = self.owner[usize::from(source.port())];
                let Some(call) = self.calls.get_mut(owner as usize) else { continue };
                if length < PACKET || packet[1] & 0x7f != 0 {
                    continue;
                }
                if call.first_audio.is_none() {
                    call.first_audio = Some(now);
                    self.audio.push(call.answered.map_or(0.0, |answered| (now - answered).as_secs_f64() * 1e3));
                }
                if self.measuring {
                    call.received += 1;
                    if let Some(last) = call.last_audio {
                        self.spacing_ms.push((now - last).as_secs_f32() * 1e3);
                    }
                }
                call.last_audio = Some(now);
                // The short prompt is three times as loud: its µ-law bytes differ from the long one's and from silence.
                let loud =
                    contesta::audio::g711::decode(contesta::audio::g711::Law::Mu, packet[PACKET - 1]).unsigned_abs();
                if let Some(press) = &mut call.press
                    && loud > 9_000
                    && !press.answered
                {
                    press.answered = true;
                    self.reaction.push((now - press.began).as_secs_f64() * 1e3);
                }
            }
        }
    }

    fn send_rtp(&mut self, index: usize) {
        let tick = u32::try_from(self.tick).unwrap_or(0);
        let call = &mut self.calls[index];
        let Some(remote) = call.remote.filter(|_| !call.ended) else { return };
        let now_timestamp = tick / SLOTS as u32 * FRAME as u32;
        let mut packet = [0xff_u8; PACKET];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&call.sequence.to_be_bytes());
        packet[8..12].copy_from_slice(&(call.index as u32 + 1).to_be_bytes());
        let length = match &mut call.press {
            Some(press) if press.sent < 8 => {
                press.sent += 1;
                if press.sent == 1 {
                    press.timestamp = now_timestamp;
                    press.began = Instant::now();
                }
                packet[1] = 101 | if press.sent == 1 { 0x80 } else { 0 };
                packet[4..8].copy_from_slice(&press.timestamp.to_be_bytes());
                packet[12] = 1;
                packet[13] = 10 | if press.sent > 5 { 0x80 } else { 0 };
                packet[14..16].copy_from_slice(&(FRAME as u16 * press.sent.min(6)).to_be_bytes());
                16
            }
            Some(_) | None => {
                packet[1] = 0;
                packet[4..8].copy_from_slice(&now_timestamp.to_be_bytes());
                PACKET
            }
        };
        call.sequence = call.sequence.wrapping_add(1);
        let _sent = self.rtp[index % SLOTS].send_to(&packet[..length], remote);
    }

    fn up(&self) -> usize {
        self.calls.iter().filter(|call| call.answered.is_some() && !call.ended).count()
    }
}

// ---- the rows ----

fn menu(calls: usize, seconds: usize) -> String {
    let engine = Engine::start();
    let mut generator = Generator::new(engine.address, "100");
    generator.go_on(Duration::from_millis(300), |_, _| {});
    let before_kb = engine.resident_kb();
    // 100 calls a second, then three seconds to settle.
    generator.go_on(Duration::from_millis(calls as u64 * 10 + 3_000), |generator, _| {
        if generator.calls.len() < calls && generator.tick % 10 == 0 {
            generator.dial();
        }
    });
    let (cpu, began) = (engine.cpu(), Instant::now());
    generator.measuring = true;
    generator.go_on(Duration::from_secs(seconds as u64).min(ROW_LIMIT), |_, _| {});
    let (cpu, lasted) = (engine.cpu() - cpu, began.elapsed().as_secs_f64());
    let up = generator.up();
    let memory = engine.resident_kb().saturating_sub(before_kb) as f64 / up.max(1) as f64;
    let expected = lasted * 50.0;
    let least = generator.calls.iter().map(|call| call.received as f64 / expected).fold(f64::INFINITY, f64::min);
    let cost = cpu.as_secs_f64() * 1e6 / (up.max(1) as f64 * lasted);
    let mut spacing: Vec<f64> = generator.spacing_ms.iter().map(|ms| f64::from(*ms)).collect();
    for index in 0..generator.calls.len() {
        generator.hang_up(index);
    }
    format!(
        "menu   {up:>5} calls of {calls}: {cost:.0} µs a call-second, {memory:.1} KB a call, packet spacing p1 {:.1} p99 {:.1} ms, \
         worst call got {:.1} % of its packets, refused {:?}",
        percentile(&mut spacing, 1.0),
        percentile(&mut spacing, 99.0),
        least * 100.0,
        generator.refused,
    )
}

fn rate(rate: usize, seconds: usize) -> String {
    let engine = Engine::start();
    let mut generator = Generator::new(engine.address, "101");
    let cpu = engine.cpu();
    let total = rate * seconds;
    let mut next_hang_up = 0;
    generator.go_on(Duration::from_secs(seconds as u64 + 3).min(ROW_LIMIT), |generator, now| {
        let due = usize::try_from(now.duration_since(generator.began).as_micros() * rate as u128 / 1_000_000).unwrap();
        while generator.calls.len() < due.min(total) {
            generator.dial();
        }
        // Each call stays until it has heard audio, 200 ms at most: then it hangs up.
        while let Some(call) = generator.calls.get(next_hang_up)
            && now.duration_since(call.invited) > Duration::from_millis(200)
        {
            generator.hang_up(next_hang_up);
            next_hang_up += 1;
        }
    });
    let cpu = (engine.cpu() - cpu).as_secs_f64() * 1e6 / generator.setup.len().max(1) as f64;
    format!(
        "rate   {rate:>5} calls/s: {} of {total} answered, INVITE→200 p50 {:.2} p99 {:.2} ms, 200→audio p50 {:.1} p99 {:.1} max {:.1} ms, \
         {cpu:.0} µs a call of 200 ms, refused {:?}",
        generator.setup.len(),
        percentile(&mut generator.setup.clone(), 50.0),
        percentile(&mut generator.setup.clone(), 99.0),
        percentile(&mut generator.audio.clone(), 50.0),
        percentile(&mut generator.audio.clone(), 99.0),
        percentile(&mut generator.audio.clone(), 100.0),
        generator.refused,
    )
}

fn digit(calls: usize, presses: usize) -> String {
    let engine = Engine::start();
    let mut generator = Generator::new(engine.address, "102");
    generator.go_on(Duration::from_millis(calls as u64 * 10 + 1_000), |generator, _| {
        if generator.calls.len() < calls && generator.tick % 10 == 0 {
            generator.dial();
        }
    });
    // The short prompt lasts 1 s: a press every 2 s finds each call in its menu. Moments are spread over the 20 ms and the
    // 2 s by a step that shares no factor with either.
    let period = 2_000;
    generator.go_on(Duration::from_millis(period * presses as u64 + 500).min(ROW_LIMIT), |generator, _| {
        let tick = generator.tick;
        for index in 0..generator.calls.len() {
            let offset = (index as u64 * 137) % period;
            if tick % period == offset && generator.calls[index].answered.is_some() {
                let now = Instant::now();
                generator.calls[index].press = Some(Press { sent: 0, timestamp: 0, began: now, answered: false });
            }
        }
    });
    let pressed = calls * presses;
    format!(
        "digit  {calls:>5} calls: {} of about {pressed} presses answered, first DTMF packet → next prompt p50 {:.1} p99 {:.1} max {:.1} ms",
        generator.reaction.len(),
        percentile(&mut generator.reaction.clone(), 50.0),
        percentile(&mut generator.reaction.clone(), 99.0),
        percentile(&mut generator.reaction.clone(), 100.0),
    )
}

/// What the kernel alone asks for `flows` flows of 50 packets a second each way, one connected socket a flow.
fn floor(flows: usize, seconds: usize) -> String {
    let output = Command::new("taskset")
        .args(["-c", "0"])
        .arg(std::env::current_exe().unwrap())
        .args(["floor-server", &flows.to_string(), &seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The far side of every flow: sockets of this process, on the other core.
    let mut output = output;
    let mut reader = BufReader::new(output.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let sockets: Vec<UdpSocket> = ports
        .iter()
        .map(|port| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(("127.0.0.1", *port)).unwrap();
            socket.set_nonblocking(true).unwrap();
            // The first packet tells the server where to send.
            socket.send(&[0; PACKET]).unwrap();
            socket
        })
        .collect();
    let began = Instant::now();
    let mut packet = [0_u8; 256];
    for tick in 0..seconds as u64 * 1_000 + 500 {
        let due = began + Duration::from_millis(tick);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for socket in sockets.iter().skip(usize::try_from(tick).unwrap() % SLOTS).step_by(SLOTS) {
            let _sent = socket.send(&[0; PACKET]);
            while socket.recv(&mut packet).is_ok() {}
        }
    }
    line.clear();
    reader.read_line(&mut line).unwrap();
    output.wait().unwrap();
    line.trim_end().to_owned()
}

fn floor_server(flows: usize, seconds: usize) {
    let sockets: Vec<UdpSocket> = (0..flows).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    println!(
        "{}",
        sockets.iter().map(|socket| socket.local_addr().unwrap().port().to_string()).collect::<Vec<_>>().join(" ")
    );
    let mut packet = [0_u8; 256];
    for socket in &sockets {
        let (_, source) = socket.recv_from(&mut packet).unwrap();
        socket.connect(source).unwrap();
        socket.set_nonblocking(true).unwrap();
    }
    let epoll = unsafe { libc::epoll_create1(0) };
    for (index, socket) in sockets.iter().enumerate() {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
    }
    let (cpu, began) = (own_cpu(), Instant::now());
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1_024];
    for tick in 0..seconds as u64 * 1_000 {
        let due = began + Duration::from_millis(tick);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for socket in sockets.iter().skip(usize::try_from(tick).unwrap() % SLOTS).step_by(SLOTS) {
            let _sent = socket.send(&[0x55; PACKET]);
        }
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 1_024, 0) };
        for event in &events[..usize::try_from(ready).unwrap_or(0)] {
            let _received = sockets[usize::try_from(event.u64).unwrap()].recv(&mut packet);
        }
    }
    let cost = (own_cpu() - cpu) * 1e6 / (flows as f64 * began.elapsed().as_secs_f64());
    println!("floor  {flows:>5} flows, one socket each: {cost:.0} µs a flow-second of the kernel alone");
}

fn own_cpu() -> f64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn pin(core: usize) {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * percent / 100.0).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(index).copied().unwrap_or(f64::NAN)
}
