//! Sets of values as one JSON parameter each. The statements take it apart with `json_each`. Ids
//! are in hex.

use std::{collections::HashSet, fmt::Write};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::{
        event::Entity,
        summary::{DayKey, Key, SummaryRow},
    },
    store::{Mark, Put, Removal},
};

/// `["<id>", …]`
pub fn ids(ids: &[Uuid]) -> String {
    array(ids, |text, id| write!(text, "\"{}\"", id.simple()))
}

/// `[1, …]`
pub fn numbers(numbers: &[i64]) -> String {
    array(numbers, |text, number| write!(text, "{number}"))
}

/// `["<word>", …]`
pub fn words(words: &[&str]) -> String {
    json!(words).to_string()
}

/// `[["<facility>", "<date>"], …]`
pub fn dates(keys: &[Key]) -> String {
    array(keys, |text, key| write!(text, "[\"{}\",\"{}\"]", key.facility_id.simple(), key.date))
}

/// `[["<facility>", "<date>", start, end], …]`
pub fn days(keys: &[DayKey]) -> String {
    array(keys, |text, DayKey { facility, day }| {
        write!(
            text,
            "[\"{}\",\"{}\",{},{}]",
            facility.id.simple(),
            day.date,
            day.start_ms,
            day.end_ms
        )
    })
}

/// `[["<id>", event time, "<facility>" or null, instant or null], …]`
pub fn removals(rows: &[Removal]) -> String {
    let row = |r: &Removal| {
        json!([
            hex(r.id),
            r.event_time_ms,
            r.last_counted.map(|c| hex(c.facility_id)),
            r.last_counted.and_then(|c| c.at_ms)
        ])
    };
    rows.iter().map(row).collect::<serde_json::Value>().to_string()
}

/// `[["<kind>", "<facility>" or null, first or null, last or null], …]`
pub fn marks(marks: &[Mark]) -> String {
    let row = |m: &Mark| {
        let (first, last) = m.span.unzip();
        json!([m.kind.as_str(), m.facility_id.map(hex), first, last])
    };
    marks.iter().map(row).collect::<Value>().to_string()
}

/// The parameter of `write_summaries.sql`.
pub fn summaries(rows: &[SummaryRow], by_difference: &HashSet<Key>) -> String {
    let row = |r: &SummaryRow| {
        let s = &r.summary;
        json!([
            hex(s.facility_id),
            s.date.to_string(),
            s.total_stock,
            s.total_transferred,
            s.total_requests,
            s.by_blood_type,
            r.as_of_ms,
            r.next_expires_at_ms,
            s.updated_at,
            s.version,
            r.bounds.map(|b| b.start_ms),
            r.bounds.map(|b| b.end_ms),
            by_difference.contains(&r.key())
        ])
    };
    rows.iter().map(row).collect::<Value>().to_string()
}

/// The parameter of the `put_*.sql` of the entities' kind.
pub fn entities(rows: &[Put]) -> String {
    rows.iter().map(entity).collect::<Value>().to_string()
}

fn entity(put: &Put) -> Value {
    let (id, time) = (hex(put.id), put.event_time_ms);
    match &put.entity {
        Entity::Facility { name, timezone } => json!([id, time, name, timezone]),
        Entity::BloodBank { facility_id, name } => json!([id, time, hex(*facility_id), name]),
        Entity::Inventory { blood_bank_id, blood_type, expires_at_ms, quantity } => {
            json!([id, time, hex(*blood_bank_id), blood_type, quantity, expires_at_ms])
        }
        Entity::Distribution { blood_type, date_delivered_ms, dispatched_to_id, quantity } => {
            json!([id, time, hex(*dispatched_to_id), blood_type, quantity, date_delivered_ms])
        }
        Entity::Request { blood_type, created_at_ms, facility_id, quantity } => {
            json!([id, time, hex(*facility_id), blood_type, quantity, created_at_ms])
        }
    }
}

/// The value of a LIMIT.
pub fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

fn array<T>(items: &[T], each: impl Fn(&mut String, &T) -> std::fmt::Result) -> String {
    let mut text = String::with_capacity(2 + items.len() * 40);
    text.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        each(&mut text, item).expect("writing to a string cannot fail");
    }
    text.push(']');
    text
}
