//! Agents' phones that are not ours take a call: a caller reaches linphone, is held and taken back, and is led on to baresip.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::linphone::{Followed, Phone, linphonec};
use super::support::Folder;
use super::{PASSWORD, engine_with_streams, flows, registered};

/// What baresip says: a tone of this pitch.
const HERTZ: f64 = 700.0;

const FLOW: &str = r#"schema = 1
[flow]
id = "beneleit.agentes"
start = "contestar"
[steps.contestar.answer]
on.next = "luis"
[steps.luis.transfer]
to = { agent = "luis" }
on = { done = "fin", failed = "fin" }
[steps.fin.hangup]
"#;

/// A baresip that answers at once and says a tone.
fn baresip(folder: &Path, sip: &str) -> Phone {
    let settings = folder.join("baresip");
    std::fs::create_dir_all(&settings).unwrap();
    let tone = folder.join("tone.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&tone, spec).unwrap();
    for at in 0..8_000 * 60 {
        let phase = std::f64::consts::TAU * HERTZ * f64::from(at) / 8_000.0;
        writer.write_sample((phase.sin() * 8_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let config = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:0\nmodule_path /usr/lib/baresip/modules\nmodule aufile.so\nmodule aubridge.so\n\
         module g711.so\nmodule account.so\nmodule menu.so\naudio_source aufile,{}\naudio_player aubridge,nowhere\n\
         audio_alert aubridge,nowhere\n",
        tone.display()
    );
    std::fs::write(settings.join("config"), config).unwrap();
    let account = format!("<sip:ana@{sip}>;auth_pass={PASSWORD};regint=60;answermode=auto\n");
    std::fs::write(settings.join("accounts"), account).unwrap();
    std::fs::write(settings.join("contacts"), "").unwrap();
    Phone(spawn(Command::new("baresip").arg("-f").arg(&settings), &folder.join("baresip.log")))
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    command
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("baresip: scripts/test installs it")
}

/// How much of these samples is a tone of this pitch, 0 to 1 (Goertzel).
fn share(samples: &[i16], hertz: f64) -> f64 {
    let turn = 2.0 * (std::f64::consts::TAU * hertz / 8_000.0).cos();
    let (mut last, mut before, mut all) = (0.0, 0.0, 0.0);
    for sample in samples.iter().map(|sample| f64::from(*sample)) {
        let next = sample + turn * last - before;
        (before, last) = (last, next);
        all += sample * sample;
    }
    let power = last * last + before * before - turn * last * before;
    2.0 * power / (samples.len() as f64 * f64::max(all, 1.0))
}

#[test]
fn linphone_takes_a_call_holds_it_and_leads_it_on_to_baresip() {
    let folder = Folder::new("phones-agents");
    let flows = flows(folder.path());
    std::fs::write(flows.join("beneleit/agentes.toml"), FLOW).unwrap();
    let operator = flows.join("beneleit/operator.toml");
    let numbers = std::fs::read_to_string(&operator).unwrap();
    std::fs::write(&operator, format!("{numbers}\n[[numbers]]\nnumber = \"*77\"\nflow = \"beneleit.agentes\"\n"))
        .unwrap();
    let engine = engine_with_streams(&folder, &flows);
    let log = Followed::open(&folder.path().join("data/engine.log"));
    let (mut luis, mut keys, printed) = linphonec(&folder.path().join("luis"), "use_rfc2833=1\n");
    let mut press = |line: &str| writeln!(keys, "{line}").unwrap();
    press("soundcard use files");
    press(&format!("register sip:luis@127.0.0.1 sip:{} {PASSWORD}", engine.sip));
    let ana = baresip(folder.path(), &engine.sip);
    assert!((0..200).any(|_| registered(&engine, &flows) == ["ana", "luis"]), "{}", engine.log());
    let heard = std::thread::scope(|scope| {
        let call = scope.spawn(|| engine.call("*77", &["--linger", "30s", "--longest", "25s"]));
        log.1.until("rings (180)");
        press("answer");
        log.1.until("luis answers");
        printed.until("Media streams established");
        press("pause");
        log.1.until("luis holds the call");
        printed.until("is now paused");
        press("resume");
        log.1.until("luis is back");
        printed.until("Media streams established");
        press("transfer sip:ana@127.0.0.1");
        log.1.until("luis leads the caller to ana");
        log.1.until("ana answers");
        // It hangs up by itself.
        call.join().unwrap()
    });
    drop(ana);
    press("quit");
    luis.0.wait().unwrap();
    let mut wav = hound::WavReader::open(folder.path().join("data/heard.wav")).unwrap();
    let samples: Vec<i16> = wav.samples::<i16>().map(Result::unwrap).collect();
    let toned = samples.chunks(800).filter(|chunk| share(chunk, HERTZ) > 0.9).count();
    assert!(toned >= 20, "{toned} tenths of a second of baresip's tone of {}: {heard}", samples.len() / 800);
    assert!(engine.stop());
}
