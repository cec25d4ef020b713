//! Which index a packet has, and whether it has come before (RFC 3711 §3.3.1, §3.3.2).

/// Indices behind the highest that are remembered: 2.5 s of a stream, twice what RFC 3711 §3.3.2 asks for.
const WINDOW: u32 = u128::BITS;

/// The highest index that was authenticated, and which of those before it were.
///
/// Bit n of `seen` stands for the index n below `highest`; bit 0 is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    seen: u128,
}

impl Window {
    /// Begins with the first packet that was authenticated.
    pub(super) fn new(index: u64) -> Self {
        Self { highest: index, seen: 1 }
    }

    /// The highest index so far.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// False when this index has come before, or is too old to know.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => u32::try_from(behind).is_ok_and(|behind| behind < WINDOW && self.seen >> behind & 1 == 0),
        }
    }

    /// Remembers an index. Only for a packet that was authenticated.
    pub(super) fn mark(&mut self, index: u64) {
        if let Some(ahead) = index.checked_sub(self.highest) {
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = index;
        } else if let Ok(behind) = u32::try_from(self.highest - index)
            && behind < WINDOW
        {
            self.seen |= 1 << behind;
        }
    }
}

/// The index nearest to `reference` that ends in `sequence` (RFC 3711 §3.3.1, appendix A); `None` when that lies before the stream's
/// beginning or beyond its 2^48 packets.
pub(super) fn nearest(reference: u64, sequence: u16) -> Option<u64> {
    let distance = sequence.wrapping_sub(reference as u16).cast_signed();
    reference.checked_add_signed(i64::from(distance)).filter(|&index| index < INDEX_END)
}

/// A 32-bit roll-over counter and a 16-bit sequence number.
const INDEX_END: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_nearest_with_this_sequence() {
        for (reference, sequence, index) in [
            (5, 6, Some(6)),
            (0xffff, 0, Some(0x1_0000)),
            (0x1_0000, 0xffff, Some(0xffff)),
            (0x1_fff0, 3, Some(0x2_0003)),
            (0x2_0003, 0xfff0, Some(0x1_fff0)),
            (0x7fff, 0xfffe, Some(0xfffe)),
            (3, 0xfff0, None),           // before the beginning
            (0xffff_ffff_fff0, 3, None), // the roll-over counter is full
        ] {
            assert_eq!(nearest(reference, sequence), index, "{reference:x} {sequence:x}");
        }
    }

    #[test]
    fn an_index_is_new_once_and_within_the_window() {
        let mut window = Window::new(1_000);
        assert!(!window.is_new(1_000));
        for index in [999, 1_001, 1_100, 1_050, 1_100 - 127] {
            assert!(window.is_new(index), "{index}");
            window.mark(index);
            assert!(!window.is_new(index), "{index}");
        }
        assert!(!window.is_new(1_100 - 128), "too old to know");
        assert!(!window.is_new(0));
        assert!(!window.is_new(999), "out of the window by now, and not new");
        window.mark(1_100 + 500);
        assert!(window.is_new(1_100 + 499));
        assert!(!window.is_new(1_100));
        assert_eq!(window.highest(), 1_600);
        window.mark(u64::MAX);
        assert!(!window.is_new(1_600) && window.is_new(u64::MAX - 127));
    }
}
