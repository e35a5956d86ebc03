//! Numbers as files write them, and random ones.

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
fn an_ambiguous_number_is_decided_by_the_option_alone() {
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
fn a_refused_number_is_refused_with_the_reason() {
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

/// The digits of `n`, with `mark` between groups of three.
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
    fn a_number_is_read_with_its_value_or_refused(
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
