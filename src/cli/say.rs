//! `contesta say KIND VALUE`: the words of a value, and its audio.
#![expect(clippy::disallowed_methods, reason = "a command writes the file it is asked for")]

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::audio::g711::Law;
use crate::audio::wav;
use crate::case::Folio;
use crate::cli::folders::FoldersArgs;
use crate::edge::files;
use crate::edge::prompt_audio::PromptAudio;
use crate::operator::Prompts;
use crate::speech::{self, Gender, Say, Word};
use crate::{audio, duration_text};

/// Say a value as callers hear it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What sort of value it is.
    kind: SayKind,
    /// The value: `21`, `2226057239`, `21.50`, `2026-03-01`, `17:30`, `2h30m`, `a@b.mx`; for `hours` a calendar, `beneleit.asesores`.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// A cardinal that counts something feminine.
    #[arg(long)]
    feminine: bool,
    /// A cardinal that stands before a masculine noun: «veintiún».
    #[arg(long)]
    apocope: bool,
    /// Write the audio to this WAV file.
    #[arg(long)]
    wav: Option<PathBuf>,
    /// Whose recordings to use; the shared ones without it.
    #[arg(long, default_value = "")]
    operator: String,
    #[command(flatten)]
    folders: FoldersArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum SayKind {
    Cardinal,
    Digits,
    PhoneMx,
    Folio,
    Imei,
    MoneyMxn,
    Date,
    Time,
    Moment,
    Duration,
    Hours,
    Spell,
}

/// Prints the words; writes the audio if asked.
///
/// # Errors
/// The value is not of its kind, or its audio is missing or cannot be written.
pub fn run(args: Args) -> anyhow::Result<()> {
    let words = speech::say(&value(&args)?)?;
    if matches!(args.kind, SayKind::Folio)
        && let Err(why) = Folio::parse(args.value.trim())
    {
        eprintln!("no case can have this folio: {why}");
    }
    if args.json {
        let list: Vec<serde_json::Value> = words.iter().map(json).collect();
        println!("{:#}", serde_json::json!({ "text": speech::text(&words), "words": list }));
    } else {
        println!("{}", speech::text(&words));
        let keys: Vec<String> = words.iter().map(word_name).collect();
        println!("{}", keys.join(" "));
    }
    match &args.wav {
        Some(path) => write_wav(&words, &args, path),
        None => Ok(()),
    }
}

fn value(args: &Args) -> anyhow::Result<Say> {
    let text = args.value.trim();
    Ok(match args.kind {
        SayKind::Cardinal => {
            let gender = if args.feminine { Gender::Feminine } else { Gender::Masculine };
            let value = text.parse().ok().with_context(|| format!("«{text}» is no whole number of 64 bits"))?;
            Say::Cardinal { value, gender, apocope: args.apocope }
        }
        SayKind::Digits => Say::Digits(text.to_owned()),
        SayKind::PhoneMx => Say::PhoneMx(text.to_owned()),
        SayKind::Folio => Say::Folio(text.to_owned()),
        SayKind::Imei => Say::Imei(text.to_owned()),
        SayKind::MoneyMxn => {
            Say::MoneyMxn(centavos(text).with_context(|| format!("«{text}» is no amount like 21.50"))?)
        }
        SayKind::Date => Say::Date(text.parse().ok().with_context(|| format!("«{text}» is no date like 2026-03-01"))?),
        SayKind::Time => Say::Time(text.parse().ok().with_context(|| format!("«{text}» is no time like 17:30"))?),
        SayKind::Moment => Say::Moment(moment(text)?),
        SayKind::Duration => Say::Duration(duration_text::parse(text)?),
        SayKind::Hours => {
            let (operators, _) = files::load_operators(&args.folders.settle()?.flows)?;
            let (operator, calendar) =
                text.split_once('.').context("hours takes operator.calendar, like beneleit.asesores")?;
            let operator = files::find_operator(&operators, operator)?;
            let known: Vec<&str> = operator.calendars.keys().map(String::as_str).collect();
            let missing = || format!("{} has no calendar «{calendar}»; it has {}", operator.id, known.join(", "));
            Say::Hours(operator.calendars.get(calendar).with_context(missing)?.weekly.clone())
        }
        SayKind::Spell => Say::Spell(text.to_owned()),
    })
}

