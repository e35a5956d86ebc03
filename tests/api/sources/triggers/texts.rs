//! What is noted of a row is a text. It means the same in the session that reads it, and two that
//! differ are two.

use serde_json::Value;

use super::{adopt, beside, is_noticed, shows, triggers};
use crate::{sources::with_key, support::wait_until};

const WARDS: &str = "
    CREATE SCHEMA t; CREATE EXTENSION citext SCHEMA public;
    CREATE COLLATION t.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE t.hospital (code text PRIMARY KEY, title public.citext);
    CREATE TABLE t.bag (code public.citext);
    CREATE TABLE t.crate (code text COLLATE t.any_case);
    CREATE TABLE t.box (code varchar(4));
    CREATE TABLE t.shelf (id float8 PRIMARY KEY, code text);
    CREATE TABLE t.pallet (shelf float8);
    CREATE TABLE t.delivery (code text, units integer, during tstzrange);
    INSERT INTO t.hospital VALUES ('ab01', 'Ab'), ('AB01', 'Other'), ('K1', 'K'), ('KLA1', 'KLA'),
        ('KLA1-NORTH', 'North');
    INSERT INTO t.shelf VALUES (0.1::float8 + 0.2::float8, 'K1')";
const WARDS_MAPPING: &str = r#"
[sources.facilities]
from = "t.hospital h"
key = "h.code"
name = "h.title"
timezone = "'UTC'"

[[sources.stock]]
from = "t.bag b"
facility = "b.code"

[[sources.stock]]
from = "t.crate c JOIN t.hospital g ON g.code = c.code"
facility = "g.code"

[[sources.stock]]
from = "t.box x"
facility = "x.code"

[[sources.stock]]
from = "t.pallet p JOIN t.shelf s ON s.id = p.shelf"
facility = "s.code"

[[sources.deliveries]]
from = "t.delivery d"
facility = "d.code"
quantity = "d.units"
at = "lower(d.during)"
"#;

#[tokio::test]
async fn texts_that_only_their_type_or_collation_takes_for_equal_are_two() {
    let (service, mut sql, _) = beside(WARDS_MAPPING, WARDS).await;
    sql.run("INSERT INTO t.bag VALUES ('ab01'), ('AB01')").await;
    for key in ["ab01", "AB01"] {
        shows(&service, key, &[1], "two of one statement").await;
    }
    sql.run("UPDATE t.bag SET code = 'K1'").await;
    shows(&service, "K1", &[2], "a move of both").await;
    for key in ["ab01", "AB01"] {
        shows(&service, key, &[0], "a move of both").await;
    }
    sql.run(
        "SET session_replication_role = replica; BEGIN; INSERT INTO t.bag VALUES ('ab01'), \
         ('AB01'); COMMIT; RESET session_replication_role",
    )
    .await;
    for key in ["ab01", "AB01"] {
        shows(&service, key, &[1], "rows of a replica's session").await;
    }
    sql.run("UPDATE t.hospital SET title = 'AB' WHERE code = 'ab01'").await;
    wait_until("its name has the other case", async || {
        with_key(&service, "ab01").await.is_some_and(|one| one["name"] == "AB")
    })
    .await;
    // The collation of the column decides which hospital a crate belongs to.
    sql.run("INSERT INTO t.crate VALUES ('k1')").await;
    shows(&service, "K1", &[3], "a crate whose code has another case").await;
    sql.run("INSERT INTO t.crate VALUES ('K1'), ('k1')").await;
    shows(&service, "K1", &[5], "two crates").await;
}

#[tokio::test]
async fn a_text_that_depends_on_the_session_is_not_noted() {
    let (service, mut sql, said) = beside(WARDS_MAPPING, WARDS).await;
    let words = "Each change of t.pallet counts for every facility: stock[3]: p.shelf leads there, \
                 and is of the type double precision, whose text is not the same in each session";
    assert!(said.contains(words), "{said}");
    assert!(!said.contains("Each change of t.delivery"), "{said}");
    sql.run("SET datestyle = 'SQL, DMY'; SET extra_float_digits = -10").await;
    sql.run("INSERT INTO t.pallet SELECT id FROM t.shelf").await;
    shows(&service, "K1", &[1], "a pallet").await;
    sql.run("BEGIN; INSERT INTO t.delivery VALUES ('K1', 7, tstzrange(now(), NULL))").await;
    let slashes = "SELECT count(*) FROM facility_summary.noticed_rows WHERE noted::text LIKE '%/%'";
    assert_eq!(sql.number(slashes).await, 0, "a date in the writer's style");
    sql.run("COMMIT").await;
    shows(&service, "K1", &[1, 7], "a delivery").await;
}

#[tokio::test]
async fn a_column_that_is_widened_while_the_service_runs_is_followed() {
    let (service, mut sql, _) = beside(WARDS_MAPPING, WARDS).await;
    sql.run("ALTER TABLE t.box ALTER code TYPE varchar(20)").await;
    sql.run("INSERT INTO t.box VALUES ('KLA1-NORTH')").await;
    shows(&service, "KLA1-NORTH", &[1], "a code that was too long before").await;
    assert_eq!(triggers(&service).await["state"], "up");
}

/// The triggers note what they were made for. Until they are made again nothing relies on them, and
/// no start is needed after that.
#[tokio::test]
async fn a_column_of_another_type_needs_other_triggers_and_no_start() {
    let (service, mut sql, _) = beside(
        "[sources.facilities]\nfrom = \"t.hospital h\"\nkey = \"h.code\"\nname = \"h.title\"\n\
         timezone = \"'Asia/Tokyo'\"\n[[sources.requests]]\nfrom = \"t.request r\"\nfacility = \
         \"r.code\"\nat = \"r.at\"\nat_as = \"utc\"\n",
        "CREATE SCHEMA t; CREATE TABLE t.hospital (code text PRIMARY KEY, title text); CREATE \
         TABLE t.request (code text, at timestamp); INSERT INTO t.hospital VALUES ('1', 'One')",
    )
    .await;
    sql.run("ALTER TABLE t.request ALTER code TYPE inet USING NULL").await;
    wait_until("it is said", async || {
        let said: Value = triggers(&service).await;
        said["last_error"] == "of_another_mapping"
            && said["remedy"].as_str().is_some_and(|words| words.contains("adopt install"))
    })
    .await;
    sql.run("ALTER TABLE t.request ALTER code TYPE varchar(9) USING NULL").await;
    adopt(service.launch(), &["install"]).await;
    is_noticed(&service).await;
    sql.run("INSERT INTO t.request VALUES ('1', now() AT TIME ZONE 'UTC')").await;
    wait_until("the request shows", async || {
        let path = crate::sources::today_of(&service, "1").await;
        crate::steps::get(&service, &path).await["total_requests"] == 1
    })
    .await;
}
