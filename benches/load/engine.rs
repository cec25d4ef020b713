//! The engine with one operator of two numbers whose menus never end: at 100 a prompt of a minute and a pause of a second, at 200
//! a prompt of a second and a pause of five, in which key 1 leads to another prompt and back.

use std::path::Path;

use super::server::{Audio, Server};

/// Everybody on this machine is of a trunk with such audio.
pub fn start(audio: Audio) -> Server {
    start_with(&settings("127.0.0.0/8", audio))
}

/// Only 127.0.0.1 is of a trunk; who comes from elsewhere is a stranger.
pub fn start_guarded() -> Server {
    start_with(&settings("127.0.0.1", Audio::Own))
}

fn start_with(settings: &str) -> Server {
    let folder = std::env::temp_dir().join(format!("contesta-load-{}", std::process::id()));
    write_operator(&folder);
    std::fs::write(folder.join("contesta.toml"), settings).unwrap();
    let mut command = Server::on_core_0(std::env::var("CONTESTA").unwrap_or(env!("CARGO_BIN_EXE_contesta").into()));
    command.args(["run", "--sip", "127.0.0.1:0", "--json"]).env("CONTESTA_LOG", "error").current_dir(&folder);
    for name in ["data", "flows", "prompts"] {
        command.arg(format!("--{name}")).arg(folder.join(name));
    }
    command.arg("--config").arg(folder.join("contesta.toml"));
    Server::start(command, Some(folder), |line| {
        serde_json::from_str::<serde_json::Value>(line).ok()?.get("sip")?.as_str()?.parse().ok()
    })
}

fn settings(sources: &str, audio: Audio) -> String {
    let trunk = format!("[[trunks]]\nname = \"banco\"\nsources = [\"{sources}\"]\n");
    format!("[limits]\ncalls = 10000\n[rtp]\nports = [10000, 30000]\n{trunk}audio = \"{audio}\"\n")
}

fn write_operator(folder: &Path) {
    let flows = folder.join("flows/banco");
    let prompts = folder.join("prompts/banco");
    std::fs::create_dir_all(&flows).unwrap();
    std::fs::create_dir_all(&prompts).unwrap();
    let operator = r#"schema = 1
[operator]
id = "banco"
name = "Banco de pruebas"
time_zone = "America/Mexico_City"
folio_prefix = 9
class = "gratuito"
[[numbers]]
number = "100"
flow = "banco.escucha"
[[numbers]]
number = "200"
flow = "banco.teclas"
"#;
    let menu = |id: &str, prompt: &str, pause: &str| {
        format!(
            r#"schema = 1
[flow]
id = "banco.{id}"
start = "contestar"
max_visits = 1000
max_duration = "1h"
[steps.contestar.answer]
on.next = "principal"
[steps.principal.menu]
prompt = ["{prompt}"]
timeout = "{pause}"
attempts = 9
keys = {{ 1 = "otro", 9 = "adios" }}
on = {{ max_attempts = "principal" }}
[steps.otro.play]
prompt = ["corto"]
on.next = "principal"
[steps.adios.hangup]
"#
        )
    };
    let (listens, presses) = (menu("escucha", "largo", "1s"), menu("teclas", "corto", "5s"));
    let files = [
        ("operator.toml", operator),
        ("hours.toml", "schema = 1\n"),
        ("services.toml", "schema = 1\n"),
        ("prompts.toml", "schema = 1\n[prompts]\nlargo = \"Tono largo.\"\ncorto = \"Tono corto.\"\n"),
        ("escucha.toml", &listens),
        ("teclas.toml", &presses),
    ];
    for (name, text) in files {
        std::fs::write(flows.join(name), text).unwrap();
    }
    for (name, seconds) in [("largo", 60), ("corto", 1)] {
        let samples: Vec<i16> = (0..seconds * 8_000).map(|i| if i / 8 % 2 == 0 { 8_000 } else { -8_000 }).collect();
        std::fs::write(prompts.join(format!("{name}.wav")), contesta::audio::wav::write(&samples, 8_000)).unwrap();
    }
}
