//! What the catalogue says of the tables of other programs, and samples of their values.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    super::plain::is_odd,
    words::{subject, words},
};

/// All tables of other programs.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub tables: Vec<Table>,
    /// The tables and columns with a name that goes over several lines: they are left out.
    pub oddly_named: Vec<String>,
}

/// A table.
#[derive(Debug, Default)]
pub struct Table {
    /// Its name with its schema, as SQL writes it.
    pub sql: String,
    /// Its schema, as SQL writes it.
    pub schema: String,
    pub name: String,
    /// What its name says that a row is.
    pub subject: Vec<String>,
    pub comment: Option<String>,
    /// The number of rows, as the planner estimates it; below 0 where the table was never analysed.
    pub rows: i64,
    pub columns: Vec<Column>,
    /// The columns of the primary key.
    pub primary_key: Vec<usize>,
    /// Columns that are unique alone.
    pub unique: Vec<usize>,
    /// Where its columns lead: each row has at most one row there.
    pub references: Vec<Reference>,
}

/// A column.
#[derive(Debug, Default)]
pub struct Column {
    pub name: String,
    /// Its name, as SQL writes it.
    pub sql: String,
    pub words: Vec<String>,
    pub type_name: String,
    pub kind: Kind,
    pub not_null: bool,
    /// The labels of an enum.
    pub labels: Vec<String>,
    pub comment: Option<String>,
    /// The expression of its default.
    pub preset: Option<String>,
    pub may_read: bool,
    /// The values of some rows, if they could be read.
    pub values: Option<Values>,
}

/// What kind of values a column has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Number,
    Text,
    Enum,
    Boolean,
    Date,
    Naive,
    Instant,
    Uuid,
    #[default]
    Other,
}

/// The values of some rows.
#[derive(Debug, Default, Clone)]
pub struct Values {
    /// The most frequent first, at most [`MOST_VALUES`].
    pub seen: Vec<(String, u64)>,
    /// Whether there are more.
    pub has_more: bool,
}

/// A foreign key, or columns that look like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub columns: Vec<usize>,
    pub target: usize,
    pub target_columns: Vec<usize>,
    /// Whether the database knows of it.
    pub is_declared: bool,
}

/// How many different values of a column are kept.
const MOST_VALUES: usize = 40;
/// How many rows are read of a table.
const SAMPLED_ROWS: i64 = 3_000;

#[derive(sqlx::FromRow)]
struct TableRow {
    id: i64,
    schema: String,
    name: String,
    sql: String,
    comment: Option<String>,
    rows: i64,
}

#[derive(sqlx::FromRow)]
struct ColumnRow {
    of_table: i64,
    number: i32,
    name: String,
    sql: String,
    type_name: String,
    not_null: bool,
    kind: String,
    labels: Vec<String>,
    comment: Option<String>,
    preset: Option<String>,
    may_read: bool,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    of_table: i64,
    kind: String,
    columns: Vec<i32>,
    target: Option<i64>,
    target_columns: Vec<i32>,
}

/// Reads the catalogue, without the tables in the schema `ours`.
pub async fn read(connection: &mut PgConnection, ours: &str) -> sqlx::Result<Catalogue> {
    let tables: Vec<TableRow> =
        sqlx::query_as(include_str!("../../../../../sql/postgres/catalogue/tables.sql"))
            .bind(ours)
            .fetch_all(&mut *connection)
            .await?;
    let ids: Vec<i64> = tables.iter().map(|table| table.id).collect();
    let columns: Vec<ColumnRow> =
        sqlx::query_as(include_str!("../../../../../sql/postgres/catalogue/columns.sql"))
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await?;
    let keys: Vec<KeyRow> =
        sqlx::query_as(include_str!("../../../../../sql/postgres/catalogue/keys.sql"))
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await?;
    let (odd_tables, tables): (Vec<TableRow>, Vec<TableRow>) = tables
        .into_iter()
        .partition(|table| [&table.schema, &table.name].iter().any(|name| name.contains(is_odd)));
    let (odd_columns, columns): (Vec<ColumnRow>, Vec<ColumnRow>) =
        columns.into_iter().partition(|column| column.name.contains(is_odd));
    let table_of = |column: &ColumnRow| tables.iter().find(|table| table.id == column.of_table);
    let of_columns = odd_columns
        .iter()
        .filter_map(|column| Some(format!("{}.{}", table_of(column)?.sql, column.sql)));
    let oddly_named = odd_tables.iter().map(|table| table.sql.clone()).chain(of_columns).collect();
    Ok(Catalogue { oddly_named, ..Catalogue::of(tables, columns, &keys) })
}

