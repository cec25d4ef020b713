//! A bug costs one caller.

use super::*;

/// A log whose writing fails when the line comes that the thread has named: a panic in the midst of the code that wrote it.
struct BrokenLog;

thread_local! {
    static BREAKS_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// While what it gives lives, this thread's log breaks at each line that begins so.
#[must_use]
fn break_log_at(line: &'static str) -> Mended {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| tracing::subscriber::set_global_default(BrokenLog).unwrap());
    BREAKS_AT.set(Some(line));
    Mended
}

/// Mends the log when it goes.
struct Mended;

impl Drop for Mended {
    fn drop(&mut self) {
        BREAKS_AT.set(None);
    }
}

impl tracing::Subscriber for BrokenLog {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target().starts_with("contesta")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let Some(breaks_at) = BREAKS_AT.get() else { return };
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            let line = format!("{value:?}");
            assert!(field.name() != "message" || !line.starts_with(breaks_at), "the log is broken at «{line}»");
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

const FAULT: &str = "internal fault: the call was ended, see the log";

#[test]
fn a_panic_in_the_midst_of_a_call_costs_that_call_only() {
    let _mended = break_log_at("no RTP from the caller");
    let mut sim = soon_silent();
    let [struck, other] = ["struck", "other"].map(|name| sim.talk(name, "*2363"));
    sim.keys(other, "2");
    sim.phones[struck].speaks = false;
    sim.until("hung up", MINUTE, |sim| sim.phones[struck].bye.is_some());
    sim.keys(other, "2");
    sim.until_heard(other, "menu_paquete");
    sim.bye(other);
    sim.assert_idle();
    let ends: Vec<_> = sim.records.iter().map(|record| (&*record.result, &*record.cause)).collect();
    assert_eq!(ends, [("abandono", FAULT), ("informacion", "the far end hung up")]);
}

/// The call is struck when it is made, when its socket is there, and when its flow has begun but not answered.
#[test]
fn a_panic_before_the_answer_is_500_and_one_record() {
    for (line, formats) in
        [("refused with 400", ""), ("refused with 488", "18 101"), ("enters answer", "0 101"), ("answered", "0 101")]
    {
        let _mended = break_log_at(line);
        let mut sim = Sim::new();
        let phone = sim.phone("struck");
        (sim.phones[phone].called, sim.phones[phone].to) = ("*2363".into(), "*2363".into());
        if formats.is_empty() {
            sim.ask(phone, "INVITE", "Content-Type: application/sdp\r\n", "this is no description");
        } else {
            sim.phones[phone].formats = formats;
            sim.invite(phone, "*2363");
        }
        sim.advance(SECOND);
        // Once the 200 is on its way, BYE follows its ACK.
        let expected = if line == "answered" { 200 } else { 500 };
        assert_eq!(sim.phones[phone].finals, [expected], "{line}");
        assert_eq!(sim.phones[phone].bye.is_some(), expected == 200, "{line}");
        sim.assert_idle();
        assert_eq!(sim.record().cause, FAULT, "{line}");
    }
}

/// A media worker that lost a leg reports it closed: the caller, who hears nothing any more, is not kept.
#[test]
fn a_leg_that_breaks_off_ends_its_call() {
    let mut sim = Sim::new();
    let phone = sim.talk("phone", "*2363");
    sim.tell(Input::Media(LegId(1), media::Event::Closed(media::LegReport::default())));
    sim.until("hung up", MINUTE, |sim| sim.phones[phone].bye.is_some());
    sim.assert_idle();
    assert_eq!(sim.record().cause, "the media of this call broke off: see the log");
}

/// The caller is not left in silence until the flow's `max_duration`: each prompt counts as played three seconds after its end.
#[test]
fn a_prompt_whose_end_is_not_reported_keeps_nobody_waiting() {
    let heard = |lost: fn(&media::Event) -> bool| {
        let mut sim = Sim::new();
        sim.lost = lost;
        let phone = sim.talk("phone", "*2363");
        sim.until_heard(phone, "menu_principal");
        sim.press(phone, "2");
        sim.until_heard(phone, "menu_informacion");
        sim.bye(phone);
        sim.assert_idle();
        (sim.phones[phone].heard.clone(), sim.record().clone())
    };
    let (in_time, record) = heard(|_| false);
    let unreported = |record: &CallRecord| {
        record.path.iter().filter(|entry| entry.what.starts_with("the end of what played was not reported")).count()
    };
    assert_eq!(unreported(&record), 0);
    let (late, record) = heard(|event| matches!(event, media::Event::Played(_)));
    assert_eq!(unreported(&record), 2, "the greeting and the notice; the menus are cut by keys, or by the end");
    let later: Vec<(u64, &str)> = late.iter().zip(&in_time).map(|((late, key), (at, _))| (late - at, *key)).collect();
    assert_eq!(
        later,
        [("bienvenida", 0), ("aviso_privacidad", 3_000), ("menu_principal", 6_000), ("menu_informacion", 6_000)]
            .map(|(key, later)| (later, key))
    );
}

/// A worker that lost the end of a stream costs a wait, not the record.
#[test]
fn a_leg_that_does_not_report_its_end_is_recorded_all_the_same() {
    let mut sim = Sim::new();
    sim.lost = |event| matches!(event, media::Event::Closed(_));
    let phone = sim.talk("phone", "*2363");
    sim.until_heard(phone, "menu_principal");
    sim.bye(phone);
    let left = sim.ms();
    sim.until("recorded", 2 * MINUTE, |sim| !sim.records.is_empty());
    assert_eq!(sim.ms() - left, 75_000);
    sim.assert_idle();
    let record = sim.record();
    assert_eq!((record.result.as_str(), record.cause.as_str()), ("abandono", "the far end hung up"));
    assert_eq!(record.path.last().unwrap().what, "parts that did not end: media");
    assert_eq!(record.media, media::LegReport::default());
}
