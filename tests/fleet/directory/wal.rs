//! The true history, from the database's write-ahead log. A logical replication slot keeps all
//! commits in order, and `test_decoding` returns them as text. It makes no difference which client
//! wrote, and in which way.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use super::{
    seen::TYPES,
    truth::{Activity, Bank, Facility, Truth, Unit},
};

/// The settings that Postgres has to be started with.
pub const SETTINGS: [&str; 3] =
    ["wal_level=logical", "max_replication_slots=10", "max_wal_senders=10"];

const SLOT: &str = "truth";
const TABLES: [&str; 5] =
    ["facilities", "blood_banks", "blood_inventory", "blood_distributions", "blood_requests"];

/// Creates the slot, and returns what the tables hold now. There must be no writers yet.
pub async fn begin(database_url: &str, now_ms: i64) -> Truth {
    let mut connection = connect(database_url).await;
    let make = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')");
    connection
        .execute(AssertSqlSafe(make))
        .await
        .expect("a slot can be made: wal_level is logical");
    let mut truth = Truth::default();
    for table in TABLES {
        let rows = format!("SELECT to_jsonb(t)::text FROM {table} t");
        let rows = connection.fetch_all(AssertSqlSafe(rows)).await.expect("the table can be read");
        for row in rows {
            let row: serde_json::Value =
                serde_json::from_str(&row.get::<String, _>(0)).expect("it is JSON");
            let columns = row.as_object().expect("a row is an object").iter();
            let text = |value: &serde_json::Value| {
                value
                    .as_str()
                    .map(str::to_owned)
                    .or_else(|| (!value.is_null()).then(|| value.to_string()))
            };
            let columns: Vec<(String, Option<String>)> =
                columns.map(|(name, value)| (name.clone(), text(value))).collect();
            put(&mut truth, table, &columns, true, now_ms, 0);
        }
    }
    truth
}

/// Adds what was committed since the last call, and releases the log.
pub async fn read(database_url: &str, truth: &mut Truth) {
    let mut connection = connect(database_url).await;
    let ours =
        TABLES.map(|table| format!("data LIKE 'table %facility_summary.{table}%'")).join(" OR ");
    let read = format!(
        "SELECT data FROM pg_logical_slot_get_changes('{SLOT}', NULL, NULL, 'include-timestamp', \
         'on', 'skip-empty-xacts', 'on')
         WHERE data LIKE 'COMMIT%' OR {ours}"
    );
    let lines = connection.fetch_all(AssertSqlSafe(read)).await.expect("the slot can be read");
    let lines: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    take(truth, lines.iter().map(String::as_str));
    truth.arrange();
    let drop = format!("SELECT pg_drop_replication_slot('{SLOT}')");
    connection.execute(AssertSqlSafe(drop)).await.expect("the slot can be dropped");
}

async fn connect(database_url: &str) -> PgConnection {
    PgConnection::connect(database_url).await.expect("the database accepts connections")
}

/// Takes lines of `test_decoding`: the changes of a transaction, and then the time of its commit.
pub fn take<'a>(truth: &mut Truth, lines: impl Iterator<Item = &'a str>) {
    let (mut changes, mut commit) = (Vec::new(), 0);
    for line in lines {
        let Some(rest) = line.strip_prefix("COMMIT ") else {
            changes.push(line);
            continue;
        };
        commit += 1;
        let at = rest
            .split_once("(at ")
            .and_then(|(_, rest)| rest.strip_suffix(')'))
            .expect("the commit has its time");
        let at_ms = milliseconds(at);
        changes.drain(..).for_each(|change| change_of(truth, change, at_ms, commit));
    }
}

/// `table facility_summary.facilities: UPDATE: id[uuid]:'…' name[text]:'…'`
fn change_of(truth: &mut Truth, line: &str, at_ms: i64, commit: usize) {
    let (tables, rest) = line
        .strip_prefix("table ")
        .and_then(|rest| rest.split_once(": "))
        .unwrap_or_else(|| panic!("no change: {line}"));
    let (action, rest) = rest.split_once(':').unwrap_or_else(|| panic!("no action: {line}"));
    for table in tables.split(", ").filter_map(|table| table.strip_prefix("facility_summary.")) {
        match action {
            "TRUNCATE" => empty(truth, table, at_ms, commit),
            "DELETE" => put(truth, table, &columns(rest), false, at_ms, commit),
            _ => {
                let new = rest.split_once("new-tuple:").map_or(rest, |(_, new)| new);
                put(truth, table, &columns(new), true, at_ms, commit);
            }
        }
    }
}

