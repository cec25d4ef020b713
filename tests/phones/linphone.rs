//! Linphone calls the menus, over UDP and TLS: keys as telephone events and as INFO, hold and resume.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use super::support::Folder;
use super::{NEVER, engine_with_streams, flows};

/// What a process prints, line by line.
pub struct Printed(Receiver<String>);

impl Printed {
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // The prompt of a program that is spoken to ends in no line: what stands before an answer is skipped.
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self(lines)
    }

    /// The next line that holds `text`.
    pub fn until(&self, text: &str) -> String {
        let mut passed = Vec::new();
        loop {
            match self.0.recv_timeout(NEVER) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => passed.push(line),
                Err(error) => panic!("«{text}»: {error} behind\n{}", passed.join("\n")),
            }
        }
    }
}

/// Follows a file as it grows.
pub struct Followed(Child, pub Printed);

impl Followed {
    pub fn open(path: &Path) -> Self {
        let mut tail = Command::new("tail").args(["-n", "+1", "-f"]).arg(path).stdout(Stdio::piped()).spawn().unwrap();
        let printed = Printed::of(tail.stdout.take().unwrap());
        Self(tail, printed)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Ended however its test ends.
pub struct Phone(pub Child);

impl Drop for Phone {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A linphonec that plays files instead of a soundcard. `settings` go into its `[sip]`.
pub fn linphonec(folder: &Path, settings: &str) -> (Phone, ChildStdin, Printed) {
    std::fs::create_dir_all(folder.join(".local/share/linphone")).unwrap();
    let file = folder.join("linphonerc");
    let text = format!(
        "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nverify_server_certs=0\nverify_server_cn=0\n{settings}\
         [rtp]\naudio_rtp_port=-1\n[sound]\nuse_files=1\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut phone = Command::new("linphonec")
        .arg("-c")
        .arg(&file)
        .env("HOME", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("linphonec: scripts/test installs it");
    let (keys, printed) = (phone.stdin.take().unwrap(), Printed::of(phone.stdout.take().unwrap()));
    (Phone(phone), keys, printed)
}

#[test]
fn linphone_walks_the_menu_holds_and_comes_back() {
    let folder = Folder::new("phones-linphone");
    let flows = flows(folder.path());
    let engine = engine_with_streams(&folder, &flows);
    let tls = engine.ready["tls"][0].as_str().unwrap();
    let log = Followed::open(&folder.path().join("data/engine.log"));
    let roads = [
        ("events", "use_rfc2833=1\nuse_info=0\n", format!("sip:*2363@{}", engine.sip)),
        ("info", "use_rfc2833=0\nuse_info=1\n", format!("sip:*2363@{tls};transport=tls")),
    ];
    for (name, settings, target) in roads {
        let (mut phone, mut keys, printed) = linphonec(&folder.path().join(name), settings);
        let mut press = |line: &str| writeln!(keys, "{line}").unwrap();
        press("soundcard use files");
        press(&format!("call {target}"));
        printed.until("Media streams established");
        press("pause");
        log.1.until("the far end holds the call");
        printed.until("is now paused");
        press("resume");
        log.1.until("the far end is back");
        printed.until("Media streams established");
        // Typed ahead: the greeting is still being said.
        press("2");
        log.1.until("key 2");
        press("2");
        log.1.until("packages.item answers found");
        press("terminate");
        log.1.until("ended cause=the far end hung up");
        press("quit");
        phone.0.wait().unwrap();
    }
    let calls = engine.ask(&["calls", "list"]);
    let results = calls.as_array().unwrap().iter().map(|call| call["result"].as_str().unwrap());
    assert_eq!(results.collect::<Vec<_>>(), ["informacion", "informacion"]);
    assert!(engine.stop());
}
