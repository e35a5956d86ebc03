//! Tests of `parameters.rs`.

use super::*;

#[test]
fn a_refusal_names_the_bounds_of_its_resource_and_not_those_of_a_type() {
    let refusal = |read: Result<(), Problem>| read.unwrap_err().detail().to_owned();
    for value in ["5.0", "", "0", "-1", "501", "99999999999999999999999", "five", "0x5", "5%20"] {
        let shown = value.replace("%20", " ");
        let want = format!(
            "The query parameter `limit` is \"{shown}\"; expected a whole number from 1 to "
        );
        let query = format!("limit={value}");
        assert_eq!(refusal(Facilities::read(&query).map(drop)), format!("{want}500."));
        assert_eq!(refusal(ListingParameters::read(&query).map(drop)), format!("{want}500."));
        assert_eq!(refusal(Range::read(&query).map(drop)), format!("{want}400."));
    }
    for value in ["", "-1", "two", "5.0", "1e3", "9223372036854775808"] {
        let expected = "a whole number from 0 to 9223372036854775807";
        let want =
            format!("The query parameter `min_version` is \"{value}\"; expected {expected}.");
        assert_eq!(refusal(OneDay::read(&format!("min_version={value}")).map(drop)), want);
    }
    for value in ["zz", "", "{0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d}", "0b6c8f0e54f1"] {
        let want = format!(
            "The query parameter `cursor` is \"{value}\"; expected the next_cursor of the \
                 page before."
        );
        assert_eq!(refusal(ListingParameters::read(&format!("cursor={value}")).map(drop)), want);
        assert_eq!(refusal(Facilities::read(&format!("cursor={value}")).map(drop)), want);
        assert_eq!(refusal(Range::read(&format!("cursor={value}")).map(drop)), want);
    }
    assert!(
        refusal(ListingParameters::read("sort=size").map(drop))
            .contains("`sort` is \"size\"; expected one of name, -name, total_stock, ")
    );
    for value in ["today", "1899-12-31", "0001-01-01", "2026-02-30", "12026-01-01", " 2026-01-01"] {
        let expected = "a calendar date such as 2026-11-21, from 1900-01-01 on";
        let want =
            |name| format!("The query parameter `{name}` is \"{value}\"; expected {expected}.");
        assert_eq!(refusal(Refresh::read(&format!("date={value}")).map(drop)), want("date"));
        assert_eq!(refusal(Range::read(&format!("from={value}")).map(drop)), want("from"));
        assert_eq!(refusal(Range::read(&format!("to={value}")).map(drop)), want("to"));
    }
}

#[test]
fn a_date_that_is_far_from_its_day_can_be_read_all_the_same() {
    for value in ["1900-01-01", "2200-01-01", "2999-01-01", "9999-12-31"] {
        let date = Some(value.parse().unwrap());
        assert_eq!(Refresh::read(&format!("date={value}")), Ok(Refresh { date }));
        assert_eq!(Range::read(&format!("to={value}")).map(|range| range.to), Ok(date));
    }
}

#[test]
fn what_is_left_out_has_its_usual_value() {
    assert_eq!(OneDay::read(""), Ok(OneDay { min_version: 0 }));
    assert_eq!(
        Range::read(""),
        Ok(Range { from: None, to: None, limit: 400, cursor: None, min_version: 0 })
    );
    assert_eq!(
        Facilities::read("q="),
        Ok(Facilities { q: Some(String::new()), key: None, limit: 100, cursor: None })
    );
}

#[test]
fn a_cursor_is_read_as_it_was_written_and_in_no_other_way() {
    let cursor = FacilityCursor { name: "Łódź 2".into(), id: Uuid::from_u128(7) };
    let text = cursor.to_string();
    assert_eq!(FacilityCursor::read(&text), Some(cursor));
    for wrong in [
        text.to_uppercase(),
        text[..31].to_owned(),
        format!("{text}+1"),
        format!("{text}f"),
        format!("{text}ff"),
    ] {
        assert_eq!(FacilityCursor::read(&wrong), None, "{wrong}");
    }
}
