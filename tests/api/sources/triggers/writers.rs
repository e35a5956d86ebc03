//! Each kind of writer.

use super::{MARKS, adopt, agrees, is_noticed, only_marks, shows, watched};
use crate::{
    sources::{MAPPING, mapped, with_key},
    steps::{age, get, read},
    support::{outside::Outside, wait_until},
};

#[tokio::test]
async fn each_kind_of_write_shows_as_the_owners_own_query_says() {
    let (service, mut sql) = watched(MAPPING).await;
    agrees(&service, &mut sql, "the start").await;
    for (what, statements) in [
        (
            "an insert",
            "INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+'), (3, 'B', '-')",
        ),
        (
            "a new status",
            "UPDATE public.bag SET state = 'issued' WHERE store_id = 1 AND abo = 'AB'",
        ),
        ("a soft delete", "UPDATE public.bag SET deleted_at = now() WHERE store_id = 2"),
        ("a move of units", "UPDATE public.bag SET store_id = 3 WHERE store_id = 1"),
        ("a move of a store", "UPDATE public.store SET hospital_id = 1 WHERE id = 3"),
        ("a move back", "UPDATE public.store SET hospital_id = 2 WHERE id = 3"),
        (
            "a delivery",
            "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") VALUES \
          ('delivery', 2, 'A+', 11, now() AT TIME ZONE 'Africa/Accra')",
        ),
        ("another hospital", "UPDATE public.movement SET hospital_id = 1 WHERE units = 11"),
        (
            "another time",
            "UPDATE public.movement SET \"At\" = \"At\" - interval '40 days' WHERE units = 11",
        ),
        (
            "that time back",
            "UPDATE public.movement SET \"At\" = \"At\" + interval '40 days' WHERE units = 11",
        ),
        ("a delete", "DELETE FROM public.movement WHERE units = 11"),
        (
            "a request",
            "INSERT INTO public.movement (kind, hospital_id, \"At\") VALUES ('request', 2, \
          now() AT TIME ZONE 'Africa/Accra')",
        ),
        ("no hospital", "UPDATE public.movement SET hospital_id = NULL WHERE kind = 'request'"),
        ("TRUNCATE", "TRUNCATE public.movement"),
        ("TRUNCATE of several", "TRUNCATE public.bag, public.movement"),
    ] {
        sql.run(statements).await;
        agrees(&service, &mut sql, what).await;
    }
}

#[tokio::test]
async fn many_rows_of_one_statement_show_and_leave_few_marks() {
    let (service, mut sql) = watched(MAPPING).await;
    wait_until("all marks are processed", async || sql.number(MARKS).await == 0).await;
    sql.run("BEGIN").await;
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") SELECT CASE n % 2 \
         WHEN 0 THEN 'delivery' ELSE 'request' END, 1 + n % 3, 'O+', 1, now() AT TIME ZONE \
         'Africa/Accra' - n * interval '1 minute' FROM generate_series(1, 20000) AS n",
    )
    .await;
    assert!(sql.number(MARKS).await <= 3, "two rows, and all in one");
    sql.run("SAVEPOINT before").await;
    for (statement, most) in [
        ("UPDATE public.movement SET units = 2", 3),
        ("UPDATE public.movement SET units = 2 WHERE false", 0),
        ("DELETE FROM public.movement WHERE false", 0),
        ("INSERT INTO public.movement SELECT * FROM public.movement WHERE false", 0),
        ("DELETE FROM public.movement", 3),
    ] {
        let before = sql.number(MARKS).await;
        sql.run(statement).await;
        assert!(sql.number(MARKS).await - before <= most, "{statement}");
    }
    sql.run("ROLLBACK TO SAVEPOINT before").await;
    sql.run("COMMIT").await;
    agrees(&service, &mut sql, "20,000 rows").await;
    sql.run("DELETE FROM public.movement WHERE id % 3 = 0").await;
    agrees(&service, &mut sql, "many rows less").await;
    // More stores than are noted one by one.
    sql.run(
        "INSERT INTO public.store (hospital_id) SELECT 1 + n % 2 FROM generate_series(1, 12000) AS \
         n; INSERT INTO public.bag (store_id, abo, rh) SELECT id, 'A', '+' FROM public.store",
    )
    .await;
    agrees(&service, &mut sql, "12,000 stores").await;
}

