//! What ops see when they mistype: a good flow with one mistake in each of many places, and the fault each one gives.

use contesta::fault::{self, SourceFile};
use contesta::flow;
use contesta::ids::Ids;
use contesta::operator::{self, Operator};

const OPERATOR: &str = r#"schema = 1
[operator]
id = "desk"
name = "Desk"
time_zone = "America/Mexico_City"
folio_prefix = 2
class = "gratuito"
[[numbers]]
number = "*1"
flow = "desk.principal"
[kinds.bloqueo]
subkinds = ["robo", "extravio"]
deadline = "24h"
clock = "natural"
[templates]
reporte = "Su reporte es ${folio}."
"#;

const SERVICES: &str = r#"schema = 1
[tables.cuentas]
key = ["linea"]
columns = { linea = "text", ultimos4 = "secret", saldo = "money" }
[services."cuenta.saldo"]
args = { linea = "text" }
table = "cuentas"
match = { linea = "linea" }
found = "found"
missing = "not_found"
[services."cuenta.verify"]
args = { linea = "text", ultimos4 = "text" }
table = "cuentas"
match = { linea = "linea", ultimos4 = "ultimos4" }
found = "match"
missing = "no_match"
"#;

const PROMPTS: &str = r#"schema = 1
[prompts]
bienvenida = "Gracias por llamar."
menu = "Oprima uno, dos, o cero."
numero = "Marque su línea."
no_escuche = "No escuchamos nada."
no_valida = "Esa opción no existe."
su_saldo = "Su saldo es de"
adios = "Hasta luego."
"#;

const FLOW: &str = r##"schema = 1
[flow]
id = "desk.principal"
start = "contestar"
on_hangup = "colgo"
on_error = "fin"
max_duration = "20m"
global_keys = { "*" = "back", "#" = "repeat" }
vars = { intento = "number", motivo = "text" }

[steps.contestar.answer]
on.next = "hola"

[steps.hola.play]
prompt = ["bienvenida", { silence = "300ms" }]
on.next = "principal"

[steps.principal.menu]
prompt = ["menu"]
timeout = "5s"
attempts = 3
no_input = ["no_escuche"]
invalid = ["no_valida"]
keys = { 1 = "linea", 2 = "abrir", 0 = "fin" }
when = { 2 = "intento < 3 and set(motivo)" }
on.max_attempts = "fin"

[steps.linea.collect]
into = "linea"
prompt = ["numero"]
validate = "phone_mx"
confirm = { say = "phone_mx", yes = "1", redo = "2" }
cancel_key = "#"
on = { ok = "saldo", cancelled = "principal", max_attempts = "fin" }

[steps.saldo.ask]
service = "cuenta.saldo"
args = { linea = "${linea}" }
timeout = "8s"
into = "cuenta"
on = { found = "decir", not_found = "contar", error = "fin" }

[steps.decir.play]
prompt = ["su_saldo", { say = "money_mxn", value = "${cuenta.saldo}" }]
on.next = "principal"

[steps.contar.set]
values = { intento = "${intento + 1}", motivo = "robo" }
on.next = "horario"

[steps.horario.hours]
calendar = "asesores"
on = { open = "decidir", closed = "fin" }

[steps.decidir.branch]
when = [{ if = "starts_with(linea, '222')", to = "principal" }]
else = "verificar"

[steps.verificar.verify]
method = "last4"
service = "cuenta.verify"
args = { linea = "${linea}" }
secret = "ultimos4"
prompt = ["numero"]
on = { verified = "aparte", failed = "fin", unavailable = "fin" }

[steps.aparte.call]
flow = "desk.aparte"
args = { linea = "${linea}" }
on.hecho = "abrir"

[steps.abrir.case]
op = "open"
kind = "bloqueo"
subkind = "robo"
fields = { linea = "${linea}" }
into = "caso"
on = { ok = "avisar", error = "fin" }

