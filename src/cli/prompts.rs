//! `contesta prompts`: what audio there is, what is wrong with it, and audio for what nobody has recorded.
#![expect(clippy::disallowed_methods, reason = "commands read and write the files they are asked for")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use crate::audio::recording;
use crate::cli::columns::{aligned, counted};
use crate::cli::folders::FoldersArgs;
use crate::edge::espeak::Voice;
use crate::edge::files;
use crate::edge::prompt_audio::{Loaded, PromptAudio};
use crate::operator::{Operator, PromptId, Prompts};

/// Report on the prompts' audio, or make what is missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: PromptsCommand,
}

#[derive(Debug, Subcommand)]
enum PromptsCommand {
    /// Read prompts aloud with espeak-ng: those without audio, and those it made before whose text has changed.
    Render(RenderArgs),
    /// List missing, unreadable, silent, clipping, outdated and unused audio.
    Report(ReportArgs),
    /// Print what a person has to record: file, key and text, as CSV.
    Script(ScriptArgs),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Only this operator; all of them without it.
    #[arg(long)]
    operator: Option<String>,
    #[command(flatten)]
    folders: FoldersArgs,
}

#[derive(Debug, clap::Args)]
struct RenderArgs {
    #[command(flatten)]
    place: Place,
    /// Only the shared recorded words (numbers, days, letters), which need no operator.
    #[arg(long, conflicts_with = "operator")]
    words: bool,
    /// A voice of espeak-ng.
    #[arg(long, default_value = "es-419")]
    voice: String,
    /// Words a minute.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u16).range(80..=300))]
    speed: u16,
    /// Pitch, 0 to 99.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u8).range(0..=99))]
    pitch: u8,
    /// Only prompts without any audio.
    #[arg(long, conflicts_with = "force")]
    missing: bool,
    /// Also make again everything that this command made before. A person's recordings are never touched.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct ReportArgs {
    #[command(flatten)]
    place: Place,
    /// List every prompt, not only those that need someone.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ScriptArgs {
    #[command(flatten)]
    place: Place,
    /// Leave out what a person has recorded already.
    #[arg(long)]
    missing: bool,
}

/// Runs the sub-command.
///
/// # Errors
/// Faults in the operators' files, no espeak-ng, a file that cannot be written; for a report, prompts that callers would not hear.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        PromptsCommand::Render(args) => render(&args),
        PromptsCommand::Report(args) => report(&args),
        PromptsCommand::Script(args) => script(&args),
    }
}

/// Recorded words stand inside sentences and get tight ends; prompts breathe.
const WORD_ENDS_MS: (usize, usize) = (10, 35);
const PROMPT_ENDS_MS: (usize, usize) = (30, 120);

/// How espeak-ng has to be written to for words it would read by Spanish rules.
const PRONUNCIATIONS: [(&str, &str); 4] =
    [("net.gmail", "yimeil"), ("net.hotmail", "jotmeil"), ("net.outlook", "autluk"), ("net.yahoo", "yajú")];
/// The same for words inside the operators' own texts.
const RESPELLINGS: [(&str, &str); 4] =
    [("Blue Point", "Blu Point"), ("blue point", "blu point"), ("IMEI", "iméi"), ("WhatsApp", "uátsap")];

