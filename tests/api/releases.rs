//! Replicas of two releases on one database, as in every rolling deploy. The last release's
//! statements must still work after today's migrations. `tests/keep-release.sh` keeps this release
//! under `tests/last_release`; CONTRIBUTING.md has the rule.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use facility_summary::{config::DatabaseSettings, store};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, SqlStr, SqliteConnection, migrate::Migrator,
};

use crate::support::{Service, outside::Outside, plain_sql::texts, postgres::fresh_database};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The statements of the last release in a dialect, by the path under which each was kept.
fn statements(dialect: &str) -> Vec<(String, String)> {
    let kept = Path::new(HERE).join("tests/last_release").join(dialect);
    let mut found = Vec::new();
    for file in sql_files(&kept) {
        let (name, text) = (
            file.display().to_string(),
            std::fs::read_to_string(&file).expect("a kept statement can be read"),
        );
        if file.ends_with("inline.sql") {
            found.extend(
                text.lines().enumerate().map(|(line, statement)| {
                    (format!("{name}:{}", line + 1), statement.to_owned())
                }),
            );
        } else {
            found.push((name, text));
        }
    }
    found
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .expect("tests/keep-release.sh has kept a release")
        .map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "sql"))
        .chain(folders.iter().flat_map(|f| sql_files(f)))
        .collect()
}

/// The migrations of the last release: their files, with the checksum of each.
fn released() -> BTreeMap<String, String> {
    let list =
        std::fs::read_to_string(Path::new(HERE).join("tests/last_release/migrations.sha384"))
            .expect("they are kept");
    list.lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, file)| (file.to_owned(), sum.to_owned()))
        .collect()
}

/// Today's migrations, up to the last release's.
async fn up_to_the_last_release(dialect: &str) -> Migrator {
    let last = released()
        .keys()
        .filter_map(|file| file.strip_prefix(&format!("migrations/{dialect}/"))?[..4].parse().ok())
        .max();
    up_to(dialect, last.expect("the last release has migrations")).await
}

/// Today's migrations, up to the one of this number.
async fn up_to(dialect: &str, last: i64) -> Migrator {
    let today = Migrator::new(Path::new(HERE).join("migrations").join(dialect))
        .await
        .expect("the migrations can be read");
    Migrator {
        migrations: today.iter().filter(|m| m.version <= last).cloned().collect(),
        ..Migrator::DEFAULT
    }
}

async fn migrate_to_today(url: &str) {
    let settings =
        DatabaseSettings { url: url.to_owned(), min_connections: 0, ..DatabaseSettings::default() };
    store::open(&settings, None)
        .await
        .expect("today's migrations apply to the last release's tables")
        .close()
        .await;
}

/// Each column: its type, and whether a row can be inserted without it.
type Columns = BTreeMap<String, (String, bool)>;

async fn columns(url: &str) -> Columns {
    let statement = if url.starts_with("postgres") {
        "SELECT concat_ws(' ', table_name || '.' || column_name, replace(data_type, ' ', '_'),
                          is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES')
           FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> \
         '_sqlx_migrations'"
    } else {
        "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || iif(c.\"notnull\" = 0 OR \
         c.dflt_value IS NOT NULL, 't', 'f')
           FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT \
         LIKE '\\_sqlx%' ESCAPE '\\'"
    };
    let parse = |line: String| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), (words[1].to_owned(), words[2].starts_with('t')))
    };
    texts(url, statement).await.into_iter().map(parse).collect()
}

