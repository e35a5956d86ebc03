//! The lock of the one server on a file. The server holds a lock on a file beside the database for
//! as long as it serves. Commands do not take it.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
    str::FromStr,
};

use sqlx::sqlite::SqliteConnectOptions;

use crate::config::DatabaseSettings;

/// Why a database file cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerLockError {
    /// Another process serves the file.
    #[error(
        "the database file {} is being served by another process, which holds the lock on {}: an \
         SQLite file has one server; stop that one, or set DATABASE_URL to another file, or to a \
         Postgres database, which may have several",
        .database.display(),
        .lock.display()
    )]
    Taken { database: PathBuf, lock: PathBuf },
    /// The lock file cannot be opened, or cannot be locked.
    #[error(
        "the lock file {} cannot be had ({source}); make it and its folder writable for the user \
         that runs the service",
        .lock.display()
    )]
    Unusable { lock: PathBuf, source: std::io::Error },
}

/// Takes the server lock of the file of `settings.url`, which must be open. Dropping the result, or
/// the end of the process, releases it.
pub fn claim(settings: &DatabaseSettings) -> Result<File, ServerLockError> {
    let database = SqliteConnectOptions::from_str(&settings.url)
        .map(|options| options.get_filename().to_owned())
        .unwrap_or_default();
    let mut lock = database.clone().into_os_string();
    lock.push(".serving");
    let lock = PathBuf::from(lock);
    // The lock file is not deleted at the end: a server that deleted it might delete the next
    // server's lock file.
    match File::options().create(true).append(true).open(&lock) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ServerLockError::Taken { database, lock }),
            Err(TryLockError::Error(source)) => Err(ServerLockError::Unusable { lock, source }),
        },
        Err(source) => Err(ServerLockError::Unusable { lock, source }),
    }
}