fn render(args: &RenderArgs) -> anyhow::Result<()> {
    let folders = args.place.folders.settle()?;
    let voice = Voice { name: args.voice.clone(), words_a_minute: args.speed, pitch: args.pitch };
    let mut jobs: BTreeMap<PathBuf, Job> = BTreeMap::new();
    if args.words {
        jobs.extend(jobs_of(&Prompts::new("", Vec::new()), &folders.prompts, args)?);
    } else {
        let (operators, _) = files::load_operators(&folders.flows)?;
        for operator in chosen(&operators, &args.place)? {
            jobs.extend(jobs_of(&operator.prompts, &folders.prompts, args)?);
        }
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(u64::try_from(jobs.len()).unwrap_or(u64::MAX)).with_style(style);
    for (path, job) in &jobs {
        bar.set_message(path.display().to_string());
        make(path, job, &voice).with_context(|| path.display().to_string())?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{} made", counted(jobs.len(), "prompt"));
    Ok(())
}

/// A prompt to be made.
struct Job {
    text: String,
    spoken: String,
    ends_ms: (usize, usize),
}

fn jobs_of(prompts: &Prompts, root: &Path, args: &RenderArgs) -> anyhow::Result<Vec<(PathBuf, Job)>> {
    let mut jobs = Vec::new();
    for (id, candidates) in prompts.files() {
        let existing = candidates.iter().map(|file| root.join(file)).find(|path| path.is_file());
        let path = match existing {
            None => {
                // Words are made where all operators find them, which is the last place that is looked in.
                let made = match candidates.as_slice() {
                    [named] => Some(named),
                    many => many.iter().rev().find(|file| file.ends_with(".wav")),
                };
                let Some(made) = made else { continue };
                ensure!(
                    made.ends_with(".wav"),
                    "{made} is missing and can only be made as a .wav file: rename it in prompts.toml"
                );
                root.join(made)
            }
            Some(path) => {
                let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
                match recording::text_of(&bytes) {
                    Some(said) if args.force || (!args.missing && said != prompts.text(id)) => path,
                    Some(_) | None => continue,
                }
            }
        };
        jobs.push((path, job(prompts, id)));
    }
    Ok(jobs)
}

fn job(prompts: &Prompts, id: PromptId) -> Job {
    let (key, text) = (prompts.key(id), prompts.text(id));
    let spoken = match PRONUNCIATIONS.iter().find(|(word, _)| *word == key) {
        Some((_, spoken)) => (*spoken).to_owned(),
        None => RESPELLINGS.iter().fold(text.to_owned(), |text, (written, spoken)| text.replace(written, spoken)),
    };
    let ends_ms = if prompts.is_word(id) { WORD_ENDS_MS } else { PROMPT_ENDS_MS };
    Job { text: text.to_owned(), spoken, ends_ms }
}

fn make(path: &Path, job: &Job, voice: &Voice) -> anyhow::Result<()> {
    let spoken = voice.speak(&job.spoken)?.resample_to(8_000)?;
    let mastered = recording::master(&spoken, job.ends_ms.0, job.ends_ms.1);
    ensure!(!mastered.samples.is_empty(), "espeak-ng said nothing for «{}»", job.spoken);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Written beside and renamed: a call that loads meanwhile finds the old file or the new one.
    let beside = path.with_extension("part");
    fs::write(&beside, recording::write(&mastered.samples, &job.text))?;
    fs::rename(&beside, path)?;
    Ok(())
}

fn chosen<'a>(operators: &'a [Operator], place: &Place) -> anyhow::Result<Vec<&'a Operator>> {
    match &place.operator {
        Some(id) => Ok(vec![files::find_operator(operators, id)?]),
        None => Ok(operators.iter().collect()),
    }
}

/// A file is a person's recording when it is there and was not made by this program.
fn script(args: &ScriptArgs) -> anyhow::Result<()> {
    let folders = args.place.folders.settle()?;
    let (operators, _) = files::load_operators(&folders.flows)?;
    let mut table = csv::Writer::from_writer(std::io::stdout());
    table.write_record(["file", "key", "text"])?;
    for operator in chosen(&operators, &args.place)? {
        for (id, candidates) in operator.prompts.files() {
            let existing = candidates.iter().map(|file| folders.prompts.join(file)).find(|path| path.is_file());
            let recorded = match existing {
                Some(path) => {
                    recording::text_of(&fs::read(&path).with_context(|| path.display().to_string())?).is_none()
                }
                None => false,
            };
            if let Some(file) = candidates.first().filter(|_| !(args.missing && recorded)) {
                table.write_record([file.as_str(), operator.prompts.key(id), operator.prompts.text(id)])?;
            }
        }
    }
    Ok(table.flush()?)
}

/// One line of a report.
struct Line {
    key: String,
    file: String,
    fault: Option<String>,
    serious: bool,
    seconds: f64,
    peak_dbfs: f32,
    rms_dbfs: f32,
}

fn report(args: &ReportArgs) -> anyhow::Result<()> {
    let folders = args.place.folders.settle()?;
    let (operators, _) = files::load_operators(&folders.flows)?;
    let mut audio = PromptAudio::new(&folders.prompts);
    let (mut answers, mut serious) = (Vec::new(), 0);
    for operator in chosen(&operators, &args.place)? {
        let loaded = audio.load(&operator.prompts);
        let mut lines = lines(&operator.prompts, &loaded, &folders.prompts);
        lines.extend(unused(operator, &folders.prompts));
        let seconds: f64 = lines.iter().map(|line| line.seconds).sum();
        serious += lines.iter().filter(|line| line.serious).count();
        let faults = lines.iter().filter(|line| line.fault.is_some()).count();
        lines.retain(|line| args.all || line.fault.is_some());
        if args.json {
            let lines: Vec<serde_json::Value> = lines.iter().map(json).collect();
            answers.push(serde_json::json!({ "operator": operator.id, "prompts": operator.prompts.len(), "seconds": seconds, "lines": lines }));
            continue;
        }
        let count = counted(operator.prompts.len(), "prompt");
        println!("{}: {count}, {seconds:.0} s of audio, {faults} to look at", operator.id);
        aligned(&lines.iter().map(cells).collect::<Vec<_>>()).iter().for_each(|line| println!("  {line}"));
    }
    if args.json {
        println!("{:#}", serde_json::Value::Array(answers));
    }
    if serious > 0 {
        bail!(
            "{} would not be heard; `contesta prompts render` makes those that are missing",
            counted(serious, "prompt")
        );
    }
    Ok(())
}

