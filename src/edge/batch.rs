//! Many datagrams in one system call: `sendmmsg` and `recvmmsg` over buffers that are allocated once.
//!
//! An [`Outbox`] takes datagrams with their destinations, [`Arrivals`] gives them with their sources and, where the socket was
//! asked for them ([`ask_for_stamps`]), the moments at which the kernel took them in. Nothing here blocks or allocates.

#![expect(unsafe_code, reason = "sendmmsg, recvmmsg and their control messages have no safe wrapper")]

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use socket2::Socket;

/// Datagrams that leave or arrive in one system call: beyond this its own cost no longer counts.
pub const BATCH: usize = 64;

/// Bytes of a `sockaddr_in6`, the longest name that a datagram of ours has.
const NAME_LENGTH: usize = 28;

/// Words of control messages: a stamp (32 bytes) and a count of overflows (24).
const CONTROL_WORDS: usize = 8;

/// Datagrams that wait to be sent together, each at most `LENGTH` bytes.
pub struct Outbox<const LENGTH: usize> {
    datagrams: Box<[[u8; LENGTH]]>,
    lengths: Box<[usize]>,
    names: Box<[Name]>,
    count: usize,
}

/// Datagrams that arrived together; a longer one than `LENGTH` is cut.
pub struct Arrivals<const LENGTH: usize> {
    datagrams: Box<[[u8; LENGTH]]>,
    lengths: [usize; BATCH],
    names: [Name; BATCH],
    controls: [[u64; CONTROL_WORDS]; BATCH],
    stamps: [Option<u64>; BATCH],
    overflows: Option<u32>,
    count: usize,
}

/// One datagram that arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// Whose it is.
    pub source: SocketAddr,
    /// When the kernel took it in: nanoseconds since 1970 by the system's clock. `None` without stamps.
    pub stamp: Option<u64>,
    /// Its bytes; SRTP is opened where it lies.
    pub datagram: &'a mut [u8],
}

/// An address as the kernel reads and writes it: `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name {
    bytes: [u8; NAME_LENGTH],
    length: libc::socklen_t,
}