[steps.avisar.notify]
channel = "sms"
template = "reporte"
to = "${linea}"
folio = "${caso.folio}"
on = { queued = "fin", no_address = "fin", error = "fin" }

[steps.fin.hangup]
prompt = ["adios"]

[steps.colgo.tag]
result = "abandono"
on.next = "fin"
"##;

const SUB_FLOW: &str = r#"schema = 1
[flow]
id = "desk.aparte"
start = "avisar"
in = { linea = "text" }
returns = ["hecho"]
[steps.avisar.play]
prompt = [{ say = "digits", value = "${linea}" }]
on.next = "listo"
[steps.listo.return]
name = "hecho"
"#;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

fn desk() -> Operator {
    desk_with(SERVICES)
}

fn desk_with(services: &str) -> Operator {
    let hours = "schema = 1\n[calendars.asesores]\nweekly = { mon = [\"09:00-17:00\"] }\n";
    let files = [
        file("operator.toml", OPERATOR),
        file("hours.toml", hours),
        file("services.toml", services),
        file("agents.toml", "schema = 1\n[agents.ana]\nname = 'Ana'\npassword = 'corcel-7-nube'\n"),
        file("prompts.toml", PROMPTS),
    ];
    operator::load(&files).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// A template that fits: it needs a variable `folio`, which the flow gets from its case.
fn good_flow() -> String {
    FLOW.replace("motivo = \"text\" }", "motivo = \"text\", folio = \"text\" }")
}

fn faults_of(flow: &str) -> String {
    let files = [file("operator.toml", OPERATOR), file("principal.toml", flow), file("aparte.toml", SUB_FLOW)];
    let faults = flow::check(&desk(), &files);
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| {
            let suggestion = fault.suggestion.as_ref().map(|text| format!(" [{text}]")).unwrap_or_default();
            format!("{}:{}:{} {}{suggestion}", fault.file, fault.line, fault.column, fault.message)
        })
        .collect();
    lines.join("\n")
}

#[test]
fn the_flow_without_a_mistake_has_no_fault() {
    assert_eq!(faults_of(&good_flow()), "");
}

