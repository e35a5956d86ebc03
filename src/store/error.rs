//! Errors between the service and its database, grouped by what the caller can do about them.

use std::sync::Arc;

use jiff::civil::Date;
use uuid::Uuid;

/// What caused an error of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// What the driver reported.
    #[error("{}", said(.0))]
    Driver(Arc<sqlx::Error>),
    /// The database did not answer in the time that this service gives it.
    #[error("it did not answer in time")]
    NoAnswer,
    /// What this service found out itself, with the remedy.
    #[error("{0}")]
    Found(Arc<str>),
}

/// What the driver reported, in the server's words. The driver itself adds a number to them, of a
/// line of the server's own source.
pub fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(of) => of.message().to_owned(),
        other => other.to_string(),
    }
}

impl Cause {
    /// A cause in words, which name the remedy.
    pub fn found(words: impl Into<Arc<str>>) -> Self {
        Cause::Found(words.into())
    }
}

/// Connections to a Postgres primary beside those of the pool: the server registry's, and the
/// liveness.
pub const MORE_CONNECTIONS: u32 = 2;

/// Clients do not see these errors as they are: `http/problem.rs` decides what a client may read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// There is no connection, or it broke. A later try may work.
    #[error("the database cannot be reached: {0}")]
    Unavailable(#[source] Cause),
    /// The connection broke during the commit, and the database could not be asked in time for the
    /// outcome.
    #[error("the database was lost during a commit, and whether it took place is not known: {0}")]
    InDoubt(#[source] Cause),
    /// Another transaction holds a lock, or a statement ran out of time.
    #[error("{what}: {0}", what = what_was_late(.0))]
    Locked(#[source] Cause),
    /// A concurrent transaction changed what this one was based on. The same work may be tried
    /// again at once.
    #[error("a concurrent transaction interfered")]
    Conflict,
    /// The database is in another epoch than the one that is served, or has lost a watermark. The
    /// next drain snapshot notices that as well; a later try then works.
    #[error(
        "the database is in another epoch than the one that is served (a failover, or a backup \
         restored); the next drain snapshot enters it"
    )]
    OtherEpoch,
    /// A constraint of the schema refused the values.
    #[error("the database refused the values: {0}")]
    Refused(#[source] Cause),
    /// The disk is full or cannot be written.
    #[error("the database cannot write: {0}")]
    Full(#[source] Cause),
    /// The database failed internally, as it may for a while after its disk was full. A later try
    /// may work.
    #[error("the database failed within itself: {0}")]
    Internal(#[source] Cause),
    /// The migrations of this release do not fit the database; it says why.
    #[error("the migrations cannot be applied: {0}")]
    Migration(String),
    /// `[sources]` does not fit the database, or this installation; it says why.
    #[error("the mapping cannot be used: {0}")]
    Mapping(String),
    /// A command has not done what it was asked for; it says why.
    #[error("{0}")]
    NotDone(String),
    /// Another server was started later with another mapping.
    #[error(
        "another server of this installation was started later with another [sources]: this one \
         reads and writes nothing of the mapped tables, and serves what is stored; give all \
         servers the same [sources], and start this one again"
    )]
    Superseded,
    /// Stored data that this release cannot read.
    #[error("the database holds what this release cannot read: {0}")]
    Unreadable(String),
    /// A difference that was added gives other figures than the sources. Only where
    /// `refresh.verify_differences` is on.
    #[error(
        "the difference added to facility {facility_id}, {date}, gives other figures than its \
         sources; refresh.verify_differences = \"off\" applies it all the same"
    )]
    WrongDifference {
        /// The facility.
        facility_id: Uuid,
        /// The day.
        date: Date,
    },
    /// A part of this service panicked. It says nothing about the database.
    #[error("a part of the service panicked; the log says which")]
    Panicked,
    /// Any other failure of the database.
    #[error("the database failed: {0}")]
    Failed(#[source] Cause),
}

impl StoreError {
    /// Whether any other request to the database would fail now as well.
    pub fn is_of_the_whole_database(&self) -> bool {
        match self {
            StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Full(_) => true,
            // An error that the database itself reports is about that one statement.
            StoreError::Failed(Cause::Driver(error)) => {
                !matches!(**error, sqlx::Error::Database(_))
            }
            StoreError::Failed(_) => true,
            _ => false,
        }
    }

