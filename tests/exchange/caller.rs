//! What callers do: keys, none at all, wrong ones; and services that keep them waiting.

use super::*;

// ---- Keys -----------------------------------------------------------------------------------------------------------

#[test]
fn a_fifth_of_the_packets_lost_doubles_no_key_and_loses_none() {
    for seed in 0..10 {
        let mut sim = Sim::with(Setup { seed, ..Setup::default() });
        sim.rtp_weather = Weather { loss: 20, repeats: 5, delay: ms(30), jitter: ms(60) };
        let phone = sim.talk("rain", "2226057239");
        sim.keys(phone, "300,1,1,2225550102,1,490154203237518");
        sim.listen(phone);
        assert!(sim.phones[phone].has_heard("imei_marcado"), "seed {seed}: {}", sim.picture());
        sim.bye(phone);
        sim.assert_idle();
        assert_eq!(sim.record().media.digits, 3 + 1 + 1 + 10 + 1 + 15, "seed {seed}");
        assert!(sim.record().media.packets_lost > 20);
    }
}

#[test]
fn who_hangs_up_within_the_imei_blocks_nothing() {
    let mut sim = Sim::new();
    let phone = sim.talk("nine", "*2363");
    sim.keys(phone, "1,1,1,490154203");
    sim.bye(phone);
    sim.assert_idle();
    assert_eq!((sim.cases("beneleit").len(), sim.asked.clone()), (0, Vec::<String>::new()));
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("abandono", "the far end hung up"));
    assert_eq!((record.media.digits, record.folios.len()), (12, 0));
    assert!(!told(record).contains("490154203"), "what was keyed of it stands nowhere");
}

// ---- Silence, garbage, services that are away -----------------------------------------------------------------------

#[test]
fn a_silent_caller_is_asked_three_times_and_told_goodbye() {
    let mut sim = Sim::new();
    let phone = sim.talk("silent", "*2363");
    sim.until("hung up", 2 * MINUTE, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    let menu = "menu_principal";
    assert_eq!(
        sim.phones[phone].keys(),
        ["bienvenida", "aviso_privacidad", menu, "no_escuche", menu, "no_escuche", menu, "despedida_silencio"]
    );
    assert_eq!(
        (sim.record().result.as_str(), sim.record().cause.as_str()),
        ("sin_respuesta", "the flow ended: hangup")
    );
}

#[test]
fn invalid_keys_have_their_own_words_and_lead_to_an_agent_or_goodbye() {
    let mut sim = Sim::new();
    let phone = sim.talk("wrong", "*2363");
    sim.keys(phone, "7,8,9");
    sim.until("hung up", 2 * MINUTE, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    let (menu, options) = ("menu_principal", "asesor_opciones");
    assert_eq!(
        sim.phones[phone].keys(),
        [
            "bienvenida",
            "aviso_privacidad",
            menu,
            "opcion_no_valida",
            menu,
            "opcion_no_valida",
            menu,
            "asesor_no_disponible",
            options,
            "no_escuche",
            options,
            "no_escuche",
            options,
            "despedida"
        ]
    );
    assert_eq!(keys_taken(sim.record()), "");
}

/// J10h: suspension and block hang; the caller gets the folio in time, and the late answers change nothing.
#[test]
fn services_that_never_answer_do_not_take_the_folio_away() {
    let mut sim = Sim::new();
    sim.slow = vec![("line.suspend", 90 * SECOND), ("device.block", 90 * SECOND)];
    let phone = sim.talk("stolen", "*2363");
    sim.keys(phone, "1,1,1,490154203237518,1");
    sim.until_heard(phone, "su_reporte_es");
    let [case] = &sim.cases("beneleit")[..] else { panic!("one case") };
    assert!(sim.phones[phone].has_heard("linea_por_confirmar") && sim.phones[phone].has_heard("equipo_por_confirmar"));
    sim.listen(phone);
    sim.bye(phone);
    // Both orders are tried once more, silently, before the record is written.
    sim.advance(20 * SECOND);
    let before = sim.record().clone();
    assert_eq!((before.result.as_str(), before.folios.as_slice()), ("bloqueo", &[case.folio.to_string()][..]));
    // The answers come when nobody waits any more.
    sim.advance(2 * MINUTE);
    sim.assert_idle();
    assert_eq!(sim.record(), &before);
    assert_eq!(
        sim.asked,
        [
            "device.status",
            "open bloqueo",
            "line.suspend",
            "device.block",
            "update",
            "line.suspend",
            "device.block",
            "update"
        ]
    );
    // What was ordered late was ordered once.
    assert_eq!(sim.orders(&case.folio).len(), 2);
}

// ---- Over is over ---------------------------------------------------------------------------------------------------

#[test]
fn what_comes_for_a_call_that_is_over_changes_nothing() {
    let mut sim = Sim::new();
    let phone = sim.talk("gone", "*2363");
    sim.keys(phone, "2,2");
    sim.bye(phone);
    sim.advance(SECOND);
    let before = sim.record().clone();
    let leg = LegId(1);
    let answer = Answer::Result { result: "found".into(), values: Values::new() };
    for id in 0..10 {
        sim.tell(Input::Answered { leg, id: RequestId(id), answer: answer.clone() });
    }
    for event in [media::Event::Silent, media::Event::Played(PlayId(3)), media::Event::Closed(before.media)] {
        sim.tell(Input::Media(leg, event));
    }
    sim.tell(Input::MediaOpened { leg, local: Ok("192.0.2.10:10000".parse().unwrap()) });
    for method in ["BYE", "INFO", "INVITE"] {
        sim.ask(phone, method, "", "");
        sim.advance(SECOND);
        assert_eq!(peer::status(&sim.phones[phone].last_response), 481, "{method}");
    }
    sim.assert_idle();
    assert_eq!(sim.record(), &before);
}

#[test]
fn the_longest_call_allowed_ends_with_its_cause() {
    let mut config = Config::default();
    config.limits.max_call = 20 * SECOND;
    let mut sim = Sim::with(Setup { config, ..Setup::default() });
    let phone = sim.talk("long", "*2363");
    sim.keys(phone, "2,2");
    sim.until("hung up", MINUTE, |sim| sim.phones[phone].bye.is_some());
    assert_eq!(sim.ms(), 20_000);
    sim.assert_idle();
    assert_eq!(
        (sim.record().result.as_str(), sim.record().cause.as_str()),
        ("informacion", "the longest call allowed was reached")
    );
}
