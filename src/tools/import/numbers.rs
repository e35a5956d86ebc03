//! Whole numbers in the ways in which files write them. A number that can be read in two ways is a
//! fault, which names the option that decides.

use std::borrow::Cow;

use clap::ValueEnum;

/// The character between the whole and its fraction in a file. The other of the two characters
/// groups thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DecimalSign {
    /// 1.234,5
    #[value(name = ",")]
    Comma,
    /// 1,234.5
    #[value(name = ".")]
    Point,
}

/// The zeros of other scripts, each followed by its nine other digits: Arabic, Persian, the scripts
/// of India, Thai, Lao, Tibetan, Burmese, Khmer, full-width.
const ZEROS: [char; 17] = [
    '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}',
    '\u{c66}', '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{17e0}',
    '\u{ff10}',
];

/// The text with the digits of any script as `0` to `9`.
pub fn plain_digits(text: &str) -> Cow<'_, str> {
    let plain = |c: char| {
        let zero = ZEROS.into_iter().find(|zero| {
            (*zero..=char::from_u32(u32::from(*zero) + 9).unwrap_or(*zero)).contains(&c)
        });
        zero.and_then(|zero| char::from_digit(u32::from(c) - u32::from(zero), 10)).unwrap_or(c)
    };
    if text.is_ascii() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().map(plain).collect())
    }
}

/// Reads a whole number, which may be negative; a number beyond ±10^18 is read as ±10^18. The error
/// is the rest of a sentence about the text.
///
/// - A fraction may have zeros only: `12.0`, `12,00`.
/// - A space or an apostrophe groups thousands. So does a point or a comma that is there twice
///   (`1,234,567`, and India's `1,00,000`) or before the other one (`1,234.00`).
/// - A single point or comma before exactly three digits is ambiguous (`1.000`), unless `decimal`
///   decides.
/// - Exponents, brackets, and units after the number are faults.
pub fn whole(text: &str, decimal: Option<DecimalSign>) -> Result<i64, String> {
    let text = plain_digits(text);
    let unsigned = text.strip_prefix(['-', '+', '−', '\u{2010}', '\u{2011}', '–']).unwrap_or(&text);
    let is_negative = unsigned.len() < text.len() && !text.starts_with('+');
    let marks = unsigned.chars().filter(|c| !c.is_ascii_digit());
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.ends_with(|c: char| c.is_ascii_digit())
        && marks.clone().all(|c| Mark::of(c).is_some());
    if !is_number {
        return Err(no_number(&text));
    }
    let (whole, fraction) = match decimal_mark(unsigned, decimal)? {
        Some(position) => {
            let mark = unsigned[position..].chars().next().map_or(1, char::len_utf8);
            (&unsigned[..position], &unsigned[position + mark..])
        }
        None => (unsigned, ""),
    };
    if !fraction.bytes().all(|digit| digit == b'0') {
        return Err("is not a whole number of units such as 12".to_owned());
    }
    let digits = ungrouped(whole).ok_or_else(|| match decimal {
        Some(sign) => {
            format!("is no number where {} is the decimal sign, as --decimal says", sign.named())
        }
        None => "is not a number: its thousands are not grouped by three digits".to_owned(),
    })?;
    let value = digits.parse().unwrap_or(LARGEST).min(LARGEST);
    Ok(if is_negative { -value } else { value })
}

/// The largest number that is read, far beyond any quantity.
const LARGEST: i64 = 1_000_000_000_000_000_000;

/// A character between the digits of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// A point or a comma: it groups thousands, or it is the decimal sign.
    Either(DecimalSign),
    /// The decimal sign of Arabic, which never groups.
    Decimal,
    /// It groups thousands.
    Groups,
}

impl Mark {
    const fn of(c: char) -> Option<Mark> {
        match c {
            '.' | '．' => Some(Mark::Either(DecimalSign::Point)),
            ',' | '，' => Some(Mark::Either(DecimalSign::Comma)),
            '\u{66b}' => Some(Mark::Decimal),
            ' ' | '\'' | '’' | '\u{66c}' => Some(Mark::Groups),
            _ => None,
        }
    }
}

