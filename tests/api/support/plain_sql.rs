//! A plain SQL client beside the service, on either store.

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions,
};

/// The first column of each row, which must be text.
///
/// `id(…)` around a column of ids returns the same 32 hexadecimal digits on both stores.
pub async fn texts(url: &str, statement: &str) -> Vec<String> {
    if is_postgres(url) {
        let statement = AssertSqlSafe(with_ids(statement, "replace((", ")::text, '-', '')"));
        let mut connection =
            PgConnection::connect(url).await.expect("the database accepts connections");
        let rows =
            sqlx::query(statement).fetch_all(&mut connection).await.expect("the statement runs");
        rows.iter().map(|row| row.get(0)).collect()
    } else {
        let statement = AssertSqlSafe(with_ids(statement, "lower(hex(", "))"));
        let mut connection = sqlite(url).await;
        let rows =
            sqlx::query(statement).fetch_all(&mut connection).await.expect("the statement runs");
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// The one number that the statement returns.
pub async fn number(url: &str, expression: &str) -> i64 {
    let found = texts(url, &format!("SELECT CAST(({expression}) AS text)")).await;
    found[0].parse().expect("it is a number")
}

/// Runs a statement that returns nothing.
pub async fn execute(url: &str, statement: &str) {
    attempt(url, statement).await.expect("the statement runs");
}

/// Runs a statement that the database may refuse.
pub async fn attempt(url: &str, statement: &str) -> sqlx::Result<()> {
    let statement = AssertSqlSafe(statement.to_owned());
    if is_postgres(url) {
        let mut connection =
            PgConnection::connect(url).await.expect("the database accepts connections");
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    } else {
        sqlx::raw_sql(statement).execute(&mut sqlite(url).await).await?;
    }
    Ok(())
}

pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres")
}

async fn sqlite(url: &str) -> SqliteConnection {
    let options: SqliteConnectOptions = url.parse().expect("an SQLite URL");
    let patient = options.busy_timeout(super::PATIENCE);
    SqliteConnection::connect_with(&patient).await.expect("the file can be opened")
}

fn with_ids(statement: &str, before: &str, after: &str) -> String {
    let mut parts = statement.split("id(");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (column, rest) = part.split_once(')').expect("a closing bracket");
        whole += &format!("{before}{column}{after}{rest}");
    }
    whole
}
