//! The SQL of mapped sources: what takes the place of our own tables in the statement that derives
//! figures, and in the look-up of days with data. The mapping's expressions stand in it as they
//! are.
//!
//! Bounds of days are converted to the kind of the column, never the column to an instant. So an
//! index of the owner on (facility, time) serves.

use super::{nameable::nameable, notations::blood_type_of};
use crate::config::sources::{
    ActivitySource, Count, FacilitySource, SourcesSettings, StockSource, TimeKind,
};

/// A part of the derive statement that reads one list of the mapping. It gives `(blood_type, stock,
/// transferred, requests, next_expires_at, odd)` of `key`, the facility-day; the figures are not
/// rounded yet. `odd` names the list and the number of its rows whose quantity is none; null where
/// there are none.
pub(super) struct Branch {
    /// The list, as `sources.stock[0]`.
    pub name: String,
    /// The SELECT.
    pub select: String,
}

/// The branches that read stock, deliveries and requests.
pub(super) fn branches(sources: &SourcesSettings) -> Vec<Branch> {
    let types = |raw: &Option<String>| blood_type_of(raw.as_deref(), &sources.blood_types);
    let mut branches = Vec::new();
    for (nth, source) in sources.stock.iter().flatten().enumerate() {
        let name = format!("sources.stock[{nth}]");
        let select = stock(&name, source, &types(&source.blood_type));
        branches.push(Branch { name, select });
    }
    for (nth, source) in sources.deliveries.iter().flatten().enumerate() {
        let name = format!("sources.deliveries[{nth}]");
        let (counted, odd) = counted(source, Count::Quantity);
        let figures = ["0::numeric", &counted, "0::numeric", &odd];
        let select = activity(&name, source, &types(&source.blood_type), figures);
        branches.push(Branch { name, select });
    }
    for (nth, source) in sources.requests.iter().flatten().enumerate() {
        let name = format!("sources.requests[{nth}]");
        let (counted, odd) = counted(source, Count::Rows);
        let figures = ["0::numeric", "0::numeric", &counted, &odd];
        let select = activity(&name, source, &types(&source.blood_type), figures);
        branches.push(Branch { name, select });
    }
    branches
}

impl Branch {
    /// A statement that reads nothing, and fails where the list does not fit the database. The
    /// planner does not see that it reads nothing: it would leave out tables, and their rights.
    pub fn probe(&self) -> String {
        format!(
            "SELECT part.* FROM (SELECT md5(nobody::text)::uuid AS facility_id, current_date + \
             nobody AS date, nobody::text AS timezone, to_timestamp(nobody::float8) AS day_start, \
             to_timestamp(nobody::float8) AS day_end, nobody = 1 AS is_today FROM \
             generate_series(1::integer, 0::integer) AS n (nobody)) AS key CROSS JOIN LATERAL ({}) \
             AS part LIMIT 0",
            self.select
        )
    }
}