    /// Whether the server cannot compute an expression on a row: a division by zero, a value that
    /// is out of range or none of its type, an error that a function raises.
    pub fn is_of_rows(&self) -> bool {
        let (StoreError::Refused(Cause::Driver(error)) | StoreError::Failed(Cause::Driver(error))) =
            self
        else {
            return false;
        };
        let code = error.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| {
            code.len() == 5 && ["21", "22", "38", "39", "P0"].iter().any(|of| code.starts_with(of))
        })
    }

    /// A short word for logs, metrics and `/health/ready`. It contains no data.
    pub const fn class(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::InDoubt(_) => "in_doubt",
            StoreError::Locked(_) => "locked",
            StoreError::Conflict => "conflict",
            StoreError::OtherEpoch => "other_epoch",
            StoreError::Refused(_) => "refused",
            StoreError::Full(_) => "full",
            StoreError::Internal(_) => "internal",
            StoreError::Migration(_) => "migration",
            StoreError::Mapping(_) => "mapping",
            StoreError::NotDone(_) => "not_done",
            StoreError::Superseded => "superseded",
            StoreError::Unreadable(_) => "unreadable",
            StoreError::WrongDifference { .. } => "wrong_difference",
            StoreError::Panicked => "panicked",
            StoreError::Failed(_) => "failed",
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error;
        let error = Arc::new(error);
        let cause = Cause::Driver(error.clone());
        let Error::Database(database) = &*error else {
            return match &*error {
                Error::Io(_)
                | Error::Tls(_)
                | Error::PoolTimedOut
                | Error::PoolClosed
                | Error::WorkerCrashed
                | Error::Protocol(_) => StoreError::Unavailable(cause),
                // SQLite has ended a transaction by itself, for example on a full disk, but the
                // driver still counts it as open.
                Error::BeginFailed | Error::InvalidSavePointStatement => {
                    StoreError::Unavailable(cause)
                }
                Error::ColumnDecode { .. } | Error::Decode(_) => {
                    StoreError::Unreadable(error.to_string())
                }
                _ => StoreError::Failed(cause),
            };
        };
        // Postgres reports SQLSTATE (five characters); SQLite reports result codes (numbers, in
        // which the low byte is the primary code).
        let code = database.code().unwrap_or_default().into_owned();
        if let (Ok(number), true) = (code.parse::<u32>(), code.len() < 5) {
            return match number & 0xff {
                5 | 6 => StoreError::Locked(cause),
                // 4: a statement was running when SQLite ended its transaction. 17: the tables were
                // just changed.
                4 | 17 => StoreError::Conflict,
                8 | 13 => StoreError::Full(cause),
                7 | 10 | 11 | 14 | 26 => StoreError::Unavailable(cause),
                // Other processes got the lock first, several times.
                15 => StoreError::Locked(cause),
                19 => StoreError::Refused(cause),
                // SQLite has ended a transaction by itself, for example on a full disk.
                1 if database.message().ends_with("no transaction is active") => {
                    StoreError::Internal(cause)
                }
                _ => StoreError::Failed(cause),
            };
        }
        match code.as_str() {
            "55P03" | "57014" => StoreError::Locked(cause),
            // 25P03: this process did nothing within a transaction for so long that the server has
            // ended it.
            "40001" | "40P01" | "25P03" => StoreError::Conflict,
            "53100" => StoreError::Full(cause),
            // The server cannot use its own files, for example because their disk became read-only.
            // The error for a right that our role lacks has another text.
            "42501" if database.message().starts_with("could not ") => StoreError::Full(cause),
            "0A000" if database.message().starts_with("cached plan") => StoreError::Conflict,
            "25006" => refuses_writes(database.message()),
            "0A000" if database.message().ends_with("mode during recovery") => {
                refuses_writes(database.message())
            }
            "53300" => too_many_connections(database.message()),
            _ => match code.get(..2) {
                Some("08" | "57" | "53" | "28" | "3D" | "58") => StoreError::Unavailable(cause),
                Some("22" | "23") => StoreError::Refused(cause),
                // Pages that cannot be read, or a connection in another state than expected.
                Some("XX" | "25" | "26") => StoreError::Internal(cause),
                _ => StoreError::Failed(cause),
            },
        }
    }
}

/// What could not be had in time: a lock, or the end of a statement.
fn what_was_late(cause: &Cause) -> &'static str {
    let Cause::Driver(error) = cause else { return "a database lock could not be had in time" };
    match error.as_database_error() {
        Some(error) if error.code().as_deref() == Some("57014") => {
            if error.message().contains("statement timeout") {
                "a statement took longer than database.statement_timeout_ms allows"
            } else {
                "a statement was cancelled"
            }
        }
        _ => "a database lock could not be had in time",
    }
}

/// The server is a standby, or was set to refuse writes.
fn refuses_writes(message: &str) -> StoreError {
    StoreError::Unavailable(Cause::found(format!(
        "{message}: the server is a standby, or was set to refuse writes; database.url must lead \
         to the primary"
    )))
}

/// The role, the database or the server grants no further connection.
fn too_many_connections(message: &str) -> StoreError {
    StoreError::Unavailable(Cause::found(format!(
        "{message}: each server of this service opens up to database.max_connections + \
         {MORE_CONNECTIONS} connections; lower that setting, or raise the limit (ALTER ROLE … \
         CONNECTION LIMIT, the same of ALTER DATABASE, or max_connections)"
    )))
}
