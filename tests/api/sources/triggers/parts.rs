//! A mapping that names a part of a table that it does not map; labels of enums that are reached
//! over other types.

use super::{beside, is_noticed, shows};
use crate::{steps::Scrape, support::outside::Outside};

const FACILITIES: &str = r#"
[sources.facilities]
from = "public.clinic c"
key = "c.no"
name = "c.label"
timezone = "'UTC'"
"#;

const CLINICS: &str = "
    CREATE TABLE public.clinic (no integer PRIMARY KEY, label text);
    INSERT INTO public.clinic VALUES (1, 'One'), (2, 'Two');";

fn mapping(lists: &str) -> String {
    format!("{FACILITIES}\n{lists}")
}

#[tokio::test]
async fn writes_through_a_table_that_is_not_mapped_show_in_its_part_that_is() {
    let lists = r#"
[[sources.stock]]
from = "public.unit_n u"
facility = "u.clinic"

[[sources.deliveries]]
from = "public.ask_urgent a"
facility = "a.clinic"
count = "rows"
at = "a.at"
"#;
    let tables = format!(
        "{CLINICS} CREATE TABLE public.unit (id integer, site text, clinic integer) PARTITION BY \
         LIST (site); CREATE TABLE public.unit_n PARTITION OF public.unit FOR VALUES IN ('n', 'm') \
         PARTITION BY LIST (site); CREATE TABLE public.unit_n1 PARTITION OF public.unit_n FOR \
         VALUES IN ('n'); CREATE TABLE public.unit_s PARTITION OF public.unit FOR VALUES IN ('s'); \
         CREATE TABLE public.ask (id integer, clinic integer, at timestamptz); CREATE TABLE \
         public.ask_urgent () INHERITS (public.ask)"
    );
    let (service, mut sql, _) = beside(&mapping(lists), &tables).await;
    for (statement, stock, deliveries) in [
        ("INSERT INTO public.unit VALUES (1, 'n', 1), (2, 'n', 1), (3, 's', 1)", 2, 0),
        ("INSERT INTO public.unit_n VALUES (4, 'n', 1)", 3, 0),
        ("INSERT INTO public.unit_n1 VALUES (5, 'n', 1)", 4, 0),
        ("INSERT INTO public.ask_urgent SELECT n, 1, now() FROM generate_series(1, 3) AS n", 4, 3),
        ("UPDATE public.unit SET site = 's' WHERE id = 1", 3, 3),
        ("UPDATE public.ask SET clinic = 2 WHERE id = 1", 3, 2),
        ("DELETE FROM public.ask WHERE id = 2", 3, 1),
        ("TRUNCATE public.unit", 0, 1),
    ] {
        sql.run(statement).await;
        shows(&service, "1", &[stock, deliveries], statement).await;
    }
}

/// The first half of it is committed, and the second waits for a reader: its rows are seen no more.
#[tokio::test]
async fn a_detachment_that_is_under_way_shows() {
    let lists = "[[sources.stock]]\nfrom = \"public.unit u\"\nfacility = \"u.clinic\"\n";
    let tables = format!(
        "{CLINICS} CREATE TABLE public.unit (site text NOT NULL, clinic integer) PARTITION BY LIST \
         (site); CREATE TABLE public.unit_n PARTITION OF public.unit FOR VALUES IN ('n'); ALTER \
         TABLE public.unit_n ADD CHECK (site IS NOT NULL AND site = 'n'); CREATE TABLE \
         public.unit_s PARTITION OF public.unit FOR VALUES IN ('s'); INSERT INTO public.unit \
         VALUES ('n', 1), ('n', 1), ('s', 1)"
    );
    let (service, mut sql, _) = beside(&mapping(lists), &tables).await;
    shows(&service, "1", &[3], "the start").await;
    let mut reader = Outside::connect(service.database_url()).await;
    reader.run("BEGIN; SELECT count(*) FROM public.unit").await;
    let url = service.database_url().to_owned();
    let detached = tokio::spawn(async move {
        let mut other = Outside::connect(&url).await;
        other.run("ALTER TABLE public.unit DETACH PARTITION public.unit_n CONCURRENTLY").await;
    });
    shows(&service, "1", &[1], "the first half of a detachment").await;
    reader.run("COMMIT").await;
    detached.await.expect("it ends");
    sql.run("INSERT INTO public.unit_n VALUES ('n', 1); INSERT INTO public.unit VALUES ('s', 1)")
        .await;
    shows(&service, "1", &[2], "a write after it").await;
    is_noticed(&service).await;
}

#[tokio::test]
async fn a_label_of_an_enum_that_other_types_are_made_of_shows_at_once() {
    let lists = r#"
[[sources.stock]]
from = "public.unit u"
facility = "u.clinic"
where = "u.state::text = 'in' OR (u.place).state::text = 'in'"
"#;
    let tables = format!(
        "{CLINICS} CREATE TYPE public.st AS ENUM ('in', 'out'); CREATE TYPE public.other AS ENUM \
         ('in', 'out'); CREATE DOMAIN public.d1 AS public.st; CREATE DOMAIN public.d2 AS \
         public.d1; CREATE TYPE public.place AS (shelf integer, state public.other); CREATE TABLE \
         public.unit (clinic integer, state public.d2, place public.place); INSERT INTO \
         public.unit VALUES (1, 'in', NULL), (2, NULL, (1, 'in')::public.place)"
    );
    let (service, mut sql, _) = beside(&mapping(lists), &tables).await;
    for (statement, one, two) in [
        ("SELECT 1", 1, 1),
        ("ALTER TYPE public.st RENAME VALUE 'in' TO 'avail'", 0, 1),
        ("ALTER TYPE public.other RENAME VALUE 'in' TO 'avail'", 0, 0),
        ("ALTER TYPE public.st RENAME VALUE 'avail' TO 'in'", 1, 0),
    ] {
        sql.run(statement).await;
        shows(&service, "1", &[one], statement).await;
        shows(&service, "2", &[two], statement).await;
    }
    assert_eq!(Scrape::of(&service).await.sum("summary_drift_rows_total", &[]), 0.0);
}
