//! Whole calls to the shipped operators, as `journeys.md` tells them, against a real store: what is heard, opened, ordered, sent.
//! The parts of J4, J5 and J6 that need a queue, a recording or an agent wait for those.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod shipped;

use std::time::Duration;

use contesta::case::{Case, Folio, State};
use contesta::flow::Request;
use contesta::flow::action::Verification;
use contesta::flow::simulator::What;
use contesta::speech::Say;
use contesta::store::OrderKind;
use contesta::value::Value;
use jiff::Timestamp;
use jiff::civil::DateTime;
use shipped::{Call, Centre, Outside};

/// J1, B-03, B-09, B-11, B-14, B-30, B-31, B-32: a stolen handset on a Sunday at 02:30, from a landline through extension 300.
#[test]
fn j1_a_stolen_handset_is_blocked_at_night_and_its_report_number_covers_it() {
    let centre = Centre::open();
    let mut call = centre.call("2226057239", Some("2225550199"), "2026-03-15T02:30:00");
    assert!(matches!(call.simulator.log()[1].what, What::Answered), "answered before anything else (B-09)");
    assert_eq!(call.simulator.log()[1].at, Duration::ZERO);

    call.keys("300,1,1,2221234567,1,490154203237519").listen();
    assert!(call.last_heard().contains(&"imei_no_coincide".to_owned()));
    call.keys("490154203237518").listen();
    assert_eq!(call.times_heard(&Say::Imei("490154203237518".to_owned())), 1, "the IMEI is read back");
    assert!(centre.cases("beneleit").is_empty(), "nothing is blocked before the caller confirms");
    call.keys("1").listen();

    let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
    assert_eq!((case.open.kind.as_str(), case.open.subkind.as_str()), ("bloqueo", "robo"));
    for (field, expect) in [
        ("linea", "2221234567"),
        ("imei", "490154203237518"),
        ("solicitante", "titular"),
        ("linea_estado", "suspensión ordenada"),
        ("equipo_estado", "bloqueo ordenado"),
        ("llamante", "2225550199"),
    ] {
        assert_eq!(field_of(case, field), expect, "{field}");
    }
    let orders = centre.orders(&case.folio);
    assert_eq!(orders.len(), 2, "line and device are two orders under one folio");
    let check = |kind: OrderKind, imei: &str| {
        let order = orders.iter().map(|stored| &stored.order).find(|order| order.kind == kind).unwrap();
        assert_eq!((order.line.as_str(), order.imei.as_str(), order.reason.as_str()), ("2221234567", imei, "robo"));
    };
    check(OrderKind::LineSuspension, "");
    check(OrderKind::DeviceBlock, "490154203237518");

    assert_eq!(call.times_heard(&folio(case)), 2, "the folio is said twice");
    let ordered = call.place_of(|what| asks(what, "device.block")).unwrap();
    let spoken = call.place_of(|what| says(what, "su_reporte_es")).unwrap();
    assert!(ordered < spoken, "ordered before the folio is spoken (B-32)");
    assert!(call.has_heard("linea_suspension_ordenada") && call.has_heard("equipo_bloqueo_ordenado"));
    assert!(call.has_heard("info_reemplazo"), "B-31");
    assert!(!call.path().iter().any(|step| step.starts_with("beneleit.asesor/")), "no agent stands in the way");
    assert!(!call.has_heard("asesores_atienden"), "no hours stand in the way");

    // The replacement again, the number again, then a message to a mobile, since the caller is at a landline.
    call.keys("3,2").listen();
    let replacements = call.heard().iter().filter(|prompts| prompts.contains(&"info_reemplazo".to_owned())).count();
    assert_eq!((replacements, call.times_heard(&folio(case))), (2, 3));
    call.keys("1,1,2,2221230000,1,2").listen();
    let [message] = &centre.outbox()[..] else { panic!("one message") };
    assert_eq!((message.channel.as_str(), message.to.as_str()), ("sms", "2221230000"));
    assert_eq!(message.folio.as_ref(), Some(&case.folio));
    assert!(message.text.contains(case.folio.as_str()), "{}", message.text);
    assert_eq!((call.cause(), call.simulator.result()), (Some("hangup"), Some("bloqueo")));
    assert_eq!(centre.operator("beneleit").class, "gratuito");

    // The same handset within the hour: its block is ordered already, by the same number, and no second case.
    let mut again = centre.call("2226057239", Some("2225550199"), "2026-03-15T03:10:00");
    again.keys("300,1,1,2221234567,1,490154203237518,1").listen();
    assert!(again.has_heard("equipo_bloqueo_anterior"));
    assert_eq!(again.times_heard(&folio(case)), 2);
    assert_eq!(again.simulator.result(), Some("bloqueo"));
    assert_eq!(centre.cases("beneleit").len(), 1);

    // Who reports it from another line gets a report and a suspension of their own, and no folio of somebody else.
    let mut other = centre.call("*2363", Some("2225550102"), "2026-03-15T03:20:00");
    other.keys("1,2,1,490154203237518,1").listen();
    assert!(other.has_heard("linea_suspension_ordenada") && other.has_heard("equipo_bloqueo_anterior"));
    assert_eq!((other.times_heard(&folio(case)), centre.cases("beneleit").len()), (0, 2));
}

