//! What the role of a session may do beyond what serving needs: to read the mapped columns, and to
//! own a schema.

use sqlx::{FromRow, PgConnection};

use super::shape;
use crate::config::sources::SourcesSettings;

/// The role, and what it may do to one mapped table.
#[derive(Debug, FromRow)]
struct OnTable {
    role: String,
    is_superuser: bool,
    bypasses_policies: bool,
    /// `None` where there is none, and for a superuser; so is all that follows.
    table_name: Option<String>,
    owner: Option<String>,
    is_own: Option<bool>,
    is_member: Option<bool>,
    has_policies: Option<bool>,
    /// The rights to change it, its rows or its triggers.
    writes: Vec<String>,
}

/// What it may do too much, in words, each with what would be right.
pub(super) async fn of(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> sqlx::Result<Vec<String>> {
    let found: Vec<OnTable> =
        sqlx::query_as(include_str!("../../../../sql/postgres/role_rights.sql"))
            .bind(shape::tables(sources))
            .fetch_all(connection)
            .await?;
    Ok(words(&found))
}

fn words(found: &[OnTable]) -> Vec<String> {
    let Some(OnTable { role, is_superuser, bypasses_policies, .. }) = found.first() else {
        return vec![];
    };
    if *is_superuser {
        return vec![format!(
            "{role}, the role of this command, is a superuser: whoever gets its password may do \
             anything on this server; let a role serve that may read the mapped columns, owns the \
             schema of the service, and may do nothing else, and run adopt check with that one"
        )];
    }
    let mut words = of_owners(found, role);
    words.extend(of_writes(found, role));
    if *bypasses_policies {
        let has_policies = |table: &&OnTable| table.has_policies == Some(true);
        let tables = names(found.iter().filter(has_policies));
        words.push(match tables.is_empty() {
            true => format!(
                "{role}, the role of this command, has BYPASSRLS, and no mapped table has \
                 row-level security: ALTER ROLE {role} NOBYPASSRLS;"
            ),
            false => format!(
                "{role}, the role of this command, has BYPASSRLS, which it needs for {tables}: it \
                 also reads the hidden rows of every other table that it may read, so let it read \
                 no others"
            ),
        });
    }
    words
}

/// The tables that it owns, or whose owner it may become.
fn of_owners(found: &[OnTable], role: &str) -> Vec<String> {
    let mut words = Vec::new();
    let own = names(found.iter().filter(|table| table.is_own == Some(true)));
    if !own.is_empty() {
        words.push(format!(
            "{role}, the role of this command, owns {own}: it may change and drop these; let \
             another role serve, which may only read the mapped columns"
        ));
    }
    let is_others = |table: &&OnTable| table.is_own == Some(false) && table.is_member == Some(true);
    let mut owners: Vec<&str> =
        found.iter().filter(is_others).filter_map(|table| table.owner.as_deref()).collect();
    owners.sort_unstable();
    owners.dedup();
    for owner in owners {
        let of_owner = |table: &&OnTable| table.owner.as_deref() == Some(owner);
        let tables = names(found.iter().filter(of_owner));
        words.push(format!(
            "{role}, the role of this command, is a member of {owner}, which owns {tables}, and so \
             may change and drop these: REVOKE {owner} FROM {role}; (or from the role through \
             which it is a member)"
        ));
    }
    words
}

/// The tables of others that it may write.
fn of_writes(found: &[OnTable], role: &str) -> Vec<String> {
    let may_write = |table: &&OnTable| table.is_member == Some(false) && !table.writes.is_empty();
    let words = |table: &OnTable| {
        let (name, rights) = (table.table_name.as_deref()?, table.writes.join(", "));
        Some(format!(
            "{role}, the role of this command, may write {name} ({rights}), and serving only reads \
             it: REVOKE {rights} ON {name} FROM {role}; (or from PUBLIC, or the role through which \
             it may)"
        ))
    };
    found.iter().filter(may_write).filter_map(words).collect()
}

fn names<'t>(tables: impl Iterator<Item = &'t OnTable>) -> String {
    tables.filter_map(|table| table.table_name.as_deref()).collect::<Vec<_>>().join(", ")
}
