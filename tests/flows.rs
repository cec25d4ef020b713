//! Every shipped flow, walked: from each question every key, silence and hanging up, with an outside that works and one that
//! does not. Nobody is trapped, every step is reached, and the global keys do the same everywhere.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contesta::flow::simulator::{Stop, What};
use shipped::{Call, Centre, Outside};

/// A way to a question: groups of keys as `--keys` takes them.
type Way = Vec<String>;

/// Where a caller is asked for something: the step, and the `call` steps that led into its flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    place: String,
    callers: Vec<String>,
}

/// One number, one moment, one behaviour of the outside.
#[derive(Clone, Copy)]
struct World {
    operator: &'static str,
    to: &'static str,
    from: Option<&'static str>,
    at: &'static str,
    outside: Outside,
}

/// Worlds that differ in what the flows look at: who calls which number, the hours, what the outside does.
const WORLDS: [World; 8] = [
    World { operator: "beneleit", to: "*2363", from: Some("2221234567"), at: OPEN, outside: Outside::Answers },
    World { operator: "beneleit", to: "2226057239", from: None, at: HOLIDAY, outside: Outside::Answers },
    World { operator: "beneleit", to: "*2363", from: Some("2221234567"), at: CLOSED, outside: Outside::Down },
    World {
        operator: "beneleit",
        to: "*2363",
        from: Some("2221234567"),
        at: OPEN,
        outside: Outside::Late(ALL_BENELEIT),
    },
    World { operator: "bluepoint", to: "7676720827", from: Some("7771234567"), at: OPEN, outside: Outside::Answers },
    World { operator: "bluepoint", to: "7775000232", from: None, at: HOLIDAY, outside: Outside::Answers },
    World { operator: "bluepoint", to: "7775000232", from: None, at: CLOSED, outside: Outside::Down },
    World {
        operator: "bluepoint",
        to: "7676720827",
        from: Some("7771234567"),
        at: OPEN,
        outside: Outside::Late(ALL_BLUEPOINT),
    },
];

const OPEN: &str = "2026-03-10T11:00:00";
const CLOSED: &str = "2026-03-15T02:30:00";
const HOLIDAY: &str = "2026-03-16T12:00:00";
const ALL_BENELEIT: &[&str] = &[
    "coverage.lookup",
    "packages.item",
    "tariffs.item",
    "offerings.item",
    "plans.item",
    "devices.item",
    "accounts.verify",
    "billing.balance",
    "repairs.estimate",
    "device.status",
    "device.block",
    "line.suspend",
];
const ALL_BLUEPOINT: &[&str] = &["contracts.verify", "contracts.lookup", "packages.item"];

/// What a caller may do at any question.
const KEYS: [&str; 13] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "t"];
/// Nobody waits longer for a question or for the end, whatever is read to them.
const LONGEST: Duration = Duration::from_secs(6 * 60);

/// B-10, J10: from every question, every key and silence lead on; silence alone ends the call with a goodbye; hanging up ends it.
#[test]
fn nobody_is_trapped() {
    let centre = Centre::open();
    for world in WORLDS {
        let walk = Walk::of(&centre, world);
        assert!(walk.questions.len() >= 10, "{}: {:?}", world.to, walk.questions.keys());
        for (Question { place: question, .. }, way) in &walk.questions {
            let mut silent = walk.call(way);
            let since = silent.simulator.now().instant;
            silent.simulator.finish();
            let lasted = silent.simulator.now().instant - since;
            assert!(lasted < LONGEST, "{question}: silence lasted {lasted:?}");
            assert_eq!(silent.cause(), Some("hangup"), "{question}");
            let goodbye = silent.last_heard().iter().any(|prompt| prompt.starts_with("despedida"));
            assert!(goodbye, "{question}: the last words are {:?}", silent.last_heard());

            let mut gone = walk.call(way);
            let heard = gone.heard().len();
            gone.simulator.hang_up();
            assert_eq!(
                (gone.cause(), gone.heard().len()),
                (Some("abandoned"), heard),
                "{question}: silent after a hang-up"
            );
            assert!(gone.simulator.result().is_some(), "{question}: every call has a result");
        }
    }
}

