//! Whether the tables that a database holds before the migrations run belong to this service.
//! Another program's tables are left alone.

use sqlx::migrate::Migrator;

use super::{Result, StoreError};

/// The names that the migrations create, and that a table or a type of another program may have.
pub(super) fn created(migrations: &Migrator) -> Vec<String> {
    let lines = migrations.iter().flat_map(|migration| migration.sql.as_str().lines());
    let names = lines.filter_map(|line| {
        let rest = ["CREATE TABLE ", "CREATE DOMAIN ", "CREATE VIEW "]
            .iter()
            .find_map(|create| line.strip_prefix(create))?;
        let name = rest.trim_start_matches("IF NOT EXISTS ");
        Some(name.split(|c: char| !c.is_alphanumeric() && c != '_').next()?.to_owned())
    });
    names.collect()
}

/// What is known of a database before anything is changed in it.
pub(super) struct ExistingTables {
    /// The place, in words: `schema public of database blood`.
    pub place: String,
    /// The migrations on record there; `None` when there is no record.
    pub applied: Option<Vec<i64>>,
    /// The names of [`created`] that are taken.
    pub taken: Vec<String>,
    /// How to give the service a place of its own.
    pub remedy: &'static str,
}

impl ExistingTables {
    /// `Migration`, with what stands in the way, when the place belongs to another program.
    pub fn refuse_foreign_tables(&self, migrations: &Migrator) -> Result<()> {
        let ExistingTables { place, applied, taken, remedy } = self;
        let applied = applied.as_deref().unwrap_or_default();
        let first = migrations.iter().map(|migration| migration.version).min();
        if first.is_some_and(|first| applied.contains(&first)) {
            return Ok(());
        }
        if !applied.is_empty() {
            return Err(StoreError::Migration(format!(
                "{place} is another program's: its table _sqlx_migrations records none of this \
                 service's; nothing was changed there; {remedy}"
            )));
        }
        if taken.is_empty() {
            return Ok(());
        }
        Err(StoreError::Migration(format!(
            "{place} has tables or types of another program under names that this service needs: \
             {}; nothing was changed there; {remedy}",
            taken.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_either_store_is_among_the_names() {
        for migrations in
            [sqlx::migrate!("migrations/postgres"), sqlx::migrate!("migrations/sqlite")]
        {
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
        assert!(
            found(Some(vec![1, 2]), &["facilities"]).refuse_foreign_tables(&migrations).is_ok()
        );
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
}
