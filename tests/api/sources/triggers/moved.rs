//! Rows that a statement moves between partitions, which are in no transition table.

use super::{beside, is_noticed, shows};

const PARTITIONS: &str = "
    CREATE SCHEMA m; CREATE TABLE m.hospital (id integer PRIMARY KEY, title text);
    CREATE TABLE m.unit (id integer, hid integer) PARTITION BY RANGE (hid);
    CREATE TABLE m.low PARTITION OF m.unit FOR VALUES FROM (0) TO (10);
    CREATE TABLE m.high PARTITION OF m.unit FOR VALUES FROM (10) TO (20);
    INSERT INTO m.hospital SELECT n, 'H' || n FROM generate_series(1, 12) AS n;
    INSERT INTO m.unit SELECT n, 1 FROM generate_series(1, 10) AS n;
    CREATE FUNCTION m.\"update stock\"(unit integer) RETURNS void LANGUAGE sql AS $$
        MERGE INTO m.unit u USING (VALUES (unit)) AS v (i) ON u.id = v.i
        WHEN MATCHED THEN UPDATE SET hid = 12 $$;
    CREATE FUNCTION m.move_in_plpgsql(unit integer) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        MERGE INTO m.unit u USING (VALUES (unit)) AS v (i) ON u.id = v.i
        WHEN MATCHED THEN UPDATE SET hid = 12; END $$";
const UNITS: &str = "[sources.facilities]\nfrom = \"m.hospital h\"\nkey = \"h.id\"\nname = \
                     \"h.title\"\ntimezone = \"'UTC'\"\n[[sources.stock]]\nfrom = \"m.unit u\"\n\
                     facility = \"u.hid\"\n";

fn merge(units: &str, then: &str) -> String {
    format!("MERGE INTO m.unit u USING (VALUES {units}) AS v (i) ON u.id = v.i {then}")
}

#[tokio::test]
async fn rows_that_a_statement_moves_between_partitions_show() {
    let (service, mut sql, said) = beside(UNITS, PARTITIONS).await;
    assert!(said.contains("Each MERGE into m.unit that may update counts for every"), "{said}");
    let moves = "WHEN MATCHED THEN UPDATE SET hid = 12";
    for (what, statement, [low, high]) in [
        ("MERGE", merge("(1)", moves), [9, 1]),
        (
            "MERGE that deletes, too",
            merge("(2), (3)", &format!("WHEN MATCHED AND u.id = 2 THEN DELETE {moves}")),
            [7, 2],
        ),
        ("a prepared one", format!("PREPARE a AS {}; EXECUTE a", merge("(4)", moves)), [6, 3]),
        ("one in plpgsql", "SELECT m.move_in_plpgsql(5)".into(), [5, 4]),
        (
            "one in a function in SQL, named as another one",
            "SELECT m.\"update stock\"(6)".into(),
            [4, 5],
        ),
        ("an update", "UPDATE m.unit SET hid = 12 WHERE id = 7".into(), [3, 6]),
    ] {
        sql.run(statement).await;
        shows(&service, "1", &[low], what).await;
        shows(&service, "12", &[high], what).await;
    }
    // The partition where rows would come to refuses them, and they are gone.
    sql.run(
        "CREATE FUNCTION m.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; \
         END'; CREATE TRIGGER refuse BEFORE INSERT ON m.high FOR EACH ROW EXECUTE FUNCTION \
         m.nothing()",
    )
    .await;
    is_noticed(&service).await;
    for (units, left) in [("8", 2), ("9, 10", 0)] {
        sql.run(format!("UPDATE m.unit SET hid = 12 WHERE id IN ({units})")).await;
        shows(&service, "1", &[left], "a move that is refused").await;
    }
}

/// Only where a statement may be MERGE every facility counts.
#[tokio::test]
async fn an_update_of_a_table_with_partitions_names_its_facilities() {
    let (_service, mut sql, _) = beside(UNITS, PARTITIONS).await;
    let everybody = "SELECT count(*) FROM facility_summary.noticed_rows WHERE mark = 'stock'";
    for (statement, marks) in [
        ("UPDATE m.unit SET hid = 2 WHERE id = 1", 0),
        ("UPDATE m.unit SET hid = 11", 0),
        ("DO $$ BEGIN UPDATE m.unit SET hid = 3 WHERE id < 4; END $$", 0),
        ("SELECT m.move_in_plpgsql(7)", 1),
        ("SELECT m.\"update stock\"(8)", 1),
    ] {
        sql.run("BEGIN").await;
        sql.run(statement).await;
        assert_eq!(sql.number(everybody).await, marks, "{statement}");
        sql.run("ROLLBACK").await;
    }
}
