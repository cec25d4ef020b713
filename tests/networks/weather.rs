//! What networks do to a stream of packets, from a seed.

use contesta::ids::Ids;

/// How a network loses packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Each by itself, in percent.
    Alone(u64),
    /// Three in a row on average, in percent of all (Gilbert's model).
    Bursts(u64),
}

/// One network.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss: Loss,
    /// Each packet takes up to so much longer than the fastest: beyond 20 ms they overtake each other.
    pub jitter_ms: u64,
    /// In percent: come once more, up to 40 ms later.
    pub doubled: u64,
    /// In percent: take 60 ms more than the others.
    pub overtaken: u64,
    /// The sender's clock, in parts per million.
    pub drift_ppm: i64,
}

pub const CALM: Weather = Weather { loss: Loss::Alone(0), jitter_ms: 0, doubled: 0, overtaken: 0, drift_ppm: 0 };

/// Mean length of a burst, in packets.
const BURST: u64 = 3;

/// A packet that arrives: when, in microseconds, and which.
pub type Arrival = (u64, usize);

impl Weather {
    /// What arrives of `count` packets that leave every 20 ms of the sender's clock, in the order of arrival.
    pub fn arrivals(&self, count: usize, dice: &mut Ids) -> Vec<Arrival> {
        let mut arrivals = Vec::with_capacity(count);
        let mut is_bad = false;
        for packet in 0..count {
            let is_lost = match self.loss {
                Loss::Alone(percent) => dice.below(100) < percent,
                Loss::Bursts(percent) => {
                    // In the bad state so many packets of a hundred, three in a row.
                    is_bad = match is_bad {
                        true => dice.below(BURST) > 0,
                        false => dice.below(BURST * (100 - percent) * 1_000) < percent * 1_000,
                    };
                    is_bad
                }
            };
            if is_lost {
                continue;
            }
            let sent = self.sent(packet);
            let mut late = |most_ms: u64| if most_ms == 0 { 0 } else { dice.below(most_ms * 1_000) };
            let arrival = sent + 30_000 + late(self.jitter_ms);
            let again = late(40);
            let overtaken = if dice.below(100) < self.overtaken { 60_000 } else { 0 };
            arrivals.push((arrival + overtaken, packet));
            if dice.below(100) < self.doubled {
                arrivals.push((arrival + again, packet));
            }
        }
        arrivals.sort_unstable();
        arrivals
    }

    /// When a packet leaves, in microseconds of the receiver's clock.
    pub fn sent(&self, packet: usize) -> u64 {
        let ideal = packet as u64 * 20_000;
        ideal.saturating_add_signed(ideal as i64 * self.drift_ppm / 1_000_000)
    }

    /// What the sender's clock shows at a moment of the receiver's, in microseconds.
    pub fn by_senders_clock(&self, at: u64) -> u64 {
        at.saturating_add_signed(-(at as i64 * self.drift_ppm / 1_000_000))
    }
}

/// All that the tables tell of, with what they are called there.
pub fn all() -> Vec<(String, Weather)> {
    let mut all = vec![("calm".to_owned(), CALM)];
    for percent in [1, 2, 5, 10, 15, 20] {
        all.push((format!("{percent} % lost"), Weather { loss: Loss::Alone(percent), ..CALM }));
        all.push((format!("{percent} % lost in bursts"), Weather { loss: Loss::Bursts(percent), ..CALM }));
    }
    for jitter_ms in [20, 40, 80] {
        all.push((format!("jitter of {jitter_ms} ms"), Weather { jitter_ms, ..CALM }));
    }
    all.push(("5 % overtaken by 60 ms".to_owned(), Weather { overtaken: 5, ..CALM }));
    all.push(("10 % doubled".to_owned(), Weather { doubled: 10, jitter_ms: 20, ..CALM }));
    for drift_ppm in [-100, 100] {
        all.push((format!("clock {drift_ppm:+} ppm"), Weather { drift_ppm, ..CALM }));
    }
    let storm = |loss, jitter_ms, drift_ppm| Weather { loss, jitter_ms, doubled: 5, overtaken: 5, drift_ppm };
    all.push(("all, 5 % lost, 40 ms, +100 ppm".to_owned(), storm(Loss::Alone(5), 40, 100)));
    all.push(("all, 10 % lost, 80 ms, -100 ppm".to_owned(), storm(Loss::Alone(10), 80, -100)));
    all.push(("all, 20 % in bursts, 80 ms".to_owned(), storm(Loss::Bursts(20), 80, 0)));
    all
}
