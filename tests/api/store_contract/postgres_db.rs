//! The databases of the contract on Postgres: each case has one of its own in the cluster that all
//! tests share.

use std::sync::Arc;

use facility_summary::{
    config::DatabaseSettings,
    store::{Store, postgres::PostgresStore},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::TestDb;
use crate::support::postgres::fresh_database;

pub struct PostgresDb {
    store: Arc<PostgresStore>,
    /// A connection with the settings that `psql` would have.
    plain: Mutex<PgConnection>,
}

impl PostgresDb {
    pub async fn open() -> Self {
        let url = fresh_database().await;
        // Many cases run at the same time. Together they must stay below the connections that the
        // cluster allows.
        Self::with(DatabaseSettings {
            url,
            min_connections: 0,
            max_connections: 8,
            ..DatabaseSettings::default()
        })
        .await
    }

    pub async fn with(settings: DatabaseSettings) -> Self {
        let plain = Mutex::new(PgConnection::connect(&settings.url).await.unwrap());
        let store = Arc::new(PostgresStore::open(&settings, None).await.unwrap());
        PostgresDb { store, plain }
    }
}

#[async_trait::async_trait]
impl TestDb for PostgresDb {
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
        format!("'{id}'::uuid")
    }

    fn new_id(&self) -> &'static str {
        "gen_random_uuid()"
    }

    fn instant(&self, ms: &str) -> String {
        format!("to_timestamp(({ms}) / 1000.0::float8)")
    }
}
