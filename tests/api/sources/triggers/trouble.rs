//! What goes wrong: the owner's statement succeeds, and figures are honest.

use std::time::{Duration, Instant};

use super::{
    MARKS, ONLY_MARKS, adopt, agrees, is_noticed, only_marks, own, shows, triggers, watched,
};
use crate::{
    sources::{MAPPING, mapped, now, run, sources_of, totals},
    steps::{Scrape, age, get, read},
    support::{outside::Outside, wait_until},
};

/// While a trigger is off, figures are read for readers who take no older ones, as without
/// triggers. When it is back, everything is looked at.
#[tokio::test]
async fn a_trigger_that_is_off_is_named_and_repaired_by_another_installation() {
    let (service, mut sql) = watched(MAPPING).await;
    let trigger = "(SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.bag'::regclass AND \
                   tgname LIKE 'facility\\_summary\\_insert%')";
    const ALTER: &str = "ALTER TABLE public.bag {} TRIGGER %I";
    let all = "DO $$ BEGIN EXECUTE format('ALTER TABLE public.bag {} TRIGGER %I', {t}); END $$";
    let all = all.replace("{t}", trigger);
    for (how, class) in [
        (all.replace("{}", "DISABLE"), "disabled"),
        (all.replace("{}", "ENABLE REPLICA"), "enabled_otherwise"),
        (all.replace(ALTER, "DROP TRIGGER %I ON public.bag"), "missing"),
        (
            "DO $$ BEGIN EXECUTE (SELECT replace(pg_get_functiondef(tgfoid), 'RETURN NULL', \
             'RETURN NEW') FROM pg_trigger WHERE tgrelid = 'public.bag'::regclass AND tgname LIKE \
             'facility\\_summary\\_insert%'); END $$"
                .into(),
            "altered",
        ),
    ] {
        sql.run(how).await;
        wait_until("it is said", async || triggers(&service).await["last_error"] == class).await;
        let said = triggers(&service).await;
        let remedy = said["remedy"].as_str().expect("words");
        assert!(remedy.contains("public.bag: facility_summary_"), "{remedy}");
        assert!(remedy.contains("facility-summary adopt install puts it right"), "{remedy}");
        assert_eq!(Scrape::of(&service).await.sum("source_writes_noticed", &[]), 0.0);
        sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
        let list = read(&service, "/v1/summaries/today", "max-age=1").await;
        assert_eq!((list.status().as_u16(), age(&list) <= 1), (200, true));
        assert_eq!(now(&service, "1").await["total_stock"], sql.number(&own(1)[0]).await);
        sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (3, 'O', '+')").await;
        adopt(service.launch(), &["install"]).await;
        is_noticed(&service).await;
        agrees(&service, &mut sql, class).await;
    }
}

/// The function finds no column under the name that it knows. Every facility counts as changed.
#[tokio::test]
async fn a_column_that_is_renamed_stops_no_writer() {
    let (service, mut sql) = watched(MAPPING).await;
    let mut writer = Outside::connect(service.database_url()).await;
    writer.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    agrees(&service, &mut sql, "an insert before").await;
    sql.run("ALTER TABLE public.bag RENAME COLUMN store_id TO place_id").await;
    writer.run("INSERT INTO public.bag (place_id, abo, rh) VALUES (1, 'O', '+')").await;
    writer.run("UPDATE public.bag SET state = 'issued' WHERE abo = 'AB'").await;
    writer.run("DELETE FROM public.bag WHERE place_id = 3").await;
    // Tables are compared once a minute, and at once where the drain fails.
    wait_until("readiness names the change, and no right that would be missing", async || {
        let ready = get(&service, "/health/ready").await;
        let named = |name: &str| {
            let all = ready["dependencies"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).cloned()
        };
        let remedy = named("sources").unwrap()["remedy"].to_string();
        remedy.contains("public.bag.store_id is now public.bag.place_id")
            && named("drain").is_none()
    })
    .await;
    sql.run("ALTER TABLE public.bag RENAME COLUMN place_id TO store_id").await;
    agrees(&service, &mut sql, "writes meanwhile").await;
    is_noticed(&service).await;
}

