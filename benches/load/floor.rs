//! The floor: what the kernel alone asks for the same calls. Below it no server of this shape can go.
//!
//! ```text
//! own      a socket a call, connected: one send and one recv each 20 ms
//! asking   the same with epoll_wait, as a server does that is told of packets when they come
//! shared   one socket for all calls: sendmmsg and recvmmsg
//! ```
//!
//! It answers every INVITE with 200, sends 50 packets a second to where the SDP says, all the same one, spread over the 20 ms, and
//! throws away what it hears. What SIP it needs is copied from line to line of the request.
#![expect(unsafe_code, reason = "the floor is made of bare system calls")]

use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::{Duration, Instant};

use super::server::Server;

const SLOTS: usize = 20;
const PACKET: usize = 172;
/// Datagrams in one system call.
const BATCH: usize = 64;

pub fn start(kind: &str) -> Server {
    let mut command = Server::on_core_0(std::env::current_exe().unwrap());
    command.args(["floor-server", kind]);
    Server::start(command, None, |line| line.parse().ok())
}

/// Serves until it is killed.
pub fn run(kind: &str) {
    let _limit = contesta::edge::descriptors::lift_limit();
    let sip = bind();
    println!("{}", sip.local_addr().unwrap());
    match kind {
        "own" => own(&sip),
        "asking" => own_asking(&sip),
        "shared" => shared(&sip),
        other => panic!("no floor «{other}»"),
    }
}

fn own(sip: &UdpSocket) {
    let mut sockets: Vec<UdpSocket> = Vec::new();
    let mut buffer = [0; 256];
    let mut clock = Clock::start();
    loop {
        let slot = clock.wait();
        let packet = clock.packet();
        for socket in sockets.iter().skip(slot).step_by(SLOTS) {
            let _sent = socket.send(&packet);
        }
        for socket in sockets.iter().skip((slot + SLOTS / 2) % SLOTS).step_by(SLOTS) {
            let _received = socket.recv(&mut buffer);
        }
        // Seldom: a system call that the packets do not need.
        if slot.is_multiple_of(5) {
            answer(sip, |far| {
                let socket = bind();
                socket.connect(far).unwrap();
                let port = socket.local_addr().unwrap().port();
                sockets.push(socket);
                port
            });
        }
    }
}

/// As [`own`], but it asks which sockets have something to read, as a server does that does not know when packets come.
fn own_asking(sip: &UdpSocket) {
    // SAFETY: no memory is passed.
    let epoll = unsafe { libc::epoll_create1(0) };
    let watch = |socket: &UdpSocket, number: usize| {
        let mut interest = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        // SAFETY: `interest` is a whole event that outlives the call.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut interest) };
    };
    watch(sip, usize::MAX);
    let mut sockets: Vec<UdpSocket> = Vec::new();
    let mut ready = vec![libc::epoll_event { events: 0, u64: 0 }; 1_024];
    let mut buffer = [0; 256];
    let mut clock = Clock::start();
    loop {
        let slot = clock.wait();
        let packet = clock.packet();
        for socket in sockets.iter().skip(slot).step_by(SLOTS) {
            let _sent = socket.send(&packet);
        }
        // SAFETY: the length is that of `ready`.
        let count = unsafe { libc::epoll_wait(epoll, ready.as_mut_ptr(), 1_024, 0) };
        for event in ready.iter().take(usize::try_from(count).unwrap_or(0)) {
            if event.u64 == usize::MAX as u64 {
                answer(sip, |far| {
                    let socket = bind();
                    socket.connect(far).unwrap();
                    watch(&socket, sockets.len());
                    let port = socket.local_addr().unwrap().port();
                    sockets.push(socket);
                    port
                });
            } else {
                let _received = sockets[event.u64 as usize].recv(&mut buffer);
            }
        }
    }
}

