//! G.711 µ-law and A-law by table (ITU-T G.711; the arithmetic is that of ITU-T G.191's `ulaw` and `alaw`).
//!
//! The tables are computed at compile time: one byte in, one sample out, and back by the 14 (µ-law) or 12 (A-law) upper
//! bits of a 16-bit sample, which are all that the laws look at.

/// The two laws of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law: PCMU.
    Mu,
    /// A-law: PCMA.
    A,
}

/// The byte that plays as silence: the smallest positive value of either law.
#[must_use]
pub fn silence(law: Law) -> u8 {
    match law {
        Law::Mu => 0xff,
        Law::A => 0xd5,
    }
}

/// The 16-bit sample of one encoded byte.
#[must_use]
pub fn decode(law: Law, byte: u8) -> i16 {
    let table = match law {
        Law::Mu => &ULAW_SAMPLES,
        Law::A => &ALAW_SAMPLES,
    };
    table[usize::from(byte)] // 256 entries, so every byte has one
}

/// The encoded byte of one 16-bit sample.
#[must_use]
pub fn encode(law: Law, sample: i16) -> u8 {
    let bits = usize::from(sample.cast_unsigned());
    match law {
        Law::Mu => ULAW_BYTES[bits >> 2], // 16,384 entries for the upper 14 bits
        Law::A => ALAW_BYTES[bits >> 4],  // 4,096 entries for the upper 12 bits
    }
}

static ULAW_SAMPLES: [i16; 256] = decode_table(false);
static ALAW_SAMPLES: [i16; 256] = decode_table(true);

static ULAW_BYTES: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = ulaw_compress(((index as u16) << 2).cast_signed());
        index += 1;
    }
    table
};

static ALAW_BYTES: [u8; 1 << 12] = {
    let mut table = [0; 1 << 12];
    let mut index = 0;
    while index < table.len() {
        table[index] = alaw_compress(((index as u16) << 4).cast_signed());
        index += 1;
    }
    table
};

const fn decode_table(alaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if alaw { alaw_expand(byte as u8) } else { ulaw_expand(byte as u8) };
        byte += 1;
    }
    table
}

/// µ-law: a sign, three bits of segment, four of position; all inverted on the line.
const fn ulaw_compress(sample: i16) -> u8 {
    let magnitude = (if sample < 0 { !sample } else { sample }) >> 2;
    let biased = if magnitude + 33 > 0x1fff { 0x1fff } else { magnitude + 33 };
    let mut segment = 1;
    let mut rest = biased >> 6;
    while rest != 0 {
        segment += 1;
        rest >>= 1;
    }
    let high = (8 - segment) as u8;
    let low = 0x0f - ((biased >> segment) & 0x0f) as u8;
    let sign = if sample < 0 { 0 } else { 0x80 };
    sign | (high << 4) | low
}

const fn ulaw_expand(byte: u8) -> i16 {
    let inverted = !byte;
    let exponent = ((inverted >> 4) & 7) as i16;
    let mantissa = (inverted & 0x0f) as i16;
    let step = 4 << (exponent + 1);
    let magnitude = (0x80 << exponent) + step * mantissa + step / 2 - 4 * 33;
    if byte & 0x80 == 0 { -magnitude } else { magnitude }
}

/// A-law: a sign, three bits of exponent, four of mantissa; every other bit inverted on the line.
const fn alaw_compress(sample: i16) -> u8 {
    let mut magnitude = (if sample < 0 { !sample } else { sample }) >> 4;
    if magnitude > 15 {
        let mut exponent = 1;
        while magnitude > 16 + 15 {
            magnitude >>= 1;
            exponent += 1;
        }
        magnitude = magnitude - 16 + (exponent << 4);
    }
    let sign = if sample < 0 { 0 } else { 0x80 };
    (magnitude as u8 | sign) ^ 0x55
}

const fn alaw_expand(byte: u8) -> i16 {
    let bits = (byte ^ 0x55) & 0x7f;
    let exponent = bits >> 4;
    let mantissa = (bits & 0x0f) as i16 + if exponent > 0 { 16 } else { 0 };
    let magnitude = (mantissa << 4) + 8;
    let magnitude = if exponent > 1 { magnitude << (exponent - 1) } else { magnitude };
    if byte & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAWS: [Law; 2] = [Law::Mu, Law::A];

    #[test]
    fn every_byte_comes_back_but_for_the_negative_zero_of_mu_law() {
        for byte in 0..=255 {
            assert_eq!(encode(Law::A, decode(Law::A, byte)), byte);
            // 0x7f and 0xff both mean 0; the law keeps the positive one.
            assert_eq!(encode(Law::Mu, decode(Law::Mu, byte)), if byte == 0x7f { 0xff } else { byte });
        }
    }

    /// Every one of the 65,536 samples becomes the nearest value its segment offers: the error is at most half a step.
    #[test]
    fn every_sample_stays_within_half_a_step() {
        for law in LAWS {
            let mut previous = i16::MIN;
            for sample in i16::MIN..=i16::MAX {
                let decoded = decode(law, encode(law, sample));
                assert!(decoded >= previous, "{law:?}: {sample} decodes below its neighbour");
                previous = decoded;
                let magnitude = i32::from(sample).abs();
                let (largest, half_step) = match law {
                    // Segments begin at 32·4·(2^n - 1) + …: the step doubles with each, from 8 to 1,024.
                    Law::Mu => (32_124, (4 << ((magnitude + 132) >> 7).max(1).ilog2()).min(512)),
                    Law::A => (32_256, 8 << ((magnitude >> 8).max(1).ilog2())),
                };
                let error = (i32::from(decoded) - i32::from(sample)).abs();
                assert!(error <= half_step + 4 || magnitude > largest, "{law:?}: {sample} became {decoded}");
            }
        }
    }

    /// Values of ITU-T G.711 tables 1a to 2b, scaled to 16 bits.
    #[test]
    fn the_recommendations_corner_values() {
        fn check(law: Law, byte: u8, sample: i16) {
            assert_eq!((decode(law, byte), encode(law, sample)), (sample, byte));
        }
        check(Law::Mu, 0x80, 32_124);
        check(Law::Mu, 0x00, -32_124);
        check(Law::Mu, 0xff, 0);
        check(Law::Mu, 0xfe, 8);
        check(Law::Mu, 0x7e, -8);
        check(Law::Mu, 0xef, 132);
        check(Law::A, 0xaa, 32_256);
        check(Law::A, 0x2a, -32_256);
        check(Law::A, 0xd5, 8);
        check(Law::A, 0x55, -8);
        check(Law::A, 0xc5, 264);
        assert_eq!((encode(Law::Mu, i16::MAX), encode(Law::Mu, i16::MIN)), (0x80, 0x00));
        assert_eq!((encode(Law::A, i16::MAX), encode(Law::A, i16::MIN)), (0xaa, 0x2a));
        assert_eq!(LAWS.map(|law| encode(law, 0)), LAWS.map(silence));
    }
}
