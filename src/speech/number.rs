//! Cardinal numbers and amounts of money.

use super::vocabulary::{apocope, feminine, hundred, number};
use super::{Gender, Word};

/// Any number. Millions, billions (10^12) and trillions (10^18) are masculine nouns of their own: «doscientos millones».
pub(super) fn cardinal(value: i64, gender: Gender, cut: bool, words: &mut Vec<Word>) {
    if value < 0 {
        words.push(Word::Key("sign.minus"));
    }
    let value = value.unsigned_abs();
    if value == 0 {
        words.push(number(0));
        return;
    }
    let scales = [
        (1_000_000_000_000_000_000, "num.trillion", "num.trillions"),
        (1_000_000_000_000, "num.billion", "num.billions"),
        (1_000_000, "num.million", "num.millions"),
    ];
    let mut rest = value;
    for (scale, one, many) in scales {
        let count = rest / scale;
        rest %= scale;
        if count > 0 {
            below_million(count, Gender::Masculine, true, words);
            words.push(Word::Key(if count == 1 { one } else { many }));
        }
    }
    below_million(rest, gender, cut, words);
}

/// True when «de» stands between the number and its noun: «un millón de pesos», but «un millón cien mil pesos».
pub(super) fn takes_de(value: u64) -> bool {
    value > 0 && value.is_multiple_of(1_000_000)
}

/// «un peso», «veintiún pesos con cincuenta centavos», «un millón de pesos», «cincuenta centavos».
pub(super) fn money_mxn(centavos: i64, words: &mut Vec<Word>) {
    if centavos < 0 {
        words.push(Word::Key("sign.minus"));
    }
    let (pesos, centavos) = (centavos.unsigned_abs() / 100, centavos.unsigned_abs() % 100);
    if pesos > 0 || centavos == 0 {
        counted(pesos, Gender::Masculine, ("money.peso", "money.pesos"), words);
    }
    if centavos > 0 {
        if pesos > 0 {
            words.push(Word::Key("word.con"));
        }
        counted(centavos, Gender::Masculine, ("money.centavo", "money.centavos"), words);
    }
}

/// A number with its noun: `(singular, plural)`.
pub(super) fn counted(count: u64, gender: Gender, noun: (&'static str, &'static str), words: &mut Vec<Word>) {
    cardinal(i64::try_from(count).unwrap_or(i64::MAX), gender, true, words);
    if takes_de(count) {
        words.push(Word::Key("word.de"));
    }
    words.push(Word::Key(if count == 1 { noun.0 } else { noun.1 }));
}

/// 0 (nothing at all) to 999,999. Before «mil» *uno* is always cut and the hundreds agree with the noun: «doscientas mil».
fn below_million(value: u64, gender: Gender, cut: bool, words: &mut Vec<Word>) {
    let (thousands, rest) = (value / 1_000, value % 1_000);
    if thousands > 1 {
        below_thousand(thousands, gender, Ending::Cut, words);
    }
    if thousands > 0 {
        words.push(Word::Key("num.thousand"));
    }
    let ending = match (gender, cut) {
        (Gender::Feminine, _) => Ending::Feminine,
        (Gender::Masculine, true) => Ending::Cut,
        (Gender::Masculine, false) => Ending::Whole,
    };
    below_thousand(rest, gender, ending, words);
}

/// How a final *uno* sounds: «uno», «un», «una».
#[derive(Clone, Copy)]
enum Ending {
    Whole,
    Cut,
    Feminine,
}

/// 0 (nothing at all) to 999.
fn below_thousand(value: u64, gender: Gender, ending: Ending, words: &mut Vec<Word>) {
    let value = u16::try_from(value % 1_000).unwrap_or(0);
    let (hundreds, rest) = (value / 100, value % 100);
    let (hundreds, rest) = (u8::try_from(hundreds).unwrap_or(0), u8::try_from(rest).unwrap_or(0));
    if value == 100 {
        words.push(Word::Key("num.100.alone"));
        return;
    }
    if hundreds > 0 {
        words.push(hundred(hundreds, gender == Gender::Feminine));
    }
    if rest > 0 {
        words.push(match ending {
            Ending::Cut if ends_in_uno(rest) => apocope(rest),
            Ending::Feminine if ends_in_uno(rest) => feminine(rest),
            Ending::Whole | Ending::Cut | Ending::Feminine => number(rest),
        });
    }
}

