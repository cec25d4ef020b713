//! Codecs and SRTP with peers that we did not write, over real sockets: baresip calls the engine and records what it hears, with libre's
//! SRTP, libopus and the G.722 of libspandsp; ffmpeg decodes the streams of a media worker, with its own SRTP.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests with real peers read files and start processes"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use contesta::audio::{Clip, Codec, Pcm, decode};
use contesta::edge::media_worker::{Command, MediaWorker};
use contesta::edge::rtp_socket::RtpSocket;
use contesta::ids::{Ids, LegId, PlayId};
use contesta::media::{LegSettings, Segment};
use contesta::rtp::srtp::{KeyPair, MasterKey, Suite};
use support::{Engine, Folder, contesta, text};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The records of an engine that has stopped: all are written.
fn records(folder: &Path) -> serde_json::Value {
    let output = contesta().args(["calls", "list", "--json", "--data"]).arg(folder).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

/// What baresip calls itself with, and what the call must come to.
fn baresip(name: &str, codec: &str, encryption: &str, expected: (&str, Option<&str>)) {
    let folder = Folder::new(name);
    let engine = Engine::start_logging(folder.path(), "trace");
    let (settings, recordings) = (folder.path().join("settings"), folder.path().join("recordings"));
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::create_dir_all(&recordings).unwrap();
    let modules: String = ["aubridge", "g711", "g722", "opus", "srtp", "sndfile", "account", "menu"]
        .map(|module| format!("module {module}.so\n"))
        .concat();
    let config = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:0\naudio_player aubridge,line\naudio_source aubridge,line\n\
         audio_channels 1\nmodule_path /usr/lib/baresip/modules\n{modules}snd_path {}\n",
        recordings.display()
    );
    std::fs::write(settings.join("config"), config).unwrap();
    let encryption = if encryption.is_empty() { String::new() } else { format!(";mediaenc={encryption}") };
    let account = format!("<sip:tester@127.0.0.1>;regint=0;audio_codecs={codec}{encryption}\n");
    std::fs::write(settings.join("accounts"), account).unwrap();
    std::fs::write(settings.join("contacts"), "").unwrap();
    let output = Process::new("baresip")
        .arg("-f")
        .arg(&settings)
        .args(["-t", "8", "-e", &format!("/dial sip:*2363@{}", engine.sip)])
        .stdin(Stdio::null())
        .output()
        .expect("baresip: scripts/test installs it");
    let recording = std::fs::read_dir(&recordings)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("-dec"))
        .unwrap_or_else(|| panic!("nothing recorded:\n{}\n{}", text(&output), engine.log()));
    let heard = decode(&std::fs::read(recording).unwrap(), "wav").unwrap().resample_to(8_000).unwrap();
    let log = engine.log();
    assert!(!log.contains("inline:"), "keys are in no log");
    let likeness = greeting_in(&heard.samples);
    println!("baresip {name}: correlation {likeness:.3}");
    assert!(likeness > 0.85, "{name}: {likeness:.2} of a greeting in {:?}", heard.duration());
    assert!(engine.stop());
    let calls = records(folder.path());
    let media = &calls[0]["media"];
    assert_eq!((media["codec"].as_str(), media["srtp"].as_str()), (Some(expected.0), expected.1), "{calls:#}");
    // baresip 1.0.0 may have put its SRTP away before it says BYE (RTCP), in the clear: that is not believed.
    let in_the_clear = u64::from(expected.1.is_some());
    assert!(media["packets_forged"].as_u64().unwrap() <= in_the_clear, "{calls:#}");
    assert!(media["packets_received"].as_u64().unwrap() > 100, "{calls:#}");
    // RFC 3550 §6.4.1: a round trip is known only to who reads in a report of theirs the stamp of one of ours that they have read.
    let quality = &calls[0]["quality"];
    println!("baresip {name}: {quality}");
    assert!(quality["round_trip_ms"].as_f64().is_some_and(|trip| trip < 500.0), "{calls:#}");
    for side in ["heard", "reported"] {
        assert!(quality[side]["mos"].as_f64().is_some_and(|mos| mos > 3.5), "{calls:#}");
        assert!(quality[side]["loss_percent"].as_f64().is_some_and(|loss| loss < 5.0), "{calls:#}");
    }
    assert_eq!(quality["one_way"], 0, "{calls:#}");
}

