//! The shape of what a mapping reads: its columns with their types, the labels of their enums, and
//! whether they may be read. It is stored when the mapping is first used. A later difference means
//! that the owner has changed the tables.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlparser::{
    ast::{Expr, Ident, visit_expressions, visit_relations},
    dialect::PostgreSqlDialect,
    parser::Parser,
};
use sqlx::{PgConnection, types::Json};

use crate::{
    config::sources::{ActivitySource, SourcesSettings, StockSource},
    store::{Result, SourceChange, SourceLag},
};

/// The mapped columns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shape(Vec<Column>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
struct Column {
    /// The `oid` of the table. It stays when the table gets another name.
    table_id: i64,
    /// The table with its schema, as SQL writes it.
    table_name: String,
    /// The number of the column, which stays when it gets another name.
    number: i16,
    name: String,
    /// The type, as SQL names it.
    type_name: String,
    /// The labels of an enum.
    labels: Vec<String>,
    /// Whether the service's role may read it.
    may_be_read: bool,
    /// Whether row-level security of the table is active for the service's role. Each read of the
    /// table is an error then. It is not stored as true: a mapping of such a table does not fit.
    #[serde(default)]
    hides_rows: bool,
    /// Where the ids are those of tables: the server, the database, and our table `fleet` in it.
    /// In a restored dump other tables have them.
    #[serde(default)]
    home: String,
}

/// The tables and columns whose names are in a mapping.
#[derive(Debug, Default)]
struct Names {
    tables: BTreeSet<String>,
    columns: BTreeSet<String>,
}

impl Shape {
    /// The shape as it is now. Lists that are no plain SQL are left out.
    pub async fn read(connection: &mut PgConnection, sources: &SourcesSettings) -> Result<Self> {
        let names = Names::of(sources);
        let tables: Vec<String> = names.tables.into_iter().collect();
        let mut columns = columns(connection, &[], &tables).await?;
        columns.retain(|column| names.columns.contains(&column.name));
        Ok(Shape(columns))
    }

    /// The stored shape; `None` where none was stored yet.
    pub async fn stored(connection: &mut PgConnection) -> Result<Option<Self>> {
        let shape: Option<Json<Shape>> =
            sqlx::query_scalar("SELECT shape FROM fleet").fetch_one(connection).await?;
        Ok(shape.map(|Json(shape)| shape))
    }

    /// This shape with the labels of enums that it lacks and `now` has: earlier releases did not
    /// look at those of domains and arrays. `None` where it lacks none.
    pub fn with_labels(&self, now: &Shape) -> Option<Shape> {
        let is_same = |a: &Column, b: &Column| {
            (a.table_id, a.number, &a.type_name) == (b.table_id, b.number, &b.type_name)
        };
        let mut with = self.0.clone();
        for column in with.iter_mut().filter(|column| column.labels.is_empty()) {
            if let Some(found) = now.0.iter().find(|found| is_same(column, found)) {
                column.labels.clone_from(&found.labels);
            }
        }
        (with != self.0).then_some(Shape(with))
    }

    /// Stores it.
    pub async fn store(&self, connection: &mut PgConnection) -> Result<()> {
        sqlx::query("UPDATE fleet SET shape = $1::jsonb")
            .bind(Json(self))
            .execute(connection)
            .await?;
        Ok(())
    }

    /// The subscriptions that fill the tables.
    pub async fn lags(&self, connection: &mut PgConnection) -> Result<Vec<SourceLag>> {
        let here = self.here(connection).await?;
        let ids: Vec<i64> = here.iter().map(|column| column.table_id).collect();
        let lags: Vec<(String, Option<i64>)> =
            sqlx::query_as(include_str!("../../../../sql/postgres/source_lags.sql"))
                .bind(ids)
                .fetch_all(connection)
                .await?;
        let lag = |(subscription, seconds)| SourceLag { subscription, seconds };
        Ok(lags.into_iter().map(lag).collect())
    }

    /// What the owner has changed since this shape was stored.
    pub async fn changes(&self, connection: &mut PgConnection) -> Result<Vec<SourceChange>> {
        let before = self.here(connection).await?;
        let ids: Vec<i64> = before.iter().map(|column| column.table_id).collect();
        let mut now = columns(&mut *connection, &ids, &[]).await?;
        // A table that was made anew, or restored, has another id.
        let is_gone = |id: i64| !now.iter().any(|column| column.table_id == id);
        let gone: BTreeSet<String> = before
            .iter()
            .filter(|column| is_gone(column.table_id))
            .map(|column| column.table_name.clone())
            .collect();
        let gone: Vec<String> = gone.into_iter().collect();
        now.extend(columns(connection, &[], &gone).await?);
        Ok(compare(&before, &now))
    }

