//! Keys of the owner's: of types that change, or that compare in their own way; and facilities that
//! cannot be stored.

use super::{adopt, is_noticed, shows, watched_after};
use crate::{
    sources::{today_of, with_key},
    steps::{get, read},
    support::{Service, outside::Outside, wait_until},
};

/// Facilities and units whose keys are codes.
const CODES: &str = r#"
[sources]
compare_seconds = 1

[sources.facilities]
from = "public.clinic c"
key = "c.code"
name = "c.title"
timezone = "'Africa/Accra'"

[[sources.stock]]
from = "public.unit u"
facility = "u.code"
"#;

/// Both tables, with two facilities of these keys and two units of the first.
fn tables(kind: &str, [one, two]: [&str; 2]) -> String {
    format!(
        "CREATE TABLE public.clinic (code {kind} PRIMARY KEY, title text); CREATE TABLE \
         public.unit (code {kind}); INSERT INTO public.clinic VALUES ('{one}', 'One'), ('{two}', \
         'Two'); INSERT INTO public.unit VALUES ('{one}'), ('{one}')"
    )
}

/// Gives the keys another type, in each table by itself: a transaction that alters both could wait
/// for a refresh that waits for it.
async fn retype(sql: &mut Outside, kind: &str) {
    for table in ["unit", "clinic"] {
        let alter = format!("ALTER TABLE public.{table} ALTER code TYPE {kind} USING code::{kind}");
        sql.run(alter).await;
    }
}

/// The type in which keys are kept is this one.
async fn keeps(sql: &mut Outside, kind: &str) -> bool {
    let found = format!(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = \
         'facility_summary.facility_key'::regclass AND attname = 'key' AND atttypid = \
         '{kind}'::regtype AND atttypmod = -1"
    );
    sql.number(found).await == 1
}

async fn is_mapped(service: &Service, key: &str) {
    wait_until(&format!("{key} is mapped"), async || with_key(service, key).await.is_some()).await;
}

async fn id_of(service: &Service, key: &str) -> String {
    with_key(service, key).await.expect("it is mapped")["facility_id"].to_string()
}

/// What `/health/ready` says of the mapped tables.
async fn remedy(service: &Service) -> String {
    let ready = get(service, "/health/ready").await;
    let all = ready["dependencies"].as_array().expect("a list");
    let sources = all.iter().find(|one| one["name"] == "sources").expect("it is listed");
    sources["remedy"].as_str().unwrap_or_default().to_owned()
}

/// Two texts that differ in case are one key to the owner's type, and two to the service.
#[tokio::test]
async fn a_key_of_citext_that_changes_its_case_is_another_facility_and_nothing_stands_still() {
    let before = format!(
        "CREATE EXTENSION citext SCHEMA public; {}",
        tables("public.citext", ["Ab01", "Ab02"])
    );
    let (service, mut sql) = watched_after(CODES, &before).await;
    assert!(keeps(&mut sql, "text").await);
    shows(&service, "Ab01", &[2], "the start").await;
    sql.run(
        "UPDATE public.clinic SET code = 'AB01', title = 'One anew' WHERE title = 'One'; DELETE \
         FROM public.unit; INSERT INTO public.unit VALUES ('AB01'), ('AB01'), ('AB01')",
    )
    .await;
    is_mapped(&service, "AB01").await;
    wait_until("the earlier one is gone", async || with_key(&service, "Ab01").await.is_none())
        .await;
    shows(&service, "AB01", &[3], "the change").await;
    sql.run("INSERT INTO public.unit VALUES ('Ab02')").await;
    shows(&service, "Ab02", &[1], "a write to another").await;
    is_noticed(&service).await;
    assert_eq!(read(&service, "/v1/summaries/today", "no-cache").await.status(), 200);
    sql.run("DROP TABLE public.unit, public.clinic; DROP EXTENSION citext").await;
}

/// The owner widens the column of the keys while the service runs: longer keys are whole, and after
/// `adopt install` the service that runs relies on the new triggers.
#[tokio::test]
async fn keys_that_become_longer_are_kept_whole_without_a_restart() {
    for (kind, keys, wider, key, kept) in [
        ("varchar(6)", ["AAAAAA", "B"], "varchar(20)", "KLA1-NORTH", "text"),
        ("integer", ["1", "2"], "bigint", "3000000000", "bigint"),
    ] {
        let (service, mut sql) = watched_after(CODES, &tables(kind, keys)).await;
        let id = id_of(&service, keys[0]).await;
        retype(&mut sql, wider).await;
        sql.run(format!("INSERT INTO public.clinic VALUES ('{key}', 'North')")).await;
        is_mapped(&service, key).await;
        wait_until("it is said", async || {
            remedy(&service).await.contains("public.clinic.code is now of the type")
        })
        .await;
        let said = adopt(service.launch(), &["accept"]).await;
        if kind == "integer" {
            assert!(said.contains("to do: ") && said.contains("adopt install"), "{said}");
        }
        adopt(service.launch(), &["install"]).await;
        is_noticed(&service).await;
        sql.run(format!("INSERT INTO public.unit VALUES ('{key}')")).await;
        shows(&service, key, &[1], "a write after the repair").await;
        shows(&service, keys[0], &[2], "a write to another").await;
        assert_eq!(id_of(&service, keys[0]).await, id);
        assert!(keeps(&mut sql, kept).await, "{kind}");
    }
}

