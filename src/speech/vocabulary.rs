//! The recorded words of Spanish numbers, money, days and hours: each key's text, and the audio's file name.
//!
//! A key holds a dot, which an operator's own prompt keys may not, so the two never meet. The audio of `num.21.apocope` is
//! `prompts/es-MX/num.21.apocope.wav`. Numbers below a hundred are recorded whole, since joints inside «treinta y uno» are
//! what makes synthetic speech tiring.

use std::sync::LazyLock;

use super::Word;

/// A key and its text.
type Entry = (&'static str, &'static str);

/// Every recorded word: key and text. The order is fixed for the life of the process.
#[must_use]
pub fn vocabulary() -> &'static [(&'static str, &'static str)] {
    static ALL: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        [
            NUMBERS.as_slice(),
            APOCOPES.as_slice(),
            FEMININES.as_slice(),
            HUNDREDS.as_slice(),
            HUNDREDS_FEMININE.as_slice(),
            SCALES.as_slice(),
            HOURS.as_slice(),
            MONTHS.as_slice(),
            WEEKDAYS.as_slice(),
            LETTERS.as_slice(),
            SIGNS.as_slice(),
            NET_WORDS.as_slice(),
            PHRASES.as_slice(),
        ]
        .concat()
    });
    &ALL
}

/// The text of a key; empty for a key that is none of ours.
#[must_use]
pub fn text_of(key: &str) -> &'static str {
    vocabulary().iter().find(|(candidate, _)| *candidate == key).map_or("", |(_, text)| text)
}

/// 0 to 99 as it stands alone.
pub(super) fn number(value: u8) -> Word {
    pick(&NUMBERS, usize::from(value))
}

/// 1, 21, 31 … 91 before a masculine noun.
pub(super) fn apocope(value: u8) -> Word {
    pick(&APOCOPES, ones_place(value))
}

/// 1, 21, 31 … 91 before a feminine noun.
pub(super) fn feminine(value: u8) -> Word {
    pick(&FEMININES, ones_place(value))
}

/// «ciento», «doscientos» … for `hundreds` 1 to 9.
pub(super) fn hundred(hundreds: u8, feminine: bool) -> Word {
    let index = usize::from(hundreds).saturating_sub(1);
    if feminine && hundreds > 1 { pick(&HUNDREDS_FEMININE, index - 1) } else { pick(&HUNDREDS, index) }
}

/// «la una» … «las doce» for 1 to 12.
pub(super) fn hour(hour: u8) -> Word {
    pick(&HOURS, usize::from(hour).saturating_sub(1))
}

/// «de enero» … for 1 to 12.
pub(super) fn month(month: i8) -> Word {
    pick(&MONTHS, usize::try_from(month).unwrap_or(1).saturating_sub(1))
}

/// «lunes» … for 0 to 6.
pub(super) fn weekday(from_monday: usize) -> Word {
    pick(&WEEKDAYS, from_monday)
}

/// The name of a letter, digit or sign; `None` when it has no recording.
pub(super) fn character(character: char) -> Option<Word> {
    let index = |first: char| usize::try_from(u32::from(character) - u32::from(first)).ok();
    match character {
        '0'..='9' => Some(pick(&NUMBERS, index('0')?)),
        'a'..='z' => Some(pick(&LETTERS, index('a')?)),
        _ => {
            let key = match character {
                'ñ' => "letter.n_tilde",
                '@' => "sign.at",
                '.' => "sign.dot",
                '-' => "sign.hyphen",
                '_' => "sign.underscore",
                '/' => "sign.slash",
                ':' => "sign.colon",
                '+' => "sign.plus",
                '*' => "sign.star",
                '#' => "sign.pound",
                _ => return None,
            };
            Some(Word::Key(key))
        }
    }
}

/// A part of an address that people say as a word: «www», «com», «gmail».
pub(super) fn net_word(token: &str) -> Option<Word> {
    NET_WORDS.iter().find(|(key, _)| key.strip_prefix("net.") == Some(token)).map(|(key, _)| Word::Key(key))
}

fn pick(table: &'static [Entry], index: usize) -> Word {
    debug_assert!(index < table.len(), "number {index} has no recording");
    Word::Key(table.get(index).map_or("num.0", |(key, _)| key))
}

