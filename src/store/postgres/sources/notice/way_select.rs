//! The SELECT that follows one way: from what triggers noted of changed rows to facilities.

use sqlparser::ast::Expr;

use crate::{config::sources::TimeKind, store::postgres::sources::figures::noon};

/// What a trigger noted of a row.
const NOTED: &str = "(facility_summary_row.noted #>> '{}'::text[])";

/// The noted value with this number, as SQL of this type.
pub(super) fn value(nth: usize, is_plain: bool, sql_type: &str) -> String {
    match is_plain {
        true => format!("{NOTED}::{sql_type}"),
        false => format!("({NOTED}::jsonb ->> {nth}::integer)::{sql_type}"),
    }
}

/// A SELECT of `(id, facility_id, first_at, last_at)` over the marks of one way.
pub(super) fn select(
    facility: &Expr,
    row: &str,
    kind: Option<&TimeKind>,
    looked_up: Option<(&Expr, &TimeKind)>,
    noted: Option<&(String, &'static str)>,
    columns: usize,
) -> String {
    let noted_at = |nth: usize| {
        let of = noted.map_or("timestamptz", |(_, of)| *of);
        let at = format!("({NOTED}::jsonb ->> {nth}::integer)::{of}");
        instant(&at, kind.filter(|_| of == "timestamp"))
    };
    let (first, last, at, within) = match (looked_up, noted) {
        (Some((at, kind)), _) => {
            let of = if *kind == TimeKind::Instant { "timestamptz" } else { "timestamp" };
            let found = instant("facility_summary_place.fs_at", Some(kind));
            let within = within(&found);
            (found.clone(), found, format!(", ({at})::{of} AS fs_at"), within)
        }
        (None, Some(_)) => {
            let (first, last) = (noted_at(columns), noted_at(columns + 1));
            let within = within(&first);
            (first, last, String::new(), within)
        }
        (None, None) => {
            let none = "NULL::timestamptz".to_owned();
            (none.clone(), none, String::new(), String::new())
        }
    };
    format!(
        "SELECT facility_summary_mark.id, facility_key.facility_id, {first}, {last}\n\
         FROM facility_summary_mark\n\
         CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(facility_summary_mark.via_row) AS \
         facility_summary_row (noted)\n\
         CROSS JOIN LATERAL (SELECT ({facility}) AS fs_key{at}\nFROM {row}\nOFFSET 0) AS \
         facility_summary_place\n\
         JOIN facility_key ON facility_key.key = facility_summary_place.fs_key{within}"
    )
}

/// The condition that an instant lies in a day that answers can name.
fn within(at: &str) -> String {
    format!(
        "\nAND {at} >= '0002-01-01 BC+00'::timestamptz AND {at} < '10001-01-01+00'::timestamptz"
    )
}

/// The instant of a time of this kind, at the facility of `facility_key`.
fn instant(at: &str, kind: Option<&TimeKind>) -> String {
    match kind {
        None | Some(TimeKind::Instant) => at.to_owned(),
        Some(TimeKind::Utc) => format!("({at} AT TIME ZONE 'UTC'::text)"),
        Some(TimeKind::Zone(zone)) => format!("({at} AT TIME ZONE '{zone}'::text)"),
        Some(TimeKind::Local | TimeKind::Date) => format!(
            "({} AT TIME ZONE coalesce((SELECT z.name FROM server_zone z JOIN facilities f ON \
             z.name = (lower(f.timezone COLLATE pg_catalog.\"C\") COLLATE pg_catalog.\"default\") \
             WHERE f.id = facility_key.facility_id), 'UTC'::text))",
            noon(at)
        ),
    }
}