/// J2, B-01, B-02, B-14: a third party without the IMEI, on a holiday at 20:00, from a Beneleit line.
#[test]
fn j2_a_third_party_without_the_imei_still_protects_the_line() {
    let centre = Centre::open();
    let mut call = centre.call("*2363", Some("2225550101"), "2026-03-16T20:00:00");
    call.keys("1,2,3").listen();
    assert!(call.has_heard("bloqueo_tercero"), "the letter of attorney is asked for later");
    call.keys("2225550102,1,#").listen();

    let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
    assert_eq!((case.open.kind.as_str(), case.open.subkind.as_str()), ("bloqueo", "extravio"));
    for (field, expect) in [
        ("linea", "2225550102"),
        ("imei", "pendiente"),
        ("solicitante", "tercero"),
        ("carta_poder", "pendiente"),
        ("linea_estado", "suspensión ordenada"),
        ("equipo_estado", "falta imei"),
        // The agents, who open on Tuesday at nine after the holiday, find what to do.
        ("tarea", "completar el IMEI y pedir la carta poder"),
        ("tarea_desde", "2026-03-17T15:00:00Z"),
    ] {
        assert_eq!(field_of(case, field), expect, "{field}");
    }
    let orders = centre.orders(&case.folio);
    assert_eq!(orders.len(), 1, "the line alone: there is no device to block yet");
    assert_eq!((orders[0].order.kind, orders[0].order.line.as_str()), (OrderKind::LineSuspension, "2225550102"));
    assert_eq!(call.times_heard(&folio(case)), 2);
    assert!(
        call.has_heard("imei_pendiente") && call.has_heard("imei_falta") && call.has_heard("info_reemplazo_tercero")
    );
}

/// J3, B-33: a package's price with keys pressed during the greeting, repeat, back, back.
#[test]
fn j3_a_price_is_two_early_keys_away() {
    let centre = Centre::open();
    let mut call = centre.call("*2363", Some("2225550101"), "2026-03-10T11:00:00");
    call.keys("!22").listen();
    let price = "ciento un pesos con cincuenta centavos";
    let said = |call: &Call<'_>| call.simulator.said().filter(|text| text.contains(price)).count();
    assert_eq!(said(&call), 1, "both early keys counted");
    assert_eq!(call.simulator.place(), "beneleit.informacion/di_paquete");
    call.keys("#").listen();
    assert_eq!((said(&call), call.simulator.place().as_str()), (2, "beneleit.informacion/di_paquete"));
    call.keys("*").listen();
    assert_eq!(call.simulator.place(), "beneleit.informacion/menu");
    call.keys("*").listen();
    assert_eq!(call.simulator.place(), "beneleit.principal/menu");
    call.keys("h");

    assert_eq!((call.cause(), call.simulator.result()), (Some("abandoned"), Some("informacion")));
    for step in
        ["principal/contestar", "principal/bienvenida", "principal/aviso", "informacion/paquete", "principal/colgo"]
    {
        assert!(call.path().contains(&format!("beneleit.{step}")), "{step} is in the path");
    }
    assert!(centre.cases("beneleit").is_empty() && centre.outbox().is_empty());
}