/// `name[type]:value`, where a value is a number, null or quoted.
fn columns(mut text: &str) -> Vec<(String, Option<String>)> {
    let mut columns = Vec::new();
    text = text.trim_start();
    while let Some((name, rest)) = text.split_once('[') {
        let (_, rest) = rest.split_once("]:").unwrap_or_else(|| panic!("no value in {text}"));
        let (value, rest) = match rest.strip_prefix('\'') {
            Some(quoted) => {
                let mut end = 0;
                while let Some(at) = quoted[end..].find('\'') {
                    end += at;
                    if !quoted[end + 1..].starts_with('\'') {
                        break;
                    }
                    end += 2; // a quote in the text is doubled
                }
                (Some(quoted[..end].replace("''", "'")), &quoted[end + 1..])
            }
            None => {
                let (value, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                ((value != "null").then(|| value.to_owned()), rest)
            }
        };
        columns.push((name.to_owned(), value));
        text = rest.trim_start();
    }
    columns
}

fn put(
    truth: &mut Truth,
    table: &str,
    columns: &[(String, Option<String>)],
    exists: bool,
    at_ms: i64,
    commit: usize,
) {
    let text = |name: &str| {
        columns.iter().find(|(of, _)| of == name).and_then(|(_, value)| value.as_deref())
    };
    let id_of = |name: &str| {
        text(name)
            .and_then(|id| id.parse::<Uuid>().ok())
            .unwrap_or_else(|| panic!("no {name} in {table} {columns:?}"))
    };
    let ms = |name: &str| text(name).map(milliseconds);
    let kind = || {
        TYPES
            .iter()
            .position(|of| text("blood_type").unwrap_or("unknown") == *of)
            .expect("it is a known type")
    };
    let quantity =
        || text("quantity").and_then(|quantity| quantity.parse().ok()).expect("it has a quantity");
    let (id, stated_ms) = (id_of("id"), ms("event_time").unwrap_or(at_ms));
    match table {
        "facilities" => {
            let row = |name: &str| text(name).expect("it has one").to_owned();
            let row = exists.then(|| Facility { name: row("name"), zone: row("timezone") });
            truth.facilities.put(id, at_ms, commit, stated_ms, row);
        }
        "blood_banks" => truth.banks.put(
            id,
            at_ms,
            commit,
            stated_ms,
            exists.then(|| Bank { facility: id_of("facility_id") }),
        ),
        "blood_inventory" => {
            let unit = || Unit {
                bank: id_of("blood_bank_id"),
                kind: kind(),
                quantity: quantity(),
                expires_ms: ms("expires_at"),
            };
            truth.units.put(id, at_ms, commit, stated_ms, exists.then(unit));
        }
        "blood_distributions" => {
            let row = || Activity {
                facility: id_of("dispatched_to_id"),
                kind: kind(),
                quantity: quantity(),
                at_ms: ms("date_delivered"),
            };
            truth.deliveries.put(id, at_ms, commit, stated_ms, exists.then(row));
        }
        "blood_requests" => {
            let row = || Activity {
                facility: id_of("facility_id"),
                kind: kind(),
                quantity: 1,
                at_ms: ms("created_at"),
            };
            truth.requests.put(id, at_ms, commit, stated_ms, exists.then(row));
        }
        other => panic!("unknown table: {other}"),
    }
}

fn empty(truth: &mut Truth, table: &str, at_ms: i64, commit: usize) {
    match table {
        "blood_inventory" => truth.units.empty(at_ms, commit),
        "blood_distributions" => truth.deliveries.empty(at_ms, commit),
        "blood_requests" => truth.requests.empty(at_ms, commit),
        "blood_banks" => truth.banks.empty(at_ms, commit),
        _ => truth.facilities.empty(at_ms, commit),
    }
}

/// An instant in Postgres's format, in milliseconds.
fn milliseconds(text: &str) -> i64 {
    text.parse::<Timestamp>()
        .unwrap_or_else(|error| panic!("no instant: {text}: {error}"))
        .as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_postgres_becomes_versions_of_rows() {
        let (facility, bank) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let lines = [
            format!(
                "table facility_summary.facilities: INSERT: id[uuid]:'{facility}' \
                name[text]:'St. Mary''s \
                 [old]' timezone[text]:'UTC' event_time[timestamp with time zone]:'2031-01-01 \
                 00:00:00.5+00'"
            ),
            format!(
                "table facility_summary.blood_banks: INSERT: id[uuid]:'{bank}' \
                 facility_id[uuid]:'{facility}' name[text]:'' event_time[timestamp with time \
                 zone]:'2031-01-01 00:00:00+00'"
            ),
            "COMMIT 7 (at 2031-01-01 00:00:01.25+00)".to_owned(),
            format!(
                "table facility_summary.blood_requests: INSERT: id[uuid]:'{bank}' \
                 facility_id[uuid]:'{facility}' blood_type[blood_type]:null \
                 quantity[integer]:null created_at[timestamp with time zone]:'2031-01-01 \
                 00:00:00+00' event_time[timestamp with time zone]:'2031-01-01 00:00:00+00'"
            ),
            "COMMIT 8 (at 2031-01-01 00:00:02+00)".to_owned(),
            "table facility_summary.blood_requests, facility_summary.blood_inventory: TRUNCATE: \
            (no-flags)"
                .to_owned(),
            format!("table facility_summary.facilities: DELETE: id[uuid]:'{facility}'"),
            "COMMIT 9 (at 2031-01-01 00:00:03+00)".to_owned(),
        ];
        let mut truth = Truth::default();
        take(&mut truth, lines.iter().map(String::as_str));
        truth.arrange();
        let start_ms = milliseconds("2031-01-01 00:00:00+00");
        let [first, last] = truth.facilities.versions(facility) else { panic!("{truth:?}") };
        assert_eq!(
            (first.from_ms - start_ms, first.stated_ms - start_ms, last.from_ms - start_ms),
            (1_250, 500, 3_000)
        );
        assert_eq!(
            first.row,
            Some(Facility { name: "St. Mary's [old]".to_owned(), zone: "UTC".to_owned() })
        );
        assert_eq!(last.row, None);
        assert_eq!(truth.banks.versions(bank)[0].row, Some(Bank { facility }));
        let requests = truth.requests.versions(bank);
        assert_eq!(
            (requests.len(), requests[0].row.as_ref().map(|row| row.kind), &requests[1].row),
            (2, Some(8), &None)
        );
        assert_eq!(
            truth.concerns(facility).map(|concerns| concerns.requests.clone()),
            Some(vec![bank])
        );
    }
}