impl<const LENGTH: usize> Outbox<LENGTH> {
    /// An empty one that takes `capacity` datagrams.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let datagrams = vec![[0; LENGTH]; capacity].into_boxed_slice();
        let (lengths, names) = (vec![0; capacity].into(), vec![Name::EMPTY; capacity].into());
        Self { datagrams, lengths, names, count: 0 }
    }

    /// Where the next datagram may be written; [`add`](Self::add) takes it in. `None` when the outbox is full.
    pub fn blank(&mut self) -> Option<&mut [u8; LENGTH]> {
        self.datagrams.get_mut(self.count)
    }

    /// Takes in the first `length` bytes of what was written to [`blank`](Self::blank). True when the outbox is full with it.
    pub fn add(&mut self, length: usize, destination: SocketAddr) -> bool {
        if let (Some(place), Some(name)) = (self.lengths.get_mut(self.count), self.names.get_mut(self.count)) {
            *place = length.min(LENGTH);
            *name = Name::of(destination);
            self.count += 1;
        }
        self.count == self.datagrams.len()
    }

    /// Sends all and is empty. Gives how many the system would not take: when its buffer is full the rest is lost, as on any
    /// network; a destination that is refused costs its own datagram alone.
    pub fn flush(&mut self, socket: &Socket) -> usize {
        let (mut begun, mut unsent) = (0, 0);
        while begun < self.count {
            match self.send(socket.as_raw_fd(), begun) {
                Ok(sent) => begun += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unsent += self.count - begun;
                    break;
                }
                Err(_) => {
                    unsent += 1;
                    begun += 1;
                }
            }
        }
        self.count = 0;
        unsent
    }

    /// One `sendmmsg` from the datagram `begun` on; gives how many were taken, at least one.
    fn send(&mut self, descriptor: RawFd, begun: usize) -> io::Result<usize> {
        // SAFETY: both structs are plain C data for which zeros are valid.
        let mut buffers: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let waiting = self.datagrams.iter_mut().zip(&*self.lengths).zip(&mut *self.names).take(self.count).skip(begun);
        let mut filled = 0;
        for (((message, buffer), ((datagram, &length), name)), index) in
            messages.iter_mut().zip(&mut buffers).zip(waiting).zip(1..)
        {
            buffer.iov_base = datagram.as_mut_ptr().cast();
            buffer.iov_len = length;
            message.msg_hdr.msg_iov = buffer;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = name.bytes.as_mut_ptr().cast();
            message.msg_hdr.msg_namelen = name.length;
            filled = index;
        }
        // SAFETY: each of the first `filled` headers points at one iovec, each iovec at `length` bytes of one datagram, each name
        // at an address of `length` bytes; all outlive the call.
        let sent = unsafe { libc::sendmmsg(descriptor, messages.as_mut_ptr(), filled, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl<const LENGTH: usize> Arrivals<LENGTH> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let datagrams = vec![[0; LENGTH]; BATCH].into_boxed_slice();
        Self {
            datagrams,
            lengths: [0; BATCH],
            names: [Name::EMPTY; BATCH],
            controls: [[0; CONTROL_WORDS]; BATCH],
            stamps: [None; BATCH],
            overflows: None,
            count: 0,
        }
    }

    /// Takes what waits in place of what was here, at most [`BATCH`] datagrams. True when that many came: more may wait.
    /// An error is as good as nothing waiting, but for an unreachable port reported for what was sent before: it is passed over.
    pub fn receive(&mut self, socket: &Socket) -> bool {
        self.count = 0;
        self.overflows = None;
        for _ in 0..2 {
            match self.take(socket.as_raw_fd()) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                _ => break,
            }
        }
        self.count == BATCH
    }

    /// The datagrams, in the order of their arrival.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = Arrival<'_>> {
        let places = self.datagrams.iter_mut().zip(&self.lengths).zip(&self.names).zip(&self.stamps).take(self.count);
        places.map(|(((datagram, &length), name), &stamp)| Arrival {
            source: name.address(),
            stamp,
            datagram: datagram.get_mut(..length).unwrap_or_default(),
        })
    }

    /// Datagrams that this socket's queue had no room for since it was opened, if the last ones told ([`ask_for_stamps`]).
    #[must_use]
    pub fn overflows(&self) -> Option<u32> {
        self.overflows
    }

    /// One `recvmmsg`.
    fn take(&mut self, descriptor: RawFd) -> io::Result<()> {
        // SAFETY: both structs are plain C data for which zeros are valid.
        let mut buffers: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let places = self.datagrams.iter_mut().zip(&mut self.names).zip(&mut self.controls);
        for ((message, buffer), ((datagram, name), control)) in messages.iter_mut().zip(&mut buffers).zip(places) {
            buffer.iov_base = datagram.as_mut_ptr().cast();
            buffer.iov_len = LENGTH;
            message.msg_hdr.msg_iov = buffer;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = name.bytes.as_mut_ptr().cast();
            message.msg_hdr.msg_namelen = NAME_LENGTH as libc::socklen_t;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of_val(control) as _;
        }
        // SAFETY: each header points at one iovec, each iovec at one whole datagram buffer, each name at NAME_LENGTH bytes, each
        // control at its whole array; all of them outlive the call, and the count is theirs.
        let count = unsafe {
            libc::recvmmsg(
                descriptor,
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        self.count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?.min(BATCH);
        let places = self.lengths.iter_mut().zip(&mut self.names).zip(&mut self.stamps);
        for (message, ((length, name), stamp)) in messages.iter().zip(places).take(self.count) {
            *length = (message.msg_len as usize).min(LENGTH);
            name.length = message.msg_hdr.msg_namelen.min(NAME_LENGTH as libc::socklen_t);
            // SAFETY: the header's control points at what the kernel wrote, `msg_controllen` bytes of it.
            let (stamped, overflows) = unsafe { read_control(&message.msg_hdr) };
            *stamp = stamped;
            self.overflows = overflows.or(self.overflows);
        }
        Ok(())
    }
}

impl<const LENGTH: usize> Default for Arrivals<LENGTH> {
    fn default() -> Self {
        Self::new()
    }
}

/// Has the kernel write the moment of arrival beside each datagram (`SO_TIMESTAMPNS`), and how many its queue had no room for
/// (`SO_RXQ_OVFL`).
///
/// # Errors
/// What the system says.
pub fn ask_for_stamps(socket: &Socket) -> io::Result<()> {
    for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
        let on: libc::c_int = 1;
        // SAFETY: the value is one int, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                ptr::from_ref(&on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The stamp and the count of overflows among the control messages of one datagram.
///
/// # Safety
/// `header`'s control is what `recvmmsg` has written, and still lives.
unsafe fn read_control(header: &libc::msghdr) -> (Option<u64>, Option<u32>) {
    let (mut stamp, mut overflows) = (None, None);
    // SAFETY: the macros walk within `msg_controllen`; each message's data is as long as its type says, read unaligned.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = control.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time: libc::timespec = ptr::read_unaligned(data.cast());
                    let seconds = u64::try_from(time.tv_sec).ok();
                    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
                    stamp = seconds.map(|seconds| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => overflows = Some(ptr::read_unaligned(data.cast())),
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    (stamp, overflows)
}

impl Name {
    const EMPTY: Self = Self { bytes: [0; NAME_LENGTH], length: 0 };

    fn of(address: SocketAddr) -> Self {
        let mut bytes = [0; NAME_LENGTH];
        let mut write = |at: usize, part: &[u8]| {
            bytes.iter_mut().skip(at).zip(part).for_each(|(to, &from)| *to = from);
        };
        let length = match address {
            SocketAddr::V4(address) => {
                write(0, &(libc::AF_INET as libc::sa_family_t).to_ne_bytes());
                write(2, &address.port().to_be_bytes());
                write(4, &address.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                write(0, &(libc::AF_INET6 as libc::sa_family_t).to_ne_bytes());
                write(2, &address.port().to_be_bytes());
                write(4, &address.flowinfo().to_ne_bytes());
                write(8, &address.ip().octets());
                write(24, &address.scope_id().to_ne_bytes());
                NAME_LENGTH
            }
        };
        Self { bytes, length: length as libc::socklen_t }
    }

    /// The address; without one the unspecified, whose port 0 is no far end's.
    fn address(&self) -> SocketAddr {
        let [f0, f1, p0, p1, a0, a1, a2, a3, ..] = self.bytes;
        let port = u16::from_be_bytes([p0, p1]);
        match (libc::c_int::from(u16::from_ne_bytes([f0, f1])), self.length as usize) {
            (libc::AF_INET, 16..) => SocketAddr::from((Ipv4Addr::new(a0, a1, a2, a3), port)),
            (libc::AF_INET6, NAME_LENGTH..) => {
                let part = |at: usize| self.bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied();
                let ip = self.bytes.get(8..).and_then(|rest| rest.first_chunk::<16>()).copied().unwrap_or_default();
                let (flow, scope) = (part(4).unwrap_or_default(), part(24).unwrap_or_default());
                let (flow, scope) = (u32::from_ne_bytes(flow), u32::from_ne_bytes(scope));
                SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope))
            }
            _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use socket2::{Domain, Type};

    use super::*;

    fn socket(ip: IpAddr) -> Option<(Socket, SocketAddr)> {
        let address = SocketAddr::new(ip, 0);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).ok()?;
        socket.set_nonblocking(true).unwrap();
        socket.bind(&address.into()).ok()?;
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        Some((socket, local))
    }

    fn put(outbox: &mut Outbox<8>, byte: u8, destination: SocketAddr) -> bool {
        outbox.blank().unwrap().fill(byte);
        outbox.add(usize::from(byte % 8) + 1, destination)
    }

    /// Loopback delivers within the sending call, so what was sent has arrived.
    #[test]
    fn a_full_batch_leaves_together_and_arrives_in_order_with_sources_and_stamps() {
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let Some((from, source)) = socket(ip) else {
                assert!(ip.is_ipv6(), "a machine may be without IPv6, not without IPv4");
                continue;
            };
            let (to, destination) = socket(ip).unwrap();
            ask_for_stamps(&to).unwrap();
            let (mut outbox, mut arrivals) = (Outbox::<8>::new(BATCH), Arrivals::<8>::new());
            for byte in 0..BATCH as u8 {
                assert_eq!(put(&mut outbox, byte, destination), usize::from(byte) == BATCH - 1);
            }
            assert!(outbox.blank().is_none(), "it is full");
            assert_eq!(outbox.flush(&from), 0);
            assert!(arrivals.receive(&to), "as many as fit");
            let mut last = 0;
            for (arrival, byte) in arrivals.iter_mut().zip(0_u8..) {
                let bytes = vec![byte; usize::from(byte % 8) + 1];
                assert_eq!((arrival.source, &*arrival.datagram), (source, &bytes[..]));
                assert!(arrival.stamp.unwrap() >= last, "the kernel's clock goes forward");
                last = arrival.stamp.unwrap();
            }
            assert!(!arrivals.receive(&to), "nothing is left");
            assert_eq!(arrivals.iter_mut().count(), 0);
        }
    }

    #[test]
    fn a_destination_that_is_refused_costs_its_own_datagram_alone() {
        let ((from, _), (to, destination)) =
            (socket(Ipv4Addr::LOCALHOST.into()).unwrap(), socket(Ipv4Addr::LOCALHOST.into()).unwrap());
        let mut outbox = Outbox::<8>::new(3);
        put(&mut outbox, 1, destination);
        put(&mut outbox, 2, "127.0.0.1:0".parse().unwrap());
        put(&mut outbox, 3, destination);
        assert_eq!(outbox.flush(&from), 1);
        let mut arrivals = Arrivals::<8>::new();
        arrivals.receive(&to);
        let heard: Vec<(usize, Option<u64>)> =
            arrivals.iter_mut().map(|arrival| (arrival.datagram.len(), arrival.stamp)).collect();
        assert_eq!(heard, [(2, None), (4, None)], "and nobody asked for stamps");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["192.0.2.7:4000", "[2001:db8::7]:4000", "[fe80::1%3]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::of(address).address(), address);
        }
        assert_eq!(Name::EMPTY.address(), "0.0.0.0:0".parse().unwrap());
    }
}
