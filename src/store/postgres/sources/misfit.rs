//! Which key of a list the server does not understand. Its own message is about a statement in
//! which the texts of all keys stand, and whose lines nobody has written.

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgDatabaseError};

use crate::{
    config::sources::{SourcesSettings, TimeKind},
    store::{Cause, StoreError, said},
};

/// The error that a list does not fit the database; or that its tables are locked, so that nobody
/// knows.
pub(super) async fn error(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    list: &str,
    error: &sqlx::Error,
) -> StoreError {
    if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55P03")) {
        return StoreError::Locked(Cause::found(format!("{list}: {}", said(error))));
    }
    let words = words(connection, sources, list, error).await;
    StoreError::Mapping(format!("{list} does not fit the database: {words}"))
}

/// The error of the first list that does not fit; `None` where all do.
pub(super) async fn first(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Option<StoreError> {
    for (list, _) in sources.texts() {
        if let Some(words) = of_keys(connection, sources, &list).await {
            return Some(StoreError::Mapping(format!("{list} does not fit the database: {words}")));
        }
    }
    None
}

/// What does not fit: the key with its line, and what the server says of it.
pub(super) async fn words(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    list: &str,
    error: &sqlx::Error,
) -> String {
    match of_keys(connection, sources, list).await {
        Some(words) => words,
        None => format!("{}: {}", sources.places.named(list), with_hint(error)),
    }
}

/// The first key of the list that does not fit, and what the server says of it.
async fn of_keys(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    list: &str,
) -> Option<String> {
    for (key, probe) in probes(sources, list) {
        let mut tx = connection.begin().await.ok()?;
        let answer = sqlx::raw_sql(AssertSqlSafe(probe)).execute(&mut *tx).await;
        let _ = tx.rollback().await;
        if let Err(error) = answer {
            let place = sources.places.named(&format!("{list}.{key}"));
            return Some(format!("{place}: {}", with_hint(&error)));
        }
    }
    None
}

/// The server's message with its hint, such as the name that was perhaps meant.
fn with_hint(error: &sqlx::Error) -> String {
    let hint = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .and_then(PgDatabaseError::hint);
    match hint {
        Some(hint) => format!("{} ({hint})", said(error)),
        None => said(error),
    }
}

/// A statement for each key of the list, which reads nothing, and fails where the key's text does
/// not fit. The first that fails is of the key that is wrong.
pub(super) fn probes(sources: &SourcesSettings, list: &str) -> Vec<(&'static str, String)> {
    let Some((_, texts)) = sources.texts().into_iter().find(|(name, _)| name == list) else {
        return vec![];
    };
    let from = texts.iter().find(|(key, _)| *key == "from").map_or("", |(_, from)| *from);
    let mut probes = Vec::new();
    for (key, text) in &texts {
        let value = |cast: &str| format!("SELECT ({text}\n){cast} FROM {from}\nLIMIT 0");
        probes.push((
            *key,
            match *key {
                "from" => format!("SELECT 1 FROM {from}\nLIMIT 0"),
                "where" => format!("SELECT 1 FROM {from}\nWHERE ({text}\n)\nLIMIT 0"),
                "quantity" => value("::numeric"),
                "name" | "timezone" | "blood_type" => value("::text"),
                "at" | "expires" => value(cast_of(sources, list)),
                _ => value(""),
            },
        ));
        if *key == "facility" {
            let of = &sources.facilities;
            probes.push((
                "facility",
                format!(
                    "SELECT 1 FROM {from}\nWHERE ({text}\n) = (SELECT ({}\n) FROM {}\nLIMIT \
                     1)\nLIMIT 0",
                    of.key, of.from
                ),
            ));
        }
    }
    probes
}

/// What a time of the list is cast to.
fn cast_of(sources: &SourcesSettings, list: &str) -> &'static str {
    let times = times(sources);
    let kind = times.iter().find(|time| time.list == list).map(|time| TimeKind::parse(time.kind));
    match kind.flatten() {
        Some(TimeKind::Date) => "::date",
        Some(TimeKind::Utc | TimeKind::Local | TimeKind::Zone(_)) => "::timestamp",
        _ => "::timestamptz",
    }
}

/// A time of a list: its key, its text, and what kind it is said to be.
pub(super) struct Time<'s> {
    pub list: String,
    pub key: &'static str,
    pub text: &'s str,
    pub from: &'s str,
    pub kind: &'s str,
}

/// The times of all lists.
pub(super) fn times(sources: &SourcesSettings) -> Vec<Time<'_>> {
    let stock = sources.stock.iter().flatten().enumerate().filter_map(|(nth, of)| {
        Some(Time {
            list: format!("sources.stock[{nth}]"),
            key: "expires",
            text: of.expires.as_ref()?,
            from: &of.from,
            kind: &of.expires_as,
        })
    });
    let mut times: Vec<Time> = stock.collect();
    for (name, list) in [("deliveries", &sources.deliveries), ("requests", &sources.requests)] {
        times.extend(list.iter().flatten().enumerate().map(|(nth, of)| Time {
            list: format!("sources.{name}[{nth}]"),
            key: "at",
            text: &of.at,
            from: &of.from,
            kind: &of.at_as,
        }));
    }
    times
}
