//! Rows that count although nothing is joined to them, and facilities of several joined tables.

use super::{beside, shows};
use crate::{sources::with_key, support::wait_until};

/// Bags and kits whose place may be missing. Where it is, another column or a constant says whose
/// they are.
const PLACES: &str = "
    CREATE SCHEMA o;
    CREATE TABLE o.hospital (id integer PRIMARY KEY, title text);
    CREATE TABLE o.slot (id integer PRIMARY KEY, hid integer, kind text NOT NULL DEFAULT 'x');
    CREATE TABLE o.shelf (id integer PRIMARY KEY, hid integer);
    CREATE TABLE o.bag (id integer PRIMARY KEY, sid integer);
    CREATE TABLE o.kit (id integer PRIMARY KEY, sid integer, hid integer);
    INSERT INTO o.hospital VALUES (1, 'One'), (2, 'Two'), (5, 'Five');
    INSERT INTO o.slot VALUES (1, 1, 'x'), (2, 1, 'y'); INSERT INTO o.shelf VALUES (1, 1)";
const PLACES_MAPPING: &str = r#"
[sources.facilities]
from = "o.hospital h"
key = "h.id"
name = "h.title"
timezone = "'UTC'"

[[sources.stock]]
from = "o.bag b LEFT JOIN o.slot s ON s.id = b.sid AND s.kind = 'x'"
facility = "coalesce(s.hid, 5)"

[[sources.stock]]
from = """o.kit k LEFT JOIN o.shelf s ON s.id = k.sid
    JOIN o.hospital g ON g.id = coalesce(s.hid, k.hid)"""
facility = "g.id"
"#;

#[tokio::test]
async fn rows_to_which_an_outer_join_joins_nothing_show() {
    let (service, mut sql, said) = beside(PLACES_MAPPING, PLACES).await;
    for table in ["o.bag", "o.slot", "o.kit"] {
        assert!(!said.contains(&format!("Each change of {table}")), "{said}");
    }
    assert!(said.contains("Each change of o.shelf counts for every facility"), "{said}");
    for (what, statement, figures) in [
        ("a bag without a slot", "INSERT INTO o.bag VALUES (1, NULL)", [0, 0, 1]),
        ("a bag in a slot", "INSERT INTO o.bag VALUES (2, 1)", [1, 0, 1]),
        ("one in a slot that is not joined", "INSERT INTO o.bag VALUES (3, 2)", [1, 0, 2]),
        ("a slot that goes", "DELETE FROM o.slot WHERE id = 1", [0, 0, 3]),
        ("a slot that comes", "INSERT INTO o.slot VALUES (1, 2)", [0, 1, 2]),
        ("a slot that is not joined any more", "UPDATE o.slot SET kind = 'z'", [0, 0, 3]),
        ("a kit without a shelf", "INSERT INTO o.kit VALUES (1, NULL, 2)", [0, 1, 3]),
        ("a kit on a shelf", "INSERT INTO o.kit VALUES (2, 1, 2)", [1, 1, 3]),
        ("a shelf that goes", "DELETE FROM o.shelf", [0, 2, 3]),
        ("a bag that goes", "DELETE FROM o.bag WHERE id = 1", [0, 2, 2]),
    ] {
        sql.run(statement).await;
        for (key, stock) in ["1", "2", "5"].into_iter().zip(figures) {
            shows(&service, key, &[stock], what).await;
        }
    }
}

/// The second USING names a column of one of two tables.
#[tokio::test]
async fn facilities_that_are_joined_by_using_follow_each_of_their_tables() {
    let (service, mut sql, _) = beside(
        "[sources.facilities]\nfrom = \"u.hospital h JOIN u.district d USING (district_id) JOIN \
         u.region r USING (region_id)\"\nkey = \"h.id\"\nname = \"h.title\"\ntimezone = \
         \"r.zone\"\n",
        "CREATE SCHEMA u;
        CREATE TABLE u.hospital (id integer PRIMARY KEY, title text, district_id integer);
        CREATE TABLE u.district (district_id integer PRIMARY KEY, region_id integer);
        CREATE TABLE u.region (region_id integer PRIMARY KEY, zone text);
        INSERT INTO u.region VALUES (1, 'Asia/Tokyo'), (2, 'Africa/Accra');
        INSERT INTO u.district VALUES (1, 1); INSERT INTO u.hospital VALUES (1, 'One', 1)",
    )
    .await;
    sql.run("UPDATE u.district SET region_id = 2").await;
    wait_until("it has the zone of the other region", async || {
        with_key(&service, "1").await.is_some_and(|one| one["timezone"] == "Africa/Accra")
    })
    .await;
}

/// A ledger may have issues that count until a time.
#[tokio::test]
async fn a_row_below_0_leaves_the_stock_at_its_expiry() {
    let (service, mut sql, _) = beside(
        "[sources.facilities]\nfrom = \"l.hospital h\"\nkey = \"h.id\"\nname = \"h.title\"\n\
         timezone = \"'UTC'\"\n[[sources.stock]]\nfrom = \"l.entry e\"\nfacility = \"e.hid\"\n\
         quantity = \"e.units\"\nexpires = \"e.until\"\n",
        "CREATE SCHEMA l; CREATE TABLE l.hospital (id integer PRIMARY KEY, title text);
        CREATE TABLE l.entry (hid integer, units integer, until timestamptz);
        INSERT INTO l.hospital VALUES (1, 'One')",
    )
    .await;
    sql.run("INSERT INTO l.entry VALUES (1, 10, NULL), (1, -4, now() + interval '1 hour')").await;
    shows(&service, "1", &[6], "the entries").await;
    sql.run("UPDATE l.entry SET until = now() + interval '5 seconds' WHERE units < 0").await;
    shows(&service, "1", &[10], "the expiry of the issue").await;
}