/// B-10: from every menu but those of the agents' own flow, one key leads to an agent.
#[test]
fn every_menu_has_a_way_to_an_agent() {
    let centre = Centre::open();
    for world in WORLDS.into_iter().filter(|world| world.outside == Outside::Answers) {
        let (walk, kinds) = (Walk::of(&centre, world), step_kinds(world.operator));
        let agents = format!("{}.asesor/", world.operator);
        for (Question { place: question, .. }, way) in &walk.questions {
            if kinds[question] != "menu" || question.starts_with(&agents) {
                continue;
            }
            let mut call = walk.call(way);
            call.keys("0").listen();
            assert!(call.simulator.place().starts_with(&agents), "{question}: 0 leads to {}", call.simulator.place());
        }
    }
}

/// `#` says a menu again, `*` goes back to one that was passed, wherever the flow has these keys; neither loses the caller.
#[test]
fn global_keys_do_the_same_everywhere() {
    let centre = Centre::open();
    for world in WORLDS.into_iter().filter(|world| world.outside == Outside::Answers) {
        let (walk, kinds, globals) =
            (Walk::of(&centre, world), step_kinds(world.operator), global_keys(world.operator));
        let menus = walk.questions.iter().filter(|(question, _)| kinds[&question.place] == "menu");
        for (Question { place: question, .. }, way) in menus {
            let flow = question.split('/').next().unwrap();
            if globals[flow].contains("#") {
                let mut call = walk.call(way);
                let before = call.last_heard().to_vec();
                call.keys("#").listen();
                assert_eq!(&call.simulator.place(), question, "{question}: # stays");
                let again = call.last_heard();
                assert!(
                    before.ends_with(again) || again.ends_with(&before),
                    "{question}: # says {again:?}, not {before:?}"
                );
            }
            if globals[flow].contains("*") {
                let mut call = walk.call(way);
                let path = call.path();
                call.keys("*").listen();
                let place = call.simulator.place();
                assert!(path.contains(&place) && kinds[&place] == "menu", "{question}: * leads to {place}");
            }
        }
    }
}

/// Every step of every shipped flow is reached by some caller in some world.
#[test]
fn every_step_is_reached() {
    let centre = Centre::open();
    let mut reached = BTreeSet::new();
    for world in WORLDS {
        reached.extend(Walk::of(&centre, world).reached);
    }
    reached.extend(folios(&centre));
    reached.extend(stories(&centre));
    for id in shipped::OPERATORS {
        let missing: Vec<String> = step_kinds(id).into_keys().filter(|step| !reached.contains(step)).collect();
        assert_eq!(missing, Vec::<String>::new(), "{id}");
    }
}

/// Questions of a world and the ways to them.
struct Walk<'c> {
    centre: &'c Centre,
    world: World,
    questions: BTreeMap<Question, Way>,
    /// Steps that were entered.
    reached: BTreeSet<String>,
}

impl<'c> Walk<'c> {
    /// Goes breadth first: from each new question, every key, silence, and what that question asks for.
    fn of(centre: &'c Centre, world: World) -> Self {
        let mut walk = Self { centre, world, questions: BTreeMap::new(), reached: BTreeSet::new() };
        let mut next: Vec<Way> = vec![Vec::new()];
        while !next.is_empty() {
            let mut found = Vec::new();
            for way in next {
                let begun = walk.call(&way);
                walk.reached.extend(begun.path());
                if begun.simulator.is_finished() {
                    continue;
                }
                let question = Question { place: begun.simulator.place(), callers: callers(&begun) };
                if walk.questions.contains_key(&question) {
                    continue;
                }
                let mut gone = walk.call(&way);
                gone.simulator.hang_up();
                walk.reached.extend(gone.path());
                let actions = walk.actions(&question.place);
                walk.questions.insert(question, way.clone());
                for action in actions {
                    let mut onward = way.clone();
                    onward.push(action);
                    found.push(onward);
                }
            }
            next = found;
        }
        walk
    }

