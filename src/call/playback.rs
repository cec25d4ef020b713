//! What the caller hears of the flow: the play under way, when it must be over, and what a hold does to it.
//!
//! ```text
//!          play                      hold: the leg is told to stop             resume: played again, from its beginning
//!  Nothing ────► Playing (deadline) ───────────────────────────────► Withheld ──────────────────────────► Playing
//!     ▲             │ Played, or the deadline: the report was lost       │ play: replaces what is withheld
//!     └─────────────┴── stop ────────────────────────────────────────────┘
//! ```
//! A caller who comes back from a hold (RFC 3264 §8.4) has missed what was said meanwhile and does not remember half a
//! sentence: nothing is said to a far end that does not listen, and what was cut is said again.

use std::time::{Duration, Instant};

use crate::ids::PlayId;
use crate::media::Segment;

use super::Action;

/// What plays on the caller's leg.
#[derive(Debug, Default)]
pub(super) struct Playback {
    playing: Option<Playing>,
    /// Since when the far end holds the call.
    held: Option<Instant>,
}

#[derive(Debug)]
struct Playing {
    play: PlayId,
    /// Kept to be said again after a hold; the clips are shared.
    segments: Box<[Segment]>,
    /// By then the leg has reported its end, or the report is lost.
    due: Instant,
}

impl Playback {
    /// Begins a play in place of what plays; what the leg is to be told, which is nothing while the far end holds.
    pub(super) fn play(&mut self, now: Instant, play: PlayId, segments: Box<[Segment]>) -> Option<Action> {
        let due = now + length(&segments) + REPORT_MARGIN;
        let told = self.held.is_none().then(|| Action::Play { play, segments: segments.clone() });
        self.playing = Some(Playing { play, segments, due });
        told
    }

    /// Plays nothing any more.
    pub(super) fn stop(&mut self) -> Option<Action> {
        let was_heard = self.playing.take().is_some() && self.held.is_none();
        was_heard.then_some(Action::StopPlaying)
    }

    /// The leg reports the end of this play.
    pub(super) fn played(&mut self, play: PlayId) {
        self.playing.take_if(|playing| playing.play == play);
    }

    /// The far end does not listen any more.
    pub(super) fn hold(&mut self, now: Instant) -> Option<Action> {
        if self.held.is_some() {
            return None;
        }
        self.held = Some(now);
        self.playing.is_some().then_some(Action::StopPlaying)
    }

    /// The far end listens again: since when it did not, and what is said again.
    pub(super) fn resume(&mut self, now: Instant) -> Option<(Instant, Option<Action>)> {
        let since = self.held.take()?;
        let again = self.playing.as_mut().map(|playing| {
            playing.due = now + length(&playing.segments) + REPORT_MARGIN;
            Action::Play { play: playing.play, segments: playing.segments.clone() }
        });
        Some((since, again))
    }

    /// Another far end takes the place of this one; it holds the call since then, or does not.
    pub(super) fn change_sides(&mut self, held: Option<Instant>) {
        *self = Self { playing: None, held };
    }

    /// Since when the far end holds the call.
    pub(super) fn held_since(&self) -> Option<Instant> {
        self.held
    }

    /// When the play under way is given up as played; `None` while nothing plays, and during a hold.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.playing.as_ref().filter(|_| self.held.is_none()).map(|playing| playing.due)
    }

    /// The play whose end should have been reported by `now`; it counts as played.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<PlayId> {
        self.poll_timeout().filter(|due| *due <= now)?;
        self.playing.take().map(|playing| playing.play)
    }
}

fn length(segments: &[Segment]) -> Duration {
    let each = segments.iter().map(|segment| match segment {
        Segment::Clip(clip) => clip.duration(),
        Segment::Silence(duration) => *duration,
    });
    each.sum()
}

/// How much later than its audio ends a play's report may come: far more than a worker that has fallen behind makes up for,
/// and not so much that the caller takes the silence for a dead line.
const REPORT_MARGIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test's clock begins somewhere; it only moves when told to")]

    use super::*;

    fn pause(seconds: u64) -> Box<[Segment]> {
        Box::new([Segment::Silence(Duration::from_secs(seconds)), Segment::Silence(Duration::from_millis(500))])
    }

    #[test]
    fn a_play_is_due_three_seconds_after_its_end() {
        let (mut playback, now) = (Playback::default(), Instant::now());
        let after = |seconds: f32| now + Duration::from_secs_f32(seconds);
        assert_eq!(playback.poll_timeout(), None);
        assert_eq!(playback.play(now, PlayId(1), pause(2)), Some(Action::Play { play: PlayId(1), segments: pause(2) }));
        assert_eq!(playback.poll_timeout(), Some(after(5.5)));
        assert_eq!((playback.take_overdue(after(5.4)), playback.take_overdue(after(5.5))), (None, Some(PlayId(1))));
        assert_eq!((playback.take_overdue(after(9.0)), playback.stop()), (None, None));
        // The report of an earlier play, cut by this one, says nothing of it.
        playback.play(now, PlayId(2), pause(1));
        playback.played(PlayId(1));
        assert_eq!(playback.poll_timeout(), Some(after(4.5)));
        playback.played(PlayId(2));
        assert_eq!(playback.poll_timeout(), None);
        playback.play(now, PlayId(3), pause(1));
        assert_eq!((playback.stop(), playback.stop()), (Some(Action::StopPlaying), None));
    }

    #[test]
    fn nothing_is_said_to_a_far_end_that_holds_and_what_was_cut_is_said_again() {
        let (mut playback, now) = (Playback::default(), Instant::now());
        let after = |seconds: u64| now + Duration::from_secs(seconds);
        let again = |play: u32, seconds: u64| Some(Action::Play { play: PlayId(play), segments: pause(seconds) });
        assert_eq!((playback.resume(now), playback.hold(now)), (None, None));
        assert_eq!(playback.resume(after(1)), Some((now, None)), "nothing was cut");
        playback.play(now, PlayId(1), pause(2));
        assert_eq!((playback.hold(after(1)), playback.hold(after(2))), (Some(Action::StopPlaying), None));
        assert_eq!((playback.poll_timeout(), playback.held_since()), (None, Some(after(1))));
        assert_eq!(playback.resume(after(60)), Some((after(1), again(1, 2))));
        assert_eq!(playback.poll_timeout(), Some(after(65) + Duration::from_millis(500)));
        // What the flow has to say during a hold waits; what it takes back was never heard.
        playback.hold(after(61));
        assert_eq!(playback.play(after(62), PlayId(2), pause(4)), None);
        assert_eq!(playback.resume(after(63)), Some((after(61), again(2, 4))));
        playback.hold(after(64));
        assert_eq!((playback.stop(), playback.resume(after(65))), (None, Some((after(64), None))));
    }
}
