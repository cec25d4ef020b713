//! Where each key lies on the keypad, and the two tones that its place gives it (ITU-T Q.23).

use super::Digit;

/// Frequencies of the rows, top to bottom, in Hz (ITU-T Q.23 §6).
pub const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];

/// Frequencies of the columns, left to right.
pub const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Event codes, row by row.
const KEYS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// The key at a row and a column, each 0 to 3.
#[must_use]
pub fn key_at(row: usize, column: usize) -> Option<Digit> {
    KEYS.get(row)?.get(column).copied().and_then(Digit::from_event)
}

/// The row's and the column's frequency of a key, in Hz.
#[must_use]
pub fn tones_of(digit: Digit) -> [f32; 2] {
    let places = KEYS.iter().zip(ROWS).flat_map(|(keys, row)| keys.iter().zip(COLUMNS).map(move |at| (row, at)));
    let mut tones = places.filter(|(_, (event, _))| **event == digit.event()).map(|(row, (_, column))| [row, column]);
    tones.next().unwrap_or([ROWS[3], COLUMNS[1]]) // each of the sixteen events has its place in the table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_place_and_its_tones() {
        let mut seen = String::new();
        for (row, low) in ROWS.into_iter().enumerate() {
            for (column, high) in COLUMNS.into_iter().enumerate() {
                let digit = key_at(row, column).unwrap();
                assert_eq!(tones_of(digit), [low, high], "{digit}");
                seen.push(digit.as_char());
            }
        }
        assert_eq!(seen, "123A456B789C*0#D");
        assert_eq!((key_at(4, 0), key_at(0, 4)), (None, None));
    }
}
