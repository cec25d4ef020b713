//! A server under test: a process on core 0 that says on its standard output where it answers.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Which sockets calls have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audio {
    /// One each.
    Own,
    /// Some that they share: far ends differ.
    Shared,
}

impl Audio {
    pub fn named(name: &str) -> Self {
        match name {
            "own" => Self::Own,
            "shared" => Self::Shared,
            other => panic!("no audio «{other}»: own or shared"),
        }
    }
}

impl fmt::Display for Audio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Own => "own",
            Self::Shared => "shared",
        })
    }
}

/// It runs; killed when dropped, and its folder removed.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    folder: Option<PathBuf>,
}

impl Server {
    /// Starts `program` on core 0. `address_in` finds in a line of its output where it answers.
    pub fn start(
        mut program: Command,
        folder: Option<PathBuf>,
        address_in: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Self {
        let mut process = program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("taskset (util-linux)");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it ended before it was ready").unwrap();
            if let Some(address) = address_in(&line) {
                break address;
            }
        };
        // The pipe stays open for as long as it lives, or its next line would end it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address, folder }
    }

    /// Its process, which `taskset` has become.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `program` on core 0.
    pub fn on_core_0(program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        if let Some(folder) = &self.folder {
            let _removed = std::fs::remove_dir_all(folder);
        }
    }
}

/// Puts this thread on core 1.
#[expect(unsafe_code, reason = "affinity is not in std")]
pub fn pin_to_core_1() {
    // SAFETY: cpu_set_t is plain C data for which zeros are valid; it outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(1, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}