/// Where 1, 21, 31 … 91 stand in their table: 11 is no number that changes.
fn ones_place(value: u8) -> usize {
    usize::from(value / 10).saturating_sub(1)
}

/// 0 to 99, standing alone or masculine: «veintiuno».
static NUMBERS: [Entry; 100] = [
    ("num.0", "cero"),
    ("num.1", "uno"),
    ("num.2", "dos"),
    ("num.3", "tres"),
    ("num.4", "cuatro"),
    ("num.5", "cinco"),
    ("num.6", "seis"),
    ("num.7", "siete"),
    ("num.8", "ocho"),
    ("num.9", "nueve"),
    ("num.10", "diez"),
    ("num.11", "once"),
    ("num.12", "doce"),
    ("num.13", "trece"),
    ("num.14", "catorce"),
    ("num.15", "quince"),
    ("num.16", "dieciséis"),
    ("num.17", "diecisiete"),
    ("num.18", "dieciocho"),
    ("num.19", "diecinueve"),
    ("num.20", "veinte"),
    ("num.21", "veintiuno"),
    ("num.22", "veintidós"),
    ("num.23", "veintitrés"),
    ("num.24", "veinticuatro"),
    ("num.25", "veinticinco"),
    ("num.26", "veintiséis"),
    ("num.27", "veintisiete"),
    ("num.28", "veintiocho"),
    ("num.29", "veintinueve"),
    ("num.30", "treinta"),
    ("num.31", "treinta y uno"),
    ("num.32", "treinta y dos"),
    ("num.33", "treinta y tres"),
    ("num.34", "treinta y cuatro"),
    ("num.35", "treinta y cinco"),
    ("num.36", "treinta y seis"),
    ("num.37", "treinta y siete"),
    ("num.38", "treinta y ocho"),
    ("num.39", "treinta y nueve"),
    ("num.40", "cuarenta"),
    ("num.41", "cuarenta y uno"),
    ("num.42", "cuarenta y dos"),
    ("num.43", "cuarenta y tres"),
    ("num.44", "cuarenta y cuatro"),
    ("num.45", "cuarenta y cinco"),
    ("num.46", "cuarenta y seis"),
    ("num.47", "cuarenta y siete"),
    ("num.48", "cuarenta y ocho"),
    ("num.49", "cuarenta y nueve"),
    ("num.50", "cincuenta"),
    ("num.51", "cincuenta y uno"),
    ("num.52", "cincuenta y dos"),
    ("num.53", "cincuenta y tres"),
    ("num.54", "cincuenta y cuatro"),
    ("num.55", "cincuenta y cinco"),
    ("num.56", "cincuenta y seis"),
    ("num.57", "cincuenta y siete"),
    ("num.58", "cincuenta y ocho"),
    ("num.59", "cincuenta y nueve"),
    ("num.60", "sesenta"),
    ("num.61", "sesenta y uno"),
    ("num.62", "sesenta y dos"),
    ("num.63", "sesenta y tres"),
    ("num.64", "sesenta y cuatro"),
    ("num.65", "sesenta y cinco"),
    ("num.66", "sesenta y seis"),
    ("num.67", "sesenta y siete"),
    ("num.68", "sesenta y ocho"),
    ("num.69", "sesenta y nueve"),
    ("num.70", "setenta"),
    ("num.71", "setenta y uno"),
    ("num.72", "setenta y dos"),
    ("num.73", "setenta y tres"),
    ("num.74", "setenta y cuatro"),
    ("num.75", "setenta y cinco"),
    ("num.76", "setenta y seis"),
    ("num.77", "setenta y siete"),
    ("num.78", "setenta y ocho"),
    ("num.79", "setenta y nueve"),
    ("num.80", "ochenta"),
    ("num.81", "ochenta y uno"),
    ("num.82", "ochenta y dos"),
    ("num.83", "ochenta y tres"),
    ("num.84", "ochenta y cuatro"),
    ("num.85", "ochenta y cinco"),
    ("num.86", "ochenta y seis"),
    ("num.87", "ochenta y siete"),
    ("num.88", "ochenta y ocho"),
    ("num.89", "ochenta y nueve"),
    ("num.90", "noventa"),
    ("num.91", "noventa y uno"),
    ("num.92", "noventa y dos"),
    ("num.93", "noventa y tres"),
    ("num.94", "noventa y cuatro"),
    ("num.95", "noventa y cinco"),
    ("num.96", "noventa y seis"),
    ("num.97", "noventa y siete"),
    ("num.98", "noventa y ocho"),
    ("num.99", "noventa y nueve"),
];

