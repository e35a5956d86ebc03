//! A plain SQL client of another program, beside the running service.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use uuid::Uuid;

/// A connection to a service's database, with the literals of its dialect.
pub enum Outside {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Outside {
    /// Connects to the database of that URL.
    pub async fn connect(url: &str) -> Outside {
        if url.starts_with("postgres") {
            Outside::Postgres(
                PgConnection::connect(url).await.expect("Postgres accepts connections"),
            )
        } else {
            Outside::Sqlite(SqliteConnection::connect(url).await.expect("the file can be opened"))
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self, Outside::Postgres(_))
    }

    /// Runs statements as they are. Without BEGIN each call commits by itself.
    pub async fn run(&mut self, sql: impl Into<String>) {
        let sql = sql.into();
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.clone()));
        let result = match self {
            Outside::Postgres(connection) => statements.execute(connection).await.map(drop),
            Outside::Sqlite(connection) => statements.execute(connection).await.map(drop),
        };
        result.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The whole number that a query returns; NULL counts as 0.
    pub async fn number(&mut self, sql: impl Into<String>) -> i64 {
        let sql = sql.into();
        let query = sqlx::raw_sql(AssertSqlSafe(sql.clone()));
        let number = match self {
            Outside::Postgres(connection) => {
                query.fetch_one(connection).await.and_then(|row| row.try_get::<Option<i64>, _>(0))
            }
            Outside::Sqlite(connection) => {
                query.fetch_one(connection).await.and_then(|row| row.try_get::<Option<i64>, _>(0))
            }
        };
        number.unwrap_or_else(|error| panic!("{sql}: {error}")).unwrap_or(0)
    }

    /// All rows of a table as one text, to find whether anything was written to it. On Postgres the
    /// text has each row's place and writer.
    pub async fn fingerprint(&mut self, table: &str) -> String {
        let sql = match self {
            Outside::Postgres(_) => {
                format!(
                    "SELECT coalesce(string_agg(t.ctid::text || t.xmin::text || t.*::text, ' ' \
                     ORDER BY t.ctid), '') FROM {table} t"
                )
            }
            Outside::Sqlite(_) => format!(
                "SELECT ifnull(group_concat(hex(facility_id) || date || as_of || updated_at || \
                 version || total_requests, ' '), '') FROM {table}"
            ),
        };
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Outside::Postgres(connection) => {
                query.fetch_one(connection).await.and_then(|row| row.try_get(0))
            }
            Outside::Sqlite(connection) => {
                query.fetch_one(connection).await.and_then(|row| row.try_get(0))
            }
        }
        .expect("the table can be read")
    }

    /// An id as a literal.
    pub fn id(&self, id: Uuid) -> String {
        match self {
            Outside::Postgres(_) => format!("'{id}'"),
            Outside::Sqlite(_) => format!("x'{}'", id.simple()),
        }
    }

    /// An instant as a literal.
    pub fn at(&self, ms: i64) -> String {
        match self {
            Outside::Postgres(_) => format!("to_timestamp({ms} / 1000.0::float8)"),
            Outside::Sqlite(_) => ms.to_string(),
        }
    }
}
