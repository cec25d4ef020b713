//! `contesta trunk test` against a real engine, a name server of our own, a silent carrier and an expired certificate.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::Value;
use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};

use super::support::{Engine, Folder, contesta, text};
use super::{PASSWORD, flows};

/// A name server that knows `carrier.example`, whose SIP over UDP is at this port of 127.0.0.1, and nothing else. It ends with the test.
fn name_server(port: u16) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = Packet::parse(&buffer[..length]).unwrap();
            let question = query.questions[0].clone();
            let mut reply = Packet::new_reply(query.id());
            reply.set_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE);
            let name = question.qname.to_string();
            let data = match (name.as_str(), u16::from(question.qtype)) {
                ("_sip._udp.carrier.example", 33) => {
                    let target = Name::new_unchecked("sbc.carrier.example");
                    Some(RData::SRV(SRV { priority: 0, weight: 0, port, target }))
                }
                ("sbc.carrier.example", 1) => Some(RData::A(A { address: 0x7f00_0001 })),
                ("carrier.example", _) => None,
                _ => {
                    *reply.rcode_mut() = RCODE::NameError;
                    None
                }
            };
            let record = |data| ResourceRecord::new(question.qname.clone().into_owned(), CLASS::IN, 60, data);
            reply.answers.extend(data.map(record));
            reply.questions.push(question);
            let _gone = socket.send_to(&reply.build_bytes_vec().unwrap(), from);
        }
    });
    address.to_string()
}

fn write_expired_certificate(chain: &Path, key: &Path) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    std::fs::write(chain, parameters.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
}

fn test(settings: &Path, name: &str) -> (Value, bool) {
    let output = contesta().args(["trunk", "test", name, "--json", "--config"]).arg(settings).output().unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    assert!(!text(&output).contains(PASSWORD));
    (told, output.status.success())
}

#[test]
fn a_verdict_says_what_answers_and_what_to_change() {
    let folder = Folder::new("phones-trunk-test");
    let flows = flows(folder.path());
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    write_expired_certificate(&chain, &key);
    let carrier = folder.path().join("carrier.toml");
    let identity = format!("certificate = '{}'\nkey = '{}'\n", chain.display(), key.display());
    std::fs::write(&carrier, format!("[sip]\nlisten_tls = '127.0.0.1:0'\n{identity}")).unwrap();
    let arguments = ["--config", carrier.to_str().unwrap(), "--flows", flows.to_str().unwrap()];
    let engine = Engine::start_with(&folder.path().join("data"), &arguments);
    let port: u16 = engine.sip.rsplit(':').next().unwrap().parse().unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tls = engine.ready["tls"][0].as_str().unwrap();
    let account = |password: &str| format!("user = 'ana'\npassword = '{password}'\nregister = true\n");
    let text = format!(
        "[sip]\nlisten = '127.0.0.1:5060'\nnameservers = ['{}']\nca = '{}'\n\
         [[trunks]]\nname = 'good'\ngateways = ['sip:carrier.example']\n{}\
         [[trunks]]\nname = 'wrong'\ngateways = ['sip:{}']\n{}\
         [[trunks]]\nname = 'silent'\ngateways = ['sip:{}']\n\
         [[trunks]]\nname = 'nowhere'\ngateways = ['sip:nobody.example']\n\
         [[trunks]]\nname = 'expired'\ngateways = ['sip:{tls};transport=tls']\n\
         [[trunks]]\nname = 'half'\ngateways = ['sip:127.0.0.1:1;transport=tcp', 'sip:{}']\n",
        name_server(port),
        chain.display(),
        account(PASSWORD),
        engine.sip,
        account("adivinanza-9"),
        silent.local_addr().unwrap(),
        engine.sip
    );
    let settings = folder.path().join("second.toml");
    std::fs::write(&settings, text).unwrap();

    let (good, usable) = test(&settings, "good");
    assert!(usable, "{good:#}");
    assert_eq!(good["gateways"][0]["addresses"][0], format!("udp:127.0.0.1:{port}"));
    assert_eq!((&good["ways"][0]["answered"], &good["ways"][0]["status"]), (&true.into(), &200.into()));
    assert_eq!(good["registration"]["status"], 200);

    let (half, usable) = test(&settings, "half");
    assert!(usable && half["ways"][0]["answered"] == false && half["ways"][1]["answered"] == true, "{half:#}");

    for (name, part, advice) in [
        ("wrong", "registration", "check «user»"),
        ("silent", "ways", "firewall"),
        ("nowhere", "gateways", "spelling"),
        ("expired", "ways", "has expired"),
    ] {
        let (told, usable) = test(&settings, name);
        let part = if part == "registration" { &told[part] } else { &told[part][0] };
        let found = part["result"]["advice"].as_str().unwrap_or_default();
        assert!(!usable && found.contains(advice), "{name}: {told:#}");
    }
    // Nobody was registered by it, and nobody guessed at.
    assert!(super::registered(&engine, &flows).is_empty());
    let misspelt = contesta().args(["trunk", "test", "godo", "--config"]).arg(&settings).output().unwrap();
    assert!(super::support::text(&misspelt).contains("did you mean «good»?"));
    let listed = contesta().args(["trunk", "list", "--config"]).arg(&settings).output().unwrap();
    assert!(super::support::text(&listed).contains("as sip:ana@carrier.example"), "{}", super::support::text(&listed));
}
