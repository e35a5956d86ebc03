//! Looks at a mapping on its database, before anything is made there: what each list reaches, and
//! what a refresh costs.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use super::{
    doubts, failing_list,
    figures::{self, Branch},
    lists::{self, ListOfRows},
    misfit, notice, spare_rights, zones,
};
use crate::{
    config::{DatabaseSettings, sources::SourcesSettings},
    store::{
        Result,
        postgres::{
            connect,
            home::{Home, quoted},
            requirements,
            session::WAIT_LITTLE,
        },
    },
};

/// What a mapping finds in its database.
#[derive(Debug)]
pub struct Checked {
    /// The facilities.
    pub facilities: FacilitiesChecked,
    /// At a standby: for how many seconds it has replayed no transaction; `None` there where it has
    /// replayed none since its start.
    pub standby: Option<Option<i64>>,
    /// Time zones whose rules differ between the server and this release, in words.
    pub zones: Option<String>,
    /// Publications that would publish what `adopt install` makes, in words.
    pub publications: Vec<String>,
    /// What the role of this command may do beyond what serving needs, in words.
    pub spare_rights: Vec<String>,
    /// What triggers would notice; or the words why they cannot watch this mapping.
    pub triggers: std::result::Result<TriggersChecked, String>,
    /// What fits the database, and perhaps means something else than it should: each list with the
    /// words.
    pub doubts: Vec<(String, String)>,
    /// The lists, in the order of the mapping; or the words why one does not fit.
    pub lists: Vec<(String, std::result::Result<ListChecked, String>)>,
}

/// What triggers would notice.
#[derive(Debug, Default)]
pub struct TriggersChecked {
    /// The tables that they would watch.
    pub watched: Vec<String>,
    /// Those of them whose changes count for every facility, with the reason.
    pub of_everybody: Vec<(String, String)>,
    /// Those with partitions: rows that MERGE moves between these are in no transition table.
    pub of_merges: Vec<String>,
    /// Tables that a crash of the server empties.
    pub unlogged: Vec<String>,
    /// Functions whose results change unseen, each with its list.
    pub unseen: Vec<(String, String)>,
}

/// The mapped facilities.
#[derive(Debug)]
pub struct FacilitiesChecked {
    /// All of them.
    pub all: i64,
    /// Rows that have the key of another row.
    pub doubles: i64,
    /// Those without a name.
    pub without_name: i64,
    /// Those without a zone: their days are those of UTC.
    pub without_zone: i64,
    /// Zones that the server does not know, with the number of facilities.
    pub unknown_zones: Vec<(String, i64)>,
}

/// What one list finds.
#[derive(Debug)]
pub struct ListChecked {
    /// The rows that its `where` leaves.
    pub rows: i64,
    /// The facilities that they reach.
    pub facilities: i64,
    /// Rows without a facility, or of one that is not mapped.
    pub of_no_facility: i64,
    /// Rows without a time, which never count. 0 for stock.
    pub without_time: i64,
    /// Rows more than a day ahead. 0 for stock.
    pub ahead: i64,
    /// Texts that are no blood type, the most frequent first, with the number of rows.
    pub unknown_types: Vec<(Option<String>, i64)>,
    /// Facilities, by their keys, with the number of their rows whose quantity is not a number,
    /// infinite, or beyond a billion; those with most first.
    pub odd_rows: Vec<(Option<String>, i64)>,
    /// Rows that reach a facility with a fraction of a unit.
    pub fractions: i64,
    /// The quantity of one of them.
    pub fraction: Option<String>,
    /// The figure today, over all facilities, without a rounding.
    pub today: String,
    /// The figure of the last seven local days, today included. The same as `today` for stock.
    pub week: String,
    /// Tables that the refresh of one facility reads as a whole.
    pub scans: Vec<Scan>,
}

/// A table that a refresh reads as a whole.
#[derive(Debug)]
pub struct Scan {
    /// Its name, as SQL writes it.
    pub table: String,
    /// Its rows, as the planner estimates them.
    pub rows: i64,
    /// The statement that makes the index that is missing; `None` where the mapping does not say
    /// plainly which that is.
    pub index: Option<String>,
    /// Whether such an index is there, and is not used.
    pub has_index: bool,
}

