//! Wounds for messages: valid and torturing ones to begin with, and what chance does to them.

use std::path::{Path, PathBuf};

use contesta::ids::Ids;

use super::{ANSWER, Call, OFFER, response};

/// Every torture message, and valid messages of calls that do not exist.
pub fn corpus() -> Vec<Vec<u8>> {
    let torture = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture"));
    let mut files: Vec<PathBuf> = ["rfc4475", "rfc5118"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(torture.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dat"))
        .collect();
    files.sort();
    let mut corpus: Vec<_> = files.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut call = Call::new("corpus");
    call.headers = "Record-Route: <sip:192.0.2.1;lr>, <sip:192.0.2.2;lr>\r\nUser-Agent: Phone\r\n".to_owned();
    corpus.push(call.invite().into_bytes());
    corpus
        .push(call.invite().replace("Via:", "v:").replace("From:", "f:").replace("Content-Length:", "l:").into_bytes());
    for method in ["ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "REGISTER"] {
        corpus.push(call.request(method, 1, "invite", "", "").into_bytes());
    }
    corpus.extend((0..40).map(|number| Call::new(&format!("new{number}")).invite().into_bytes()));
    corpus.push(response(call.invite().as_bytes(), 200, "x", "Contact: <sip:a@b>\r\n", ANSWER).into_bytes());
    corpus
}

/// Valid requests within the dialog of `victim`.
pub fn within(victim: &Call) -> Vec<Vec<u8>> {
    let sdp = "Contact: <sip:alice@192.0.2.20>\r\nContent-Type: application/sdp\r\n";
    let methods = ["INVITE", "ACK", "INFO", "UPDATE", "OPTIONS", "BYE"];
    let request = |(number, method): (u32, &str)| {
        victim.request(method, 2 + number, &format!("within{number}"), sdp, OFFER).into_bytes()
    };
    (0..30).zip(methods.into_iter().cycle()).map(request).collect()
}

/// One to four random wounds.
pub fn mutate(ids: &mut Ids, corpus: &[Vec<u8>], message: &mut Vec<u8>) {
    for _ in 0..=ids.below(4) {
        let at = |ids: &mut Ids, length: usize| usize::try_from(ids.below(length as u64 + 1)).unwrap();
        let position = at(ids, message.len());
        match ids.below(8) {
            0 => {
                if let Some(byte) = message.get_mut(position) {
                    *byte ^= 1 << ids.below(8);
                }
            }
            1 => message.truncate(position),
            // Bytes that mean something, or that surely do not belong.
            2 => {
                let marks = b"\0\r\n\t ;,:<>\"\\@%?=/[]*\xff\x80";
                let mark = marks[at(ids, marks.len() - 1)];
                message.splice(position..position, std::iter::repeat_n(mark, 1 + at(ids, 20)));
            }
            // The tail of another message.
            3 => {
                let other = &corpus[at(ids, corpus.len() - 1)];
                message.truncate(position);
                message.extend_from_slice(&other[at(ids, other.len())..]);
            }
            // A line twice, or moved.
            4 => {
                let lines: Vec<_> = message.split_inclusive(|&byte| byte == b'\n').collect();
                let (from, to) = (at(ids, lines.len()), at(ids, lines.len()));
                if let Some(line) = lines.get(from) {
                    let mut copied: Vec<_> = lines.clone();
                    copied.insert(to.min(copied.len()), line);
                    *message = copied.concat();
                }
            }
            // A line gone.
            5 => {
                let mut lines: Vec<_> = message.split_inclusive(|&byte| byte == b'\n').collect();
                let from = at(ids, lines.len());
                if from < lines.len() {
                    lines.remove(from);
                    *message = lines.concat();
                }
            }
            // A stretch gone.
            6 => {
                let end = (position + at(ids, 40)).min(message.len());
                message.drain(position..end);
            }
            // Digits grow.
            _ => {
                if let Some(digit) = message[position..].iter().position(u8::is_ascii_digit) {
                    let position = position + digit;
                    message.splice(position..position, b"99999999999".iter().copied().take(1 + at(ids, 10)));
                }
            }
        }
    }
}
