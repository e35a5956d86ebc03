//! What makes rows appear or disappear, or mean something else, past all triggers: when it is over,
//! or seen, every figure is read anew before anything is proven.

use std::process::Command;

use super::{
    MARKS, adopt, agrees, is_noticed, only_marks, own, shows, triggers, watched, watched_after,
};
use crate::{
    sources::{HOSPITAL, MAPPING, now, sources_of},
    support::{Service, outside::Outside, postgres::Postgres, wait_until},
};

/// The triggers' fingerprint, as a number.
const FINGERPRINT: &str = "SELECT ('x' || left(fingerprint, 15))::bit(60)::bigint FROM \
                           facility_summary.mapped_triggers";

/// Makes something that the triggers do not notice, has it read, and undoes it.
async fn comes_and_goes(service: &Service, sql: &mut Outside, come: &str, go: &str) {
    let before = sql.number(own(1)[0].clone()).await;
    sql.run(come).await;
    wait_until("it is said that triggers are off", async || {
        triggers(service).await["state"] != "up"
    })
    .await;
    let meanwhile = sql.number(own(1)[0].clone()).await;
    assert_ne!(meanwhile, before, "{come}");
    assert_eq!(now(service, "1").await["total_stock"], meanwhile, "{come}");
    sql.run(go).await;
    is_noticed(service).await;
    agrees(service, sql, go).await;
    wait_until("no mark is left", async || sql.number(MARKS).await == 0).await;
}

const INHERITS: &str = "CREATE TABLE public.bag_import () INHERITS (public.bag); GRANT SELECT ON \
                        public.bag_import TO PUBLIC; INSERT INTO public.bag_import (store_id, abo, \
                        rh) SELECT 1, 'O', '+' FROM generate_series(1, 100)";
const INHERITS_NO_MORE: &str = "DROP TABLE public.bag_import";

/// Twice, since the second time leaves no trace in the catalogue.
#[tokio::test]
async fn a_table_that_inherited_for_a_while_leaves_no_rows_behind() {
    let (service, mut sql) = watched(MAPPING).await;
    for _ in 0..2 {
        comes_and_goes(&service, &mut sql, INHERITS, INHERITS_NO_MORE).await;
    }
}

/// Another process knows nothing of the time between, but for what the database remembers.
#[tokio::test]
async fn rows_that_were_there_for_a_while_are_left_behind_by_no_restart() {
    let (service, mut sql) = watched(MAPPING).await;
    // The second time leaves no trace in the catalogue.
    comes_and_goes(&service, &mut sql, INHERITS, INHERITS_NO_MORE).await;
    sql.run(INHERITS).await;
    wait_until("it is said that triggers are off", async || {
        triggers(&service).await["state"] != "up"
    })
    .await;
    let meanwhile = sql.number(own(1)[0].clone()).await;
    assert_eq!(now(&service, "1").await["total_stock"], meanwhile);
    let (_, launch) = service.terminate().await;
    sql.run(INHERITS_NO_MORE).await;
    let service = launch.start().await;
    is_noticed(&service).await;
    agrees(&service, &mut sql, "a restart").await;
}

#[tokio::test]
async fn a_table_that_gets_its_name_back_is_read_anew() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run(
        "CREATE TABLE public.bag2 (LIKE public.bag INCLUDING ALL); GRANT SELECT ON public.bag2 TO \
         PUBLIC",
    )
    .await;
    let (there, back) = (
        "BEGIN; ALTER TABLE public.bag RENAME TO bag_old; ALTER TABLE public.bag2 RENAME TO bag; \
         COMMIT",
        "BEGIN; ALTER TABLE public.bag RENAME TO bag2; ALTER TABLE public.bag_old RENAME TO bag; \
         COMMIT",
    );
    comes_and_goes(&service, &mut sql, there, back).await;
    // Also where no drain snapshot has shown it meanwhile.
    let before = sql.number(FINGERPRINT).await;
    sql.run(there).await;
    sql.run(back).await;
    assert_ne!(sql.number(FINGERPRINT).await, before);
}

/// What other labels mean is in no row: nothing is written to the table.
#[tokio::test]
async fn labels_that_change_their_places_have_every_figure_read_anew() {
    let (service, mut sql) = watched(MAPPING).await;
    let before = now(&service, "1").await["total_stock"].clone();
    sql.run(
        "ALTER TYPE public.bag_state RENAME VALUE 'issued' TO 'other'; ALTER TYPE public.bag_state \
         RENAME VALUE 'available' TO 'issued'; ALTER TYPE public.bag_state RENAME VALUE 'other' TO \
         'available'",
    )
    .await;
    let mut fresh = Outside::connect(service.database_url()).await;
    agrees(&service, &mut fresh, "another meaning").await;
    assert_ne!(fresh.number(own(1)[0].clone()).await, before.as_i64().expect("a number"));
}