impl DecimalSign {
    const fn named(self) -> &'static str {
        match self {
            DecimalSign::Comma => "a comma",
            DecimalSign::Point => "a point",
        }
    }
}

/// The byte position of the decimal sign; `None` when there is no fraction. The error says that the
/// number is ambiguous.
fn decimal_mark(number: &str, decimal: Option<DecimalSign>) -> Result<Option<usize>, String> {
    let marks: Vec<(usize, char)> =
        number.char_indices().filter(|(_, c)| !c.is_ascii_digit()).collect();
    let Some(&(last, mark)) = marks.last() else { return Ok(None) };
    let stands_once = marks.iter().filter(|(_, c)| *c == mark).count() == 1;
    match (Mark::of(mark), decimal) {
        (Some(Mark::Decimal), _) => Ok(Some(last)),
        (Some(Mark::Either(sign)), Some(decimal)) => Ok((sign == decimal).then_some(last)),
        (Some(Mark::Either(_)), None) if stands_once && marks.len() > 1 => Ok(Some(last)),
        (Some(Mark::Either(_)), None) if stands_once => {
            let (before, behind) = (&number[..last], &number[last + mark.len_utf8()..]);
            let may_group = behind.len() == 3 && before.len() <= 3 && !before.starts_with('0');
            if may_group { Err(ambiguous(before, behind)) } else { Ok(Some(last)) }
        }
        _ => Ok(None),
    }
}

fn ambiguous(before: &str, behind: &str) -> String {
    let small =
        if behind == "000" { before.to_owned() } else { format!("{before} and a fraction") };
    format!(
        "is {before}{behind} or {small}, and the file does not say which; --decimal , makes the \
         comma its decimal sign, --decimal . the point"
    )
}

/// The digits of a number without its group marks; `None` when the groups are wrong. Each group
/// after the first has three digits. In India's way, which needs at least two marks, the last group
/// has three digits and the others two.
fn ungrouped(number: &str) -> Option<String> {
    let marks: Vec<char> = number.chars().filter(|c| !c.is_ascii_digit()).collect();
    let Some(mark) = marks.first() else { return Some(number.to_owned()) };
    let groups: Vec<&str> = number.split(*mark).collect();
    let (first, last) = (groups.first()?, groups.last()?);
    let middle = &groups[1..groups.len() - 1];
    let by_threes = first.len() <= 3 && middle.iter().all(|group| group.len() == 3);
    let by_twos =
        !middle.is_empty() && first.len() <= 2 && middle.iter().all(|group| group.len() == 2);
    let is_whole = marks.iter().all(|c| c == mark)
        && !first.is_empty()
        && !first.starts_with('0')
        && last.len() == 3;
    (is_whole && (by_threes || by_twos)).then(|| groups.concat())
}

/// What is wrong with a text that is not a number. The message depends on what the text probably
/// is.
fn no_number(text: &str) -> String {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let is_exponent = text.split_once(['e', 'E']).is_some_and(|(number, exponent)| {
        number.parse::<f64>().is_ok()
            && exponent
                .strip_prefix(['+', '-'])
                .unwrap_or(exponent)
                .bytes()
                .all(|b| b.is_ascii_digit())
    });
    let plain = "is not a whole number of units such as 12";
    if is_exponent {
        return format!(
            "{plain}: exponents are not read, as they hide digits; show the column as a number \
             and save the file again"
        );
    }
    if inner.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_digit())) {
        return format!("{plain}: brackets may make it negative, so write it with its sign");
    }
    if !digits.is_empty()
        && text[digits.len()..].trim_start().chars().all(|c| c.is_alphabetic() || c == '.')
        && text.len() > digits.len() + 1
    {
        return format!("{plain}: right would be {digits}, without the words behind it");
    }
    if text.starts_with('=') {
        return format!("{plain}: formulas are not read; save the values of the spreadsheet");
    }
    if stands_for_nothing(text) {
        return format!("{plain}; leave the cell empty where there is no number");
    }
    plain.to_owned()
}

