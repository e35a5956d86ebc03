//! Time zones by name: finds a zone, and proposes names for one that does not exist.
//!
//! The zone database of this release is asked first, and the host's only for names that the release
//! lacks. So all replicas of one release have the same days, whatever their hosts have installed.
//! If two replicas disagreed about a day, each would replace the other's row for ever. The price:
//! new rules of a known zone come only with a release, not with an update of the host. And two
//! hosts may use different rules for a zone that this release lacks. A host that lacks names does
//! not matter (slim images leave out `Asia/Calcutta` and `US/Eastern`).

use std::{borrow::Cow, collections::BTreeSet, sync::LazyLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};

static BUNDLED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The most bytes in the name of a zone; IANA's longest has half as many. Longer names are not
/// looked up or compared.
pub const MAX_BYTES: usize = 64;

/// A text that a client wrote, cut to `most` bytes and marked as cut when it is longer.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len()))
}

/// The zone with this IANA name, in any case; `None` when neither database has it. Some names in a
/// machine's zone folder are not accepted: they mean another zone on another machine (`localtime`,
/// `posixrules`), no zone at all (`Factory`), or count leap seconds (`right/…`).
pub fn find(name: &str) -> Option<TimeZone> {
    if name.len() > MAX_BYTES {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "localtime" | "posixrules" | "factory")
        || lower.starts_with("posix/")
        || lower.starts_with("right/")
    {
        return None;
    }
    let zone = BUNDLED.get(name).or_else(|_| TimeZone::get(name)).ok()?;
    (!zone.is_unknown() && zone.iana_name().is_some()).then_some(zone)
}

/// What is expected instead of this name, with the names that were probably meant.
pub fn expected(name: &str) -> String {
    if name.len() > MAX_BYTES {
        return format!(
            "the name of an IANA time zone such as \"Europe/Warsaw\" or \"UTC\", of at most \
             {MAX_BYTES} bytes"
        );
    }
    let meant: Vec<String> = meant(name).into_iter().map(|name| format!("\"{name}\"")).collect();
    let plain = "the name of an IANA time zone such as \"Europe/Warsaw\" or \"UTC\"";
    match meant.as_slice() {
        [] => plain.to_owned(),
        [one] => format!("{plain}; perhaps {one} is meant"),
        [first @ .., last] => format!("{plain}; perhaps {} or {last} is meant", first.join(", ")),
    }
}

/// The most names that are proposed.
const PROPOSALS: usize = 3;

/// The names that a name without a zone probably means, the nearest first.
pub fn meant(name: &str) -> Vec<String> {
    let name = name.trim();
    if name.len() > MAX_BYTES {
        return Vec::new();
    }
    let spelt = name.split_whitespace().collect::<Vec<_>>().join("_");
    if let Some(zone) = find(&spelt) {
        return zone.iana_name().map(str::to_owned).into_iter().collect();
    }
    if let Some(names) = abbreviated(&spelt).or_else(|| offset(&spelt)) {
        return names;
    }
    let in_city = names().filter(|zone| {
        zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&spelt))
    });
    let in_city: Vec<String> = in_city.take(PROPOSALS).collect();
    if in_city.is_empty() { misspelt(&spelt) } else { in_city }
}

fn names() -> impl Iterator<Item = String> {
    let own: BTreeSet<String> = BUNDLED.available().map(|name| name.to_string()).collect();
    own.into_iter().filter(|name| find(name).is_some())
}

/// The names with the fewest different letters, at most a third of them.
fn misspelt(name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    let letters = lower.chars().count();
    let most = (letters / 3).clamp(1, 4);
    let mut near: Vec<(usize, String)> = names()
        .filter(|zone| zone.len().abs_diff(letters) <= most)
        .map(|zone| (strsim::damerau_levenshtein(&lower, &zone.to_lowercase()), zone))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort();
    let best = near.first().map_or(0, |(distance, _)| *distance);
    near.into_iter()
        .filter(|(distance, _)| *distance == best)
        .take(PROPOSALS)
        .map(|(_, zone)| zone)
        .collect()
}

