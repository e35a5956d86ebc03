//! Tests of `derive.rs`.

use sqlx::{AssertSqlSafe, Connection};

use super::*;

/// Checks the query plan when the statistics say that a scan would be cheap, and when there are
/// no statistics.
#[tokio::test]
async fn a_targeted_refresh_scans_no_source_table() {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::migrate!("migrations/sqlite").run(&mut db).await.unwrap();
    for analyze in [false, true] {
        if analyze {
            let little = "INSERT INTO facilities (id, name) VALUES (zeroblob(16), 'North');
                    INSERT INTO blood_banks (id, facility_id) VALUES (zeroblob(16), zeroblob(16));
                    INSERT INTO blood_inventory (id, blood_bank_id, quantity) VALUES \
                              (zeroblob(16), zeroblob(16), 1);
                    INSERT INTO blood_distributions (id, dispatched_to_id, quantity, \
                              date_delivered) VALUES (zeroblob(16), zeroblob(16), 1, 1);
                    INSERT INTO blood_requests (id, facility_id) VALUES (zeroblob(16), \
                              zeroblob(16));
                    ANALYZE";
            sqlx::raw_sql(little).execute(&mut db).await.unwrap();
        }
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql!("derive")));
        let plan = sqlx::query(explain).bind("[]").bind(0).fetch_all(&mut db).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
        let scans: Vec<_> = plan.iter().filter(|step| step.starts_with("SCAN")).collect();
        assert!(
            scans.iter().all(|step| step.starts_with("SCAN k ")
                || *step == "SCAN keys"
                || step.starts_with("SCAN (subquery")),
            "{plan:#?}"
        );
        for index in [
            "blood_banks_by_facility",
            "blood_inventory_by_bank",
            "blood_distributions_by_day",
            "blood_requests_by_day",
        ] {
            assert!(
                plan.iter()
                    .any(|step| step.contains("USING COVERING INDEX") && step.contains(index)),
                "{index}: {plan:#?}"
            );
        }
    }
}
