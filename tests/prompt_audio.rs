//! Prompts as files: the recorded words that ship are all there and can be heard, and a damaged file costs one prompt, not a call.
#![expect(clippy::disallowed_methods, reason = "writes the files that it then loads")]
#![expect(clippy::unwrap_used, reason = "a test whose files cannot be made has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use contesta::audio::{recording, wav};
use contesta::edge::files;
use contesta::edge::prompt_audio::{AudioFault, PromptAudio};
use contesta::operator::Prompts;
use contesta::operator::prompts::Prompt;
use contesta::speech;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of this test's own, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("contesta-{name}-{}", std::process::id()));
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn prompts(keys: &[&str]) -> Prompts {
    let prompt = |key: &&str| Prompt { key: (*key).to_owned(), text: format!("«{key}»"), file: None };
    Prompts::new("x", keys.iter().map(prompt).collect())
}

#[test]
fn every_recorded_word_ships_and_can_be_heard() {
    let words = Prompts::new("", Vec::new());
    let root = project().join("prompts");
    let loaded = PromptAudio::new(&root).load(&words);
    assert_eq!(loaded.defects, []);
    assert_eq!((loaded.clips.len(), loaded.recordings.len()), (words.len(), speech::vocabulary().len()));
    for word in &loaded.recordings {
        let level = word.level;
        assert!((-24.0..=-18.0).contains(&level.rms_dbfs) && level.peak_dbfs < -1.0, "{}: {level:?}", word.key);
        assert!(level.duration > Duration::from_millis(150) && level.duration < Duration::from_secs(2), "{}", word.key);
        // A recording made by the program says what it says; if a word's text changes, so must its audio.
        let said = recording::text_of(&fs::read(root.join(&word.file)).unwrap());
        assert!(said.is_none_or(|said| said == speech::text_of(&word.key)), "{} is outdated", word.key);
    }
}

#[test]
fn a_prompt_without_usable_audio_has_a_tone_so_that_a_call_goes_on() {
    let root = folder("audio");
    fs::create_dir_all(root.join("x")).unwrap();
    let loud: Vec<i16> = (0..4_000_i16).map(|index| (index % 40) * 200).collect();
    fs::write(root.join("x/good.wav"), wav::write(&loud, 8_000)).unwrap();
    fs::write(root.join("x/quiet.wav"), wav::write(&[5; 4_000], 8_000)).unwrap();
    fs::write(root.join("x/flat.wav"), wav::write(&[i16::MAX; 4_000], 8_000)).unwrap();
    fs::write(root.join("x/broken.mp3"), b"this is no sound").unwrap();
    let prompts = prompts(&["good", "gone", "quiet", "flat", "broken"]);
    let loaded = PromptAudio::new(&root).load(&prompts);
    fs::remove_dir_all(&root).unwrap();

    let defects: Vec<(&str, &str, &AudioFault)> = loaded
        .defects
        .iter()
        .map(|defect| (defect.key.as_str(), defect.file.as_str(), &defect.fault))
        .take(4)
        .collect();
    assert_eq!(
        defects[..3],
        [
            ("gone", "x/gone.wav", &AudioFault::Missing),
            ("quiet", "x/quiet.wav", &AudioFault::Silent),
            ("flat", "x/flat.wav", &AudioFault::Clipping),
        ]
    );
    assert!(matches!(defects[3], ("broken", "x/broken.mp3", AudioFault::Unreadable(_))), "{defects:?}");
    assert_eq!((loaded.clips.len(), loaded.clips[0].samples()), (prompts.len(), 4_000));
    // The missing and the broken prompt share one tone of a fifth of a second.
    assert!(Arc::ptr_eq(&loaded.clips[1], &loaded.clips[4]));
    assert_eq!(loaded.clips[1].duration(), Duration::from_millis(200));
}

#[test]
fn a_file_that_two_operators_play_is_decoded_once() {
    let root = folder("shared");
    fs::create_dir_all(root.join("es-MX")).unwrap();
    fs::create_dir_all(root.join("y/es-MX")).unwrap();
    let samples = |length: usize| recording::write(&vec![4_000; length], "cero");
    fs::write(root.join("es-MX/num.0.wav"), samples(800)).unwrap();
    fs::write(root.join("es-MX/num.1.wav"), samples(800)).unwrap();
    // One operator's own recording of a word goes before the shared one.
    fs::write(root.join("y/es-MX/num.1.wav"), samples(1_600)).unwrap();
    let mut audio = PromptAudio::new(&root);
    let (x, y) = (Prompts::new("x", Vec::new()), Prompts::new("y", Vec::new()));
    let (of_x, of_y) = (audio.load(&x), audio.load(&y));
    fs::remove_dir_all(&root).unwrap();
    let place = |key: &str| usize::try_from(x.id(key).unwrap().0).unwrap();
    assert!(Arc::ptr_eq(&of_x.clips[place("num.0")], &of_y.clips[place("num.0")]));
    assert_eq!((of_x.clips[place("num.1")].samples(), of_y.clips[place("num.1")].samples()), (800, 1_600));
}

#[test]
fn operators_are_found_by_their_folder_and_faults_name_the_file_as_it_was_asked_for() {
    let root = folder("flows");
    for name in ["b", "a", "notes"] {
        fs::create_dir_all(root.join(name).join("tests")).unwrap();
    }
    let good = "schema = 1\nnumbers = []\n[operator]\nid = \"a\"\nname = \"A\"\ntime_zone = \"America/Mexico_City\"\nfolio_prefix = 1\n";
    fs::write(root.join("a/operator.toml"), good).unwrap();
    fs::write(root.join("a/tests/call.toml"), "not even TOML").unwrap();
    fs::write(root.join("a/readme.md"), "not TOML either").unwrap();
    fs::write(root.join("b/operator.toml"), good.replace("\"a\"", "\"b\"")).unwrap();
    let folders = files::operator_dirs(&root).unwrap();
    assert_eq!(folders, [root.join("a"), root.join("b")]);
    assert_eq!(files::read_operator_dir(&root.join("a")).unwrap().len(), 1);
    let error = files::load_operators(&root).unwrap_err().to_string();
    assert!(
        error.contains("b/operator.toml:7:16") && error.contains("«a» begins its folios with 1 already"),
        "{error}"
    );
    fs::write(
        root.join("b/operator.toml"),
        good.replace("\"a\"", "\"b\"").replace("= 1\n", "= 2\n").replace("schema = 2", "schema = 1"),
    )
    .unwrap();
    let (operators, _) = files::load_operators(&root).unwrap();
    let error = files::find_operator(&operators, "zebra").unwrap_err().to_string();
    assert_eq!(error, "there is no operator «zebra»; there are a, b");
    fs::write(root.join("a/hours.toml"), [0xff, 0xfe]).unwrap();
    let error = files::load_operators(&root).unwrap_err().to_string();
    assert!(error.contains("a/hours.toml"), "{error}");
    fs::remove_dir_all(&root).unwrap();
    assert!(files::load_operators(&root).is_err());
}
