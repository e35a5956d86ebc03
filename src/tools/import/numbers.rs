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
        && marks.clone().all(|c| DigitMark::of(c).is_some());
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
enum DigitMark {
    /// A point or a comma: it groups thousands, or it is the decimal sign.
    Either(DecimalSign),
    /// The decimal sign of Arabic, which never groups.
    Decimal,
    /// It groups thousands.
    Groups,
}

impl DigitMark {
    const fn of(c: char) -> Option<DigitMark> {
        match c {
            '.' | '．' => Some(DigitMark::Either(DecimalSign::Point)),
            ',' | '，' => Some(DigitMark::Either(DecimalSign::Comma)),
            '\u{66b}' => Some(DigitMark::Decimal),
            ' ' | '\'' | '’' | '\u{66c}' => Some(DigitMark::Groups),
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
    match (DigitMark::of(mark), decimal) {
        (Some(DigitMark::Decimal), _) => Ok(Some(last)),
        (Some(DigitMark::Either(sign)), Some(decimal)) => Ok((sign == decimal).then_some(last)),
        (Some(DigitMark::Either(_)), None) if stands_once && marks.len() > 1 => Ok(Some(last)),
        (Some(DigitMark::Either(_)), None) if stands_once => {
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
#[path = "numbers_tests.rs"]
mod tests;
