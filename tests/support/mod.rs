//! The engine as a process, for tests over real sockets: started on a free port with a data folder of its own, stopped by
//! its process id.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests of the whole program read files and start processes"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A folder of its own for each test, removed when the test is over.
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty folder below the system's temporary one.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("contesta-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A running engine with the shipped flows.
pub struct Engine {
    process: Child,
    /// `127.0.0.1:port`.
    pub sip: String,
    /// All that it said when it was ready.
    pub ready: Value,
    data: PathBuf,
}

impl Engine {
    /// Starts the engine on a free loopback port and waits until it says that it answers.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// The same with a log at this level.
    pub fn start_logging(data: &Path, level: &str) -> Self {
        Self::launch(contesta().env("CONTESTA_LOG", format!("contesta={level}")), data, &[])
    }

    /// The same with more arguments.
    pub fn start_with(data: &Path, arguments: &[&str]) -> Self {
        Self::launch(&mut contesta(), data, arguments)
    }

    fn launch(command: &mut Command, data: &Path, arguments: &[&str]) -> Self {
        let mut process = command
            .args(["run", "--sip", "127.0.0.1:0", "--json", "--data"])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log(data))
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let (sip, ready) = loop {
            line.clear();
            if reader.read_line(&mut line).unwrap() == 0 {
                let log = std::fs::read_to_string(data.join("engine.log")).unwrap_or_default();
                panic!("the engine ended before it answered:\n{log}");
            }
            if let Ok(ready) = serde_json::from_str::<Value>(&line)
                && let Some(sip) = ready["sip"].as_str()
            {
                break (sip.to_owned(), ready);
            }
        };
        // The pipe stays open for as long as the engine lives: writing to a closed one would end it.
        std::thread::spawn(move || for _ in reader.lines() {});
        Self { process, sip, ready, data: data.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `contesta call`, with its JSON.
    pub fn call(&self, number: &str, arguments: &[&str]) -> Value {
        let wav = self.data.join("heard.wav");
        let output = contesta()
            .args(["call", &format!("sip:{number}@{}", self.sip), "--json", "--wav"])
            .arg(&wav)
            .args(arguments)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }

    /// A command on this engine's data, with its JSON.
    pub fn ask(&self, arguments: &[&str]) -> Value {
        let output = contesta().args(arguments).arg("--json").arg("--data").arg(&self.data).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(mut self) -> bool {
        signal(self.process.id(), libc::SIGTERM);
        self.process.wait().unwrap().success()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// What the engine has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("engine.log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The program under test, in the package's folder (its flows and prompts are there).
pub fn contesta() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contesta"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("CONTESTA_STORE_URL");
    command
}

/// What a command printed, both ways.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[expect(unsafe_code, reason = "kill is not in std")]
pub fn signal(process: u32, signal: i32) {
    // SAFETY: kill takes no pointers; the process is a child of ours that has not been reaped.
    unsafe { libc::kill(i32::try_from(process).unwrap(), signal) };
}

fn log(data: &Path) -> Stdio {
    std::fs::create_dir_all(data).unwrap();
    std::fs::File::create(data.join("engine.log")).unwrap().into()
}
