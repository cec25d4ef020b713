//! What the edge does when a media worker's queue is full: the call ends, the others go on, and no leg is left behind.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a real worker with real sockets")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use contesta::edge::leg_media::{LegMedia, Lost};
use contesta::edge::media_worker::{MediaWorker, Report};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::{LegId, PlayId};
use contesta::media::{Event, LegSettings};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STAYS: LegId = LegId(1);
const IS_LOST: LegId = LegId(2);
const COMES_LATE: LegId = LegId(3);
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker that stands still at its first report until the gate is let go.
fn stuck() -> (LegMedia, Receiver<Report>, SyncSender<()>) {
    let (sender, reports) = channel();
    let (gate, opened) = sync_channel::<()>(0);
    let report = move |report| {
        drop(sender.send(report));
        // Waits for the first report only: afterwards the gate is gone, and this returns at once.
        let _ = opened.recv();
    };
    let worker = MediaWorker::start(0, report).unwrap();
    (LegMedia::new(vec![worker]), reports, gate)
}

fn open(legs: &mut LegMedia, leg: LegId) -> Result<(), Lost> {
    let remote = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
    legs.bind(leg, RtpSocket::open(LOOPBACK, None, 0).unwrap());
    let settings = LegSettings { first_sequence: 1, first_timestamp: 1, ..LegSettings::plain(remote) };
    legs.start(leg, settings, None)
}

#[test]
fn a_full_queue_costs_its_call_and_leaves_no_leg_behind() {
    let (mut legs, reports, gate) = stuck();
    assert_eq!((open(&mut legs, STAYS), open(&mut legs, IS_LOST)), (Ok(()), Ok(())));
    // Nothing to play is played at once: the worker reports, and stands still.
    assert_eq!(legs.play(STAYS, PlayId(1), Box::new([])), Ok(()));
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), (STAYS, Event::Played(PlayId(1))));

    let taken = (0..1_000_000).take_while(|_| legs.stop(IS_LOST).is_ok()).count();
    assert!(taken < 1_000_000, "the queue has no bound");
    assert_eq!(open(&mut legs, COMES_LATE), Err(Lost), "a call that comes now is told so");
    // The call of the lost leg ends, and asks for what every call asks at its end.
    assert_eq!(legs.close(IS_LOST), Ok(()));
    assert!(legs.close_lost(), "the worker has still no room");

    drop(gate);
    let until = Instant::now() + PATIENCE;
    while legs.close_lost() {
        assert!(Instant::now() < until, "the end of the lost leg was never taken");
        std::thread::yield_now();
    }
    // The end may have taken the only place that was free: it is the last in the queue, and its report says that there is room.
    let ended = reports.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(ended, (IS_LOST, Event::Closed(_))), "{ended:?}");
    assert_eq!(legs.play(STAYS, PlayId(2), Box::new([])), Ok(()), "the other call goes on");
    assert_eq!(legs.close(STAYS), Ok(()));
    assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), (STAYS, Event::Played(PlayId(2))));
    let ended = reports.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(ended, (STAYS, Event::Closed(_))), "{ended:?}");
    drop(legs);
    // Its thread is gone, and with it the last of its reports: the leg that came late was never there.
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), []);
    assert!(reports.recv().is_err());
}

#[test]
fn a_leg_that_never_began_ends_without_a_worker() {
    let (mut legs, reports, gate) = stuck();
    drop(gate);
    legs.bind(STAYS, RtpSocket::open(LOOPBACK, None, 0).unwrap());
    assert_eq!(legs.close(STAYS), Ok(()));
    assert_eq!((legs.stop(STAYS), legs.close(STAYS), legs.close_lost()), (Ok(()), Ok(()), false));
    drop(legs);
    assert!(reports.recv().is_err());
}
