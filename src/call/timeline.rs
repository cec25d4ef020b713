//! What a visit was made of: how long the caller was with the flow, waited, talked, and with whom. The segments follow each other without a
//! gap, so that their sum is the call: nobody is charged with the time of another one.

/// What a stretch of a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The caller was with the flow.
    Ivr,
    /// Somebody was called for them.
    Ring,
    /// They talked with somebody.
    Talk,
    /// One of both ends held the call.
    Hold,
    /// The caller was gone, and the call's last parts ended.
    End,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ivr, Self::Ring, Self::Talk, Self::Hold, Self::End];

    /// As records have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ivr => "ivr",
            Self::Ring => "ring",
            Self::Talk => "talk",
            Self::Hold => "hold",
            Self::End => "end",
        }
    }
}

/// A stretch of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it was.
    pub what: What,
    /// Whom it concerns: the agent that was called, or talked; empty for the flow.
    pub who: String,
    /// When it began, in milliseconds after the call did.
    pub at_ms: u64,
    /// How long it was, in milliseconds.
    pub ms: u64,
}

/// The segments of a call so far; none for as long as nobody was called for the caller.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    begun: Vec<(u64, What, Box<str>)>,
}

impl Timeline {
    /// From here on the call is this.
    pub(super) fn begin(&mut self, at_ms: u64, what: What, who: &str) {
        if self.begun.is_empty() {
            self.begun.push((0, What::Ivr, "".into()));
        }
        let is_same = self.begun.last().is_some_and(|(_, last, whose)| (*last, &**whose) == (what, who));
        if !is_same && self.begun.len() < SEGMENTS_MAX {
            self.begun.push((at_ms, what, who.into()));
        }
    }

    /// The caller is gone; nothing to tell of a call that nobody was called for.
    pub(super) fn end(&mut self, at_ms: u64) {
        if !self.begun.is_empty() {
            self.begin(at_ms, What::End, "");
        }
    }

    /// All of a call that was so long; those of no length are left out.
    pub(super) fn segments(&self, total_ms: u64) -> Vec<Segment> {
        let ends = self.begun.iter().skip(1).map(|(at, ..)| *at).chain([total_ms]);
        let all = self.begun.iter().zip(ends).map(|((at, what, who), end)| {
            let at_ms = (*at).min(total_ms);
            Segment { what: *what, who: who.to_string(), at_ms, ms: end.min(total_ms).saturating_sub(at_ms) }
        });
        all.filter(|segment| segment.ms > 0).collect()
    }
}

/// Segments that a record holds at most: the last one then goes on to the end.
pub const SEGMENTS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_and_sum_up_to_the_call() {
        let mut timeline = Timeline::default();
        timeline.end(10);
        assert_eq!(timeline.segments(10_000), []);
        timeline.begin(3_000, What::Ring, "ana");
        timeline.begin(9_000, What::Talk, "ana");
        timeline.begin(9_000, What::Hold, "ana");
        timeline.begin(10_000, What::Hold, "ana");
        timeline.end(15_000);
        let told: Vec<_> = timeline.segments(15_250).into_iter().map(|one| (one.what, one.at_ms, one.ms)).collect();
        let expected =
            [(What::Ivr, 0, 3_000), (What::Ring, 3_000, 6_000), (What::Hold, 9_000, 6_000), (What::End, 15_000, 250)];
        assert_eq!(told, expected);
        for at_ms in 0..1_000 {
            timeline.begin(20_000 + at_ms, if at_ms % 2 == 0 { What::Talk } else { What::Hold }, "ana");
        }
        let sum: u64 = timeline.segments(30_000).iter().map(|one| one.ms).sum();
        assert_eq!((sum, timeline.begun.len()), (30_000, SEGMENTS_MAX));
        // The two clocks of a machine may differ by a step of the one that people read.
        assert_eq!(timeline.segments(100).iter().map(|one| one.ms).sum::<u64>(), 100);
    }
}
