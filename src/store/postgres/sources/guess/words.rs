//! The words in the names of tables, columns and labels, whatever the habit of writing them:
//! `blood_unit`, `BloodUnit`, `bloodunit`, `BLOOD-UNIT`.

use super::vocabulary::Words;

/// Words that names are made of without a sign between them.
const PARTS: &[&str] = &[
    "abo",
    "available",
    "bag",
    "balance",
    "bank",
    "batch",
    "blood",
    "branch",
    "center",
    "centre",
    "clinic",
    "code",
    "component",
    "consignment",
    "count",
    "created",
    "daily",
    "date",
    "deleted",
    "delivered",
    "delivery",
    "depot",
    "dispatch",
    "distribution",
    "donation",
    "donor",
    "entry",
    "expiry",
    "expiration",
    "facility",
    "group",
    "history",
    "hospital",
    "institution",
    "inventory",
    "issue",
    "item",
    "ledger",
    "line",
    "location",
    "master",
    "movement",
    "name",
    "number",
    "order",
    "organisation",
    "organization",
    "pack",
    "patient",
    "product",
    "quantity",
    "receipt",
    "received",
    "report",
    "request",
    "requisition",
    "rhesus",
    "shipment",
    "site",
    "status",
    "stock",
    "store",
    "summary",
    "supply",
    "time",
    "transaction",
    "transfer",
    "type",
    "unit",
    "units",
    "user",
    "ward",
    "warehouse",
    "zone",
];

/// Words that say nothing about what a table holds.
const EMPTY: &[&str] = &[
    "tbl", "tab", "t", "m", "mst", "master", "info", "data", "list", "detail", "dim", "fact",
    "record", "table", "tb", "app", "core",
];

/// Words for the lines of another table's rows.
const LINE: &[&str] = &["item", "line", "entry", "row"];

/// The words of a name, in small letters and in the singular.
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let characters: Vec<char> = name.chars().collect();
    for (at, &c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        let begins = c.is_uppercase()
            && (before.is_some_and(|b| b.is_lowercase() || b.is_ascii_digit())
                || (before.is_some_and(|b| b.is_uppercase())
                    && after.is_some_and(|a| a.is_lowercase())));
        if !c.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    let parts = words.iter().filter(|word| !word.is_empty()).flat_map(|word| split(word));
    parts.map(|word| singular(&word)).collect()
}

/// The words of a table's name that say what it holds, without those of [`EMPTY`] and [`LINE`]
/// where others are left.
pub fn subject(name: &str) -> Vec<String> {
    let all = words(name);
    let mut kept = all.clone();
    kept.retain(|word| !EMPTY.contains(&word.as_str()));
    while kept.len() > 1 && kept.last().is_some_and(|word| LINE.contains(&word.as_str())) {
        kept.pop();
    }
    if kept.is_empty() { all } else { kept }
}

/// Whether a table holds the lines of another one's rows, by its name.
pub fn is_of_lines(name: &str) -> bool {
    let mut all = words(name);
    all.retain(|word| !EMPTY.contains(&word.as_str()) || word == "detail");
    all.len() > 1 && all.last().is_some_and(|w| LINE.contains(&w.as_str()) || w == "detail")
}

/// A word that is several written together, taken apart.
fn split(word: &str) -> Vec<String> {
    fn parts(rest: &str) -> Option<Vec<String>> {
        if rest.is_empty() {
            return Some(vec![]);
        }
        let mut fitting: Vec<&&str> =
            PARTS.iter().filter(|part| rest.starts_with(**part)).collect();
        fitting.sort_by_key(|part| std::cmp::Reverse(part.len()));
        fitting.into_iter().find_map(|part| {
            let (rest, plural) = match rest[part.len()..].strip_prefix('s') {
                Some(rest) if rest.is_empty() => (rest, "s"),
                _ => (&rest[part.len()..], ""),
            };
            let ends = ["id", "no", "at", "on"].contains(&rest);
            let others = if ends { Some(vec![rest.to_owned()]) } else { parts(rest) }?;
            Some([vec![format!("{part}{plural}")], others].concat())
        })
    }
    parts(word).unwrap_or_else(|| vec![word.to_owned()])
}

fn singular(word: &str) -> String {
    match word {
        _ if word.len() < 4 || word.ends_with("ss") || word.ends_with("us") => word.to_owned(),
        _ if word.ends_with("ies") => format!("{}y", &word[..word.len() - 3]),
        _ if ["ches", "shes", "xes", "sses"].iter().any(|end| word.ends_with(end)) => {
            word[..word.len() - 2].to_owned()
        }
        _ => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

/// The greatest weight of a word that is listed, and 0 if none is. Of two that are as great, the
/// one below 0 counts.
pub fn weight(words: &[String], listed: Words) -> i32 {
    let of = |word: &String| {
        let known = listed.iter().find(|(_, words)| words.split(' ').any(|known| known == word));
        known.map(|(weight, _)| *weight)
    };
    words.iter().filter_map(of).max_by_key(|weight| (weight.abs(), *weight < 0)).unwrap_or(0)
}

/// The weight of a table's name: the last word says what a row is, and counts in full. Words before
/// it say what kind, and count half.
pub fn weight_of_table(words: &[String], listed: Words) -> i32 {
    let Some((last, before)) = words.split_last() else { return 0 };
    weight(std::slice::from_ref(last), listed) + weight(before, listed).max(0) / 2
}

pub fn has(words: &[String], any: &[&str]) -> bool {
    words.iter().any(|word| any.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_habit() {
        for (name, expected) in [
            ("blood_units", &["blood", "unit"][..]),
            ("BloodUnits", &["blood", "unit"]),
            ("bloodunit", &["blood", "unit"]),
            ("TBL_BLOOD_UNIT", &["tbl", "blood", "unit"]),
            ("facilityId", &["facility", "id"]),
            ("facilityid", &["facility", "id"]),
            ("ABOGroup", &["abo", "group"]),
            ("qty2", &["qty2"]),
            ("statuses", &["statuse"]),
            ("deliveries", &["delivery"]),
            ("branches", &["branch"]),
            ("pharmacy_stocktransfer", &["pharmacy", "stock", "transfer"]),
            ("status", &["status"]),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
    }

    #[test]
    fn the_subject_of_a_table_is_what_its_rows_are() {
        assert_eq!(subject("tbl_facility_master"), ["facility"]);
        assert_eq!(subject("DispatchItem"), ["dispatch"]);
        assert_eq!(subject("item_master"), ["item"]);
        assert!(is_of_lines("DispatchItem") && is_of_lines("order_details"));
        assert!(!is_of_lines("items") && !is_of_lines("bag"));
    }
}
