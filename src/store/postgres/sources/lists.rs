//! The SQL that counts what the lists of a mapping reach, for `check`. It needs nothing of ours in
//! the database.

use super::{
    figures::{Branch, DAY, condition, is_one, raw_type},
    missing_index,
    nameable::nameable,
    notations::blood_type_of,
};
use crate::config::sources::{Count, FacilitySource, SourcesSettings, TimeKind};

/// One list of a mapping, in the form that counting needs.
pub(super) struct ListOfRows {
    from: String,
    facility: String,
    condition: String,
    blood_type: Option<String>,
    /// An expression that gives the canonical type of `held.raw_type`, or null.
    canonical: String,
    /// What a row counts.
    amount: String,
    /// When a row happened, and how the value stands for an instant; `None` for stock.
    at: Option<(String, TimeKind)>,
    /// For stock: the condition that a unit is not expired, as of today in the zone of
    /// `facility_summary_place`.
    unexpired: String,
}

/// The zone of a row's facility. As in `figures`, only names that no mapping has stand beside its
/// text.
const ZONE: &str = "coalesce(facility_summary_place.zone, 'UTC')";

/// The mapped facilities as `(key, name, zone)`.
pub(super) fn places(source: &FacilitySource) -> String {
    let FacilitySource { from, key, name, timezone, .. } = source;
    let condition = condition(source.r#where.as_deref());
    format!(
        "SELECT ({key}) AS key, ({name})::text COLLATE pg_catalog.\"C\" AS name, \
         ({timezone})::text COLLATE pg_catalog.\"C\" AS zone FROM {from} \
         WHERE ({key}) IS NOT NULL{condition}"
    )
}

/// A SELECT of all that the mapping reads, for each list with its name.
pub(super) fn selects(sources: &SourcesSettings) -> Vec<(String, String)> {
    let select = |name: String, from: &str, expressions: &[Option<&str>], r#where: Option<&str>| {
        let listed = expressions.iter().flatten().enumerate();
        let listed: Vec<String> =
            listed.map(|(nth, expression)| format!("({expression}) AS c{nth}")).collect();
        let condition = condition(r#where);
        (name, format!("SELECT {} FROM {from}\nWHERE true{condition}", listed.join(", ")))
    };
    let FacilitySource { from, key, name, timezone, r#where } = &sources.facilities;
    let mut all = vec![select(
        "sources.facilities".into(),
        from,
        &[Some(key), Some(name), Some(timezone)],
        r#where.as_deref(),
    )];
    all.extend(sources.stock.iter().flatten().enumerate().map(|(nth, one)| {
        let (blood_type, expires) = (one.blood_type.as_deref(), one.expires.as_deref());
        let expressions = [Some(&*one.facility), blood_type, Some(&*one.quantity), expires];
        select(format!("sources.stock[{nth}]"), &one.from, &expressions, one.r#where.as_deref())
    }));
    for (list, sources) in [("deliveries", &sources.deliveries), ("requests", &sources.requests)] {
        all.extend(sources.iter().flatten().enumerate().map(|(nth, one)| {
            let (blood_type, quantity) = (one.blood_type.as_deref(), Some(&*one.quantity));
            let expressions = [Some(&*one.facility), blood_type, quantity, Some(&*one.at)];
            let name = format!("sources.{list}[{nth}]");
            select(name, &one.from, &expressions, one.r#where.as_deref())
        }));
    }
    all
}

/// The lists, in the order of their branches.
pub(super) fn lists(sources: &SourcesSettings) -> Vec<ListOfRows> {
    let canonical = |raw: &Option<String>| blood_type_of(raw.as_deref(), &sources.blood_types);
    let stock =
        sources.stock.iter().flatten().map(|source| ListOfRows {
            from: source.from.clone(),
            facility: source.facility.clone(),
            condition: condition(source.r#where.as_deref()),
            blood_type: source.blood_type.clone(),
            canonical: canonical(&source.blood_type),
            amount: source.quantity.clone(),
            at: None,
            unexpired: source.expires.as_ref().map_or("true".into(), |expires| {
                match TimeKind::parse(&source.expires_as).unwrap_or(TimeKind::Instant) {
                    TimeKind::Date => {
                        let operator = if source.usable_on_expiry_day { ">=" } else { ">" };
                        let today = local_date("now()");
                        format!("(({expires}) IS NULL OR ({expires})::date {operator} {today})")
                    }
                    kind => {
                        let at = instant(expires, &kind);
                        format!("(({expires}) IS NULL OR {at} > now())")
                    }
                }
            }),
        });
    let activity = |of_deliveries: bool| {
        let lists = if of_deliveries { &sources.deliveries } else { &sources.requests };
        let usual = if of_deliveries { Count::Quantity } else { Count::Rows };
        lists.iter().flatten().map(move |source| ListOfRows {
            from: source.from.clone(),
            facility: source.facility.clone(),
            condition: condition(source.r#where.as_deref()),
            blood_type: source.blood_type.clone(),
            canonical: canonical(&source.blood_type),
            amount: match source.count.unwrap_or(usual) {
                Count::Rows => "1".into(),
                Count::Quantity => source.quantity.clone(),
            },
            at: TimeKind::parse(&source.at_as).map(|kind| (source.at.clone(), kind)),
            unexpired: "true".into(),
        })
    };
    stock.chain(activity(true)).chain(activity(false)).collect()
}

/// The instant for which the value stands, where the facility's zone is that of
/// `facility_summary_place`.
fn instant(value: &str, kind: &TimeKind) -> String {
    match kind {
        TimeKind::Instant => format!("({value})::timestamptz"),
        TimeKind::Utc => format!("(({value})::timestamp AT TIME ZONE 'UTC')"),
        TimeKind::Zone(zone) => format!("(({value})::timestamp AT TIME ZONE '{zone}')"),
        TimeKind::Local | TimeKind::Date => {
            format!("(({value})::timestamp AT TIME ZONE {ZONE})")
        }
    }
}

/// The same for the time of a row, which may lie beyond what a timestamp, or its zone, can be.
fn happened(value: &str, kind: &TimeKind) -> String {
    match kind {
        TimeKind::Instant => format!(
            "(CASE WHEN ({value})::timestamptz < '4000-01-01 BC+00' THEN '4000-01-01 BC+00' WHEN \
             ({value})::timestamptz >= '11000-01-01+00' THEN '11000-01-01+00' ELSE \
             ({value})::timestamptz END)"
        ),
        kind => instant(&nameable(value, *kind == TimeKind::Date), kind),
    }
}

/// The date at the facility.
fn local_date(instant: &str) -> String {
    format!("({instant} AT TIME ZONE {ZONE})::date")
}

impl ListOfRows {
    /// The statement that counts: rows, facilities, rows of no facility, rows without a time, rows
    /// more than a day ahead, the figures of today and of seven days without a rounding, the rows
    /// with a fraction of a unit, and one of those.
    pub fn counts(&self, facilities: &FacilitySource) -> String {
        let ListOfRows { from, facility, condition, amount, unexpired, .. } = self;
        let (at, day) = match &self.at {
            Some((value, kind)) => {
                let at = happened(value, kind);
                let day = local_date(&at);
                (at, day)
            }
            None => ("now()".into(), local_date("now()")),
        };
        let today = local_date("now()");
        let is_one = is_one(amount);
        format!(
            "WITH facility_summary_one AS (SELECT key, max(known.name) AS zone FROM (SELECT key, \
             min(zone) AS zone FROM ({}) AS all_places GROUP BY key) AS one LEFT JOIN \
             pg_timezone_names known ON lower(known.name COLLATE pg_catalog.\"C\") = \
             lower(one.zone COLLATE pg_catalog.\"C\") GROUP BY key) SELECT \
             count(*), count(DISTINCT place_key), count(*) FILTER (WHERE place_key IS NULL), \
             count(*) FILTER (WHERE at IS NULL), count(*) FILTER (WHERE at > now() + interval '1 \
             day'), trim_scale(coalesce(sum(amount) FILTER (WHERE counts AND day = today), \
             0))::text, trim_scale(coalesce(sum(amount) FILTER (WHERE counts AND day BETWEEN today \
             - 6 AND today), 0))::text, count(*) FILTER (WHERE place_key IS NOT NULL AND amount <> \
             trunc(amount)), trim_scale(min(amount) FILTER (WHERE place_key IS NOT NULL AND amount \
             <> trunc(amount)))::text FROM (SELECT facility_summary_place.key AS place_key, {at} \
             AS at, {day} AS day, {today} AS today, CASE WHEN {is_one} THEN ({amount})::numeric \
             END AS amount, facility_summary_place.key IS NOT NULL AND {unexpired} AS counts \
             FROM {from} LEFT JOIN LATERAL (SELECT * FROM facility_summary_one WHERE \
             facility_summary_one.key = ({facility})) AS facility_summary_place ON true WHERE \
             true{condition}) AS held",
            places(facilities)
        )
    }

    /// The columns of the index that a refresh needs on the table with this alias.
    pub fn index_columns(&self, alias: &str) -> Option<Vec<String>> {
        let at = self.at.as_ref().map(|(at, _)| at.as_str());
        missing_index::columns(&self.from, &self.facility, at, alias)
    }

    /// The statement that lists texts that are no blood type; `None` where the list has no types.
    pub fn unknown_types(&self, most: usize) -> Option<String> {
        let ListOfRows { from, condition, canonical, .. } = self;
        let raw = raw_type(Some(self.blood_type.as_ref()?));
        Some(format!(
            "SELECT raw_type, count(*) FROM (SELECT {raw} AS raw_type FROM {from} WHERE \
             true{condition}) AS held WHERE ({canonical}) IS NULL GROUP BY 1 ORDER BY 2 DESC, 1 \
             LIMIT {most}"
        ))
    }
}

impl ListOfRows {
    /// The statement that counts the rows whose quantity is none, of each facility.
    pub fn odd_rows(&self, most: usize) -> String {
        let ListOfRows { from, facility, condition, amount, .. } = self;
        let is_one = is_one(amount);
        format!(
            "SELECT ({facility})::text, count(*) FROM {from} WHERE NOT ({is_one}){condition} \
             GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {most}"
        )
    }
}

impl Branch {
    /// The refresh of one facility's today by this branch.
    pub fn of_any_facility(&self, facilities: &FacilitySource) -> String {
        let FacilitySource { from, key, .. } = facilities;
        let day = format!(
            "(SELECT one.fs_key, key.date AS fs_date, key.timezone AS fs_timezone, key.day_start \
             AS fs_start, key.day_end AS fs_end FROM (SELECT ({key}) AS fs_key FROM {from} LIMIT \
             1) AS one) AS facility_summary_day"
        );
        format!(
            "SELECT part.* FROM (SELECT current_date AS date, 'UTC'::text AS timezone, now() - \
             interval '1 day' AS day_start, now() AS day_end, true AS is_today) AS key CROSS JOIN \
             LATERAL ({}) AS part",
            self.select.replace(DAY, &day)
        )
    }
}
