//! How rows lead to their facilities: over several tables, through none, in each kind of time.

use super::{adopt, is_noticed, only_marks, shows, watched};
use crate::{
    sources::{MAPPING, mapped, run, sources_of, with_key},
    support::{Service, outside::Outside, service::Launch, wait_until},
};

/// Keys of two columns, lines with headers, a code without a unique key, a look-up table, quoted
/// names, and a table that is read in a sub-select.
const CLINICS: &str = include_str!("clinics.sql");
const CLINICS_MAPPING: &str = include_str!("clinics.toml");

async fn clinics() -> (Service, Outside) {
    let (launch, mut sql) = mapped(CLINICS_MAPPING).await;
    sql.run(CLINICS).await;
    let said = adopt(&launch, &["install"]).await;
    for words in [
        "Each change of Ops.product counts for every facility",
        "no unique key leads from Ops.product to one row with w.clinic",
        "Each change of Ops.banned counts for every facility: stock[0]: it is read in a sub-select",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("Each change of Ops.line"), "{said}");
    let service = only_marks(launch).start().await;
    is_noticed(&service).await;
    (service, sql)
}

#[tokio::test]
async fn rows_lead_to_their_facility_over_several_tables() {
    let (service, mut sql) = clinics().await;
    let order = "(clinic, placed, placed_utc) VALUES";
    let here = |zone: &str| format!("now() AT TIME ZONE '{zone}'");
    for (what, statement, north, south) in [
        (
            "units",
            r#"INSERT INTO "Ops".unit (clinic, ward, product) VALUES
                ('N', 1, 1), ('N', 1, 1), ('S', 1, 1)"#
                .into(),
            [2, 0, 0],
            [1, 0, 0],
        ),
        (
            "a move",
            r#"UPDATE "Ops".unit SET clinic = 'S' WHERE id = 1"#.into(),
            [1, 0, 0],
            [2, 0, 0],
        ),
        ("a discard", r#"INSERT INTO "Ops".discard VALUES (1)"#.into(), [1, 0, 0], [1, 0, 0]),
        ("no discard", r#"DELETE FROM "Ops".discard"#.into(), [1, 0, 0], [2, 0, 0]),
        (
            "what counts for all",
            r#"UPDATE "Ops".product SET is_blood = false"#.into(),
            [0, 0, 0],
            [0, 0, 0],
        ),
        ("and back", r#"UPDATE "Ops".product SET is_blood = true"#.into(), [1, 0, 0], [2, 0, 0]),
        ("a sub-select", r#"INSERT INTO "Ops".banned VALUES ('s-1')"#.into(), [1, 0, 0], [0, 0, 0]),
        ("an end of it", r#"TRUNCATE "Ops".banned"#.into(), [1, 0, 0], [2, 0, 0]),
        (
            "an order with lines",
            format!(
                r#"BEGIN; INSERT INTO "Ops"."order" {order} ('n', {}, NULL);
                INSERT INTO "Ops".line ("order", units) VALUES (1, 3), (1, 4); COMMIT"#,
                here("Pacific/Auckland")
            ),
            [1, 7, 0],
            [2, 0, 0],
        ),
        (
            "a line",
            r#"UPDATE "Ops".line SET units = 5 WHERE units = 4"#.into(),
            [1, 8, 0],
            [2, 0, 0],
        ),
        (
            "an order that moves",
            format!(
                r#"UPDATE "Ops"."order" SET clinic = 'S', placed = {}, placed_utc = now()"#,
                here("America/Adak")
            ),
            [1, 0, 0],
            [2, 8, 1],
        ),
        (
            "a line of a moved order",
            r#"DELETE FROM "Ops".line WHERE units = 3"#.into(),
            [1, 0, 0],
            [2, 5, 1],
        ),
    ] {
        sql.run(statement).await;
        shows(&service, "N", &north, what).await;
        shows(&service, "S", &south, what).await;
    }
}

/// A unit leaves the stock at its instant, and a change of zone moves what is noted in local times.
#[tokio::test]
async fn a_change_of_zone_moves_what_was_delivered_at_a_local_time() {
    let (service, mut sql) = clinics().await;
    sql.run(
        r#"INSERT INTO "Ops"."order" (clinic, placed) VALUES ('N', (now() AT TIME ZONE
        'America/Adak')); INSERT INTO "Ops".line ("order", units) VALUES (1, 3)"#,
    )
    .await;
    sql.run(r#"UPDATE "Ops"."Clinic" SET zone = 'America/Adak' WHERE code = 'N'"#).await;
    shows(&service, "N", &[0, 3, 0], "the change of zone").await;
    sql.run(r#"INSERT INTO "Ops".line ("order", units) VALUES (1, 4)"#).await;
    shows(&service, "N", &[0, 7, 0], "a line in the new zone").await;
}

/// The table of the facilities is on the way of a list, too: its trigger leaves two kinds of notes.
#[tokio::test]
async fn facilities_of_one_statement_are_mapped_where_a_list_joins_their_table() {
    let (from, facility) = ("public.store s ON s.id = b.store_id", "facility = \"s.hospital_id\"");
    assert!(MAPPING.contains(from) && MAPPING.contains(facility));
    let joined = format!("{from} JOIN public.hospital g ON g.id = s.hospital_id");
    let mapping = MAPPING.replace(from, &joined).replace(facility, "facility = \"g.id\"");
    let (service, mut sql) = watched(&mapping).await;
    for (key, rows) in [("7", "(7, 'Seventh', NULL)"), ("8", "(8, 'A', NULL), (9, 'B', NULL)")] {
        sql.run(format!("INSERT INTO public.hospital VALUES {rows}")).await;
        wait_until("it is mapped", async || with_key(&service, key).await.is_some()).await;
    }
    sql.run(
        "INSERT INTO public.store (id, hospital_id) VALUES (70, 7), (90, 9); INSERT INTO \
         public.bag (store_id, abo, rh) VALUES (70, 'O', '+'), (90, 'O', '+'), (90, 'O', '+')",
    )
    .await;
    shows(&service, "7", &[1, 0, 0], "units").await;
    shows(&service, "9", &[2, 0, 0], "units").await;
    sql.run("DELETE FROM public.bag WHERE store_id > 69").await;
    sql.run("DELETE FROM public.store WHERE id > 69; DELETE FROM public.hospital WHERE id > 6")
        .await;
    wait_until("they are gone", async || with_key(&service, "9").await.is_none()).await;
}

async fn refused(launch: &Launch, from: &str, with: &str, words: &[&str]) {
    let mapping = CLINICS_MAPPING.replace(from, with);
    assert_ne!(mapping, CLINICS_MAPPING);
    std::fs::write(sources_of(launch), mapping).expect("the folder can be written");
    let exited = run(launch, &["adopt", "install"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for word in words.iter().chain(&["notice = \"rebuild\""]) {
        assert!(exited.output.contains(word), "{word:?} is not in: {}", exited.output);
    }
}

#[tokio::test]
async fn what_triggers_cannot_watch_is_refused_with_the_words_what_to_do() {
    let (launch, mut sql) = mapped(CLINICS_MAPPING).await;
    sql.run(CLINICS).await;
    sql.run(
        r#"CREATE VIEW "Ops".units AS SELECT * FROM "Ops".unit;
        CREATE FUNCTION "Ops".all_units() RETURNS SETOF "Ops".unit LANGUAGE sql
        AS 'SELECT * FROM "Ops".unit'"#,
    )
    .await;
    let from = r#""Ops".unit u"#;
    refused(&launch, from, r#""Ops".units u"#, &["stock[0]", "Ops.units", "a view"]).await;
    refused(&launch, from, r#""Ops".all_units() u"#, &["stock[0]", "the function"]).await;
    let triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(sql.number(triggers).await, 0, "nothing was made");
    // Without triggers, both can be served.
    assert_eq!(run(&launch, &["migrate"]).await.code, Some(0));
}
