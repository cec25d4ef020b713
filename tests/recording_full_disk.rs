//! A disk that takes no more, as the kernel says it: a limit on the size of files, which holds for this process alone.
#![expect(unsafe_code, reason = "the limit is set through libc")]

use std::sync::mpsc::channel;
use std::time::Duration;

use contesta::edge::recordings::{Order, Recordings};
use contesta::ids::LegId;

#[test]
fn a_full_disk_ends_the_recording_with_what_it_took() {
    let limit = libc::rlimit { rlim_cur: 100_000, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is a whole struct that outlives the call; ignoring a signal calls nothing of ours.
    let set = unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit)
    };
    assert_eq!(set, 0);
    let root = tempfile::tempdir().unwrap();
    let (sender, reports) = channel();
    let mut recordings = Recordings::start(root.path(), move |_, report| drop(sender.send(report))).unwrap();
    let file = "2026-03-15/20260315-083000-k7m2p9.wav".to_owned();
    // A second at a time: no more than the thread has chunks for.
    let mut recording = recordings.begin(Order { leg: LegId(1), file: file.clone(), rate: 8_000 }).unwrap();
    for _ in 0..2 {
        (0..100).for_each(|_| recording.tick(&[1; 160], &[2; 160]));
        while !recording.is_caught_up() {
            std::thread::yield_now();
        }
    }
    drop(recording);
    let report = reports.recv().unwrap();
    assert!(report.fault.as_ref().is_some_and(|fault| fault.starts_with("broke off: ")), "{report:?}");
    // 100,000 bytes hold three whole seconds of 32,000.
    assert_eq!(report.duration, Duration::from_secs(3));
    let reader = hound::WavReader::open(root.path().join(&file)).unwrap();
    assert_eq!((reader.spec().channels, reader.duration()), (2, 24_000));
    let length = std::fs::metadata(root.path().join(&file)).unwrap().len();
    assert_eq!(length, 44 + 24_000 * 4, "what came in part is cut off");
}
