//! Tests of `zones.rs`.

use super::*;

#[test]
fn what_people_write_for_a_zone_leads_to_its_name() {
    for (written, meant_first) in [
        ("IST", "Asia/Kolkata"),
        ("+05:30", "Asia/Kolkata"),
        ("UTC+0530", "Asia/Kolkata"),
        ("GMT -3:30", "America/St_Johns"),
        ("+05:45", "Asia/Kathmandu"),
        ("UTC+3", "Etc/GMT-3"),
        ("-08:00", "Etc/GMT+8"),
        ("+00:00", "UTC"),
        (" Europe/Warsaw", "Europe/Warsaw"),
        ("America/New York", "America/New_York"),
        ("Europe/Warszawa", "Europe/Warsaw"),
        ("Asia/Calcuta", "Asia/Calcutta"),
        ("kathmandu", "Asia/Kathmandu"),
        ("Z", "UTC"),
    ] {
        assert_eq!(find(written).map(|_| ()), None, "{written} is no zone");
        assert_eq!(meant(written).first().map(String::as_str), Some(meant_first), "{written}");
    }
    for nonsense in ["", "Mars/Olympus", "+99:00", "x", "+", "日本"] {
        assert!(meant(nonsense).is_empty(), "{nonsense}: {:?}", meant(nonsense));
    }
    assert!(
        expected("IST").ends_with(
            "perhaps \"Asia/Kolkata\", \"Asia/Jerusalem\" or \"Europe/Dublin\" is meant"
        )
    );
}

#[test]
fn a_name_that_is_too_long_for_any_zone_costs_no_comparison() {
    let long = "x".repeat(100_000_000);
    assert!(find(&long).is_none() && meant(&long).is_empty());
    assert!(expected(&long).ends_with("of at most 64 bytes"));
    assert_eq!(shortened(&long, 3), "xxx… (100000000 bytes)");
    assert_eq!(
        (shortened("日本", 4).as_ref(), shortened("日本", 6).as_ref()),
        ("日… (6 bytes)", "日本")
    );
}

#[test]
fn nothing_that_is_no_zone_is_proposed() {
    assert_eq!(meant("Factory"), Vec::<String>::new());
    assert_eq!(
        expected("Factory"),
        "the name of an IANA time zone such as \"Europe/Warsaw\" or \"UTC\""
    );
    assert!(names().all(|name| find(&name).is_some() && name.len() <= MAX_BYTES / 2));
}

#[test]
fn every_zone_that_is_proposed_exists() {
    for letters in [
        "IST", "CST", "BST", "CEST", "EEST", "ART", "ACST", "AEST", "NZDT", "WIB", "PHT", "AKST",
        "SAST", "AST", "NST", "ET",
    ] {
        let names = meant(letters);
        assert!(
            !names.is_empty() && names.iter().all(|name| find(name).is_some()),
            "{letters}: {names:?}"
        );
    }
    for minutes in -14 * 60..=14 * 60 {
        let sign = if minutes < 0 { '-' } else { '+' };
        let written = format!("{sign}{:02}:{:02}", i32::abs(minutes) / 60, i32::abs(minutes) % 60);
        for name in meant(&written) {
            let zone = find(&name).unwrap_or_else(|| panic!("{written}: {name}"));
            let offset = zone.to_offset("2026-01-15T00:00:00Z".parse().unwrap()).seconds();
            let summer = zone.to_offset("2026-07-15T00:00:00Z".parse().unwrap()).seconds();
            assert!(
                [offset, summer].contains(&(minutes * 60)),
                "{written}: {name} is at {offset} s"
            );
        }
    }
}

#[test]
fn names_of_a_machines_own_are_no_zones() {
    for name in [
        "localtime",
        "posixrules",
        "Factory",
        "right/Europe/Warsaw",
        "posix/UTC",
        "Etc/Unknown",
        "",
    ] {
        assert!(find(name).is_none(), "{name}");
    }
    assert!(
        ["Asia/Calcutta", "US/Eastern", "europe/warsaw", "UTC"]
            .iter()
            .all(|name| find(name).is_some())
    );
}