    /// Whether it was stored in another server, database or installation than `now`: this is a
    /// restored dump, or was made by an earlier release.
    pub fn is_of_elsewhere(&self, now: &Shape) -> bool {
        now.0.first().is_some_and(|now| self.0.iter().any(|column| column.home != now.home))
    }

    /// The columns with the ids that their tables have here: those that are stored, or in a
    /// restored dump those of the tables and columns with the same names. 0 where there is none.
    async fn here(&self, connection: &mut PgConnection) -> Result<Vec<Column>> {
        let tables: BTreeSet<&str> = self.0.iter().map(|column| &*column.table_name).collect();
        let tables: Vec<String> = tables.into_iter().map(str::to_owned).collect();
        let home: Option<String> =
            sqlx::query_scalar(HOME).fetch_optional(&mut *connection).await?;
        if self.0.iter().all(|column| Some(&column.home) == home.as_ref()) {
            return Ok(self.0.clone());
        }
        Ok(with_ids_of(&self.0, &columns(connection, &[], &tables).await?))
    }
}

/// The names of the mapped tables, as the mapping writes them.
pub(super) fn tables(sources: &SourcesSettings) -> Vec<String> {
    Names::of(sources).tables.into_iter().collect()
}

/// The mapped tables that are foreign: of other servers.
pub(super) async fn foreign_tables(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind = 'f'::\"char\" AND c.oid = \
         ANY (ARRAY(SELECT to_regclass(name)::oid FROM pg_catalog.unnest($1::text[]) AS t (name))) \
         ORDER BY 1",
    )
    .bind(tables(sources))
    .fetch_all(connection)
    .await?)
}

/// Where ids are those of objects, as `mapped_columns.sql` has it.
const HOME: &str = "SELECT pg_catalog.concat_ws('/'::text, server_identifier(), d.oid, \
                    'fleet'::regclass::oid) FROM pg_database d WHERE d.datname = \
                    current_database()";

/// All columns of these tables.
async fn columns(
    connection: &mut PgConnection,
    ids: &[i64],
    names: &[String],
) -> Result<Vec<Column>> {
    Ok(sqlx::query_as(include_str!("../../../../sql/postgres/mapped_columns.sql"))
        .bind(ids)
        .bind(names)
        .fetch_all(connection)
        .await?)
}

/// What is before with the ids of the tables and columns that have its names now.
fn with_ids_of(before: &[Column], now: &[Column]) -> Vec<Column> {
    let with_ids = |column: &Column| {
        let mut of_table = now.iter().filter(|found| found.table_name == column.table_name);
        let table = of_table.clone().next();
        let found = of_table.find(|found| found.name == column.name);
        Column {
            table_id: table.map_or(0, |found| found.table_id),
            number: found.map_or(0, |found| found.number),
            ..column.clone()
        }
    };
    before.iter().map(with_ids).collect()
}