/// J4 without its queue, B-23, B-24: in hours the report is taken as well, and is due in 24 natural hours.
#[test]
fn j4_a_fault_in_hours_is_due_in_a_day() {
    let centre = Centre::open();
    let mut call = centre.call("2226057239;ext=300", Some("2225550199"), "2026-03-10T16:58:00");
    call.keys("4,2").listen();
    assert!(call.has_heard("falla_en_horario") && !call.has_heard("falla_fuera_horario"));
    call.keys("1,2225550103,1,2").listen();
    let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
    assert_eq!((case.open.kind.as_str(), case.open.subkind.as_str()), ("falla", "sin_datos"));
    assert_eq!(field_of(case, "inicio"), "ayer");
    assert_eq!(case.open.due, Some(case.open.received + Duration::from_secs(24 * 3_600)));
    assert_eq!(
        call.times_heard(&Say::Duration(Duration::from_secs(8 * 3_600))),
        1,
        "B-22: the usual time for this type"
    );
}

/// J5 without its recording, B-04, B-05, B-06, B-07, B-12, B-13, B-19, B-20, B-23: Friday 17:00:00 is closed; the report is left.
#[test]
fn j5_a_fault_at_closing_time_is_left_with_one_key() {
    let centre = Centre::open();
    let mut call = centre.call("*2363", Some("2221234567"), "2026-03-13T17:00:00");
    call.keys("4,2").listen();
    assert!(call.has_heard("falla_fuera_horario"));
    let hours = centre.operator("beneleit").calendars["asesores"].weekly.clone();
    assert_eq!(call.times_heard(&Say::Hours(hours)), 2, "of the agents, and of the office");
    for number in ["2211998098", "2215785387", "7443870265"] {
        assert_eq!(call.times_heard(&Say::PhoneMx(number.to_owned())), 1, "{number}");
    }
    assert_eq!(call.times_heard(&Say::Spell("atencion.beneleitmovil@beneleitcontigo.mx".to_owned())), 1);
    assert!(call.has_heard("contacto_web") && call.has_heard("contacto_direccion"));

    call.keys("1,1,1").listen();
    let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
    assert_eq!((case.open.kind.as_str(), case.open.subkind.as_str()), ("falla", "sin_datos"));
    assert_eq!(field_of(case, "linea"), "2221234567");
    let due = case.open.due.unwrap();
    assert_eq!(due, case.open.received + Duration::from_secs(24 * 3_600), "natural hours");
    let saturday: Timestamp = "2026-03-14T17:00:00-06:00".parse().unwrap();
    assert!(due >= saturday && due < saturday + Duration::from_secs(300));
    assert_eq!(call.times_heard(&Say::Moment(local(&centre, due))), 1, "the caller hears when");
    assert_eq!(call.times_heard(&folio(case)), 2);

    call.keys("1,1,1,h");
    let [message] = &centre.outbox()[..] else { panic!("one message") };
    assert_eq!((message.channel.as_str(), message.to.as_str()), ("sms", "2221234567"), "to the caller's own number");
    assert_eq!(message.folio.as_ref(), Some(&case.folio));
    assert_eq!(call.simulator.result(), Some("falla"));

    // Who already knows presses the key while the channels are being read.
    let mut hurried = centre.call("*2363", Some("2221234567"), "2026-03-13T18:00:00");
    hurried.keys("4,2,!1").listen();
    assert_eq!(hurried.simulator.place(), "beneleit.linea/ofrecer");
}

/// J6 as far as the telephone alone goes, P-13, P-14: wrong digits twice, and no billing data is spoken, in this call or the path.
#[test]
fn j6_no_balance_without_verification() {
    let centre = Centre::open();
    let mut call = centre.call("7775000232", None, "2026-03-14T18:20:00");
    call.keys("1,1,40010023,1,1234,9876").listen();
    assert!(call.has_heard("verificacion_no_coincide") && call.has_heard("verificacion_fallida"));
    assert!(!call.has_heard("factura_saldo") && !call.has_heard("factura_ultimo_pago"));
    let path = format!(
        "{:?}",
        call.simulator.log().iter().filter(|line| matches!(line.what, What::Path(_))).collect::<Vec<_>>()
    );
    assert!(path.contains("keys ****") && !path.contains("1234") && !path.contains("9876"));

    let mut verified = centre.call("7775000232", None, "2026-03-14T18:21:00");
    verified.keys("1,1,40010023,1,7716").listen();
    assert_eq!(verified.times_heard(&Say::MoneyMxn(39_900)), 2, "balance and last payment");
    assert_eq!(verified.simulator.result(), Some("facturacion"));
}