#[tokio::test]
async fn a_row_that_goes_with_another_one_shows() {
    let (service, mut sql) = super::watched_after(
        MAPPING,
        "ALTER TABLE public.bag DROP CONSTRAINT bag_store_id_fkey, ADD FOREIGN KEY (store_id) \
         REFERENCES public.store ON DELETE CASCADE",
    )
    .await;
    sql.run("DELETE FROM public.store WHERE hospital_id = 1").await;
    agrees(&service, &mut sql, "a cascaded delete").await;
    shows(&service, "1", &[0, 4, 1], "a cascaded delete").await;
}

#[tokio::test]
async fn a_session_in_the_role_of_a_replica_shows() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run("SET session_replication_role = replica").await;
    for (what, statements) in [
        ("an insert", "INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')"),
        ("a move", "UPDATE public.bag SET store_id = 3"),
        ("a move of a store", "UPDATE public.store SET hospital_id = 1 WHERE id = 3"),
        (
            "a delivery",
            "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") VALUES \
          ('delivery', 2, 'A+', 5, now() AT TIME ZONE 'Africa/Accra')",
        ),
        ("another time", "UPDATE public.movement SET \"At\" = \"At\" - interval '40 days'"),
        ("a delete", "DELETE FROM public.bag"),
        ("TRUNCATE", "TRUNCATE public.movement"),
    ] {
        sql.run(statements).await;
        agrees(&service, &mut sql, what).await;
    }
    sql.run("INSERT INTO public.hospital VALUES (4, 'Fourth', NULL)").await;
    wait_until("it is mapped", async || with_key(&service, "4").await.is_some()).await;
    wait_until("all marks are processed", async || sql.number(MARKS).await == 0).await;
    sql.run("BEGIN").await;
    let many = "INSERT INTO public.bag (store_id, abo, rh) SELECT 1, 'O', '+' FROM \
                generate_series(1, 1000)";
    sql.run(many).await;
    assert_eq!(sql.number(MARKS).await, 1, "one for all rows");
    sql.run(format!("ROLLBACK; BEGIN; SAVEPOINT s; {many}; ROLLBACK TO SAVEPOINT s; {many}")).await;
    sql.run("COMMIT").await;
    agrees(&service, &mut sql, "a savepoint that was rolled back").await;
}

/// The writer has a right to the owner's table, and to nothing of ours.
#[tokio::test]
async fn a_writer_needs_no_right_and_changes_nothing_of_ours() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run(
        "CREATE ROLE clerk_of_triggers; GRANT INSERT ON public.bag TO clerk_of_triggers; GRANT \
         USAGE ON SEQUENCE public.\"bag_No_seq\" TO clerk_of_triggers",
    )
    .await;
    // Objects of its own that names in our functions could mean, each of which leaves a trace.
    for (name, arguments) in [
        ("jsonb_build_array", "a integer"),
        ("jsonb_agg", "a jsonb"),
        ("md5", "a text"),
        ("same", "a text, b text"),
    ] {
        sql.run(format!(
            "CREATE SCHEMA IF NOT EXISTS traps; CREATE TABLE IF NOT EXISTS traps.trace (name \
             text); CREATE FUNCTION traps.{name}({arguments}) RETURNS boolean LANGUAGE sql AS $$ \
             INSERT INTO traps.trace VALUES ('{name}') RETURNING true $$"
        ))
        .await;
    }
    sql.run(
        "CREATE OPERATOR traps.= (leftarg = text, rightarg = text, function = traps.same); GRANT \
         USAGE ON SCHEMA traps TO clerk_of_triggers; GRANT ALL ON traps.trace TO \
         clerk_of_triggers; SET search_path = traps, pg_catalog, public",
    )
    .await;
    assert_eq!(sql.number("SELECT count(*) WHERE 'a'::text = 'b'::text").await, 1, "it is found");
    sql.run("TRUNCATE traps.trace").await;
    sql.run(
        "SET ROLE clerk_of_triggers; CREATE TEMPORARY TABLE noticed_rows (mark text, noted \
         text[]); CREATE TEMPORARY TABLE summary_marks (kind text, via text); INSERT INTO \
         public.bag (store_id, abo, rh) VALUES (1, 'O', '+'); RESET ROLE",
    )
    .await;
    sql.run(
        "SET session_replication_role = replica; UPDATE public.bag SET store_id = 3; \
         RESET session_replication_role",
    )
    .await;
    assert_eq!(sql.number("SELECT count(*) FROM traps.trace").await, 0);
    sql.run("RESET search_path").await;
    agrees(&service, &mut sql, "an insert by a clerk").await;
    sql.run(
        "DROP TABLE pg_temp.summary_marks, pg_temp.noticed_rows; DROP OWNED BY clerk_of_triggers",
    )
    .await;
    sql.run("DROP ROLE clerk_of_triggers").await;
}