/// Whether a cell stands for a missing value: `n/a`, `NULL`, `-`, or an error of a spreadsheet.
pub fn stands_for_nothing(text: &str) -> bool {
    let words = [
        "n/a", "n.a.", "na", "null", "nil", "none", "nan", "#n/a", "#ref!", "#value!", "#name?",
        "#div/0!", "#null!", "#num!", "(blank)", "(null)", "<null>",
    ];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
        || (!text.is_empty() && !text.chars().any(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DecimalSign::*, *};

    #[test]
    fn numbers_are_what_they_say() {
        for (text, value) in [
            ("12", 12),
            ("012", 12),
            ("+5", 5),
            ("-0", 0),
            ("-5", -5),
            ("−5", -5),
            ("12.0", 12),
            ("12,0", 12),
            ("12.00", 12),
            ("12.0000", 12),
            ("1000.000", 1000),
            ("0.000", 0),
            ("0,000", 0),
            ("1 000", 1000),
            ("12 345 678", 12_345_678),
            ("1'000", 1000),
            ("1’000", 1000),
            ("1 000,0", 1000),
            ("1,234,567", 1_234_567),
            ("1.234.567", 1_234_567),
            ("1,00,000", 100_000),
            ("12,34,567", 1_234_567),
            ("1,234.00", 1234),
            ("1.234,0", 1234),
            ("1,234.000", 1234),
            ("1,234,567.0", 1_234_567),
            ("١٢", 12),
            ("١٬٢٣٤", 1234),
            ("١٢٫٠", 12),
            ("१२", 12),
            ("１２", 12),
            ("１２．０", 12),
            ("9999999999999999999999", LARGEST),
        ] {
            assert_eq!(whole(text, None), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_is_decided_by_the_option_alone() {
        for (text, comma, point) in [
            ("1.000", Some(1000), Some(1)),
            ("1,000", Some(1), Some(1000)),
            ("850,000", Some(850), Some(850_000)),
            ("12.500", Some(12_500), None),
            ("1,234", None, Some(1234)),
        ] {
            let problem = whole(text, None).unwrap_err();
            assert!(
                problem.contains("--decimal , ") && problem.contains("--decimal . "),
                "{text}: {problem}"
            );
            assert_eq!(
                (whole(text, Some(Comma)).ok(), whole(text, Some(Point)).ok()),
                (comma, point),
                "{text}"
            );
        }
        assert!(whole("1.000", None).unwrap_err().starts_with("is 1000 or 1, and"));
        assert!(whole("1,234", None).unwrap_err().starts_with("is 1234 or 1 and a fraction"));
        for (text, sign, value) in [
            ("12,0", Comma, Some(12)),
            ("12.0", Comma, None),
            ("12.0", Point, Some(12)),
            ("12,0", Point, None),
        ] {
            assert_eq!(whole(text, Some(sign)).ok(), value, "{text}");
        }
        for (text, sign, value) in [
            ("1.234.567", Point, None),
            ("1.234.567", Comma, Some(1_234_567)),
            ("1,234.00", Comma, None),
        ] {
            assert_eq!(whole(text, Some(sign)).ok(), value, "{text}");
        }
        assert_eq!((whole("850", Some(Comma)), whole("1 000", Some(Point))), (Ok(850), Ok(1000)));
        assert!(
            whole("12.0", Some(Comma))
                .unwrap_err()
                .contains("where a comma is the decimal sign, as --decimal says")
        );
    }

    #[test]
    fn what_is_no_whole_number_is_told_why() {
        for (text, wants) in [
            ("1.5", "is not a whole number of units such as 12"),
            ("1,5", "is not a whole number"),
            ("1,234.567", "is not a whole number"),
            ("12.", "is not a whole number"),
            (".5", "is not a whole number"),
            (".", "is not a whole number"),
            ("1e3", "exponents are not read"),
            ("1.23E+05", "exponents are not read"),
            ("(5)", "brackets may make it negative"),
            ("12 units", "right would be 12, without the words"),
            ("3u.", "right would be 3"),
            ("12 34", "thousands are not grouped"),
            ("1,00,00", "thousands are not grouped"),
            ("0 123", "thousands are not grouped"),
            ("1,234 567", "thousands are not grouped"),
            ("1..000", "is not a"),
            ("-", "leave the cell empty"),
            ("n/a", "leave the cell empty"),
            ("NULL", "leave the cell empty"),
            ("#REF!", "leave the cell empty"),
            ("=\"5\"", "formulas are not read"),
            ("Medium", "is not a whole number of units such as 12"),
            ("--5", "is not a whole number"),
            ("5-", "is not a whole number"),
            ("½", "is not a whole number"),
            ("²", "is not a whole number"),
        ] {
            let problem = whole(text, None).unwrap_err();
            assert!(problem.contains(wants), "{text}: {problem}");
        }
    }

    /// `n` with `mark` between its thousands.
    fn grouped(n: i64, mark: char) -> String {
        let digits = n.to_string();
        let places = digits.len();
        let with = |(i, c)| {
            if i > 0 && usize::is_multiple_of(places - i, 3) { vec![mark, c] } else { vec![c] }
        };
        digits.chars().enumerate().flat_map(with).collect()
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_itself_or_not_at_all(
            n in 0_i64..10_000_000_000,
            zeros in 0_usize..5,
            decimal in prop_oneof![Just(','), Just('.')],
            mark in proptest::option::of(
                prop_oneof![Just(' '), Just('\''), Just(','), Just('.')]
            ),
        ) {
            prop_assume!(mark != Some(decimal));
            let sign = if decimal == ',' { Comma } else { Point };
            let whole_part = mark.map_or_else(|| n.to_string(), |mark| grouped(n, mark));
            let text = if zeros == 0 {
                whole_part
            } else {
                format!("{whole_part}{decimal}{}", "0".repeat(zeros))
            };
            prop_assert_eq!(whole(&text, Some(sign)), Ok(n), "{} {:?}", text, sign);
            // Without the option it is that number, or a fault that names the option.
            match whole(&text, None) {
                Ok(read) => prop_assert_eq!(read, n, "{}", text),
                Err(problem) => {
                    prop_assert!(problem.contains("--decimal ,"), "{}: {}", text, problem)
                }
            }
        }

        #[test]
        fn one_mark_before_three_digits_is_never_guessed(
            first in 1_u32..1000,
            last in 0_u32..1000,
            mark in "[.,]",
        ) {
            let text = format!("{first}{mark}{last:03}");
            let names_both = |problem: String| {
                problem.contains("--decimal , ") && problem.contains("--decimal . ")
            };
            prop_assert!(whole(&text, None).is_err_and(names_both), "{}", text);
        }

        #[test]
        fn the_two_signs_never_read_two_whole_numbers_where_none_is_asked_for(
            text in "[0-9]{1,4}([., '][0-9]{1,4}){0,3}",
        ) {
            if let Ok(read) = whole(&text, None) {
                for sign in [Comma, Point] {
                    prop_assert!(
                        whole(&text, Some(sign)).is_ok_and(|by| by == read)
                            || whole(&text, Some(sign)).is_err(),
                        "{}",
                        text
                    );
                }
            }
        }

        #[test]
        fn any_text_is_answered(
            text in r"\PC{0,20}",
            decimal in prop_oneof![Just(None), Just(Some(Comma)), Just(Some(Point))],
        ) {
            match whole(&text, decimal) {
                Ok(value) => prop_assert!(value.abs() <= LARGEST),
                Err(problem) => prop_assert!(!problem.is_empty()),
            }
        }
    }
}