fn shared(sip: &UdpSocket) {
    let socket = bind();
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut slots: [Vec<libc::sockaddr_in>; SLOTS] = Default::default();
    let mut scratch = vec![[0; 256]; BATCH];
    let mut calls = 0;
    let mut clock = Clock::start();
    loop {
        let slot = clock.wait();
        let packet = clock.packet();
        for addresses in slots[slot].chunks(BATCH) {
            send_batch(&socket, &packet, addresses);
        }
        receive_batches(&socket, &mut scratch);
        // Seldom: a system call that the packets do not need.
        if slot.is_multiple_of(5) {
            answer(sip, |far| {
                slots[calls % SLOTS].push(address(far));
                calls += 1;
                port
            });
        }
    }
}

/// Milliseconds from the start on, and the packet of the present one.
struct Clock {
    start: Instant,
    tick: u32,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now(), tick: 0 }
    }

    /// Waits for the next millisecond and gives its slot.
    fn wait(&mut self) -> usize {
        self.tick += 1;
        let due = self.start + Duration::from_millis(self.tick.into());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        self.tick as usize % SLOTS
    }

    fn packet(&self) -> [u8; PACKET] {
        let frame = self.tick / SLOTS as u32;
        let mut packet = [0x7f; PACKET];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&(frame as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(frame * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&[0; 4]);
        packet
    }
}

/// Answers the requests that wait: INVITE with the port that `open` gives for its far end, all others with a bare 200.
fn answer(sip: &UdpSocket, mut open: impl FnMut(SocketAddrV4) -> u16) {
    let mut buffer = [0; 4_096];
    while let Ok((length, from)) = sip.recv_from(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..length]);
        if request.starts_with("ACK") {
            continue;
        }
        let mut response = String::from("SIP/2.0 200 OK\r\n");
        for line in request.lines() {
            if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                response += &format!("{line}\r\n");
            } else if line.starts_with("To:") {
                let tag = if line.contains(";tag=") { "" } else { ";tag=floor" };
                response += &format!("{line}{tag}\r\n");
            }
        }
        let body = request.starts_with("INVITE").then(|| {
            let after = |mark: &str| request.split_once(mark).unwrap().1.split_whitespace().next().unwrap();
            let far = SocketAddrV4::new(after("c=IN IP4 ").parse().unwrap(), after("m=audio ").parse().unwrap());
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
                open(far)
            )
        });
        let body = body.unwrap_or_default();
        let local = sip.local_addr().unwrap();
        response += &format!(
            "Contact: <sip:floor@{local}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        sip.send_to(response.as_bytes(), from).unwrap();
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn address(far: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: far.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*far.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// One `sendmmsg`, of at most [`BATCH`].
fn send_batch(socket: &UdpSocket, packet: &[u8; PACKET], addresses: &[libc::sockaddr_in]) {
    let mut buffer = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    // SAFETY: mmsghdr is plain C data for which zeros are valid.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    for (message, address) in messages.iter_mut().zip(addresses) {
        message.msg_hdr.msg_name = ptr::from_ref(address).cast_mut().cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        message.msg_hdr.msg_iov = &raw mut buffer;
        message.msg_hdr.msg_iovlen = 1;
    }
    let count = addresses.len() as libc::c_uint;
    // SAFETY: the first `count` headers point at addresses and a buffer that outlive the call, which only reads them.
    unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
}

/// `recvmmsg` until it comes back less than full.
fn receive_batches(socket: &UdpSocket, scratch: &mut [[u8; 256]]) {
    // SAFETY: both are plain C data for which zeros are valid.
    let mut buffers: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    for ((message, buffer), place) in messages.iter_mut().zip(&mut buffers).zip(scratch) {
        buffer.iov_base = place.as_mut_ptr().cast();
        buffer.iov_len = place.len();
        message.msg_hdr.msg_iov = buffer;
        message.msg_hdr.msg_iovlen = 1;
    }
    let length = BATCH as libc::c_uint;
    // SAFETY: each header points at one buffer of `scratch`, all of which outlive the call.
    while unsafe {
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), length, libc::MSG_DONTWAIT, ptr::null_mut())
    } == BATCH as libc::c_int
    {}
}