fn ends_in_uno(value: u8) -> bool {
    value % 10 == 1 && value != 11
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Say, say, text};
    use super::*;

    fn spoken(value: i64, gender: Gender, apocope: bool) -> String {
        text(&say(&Say::Cardinal { value, gender, apocope }).unwrap())
    }

    fn money(centavos: i64) -> String {
        text(&say(&Say::MoneyMxn(centavos)).unwrap())
    }

    #[test]
    fn uno_changes_with_what_follows() {
        use Gender::{Feminine, Masculine};
        for (value, gender, apocope, expected) in [
            (0, Masculine, false, "cero"),
            (1, Masculine, false, "uno"),
            (1, Masculine, true, "un"),
            (1, Feminine, true, "una"),
            (11, Masculine, true, "once"),
            (21, Masculine, false, "veintiuno"),
            (21, Masculine, true, "veintiún"),
            (21, Feminine, false, "veintiuna"),
            (31, Masculine, true, "treinta y un"),
            (100, Feminine, false, "cien"),
            (101, Masculine, true, "ciento un"),
            (101, Feminine, false, "ciento una"),
            (111, Feminine, false, "ciento once"),
            (500, Feminine, false, "quinientas"),
            (700, Masculine, false, "setecientos"),
            (999, Feminine, false, "novecientas noventa y nueve"),
            (1_000, Masculine, false, "mil"),
            (1_001, Masculine, false, "mil uno"),
            (1_100, Masculine, false, "mil cien"),
            (2_021, Masculine, true, "dos mil veintiún"),
            (21_000, Masculine, false, "veintiún mil"),
            (21_021, Feminine, false, "veintiún mil veintiuna"),
            (31_000, Masculine, false, "treinta y un mil"),
            (100_000, Masculine, false, "cien mil"),
            (101_000, Masculine, false, "ciento un mil"),
            (200_000, Feminine, false, "doscientas mil"),
            (1_000_000, Masculine, false, "un millón"),
            (1_000_001, Feminine, false, "un millón una"),
            (21_000_000, Feminine, false, "veintiún millones"),
            (200_000_000, Feminine, false, "doscientos millones"),
            (1_000_000_000, Masculine, false, "mil millones"),
            (1_000_000_000_000, Masculine, false, "un billón"),
            (-21, Masculine, false, "menos veintiuno"),
            (
                i64::MIN,
                Masculine,
                false,
                "menos nueve trillones doscientos veintitrés mil trescientos setenta y dos billones treinta y seis mil \
                 ochocientos cincuenta y cuatro millones setecientos setenta y cinco mil ochocientos ocho",
            ),
        ] {
            assert_eq!(spoken(value, gender, apocope), expected, "{value}");
        }
    }

    #[test]
    #[expect(clippy::inconsistent_digit_grouping, reason = "the last two digits are centavos")]
    fn amounts_sound_like_amounts() {
        for (centavos, expected) in [
            (0, "cero pesos"),
            (1, "un centavo"),
            (50, "cincuenta centavos"),
            (1_00, "un peso"),
            (1_01, "un peso con un centavo"),
            (21_00, "veintiún pesos"),
            (21_50, "veintiún pesos con cincuenta centavos"),
            (31_31, "treinta y un pesos con treinta y un centavos"),
            (100_00, "cien pesos"),
            (101_50, "ciento un pesos con cincuenta centavos"),
            (499_00, "cuatrocientos noventa y nueve pesos"),
            (1_000_00, "mil pesos"),
            (21_000_00, "veintiún mil pesos"),
            (31_000_00, "treinta y un mil pesos"),
            (1_000_000_00, "un millón de pesos"),
            (1_100_000_00, "un millón cien mil pesos"),
            (2_000_000_50, "dos millones de pesos con cincuenta centavos"),
            (1_000_000_000_00, "mil millones de pesos"),
            (-21_50, "menos veintiún pesos con cincuenta centavos"),
            (-5, "menos cinco centavos"),
        ] {
            assert_eq!(money(centavos), expected, "{centavos}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_spoken_number_reads_back(value in 0_i64..1_000_000, feminine: bool, apocope: bool) {
            let gender = if feminine { Gender::Feminine } else { Gender::Masculine };
            prop_assert_eq!(read(&spoken(value, gender, apocope)), Some(value.unsigned_abs()));
        }

        #[test]
        fn every_number_reads_back(value: i64) {
            let sentence = spoken(value, Gender::Masculine, false);
            prop_assert_eq!(sentence.starts_with("menos "), value < 0);
            prop_assert_eq!(read(sentence.trim_start_matches("menos ")), Some(value.unsigned_abs()));
        }
    }

    /// An independent reader: adds what each word is worth, and knows nothing of the tables above.
    fn read(sentence: &str) -> Option<u64> {
        let (mut total, mut millions, mut group) = (0_u64, 0_u64, 0_u64);
        for word in sentence.split(' ').filter(|word| *word != "y") {
            match word {
                "mil" => {
                    millions += group.max(1) * 1_000;
                    group = 0;
                }
                "millón" | "millones" | "billón" | "billones" | "trillón" | "trillones" => {
                    let power = if word.starts_with('m') { 6 } else { if word.starts_with('b') { 12 } else { 18 } };
                    total += (millions + group) * 10_u64.pow(power);
                    (millions, group) = (0, 0);
                }
                _ => group += worth(word)?,
            }
        }
        Some(total + millions + group)
    }

    fn worth(word: &str) -> Option<u64> {
        let roots = [
            ("cero", 0),
            ("diez", 10),
            ("once", 11),
            ("doce", 12),
            ("trece", 13),
            ("catorce", 14),
            ("quince", 15),
            ("veinte", 20),
            ("treinta", 30),
            ("cuarenta", 40),
            ("cincuenta", 50),
            ("sesenta", 60),
            ("setenta", 70),
            ("ochenta", 80),
            ("noventa", 90),
            ("cien", 100),
            ("ciento", 100),
            ("quinient", 500),
            ("setecient", 700),
            ("novecient", 900),
            ("un", 1),
            ("dos", 2),
            ("dós", 2),
            ("tres", 3),
            ("trés", 3),
            ("cuatro", 4),
            ("cinco", 5),
            ("seis", 6),
            ("séis", 6),
            ("siete", 7),
            ("ocho", 8),
            ("nueve", 9),
        ];
        let root = |text: &str| roots.iter().find(|(root, _)| *root == text).map(|(_, value)| *value);
        let plain = |text: &str| {
            root(text).or_else(|| root(text.trim_end_matches(['o', 'a']))).or_else(|| (text == "ún").then_some(1))
        };
        let hundreds = |text: &str| {
            let stem = text.strip_suffix("os").or_else(|| text.strip_suffix("as"))?;
            root(stem).or_else(|| Some(root(stem.strip_suffix("cient")?)? * 100))
        };
        plain(word)
            .or_else(|| plain(word.strip_prefix("dieci")?).map(|units| 10 + units))
            .or_else(|| plain(word.strip_prefix("veinti")?).map(|units| 20 + units))
            .or_else(|| hundreds(word))
    }
}
