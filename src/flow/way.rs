//! Where a call has been in its flows: what `back`, `repeat` and the loop guard know. All of it is bounded.

use super::StepIndex;
use super::step::Kind;

/// A step of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) flow: u16,
    pub(crate) step: StepIndex,
}

/// One call's way so far. Places are kept with the number of flows that wait for the one they lie in.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Every step the call has come to, and how often.
    visits: Vec<(Place, u16)>,
    /// The menus on the way here, for `back`; at most [`MENUS_MAX`].
    menus: Vec<(usize, Place)>,
    /// The first `play` of what was said last, for `repeat`.
    said: Option<(usize, Place)>,
}

impl Way {
    /// Counts a visit; how many there are of this step.
    pub(crate) fn visit(&mut self, place: Place) -> u16 {
        match self.visits.iter_mut().find(|(known, _)| *known == place) {
            Some((_, visits)) => {
                *visits = visits.saturating_add(1);
                *visits
            }
            None => {
                self.visits.push((place, 1));
                1
            }
        }
    }

    /// Counts from nothing again.
    pub(crate) fn forget_visits(&mut self) {
        self.visits.clear();
    }

    /// Keeps what `back` and `repeat` need of a step that the call comes to.
    pub(crate) fn come_to(&mut self, depth: usize, place: Place, kind: &Kind) {
        let here = (depth, place);
        match kind {
            Kind::Menu(_) => match self.menus.iter().position(|menu| *menu == here) {
                // Back at a menu further up: what came after it is no longer the way here.
                Some(known) => self.menus.truncate(known + 1),
                None => {
                    if self.menus.len() >= MENUS_MAX {
                        self.menus.remove(0);
                    }
                    self.menus.push(here);
                }
            },
            Kind::Play(_) => {
                self.said.get_or_insert(here);
            }
            // These change nothing, so that what was said before them can be repeated by going there.
            Kind::Goto(_)
            | Kind::Branch(_)
            | Kind::Hours(_)
            | Kind::Wait(_)
            | Kind::Transfer(_)
            | Kind::Collect(_)
            | Kind::Extension(_)
            | Kind::Verify(_) => {}
            Kind::AnswerCall(_)
            | Kind::Notice(_)
            | Kind::Set(_)
            | Kind::Ask(_)
            | Kind::CaseStep(_)
            | Kind::Notify(_)
            | Kind::Call(_)
            | Kind::Return(_)
            | Kind::Tag(_)
            | Kind::Hangup(_) => self.said = None,
        }
    }

    /// The caller has chosen: what led up to the question is settled.
    pub(crate) fn settle(&mut self) {
        self.said = None;
    }

    /// The flow at `depth` goes on; those inside it are over.
    pub(crate) fn leave_to(&mut self, depth: usize) {
        self.menus.retain(|(at, _)| *at <= depth);
        self.said = self.said.filter(|(at, _)| *at <= depth);
    }

    /// Another flow takes over at `depth`, for good.
    pub(crate) fn jump_at(&mut self, depth: usize) {
        self.menus.retain(|(at, _)| *at < depth);
    }

    /// The menu before this one; from anywhere else, the last menu. With the depth of its flow.
    pub(crate) fn back(&mut self, depth: usize, place: Place) -> (usize, Place) {
        let here = (depth, place);
        if self.menus.len() > 1 && self.menus.last() == Some(&here) {
            self.menus.pop();
        }
        self.said = None;
        self.menus.last().copied().unwrap_or(here)
    }

    /// Where what was said last begins, when it was said in the flow at `depth`.
    pub(crate) fn said_at(&self, depth: usize) -> Option<Place> {
        self.said.filter(|(at, _)| *at == depth).map(|(_, place)| place)
    }
}

/// Menus kept for `back`; the oldest are forgotten.
const MENUS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A call costs little memory: a step it came to is eight bytes.
    #[test]
    fn a_visit_is_small() {
        assert!(std::mem::size_of::<(Place, u16)>() <= 8);
    }
}
