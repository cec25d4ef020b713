//! The media worker against the floor that the kernel sets, in one run on one machine.
//!
//! Each call is 50 packets of 172 bytes a second each way over loopback. The far side is another process of this same
//! program, so the CPU time counted is that of the server side alone.
//!
//! ```text
//! socket a call   send, epoll_wait and recv on one connected socket a call: what any such server must do
//! batched         one socket for all, sendmmsg and recvmmsg: below what separate RTP ports allow
//! media worker    MediaWorker with as many legs, each playing a prompt
//! ```
//!
//! `cargo bench --bench wire_floor -- [CALLS [SECONDS [ROUNDS]]]`; the least of the rounds counts.

#![expect(unsafe_code, reason = "the floor is made of bare system calls")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark measures time on real sockets")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should say where")]

use std::io::{BufRead, BufReader, Write};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use contesta::audio::Clip;
use contesta::edge::media_worker::{Command, MediaWorker};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::{LegId, PlayId};
use contesta::media::{Event, LegSettings, Segment};
use contesta::rtp::{RtpHeader, RtpTime, SequenceNumber, Ssrc};

const SLOTS: usize = 20;
const PACKET: usize = 172;
const WARM_UP: Duration = Duration::from_millis(1_000);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|argument| argument == "far-side") {
        return far_side();
    }
    let number = |index: usize, otherwise| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    // Without arguments it is short, so that `cargo test --benches` and `cargo bench` end soon.
    let (calls, seconds, rounds) = (number(0, 200), number(1, 2), number(2, 1));
    raise_file_limit();
    let modes: [(&str, Server); 3] =
        [("socket a call", socket_a_call), ("batched", batched), ("media worker", media_worker)];
    let mut least = [f64::INFINITY; 3];
    for round in 1..=rounds {
        for ((name, server), least) in modes.iter().zip(&mut least) {
            let run = server(calls, Duration::from_secs(seconds as u64));
            let cost = run.cpu.as_secs_f64() * 1e6 / (calls as f64 * run.elapsed.as_secs_f64());
            let due = calls as f64 * 50.0 * run.elapsed.as_secs_f64();
            println!(
                "round {round}  {name:<14} {calls} calls  {cost:6.1} µs a call-second  sent {:5.1} %  received {:5.1} %{}",
                run.sent as f64 / due * 100.0,
                run.received as f64 / due * 100.0,
                run.remark
            );
            *least = least.min(cost);
        }
    }
    println!(
        "media worker / socket a call = {:.2}    media worker / batched = {:.2}",
        least[2] / least[0],
        least[2] / least[1]
    );
}

type Server = fn(usize, Duration) -> Run;

/// What one server did after its warm-up.
struct Run {
    cpu: Duration,
    elapsed: Duration,
    sent: u64,
    received: u64,
    remark: String,
}

/// The other process: it sends to each of our ports every 20 ms and throws away what it gets.
struct FarSide {
    process: Child,
    address: SocketAddr,
}

impl FarSide {
    fn start(ports: impl Iterator<Item = u16>) -> Self {
        let mut process = Process::new(std::env::current_exe().unwrap())
            .arg("far-side")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ports: Vec<String> = ports.map(|port| port.to_string()).collect();
        writeln!(process.stdin.as_mut().unwrap(), "{}", ports.join(" ")).unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: SocketAddr::from((Ipv4Addr::LOCALHOST, line.trim().parse().unwrap())) }
    }
}

impl Drop for FarSide {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs until it is killed, or a minute at most.
fn far_side() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    enlarge_buffer(&socket);
    println!("{}", socket.local_addr().unwrap().port());
    let mut scratch = vec![[0; 256]; 256];
    let start = Instant::now();
    for tick in 0..60_000_u32 {
        wait_for(start, tick);
        let frame = tick / SLOTS as u32;
        let header = RtpHeader {
            marker: false,
            payload_type: 0,
            sequence: SequenceNumber(frame as u16),
            timestamp: RtpTime(frame * 160),
            ssrc: Ssrc(1),
        };
        let mut packet = [0xff; PACKET];
        packet[..12].copy_from_slice(&header.to_bytes());
        let addresses: Vec<_> =
            ports.iter().skip(tick as usize % SLOTS).step_by(SLOTS).map(|&port| address(port)).collect();
        send_batch(&socket, &packet, &addresses);
        receive_batch(&socket, &mut scratch);
    }
}

fn socket_a_call(calls: usize, duration: Duration) -> Run {
    let sockets: Vec<UdpSocket> = (0..calls).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let far = FarSide::start(sockets.iter().map(|socket| socket.local_addr().unwrap().port()));
    // SAFETY: no memory is passed.
    let epoll = unsafe { libc::epoll_create1(0) };
    for (index, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true).unwrap();
        socket.connect(far.address).unwrap();
        let mut interest = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        // SAFETY: `interest` is a whole event that outlives the call.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut interest) };
    }
    let mut ready = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    let mut buffer = [0; 256];
    let packet = [0x7f; PACKET];
    let run = clocked(duration, |slot| {
        let mut counts = (0, 0);
        for socket in sockets.iter().skip(slot).step_by(SLOTS) {
            counts.0 += u64::from(socket.send(&packet).is_ok());
        }
        // SAFETY: the length is that of `ready`.
        let count = unsafe { libc::epoll_wait(epoll, ready.as_mut_ptr(), 1024, 0) };
        for event in ready.iter().take(usize::try_from(count).unwrap_or(0)) {
            counts.1 += u64::from(sockets[event.u64 as usize].recv(&mut buffer).is_ok());
        }
        counts
    });
    // SAFETY: `epoll` is ours and used no more.
    unsafe { libc::close(epoll) };
    run
}

