//! Tests of `dates.rs`.

use super::*;

fn instant(format: Option<&str>, text: &str, zone: &str) -> Result<String, String> {
    let tz = TimeZone::get(zone).unwrap();
    let ms = DateFormat::new(format).map_err(|e| e.to_string())?.instant_ms(text, &tz)?;
    Ok(Timestamp::from_millisecond(ms).unwrap().to_string())
}

#[test]
fn dates_are_read_in_the_facilitys_zone() {
    for (format, text, zone, wants) in [
        (None, "2022-08-27", "Europe/Warsaw", "2022-08-26T22:00:00Z"),
        (None, "2022-08-27T10:30:00Z", "Europe/Warsaw", "2022-08-27T10:30:00Z"),
        (None, "2022-08-27T10:30:00.1234+05:45", "UTC", "2022-08-27T04:45:00.123Z"),
        (None, "2022-08-27T10:30:00[Asia/Kathmandu]", "UTC", "2022-08-27T04:45:00Z"),
        (None, "2022-08-27 10:30", "Asia/Kathmandu", "2022-08-27T04:45:00Z"),
        (Some("%d-%m-%Y"), "27-08-2022", "UTC", "2022-08-27T00:00:00Z"),
        (Some("%d-%m-%Y"), "7-8-2022", "UTC", "2022-08-07T00:00:00Z"),
        (Some("%Y %B"), "2013 January", "Africa/Accra", "2013-01-01T00:00:00Z"),
        (Some("%d/%m/%Y %H:%M"), "27/08/2022 10:30", "Europe/Warsaw", "2022-08-27T08:30:00Z"),
        (Some("%s"), "1661596200", "Europe/Warsaw", "2022-08-27T10:30:00Z"),
        // The hour that the clock repeats is the first of the two, and the one that it skips
        // the hour after.
        (None, "2022-10-30 02:30", "Europe/Warsaw", "2022-10-30T00:30:00Z"),
        (Some("%d-%m-%Y %H:%M"), "30-10-2022 02:30", "Europe/Warsaw", "2022-10-30T00:30:00Z"),
        (None, "2022-03-27 02:30", "Europe/Warsaw", "2022-03-27T01:30:00Z"),
        (Some("%d/%m/%Y %I:%M %p"), "27/08/2022 10:30 PM", "UTC", "2022-08-27T22:30:00Z"),
        // A zone or an offset in the file counts, and not the facility's.
        (
            Some("%Y-%m-%d %H:%M %Q"),
            "2022-08-27 10:30 Asia/Kolkata",
            "Europe/Warsaw",
            "2022-08-27T05:00:00Z",
        ),
        (Some("%Y %B %z"), "2013 January +0300", "UTC", "2012-12-31T21:00:00Z"),
        // A midnight that does not exist: the day starts at one.
        (None, "2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ] {
        assert_eq!(instant(format, text, zone).as_deref(), Ok(wants), "{text}");
    }
}

#[test]
fn a_wrong_date_says_what_would_be_right() {
    for (format, text, zone, wants) in [
        (None, "27-08-2022", "UTC", "right would be 2022-08-27"),
        (None, "", "UTC", "right would be"),
        (None, "2022-08-27T10:30:00[Nowhere/None]", "UTC", "right would be 2022-08-27"),
        (None, "2022-08-27[Nowhere/None]", "UTC", "right would be 2022-08-27"),
        (None, "2022-08-27T10:30:00+05:00[Europe/Warsaw]", "UTC", "right would be 2022-08-27"),
        (
            Some("%d-%m-%Y"),
            "31-02-2022",
            "UTC",
            "right would be 27-08-2022, after --date-format \"%d-%m-%Y\"",
        ),
        (Some("%d-%m-%Y"), "27-08-2022 10:00", "UTC", "right would be"),
        (Some("%d-%m-%Y"), "27-08-22", "UTC", "before 1900-01-01"),
        (Some("%Y %B"), "2013", "UTC", "right would be 2022 August"),
        (None, "2011-12-30", "Pacific/Apia", "a day that Pacific/Apia skipped"),
        (None, "2011-12-30T10:00:00", "Pacific/Apia", "a day that Pacific/Apia skipped"),
    ] {
        let problem = instant(format, text, zone).unwrap_err();
        assert!(problem.contains(wants), "{text}: {problem}");
    }
}

#[test]
fn a_date_that_is_not_read_is_told_how_it_could_be() {
    for (format, text, wants) in [
        (None, "2024-1-5", ". --date-format \"%Y-%m-%d\" reads it as 2024-01-05"),
        (
            None,
            "05/01/2024",
            ". --date-format \"%d/%m/%Y\" reads it as 2024-01-05, --date-format \"%m/%d/%Y\" \
                 reads it as 2024-05-01",
        ),
        (None, "13/01/2024", ". --date-format \"%d/%m/%Y\" reads it as 2024-01-13"),
        (None, "05-Jan-24", ". --date-format \"%d-%b-%y\" reads it as 2024-01-05"),
        (None, "5.1.2024 14:30", ". --date-format \"%d.%m.%Y %H:%M\" reads it as 2024-01-05"),
        (None, "1/5/2024 2:30 PM", "--date-format \"%m/%d/%Y %I:%M %p\" reads it as 2024-01-05"),
        (None, "January 2024", ". --date-format \"%B %Y\" reads it as 2024-01-01"),
        (Some("%d-%m-%Y"), "2022-08-27", ". --date-format \"%Y-%m-%d\" reads it as 2022-08-27"),
        (Some("%d-%m-%Y"), "27-08-22", ". --date-format \"%d-%m-%y\" reads it as 2022-08-27"),
        (
            None,
            "45296",
            ". It may be the number of a day in a spreadsheet (2024-01-05, if they count from \
                 1900): show",
        ),
        (None, "45296.4375", "(2024-01-05, if"),
    ] {
        let problem = instant(format, text, "UTC").unwrap_err();
        assert!(problem.contains(wants), "{text}: {problem}");
    }
    for text in ["n/a", "2024", "99999", "tomorrow", "31/31/2024"] {
        let problem = instant(None, text, "UTC").unwrap_err();
        assert!(problem.ends_with("names another way of writing it"), "{text}: {problem}");
    }
    assert_eq!(instant(None, "٢٠٢٤-٠١-٠٥", "UTC").as_deref(), Ok("2024-01-05T00:00:00Z"));
}

#[test]
fn a_format_that_leaves_the_month_or_the_time_open_is_wrong_use() {
    for format in [
        "%d",
        "%Y",
        "%H:%M",
        "%",
        "%!",
        "plain",
        "%Y-%m-%d %M",
        "%f/%m/%y %I:%M %p",
        "%d/%m/%Y %I:%M",
    ] {
        let error = DateFormat::new(Some(format)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}