/// Each pair is a place of the flow and what somebody typed there; each gives its own fault, and only that.
#[test]
fn one_mistake_in_each_of_many_places_gives_one_fault_at_its_place() {
    let mistakes = [
        ("max_duration = \"20m\"", "max_durtion = \"20m\""),
        ("start = \"contestar\"", "start = \"contetsar\""),
        ("\"#\" = \"repeat\"", "\"##\" = \"repeat\""),
        ("intento = \"number\"", "intento = \"numbre\""),
        ("[steps.hola.play]", "[steps.hola.paly]"),
        ("[steps.hola.play]", "[steps.hola.queue]"),
        ("\"bienvenida\"", "\"bienvendia\""),
        ("\"300ms\"", "\"300\""),
        ("on.next = \"principal\"\n\n[steps.principal", "on.nxt = \"principal\"\n\n[steps.principal"),
        ("timeout = \"5s\"", "tiemout = \"5s\""),
        ("attempts = 3", "attempts = 30"),
        ("2 = \"abrir\"", "2 = \"abir\""),
        ("0 = \"fin\"", "\"*\" = \"fin\""),
        ("intento < 3", "intneto < 3"),
        ("intento < 3", "motivo < 3"),
        ("and set(motivo)", "an set(motivo)"),
        ("validate = \"phone_mx\"", "validate = \"phone\""),
        ("redo = \"2\"", "redo = \"1\""),
        ("cancel_key = \"#\"", "cancel_key = \"5\""),
        ("cancel_key = \"#\"", "cancel_key = \"#\"\nterminator = \"*\""),
        ("\"cuenta.saldo\"", "\"cuenta.saldos\""),
        ("args = { linea = \"${linea}\" }\ntimeout", "args = { lnea = \"${linea}\" }\ntimeout"),
        ("timeout = \"8s\"", "timeout = 8"),
        ("found = \"decir\", ", ""),
        ("\"money_mxn\"", "\"money\""),
        ("${cuenta.saldo}", "${cuenta.sado}"),
        ("${cuenta.saldo}", "${linea}"),
        ("${intento + 1}", "${intento + 1"),
        ("${intento + 1}", "${intento + linea}"),
        ("calendar = \"asesores\"", "calendar = \"asesor\""),
        ("'222')", "222)"),
        ("else = \"verificar\"", "esle = \"verificar\""),
        ("secret = \"ultimos4\"", "secret = \"ultimo4\""),
        ("flow = \"desk.aparte\"", "flow = \"desk.apart\""),
        ("on.hecho = \"abrir\"", "on.hehco = \"abrir\""),
        ("kind = \"bloqueo\"", "kind = \"bloque\""),
        ("subkind = \"robo\"", "subkind = \"robado\""),
        ("template = \"reporte\"", "template = \"reprote\""),
        ("channel = \"sms\"", "channel = \"smss\""),
        ("result = \"abandono\"\non.next = \"fin\"", "result = \"abandono\"\non.next = \"hola\""),
        ("to = \"principal\" }]", "to = \"decidir\" }]"),
        ("[steps.colgo.tag]", "[steps.fin.hangup]\n[steps.colgo.tag]"),
    ];
    let table: Vec<String> = mistakes
        .iter()
        .map(|(good, bad)| {
            let flow = good_flow();
            assert!(flow.contains(good), "the flow has no «{good}»");
            format!("{bad:?}\n    {}", faults_of(&flow.replacen(good, bad, 1)).replace('\n', "\n    "))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let mut flow = good_flow();
    for (good, bad) in
        [("\"bienvenida\"", "\"bienvendia\""), ("timeout = \"5s\"", "tiemout = \"5s\""), ("intento < 3", "intneto < 3")]
    {
        flow = flow.replacen(good, bad, 1);
    }
    let sub = SUB_FLOW.replace("\"digits\"", "\"digit\"");
    let files = [file("principal.toml", &flow), file("aparte.toml", &sub)];
    let found = flow::check(&desk(), &files);
    let places: Vec<(&str, usize)> = found.iter().map(|fault| (fault.file.as_str(), fault.line)).collect();
    assert_eq!(places, [("principal.toml", 15), ("principal.toml", 20), ("principal.toml", 25), ("aparte.toml", 8)]);
    assert!(flow::load(&desk(), &files).is_err());
}

#[test]
fn a_fault_is_drawn_over_its_line() {
    let flow = good_flow().replacen("intento < 3", "intneto < 3", 1);
    let files = [file("principal.toml", &flow), file("aparte.toml", SUB_FLOW)];
    let faults = flow::check(&desk(), &files);
    insta::assert_snapshot!(fault::render_all(&faults, &files), @r#"
    error: unknown variable «intneto»
      --> principal.toml:25:15
       |
    25 | when = { 2 = "intneto < 3 and set(motivo)" }
       |               ^^^^^^^
       |
    help: did you mean «intento»?
    "#);
}

/// What no single line shows: loops, traps, steps that nothing leads to, sub-flows that call themselves.
#[test]
fn a_flow_is_checked_as_a_whole() {
    let whole = |steps: &str| {
        let text = format!("schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"a\"\n{steps}");
        flow::check(&desk(), &[file("f.toml", &text)])
            .iter()
            .map(|fault| format!("{:?} {}:{} {}", fault.severity, fault.line, fault.column, fault.message))
            .collect::<Vec<_>>()
    };
    let silent = "[steps.a.set]\nvalues = { x = 1 }\non.next = \"b\"\n[steps.b.branch]\nwhen = [{ if = \"x == 2\", to = \"c\" }]\nelse = \"a\"\n[steps.c.hangup]\n";
    assert_eq!(whole(silent), ["Error 5:8 «a» leads back to itself, and nothing happens on the way"]);
    let deaf = "[steps.a.play]\nprompt = [\"menu\"]\non.next = \"b\"\n[steps.b.branch]\nwhen = [{ if = \"set(call.caller)\", to = \"c\" }]\nelse = \"a\"\n[steps.c.hangup]\n";
    assert_eq!(whole(deaf), ["Warning 5:8 «a» leads back to itself without hearing the caller"]);
    let trap = "[steps.a.menu]\nprompt = [\"menu\"]\nkeys = { 1 = \"a\" }\non.max_attempts = \"a\"\n";
    assert_eq!(whole(trap), ["Error 5:8 from «a» no way leads to the end of the call: the caller is trapped"]);
    let lost = "[steps.a.hangup]\n[steps.b.hangup]\n";
    assert_eq!(whole(lost), ["Error 6:8 nothing leads to the step «b»"]);
    let itself = "[steps.a.call]\nflow = \"desk.principal\"\non.x = \"b\"\n[steps.b.return]\nname = \"x\"\n";
    let returning = itself.replacen("[steps.a", "returns = [\"x\"]\n[steps.a", 1);
    assert_eq!(whole(&returning), ["Error 6:10 «desk.principal» calls itself through «a»"]);
    let deadly = "on_hangup = \"m\"\n[steps.a.hangup]\n[steps.m.menu]\nprompt = [\"menu\"]\nkeys = { 1 = \"a\" }\non.max_attempts = \"a\"\n";
    assert_eq!(whole(deadly), ["Error 7:10 on_hangup leads to «m», but a menu needs a caller who is still there"]);
    let many = "[steps.a.menu]\nprompt = [\"menu\"]\nkeys = { 1 = \"b\", 2 = \"b\", 3 = \"b\", 4 = \"b\", 5 = \"b\", 6 = \"b\" }\non.max_attempts = \"b\"\n[steps.b.hangup]\n";
    assert_eq!(
        whole(many),
        [
            "Warning 6:10 this prompt does not name the keys 3, 4, 5, 6",
            "Warning 7:8 6 options: callers keep about 5 in mind"
        ]
    );
    // A typist's «12» for «1» and «2», and a code that makes everybody who presses its first key wait.
    let twice = "[steps.a.menu]\nprompt = [\"menu\"]\nkeys = { 1 = \"b\", 2 = \"b\", 29 = \"b\", 38 = \"b\", 47 = \"b\" }\nhidden = [\"29\", \"47\"]\n\
                 on.max_attempts = \"b\"\n[steps.b.hangup]\n";
    assert_eq!(
        whole(twice),
        [
            "Warning 7:19 «2» is acted on only after `inter_digit`, for «29» begins with it",
            "Warning 7:38 «38» takes more than one press; callers press one key and wait"
        ]
    );
}

/// A name that is written down and never read is often misspelt somewhere; one that is only asked for with set( ), given back, or
/// read in one of its members is read.
#[test]
fn what_is_never_read_is_told() {
    let told = |head: &str, steps: &str| {
        let text =
            format!("schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"a\"\n{head}\n{steps}[steps.fin.hangup]\n");
        let faults = flow::check(&desk(), &[file("f.toml", &text)]);
        faults
            .iter()
            .map(|fault| format!("{:?} {}:{} {}", fault.severity, fault.line, fault.column, fault.message))
            .collect::<Vec<_>>()
    };
    let set = "[steps.a.set]\nvalues = { motivo = \"robo\", intento = 1 }\non.next = \"b\"\n";
    let branch =
        |read: &str| format!("{set}[steps.b.branch]\nwhen = [{{ if = \"{read}\", to = \"fin\" }}]\nelse = \"fin\"\n");
    assert_eq!(told("", &branch("motivo == 'robo'")), ["Warning 7:29 nothing reads «intento»"]);
    assert_eq!(told("", &branch("set(motivo) and intento > 0")), [""; 0]);
    assert_eq!(
        told("vars = { folio = \"text\" }", &branch("set(motivo) and intento > 0")),
        ["Warning 5:10 nothing reads «folio»"]
    );
    let asks = |into: &str| {
        format!(
            "[steps.a.ask]\nservice = \"cuenta.saldo\"\nargs = {{ linea = \"1\" }}\ninto = \"{into}\"\n\
             on = {{ found = \"b\", not_found = \"b\", error = \"fin\" }}\n\
             [steps.b.play]\nprompt = [{{ say = \"money_mxn\", value = \"${{cuenta.saldo}}\" }}]\non.next = \"fin\"\n"
        )
    };
    assert_eq!(told("", &asks("cuenta")), [""; 0], "one member of three");
    // The error says it already.
    assert_eq!(told("", &asks("cuneta")), ["Error 12:43 unknown variable «cuenta.saldo»"]);
    let case = "[steps.a.case]\nop = \"open\"\nkind = \"bloqueo\"\nsubkind = \"robo\"\non = { ok = \"fin\", error = \"fin\" }\n";
    assert_eq!(told("", case), [""; 0], "the step's own name for it was not written by anybody");
}

/// What a variable may hold is known when the flow itself gives it every value: another one is a slip that no call would show.
#[test]
fn what_cannot_be_is_not_compared_with_and_opens_no_case() {
    let told = |motive: &str, step: &str| {
        let text = format!(
            "schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"m\"\n[steps.m.menu]\nprompt = [\"menu\"]\n\
             keys = {{ 1 = \"a\", 2 = \"b\" }}\non.max_attempts = \"fin\"\n\
             [steps.a.set]\nvalues = {{ motivo = \"robo\" }}\non.next = \"c\"\n\
             [steps.b.set]\nvalues = {{ motivo = \"{motive}\" }}\non.next = \"c\"\n{step}\n[steps.fin.hangup]\n"
        );
        let faults = flow::check(&desk(), &[file("f.toml", &text)]);
        faults.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message)).collect::<Vec<_>>()
    };
    let compares = "[steps.c.branch]\nwhen = [{ if = \"motivo == 'robado'\", to = \"fin\" }]\nelse = \"fin\"";
    assert_eq!(told("extravio", compares), ["16:27 «motivo» is never «robado»"]);
    assert_eq!(told("${call.called}", compares), [""; 0], "it may be anything then");
    let opens = "[steps.c.case]\nop = \"open\"\nkind = \"bloqueo\"\nsubkind = \"${motivo}\"\non = { ok = \"fin\", error = \"fin\" }";
    assert_eq!(told("extravio", opens), [""; 0]);
    assert_eq!(told("perdida", opens), ["18:11 this may be «perdida», which is no sub-kind of «bloqueo»"]);
    let finds = "[steps.c.case]\nop = \"find\"\nfolio = \"${motivo}\"\non = { ok = \"d\", not_found = \"fin\", error = \"fin\" }\n\
                 [steps.d.branch]\nwhen = [{ if = \"case.estado == 'en proceso'\", to = \"fin\" }]\nelse = \"fin\"";
    assert_eq!(told("extravio", finds), ["20:32 «case.estado» is never «en proceso»"]);
}

/// Whom a call is led to exists, and each outcome has its way.
#[test]
fn a_transfer_names_an_agent_and_says_what_follows() {
    let told = |step: &str| {
        let text = format!(
            "schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"a\"\n[steps.a.transfer]\n{step}\n[steps.fin.hangup]\n"
        );
        let faults = flow::check(&desk(), &[file("f.toml", &text)]);
        let told = faults.into_iter().map(|fault| {
            let suggestion = fault.suggestion.map(|suggestion| format!(" ({suggestion})")).unwrap_or_default();
            format!("{}:{} {}{suggestion}", fault.line, fault.column, fault.message)
        });
        told.collect::<Vec<_>>()
    };
    let on = "on = { done = \"fin\", failed = \"fin\" }";
    assert_eq!(told(&format!("to = {{ agent = \"ana\" }}\n{on}")), [""; 0]);
    assert_eq!(told("to = { agent = \"ana\" }\nreturn_to = \"fin\"\non.failed = \"fin\""), [""; 0]);
    let table = [
        ("to = { agent = \"anna\" }", "6:16 desk has no agent «anna» (did you mean «ana»?)"),
        ("to = { agnt = \"ana\" }", "6:8 a call cannot be led to a «agnt» (did you mean «agent»?)"),
        ("to = { queue = \"general\" }", "6:16 there are no queues: lead the call to an agent"),
        ("to = { flow = \"desk.otro\" }", "6:15 a flow is nobody who rings (use a «goto» or a «call» step)"),
        (
            "to = { agent = \"ana\", queue = \"x\" }",
            "6:6 «to» names one: { agent = \"…\" } or { trunk = \"…\", number = \"…\" }",
        ),
        ("ring = \"20s\"", "5:10 the transfer «a» has no «to»"),
        ("to = { agent = \"ana\" }\nring = \"1s\"", "7:8 «ring» lies between 5s and 5m"),
        (
            "to = { agent = \"ana\" }\nkind = \"attended\"",
            "7:8 «attended» is no kind of transfer («blind» is: the caller is led to whoever answers)",
        ),
        (
            "to = { agent = \"ana\" }\nreturn_to = \"fin\"",
            "7:13 «return_to» stands beside «on.done»: one of them is where the call goes on",
        ),
    ];
    for (step, fault) in table {
        assert_eq!(told(&format!("{step}\n{on}")), [fault], "{step}");
    }
    let bare = told("to = { agent = \"ana\" }");
    assert_eq!(
        bare,
        ["done", "failed"].map(|output| format!(
            "5:10 the transfer «a» does not say where «{output}» leads (add on.{output} = \"step\")"
        ))
    );
}

/// A sensitive variable may reach a service, and nothing that is stored, spoken, sent or shown.
#[test]
fn sensitive_digits_may_only_be_given_to_a_service() {
    let flow = |use_it: &str| {
        format!(
            "schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"a\"\n[steps.a.collect]\ninto = \"clave\"\nprompt = [\"numero\"]\nmax = 4\n\
             sensitive = true\non = {{ ok = \"b\", max_attempts = \"fin\" }}\n{use_it}\n[steps.fin.hangup]\n"
        )
    };
    let uses = [
        "[steps.b.ask]\nservice = \"cuenta.verify\"\nargs = { linea = \"1\", ultimos4 = \"${clave}\" }\non = { match = \"fin\", no_match = \"fin\", error = \"fin\" }",
        "[steps.b.tag]\nresult = \"x${clave}\"\non.next = \"fin\"",
        "[steps.b.set]\nvalues = { copia = \"a${clave}\" }\non.next = \"fin\"",
        "[steps.b.play]\nprompt = [{ say = \"digits\", value = \"${clave}\" }]\non.next = \"fin\"",
        "[steps.b.branch]\nwhen = [{ if = \"clave == '1234'\", to = \"fin\" }]\nelse = \"fin\"",
        "[steps.b.case]\nop = \"open\"\nkind = \"bloqueo\"\nsubkind = \"robo\"\nfields = { clave = \"${clave}\" }\non = { ok = \"fin\", error = \"fin\" }",
        "[steps.b.notify]\nchannel = \"sms\"\ntemplate = \"reporte\"\nto = \"${clave}\"\non = { queued = \"fin\", no_address = \"fin\", error = \"fin\" }",
        "[steps.b.ask]\nservice = \"cuenta.saldo\"\nargs = { linea = \"1\" }\nidempotency = \"${clave}\"\non = { found = \"fin\", not_found = \"fin\", error = \"fin\" }",
    ];
    let told: Vec<bool> = uses
        .iter()
        .map(|use_it| {
            let faults = flow::check(&desk(), &[file("f.toml", &flow(use_it))]);
            faults.iter().any(|fault| fault.message.contains("sensitive"))
        })
        .collect();
    assert_eq!(told, [false, true, true, true, true, true, true, true]);
}

/// A secret is compared by `verify` alone, which counts wrong tries, and with a column that keeps it sealed.
#[test]
fn secrets_are_compared_where_wrong_tries_are_counted() {
    let told = |operator: &Operator, step: &str| {
        let text = format!(
            "schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"a\"\n[steps.a.{step}\n[steps.fin.hangup]\n"
        );
        let faults = flow::check(operator, &[file("f.toml", &text)]);
        faults
            .iter()
            .map(|fault| format!("{:?} {}:{} {}", fault.severity, fault.line, fault.column, fault.message))
            .collect::<Vec<_>>()
    };
    let asks = "ask]\nservice = \"cuenta.verify\"\nargs = { linea = \"1\", ultimos4 = \"1234\" }\n\
                on = { match = \"fin\", no_match = \"fin\", error = \"fin\" }";
    let verifies = |secret: &str, other: &str| {
        format!(
            "verify]\nmethod = \"last4\"\nservice = \"cuenta.verify\"\nargs = {{ {other} = \"1\" }}\nsecret = \"{secret}\"\n\
             prompt = [\"numero\"]\non = {{ verified = \"fin\", failed = \"fin\", unavailable = \"fin\" }}"
        )
    };
    let sealed = desk();
    assert_eq!(
        told(&sealed, asks),
        ["Error 6:11 cuenta.verify compares a secret: an «ask» would not count wrong tries"]
    );
    assert_eq!(told(&sealed, &verifies("ultimos4", "linea")), [""; 0]);
    assert_eq!(
        told(&sealed, &verifies("linea", "ultimos4")),
        ["Error 9:10 cuenta.verify compares «ultimos4» with a secret, not «linea»"]
    );
    let plain = desk_with(&SERVICES.replace("\"secret\"", "\"text\""));
    assert_eq!(
        told(&plain, &verifies("ultimos4", "linea")),
        ["Warning 9:10 cuenta.verify compares «ultimos4» with a column that is stored as it is"]
    );
}

/// Whatever a file holds, the check ends in faults inside it, and never in a panic.
#[test]
fn mutated_flows_give_faults_and_no_panic() {
    let (operator, good, mut ids) = (desk(), good_flow(), Ids::from_seed(17));
    let characters: Vec<char> = good.chars().collect();
    for _ in 0..3_000 {
        let mut mutated = characters.clone();
        for _ in 0..=ids.below(3) {
            let place = usize::try_from(ids.below(mutated.len() as u64)).unwrap();
            match ids.below(4) {
                0 => {
                    mutated[place] =
                        ['"', '$', '{', '}', '(', '\'', '=', '9', 'ñ'][usize::try_from(ids.below(9)).unwrap()]
                }
                1 => drop(mutated.remove(place)),
                2 => mutated.insert(place, mutated[place]),
                _ => mutated.truncate(place.max(1)),
            }
        }
        let text: String = mutated.into_iter().collect();
        let files = [file("principal.toml", &text), file("aparte.toml", SUB_FLOW)];
        let faults = flow::check(&operator, &files);
        assert!(faults.iter().all(|fault| fault.span.end <= text.len().max(SUB_FLOW.len())));
        let _ = fault::render_all(&faults, &files);
    }
}

#[test]
fn a_flow_of_too_many_steps_is_refused() {
    let steps: String = (0..1_001).map(|step| format!("[steps.s{step}.hangup]\n")).collect();
    let text = format!("schema = 1\n[flow]\nid = \"desk.principal\"\nstart = \"s0\"\n{steps}");
    let faults = flow::check(&desk(), &[file("f.toml", &text)]);
    assert!(
        faults.iter().any(|fault| fault.line == 1_005 && fault.message.starts_with("a flow has at most 1000 steps"))
    );
}
