//! What a network does to a stream's packets: how long the fastest take, and how much longer the others.

/// The smallest transit of the last 200 to 400 packets. Counted in packets, so that it means as much after a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    /// Of the window under way.
    smallest: i64,
    /// Of the window before.
    before: i64,
    packets: u16,
}

impl Base {
    pub(super) fn new(transit: i64) -> Self {
        Self { smallest: transit, before: transit, packets: 0 }
    }

    pub(super) fn value(&self) -> i64 {
        self.smallest.min(self.before)
    }

    /// How much later than the fastest this packet was.
    pub(super) fn lateness(&mut self, transit: i64) -> i64 {
        if self.packets >= BASE_PACKETS {
            *self = Self { smallest: transit, before: self.smallest, packets: 0 };
        }
        self.packets += 1;
        self.smallest = self.smallest.min(transit);
        transit - self.value()
    }
}

/// How late packets are: a histogram that forgets, 5 ms a bin.
#[derive(Debug)]
pub(super) struct Lateness {
    bins: [u16; BINS],
    total: u16,
    /// 5 ms in timestamp units.
    width: i64,
}

impl Lateness {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { bins: [0; BINS], total: 0, width: i64::from(clock_rate / 200).max(1) }
    }

    pub(super) fn add(&mut self, units: i64) {
        let bin = usize::try_from(units.max(0) / self.width).unwrap_or(BINS - 1).min(BINS - 1);
        if let Some(count) = self.bins.get_mut(bin) {
            *count += 1;
        }
        self.total += 1;
        if self.total >= FORGET_AT {
            self.bins.iter_mut().for_each(|count| *count /= 2);
            self.total = self.bins.iter().sum();
        }
    }

    /// The upper edge of the bin that 99 % of the packets are in or below; 0 where all are in the first.
    pub(super) fn percentile(&self) -> i64 {
        let beyond = self.total / 100;
        let mut above = 0;
        for (bin, count) in self.bins.iter().enumerate().skip(1).rev() {
            above += count;
            if above > beyond {
                return (bin as i64 + 1) * self.width; // below 64 bins
            }
        }
        0
    }
}

/// Packets of a window of [`Base`]: 4 s at 20 ms.
const BASE_PACKETS: u16 = 200;

/// 320 ms in all.
const BINS: usize = 64;

/// Packets in the histogram at which it is halved: it looks back over 10 to 20 s.
const FORGET_AT: u16 = 1_000;