/// P-14: who hangs up after every two guesses and calls again has five in an hour, not ten thousand; the owner waits, or asks a
/// person, and other accounts are not touched.
#[test]
fn guesses_count_by_account_over_all_calls() {
    let centre = Centre::open();
    let call = |at: &str, account: &str, guesses: &str| {
        let mut call = centre.call("7775000232", None, at);
        call.keys("1,1").keys(account).keys("1").keys(guesses).listen();
        let heard = |key: &str| call.has_heard(key);
        (
            heard("verificacion_fallida"),
            heard("verificacion_cerrada"),
            heard("factura_saldo") || heard("factura_ultimo_pago"),
        )
    };
    let (fails, is_locked, is_told) = ((true, false, false), (false, true, false), (false, false, true));
    assert_eq!(call("2026-03-14T10:00:00", "40010023", "0000,0001"), fails);
    assert_eq!(call("2026-03-14T10:01:00", "40010023", "0002,0003"), fails);
    assert_eq!(call("2026-03-14T10:02:00", "40010023", "0004,0005"), is_locked, "the fifth is the last one compared");
    assert_eq!(call("2026-03-14T10:30:00", "40010023", "7716"), is_locked, "the right digits say nothing either");
    assert_eq!(call("2026-03-14T10:32:00", "40010023", "7716"), is_told, "half an hour after the fifth");
    // The owner has been heard: counting begins anew.
    assert_eq!(call("2026-03-14T10:33:00", "40010023", "0000,0001"), fails);
    assert_eq!(call("2026-03-14T10:34:00", "40010023", "7716"), is_told);
}

/// J8, P-06, P-09, P-11, P-12, P-17, P-19: follow-up of a folio on a Sunday, and what is not said of others.
#[test]
fn j8_a_folio_is_followed_up_and_no_other_is_betrayed() {
    let centre = Centre::open();
    let mut complaint = centre.call("7676720827", Some("7771234567"), "2026-03-14T10:00:00");
    complaint.keys("2,1,40010023,1").listen();
    let own = centre.cases("bluepoint").remove(0);
    assert_eq!((own.open.kind.as_str(), own.open.subkind.as_str()), ("queja", "calidad"));
    assert_eq!(complaint.times_heard(&folio(&own)), 2);
    assert!(complaint.has_heard("pasos_queja") && complaint.has_heard("tiempo_maximo"));
    let mut other = centre.call("*2363", Some("2225550101"), "2026-03-14T10:05:00");
    other.keys("6,1,1,1,1").listen();
    let foreign = centre.cases("beneleit").remove(0);

    let mut call = centre.call("7676720827", Some("7771234567"), "2026-03-15T12:00:00");
    call.keys("3").keys(&mistyped(&own.folio)).listen();
    assert!(call.last_heard().contains(&"folio_no_coincide".to_owned()), "told at once");
    call.keys(foreign.folio.as_str()).listen();
    let of_a_foreign_one = call.last_heard().to_vec();
    call.keys("1").keys(&unknown(&own.folio)).listen();
    assert_eq!(call.last_heard(), of_a_foreign_one, "a foreign folio and one that does not exist sound alike");
    assert!(call.has_heard("folio_no_encontrado"));

    call.keys("1").keys(own.folio.as_str()).listen();
    assert!(call.has_heard("folio_abierto") && call.has_heard("paso_abierto") && call.has_heard("folio_vence"));
    assert_eq!(call.times_heard(&Say::Moment(local(&centre, own.open.due.unwrap()))), 1, "an ETA as a date");
    call.keys("2,1,1").listen();
    let [message] = &centre.outbox()[..] else { panic!("one message") };
    assert_eq!((message.to.as_str(), message.folio.as_ref()), ("7771234567", Some(&own.folio)));
    assert_eq!(call.simulator.result(), Some("folio"));

    // Two more tries, and this call is asked for no other folio, not even through the menu.
    call.keys("3").keys(&unknown(&own.folio)).keys("1").keys(&unknown(&own.folio)).listen();
    assert!(call.has_heard("folio_limite"));
    call.keys("3").listen();
    assert_eq!(call.simulator.place(), "bluepoint.principal/menu", "five tries are enough");
}

