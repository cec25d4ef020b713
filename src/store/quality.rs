//! How a call sounded, as JSON: a column of its record, a member of its line in the spool, and what programs are shown.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::media::{Mos, Quality, RoundTrip, StreamQuality};

/// `{"round_trip_ms": 12.3, "round_trip_longest_ms": 40.0, "heard": {"loss_percent": 1.25, "jitter_ms": 2.1,
/// "jitter_highest_ms": 9.9, "mos": 4.21}, "reported": null, "one_way": 0}`; null when nothing is known.
#[must_use]
pub fn quality_to_json(quality: &Quality) -> Json {
    if *quality == Quality::default() {
        return Json::Null;
    }
    json!({
        "round_trip_ms": quality.round_trip.map(|trip| ms(trip.mean)),
        "round_trip_longest_ms": quality.round_trip.map(|trip| ms(trip.longest)),
        "heard": quality.heard.map(|heard| stream_to_json(&heard)),
        "reported": quality.reported.map(|reported| stream_to_json(&reported)),
        "one_way": quality.one_way,
    })
}

/// Reads [`quality_to_json`]'s object; what is missing or no number is not known.
pub(crate) fn quality_from_json(json: &Json) -> Quality {
    let of = |name: &str| json.get(name).and_then(Json::as_f64).map(duration);
    Quality {
        round_trip: of("round_trip_ms")
            .zip(of("round_trip_longest_ms"))
            .map(|(mean, longest)| RoundTrip { mean, longest }),
        heard: json.get("heard").and_then(stream_from_json),
        reported: json.get("reported").and_then(stream_from_json),
        one_way: json.get("one_way").and_then(Json::as_u64).and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
    }
}

fn stream_to_json(stream: &StreamQuality) -> Json {
    json!({
        "loss_percent": f64::from(stream.loss) / 100.0, "jitter_ms": ms(stream.jitter),
        "jitter_highest_ms": ms(stream.jitter_highest), "mos": f64::from(stream.mos.0) / 100.0,
    })
}

fn stream_from_json(json: &Json) -> Option<StreamQuality> {
    let of = |name: &str| json.get(name).and_then(Json::as_f64);
    Some(StreamQuality {
        loss: hundredths(of("loss_percent")?),
        jitter: duration(of("jitter_ms")?),
        jitter_highest: duration(of("jitter_highest_ms")?),
        mos: Mos(hundredths(of("mos")?)),
    })
}

/// To the microsecond.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

fn duration(ms: f64) -> Duration {
    Duration::from_micros((ms * 1_000.0).round() as u64) // nothing below 0, nothing beyond what fits
}

fn hundredths(value: f64) -> u16 {
    (value * 100.0).round() as u16 // as above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let stream = StreamQuality {
            loss: 123,
            jitter: Duration::from_micros(2_125),
            jitter_highest: Duration::from_micros(40_001),
            mos: Mos(418),
        };
        let round_trip = RoundTrip { mean: Duration::from_micros(12_345), longest: Duration::from_millis(40) };
        let known = Quality { round_trip: Some(round_trip), heard: Some(stream), reported: None, one_way: 2 };
        for quality in [known, Quality { reported: Some(stream), heard: None, round_trip: None, ..known }] {
            let json: Json = serde_json::from_str(&quality_to_json(&quality).to_string()).unwrap();
            assert_eq!(quality_from_json(&json), quality);
        }
        assert_eq!(quality_to_json(&Quality::default()), Json::Null);
    }

    #[test]
    fn what_is_not_understood_is_not_known() {
        for text in ["null", "{}", "[]", r#"{"heard":{"mos":"x"},"one_way":-1,"round_trip_ms":1}"#] {
            assert_eq!(quality_from_json(&serde_json::from_str(text).unwrap()), Quality::default(), "{text}");
        }
    }
}
