//! Presses as a test line brings them: exact tones, exact levels, white noise, G.711.

use std::f64::consts::TAU;

use contesta::audio::g711::{self, Law};

/// Every key with its row and column in Hz, written out here so that the detector's own table is checked too (ITU-T Q.23).
pub const KEYS: [(char, f64, f64); 16] = [
    ('1', 697.0, 1209.0),
    ('2', 697.0, 1336.0),
    ('3', 697.0, 1477.0),
    ('A', 697.0, 1633.0),
    ('4', 770.0, 1209.0),
    ('5', 770.0, 1336.0),
    ('6', 770.0, 1477.0),
    ('B', 770.0, 1633.0),
    ('7', 852.0, 1209.0),
    ('8', 852.0, 1336.0),
    ('9', 852.0, 1477.0),
    ('C', 852.0, 1633.0),
    ('*', 941.0, 1209.0),
    ('0', 941.0, 1336.0),
    ('#', 941.0, 1477.0),
    ('D', 941.0, 1633.0),
];

/// One press.
pub struct Press {
    /// Hz.
    pub row: f64,
    pub column: f64,
    pub row_dbm0: f64,
    pub column_dbm0: f64,
    pub length_ms: f64,
    /// White noise from 0 to 4 kHz, this many dB below both tones together, before and after the press too.
    pub noise_below: Option<f64>,
}

impl Press {
    /// 8,000 samples a second, with `lead_ms` and `tail_ms` without tones around the press.
    pub fn samples(&self, lead_ms: f64, tail_ms: f64, random: &mut Random) -> Vec<f64> {
        let tones = [(self.row, self.row_dbm0), (self.column, self.column_dbm0)]
            .map(|(hertz, dbm0)| (TAU * hertz / 8_000.0, amplitude(dbm0), random.uniform() * TAU));
        let power: f64 = tones.iter().map(|(_, amplitude, _)| amplitude * amplitude / 2.0).sum();
        let noise = self.noise_below.map_or(0.0, |below| (power / 10_f64.powf(below / 10.0)).sqrt());
        let [lead, length, tail] = [lead_ms, self.length_ms, tail_ms].map(|ms| (ms * 8.0) as usize);
        (0..lead + length + tail)
            .map(|index| {
                let pressed = (lead..lead + length).contains(&index);
                let tone =
                    |(angle, amplitude, phase): (f64, f64, f64)| amplitude * (angle * index as f64 + phase).sin();
                let tones: f64 = if pressed { tones.into_iter().map(tone).sum() } else { 0.0 };
                tones + if noise > 0.0 { noise * random.gaussian() } else { 0.0 }
            })
            .collect()
    }
}

/// Peak of a sine: 3.17 dBm0 is µ-law's largest sample, 32,124 (ITU-T G.711 table 5).
fn amplitude(dbm0: f64) -> f64 {
    32_124.0 * 10_f64.powf((dbm0 - 3.17) / 20.0)
}

/// As G.711 µ-law carries it, clipped where it is too loud.
pub fn coded(samples: &[f64]) -> Vec<i16> {
    let code = |&sample: &f64| g711::decode(Law::Mu, g711::encode(Law::Mu, sample.round() as i16));
    samples.iter().map(code).collect()
}

/// Xorshift: the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 0 to 1, without 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1 (Box–Muller).
    pub fn gaussian(&mut self) -> f64 {
        let (one, other) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * one.ln()).sqrt() * (TAU * other).cos()
    }
}