/// P-06: in every state a case may be in, whoever asks for it hears which one it is, and one only.
#[test]
fn every_state_of_a_case_is_said() {
    for (operator, number, request) in
        [("beneleit", "*2363", "6,1,1,1,1"), ("bluepoint", "7676720827", "2,1,40010023,1")]
    {
        let centre = Centre::open();
        centre.call(number, Some("2225550101"), "2026-03-14T10:00:00").keys(request).listen();
        let case = centre.cases(operator).remove(0);
        let look_up = if operator == "beneleit" { "5" } else { "3" };
        let states = ["folio_abierto", "folio_en_proceso", "folio_escalado", "folio_resuelto", "folio_cerrado"];
        for (state, prompt) in State::ALL.into_iter().zip(states) {
            centre.change(&case, state);
            let mut call = centre.call(number, Some("2225550101"), "2026-03-15T12:00:00");
            call.keys(look_up).keys(case.folio.as_str()).listen();
            let said: Vec<&str> = states.into_iter().filter(|prompt| call.has_heard(prompt)).collect();
            assert_eq!(said, [prompt], "{operator}: {state}");
            assert_eq!(call.has_heard("folio_vence"), !matches!(state, State::Solved | State::Closed), "{state}");
        }
    }
}

/// J10 (a), (b): silence and garbage come to an end, politely.
#[test]
fn j10_silence_and_garbage_end_politely() {
    let centre = Centre::open();
    let mut silent = centre.call("*2363", None, "2026-03-10T11:00:00");
    silent.keys("t,t,t").listen();
    assert!(silent.has_heard("no_escuche"));
    assert_eq!(silent.last_heard(), ["despedida_silencio"]);
    assert_eq!((silent.cause(), silent.simulator.result()), (Some("hangup"), Some("sin_respuesta")));

    let mut garbage = centre.call("*2363", None, "2026-03-10T11:00:00");
    garbage.keys("7,8,9").listen();
    assert!(garbage.has_heard("opcion_no_valida"));
    assert_eq!(garbage.simulator.place(), "beneleit.asesor/opciones", "somebody who presses keys wants help");
}

/// J10 (c): who hangs up before confirming blocks nothing; who hangs up after it loses nothing.
#[test]
fn j10_a_hang_up_blocks_only_what_was_confirmed() {
    let centre = Centre::open();
    let mut before = centre.call("*2363", Some("2225550101"), "2026-03-10T11:00:00");
    before.keys("1,1,1,490154203,h");
    assert_eq!((before.cause(), before.simulator.result()), (Some("abandoned"), Some("abandono")));
    assert!(centre.cases("beneleit").is_empty());

    let mut after = centre.call("*2363", Some("2225550101"), "2026-03-10T11:00:00");
    after.keys("1,1,1,490154203237518,!1,h");
    let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
    assert_eq!(centre.orders(&case.folio).len(), 2, "both orders are given in silence");
    assert_eq!(
        (field_of(case, "linea_estado"), field_of(case, "equipo_estado")),
        ("suspensión ordenada".into(), "bloqueo ordenado".into())
    );
    assert_eq!((after.cause(), after.simulator.result()), (Some("abandoned"), Some("bloqueo")));
}

/// J10 (h), B-32: orders that are late or fail still leave the caller with a folio, and the case says what is open.
#[test]
fn j10_a_block_that_hangs_still_gives_its_folio() {
    for outside in [
        Outside::Late(&["device.block"]),
        Outside::Broken(&["device.status", "line.suspend", "device.block"]),
        Outside::Late(&["device.status", "line.suspend", "device.block"]),
    ] {
        let centre = Centre::open();
        let mut call = centre.call_with("*2363", Some("2225550101"), "2026-03-10T11:00:00", outside);
        call.keys("1,3,1,490154203237518,1").listen();
        let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
        assert_eq!(case.open.subkind, "duplicidad");
        assert_eq!(call.times_heard(&folio(case)), 2, "{outside:?}");
        assert!(call.has_heard("equipo_por_confirmar"), "{outside:?}");
        assert_eq!(field_of(case, "equipo_estado"), "por confirmar");
        assert_eq!(call.simulator.place(), "beneleit.bloqueo/final");
    }
}

