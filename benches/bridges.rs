//! What a bridge costs a media worker, in one codec and in two, and what a recording costs; with as many at once as a core
//! carries, and the continuity of every stream checked from what its far end captured.
//!
//!     cargo bench --bench bridges                          a short look at 50 bridges
//!     cargo bench --bench bridges -- BRIDGES SECONDS ROUNDS [ROW …]
//!
//! ```text
//! core 0   MediaWorker: two legs a bridge, each with its socket
//! core 1   this program: 50 packets a second to each leg, of a recording that ships, and all that comes back, with its stamps
//! ```
//!
//! The first row has the same legs without bridges: the difference is the bridge. Opus is a tenth of the bridges.
#![expect(unsafe_code, reason = "affinity is not in std")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time on real sockets")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot run should say where")]
#![allow(missing_docs, reason = "a program")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use contesta::audio::{Codec, Encoder, Frame, PAYLOAD_MAX, decode};
use contesta::edge::batch::{self, Arrivals};
use contesta::edge::media_worker::{Command, MediaWorker};
use contesta::edge::recordings::{Order, Recordings};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::{BridgeId, LegId};
use contesta::media::{LegSettings, Role, Switch};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};
use socket2::{Domain, Socket, Type};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SLOTS: usize = 20;
const SETTLING: Duration = Duration::from_secs(2);
/// A far end is read each so many milliseconds.
const VISIT_MS: usize = 200;
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// What a row does with its legs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    /// Nothing: each hears silence.
    Alone,
    /// Pairs, the second in this codec.
    Bridge(Codec),
    /// Each is recorded.
    Recorded,
}

const ROWS: [(&str, Row); 6] = [
    ("alone", Row::Alone),
    ("pcmu", Row::Bridge(Codec::Pcmu)),
    ("pcma", Row::Bridge(Codec::Pcma)),
    ("g722", Row::Bridge(Codec::G722)),
    ("opus", Row::Bridge(Codec::Opus)),
    ("recorded", Row::Recorded),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number =
        |index: usize, otherwise| arguments.get(index).map_or(otherwise, |text: &String| text.parse().unwrap());
    let (bridges, seconds, rounds): (usize, usize, usize) = (number(0, 50), number(1, 1), number(2, 1));
    let chosen = |name: &str| arguments.len() < 4 || arguments.iter().skip(3).any(|argument| argument == name);
    let _limit = contesta::edge::descriptors::lift_limit();
    pin(0, 1);
    for _ in 0..rounds {
        for (name, row) in ROWS.into_iter().filter(|(name, _)| chosen(name)) {
            let bridges = if row == Row::Bridge(Codec::Opus) { bridges.div_ceil(10) } else { bridges };
            println!("{name:<9}{}", run(row, bridges, Duration::from_secs(seconds as u64)));
        }
    }
}