/// Keys become something else, and back: what cannot be one any more goes, the others keep their
/// ids, and the service that runs goes on.
#[tokio::test]
async fn keys_of_another_kind_are_followed_once_they_are_accepted() {
    let (service, mut sql) = watched_after(CODES, &tables("integer", ["1", "2"])).await;
    let id = id_of(&service, "1").await;
    for (before, kind, after, key, kept) in [
        ("", "text", "INSERT INTO public.clinic VALUES ('A7', 'Seven')", "A7", "text"),
        (
            "DELETE FROM public.clinic WHERE code = 'A7'; DELETE FROM public.unit WHERE code = \
             'A7'",
            "integer",
            "INSERT INTO public.clinic VALUES (8, 'Eight')",
            "8",
            "bigint",
        ),
    ] {
        sql.run(before).await;
        retype(&mut sql, kind).await;
        wait_until("it is said", async || remedy(&service).await.contains("is now of the type"))
            .await;
        let said = adopt(service.launch(), &["accept"]).await;
        assert!(said.contains(&format!("are kept as {kept}")), "{said}");
        adopt(service.launch(), &["install"]).await;
        is_noticed(&service).await;
        sql.run(after).await;
        is_mapped(&service, key).await;
        sql.run(format!("INSERT INTO public.unit VALUES ('{key}')")).await;
        shows(&service, key, &[1], kind).await;
        assert_eq!(id_of(&service, "1").await, id, "{kind}");
        assert!(keeps(&mut sql, kept).await, "{kind}");
    }
    assert!(with_key(&service, "A7").await.is_none());
}

/// Installations of an earlier release keep keys in the owner's own type, and may have a facility
/// without a key. The next start puts both right.
#[tokio::test]
async fn a_start_puts_the_keys_of_an_earlier_release_right() {
    let before = format!(
        "CREATE EXTENSION citext SCHEMA public; {}",
        tables("public.citext", ["Ab01", "Ab02"])
    );
    let (service, mut sql) = watched_after(CODES, &before).await;
    let id = id_of(&service, "Ab01").await;
    let (_, launch) = service.terminate().await;
    sql.run(
        "ALTER TABLE facility_summary.facility_key ALTER key TYPE public.citext; UPDATE \
         public.clinic SET code = 'AB02' WHERE code = 'Ab02'; INSERT INTO \
         facility_summary.facilities (id, name) VALUES (gen_random_uuid(), 'Without a key')",
    )
    .await;
    let service = launch.start().await;
    is_mapped(&service, "AB02").await;
    is_noticed(&service).await;
    assert!(keeps(&mut sql, "text").await);
    assert_eq!(id_of(&service, "Ab01").await, id);
    assert_eq!(sql.number("SELECT count(*) FROM facility_summary.facilities").await, 2);
    assert_eq!(read(&service, "/v1/summaries/today", "no-cache").await.status(), 200);
}

/// The same by `adopt install`, and by the script that `adopt sql` prints.
#[tokio::test]
async fn install_puts_the_keys_of_an_earlier_release_right() {
    let (service, mut sql) = watched_after(CODES, &tables("varchar(6)", ["AAAAAA", "B"])).await;
    let (_, launch) = service.terminate().await;
    sql.run("ALTER TABLE facility_summary.facility_key ALTER key TYPE varchar(6)").await;
    let printed = adopt(&launch, &["sql"]).await;
    assert!(printed.contains("ALTER COLUMN key TYPE text"), "{printed}");
    assert!(!keeps(&mut sql, "text").await, "it makes nothing");
    let said = adopt(&launch, &["install"]).await;
    assert!(said.contains("kept as character varying(6), are kept as text"), "{said}");
    assert!(keeps(&mut sql, "text").await);
    let again = adopt(&launch, &["install"]).await;
    assert!(again.contains("nothing was made"), "{again}");
}

/// Whatever keeps one facility from being stored, the others go on, and it is named.
#[tokio::test]
async fn a_facility_that_cannot_be_stored_stands_still_alone_and_is_named() {
    let (service, mut sql) = watched_after(CODES, &tables("text", ["A", "B"])).await;
    sql.run(
        "ALTER TABLE facility_summary.facilities ADD CONSTRAINT odd CHECK (name <> 'Odd'); INSERT \
         INTO public.clinic VALUES ('X1', 'Odd'), ('X2', 'Even')",
    )
    .await;
    is_mapped(&service, "X2").await;
    assert!(with_key(&service, "X1").await.is_none());
    let said = "the facility with the key \"X1\" is not followed, and the others are (";
    wait_until("it is said", async || remedy(&service).await.contains(said)).await;
    sql.run("INSERT INTO public.unit VALUES ('X2')").await;
    shows(&service, "X2", &[1], "a write to another").await;
    let path = today_of(&service, "X2").await;
    assert_eq!(read(&service, &path, "no-cache").await.status(), 200);
    assert_eq!(read(&service, "/v1/summaries/today", "no-cache").await.status(), 200);
    sql.run(
        "ALTER TABLE facility_summary.facilities DROP CONSTRAINT odd; UPDATE public.clinic SET \
         title = 'Odd again' WHERE code = 'X1'",
    )
    .await;
    is_mapped(&service, "X1").await;
    is_noticed(&service).await;
    assert_eq!(remedy(&service).await, "");
}

/// The owner's domain is not that of our table.
#[tokio::test]
async fn nothing_of_ours_hangs_on_a_domain_of_the_owner() {
    let before = format!("CREATE DOMAIN public.code AS varchar(8); {}", tables("code", ["A", "B"]));
    let (service, mut sql) = watched_after(CODES, &before).await;
    assert!(keeps(&mut sql, "text").await);
    sql.run(
        "DELETE FROM public.clinic WHERE code = 'B'; ALTER DOMAIN public.code ADD CHECK (VALUE <> \
         'B')",
    )
    .await;
    wait_until("it is gone", async || with_key(&service, "B").await.is_none()).await;
    shows(&service, "A", &[2], "another rule for the keys").await;
    drop(service.terminate().await);
    sql.run("DROP TABLE public.unit, public.clinic; DROP DOMAIN public.code").await;
}