/// Asserts that a program which knows the columns of `before` can still read and write them.
fn assert_expanded(before: &Columns, now: &Columns) {
    for (column, (kind, optional)) in before {
        let (kind_now, optional_now) = now
            .get(column)
            .unwrap_or_else(|| panic!("{column} was removed, but the last release may use it"));
        assert_eq!(kind, kind_now, "{column} has another type");
        assert!(
            *optional_now || !optional,
            "{column} is required now, but the last release may leave it out"
        );
    }
    let table = |column: &str| column.split('.').next().unwrap_or_default().to_owned();
    let known: Vec<String> = before.keys().map(|column| table(column)).collect();
    for (column, (_, optional)) in now.iter().filter(|(column, _)| !before.contains_key(*column)) {
        assert!(
            *optional || !known.contains(&table(column)),
            "{column} is new and required, but the last release leaves it out"
        );
    }
}

async fn assert_all_prepare<C: Connection>(connection: &mut C, statements: &[(String, String)])
where
    for<'c> &'c mut C: Executor<'c>,
{
    for (name, statement) in statements {
        let statement: SqlStr = sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(statement.clone()));
        if let Err(error) = connection.prepare(statement).await {
            panic!("the last release's {name} does not run on today's tables: {error}");
        }
    }
}

#[tokio::test]
async fn the_last_releases_statements_run_on_todays_tables_on_postgres() {
    let url = fresh_database().await;
    let mut connection = PgConnection::connect(&url).await.expect("Postgres accepts connections");
    up_to_the_last_release("postgres")
        .await
        .run(&mut connection)
        .await
        .expect("the last release's migrations apply");
    let (before, statements) = (columns(&url).await, statements("postgres"));
    assert!(statements.len() > 40, "{}", statements.len());
    assert_all_prepare(&mut connection, &statements).await;
    migrate_to_today(&url).await;
    let mut connection = PgConnection::connect(&url).await.expect("Postgres accepts connections");
    assert_all_prepare(&mut connection, &statements).await;
    assert_expanded(&before, &columns(&url).await);
}

#[tokio::test]
async fn the_last_releases_statements_run_on_todays_tables_on_sqlite() {
    let launch = Service::on_sqlite();
    let url = launch.database_url();
    let mut connection =
        SqliteConnection::connect(&format!("{url}?mode=rwc")).await.expect("a file can be made");
    up_to_the_last_release("sqlite")
        .await
        .run(&mut connection)
        .await
        .expect("the last release's migrations apply");
    let (before, statements) = (columns(url).await, statements("sqlite"));
    assert!(statements.len() > 40, "{}", statements.len());
    assert_all_prepare(&mut connection, &statements).await;
    connection.close().await.expect("it closes");
    migrate_to_today(url).await;
    let mut connection = SqliteConnection::connect(url).await.expect("the file opens");
    assert_all_prepare(&mut connection, &statements).await;
    assert_expanded(&before, &columns(url).await);
}

/// Makes the last release's tables, runs `before` on them, and then today's migrations. Returns
/// whether the triggers count as never off, so that nothing has to be checked again.
async fn is_trusted_after_the_migrations(url: &str, before: &str) -> bool {
    let mut sql = Outside::connect(url).await;
    match &mut sql {
        Outside::Postgres(connection) => {
            up_to_the_last_release("postgres").await.run(connection).await
        }
        Outside::Sqlite(connection) => up_to_the_last_release("sqlite").await.run(connection).await,
    }
    .expect("the last release's migrations apply");
    sql.run(before).await;
    let settings =
        DatabaseSettings { url: url.to_owned(), min_connections: 0, ..DatabaseSettings::default() };
    let store = store::open(&settings, None)
        .await
        .expect("today's migrations apply to the last release's tables");
    let triggers = store.drain_snapshot(0).await.expect("a look").triggers;
    store.close().await;
    triggers.are_trusted()
}

