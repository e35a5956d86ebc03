//! Tests of `tables.rs`.

use super::*;

#[test]
fn every_table_of_either_store_is_among_the_names() {
    for migrations in [sqlx::migrate!("migrations/postgres"), sqlx::migrate!("migrations/sqlite")] {
        let names = created(&migrations);
        let written: usize = migrations
            .iter()
            .map(|migration| {
                migration.sql.as_str().matches("\nCREATE TABLE").count()
                    + migration.sql.as_str().matches("\nCREATE VIEW").count()
            })
            .sum();
        let domains = names.iter().filter(|name| *name == "blood_type").count();
        assert_eq!(names.len(), written + domains, "{names:?}");
        assert!(
            ["facilities", "outbox", "fleet", "tombstones"]
                .iter()
                .all(|name| names.iter().any(|n| n == name)),
            "{names:?}"
        );
    }
}

#[test]
fn a_place_with_our_record_is_ours_whatever_else_it_holds() {
    let migrations = sqlx::migrate!("migrations/postgres");
    let found = |applied: Option<Vec<i64>>, taken: &[&str]| ExistingTables {
        place: "schema public".into(),
        applied,
        taken: taken.iter().map(|name| (*name).to_owned()).collect(),
        remedy: "use another",
    };
    assert!(found(Some(vec![1, 2]), &["facilities"]).refuse_foreign_tables(&migrations).is_ok());
    assert!(found(None, &[]).refuse_foreign_tables(&migrations).is_ok());
    assert!(
        found(Some(vec![]), &[]).refuse_foreign_tables(&migrations).is_ok(),
        "a start that was ended between its steps"
    );
    assert!(found(Some(vec![]), &["outbox"]).refuse_foreign_tables(&migrations).is_err());
    assert!(found(Some(vec![20_240_101]), &[]).refuse_foreign_tables(&migrations).is_err());
    let refusal = found(None, &["facilities", "outbox"])
        .refuse_foreign_tables(&migrations)
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("facilities, outbox") && refusal.contains("nothing was changed"),
        "{refusal}"
    );
}