/// Somebody locks our table. The writer does not wait.
#[tokio::test]
async fn a_lock_on_our_table_stops_no_writer_and_loses_no_write() {
    let (service, mut sql) = watched(MAPPING).await;
    let mut holder = Outside::connect(service.database_url()).await;
    for (table, statement) in [
        (
            "facility_summary.noticed_rows",
            "INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')",
        ),
        (
            "facility_summary.noticed_rows",
            "INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+'), (2, 'O', '+')",
        ),
        (
            "facility_summary.summary_marks",
            "UPDATE public.hospital SET title = 'Ridge' WHERE id = 1",
        ),
        (
            "facility_summary.summary_marks, facility_summary.noticed_rows",
            "UPDATE public.movement SET units = 9 WHERE kind = 'delivery'",
        ),
    ] {
        holder.run(format!("BEGIN; LOCK TABLE {table}")).await;
        let began = Instant::now();
        sql.run(statement).await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{statement} took {took:?}");
        holder.run("COMMIT").await;
        agrees(&service, &mut sql, statement).await;
    }
}

#[tokio::test]
async fn what_is_left_of_our_tables_stops_no_writer() {
    let (service, mut sql) = watched(MAPPING).await;
    let launch = service.kill_9().await;
    sql.run(
        "DROP TABLE facility_summary.spare_marks, facility_summary.summary_marks, \
         facility_summary.noticed_rows CASCADE",
    )
    .await;
    for statement in [
        "INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')",
        "UPDATE public.hospital SET title = 'Ridge' WHERE id = 1",
        "DELETE FROM public.movement",
        "TRUNCATE public.bag",
    ] {
        sql.run(statement).await;
    }
    adopt(&launch, &["remove"]).await;
    assert_eq!(sql.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);
}

/// No lock of ours outlives the owner's statement but those on our own tables.
#[tokio::test]
async fn a_change_of_the_owners_schema_waits_for_nothing_of_ours() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run("BEGIN; INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    let others = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = \
                  'relation' AND relation IN ('public.movement'::regclass, \
                  'public.hospital'::regclass)";
    assert_eq!(sql.number(others).await, 0);
    sql.run("COMMIT").await;
    sql.run("SET lock_timeout = '5s'; ALTER TABLE public.movement ADD COLUMN note text").await;
    agrees(&service, &mut sql, "a new column").await;
}

#[tokio::test]
async fn triggers_that_are_asked_for_and_not_there_stop_the_start() {
    let mapping = MAPPING.replacen(
        "[sources.facilities]",
        "[sources]\nnotice = \"triggers\"\n\n[sources.facilities]",
        1,
    );
    let (launch, _) = mapped(&mapping).await;
    let exited = run(&launch, &["serve"]).await;
    assert_ne!(exited.code, Some(0));
    assert!(exited.output.contains("facility-summary adopt install"), "{}", exited.output);
    adopt(&launch, &["install"]).await;
    let service = launch.start().await;
    is_noticed(&service).await;
}

/// Without triggers the service says that it notices nothing, and is whole.
#[tokio::test]
async fn without_triggers_nothing_is_noticed_and_that_is_said() {
    let (launch, _) = mapped(MAPPING).await;
    let service = only_marks(launch).start().await;
    assert_eq!(triggers(&service).await["state"], "up");
    assert_eq!(Scrape::of(&service).await.sum("source_writes_noticed", &[]), 0.0);
    let said = "what other programs write to the mapped tables is not noticed: figures are read at \
                each rebuild, and for readers who take no older ones";
    wait_until("the log says it", async || !service.logged(said).is_empty()).await;
    // They are taken up while it runs.
    adopt(service.launch(), &["install"]).await;
    is_noticed(&service).await;
}

/// With `rebuild`, triggers that are there make no difference.
#[tokio::test]
async fn rebuild_relies_on_no_trigger() {
    let mapping = MAPPING.replacen(
        "[sources.facilities]",
        "[sources]\nnotice = \"rebuild\"\n\n[sources.facilities]",
        1,
    );
    let (launch, mut sql) = mapped(&mapping).await;
    adopt(&launch, &["install"]).await;
    let service = only_marks(launch).start().await;
    assert_eq!(totals(&now(&service, "1").await), [3, 4, 1]);
    sql.run("DELETE FROM public.bag").await;
    assert_eq!(now(&service, "1").await["total_stock"], 0);
    assert_eq!(Scrape::of(&service).await.sum("source_writes_noticed", &[]), 0.0);
    wait_until("no mark is left", async || sql.number(MARKS).await == 0).await;
}

/// Triggers of another mapping do not count, and what they note leads nowhere.
#[tokio::test]
async fn triggers_of_another_mapping_are_named_and_replaced() {
    let (service, mut sql) = watched(MAPPING).await;
    let (_, launch) = service.terminate().await;
    let other = MAPPING.replace("facility = \"m.hospital_id\"", "facility = \"m.hospital_id + 0\"");
    std::fs::write(sources_of(&launch), other).expect("the folder can be written");
    let service = launch.start().await;
    wait_until("it is said", async || {
        triggers(&service).await["last_error"] == "of_another_mapping"
    })
    .await;
    sql.run("DELETE FROM public.movement WHERE hospital_id = 1").await;
    assert_eq!(totals(&now(&service, "1").await), [3, 0, 0]);
    adopt(service.launch(), &["install"]).await;
    is_noticed(&service).await;
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, \"At\") VALUES ('request', 2, now() AT \
             TIME ZONE 'Africa/Accra')",
    )
    .await;
    agrees(&service, &mut sql, "another installation").await;
}