/// The zone of the facility `k.facility_id`, if it is mapped now. Beside the mapping's own text
/// stand only names that no mapping has: any other could be one of its aliases.
pub(super) fn zone(source: &FacilitySource) -> String {
    let FacilitySource { from, key, timezone, .. } = source;
    let condition = condition(source.r#where.as_deref());
    format!(
        "SELECT held.timezone\n\
         FROM (SELECT k.facility_id AS fs_id) AS facility_summary_place\n\
         CROSS JOIN LATERAL (SELECT coalesce(min(({timezone})::text COLLATE \
         pg_catalog.\"C\"), 'UTC'::text) AS timezone\n\
         FROM {from}\n\
         WHERE ({key}) = (SELECT facility_key.key FROM facility_key WHERE facility_key.facility_id \
         = facility_summary_place.fs_id){condition}\n\
         HAVING count(*) > 0) AS held"
    )
}

/// The mapped facilities, as `f (id, name, timezone)`, of which a few are asked for.
pub(super) fn facilities(source: &FacilitySource) -> String {
    let FacilitySource { from, key, name, timezone, .. } = source;
    let condition = condition(source.r#where.as_deref());
    format!(
        "(SELECT facility_summary_key.facility_id AS id, coalesce(held.name, \
         facility_summary_key.key::text COLLATE pg_catalog.\"C\") AS name, held.timezone\n\
         FROM facility_key AS facility_summary_key\n\
         CROSS JOIN LATERAL (SELECT min(({name})::text COLLATE pg_catalog.\"C\") AS name, \
         coalesce(min(({timezone})::text COLLATE pg_catalog.\"C\"), 'UTC'::text) AS timezone\n\
         FROM {from}\n\
         WHERE ({key}) = facility_summary_key.key{condition}\n\
         HAVING count(*) > 0) AS held) AS f"
    )
}

/// The owner's key of the facility `f.id`.
pub(super) const KEY: &str =
    "(SELECT facility_key.key::text FROM facility_key WHERE facility_key.facility_id = f.id)";

/// The statement that compares the mapped facilities with our table: with `of_some`, only those
/// with the ids `$1`. A facility without a zone is in UTC.
pub(super) fn differing(source: &FacilitySource, of_some: bool, key_type: &str) -> String {
    let FacilitySource { from, key, name, timezone, .. } = source;
    let condition = condition(source.r#where.as_deref());
    // With a UUID as its key, a facility that was never seen has that as its id.
    let asked = |key: &str| {
        let known = format!(
            "{key} = ANY (ARRAY(SELECT facility_key.key FROM facility_key WHERE \
             facility_key.facility_id = ANY ($1::uuid[])))"
        );
        match key_type {
            "uuid" => format!("({key} = ANY ($1::uuid[]) OR {known})"),
            _ => known,
        }
    };
    let (some_keys, ours) = match of_some {
        true => (
            format!(" AND {}", asked(&format!("({key})"))),
            format!(
                "facility_key k LEFT JOIN facilities f ON f.id = k.facility_id WHERE \
                 k.facility_id = ANY ($1::uuid[]) OR {}",
                asked("k.key")
            ),
        ),
        // One of ours without a key is none: it goes.
        false => {
            (String::new(), "facility_key k FULL JOIN facilities f ON f.id = k.facility_id".into())
        }
    };
    format!(
        "SELECT ours.facility_id, theirs.key::text AS key, theirs.name, theirs.timezone, ours.id \
         IS NOT NULL AS is_ours, theirs.key IS NOT NULL AS is_theirs, theirs.rows\n\
         FROM (SELECT ({key}) AS key, min(({name})::text COLLATE pg_catalog.\"C\") AS name, \
         coalesce(min(({timezone})::text COLLATE pg_catalog.\"C\"), 'UTC'::text) AS timezone, \
         count(*) AS rows\n\
         FROM {from}\n\
         WHERE ({key}) IS NOT NULL{some_keys}{condition}\n\
         GROUP BY 1) AS theirs\n\
         FULL JOIN (SELECT coalesce(k.facility_id, f.id) AS facility_id, k.key, f.id, f.name, \
         f.timezone FROM {ours}) AS ours ON ours.key = theirs.key\n\
         WHERE CASE WHEN theirs.key IS NULL THEN ours.id IS NOT NULL ELSE ours.id IS NULL OR \
         (ours.name, ours.timezone) IS DISTINCT FROM (coalesce(theirs.name, \
         theirs.key::text COLLATE pg_catalog.\"C\"), theirs.timezone) END\n\
         ORDER BY ours.facility_id, theirs.key"
    )
}

/// The facility-day of a branch, under names that no mapping has. Letters are made small by no
/// collation of the database, and the name is then compared by the one of the index.
pub(super) const DAY: &str = concat!(
    "(SELECT f.key AS fs_key, key.date AS fs_date, coalesce((SELECT z.name FROM server_zone z ",
    "WHERE z.name = (lower(key.timezone COLLATE pg_catalog.\"C\") ",
    "COLLATE pg_catalog.\"default\")), ",
    "'UTC'::text) AS fs_timezone, ",
    "key.day_start AS fs_start, key.day_end AS fs_end FROM facility_key f ",
    "WHERE f.facility_id = key.facility_id) AS facility_summary_day"
);

/// The most units that one row may have, either way. More is a mistake, or means something else.
pub(super) const MOST: &str = "1000000000.0";

/// The condition that a quantity is one. Null where it is null.
pub(super) fn is_one(quantity: &str) -> String {
    format!("({quantity})::numeric BETWEEN -{MOST} AND {MOST}")
}

/// The sum of a quantity over the rows in which it is one, and the number of rows in which it is
/// none: it is not a number, infinite, or too large.
fn sum_of(quantity: &str) -> (String, String) {
    if quantity.trim().parse::<u16>().is_ok() {
        return (format!("sum(({quantity})::numeric)"), "0::bigint".into());
    }
    let is_one = is_one(quantity);
    (
        format!("sum(CASE WHEN {is_one} THEN ({quantity})::numeric END)"),
        format!("count(*) FILTER (WHERE NOT ({is_one}))"),
    )
}

/// What names the odd rows of a list, of which `held.odd` is the number.
fn odd(name: &str) -> String {
    format!("CASE WHEN held.odd > 0::bigint THEN pg_catalog.concat('{name}='::text, held.odd) END")
}

fn stock(name: &str, source: &StockSource, blood_type: &str) -> String {
    let kind = TimeKind::parse(&source.expires_as).unwrap_or(TimeKind::Instant);
    let (unexpired, next) = expiry(source, &kind);
    let StockSource { from, facility, quantity, .. } = source;
    let ((sum, odd_rows), odd) = (sum_of(quantity), odd(name));
    let raw = raw_type(source.blood_type.as_deref());
    let condition = condition(source.r#where.as_deref());
    format!(
        "SELECT {blood_type}, held.stock, 0::numeric, 0::numeric, held.next_expires_at, {odd}\n\
         FROM {DAY}\n\
         CROSS JOIN LATERAL (SELECT {raw} AS raw_type, {sum} AS stock, {next} AS \
         next_expires_at, {odd_rows} AS odd\n\
         FROM {from}\n\
         WHERE ({facility}) = facility_summary_day.fs_key{condition}{unexpired}\n\
         GROUP BY 1) AS held\n\
         WHERE key.is_today"
    )
}

/// The condition that units are not expired, and the next instant at which some are. A day of
/// expiry ends with the facility's day, when the next day is derived anyway.
fn expiry(source: &StockSource, kind: &TimeKind) -> (String, String) {
    let Some(expires) = &source.expires else {
        return (String::new(), "NULL::timestamptz".into());
    };
    let at = match kind {
        TimeKind::Date => {
            let operator = if source.usable_on_expiry_day { ">=" } else { ">" };
            let unexpired = format!(
                "\nAND (({expires}) IS NULL OR ({expires})::date {operator} \
                 facility_summary_day.fs_date)"
            );
            return (unexpired, "NULL::timestamptz".into());
        }
        TimeKind::Instant => format!("({expires})::timestamptz"),
        TimeKind::Utc => format!("(({expires})::timestamp AT TIME ZONE 'UTC'::text)"),
        TimeKind::Local => {
            format!("(({expires})::timestamp AT TIME ZONE facility_summary_day.fs_timezone)")
        }
        TimeKind::Zone(zone) => format!("(({expires})::timestamp AT TIME ZONE '{zone}'::text)"),
    };
    let unexpired = format!("\nAND (({expires}) IS NULL OR {at} > statement_timestamp())");
    // A row below 0 changes the figure at its expiry, too.
    (unexpired, format!("min({at}) FILTER (WHERE ({})::numeric <> 0::numeric)", source.quantity))
}

fn activity(
    name: &str,
    source: &ActivitySource,
    blood_type: &str,
    [stock, transferred, requests, odd_rows]: [&str; 4],
) -> String {
    let ActivitySource { from, facility, .. } = source;
    let odd = odd(name);
    let raw = raw_type(source.blood_type.as_deref());
    let condition = condition(source.r#where.as_deref());
    let within = within(source);
    format!(
        "SELECT {blood_type}, held.stock, held.transferred, held.requests, NULL::timestamptz, \
         {odd}\n\
         FROM {DAY}\n\
         CROSS JOIN LATERAL (SELECT {raw} AS raw_type, {stock} AS stock, {transferred} AS \
         transferred, {requests} AS requests, {odd_rows} AS odd\n\
         FROM {from}\n\
         WHERE ({facility}) = facility_summary_day.fs_key{condition}\n\
         AND {within}\n\
         GROUP BY 1) AS held"
    )
}

/// The condition that a row is of the day.
fn within(source: &ActivitySource) -> String {
    let at = &source.at;
    let bounds = |from: &str, to: &str| format!("({at}) >= {from} AND ({at}) < {to}");
    let in_zone = |zone: &str| {
        bounds(
            &format!("(facility_summary_day.fs_start AT TIME ZONE '{zone}'::text)"),
            &format!("(facility_summary_day.fs_end AT TIME ZONE '{zone}'::text)"),
        )
    };
    match TimeKind::parse(&source.at_as).unwrap_or(TimeKind::Instant) {
        TimeKind::Instant => bounds("facility_summary_day.fs_start", "facility_summary_day.fs_end"),
        TimeKind::Utc => in_zone("UTC"),
        TimeKind::Zone(zone) => in_zone(&zone),
        TimeKind::Local => bounds(
            "facility_summary_day.fs_date::timestamp",
            "(facility_summary_day.fs_date + 1)::timestamp",
        ),
        // A column that is no date, but is said to be one, counts by its date.
        TimeKind::Date => format!("({at})::date = facility_summary_day.fs_date"),
    }
}

/// What a list of deliveries or requests counts, and the number of rows whose quantity is none.
fn counted(source: &ActivitySource, default: Count) -> (String, String) {
    match source.count.unwrap_or(default) {
        Count::Rows => ("count(*)::numeric".into(), "0::bigint".into()),
        Count::Quantity => {
            let (sum, odd_rows) = sum_of(&source.quantity);
            (format!("coalesce({sum}, 0::numeric)"), odd_rows)
        }
    }
}

/// The text of a blood type, compared by its bytes whatever the collation of its column is.
pub(super) fn raw_type(blood_type: Option<&str>) -> String {
    blood_type.map_or_else(
        || "NULL::text".into(),
        |expression| format!("(({expression})::text COLLATE pg_catalog.\"C\")"),
    )
}

pub(super) fn condition(condition: Option<&str>) -> String {
    condition.map(|condition| format!("\nAND ({condition})")).unwrap_or_default()
}

/// What the look-up of days with data reads: `(facility_id, at)` of deliveries and requests.
pub(super) fn instants(sources: &SourcesSettings) -> String {
    let lists = [&sources.deliveries, &sources.requests];
    let branches: Vec<String> = lists.into_iter().flatten().flatten().map(instants_of).collect();
    match branches.is_empty() {
        true => {
            // It takes the ids like any other.
            let nobody = "SELECT NULL::uuid AS facility_id, NULL::timestamptz AS at";
            format!("{nobody} WHERE NULL::uuid = ANY ($1::uuid[])")
        }
        false => branches.join("\nUNION ALL\n"),
    }
}

/// The noon of the day of a naive time. A row with a local time counts on the day that its time
/// names. The server's rules of a zone may be older than those that bound our days: by which of
/// both noon becomes an instant makes no difference to its day.
pub(super) fn noon(naive: &str) -> String {
    format!("(pg_catalog.date_trunc('day', {naive}) + interval '12 hours')")
}

/// The rows of one branch of the look-up of days with data: `(facility_id, at)`. `$1`: facility
/// ids.
fn instants_of(source: &ActivitySource) -> String {
    let ActivitySource { from, facility, at, .. } = source;
    let instant = match TimeKind::parse(&source.at_as).unwrap_or(TimeKind::Instant) {
        TimeKind::Instant => format!("({at})"),
        TimeKind::Utc => format!("({} AT TIME ZONE 'UTC'::text)", nameable(at, false)),
        TimeKind::Zone(zone) => format!("({} AT TIME ZONE '{zone}'::text)", nameable(at, false)),
        kind @ (TimeKind::Local | TimeKind::Date) => {
            let noon = noon(&nameable(at, kind == TimeKind::Date));
            format!("({noon} AT TIME ZONE facility_summary_place.fs_timezone)")
        }
    };
    let condition = condition(source.r#where.as_deref());
    format!(
        "SELECT facility_summary_place.fs_id AS facility_id, held.at\n\
         FROM (SELECT k.facility_id AS fs_id, k.key AS fs_key, coalesce((SELECT z.name FROM \
         server_zone z WHERE z.name = (lower(f.timezone COLLATE pg_catalog.\"C\") COLLATE \
         pg_catalog.\"default\")), 'UTC'::text) AS fs_timezone FROM facility_key k \
         JOIN facilities f ON f.id = k.facility_id WHERE k.facility_id = ANY ($1)) \
         AS facility_summary_place\n\
         CROSS JOIN LATERAL (SELECT {instant} AS at FROM {from}\n\
         WHERE ({facility}) = facility_summary_place.fs_key{condition} AND ({at}) IS NOT NULL) AS \
         held"
    )
}

/// The text as a literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