#[test]
fn baresip_hears_the_greeting_in_g722() {
    baresip("g722", "G722/16000/1", "", ("G722", None));
}

#[test]
fn baresip_hears_the_greeting_in_opus() {
    baresip("opus", "opus/48000/2", "", ("opus", None));
}

#[test]
fn baresip_hears_the_greeting_under_srtp() {
    baresip("srtp", "PCMU/8000/1", "srtp", ("PCMU", Some("AES_CM_128_HMAC_SHA1_80")));
}

#[test]
fn baresip_hears_the_greeting_in_opus_under_mandatory_srtp() {
    baresip("srtp-mand", "opus/48000/2", "srtp-mand", ("opus", Some("AES_CM_128_HMAC_SHA1_80")));
}

/// Our own test call, in every codec and under every suite, with keys as tones in all but one: what it was in stands in its report and in the call's record.
#[test]
fn a_test_call_is_in_what_it_asks_for() {
    let folder = Folder::new("asked");
    let engine = Engine::start(folder.path());
    let asked = [
        ("pcma", None),
        ("pcmu", Some(Suite::AesCm128HmacSha1_32)),
        ("g722", Some(Suite::AeadAes128Gcm)),
        ("opus", Some(Suite::AeadAes256Gcm)),
    ];
    let name = |codec| Codec::from_encoding_name(codec).map(Codec::encoding_name);
    for (codec, suite) in asked {
        let srtp = suite.map(|suite| format!("--srtp={suite}"));
        let road = if codec == "pcmu" { "rfc4733" } else { "inband" };
        let mut arguments =
            vec!["--codec", codec, "--dtmf", road, "--keys", "!2", "--linger", "200ms", "--longest", "6s"];
        arguments.extend(srtp.as_deref());
        let call = engine.call("*2363", &arguments);
        assert_eq!((call["status"].as_u64(), call["keys_left"].as_u64()), (Some(200), Some(0)), "{call:#}");
        let expected = (name(codec), suite.map(Suite::name));
        assert_eq!((call["codec"].as_str(), call["srtp"].as_str()), expected, "{call:#}");
    }
    assert!(engine.stop());
    let calls = records(folder.path());
    for (codec, suite) in asked {
        let of_codec = |call: &&serde_json::Value| call["media"]["codec"].as_str() == name(codec);
        let media = &calls.as_array().unwrap().iter().find(of_codec).unwrap()["media"];
        assert_eq!(media["srtp"].as_str(), suite.map(Suite::name), "{calls:#}");
        assert_eq!((media["digits"].as_u64(), media["packets_forged"].as_u64()), (Some(1), Some(0)), "{calls:#}");
    }
}

/// What ffmpeg makes of a leg's stream is the prompt, in every codec and with each suite it knows.
#[test]
fn ffmpeg_decodes_what_a_leg_sends() {
    let folder = Folder::new("ffmpeg");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/beneleit/menu_principal.wav");
    let mut recording = decode(&std::fs::read(file).unwrap(), "wav").unwrap();
    // Short, so that it is heard whole wherever ffmpeg begins.
    recording.samples.truncate(3 * recording.rate as usize);
    let clip = Arc::new(Clip::from_pcm(&recording.clone().resample_to(8_000).unwrap().samples));
    for codec in Codec::ALL {
        clip.prepare(codec, &recording).unwrap();
    }
    let secure = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32].map(|suite| (Codec::Opus, Some(suite)));
    for (codec, suite) in Codec::ALL.map(|codec| (codec, None)).into_iter().chain(secure) {
        let heard = ffmpeg(folder.path(), &clip, codec, suite);
        let piece = &recording.samples[4_000..12_000];
        let likeness = best_correlation(&heard.samples, piece);
        println!("ffmpeg {codec:?} {suite:?}: correlation {likeness:.3}");
        assert!(likeness > 0.85, "{codec:?} {suite:?}: {likeness:.2} in {:?}", heard.duration());
    }
}