/// 1, 21, 31 … 91 before a masculine noun: «veintiún pesos».
static APOCOPES: [Entry; 9] = [
    ("num.1.apocope", "un"),
    ("num.21.apocope", "veintiún"),
    ("num.31.apocope", "treinta y un"),
    ("num.41.apocope", "cuarenta y un"),
    ("num.51.apocope", "cincuenta y un"),
    ("num.61.apocope", "sesenta y un"),
    ("num.71.apocope", "setenta y un"),
    ("num.81.apocope", "ochenta y un"),
    ("num.91.apocope", "noventa y un"),
];

/// 1, 21, 31 … 91 before a feminine noun: «veintiuna horas».
static FEMININES: [Entry; 9] = [
    ("num.1.f", "una"),
    ("num.21.f", "veintiuna"),
    ("num.31.f", "treinta y una"),
    ("num.41.f", "cuarenta y una"),
    ("num.51.f", "cincuenta y una"),
    ("num.61.f", "sesenta y una"),
    ("num.71.f", "setenta y una"),
    ("num.81.f", "ochenta y una"),
    ("num.91.f", "noventa y una"),
];

/// 100, in front of more, to 900.
static HUNDREDS: [Entry; 9] = [
    ("num.100", "ciento"),
    ("num.200", "doscientos"),
    ("num.300", "trescientos"),
    ("num.400", "cuatrocientos"),
    ("num.500", "quinientos"),
    ("num.600", "seiscientos"),
    ("num.700", "setecientos"),
    ("num.800", "ochocientos"),
    ("num.900", "novecientos"),
];

/// 200 to 900 before a feminine noun.
static HUNDREDS_FEMININE: [Entry; 8] = [
    ("num.200.f", "doscientas"),
    ("num.300.f", "trescientas"),
    ("num.400.f", "cuatrocientas"),
    ("num.500.f", "quinientas"),
    ("num.600.f", "seiscientas"),
    ("num.700.f", "setecientas"),
    ("num.800.f", "ochocientas"),
    ("num.900.f", "novecientas"),
];

/// The hours of a clock face, with their article.
static HOURS: [Entry; 12] = [
    ("hour.1", "la una"),
    ("hour.2", "las dos"),
    ("hour.3", "las tres"),
    ("hour.4", "las cuatro"),
    ("hour.5", "las cinco"),
    ("hour.6", "las seis"),
    ("hour.7", "las siete"),
    ("hour.8", "las ocho"),
    ("hour.9", "las nueve"),
    ("hour.10", "las diez"),
    ("hour.11", "las once"),
    ("hour.12", "las doce"),
];

/// January to December, with the «de» that always stands before them.
static MONTHS: [Entry; 12] = [
    ("month.1", "de enero"),
    ("month.2", "de febrero"),
    ("month.3", "de marzo"),
    ("month.4", "de abril"),
    ("month.5", "de mayo"),
    ("month.6", "de junio"),
    ("month.7", "de julio"),
    ("month.8", "de agosto"),
    ("month.9", "de septiembre"),
    ("month.10", "de octubre"),
    ("month.11", "de noviembre"),
    ("month.12", "de diciembre"),
];

/// Monday to Sunday.
static WEEKDAYS: [Entry; 7] = [
    ("weekday.1", "lunes"),
    ("weekday.2", "martes"),
    ("weekday.3", "miércoles"),
    ("weekday.4", "jueves"),
    ("weekday.5", "viernes"),
    ("weekday.6", "sábado"),
    ("weekday.7", "domingo"),
];

/// The letters a to z, by the names that tell «b» from «v» on a telephone.
static LETTERS: [Entry; 26] = [
    ("letter.a", "a"),
    ("letter.b", "be grande"),
    ("letter.c", "ce"),
    ("letter.d", "de"),
    ("letter.e", "e"),
    ("letter.f", "efe"),
    ("letter.g", "ge"),
    ("letter.h", "hache"),
    ("letter.i", "i"),
    ("letter.j", "jota"),
    ("letter.k", "ka"),
    ("letter.l", "ele"),
    ("letter.m", "eme"),
    ("letter.n", "ene"),
    ("letter.o", "o"),
    ("letter.p", "pe"),
    ("letter.q", "cu"),
    ("letter.r", "erre"),
    ("letter.s", "ese"),
    ("letter.t", "te"),
    ("letter.u", "u"),
    ("letter.v", "ve chica"),
    ("letter.w", "doble u"),
    ("letter.x", "equis"),
    ("letter.y", "i griega"),
    ("letter.z", "zeta"),
];

