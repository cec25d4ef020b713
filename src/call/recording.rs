//! When a call is recorded: what its operator allows, what its flow's notices said, and what may not be heard.
//!
//! ```text
//!                  the operator: none     notice                            all
//! answered                 –              –                                 begins
//! a notice, accepted       –              begins, or goes on                begins, or goes on
//! a notice, declined       –              stands still                      stands still
//! ```
//!
//! One call has one file: what stands still and goes on is one recording with a piece left out. While the flow asks for a
//! secret there is silence in it. It ends with the leg.

use crate::media::{RecordingChange, RecordingReport};
use crate::operator;

use super::Action;

/// The call's recording.
#[derive(Debug)]
pub(super) struct Recording {
    allowed: operator::Recording,
    /// Where it is to be written.
    file: String,
    /// Samples a second; `None` until the stream runs.
    rate: Option<u32>,
    state: State,
    /// The flow asks for what nobody may hear.
    secret: bool,
}

#[derive(Debug)]
enum State {
    NotBegun,
    Running { paused: bool },
    Over(RecordingReport),
}

impl Recording {
    pub(super) fn new(allowed: operator::Recording, file: String) -> Self {
        Self { allowed, file, rate: None, state: State::NotBegun, secret: false }
    }

    /// The leg's stream runs, in a codec of `sample_rate`. A telephone line is recorded at 8,000 samples a second, a wider one at
    /// 16,000: speech has nothing above.
    pub(super) fn media_runs(&mut self, sample_rate: u32) {
        self.rate = Some(sample_rate.min(16_000));
    }

    /// The call was answered.
    pub(super) fn answered(&mut self, out: &mut Vec<Action>) {
        if self.allowed == operator::Recording::All {
            self.go_on(out);
        }
    }

    /// A notice said that the call is recorded from here on, or no more.
    pub(super) fn noticed(&mut self, recorded: bool, out: &mut Vec<Action>) {
        match &mut self.state {
            _ if recorded && self.allowed != operator::Recording::None => self.go_on(out),
            State::Running { paused } if !recorded && !*paused => {
                *paused = true;
                out.push(Action::ChangeRecording(RecordingChange::Pause(true)));
            }
            State::NotBegun | State::Running { .. } | State::Over(_) => {}
        }
    }

    /// The caller is asked for a secret, or is no more.
    pub(super) fn secret(&mut self, secret: bool, out: &mut Vec<Action>) {
        self.secret = secret;
        if self.is_running() {
            out.push(Action::ChangeRecording(RecordingChange::Mute(secret)));
        }
    }

    /// Its file is finished, or was given up.
    pub(super) fn ended(&mut self, report: RecordingReport) {
        self.state = State::Over(report);
    }

    /// Its end was never reported.
    pub(super) fn give_up(&mut self) {
        if self.is_running() {
            let fault = Some("its end was not reported".to_owned());
            self.state = State::Over(RecordingReport { file: self.file.clone(), fault, ..RecordingReport::default() });
        }
    }

    /// True while its report is awaited.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// What became of it, for the call's record.
    pub(super) fn report(&self) -> Option<RecordingReport> {
        match &self.state {
            State::NotBegun | State::Running { .. } => None,
            State::Over(report) => Some(report.clone()),
        }
    }

    fn go_on(&mut self, out: &mut Vec<Action>) {
        match (&mut self.state, self.rate) {
            (State::NotBegun, Some(rate)) => {
                self.state = State::Running { paused: false };
                out.push(Action::StartRecording { file: self.file.clone(), rate });
                if self.secret {
                    out.push(Action::ChangeRecording(RecordingChange::Mute(true)));
                }
            }
            (State::Running { paused }, _) if *paused => {
                *paused = false;
                out.push(Action::ChangeRecording(RecordingChange::Pause(false)));
            }
            (State::NotBegun | State::Running { .. } | State::Over(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "2026-03-15/20260315-083000-k7m2p9.wav";

    fn start() -> Action {
        Action::StartRecording { file: FILE.into(), rate: 8_000 }
    }

    fn pause(paused: bool) -> Action {
        Action::ChangeRecording(RecordingChange::Pause(paused))
    }

    /// What is asked for when the call is answered and notices of recording are accepted, declined, accepted.
    fn story(allowed: operator::Recording) -> Vec<Action> {
        let (mut recording, mut out) = (Recording::new(allowed, FILE.into()), Vec::new());
        recording.media_runs(8_000);
        recording.answered(&mut out);
        [true, true, false, false, true].into_iter().for_each(|recorded| recording.noticed(recorded, &mut out));
        out
    }

    #[test]
    fn the_operator_says_which_calls_and_notices_from_where() {
        assert_eq!(story(operator::Recording::None), []);
        assert_eq!(story(operator::Recording::Notice), [start(), pause(true), pause(false)]);
        assert_eq!(story(operator::Recording::All), [start(), pause(true), pause(false)]);
        let (mut recording, mut out) = (Recording::new(operator::Recording::Notice, FILE.into()), Vec::new());
        recording.media_runs(48_000);
        recording.answered(&mut out);
        recording.noticed(false, &mut out);
        assert_eq!((out.len(), recording.report()), (0, None), "nothing was begun");
        recording.noticed(true, &mut out);
        assert_eq!(out, [Action::StartRecording { file: FILE.into(), rate: 16_000 }]);
    }

    #[test]
    fn a_secret_is_silent_also_when_the_recording_begins_within_it() {
        let mute = |muted| Action::ChangeRecording(RecordingChange::Mute(muted));
        let (mut recording, mut out) = (Recording::new(operator::Recording::Notice, FILE.into()), Vec::new());
        recording.media_runs(8_000);
        recording.secret(true, &mut out);
        assert_eq!(out, []);
        recording.noticed(true, &mut out);
        recording.secret(false, &mut out);
        assert_eq!(out, [start(), mute(true), mute(false)]);
    }

    #[test]
    fn its_report_is_awaited_and_kept() {
        let (mut recording, mut out) = (Recording::new(operator::Recording::All, FILE.into()), Vec::new());
        recording.answered(&mut out);
        assert_eq!((out.len(), recording.is_running()), (0, false), "there is no stream");
        recording.media_runs(8_000);
        recording.answered(&mut out);
        assert!(recording.is_running() && recording.report().is_none());
        let report = RecordingReport { file: FILE.into(), ..RecordingReport::default() };
        recording.ended(report.clone());
        recording.give_up();
        assert_eq!((recording.is_running(), recording.report()), (false, Some(report)));
        recording.noticed(true, &mut out);
        recording.secret(true, &mut out);
        assert_eq!(out, [start()], "what is over stays over");
    }
}