fn lines(prompts: &Prompts, loaded: &Loaded, root: &Path) -> Vec<Line> {
    let recorded: BTreeMap<&str, &_> = loaded.recordings.iter().map(|found| (found.key.as_str(), found)).collect();
    let defects: BTreeMap<&str, &_> = loaded.defects.iter().map(|defect| (defect.key.as_str(), defect)).collect();
    prompts
        .ids()
        .map(|id| {
            let key = prompts.key(id);
            let (found, defect) = (recorded.get(key), defects.get(key));
            let file = found.map(|found| found.file.clone()).or_else(|| defect.map(|defect| defect.file.clone()));
            let file = file.unwrap_or_default();
            let said = fs::read(root.join(&file)).ok().and_then(|bytes| recording::text_of(&bytes));
            let outdated = said.filter(|said| said != prompts.text(id)).map(|_| "outdated".to_owned());
            Line {
                key: key.to_owned(),
                fault: defect.map(|defect| defect.fault.to_string()).or(outdated),
                serious: defect.is_some_and(|defect| defect.fault.is_serious()),
                seconds: found.map_or(0.0, |found| found.level.duration.as_secs_f64()),
                peak_dbfs: found.map_or(f32::NEG_INFINITY, |found| found.level.peak_dbfs),
                rms_dbfs: found.map_or(f32::NEG_INFINITY, |found| found.level.rms_dbfs),
                file,
            }
        })
        .collect()
}

/// Audio in the operator's folder that no prompt plays.
fn unused(operator: &Operator, root: &Path) -> Vec<Line> {
    let used: BTreeSet<String> = operator.prompts.files().flat_map(|(_, candidates)| candidates).collect();
    let Ok(entries) = fs::read_dir(root.join(&operator.id)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| format!("{}/{name}", operator.id))
        .filter(|file| !used.contains(file))
        .map(|file| Line {
            key: String::new(),
            file,
            fault: Some("unused".to_owned()),
            serious: false,
            seconds: 0.0,
            peak_dbfs: f32::NEG_INFINITY,
            rms_dbfs: f32::NEG_INFINITY,
        })
        .collect()
}

fn cells(line: &Line) -> Vec<String> {
    vec![
        line.key.clone(),
        format!("{:>6.1} s", line.seconds),
        format!("peak {:>6.1}", line.peak_dbfs),
        format!("rms {:>6.1}", line.rms_dbfs),
        line.fault.clone().unwrap_or_else(|| "good".to_owned()),
        line.file.clone(),
    ]
}

fn json(line: &Line) -> serde_json::Value {
    let finite = |value: f32| value.is_finite().then_some(value);
    serde_json::json!({
        "key": line.key,
        "file": line.file,
        "fault": line.fault,
        "seconds": line.seconds,
        "peak_dbfs": finite(line.peak_dbfs),
        "rms_dbfs": finite(line.rms_dbfs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_made_where_every_operator_finds_them() {
        let folder = std::env::temp_dir().join(format!("contesta-render-{}", std::process::id()));
        let args = RenderArgs {
            place: Place { operator: None, folders: FoldersArgs::default() },
            words: true,
            voice: String::new(),
            speed: 150,
            pitch: 45,
            missing: false,
            force: false,
        };
        let prompts = Prompts::new("beneleit", Vec::new());
        let jobs: BTreeMap<PathBuf, Job> = jobs_of(&prompts, &folder, &args).unwrap().into_iter().collect();
        let gmail = &jobs[&folder.join("es-MX/net.gmail.wav")];
        assert_eq!((gmail.text.as_str(), gmail.spoken.as_str()), ("gmail", "yimeil"));
        assert_eq!(jobs.len(), prompts.len());
    }

    #[test]
    fn only_its_own_files_whose_text_changed_are_made_again() {
        let folder = std::env::temp_dir().join(format!("contesta-again-{}", std::process::id()));
        fs::create_dir_all(folder.join("beneleit")).unwrap();
        let prompt = |key: &str| crate::operator::prompts::Prompt { key: key.into(), text: "hola".into(), file: None };
        let prompts = Prompts::new("beneleit", ["same", "changed", "human", "gone"].map(prompt).to_vec());
        let write = |name: &str, bytes: Vec<u8>| fs::write(folder.join("beneleit").join(name), bytes).unwrap();
        write("same.wav", recording::write(&[500; 80], "hola"));
        write("changed.wav", recording::write(&[500; 80], "adiós"));
        write("human.wav", crate::audio::wav::write(&[500; 80], 8_000));
        let made = |force: bool, missing: bool| -> Vec<String> {
            let place = Place { operator: None, folders: FoldersArgs::default() };
            let args = RenderArgs { place, words: false, voice: String::new(), speed: 150, pitch: 45, missing, force };
            let jobs = jobs_of(&prompts, &folder, &args).unwrap().into_iter();
            let own = jobs.filter(|(path, _)| path.starts_with(folder.join("beneleit")));
            own.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(made(false, false), ["changed.wav", "gone.wav"]);
        assert_eq!(made(false, true), ["gone.wav"]);
        assert_eq!(made(true, false), ["same.wav", "changed.wav", "gone.wav"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
