//! Tests of `urls.rs`.

use super::*;

fn told(url: &str) -> String {
    check_postgres("database.url", "DATABASE_URL", url)
        .map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn what_ends_a_password_too_early_is_named_with_what_stands_for_it() {
    for (password, escapes) in [
        ("se#cret", "'#' as %23"),
        ("12#secret", "'#' as %23"),
        ("se/cret", "'/' as %2F"),
        ("12/secret", "'/' as %2F"),
        ("se?cret", "'?' as %3F"),
        ("12?secret", "'?' as %3F"),
        ("123456/secret", "'/' as %2F"),
        ("#secret", "'#' as %23"),
        ("se/c@re:t#", "'/' as %2F, '#' as %23, '@' as %40, ':' as %3A"),
        ("se?c=[re t]", "'?' as %3F, '[' as %5B, ']' as %5D, ' ' as %20"),
        ("se/c?re=t", "'/' as %2F, '?' as %3F"),
    ] {
        let shown = "bad setting: database.url = postgres://user:***@host:5432/db: in a user \
                         name or a password, write ";
        let want =
            format!("{shown}{escapes} (percent-encoding), in database.url as in DATABASE_URL");
        assert_eq!(told(&format!("postgres://user:{password}@host:5432/db")), want, "{password}");
        assert!(
            check_escapes("redis.url", "REDIS_URL", &format!("redis://:{password}@host:6379/0"))
                .is_err(),
            "{password}"
        );
    }
    assert!(told("postgres://us#er:secret@host/db").contains("'#' as %23"));
    assert!(
        told("postgres://host/db?password=sec#ret")
            .contains("password=***: in a user name or a password, write '#' as %23")
    );
    assert!(
        told("postgres://user:secret").contains("user:***: cannot be read (invalid port number)")
    );
    assert!(told("postgres://user:%ff@host/db").contains("with a % of a password as %25"));
}

#[test]
fn what_can_be_meant_only_as_it_stands_is_taken() {
    for url in [
        "postgres://user:pass@host/db",
        "postgres://user:p@s:s%zz[]^| \"w@host:5432/db?sslmode=require",
        "postgres://user:%23%2F%3F%40@host/db",
        "postgres://host",
        "postgres://host/db@home",
        "postgres://host:5432/db@home?application_name=a/b@c",
        "postgres:///db?host=/var/run/postgresql",
        "postgres:///db?host=/var/run/postgresql&user=me@realm&password=a/b@c/d",
        "postgres://host:5432?user=me@realm",
        "postgres://host:5432/db?user=me@realm/x",
        "postgres://%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://[::1]:5432/db",
        "postgresql://user:pass@[::1]/db",
    ] {
        assert_eq!(told(url), "", "{url}");
    }
}

#[test]
fn a_password_is_shown_nowhere() {
    for (url, want) in [
        ("postgres://user:secret@host/db", "postgres://user:***@host/db"),
        ("postgres://user:sec@ret@host/db", "postgres://user:***@host/db"),
        ("postgres://user:secret", "postgres://user:***"),
        ("postgres://user:sec/ret", "postgres://user:***"),
        ("user:secret@host/db", "user:***@host/db"),
        ("postgres:user:secret@host/db", "postgres:***@host/db"),
        ("postgres://host/db?password=secret", "postgres://host/db?password=***"),
        ("postgres://host/db?password=secret&user=me", "postgres://host/db?password=***&user=me"),
        ("postgres://host:5432/db", "postgres://host:5432/db"),
        ("postgres://[::1]:5432/db", "postgres://[::1]:5432/db"),
        ("localhost:6379", "localhost:6379"),
        ("sqlite:data/a:b@c.db", "sqlite:data/a:b@c.db"),
    ] {
        assert_eq!(redacted(url), want);
    }
}
