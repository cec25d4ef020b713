//! What a test call offers, and how it presses keys: `--codec`, `--srtp`, `--dtmf`.

use crate::audio::Codec;
use crate::dtmf::Road;
use crate::rtp::srtp::Suite;
use crate::sdp::{EventPolicy, Negotiated, SrtpPolicy, Terms};

/// Options of commands that place calls.
#[derive(Debug, clap::Args)]
pub struct AudioArgs {
    /// The codecs to offer, the best first, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "pcmu,pcma")]
    pub codec: Vec<CodecName>,
    /// Offer SRTP: alone in every suite, alone in the suite named, or beside plain RTP (`offered`).
    #[arg(long, value_name = "SUITE", num_args = 0..=1, require_equals = true, default_missing_value = "required",
          value_parser = parse_srtp)]
    pub srtp: Option<Srtp>,
    /// How keys are pressed: as telephone events; as tones in the audio, which then offers no telephone events; or in SIP INFO.
    #[arg(long, value_enum, default_value = "rfc4733")]
    pub dtmf: DtmfRoad,
}

/// A road of keys by the name that telephones give it in their settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DtmfRoad {
    /// Telephone events (RFC 4733, once RFC 2833).
    #[value(alias = "rfc2833")]
    Rfc4733,
    /// Tones in the audio.
    Inband,
    /// SIP INFO with application/dtmf-relay.
    Info,
}

/// A codec by its RTP name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum CodecName {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722, wideband.
    G722,
    /// Opus.
    Opus,
}

/// How SRTP is offered.
#[derive(Clone, Copy, Debug)]
pub struct Srtp {
    policy: SrtpPolicy,
    suite: Option<Suite>,
}

impl AudioArgs {
    /// How keys are pressed.
    #[must_use]
    pub fn road(&self) -> Road {
        match self.dtmf {
            DtmfRoad::Rfc4733 => Road::TelephoneEvent,
            DtmfRoad::Inband => Road::InBand,
            DtmfRoad::Info => Road::Info,
        }
    }

    /// What is offered.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let mut codecs: Vec<Codec> = Vec::new();
        for name in &self.codec {
            let codec = match name {
                CodecName::Pcmu => Codec::Pcmu,
                CodecName::Pcma => Codec::Pcma,
                CodecName::G722 => Codec::G722,
                CodecName::Opus => Codec::Opus,
            };
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        let suites = self.srtp.and_then(|srtp| srtp.suite).into_iter().collect();
        let srtp = self.srtp.map_or(SrtpPolicy::Off, |srtp| srtp.policy);
        let events = if self.dtmf == DtmfRoad::Inband { EventPolicy::Off } else { EventPolicy::Offered };
        Terms { codecs, srtp, suites, events }
    }
}

/// What a call is in, for people: `opus, SRTP AEAD_AES_256_GCM`.
#[must_use]
pub fn describe(codec: Codec, suite: Option<Suite>) -> String {
    let protection = suite.map_or_else(|| "plain RTP".to_owned(), |suite| format!("SRTP {suite}"));
    format!("{}, {protection}", codec.encoding_name())
}

/// The suite of a negotiated stream.
#[must_use]
pub fn suite(negotiated: &Negotiated) -> Option<Suite> {
    negotiated.srtp.as_ref().map(|keys| keys.ours.suite())
}

fn parse_srtp(text: &str) -> Result<Srtp, String> {
    match text {
        "required" => Ok(Srtp { policy: SrtpPolicy::Required, suite: None }),
        "offered" => Ok(Srtp { policy: SrtpPolicy::Offered, suite: None }),
        name => match Suite::from_name(name) {
            Some(suite) => Ok(Srtp { policy: SrtpPolicy::Required, suite: Some(suite) }),
            None => Err(format!("expected required, offered, {}", Suite::ALL.map(Suite::name).join(", "))),
        },
    }
}