#[tokio::test]
async fn an_upgrade_checks_everything_again_only_if_a_trigger_was_off_before() {
    for (before, trusted) in
        [("SELECT 1", true), ("ALTER TABLE blood_requests DISABLE TRIGGER mark_insert", false)]
    {
        assert_eq!(
            is_trusted_after_the_migrations(&fresh_database().await, before).await,
            trusted,
            "{before}"
        );
    }
    for (before, trusted) in
        [("SELECT 1", true), ("DROP TRIGGER blood_requests_mark_insert", false)]
    {
        let launch = Service::on_sqlite();
        SqliteConnection::connect(&format!("{}?mode=rwc", launch.database_url()))
            .await
            .expect("a file can be made");
        assert_eq!(
            is_trusted_after_the_migrations(launch.database_url(), before).await,
            trusted,
            "{before}"
        );
    }
}

/// Another epoch would drop what all replicas hold.
#[tokio::test]
async fn a_migration_of_the_function_that_tells_the_epoch_begins_no_other_one() {
    const FIRST: i64 = 4;
    let url = fresh_database().await;
    let mut connection = PgConnection::connect(&url).await.expect("Postgres accepts connections");
    up_to("postgres", FIRST).await.run(&mut connection).await.expect("the migrations apply");
    // This session keeps the statement prepared, like a replica that is running.
    let epoch = "SELECT fleet_epoch(salt) FROM fleet";
    let before: String = sqlx::query_scalar(epoch).fetch_one(&mut connection).await.unwrap();
    migrate_to_today(&url).await;
    let after: String = sqlx::query_scalar(epoch).fetch_one(&mut connection).await.unwrap();
    assert_eq!(after, before);
    assert_eq!(texts(&url, epoch).await, [before], "a new session");
}

#[tokio::test]
async fn a_released_migration_is_never_edited() {
    let mut today: BTreeMap<String, String> = BTreeMap::new();
    for dialect in ["postgres", "sqlite"] {
        let folder = format!("migrations/{dialect}");
        let migrator =
            Migrator::new(Path::new(HERE).join(&folder)).await.expect("the migrations can be read");
        for migration in migrator.iter() {
            let sum: String = migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
            today.insert(
                format!(
                    "{folder}/{:04}_{}.sql",
                    migration.version,
                    migration.description.replace(' ', "_")
                ),
                sum,
            );
        }
    }
    let released = released();
    assert!(!released.is_empty());
    for (file, sum) in &released {
        assert_eq!(
            today.get(file),
            Some(sum),
            "{file} is not as it was released: databases that have applied it would refuse to \
             start"
        );
    }
}

#[test]
fn the_release_that_is_kept_is_older_than_this_version() {
    let kept = std::fs::read_to_string(Path::new(HERE).join("tests/last_release/release"))
        .expect("it is kept");
    let version = kept.split(' ').next().expect("a version");
    assert_ne!(
        version,
        env!("CARGO_PKG_VERSION"),
        "tests/keep-release.sh keeps a release once the version is raised above it"
    );
}

#[tokio::test]
async fn two_replicas_that_start_at_once_on_an_empty_database_migrate_once_and_both_serve() {
    let launch = Service::on_postgres().await;
    let (one, other) = tokio::join!(launch.clone().start(), launch.clone().start());
    for replica in [&one, &other] {
        assert_eq!(replica.get("/health/ready").await.status(), 200);
    }
    assert_migrated_once(launch.database_url(), "postgres").await;
}

#[tokio::test]
async fn two_commands_that_start_at_once_on_a_new_file_migrate_once() {
    let launch = Service::on_sqlite();
    let (one, other) = tokio::join!(launch.run(&["migrate"]), launch.run(&["migrate"]));
    for exited in [&one, &other] {
        assert_eq!(exited.code, Some(0), "{}", exited.output);
    }
    assert_migrated_once(launch.database_url(), "sqlite").await;
}

async fn assert_migrated_once(url: &str, dialect: &str) {
    let files = std::fs::read_dir(Path::new(HERE).join("migrations").join(dialect))
        .expect("a folder")
        .count();
    let applied = Outside::connect(url)
        .await
        .number("SELECT count(*) FROM _sqlx_migrations WHERE success")
        .await;
    assert_eq!(applied, files as i64);
}