/// The zones of an abbreviation that people write and that is not the name of a zone. Several when
/// the abbreviation has several meanings.
fn abbreviated(name: &str) -> Option<Vec<String>> {
    let meant: &[&str] = match name.to_ascii_uppercase().as_str() {
        "IST" => &["Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"],
        "PST" | "PDT" | "PT" => &["America/Los_Angeles"],
        "MDT" | "MT" => &["America/Denver"],
        "CST" => &["America/Chicago", "Asia/Shanghai", "America/Havana"],
        "CDT" | "CT" => &["America/Chicago"],
        "EDT" | "ET" => &["America/New_York"],
        "AST" | "ADT" => &["America/Halifax"],
        "NST" | "NDT" => &["America/St_Johns"],
        "AKST" | "AKDT" => &["America/Anchorage"],
        "BRT" => &["America/Sao_Paulo"],
        "ART" => &["America/Argentina/Buenos_Aires"],
        "BST" => &["Europe/London", "Asia/Dhaka"],
        "CEST" => &["Europe/Paris", "Europe/Berlin", "Europe/Warsaw"],
        "EEST" => &["Europe/Athens", "Europe/Kyiv", "Europe/Helsinki"],
        "WEST" => &["Europe/Lisbon"],
        "MSK" => &["Europe/Moscow"],
        "TRT" => &["Europe/Istanbul"],
        "WAT" => &["Africa/Lagos"],
        "CAT" => &["Africa/Maputo"],
        "EAT" => &["Africa/Nairobi"],
        "SAST" => &["Africa/Johannesburg"],
        "GST" => &["Asia/Dubai"],
        "IRST" => &["Asia/Tehran"],
        "PKT" => &["Asia/Karachi"],
        "NPT" => &["Asia/Kathmandu"],
        "WIB" => &["Asia/Jakarta"],
        "SGT" => &["Asia/Singapore"],
        "PHT" | "PHST" => &["Asia/Manila"],
        "HKT" => &["Asia/Hong_Kong"],
        "JST" => &["Asia/Tokyo"],
        "KST" => &["Asia/Seoul"],
        "AWST" => &["Australia/Perth"],
        "ACST" | "ACDT" => &["Australia/Adelaide", "Australia/Darwin"],
        "AEST" | "AEDT" => &["Australia/Sydney", "Australia/Brisbane"],
        "NZST" | "NZDT" => &["Pacific/Auckland"],
        "Z" => &["UTC"],
        "INDIA_STANDARD_TIME" => &["Asia/Kolkata"],
        _ => return None,
    };
    Some(meant.iter().map(|name| (*name).to_owned()).collect())
}

/// The zones with an offset from UTC, such as `+05:30`, `UTC+3` or `GMT-0800`. Whole hours have
/// names of their own, in which plus means west.
fn offset(name: &str) -> Option<Vec<String>> {
    let upper = name.to_ascii_uppercase().replace('−', "-");
    let rest = upper
        .strip_prefix("UTC")
        .or_else(|| upper.strip_prefix("GMT"))
        .unwrap_or(&upper)
        .trim_start_matches('_');
    let (sign, digits) = rest
        .strip_prefix('+')
        .map(|d| (1, d))
        .or_else(|| rest.strip_prefix('-').map(|d| (-1, d)))?;
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=14).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let of_minutes: &[&str] = match sign * (hours * 60 + minutes) {
        0 => &["UTC"],
        330 => &["Asia/Kolkata", "Asia/Colombo"],
        345 => &["Asia/Kathmandu"],
        390 => &["Asia/Yangon"],
        210 => &["Asia/Tehran"],
        270 => &["Asia/Kabul"],
        525 => &["Australia/Eucla"],
        570 => &["Australia/Darwin", "Australia/Adelaide"],
        630 => &["Australia/Lord_Howe"],
        765 => &["Pacific/Chatham"],
        -210 => &["America/St_Johns"],
        -570 => &["Pacific/Marquesas"],
        _ => &[],
    };
    match of_minutes {
        [] if minutes == 0 => {
            let name = format!("Etc/GMT{}{hours}", if sign > 0 { '-' } else { '+' });
            Some(vec![name].into_iter().filter(|name| find(name).is_some()).collect())
        }
        names => Some(names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;