impl Catalogue {
    fn of(tables: Vec<TableRow>, columns: Vec<ColumnRow>, keys: &[KeyRow]) -> Catalogue {
        let places: BTreeMap<i64, usize> =
            tables.iter().enumerate().map(|(at, table)| (table.id, at)).collect();
        let mut numbers: Vec<Vec<i32>> = vec![vec![]; tables.len()];
        let mut all: Vec<Table> = tables.into_iter().map(Table::of).collect();
        for column in columns {
            let Some(&at) = places.get(&column.of_table) else { continue };
            numbers[at].push(column.number);
            all[at].columns.push(Column::of(column));
        }
        let find = |table: usize, wanted: &[i32]| -> Option<Vec<usize>> {
            let place = |number| numbers[table].iter().position(|known| known == number);
            wanted.iter().map(place).collect()
        };
        for key in keys {
            let Some(&at) = places.get(&key.of_table) else { continue };
            let Some(columns) = find(at, &key.columns) else { continue };
            let target = key.target.and_then(|id| places.get(&id)).copied();
            match (key.kind.as_str(), target) {
                ("p", _) => {
                    all[at].unique.extend(columns.first().filter(|_| columns.len() == 1));
                    all[at].primary_key = columns;
                }
                ("u", _) => all[at].unique.extend(columns.first().filter(|_| columns.len() == 1)),
                (_, Some(target)) => {
                    if let Some(target_columns) = find(target, &key.target_columns) {
                        let is_declared = true;
                        let reference = Reference { columns, target, target_columns, is_declared };
                        all[at].references.push(reference);
                    }
                }
                _ => {}
            }
        }
        let mut catalogue = Catalogue { tables: all, ..Catalogue::default() };
        catalogue.find_undeclared();
        catalogue
    }

    /// Columns that are named like the key of another table, and have its type, lead there: many
    /// databases declare no foreign keys.
    fn find_undeclared(&mut self) {
        let mut found = Vec::new();
        for (at, table) in self.tables.iter().enumerate() {
            for (place, column) in table.columns.iter().enumerate() {
                let is_known = table.references.iter().any(|known| known.columns == [place]);
                if is_known || table.primary_key == [place] {
                    continue;
                }
                if let Some((target, key)) = self.named_by(at, column) {
                    let (columns, target_columns) = (vec![place], vec![key]);
                    found.push((
                        at,
                        Reference { columns, target, target_columns, is_declared: false },
                    ));
                }
            }
        }
        for (at, reference) in found {
            self.tables[at].references.push(reference);
        }
    }

    /// The table and its key that a column names: `hospital_id`, `HospitalCode`, or a key's own
    /// name where that says more than `id`.
    fn named_by(&self, own: usize, column: &Column) -> Option<(usize, usize)> {
        const KEYS: [&str; 6] = ["id", "code", "no", "number", "uuid", "key"];
        let (last, named) = column.words.split_last()?;
        let candidates = self.tables.iter().enumerate().filter(|(at, _)| *at != own);
        let mut fitting = candidates.filter_map(|(at, table)| {
            let [key] = table.primary_key[..] else { return None };
            let its = &table.columns[key];
            let same_name = its.words.len() > 1 && its.words == column.words;
            let names_table = KEYS.contains(&last.as_str())
                && !named.is_empty()
                && table.subject.ends_with(named);
            (its.type_name == column.type_name && (same_name || names_table)).then_some((at, key))
        });
        // Two tables of that name: neither is certain.
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    /// Reads the values of some rows of these tables. What may not be read, or not in time, has
    /// none.
    pub async fn sample(
        &mut self,
        connection: &mut PgConnection,
        tables: impl IntoIterator<Item = usize>,
    ) {
        for at in tables {
            if let Err(error) = self.tables[at].sample(connection).await {
                let table = &self.tables[at].sql;
                tracing::warn!(table, %error, "no values of this table could be read");
            }
        }
    }
}

impl Table {
    fn of(row: TableRow) -> Table {
        let TableRow { schema, name, sql, comment, rows, .. } = row;
        Table { subject: subject(&name), sql, schema, name, comment, rows, ..Table::default() }
    }