fn run(row: Row, bridges: usize, duration: Duration) -> String {
    let worker = MediaWorker::start(0, |_| ()).unwrap();
    // It names itself once it has begun.
    let thread = (0..1_000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        thread_id("media-0")
    });
    let thread = thread.expect("it has begun");
    pin(thread, 0);
    let folder = std::env::temp_dir().join(format!("contesta-bridges-{}", std::process::id()));
    let mut recordings = (row == Row::Recorded).then(|| Recordings::start(&folder, |_, _| ()).unwrap());
    let second = if let Row::Bridge(codec) = row { codec } else { Codec::Pcmu };
    let speech = [Codec::Pcmu, second].map(speech);
    let mut far: Vec<FarEnd> = Vec::new();
    for index in 0..2 * bridges {
        let (leg, codec) = (LegId(index as u64), [Codec::Pcmu, second][index % 2]);
        let socket = RtpSocket::open(LOOPBACK, None, 0).unwrap();
        far.push(FarEnd::new(codec, socket.local()));
        let settings = settings(codec, far[index].local, index as u32);
        worker.send(Command::Open { leg, socket, settings }).unwrap();
        if let Row::Bridge(_) = row {
            let (bridge, role) = (BridgeId(index as u64 / 2), Role::Talks);
            let switch = Switch::Join { bridge, role, passes_keys: true };
            worker.send(Command::Switch { leg, switch }).unwrap();
        }
        if let Some(recordings) = &mut recordings {
            let order = Order { leg, file: format!("{index}.wav"), rate: 8_000 };
            worker.send(Command::Record { leg, recording: recordings.begin(order).unwrap() }).unwrap();
        }
        // As calls come: some in each millisecond, so that the slots fill evenly.
        if index % 8 == 7 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let start = Instant::now();
    let mut arrivals = Arrivals::<2_048>::new();
    let (mut cpu, mut writer, mut late, mut from) = (0, 0, 0, start);
    let until = SETTLING + duration;
    let mut tick = 0;
    while start.elapsed() < until {
        let due = start + Duration::from_millis(tick as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for index in (tick % SLOTS..far.len()).step_by(SLOTS) {
            far[index].speak(&speech[index % 2], tick / SLOTS);
        }
        for index in (tick % VISIT_MS..far.len()).step_by(VISIT_MS) {
            far[index].hear(&mut arrivals);
        }
        tick += 1;
        if from == start && start.elapsed() >= SETTLING {
            from = Instant::now();
            (cpu, writer, late) = (cpu_ns(thread), recorder_ns(), worker.late_ticks());
        }
    }
    let elapsed = from.elapsed();
    let (cpu, writer, late) = (cpu_ns(thread) - cpu, recorder_ns() - writer, worker.late_ticks() - late);
    drop(worker);
    drop(recordings);
    let _removed = std::fs::remove_dir_all(folder);
    far.iter_mut().for_each(|far| far.hear(&mut arrivals));
    let cost = |ns: u64, of: usize| ns as f64 / 1e3 / elapsed.as_secs_f64() / of as f64;
    let heard: u64 = far.iter().map(|far| far.packets).sum();
    let broken: u64 = far.iter().map(|far| far.gaps).sum();
    let overflows: u32 = far.iter().map(|far| far.overflows).sum();
    let silent = far.iter().filter(|far| far.sounded == 0).count();
    let shown = match row {
        Row::Recorded => {
            format!("{:.0} µs a leg-second, and the writer {:.1}", cost(cpu, 2 * bridges), cost(writer, 2 * bridges))
        }
        Row::Alone | Row::Bridge(_) => format!("{:.0} µs a bridge-second (two legs)", cost(cpu, bridges)),
    };
    format!(
        "{bridges} bridges: {shown}; late ticks {late}; captured {heard} packets of {} streams: {broken} gaps in SSRC, sequence or \
         time, {overflows} lost here, {silent} streams without a sound",
        far.len()
    )
}

/// A telephone: it says a recording and keeps what it must know of each packet that comes.
struct FarEnd {
    codec: Codec,
    socket: Socket,
    local: SocketAddr,
    last: Option<RtpHeader>,
    packets: u64,
    /// Packets that were not the next of one stream.
    gaps: u64,
    /// Payloads that differ from the one before.
    sounded: u64,
    sum: u64,
    overflows: u32,
}

impl FarEnd {
    fn new(codec: Codec, far: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        batch::ask_for_stamps(&socket).unwrap();
        socket.bind(&SocketAddr::new(LOOPBACK, 0).into()).unwrap();
        socket.connect(&far.into()).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        Self { codec, socket, local, last: None, packets: 0, gaps: 0, sounded: 0, sum: 0, overflows: 0 }
    }

    fn speak(&self, speech: &[Vec<u8>], frame: usize) {
        let payload = &speech[frame % speech.len()];
        let header = RtpHeader {
            marker: false,
            payload_type: payload_type(self.codec),
            sequence: SequenceNumber(frame as u16),
            timestamp: RtpTime((frame as u32).wrapping_mul(self.codec.frame_units())),
            ssrc: Ssrc(7),
        };
        let mut packet = [0; 12 + PAYLOAD_MAX];
        packet[..12].copy_from_slice(&header.to_bytes());
        packet[12..12 + payload.len()].copy_from_slice(payload);
        let _sent = self.socket.send(&packet[..12 + payload.len()]);
    }

    fn hear(&mut self, arrivals: &mut Arrivals<2_048>) {
        loop {
            let more = arrivals.receive(&self.socket);
            self.overflows = arrivals.overflows().unwrap_or(self.overflows);
            for arrival in arrivals.iter_mut() {
                let (header, payload) = RtpHeader::parse(arrival.datagram).unwrap();
                self.packets += 1;
                if let Some(last) = self.last {
                    let continues = header.ssrc == last.ssrc
                        && header.sequence == last.sequence.next()
                        && header.timestamp == last.timestamp.plus(self.codec.frame_units());
                    self.gaps += u64::from(!continues);
                }
                let sum = arrival.datagram[payload].iter().map(|byte| u64::from(*byte)).sum();
                self.sounded += u64::from(self.last.is_some() && sum != self.sum);
                self.sum = sum;
                self.last = Some(header);
            }
            if !more {
                return;
            }
        }
    }
}

/// Ten seconds of recorded speech in this codec, a payload each 20 ms.
fn speech(codec: Codec) -> Vec<Vec<u8>> {
    let rate = codec.sample_rate();
    let mut samples = Vec::new();
    for file in prompts().iter().take(12) {
        let pcm = decode(&std::fs::read(file).unwrap(), "wav").unwrap();
        samples.extend(pcm.resample_to(rate).unwrap().samples);
    }
    let mut encoder = Encoder::new(codec);
    let mut frame = Frame::silent(rate);
    let frames = samples.chunks_exact(rate as usize / 50).take(500);
    frames
        .map(|samples| {
            frame.samples_mut().copy_from_slice(samples);
            let mut payload = [0; PAYLOAD_MAX];
            let length = encoder.encode(&frame, &mut payload);
            payload[..length].to_vec()
        })
        .collect()
}

/// Recordings that ship.
fn prompts() -> Vec<PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/beneleit");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wav"));
    files.sort();
    files
}

fn settings(codec: Codec, remote: SocketAddr, ssrc: u32) -> LegSettings {
    LegSettings {
        codec,
        payload_type: payload_type(codec),
        ssrc,
        first_sequence: u16::MAX - 100,
        first_timestamp: u32::MAX - 10_000,
        ..LegSettings::plain(remote)
    }
}

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::Opus => 111,
    }
}

/// The thread of this name.
fn thread_id(name: &str) -> Option<i32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut threads = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    threads
        .find(|id| {
            let is_called = std::fs::read_to_string(format!("/proc/self/task/{id}/comm"));
            is_called.is_ok_and(|is_called| is_called.trim() == name)
        })
        .and_then(|id| id.parse().ok())
}

/// CPU time of a thread.
fn cpu_ns(thread: i32) -> u64 {
    let times = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    times.split_whitespace().next().unwrap().parse().unwrap()
}

fn recorder_ns() -> u64 {
    thread_id("recordings").map_or(0, cpu_ns)
}

/// Puts a thread, or with 0 this one, on a core.
fn pin(thread: i32, core: usize) {
    // SAFETY: cpu_set_t is plain C data for which zeros are valid; it outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}