fn batched(calls: usize, duration: Duration) -> Run {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    enlarge_buffer(&socket);
    let far = FarSide::start(std::iter::repeat_n(socket.local_addr().unwrap().port(), calls));
    let packet = [0x7f; PACKET];
    let mut scratch = vec![[0; 256]; 256];
    let addresses = vec![address(far.address.port()); calls.div_ceil(SLOTS)];
    clocked(duration, |slot| {
        let share = (0..calls).skip(slot).step_by(SLOTS).count();
        (send_batch(&socket, &packet, &addresses[..share]), receive_batch(&socket, &mut scratch))
    })
}

/// Runs `tick` each millisecond with its slot, and counts what it sent and received after the warm-up.
fn clocked(duration: Duration, mut tick: impl FnMut(usize) -> (u64, u64)) -> Run {
    let start = Instant::now();
    let mut from = (start, cpu_time());
    let mut counts = (0, 0);
    for number in 0.. {
        wait_for(start, number);
        if number == WARM_UP.as_millis() as u32 {
            from = (Instant::now(), cpu_time());
            counts = (0, 0);
        }
        if start.elapsed() >= WARM_UP + duration {
            break;
        }
        let (sent, received) = tick(number as usize % SLOTS);
        counts = (counts.0 + sent, counts.1 + received);
    }
    let (sent, received) = counts;
    Run { cpu: cpu_time() - from.1, elapsed: from.0.elapsed(), sent, received, remark: String::new() }
}

fn media_worker(calls: usize, duration: Duration) -> Run {
    let (sender, reports) = channel();
    let worker = MediaWorker::start(0, move |report| drop(sender.send(report))).unwrap();
    let sockets: Vec<RtpSocket> =
        (0..calls).map(|_| RtpSocket::open(Ipv4Addr::LOCALHOST.into(), None, 0).unwrap()).collect();
    let far = FarSide::start(sockets.iter().map(|socket| socket.local().port()));
    let prompt = Segment::Clip(Arc::new(Clip::from_pcm(&[500; 80_000])));
    let mut begun = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let leg = LegId(index as u64);
        worker.send(Command::Open { leg, socket, settings: settings(far.address) }).unwrap();
        let segments = vec![prompt.clone(); 6].into();
        worker.send(Command::Play { leg, play: PlayId(1), segments }).unwrap();
        begun.push(Instant::now());
        // As calls come: some in each millisecond, so that the slots fill evenly.
        if index % 8 == 7 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    std::thread::sleep(WARM_UP);
    let (from, cpu, late) = (Instant::now(), cpu_time(), worker.late_ticks());
    std::thread::sleep(duration);
    let (cpu, elapsed) = (cpu_time() - cpu, from.elapsed());
    let remark = format!("  late ticks {}, unsent {}", worker.late_ticks() - late, worker.packets_unsent());
    let lived: f64 = begun.iter().map(|begun| begun.elapsed().as_secs_f64()).sum();
    drop(worker);
    let (mut sent, mut received) = (0, 0);
    for (_, event) in reports {
        if let Event::Closed(totals) = event {
            sent += totals.packets_sent;
            received += totals.packets_received;
        }
    }
    // The totals are of the legs' whole lives: scaled to the time that was measured.
    let share = elapsed.as_secs_f64() * calls as f64 / lived;
    let scaled = |count: u64| (count as f64 * share) as u64;
    Run { cpu, elapsed, sent: scaled(sent), received: scaled(received), remark }
}

fn settings(remote: SocketAddr) -> LegSettings {
    LegSettings { silent_after: Some(Duration::from_secs(60)), ..LegSettings::plain(remote) }
}

fn wait_for(start: Instant, tick: u32) {
    let due = start + Duration::from_millis(tick.into());
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// User and system time of this process, all threads.
fn cpu_time() -> Duration {
    // SAFETY: rusage is plain C data for which zeros are valid.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is a whole rusage.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let time =
        |time: libc::timeval| Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a whole rlimit for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

fn enlarge_buffer(socket: &UdpSocket) {
    let _ = socket2::SockRef::from(socket).set_recv_buffer_size(4 << 20);
}

fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    }
}

fn send_batch(socket: &UdpSocket, packet: &[u8; PACKET], addresses: &[libc::sockaddr_in]) -> u64 {
    let mut buffer = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    let mut messages: Vec<libc::mmsghdr> = addresses
        .iter()
        .map(|address| {
            // SAFETY: mmsghdr is plain C data for which zeros are valid.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_name = std::ptr::from_ref(address).cast_mut().cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            message.msg_hdr.msg_iov = &mut buffer;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: the headers point at addresses and a buffer that outlive the call, which only reads them.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as libc::c_uint, 0) };
    u64::try_from(sent).unwrap_or(0)
}

fn receive_batch(socket: &UdpSocket, scratch: &mut [[u8; 256]]) -> u64 {
    let mut total = 0;
    loop {
        let mut buffers: Vec<libc::iovec> = scratch
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = buffers
            .iter_mut()
            .map(|buffer| {
                // SAFETY: mmsghdr is plain C data for which zeros are valid.
                let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                message.msg_hdr.msg_iov = buffer;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let length = messages.len() as libc::c_uint;
        // SAFETY: each header points at one buffer of `scratch`, all of which outlive the call.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), length, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let count = u64::try_from(count).unwrap_or(0);
        total += count;
        if count < u64::from(length) {
            return total;
        }
    }
}
