//! The contract's databases on SQLite: a file in a folder of its own.

use std::sync::Arc;

use facility_summary::{
    config::DatabaseSettings,
    store::{Store, sqlite::SqliteStore},
};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::TestDb;

pub struct SqliteDb {
    store: Arc<SqliteStore>,
    /// A connection with the settings that the `sqlite3` shell would have: foreign keys and
    /// recursive triggers are off.
    plain: Mutex<SqliteConnection>,
    _folder: TempDir,
}

impl SqliteDb {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.db");
        let settings = DatabaseSettings {
            url: format!("sqlite://{}", path.display()),
            ..DatabaseSettings::default()
        };
        let store = Arc::new(SqliteStore::open(&settings).await.unwrap());
        let plain = SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(false)
            .connect()
            .await
            .unwrap();
        SqliteDb { store, plain: Mutex::new(plain), _folder: folder }
    }
}

#[async_trait::async_trait]
impl TestDb for SqliteDb {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn plain(&self, sql: &str) {
        let mut plain = self.plain.lock().await;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *plain)
            .await
            .unwrap_or_else(|e| panic!("{e}: {sql}"));
    }

    async fn number(&self, sql: &str) -> i64 {
        let mut plain = self.plain.lock().await;
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut *plain)
            .await
            .unwrap_or_else(|e| panic!("{e}: {sql}"))
    }

    fn id(&self, id: Uuid) -> String {
        format!("x'{}'", id.simple())
    }

    fn new_id(&self) -> &'static str {
        "randomblob(16)"
    }

    fn instant(&self, ms: &str) -> String {
        format!("({ms})")
    }
}
