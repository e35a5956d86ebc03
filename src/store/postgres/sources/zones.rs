//! Whether the server has the same rules of time zones as this release. Days are those of this
//! release. The server turns local times of the owner's tables into instants by its own rules.

use jiff::{Timestamp, tz::TimeZone};
use sqlx::{AssertSqlSafe, PgConnection};

use super::lists;
use crate::{
    config::sources::{SourcesSettings, TimeKind},
    domain::zones,
};

/// The noons that are compared, from the first: more than a year behind and ahead.
const NOONS: &str = "generate_series(-400::bigint, 400::bigint) AS n (day)";

/// The zones of facilities and of the mapping for which the rules differ, in words.
///
/// # Errors
/// The facilities cannot be read.
pub(super) async fn differing(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> sqlx::Result<Option<String>> {
    let places = lists::places(&sources.facilities);
    let select = format!(
        "WITH place AS ({places}), named AS (SELECT DISTINCT \
         lower(zone COLLATE pg_catalog.\"C\") AS name FROM place UNION SELECT \
         lower(t.name COLLATE pg_catalog.\"C\") FROM unnest($1::text[]) AS t (name)), begin \
         AS (SELECT \
         date_trunc('day', now(), 'UTC') + interval '12 hours' AS at) SELECT z.name, \
         ARRAY(SELECT extract(epoch FROM noon.at)::bigint FROM begin, LATERAL (SELECT n.day, \
         begin.at + n.day * interval '24 hours' AS at FROM {NOONS}) AS noon ORDER BY noon.day), \
         ARRAY(SELECT extract(epoch FROM (noon.at AT TIME ZONE z.name) - (noon.at AT TIME ZONE \
         'UTC'))::bigint FROM begin, LATERAL (SELECT n.day, begin.at + n.day * interval '24 \
         hours' AS at FROM {NOONS}) AS noon ORDER BY noon.day) FROM pg_timezone_names z WHERE \
         lower(z.name COLLATE pg_catalog.\"C\") IN (SELECT named.name FROM named) ORDER BY 1"
    );
    let rows: Vec<(String, Vec<i64>, Vec<i64>)> =
        sqlx::query_as(AssertSqlSafe(select)).bind(of_lists(sources)).fetch_all(connection).await?;
    let differing: Vec<String> = rows
        .iter()
        .filter_map(|(name, noons, offsets)| {
            difference(name, &zones::find(name)?, noons.iter().zip(offsets))
        })
        .collect();
    Ok((!differing.is_empty()).then(|| {
        format!(
            "the database server's rules of time zones differ from those of this release: {}. Days \
             are those of this release; a local time of expiry passes by the server's rules. \
             Update whichever is older",
            differing.join("; ")
        )
    }))
}

/// The zones that lists name for their times.
fn of_lists(sources: &SourcesSettings) -> Vec<String> {
    let stock = sources.stock.iter().flatten().map(|list| &list.expires_as);
    let happened = [&sources.deliveries, &sources.requests].into_iter().flatten().flatten();
    let kinds = stock.chain(happened.map(|list| &list.at_as));
    kinds
        .filter_map(|kind| match TimeKind::parse(kind) {
            Some(TimeKind::Zone(zone)) => Some(zone),
            _ => None,
        })
        .collect()
}

/// Where the rules of a zone differ first. Each instant has the server's offset, in seconds.
fn difference<'o>(
    name: &str,
    ours: &TimeZone,
    server: impl Iterator<Item = (&'o i64, &'o i64)>,
) -> Option<String> {
    server.into_iter().find_map(|(at, offset)| {
        let at = Timestamp::from_second(*at).ok()?;
        let our = i64::from(ours.to_offset(at).seconds());
        let hours = |seconds: i64| {
            let sign = if seconds < 0 { '-' } else { '+' };
            let minutes = seconds.unsigned_abs() / 60;
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        };
        (our != *offset).then(|| {
            let date = at.to_zoned(TimeZone::UTC).date();
            format!("{name} on {date}: {} there, {} here", hours(*offset), hours(our))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_offsets() {
        let zone = zones::find("Asia/Kathmandu").expect("a zone");
        let noons = [1_795_780_800, 1_795_867_200, 1_795_953_600];
        let compare =
            |offsets: [i64; 3]| difference("Asia/Kathmandu", &zone, noons.iter().zip(&offsets));
        assert_eq!(compare([20_700; 3]), None);
        assert_eq!(
            compare([20_700, 19_800, -3_600]).as_deref(),
            Some("Asia/Kathmandu on 2026-11-28: +05:30 there, +05:45 here")
        );
    }
}