/// A table of fewer rows is read as a whole sooner than by an index.
const FEW_ROWS: i64 = 1_000;
/// The most texts that are listed.
const LISTED: usize = 5;

/// Checks the mapping in one snapshot, in which nothing can be written.
///
/// # Errors
/// The database cannot be reached, or `sources.facilities` does not fit it.
pub async fn check(settings: &DatabaseSettings, sources: &SourcesSettings) -> Result<Checked> {
    let options = connect::options(settings, &settings.url)?;
    let mut connection = PgConnection::connect_with(&options).await?;
    // As in the service, except for its own schema: another path may find other tables, and other
    // operators.
    sqlx::raw_sql("SET statement_timeout = 0; SET search_path = pg_catalog, pg_temp")
        .execute(&mut connection)
        .await?;
    sqlx::raw_sql(WAIT_LITTLE).execute(&mut connection).await?;
    requirements::check_mapped_encoding(&mut connection).await?;
    let schema = Home::new(settings).schema(&mut connection).await?;
    let publications = notice::publications(&mut connection, &schema).await?;
    let zones = match zones::differing(&mut connection, sources).await {
        Ok(zones) => zones,
        Err(error) => {
            return Err(misfit::error(&mut connection, sources, "sources.facilities", &error).await);
        }
    };
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    sqlx::raw_sql("SAVEPOINT list").execute(&mut *tx).await?;
    let facilities = match facilities(&mut tx, sources).await {
        Ok(facilities) => facilities,
        Err(error) => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT list").execute(&mut *tx).await?;
            return Err(misfit::error(&mut tx, sources, "sources.facilities", &error).await);
        }
    };
    let mut lists = Vec::new();
    for (branch, list) in figures::branches(sources).iter().zip(lists::lists(sources)) {
        sqlx::raw_sql("SAVEPOINT list").execute(&mut *tx).await?;
        let checked = one_list(&mut tx, sources, branch, &list).await;
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT list").execute(&mut *tx).await?;
        let checked = match checked {
            Ok(checked) => Ok(checked),
            Err(error) => {
                let words = misfit::words(&mut tx, sources, &branch.name, &error).await;
                Err(match failing_list::facility(&mut tx, sources, &branch.name, error).await {
                    Some(key) => format!("{words} (on a row of the facility {key}, for one)"),
                    None => words,
                })
            }
        };
        lists.push((branch.name.clone(), checked));
    }
    let triggers = notice::triggers_of(&mut tx, sources).await;
    let standby = standby(&mut tx).await?;
    let doubts = doubts::of(&mut tx, sources, triggers.is_ok()).await?;
    let spare_rights = spare_rights::of(&mut tx, sources).await?;
    tx.rollback().await?;
    let triggers = triggers.map_err(|error| error.to_string());
    Ok(Checked { facilities, standby, zones, publications, spare_rights, triggers, lists, doubts })
}

/// For how many seconds a standby has replayed no transaction. A primary is not asked: managed
/// servers refuse that function.
async fn standby(connection: &mut PgConnection) -> sqlx::Result<Option<Option<i64>>> {
    if !sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let replayed = sqlx::query_scalar(
        "SELECT floor(extract(epoch FROM clock_timestamp() - \
         pg_last_xact_replay_timestamp()))::bigint",
    );
    replayed.fetch_one(connection).await.map(Some)
}

