//! Opens the file: the folder, the two pools, the migrations.

use std::{
    io::ErrorKind,
    path::Path,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{SqliteStore, file::DatabaseFile, triggers};
use crate::{
    config::{self, DatabaseSettings},
    store::{Cause, Result, StoreError, kept_connection::KeptConnection, tables},
};

impl SqliteStore {
    /// Opens the file of `settings.url`, and brings its tables up to date. Creates the file and its
    /// folder when they are missing.
    ///
    /// # Errors
    /// `Unavailable`, with the path and the remedy, when the file cannot be opened. `Migration`
    /// when it is from a newer release. `Locked` when its tables have to change and another program
    /// wrote during all of `acquire_timeout_ms`.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self> {
        let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
        let options = SqliteConnectOptions::from_str(&settings.url)
            .map_err(|e| {
                unusable(format!("database.url = {}: {e}; write sqlite://PATH", settings.url))
            })?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(acquire_timeout);
        let path = options.get_filename().to_owned();
        if settings.url.contains(":memory:") || settings.url.contains("mode=memory") {
            return Err(unusable(
                "database.url names a database in memory: the service keeps its data in a file, \
                 write sqlite://PATH"
                    .into(),
            ));
        }
        prepare(&path)?;
        look_first(&options, acquire_timeout).await?;

        let writing = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(
            match settings.sqlite_synchronous {
                config::SqliteSynchronous::Normal => SqliteSynchronous::Normal,
                config::SqliteSynchronous::Full => SqliteSynchronous::Full,
            },
        );
        // Kept open for good, so that its statements stay prepared and the log beside the file
        // stays there for the readers.
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .after_release(|connection, _| Box::pin(is_usable(connection)));
        let writer = connect(pool.clone().max_connections(1), writing, acquire_timeout)
            .await
            .map_err(|e| cannot_open(&path, e))?;
        migrate(&writer).await.map_err(|e| cannot_migrate(&path, e))?;
        // Connected when first used, so that a start does not wait for them.
        let readers = pool
            .max_connections(settings.sqlite_readers)
            .connect_lazy_with(options.create_if_missing(false).read_only(true));
        let file =
            DatabaseFile::opened(&path).map_err(|e| cannot_open(&path, sqlx::Error::Io(e)))?;
        Ok(SqliteStore {
            writer,
            readers,
            kept: KeptConnection::default(),
            write_timeout: acquire_timeout,
            written: Arc::default(),
            file: Arc::new(file),
            trusted: Arc::default(),
        })
    }
}

/// Whether there is a file with something in it.
pub(in crate::store) fn has_file(settings: &DatabaseSettings) -> bool {
    let options = SqliteConnectOptions::from_str(&settings.url);
    let file = options.ok().and_then(|options| std::fs::metadata(options.get_filename()).ok());
    file.is_some_and(|file| file.len() > 0)
}

/// Refuses another program's file before anything in it changes. Even the switch to WAL would last.
async fn look_first(options: &SqliteConnectOptions, timeout: Duration) -> Result<()> {
    let path = options.get_filename();
    // An empty file belongs to no program. The connection that writes creates a missing one.
    if !std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(timeout);
    let pool = connect(pool, options.clone().create_if_missing(false), timeout)
        .await
        .map_err(|e| cannot_open(path, e))?;
    let found = found(&pool, path).await;
    pool.close().await;
    found.map_err(|e| cannot_open(path, e))?.refuse_foreign_tables(&MIGRATIONS)
}

