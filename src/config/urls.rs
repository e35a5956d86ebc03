//! URLs of databases and of Redis: finding mistakes in them, and showing them without passwords.

use std::str::FromStr;

use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use super::SettingsError;

/// The characters that end a part of a URL, or may be understood so, each with the escape to write
/// for it in a user name or a password.
const ESCAPES: [(char, &str); 8] = [
    ('/', "%2F"),
    ('?', "%3F"),
    ('#', "%23"),
    ('@', "%40"),
    (':', "%3A"),
    ('[', "%5B"),
    (']', "%5D"),
    (' ', "%20"),
];

/// Whether a URL is one of Postgres.
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Checks a Postgres URL without connecting. The error names `key` and shows no password.
pub fn check_postgres(key: &str, variable: &str, url: &str) -> Result<(), SettingsError> {
    check_escapes(key, variable, url)?;
    PgConnectOptions::from_str(url)
        .map(drop)
        .map_err(|error| unreadable(key, url, error, "postgres://user:password@host:port/database"))
}

/// Checks the URL of an SQLite file without opening it. The error names `key`.
pub fn check_sqlite(key: &str, url: &str) -> Result<(), SettingsError> {
    SqliteConnectOptions::from_str(url)
        .map(drop)
        .map_err(|error| unreadable(key, url, error, "sqlite://PATH"))
}

fn unreadable(key: &str, url: &str, error: sqlx::Error, right: &str) -> SettingsError {
    let why = match error {
        sqlx::Error::Configuration(why) => why.to_string(),
        error => error.to_string(),
    };
    SettingsError::new(
        key,
        &redacted(url),
        &format!("cannot be read ({why}); write {right}, with a % of a password as %25"),
    )
}

/// Refuses a URL with an unescaped character in the user name or the password that ends that part.
/// The text after the character would be read as a port, a database or nothing. The text before it
/// would be read as a host, and such a host may even exist.
pub fn check_escapes(key: &str, variable: &str, url: &str) -> Result<(), SettingsError> {
    let Some(credentials) = cut_short(url) else { return Ok(()) };
    // The first colon separates the user name from the password and needs no escape.
    let text = credentials.replacen(':', "", 1);
    let seen = ESCAPES.iter().filter(|(character, _)| text.contains(*character));
    let seen: Vec<String> =
        seen.map(|(character, escape)| format!("{character:?} as {escape}")).collect();
    let right = format!(
        "in a user name or a password, write {} (percent-encoding), in {key} as in {variable}",
        seen.join(", ")
    );
    Err(SettingsError::new(key, &redacted(url), &right))
}

/// The user name and password of a URL that, read by the rules, ends within them.
fn cut_short(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#'])?);
    let is_cut = tail.split_once('@').is_some_and(|(before, behind)| {
        // A database name may contain an @, and so may a value in the query.
        let is_odd = match before.split_once('?') {
            Some((_, query)) => !query.contains('='),
            None => behind.split('?').next().is_some_and(|name| name.contains('/')),
        };
        is_odd || has_odd_port(authority) || before.contains('#')
    });
    match (is_cut, tail.find('#')) {
        (true, _) => rest.rfind('@').map(|end| &rest[..end]),
        // Databases and Redis have no fragments: the URL parser would silently drop the text after
        // the `#`.
        (false, Some(at)) => Some(&tail[at..=at]),
        (false, None) => None,
    }
}

/// Whether a colon comes before a text that is not a port.
fn has_odd_port(authority: &str) -> bool {
    let place = authority.rsplit('@').next().unwrap_or_default();
    let behind_host = place.rsplit(']').next().unwrap_or_default();
    behind_host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.parse::<u16>().is_err())
}

/// A text with its password replaced by `***`, even when it is not a valid URL. In several URLs
/// separated by commas, everything between the first password and the last is hidden.
pub fn redacted(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let start = url.find("://").map_or(0, |at| at + 3);
    let hidden = match url[start..].rfind('@').map(|at| start + at) {
        Some(at) => match url[start..at].find(':') {
            Some(colon) => format!("{}:***{}", &url[..start + colon], &url[at..]),
            None => url.to_owned(),
        },
        // Without an @, the user may have forgotten the host; the part after the colon may be a
        // password.
        None if has_odd_port(
            url[start..].split(['/', '?', '#', ',']).next().unwrap_or_default(),
        ) && start > 0 =>
        {
            let colon = url[start..].find(':').map_or(url.len(), |at| start + at);
            format!("{}:***", &url[..colon])
        }
        None => url.to_owned(),
    };
    match hidden.find("password=") {
        Some(at) => {
            let (before, value) = hidden.split_at(at + "password=".len());
            let end = value.find('&').unwrap_or(value.len());
            format!("{before}***{}", &value[end..])
        }
        None => hidden,
    }
}

#[cfg(test)]
#[path = "urls_tests.rs"]
mod tests;
