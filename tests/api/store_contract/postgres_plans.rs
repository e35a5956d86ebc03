//! How Postgres plans the refresh: read from EXPLAIN, on tables large enough that a bad plan would
//! be slow.

use facility_summary::{
    config::DatabaseSettings,
    store::{Store, postgres::PostgresStore},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::postgres::fresh_database;

const SUMMARIES: &str = include_str!("../../../sql/postgres/summaries.sql");
const SUMMARY: &str = include_str!("../../../sql/postgres/summary.sql");
const DERIVE: &str = concat!(
    include_str!("../../../sql/postgres/derive.sql"),
    include_str!("../../../sql/postgres/derive_select.sql")
);

/// A thousand facilities with two banks, and a hundred units, deliveries and requests each.
const FILL: &str = "
    INSERT INTO facilities (id, name) SELECT md5('f' || f)::uuid, 'F' || f FROM generate_series(1, \
                    1000) AS f;
    INSERT INTO blood_banks (id, facility_id) SELECT md5('b' || b)::uuid, md5('f' || (b + 1) / \
                    2)::uuid FROM generate_series(1, 2000) AS b;
    INSERT INTO blood_inventory (id, blood_bank_id, blood_type, quantity, expires_at)
        SELECT gen_random_uuid(), md5('b' || 1 + i % 2000)::uuid, 'O+', 3, now() + i % 40 * \
                    interval '1 day' FROM generate_series(1, 100000) AS i;
    INSERT INTO blood_distributions (id, dispatched_to_id, blood_type, quantity, date_delivered)
        SELECT gen_random_uuid(), md5('f' || 1 + i % 1000)::uuid, 'A-', 3, now() - i % 90 * \
                    interval '1 day' FROM generate_series(1, 100000) AS i;
    INSERT INTO blood_requests (id, facility_id, created_at)
        SELECT gen_random_uuid(), md5('f' || 1 + i % 1000)::uuid, now() - i % 90 * interval '1 \
                    day' FROM generate_series(1, 100000) AS i;
    INSERT INTO dashboard_daily_summary (facility_id, date, total_stock, total_transferred, \
                    total_requests, by_blood_type, as_of, updated_at, version)
        SELECT md5('f' || f)::uuid, current_date - d, 1, 1, 1, '{}', now(), now(), 1 FROM \
                    generate_series(1, 1000) AS f, generate_series(0, 29) AS d;";

const TABLES: [&str; 6] = [
    "facilities",
    "blood_banks",
    "blood_inventory",
    "blood_distributions",
    "blood_requests",
    "dashboard_daily_summary",
];

#[tokio::test]
async fn a_targeted_refresh_scans_no_table_with_any_plan() {
    let url = fresh_database().await;
    let settings = DatabaseSettings {
        url: url.clone(),
        min_connections: 0,
        max_connections: 2,
        ..DatabaseSettings::default()
    };
    PostgresStore::open(&settings, None).await.unwrap().close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    run(&mut connection, FILL).await;
    run(
        &mut connection,
        &format!("SET jit = off; PREPARE refresh (uuid[], text[], bigint[], bigint[]) AS {DERIVE}"),
    )
    .await;
    for state in ["ANALYZE", "VACUUM ANALYZE"] {
        run(&mut connection, &format!("{state} {}", TABLES.join(", "))).await;
        // The service's connections force the generic plan. Without that they would get the custom
        // plan.
        for mode in ["force_generic_plan", "force_custom_plan"] {
            run(&mut connection, &format!("SET plan_cache_mode = '{mode}'")).await;
            for facilities in [1, 100] {
                let plan = plan(&mut connection, facilities).await;
                for table in TABLES {
                    assert!(
                        !plan.contains(&format!("Seq Scan on {table}")),
                        "{state}, {mode}, {facilities} facilities: {table} is scanned in\n{plan}"
                    );
                }
                let index_only = [
                    "blood_inventory_by_bank",
                    "blood_distributions_by_day",
                    "blood_requests_by_day",
                ];
                for index in index_only.iter().filter(|_| state == "VACUUM ANALYZE") {
                    assert!(
                        plan.contains(&format!("Index Only Scan using {index}")),
                        "{state}, {mode}, {facilities} facilities: {index} is not used in\n{plan}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_read_of_rows_with_their_watermark_scans_nothing_but_the_fleet() {
    let url = fresh_database().await;
    let settings = DatabaseSettings {
        url: url.clone(),
        min_connections: 0,
        max_connections: 2,
        ..DatabaseSettings::default()
    };
    PostgresStore::open(&settings, None).await.unwrap().close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    run(&mut connection, FILL).await;
    run(&mut connection, "VACUUM ANALYZE dashboard_daily_summary, fleet").await;
    run(
        &mut connection,
        &format!(
            "SET plan_cache_mode = 'force_generic_plan'; PREPARE read (uuid[], text[]) AS \
             {SUMMARIES}"
        ),
    )
    .await;
    run(&mut connection, &format!("PREPARE one (uuid, text) AS {SUMMARY}")).await;
    let read = "EXPLAIN VERBOSE EXECUTE ";
    for statement in [
        "read (ARRAY[md5('f1')::uuid], ARRAY[current_date::text])",
        "one (md5('f1')::uuid, current_date::text)",
    ] {
        let read = AssertSqlSafe(format!("{read}{statement}"));
        let plan: Vec<String> = sqlx::query_scalar(read).fetch_all(&mut connection).await.unwrap();
        let plan = plan.join("\n");
        assert!(
            plan.contains("dashboard_daily_summary_pkey")
                && !plan.contains("Seq Scan on facility_summary.dashboard_daily_summary"),
            "{plan}"
        );
        // Only what may change while the session lasts is asked for by each call.
        assert!(
            plan.contains("pg_walfile_name(pg_current_wal_lsn())")
                && !plan.contains("fleet_epoch")
                && !plan.contains("_identifier()"),
            "{plan}"
        );
    }
}

/// The plan of a refresh of today for the first so many facilities.
async fn plan(connection: &mut PgConnection, facilities: i32) -> String {
    let (ids, starts): (String, i64) = sqlx::query_as(
        "SELECT array_agg(md5('f' || f)::uuid)::text, (extract(epoch FROM date_trunc('day', \
         now(), 'UTC')) * 1000)::bigint
         FROM generate_series(1, $1) AS f",
    )
    .bind(facilities)
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let array =
        |value: &str, kind: &str| format!("array_fill({value}::{kind}, ARRAY[{facilities}])");
    let (dates, start, end) = (
        array("current_date", "text"),
        array(&starts.to_string(), "bigint"),
        array(&(starts + 86_400_000).to_string(), "bigint"),
    );
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "EXPLAIN EXECUTE refresh ('{ids}'::uuid[], {dates}, {start}, {end})"
    )))
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    lines.join("\n")
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap_or_else(|e| panic!("{e}: {sql}"));
}
