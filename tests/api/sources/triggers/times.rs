//! Times in another table than the facility.

use serde_json::Value;

use super::beside;
use crate::{
    sources::today_of,
    steps::read,
    support::{Service, wait_until},
};

const MAPPING: &str = r#"
[sources.facilities]
from = "public.clinic c"
key = "c.no"
name = "c.label"
timezone = "'UTC'"

[[sources.deliveries]]
from = '''public.line l JOIN public.consignment k ON k.id = l.consignment_id
    JOIN public.receipt r ON r.consignment_id = k.id'''
facility = "k.clinic_no"
quantity = "l.units"
at = "r.signed"
"#;

const TABLES: &str = "
    CREATE TABLE public.clinic (no integer PRIMARY KEY, label text);
    CREATE TABLE public.consignment (id integer PRIMARY KEY, clinic_no integer);
    CREATE TABLE public.receipt (consignment_id integer PRIMARY KEY
        REFERENCES public.consignment ON DELETE CASCADE, signed timestamptz);
    CREATE TABLE public.line (id integer PRIMARY KEY,
        consignment_id integer REFERENCES public.consignment ON DELETE CASCADE, units integer);
    INSERT INTO public.clinic VALUES (1, 'One'), (2, 'Two'), (3, 'Three');
    INSERT INTO public.consignment VALUES (1, 1), (2, 2), (3, 3), (4, 3);
    INSERT INTO public.receipt SELECT id, now() FROM public.consignment;
    INSERT INTO public.line SELECT id, id, 10 FROM public.consignment;";

/// The facility is of the consignment, and the time of its receipt. Both change at once, or are
/// gone by the time at which the change is followed.
#[tokio::test]
async fn a_facility_and_a_time_that_change_at_once_lose_no_day() {
    let (service, mut sql, said) = beside(MAPPING, TABLES).await;
    assert!(!said.contains("counts for every facility"), "{said}");
    for (statements, of, what) in [
        ("SELECT 1", [10, 10, 20], "the start"),
        (
            "BEGIN; DELETE FROM public.receipt WHERE consignment_id = 1; UPDATE public.consignment \
             SET clinic_no = 2 WHERE id = 1; COMMIT",
            [0, 10, 20],
            "a receipt that is gone with a move",
        ),
        ("DELETE FROM public.consignment WHERE id = 2", [0, 0, 20], "a cascade"),
        (
            "BEGIN; UPDATE public.receipt SET signed = signed - interval '3 days' WHERE \
             consignment_id = 3; UPDATE public.consignment SET clinic_no = 1 WHERE id = 3; COMMIT",
            [0, 0, 10],
            "another day with a move",
        ),
        (
            "UPDATE public.receipt SET signed = signed + interval '3 days' WHERE \
             consignment_id = 3",
            [10, 0, 10],
            "the day before again",
        ),
        ("UPDATE public.line SET units = 7 WHERE id = 4", [10, 0, 7], "a line"),
    ] {
        sql.run(statements).await;
        for (key, figure) in ["1", "2", "3"].into_iter().zip(of) {
            delivers(&service, key, figure, what).await;
        }
    }
}

async fn delivers(service: &Service, key: &str, figure: i64, what: &str) {
    let path = today_of(service, key).await;
    wait_until(&format!("clinic {key} got {figure} after {what}"), async || {
        let answer: Value = read(service, &path, "").await.json().await.expect("JSON");
        answer["total_transferred"] == figure
    })
    .await;
}
