//! Whether the tables that a database holds before the migrations run belong to this service.
//! Another program's tables are left alone.

use sqlx::migrate::Migrator;

use super::{Result, StoreError};

/// The names that the migrations create, and that a table or a type of another program may have.
pub(super) fn created(migrations: &Migrator) -> Vec<String> {
    names(migrations, &["CREATE TABLE ", "CREATE DOMAIN ", "CREATE VIEW "])
}

/// The names that follow one of these beginnings of a line.
pub(super) fn names(migrations: &Migrator, beginnings: &[&str]) -> Vec<String> {
    let lines = migrations.iter().flat_map(|migration| migration.sql.as_str().lines());
    let names = lines.filter_map(|line| {
        let rest = beginnings.iter().find_map(|create| line.strip_prefix(create))?;
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
#[path = "tables_tests.rs"]
mod tests;