/// What differs, in the order of the columns; each change once.
fn compare(before: &[Column], now: &[Column]) -> Vec<SourceChange> {
    let mut changes: Vec<SourceChange> = Vec::new();
    for column in before {
        for change in of_column(column, now) {
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    changes
}

fn of_column(before: &Column, now: &[Column]) -> Vec<SourceChange> {
    let Column { table_name, name, .. } = before;
    let breaks = |text: String| vec![SourceChange { text, breaks: true }];
    let is_same_table = now.iter().any(|column| column.table_id == before.table_id);
    let of_table: Vec<&Column> = now
        .iter()
        .filter(|column| match is_same_table {
            true => column.table_id == before.table_id,
            false => column.table_name == *table_name,
        })
        .collect();
    let Some(any) = of_table.first() else {
        return breaks(format!("{table_name} is gone"));
    };
    if any.table_name != *table_name {
        return breaks(format!("{table_name} is now {}", any.table_name));
    }
    // The mapping reads the column with the name, whatever number it has.
    let by_name = of_table.iter().find(|column| column.name == *name);
    let by_number = of_table.iter().find(|column| is_same_table && column.number == before.number);
    let Some(found) = by_name else {
        return breaks(match by_number {
            Some(now) => format!("{table_name}.{name} is now {table_name}.{}", now.name),
            None => format!("{table_name}.{name} is gone"),
        });
    };
    let mut changes = Vec::new();
    if is_same_table && found.number != before.number {
        let was = match by_number {
            Some(now) => format!("is now {table_name}.{}", now.name),
            None => "was dropped".into(),
        };
        let text = format!(
            "{table_name}.{name} {was}, and another column with its name was added, which the \
             mapping reads now"
        );
        changes.push(SourceChange { text, breaks: false });
    }
    if found.hides_rows {
        changes.extend(breaks(format!(
            "row-level security of {table_name} hides rows from the service's role, so no figure \
             is computed of the others (ALTER ROLE … BYPASSRLS by a superuser, or ALTER TABLE \
             {table_name} DISABLE ROW LEVEL SECURITY)"
        )));
    }
    if before.may_be_read && !found.may_be_read {
        changes.extend(breaks(format!(
            "{table_name}.{name} may not be read any more (GRANT SELECT to the service's role, or \
             adopt install, gives the right back)"
        )));
    }
    let texts = of_type(before, found).into_iter();
    changes.extend(texts.map(|text| SourceChange { text, breaks: false }));
    changes
}

/// What differs in the type, and in its labels.
fn of_type(before: &Column, found: &Column) -> Vec<String> {
    let Column { table_name, name, .. } = before;
    let of_labels = format!("{}, the type of {table_name}.{name}", found.type_name);
    let mut texts = Vec::new();
    if found.type_name != before.type_name {
        texts.push(format!(
            "{table_name}.{name} is now of the type {}, and was {}",
            found.type_name, before.type_name
        ));
    }
    for label in found.labels.iter().filter(|label| !before.labels.contains(label)) {
        texts.push(format!("{of_labels}, has the new label '{label}'"));
    }
    for label in before.labels.iter().filter(|label| !found.labels.contains(label)) {
        texts.push(format!("{of_labels}, has no label '{label}' any more"));
    }
    let kept = |of: &Column, other: &Column| -> Vec<String> {
        of.labels.iter().filter(|label| other.labels.contains(label)).cloned().collect()
    };
    let now = kept(found, before);
    if now != kept(before, found) {
        texts.push(format!("{of_labels}, has its labels in another order: {}", now.join(", ")));
    }
    texts
}

impl Names {
    fn of(sources: &SourcesSettings) -> Self {
        let mut names = Names::default();
        let facilities = &sources.facilities;
        let values = [&facilities.key, &facilities.name, &facilities.timezone];
        names.read(&facilities.from, &values, facilities.r#where.as_ref());
        for source in sources.stock.iter().flatten() {
            let StockSource { from, facility, blood_type, quantity, expires, r#where, .. } = source;
            let values: Vec<&String> =
                [facility, quantity].into_iter().chain(blood_type).chain(expires).collect();
            names.read(from, &values, r#where.as_ref());
        }
        let lists = [&sources.deliveries, &sources.requests];
        for source in lists.into_iter().flatten().flatten() {
            let ActivitySource { from, facility, blood_type, quantity, at, r#where, .. } = source;
            let values: Vec<&String> =
                [facility, quantity, at].into_iter().chain(blood_type).collect();
            names.read(from, &values, r#where.as_ref());
        }
        names
    }

    /// Adds what one list names. What the parser does not understand adds nothing: the statements
    /// themselves then tell that they do not fit.
    fn read(&mut self, from: &str, values: &[&String], condition: Option<&String>) {
        let values: Vec<String> = values.iter().map(|value| format!("({value})")).collect();
        let condition = condition.map_or("true", String::as_str);
        let select = format!("SELECT {} FROM {from} WHERE ({condition})", values.join(", "));
        let Ok(statements) = Parser::parse_sql(&PostgreSqlDialect {}, &select) else {
            tracing::info!(from, "changes of these tables are noticed only when a read fails");
            return;
        };
        let _ = visit_relations(&statements, |relation| {
            self.tables.insert(relation.to_string());
            std::ops::ControlFlow::<()>::Continue(())
        });
        let _ = visit_expressions(&statements, |expression| {
            match expression {
                Expr::Identifier(name) => self.column(name),
                Expr::CompoundIdentifier(names) => names.iter().for_each(|name| self.column(name)),
                _ => {}
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
    }

    fn column(&mut self, name: &Ident) {
        self.columns.insert(match name.quote_style {
            Some(_) => name.value.clone(),
            None => name.value.to_lowercase(),
        });
    }
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