/// The wall clock that callers hear. An offset could only be dropped, and then the hour might be another than was meant.
fn moment(text: &str) -> anyhow::Result<DateTime> {
    ensure!(
        text.parse::<Timestamp>().is_err(),
        "«{text}» has an offset: write the hour that callers hear, like 2026-03-01T17:30"
    );
    text.parse().ok().with_context(|| format!("«{text}» is no moment like 2026-03-01T17:30"))
}

/// `21`, `21.5`, `-21.50`, `1,250.00`.
fn centavos(text: &str) -> Option<i64> {
    let text = text.replace([',', '$'], "");
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.to_owned()),
        None => (false, text),
    };
    let (pesos, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if pesos.is_empty() || fraction.len() > 2 || !digits(pesos) || !digits(fraction) {
        return None;
    }
    let centavos = format!("{pesos}{fraction:0<2}").parse::<i64>().ok()?;
    Some(if negative { -centavos } else { centavos })
}

fn write_wav(words: &[Word], args: &Args, path: &Path) -> anyhow::Result<()> {
    let prompts = Prompts::new(&args.operator, Vec::new());
    let loaded = PromptAudio::new(&args.folders.settle()?.prompts).load(&prompts);
    let mut samples: Vec<i16> = Vec::new();
    for word in words {
        match word {
            Word::Key(key) => {
                let defect = loaded.defects.iter().find(|defect| defect.key == *key && defect.fault.is_serious());
                if let Some(defect) = defect {
                    bail!("{} is {}: `contesta prompts render` makes it", defect.file, defect.fault);
                }
                let place = prompts.id(key).and_then(|id| usize::try_from(id.0).ok());
                let clip = place.and_then(|place| loaded.clips.get(place)).context("a word without a place")?;
                samples.extend(clip.g711(Law::Mu).iter().map(|byte| audio::g711::decode(Law::Mu, *byte)));
            }
            Word::Pause(pause) => {
                let silence = usize::try_from(pause.as_millis() * 8).unwrap_or(0);
                samples.extend(std::iter::repeat_n(0, silence));
            }
        }
    }
    ensure!(!samples.is_empty(), "there is nothing to hear");
    std::fs::write(path, wav::write(&samples, 8_000)).with_context(|| format!("cannot write {}", path.display()))
}

fn word_name(word: &Word) -> String {
    match word {
        Word::Key(key) => (*key).to_owned(),
        Word::Pause(pause) => format!("({})", duration_text::write(*pause)),
    }
}

fn json(word: &Word) -> serde_json::Value {
    match word {
        Word::Key(key) => serde_json::json!({ "key": key, "text": speech::text_of(key) }),
        Word::Pause(pause) => serde_json::json!({ "pause_ms": u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_wall_clock_and_its_slips_are_told_in_our_words() {
        assert_eq!(moment("2026-03-01T17:30").unwrap(), jiff::civil::date(2026, 3, 1).at(17, 30, 0, 0));
        for (text, why) in [
            ("2026-03-01T17:30Z", "has an offset: write the hour that callers hear, like 2026-03-01T17:30"),
            ("2026-03-01T17:30-06:00", "has an offset: write the hour that callers hear, like 2026-03-01T17:30"),
            ("mañana", "is no moment like 2026-03-01T17:30"),
        ] {
            assert_eq!(format!("{:#}", moment(text).unwrap_err()), format!("«{text}» {why}"));
        }
    }

    #[test]
    fn amounts_are_read_exactly() {
        for (text, expected) in [
            ("21.50", Some(2_150)),
            ("21.5", Some(2_150)),
            ("21", Some(2_100)),
            ("-0.05", Some(-5)),
            ("$1,250.00", Some(125_000)),
            ("21.505", None),
            ("", None),
            (".5", None),
            ("veinte", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(centavos(text), expected, "{text}");
        }
    }
}