/// B-32: with no store there is no folio, and no promise: the caller is told, and hears other ways.
#[test]
fn no_folio_is_promised_when_nothing_can_be_stored() {
    let centre = Centre::open();
    let mut call = centre.call_with("*2363", Some("2225550101"), "2026-03-10T11:00:00", Outside::Down);
    call.keys("1,1,1,490154203237518,1").listen();
    assert!(call.has_heard("no_pudimos_registrar") && call.has_heard("contacto_whatsapp"));
    assert!(!call.has_heard("su_reporte_es"));
    assert!(centre.cases("beneleit").is_empty());
}

/// B-25, B-26, B-27, B-28, B-29, B-33: what the agents' intranet knows, the caller hears.
#[test]
fn information_is_read_from_the_tables() {
    let centre = Centre::open();
    for (keys, heard, row) in [
        ("2,1,72530", Some("cobertura_4g"), "B-25"),
        ("2,1,73080", Some("cobertura_3g"), "B-25"),
        ("2,1,73470", Some("cobertura_no"), "B-25"),
        ("2,1,01000", Some("cobertura_desconocida"), "B-25"),
        ("2,1,00999", Some("postal_no_valido"), "B-25"),
        ("2,2,1", Some("paquete_diario"), "B-33"),
        ("2,3", Some("tarifa_minuto"), "B-28"),
        ("2,4,1", Some("servicio_mensajes"), "B-26"),
        ("2,5,1", Some("plan_esencial"), "B-27"),
        ("2,5,2,1", Some("equipo_inicial"), "B-27"),
        ("2,3,1,1,1,1,1", Some("lista_terminada"), "the end of a list"),
    ] {
        let mut call = centre.call("*2363", None, "2026-03-15T02:30:00");
        call.keys(keys).listen();
        assert!(heard.is_some_and(|key| call.has_heard(key)), "{row}: {keys} → {:?}", call.last_heard());
    }
    let mut tariff = centre.call("*2363", None, "2026-03-15T02:30:00");
    tariff.keys("2,3").listen();
    assert_eq!(tariff.times_heard(&Say::MoneyMxn(85)), 1, "B-28: a total with taxes");
    let mut billing = centre.call("*2363", Some("2221234567"), "2026-03-15T02:30:00");
    billing.keys("3,1,4821").listen();
    assert_eq!(billing.times_heard(&Say::MoneyMxn(22_100)), 2, "B-29: balance and last payment");
    assert_eq!(billing.times_heard(&Say::Date("2026-03-28".parse().unwrap())), 1, "B-29: when it is due");
    assert!(centre.cases("beneleit").is_empty());
}

/// B-16, B-17, B-18, B-34, B-01: every kind of request ends in a case of its kind, at any hour, for the holder or a third party.
#[test]
fn every_request_leaves_a_case_with_a_folio() {
    for (keys, kind, subkind) in [
        ("6,1,1", "queja", ""),
        ("6,1,2", "reclamacion", ""),
        ("6,1,3", "disputa", ""),
        ("6,2,1", "consulta", ""),
        ("6,2,2", "duda", ""),
        ("6,2,3", "aclaracion", "otro"),
        ("6,2,4", "sugerencia", ""),
        ("6,3,1", "datos", "actualizacion"),
        ("6,3,2", "datos", "registro_linea"),
        ("6,3,3", "cancelacion", ""),
    ] {
        let centre = Centre::open();
        let mut call = centre.call("*2363", Some("2225550101"), "2026-03-15T02:30:00");
        call.keys(keys).keys("2,1").listen();
        let [case] = &centre.cases("beneleit")[..] else { panic!("{keys}: one case") };
        assert_eq!((case.open.kind.as_str(), case.open.subkind.as_str()), (kind, subkind), "{keys}");
        assert_eq!(
            (field_of(case, "solicitante"), field_of(case, "carta_poder")),
            ("tercero".into(), "pendiente".into())
        );
        assert_eq!(call.times_heard(&folio(case)), 2, "{keys}");
        assert!(case.open.due.is_some(), "B-15: {keys}");
        assert_ne!(call.simulator.result(), Some("abandono"), "{keys}");
    }
}