/// The owner's table has another name, and the mapping follows.
#[tokio::test]
async fn a_table_with_another_name_is_found_and_watched_again() {
    let (service, mut sql) = watched(MAPPING).await;
    sql.run(
        "ALTER TABLE public.bag RENAME TO unit; CREATE SCHEMA stock; ALTER TABLE public.unit SET \
             SCHEMA stock",
    )
    .await;
    wait_until("it is said", async || triggers(&service).await["state"] == "down").await;
    sql.run("INSERT INTO stock.unit (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    let (_, launch) = service.terminate().await;
    let mapping = MAPPING.replace("public.bag b", "stock.unit b");
    std::fs::write(sources_of(&launch), mapping).expect("the folder can be written");
    adopt(&launch, &["install"]).await;
    let ours = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'stock.unit'::regclass AND tgname \
                LIKE 'facility\\_summary%'";
    assert_eq!(sql.number(ours).await, 5, "those of the earlier name are gone");
    let service = launch.start().await;
    is_noticed(&service).await;
    shows(&service, "1", &[4, 4, 1], "the change of name").await;
    sql.run("DELETE FROM stock.unit").await;
    shows(&service, "1", &[0, 4, 1], "a delete").await;
    let (_, launch) = service.terminate().await;
    sql.run("ALTER TABLE stock.unit RENAME TO blood").await;
    adopt(&launch, &["remove"]).await;
    assert_eq!(sql.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);
}

/// `summary.touched` works beside triggers.
#[tokio::test]
async fn a_touched_facility_is_read_at_once_beside_triggers() {
    assert_eq!(ONLY_MARKS.len(), 3);
    let (service, _sql) = watched(MAPPING).await;
    let facility =
        crate::sources::with_key(&service, "1").await.expect("it is mapped")["facility_id"].clone();
    let touched = crate::support::events::event(
        "summary.touched",
        serde_json::json!({"facility_id": facility}),
    );
    crate::steps::post(&service, &[touched]).await;
    shows(&service, "1", &[3, 4, 1], "it was touched").await;
}

/// Everything moves to another schema. The triggers write to the earlier one until they are made
/// anew, and that is said.
#[tokio::test]
async fn triggers_of_an_installation_that_moved_are_named_and_made_anew() {
    let (service, mut sql) = watched(MAPPING).await;
    let (_, launch) = service.terminate().await;
    let moved = run(&launch, &["migrate", "--to-schema", "moved"]).await;
    assert_eq!(moved.code, Some(0), "{}", moved.output);
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    let service = launch.env("FACILITY_SUMMARY__DATABASE__SCHEMA", "moved").start().await;
    wait_until("it is said", async || {
        triggers(&service).await["last_error"] == "of_another_mapping"
    })
    .await;
    adopt(service.launch(), &["install"]).await;
    is_noticed(&service).await;
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    shows(&service, "1", &[5, 4, 1], "a move of everything").await;
    let left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'notice\\_%' AND pronamespace = \
                'facility_summary'::regnamespace";
    assert_eq!(sql.number(left).await, 0);
}

/// A publication of all tables has ours as well.
#[tokio::test]
async fn a_publication_of_all_tables_stops_no_drain() {
    let (service, mut sql) = watched(MAPPING).await;
    let without = "SELECT count(*) FROM pg_class c WHERE c.relnamespace = \
                   'facility_summary'::regnamespace AND c.relkind IN ('r', 'p') AND c.relreplident \
                   <> 'f' AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND \
                   CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END)";
    assert_eq!(sql.number(without).await, 0, "tables of ours from which nothing can be deleted");
    sql.run("CREATE PUBLICATION all_t FOR ALL TABLES").await;
    sql.run("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, 'O', '+')").await;
    agrees(&service, &mut sql, "an insert").await;
    sql.run("INSERT INTO facility_summary.spare_marks VALUES ('facility')").await;
    wait_until("no mark is left", async || {
        sql.number(MARKS).await + sql.number(SPARE_MARKS).await == 0
    })
    .await;
    is_noticed(&service).await;
}

const SPARE_MARKS: &str = "SELECT count(*) FROM facility_summary.spare_marks";
