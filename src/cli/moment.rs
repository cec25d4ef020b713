//! Moments as people write and read them on a command line.

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `2026-03-15`, `2026-03-15T02:30` in `zone`, or an instant with its offset.
///
/// # Errors
/// The text is none of these.
pub(super) fn read(text: &str, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    // The parser's own words advise programmers, so they are left out.
    let local = text.parse::<jiff::civil::DateTime>().ok().and_then(|local| local.to_zoned(zone.clone()).ok());
    let moment = local.with_context(|| {
        format!("«{text}» is no moment: write 2026-03-15, 2026-03-15T02:30 or 2026-03-15T08:30:00Z")
    })?;
    Ok(moment.timestamp())
}

/// A moment as people read it: `2026-03-15 02:30:00 CST`.
pub(super) fn local(moment: Timestamp, zone: &TimeZone) -> String {
    moment.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_local_unless_it_has_an_offset() {
        let zone = TimeZone::get("America/Mexico_City").unwrap();
        for (text, instant) in [
            ("2026-03-15", "2026-03-15T06:00:00Z"),
            ("2026-03-15T02:30", "2026-03-15T08:30:00Z"),
            ("2026-03-15 02:30:05", "2026-03-15T08:30:05Z"),
            ("2026-03-15T02:30:00Z", "2026-03-15T02:30:00Z"),
            ("2026-03-15T02:30:00+01:00", "2026-03-15T01:30:00Z"),
        ] {
            assert_eq!(read(text, &zone).unwrap().to_string(), instant, "{text}");
        }
        let why = read("tomorrow", &zone).unwrap_err().to_string();
        assert_eq!(why, "«tomorrow» is no moment: write 2026-03-15, 2026-03-15T02:30 or 2026-03-15T08:30:00Z");
        assert_eq!(local("2026-03-15T08:30:00Z".parse().unwrap(), &zone), "2026-03-15 02:30:00 CST");
    }
}
