//! Changes after which an input is still a request: of one value, of one field, of the form.
//! libFuzzer itself changes bytes.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

const HEADS: [&str; 8] = [
    "content-type: application/cloudevents+json",
    "content-type: Application/CloudEvents-BATCH+JSON",
    "content-type: application/cloudevents-batch+json; charset=utf-8",
    "content-type: application/json",
    "content-type: application/cloudevents+json\nce-specversion: 1.0",
    "content-type: application/json\nce-specversion: 1.0\nce-id: 1\nce-source: /f\nce-time: \
     2026-11-21T10:00:00Z\nce-type: inventory.set",
    "content-type: text/json\nce-specversion: 1.0\nce-id: 1\nce-source: /f\nce-time: \
     2026-11-21T09:00:00.5%2B00:00\nce-type: summary.touched",
    "content-type: application/json\nce-specversion: 1.0\nce-id: %C5%82\nce-source: /f\nce-time: \
     2026-11-21T10:00:00Z\nce-type: request.removed",
];

const NAMES: [&str; 30] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "datacontenttype",
    "dataschema",
    "subject",
    "data",
    "data_base64",
    "traceparent",
    "facility_id",
    "blood_bank_id",
    "inventory_id",
    "distribution_id",
    "request_id",
    "dispatched_to_id",
    "name",
    "timezone",
    "blood_type",
    "quantity",
    "expires_at",
    "date_delivered",
    "created_at",
    "date",
    "a/b",
    "m~n",
    "",
    "~1",
    "0",
];

const TEXTS: [&str; 40] = [
    "1.0",
    "",
    " ",
    "facility.registered",
    "blood_bank.registered",
    "inventory.set",
    "inventory.removed",
    "distribution.set",
    "distribution.removed",
    "request.set",
    "request.removed",
    "summary.touched",
    "0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d",
    "00000000-0000-0000-0000-000000000000",
    "0B6C8F0E-54F1-4B1C-9F5E-0D6F3C1A2B4D",
    "2026-11-21T10:00:00Z",
    "2026-11-21t09:59:59.9999999999z",
    "2026-11-21T15:45:00.001+05:45",
    "2026-11-21T10:05:00.001Z",
    "2026-08-23T09:59:59.999Z",
    "1900-01-01T00:00:00Z",
    "1899-12-31T23:59:59Z",
    "2199-12-31T23:59:59.999Z",
    "1969-12-31T23:59:59.9999Z",
    "2200-01-01T00:00:00+23:59",
    "2016-12-31T23:59:60Z",
    "2026-11-21",
    "2026-02-29",
    "Europe/Warsaw",
    "europe/warsaw",
    "Asia/Calcutta",
    "right/UTC",
    "O+",
    "AB-",
    "0 Rh+",
    "unknown",
    "application/json; charset=utf-8",
    "application/vnd.x+json",
    "a\u{0}b",
    "\u{a0}Łódź\u{2028}",
];

pub fn request(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed) | 1 << 40);
    let input = data[..size].to_vec();
    let (head, body) = match input.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (input[..end].to_vec(), &input[end + 2..]),
        None => (HEADS[0].into(), &input[..]),
    };
    let head = if dice.below(8) == 0 { dice.of(&HEADS).into() } else { head };
    let changed = match serde_json::from_slice(body) {
        Ok(value) if dice.below(3) > 0 => change(value, &mut dice),
        _ => return fuzzer_mutate(data, size, max_size),
    };
    let output = [&head, &b"\n\n"[..], changed.to_string().as_bytes()].concat();
    if output.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..output.len()].copy_from_slice(&output);
    output.len()
}

fn change(mut body: Value, dice: &mut Dice) -> Value {
    match dice.below(12) {
        0 => {
            return if body.is_array() {
                body.get_mut(0).map_or(Value::Null, Value::take)
            } else {
                json!([body])
            };
        }
        1 if body.is_array() => {
            let copy = body.get(0).cloned().unwrap_or_default();
            body.as_array_mut().into_iter().for_each(|list| list.push(copy.clone()));
        }
        _ => change_in(&mut body, dice),
    }
    body
}

/// Goes a few steps down, and puts something else there.
fn change_in(at: &mut Value, dice: &mut Dice) {
    let goes_down = dice.below(4) > 0;
    let mut below: Vec<&mut Value> = match at {
        Value::Array(list) if goes_down => list.iter_mut().collect(),
        Value::Object(object) if goes_down => object.values_mut().collect(),
        _ => vec![],
    };
    if !below.is_empty() {
        let one = dice.below(below.len());
        return change_in(below.swap_remove(one), dice);
    }
    match at {
        Value::Object(object) if dice.below(2) == 0 => drop(object.remove(dice.of(&NAMES))),
        Value::Object(object) => drop(object.insert(dice.of(&NAMES).to_owned(), any(dice))),
        other => *other = any(dice),
    }
}

fn any(dice: &mut Dice) -> Value {
    match dice.below(12) {
        0 => Value::Null,
        1 => json!({}),
        2 => json!([1]),
        3 => json!(true),
        4 => json!([0, 1, -1, 2_147_483_647_i64, 2_147_483_648_i64, i64::MIN][dice.below(6)]),
        5 => json!([u64::MAX as f64, 5.0, -0.0, 1e300][dice.below(4)]),
        6 => json!(u64::MAX),
        _ => json!(dice.of(&TEXTS)),
    }
}

/// Numbers that look random, and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }
}
