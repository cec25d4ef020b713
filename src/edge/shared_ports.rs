//! Which shared sockets there are, and whose far ends are on them.
//!
//! A worker has at most one for each of its twenty slots, opened when the first leg wants it, on a random port like every other. A
//! leg goes to the one with the fewest legs among the slots that speak next, where nobody has its far end; where two legs have the
//! same far end the second goes to another slot, and when no slot is left it gets a socket of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::media_worker::{SLOTS, SLOTS_AHEAD};
use super::shared_socket::LEGS_MAX;

/// The shared sockets of one worker.
#[derive(Debug, Default)]
pub struct SharedPorts {
    slots: [Option<SharedPort>; SLOTS],
}

/// One of them.
#[derive(Debug)]
struct SharedPort {
    local: SocketAddr,
    far_ends: BTreeSet<SocketAddr>,
}

/// Where a leg could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// To this slot, whose socket is bound here.
    Open(usize, SocketAddr),
    /// To this slot, which has no socket yet.
    New(usize),
    /// Nowhere: every slot has this far end, or is full.
    Nowhere,
}

impl SharedPorts {
    /// Where a leg with this far end could go while `slot` speaks next.
    #[must_use]
    pub fn offer(&self, far: SocketAddr, slot: usize) -> Offer {
        let load = |place: &usize| match self.slots.get(*place) {
            Some(Some(port)) if port.far_ends.contains(&far) || port.far_ends.len() >= LEGS_MAX => None,
            Some(Some(port)) => Some((port.far_ends.len(), *place)),
            Some(None) => Some((0, *place)),
            None => None,
        };
        // Those that speak soon, or else any other.
        let places: Vec<usize> = (1..=SLOTS).map(|ahead| (slot + ahead) % SLOTS).collect();
        let (soon, later) = places.split_at(SLOTS_AHEAD);
        let emptiest = |places: &[usize]| places.iter().filter_map(load).min_by_key(|(legs, _)| *legs);
        match emptiest(soon).or_else(|| emptiest(later)) {
            Some((_, place)) => match self.slots.get(place) {
                Some(Some(port)) => Offer::Open(place, port.local),
                Some(None) | None => Offer::New(place),
            },
            None => Offer::Nowhere,
        }
    }

    /// A slot has its socket.
    pub fn open(&mut self, slot: usize, local: SocketAddr) {
        if let Some(place @ None) = self.slots.get_mut(slot) {
            *place = Some(SharedPort { local, far_ends: BTreeSet::new() });
        }
    }

    /// The far end is taken on this slot's socket.
    pub fn take(&mut self, slot: usize, far: SocketAddr) {
        if let Some(Some(port)) = self.slots.get_mut(slot) {
            port.far_ends.insert(far);
        }
    }

    /// The far end is free again on this slot's socket.
    pub fn release(&mut self, slot: usize, far: SocketAddr) {
        if let Some(Some(port)) = self.slots.get_mut(slot) {
            port.far_ends.remove(&far);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// Takes what is offered, opening sockets as needed; the slot, or none.
    fn take(ports: &mut SharedPorts, far: SocketAddr, slot: usize) -> Option<usize> {
        let place = match ports.offer(far, slot) {
            Offer::New(place) => {
                ports.open(place, SocketAddr::from(([127, 0, 0, 1], 10_000 + 2 * place as u16)));
                place
            }
            Offer::Open(place, local) => {
                assert_eq!(usize::from(local.port()), 10_000 + 2 * place);
                place
            }
            Offer::Nowhere => return None,
        };
        ports.take(place, far);
        Some(place)
    }

    #[test]
    fn legs_fill_the_slots_that_speak_soon_evenly() {
        let mut ports = SharedPorts::default();
        let places: Vec<Option<usize>> = (0..10).map(|port| take(&mut ports, far(port), 15)).collect();
        let expected = [16, 17, 18, 19, 0, 1, 2, 3, 16, 17].map(Some);
        assert_eq!(places, expected);
        ports.release(17, far(1));
        ports.release(17, far(9));
        assert_eq!(take(&mut ports, far(30), 15), Some(17), "the emptiest");
    }

    #[test]
    fn equal_far_ends_are_never_on_one_socket() {
        let mut ports = SharedPorts::default();
        let mut places: Vec<usize> = (0..SLOTS).filter_map(|_| take(&mut ports, far(1), 0)).collect();
        places.sort_unstable();
        assert_eq!(places, (0..SLOTS).collect::<Vec<_>>());
        assert_eq!(take(&mut ports, far(1), 0), None, "the next has a socket of its own");
        ports.release(7, far(1));
        assert_eq!(take(&mut ports, far(1), 0), Some(7));
    }

    #[test]
    fn a_socket_is_full_at_its_bound() {
        let mut ports = SharedPorts::default();
        let taken = (0..u16::MAX).take_while(|&port| take(&mut ports, far(port), 3).is_some()).count();
        assert_eq!(taken, SLOTS * LEGS_MAX);
    }
}