    /// A call that has come this way, and waits at its next question. Every stretch between two keys is bounded.
    fn call(&self, way: &Way) -> Call<'c> {
        let World { to, from, at, outside, .. } = self.world;
        let mut call = self.centre.call_with(to, from, at, outside);
        call.listen();
        speaks_well(&call);
        for keys in way {
            let since = call.simulator.now().instant;
            call.keys(keys);
            let stop = call.simulator.until_key();
            let lasted = call.simulator.now().instant - since;
            assert!(lasted < LONGEST, "{way:?}: {lasted:?} until the next question");
            assert!(stop == Stop::ExpectsKey || call.cause().is_some(), "{way:?}: neither a question nor an end");
        }
        speaks_well(&call);
        call
    }

    /// Keys, silence, too many wrong keys, and numbers that fit.
    fn actions(&self, place: &str) -> Vec<String> {
        let mut actions: Vec<String> = KEYS.iter().map(|key| (*key).to_owned()).collect();
        actions.extend(["t,t,t", "7,7,7", "9,9,9,9"].map(str::to_owned));
        let step = place.split('/').next_back().unwrap();
        let fits: &[&str] = match step {
            "extension" => &["300"],
            "pedir_linea" | "pedir_linea_titular" | "pedir_numero" => &["2221234567,1", "2221234567,2"],
            "pedir_imei" => &["490154203237518,1", "490154203237519", "49015420323751,1"],
            "pedir_postal" => &["72530", "73080", "73470", "01000"],
            "verificar" if self.world.operator == "beneleit" => &["4821", "0000,0000"],
            "verificar" => &["7716", "0000,0000"],
            "pedir" if place == "beneleit.linea/pedir" => &["2221234567,1"],
            "pedir" if place == "bluepoint.contrato/pedir" => &["40010023,1", "40010104,1", "99999999,1"],
            _ => &[],
        };
        actions.extend(fits.iter().map(|keys| (*keys).to_owned()));
        actions
    }
}

/// The `call` steps that the call is inside of, outermost first.
fn callers(call: &Call<'_>) -> Vec<String> {
    let flow_of = |place: &str| place.split('/').next().unwrap().to_owned();
    let mut callers: Vec<String> = Vec::new();
    for line in call.simulator.log() {
        let What::Path(trace) = &line.what else { continue };
        let flow = flow_of(&trace.place);
        if let Some(depth) = callers.iter().position(|caller| flow_of(caller) == flow) {
            callers.truncate(depth);
        }
        if trace.what == "enters call" {
            callers.push(trace.place.clone());
        }
    }
    callers
}

/// Steps behind a folio, which the walk cannot guess: found, not found, and once too often.
fn folios(centre: &Centre) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for (operator, to, request, menu) in
        [("beneleit", "*2363", "6,1,1,1,1", "5"), ("bluepoint", "7676720827", "2,1,#", "3")]
    {
        let mut request_call = centre.call(to, Some("2221234567"), OPEN);
        request_call.keys(request).listen();
        let folio = centre.cases(operator)[0].folio.to_string();
        for keys in ["1", "2,1,1", "3", "*", "#", "0", "t,t", &format!("3,{menu}")] {
            let mut call = centre.call(to, Some("2221234567"), OPEN);
            call.keys(menu).keys(&folio).keys(keys).listen();
            reached.extend(call.path());
            speaks_well(&call);
            assert!(call.has_heard("folio_abierto"), "{operator}");
        }
        let nobodys = nobodys(operator);
        let mut guessing = centre.call(to, Some("2221234567"), OPEN);
        guessing.keys(menu).keys(&nobodys);
        for _ in 0..4 {
            guessing.keys("1").keys(&nobodys);
        }
        guessing.listen();
        assert!(guessing.has_heard("folio_limite"), "{operator}");
        guessing.keys(menu).listen();
        reached.extend(guessing.path());
        let mut down = centre.call_with(to, None, OPEN, Outside::Down);
        down.keys(menu).keys(&folio).listen();
        reached.extend(down.path());
    }
    reached
}