async fn facilities(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> sqlx::Result<FacilitiesChecked> {
    let places = lists::places(&sources.facilities);
    let counts = format!(
        "WITH place AS ({places}) SELECT count(DISTINCT key), count(*) - count(DISTINCT key), \
         count(*) FILTER (WHERE name IS NULL), count(*) FILTER (WHERE zone IS NULL) FROM place"
    );
    let row = sqlx::query(AssertSqlSafe(counts)).fetch_one(&mut *connection).await?;
    let zones = format!(
        "WITH place AS ({places}) SELECT zone, count(*) FROM place WHERE zone IS NOT NULL AND \
         lower(zone COLLATE pg_catalog.\"C\") NOT IN (SELECT lower(name COLLATE pg_catalog.\"C\") \
         FROM pg_timezone_names) GROUP BY 1 ORDER BY 2 DESC"
    );
    let unknown_zones = sqlx::query_as(AssertSqlSafe(zones)).fetch_all(connection).await?;
    Ok(FacilitiesChecked {
        all: row.try_get(0)?,
        doubles: row.try_get(1)?,
        without_name: row.try_get(2)?,
        without_zone: row.try_get(3)?,
        unknown_zones,
    })
}

async fn one_list(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    branch: &Branch,
    list: &ListOfRows,
) -> sqlx::Result<ListChecked> {
    let counts = list.counts(&sources.facilities);
    let row = sqlx::query(AssertSqlSafe(counts)).fetch_one(&mut *connection).await?;
    let unknown = list.unknown_types(LISTED);
    let unknown_types = match unknown {
        Some(unknown) => sqlx::query_as(AssertSqlSafe(unknown)).fetch_all(&mut *connection).await?,
        None => Vec::new(),
    };
    let odd_rows =
        sqlx::query_as(AssertSqlSafe(list.odd_rows(LISTED))).fetch_all(&mut *connection).await?;
    let explain =
        format!("EXPLAIN (FORMAT JSON, VERBOSE) {}", branch.of_any_facility(&sources.facilities));
    let plan: PgRow = sqlx::query(AssertSqlSafe(explain)).fetch_one(&mut *connection).await?;
    let plan: sqlx::types::Json<Value> = plan.try_get(0)?;
    let mut found = Vec::new();
    find_scans(&plan.0, &mut found);
    let mut scans = Vec::new();
    for (table, alias) in found {
        scans.extend(scan(connection, list, table, &alias).await?);
    }
    Ok(ListChecked {
        rows: row.try_get(0)?,
        facilities: row.try_get(1)?,
        of_no_facility: row.try_get(2)?,
        without_time: row.try_get(3)?,
        ahead: row.try_get(4)?,
        today: row.try_get(5)?,
        week: row.try_get(6)?,
        fractions: row.try_get(7)?,
        fraction: row.try_get(8)?,
        unknown_types,
        odd_rows,
        scans,
    })
}

/// What is to be said of a table that a refresh reads as a whole; nothing of a small one.
async fn scan(
    connection: &mut PgConnection,
    list: &ListOfRows,
    table: String,
    alias: &str,
) -> sqlx::Result<Option<Scan>> {
    let rows: f32 =
        sqlx::query_scalar("SELECT reltuples FROM pg_class WHERE oid = $1::text::regclass")
            .bind(&table)
            .fetch_one(&mut *connection)
            .await?;
    let rows = rows as i64;
    if rows <= FEW_ROWS {
        return Ok(None);
    }
    let columns = list.index_columns(alias);
    let indexes: Vec<(Vec<String>,)> = sqlx::query_as(
        "SELECT ARRAY(SELECT quote_ident(a.attname::text) FROM unnest(i.indkey::smallint[]) WITH \
         ORDINALITY AS k (number, nth) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum \
         = k.number ORDER BY k.nth) FROM pg_index i WHERE i.indrelid = $1::text::regclass AND \
         i.indisvalid AND i.indpred IS NULL",
    )
    .bind(&table)
    .fetch_all(connection)
    .await?;
    let has_index = columns
        .as_ref()
        .is_some_and(|columns| indexes.iter().any(|(known,)| known.starts_with(columns)));
    let index = columns
        .map(|columns| format!("CREATE INDEX CONCURRENTLY ON {table} ({});", columns.join(", ")));
    Ok(Some(Scan { table, rows, index, has_index }))
}

/// The tables that a plan reads as a whole, with their aliases.
fn find_scans(plan: &Value, found: &mut Vec<(String, String)>) {
    match plan {
        Value::Array(parts) => parts.iter().for_each(|part| find_scans(part, found)),
        Value::Object(node) => {
            if node.get("Node Type").and_then(Value::as_str) == Some("Seq Scan")
                && let [Some(schema), Some(table), Some(alias)] =
                    ["Schema", "Relation Name", "Alias"]
                        .map(|name| node.get(name).and_then(Value::as_str))
            {
                found.push((format!("{}.{}", quoted(schema), quoted(table)), alias.to_owned()));
            }
            node.values().for_each(|part| find_scans(part, found));
        }
        _ => {}
    }
}