/// Sends the clip again and again to ffmpeg, and gives five seconds of what that decodes.
fn ffmpeg(folder: &Path, clip: &Arc<Clip>, codec: Codec, suite: Option<Suite>) -> Pcm {
    let port = free_pair();
    let key = suite.map(|suite| MasterKey::random(suite, &mut Ids::from_seed(4)));
    let (profile, crypto) = match &key {
        Some(key) => {
            let material = base64::engine::general_purpose::STANDARD.encode(key.material());
            ("RTP/SAVP", format!("a=crypto:1 {} inline:{material}\n", key.suite()))
        }
        None => ("RTP/AVP", String::new()),
    };
    let channels = if codec.channels() > 1 { "/2" } else { "" };
    let (name, clock) = (codec.encoding_name(), codec.clock_rate());
    let (description, wav) = (folder.join("stream.sdp"), folder.join("heard.wav"));
    std::fs::write(
        &description,
        format!(
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} {profile} 96\n\
             a=rtpmap:96 {name}/{clock}{channels}\n{crypto}"
        ),
    )
    .unwrap();
    let worker = MediaWorker::start(0, |_| {}).unwrap();
    let settings = LegSettings {
        codec,
        payload_type: 96,
        srtp: key.map(|key| Box::new(KeyPair { ours: key.clone(), theirs: key })),
        ..LegSettings::plain(SocketAddr::new(LOOPBACK, port))
    };
    let (leg, socket) = (LegId(1), RtpSocket::open(LOOPBACK, None, 0).unwrap());
    worker.send(Command::Open { leg, socket, settings }).unwrap();
    let segments = vec![Segment::Clip(Arc::clone(clip)); 100].into();
    worker.send(Command::Play { leg, play: PlayId(1), segments }).unwrap();
    let output = Process::new("ffmpeg")
        .args(["-hide_banner", "-y", "-protocol_whitelist", "file,udp,rtp,srtp", "-analyzeduration", "500000", "-i"])
        .arg(&description)
        .args(["-t", "5", "-ac", "1", "-ar", "8000"])
        .arg(&wav)
        .stdin(Stdio::null())
        .output()
        .expect("ffmpeg: scripts/test installs it");
    assert!(output.status.success(), "{codec:?} {suite:?}: {}", text(&output));
    decode(&std::fs::read(wav).unwrap(), "wav").unwrap()
}

/// An even port that is free, and the one above it.
fn free_pair() -> u16 {
    let pair = |_| {
        let first = UdpSocket::bind((LOOPBACK, 0)).ok()?;
        let port = first.local_addr().ok()?.port();
        (port.is_multiple_of(2) && UdpSocket::bind((LOOPBACK, port + 1)).is_ok()).then_some(port)
    };
    (0..1_000).find_map(pair).expect("two free ports")
}

/// How like a second of some prompt of Beneleit's the likest second of this is.
fn greeting_in(heard: &[i16]) -> f64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/beneleit");
    let greetings = ["bienvenida.wav", "menu_principal.wav"].map(|file| folder.join(file));
    let likeness = greetings.iter().filter(|file| file.is_file()).map(|file| {
        let prompt = decode(&std::fs::read(file).unwrap(), "wav").unwrap();
        best_correlation(heard, &prompt.samples[4_000..12_000])
    });
    likeness.fold(0.0, f64::max)
}

fn best_correlation(heard: &[i16], piece: &[i16]) -> f64 {
    let coarse: Vec<(usize, f64)> = piece.iter().enumerate().step_by(8).map(|(i, s)| (i, f64::from(*s))).collect();
    let norm = coarse.iter().map(|(_, sample)| sample * sample).sum::<f64>().sqrt();
    (0..heard.len().saturating_sub(piece.len()))
        .map(|shift| {
            let (mut product, mut energy) = (0.0, 0.0);
            for (index, sample) in &coarse {
                let other = f64::from(heard[shift + index]);
                product += sample * other;
                energy += other * other;
            }
            product / (norm * energy.sqrt()).max(1.0)
        })
        .fold(0.0, f64::max)
}