/// The unit's transaction does not see that its store has moved, and commits later.
#[tokio::test]
async fn a_unit_counts_where_its_store_is_when_the_store_moves_meanwhile() {
    let (service, mut sql) = watched(MAPPING).await;
    let mut other = Outside::connect(service.database_url()).await;
    other.run("ALTER TABLE public.bag DROP CONSTRAINT bag_store_id_fkey").await;
    sql.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.hospital").await;
    other.run("UPDATE public.store SET hospital_id = 2 WHERE id = 1").await;
    agrees(&service, &mut other, "the move").await;
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    sql.run("COMMIT").await;
    agrees(&service, &mut other, "the unit").await;
}

#[tokio::test]
async fn facilities_come_change_and_go_and_their_rows_count_with_them() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run(
        "BEGIN; INSERT INTO public.hospital VALUES (7, 'Seventh', NULL); INSERT INTO public.store \
         (id, hospital_id) VALUES (70, 7); INSERT INTO public.bag (store_id, abo, rh) VALUES (70, \
         'O', '+'); COMMIT",
    )
    .await;
    wait_until("it is mapped", async || with_key(&service, "7").await.is_some()).await;
    shows(&service, "7", &[1, 0, 0], "its registration").await;
    sql.run("UPDATE public.hospital SET title = 'Seven' WHERE id = 7").await;
    wait_until("it has its new name", async || {
        with_key(&service, "7").await.is_some_and(|facility| facility["name"] == "Seven")
    })
    .await;
    sql.run("UPDATE public.hospital SET closed_on = '2020-01-01' WHERE id = 7").await;
    wait_until("it is gone", async || with_key(&service, "7").await.is_none()).await;
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (70, 'O', '+')").await;
    agrees(&service, &mut sql, "a unit of no mapped facility").await;
    sql.run("UPDATE public.hospital SET closed_on = NULL WHERE id = 7").await;
    wait_until("it is back", async || with_key(&service, "7").await.is_some()).await;
    shows(&service, "7", &[2, 0, 0], "its return").await;
}

/// An update of columns on which no facility depends leaves no mark.
#[tokio::test]
async fn a_change_of_a_facility_that_concerns_nobody_leaves_no_mark() {
    let (_service, mut sql) =
        super::watched_after(MAPPING, "ALTER TABLE public.hospital ADD COLUMN seen timestamptz")
            .await;
    wait_until("all marks are processed", async || sql.number(MARKS).await == 0).await;
    sql.run("BEGIN; UPDATE public.hospital SET seen = now()").await;
    assert_eq!(sql.number(MARKS).await, 0);
    sql.run("UPDATE public.hospital SET title = 'Another' WHERE id = 1").await;
    assert_eq!(sql.number(MARKS).await, 1);
    sql.run("ROLLBACK").await;
}

/// Quiet facilities stay fresh without a refresh, lists too.
#[tokio::test]
async fn what_nobody_writes_stays_fresh_without_a_refresh() {
    let (service, mut sql) = watched(MAPPING).await;
    agrees(&service, &mut sql, "the start").await;
    let list = "/v1/summaries/today?sort=-total_stock";
    assert_eq!(get(&service, list).await["totals"]["total_stock"], 4);
    let before = sql.fingerprint("facility_summary.dashboard_daily_summary").await;
    for path in [super::today_of(&service, "2").await, list.to_owned()] {
        wait_until("a tight bound is met", async || {
            let answer = read(&service, &path, "max-age=1, only-if-cached").await;
            answer.status() == 200 && age(&answer) <= 1
        })
        .await;
    }
    assert_eq!(before, sql.fingerprint("facility_summary.dashboard_daily_summary").await);
}

/// A start processes what was written while no service ran.
#[tokio::test]
async fn what_was_written_while_no_service_ran_shows() {
    let (launch, mut sql) = mapped(MAPPING).await;
    adopt(&launch, &["install"]).await;
    let service = only_marks(launch).start().await;
    is_noticed(&service).await;
    agrees(&service, &mut sql, "the start").await;
    let launch = service.kill_9().await;
    sql.run("DELETE FROM public.bag WHERE store_id = 1").await;
    let service = launch.start().await;
    agrees(&service, &mut sql, "a delete meanwhile").await;
}