async fn found(pool: &SqlitePool, path: &Path) -> Result<tables::ExistingTables, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    )
    .fetch_all(pool)
    .await?;
    let applied = match names.iter().any(|name| name == "_sqlx_migrations") {
        true => {
            Some(sqlx::query_scalar("SELECT version FROM _sqlx_migrations").fetch_all(pool).await?)
        }
        false => None,
    };
    let created = tables::created(&MIGRATIONS);
    Ok(tables::ExistingTables {
        place: format!("the file {}", path.display()),
        applied,
        // SQLite compares names without regard to case.
        taken: names
            .into_iter()
            .filter(|name| created.iter().any(|ours| ours.eq_ignore_ascii_case(name)))
            .collect(),
        remedy: "set DATABASE_URL to a file of the service's own, which need not exist yet",
    })
}

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Whether a connection can begin another transaction. SQLite ends a transaction by itself when the
/// disk is full or fails. The driver's ROLLBACK is then an error; after that the driver takes the
/// transaction for open for ever, and refuses to begin one.
async fn is_usable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    connection.ping().await?; // runs after the rollback of a dropped transaction
    Ok(!connection.is_in_transaction())
}

/// Connects. Waits `timeout` at most for another process that is switching the same new file to
/// WAL, because SQLite does not wait for that.
async fn connect(
    pool: SqlitePoolOptions,
    options: SqliteConnectOptions,
    timeout: Duration,
) -> Result<SqlitePool, sqlx::Error> {
    let started = Instant::now();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(e)
                if started.elapsed() < timeout
                    && e.as_database_error()
                        .is_some_and(|e| e.message() == "database is locked") =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            done => return done,
        }
    }
}

/// Brings the tables up to date: all missing migrations or none, and one process at a time. A file
/// that has them all is not locked, so that a start does not wait for another program's long write.
async fn migrate(writer: &SqlitePool) -> Result<(), MigrateError> {
    let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
        .fetch_one(writer)
        .await
        .unwrap_or(0);
    if applied >= MIGRATIONS.iter().count() as i64 {
        return MIGRATIONS.run(writer).await;
    }
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    // `run` over a borrowed connection makes a future that cannot be sent between threads (see
    // sqlx's own note on `run_direct`).
    let trusted = triggers::are_trusted(&mut transaction).await?;
    MIGRATIONS.run_direct(None, &mut *transaction, false).await?;
    if trusted {
        triggers::trust(&mut transaction).await?;
    }
    Ok(transaction.commit().await?)
}

/// Creates the folder, and checks that an existing file is writable: SQLite would open it
/// read-only, and fail at the first write.
fn prepare(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| {
            unusable(format!("the folder {} cannot be created ({e}); {REMEDY}", folder.display()))
        })?;
    }
    match std::fs::OpenOptions::new().append(true).open(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(unusable(format!(
            "the database file {} cannot be opened or written ({e}); {REMEDY}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

const REMEDY: &str =
    "make it writable for the user that runs the service, or set DATABASE_URL to another place";

fn cannot_open(path: &Path, error: sqlx::Error) -> StoreError {
    // Result code 26 is SQLITE_NOTADB.
    if error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "26") {
        return unusable(format!(
            "{} is not an SQLite database: set DATABASE_URL to one, or to a file that does not \
             exist yet",
            path.display()
        ));
    }
    match StoreError::from(error) {
        StoreError::Unavailable(e) | StoreError::Full(e) => unusable(format!(
            "the database file {} cannot be opened or written ({e}); {REMEDY}",
            path.display()
        )),
        other => other,
    }
}

fn cannot_migrate(file: &Path, error: MigrateError) -> StoreError {
    let path = file.display();
    match error {
        MigrateError::VersionMissing(version) => StoreError::Migration(format!(
            "{path} was written by a newer release (its tables are at {version}, which this \
             release does not know): start that release, or restore a copy made before it"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Migration(format!(
            "{path} had migration {version} applied in another form than this release has it"
        )),
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => {
            match cannot_open(file, e) {
                StoreError::Failed(e) | StoreError::Refused(e) => {
                    StoreError::Migration(format!("{path}: {e}"))
                }
                class => class,
            }
        }
        other => StoreError::Migration(format!("{path}: {other}")),
    }
}

/// The error for a place that cannot be used, with what to do about it.
fn unusable(message: String) -> StoreError {
    StoreError::Unavailable(Cause::found(message))
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