    async fn sample(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let kinds = [Kind::Text, Kind::Enum, Kind::Boolean, Kind::Integer, Kind::Number];
        let read: Vec<usize> = (0..self.columns.len())
            .filter(|at| self.columns[*at].may_read && kinds.contains(&self.columns[*at].kind))
            .collect();
        if read.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> =
            read.iter().map(|at| format!("left({}::text, 60)", self.columns[*at].sql)).collect();
        // The first pages of a large table are its oldest rows: others are as interesting.
        let part = match self.rows > 2 * SAMPLED_ROWS {
            false => String::new(),
            true => {
                let percent = 120.0 * SAMPLED_ROWS as f64 / self.rows as f64;
                format!(" TABLESAMPLE SYSTEM ({percent:.6})")
            }
        };
        let select = format!(
            "SELECT ARRAY[{}] FROM {}{part} LIMIT {SAMPLED_ROWS}",
            texts.join(", "),
            self.sql
        );
        let rows: Vec<(Vec<Option<String>>,)> =
            sqlx::query_as(AssertSqlSafe(select)).fetch_all(connection).await?;
        for (nth, at) in read.into_iter().enumerate() {
            let values = rows.iter().filter_map(|(row,)| row.get(nth)?.as_deref());
            self.columns[at].values = Some(Values::of(values));
        }
        Ok(())
    }

    /// What the table is called in a comment, with its rows.
    pub fn shown(&self) -> String {
        match self.rows {
            ..0 => format!("{} (never analysed)", self.sql),
            rows => format!("{} (about {rows} rows)", self.sql),
        }
    }
}

impl Column {
    fn of(row: ColumnRow) -> Column {
        let kind = match row.kind.as_str() {
            "enum" => Kind::Enum,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            "naive" => Kind::Naive,
            "instant" => Kind::Instant,
            "uuid" => Kind::Uuid,
            "text" => Kind::Text,
            _ => Kind::Other,
        };
        let ColumnRow { name, sql, type_name, not_null, labels, comment, preset, may_read, .. } =
            row;
        let words = words(&name);
        Column {
            name,
            sql,
            words,
            type_name,
            kind,
            not_null,
            labels,
            comment,
            preset,
            may_read,
            values: None,
        }
    }

    pub fn is_time(&self) -> bool {
        matches!(self.kind, Kind::Date | Kind::Naive | Kind::Instant)
    }

    pub fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Integer | Kind::Number)
    }

    /// The different values, if all are known: the labels of an enum, or those that were seen.
    pub fn all_values(&self) -> Option<Vec<String>> {
        if self.kind == Kind::Enum {
            return Some(self.labels.clone());
        }
        let values = self.values.as_ref().filter(|values| !values.has_more)?;
        Some(values.seen.iter().map(|(value, _)| value.clone()).collect())
    }
}

impl Values {
    fn of<'a>(values: impl Iterator<Item = &'a str>) -> Values {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for value in values {
            *counts.entry(value).or_insert(0) += 1;
        }
        let mut seen: Vec<(String, u64)> =
            counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
        seen.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let has_more = seen.len() > MOST_VALUES;
        seen.truncate(MOST_VALUES);
        Values { seen, has_more }
    }
}
