//! What the DNS answered, for as long as it holds (RFC 1035 §3.2.1, RFC 2308 for what does not exist). While the DNS does not answer,
//! the last good answer holds on: a carrier is not lost because its name server is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Hosts of a service (RFC 2782).
    Srv,
    /// Services of a domain (RFC 3403).
    Naptr,
}

/// One question to the DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Lower case, without the dot at the end.
    pub name: String,
    /// Of this kind.
    pub kind: Kind,
}

/// One record of an answer. Names are in lower case, without the dot at the end; the root is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV.
    Srv {
        /// The lowest comes first.
        priority: u16,
        /// Its share among those of its priority.
        weight: u16,
        /// Its port.
        port: u16,
        /// Its host.
        target: String,
    },
    /// NAPTR.
    Naptr {
        /// The lowest comes first.
        order: u16,
        /// Then the lowest of these.
        preference: u16,
        /// `s`: the replacement has SRV records.
        flags: String,
        /// `SIP+D2U` and the like.
        service: String,
        /// The next name to ask for.
        replacement: String,
    },
}

/// What the DNS said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At least one record.
    Records {
        /// All of the kind asked for.
        records: Vec<Record>,
        /// How long they hold.
        ttl: Duration,
    },
    /// The name does not exist, or has nothing of the kind.
    Nothing {
        /// How long that holds.
        ttl: Duration,
    },
    /// Nobody answered, or with a fault: why.
    Failed(String),
}

/// Answers by question.
#[derive(Debug, Default)]
pub struct Cache {
    known: BTreeMap<Question, Known>,
}

#[derive(Debug)]
struct Known {
    answer: Answer,
    until: Instant,
}

/// No answer is taken for shorter: names with a time of 0 would be asked for without end.
const TTL_MIN: Duration = Duration::from_secs(5);

/// No answer is taken for longer.
const TTL_MAX: Duration = Duration::from_secs(3_600);

/// What does not exist may exist soon.
const NOTHING_MAX: Duration = Duration::from_secs(300);

/// After a failure the DNS is asked again this much later.
const FAILED_FOR: Duration = Duration::from_secs(15);

/// Most questions kept: trunks are few, and their names change seldom.
const QUESTIONS_MAX: usize = 4_096;

impl Cache {
    /// Takes an answer. A failure does not take the place of records: they hold on until the DNS says something else.
    pub fn insert(&mut self, now: Instant, question: Question, answer: Answer) {
        let lasts = match &answer {
            Answer::Records { ttl, .. } => (*ttl).clamp(TTL_MIN, TTL_MAX),
            Answer::Nothing { ttl } => (*ttl).clamp(TTL_MIN, NOTHING_MAX),
            Answer::Failed(_) => FAILED_FOR,
        };
        let until = now + lasts;
        if let (Answer::Failed(_), Some(known)) = (&answer, self.known.get_mut(&question))
            && matches!(known.answer, Answer::Records { .. })
        {
            known.until = until;
            return;
        }
        if self.known.len() >= QUESTIONS_MAX && !self.known.contains_key(&question) {
            self.known.retain(|_, known| now < known.until);
            if self.known.len() >= QUESTIONS_MAX {
                self.known.pop_first();
            }
        }
        self.known.insert(question, Known { answer, until });
    }

    /// The answer that holds now, and until when.
    #[must_use]
    pub fn get(&self, now: Instant, question: &Question) -> Option<(&Answer, Instant)> {
        self.known.get(question).filter(|known| now < known.until).map(|known| (&known.answer, known.until))
    }
}

impl Kind {
    /// As zone files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
            Self::Naptr => "NAPTR",
        }
    }
}

impl Question {
    /// For a name as it is written.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.trim_end_matches('.').to_ascii_lowercase(), kind }
    }
}

impl fmt::Display for Question {
    /// `carrier.example SRV`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an arbitrary instant to count from")]

    use super::*;

    fn records(seconds: u64) -> Answer {
        let ttl = Duration::from_secs(seconds);
        Answer::Records { records: vec![Record::Address([192, 0, 2, 1].into())], ttl }
    }

    #[test]
    fn answers_hold_for_their_time_and_a_failure_leaves_the_last_good_one() {
        let (start, mut cache) = (Instant::now(), Cache::default());
        let question = || Question::new("A.example.", Kind::A);
        let after = |seconds| start + Duration::from_secs(seconds);
        let get = |cache: &Cache, seconds| cache.get(after(seconds), &question()).map(|(answer, _)| answer.clone());
        assert_eq!(get(&cache, 0), None);
        cache.insert(start, question(), records(60));
        assert_eq!((get(&cache, 59), get(&cache, 60)), (Some(records(60)), None));
        for failure in 0..100 {
            cache.insert(after(60 + failure * 15), question(), Answer::Failed("no answer".into()));
            assert_eq!(get(&cache, 60 + failure * 15), Some(records(60)));
        }
        // That it does not exist is an answer.
        let nothing = Answer::Nothing { ttl: Duration::from_secs(100_000) };
        cache.insert(after(2_000), question(), nothing.clone());
        assert_eq!((get(&cache, 2_299), get(&cache, 2_300)), (Some(nothing), None));
        cache.insert(after(2_300), question(), Answer::Failed("no answer".into()));
        assert_eq!(get(&cache, 2_301), Some(Answer::Failed("no answer".into())));
    }

    #[test]
    fn times_are_bounded() {
        let start = Instant::now();
        for (told, expected) in [(0, 5), (60, 60), (4_000_000_000, 3_600)] {
            let mut cache = Cache::default();
            cache.insert(start, Question::new("a", Kind::A), records(told));
            let (_, until) = cache.get(start, &Question::new("a", Kind::A)).unwrap();
            assert_eq!(until.duration_since(start).as_secs(), expected);
        }
    }
}