/// The function that the mapping names, and one that it calls.
#[tokio::test]
async fn a_function_that_is_replaced_has_every_figure_read_anew() {
    let mapping =
        MAPPING.replacen("b.state IN ('available', 'reserved')", "public.usable(b.state)", 1);
    assert_ne!(mapping, MAPPING);
    let usable = |states: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.state_counts(state public.bag_state) RETURNS \
             boolean LANGUAGE sql STABLE AS $$ SELECT state::text = ANY (ARRAY[{states}]) $$"
        )
    };
    let outer = "CREATE OR REPLACE FUNCTION public.usable(state public.bag_state) RETURNS boolean \
                 LANGUAGE sql STABLE AS $$ SELECT public.state_counts(state) $$";
    let made = format!("{}; {outer}", usable("'available', 'reserved'"));
    let (service, mut sql) = watched_after(&mapping, &made).await;
    agrees(&service, &mut sql, "the start").await;
    sql.run(usable("'issued'")).await;
    shows(&service, "1", &[1, 4, 1], "another function behind it").await;
    sql.run(
        "CREATE OR REPLACE FUNCTION public.usable(state public.bag_state) RETURNS boolean LANGUAGE \
         sql STABLE AS $$ SELECT false $$",
    )
    .await;
    shows(&service, "1", &[0, 4, 1], "another function").await;
}

/// The mapping names no function: the server finds them behind an operator, and behind a cast.
#[tokio::test]
async fn a_function_behind_an_operator_or_a_cast_that_is_replaced_has_every_figure_read_anew() {
    for (what, condition, made) in [
        (
            "an operator",
            "b.state OPERATOR(public.~) 'stock'::text",
            "CREATE OPERATOR public.~ (leftarg = public.bag_state, rightarg = text, function = \
             public.is_of)",
        ),
        (
            "a cast",
            "b.state::integer = 1",
            "CREATE FUNCTION public.number_of(state public.bag_state) RETURNS integer LANGUAGE sql \
             STABLE AS $$ SELECT public.is_of(state, '')::integer $$; CREATE CAST \
             (public.bag_state AS integer) WITH FUNCTION public.number_of(public.bag_state)",
        ),
    ] {
        let is_of = |states: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION public.is_of(state public.bag_state, what text) \
                 RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT state::text = ANY \
                 (ARRAY[{states}]) $$"
            )
        };
        let mapping = MAPPING.replacen("b.state IN ('available', 'reserved')", condition, 1);
        assert_ne!(mapping, MAPPING);
        let made = format!("{}; {made}", is_of("'available', 'reserved'"));
        let (service, mut sql) = watched_after(&mapping, &made).await;
        agrees(&service, &mut sql, "the start").await;
        sql.run(is_of("'issued'")).await;
        shows(&service, "1", &[1, 4, 1], what).await;
    }
}

/// The server empties the table when it recovers. No trigger fires then.
#[tokio::test]
async fn an_unlogged_table_that_a_crash_empties_is_warned_of_and_read_anew() {
    let server = Postgres::start(&["fsync=on"]);
    let url = server.fresh_database().await;
    let mut sql = Outside::connect(&url).await;
    sql.run(format!("{HOSPITAL}; ALTER TABLE public.bag SET UNLOGGED")).await;
    let launch = Service::on(&url);
    let file = sources_of(&launch);
    std::fs::write(&file, MAPPING).expect("the folder can be written");
    let launch = only_marks(launch.argument("--sources").argument(&file));
    let warning = "public.bag is UNLOGGED: a crash of the server empties it";
    assert!(adopt(&launch, &["check"]).await.contains(warning));
    assert!(adopt(&launch, &["install"]).await.contains(warning));
    let service = launch.start().await;
    is_noticed(&service).await;
    agrees(&service, &mut sql, "the start").await;
    server.crash();
    server.start_again();
    let mut sql = Outside::connect(&url).await;
    shows(&service, "1", &[0, 4, 1], "a crash of the server").await;
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+'); CHECKPOINT").await;
    agrees(&service, &mut sql, "an insert").await;
    // One session crashes, and the server goes on after a recovery.
    let session = sql.number("SELECT pg_backend_pid()::bigint").await;
    let killed = Command::new("kill").args(["-9", &session.to_string()]).status();
    assert!(killed.expect("kill runs").success());
    shows(&service, "1", &[0, 4, 1], "a crash of one session").await;
}
