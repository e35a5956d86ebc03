//! Opening the file: the folder, the two pools, the migrations.

use std::{path::Path, str::FromStr, time::Duration};

use sqlx::{
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::SqliteStore;
use crate::{
    config::{self, DatabaseSettings},
    store::{Result, StoreError},
};

impl SqliteStore {
    /// Opens the file of `settings.url`, creating it and its folder where they are missing, and brings its tables up to date.
    ///
    /// # Errors
    /// `Unavailable` with the path and the remedy where the file cannot be had, `Migration` where it is from a newer release.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self> {
        let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
        let options = SqliteConnectOptions::from_str(&settings.url)
            .map_err(|e| unusable(format!("database.url = {}: {e}; write sqlite://PATH", settings.url)))?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(acquire_timeout);
        let path = options.get_filename().to_owned();
        if settings.url.contains(":memory:") || settings.url.contains("mode=memory") {
            return Err(unusable(
                "database.url names a database in memory: the service keeps its data in a file, write sqlite://PATH".into(),
            ));
        }
        create_folder(&path)?;

        let writing = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(match settings.sqlite_synchronous {
            config::SqliteSynchronous::Normal => SqliteSynchronous::Normal,
            config::SqliteSynchronous::Full => SqliteSynchronous::Full,
        });
        // Kept for good: its statements stay prepared, and the log beside the file stays in place for the readers.
        let pool =
            SqlitePoolOptions::new().acquire_timeout(acquire_timeout).idle_timeout(None).max_lifetime(None).test_before_acquire(false);
        let writer = pool.clone().max_connections(1).connect_with(writing).await.map_err(|e| cannot_open(&path, e))?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(|e| cannot_migrate(&path, e))?;
        // Connected when first used: a start does not wait for them.
        let readers = pool.max_connections(settings.sqlite_readers).connect_lazy_with(options.create_if_missing(false).read_only(true));
        Ok(SqliteStore { writer, readers, write_timeout: acquire_timeout })
    }
}

fn create_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|e| unusable(format!("the folder {} cannot be created ({e}); {REMEDY}", folder.display())))
}

const REMEDY: &str = "make it writable for the user that runs the service, or set DATABASE_URL to another place";

fn cannot_open(path: &Path, error: sqlx::Error) -> StoreError {
    // Result code 26 is SQLITE_NOTADB.
    if error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == "26") {
        return unusable(format!(
            "{} is not an SQLite database: set DATABASE_URL to one, or to a file that does not exist yet",
            path.display()
        ));
    }
    match StoreError::from(error) {
        StoreError::Unavailable(e) | StoreError::Full(e) => {
            unusable(format!("the database file {} cannot be opened or written ({e}); {REMEDY}", path.display()))
        }
        other => other,
    }
}

fn cannot_migrate(path: &Path, error: MigrateError) -> StoreError {
    let path = path.display();
    match error {
        MigrateError::VersionMissing(version) => StoreError::Migration(format!(
            "{path} was written by a newer release (its tables are at {version}, which this release does not know): \
             start that release, or restore a copy made before it"
        )),
        MigrateError::VersionMismatch(version) => {
            StoreError::Migration(format!("{path} had migration {version} applied in another form than this release has it"))
        }
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => match StoreError::from(e) {
            StoreError::Failed(e) | StoreError::Refused(e) => StoreError::Migration(format!("{path}: {e}")),
            class => class,
        },
        other => StoreError::Migration(format!("{path}: {other}")),
    }
}

/// A place that cannot be used, said so that the reader knows what to do.
fn unusable(message: String) -> StoreError {
    StoreError::Unavailable(sqlx::Error::Configuration(message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &Path) -> DatabaseSettings {
        DatabaseSettings { url: format!("sqlite://{}", path.display()), ..DatabaseSettings::default() }
    }

    async fn refusal(path: &Path) -> StoreError {
        SqliteStore::open(&settings(path)).await.err().expect("the file should have been refused")
    }

    #[tokio::test]
    async fn a_missing_folder_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/summary.db");
        SqliteStore::open(&settings(&path)).await.unwrap().writer.close().await;
        assert!(path.is_file());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let message = refusal(&folder.path().join("file/summary.db")).await.to_string();
        assert!(message.contains("/file cannot be created") && message.contains("DATABASE_URL"), "{message}");
    }

    #[tokio::test]
    async fn a_path_that_is_a_folder_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let message = refusal(folder.path()).await.to_string();
        assert!(message.contains("cannot be opened") && message.contains("DATABASE_URL"), "{message}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter.txt");
        let letter = "Dear reader, ".repeat(1000);
        std::fs::write(&path, &letter).unwrap();
        let message = refusal(&path).await.to_string();
        assert!(message.contains("is not an SQLite database"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
    }

    #[tokio::test]
    async fn a_database_from_a_newer_release_is_refused_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.db");
        let store = SqliteStore::open(&settings(&path)).await.unwrap();
        let newer =
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', true, x'00', 0)";
        sqlx::query(newer).execute(&store.writer).await.unwrap();
        store.writer.close().await;
        let error = refusal(&path).await;
        assert_eq!(error.class(), "migration");
        assert!(error.to_string().contains("newer release"), "{error}");
    }

    #[tokio::test]
    async fn a_second_start_finds_what_the_first_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.db");
        let store = SqliteStore::open(&settings(&path)).await.unwrap();
        sqlx::query("INSERT INTO facilities (id, name) VALUES (randomblob(16), 'North')").execute(&store.writer).await.unwrap();
        crate::store::Store::close(&store).await;
        let store = SqliteStore::open(&settings(&path)).await.unwrap();
        assert_eq!(crate::store::Store::facilities(&store, None).await.unwrap()[0].name, "North");
    }
}