/// What stands between the groups of a number.
static SCALES: [Entry; 8] = [
    ("num.100.alone", "cien"),
    ("num.thousand", "mil"),
    ("num.million", "millón"),
    ("num.millions", "millones"),
    ("num.billion", "billón"),
    ("num.billions", "billones"),
    ("num.trillion", "trillón"),
    ("num.trillions", "trillones"),
];

/// Signs of telephone keys and addresses, as Mexicans call them.
static SIGNS: [Entry; 11] = [
    ("letter.n_tilde", "eñe"),
    ("sign.at", "arroba"),
    ("sign.dot", "punto"),
    ("sign.hyphen", "guion"),
    ("sign.underscore", "guion bajo"),
    ("sign.slash", "diagonal"),
    ("sign.colon", "dos puntos"),
    ("sign.plus", "más"),
    ("sign.star", "asterisco"),
    ("sign.pound", "gato"),
    ("sign.minus", "menos"),
];

/// Parts of addresses that are said as words; the key after `net.` is the part as written.
static NET_WORDS: [Entry; 14] = [
    ("net.www", "triple doble u"),
    ("net.com", "com"),
    ("net.net", "net"),
    ("net.org", "org"),
    ("net.gob", "gob"),
    ("net.mx", "eme equis"),
    ("net.gmail", "gmail"),
    ("net.hotmail", "hotmail"),
    ("net.outlook", "outlook"),
    ("net.yahoo", "yahoo"),
    ("net.atencion", "atención"),
    ("net.contacto", "contacto"),
    ("net.soporte", "soporte"),
    ("net.internet", "internet"),
];

/// Everything else.
static PHRASES: [Entry; 30] = [
    ("word.y", "y"),
    ("word.a", "a"),
    ("word.de", "de"),
    ("word.el", "el"),
    ("word.con", "con"),
    ("word.extension", "extensión"),
    ("money.peso", "peso"),
    ("money.pesos", "pesos"),
    ("money.centavo", "centavo"),
    ("money.centavos", "centavos"),
    ("date.first", "primero"),
    ("time.half", "y media"),
    ("time.quarter", "y cuarto"),
    ("time.early", "de la madrugada"),
    ("time.morning", "de la mañana"),
    ("time.noon", "del día"),
    ("time.afternoon", "de la tarde"),
    ("time.night", "de la noche"),
    ("time.midnight", "medianoche"),
    ("span.day", "día"),
    ("span.days", "días"),
    ("span.hour", "hora"),
    ("span.hours", "horas"),
    ("span.minute", "minuto"),
    ("span.minutes", "minutos"),
    ("span.second", "segundo"),
    ("span.seconds", "segundos"),
    ("hours.every_day", "todos los días"),
    ("hours.all_day", "las veinticuatro horas"),
    ("hours.closed", "cerrado"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ascii_file_names_with_a_dot_and_stand_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (key, text) in vocabulary() {
            assert!(
                key.contains('.')
                    && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c)),
                "{key}"
            );
            assert!(seen.insert(key), "{key} stands twice");
            assert!(!text.is_empty() && text.trim() == *text, "{key}");
        }
    }

    #[test]
    fn forms_that_change_are_found() {
        let text = |word: Word| super::super::text(&[word]);
        assert_eq!([1, 21, 91].map(|n| text(apocope(n))), ["un", "veintiún", "noventa y un"]);
        assert_eq!([1, 31].map(|n| text(feminine(n))), ["una", "treinta y una"]);
        assert_eq!(
            [hundred(1, true), hundred(5, true), hundred(9, false)].map(text),
            ["ciento", "quinientas", "novecientos"]
        );
        assert_eq!([hour(1), month(12), weekday(6)].map(text), ["la una", "de diciembre", "domingo"]);
        assert_eq!(
            "7b@".chars().map(|c| text(character(c).unwrap())).collect::<Vec<_>>(),
            ["siete", "be grande", "arroba"]
        );
        assert_eq!(character('€'), None);
    }
}