/// B-20: each type of fault is a sub-kind of its own.
#[test]
fn every_type_of_fault_can_be_reported() {
    for (key, subkind) in ["sin_senal", "sin_datos", "llamadas", "sms", "recarga", "otro"].iter().enumerate() {
        let centre = Centre::open();
        let mut call = centre.call("*2363", Some("2225550101"), "2026-03-15T02:30:00");
        call.keys(&format!("4,{},1,1,3", key + 1)).listen();
        assert_eq!(centre.cases("beneleit")[0].open.subkind, *subkind);
    }
}

/// B-13: out of hours a caller who wants an agent leaves a request to be called, with a folio.
#[test]
fn who_wants_an_agent_at_night_is_called_back() {
    let centre = Centre::open();
    let mut call = centre.call("*2363", Some("2225550101"), "2026-03-14T02:30:00");
    call.keys("0").listen();
    assert!(call.has_heard("asesor_cerrado"));
    call.keys("1,1").listen();
    let [case] = &centre.cases("beneleit")[..] else { panic!("one case") };
    assert_eq!((case.open.kind.as_str(), field_of(case, "numero")), ("llamada", "2225550101".to_owned()));
    assert_eq!(call.times_heard(&folio(case)), 2);
    assert_eq!(
        case.open.due,
        Some("2026-03-17T17:00:00-06:00".parse().unwrap()),
        "eight open hours: Tuesday, after the holiday"
    );
}

/// P-10: the folio travels by the medium the caller chooses, or waits printed in a store.
#[test]
fn blue_point_sends_the_folio_as_the_caller_chooses() {
    for (keys, channel, to) in [
        ("1,1,1", "sms", "7771234567"),
        ("1,2,2,7779876543,1", "whatsapp", "7779876543"),
        ("1,3", "email", "familia.ortega@correo.example"),
        ("1,4", "print", ""),
    ] {
        let centre = Centre::open();
        let mut call = centre.call("7676720827", Some("7771234567"), "2026-03-14T10:00:00");
        call.keys("4,1,40010023,1").keys(keys).listen();
        let [message] = &centre.outbox()[..] else { panic!("{keys}: one message") };
        assert_eq!((message.channel.as_str(), message.to.as_str()), (channel, to));
        assert_eq!(message.folio.as_ref(), Some(&centre.cases("bluepoint")[0].folio));
    }
    // A contract without an address: the caller is told and chooses again.
    let centre = Centre::open();
    let mut call = centre.call("7676720827", Some("7771234567"), "2026-03-14T10:00:00");
    call.keys("4,3,40010104,1,1,3").listen();
    assert!(call.has_heard("correo_desconocido") && centre.outbox().is_empty());
    assert_eq!(call.simulator.place(), "bluepoint.enviar_folio/medio");
}

fn field_of(case: &Case, name: &str) -> String {
    case.open.fields.get(name).map(Value::to_string).unwrap_or_default()
}

fn folio(case: &Case) -> Say {
    Say::Folio(case.folio.to_string())
}

fn local(centre: &Centre, moment: Timestamp) -> DateTime {
    moment.to_zoned(centre.operator("beneleit").time_zone.clone()).datetime()
}

fn asks(what: &What, wanted: &str) -> bool {
    matches!(what, What::Asks(Request::Service { service, .. } | Request::Verify(Verification { service, .. })) if service == wanted)
}

fn says(what: &What, key: &str) -> bool {
    matches!(what, What::Says { prompts, .. } if prompts.iter().any(|prompt| prompt == key))
}

/// The folio with its last digit mistyped.
fn mistyped(folio: &Folio) -> String {
    let (body, last) = folio.as_str().split_at(9);
    format!("{body}{}", (last.parse::<u8>().unwrap() + 1) % 10)
}

/// A folio of the same operator with a right check digit that nobody was given.
fn unknown(folio: &Folio) -> String {
    let body =
        format!("{}{}", folio.prefix(), if folio.as_str()[1..9] == *"00000000" { "00000001" } else { "00000000" });
    (0..10).map(|check| format!("{body}{check}")).find(|text| Folio::parse(text).is_ok()).unwrap()
}