/// Steps that need more than a way of single keys: one call after another, a hang-up in the middle, a caller going in circles.
fn stories(centre: &Centre) -> BTreeSet<String> {
    let circles = |first: &str, circle: &str| format!("{first}{}", circle.repeat(45));
    let beneleit: Vec<(Outside, String)> = vec![
        (Outside::Answers, "1,1,1,#,h".into()),
        (Outside::Answers, "1,2,3,2225550102,1,#,h".into()),
        (Outside::Answers, "1,2,3,2225550103,1,356938035643809,1,h".into()),
        (Outside::Answers, "1,1,1,#,h".into()),
        (Outside::Answers, "1,1,1,490154203237518,!1,h".into()),
        (Outside::Broken(&["device.status"]), "1,1,1,490154203237518,1,1,2,1".into()),
        (Outside::Broken(&["device.status"]), "1,1,1,490154203237518,!1,h".into()),
        (Outside::Late(&["line.suspend"]), "1,1,1,356938035643809,!1,h".into()),
        (Outside::Answers, "6,1,1,1,1,1,2,1".into()),
        (Outside::Answers, "6,1,2,1,1".into()),
        (Outside::Answers, "6,1,3,1,1".into()),
        (Outside::Answers, "6,2,1,1,1".into()),
        (Outside::Answers, "6,2,2,1,1".into()),
        (Outside::Answers, "6,2,3,1,1".into()),
        (Outside::Answers, "6,2,4,1,1".into()),
        (Outside::Answers, "6,3,1,1,1".into()),
        (Outside::Answers, "6,3,2,1,1".into()),
        (Outside::Answers, "6,3,3,1,1".into()),
        (Outside::Answers, "2,3,1,1,1,1,1".into()),
        (Outside::Broken(&["billing.balance"]), "3,1,4821".into()),
        (Outside::StoreDown, "3,1,4821,1".into()),
        (Outside::StoreDownOnce, "4,2,1,1,1,h".into()),
        (Outside::Answers, circles("", "2,*,")),
        (Outside::Answers, circles("0,", "1,*,")),
        (Outside::Answers, circles("1,", "1,*,")),
        (Outside::Answers, circles("4,", "2,*,")),
        (Outside::Answers, circles("6,", "1,*,")),
        // Six guesses at one account in three calls.
        (Outside::Answers, "3,1,0000,0000".into()),
        (Outside::Answers, "3,1,0000,0000".into()),
        (Outside::Answers, "3,1,0000,0000".into()),
    ];
    let bluepoint: Vec<(Outside, String)> = vec![
        (Outside::Answers, "1,1,40010023,1,7716,1".into()),
        (Outside::Answers, "1,2,1,1,1,1,1".into()),
        (Outside::Broken(&["contracts.lookup"]), "1,1,40010023,1,7716".into()),
        (Outside::StoreDown, "2,1,#".into()),
        (Outside::Answers, "2,1,40010023,1,1,3".into()),
        (Outside::Answers, "2,1,#,1,2,1".into()),
        (Outside::Answers, circles("", "1,*,")),
        (Outside::Answers, circles("0,", "1,*,")),
        (Outside::Answers, "1,1,40010023,1,0000,0000".into()),
        (Outside::Answers, "1,1,40010023,1,0000,0000".into()),
        (Outside::Answers, "1,1,40010023,1,0000,0000".into()),
    ];
    let mut reached = BTreeSet::new();
    for (to, stories) in [("*2363", beneleit), ("7676720827", bluepoint)] {
        for (outside, keys) in stories {
            let mut call = centre.call_with(to, Some("2225550101"), OPEN, outside);
            // The account of the billing stories is another line's.
            if keys.starts_with('3') {
                call = centre.call_with(to, Some("2221234567"), OPEN, outside);
            }
            call.keys(&keys).listen();
            speaks_well(&call);
            reached.extend(call.path());
        }
    }
    reached
}

/// A text and the value after it make one sentence: «la fecha es el», «el viernes» would not.
fn speaks_well(call: &Call<'_>) {
    for said in call.simulator.said() {
        let words: Vec<&str> = said.split(' ').collect();
        let doubled =
            words.windows(2).find(|pair| pair[0] == pair[1] && ["el", "la", "es", "su", "en"].contains(&pair[0]));
        assert_eq!(doubled, None, "in «{said}»");
    }
}

/// A folio with a right check digit that no case has.
fn nobodys(operator: &str) -> String {
    let prefix = if operator == "beneleit" { 2 } else { 7 };
    (0..10)
        .map(|check| format!("{prefix}00000000{check}"))
        .find(|text| contesta::case::Folio::parse(text).is_ok())
        .unwrap()
}

/// The kind of each step of an operator's flows, by `flow/step`.
fn step_kinds(operator: &str) -> BTreeMap<String, String> {
    let mut kinds = BTreeMap::new();
    for (flow, table) in flow_files(operator) {
        for (step, body) in table["steps"].as_table().unwrap() {
            let kind = body.as_table().unwrap().keys().next().unwrap();
            kinds.insert(format!("{flow}/{step}"), kind.clone());
        }
    }
    kinds
}

/// The global keys of each flow.
fn global_keys(operator: &str) -> BTreeMap<String, BTreeSet<String>> {
    let keys = |table: &toml::Table| {
        let keys = table["flow"].get("global_keys").and_then(toml::Value::as_table);
        keys.map(|keys| keys.keys().cloned().collect()).unwrap_or_default()
    };
    flow_files(operator).into_iter().map(|(flow, table)| (flow, keys(&table))).collect()
}

fn flow_files(operator: &str) -> Vec<(String, toml::Table)> {
    let tables = shipped::files(operator).into_iter().map(|file| file.text.parse::<toml::Table>().unwrap());
    let flows = tables.filter(|table| table.contains_key("steps"));
    flows.map(|table| (table["flow"]["id"].as_str().unwrap().to_owned(), table)).collect()
}
